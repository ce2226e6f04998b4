"""What dumpfmt raises: messages, attributes, and the way through a pickle."""

from __future__ import annotations

import copy
import pickle

import pytest

from dumpfmt import (
    DumpError,
    DumpSyntaxError,
    InvalidKeyName,
    InvalidNameInDump,
    LimitExceeded,
    TruncatedDump,
)

ERRORS = [
    InvalidKeyName("a", "no slash"),
    DumpError("all of it"),
    DumpSyntaxError(3, 2, "this", "that"),
    TruncatedDump(3, 2, "more", "the end"),
    InvalidNameInDump(3, 2, "a", "no slash"),
    LimitExceeded("name", 1, 2, 3, 4),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("through", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy], ids=["pickle", "copy"])
def test_an_error_survives(error, through):
    found = through(error)
    assert type(found) is type(error) and str(found) == str(error) and vars(found) == vars(error)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_error_is_a_value_error(error):
    assert isinstance(error, ValueError)


def test_an_invalid_name_in_a_dump_is_both_kinds_of_error():
    assert issubclass(InvalidNameInDump, DumpError) and issubclass(InvalidNameInDump, InvalidKeyName)


def test_a_syntax_error_says_where_and_what():
    assert str(DumpSyntaxError(3, 2, "this", "that")) == "byte 3, line 2: expected this, found that"


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("keys", "byte 3, line 4: 2 keys, where the limit 'keys' allows 1; raise it if the data is right"),
        ("name", "byte 3, line 4: a name of 2 bytes, where the limit 'name' allows 1; raise it if the data is right"),
    ],
)
def test_a_passed_limit_says_which_and_how_far(limit, message):
    assert str(LimitExceeded(limit, 1, 2, 3, 4)) == message
