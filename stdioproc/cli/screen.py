"""Output for people: colours on a terminal, the same text without them elsewhere."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, TextIO

from dumpfmt import Key
from stdioproc.errors import ElektraError, get_error, get_warnings

if TYPE_CHECKING:
    from rich.console import Console

#: A piece of a line: text, or text and a style in rich's words.
Part = str | tuple[str, str]

#: Wider is hard to read, and what is no terminal has no width.
MAX_WIDTH = 100
PLAIN_WIDTH = 80


class Screen:
    """Writes lines to `file` (stdout when None). Styled on a terminal, unless NO_COLOR is set or TERM is dumb; only then
    is rich imported. `width` is what a line should keep to.
    """

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = sys.stdout if file is None else file
        self._console: Console | None = None
        self.width = PLAIN_WIDTH
        self._terminal = self._file.isatty()
        if self._terminal:
            self.width = max(40, min(MAX_WIDTH, shutil.get_terminal_size().columns))
            if not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb":
                from rich.console import Console  # only where something is shown

                self._console = Console(file=self._file, highlight=False, markup=False, emoji=False, soft_wrap=True)
        # The user's terminal may know fewer characters than a key can hold.
        reconfigure = getattr(self._file, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")

    @property
    def styled(self) -> bool:
        return self._console is not None

    def line(self, *parts: Part) -> None:
        """One line of `parts`."""
        if self._console is None:
            self._file.write("".join(part if isinstance(part, str) else part[0] for part in parts) + "\n")
        else:
            from rich.text import Text

            self._console.print(Text.assemble(*parts))

    def cut(self, *parts: Part) -> None:
        """One line of `parts`, shortened to the width."""
        left = self.width
        kept: list[Part] = []
        for part in parts:
            text, style = (part, "") if isinstance(part, str) else part
            if len(text) > left:
                kept.append((fit(text, left), style))
                break
            kept.append((text, style))
            left -= len(text)
        self.line(*kept)

    def prose(self, text: str) -> None:
        """Text for people: broken between words on a terminal, and a line of its own elsewhere, for what searches in it."""
        for line in text.split("\n"):
            wrapped = (
                textwrap.wrap(line, self.width, break_long_words=False, break_on_hyphens=False)
                if self._terminal
                else [line]
            )
            for each in wrapped or [""]:
                self.line(each)

    def flush(self) -> None:
        self._file.flush()


def fit(text: str, width: int) -> str:
    """`text`, cut to `width` characters; an ellipsis says that something is missing."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def printable(text: str) -> str:
    """`text` with everything escaped that is no character for a terminal: what a plugin says must not steer it."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode("ascii") for c in text)


def show_messages(screen: Screen, parent: Key) -> None:
    """The warnings and the error that `parent` carries, worded as `kdb` words them."""
    warnings = get_warnings(parent)
    if warnings:
        count = "1 warning was" if len(warnings) == 1 else f"{len(warnings)} warnings were"
        screen.line((f" Sorry, {count} issued ;(", "yellow"))
    for number, warning in enumerate(warnings, 1):
        screen.line(
            (f" {number}: Module {printable(warning.module)} issued the warning {printable(warning.number)}:", "yellow")
        )
        screen.line(f"\t{printable(warning.description)}: {printable(warning.reason)}")
    error = get_error(parent)
    if error is not None:
        show_error(screen, error)


def show_error(screen: Screen, error: ElektraError) -> None:
    """An Elektra error as `kdb -v -d` prints it."""
    screen.line(
        (f"Sorry, module {printable(error.module)} issued the error ", "red"),
        (printable(error.number), "bold red"),
        (":", "red"),
    )
    screen.prose(f"{printable(error.description)}: {printable(error.reason)}")
    if error.mountpoint:
        screen.line(("Mountpoint: ", "dim"), printable(error.mountpoint))
    if error.configfile:
        screen.line(("Configfile: ", "dim"), printable(error.configfile))
    if error.file:
        screen.line(("At: ", "dim"), printable(f"{error.file}:{error.line}"))
