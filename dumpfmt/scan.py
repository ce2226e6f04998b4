"""The record scanner: bytes in any pieces become whole records. Every length rule and every limit lives here, once.

A dump (version 2) is a sequence of records (facts 4.1). A record is a command line and, for some commands, two
payloads whose lengths the line announces, each followed by a line feed:

    kdbOpen 2
    $key string|binary NAMELENGTH VALUELENGTH
    $meta NAMELENGTH VALUELENGTH
    $copymeta KEYNAMELENGTH METANAMELENGTH
    $end

Which record may follow which is not decided here but in grammar.lark; what names and values may hold, in builder.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from dumpfmt.errors import DumpSyntaxError, LimitExceeded, TruncatedDump
from dumpfmt.text import shown

# Kinds of records; the names are those of the terminals in grammar.lark.
HEADER = "HEADER"
STRING = "STRING"
BINARY = "BINARY"
META = "META"
COPYMETA = "COPYMETA"
END = "END"

#: Kind, offset of the record in the keyset, first and second payload (empty for HEADER and END).
Record = tuple[str, int, bytes, bytes]

#: What a message calls each kind, in the order in which it lists them.
COMMANDS = {
    HEADER: "'kdbOpen 2'",
    STRING: "'$key string'",
    BINARY: "'$key binary'",
    META: "'$meta'",
    COPYMETA: "'$copymeta'",
    END: "'$end'",
}

# '$key binary' with two lengths of 19 digits is 51 bytes long, and no limit is a number of more digits.
_MAX_COMMAND = 64
_MAX_DIGITS = 19
# Command lines repeat ('$meta 4 4'); the most frequent ones are parsed once. A bound, so that hostile input cannot
# fill it.
_MAX_CACHED = 4096
_LF = 10


class Limits:
    """How much a keyset may hold. All are bytes but `keys`.

    `message` is the whole keyset, `name` one key or metakey name, `value` one value or metadata value.
    """

    __slots__ = ("keys", "message", "name", "value")

    def __init__(
        self, *, message: int = 1 << 30, name: int = 1 << 20, value: int = 256 << 20, keys: int = 10_000_000
    ) -> None:
        self.message = message
        self.name = name
        self.value = value
        self.keys = keys

    def __repr__(self) -> str:
        return f"Limits(message={self.message}, name={self.name}, value={self.value}, keys={self.keys})"


DEFAULT_LIMITS = Limits()


class Scanner:
    """Takes bytes with `feed`, gives records with `records`, and stops behind `$end`.

    `eof` tells that `$end` was read; `unused_data` are the bytes behind it. Work is linear in the bytes fed, however
    they are cut; at most one incomplete record is kept.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        self.eof = False
        self._buffer = b""
        self._position = 0  # in the buffer: where the next record starts
        self._offset = 0  # of the buffer, in the keyset
        self._lines = 0  # line feeds before the buffer
        self._more = bytearray()  # fed, and not looked at until the buffer can be completed
        self._need = 1  # bytes from the position on, before it makes sense to look again
        self._keys = 0
        # (kind, length of the first payload, length of the record behind its command line)
        self._commands: dict[bytes, tuple[str, int, int]] = {}

    def feed(self, data: bytes) -> None:
        if not self._more and self._position == len(self._buffer):
            self._advance(bytes(data))  # nothing is left over: no copy for one who feeds everything at once
        else:
            self._more += data

    @property
    def unused_data(self) -> bytes:
        return self._buffer[self._position :] + self._more if self.eof else b""

    @property
    def offset(self) -> int:
        """Where in the keyset the next record starts."""
        return self._offset + self._position

    @property
    def pending(self) -> bytes:
        """What was fed and is no whole record yet."""
        return b"" if self.eof else self._buffer[self._position :] + self._more

    def records(self) -> Iterator[Record]:
        """The records that are complete; ends when more bytes are needed, or behind `$end`.

        Raises DumpSyntaxError and LimitExceeded.
        """
        if self._more and len(self._buffer) - self._position + len(self._more) >= self._need:
            self._advance(self._buffer[self._position :] + self._more)
            self._more = bytearray()
        buffer, position, size = self._buffer, self._position, len(self._buffer)
        commands = self._commands
        budget = self.limits.message - self._offset
        while not self.eof:
            line_end = buffer.find(b"\n", position, position + _MAX_COMMAND)
            if line_end < 0:
                if size - position >= _MAX_COMMAND:
                    raise self._unknown(position)
                self._check_room(position, size)
                self._need = size - position + 1
                return
            command = commands.get(buffer[position:line_end])
            if command is None:
                command = self._parse(position, line_end)
                if len(commands) < _MAX_CACHED:
                    commands[buffer[position:line_end]] = command
            kind, first_length, rest = command
            first = line_end + 1
            end = first + rest
            if end > size or end > budget:
                self._check_room(position, end)
                self._need = end - position
                return
            if rest:
                middle = first + first_length
                if buffer[middle] != _LF:
                    raise self._length_is_wrong(kind, "first", first_length, middle)
                if buffer[end - 1] != _LF:
                    raise self._length_is_wrong(kind, "second", rest - first_length - 2, end - 1)
                if kind is STRING or kind is BINARY:
                    self._keys += 1
                    if self._keys > self.limits.keys:
                        raise self._limit("keys", self.limits.keys, self._keys, position)
                record = (kind, self._offset + position, buffer[first:middle], buffer[middle + 1 : end - 1])
            else:
                record = (kind, self._offset + position, b"", b"")
                self.eof = kind is END
            self._position = position = end
            yield record
        self._need = 1

    def close(self) -> None:
        """The input is over. Raises TruncatedDump when it ended inside a record; what may be missing besides, the
        grammar knows.
        """
        left = self._buffer[self._position :] + self._more
        if self.eof or not left:
            return
        line_end = left.find(b"\n", 0, _MAX_COMMAND)
        offset = self._offset + self._position
        if line_end < 0:
            raise TruncatedDump(
                offset, self.line(offset), "a line feed behind the command", f"the end after {shown(left)}"
            )
        raise TruncatedDump(
            offset + len(left),
            self.line(offset) + left.count(b"\n"),
            f"{self._need - len(left)} more bytes of the record {shown(left[:line_end])}",
            f"the end after {shown(left[-20:])}",
        )

    def line(self, offset: int) -> int:
        """The line of an offset that lies in or behind the last records, counted from 1."""
        return self._lines + self._buffer.count(b"\n", 0, max(0, offset - self._offset)) + 1

    def error(self, offset: int, expected: str, found: str) -> DumpSyntaxError:
        return DumpSyntaxError(offset, self.line(offset), expected, found)

    def found(self, offset: int) -> str:
        """A view of the line at an offset that lies in or behind the last records."""
        start = offset - self._offset
        end = self._buffer.find(b"\n", start, start + _MAX_COMMAND)
        return shown(self._buffer[start : end if end >= 0 else start + _MAX_COMMAND])

    def _advance(self, buffer: bytes) -> None:
        """Drop what was read, keep the count of bytes and lines."""
        self._offset += self._position
        self._lines += self._buffer.count(b"\n", 0, self._position)
        self._buffer = buffer
        self._position = 0

    def _parse(self, position: int, line_end: int) -> tuple[str, int, int]:
        line = self._buffer[position:line_end]
        if line == b"$end":
            return END, 0, 0
        if line == b"kdbOpen 2":
            return HEADER, 0, 0
        words = line.split(b" ")
        if words[0] == b"$key":
            if len(words) == 1:
                raise self.error(self._offset + position, "'$key' with a type and two lengths", shown(line))
            if words[1] == b"string":
                kind, lengths = STRING, words[2:]
            elif words[1] == b"binary":
                kind, lengths = BINARY, words[2:]
            else:
                raise self.error(self._offset + position + 5, "the type 'string' or 'binary'", shown(words[1]))
        elif words[0] == b"$meta":
            kind, lengths = META, words[1:]
        elif words[0] == b"$copymeta":
            kind, lengths = COPYMETA, words[1:]
        elif line.split()[:1] == [b"$end"] and words[0]:
            raise self.error(self._offset + position, "'$end' and a line feed", shown(line))
        else:
            raise self._unknown(position)
        if len(lengths) != 2:
            raise self.error(
                self._offset + position, f"{COMMANDS[kind]} with two lengths, separated by single spaces", shown(line)
            )
        at = position + len(line) - len(lengths[0]) - 1 - len(lengths[1])
        first = self._length(lengths[0], at)
        second = self._length(lengths[1], at + len(lengths[0]) + 1)
        self._check_limit("name", self.limits.name, first, position)
        if kind == COPYMETA:
            self._check_limit("name", self.limits.name, second, position)
        else:
            self._check_limit("value", self.limits.value, second, position)
        return kind, first, first + second + 2

    def _length(self, word: bytes, position: int) -> int:
        if not word.isdigit() or len(word) > _MAX_DIGITS or (word[0] == 48 and len(word) > 1):
            raise self.error(
                self._offset + position, "a length in plain decimal digits (no sign, no leading zero)", shown(word)
            )
        return int(word)

    def _unknown(self, position: int) -> DumpSyntaxError:
        offset = self._offset + position
        if offset == 0:
            return self.error(0, "'kdbOpen 2', the first line of a dump", self.found(0))
        if self._buffer[position : position + 1] == b"\n":
            return self.error(offset, "a command", "an empty line (the payload before it may be longer than announced)")
        return self.error(offset, "a command: '$key', '$meta', '$copymeta' or '$end'", self.found(offset))

    def _length_is_wrong(self, kind: str, which: str, length: int, position: int) -> DumpSyntaxError:
        return self.error(
            self._offset + position,
            f"a line feed behind the {length} bytes that {COMMANDS[kind]} announced as its {which} payload",
            shown(self._buffer[position : position + 20]),
        )

    def _check_limit(self, limit: str, allowed: int, wanted: int, position: int) -> None:
        if wanted > allowed:
            raise self._limit(limit, allowed, wanted, position)

    def _check_room(self, position: int, end: int) -> None:
        self._check_limit("message", self.limits.message, self._offset + end, position)

    def _limit(self, limit: str, allowed: int, wanted: int, position: int) -> LimitExceeded:
        offset = self._offset + position
        return LimitExceeded(limit, allowed, wanted, offset, self.line(offset))


def unexpected(scanner: Scanner, offset: int, expected: Collection[str]) -> DumpSyntaxError:
    return scanner.error(offset, one_of(expected), scanner.found(offset))


def one_of(kinds: Collection[str]) -> str:
    names = [COMMANDS[kind] for kind in COMMANDS if kind in kinds]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
