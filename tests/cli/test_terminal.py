"""The installed commands as a person at a terminal meets them."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from .conftest import TIMEOUT

Terminal = Callable[..., "pexpect.spawn[str]"]


@pytest.fixture
def terminal(commands: Path, tmp_path: Path) -> Iterator[Terminal]:
    """Start an installed command in a terminal of 80 columns; it is ended with the test."""
    started: list[pexpect.spawn[str]] = []

    def start(
        command: str, *args: object, env: dict[str, str] | None = None, cwd: Path | None = None
    ) -> pexpect.spawn[str]:
        environment = {
            name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")
        }
        process = pexpect.spawn(
            str(commands / command),
            [str(arg) for arg in args],
            env={**environment, "TERM": "xterm-256color", "PYTHONDONTWRITEBYTECODE": "1", **(env or {})},  # type: ignore[arg-type]
            cwd=str(cwd or tmp_path),
            dimensions=(40, 80),
            timeout=TIMEOUT,
            encoding="utf-8",
            echo=False,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.close(force=True)


def ended(process: pexpect.spawn[str]) -> int | None:
    """The exit status, when the program is over."""
    process.expect(pexpect.EOF)
    process.wait()
    return process.exitstatus


def interrupt(process: pexpect.spawn[str]) -> None:
    """Press Ctrl-C, and again when nothing happens, as one does: between its last look for signals and a read that blocks,
    Python can miss one.
    """
    for _ in range(5):
        process.sendintr()
        if process.expect([pexpect.EOF, pexpect.TIMEOUT], timeout=TIMEOUT / 5) == 0:
            return
    pytest.fail("it does not end on Ctrl-C")


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_dialogue_typed_by_hand(terminal: Terminal, plugins: Path) -> None:
    child = terminal("pluginproc", "--load-plugin", plugins / "sample.py")
    child.expect_exact("sample is a plugin for Elektra")
    child.expect_exact("stdioproc call get -- ")
    child.expect_exact(f"pluginproc --load-plugin {plugins / 'sample.py'}")
    child.expect_exact("Ctrl-D")
    child.sendline("ELEKTRA_STDIOPROC INIT v1")
    child.expect_exact("ELEKTRA_STDIOPROC ACK v1\r\nsample\r\nkdbOpen 2\r\n")
    child.expect_exact("$end\r\n")
    for line in ("open", "kdbOpen 2", "$key string 7 2", "user:/x", "/f", "$end", "kdbOpen 2", "$end"):
        child.sendline(line)
    child.expect_exact("success\r\nkdbOpen 2\r\n$key string 7 2\r\nuser:/x\r\n/f\r\n$end\r\nkdbOpen 2\r\n$end\r\n")
    child.sendline("take")
    child.expect_exact("the host broke the protocol: expected an operation (open get set")
    child.expect_exact("found 'take'")
    child.expect_exact("closed\r\n")
    assert ended(child) == 76


def test_a_plugin_at_a_terminal_ends_with_ctrl_d_and_ctrl_c(terminal: Terminal, plugins: Path) -> None:
    child = terminal("pluginproc", "--load-plugin", plugins / "sample.py")
    child.expect_exact("Ctrl-D")
    child.sendeof()
    assert ended(child) == 0
    child = terminal("pluginproc", "--load-plugin", plugins / "sample.py")
    child.expect_exact("Ctrl-D")
    interrupt(child)
    assert "Traceback" not in str(child.before)
    assert ended(child) == 130


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_interrupted_call_leaves_no_child(terminal: Terminal, plugins: Path, number: int, status: int) -> None:
    call = terminal("stdioproc", "call", "get", "--", "pluginproc", "--load-plugin", plugins / "silent.py")
    call.expect(r"silent is (\d+)\r\n")
    assert isinstance(call.match, re.Match)
    child = int(call.match[1])
    assert not is_gone(child)
    if number == signal.SIGINT:
        interrupt(call)
    else:
        call.kill(number)
        call.expect(pexpect.EOF)
    assert "Traceback" not in str(call.before)
    assert ended(call) == status
    assert is_gone(child)


def test_a_call_interrupted_during_the_handshake_leaves_no_child(terminal: Terminal) -> None:
    call = terminal("stdioproc", "call", "get", "--", "/bin/sh", "-c", "echo pid is $$ >&2; exec sleep 100")
    call.expect(r"pid is (\d+)\r\n")
    assert isinstance(call.match, re.Match)
    child = int(call.match[1])
    interrupt(call)
    assert ended(call) == 130
    assert is_gone(child)


def test_help_and_list_at_a_terminal(terminal: Terminal) -> None:
    listed = terminal("pluginproc", "--list")
    listed.expect_exact("\x1b[1mtoml")
    assert ended(listed) == 0
    helped = terminal("pluginproc", "--help")
    helped.expect_exact("--load-plugin PLUGIN")
    assert ended(helped) == 0
    plain = terminal("pluginproc", "--list", env={"NO_COLOR": "1"})
    plain.expect_exact("toml")
    plain.expect(pexpect.EOF)
    assert "\x1b" not in str(plain.before)
