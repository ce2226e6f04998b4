"""Entry points of the group `stdioproc.plugins`, read from the files of the installed distributions.

importlib.metadata does that in 30 ms; a plugin starts in 10. Read are `*.dist-info/entry_points.txt` and
`*.egg-info/entry_points.txt` (source trees of editable installs) in the directories of sys.path; zip files are not
looked into.
"""

from __future__ import annotations

import os
import sys

from stdioproc.cli.statuses import EX_PLUGIN_UNFIT, EX_USAGE, LoadError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

GROUP = "stdioproc.plugins"

_SECTION = f"[{GROUP}]".encode()
_SUFFIXES = (".dist-info", ".egg-info")


class EntryPoint:
    """One line of an entry_points.txt: `name`, `value` (module:Class) and the `distribution` that says it."""

    __slots__ = ("distribution", "name", "value")

    def __init__(self, name: str, value: str, distribution: str) -> None:
        self.name = name
        self.value = value
        self.distribution = distribution


def find(name: str) -> tuple[str, str]:
    """Module and class of the plugin that is installed under `name`.

    The first on sys.path wins; that another distribution has the same name for something else is told on stderr.
    Raises LoadError when there is none.
    """
    found: EntryPoint | None = None
    names = set()
    for entry_point in installed():
        names.add(entry_point.name)
        if entry_point.name != name:
            continue
        if found is None:
            found = entry_point
        elif entry_point.value != found.value:
            sys.stderr.write(
                f"pluginproc: warning: two distributions install a plugin {name!r}: {found.distribution} ({found.value}), which "
                f"is taken, and {entry_point.distribution} ({entry_point.value}); to be sure give --load-plugin module:Class\n"
            )
    if found is None:
        raise _not_found(name, sorted(names))
    module, colon, attribute = found.value.partition(":")
    if not colon or not module:
        raise LoadError(
            EX_PLUGIN_UNFIT,
            f"{found.distribution} installs the plugin {name!r} as {found.value!r}, which is not module:Class; "
            "its package must be mended",
        )
    return module, attribute


def installed(path: Sequence[str] | None = None) -> Iterator[EntryPoint]:
    """All plugins in the directories of `path` (sys.path when None), in its order and sorted within a directory."""
    seen: set[str] = set()
    for directory in sys.path if path is None else path:
        try:
            entries = sorted(os.listdir(directory or "."))
        except OSError:
            continue  # a zip file, or nothing
        for entry in entries:
            # What pip leaves of a removal that was interrupted begins with a tilde.
            if not entry.endswith(_SUFFIXES) or entry.startswith("~"):
                continue
            distribution = entry.rpartition(".")[0].partition("-")[0].lower().replace("_", "-").replace(".", "-")
            # A distribution that is found again is hidden by the first, as for an import.
            if distribution in seen:
                continue
            seen.add(distribution)
            try:
                with open(f"{directory or '.'}/{entry}/entry_points.txt", "rb") as file:
                    content = file.read()
            except OSError:
                continue  # most distributions have none
            if _SECTION in content:
                for name, value in _read(content):
                    yield EntryPoint(name, value, distribution)


def _read(content: bytes) -> Iterator[tuple[str, str]]:
    inside = False
    for line in content.decode("utf-8", "replace").splitlines():
        line = line.strip()
        if line.startswith("["):
            inside = line == f"[{GROUP}]"
        elif inside and line and line[0] not in "#;":
            name, equals, value = line.partition("=")
            if equals:
                yield name.strip(), value.partition("[")[0].strip()  # extras stand in brackets


def _not_found(name: str, names: list[str]) -> LoadError:
    from difflib import get_close_matches  # only who made a slip pays for it

    close = get_close_matches(name, names, n=1)
    meant = f" Was {close[0]} meant?" if close else ""
    there = f"Installed are: {', '.join(names)}." if names else "None is installed."
    module = (
        f"; a class in an installed module as --load-plugin {name}:Class" if name.isidentifier() or "." in name else ""
    )
    return LoadError(
        EX_USAGE,
        f"no plugin {name!r} is installed for {sys.executable}.{meant} {there} A file is loaded as --load-plugin "
        f"/path/to/{name.rpartition('.')[2]}.py{module}",
    )
