"""A set of keys in Elektra's order.

A keyset that was read by the compiled scanner stays what it was, bytes (`Records`), and makes a Key when somebody looks at it.
What is added, and what replaces a key, stands beside the records; what is removed is crossed out. Without the compiled part
there are no records, and everything stands beside nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import islice

from dumpfmt.key import Key, MetaKey, unescaped_of
from dumpfmt.names import Namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dumpfmt._native import Records

    # What an encoder writes one after the other: a key, or a stretch of untouched records.
    Part = Key | tuple[Records, int, int]

#: Where a cascading lookup looks, in this order; the cascading key itself comes last (Elektra's ksLookup without a spec
#: key).
_LOOKUP_ORDER = (
    Namespace.PROC,
    Namespace.DIR,
    Namespace.USER,
    Namespace.SYSTEM,
    Namespace.DEFAULT,
    Namespace.CASCADING,
)
#: What a cascading name stands for in `below` and in `cut` (Elektra's ksBelow and ksCut: the latter leaves default keys).
_BELOW = tuple(Namespace)
_CUT = tuple(ns for ns in Namespace if ns is not Namespace.DEFAULT)


class KeySet:
    """Keys sorted by their unescaped names, one for each; a key that is appended replaces the one of the same name.

    Keys are held as objects, not copied: changing a key changes it in every keyset that holds it.
    """

    __slots__ = ("_changes", "_gone", "_high", "_index", "_low", "_order", "_own", "_records", "_sorted")
    __hash__ = None  # type: ignore[assignment]  # mutable

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._records: Records | None = None
        self._low = self._high = 0  # the stretch of the records that is in this set …
        self._gone: set[int] = set()  # … but for these
        self._own: dict[bytes, Key] = {}  # the other keys; none of them is among the records that are left
        self._sorted = True  # whether the dict's order is the set's order
        self._index: list[bytes] | None = None  # the names in `_own`, sorted; made when first needed
        self._order: list[Key | int] | None = None  # all keys (or where they are in the records); likewise
        self._changes = 0
        if keys:
            self.extend(keys)

    @classmethod
    def _make(cls, keys: dict[bytes, Key], in_order: bool) -> KeySet:
        """For dumpfmt itself: a keyset that takes `keys` over."""
        keyset = cls()
        keyset._own = keys
        keyset._sorted = in_order
        return keyset

    @classmethod
    def _of_records(cls, records: Records) -> KeySet:
        """For dumpfmt itself: a keyset of keys that are still bytes."""
        keyset = cls()
        keyset._records = records
        keyset._high = len(records)
        return keyset

    def append(self, key: Key) -> None:
        """Add `key`; a key of the same name is replaced (ksAppendKey)."""
        try:
            name = key._unescaped
        except AttributeError:
            raise TypeError(f"a keyset holds Key objects, not {type(key).__name__}") from None
        known = self._own.get(name)
        if known is key:
            return
        if known is None:
            at = self._at(name)
            if at >= 0:
                assert self._records is not None
                if self._records.peek(at) is key:
                    return
                self._gone.add(at)
            self._sorted = self._sorted and (not self._own or next(reversed(self._own)) < name)
            self._index = None
        self._own[name] = key
        self._changed()

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
            found = self._find(wanted)
            return found if found is not None else default
        for namespace in _LOOKUP_ORDER:
            found = self._find(bytes([namespace]) + wanted[1:])
            if found is not None:
                return found
        return default

    def below(self, root: Key | str) -> KeySet:
        """The keys that are `root` or below it, in a keyset of their own (ksBelow). A cascading root means every
        namespace.
        """
        return self._part(root, _BELOW)

    def cut(self, root: Key | str) -> KeySet:
        """Remove the keys that are `root` or below it and return them (ksCut). A cascading root leaves `default:/` alone."""
        removed = self._part(root, _CUT)
        for low, high, names in self._ranges(root, _CUT):
            if low == self._low and high > low:
                self._low = high
            elif high == self._high and high > low:
                self._high = low
            else:
                self._gone.update(range(low, high))
            for name in names:
                del self._own[name]
        self._gone = {at for at in self._gone if self._low <= at < self._high}
        self._index = None
        self._changed()
        return removed

    def pop(self, name: str | Key) -> Key:
        """Remove the key of exactly this name and return it. Raises KeyError."""
        wanted = unescaped_of(name)
        key = self._find(wanted)
        if key is None:
            raise _missing(name)
        if self._own.pop(wanted, None) is None:
            self._gone.add(self._at(wanted))
        self._index = None
        self._changed()
        return key

    def clear(self) -> None:
        self.assign(KeySet())

    def assign(self, other: KeySet) -> None:
        """Become a keyset of the same keys as `other`."""
        self._records, self._low, self._high = other._records, other._low, other._high
        self._gone = set(other._gone)
        self._own = dict(other._own)
        self._sorted = other._sorted
        self._index = None
        self._changed()

    def copy(self) -> KeySet:
        """Another keyset of the same key objects (ksDup)."""
        keyset = KeySet()
        keyset.assign(self)
        return keyset

    def deep_copy(self) -> KeySet:
        """An equal keyset that shares nothing with this one; metakeys that keys share are shared in it as well."""
        if self._records is not None and not self._own and not self._records.made(self._low, self._high):
            keyset = self.copy()
            keyset._records = self._records.fork()
            return keyset
        copies: dict[int, MetaKey] = {}
        keyset = KeySet()
        for key in self:
            meta = {name: copies.setdefault(id(metakey), MetaKey(metakey)) for name, metakey in key._meta.items()}
            keyset.append(Key._make(key._name, key._unescaped, key._value, meta))
        return keyset

    def __len__(self) -> int:
        return self._high - self._low - len(self._gone) + len(self._own)

    def __iter__(self) -> Iterator[Key]:
        """The keys in order. Putting keys in or taking them out meanwhile is an error (RuntimeError), as with a dict."""
        changes = self._changes
        for key in self._walk():
            yield key
            if self._changes != changes:
                raise RuntimeError(
                    "the keyset changed during iteration; iterate over list(keyset) to change it meanwhile"
                )

    def __contains__(self, name: object) -> bool:
        """Whether a key of exactly this name is there."""
        if not isinstance(name, (str, Key)):
            return False
        wanted = unescaped_of(name)
        return wanted in self._own or self._at(wanted) >= 0

    def __getitem__(self, item: str | int | Key) -> Key:
        """By exact name (KeyError) or by position (IndexError)."""
        if isinstance(item, int):
            return self._nth(item)
        key = self._find(unescaped_of(item))
        if key is None:
            raise _missing(item)
        return key

    def __delitem__(self, name: str | Key) -> None:
        self.pop(name)

    def __eq__(self, other: object) -> bool:
        """The same keys, with equal values and metadata."""
        if not isinstance(other, KeySet):
            return NotImplemented
        if len(self) != len(other):
            return False
        stretches = ((keyset._records, keyset._low, keyset._high, keyset._gone) for keyset in (self, other))
        if next(stretches) == next(stretches) and self._own == other._own:
            return True
        return all(a._unescaped == b._unescaped and a == b for a, b in zip(self._walk(), other._walk(), strict=True))

    def __repr__(self) -> str:
        shown = ", ".join(repr(key) for key in islice(self, 3))
        more = f", … {len(self) - 3} more" if len(self) > 3 else ""
        return f"KeySet([{shown}{more}])"

    def _parts(self) -> list[Part]:
        """For the encoder: the keys in order, untouched ones as stretches of records."""
        records = self._records
        if records is None:
            self._names()
            return list(self._own.values())
        whole = self._low == 0 and self._high == len(records)
        if not (whole and not self._gone and not self._own and not records.made(self._low, self._high)):
            # A record with shared metadata names another one, which may be gone or changed: such keys are written anew.
            for at in records.copies(self._low, self._high):
                records.key(at)
        parts: list[Part] = []
        cuts = sorted(self._gone.union(records.made(self._low, self._high)))
        own, names = self._own, self._names()
        inserts = [(records.lower_bound(name, self._low, self._high), name) for name in names]
        # Both lists are in order; at one place, what is inserted stands before the record.
        at, i = self._low, 0
        for cut in [*cuts, self._high]:
            while i < len(inserts) and inserts[i][0] <= cut:
                place, name = inserts[i]
                if place > at:
                    parts.append((records, at, place))
                    at = place
                parts.append(own[name])
                i += 1
            if cut > at:
                parts.append((records, at, cut))
            if cut < self._high and cut not in self._gone:
                parts.append(records.key(cut))
            at = cut + 1
        return parts

    def _changed(self) -> None:
        self._order = None
        self._changes += 1

    def _at(self, name: bytes) -> int:
        """Where the records of this set have the key, or -1."""
        if self._records is None:
            return -1
        at = self._records.find(name, self._low, self._high)
        return -1 if at in self._gone else at

    def _find(self, name: bytes) -> Key | None:
        key = self._own.get(name)
        if key is None and self._records is not None and (at := self._at(name)) >= 0:
            return self._records.key(at)
        return key

    def _names(self) -> list[bytes]:
        """The names in `_own`, in order."""
        if not self._sorted:
            self._own = dict(sorted(self._own.items()))
            self._sorted = True
            self._index = None
        if self._index is None:
            self._index = list(self._own)
        return self._index

    def _walk(self) -> Iterator[Key]:
        records = self._records
        if records is None:
            self._names()
            yield from self._own.values()
            return
        at, key = self._low, records.key
        for name in self._names() if self._own else ():
            place = records.lower_bound(name, self._low, self._high)
            for i in range(at, place):
                if i not in self._gone:
                    yield key(i)
            at = max(at, place)
            yield self._own[name]
        if self._gone:
            yield from (key(i) for i in range(at, self._high) if i not in self._gone)
        else:
            yield from map(key, range(at, self._high))

    def _nth(self, position: int) -> Key:
        records = self._records
        if records is None:
            return self._own[self._names()[position]]
        if not self._gone and not self._own:
            return records.key(range(self._low, self._high)[position])
        if self._order is None:
            self._order = list(self._places(records))
        found = self._order[position]
        return records.key(found) if isinstance(found, int) else found

    def _places(self, records: Records) -> Iterator[Key | int]:
        at = self._low
        for name in self._names():
            place = records.lower_bound(name, self._low, self._high)
            yield from (i for i in range(at, place) if i not in self._gone)
            at = max(at, place)
            yield self._own[name]
        yield from (i for i in range(at, self._high) if i not in self._gone)

    def _ranges(self, root: Key | str, cascading: tuple[Namespace, ...]) -> list[tuple[int, int, list[bytes]]]:
        """Where the keys at and below `root` are: a stretch of the records and names in `_own`, for each namespace."""
        wanted = unescaped_of(root)
        if wanted[0] != Namespace.CASCADING:
            return [self._range(wanted)]
        return [self._range(bytes([namespace]) + wanted[1:]) for namespace in cascading]

    def _range(self, root: bytes) -> tuple[int, int, list[bytes]]:
        # All names with the prefix of the root lie together: from itself to just before the next sibling.
        first = root[:2] if len(root) == 3 else root
        behind = first[:-1] + b"\1"
        index = self._names()
        names = index[bisect_left(index, first) : bisect_left(index, behind)]
        if self._records is None:
            return 0, 0, names
        low = self._records.lower_bound(first, self._low, self._high)
        return low, self._records.lower_bound(behind, low, self._high), names

    def _part(self, root: Key | str, cascading: tuple[Namespace, ...]) -> KeySet:
        ranges = self._ranges(root, cascading)
        part = KeySet._make({name: self._own[name] for _, _, names in ranges for name in names}, in_order=True)
        stretches = [(low, high) for low, high, _ in ranges if low < high]
        if self._records is None or not stretches:
            return part
        if len(stretches) == 1:
            part._records = self._records
            part._low, part._high = stretches[0]
            part._gone = {at for at in self._gone if part._low <= at < part._high}
            return part
        for low, high in stretches:
            part.extend(self._records.key(at) for at in range(low, high) if at not in self._gone)
        return part


def _missing(name: str | Key) -> KeyError:
    return KeyError(f"no key {name.name if isinstance(name, Key) else name!r} in this keyset")
