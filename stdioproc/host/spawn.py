"""Starting a program with pipes: exact arguments and environment, nothing inherited, a session of its own."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from collections.abc import Mapping, Sequence

from dumpfmt.text import shown

# What a child shall not inherit: the host may ignore or block signals, and its child must not.
_DEFAULTED = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


class Child:
    """A started program: its pid, a pidfd, and the host's ends of its three pipes (non-blocking; -1 once closed)."""

    __slots__ = ("pid", "pidfd", "stderr", "stdin", "stdout")

    def __init__(self, pid: int, pidfd: int, stdin: int, stdout: int, stderr: int) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr

    def close(self, *names: str) -> None:
        """Close descriptors by name; those that are closed already stay so."""
        for name in names:
            descriptor: int = getattr(self, name)
            if descriptor >= 0:
                setattr(self, name, -1)
                os.close(descriptor)


def spawn(argv: Sequence[str], env: Mapping[str, str]) -> Child:
    """Start `argv[0]`, an absolute path, without a shell.

    The child gets the three pipes and no other descriptor, `env` and nothing else, default signal dispositions, an
    empty signal mask, and a session (so a process group) of its own. Raises OSError; `explain` says why.
    """
    opened: list[int] = []
    try:
        stdin, stdout, stderr = (_pipe(opened) for _ in range(3))
        pid = os.posix_spawn(
            argv[0],
            list(argv),
            dict(env),
            file_actions=[
                (os.POSIX_SPAWN_DUP2, stdin[0], 0),
                (os.POSIX_SPAWN_DUP2, stdout[1], 1),
                (os.POSIX_SPAWN_DUP2, stderr[1], 2),
                *((os.POSIX_SPAWN_CLOSE, descriptor) for descriptor in _inheritable()),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=_DEFAULTED,
        )
        try:
            pidfd = os.pidfd_open(pid)
        except OSError as error:
            if error.errno != errno.ESRCH:  # else it is gone already, and its number may be another's
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            raise
    except BaseException:
        for descriptor in opened:
            os.close(descriptor)
        raise
    for descriptor in (stdin[0], stdout[1], stderr[1]):
        os.close(descriptor)
    for descriptor in (stdin[1], stdout[0], stderr[0]):
        os.set_blocking(descriptor, False)
    return Child(pid, pidfd, stdin[1], stdout[0], stderr[0])


def explain(program: str, error: OSError) -> str:
    """Why a program could not be started, and what to do."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"cannot be started: {error.strerror}; the host has too many open descriptors"
    if error.errno in (errno.EAGAIN, errno.ENOMEM):
        return f"cannot be started: {error.strerror}; the system has no room for another process"
    if error.errno == errno.ESRCH:
        return "it ended at once, and how is lost since the host ignores SIGCHLD"
    if error.errno == errno.ENOENT:
        if not os.path.lexists(program):
            return "there is no such file; give the absolute path of the program"
        interpreter = _interpreter(program)
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
        interpreter = _interpreter(program)
        if interpreter:
            return f"its first line names the interpreter {shown(interpreter)}, which cannot be executed"
        return (
            "permission denied: a directory on the way to it cannot be searched, or its file system forbids execution"
        )
    if error.errno == errno.ENOEXEC:
        return "it is neither a program for this machine nor a script whose first line names an interpreter (#!…)"
    return f"cannot be started: {error.strerror}"


def _pipe(opened: list[int]) -> tuple[int, int]:
    """A close-on-exec pipe above the standard descriptors, which a host may have closed and may open again."""
    ends = []
    for descriptor in os.pipe():
        if descriptor < 3:
            moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
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


def _interpreter(program: str) -> bytes:
    try:
        with open(program, "rb") as file:
            line = file.readline(256)
    except OSError:
        return b""
    words = line[2:].split() if line.startswith(b"#!") else []
    return words[0] if words else b""
