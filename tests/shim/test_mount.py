"""`stdioproc mount`: the line, and the keys where no line does it. What a real kdb makes of them is in test_kdb.py."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from ctypes_shim.commands import mount as mount_command
from ctypes_shim.mount import MOUNTPOINTS, MountError, Plan, add_program, carry_out, plan
from dumpfmt import Key, KeySet

if TYPE_CHECKING:
    from conftest import Host

MOUNTPOINT = "user:/tests/x"
ROOT = Key(MOUNTPOINTS).child(MOUNTPOINT)

#: What kdb mount of 0.11 writes for a mountpoint with dump as storage.
BASE = {
    "": "",
    "config": "",
    "definition/path": "x.dump",
    "definition/positions/get/resolver": "resolver",
    "definition/positions/get/storage": "dump",
    "definition/positions/set/commit": "resolver",
    "definition/positions/set/precommit/#0": "sync",
    "definition/positions/set/resolver": "resolver",
    "definition/positions/set/rollback": "resolver",
    "definition/positions/set/storage": "dump",
    "plugins/backend": "",
    "plugins/backend/name": "backend",
    "plugins/dump": "",
    "plugins/dump/name": "dump",
    "plugins/resolver": "",
    "plugins/resolver/name": "resolver_fm_hpu_b",
    "plugins/sync": "",
    "plugins/sync/name": "sync",
}


def planned(host: Host, placements: str, *words: str, **more: tuple[str, ...]) -> Plan:
    command = [sys.executable, str(host.children / "worker.py"), "echo", placements, *words]
    return plan("x.dump", MOUNTPOINT, command, **more)


def edited(host: Host, placements: str) -> dict[str, str]:
    base = KeySet(ROOT.join(name, value) if name else Key(ROOT.name, value) for name, value in BASE.items())
    keys = add_program(base, ROOT, planned(host, placements))
    return {key.name.removeprefix(ROOT.name).lstrip("/"): str(key.value) for key in keys}


def positions(keys: dict[str, str]) -> dict[str, str]:
    prefix = "definition/positions/"
    return {name.removeprefix(prefix): value for name, value in keys.items() if name.startswith(prefix)}


def test_the_line_has_array_roots_and_the_dialect(host: Host) -> None:
    made = planned(
        host,
        "presetstorage",
        plugins=("dump",),
        env=("A=1",),
        copyenv=("B",),
        config=("x=y",),
        options=("timeout/close=5",),
    )
    assert made.own_keys == ""
    assert made.command[:5] == ("kdb", "mount", "x.dump", MOUNTPOINT, "dump")
    assert made.command[5] == "stdioproc"
    assert set(made.command[6:]) == {
        f"app={sys.executable}",
        "args=#2",
        f"args/#0={host.children / 'worker.py'}",
        "args/#1=echo",
        "args/#2=presetstorage",
        "env=#0",
        "env/#0=A=1",
        "copyenv=#0",
        "copyenv/#0=B",
        "config/x=y",
        "timeout/close=5",
        "protocol=stdioproc",
    }
    assert shlex.split(str(made)) == list(made.command)


def test_a_comma_is_written_as_a_key(host: Host) -> None:
    """kdb mount would split the value there."""
    made = planned(host, "presetstorage,postgetstorage")
    assert made.command == ("kdb", "mount", "x.dump", MOUNTPOINT)
    assert made.own_keys.startswith("args/#2 has a comma")
    assert (
        edited(host, "presetstorage,postgetstorage")["plugins/stdioproc/config/args/#2"]
        == "presetstorage,postgetstorage"
    )


def test_a_resolver_takes_all_its_places(host: Host) -> None:
    keys = edited(host, "getresolver,setresolver,commit,rollback")
    found = positions(keys)
    assert {name: found[name] for name in found if found[name] == "stdioproc"} == {
        "get/resolver": "stdioproc",
        "set/resolver": "stdioproc",
        "set/commit": "stdioproc",
        "set/rollback": "stdioproc",
    }
    assert not any(name.startswith("plugins/resolver") for name in keys)
    assert keys["plugins/stdioproc/name"] == "stdioproc"
    assert keys["plugins/stdioproc/config/app"] == sys.executable
    assert keys["plugins/backend/name"] == "backend"


def test_a_commit_plugin_that_does_not_resolve_is_marked(host: Host) -> None:
    keys = edited(host, "commit")
    found = positions(keys)
    assert found["set/commit"] == "stdioproc"
    assert found["set/commit/differs"] == "1"
    assert found["set/rollback"] == "resolver"
    assert "plugins/resolver/name" in keys


def test_a_rollback_plugin_comes_with_the_array_root(host: Host) -> None:
    """KDB reads these places as arrays, and calls nothing without the root."""
    found = positions(edited(host, "prerollback,postrollback"))
    assert (found["set/prerollback"], found["set/prerollback/#0"]) == ("#0", "stdioproc")
    assert (found["set/postrollback"], found["set/postrollback/#0"]) == ("#0", "stdioproc")


def test_it_comes_behind_what_is_there(host: Host) -> None:
    found = positions(edited(host, "precommit,commit"))
    assert (found["set/precommit"], found["set/precommit/#0"], found["set/precommit/#1"]) == ("#1", "sync", "stdioproc")


def test_a_storage_plugin_takes_the_place_of_the_default(host: Host) -> None:
    keys = edited(host, "getstorage,setstorage")
    assert (positions(keys)["get/storage"], positions(keys)["set/storage"]) == ("stdioproc", "stdioproc")
    assert not any(name.startswith("plugins/dump") for name in keys)


@pytest.mark.parametrize(
    ("command", "options", "words"),
    [
        (["/nowhere/program"], {}, "no program that can be run"),
        ([], {}, "no program given"),
        (["/bin/false"], {}, "/bin/false"),
        (["/bin/cat"], {"options": ("timeout=1",)}, "configuration key timeout"),
        (["/bin/cat"], {"config": ("nothing",)}, "key=value"),
        (["/bin/cat"], {"env": ("A",)}, "NAME=value"),
    ],
)
def test_what_cannot_be_mounted_is_refused_before_anything_is_changed(
    command: list[str], options: dict[str, tuple[str, ...]], words: str
) -> None:
    with pytest.raises(MountError, match=words):
        plan("x.dump", MOUNTPOINT, command, **options)


def test_a_program_that_refuses_its_configuration(host: Host) -> None:
    with pytest.raises(MountError, match="bad is not a good configuration"):
        planned(host, "presetstorage", config=("bad=1",))


def test_without_kdb_the_message_says_what_can_be_done(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = planned(host, "presetstorage")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MountError, match="--print"):
        carry_out(made)


def test_the_command_prints_and_does_nothing(host: Host) -> None:
    worker = [sys.executable, str(host.children / "worker.py"), "echo", "presetstorage"]
    done = CliRunner().invoke(mount_command, ["--print", "--with", "dump", "x.dump", MOUNTPOINT, "--", *worker])
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"kdb mount x.dump {MOUNTPOINT} dump stdioproc ")


def test_a_file_that_is_named_relative_to_this_directory_is_told(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program runs in the directory of whoever uses the mountpoint."""
    monkeypatch.chdir(host.children)
    worker = [sys.executable, "worker.py", "echo", "presetstorage"]
    done = CliRunner().invoke(mount_command, ["--print", "x.dump", MOUNTPOINT, "--", *worker])
    assert done.exit_code == 0, done.output
    assert "worker.py is a file of this directory" in done.output
    assert "give the absolute path" in done.output
    assert planned(host, "presetstorage").relative_files() == []


def test_a_kdb_without_our_plugin_is_told_with_what_to_do(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = planned(host, "presetstorage")
    kdb = tmp_path / "kdb"
    kdb.write_text("#!/bin/sh\necho 'No plugin that provides stdioproc could be found'\nexit 7\n")
    kdb.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MountError, match=r"run: stdioproc shim install$"):
        carry_out(made)


def test_the_command_reports_an_error_in_one_line(host: Host) -> None:
    done = CliRunner().invoke(mount_command, ["x.dump", MOUNTPOINT, "--", "/nowhere/program"])
    assert done.exit_code == 1
    assert done.output.startswith("Error: /nowhere/program is no program that can be run")
