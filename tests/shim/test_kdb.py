"""The plugin in a real Elektra, with the `kdb` that is on PATH. Mountpoints below user:/tests/stdioproc, always unmounted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ctypes_shim.mount import carry_out, plan

if TYPE_CHECKING:
    from conftest import Host

    from ctypes_shim.build import Built

pytestmark = pytest.mark.kdb

BASE = "user:/tests/stdioproc"
EXAMPLES = Path(__file__).parents[2] / "specload_examples"


class Kdb:
    """Runs kdb with our plugin on the loader's path, so that nothing needs to be installed."""

    def __init__(self, shim: Built) -> None:
        program = shutil.which("kdb")
        if program is None:
            pytest.skip("no kdb on PATH: install Elektra to run these tests")
        self.program = program
        path = os.pathsep.join(filter(None, (str(shim.plugin.parent), os.environ.get("LD_LIBRARY_PATH", ""))))
        self.env = {**os.environ, "LD_LIBRARY_PATH": path}

    def __call__(self, *arguments: str | Path, expect: int | None = 0, env: dict[str, str] | None = None) -> str:
        """Output and messages. Raises AssertionError for another exit status than `expect` (None: any)."""
        command = [self.program, *map(str, arguments)]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**self.env, **(env or {})},
            timeout=60,
            check=False,
        )
        output = done.stdout + done.stderr
        assert expect is None or done.returncode == expect, f"{command}: {done.returncode}\n{output}"
        return output


@pytest.fixture(scope="session")
def real(shim: Built) -> Kdb:
    """Skips where nothing can be mounted, so that a system that only happens to have kdb stays as it is."""
    kdb = Kdb(shim)
    probe = kdb("mount", "stdioproc-probe.dump", f"{BASE}/probe", expect=None)
    if "terminated unsuccessfully" in probe or kdb("umount", f"{BASE}/probe", expect=None):
        pytest.skip(f"nothing can be mounted here: {probe.strip()}")
    return kdb


@pytest.fixture
def kdb(real: Kdb, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Kdb]:
    """A kdb whose mountpoints below BASE, and files of the same name, are gone afterwards."""
    monkeypatch.setenv("LD_LIBRARY_PATH", real.env["LD_LIBRARY_PATH"])  # for what carry_out runs
    before = real("mount")
    yield real
    for line in real("mount").splitlines():
        if line not in before.splitlines():
            point = line.rpartition(" on ")[2]
            if not point.startswith(("spec:", "/")):
                real("rm", "-rf", point, expect=None)
            real("umount", point, expect=None)
    assert real("mount") == before


