"""What the two sides say to each other, as plain objects; wire.py knows their bytes, state.py their order."""

from __future__ import annotations

from enum import IntEnum

from dumpfmt import Key, KeySet
from stdioproc.dialects import Dialect


class Status(IntEnum):
    """The answer of an operation. The numbers are those of Elektra's plugin interface (facts 5.2)."""

    SUCCESS = 1
    NO_UPDATE = 0
    ERROR = -1


class Init:
    """Host: speak this dialect."""

    __slots__ = ("dialect",)

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect

    def __repr__(self) -> str:
        return f"Init({self.dialect.name})"


class Ack:
    """Child: the name of its module, one valid part of a key name, and its contract."""

    __slots__ = ("contract", "name")

    def __init__(self, name: str, contract: KeySet) -> None:
        self.name = name
        self.contract = contract

    def __repr__(self) -> str:
        return f"Ack({self.name!r}, {len(self.contract)} keys)"


class Request:
    """Host: perform an operation. `data` is None where the dialect sends none."""

    __slots__ = ("data", "operation", "parent")

    def __init__(self, operation: str, parent: Key, data: KeySet | None = None) -> None:
        self.operation = operation
        self.parent = parent
        self.data = data

    def __repr__(self) -> str:
        return f"Request({self.operation}, {self.parent.name})"


class Reply:
    """Child: how the operation went, the parent key and, where the dialect has it, the data."""

    __slots__ = ("data", "parent", "status")

    def __init__(self, status: Status, parent: Key, data: KeySet | None = None) -> None:
        self.status = status
        self.parent = parent
        self.data = data

    def __repr__(self) -> str:
        return f"Reply({self.status.name}, {self.parent.name})"


class Terminate:
    """Host: no more requests; end yourself."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Terminate()"


class EndOfStream:
    """The peer closed its side, between two messages."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "EndOfStream()"


Event = Init | Ack | Request | Reply | Terminate | EndOfStream
