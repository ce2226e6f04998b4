"""The children's side: the host disappears in every phase, `serve` ends, closes once, and its exit status tells."""

from __future__ import annotations

import select
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dumpfmt import Key, KeySet
from stdioproc import wire
from stdioproc.connection import Connection
from stdioproc.dialects import DIALECTS, Dialect
from stdioproc.events import Init, Request, Terminate
from stdioproc.state import Role

if TYPE_CHECKING:
    from conftest import Watched  # beside this file

GONE, FINE = 74, 0
PARENT = Key("user:/p")

#: Phase: what the host says before it disappears, whether it reads the last answer, exit status, how often close runs.
PHASES: dict[str, tuple[list[str], bool, int, int]] = {
    "before it said anything": ([], True, FINE, 0),
    "inside INIT": (["half init"], True, GONE, 0),
    "before it read the contract": (["init"], False, GONE, 0),
    "after the handshake": (["init"], True, FINE, 0),
    "inside open": (["init", "half open"], True, GONE, 0),
    "before it read the answer to open": (["init", "open"], False, GONE, 1),
    "after open": (["init", "open"], True, GONE, 1),
    "inside a request": (["init", "open", "half set"], True, GONE, 1),
    "before it read the answer": (["init", "open", "set"], False, GONE, 1),
    "between operations": (["init", "open", "set", "set"], True, GONE, 1),
    "inside close": (["init", "open", "half close"], True, GONE, 1),
    "before it read the answer to close": (["init", "open", "close"], False, GONE, 1),
    "after close": (["init", "open", "close"], True, FINE, 1),
    "inside TERMINATE": (["init", "open", "close", "half terminate"], True, GONE, 1),
    "with TERMINATE and without close": (["init", "open", "terminate"], True, FINE, 1),
}


def event(name: str, journal: Path, dialect: Dialect) -> Init | Request | Terminate:
    if name == "init":
        return Init(dialect)
    if name == "terminate":
        return Terminate()
    config, data = KeySet([Key("user:/config/journal", str(journal))]), KeySet([Key("user:/id", "1")])
    taken = {"open": config, "set": data, "close": KeySet()}[name]
    return Request(name, PARENT, taken if name in dialect.requests_with_data else None)


@pytest.mark.parametrize("protocol", ["stdioproc", "process"])
@pytest.mark.parametrize("phase", PHASES)
def test_a_host_that_disappears(child: Callable[..., list[str]], tmp_path: Path, phase: str, protocol: str) -> None:
    said, reads, status, closes = PHASES[phase]
    dialect, journal = DIALECTS[protocol], tmp_path / "journal"
    program = subprocess.Popen(
        child("journal.py"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
    assert program.stdin is not None and program.stdout is not None and program.stderr is not None
    with program.stderr:
        host = Connection(Role.HOST)
        for name in said:
            what = event(name.removeprefix("half "), journal, dialect)
            data = wire.encode(what, dialect) if name.startswith("half") else host.send(what)
            if name == said[-1] and not reads:
                program.send_signal(signal.SIGSTOP)
            program.stdin.write(data[: len(data) // 2] if name.startswith("half") else data)
            if not name.startswith("half") and name != "terminate" and (name != said[-1] or reads):
                while host.next_event() is None:
                    assert select.select([program.stdout], [], [], 20)[0]
                    host.receive_data(program.stdout.read(65536))
        program.stdout.close()
        program.stdin.close()
        program.send_signal(signal.SIGCONT)  # one that was stopped finds the pipe closed when it answers
        assert program.wait(20) == status
        complaint = program.stderr.read().decode()
    assert ("the host is gone" in complaint) is (status == GONE and (not reads or "inside" in phase))
    assert "Traceback" not in complaint
    lines = journal.read_text().splitlines() if journal.exists() else []
    assert sum(line.startswith("close ") for line in lines) == closes


def test_a_host_that_is_killed_leaves_its_child_the_time_to_close(
    child: Callable[..., list[str]],
    hosts: Callable[..., subprocess.Popen[bytes]],
    tmp_path: Path,
    watched: Watched,
) -> None:
    """Behind the keeper, which would have killed it a moment later."""
    journal = tmp_path / "journal"
    code = """
import os, signal, sys
from dumpfmt import Key, KeySet
from stdioproc.host import PluginProcess
plugin = PluginProcess(sys.argv[2:], config=KeySet([Key("user:/config/journal", sys.argv[1])]), start_timeout=30)
plugin.open()
os.write(1, b"%d\\n" % plugin.pid)
signal.pause()
"""
    host = hosts(code, str(journal), *child("journal.py"))
    assert host.stdout is not None
    pid = int(host.stdout.readline())
    watched.add([pid])
    host.send_signal(signal.SIGKILL)
    assert watched.wait(1.5) == []
    assert [line.split()[0] for line in journal.read_text().splitlines()] == ["open", "close"]
