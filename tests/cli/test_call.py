"""`stdioproc call`: statuses, keysets, messages."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from dumpfmt import Key, KeySet, dumps, loads
from stdioproc.cli import keysets

from .conftest import Run


@pytest.fixture
def sample(plugins: Path) -> tuple[object, ...]:
    """What stands behind the operation to call the sample plugin."""
    return ("--", "pluginproc", "--load-plugin", plugins / "sample.py")


def lines(result: subprocess.CompletedProcess[bytes]) -> list[str]:
    return result.stderr.decode().splitlines()


def test_get_prints_the_keyset_and_passes_stderr_on(run: Run, sample: tuple[object, ...]) -> None:
    result = run("stdioproc", "call", "get", "--parent", "user:/x", "--parent-value", "text", *sample)
    assert result.returncode == 0
    keyset = loads(result.stdout)
    assert [key.name for key in keyset] == ["user:/x/binary", "user:/x/latin", "user:/x/null", "user:/x/value"]
    assert (keyset["user:/x/value"].value, keyset["user:/x/binary"].value) == ("text", b"\0\1\xff")
    assert (keyset["user:/x/null"].value, keyset["user:/x/latin"].value) == (None, "\udcfc")
    assert lines(result) == ["sample says hello", "closed"]


@pytest.mark.parametrize("form", keysets.FORMATS)
def test_a_keyset_goes_through_set_unchanged_in_every_format(
    run: Run, sample: tuple[object, ...], tmp_path: Path, form: str
) -> None:
    parent = Key("user:/x")
    keyset = KeySet(
        [parent.child("ä\udcff", "\udcff", {"type": "string"}), parent.child("b", b"\0"), parent.child("c", None)]
    )
    data = keysets.write(keyset, form, parent)
    (tmp_path / "in").write_bytes(data)
    for result in (
        run("stdioproc", "call", "set", "--file", "in", "--parent", "user:/x", *sample),
        run("stdioproc", "call", "set", "--file", "-", "--parent", "user:/x", *sample, input=data),
    ):
        assert (result.returncode, result.stdout) == (0, data)
    to_json = run("stdioproc", "call", "set", "--file", "in", "--parent", "user:/x", "--format", "json", *sample)
    assert keysets.from_json(to_json.stdout) == keyset


def test_an_error_is_told_as_kdb_tells_it_and_prints_no_keyset(
    run: Run, sample: tuple[object, ...], plugins: Path
) -> None:
    data = dumps(KeySet([Key("user:/x/odd", "1"), Key("user:/x/z", "bad")]))
    result = run(
        "stdioproc", "call", "set", "--file", "-", "--parent", "user:/x", "--parent-value", "/f", *sample, input=data
    )
    assert (result.returncode, result.stdout) == (1, b"")
    told = lines(result)
    assert told[:4] == [
        "closed",
        " Sorry, 1 warning was issued ;(",
        " 1: Module sample issued the warning C03200:",
        "\tValidation Semantic: user:/x/odd is odd",
    ]
    assert told[4:8] == [
        "Sorry, module sample issued the error C03200:",
        "Validation Semantic: user:/x/z is bad \\x1b[31m",
        "Mountpoint: user:/x",
        "Configfile: /f",
    ]
    assert told[8].startswith(f"At: {plugins / 'sample.py'}:")


def test_warnings_alone_are_success(run: Run, sample: tuple[object, ...]) -> None:
    data = dumps(KeySet([Key("user:/x/odd", "1")]))
    result = run("stdioproc", "call", "set", "--file", "-", *sample, input=data)
    assert (result.returncode, result.stdout) == (0, data)
    assert " Sorry, 1 warning was issued ;(" in lines(result)


def test_noupdate_prints_what_was_sent(run: Run, sample: tuple[object, ...]) -> None:
    data = dumps(KeySet([Key("user:/y", "as it was")]))
    result = run("stdioproc", "call", "get", "--file", "-", "--config", "noupdate=1", *sample, input=data)
    assert (result.returncode, result.stdout) == (0, data)
    assert "stdioproc: sample answered noupdate" in lines(result)


def test_config_environment_and_a_new_parent_value(run: Run, sample: tuple[object, ...]) -> None:
    options = [
        "--config",
        "one=1",
        "--config",
        "move=",
        "--env",
        "SAMPLE=a=b",
        "--copyenv",
        "COPIED",
        "--copyenv",
        "MISSING",
    ]
    result = run(
        "stdioproc", "call", "get", "--format", "json", *options, *sample, env={"COPIED": "yes", "SAMPLE": "no"}
    )
    assert result.returncode == 0
    found = {key["name"]: key.get("value") for key in json.loads(result.stdout)}
    assert found["user:/config/one"] == "1"
    assert (found["user:/environment/SAMPLE"], found["user:/environment/COPIED"]) == ("a=b", "yes")
    assert "user:/environment/HOME" not in found
    assert "stdioproc: the value of user:/ is now '/moved'" in lines(result)


@pytest.mark.parametrize(("operation", "said"), [("commit", "committed"), ("error", "rolled back")])
def test_commit_and_error(run: Run, sample: tuple[object, ...], operation: str, said: str) -> None:
    result = run("stdioproc", "call", operation, *sample)
    assert (result.returncode, lines(result)) == (0, [said, "closed"])


@pytest.mark.parametrize("operation", ["open", "close"])
def test_open_and_close_print_nothing(run: Run, sample: tuple[object, ...], operation: str) -> None:
    result = run("stdioproc", "call", operation, *sample)
    assert (result.returncode, result.stdout, lines(result)) == (0, b"", ["closed"])


def test_checkconf_shows_the_configuration_that_comes_back(run: Run, sample: tuple[object, ...]) -> None:
    result = run("stdioproc", "call", "checkconf", "--config", "a=1", *sample)
    assert result.returncode == 0
    assert [key.name for key in loads(result.stdout)] == ["user:/config/a", "user:/config/checked"]


def test_a_refused_open_is_an_error_of_the_plugin(run: Run, sample: tuple[object, ...]) -> None:
    result = run("stdioproc", "call", "get", "--config", "refuse=1", *sample)
    assert (result.returncode, result.stdout) == (1, b"")
    assert lines(result)[:2] == ["Sorry, module sample issued the error C01100:", "Resource: told to refuse"]


def test_an_operation_that_the_plugin_has_not_is_told(run: Run, plugins: Path) -> None:
    result = run("stdioproc", "call", "set", "--", "pluginproc", "--load-plugin", plugins / "silent.py")
    assert (result.returncode, loads(result.stdout)) == (0, KeySet())
    assert lines(result) == ["stdioproc: silent has no set (it has get), so it was not asked"]


def test_both_dialects(run: Run, sample: tuple[object, ...]) -> None:
    for dialect in ("stdioproc", "process", "auto"):
        result = run("stdioproc", "call", "get", "--protocol", dialect, *sample)
        assert result.returncode == 0
        assert len(loads(result.stdout)) == 4


def test_a_deadline_is_a_protocol_failure(run: Run, plugins: Path) -> None:
    result = run(
        "stdioproc", "call", "get", "--timeout", "0.2", "--", "pluginproc", "--load-plugin", plugins / "silent.py"
    )
    assert (result.returncode, result.stdout) == (2, b"")
    told = result.stderr.decode()
    assert "no complete answer within 0.2 s" in told
    assert told.count("silent is") == 1  # passed on, and not once more in the message


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (["/nowhere/at/all"], ["/nowhere/at/all", "no such file"]),
        (["/bin/cat"], ["speaks neither dialect"]),
        (["/bin/sh", "-c", "echo oh no >&2; exit 3"], ["exit status 3", "oh no", "--copyenv PATH"]),
        (["pluginproc", "--load-plugin", "nobody"], ["no plugin 'nobody' is installed", "exit status 64"]),
    ],
)
def test_a_program_that_is_no_plugin_is_2(run: Run, program: list[str], words: list[str]) -> None:
    result = run("stdioproc", "call", "get", "--", *program)
    assert (result.returncode, result.stdout) == (2, b"")
    for word in words:
        assert word in result.stderr.decode()
    assert b"Traceback" not in result.stderr
    assert (b"--copyenv PATH" in result.stderr) == ("/bin/sh" in program)


def test_a_relative_program_is_found_as_a_shell_would(run: Run, tmp_path: Path, plugins: Path, commands: Path) -> None:
    program = tmp_path / "mine"
    program.write_text(f'#!/bin/sh\nexec "{commands}/pluginproc" --load-plugin "{plugins}/sample.py"\n')
    program.chmod(0o755)
    assert run("stdioproc", "call", "open", "--", "./mine").returncode == 0
    assert run("stdioproc", "call", "open", "--", "mine", env={"PATH": str(tmp_path)}).returncode == 0
    result = run("stdioproc", "call", "open", "--", "mine")
    assert result.returncode == 64
    assert b"no program 'mine' in PATH; for the file in this directory write ./mine" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["get"], ["Missing argument", "EXE"]),
        (["take", "--", "x"], ["'take' is not one of 'open', 'get'"]),
        (["get", "pluginproc", "--load-plugin", "toml"], ["--load-plugin", "go behind `--`: stdioproc call OP -- EXE"]),
        (["get", "--parent", "x", "--", "pluginproc"], ["invalid key name 'x'", "like user:/name"]),
        (["get", "--env", "A", "--", "pluginproc"], ["'A' must read NAME=VALUE"]),
        (["get", "--copyenv", "A=1", "--", "pluginproc"], ["'A=1' must be the name of a variable", "--env NAME=VALUE"]),
        (["get", "--config", "../../..=1", "--", "pluginproc"], ["--config ../../..: it leads out of user:/config"]),
        (["get", "--timeout", "nan", "--", "pluginproc"], ["time in seconds, 0 for no limit"]),
        (["get", "--file", "nowhere", "--", "pluginproc"], ["--file nowhere: No such file"]),
        (["get", "--file", "-", "--", "pluginproc"], ["stdin: this is no keyset", "'hello'"]),
        (["open", "--file", "-", "--", "pluginproc"], ["open sends no keyset", "--config"]),
        (["get", "--format", "quickdump", "--parent", "/x", "--", "pluginproc"], ["relative to --parent", "user:/"]),
        (["get", "--protocol", "http", "--", "pluginproc"], ["'http' is not one of 'auto', 'stdioproc', 'process'"]),
    ],
)
def test_a_wrong_command_line_is_64(run: Run, arguments: list[str], words: list[str]) -> None:
    result = run("stdioproc", "call", *arguments, input=b"hello")
    assert (result.returncode, result.stdout) == (64, b"")
    for word in words:
        assert word in result.stderr.decode()
    assert b"See `stdioproc call --help`." in result.stderr


def test_quickdump_of_keys_elsewhere_is_refused(run: Run, sample: tuple[object, ...]) -> None:
    data = dumps(KeySet([Key("system:/a", "1")]))
    result = run("stdioproc", "call", "set", "--format", "quickdump", "--file", "-", *sample, input=data)
    assert (result.returncode, result.stdout) == (64, b"")
    assert b"system:/a is not below user:/" in result.stderr


def test_the_command_itself(run: Run) -> None:
    assert b"demo" in run("stdioproc").stdout
    assert run("stdioproc", "--version").stdout.startswith(b"stdioproc 0.")
    result = run("stdioproc", "cal")
    assert result.returncode == 64
    assert b"no command 'cal'. Was call meant?" in result.stderr
    result = run("stdioproc", "mount", "x.toml", "user:/x", "pluginproc", "--load-plugin", "toml")
    assert b"go behind `--`: stdioproc mount FILE MOUNTPOINT -- EXE ARGS." in result.stderr
    helped = run("stdioproc", "call", "--help")
    assert helped.returncode == 0
    assert max(map(len, helped.stdout.splitlines())) <= 80
    assert b'{"name": "user:/a"' in helped.stdout


def test_a_reader_that_has_seen_enough_is_no_error(commands: Path, sample: tuple[object, ...]) -> None:
    reader, writer = subprocess.PIPE, subprocess.PIPE
    process = subprocess.Popen([commands / "stdioproc", "call", "get", *map(str, sample)], stdout=reader, stderr=writer)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    told = process.stderr.read()
    process.stderr.close()
    assert process.wait(30) == 141
    assert told.splitlines() == [b"sample says hello", b"closed"]
