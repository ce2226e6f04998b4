"""Quickdump: what specload reads from a program, and what Elektra's plugin writes."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dumpfmt import (
    DumpError,
    DumpSyntaxError,
    InvalidNameInDump,
    Key,
    KeySet,
    LimitExceeded,
    Limits,
    TruncatedDump,
    loads,
    quickdump,
    testing,
)

PARENT = "user:/p"
keysets = testing.keysets(testing.names_below(PARENT))


def sized(data: bytes) -> bytes:
    return quickdump.encode_length(len(data)) + data


def stream(*keys: bytes) -> bytes:
    return quickdump.MAGIC + b"".join(keys)


def read(*keys: bytes, **arguments) -> KeySet:
    return quickdump.loads(stream(*keys), PARENT, **arguments)


A = sized(b"a") + b"s" + sized(b"1")


@pytest.mark.vectors("storage")
def test_a_keyset_is_written_and_read_as_elektra_does(row):
    data = base64.b64decode(row["quickdump"])
    keyset = loads(base64.b64decode(row["dump_full"]))
    assert quickdump.dumps(keyset, "user:/tests/vec") == data
    assert quickdump.loads(data, "user:/tests/vec") == keyset


@given(keysets)
def test_what_was_written_is_read_back(keyset):
    data = quickdump.dumps(keyset, PARENT)
    found = quickdump.loads(data, PARENT)
    assert found == keyset and quickdump.dumps(found, PARENT) == data


@given(keysets)
def test_what_is_shared_stays_shared(keyset):
    found = quickdump.loads(quickdump.dumps(keyset, PARENT), PARENT)
    assert loads_sharing(found) == loads_sharing(keyset)


def loads_sharing(keyset: KeySet) -> list[list[int]]:
    numbers: dict[int, int] = {}
    return [[numbers.setdefault(id(metakey), len(numbers)) for metakey in key._meta.values()] for key in keyset]


@settings(max_examples=40)  # each example reads every prefix
@given(testing.keysets(testing.names_below(PARENT), max_size=3))
def test_a_prefix_is_a_whole_number_of_keys_or_an_error(keyset):
    data = quickdump.dumps(keyset, PARENT)
    whole = [len(quickdump.dumps(KeySet(list(keyset)[:count]), PARENT)) for count in range(len(keyset) + 1)]
    for length in range(len(data)):
        if length in whole:
            assert len(quickdump.loads(data[:length], PARENT)) == whole.index(length)
        else:
            with pytest.raises(DumpSyntaxError):
                quickdump.loads(data[:length], PARENT)


@given(testing.mutations(keysets.map(lambda keyset: quickdump.dumps(keyset, PARENT))) | st.binary())
def test_arbitrary_bytes_raise_only_documented_errors_inside_the_input(data):
    try:
        quickdump.loads(data, PARENT)
        return
    except (DumpSyntaxError, LimitExceeded) as error:
        offset, line = error.offset, error.line
    assert 0 <= offset <= len(data) and 1 <= line <= data.count(b"\n") + 1


@pytest.mark.parametrize(
    ("number", "encoded"),
    [
        (0, "01"),
        (127, "ff"),
        (128, "0202"),
        (200, "2203"),
        (2**14 - 1, "feff"),
        (2**14, "040002"),
        (2**56 - 1, "80ffffffffffffff"),
        (2**56, "000000000000000001"),
        (2**64 - 1, "00ffffffffffffffff"),
    ],
)
def test_a_length_takes_as_many_bytes_as_it_needs(number, encoded):
    assert quickdump.encode_length(number).hex() == encoded


@given(st.integers(0, 2**64 - 1))
def test_a_length_is_read_back(number):
    encoded = quickdump.encode_length(number)
    with pytest.raises((LimitExceeded, TruncatedDump)) as caught:
        quickdump.loads(stream(encoded), PARENT, Limits(name=-1))
    assert caught.value.wanted == number


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "byte 0, line 1: expected the quickdump magic 'EKDB' and version 3 in 8 bytes, found ''"),
        (b"EKDB\0\0\0\2", "byte 4, line 1: expected version 3 of the quickdump format, found version 2"),
        (b"kdbOpen 2\n", "expected the quickdump magic"),
        (stream(sized(b"a") + b"x"), "byte 10, line 1: expected the type of a value, 's' or 'b', found 'x'"),
        (stream(sized(b"a") + b"s" + sized(b"\0") + b"\0"), "expected text without NUL"),
        (stream(A + b"q"), "expected 'm', 'c' or the zero byte that ends a key, found 'q'"),
        (stream(A), "expected 'm', 'c' or the zero byte that ends a key, found the end of the input"),
        (stream(b"\x09a"), "expected a name of 4 bytes at byte 9, found the end of the input"),
        (stream(b"\x02"), "expected a length of 2 bytes, found the end of the input"),
        (stream(A + b"c" + sized(b"b") + sized(b"m") + b"\0"), "metadata of a key that was read before, found m of user:/p/b"),
        (stream(A + b"c" + sized(b"a") + sized(b"m") + b"\0"), "found m of user:/p/a"),
        (stream(sized(b"a\\") + b"s" + sized(b"") + b"\0"), "expected a valid key name"),
        (stream(sized(b"../q") + b"s" + sized(b"") + b"\0"), "leads out of user:/p"),
        (stream(A + b"m" + sized(b"") + sized(b"") + b"\0"), "it leaves no name for the metadata"),
    ],
)  # fmt: skip
def test_an_error_says_what_was_expected_and_found(data, message):
    with pytest.raises(DumpSyntaxError) as caught:
        quickdump.loads(data, PARENT)
    assert message in str(caught.value)


def test_an_invalid_name_is_told_as_such():
    with pytest.raises(InvalidNameInDump) as caught:
        read(sized(b"a\\") + b"s" + sized(b"") + b"\0")
    assert caught.value.name == "a\\"


def test_the_empty_name_is_the_parent():
    assert read(sized(b"") + b"s" + sized(b"1") + b"\0") == KeySet([Key(PARENT, "1")])


def test_no_bytes_are_the_null_value():
    assert read(sized(b"a") + b"b" + sized(b"") + b"\0") == KeySet([Key("user:/p/a", None)])


@pytest.mark.parametrize(
    "metadata", [b"m" + sized(b"binary") + sized(b""), b"c" + sized(b"z/..") + sized(b"binary")], ids=["own", "shared"]
)
def test_text_with_the_metadata_of_binary_is_binary_with_its_final_nul(metadata):
    found = read(sized(b"") + b"b" + sized(b"x") + b"\0", A + metadata + b"\0")
    assert found["user:/p/a"] == Key("user:/p/a", b"1\0")


def test_a_key_may_share_metadata_with_itself():
    found = read(A + b"m" + sized(b"x") + sized(b"y") + b"c" + sized(b"a") + sized(b"x") + b"\0")
    assert found["user:/p/a"].meta == {"x": "y"}


def test_the_last_key_of_a_name_wins():
    assert len(read(A + b"\0", A + b"\0")) == 1


@pytest.mark.parametrize(
    ("limits", "limit"),
    [(Limits(message=10), "message"), (Limits(name=0), "name"), (Limits(value=0), "value"), (Limits(keys=0), "keys")],
    ids=["message", "name", "value", "keys"],
)
def test_a_passed_limit_is_told(limits, limit):
    with pytest.raises(LimitExceeded) as caught:
        read(A + b"\0", limits=limits)
    assert caught.value.limit == limit


def test_a_key_elsewhere_is_refused():
    with pytest.raises(DumpError, match="user:/q is not below user:/p"):
        quickdump.dumps(KeySet([Key("user:/q")]), PARENT)
