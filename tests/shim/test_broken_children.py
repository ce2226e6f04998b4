"""Nobody is hurt by a child that breaks the rules: a clear error, in time, and the host goes on."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Host

PARENT = "user:/tests/shim"

#: What it says: mode of broken.sh, the number of the error, words of the reason.
CASES = [
    ("silent", "C01100", "no complete answer within 0.5 s"),
    ("deaf", "C01100", "no complete answer within 0.5 s"),
    ("babbling", "C01330", "expected 'ELEKTRA_PROCESS ACK v1'"),
    ("dies", "C01100", "exit status 7"),
    ("killed", "C01100", "SIGKILL"),
    ("lying", "C01330", "the parent keyset is no dump"),
    ("half", "C01100", "it ended in the middle of its answer"),
    ("words", "C01330", "perhaps"),
]


@pytest.mark.parametrize(("mode", "number", "words"), CASES, ids=[case[0] for case in CASES])
def test_an_operation_reports_what_the_child_did(host: Host, mode: str, number: str, words: str) -> None:
    """The keyset stays, the error names the program, open and close succeed, nothing is left running."""
    started = time.monotonic()
    lines = host(*host.broken(mode), "open 0", f"key {PARENT}/a 1", "get 0", "show", "close 0", "children")
    assert time.monotonic() - started < 5.0
    assert lines[0] == "open 0 1"
    assert lines[1] == "get 0 -1 /nowhere/file"
    assert lines[2].startswith(f"error {number} ")
    assert words in lines[2]
    assert "broken.sh" in lines[2]
    assert lines[-3:] == [f"key {PARENT}/a 1", "close 0 1", "children 0"]


@pytest.mark.parametrize("mode", ["silent", "dies", "noplacements", "nonsense"])
def test_the_contract_query_never_fails_and_checkconf_tells_why(host: Host, mode: str) -> None:
    """Elektra's tools drop the reason of a failing contract, and ask checkconf next."""
    lines = host(*host.broken(mode), "open 0", "contract 0", "close 0", *host.broken(mode), "checkconf", "children")
    assert "contract 0 1" in lines
    assert "  /exports/checkconf function" in lines
    assert "  /infos/placements postgetstorage presetstorage" in lines
    assert "checkconf -1" in lines
    assert lines[-2].startswith("error C01")
    assert "broken.sh" in lines[-2]
    assert lines[-1] == "children 0"


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda path: None, "there is no such file"),
        (lambda path: path.write_text("#!/bin/sh\n"), "chmod +x"),
        (lambda path: (path.write_text("#!/nowhere/sh\n"), path.chmod(0o755)), "/nowhere/sh"),
        (lambda path: path.mkdir(), "it is a directory"),
        (lambda path: (path.write_bytes(b"\x7fELF garbage"), path.chmod(0o755)), "neither a program"),
    ],
    ids=["missing", "not executable", "bad interpreter", "directory", "not a program"],
)
def test_a_program_that_cannot_be_started(
    host: Host, tmp_path: Path, prepare: Callable[[Path], None], words: str
) -> None:
    path = tmp_path / "program"
    prepare(path)
    lines = host(*host.program(path), "open 0", "get 0", "close 0", "children")
    assert lines[0] == "open 0 1"
    assert str(path) in lines[2]
    assert words in lines[2]
    assert lines[3:] == ["close 0 1", "children 0"]


def test_a_wrong_configuration_is_told_by_the_operation(host: Host) -> None:
    lines = host(*host.worker(), "config args=#7", "open 0", "get 0", "close 0", "maps libpython")
    assert lines[0] == "open 0 1"
    assert lines[2].startswith("error C01200 ")
    assert "configuration key args says that the last element is #7" in lines[2]


def test_a_child_that_dies_is_started_again_by_the_next_operation(host: Host) -> None:
    lines = host(*host.worker("die"), "open 0", "get 0", f"parent {PARENT} /file", "get 0", "close 0", "children")
    errors = [line for line in lines if line.startswith("error C01100")]
    assert len(errors) == 2
    assert all("exit status 3" in line and "last words" in line for line in errors)
    assert lines[-1] == "children 0"


def test_the_host_survives_many_operations_on_a_child_that_dies(host: Host) -> None:
    """Restarts have a limit, and each refusal says so; there is no SIGPIPE, no zombie, no descriptor left."""
    lines = host(
        "load",
        *host.broken("dies"),
        "config protocol=stdioproc",
        "open 0",
        "get 0",
        "state",
        f"repeat 8 parent {PARENT} x;get 0",
        "state",
        "close 0",
        "children",
    )
    states = [line for line in lines if line.startswith("state")]
    assert states[0] == states[1]
    assert lines[-1] == "children 0"


def test_no_memory_error_in_the_plugin_under_valgrind(host: Host, valgrind: str) -> None:
    """Python itself is full of what valgrind takes for leaks, so this runs everything of the plugin that needs no Python."""
    env = {"PATH": "/usr/bin:/bin", "STDIOPROC_DISABLE": "1"}
    wrapper = (
        valgrind,
        "--quiet",
        "--error-exitcode=9",
        "--leak-check=full",
        "--errors-for-leak-kinds=definite,indirect",
    )
    host(
        *host.worker(),
        "open 0",
        "contract 0",
        f"key {PARENT}/a x",
        "get 0",
        "set 0",
        "close 0",
        "checkconf",
        env=env,
        wrapper=wrapper,
    )
    nul = [*host.worker(), "open 0", f"key {PARENT}/a x", f"nul {PARENT}/a", "set 0", "close 0"]
    host(
        *nul,
        "open 1",
        "get 1",
        "close 1",
        "config system:/module=1",
        "open 2",
        "contract 2",
        "close 2",
        wrapper=wrapper,
    )


def test_no_memory_error_in_the_plugin_with_a_child(
    host: Host, compile_c: Callable[..., Path], double: Path, tmp_path: Path
) -> None:
    """The same sources with the address sanitizer, Python included; leaks are Python's, so they are not counted."""
    from ctypes_shim.build import build

    sanitizer = "-fsanitize=address,undefined"
    libraries = (double / "libelektra-core.so.5", double / "libelektra-plugin.so.5")
    try:
        compiled = compile_c(
            "host-sanitized",
            Path(__file__).parent / "host.c",
            "-Wl,--no-as-needed",
            *libraries,
            f"-Wl,-rpath,{double}",
            "-pthread",
            "-ldl",
            sanitizer,
        )
    except subprocess.CalledProcessError:
        pytest.skip("the compiler has no sanitizers (apt install libasan8 libubsan1)")
    # The runtime of the sanitizer is in the host, which the plugin finds it in.
    built = build(tmp_path, flags=(sanitizer, "-fno-omit-frame-pointer", "-Wl,-z,undefs"))
    sanitized = type(host)(compiled, built.plugin)
    env = {"PATH": "/usr/bin:/bin", "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"}
    lines = sanitized(
        *host.worker("edit"),
        "open 0",
        f"key {PARENT}/change x",
        f"meta {PARENT}/change type long",
        "get 0",
        "set 0",
        "contract 0",
        "close 0",
        env=env,
    )
    assert lines[1] == "get 0 1 /nowhere/file"
    sanitized(
        *host.worker("refuse"),
        "open 0",
        f"parent {PARENT} x",
        f"meta {PARENT} error blocked",
        "error 0",
        "close 0",
        env=env,
    )
    sanitized(*host.broken("half"), "open 0", "get 0", "close 0", *host.worker(), "checkconf", env=env)
