"""python -m bench [OPTIONS] [GROUP...]: measure, show, and write docs/performance.md."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console

from bench import codec, elektra, latency, memory, report, roundtrip, startup
from bench.measure import Table
from bench.options import QUICK, Options

GROUPS: dict[str, Callable[[Options], list[Table]]] = {
    "codec": codec.run,
    "roundtrip": roundtrip.run,
    "latency": latency.run,
    "startup": startup.run,
    "memory": memory.run,
    "elektra": elektra.run,
}
DOCS = Path(__file__).resolve().parent.parent / "docs"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("groups", nargs=-1, type=click.Choice(list(GROUPS)))
@click.option(
    "--quick", is_flag=True, help="Fewer keys and repetitions: less than half a minute, to see that all works."
)
@click.option("--repetitions", type=click.IntRange(1), help="Samples of what takes long (what is quick gets more).")
@click.option("--keys", type=click.IntRange(1_000), help="Keys of the codec, memory and Elektra groups.")
@click.option("--size", "sizes", multiple=True, type=click.IntRange(1), help="Keys of a round trip; may be repeated.")
@click.option(
    "--kdb-mounts", is_flag=True, help="Also measure kdb get, with a mountpoint at user:/tests/stdioproc/bench."
)
@click.option("--write/--no-write", default=None, help="Write docs/performance.md (default: only after a full run).")
@click.option("--note", default="", help="A sentence to put above the figures.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False), help="Write every sample to this file.")
def main(
    groups: tuple[str, ...],
    quick: bool,
    repetitions: int | None,
    keys: int | None,
    sizes: tuple[int, ...],
    kdb_mounts: bool,
    write: bool | None,
    note: str,
    json_file: str | None,
) -> None:
    """Measure all GROUPS, or those that are named. Read bench/README.md for what the figures mean."""
    options = QUICK if quick else Options()
    if repetitions:
        options = dataclasses.replace(options, repetitions=repetitions)
    if keys:
        options = dataclasses.replace(options, keys=keys, many_keys=10 * keys)
    if sizes:
        options = dataclasses.replace(options, sizes=sizes)
    options = dataclasses.replace(options, kdb_mounts=kdb_mounts)
    console = Console()
    if not console.is_terminal:
        console = Console(width=150)  # nothing folds a file
    load = os.getloadavg()[0]
    tables: list[Table] = []
    for name in groups or GROUPS:
        with console.status(f"measuring: {name}"):
            found = GROUPS[name](options)
        for table in found:
            report.show(console, table)
        tables += found
    about = report.environment(load, note)
    for line in about:
        console.print(line, highlight=False)
    for each in report.missed(tables):
        console.print(f"not as fast as it shall be: {each}", style="red", highlight=False)
    if json_file:
        Path(json_file).write_text(json.dumps(report.as_json(tables, about), indent=1) + "\n", encoding="utf-8")
    full = not (groups or quick or keys or sizes)
    if full if write is None else write:
        for path in report.write(DOCS, tables, about):
            console.print(f"wrote docs/{path.name}", highlight=False)


if __name__ == "__main__":
    main(prog_name="python -m bench")
