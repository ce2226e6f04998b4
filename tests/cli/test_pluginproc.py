"""`pluginproc`: what it loads, what it refuses and what it costs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dumpfmt import quickdump
from stdioproc.cli import entry_points

from .conftest import TIMEOUT, Run

HELLO = b"ELEKTRA_STDIOPROC INIT v1\nELEKTRA_STDIOPROC TERMINATE\n"
ACK = b"ELEKTRA_STDIOPROC ACK v1\n"


def install(directory: Path, distribution: str, lines: str, *, suffix: str = "dist-info") -> Path:
    """What an installation leaves on sys.path for plugins."""
    info = directory / f"{distribution}-1.{suffix}"
    info.mkdir(parents=True)
    (info / "entry_points.txt").write_text(
        f"[console_scripts]\nx = y:z\n\n[stdioproc.plugins]\n{lines}\n[other]\nx=y\n"
    )
    return directory


def write(path: Path, source: str) -> Path:
    path.write_text(f"from stdioproc.child import Plugin, serve\n{source}\n")
    return path


@pytest.mark.parametrize("target", ["{plugins}/sample.py", "{plugins}/sample.py:Sample", "sample:Sample"])
def test_a_class_is_loaded_from_a_file_or_a_module(run: Run, plugins: Path, target: str) -> None:
    result = run(
        "pluginproc", "--load-plugin", target.format(plugins=plugins), input=HELLO, env={"PYTHONPATH": str(plugins)}
    )
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.startswith(ACK + b"sample\nkdbOpen 2\n")
    joined = run(
        "pluginproc", f"--load-plugin={target.format(plugins=plugins)}", input=HELLO, env={"PYTHONPATH": str(plugins)}
    )
    assert joined.stdout == result.stdout


def test_the_module_form_of_the_command_works(plugins: Path) -> None:
    command = [sys.executable, "-P", "-m", "stdioproc.cli.pluginproc", "--load-plugin"]
    result = subprocess.run([*command, plugins / "sample.py"], input=HELLO, capture_output=True, timeout=TIMEOUT)
    assert result.stdout.startswith(ACK)
    refused = subprocess.run([*command, "nobody"], input=HELLO, capture_output=True, timeout=TIMEOUT)
    assert refused.returncode == 64
    assert b"no plugin 'nobody' is installed" in refused.stderr


@pytest.mark.parametrize("suffix", ["dist-info", "egg-info"])
def test_a_name_is_an_entry_point(run: Run, plugins: Path, tmp_path: Path, suffix: str) -> None:
    site = install(tmp_path / "site", "paint", "# ours\nfence = sample:Sample [extra]", suffix=suffix)
    result = run("pluginproc", "--load-plugin", "fence", input=HELLO, env={"PYTHONPATH": f"{site}:{plugins}"})
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.startswith(ACK + b"sample\n")


def test_of_two_distributions_the_first_on_the_path_wins_and_that_is_told(
    run: Run, plugins: Path, tmp_path: Path
) -> None:
    first = install(tmp_path / "first", "zebra", "fence = sample:Sample")
    second = install(tmp_path / "second", "ant", "fence = silent:Silent")
    env = {"PYTHONPATH": f"{first}:{second}:{plugins}"}
    result = run("pluginproc", "--load-plugin", "fence", input=HELLO, env=env)
    assert result.stdout.startswith(ACK + b"sample\n")
    assert (
        b"warning: two distributions install a plugin 'fence': zebra (sample:Sample), which is taken, and ant"
        in result.stderr
    )
    env = {"PYTHONPATH": f"{second}:{first}:{plugins}"}
    assert run("pluginproc", "--load-plugin", "fence", input=HELLO, env=env).stdout.startswith(ACK + b"silent\n")


def test_in_one_directory_the_order_is_that_of_the_names(tmp_path: Path) -> None:
    for distribution in ("zebra", "ant", "bee"):
        install(tmp_path, distribution, f"fence = {distribution}:Plugin")
    assert [each.distribution for each in entry_points.installed([str(tmp_path)])] == ["ant", "bee", "zebra"]


def test_a_distribution_that_is_found_again_is_hidden_by_the_first(tmp_path: Path) -> None:
    install(tmp_path / "first", "Paint_Shop", "fence = new:Fence")
    install(tmp_path / "second", "paint.shop", "fence = old:Fence")
    install(tmp_path / "second", "~aint", "fence = older:Fence")
    found = entry_points.installed([str(tmp_path / "first"), str(tmp_path / "nowhere"), str(tmp_path / "second")])
    assert [(each.name, each.value) for each in found] == [("fence", "new:Fence")]


def test_an_entry_point_that_is_no_class_is_the_packages_fault(run: Run, tmp_path: Path) -> None:
    site = install(tmp_path / "site", "paint", "fence = paint")
    result = run("pluginproc", "--load-plugin", "fence", env={"PYTHONPATH": str(site)})
    assert result.returncode == 78
    assert b"paint installs the plugin 'fence' as 'paint', which is not module:Class" in result.stderr


def test_the_list_names_what_is_installed(run: Run, tmp_path: Path) -> None:
    site = install(tmp_path / "site", "paint", "fence = sample:Sample\n")
    result = run("pluginproc", "--list", env={"PYTHONPATH": str(site)})
    assert result.returncode == 0
    lines = result.stdout.decode().splitlines()
    assert [line.split() for line in lines if "fence" in line] == [["fence", "sample:Sample", "(paint)"]]
    assert {"toml", "whitelist"} <= {line.split()[0] for line in lines}
    assert b"\033" not in result.stdout


def test_help_tells_the_three_forms(run: Run) -> None:
    result = run("pluginproc", "--help")
    assert result.returncode == 0
    for word in (b"--load-plugin", b"module:Class", b"FILE.py", b"--elektra-spec", b"--list"):
        assert word in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.parametrize("order", [0, 1])
def test_the_spec_is_written_on_either_side(run: Run, plugins: Path, order: int) -> None:
    arguments = [["--load-plugin", plugins / "sample.py"], ["--elektra-spec"]]
    result = run("pluginproc", *arguments[order], *arguments[1 - order])
    assert result.returncode == 0
    assert [key.name for key in quickdump.loads(result.stdout, "spec:/")] == ["spec:/colour"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["say which plugin", "--list"]),
        (["whitelist"], ["pluginproc --load-plugin whitelist"]),
        (["--lod-plugin", "x"], ["no option --lod-plugin", "Was --load-plugin meant?", "--help"]),
        (["--load-plugin"], ["needs the plugin behind it"]),
        (["--load-plugin="], ["needs the plugin behind it"]),
        (["--load-plugin", "--elektra-spec"], ["not the option --elektra-spec"]),
        (
            ["--load-plugin", "whitelst"],
            ["no plugin 'whitelst'", "Was whitelist meant?", "toml", "/path/to/whitelst.py"],
        ),
        (["--load-plugin", "nowhere.py"], ["nowhere.py does not exist"]),
        (["--load-plugin", "/"], ["/ is a directory"]),
        (["--load-plugin", ":Sample"], ["no name of a module"]),
    ],
)
def test_a_wrong_command_line_is_64_and_says_what_to_do(run: Run, arguments: list[str], words: list[str]) -> None:
    result = run("pluginproc", *arguments, input=HELLO)
    assert (result.returncode, result.stdout) == (64, b"")
    for word in words:
        assert word in result.stderr.decode()
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("nowhere:Plugin", ["no module 'nowhere'", "PYTHONPATH", "/path/to/nowhere.py"]),
        ("sample:Simple", ["has no Simple", "it has the plugin Sample"]),
        ("sample:", ["no class without a name"]),
        ("sample:KeySet", ["does not derive from stdioproc.child.Plugin"]),
        ("dumpfmt:Key.name", ["does not derive"]),
    ],
)
def test_a_class_that_is_not_there_is_78(run: Run, plugins: Path, target: str, words: list[str]) -> None:
    result = run("pluginproc", "--load-plugin", target, input=HELLO, env={"PYTHONPATH": str(plugins)})
    assert (result.returncode, result.stdout) == (78, b"")
    for word in words:
        assert word in result.stderr.decode()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def f():\n    return 1 / 0\nf()", ["ZeroDivisionError: division by zero", "plugin.py:3)"]),
        ("import nowhere", ["ModuleNotFoundError: No module named 'nowhere'", "plugin.py:2)"]),
        ("class Mine(Plugin)\n    pass", ["SyntaxError", "plugin.py:2)"]),
        ("import sys\nsys.exit(3)", ["exits (3) while it is imported", "plugin.py:3)"]),
        ("class Mine(Plugin): pass\nserve(Mine)", ["exits (0)", '`if __name__ == "__main__":`']),
        ("input()", ["EOFError"]),
        ("", ["defines no plugin", "stdioproc.child.Plugin"]),
        ("class _Base(Plugin): pass", ["defines no plugin"]),
    ],
)
def test_a_file_that_cannot_be_imported_is_78_with_the_place(
    run: Run, tmp_path: Path, source: str, words: list[str]
) -> None:
    path = write(tmp_path / "plugin.py", source)
    result = run("pluginproc", "--load-plugin", path, input=HELLO)
    assert (result.returncode, result.stdout) == (78, b"")
    for word in (str(path), *words):
        assert word in result.stderr.decode()
    assert b"Traceback" not in result.stderr


def test_a_module_whose_import_fails_is_not_called_missing(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "broken.py", "import nowhere")
    result = run("pluginproc", "--load-plugin", "broken:Mine", input=HELLO, env={"PYTHONPATH": str(tmp_path)})
    assert result.returncode == 78
    assert b"broken cannot be imported: ModuleNotFoundError: No module named 'nowhere'" in result.stderr
    assert f"{tmp_path}/broken.py:2".encode() in result.stderr


def test_of_several_plugins_in_a_file_one_is_named(run: Run, tmp_path: Path) -> None:
    path = write(
        tmp_path / "two.py", "class _Base(Plugin): pass\nclass One(_Base): pass\nclass Two(_Base): pass\nUno = One"
    )
    result = run("pluginproc", "--load-plugin", path, input=HELLO)
    assert (result.returncode, result.stdout) == (64, b"")
    assert f"defines 2 plugins (One, Two); say which: --load-plugin {path}:One".encode() in result.stderr
    assert run("pluginproc", "--load-plugin", f"{path}:Two", input=HELLO).stdout.startswith(ACK + b"two\n")


def test_what_is_printed_or_read_while_a_plugin_is_imported_does_not_touch_the_wire(run: Run, tmp_path: Path) -> None:
    path = write(
        tmp_path / "loud.py",
        "import os, sys\nprint('buffered')\nos.write(1, b'direct\\n')\nassert sys.stdin.read() == ''\nclass Loud(Plugin): pass",
    )
    result = run("pluginproc", "--load-plugin", path, input=HELLO)
    assert result.returncode == 0
    assert result.stdout.startswith(ACK + b"loud\n")
    assert {b"buffered", b"direct"} == set(result.stderr.splitlines())


def test_a_file_can_import_its_neighbours_and_does_not_hide_the_standard_library(run: Run, tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text("NAME = 'next_door'\n")
    path = write(tmp_path / "colorsys.py", "import neighbour\nclass Mine(Plugin): name = neighbour.NAME")
    result = run("pluginproc", "--load-plugin", path, input=HELLO)
    assert result.stdout.startswith(ACK + b"next_door\n")


def test_the_plugin_sees_its_own_arguments(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path / "args.py", "import sys\nprint(sys.argv[1:])\nclass Args(Plugin): pass")
    result = run("pluginproc", "--load-plugin", path, "--mine", "--load-plugin", input=HELLO)
    assert result.returncode == 0
    assert result.stderr == b"['--mine', '--load-plugin']\n"


@pytest.mark.parametrize("target", ["fence", "sample:Sample", "{plugins}/sample.py"])
def test_up_to_the_ack_only_what_is_needed_is_imported(
    commands: Path, plugins: Path, tmp_path: Path, target: str
) -> None:
    site = install(tmp_path / "site", "paint", "fence = sample:Sample")
    # Not our own environment: the measurement of coverage would be in it.
    env = {"PYTHONPATH": f"{site}:{plugins}", "PYTHONPROFILEIMPORTTIME": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [commands / "pluginproc", "--load-plugin", target.format(plugins=plugins)]
    result = subprocess.run(command, input=HELLO, capture_output=True, timeout=TIMEOUT, env=env)
    assert result.stdout.startswith(ACK)
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.decode().splitlines()}
    assert "stdioproc.child" in imported
    heavy = {
        "click",
        "rich",
        "lark",
        "importlib.metadata",
        "importlib.util",
        "subprocess",
        "asyncio",
        "dataclasses",
        "typing",
    }
    assert not imported & heavy
    assert not any(name.startswith("stdioproc.host") for name in imported)
    assert ("stdioproc.cli.entry_points" in imported) == (target == "fence")


def test_closed_descriptors_are_told_and_break_nothing(commands: Path, plugins: Path) -> None:
    command = f'"{commands}/pluginproc" --load-plugin "{plugins}/sample.py" <&- >&-'
    result = subprocess.run(["/bin/sh", "-c", command], capture_output=True, timeout=TIMEOUT, env={**os.environ})
    assert result.returncode == 74
    assert b"stdin and stdout must be open" in result.stderr
