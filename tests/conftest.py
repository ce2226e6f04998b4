"""Fixtures that more than one folder of tests needs."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

VECTORS = Path(__file__).parent / "vectors"
CHILDREN = Path(__file__).parent / "children"

# `--hypothesis-profile nightly` looks longer. No deadlines: a shared machine is slow now and then. On CI Hypothesis picks
# its own profile.
settings.register_profile("nightly", max_examples=5000, deadline=None)
if settings.get_current_profile_name() == "default":
    settings.register_profile("local", max_examples=60, deadline=None)
    settings.load_profile("local")


def pytest_configure(config: pytest.Config) -> None:
    # Hypothesis keeps choices of all types in one dict; -bb must see our comparisons, not those.
    config.addinivalue_line("filterwarnings", r"ignore:Comparison between:BytesWarning:hypothesis\..*")
    config.addinivalue_line(
        "markers", "vectors(name): run once for each row of tests/vectors/NAME.jsonl, as argument `row`"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for marker in metafunc.definition.iter_markers("vectors"):
        rows = list(_rows(marker.args[0]))
        metafunc.parametrize("row", rows, ids=[_id(number, row) for number, row in enumerate(rows)])


def _rows(name: str) -> Iterator[Any]:
    """The rows of a file of vectors; text that is not UTF-8 comes as `str` in the form of dumpfmt.text."""
    with open(VECTORS / f"{name}.jsonl", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line, object_hook=_text)


def _text(found: dict[str, Any]) -> Any:
    return base64.b64decode(found["b64"]).decode("utf-8", "surrogateescape") if found.keys() == {"b64"} else found


def _id(number: int, row: dict[str, Any]) -> str:
    """The number of the line, and what it is about as far as that is short text."""
    about = [value for value in list(row.values())[:2] if isinstance(value, str) and len(value) < 40]
    return f"{number + 1}-" + ",".join(ascii(value)[1:-1].replace("\\x00", "NUL") for value in about)


# --- children, and what they must not leave behind


@pytest.fixture(scope="session")
def bad() -> Callable[..., list[str]]:
    """`bad(phase, misbehaviour)`: the argv of tests/children/bad.py, which does its part until that phase."""
    return lambda *args: [sys.executable, "-I", "-S", str(CHILDREN / "bad.py"), *args]


@pytest.fixture(scope="session")
def child() -> Callable[..., list[str]]:
    """`child("recorder.py", …)`: the argv of a child in tests/children that uses the package."""
    return lambda name, *args: [sys.executable, "-P", str(CHILDREN / name), *args]


def open_descriptors() -> set[str]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name} -> {os.readlink(f'/proc/self/fd/{name}')}")
        except OSError:
            continue  # the one that listed the directory
    return found


def children_of(pid: int) -> list[int]:
    """Its children, zombies included."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """No zombie, no child and no descriptor is left behind by the test."""
    descriptors, children = open_descriptors(), set(children_of(os.getpid()))
    yield
    assert open_descriptors() == descriptors
    assert set(children_of(os.getpid())) == children


@pytest.fixture
def python() -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Run a piece of Python in an interpreter of its own, for what a test cannot do to its own process."""

    def run(code: str, *args: str, timeout: float = 20.0, **options: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(  # type: ignore[call-overload,no-any-return]
            [sys.executable, "-bb", "-W", "error", "-c", code, *args],
            capture_output=True,
            timeout=timeout,
            check=False,
            **options,
        )

    return run
