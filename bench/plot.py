"""performance.svg: two small panels, written by hand so that nothing has to be installed for them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from xml.sax.saxutils import escape

from bench.measure import Table
from bench.roundtrip import FLOOR, MODES

_WIDTH, _HEIGHT = 920, 360
_COLOURS = ("#888888", "#0b7285", "#e67700", "#c92a2a")
_BARS = "#0b7285"


def plot(tables: Sequence[Table]) -> str:
    by_key = {table.key: table for table in tables}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="11">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
    ]
    if "size" in by_key:
        parts += _lines(by_key["size"], 60, 40, 330, 260)
    if "codec" in by_key:
        parts += _rows(by_key["codec"], 640, 40, 200)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _lines(table: Table, left: int, top: int, width: int, height: int) -> list[str]:
    """Seconds by number of keys, both logarithmic: what is linear is a straight line."""
    series: dict[str, list[tuple[int, float]]] = {}
    for row in table.rows:
        found = re.fullmatch(r"([\d,]+) keys: (.*)", row.name)
        if found and row.median > 0:
            series.setdefault(found[2], []).append((int(found[1].replace(",", "")), row.median))
    points = [point for line in series.values() for point in line]
    if len({count for count, _ in points}) < 2:
        return []
    low_x, high_x = (math.log10(pick(count for count, _ in points)) for pick in (min, max))
    low_y, high_y = (
        edge(math.log10(pick(s for _, s in points))) for edge, pick in ((math.floor, min), (math.ceil, max))
    )

    def x(count: float) -> float:
        return left + (math.log10(count) - low_x) / (high_x - low_x) * width

    def y(seconds: float) -> float:
        return top + height - (math.log10(seconds) - low_y) / (high_y - low_y) * height

    parts = [_text(left, top - 16, "Round trip of a get (s) by number of keys", weight="bold")]
    for exponent in range(low_y, high_y + 1):
        at = y(10.0**exponent)
        parts.append(f'<line x1="{left}" x2="{left + width}" y1="{at:.1f}" y2="{at:.1f}" stroke="#e9ecef"/>')
        parts.append(_text(left - 6, at + 4, f"{10.0**exponent:g}", anchor="end"))
    for count in sorted({count for count, _ in points}):
        parts.append(_text(x(count), top + height + 16, f"{count:,}", anchor="middle"))
    for index, (name, colour) in enumerate(zip((FLOOR, *MODES.values()), _COLOURS, strict=True)):
        line = sorted(series.get(name, []))
        path = " ".join(f"{x(count):.1f},{y(seconds):.1f}" for count, seconds in line)
        dash = ' stroke-dasharray="4 3"' if name == FLOOR else ""
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        parts.append(f'<rect x="{left + 12}" y="{top + 4 + 16 * index}" width="14" height="4" fill="{colour}"/>')
        parts.append(_text(left + 32, top + 10 + 16 * index, name))
    return parts


def _rows(table: Table, left: int, top: int, width: int) -> list[str]:
    longest = max(row.median for row in table.rows)
    parts = [_text(left - 190, top - 16, f"{table.title} (ms)", weight="bold")]
    for index, row in enumerate(table.rows):
        at = top + index * 22
        parts.append(_text(left - 6, at + 11, row.name, anchor="end"))
        size = max(row.median / longest * width, 1)
        parts.append(f'<rect x="{left}" y="{at}" width="{size:.1f}" height="14" fill="{_BARS}"/>')
        parts.append(_text(left + size + 4, at + 11, f"{row.median * 1e3:.3g}"))
    return parts


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'
