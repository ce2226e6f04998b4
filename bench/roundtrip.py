"""A get through a child and back, against the same bytes through the same pipes with nobody who understands them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from bench import data
from bench.measure import Case, Table, measure, timed
from bench.options import Options
from bench.programs import bare_child, touch_child
from dumpfmt import Key, KeySet, loads
from stdioproc.host import PluginProcess, Status

FLOOR = "the bytes alone"
MODES = {"none": "no key touched", "some": "1 % touched", "all": "every key touched"}


def run(options: Options) -> list[Table]:
    return [_by_size(options), _by_shape(options)]


def _by_size(options: Options) -> Table:
    table = Table("size", "Round trip of a get, by number of keys (70 + 70 bytes, 2 metakeys)")
    for count in options.sizes:
        _measure(table, f"{count:,} keys", data.standard(count), options.repetitions_for(count))
    return table


def _by_shape(options: Options) -> Table:
    table = Table("shape", "Round trip of a get, by what the keys are like")
    for name, make in data.SHAPES.items():
        dump = make()
        _measure(table, f"{name} ({len(dump) / 1e6:.1f} MB)", dump, options.repetitions)
    return table


def _measure(table: Table, what: str, dump: bytes, repetitions: int) -> None:
    parent = Key(data.PARENT)

    def get_through(process: PluginProcess) -> Callable[[KeySet], KeySet]:
        def get(keyset: KeySet) -> KeySet:
            if process.get(keyset, parent) is not Status.SUCCESS:
                raise RuntimeError(f"get failed: {dict(parent.meta)}")
            return keyset

        return get

    with ExitStack() as stack:
        floor = f"{what}: {FLOOR}"
        bare = bare_child(len(dump), len(dump))
        stack.callback(bare.close)
        cases = [Case(floor, timed(lambda _: bare.exchange(dump, len(dump)), lambda: None), size=2 * len(dump))]
        for mode, words in MODES.items():
            process = stack.enter_context(PluginProcess(touch_child(mode)))
            cases.append(
                Case(
                    f"{what}: {words}",
                    timed(get_through(process), lambda: loads(dump)),
                    floor,
                    size=2 * len(dump),
                )
            )
        table.rows += measure(cases, repetitions)
