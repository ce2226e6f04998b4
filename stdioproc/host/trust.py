"""Whether a program may be started at all, and that what was checked is what runs.

Whoever can write the program, or a directory on the way to it, decides what runs as the user who mounted it. A pin (`sha256`)
is checked on an open file, and that very file is executed, so nobody can swap it in between.
"""

from __future__ import annotations

import fcntl
import os
import stat

from dumpfmt.text import shown

# What the kernel reads of a first line, how many interpreters of interpreters it follows, how many symbolic links.
_SHEBANG_MAX = 256
_INTERPRETERS_MAX = 6
_LINKS_MAX = 40


class UntrustedProgram(Exception):
    """A program that must not be started; the message says why and what to do."""


class Trust:
    """What is demanded of a program, and what it is left.

    `sha256` pins the program's file, `interpreter_sha256` that of the interpreter of a script (hexadecimal; empty: no pin).
    `insecure` starts programs that others can replace. `memory` (bytes of address space), `cpu` (seconds) and `files`
    (descriptors) are limits of the running program; None leaves what the host has. `sandbox` names the directories that the
    program may write in, and confines it otherwise (stdioproc.host.sandbox); None confines nothing.
    """

    __slots__ = ("cpu", "files", "insecure", "interpreter_sha256", "memory", "sandbox", "sha256")

    def __init__(
        self,
        *,
        sha256: str = "",
        interpreter_sha256: str = "",
        insecure: bool = False,
        memory: int | None = None,
        cpu: int | None = None,
        files: int | None = None,
        sandbox: tuple[str, ...] | None = None,
    ) -> None:
        self.sha256 = sha256
        self.interpreter_sha256 = interpreter_sha256
        self.insecure = insecure
        self.memory = memory
        self.cpu = cpu
        self.files = files
        self.sandbox = sandbox

    def with_writable(self, directories: tuple[str, ...]) -> Trust:
        """The same, with other directories to write in."""
        return Trust(
            sha256=self.sha256,
            interpreter_sha256=self.interpreter_sha256,
            insecure=self.insecure,
            memory=self.memory,
            cpu=self.cpu,
            files=self.files,
            sandbox=directories,
        )

    @property
    def needs_keeper(self) -> bool:
        """Whether something is demanded that only the keeper can do."""
        return bool(self.sha256 or self.options())

    def options(self) -> list[str]:
        """The limits in the words of the keeper."""
        limits = (("memory", self.memory), ("cpu", self.cpu), ("files", self.files))
        return [f"{name}={value}" for name, value in limits if value is not None]


#: What is demanded when nothing is said.
DEFAULT_TRUST = Trust()


class Pinned:
    """Open files that were checked: `execute` is the one to run, `script` the one its interpreter shall read (or -1).

    `argv` is what to run them with. Close it when the program has been started.
    """

    __slots__ = ("argv", "execute", "script")

    def __init__(self, argv: list[str], execute: int, script: int) -> None:
        self.argv = argv
        self.execute = execute
        self.script = script

    def close(self) -> None:
        for descriptor in (self.execute, self.script):
            if descriptor >= 0:
                os.close(descriptor)
        self.execute = self.script = -1


def check_location(program: str) -> None:
    """Refuse a program that others can replace: the file, a directory that is passed on the way to it (symbolic links included),
    or those of the interpreter that its `#!` names, writable by everybody or by a group that is not its owner's own. A directory
    with the sticky bit is accepted, for there only owners replace files.

    `program` is an absolute path. Raises UntrustedProgram; OSError is left to the attempt to start it.
    """
    who = "it"
    for _ in range(_INTERPRETERS_MAX):
        _check_way(program, who)
        program = os.fsdecode(interpreter_of(program))
        if not program.startswith("/"):
            return
        who = f"its interpreter {program}"


def _check_way(program: str, what: str) -> None:
    for step, status in _passed(program):
        is_directory = stat.S_ISDIR(status.st_mode)
        others = _others_that_write(step, status)
        if others and not (is_directory and status.st_mode & stat.S_ISVTX):
            found = f"the directory {step}, on the way to {what}," if is_directory else what
            raise UntrustedProgram(
                f"{found} is writable by {others} (mode {stat.S_IMODE(status.st_mode):04o}), who could put another program "
                f"there; run chmod {'go-w' if others == 'everybody' else 'g-w'} on it, or say insecure=1 if that is meant"
            )


