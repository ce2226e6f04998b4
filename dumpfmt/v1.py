"""Reading dumps of version 1, which releases before 0.9 wrote into files (facts 4.4). They are never on the wire.

A command a line, words separated by blanks; payloads stand behind `keyNew`, `keyMeta` and `keyCopyMeta` without a
separator between them, with their final NULs counted. Names are full, without the colon of today.
"""

from __future__ import annotations

from dumpfmt import names, text
from dumpfmt.errors import DumpSyntaxError, InvalidKeyName, InvalidNameInDump, LimitExceeded, TruncatedDump
from dumpfmt.key import Key, MetaKey, meta_name
from dumpfmt.keyset import KeySet
from dumpfmt.scan import DEFAULT_LIMITS, Limits
from dumpfmt.text import shown

_COMMANDS = "'ksNew', 'keyNew', 'keyMeta', 'keyCopyMeta', 'keyEnd' or 'ksEnd'"


def loads(data: bytes, limits: Limits = DEFAULT_LIMITS) -> KeySet:
    """The keyset in a file of version 1. Raises DumpError.

    Stricter than Elektra's reader where that loses keys or crashes: a key without `keyEnd`, a name with a colon, a
    name without a slash are refused.
    """
    return _Reader(data, limits).read()


class _Reader:
    def __init__(self, data: bytes, limits: Limits) -> None:
        self._data = data
        self._limits = limits
        self._position = 0
        self._start = 0  # of the current line
        self._keyset = KeySet()
        self._key: Key | None = None
        self._value = b""

    def read(self) -> KeySet:
        if len(self._data) > self._limits.message:
            raise LimitExceeded("message", self._limits.message, len(self._data), 0, 1)
        while self._position < len(self._data):
            self._start = self._position
            end = self._data.find(b"\n", self._position)
            end = len(self._data) if end < 0 else end
            line = self._data[self._position : end]
            self._position = end + 1
            words = line.split()
            command = words[0] if words else b""
            if command == b"ksEnd":
                break
            if command == b"ksNew":
                self._keyset.clear()
            elif command == b"kdbOpen" and self._start == 0:
                continue
            elif command == b"keyNew":
                self._new(words)
            elif command == b"keyMeta":
                self._meta(words)
            elif command == b"keyCopyMeta":
                self._copy_meta(words)
            elif command == b"keyEnd":
                self._end()
            else:
                raise self._error(_COMMANDS, shown(line))
        if self._key is not None:
            raise TruncatedDump(
                self._start, self._line(self._start), f"'keyEnd' for {self._key.name}", "the end of the keyset"
            )
        return self._keyset

    def _new(self, words: list[bytes]) -> None:
        if self._key is not None:
            raise self._error(f"'keyEnd' for {self._key.name}", "'keyNew'")
        name, value = self._payloads(words)
        self._key = self._named(name)
        self._value = value

    def _meta(self, words: list[bytes]) -> None:
        key = self._current("keyMeta")
        name, value = self._payloads(words)
        written = self._metaname(name)
        if written == "binary":
            key.value = self._value
        key._meta[written] = MetaKey(self._text(value))  # sorted at the end of the key

    def _copy_meta(self, words: list[bytes]) -> None:
        key = self._current("keyCopyMeta")
        name, metaname = self._payloads(words)
        source = self._named(name)
        written = self._metaname(metaname)
        found = key if source.name == key.name else self._keyset.get(source)
        if found is None or written not in found._meta:
            raise self._error("metadata of a key that was read before", f"{written} of {source.name}")
        if written == "binary":
            key.value = self._value
        key._meta[written] = found._meta[written]

    def _end(self) -> None:
        key = self._current("keyEnd")
        if not key.is_binary:
            meta = dict(key._meta)
            key.value = self._text(self._value)
            key._meta = meta
        key._sort_meta()
        if len(self._keyset) >= self._limits.keys:
            raise LimitExceeded("keys", self._limits.keys, len(self._keyset) + 1, self._start, self._line(self._start))
        self._keyset.append(key)
        self._key = None

    def _current(self, command: str) -> Key:
        if self._key is None:
            raise self._error("'keyNew' first", f"'{command}'")
        return self._key

    def _payloads(self, words: list[bytes]) -> tuple[bytes, bytes]:
        command = words[0].decode("ascii")
        if len(words) != 3 or not all(word.isdigit() and len(word) < 19 for word in words[1:]):
            raise self._error(f"'{command}' with two lengths", shown(b" ".join(words)))
        first, second = int(words[1]), int(words[2])
        for limit, allowed, wanted in (("name", self._limits.name, first), ("value", self._limits.value, second)):
            if wanted > allowed:
                raise LimitExceeded(limit, allowed, wanted, self._start, self._line(self._start))
        start, end = self._position, self._position + first + second
        if end > len(self._data):
            raise TruncatedDump(
                len(self._data),
                self._line(len(self._data)),
                f"{first + second} bytes behind '{command}'",
                "the end of the input",
            )
        line_end = self._data.find(b"\n", end)
        if self._data[end : end + 1] not in (b"\n", b""):
            raise self._error(f"a line feed behind the {first + second} bytes", shown(self._data[end : end + 20]))
        self._position = len(self._data) if line_end < 0 else line_end + 1
        return self._data[start : start + first], self._data[start + first : end]

    def _named(self, raw: bytes) -> Key:
        name = text.decode(raw.removesuffix(b"\0"))
        slash = name.find("/")
        try:
            if slash < 0:
                raise InvalidKeyName(name, "a name of version 1 needs a slash")
            if slash > 0 and ":" in name[:slash]:
                raise InvalidKeyName(name, "a name of version 1 has no colon behind its namespace")
            return Key(names.canonical(name if slash == 0 else f"{name[:slash]}:{name[slash:]}"))
        except InvalidKeyName as error:
            raise InvalidNameInDump(self._start, self._line(self._start), name, error.reason) from None

    def _metaname(self, raw: bytes) -> str:
        name = text.decode(raw.removesuffix(b"\0"))
        try:
            return meta_name(name)
        except InvalidKeyName as error:
            raise InvalidNameInDump(self._start, self._line(self._start), name, error.reason) from None

    def _text(self, raw: bytes) -> str:
        content = raw.removesuffix(b"\0")
        if b"\0" in content:
            raise self._error("text with one NUL, at its end", shown(raw))
        return text.decode(content)

    def _line(self, offset: int) -> int:
        return self._data.count(b"\n", 0, offset) + 1

    def _error(self, expected: str, found: str) -> DumpSyntaxError:
        return DumpSyntaxError(self._start, self._line(self._start), expected, found)
