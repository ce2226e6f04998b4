"""Elektra's errors and warnings in metadata: written as Elektra writes them, read back, merged without a loss."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dumpfmt import Key
from dumpfmt.names import array_index
from stdioproc.errors import (
    CATEGORIES,
    MAX_WARNINGS,
    ElektraError,
    Installation,
    Interface,
    Internal,
    Resource,
    ValidationSemantic,
    add_warning,
    complete_error,
    get_error,
    get_warnings,
    merge_metadata,
    set_error,
)

CONTENTS = "number description  module file line mountpoint configfile reason"


def test_an_error_is_written_as_elektra_writes_it() -> None:
    parent = Key("user:/tests/rec", "/some/file")
    set_error(parent, ValidationSemantic("refused", module="recorder", file="rig.py", line="1"))
    assert dict(parent.meta) == {
        "error": CONTENTS,
        "error/configfile": "/some/file",
        "error/description": "Validation Semantic",
        "error/file": "rig.py",
        "error/line": "1",
        "error/module": "recorder",
        "error/mountpoint": "user:/tests/rec",
        "error/number": "C03200",
        "error/reason": "refused",
    }


@pytest.mark.parametrize("category", CATEGORIES.values())
def test_every_category_comes_back(category: type[ElektraError]) -> None:
    parent = Key("user:/p")
    set_error(parent, category("why"))
    error = get_error(parent)
    assert type(error) is category
    assert (error.number, error.description, error.reason) == (category.number, category.description, "why")


def test_a_second_error_is_a_warning() -> None:
    parent = Key("user:/p")
    set_error(parent, Resource("first"))
    set_error(parent, Internal("second"))
    assert str(get_error(parent)) == "C01100 (Resource): first"
    assert [str(warning) for warning in get_warnings(parent)] == ["C01310 (Internal): second"]


@pytest.mark.parametrize("reason", ["a\0b", chr(0xD800), chr(0xDCFF), "ä€\n", ""])
def test_a_reason_may_hold_anything(reason: str) -> None:
    parent = Key("user:/p")
    set_error(parent, Resource(reason, module=reason, file=reason, line=reason))
    error = get_error(parent)
    assert error is not None
    assert "\0" not in error.reason


def test_an_exception_as_the_reason_is_its_text() -> None:
    assert Resource(OSError(2, "gone")).reason == "[Errno 2] gone"  # type: ignore[arg-type]


def test_warnings_are_counted_as_elektra_counts() -> None:
    parent = Key("user:/p")
    for number in range(12):
        add_warning(parent, Resource(str(number)))
    assert parent.meta["warnings"] == "#_11"
    assert parent.meta["warnings/#_10/reason"] == "10"
    assert [warning.reason for warning in get_warnings(parent)] == [str(number) for number in range(12)]


def test_no_more_warnings_than_elektra_keeps() -> None:
    parent = Key("user:/p")
    for number in range(MAX_WARNINGS + 5):
        add_warning(parent, Resource(str(number)))
    assert len(get_warnings(parent)) == MAX_WARNINGS
    assert parent.meta["warnings"] == "#_99"


def returned(parent: Key) -> Key:
    return parent.copy()


def test_warnings_of_before_survive_a_child_that_drops_them() -> None:
    parent = Key("user:/p")
    add_warning(parent, Resource("before"))
    merge_metadata(parent, Key("user:/p"), failed=False)
    assert [warning.reason for warning in get_warnings(parent)] == ["before"]


def test_warnings_of_a_child_that_starts_at_0_again_are_added() -> None:
    parent, reply = Key("user:/p"), Key("user:/p")
    add_warning(parent, Resource("before"))
    add_warning(reply, Resource("new"))
    merge_metadata(parent, reply, failed=False)
    assert [warning.reason for warning in get_warnings(parent)] == ["before", "new"]


def test_warnings_of_a_child_that_adds_are_not_doubled() -> None:
    parent = Key("user:/p")
    add_warning(parent, Resource("before"))
    reply = returned(parent)
    add_warning(reply, Resource("new"))
    add_warning(reply, Resource("before"))  # the same text again is one more warning
    merge_metadata(parent, reply, failed=True)
    assert [warning.reason for warning in get_warnings(parent)] == ["before", "new", "before"]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.text("abc", max_size=2), max_size=12), st.lists(st.text("abc", max_size=2), max_size=12), st.booleans()
)
def test_no_warning_is_ever_lost(before: list[str], new: list[str], keeps: bool) -> None:
    parent = Key("user:/p")
    for reason in before:
        add_warning(parent, Resource(reason))
    reply = returned(parent) if keeps else Key("user:/p")
    for reason in new:
        add_warning(reply, Resource(reason))
    merge_metadata(parent, reply, failed=False)
    found = [warning.reason for warning in get_warnings(parent)]
    assert found[: len(before)] == before
    if keeps:
        assert found == before + new
    else:
        assert set(found) == {*before, *new}
    if found:
        assert parent.meta["warnings"] == array_index(len(found) - 1)


def test_an_error_of_before_stays_the_error() -> None:
    parent = Key("user:/p")
    set_error(parent, Resource("before"))
    reply = Key("user:/p")
    set_error(reply, Internal("new"))
    merge_metadata(parent, reply, failed=True)
    error = get_error(parent)
    assert error is not None
    assert error.reason == "before"
    assert [warning.reason for warning in get_warnings(parent)] == ["new"]


def test_an_error_of_before_that_comes_back_is_no_new_one() -> None:
    parent = Key("user:/p")
    set_error(parent, Resource("before"))
    merge_metadata(parent, returned(parent), failed=False)
    assert get_warnings(parent) == []


def test_an_error_without_the_result_error_is_a_warning() -> None:
    parent, reply = Key("user:/p"), Key("user:/p")
    set_error(reply, Internal("odd"))
    merge_metadata(parent, reply, failed=False)
    assert get_error(parent) is None
    assert [warning.reason for warning in get_warnings(parent)] == ["odd"]


def test_other_metadata_is_taken_over_and_what_is_left_out_stays() -> None:
    parent = Key("user:/p", "x", {"kept": "1", "changed": "1"})
    merge_metadata(parent, Key("user:/p", "x", {"changed": "2", "new": "3"}), failed=False)
    assert dict(parent.meta) == {"changed": "2", "kept": "1", "new": "3"}


def test_binary_is_never_taken_over() -> None:
    parent = Key("user:/p", "text")
    merge_metadata(parent, Key("user:/p", b"\0"), failed=False)
    assert dict(parent.meta) == {}


def test_a_missing_error_is_completed_as_a_whole() -> None:
    parent = Key("user:/p")
    complete_error(parent, Interface("said nothing", module="m"))
    error = get_error(parent)
    assert error is not None
    assert (error.number, error.module, error.reason) == ("C01320", "m", "said nothing")


def test_missing_fields_are_filled_in() -> None:
    parent = Key("user:/p", meta={"error": CONTENTS, "error/number": "C01200"})
    complete_error(parent, Interface("no reason given", module="m"))
    error = get_error(parent)
    assert isinstance(error, Installation)
    assert (error.description, error.reason, error.module) == ("Installation", "no reason given", "m")
    assert error.mountpoint == "user:/p"


def test_an_unknown_number_is_kept() -> None:
    parent = Key("user:/p", meta={"error": CONTENTS, "error/number": "C09999", "error/description": "New"})
    complete_error(parent, Interface("x"))
    error = get_error(parent)
    assert error is not None
    assert (error.number, error.description) == ("C09999", "New")
