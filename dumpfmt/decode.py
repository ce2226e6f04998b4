"""Reading dumps: what runs by default. What it must agree with is grammar.lark (reference.py)."""

from __future__ import annotations

import sys

from dumpfmt.builder import KeySetBuilder
from dumpfmt.errors import DumpError, DumpSyntaxError, TruncatedDump
from dumpfmt.key import Key
from dumpfmt.keyset import KeySet
from dumpfmt.native import native
from dumpfmt.scan import (
    BINARY,
    COPYMETA,
    DEFAULT_LIMITS,
    END,
    HEADER,
    META,
    STRING,
    Limits,
    Scanner,
    one_of,
    unexpected,
)
from dumpfmt.text import shown

TYPE_CHECKING = False  # without importing typing, which a child's start would pay for
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import IO, Literal, Protocol

    from dumpfmt._native import Scan

    # "fast" is the compiled scanner where it was built, else "python"; all accept and refuse the same.
    Parser = Literal["fast", "python", "lark"]

    class Grammar(Protocol):
        """Reads records from a scanner and gives them to a builder in the order that the format allows."""

        def run(self) -> None:
            """Take every record that is there. Raises DumpError."""

        def expected(self) -> Collection[str]:
            """The kinds of records that may come next."""


def load(
    file: IO[bytes], parent: Key | str | None = None, parser: Parser = "fast", limits: Limits = DEFAULT_LIMITS
) -> KeySet:
    """The keyset in a binary file that is open for reading; see `loads`."""
    return loads(file.read(), parent, parser, limits)


def loads(
    data: bytes | bytearray | memoryview,
    parent: Key | str | None = None,
    parser: Parser = "fast",
    limits: Limits = DEFAULT_LIMITS,
) -> KeySet:
    """The keyset in a dump: version 2, or 1 (which only files of old releases have).

    `parent` makes the names relative to it, as in the files of a mountpoint. As with Elektra (facts 4.3) a file may
    be empty and may lack `$end`; every other departure from the format is refused, and so are bytes behind `$end`:
    what is not refused was read. Raises DumpError (DumpSyntaxError, LimitExceeded).
    """
    content = bytes(data)
    if content.startswith(V1_BEGINNINGS):
        from dumpfmt import v1  # only files of old releases need it

        return v1.loads(content, limits)
    if not content:
        return KeySet()
    decoder = Decoder(parent, parser, limits)
    keyset = decoder.feed(content)
    if keyset is None:
        return decoder._end_of_file()
    if decoder.unused_data:
        offset = len(content) - len(decoder.unused_data)
        raise DumpSyntaxError(
            offset, content.count(b"\n", 0, offset) + 1, "nothing behind '$end'", shown(decoder.unused_data)
        )
    return keyset


def read_at(data: bytes, start: int, limits: Limits = DEFAULT_LIMITS) -> tuple[KeySet, int] | None:
    """The keyset that lies whole in `data` from `start` on, and where it ends.

    None says only that a Decoder must look: bytes are missing, something is wrong, or there is no compiled scanner.
    """
    if native is not None:
        found = native.read_at(data, start, limits.message, limits.name, limits.value, limits.keys)
        if found is not None:
            return KeySet._of_records(found[0]), found[1]
    return None


