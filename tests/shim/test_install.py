"""Finding Elektra's plugin directory, installing into it, and what the doctor says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from ctypes_shim.build import EMBED_FILE, OLD_PLUGIN_FILE, PLUGIN_FILE, check_loads
from ctypes_shim.commands import shim as shim_command
from ctypes_shim.doctor import examine
from ctypes_shim.install import InstallError, find_plugin_dir, install

if TYPE_CHECKING:
    from ctypes_shim.build import Built


def plugin_dir(path: Path, *names: str) -> Path:
    """A directory that looks like that of an installed Elektra."""
    path.mkdir(parents=True, exist_ok=True)
    for name in names:
        (path / name).write_text("")
    return path


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if not path.name.endswith("dump.so"))


@pytest.mark.parametrize(
    ("present", "both", "expected"),
    [
        ("libelektra-plugin-dump.so", False, [PLUGIN_FILE]),
        ("libelektra-dump.so", False, [OLD_PLUGIN_FILE]),
        ("libelektra-plugin-dump.so", True, [PLUGIN_FILE, OLD_PLUGIN_FILE]),
    ],
)
def test_the_file_name_is_the_one_that_this_elektra_loads(
    shim: Built, tmp_path: Path, present: str, both: bool, expected: list[str]
) -> None:
    directory = plugin_dir(tmp_path, present)
    done = install(directory, both)
    assert files(directory) == sorted([EMBED_FILE, *expected])
    assert {path.name for path in done.files} == {EMBED_FILE, *expected}
    assert check_loads(directory / expected[0], directory / EMBED_FILE) == ""


def test_the_other_name_of_an_earlier_install_is_removed(shim: Built, tmp_path: Path) -> None:
    """Two names would make Elektra list the plugin twice."""
    directory = plugin_dir(tmp_path, "libelektra-plugin-dump.so")
    install(directory, both=True)
    assert [path.name for path in install(directory).removed] == [OLD_PLUGIN_FILE]
    assert files(directory) == sorted([PLUGIN_FILE, EMBED_FILE])


def test_the_directory_beside_kdb_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    directory = plugin_dir(tmp_path / "prefix" / "lib" / "elektra", "libelektra-plugin-dump.so")
    kdb = plugin_dir(tmp_path / "prefix" / "bin") / "kdb"
    kdb.write_text("#!/bin/sh\n")
    kdb.chmod(0o755)
    monkeypatch.setenv("PATH", str(kdb.parent))
    assert find_plugin_dir() == directory


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InstallError, match="--plugin-dir"):
        install(tmp_path / "nowhere")


def test_the_doctor_finds_everything_in_order(shim: Built, tmp_path: Path) -> None:
    directory = plugin_dir(tmp_path, "libelektra-plugin-dump.so")
    findings = {finding.what: finding for finding in examine(str(directory))}
    assert findings["C compiler"].good
    assert findings["Python headers and shared library"].good
    assert findings["building and loading it in a C host"].good
    assert findings["installed plugin"].good is False
    assert findings["installed plugin"].advice == "run: stdioproc shim install"
    install(directory)
    findings = {finding.what: finding for finding in examine(str(directory))}
    assert findings["installed plugin"].good


def test_the_doctor_names_the_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    done = CliRunner().invoke(shim_command, ["doctor"])
    assert done.exit_code == 1
    assert "apt install gcc" in done.output
    assert "no kdb on PATH" in done.output


def test_the_build_command(shim: Built, tmp_path: Path) -> None:
    done = CliRunner().invoke(shim_command, ["build", "--output", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines() == [str(tmp_path / "out" / PLUGIN_FILE), str(tmp_path / "out" / EMBED_FILE)]


def test_the_install_command_reports_an_error_in_one_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(shim_command, ["install", "--plugin-dir", str(tmp_path / "nowhere")])
    assert done.exit_code == 1
    assert done.output.startswith("Error: ")
