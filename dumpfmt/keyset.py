"""A set of keys in Elektra's order."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import islice

from dumpfmt.key import Key, unescaped_of
from dumpfmt.names import Namespace

#: Where a cascading lookup looks, in this order; the cascading key itself comes last (Elektra's ksLookup without a
#: spec key).
_LOOKUP_ORDER = (
    Namespace.PROC,
    Namespace.DIR,
    Namespace.USER,
    Namespace.SYSTEM,
    Namespace.DEFAULT,
    Namespace.CASCADING,
)
#: What a cascading name stands for in `below` and in `cut` (Elektra's ksBelow and ksCut: the latter leaves default
#: keys).
_BELOW = tuple(Namespace)
_CUT = tuple(ns for ns in Namespace if ns is not Namespace.DEFAULT)


class KeySet:
    """Keys sorted by their unescaped names, one for each; a key that is appended replaces the one of the same name.

    Keys are held as objects, not copied: changing a key changes it in every keyset that holds it.
    """

    __slots__ = ("_index", "_keys", "_sorted")
    __hash__ = None  # type: ignore[assignment]  # mutable

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._keys: dict[bytes, Key] = {}
        self._sorted = True  # whether the dict's order is the set's order
        self._index: list[bytes] | None = None  # the sorted unescaped names; made when first needed
        self.extend(keys)

    @classmethod
    def _make(cls, keys: dict[bytes, Key], in_order: bool) -> KeySet:
        """For dumpfmt itself: a keyset that takes `keys` over."""
        keyset = cls()
        keyset._keys = keys
        keyset._sorted = in_order
        return keyset

    def append(self, key: Key) -> None:
        """Add `key`; a key of the same name is replaced (ksAppendKey)."""
        if key._unescaped not in self._keys:
            self._sorted = self._sorted and (not self._keys or next(reversed(self._keys)) < key._unescaped)
            self._index = None
        self._keys[key._unescaped] = key

    def extend(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self.append(key)

    def get(self, name: str | Key, default: Key | None = None) -> Key | None:
        """The key of that name, or `default`.

        A cascading name (`/a`) finds the first of proc, dir, user, system, default and the cascading key itself. What
        Elektra does beyond that when the keyset holds a spec key (override, fallback, default) is not done here.
        """
        wanted = unescaped_of(name)
        if wanted[0] != Namespace.CASCADING:
            return self._keys.get(wanted, default)
        for namespace in _LOOKUP_ORDER:
            found = self._keys.get(bytes([namespace]) + wanted[1:])
            if found is not None:
                return found
        return default

    def below(self, root: Key | str) -> KeySet:
        """The keys that are `root` or below it, in a keyset of their own (ksBelow). A cascading root means every
        namespace.
        """
        return KeySet._make({name: self._keys[name] for name in self._names_below(root, _BELOW)}, in_order=True)

    def cut(self, root: Key | str) -> KeySet:
        """Remove the keys that are `root` or below it and return them (ksCut). A cascading root leaves `default:/`
        alone.
        """
        removed = {name: self._keys.pop(name) for name in self._names_below(root, _CUT)}
        self._index = None
        return KeySet._make(removed, in_order=True)

    def pop(self, name: str | Key) -> Key:
        """Remove the key of exactly this name and return it. Raises KeyError."""
        try:
            key = self._keys.pop(unescaped_of(name))
        except KeyError:
            raise KeyError(f"no key {name.name if isinstance(name, Key) else name!r} in this keyset") from None
        self._index = None
        return key

    def clear(self) -> None:
        self._keys.clear()
        self._sorted = True
        self._index = None

    def assign(self, other: KeySet) -> None:
        """Become a keyset of the same keys as `other`."""
        self._keys = dict(other._keys)
        self._sorted = other._sorted
        self._index = None

    def copy(self) -> KeySet:
        """Another keyset of the same key objects (ksDup)."""
        return KeySet._make(dict(self._keys), self._sorted)

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[Key]:
        self._sort()
        return iter(self._keys.values())

    def __contains__(self, name: object) -> bool:
        """Whether a key of exactly this name is there."""
        return isinstance(name, (str, Key)) and unescaped_of(name) in self._keys

    def __getitem__(self, item: str | int | Key) -> Key:
        """By exact name (KeyError) or by position (IndexError)."""
        if isinstance(item, int):
            return self._keys[self._names()[item]]
        key = self._keys.get(unescaped_of(item))
        if key is None:
            raise KeyError(f"no key {item.name if isinstance(item, Key) else item!r} in this keyset")
        return key

    def __delitem__(self, name: str | Key) -> None:
        self.pop(name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, KeySet):
            return NotImplemented
        return self._keys == other._keys

    def __repr__(self) -> str:
        shown = ", ".join(repr(key) for key in islice(self, 3))
        more = f", … {len(self) - 3} more" if len(self) > 3 else ""
        return f"KeySet([{shown}{more}])"

    def _sort(self) -> None:
        if not self._sorted:
            self._keys = dict(sorted(self._keys.items()))
            self._sorted = True

    def _names(self) -> list[bytes]:
        if self._index is None:
            self._sort()
            self._index = list(self._keys)
        return self._index

    def _names_below(self, root: Key | str, cascading: tuple[Namespace, ...]) -> list[bytes]:
        wanted = unescaped_of(root)
        if wanted[0] != Namespace.CASCADING:
            return self._range(wanted)
        return [name for namespace in cascading for name in self._range(bytes([namespace]) + wanted[1:])]

    def _range(self, root: bytes) -> list[bytes]:
        """All names with the prefix of `root` lie together: from itself to just before the next sibling."""
        prefix = root[:2] if len(root) == 3 else root
        index = self._names()
        return index[bisect_left(index, prefix) : bisect_left(index, prefix[:-1] + b"\1")]