def _passed(path: str) -> list[tuple[str, os.stat_result]]:
    """What the system passes on the way to a file: the file first, then every directory in which it looks something up, those
    of symbolic links too. Nothing for a path that leads nowhere.
    """
    todo, at, links = path.split("/")[::-1], "/", 0
    try:
        found = [("/", os.stat("/"))]
        while todo:
            name = todo.pop()
            if name in ("", "."):
                continue
            if name == "..":
                at = os.path.dirname(at)
                continue
            step = os.path.join(at, name)
            status = os.lstat(step)
            if not stat.S_ISLNK(status.st_mode):
                at = step
                found.append((step, status))
                continue
            links += 1
            if links > _LINKS_MAX:
                return []
            target = os.readlink(step)
            todo += target.split("/")[::-1]
            if target.startswith("/"):
                at = "/"
    except OSError:
        return []
    return found[::-1]


def interpreter_of(program: str) -> bytes:
    """What its `#!` line names; empty for what is no script, or cannot be read."""
    try:
        descriptor = os.open(program, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        line = os.read(descriptor, _SHEBANG_MAX).split(b"\n", 1)[0]
    except OSError:
        return b""
    finally:
        os.close(descriptor)
    words = line[2:].split() if line.startswith(b"#!") else []
    return words[0] if words else b""


def pin(argv: list[str], sha256: str, interpreter_sha256: str = "") -> Pinned:
    """Open `argv[0]` and check its SHA-256; for a script (`#!`) also its interpreter's, when one is given.

    Raises UntrustedProgram for another checksum, OSError when a file cannot be read.
    """
    program = _open(argv[0])
    try:
        _check(program, argv[0], "sha256", sha256)
        line = os.pread(program, _SHEBANG_MAX, 0).split(b"\n", 1)[0]
        if not line.startswith(b"#!"):
            if interpreter_sha256:
                raise UntrustedProgram("sha256/interpreter is given, but it is no script: it has no #! line")
            return Pinned(argv, program, -1)
        # The kernel's rule: the interpreter, and the rest of the line as one argument.
        words = line[2:].strip().split(None, 1)
        if not words:
            raise UntrustedProgram("its #! line names no interpreter")
        interpreter = os.fsdecode(words[0])
        opened = _open(interpreter)
        try:
            if interpreter_sha256:
                _check(opened, interpreter, "sha256/interpreter", interpreter_sha256)
        except BaseException:
            os.close(opened)
            raise
        # The interpreter reads the script from the descriptor that was checked, never from the path again.
        return Pinned([interpreter, *map(os.fsdecode, words[1:]), f"/dev/fd/{SCRIPT}", *argv[1:]], opened, program)
    except BaseException:
        os.close(program)
        raise


#: The descriptor that a pinned script has in its interpreter.
SCRIPT = 5
#: Descriptors of the host lie above those that a program or its keeper is given, so that no move overwrites another.
LOWEST = 10


def _open(path: str) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    if descriptor < LOWEST:  # below lie those that the program is given
        moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, LOWEST)
        os.close(descriptor)
        descriptor = moved
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UntrustedProgram(f"{shown(path)} is no regular file, so its checksum means nothing")
    return descriptor


def _check(descriptor: int, path: str, key: str, wanted: str) -> None:
    import hashlib  # only who pins pays for it

    with open(descriptor, "rb", closefd=False) as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    os.lseek(descriptor, 0, os.SEEK_SET)
    if found != wanted.strip().lower():
        raise UntrustedProgram(
            f"{path} has the SHA-256 {found}, but {key}={wanted} is demanded; "
            "it was changed, or the configuration is older than it"
        )


def _others_that_write(path: str, status: os.stat_result) -> str:
    if status.st_mode & stat.S_IWOTH:
        return "everybody"
    if not status.st_mode & stat.S_IWGRP:
        return ""
    try:
        # With a list the bits of the group are what any of its entries may have.
        os.getxattr(path, "system.posix_acl_access")
        return "those in its access control list"
    except OSError:
        pass
    return "" if _own_group(status) else f"the group {status.st_gid}, which is not its owner's own"


def _own_group(status: os.stat_result) -> bool:
    """Whether the group of a file is the one that its owner has alone (as most systems give every user)."""
    import grp
    import pwd

    try:
        owner, group = pwd.getpwuid(status.st_uid), grp.getgrgid(status.st_gid)
    except KeyError:
        return status.st_uid == 0 and status.st_gid == 0  # a system without a list of users
    members = {*group.gr_mem, *(user.pw_name for user in pwd.getpwall() if user.pw_gid == status.st_gid)}
    return owner.pw_gid == status.st_gid and members <= {owner.pw_name}
