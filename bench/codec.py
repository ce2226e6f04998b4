"""Bytes to keysets and back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from unittest.mock import patch

from bench import data
from bench.measure import Case, Table, measure, timed
from bench.options import Options
from bench.work import slices, touch_all, touch_one_percent
from dumpfmt import KeySet, dumps, encode, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dumpfmt.decode import Parser

Touch = Callable[[KeySet], None]

#: Whether there was a compiler when the package was installed.
COMPILED: bool = getattr(encode, "native", None) is not None


def run(options: Options) -> list[Table]:
    return [_standard(options), _linear(options)]


def decode(dump: bytes, parser: Parser = "fast", touch: Touch | None = None) -> Callable[[], float]:
    def work(content: bytes) -> KeySet:
        keyset = loads(content, parser=parser)
        if touch is not None:
            touch(keyset)
        return keyset

    return timed(work, lambda: dump)


def touched(dump: bytes) -> KeySet:
    keyset = loads(dump)
    touch_all(keyset)
    return keyset


def _standard(options: Options) -> Table:
    dump = data.standard(options.keys)
    size = len(dump)
    # What the pure Python decoder makes are objects from the start, as in a program that made its keys itself.
    objects = loads(dump, parser="python")
    untouched = loads(dump)
    if dumps(objects) != dump or dumps(untouched) != dump:
        raise AssertionError("what is to be measured does not work: the dump came back changed")
    table = Table("codec", f"Codec: {options.keys:,} keys, {size / 1e6:.1f} MB")
    fast = "compiled" if COMPILED else "fast (no compiled part here)"
    floor, all_of_it = "a loop that only slices", f"{fast}: decode, touch all"
    cases = [
        Case(floor, timed(slices, lambda: dump), size=size),
        Case(f"{fast}: decode", decode(dump), floor, size=size),
        Case(f"{fast}: decode, touch 1 %", decode(dump, touch=touch_one_percent), all_of_it, 1 / 10, size),
        Case(all_of_it, decode(dump, touch=touch_all), floor, size=size),
        Case("python: decode", decode(dump, "python"), floor, size=size),
        Case("python: decode, touch all", decode(dump, "python", touch_all), floor, size=size),
        Case("lark: decode", decode(dump, "lark"), floor, size=size),
        Case("lark: decode, touch all", decode(dump, "lark", touch_all), floor, size=size),
        Case(f"{fast}: encode from objects", timed(dumps, lambda: objects), "python: encode from objects", size=size),
        Case(f"{fast}: encode untouched", timed(dumps, lambda: untouched), "copying the bytes", size=size),
        Case("python: encode from objects", _in_python(objects), "copying the bytes", size=size),
        Case("copying the bytes", timed(bytearray, lambda: dump), size=size),
    ]
    table.rows = measure(cases, options.repetitions)
    if not COMPILED:
        table.notes.append("The compiled part was not built here: no compiler when the package was installed.")
    return table


def _in_python(keyset: KeySet) -> Callable[[], float]:
    """The encoder of an installation without a compiler."""

    def sample() -> float:
        with patch.object(encode, "native", None):
            return timed(dumps, lambda: keyset)()

    return sample


def _linear(options: Options) -> Table:
    """Ten times the keys shall take ten times as long; a ratio of eleven is the most."""
    times = options.many_keys / options.keys
    table = Table("linear", f"{options.many_keys:,} keys against {options.keys:,} ({times:.0f} times the bytes)")
    few, many = data.standard(options.keys), data.standard(options.many_keys)
    works: dict[str, Callable[[bytes], Callable[[], float]]] = {
        "decode": decode,
        "decode, touch 1 %": partial(decode, touch=touch_one_percent),
        "decode, touch all": partial(decode, touch=touch_all),
        "encode from objects": lambda dump: timed(dumps, lambda: touched(dump)),
    }
    for name, make in works.items():
        less, more = f"{name}: {options.keys:,}", f"{name}: {options.many_keys:,}"
        cases = [
            Case(less, make(few), size=len(few)),
            Case(more, make(many), less, times * 1.1, len(many)),
        ]
        table.rows += measure(cases, options.repetitions_for(options.many_keys), warm_up=False)
    return table
