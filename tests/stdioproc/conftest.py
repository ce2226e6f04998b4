"""Fixtures of the protocol's tests: both parsers, both dialects, and children of all kinds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stdioproc.dialects import DIALECTS, Dialect

CHILDREN = Path(__file__).parent.parent / "children"


@pytest.fixture(params=["fast", "lark"])
def parser(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=list(DIALECTS.values()), ids=list(DIALECTS))
def dialect(request: pytest.FixtureRequest) -> Dialect:
    found: Dialect = request.param
    return found


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
