"""tests/soak.py, for a few seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parent.parent / "soak.py"


@pytest.mark.parametrize("seconds", [4, pytest.param(40, marks=pytest.mark.slow)])
def test_nothing_grows_and_nothing_is_left(seconds: int) -> None:
    done = subprocess.run(
        [sys.executable, "-bb", "-W", "error", str(SOAK), "--seconds", str(seconds), "--seed", "1"],
        capture_output=True,
        text=True,
        timeout=seconds + 30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "processes left: 0" in done.stdout
    assert " success" in done.stdout
