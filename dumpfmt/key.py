"""One key: a name that never changes, a value, metadata that keys can share."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping, MutableMapping, ValuesView

from dumpfmt import names, text
from dumpfmt.errors import InvalidKeyName

#: Text, bytes, or the null binary value.
Value = str | bytes | None


class MetaKey(str):
    """The text of one metakey, as an object with an identity of its own.

    Elektra shares metakeys between keys (facts 3); the dump format tells a shared one (`$copymeta`) from an equal
    one. A plain `str` will not do, since Python shares equal strings as it likes; a subclass without slots costs no
    more than one.
    """

    __slots__ = ()


class Key:
    """A key of Elektra's key database.

    `Key("user:/a", "text", meta={"type": "string"})`; the value is text (`str`), binary (`bytes`) or the null binary
    (`None`). An empty `bytes` is the null value, since Elektra stores both as size 0 (facts 2).
    Raises InvalidKeyName for a name, ValueError for text with a NUL, TypeError for a value of another type.
    """

    __slots__ = ("_meta", "_name", "_unescaped", "_value")
    __hash__ = None  # type: ignore[assignment]  # equality looks at the value, which changes

    _name: str
    _unescaped: bytes
    _value: Value
    _meta: dict[str, MetaKey]  # sorted by the unescaped name of the metakey, as Elektra's metadata keysets are

    def __init__(self, name: str, value: Value = "", meta: Mapping[str, str] | None = None) -> None:
        self._name = names.canonical(name)
        self._unescaped = names.unescaped(self._name)
        self._meta = {}
        self._value = ""
        self.value = value
        if meta is not None:
            self.meta.update(meta)

    @classmethod
    def _make(cls, name: str, unescaped: bytes, value: Value, meta: dict[str, MetaKey]) -> Key:
        """For dumpfmt itself: a key of parts that are known to be in order."""
        key = cls.__new__(cls)
        key._name = name
        key._unescaped = unescaped
        key._value = value
        key._meta = meta
        return key

    @property
    def name(self) -> str:
        """The canonical, escaped name with its namespace."""
        return self._name

    @property
    def namespace(self) -> names.Namespace:
        return names.Namespace(self._unescaped[0])

    @property
    def unescaped(self) -> bytes:
        """The unescaped name: the namespace's number, a NUL, each part and a NUL. Keys are the same when it is,
        and sort by it.
        """
        return self._unescaped

    @property
    def parts(self) -> tuple[str, ...]:
        """The unescaped parts; a root has none."""
        return names.parts(self._name)

    @property
    def basename(self) -> str:
        """The last unescaped part; empty for a root."""
        parts = self.parts
        return parts[-1] if parts else ""

    @property
    def value(self) -> Value:
        """Text as `str`, binary as `bytes` or None. Assigning follows keySetString and keySetBinary (facts 2): text drops the
        metadata `binary` and `origvalue`, binary sets `binary`."""
        return self._value

    @value.setter
    def value(self, value: Value) -> None:
        if isinstance(value, str):
            self._value = text.normal(value, f"the value of {self._name}")
            self._meta.pop("binary", None)
            self._meta.pop("origvalue", None)
        elif value is None or isinstance(value, (bytes, bytearray, memoryview)):
            self._value = bytes(value or b"") or None
            if "binary" not in self._meta:
                self._set_meta("binary", MetaKey(""))
        else:
            raise TypeError(f"the value of {self._name} must be str, bytes or None, not {type(value).__name__}")

    @property
    def is_binary(self) -> bool:
        return not isinstance(self._value, str)

    @property
    def meta(self) -> Metadata:
        """The metadata as a mapping from names without `meta:/` to text. A change is a change of this key only."""
        return Metadata(self)

    def copy_meta(self, other: Key, name: str) -> bool:
        """Share `other`'s metakey `name`; without one there, drop it here (keyCopyMeta). Returns whether there was one."""
        name = meta_name(name)
        metakey = other._meta.get(name)
        if metakey is None:
            self.meta.pop(name, None)
            return False
        self._check_binary_meta(name)
        self._set_meta(name, metakey)
        return True

    def copy_all_meta(self, other: Key) -> None:
        """Share all of `other`'s metakeys (keyCopyAllMeta); `binary` only where both values are binary."""
        for name, metakey in other._meta.items():
            if name != "binary" or self.is_binary:
                self._set_meta(name, metakey)

    def copy(self) -> Key:
        """A key of its own with the same name, value and (shared) metakeys."""
        return Key._make(self._name, self._unescaped, self._value, dict(self._meta))

    def join(self, relative: str, value: Value = "", meta: Mapping[str, str] | None = None) -> Key:
        """A new key: this name and an escaped path, `..` working against what is there (keyAddName)."""
        return Key(names.join(self._name, relative), value, meta)

    def child(self, part: str, value: Value = "", meta: Mapping[str, str] | None = None) -> Key:
        """A new key: this name and one more part, given unescaped (keyAddBaseName)."""
        return Key(names.child(self._name, part), value, meta)

    def with_basename(self, part: str, value: Value = "", meta: Mapping[str, str] | None = None) -> Key:
        """A new key: this name with its last part replaced, given unescaped (keySetBaseName). A root raises InvalidKeyName."""
        return Key(names.with_basename(self._name, part), value, meta)

    def is_below(self, other: Key | str) -> bool:
        """Whether this key is strictly below `other`; a cascading name on either side stands for every namespace."""
        return names.is_below(self._unescaped, unescaped_of(other))

    def is_directly_below(self, other: Key | str) -> bool:
        return names.is_directly_below(self._unescaped, unescaped_of(other))

    def is_below_or_same(self, other: Key | str) -> bool:
        return names.is_below_or_same(self._unescaped, unescaped_of(other))

    def __eq__(self, other: object) -> bool:
        """The same name, value and metadata. Whether metakeys are shared or merely equal makes no difference."""
        if not isinstance(other, Key):
            return NotImplemented
        if self is other:
            return True
        # The metadata first: it differs between text and bytes, which `python -bb` lets nobody compare.
        return self._name == other._name and self._meta == other._meta and self._value == other._value

    def __repr__(self) -> str:
        value = "" if not self._value and not self._meta else f", {self._value!r}"
        meta = {name: content for name, content in self.meta.items() if name != "binary" or content}
        return f"Key({self._name!r}{value}{f', meta={meta!r}' if meta else ''})"

    def _set_meta(self, name: str, metakey: MetaKey) -> None:
        """Put a metakey in its place; `name` is in the form of `meta_name`."""
        meta = self._meta
        in_place = name in meta or not meta or meta_order(next(reversed(meta))) < meta_order(name)
        meta[name] = metakey
        if not in_place:
            self._sort_meta()

    def _sort_meta(self) -> None:
        """For readers: metakeys that were put in as they came are sorted once, since input decides how many there are."""
        meta = self._meta
        self._meta = {name: meta[name] for name in sorted(meta, key=meta_order)}

    def _check_binary_meta(self, name: str) -> None:
        if name == "binary" and not self.is_binary:
            raise ValueError(
                f"{self._name} holds text: the metadata 'binary' says what a value is; assign bytes (or None) to .value instead"
            )


