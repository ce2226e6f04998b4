"""Exit statuses of the commands (sysexits.h), and the error that carries one."""

from __future__ import annotations

EX_USAGE = 64
EX_PLUGIN_UNFIT = 78


class LoadError(Exception):
    """A plugin cannot be loaded. The message is for people; `status` is the exit status that goes with it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
