"""Records become keys: what names and values may hold, and what `$copymeta` may name. Shared by both parsers."""

from __future__ import annotations

from dumpfmt import names, text
from dumpfmt.errors import DumpSyntaxError, InvalidKeyName, InvalidNameInDump
from dumpfmt.key import Key, MetaKey, Value, meta_name, meta_order
from dumpfmt.keyset import KeySet
from dumpfmt.scan import Scanner
from dumpfmt.text import shown

_new = object.__new__  # the constructor of Key would check everything a second time
_BINARY_ORDER = meta_order("binary")


class KeySetBuilder:
    """Takes the records of one keyset in the order of the grammar; `keyset` is what they amount to.

    With a `parent`, names are relative to it (facts 4.1): the parent itself is the empty name.
    """

    def __init__(self, scanner: Scanner, parent: Key | None = None, bare_names_below: Key | None = None) -> None:
        self._scanner = scanner
        self._parent = parent
        self._bare_names_below = bare_names_below
        self._keys: dict[bytes, Key] = {}
        self._in_order = True
        self._last = b""  # unescaped name of the key that records belong to
        self._key: Key | None = None
        self._meta: dict[str, MetaKey] = {}
        self._last_meta = b""
        self._disordered = False  # whether the key's metadata is to be sorted when it is complete
        # A stream repeats the names of its metadata: name as written -> canonical, order.
        self._meta_names: dict[bytes, tuple[str, bytes]] = {}

    @property
    def keyset(self) -> KeySet:
        self._finish_key()
        return KeySet._make(self._keys, self._in_order)

    def key(self, is_binary: bool, offset: int, name: bytes, value: bytes) -> None:
        unescaped = names.plain(name) if self._parent is None else None
        if unescaped is None:
            written, unescaped = self._name(offset, name)
        else:
            written = name.decode("utf-8", "surrogateescape")
        if self._disordered:
            self._finish_key()
        content: Value
        meta: dict[str, MetaKey]
        if is_binary:
            content = value or None
            # Elektra's reader makes such a key binary whether or not the metadata says so (facts 4.3).
            meta = {"binary": MetaKey("")}
            self._last_meta = _BINARY_ORDER
        else:
            if b"\0" in value:
                raise self._error(
                    offset,
                    "a string value without NUL ('$key binary' carries any byte)",
                    f"one at its byte {value.index(0)}: {shown(value)}",
                )
            content = value.decode("utf-8", "surrogateescape")
            meta = {}
            self._last_meta = b""
        self._key = key = _new(Key)
        key._name = written
        key._unescaped = unescaped
        key._value = content
        key._meta = self._meta = meta
        if unescaped > self._last:
            self._last = unescaped
        elif unescaped not in self._keys:
            self._in_order = False
        self._keys[unescaped] = key  # a repeated key replaces the first, with its metadata (facts 4.3)

    def meta(self, offset: int, name: bytes, value: bytes) -> None:
        written, order = self._meta_names.get(name) or self._meta_name(offset, name)
        if b"\0" in value:
            raise self._error(offset, "metadata without NUL", f"one at its byte {value.index(0)}: {shown(value)}")
        if order > self._last_meta and written != "binary":
            self._meta[written] = MetaKey(value, "utf-8", "surrogateescape")
            self._last_meta = order
        else:
            self._add_meta(written, order, MetaKey(value, "utf-8", "surrogateescape"))

    def copymeta(self, offset: int, name: bytes, metaname: bytes) -> None:
        unescaped = names.plain(name) if self._parent is None else None
        if unescaped is None:
            _, unescaped = self._name(offset, name)
        written, order = self._meta_names.get(metaname) or self._meta_name(offset, metaname)
        source = self._keys.get(unescaped)
        if source is None:
            raise self._error(offset, "'$copymeta' from a key that was read before", f"the unknown key {shown(name)}")
        metakey = source._meta.get(written)
        if metakey is None:
            raise self._error(
                offset, f"'$copymeta' of metadata that {source.name} has", f"{shown(metaname)}, which it has not"
            )
        self._add_meta(written, order, metakey)

    def _add_meta(self, name: str, order: bytes, metakey: MetaKey) -> None:
        key = self._key
        assert key is not None  # the grammar lets metadata only follow a key
        if name == "binary" and isinstance(key._value, str):
            # Elektra then takes the string with its final NUL for the binary value (facts 4.3).
            key._value = text.encode(key._value) + b"\0"
        self._meta[name] = metakey
        if order < self._last_meta:
            self._disordered = True
        else:
            self._last_meta = order

    def _finish_key(self) -> None:
        if self._disordered and self._key is not None:
            self._key._sort_meta()
            self._disordered = False

    def _name(self, offset: int, name: bytes) -> tuple[str, bytes]:
        written = text.decode(name)
        try:
            if (
                self._bare_names_below is not None
                and ":" not in written.split("/", 1)[0]
                and not written.startswith("/")
            ):
                canonical = names.join(self._bare_names_below.name, written)
                return canonical, names.unescaped(canonical)
            if self._parent is None:
                canonical = names.canonical(written)
                return canonical, names.unescaped(canonical)
            canonical = names.join(self._parent.name, written)
            unescaped = names.unescaped(canonical)
        except InvalidKeyName as error:
            raise self._invalid(offset, written, error.reason) from None
        if not names.is_below_or_same(unescaped, self._parent.unescaped):
            raise self._invalid(offset, written, f"it leads out of {self._parent.name}, to {canonical}")
        return canonical, unescaped

    def _meta_name(self, offset: int, name: bytes) -> tuple[str, bytes]:
        written = text.decode(name)
        try:
            canonical = meta_name(written)
        except InvalidKeyName as error:
            raise self._invalid(offset, written, error.reason) from None
        known = (canonical, meta_order(canonical))
        if len(self._meta_names) < 4096:  # a bound, so that hostile input cannot fill it
            self._meta_names[name] = known
        return known

    def _invalid(self, offset: int, name: str, reason: str) -> InvalidNameInDump:
        return InvalidNameInDump(offset, self._scanner.line(offset), name, reason)

    def _error(self, offset: int, expected: str, found: str) -> DumpSyntaxError:
        return self._scanner.error(offset, expected, found)
