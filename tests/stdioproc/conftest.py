"""Fixtures of the protocol's tests: both parsers, both dialects."""

from __future__ import annotations

import pytest

from stdioproc.dialects import DIALECTS, Dialect


@pytest.fixture(params=["fast", "lark"])
def parser(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=list(DIALECTS.values()), ids=list(DIALECTS))
def dialect(request: pytest.FixtureRequest) -> Dialect:
    found: Dialect = request.param
    return found
