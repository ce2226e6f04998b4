"""What dumpfmt raises. Every class is a ValueError: the input is at fault, never the program's state."""

from __future__ import annotations

from dumpfmt.text import shown


class InvalidKeyName(ValueError):
    """A string is no valid key name (or no valid part of one).

    Attributes: `name` (str, as given) and `reason` (str).
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"invalid key name {shown(name)}: {reason}")
        self.name = name
        self.reason = reason

    def __reduce__(self) -> tuple[type[InvalidKeyName], tuple[str, str]]:
        return type(self), (self.name, self.reason)


class DumpError(ValueError):
    """A keyset could not be read or written. The base of everything below."""


class DumpSyntaxError(DumpError):
    """Bytes that are not the format.

    Attributes: `offset` (int, bytes from the start of the keyset), `line` (int, counted from 1 by line feeds),
    `expected` (str) and `found` (str, escaped and short).
    """

    def __init__(self, offset: int, line: int, expected: str, found: str) -> None:
        # Not super(): InvalidNameInDump has a second base whose constructor takes other arguments.
        DumpError.__init__(self, f"byte {offset}, line {line}: expected {expected}, found {found}")
        self.offset = offset
        self.line = line
        self.expected = expected
        self.found = found

    def __reduce__(self) -> tuple[type[DumpSyntaxError], tuple[int, int, str, str]]:
        return type(self), (self.offset, self.line, self.expected, self.found)


class TruncatedDump(DumpSyntaxError):
    """The input ended where more of it was due."""


class InvalidNameInDump(DumpSyntaxError, InvalidKeyName):
    """A record names a key that cannot exist. Elektra's own reader drops such keys silently (facts 4.3)."""

    def __init__(self, offset: int, line: int, name: str, reason: str) -> None:
        DumpSyntaxError.__init__(self, offset, line, "a valid key name", f"{shown(name)} ({reason})")
        self.name = name
        self.reason = reason

    def __reduce__(self) -> tuple[type[InvalidNameInDump], tuple[int, int, str, str]]:  # type: ignore[override]
        # The two bases disagree on their arguments; this class has its own four.
        return type(self), (self.offset, self.line, self.name, self.reason)


class LimitExceeded(DumpError):
    """A limit (`dumpfmt.Limits`) would be passed. Nothing beyond the limit was kept in memory.

    Attributes: `limit` (str, the name of the limit), `allowed` and `wanted` (int, bytes or keys), `offset`, `line`.
    """

    def __init__(self, limit: str, allowed: int, wanted: int, offset: int, line: int) -> None:
        what = f"{wanted} keys" if limit == "keys" else f"a {limit} of {wanted} bytes"
        super().__init__(
            f"byte {offset}, line {line}: {what}, where the limit '{limit}' allows {allowed}; raise it if the data is right"
        )
        self.limit = limit
        self.allowed = allowed
        self.wanted = wanted
        self.offset = offset
        self.line = line

    def __reduce__(self) -> tuple[type[LimitExceeded], tuple[str, int, int, int, int]]:
        return type(self), (self.limit, self.allowed, self.wanted, self.offset, self.line)
