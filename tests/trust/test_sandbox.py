"""A confined program reads everything, writes where it may, and reaches nothing else."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from dumpfmt import Key, KeySet
from stdioproc.host import PluginProcess, PluginRefused, PluginStartError, Status, Trust
from stdioproc.host import sandbox as sandbox_module

PROBE = """
import os, socket, sys
from stdioproc.child import Infos, Plugin, serve

class Probe(Plugin):
    infos = Infos(author="A <a@b>", licence="BSD", description="tries", placements=("postgetstorage",))

    def get(self, data, parent):
        for key in data:
            try:
                if key.basename == "write":
                    open(key.value, "w").write("written")
                elif key.basename == "read":
                    open(key.value).read()
                elif key.basename == "connect":
                    socket.create_connection(("127.0.0.1", int(key.value)), timeout=5).close()
                elif key.basename == "processes":
                    key.value = str(sum(name.isdigit() for name in os.listdir("/proc")))
                    continue
                key.value = "done"
            except OSError as error:
                key.value = "refused"

serve(Probe)
"""

pytestmark = pytest.mark.skipif(
    not any(os.access(place, os.X_OK) for place in sandbox_module._PLACES),
    reason="bubblewrap is not installed (apt install bubblewrap)",
)


@pytest.fixture
def probe(tmp_path: Path) -> list[str]:
    script = tmp_path / "probe.py"
    script.write_text(PROBE)
    return [sys.executable, str(script)]


def attempt(command: list[str], trust: Trust, key: Key) -> object:
    with PluginProcess(command, trust=trust) as plugin:
        data = KeySet([key])
        assert plugin.get(data, Key("user:/p")) is Status.SUCCESS
        return data[0].value


def test_a_confined_program_writes_only_where_it_may(probe: list[str], tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    trust = Trust(sandbox=(str(inside),))
    assert attempt(probe, trust, Key("user:/p/write", str(inside / "file"))) == "done"
    assert (inside / "file").read_text() == "written"
    assert attempt(probe, trust, Key("user:/p/write", str(outside / "file"))) == "refused"
    assert not (outside / "file").exists()


def test_a_confined_program_reads_what_its_user_can(probe: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert attempt(probe, Trust(sandbox=()), Key("user:/p/read", str(tmp_path / "file"))) == "done"


def test_a_confined_program_has_no_network(probe: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        assert attempt(probe, Trust(), Key("user:/p/connect", port)) == "done"
        assert attempt(probe, Trust(sandbox=()), Key("user:/p/connect", port)) == "refused"


def test_a_confined_program_sees_no_processes_but_its_own(probe: list[str]) -> None:
    assert int(str(attempt(probe, Trust(sandbox=()), Key("user:/p/processes", "")))) <= 2


def test_limits_hold_in_the_sandbox_as_well(probe: list[str], tmp_path: Path) -> None:
    assert attempt(probe, Trust(sandbox=(), files=64), Key("user:/p/read", str(tmp_path / "probe.py"))) == "done"


def test_a_program_that_is_missing_is_told_as_without_a_sandbox(tmp_path: Path) -> None:
    with pytest.raises(PluginStartError, match="there is no such file"):
        PluginProcess([str(tmp_path / "missing")], trust=Trust(sandbox=())).start()


def test_a_pin_and_a_sandbox_together_are_refused(probe: list[str]) -> None:
    with pytest.raises(PluginRefused, match="remove sha256, or sandbox"):
        PluginProcess(probe, trust=Trust(sandbox=(), sha256="0" * 64)).start()


def test_without_bubblewrap_nothing_is_started(probe: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_module, "_PLACES", ("/nowhere/bwrap",))
    with pytest.raises(PluginRefused, match="install the package bubblewrap"):
        PluginProcess(probe, trust=Trust(sandbox=())).start()
