"""What an author derives from."""

from __future__ import annotations

import sys

from dumpfmt import Key, KeySet
from stdioproc.contract import Infos, check_module_name
from stdioproc.dialects import OPERATIONS
from stdioproc.errors import ElektraError, add_warning


class Plugin:
    """An Elektra plugin; one object for the life of a child process.

    A subclass defines the operations that it has, and only those are announced:

        def open(self, config: KeySet, parent: Key): ...       # names below user:/config
        def get(self, data: KeySet, parent: Key): ...          # likewise set, commit, error
        def checkconf(self, config: KeySet, parent: Key): ...
        def close(self, parent: Key): ...

    Each changes its keyset and `parent` in place and returns a Status, 1, 0 or -1, or nothing for SUCCESS. What it
    raises becomes an Elektra error on `parent`: raise a class of stdioproc.errors to choose which.
    """

    #: The name of the module in errors; one part of a key name. Empty: the name of the class in lower case.
    name: str = ""
    infos: Infos = Infos()
    #: Answered to `--elektra-spec`: keys below `spec:/`, which stands for the mountpoint.
    spec: KeySet | None = None
    #: The placement that is being served ("presetstorage" …), when the host tells; else None.
    phase: str | None = None

    def warn(self, parent: Key, warning: ElektraError) -> None:
        """Add a warning to `parent`; file and line are the caller's."""
        if not warning.file:
            frame = sys._getframe(1)
            warning.file, warning.line = frame.f_code.co_filename, str(frame.f_lineno)
        warning.module = warning.module or module_name(type(self))
        add_warning(parent, warning)


def module_name(plugin: type[Plugin]) -> str:
    """The name that a plugin announces. Raises ValueError when it is no part of a key name."""
    return check_module_name(plugin.name or plugin.__name__.lower())


def operations_of(plugin: type[Plugin]) -> frozenset[str]:
    """The operations that a class defines."""
    return frozenset(operation for operation in OPERATIONS if callable(getattr(plugin, operation, None)))
