"""The processes that are measured against: bare children, and where the programs are."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent

#: Isolated as a mounted plugin should be: neither the user's environment nor the current directory has a say.
PYTHON = [sys.executable, "-I"]

#: The largest that everybody may have on Linux: the floor is what the system allows, not what we do.
PIPE_SIZE = 1 << 20


def touch_child(mode: str) -> list[str]:
    """The command of child_touch.py."""
    return [*PYTHON, str(HERE / "child_touch.py"), mode]


def pluginproc() -> str:
    """The installed command, beside the Python that runs this."""
    return str(Path(sys.executable).parent / "pluginproc")


class Piped:
    """A program with pipes on 0 and 1 and nothing else."""

    def __init__(self, argv: list[str], *, pipe_size: int = 0) -> None:
        child_in, self.to_child = os.pipe()
        self.from_child, child_out = os.pipe()
        if pipe_size:
            for descriptor in (child_in, child_out):
                try:
                    fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, pipe_size)
                except OSError:  # above what an unprivileged user may have
                    pass
        self.started = time.perf_counter()
        self.pid = os.posix_spawn(
            argv[0],
            argv,
            {},
            file_actions=[(os.POSIX_SPAWN_DUP2, child_in, 0), (os.POSIX_SPAWN_DUP2, child_out, 1)],
        )
        os.close(child_in)
        os.close(child_out)

    def exchange(self, data: bytes, answer: int) -> None:
        """Write `data`, and read `answer` bytes."""
        view = memoryview(data)
        while view:
            view = view[os.write(self.to_child, view) :]
        while answer:
            got = os.read(self.from_child, 1 << 20)
            if not got:
                raise RuntimeError("the child ended")
            answer -= len(got)

    def close(self) -> None:
        os.close(self.to_child)
        os.close(self.from_child)
        os.waitpid(self.pid, 0)


def bare_child(take: int, give: int) -> Piped:
    """child_bare.py, through pipes as large as they may be."""
    return Piped([*PYTHON, "-S", str(HERE / "child_bare.py"), str(take), str(give)], pipe_size=PIPE_SIZE)
