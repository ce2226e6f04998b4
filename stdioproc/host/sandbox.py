"""A program that may read everything and write next to nothing: bubblewrap around it.

Inside, the file system is read-only but for the directories that are named; there is no network, no sight of other processes, and
no shared memory with them. The program keeps its path, arguments, environment, working directory and pipes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from stdioproc.host.trust import UntrustedProgram

# Not searched in PATH: whoever sets that would choose what confines the program.
_PLACES = ("/usr/bin/bwrap", "/bin/bwrap", "/usr/local/bin/bwrap")

_PROFILE = ("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-all", "--die-with-parent")


def wrap(argv: Sequence[str], writable: Sequence[str]) -> list[str]:
    """The command that runs `argv` confined, with the directories `writable` left to write in.

    Raises UntrustedProgram where bubblewrap is not installed, and OSError for a program that cannot be executed (bubblewrap would
    say so only on stderr).
    """
    bwrap = next((place for place in _PLACES if os.access(place, os.X_OK)), None)
    if bwrap is None:
        raise UntrustedProgram("sandbox=1 needs bubblewrap, which is not installed; install the package bubblewrap")
    os.stat(argv[0])
    if not os.access(argv[0], os.X_OK):
        raise PermissionError(13, os.strerror(13), argv[0])
    binds = [word for directory in writable for word in ("--bind-try", directory, directory)]
    return [bwrap, *_PROFILE, *binds, "--", *argv]
