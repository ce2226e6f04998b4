"""The tables of docs/trust.md: `python tests/trust/matrix.py` measures and writes them, test_matrix.py holds them to the code.

What misbehaves is tests/children/bad.py, what is made of it the table in tests/stdioproc/test_host_faults.py; this adds the
programs that cannot even be started.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dumpfmt import Key, KeySet
from stdioproc.host import PluginDied, PluginProcess, PluginProcessError, PluginRefused, PluginStartError, Trust

TESTS = Path(__file__).parent.parent
PAGE = TESTS.parent / "docs" / "trust.md"
CHILD = TESTS / "children" / "bad.py"


def _faults() -> Any:
    spec = importlib.util.spec_from_file_location("faults", TESTS / "stdioproc" / "test_host_faults.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- programs that cannot be started


def _write(path: Path, content: bytes, mode: int = 0o755) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def _patched(path: Path, pattern: bytes, replacement: Callable[[bytes], bytes]) -> Path:
    """A copy of a dynamic program of this machine, with something replaced by as many bytes."""
    data = Path(shutil.which("true") or "/bin/true").read_bytes()
    found = re.search(pattern, data, re.S)
    assert found is not None
    new = replacement(found[0])
    assert len(new) == len(found[0])
    return _write(path, data[: found.start()] + new + data[found.end() :])


def _other_machine(path: Path) -> Path:
    data = bytearray(Path(shutil.which("true") or "/bin/true").read_bytes())
    data[18] ^= 0x55  # e_machine
    return _write(path, bytes(data))


def _link(path: Path, target: str) -> Path:
    path.symlink_to(target)
    return path


def _directory(path: Path) -> Path:
    path.mkdir()
    return path


#: What is wrong with it: how it is made, what it is, and a part of the reason.
STARTS: dict[str, tuple[Callable[[Path], Path], type[PluginProcessError], str]] = {
    "missing": (lambda path: path, PluginStartError, "there is no such file"),
    "a directory": (_directory, PluginStartError, "it is a directory, not a program"),
    "not executable": (lambda path: _write(path, b"#!/bin/sh\n", 0o644), PluginStartError, "run chmod +x on it"),
    "empty": (lambda path: _write(path, b""), PluginStartError, "neither a program for this machine nor a script"),
    "a text without #!": (lambda path: _write(path, b"hello\n"), PluginStartError, "neither a program"),
    "#! and nothing": (lambda path: _write(path, b"#!\n"), PluginStartError, "neither a program"),
    "a missing interpreter": (lambda path: _write(path, b"#!/nowhere/x\n"), PluginStartError, "which does not exist"),
    "an interpreter that is not executable": (
        lambda path: _write(path, b"#!/etc/passwd\n"),
        PluginStartError,
        "which cannot be executed",
    ),
    "a #! line without end": (lambda path: _write(path, b"#!" + b"x" * 5000), PluginStartError, "interpreter"),
    "its own interpreter": (lambda path: _write(path, b"#!%b\n" % bytes(path)), PluginStartError, "cannot be started"),
    "for another machine": (_other_machine, PluginStartError, "neither a program for this machine nor a script"),
    "the head of a program": (lambda path: _write(path, b"\x7fELF\2\1\1" + bytes(57)), PluginStartError, "neither"),
    "a missing loader": (
        lambda path: _patched(path, rb"/lib[^\0]*/ld-[^\0]+", lambda old: old[:-1] + b"X"),
        PluginStartError,
        "its loader does not exist",
    ),
    "a missing library": (
        lambda path: _patched(path, rb"libc\.so\.6", lambda old: b"libX.so.6"),
        PluginDied,
        "error while loading shared libraries: libX.so.6",
    ),
    "a link to nothing": (lambda path: _link(path, "nothing"), PluginStartError, "a symbolic link to a file that"),
    "a link to itself": (lambda path: _link(path, path.name), PluginStartError, "symbolic link"),
    "writable by everybody": (lambda path: _write(path, b"#!/bin/sh\n", 0o777), PluginRefused, "writable by everybody"),
    "another than the pinned one": (lambda path: _write(path, b"#!/bin/sh\n"), PluginRefused, "is demanded"),
    "too many arguments": (lambda path: _write(path, b"#!/bin/sh\n"), PluginStartError, "Argument list too long"),
}


def start(name: str, folder: Path) -> PluginProcessError:
    """What is told of one of them."""
    program = STARTS[name][0](folder / "program")
    trust = Trust(sha256=hashlib.sha256(b"").hexdigest() if name.startswith("another than") else "")
    args = ["x" * 100_000] * 100 if name == "too many arguments" else []
    plugin = PluginProcess([str(program), *args], protocol="stdioproc", trust=trust)
    try:
        plugin.start()
    except PluginProcessError as error:
        return error
    plugin.end()
    raise AssertionError(f"{name}: it was started")


# --- the page


def descriptions() -> dict[str, str]:
    """The misbehaviours of bad.py in words: what is written there, or the name."""
    [body] = [
        node.body
        for node in ast.parse(CHILD.read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == "Child"
    ]
    methods = [node for node in body if isinstance(node, ast.FunctionDef) and node.name != "__init__"]
    words = {node.name: (ast.get_docstring(node) or "").split(". ")[0] for node in methods}
    return {
        name: " ".join((text or name.replace("_", " ").capitalize()).rstrip(".").split())
        for name, text in words.items()
    }


def _cell(kind: type[PluginProcessError] | None, words: str) -> str:
    if kind is None:
        return "the host copes"
    return f"`{kind.__name__}`" + (f": … {words} …" if words else "")


def operations_table(times: dict[str, str]) -> str:
    faults, words = _faults(), descriptions()
    lines = ["| the child | in an operation | in the handshake | measured |", "|---|---|---|---|"]
    for name in words:
        cells = [_cell(*faults.ANSWERS[name]), _cell(*faults.HANDSHAKE[name])]
        if cells[0] == cells[1]:
            cells[1] = "the same"
        lines.append(f"| {words[name]} | {cells[0]} | {cells[1]} | {times.get(name, '')} |")
    return "\n".join(lines)


def starts_table(times: dict[str, str]) -> str:
    lines = ["| the program | what is told | measured |", "|---|---|---|"]
    lines += [f"| {name} | {_cell(kind, words)} | {times.get(name, '')} |" for name, (_, kind, words) in STARTS.items()]
    return "\n".join(lines)


def times_of(page: str) -> dict[str, str]:
    """What the page says was measured, by the first cell of a row."""
    found = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.fullmatch(r"[0-9.]+ s", cells[-1]):
            found[cells[0]] = cells[-1]
    return found


def with_tables(page: str, times: dict[str, str]) -> str:
    by_words = {name: times.get(words, "") for name, words in descriptions().items()}
    for name, table in (("operations", operations_table(by_words)), ("starts", starts_table(times))):
        mark = rf"(<!-- {name}: written by tests/trust/matrix.py -->\n).*?(?=<!-- end -->)"
        page = re.sub(mark, lambda found, table=table: found[1] + table + "\n", page, flags=re.S)  # type: ignore[misc]
    return page


def measure() -> dict[str, str]:
    faults, words, times = _faults(), descriptions(), {}
    for name in words:
        plugin = faults.process([sys.executable, "-I", "-S", str(CHILD), "get", name])
        plugin.start()
        plugin.open()
        began = time.monotonic()
        try:
            plugin.get(KeySet([Key("user:/p/a", "x")]), Key("user:/p"))
        except PluginProcessError:
            pass
        times[words[name]] = f"{time.monotonic() - began:.2f} s"
        plugin.end()
    for name in STARTS:
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            start(name, Path(folder))
            times[name] = f"{time.monotonic() - began:.2f} s"
    return times


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(), measure()))