@pytest.fixture
def point(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A file name and a mountpoint of this test's own."""
    name = request.node.name.partition("[")[0].removeprefix("test_")[:40]
    return f"stdioproc-{name}.dump", f"{BASE}/{name}"


def app(host: Host, *words: str | Path) -> list[str]:
    """The arguments of kdb mount for worker.py."""
    command = [str(host.children / "worker.py"), *map(str, words)]
    return [f"app={sys.executable}", *(f"args/#{index}={word}" for index, word in enumerate(command))]


def notes(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def test_plugin_check_finds_nothing(kdb: Kdb) -> None:
    assert kdb("plugin-check", "stdioproc") == ""


def test_mount_set_get_and_umount(kdb: Kdb, host: Host, point: tuple[str, str], log: Path) -> None:
    file, name = point
    kdb("mount", file, name, "dump", "stdioproc", *app(host, "echo", "presetstorage", log))
    kdb("set", f"{name}/a", "value")
    assert kdb("get", f"{name}/a").strip() == "value"
    assert [note["phase"] for note in notes(log) if note["op"] == "set"] == ["presetstorage"]
    kdb("umount", name)
    assert name not in kdb("mount")


def test_a_cascading_mountpoint_without_an_array_root(kdb: Kdb, host: Host, log: Path) -> None:
    """The mount line of the draft."""
    kdb(
        "mount",
        "stdioproc-cascading.dump",
        "/tests/stdioproc/cascading",
        "dump",
        "stdioproc",
        *app(host, "echo", "presetstorage", log),
    )
    kdb("set", f"{BASE}/cascading/a", "value")
    assert kdb("get", "/tests/stdioproc/cascading/a").strip().endswith("value")
    assert notes(log)
    kdb("rm", f"{BASE}/cascading/a")


def test_a_refused_value_is_not_stored(kdb: Kdb, host: Host, point: tuple[str, str]) -> None:
    file, name = point
    kdb("mount", file, name, "dump", "stdioproc", *app(host, "refuse", "presetstorage"))
    output = kdb("set", f"{name}/a", "value", expect=5)
    assert "module worker issued the error C03200" in output
    assert "refused, as told" in output
    kdb("get", f"{name}/a", expect=11)


def test_a_storage_plugin_stands_for_the_default_one(kdb: Kdb, point: tuple[str, str]) -> None:
    """The contract is the program's own: the file is TOML, and what was not changed in it stays."""
    file, name = point[0].replace(".dump", ".toml"), point[1]
    kdb("mount", file, name, "stdioproc", f"app={sys.executable}", f"args/#0={EXAMPLES / 'toml.py'}")
    path = Path(kdb("file", name).strip())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('# a comment\n[server]\nport = 80  # why\nname = "x"\n')
    assert kdb("get", f"{name}/server/port").strip() == "80"
    kdb("set", f"{name}/server/port", "8080")
    assert path.read_text() == '# a comment\n[server]\nport = 8080  # why\nname = "x"\n'
    path.write_text("[server\n")
    output = kdb("get", f"{name}/server/port", expect=5)
    assert "module toml issued the error C03100" in output
    path.unlink()


def test_an_unrelated_key_starts_nothing(kdb: Kdb, host: Host, point: tuple[str, str], log: Path) -> None:
    file, name = point
    kdb("mount", file, name, "dump", "stdioproc", *app(host, "echo", "presetstorage", log))
    before = len(notes(log))
    kdb("get", "system:/elektra/version/infos/author", expect=None)
    assert len(notes(log)) == before


@pytest.mark.parametrize(
    ("mode", "words"),
    [("dies", "exit status 7"), ("noplacements", "announces no placements"), ("nonsense", "no placement 'moon'")],
)
def test_a_broken_program_is_not_mounted_and_the_reason_is_told(
    kdb: Kdb, host: Host, point: tuple[str, str], mode: str, words: str
) -> None:
    file, name = point
    program = host.children / "broken.sh"
    output = kdb("mount", file, name, "dump", "stdioproc", f"app={program}", f"args/#0={mode}", expect=None)
    assert words in output
    assert str(program) in output
    assert name not in kdb("mount")


@pytest.mark.parametrize("mode", ["silent", "deaf", "babbling", "dies", "killed", "lying", "half", "words", "missing"])
def test_a_program_that_breaks_later_blocks_nothing_else(
    kdb: Kdb, host: Host, point: tuple[str, str], tmp_path: Path, mode: str
) -> None:
    """Its own mountpoint reports an error; other keys, and umount, work as before."""
    file, name = point
    program = tmp_path / "program"
    program.write_text(
        f"#!/bin/sh\nexec {sys.executable} {host.children}/worker.py echo presetstorage,postgetstorage\n"
    )
    program.chmod(0o755)
    timeouts = ["timeout/start=500", "timeout/operation=500", "timeout/close=200"]
    kdb("mount", file, name, "dump", "stdioproc", f"app={program}", *timeouts)
    kdb("set", f"{name}/a", "value")
    if mode == "missing":
        program.unlink()
    else:
        program.write_text(f"#!/bin/sh\nexec {host.children}/broken.sh {mode}\n")
    output = kdb("set", f"{name}/a", "other", expect=5)
    assert "module stdioproc issued the error" in output or "module broken issued the error" in output
    kdb("set", f"{BASE}/elsewhere", "value")
    assert kdb("get", f"{BASE}/elsewhere").strip() == "value"
    kdb("rm", f"{BASE}/elsewhere")
    kdb("umount", name)


def test_disabling_keeps_everything_else_alive(kdb: Kdb, host: Host, point: tuple[str, str], log: Path) -> None:
    file, name = point
    kdb("mount", file, name, "dump", "stdioproc", *app(host, "echo", "presetstorage", log))
    before = len(notes(log))
    output = kdb("set", f"{name}/a", "value", expect=5, env={"STDIOPROC_DISABLE": "1"})
    assert "STDIOPROC_DISABLE is set" in output
    assert len(notes(log)) == before


def test_kdb_mount_refuses_a_resolver_and_names_the_way_out(
    kdb: Kdb, host: Host, point: tuple[str, str], tmp_path: Path
) -> None:
    file, name = point
    command = [f"app={sys.executable}", f"args/#0={host.children / 'resolver.py'}", f"args/#1={tmp_path}"]
    output = kdb("mount", file, name, "dump", "stdioproc", *command, expect=None)
    assert "stdioproc mount FILE MOUNTPOINT" in output
    assert name not in kdb("mount")


def test_a_resolver_in_python(kdb: Kdb, host: Host, point: tuple[str, str], tmp_path: Path, log: Path) -> None:
    """Resolve, write to the file that it names, commit; each with the right parent and phase."""
    file, name = point
    carry_out(
        plan(
            file, name, [sys.executable, str(host.children / "resolver.py"), str(tmp_path), str(log)], plugins=("dump",)
        )
    )
    kdb("set", f"{name}/a", "value")
    assert (tmp_path / file).read_bytes().startswith(b"kdbOpen 2\n")
    assert not (tmp_path / f"{file}.tmp").exists()
    found = [(note["op"], note["phase"]) for note in notes(log)]
    assert [pair for pair in found if pair[0] != "get"] == [("set", "setresolver"), ("commit", "commit")]
    assert all(note["parent"] == name for note in notes(log))
    assert kdb("get", f"{name}/a").strip() == "value"


def test_rollback_runs_when_a_later_plugin_fails(kdb: Kdb, host: Host, point: tuple[str, str], log: Path) -> None:
    file, name = point
    command = [sys.executable, str(host.children / "worker.py"), "refuse", "presetstorage,prerollback", str(log)]
    carry_out(plan(file, name, command, plugins=("dump",)))
    kdb("set", f"{name}/a", "value", expect=5)
    assert [(note["op"], note["phase"]) for note in notes(log) if note["op"] in ("set", "error")] == [
        ("set", "presetstorage"),
        ("error", "prerollback"),
    ]


def test_a_comma_in_an_argument(kdb: Kdb, host: Host, point: tuple[str, str], log: Path) -> None:
    file, name = point
    command = [sys.executable, str(host.children / "worker.py"), "echo", "precommit,postcommit", str(log)]
    carry_out(plan(file, name, command, plugins=("dump",)))
    kdb("set", f"{name}/a", "value")
    assert [note["phase"] for note in notes(log) if note["op"] == "commit"] == ["precommit", "postcommit"]


def test_every_kind_of_value_survives(kdb: Kdb, host: Host, point: tuple[str, str]) -> None:
    file, name = point
    kdb("mount", file, name, "dump", "stdioproc", *app(host, "echo", "presetstorage"))
    value = "two\nlines, € and ä"
    kdb("set", f"{name}/a", value)
    kdb("meta-set", f"{name}/a", "check/type", "string")
    assert kdb("get", f"{name}/a").rstrip("\n") == value
    assert kdb("meta-get", f"{name}/a", "check/type").strip() == "string"
