"""Text as bytes that survive, and the short views of data in messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dumpfmt import text


@given(st.binary())
def test_all_bytes_survive_as_text(data):
    assert text.encode(text.decode(data)) == data


@given(st.binary())
def test_decoded_bytes_are_in_normal_form(data):
    decoded = text.decode(data.replace(b"\0", b""))
    assert text.normal(decoded, "it") == decoded


def test_two_spellings_of_the_same_bytes_become_one():
    assert text.normal("\udcc3\udcb6", "it") == "ö"


def test_text_with_a_nul_is_refused_with_its_place():
    with pytest.raises(ValueError, match="the value holds a NUL at index 2"):
        text.normal("ab\0c", "the value")


def test_a_surrogate_that_stands_for_no_byte_is_refused_with_its_place():
    with pytest.raises(ValueError, match=r"the value holds the lone surrogate U\+D800 at index 1"):
        text.normal("a\ud800", "the value")


@given(st.one_of(st.binary(), st.text(st.characters())), st.integers(0, 80))
def test_a_view_is_printable_and_short(data, limit):
    view = text.shown(data, limit)
    assert view.isprintable() and len(view) <= 10 * limit + 3


@pytest.mark.parametrize(
    ("data", "view"),
    [
        (b"", "''"),
        (b"a\n\0", "'a\\n\\x00'"),
        (b"\xff", "'\\xff'"),
        ("ö", "'ö'"),
        ("\udcff", "'\\xff'"),
        (b"x" * 61, "'" + "x" * 60 + "'…"),
        (b"x" * 60, "'" + "x" * 60 + "'"),
    ],
)
def test_a_view_shows_what_is_there(data, view):
    assert text.shown(data) == view
