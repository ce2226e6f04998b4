"""Keysets to work on, as dumps. They are made by formatting: making a million Key objects would take longer than measuring."""

from __future__ import annotations

from collections.abc import Callable, Iterable

#: The parent of all keys here.
PARENT = "user:/bench"

#: One of this many keys is touched where "1 %" is said.
ONE_PERCENT = 100

_SMALL = 200_000
_HUGE = 10
_HUGE_SIZE = 2_000_000
_METAKEYS = 100
_WITH_METAKEYS = 2_000
_SHARING = 100_000


def standard(count: int) -> bytes:
    """Names and values of 70 bytes and two metakeys each, 255 bytes a key: what the design has figures of Elektra for."""
    return _dump(
        b"$key string 70 70\n%b\nthe value of key %053d\n"
        b"$meta 11 48\ndescription\nwhat it is for, and where it is used: %010d\n$meta 4 6\ntype\nstring\n"
        % (name, i, i)
        for i, name in enumerate(_names(count, 70))
    )


def many_small() -> bytes:
    """Short names and values, and no metadata."""
    return _dump(b"$key string 30 1\n%b\n1\n" % name for name in _names(_SMALL, 30))


def few_huge() -> bytes:
    """Binary values of 2 MB each."""
    value = bytes(range(256)) * (_HUGE_SIZE // 256 + 1)
    return _dump(
        b"$key binary 30 %d\n%b\n%b\n$meta 6 0\nbinary\n\n" % (_HUGE_SIZE, name, value[:_HUGE_SIZE])
        for name in _names(_HUGE, 30)
    )


def many_metakeys() -> bytes:
    """A hundred metakeys a key."""
    meta = b"".join(b"$meta 13 20\ncheck/key%04d\nthe metadata no %04d\n" % (i, i) for i in range(_METAKEYS))
    return _dump(b"$key string 30 5\n%b\nvalue\n%b" % (name, meta) for name in _names(_WITH_METAKEYS, 30))


def shared_metadata() -> bytes:
    """All keys share the two metakeys of the first."""
    names = list(_names(_SHARING, 40))
    first, *others = names
    head = (
        b"$key string 40 5\n%b\nvalue\n$meta 11 20\ndescription\nshared by every key.\n$meta 4 6\ntype\nstring\n"
        % first
    )
    return _dump(
        [
            head,
            *(
                b"$key string 40 5\n%b\nvalue\n$copymeta 40 11\n%b\ndescription\n$copymeta 40 4\n%b\ntype\n"
                % (name, first, first)
                for name in others
            ),
        ]
    )


SHAPES: dict[str, Callable[[], bytes]] = {
    "many small keys": many_small,
    "few huge binary values": few_huge,
    "many metakeys": many_metakeys,
    "shared metadata": shared_metadata,
}


def _dump(records: Iterable[bytes]) -> bytes:
    return b"kdbOpen 2\n" + b"".join(records) + b"$end\n"


def _names(count: int, size: int) -> Iterable[bytes]:
    """Names of `size` bytes in Elektra's order, a thousand a directory."""
    tail = b"_" * (size - len(b"user:/bench/0000/0000000"))
    return (b"user:/bench/%04d/%07d%b" % (i // 1000, i, tail) for i in range(count))
