"""`stdioproc demo`: as text, at a terminal, and where it cannot work."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pexpect
import pytest

from dumpfmt import Key, KeySet
from stdioproc.cli import dialogue, tree

from .conftest import TIMEOUT, Run
from .test_terminal import Terminal, ended, terminal

__all__ = ["terminal"]

ROOT = Path(__file__).parents[2]


def test_the_demo_does_the_main_job_on_this_project(run: Run, tmp_path: Path) -> None:
    before = (ROOT / "pyproject.toml").read_bytes()
    version = tomllib.loads(before.decode())["project"]["version"]
    result = run("stdioproc", "demo", cwd=ROOT, env={"TMPDIR": str(tmp_path)})
    assert (result.returncode, result.stderr) == (0, b"")
    shown = result.stdout.decode()
    assert "\033" not in shown
    assert f"The file is {ROOT / 'pyproject.toml'}." in shown
    assert "├── build-backend = 'setuptools.build_meta'" in shown
    changed = [line for line in shown.splitlines() if re.match(r"[-+](?![-+])", line)]
    assert len(changed) == 2
    assert changed[0] == f'-version = "{version}"'
    assert (
        "Sorry, module whitelist issued the error C03200:\nValidation Semantic: user:/pyproject/build-system/build-backend"
        in shown
    )
    assert re.search(r"^At: .*whitelist\.py:[0-9]+$", shown, re.MULTILINE)
    assert "P> set\\n\nP> kdbOpen 2\\n\nP> $key string 15 0\\nuser:/pyproject\\n\\n\nP> $end\\n\n" in shown
    assert "C> error\\n\nC> kdbOpen 2\\n\n" in shown
    for step in ("toml       get", "toml       set", "whitelist  set, refused", "whitelist  close and end"):
        assert re.search(rf"^{step} +[0-9]+\.[0-9]{{2}}\b", shown, re.MULTILINE)
    # The file is as it was, and nothing is left behind.
    assert (ROOT / "pyproject.toml").read_bytes() == before
    assert list(tmp_path.iterdir()) == []


def test_the_commands_that_it_suggests_work(run: Run) -> None:
    shown = run("stdioproc", "demo", cwd=ROOT).stdout.decode().partition("6. Go on")[2]
    commands = re.findall(r"^\$ ((?:.*\\\n)*.*)$", shown, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        result = subprocess.run(["/bin/sh", "-c", command], capture_output=True, timeout=TIMEOUT, cwd=ROOT)
        assert (result.returncode, result.stderr) == (0, b"")
        assert b"toml" in result.stdout


def test_without_a_file_a_small_one_is_made_up_and_that_is_said(run: Run, tmp_path: Path) -> None:
    result = run("stdioproc", "demo")
    assert (result.returncode, result.stderr) == (0, b"")
    shown = " ".join(result.stdout.decode().split())
    assert f"There is no pyproject.toml in {tmp_path}, so a small one was made up" in shown
    assert '-version = "1.4.2" +version = "1.4.3"' in shown
    assert list(tmp_path.iterdir()) == []


def test_somebody_elses_file_will_do(run: Run, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes(b'[tool.x]\r\nsize = 3 # a size\r\nname = "fence" # a name\r\n')
    result = run("stdioproc", "demo")
    assert (result.returncode, result.stderr) == (0, b"")
    assert b'+name = "fence-changed" # a name\n' in result.stdout


def test_a_file_that_is_no_toml_is_the_plugins_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project\n")
    result = run("stdioproc", "demo")
    assert result.returncode == 1
    assert b"Sorry, module toml issued the error C03100:" in result.stdout
    assert b"stdioproc demo: the plugin answered ERROR, not SUCCESS" in result.stderr


def test_a_reader_that_has_seen_enough_is_no_error(commands: Path) -> None:
    result = pexpect.run(f"/bin/sh -c '{commands}/stdioproc demo | head -n 1'", timeout=TIMEOUT, encoding="utf-8")
    assert str(result).splitlines() == ["1. Read pyproject.toml through the plugin toml"]


def test_in_a_terminal_it_has_colours_and_keeps_to_the_width(terminal: Terminal) -> None:
    demo = terminal("stdioproc", "demo", cwd=ROOT)
    assert ended(demo) == 0
    shown = str(demo.before)
    assert "\x1b[1;34m1. Read pyproject.toml" in shown
    assert '\x1b[31m-version = "' in shown
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown).replace("\r\n", "\n")
    assert "\x1b" not in plain
    # A command, a file's lines and a path stand as they are; everything else fits.
    long = [line for line in plain.splitlines() if len(line) > 80]
    assert not [line for line in long if not re.match(r"[-+ ]|At: |/|\$ |The file is", line)]


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colours_where_none_are_wanted(terminal: Terminal, env: dict[str, str]) -> None:
    demo = terminal("stdioproc", "demo", env=env)
    assert ended(demo) == 0
    assert "\x1b" not in str(demo.before)


def test_a_tree_escapes_shortens_and_counts() -> None:
    root = Key("user:/r")
    keyset = KeySet([root.child(f"k{index:02}", "v") for index in range(20)])
    keyset.extend(
        [
            root.child("a\n\x1b", "\x1b[31m"),
            root.join("b/#0", b"\0"),
            root.join("b/#1", None),
            root.join("c/d/e/f", "1"),
        ]
    )
    keyset.append(root.child("n", None))
    shown = [
        "".join(part if isinstance(part, str) else part[0] for part in line) for line in tree.lines(keyset, "user:/r")
    ]
    assert shown[:6] == [
        "user:/r",
        "├── a\\n\\x1b = '\\x1b[31m'",
        "├── b/#0…#1 = '\\x00', ''",
        "├── c",
        "│   └── d",
        "│       └── e  … 1 key",
    ]
    assert shown[-1] == "└── … 12 more (12 keys)"


def test_a_dialogue_is_cut_into_records_whatever_it_is() -> None:
    data = b"set\n$key string 3 2\n/\n\n\n\n\n\n$meta 1 1\na\nb\n$end\nrest"
    assert b"".join(dialogue.records(data)) == data
    assert list(dialogue.records(data)) == [
        b"set\n",
        b"$key string 3 2\n/\n\n\n\n\n\n",
        b"$meta 1 1\na\nb\n",
        b"$end\n",
        b"rest",
    ]
    assert list(dialogue.records(b"$key string 9 9\nx")) == [b"$key string 9 9\nx"]


def test_a_long_message_loses_its_middle_and_says_so() -> None:
    recorder = dialogue.Recorder()
    recorder("P>", b"line\n" * 50)
    recorder("P>", b"last\n\xff\x1b")
    recorder("C>", b"x")
    assert (recorder.count("P>"), recorder.count("C>")) == (257, 1)
    shown = [
        "".join(part if isinstance(part, str) else part[0] for part in line)
        for line in dialogue.lines(recorder.messages())
    ]
    assert len(shown) == dialogue.MAX_LINES + 2
    assert "P> … 28 more records, 140 bytes …" in shown
    assert shown[-3:] == ["P> last\\n", "P> \\xff\\x1b", "C> x"]
