"""pytest without the compiled codec: what is imported instead is what runs where there was no compiler."""

from __future__ import annotations

import sys

import pytest

if __name__ == "__main__":
    sys.modules["dumpfmt._native"] = None  # type: ignore[assignment]  # an import of it then fails
    raise SystemExit(pytest.main(sys.argv[1:]))