class Decoder:
    """One keyset from a stream: bytes in any pieces, up to `$end` and not a byte further.

    `feed` returns the keyset as soon as `$end` is there; `unused_data` are the bytes behind it. `eof` tells that it
    was read. After an error every further call raises that error again.
    """

    def __init__(
        self,
        parent: Key | str | None = None,
        parser: Parser = "fast",
        limits: Limits = DEFAULT_LIMITS,
        *,
        bare_names_below: Key | str | None = None,
    ) -> None:
        """`bare_names_below`: a name without a namespace counts as below this key (the seed's contracts have such
        names).
        """
        if parser not in ("fast", "python", "lark"):
            raise ValueError(f"parser must be 'fast', 'python' or 'lark', not {parser!r}")
        self._parser = parser
        self._limits = limits
        self._parent = _key(parent)
        self._bare_names_below = _key(bare_names_below)
        self._keyset: KeySet | None = None
        self._unused = bytearray()
        self._error: DumpError | None = None
        self._reader: _Reader | None = None  # made when it is needed
        self._scan: Scan | None = None
        if native is not None and parser == "fast" and parent is None and bare_names_below is None:
            # Limits beyond a machine word are as good as none.
            message, name, value, keys = (
                min(limit, sys.maxsize) for limit in (limits.message, limits.name, limits.value, limits.keys)
            )
            self._scan = native.Scan(message, name, value, keys)

    @property
    def eof(self) -> bool:
        return self._keyset is not None

    @property
    def unused_data(self) -> bytes:
        return bytes(self._unused)

    def feed(self, data: bytes | bytearray | memoryview) -> KeySet | None:
        """Take `data`; the keyset when it is complete, else None. Raises DumpError."""
        if self._error is not None:
            raise self._error
        content = bytes(data)
        if self._keyset is not None:
            self._unused += content
        elif self._scan is not None:
            answer = self._scan.feed(content)
            if answer > 0:
                self._keyset, self._unused = KeySet._of_records(self._scan.records()), bytearray(self._scan.unused())
                self._scan = None
            elif answer < 0:
                self._explain()
        else:
            self._read(content)
        return self._keyset

    def close(self) -> None:
        """The stream is over. Raises TruncatedDump when the keyset is not complete."""
        if self._error is not None:
            raise self._error
        if self._keyset is None:
            self._explain()
            reader = self._explainer()
            reader.scanner.close()
            raise reader.truncated()

    def _explain(self) -> None:
        """What the compiled scanner is not sure of is read again by the one that accepts it, or says what is wrong."""
        if self._scan is not None:
            content, self._scan = self._scan.taken(), None
            self._read(content)

    def _explainer(self) -> _Reader:
        if self._reader is None:
            self._reader = _Reader(self._parser, self._limits, self._parent, self._bare_names_below)
        return self._reader

    def _read(self, content: bytes) -> None:
        reader = self._explainer()
        reader.scanner.feed(content)
        try:
            reader.grammar.run()
        except DumpError as error:
            self._error = error
            raise
        if reader.scanner.eof:
            self._keyset, self._unused = reader.builder.keyset, bytearray(reader.scanner.unused_data)

    def _end_of_file(self) -> KeySet:
        """A file may end without `$end`, or without the line feed behind it (facts 4.3)."""
        self._explain()
        reader = self._explainer()
        if reader.scanner.pending in (b"$end", b"kdbOpen 2"):
            self._read(b"\n")
        if self._keyset is None:
            reader.scanner.close()
            if END not in reader.grammar.expected():
                raise reader.truncated()
            self._keyset = reader.builder.keyset
        return self._keyset


class _Reader:
    """Scanner, grammar and builder of one keyset, in Python."""

    def __init__(self, parser: Parser, limits: Limits, parent: Key | None, bare_names_below: Key | None) -> None:
        self.scanner = Scanner(limits)
        self.builder = KeySetBuilder(self.scanner, parent, bare_names_below)
        self.grammar: Grammar
        if parser == "lark":
            from dumpfmt.reference import LarkGrammar  # importing Lark costs more than a child's whole start

            self.grammar = LarkGrammar(self.scanner, self.builder)
        else:
            self.grammar = FastGrammar(self.scanner, self.builder)

    def truncated(self) -> TruncatedDump:
        offset = self.scanner.offset
        return TruncatedDump(offset, self.scanner.line(offset), one_of(self.grammar.expected()), "the end of the input")


def _key(key: Key | str | None) -> Key | None:
    return Key(key) if isinstance(key, str) else key


#: How a file of version 1 begins; its first line may be missing.
V1_BEGINNINGS = (b"kdbOpen 1\n", b"ksNew ")

_FIRST = (HEADER,)
_BEFORE_KEYS = (STRING, BINARY, END)
_BEHIND_KEY = (STRING, BINARY, META, COPYMETA, END)
_NOTHING = ()


class FastGrammar:
    """The order of records as a loop; grammar.lark is its definition."""

    def __init__(self, scanner: Scanner, builder: KeySetBuilder) -> None:
        self._scanner = scanner
        self._builder = builder
        self._next: tuple[str, ...] = _FIRST

    def expected(self) -> tuple[str, ...]:
        return self._next

    def run(self) -> None:
        add_key, add_meta, copy_meta = self._builder.key, self._builder.meta, self._builder.copymeta
        allowed = self._next
        for kind, offset, first, second in self._scanner.records():
            if kind not in allowed:
                raise unexpected(self._scanner, offset, allowed)
            if kind is META:
                add_meta(offset, first, second)
            elif kind is STRING or kind is BINARY:
                self._next = allowed = _BEHIND_KEY
                add_key(kind is BINARY, offset, first, second)
            elif kind is COPYMETA:
                copy_meta(offset, first, second)
            else:
                self._next = allowed = _BEFORE_KEYS if kind is HEADER else _NOTHING
