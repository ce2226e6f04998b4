"""Starting a program with pipes, and collecting it: exact arguments and environment, nothing inherited, nothing left.

Between host and program stands the keeper (csrc/keeper.c), a small process that kills what the program leaves behind, and the
program with it when the host is gone. Where it was not built the program is started directly: then a descendant that leaves
the process group stays, and a host that is killed leaves a program that ignores the end of its input.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import struct
from collections.abc import Mapping, Sequence

from dumpfmt.text import shown
from stdioproc.host.sigpipe import sigpipe_blocked
from stdioproc.host.trust import (
    DEFAULT_TRUST,
    LOWEST,
    SCRIPT,
    Trust,
    UntrustedProgram,
    check_location,
    interpreter_of,
    pin,
)

#: The compiled keeper, beside this file where it was built.
KEEPER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "stdioproc-keeper")

# What a child shall not inherit: the host may ignore or block signals, and its child must not.
_DEFAULTED = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
# Where the keeper finds its ends (keeper.c).
_LIFELINE, _REPORT, _EXECUTE = 3, 4, 6
# struct report of keeper.c.
_REPORT_FORMAT = struct.Struct("=ii")
_STARTED, _FAILED, _ENDED = 1, 2, 3


class Child:
    """A started program, and the host's ends of its pipes (non-blocking; -1 once closed).

    `pid` is the program's; `pidfd` becomes readable when it has ended and, with a keeper, so have all its descendants.
    """

    __slots__ = ("_leader", "_lifeline", "_report", "pid", "pidfd", "stderr", "stdin", "stdout")

    def __init__(
        self, pid: int, leader: int, pipes: tuple[int, int, int], lifeline: int = -1, report: int = -1
    ) -> None:
        self.pid = pid
        self.stdin, self.stdout, self.stderr = pipes
        self._leader = leader  # whom to wait for: the keeper, or the program
        self._lifeline = lifeline
        self._report = report
        self.pidfd = os.pidfd_open(leader)

    def terminate(self) -> None:
        """SIGTERM to the program's process group."""
        self._order(b"T", signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to the program's process group and, with a keeper, to all its descendants."""
        self._order(b"K", signal.SIGKILL)

    def collect(self) -> int | None:
        """Reap what has ended, kill what is left of its group, close everything.

        The exit status, or minus the signal, or None when the system did not tell.
        """
        if self._lifeline < 0:
            # While the program is not reaped its pid cannot be another's, and so the group is surely its own.
            self.kill()
        status: int | None = None
        try:
            pid, raw = os.waitpid(self._leader, os.WNOHANG)
            if pid and self._report < 0:
                status = os.waitstatus_to_exitcode(raw)
        except ChildProcessError:
            pass  # the host ignores SIGCHLD, or waits for all its children: somebody else has the status
        if self._report >= 0:
            kind, raw = _read_report(self._report, 0)
            if kind == _ENDED:
                status = os.waitstatus_to_exitcode(raw)
            else:
                _kill_session(self.pid)  # somebody killed the keeper
        self.abandon()
        return status

    def abandon(self) -> None:
        """Close everything, tell and wait for nobody."""
        self.close("stdin", "stdout", "stderr", "pidfd", "_lifeline", "_report")

    def close(self, *names: str) -> None:
        """Close descriptors by name; those that are closed already stay so."""
        for name in names:
            descriptor: int = getattr(self, name)
            if descriptor >= 0:
                setattr(self, name, -1)
                os.close(descriptor)

    def _order(self, order: bytes, number: int) -> None:

        try:
            if self._lifeline >= 0:
                # A program of the same user can stop its keeper, which could not hear then, or kill it.
                signal.pidfd_send_signal(self.pidfd, signal.SIGCONT)
                with sigpipe_blocked():
                    os.write(self._lifeline, order)
            else:
                os.killpg(self.pid, number)
        except (BrokenPipeError, ProcessLookupError, PermissionError):
            pass  # it is gone, or has become somebody else's program


def spawn(
    argv: Sequence[str],
    env: Mapping[str, str],
    timeout_ms: int | None = None,
    trust: Trust = DEFAULT_TRUST,
) -> Child:
    """Start `argv[0]`, an absolute path, without a shell.

    The program gets three pipes and no other descriptor, `env` and nothing else, default signal dispositions, an empty
    signal mask, and a session (so a process group) of its own. Raises UntrustedProgram, and OSError: `explain` says
    why.
    """
    kept_by_keeper = os.access(KEEPER, os.X_OK)
    if not trust.insecure:
        check_location(argv[0])
    if trust.needs_keeper and not kept_by_keeper:
        raise UntrustedProgram(
            "a pin or a limit is asked for, which needs the keeper, and that was not built; "
            "install stdioproc where there is a C compiler"
        )
    if trust.sandbox is not None:
        if trust.sha256:
            raise UntrustedProgram("a pinned program cannot be confined as well: remove sha256, or sandbox")
        from stdioproc.host.sandbox import wrap  # only who confines pays for it

        argv = wrap(argv, trust.sandbox)
    opened: list[int] = []
    kept: list[int] = []
    try:
        stdin, stdout, stderr = (_pipe(opened) for _ in range(3))
        standard = [(stdin[0], 0), (stdout[1], 1), (stderr[1], 2)]
        kept = [stdin[1], stdout[0], stderr[0]]
        if kept_by_keeper:
            lifeline, report = _pipe(opened), _pipe(opened)
            kept += [lifeline[1], report[0]]
            moves = [*standard, (lifeline[0], _LIFELINE), (report[1], _REPORT)]
            child = _spawn_kept(argv, env, moves, opened, kept, timeout_ms, trust)
        else:
            pid = _start(argv[0], list(argv), env, standard)
            child = _child_of(pid, pid, kept)
    except BaseException:
        for descriptor in opened:
            os.close(descriptor)
        raise
    for descriptor in opened:
        if descriptor not in kept:
            os.close(descriptor)
    for descriptor in kept[:3]:
        os.set_blocking(descriptor, False)
    return child


def _spawn_kept(
    argv: Sequence[str],
    env: Mapping[str, str],
    moves: list[tuple[int, int]],
    opened: list[int],
    kept: list[int],
    timeout_ms: int | None,
    trust: Trust,
) -> Child:
    options = trust.options()
    pinned = pin(list(argv), trust.sha256, trust.interpreter_sha256) if trust.sha256 else None
    try:
        if pinned is not None:
            argv = pinned.argv
            options.append(f"exec={_EXECUTE}")
            moves = [*moves, (pinned.execute, _EXECUTE)]
            if pinned.script >= 0:
                options.append(f"keep={SCRIPT}")
                moves = [*moves, (pinned.script, SCRIPT)]
        keeper = _start(KEEPER, [KEEPER, str(os.getpid()), ",".join(options) or "-", argv[0], *argv], env, moves)
    finally:
        if pinned is not None:
            pinned.close()
    # A keeper that says nothing more is noticed when the other end of its report is but its own.
    for descriptor in [descriptor for descriptor in opened if descriptor not in kept]:
        opened.remove(descriptor)
        os.close(descriptor)
    try:
        kind, value = _read_report(kept[4], timeout_ms)
    except BaseException:  # Ctrl-C
        _end_keeper(keeper, *kept[3:])
        raise
    if kind == _STARTED:
        return _child_of(value, keeper, kept)
    _end_keeper(keeper, *kept[3:])
    number = value if kind == _FAILED else errno.ETIMEDOUT
    raise OSError(number, os.strerror(number))


def _end_keeper(keeper: int, lifeline: int, report: int) -> None:
    """It may have started the program by now: then it ends that first, in a moment; then it is ended itself."""

    try:
        with sigpipe_blocked():
            os.write(lifeline, b"K")
        for _ in range(2):
            _read_report(report, 100)
    except BrokenPipeError:
        pass
    try:
        os.kill(keeper, signal.SIGKILL)
        os.waitpid(keeper, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def _kill_session(leader: int) -> None:
    """SIGKILL to what is left of the session of a program whose keeper was killed; the system has killed the program itself.

    As long as one of them lives the number is nobody else's.
    """
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.getsid(int(name)) == leader:
                os.kill(int(name), signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def _child_of(pid: int, leader: int, kept: list[int]) -> Child:
    try:
        return Child(pid, leader, (kept[0], kept[1], kept[2]), *kept[3:])
    except OSError as error:
        if error.errno != errno.ESRCH:  # else it is gone already, and its number may be another's
            os.kill(leader, signal.SIGKILL)
            os.waitpid(leader, 0)
        raise


def _start(program: str, argv: list[str], env: Mapping[str, str], moves: list[tuple[int, int]]) -> int:
    given = {number for _, number in moves}
    return os.posix_spawn(
        program,
        argv,
        dict(env),
        file_actions=[
            *((os.POSIX_SPAWN_CLOSE, descriptor) for descriptor in _inheritable() if descriptor not in given),
            *((os.POSIX_SPAWN_DUP2, descriptor, number) for descriptor, number in moves),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=_DEFAULTED,
    )


def _read_report(descriptor: int, timeout_ms: int | None) -> tuple[int, int]:
    """The next report of a keeper; zeros when it has none in time, that it failed when it is gone."""
    ready = select.poll()
    ready.register(descriptor, select.POLLIN)
    if not ready.poll(timeout_ms):
        return 0, 0
    data = os.read(descriptor, _REPORT_FORMAT.size)
    if len(data) < _REPORT_FORMAT.size:
        return _FAILED, errno.ECHILD
    kind, value = _REPORT_FORMAT.unpack(data)
    return kind, value


def explain(program: str, error: OSError) -> str:
    """Why a program could not be started, and what to do."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"cannot be started: {error.strerror}; the host has too many open descriptors"
    if error.errno in (errno.EAGAIN, errno.ENOMEM):
        return f"cannot be started: {error.strerror}; the system, or a limit, has no room for another process"
    if error.errno == errno.ETIMEDOUT:
        return "the system did not execute it in time (a file system that does not answer?)"
    if error.errno == errno.ECHILD:
        return f"its keeper ended before it had started it (was it killed? does {KEEPER} run?)"
    if error.errno == errno.ESRCH:
        return "it ended at once, and how is lost since the host ignores SIGCHLD"
    if error.errno == errno.ENOENT:
        if not os.path.lexists(program):
            return "there is no such file; give the absolute path of the program"
        interpreter = interpreter_of(program)
        if interpreter:
            return f"its first line names the interpreter {shown(interpreter)}, which does not exist"
        if not os.path.exists(program):
            return "it is a symbolic link to a file that does not exist"
        return "its loader does not exist: it was built for another system or architecture"
    if error.errno == errno.EACCES:
        if os.path.isdir(program):
            return "it is a directory, not a program"
        if os.path.exists(program) and not os.access(program, os.X_OK):
            return "it is not executable; run chmod +x on it, or mount its interpreter with the file as an argument"
        interpreter = interpreter_of(program)
        if interpreter:
            return f"its first line names the interpreter {shown(interpreter)}, which cannot be executed"
        return (
            "permission denied: a directory on the way to it cannot be searched, or its file system forbids execution"
        )
    if error.errno == errno.ENOEXEC:
        return "it is neither a program for this machine nor a script whose first line names an interpreter (#!…)"
    return f"cannot be started: {error.strerror}"


def _pipe(opened: list[int]) -> tuple[int, int]:
    """A close-on-exec pipe above the low descriptors: a host may have closed the standard ones and may open them again, and
    those that a child expects are laid over the rest.
    """
    ends = []
    for descriptor in os.pipe():
        if descriptor < LOWEST:
            moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, LOWEST)
            os.close(descriptor)
            descriptor = moved
        opened.append(descriptor)
        ends.append(descriptor)
    return ends[0], ends[1]


def _inheritable() -> list[int]:
    """Descriptors of the host, above the standard three, that a program started now would get."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        try:
            if descriptor > 2 and os.get_inheritable(descriptor):
                found.append(descriptor)
        except OSError:
            continue  # the one that listed the directory
    return found
