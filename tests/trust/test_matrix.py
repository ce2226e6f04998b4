"""The page about trust says what the code does; programs that cannot be started; clocks."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from stdioproc.host.ending import HURRY, KILL_WAIT
from stdioproc.testing import Stopwatch


def _load(name: str) -> ModuleType:
    """A module beside this file."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


matrix = _load("matrix")
PAGE = matrix.PAGE.read_text()
ROOT = matrix.TESTS.parent


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("name", matrix.STARTS)
def test_a_program_that_cannot_be_started(tmp_path: Path, name: str) -> None:
    if "missing l" in name and sys.platform != "linux":
        pytest.skip("loaders are looked for in programs of Linux")
    _, kind, words = matrix.STARTS[name]
    with Stopwatch(0.5):
        error = matrix.start(name, tmp_path)
    assert type(error) is kind
    assert words in str(error)
    assert str(tmp_path / "program") in str(error)
    assert error.phase in ("start", "handshake")


def test_the_tables_of_the_page_are_those_of_the_tests() -> None:
    assert matrix.with_tables(PAGE, matrix.times_of(PAGE)) == PAGE


def test_there_are_enough_misbehaviours_and_each_was_measured_within_its_bound() -> None:
    times, words = matrix.times_of(PAGE), matrix.descriptions()
    assert len(words) >= 40
    assert len(set(words.values())) == len(words)
    assert set(times) == {*words.values(), *matrix.STARTS}
    faults = matrix._faults()
    bound = faults.OPERATION + faults.SLACK
    assert {name: time for name, time in times.items() if float(time.split()[0]) > bound} == {}


def test_the_page_names_the_bounds_that_the_code_has() -> None:
    keeper = (ROOT / "stdioproc" / "host" / "csrc" / "keeper.c").read_text()
    assert "GRACE = 0.3, TOLD = 0.2" in keeper
    assert "0.3 s" in PAGE and "0.2 s" in PAGE
    assert f"{HURRY:g} s" in PAGE and f"{KILL_WAIT:g} s" in PAGE


@pytest.mark.parametrize("folder", ["host", "child"])
def test_nobody_asks_what_time_it_is(folder: str) -> None:
    """Deadlines are counted by a clock that nobody sets, so a clock that jumps moves none."""
    for path in (ROOT / "stdioproc" / folder).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "time":
                assert node.attr in ("monotonic", "sleep"), path
            assert not (isinstance(node, ast.Import | ast.ImportFrom) and "datetime" in ast.unparse(node)), path
