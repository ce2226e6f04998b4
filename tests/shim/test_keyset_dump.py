"""KeySets in C: csrc/dump_*.c on the test double, under sanitizers and valgrind, and with dumps of a real Elektra."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings

from ctypes_shim.build import DUMP_SOURCES
from dumpfmt import KeySet, dumps
from dumpfmt.testing import keysets

HERE = Path(__file__).parent
SCENARIOS = [
    "writes_each_kind_of_value",
    "writes_a_shared_metakey_once",
    "writes_many_shared_metakeys",
    "refuses_a_string_that_holds_a_nul",
    "keeps_keys_that_come_back_unchanged",
    "follows_insertions_and_removals",
    "changes_the_kind_of_a_value",
    "replaces_a_locked_key",
    "a_parent_inside_the_keyset_survives",
    "refuses_what_is_not_a_dump",
    "refuses_every_proper_prefix",
]
FILES = (HERE / "keyset_dump_check.c", HERE / "double" / "elektra_double.c", *DUMP_SOURCES)


@pytest.fixture(scope="session")
def check(compile_c: Callable[..., Path]) -> Path:
    return compile_c("keyset_dump_check", *FILES)


@pytest.fixture(scope="session")
def sanitized(compile_c: Callable[..., Path]) -> Path:
    try:
        return compile_c("keyset_dump_sanitized", *FILES, "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    except subprocess.CalledProcessError:
        pytest.skip("the compiler has no sanitizers (apt install libasan8 libubsan1, or another compiler)")


def run(*command: str | Path, data: bytes = b"") -> bytes:
    done = subprocess.run(command, input=data, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    return done.stdout


def test_the_list_of_scenarios_is_complete(check: Path) -> None:
    """A scenario that is not listed here would never run."""
    assert [*SCENARIOS, "roundtrip"] == run(check, "--list").decode().split()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario_under_the_sanitizers(sanitized: Path, scenario: str) -> None:
    """No read or write outside memory, no undefined behaviour, no leak."""
    run(sanitized, scenario)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario_under_valgrind(check: Path, valgrind: str, scenario: str) -> None:
    """No use of uninitialised memory, no leak."""
    run(valgrind, "--quiet", "--error-exitcode=9", "--leak-check=full", check, scenario)


@given(keysets())
@settings(max_examples=50, deadline=None)
def test_every_keyset_survives_the_way_through_c(sanitized: Path, keyset: KeySet) -> None:
    """What Python writes is read, applied and written again byte for byte, shared metadata included."""
    data = dumps(keyset)
    assert run(sanitized, "roundtrip", data=data) == data


ROWS = [json.loads(line) for line in (HERE.parent / "vectors" / "storage.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_dumps_of_a_real_elektra_survive_the_way_through_c(sanitized: Path, row: dict[str, str]) -> None:
    data = base64.b64decode(row["dump_full"])
    assert run(sanitized, "roundtrip", data=data) == data
