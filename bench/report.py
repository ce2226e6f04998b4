"""Tables for people, for docs/performance.md, and the plot."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table as Screen
from rich.text import Text

from bench.measure import Row, Table
from bench.plot import plot

_BEGIN, _END = "<!-- made by make bench: begin -->", "<!-- end -->"
_HEADINGS = ("", "median", "±", "MB/s", "ratio", "against", "shall be")


def environment(started_load: float, note: str) -> list[str]:
    """What the figures belong to. Not the machine's name: the ratios count."""
    lines = [
        f"Measured {time.strftime('%Y-%m-%d')} with Python {platform.python_version()} on {platform.system()} "
        f"{platform.machine()}, {os.cpu_count()} processors; load average {started_load:.1f} at the start, "
        f"{os.getloadavg()[0]:.1f} at the end.",
    ]
    return [*lines, note] if note else lines


def show(console: Console, table: Table) -> None:
    screen = Screen(title=Text(table.title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD)
    for index, heading in enumerate(_HEADINGS):
        screen.add_column(heading, justify="right" if index in (1, 2, 3, 4, 6) else "left", overflow="fold")
    for row in table.rows:
        style = {True: "green", False: "red", None: ""}[row.met]
        screen.add_row(*(Text(cell, style=style if index in (4, 6) else "") for index, cell in enumerate(_cells(row))))
    if table.rows:
        console.print(screen)
    for note in table.notes:
        console.print(Text(f"  {note}", style="dim"))


def write(folder: Path, tables: Sequence[Table], about: Iterable[str]) -> list[Path]:
    """Put the tables between the marks in performance.md, and the plot beside it."""
    page, picture = folder / "performance.md", folder / "performance.svg"
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(_BEGIN)
    _, end, behind = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{page.name} has lost its marks {_BEGIN} and {_END}")
    parts = [*about, *(_markdown(table) for table in tables)]
    page.write_text(before + begin + "\n" + "\n\n".join(parts) + "\n" + end + behind, encoding="utf-8")
    picture.write_text(plot(tables), encoding="utf-8")
    return [page, picture]


def missed(tables: Iterable[Table]) -> list[str]:
    return [f"{table.title}: {row.name}" for table in tables for row in table.rows if row.met is False]


def _markdown(table: Table) -> str:
    lines = [f"### {table.title}", ""]
    if table.rows:
        lines += ["| " + " | ".join(_HEADINGS) + " |", "|---|--:|--:|--:|--:|---|--:|"]
        lines += ["| " + " | ".join(_cells(row)) + " |" for row in table.rows]
    lines += [f"\n{note}" for note in table.notes]
    return "\n".join(lines)


def _cells(row: Row) -> list[str]:
    # The throughput of what is no work on bytes would say nothing.
    speed = f"{row.size / row.median / 1e6:,.0f}" if row.size and row.median > 0 else ""
    goal = ""
    if row.at_most_seconds is not None:
        goal = f"≤ {_seconds(row.at_most_seconds)}"
    elif row.at_most is not None:
        goal = f"≤ {_ratio(row.at_most)}"
    if row.met is not None:
        goal += " ✓" if row.met else " ✗"
    return [
        row.name,
        _seconds(row.median) if row.unit == "s" else f"{row.median:.2f}",
        f"{row.spread:.0%}" if len(row.samples) > 2 else "",
        speed,
        _ratio(row.ratio) if row.ratio is not None else "",
        row.against,
        goal,
    ]


def _seconds(seconds: float) -> str:
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if abs(seconds) * factor >= 1 or unit == "µs":
            return f"{seconds * factor:.3g} {unit}" if abs(seconds) * factor < 100 else f"{seconds * factor:.0f} {unit}"
    raise AssertionError("unreachable")


def _ratio(ratio: float) -> str:
    return f"{ratio:.3f}" if ratio < 0.1 else f"{ratio:.2f}" if ratio < 10 else f"{ratio:.1f}"


def as_json(tables: Sequence[Table], about: Sequence[str]) -> dict[str, object]:
    """Every sample, for who wants to look closer."""
    return {
        "about": list(about),
        "python": sys.version,
        "tables": [
            {
                "title": table.title,
                "notes": table.notes,
                "rows": [
                    {
                        "name": row.name,
                        "unit": row.unit,
                        "median": statistics.median(row.samples),
                        "samples": row.samples,
                        "against": row.against,
                        "ratio": row.ratio,
                        "at_most": row.at_most,
                    }
                    for row in table.rows
                ],
            }
            for table in tables
        ],
    }
