"""Descriptors 0 and 1 become the protocol's alone, so that no print, no C `puts` and no subprocess can break the
wire.
"""

from __future__ import annotations

import fcntl
import os
import sys

# Descriptors are moved above the standard three.
_LOWEST = 3


class Wire:
    """The claimed pair: `read` and `write_all` on what were descriptors 0 and 1."""

    __slots__ = ("_in", "_out", "_size")

    def __init__(self, source: int, target: int) -> None:
        self._in = source
        self._out = target
        self._size = 1 << 16

    def read(self) -> bytes:
        """What has arrived, at least a byte; empty at the end."""
        data = os.read(self._in, self._size)
        if len(data) == self._size and self._size < 1 << 20:
            self._size *= 2
        return data

    def write_all(self, data: bytes) -> None:
        """Raises BrokenPipeError when the host is gone."""
        written = os.write(self._out, data)
        if written < len(data):
            view = memoryview(data)
            while written < len(data):
                written += os.write(self._out, view[written:])


def claim() -> Wire:
    """Take descriptors 0 and 1: what they were is only ours, 0 becomes empty and 1 becomes stderr.

    Raises OSError when they are not open.
    """
    source = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, _LOWEST)
    target = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, _LOWEST)
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)
    try:
        os.fstat(2)
    except OSError:  # started without a stderr: its messages have nowhere to go, and must not go elsewhere
        os.dup2(null, 2)
    if null > 2:
        os.close(null)
    os.dup2(2, 1)
    # What is printed shall be seen when it is printed, not when the process ends. sys.stdout is None without a stdout.
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(line_buffering=True)
    return Wire(source, target)
