"""What is done with a keyset."""

from __future__ import annotations

from collections.abc import Iterable

from bench.data import ONE_PERCENT
from dumpfmt import Key, KeySet


def touch(keys: Iterable[Key]) -> None:
    """Look at name, value and each metakey."""
    for key in keys:
        key.name  # noqa: B018  # being looked at is the point
        key.value  # noqa: B018
        for _ in key.meta.items():
            pass


def touch_one_percent(keyset: KeySet) -> None:
    touch(keyset[i] for i in range(0, len(keyset), ONE_PERCENT))


def touch_all(keyset: KeySet) -> None:
    touch(keyset)


def slices(data: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """The records of a dump by the plainest loop there is, which checks nothing: the floor for any parser in Python."""
    found: list[tuple[bytes, bytes, bytes]] = []
    find = data.find
    position = find(b"\n") + 1
    while True:
        end = find(b"\n", position)
        words = data[position:end].split(b" ")
        if len(words) == 1:
            return found
        first = end + 1
        second = first + int(words[-2]) + 1
        position = second + int(words[-1]) + 1
        found.append((words[0], data[first : second - 1], data[second : position - 1]))
