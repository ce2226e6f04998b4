"""What went over the wire, made readable: one record to a line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from stdioproc.cli.screen import Part
from stdioproc.secrets import MARKS, MASK, is_mark

#: Lines of one message that are shown before its middle is left out.
MAX_LINES = 24
_TAIL = 4

# The commands that announce two payloads; wire.py and dumpfmt say what else there is.
_RECORD = re.compile(rb"\$(?:key (?:string|binary)|meta|copymeta) (\d{1,19}) (\d{1,19})\n")

_STYLES = {"P>": "bold blue", "C>": "bold magenta"}


class Recorder:
    """An `on_wire` for PluginProcess that keeps everything until `clear`."""

    def __init__(self) -> None:
        self._pieces: list[tuple[str, bytes]] = []

    def __call__(self, direction: str, data: bytes) -> None:
        self._pieces.append((direction, data))

    def clear(self) -> None:
        self._pieces.clear()

    def count(self, direction: str) -> int:
        """The bytes that went in a direction, "P>" or "C>"."""
        return sum(len(data) for each, data in self._pieces if each == direction)

    def messages(self) -> list[tuple[str, bytes]]:
        """Direction and bytes; pieces that follow each other in one direction are one."""
        joined: list[tuple[str, bytes]] = []
        for direction, data in self._pieces:
            if joined and joined[-1][0] == direction:
                joined[-1] = (direction, joined[-1][1] + data)
            else:
                joined.append((direction, data))
        return joined


def records(data: bytes) -> Iterator[bytes]:
    """The bytes in pieces that belong together: a line, or a record of a dump with its payloads. Never fails: what is
    no protocol comes line by line.
    """
    position = 0
    while position < len(data):
        found = _RECORD.match(data, position)
        size = int(found[1]) + 1 + int(found[2]) + 1 if found else 0
        end = found.end() + size if found else data.find(b"\n", position) + 1 or len(data)
        yield data[position:end]
        position = end


def without_secrets(pieces: list[bytes]) -> list[bytes]:
    """The pieces of a message with the values of secret keys masked (stdioproc.secrets)."""
    shown = list(pieces)
    key = None
    for index, piece in enumerate(pieces):
        found = _RECORD.match(piece)
        if found is None:
            continue
        first, second = _payloads(piece, found)
        if piece.startswith(b"$key"):
            key = index
        elif key is not None and _marks(piece, first, second):
            record = _RECORD.match(pieces[key])
            assert record is not None
            name, _ = _payloads(pieces[key], record)
            shown[key] = record[0] + name + b"\n" + MASK + b"\n"
    return shown


def _marks(piece: bytes, first: bytes, second: bytes) -> bool:
    if piece.startswith(b"$copymeta"):
        return second.decode("utf-8", "replace") in MARKS
    return is_mark(first.decode("utf-8", "replace"), second.decode("utf-8", "replace"))


def _payloads(piece: bytes, record: re.Match[bytes]) -> tuple[bytes, bytes]:
    start, size = record.end(), int(record[1])
    return piece[start : start + size], piece[start + size + 1 : -1]


def lines(messages: Iterable[tuple[str, bytes]]) -> Iterator[list[Part]]:
    """The lines, in parts for `Screen.cut`, of messages as `Recorder.messages` gives them."""
    for direction, data in messages:
        pieces = without_secrets(list(records(data)))
        prefix = (f"{direction} ", _STYLES.get(direction, ""))
        left_out = pieces[MAX_LINES - _TAIL : -_TAIL] if len(pieces) > MAX_LINES + 1 else []
        for index, piece in enumerate(pieces):
            if not left_out or index < MAX_LINES - _TAIL or index >= len(pieces) - _TAIL:
                yield [prefix, *_shown(piece)]
            elif index == MAX_LINES - _TAIL:
                size = sum(map(len, left_out))
                yield [prefix, (f"… {len(left_out)} more records, {size:,} bytes …", "dim")]


def _shown(piece: bytes) -> Iterator[Part]:
    """A line feed shows as \\n; bytes that are no text, as the bytes they are."""
    *texts, last = piece.split(b"\n")
    for index, text in enumerate(texts):
        dim = text.startswith(b"$") and index == 0
        yield (_escaped(text), "dim") if dim else _escaped(text)
        yield ("\\n", "dim")
    if last:
        yield _escaped(last)


def _escaped(text: bytes) -> str:
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii")
        for c in text.decode("utf-8", "backslashreplace")
    )