class Metadata(MutableMapping[str, str]):
    """The view that `Key.meta` gives. Names are without `meta:/`, in canonical form; a full `meta:/…` name is understood."""

    __slots__ = ("_key",)

    def __init__(self, key: Key) -> None:
        self._key = key

    def __getitem__(self, name: str) -> str:
        metakey = self._key._meta.get(name)
        if metakey is None:
            metakey = self._key._meta[meta_name(name)]
        return metakey

    def __setitem__(self, name: str, value: str) -> None:
        if not isinstance(value, str):
            raise TypeError(f"metadata is text: {name!r} of {self._key.name} must be str, not {type(value).__name__}")
        name = meta_name(name)
        self._key._check_binary_meta(name)
        self._key._set_meta(name, MetaKey(text.normal(value, f"the metadata {name!r} of {self._key.name}")))

    def __delitem__(self, name: str) -> None:
        name = meta_name(name)
        if name == "binary" and name in self._key._meta:
            raise ValueError(
                f"{self._key.name} is binary: assign text to .value instead of deleting its metadata 'binary'"
            )
        del self._key._meta[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._key._meta)

    # The mixin's views would look every name up once more.
    def items(self) -> ItemsView[str, str]:
        return self._key._meta.items()

    def values(self) -> ValuesView[str]:
        return self._key._meta.values()

    def __len__(self) -> int:
        return len(self._key._meta)

    def __repr__(self) -> str:
        return repr(dict(self))


def meta_name(name: str) -> str:
    """The name of a metakey without `meta:/`, canonical. Raises InvalidKeyName, also for an empty one: Elektra would store such
    metadata at the root `meta:/` without a word (facts 3)."""
    if names.is_plain_path(name) and not name.startswith("meta:/"):
        return name
    canonical = names.canonical(name) if name.startswith("meta:/") else names.join("meta:/", name)
    if len(canonical) == len("meta:/"):
        raise InvalidKeyName(name, "it leaves no name for the metadata")
    if "\\#" in canonical:  # "\\#5" and "#5" are one name in two spellings (facts 1.2), and one metakey
        return "/".join(map(names.escape_part, names.parts(canonical)))
    return canonical[len("meta:/") :]


def meta_order(name: str) -> bytes:
    """What metakeys are sorted by: the unescaped name."""
    return names.unescaped("meta:/" + name)


def unescaped_of(key: Key | str) -> bytes:
    return key._unescaped if isinstance(key, Key) else names.unescaped(names.canonical(key))
