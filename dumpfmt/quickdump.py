"""The binary form of Elektra's quickdump plugin, version 3 (facts 4.5): what specload reads from a program.

Magic, then keys until the end of the input: a relative name, `s` or `b`, a value, metadata (`m` name value, or `c`
key name and metadata name for a shared one), a zero byte. Names, values and metadata have a length of variable size
before them.
"""

from __future__ import annotations

from dumpfmt import names, text
from dumpfmt.encode import relative_names
from dumpfmt.errors import DumpError, DumpSyntaxError, InvalidKeyName, InvalidNameInDump, LimitExceeded, TruncatedDump
from dumpfmt.key import Key, MetaKey, meta_name
from dumpfmt.keyset import KeySet
from dumpfmt.scan import DEFAULT_LIMITS, Limits
from dumpfmt.text import shown

MAGIC = b"EKDB\0\0\0\3"


def dumps(keyset: KeySet, parent: Key | str) -> bytes:
    """The keyset in quickdump form, with names relative to `parent`. Raises DumpError for a key that is not below
    it.
    """
    root = Key(parent) if isinstance(parent, str) else parent
    out = [MAGIC]
    written: dict[int, tuple[bytes, bytes]] = {}
    for key, name in relative_names(keyset, root):
        value = key.value
        out.append(_sized(name))
        out.append(b"s" + _sized(text.encode(value)) if isinstance(value, str) else b"b" + _sized(value or b""))
        for metaname, metakey in key._meta.items():
            first = written.get(id(metakey))
            if first is not None:
                out.append(b"c" + _sized(first[0]) + _sized(first[1]))
                continue
            short = text.encode(metaname)
            written[id(metakey)] = (name, short)
            out.append(b"m" + _sized(short) + _sized(text.encode(metakey)))
        out.append(b"\0")
    return b"".join(out)


def loads(data: bytes | bytearray | memoryview, parent: Key | str, limits: Limits = DEFAULT_LIMITS) -> KeySet:
    """The keyset in quickdump form; names are taken relative to `parent`. Raises DumpError."""
    return _Reader(bytes(data), Key(parent) if isinstance(parent, str) else parent, limits).read()


def encode_length(number: int) -> bytes:
    """A length: the count of trailing zero bits of the first byte, and one, is the count of bytes (facts 4.5)."""
    for size in range(1, 9):
        if number < 1 << (7 * size):
            return (((number << 1) | 1) << (size - 1)).to_bytes(size, "little")
    return b"\0" + number.to_bytes(8, "little")


def _sized(data: bytes) -> bytes:
    return encode_length(len(data)) + data


class _Reader:
    def __init__(self, data: bytes, parent: Key, limits: Limits) -> None:
        self._data = data
        self._parent = parent
        self._limits = limits
        self._position = 0

    def read(self) -> KeySet:
        data = self._data
        if len(data) > self._limits.message:
            raise LimitExceeded("message", self._limits.message, len(data), 0, 1)
        if not data.startswith(MAGIC):
            if data[:4] == MAGIC[:4] and len(data) >= 8:
                raise self._error(4, "version 3 of the quickdump format", f"version {int.from_bytes(data[4:8], 'big')}")
            raise self._error(0, "the quickdump magic 'EKDB' and version 3 in 8 bytes", shown(data[:8]))
        self._position = len(MAGIC)
        keyset = KeySet()
        while self._position < len(data):
            if len(keyset) >= self._limits.keys:
                raise LimitExceeded("keys", self._limits.keys, len(keyset) + 1, self._position, self._line())
            keyset.append(self._key(keyset))
        return keyset

    def _key(self, keyset: KeySet) -> Key:
        key = Key(self._name(self._take("name", self._limits.name)))
        kind = self._byte("the type of a value, 's' or 'b'")
        if kind not in (b"s", b"b"):
            raise self._error(self._position - 1, "the type of a value, 's' or 'b'", shown(kind))
        start = self._position
        value = self._take("value", self._limits.value)
        key.value = self._text(start, value) if kind == b"s" else value
        while (tag := self._byte("'m', 'c' or the zero byte that ends a key")) != b"\0":
            start = self._position - 1
            if tag == b"m":
                metaname = self._metaname(start, self._take("name", self._limits.name))
                content = self._text(start, self._take("value", self._limits.value))
                self._set_meta(key, metaname, MetaKey(content))
            elif tag == b"c":
                source_name = self._name(self._take("name", self._limits.name))
                metaname = self._metaname(start, self._take("name", self._limits.name))
                source = key if source_name == key.name else keyset.get(source_name)
                if source is None or metaname not in source._meta:
                    raise self._error(
                        start, "shared metadata of a key that was read before", f"{metaname} of {source_name}"
                    )
                self._set_meta(key, metaname, source._meta[metaname])
            else:
                raise self._error(start, "'m', 'c' or the zero byte that ends a key", shown(tag))
        key._sort_meta()
        return key

    def _set_meta(self, key: Key, name: str, metakey: MetaKey) -> None:
        if name == "binary" and isinstance(key.value, str):
            key.value = text.encode(key.value) + b"\0"  # as the dump reader does (facts 4.3)
        key._meta[name] = metakey  # sorted at the end of the key

    def _name(self, relative: bytes) -> str:
        start = self._position - len(relative)
        try:
            name = names.join(self._parent.name, text.decode(relative))
        except InvalidKeyName as error:
            raise InvalidNameInDump(start, self._line(), text.decode(relative), error.reason) from None
        if not Key(name).is_below_or_same(self._parent):
            raise InvalidNameInDump(start, self._line(), text.decode(relative), f"it leads out of {self._parent.name}")
        return name

    def _metaname(self, start: int, name: bytes) -> str:
        try:
            return meta_name(text.decode(name))
        except InvalidKeyName as error:
            raise InvalidNameInDump(start, self._line(), text.decode(name), error.reason) from None

    def _text(self, start: int, data: bytes) -> str:
        if b"\0" in data:
            raise self._error(start, "text without NUL", f"one at its byte {data.index(0)}: {shown(data)}")
        return text.decode(data)

    def _byte(self, expected: str) -> bytes:
        byte = self._data[self._position : self._position + 1]
        if not byte:
            raise self._truncated(expected)
        self._position += 1
        return byte

    def _take(self, limit: str, allowed: int) -> bytes:
        length = self._length()
        if length > allowed:
            raise LimitExceeded(limit, allowed, length, self._position, self._line())
        end = self._position + length
        if end > len(self._data):
            raise self._truncated(f"a {limit} of {length} bytes at byte {self._position}")
        taken = self._data[self._position : end]
        self._position = end
        return taken

    def _length(self) -> int:
        first = self._byte("a length")[0]
        size = (first & -first).bit_length() if first else 9
        rest = self._data[self._position : self._position + size - 1]
        if len(rest) < size - 1:
            raise self._truncated(f"a length of {size} bytes")
        self._position += size - 1
        if size == 9:
            return int.from_bytes(rest, "little")
        return int.from_bytes(bytes([first]) + rest, "little") >> size

    def _line(self) -> int:
        return self._data.count(b"\n", 0, self._position) + 1

    def _error(self, offset: int, expected: str, found: str) -> DumpSyntaxError:
        return DumpSyntaxError(offset, self._data.count(b"\n", 0, offset) + 1, expected, found)

    def _truncated(self, expected: str) -> TruncatedDump:
        return TruncatedDump(len(self._data), self._line(), expected, "the end of the input")


__all__ = ["MAGIC", "DumpError", "dumps", "encode_length", "loads"]
