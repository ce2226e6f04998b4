"""Files of the old version: read as Elektra reads them, or refused where that loses keys (facts 4.4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dumpfmt import (
    DumpSyntaxError,
    InvalidNameInDump,
    Key,
    KeySet,
    LimitExceeded,
    Limits,
    TruncatedDump,
    loads,
    testing,
)

FILE = (
    b"kdbOpen 1\nksNew 2\n"
    b"keyNew 9 2\nuser/t/a\0001\0\nkeyMeta 8 3\ncomment\0hi\0\nkeyEnd\n"
    b"keyNew 9 2\nuser/t/b\0002\0\nkeyCopyMeta 9 8\nuser/t/a\0comment\0\nkeyEnd\nksEnd\n"
)


def test_a_file_is_read_with_the_names_of_today_and_shared_metadata():
    found = loads(FILE)
    assert found == KeySet([Key("user:/t/a", "1", {"comment": "hi"}), Key("user:/t/b", "2", {"comment": "hi"})])
    assert found[0]._meta["comment"] is found[1]._meta["comment"]


@pytest.mark.parametrize(
    ("name", "today"),
    [(b"user/a:b", "user:/a:b"), (b"/a", "/a"), (b"system/", "system:/"), (b"user//a/#10", "user:/a/#_10")],
)
def test_a_name_gets_its_colon(name, today):
    assert loads(b"ksNew 1\nkeyNew %d 1\n%b\0\0\nkeyEnd\nksEnd\n" % (len(name) + 1, name))[0].name == today


def test_a_binary_value_is_taken_as_it_is():
    data = b"ksNew 1\nkeyNew 7 2\nuser/a\0x\0\nkeyMeta 7 1\nbinary\0\0\nkeyEnd\nksEnd\n"
    assert loads(data) == KeySet([Key("user:/a", b"x\0")])


def test_the_end_may_be_missing_and_what_is_behind_it_is_not_read():
    assert loads(FILE.removesuffix(b"ksEnd\n")) == loads(FILE) == loads(FILE + b"anything")


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"ksNew 1\nkeyNew 7 2\nuser/a\0x\0\nksEnd\n", TruncatedDump, "expected 'keyEnd' for user:/a"),
        (b"ksNew 1\nkeyNew 8 2\nuser:/a\0x\0\nkeyEnd\n", InvalidNameInDump, "no colon behind its namespace"),
        (b"ksNew 1\nkeyNew 5 2\nuser\0x\0\nkeyEnd\n", InvalidNameInDump, "needs a slash"),
        (b"ksNew 1\nkeyNew 7 2\nnone/a\0x\0\nkeyEnd\n", InvalidNameInDump, "no namespace 'none'"),
        (b"ksNew 1\n\nksEnd\n", DumpSyntaxError, "expected 'ksNew', 'keyNew'"),
        (b"ksNew 1\nkeyEnd\n", DumpSyntaxError, "expected 'keyNew' first, found 'keyEnd'"),
        (b"ksNew 1\nkeyNew 7\n", DumpSyntaxError, "expected 'keyNew' with two lengths, found 'keyNew 7'"),
        (b"ksNew 1\nkeyNew -7 2\n", DumpSyntaxError, "with two lengths, found 'keyNew -7 2'"),
        (b"ksNew 1\nkeyNew 7 9\nuser/a\0x\0\n", TruncatedDump, "expected 16 bytes behind 'keyNew'"),
        (b"ksNew 1\nkeyNew 7 1\nuser/a\0x\0\nkeyEnd\n", DumpSyntaxError, "expected a line feed behind the 8 bytes"),
        (b"ksNew 1\nkeyNew 7 3\nuser/a\0\0x\0\nkeyEnd\n", DumpSyntaxError, "expected text with one NUL, at its end"),
    ],
)
def test_what_would_lose_a_key_is_refused(data, error, message):
    with pytest.raises(error) as caught:
        loads(data)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("limits", "limit"),
    [(Limits(message=10), "message"), (Limits(name=8), "name"), (Limits(value=1), "value"), (Limits(keys=1), "keys")],
    ids=["message", "name", "value", "keys"],
)
def test_a_passed_limit_is_told(limits, limit):
    with pytest.raises(LimitExceeded) as caught:
        loads(FILE, limits=limits)
    assert caught.value.limit == limit


@given(testing.mutations(st.just(FILE)))
def test_damaged_files_raise_only_documented_errors_inside_the_input(data):
    try:
        loads(data)
        return
    except (DumpSyntaxError, LimitExceeded) as error:
        offset, line = error.offset, error.line
    assert 0 <= offset <= len(data) and line == data.count(b"\n", 0, offset) + 1
