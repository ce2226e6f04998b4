"""The installed commands, run as programs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

#: More than any command needs here; nothing waits without a bound.
TIMEOUT = 30

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture(scope="session")
def commands() -> Path:
    """The directory of the installed commands."""
    directory = Path(sys.executable).parent
    if not (directory / "pluginproc").exists():
        pytest.fail(f"stdioproc is not installed for {sys.executable}: run `make test`")
    return directory


@pytest.fixture(scope="session")
def plugins() -> Path:
    """The directory of the plugins that the tests of commands use."""
    return Path(__file__).parent / "plugins"


@pytest.fixture
def run(commands: Path, tmp_path: Path) -> Run:
    """Run an installed command to its end: run("stdioproc", "call", …, input=b"", env={}, cwd=None)."""

    def run_command(
        command: str, *args: object, input: bytes = b"", env: dict[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [commands / command, *map(str, args)],
            input=input,
            capture_output=True,
            timeout=TIMEOUT,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **(env or {})},
            cwd=cwd or tmp_path,
        )

    return run_command
