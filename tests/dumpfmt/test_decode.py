"""Reading dumps: the same through every parser, for any pieces, and nothing but documented errors."""

from __future__ import annotations

import base64
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dumpfmt import (
    Decoder,
    DumpError,
    DumpSyntaxError,
    InvalidNameInDump,
    Key,
    KeySet,
    LimitExceeded,
    Limits,
    TruncatedDump,
    dumps,
    loads,
    testing,
)
from dumpfmt.decode import read_at
from dumpfmt.native import native

PARSERS = ["fast", "python", "lark"]
parsers = st.sampled_from(PARSERS)


@pytest.fixture(params=PARSERS)
def parser(request):
    return request.param


def sharing(keyset: KeySet) -> list[list[int]]:
    """Which metakeys of a keyset are one object, as a shape that can be compared."""
    numbers: dict[int, int] = {}
    return [[numbers.setdefault(id(metakey), len(numbers)) for metakey in key._meta.values()] for key in keyset]


def answer(data: bytes, parser: str, **arguments):
    """What reading comes to: the keyset with its sharing, or all that an error says."""
    try:
        found = loads(data, parser=parser, **arguments)
    except DumpError as error:
        return type(error), str(error), vars(error)
    return [repr(key) for key in found], sharing(found)


@pytest.mark.vectors("storage")
def test_a_dump_of_elektras_is_read_and_written_again(row, parser):
    full, relative = base64.b64decode(row["dump_full"]), base64.b64decode(row["dump_relative"])
    found = loads(full, parser=parser)
    assert dumps(found) == full
    assert loads(relative, "user:/tests/vec", parser) == found
    assert dumps(loads(relative, "user:/tests/vec", parser), "user:/tests/vec") == relative


class TestRoundTrip:
    @given(testing.keysets(), parsers)
    def test_what_was_written_is_read_back(self, keyset, parser):
        assert loads(dumps(keyset), parser=parser) == keyset

    @given(testing.dump_bytes(), parsers)
    def test_what_was_read_is_written_back(self, data, parser):
        assert dumps(loads(data, parser=parser)) == data

    @given(testing.keysets(), parsers)
    def test_what_is_shared_stays_shared_and_nothing_else(self, keyset, parser):
        assert sharing(loads(dumps(keyset), parser=parser)) == sharing(keyset)

    @given(testing.mutations(testing.dump_bytes()), parsers)
    def test_what_is_accepted_at_all_is_canonical_when_written(self, data, parser):
        try:
            found = loads(data, parser=parser)
        except DumpError:
            return
        written = dumps(found)
        assert dumps(loads(written, parser=parser)) == written


class TestPieces:
    @given(st.data(), testing.dump_bytes(), st.binary(max_size=8), parsers)
    def test_pieces_make_no_difference_and_what_follows_is_left(self, data, dump, behind, parser):
        decoder = Decoder(parser=parser)
        found = None
        for piece in data.draw(testing.chunkings(dump + behind)):
            found = decoder.feed(piece)
        assert found == loads(dump) and decoder.eof and decoder.unused_data == behind
        decoder.close()

    @settings(max_examples=40)  # each example reads every prefix
    @given(testing.dump_bytes(2), parsers)
    def test_every_proper_prefix_waits_and_is_an_error_at_the_end(self, dump, parser):
        for length in range(len(dump)):
            decoder = Decoder(parser=parser)
            assert decoder.feed(dump[:length]) is None
            assert not decoder.eof and decoder.unused_data == b""
            with pytest.raises(TruncatedDump) as caught:
                decoder.close()
            assert 0 <= caught.value.offset <= length

    @given(st.data(), testing.mutations(testing.dump_bytes()), parsers)
    def test_pieces_make_no_difference_to_an_error(self, data, damaged, parser):
        def read(pieces):
            decoder = Decoder(parser=parser)
            try:
                for piece in pieces:
                    decoder.feed(piece)
                decoder.close()
            except DumpError as error:
                return type(error), error.offset, error.line, getattr(error, "expected", None)
            return decoder.unused_data

        assert read(data.draw(testing.chunkings(damaged))) == read([damaged])

    def test_a_complete_keyset_stays_the_same_object(self, parser):
        decoder = Decoder(parser=parser)
        found = decoder.feed(b"kdbOpen 2\n$end\n")
        assert decoder.feed(b"more") is found and decoder.feed(b"!") is found and decoder.unused_data == b"more!"

    def test_an_error_is_raised_again_by_every_further_call(self, parser):
        decoder = Decoder(parser=parser)
        for call in (lambda: decoder.feed(b"?" * 64), lambda: decoder.feed(b"kdbOpen 2\n"), decoder.close):
            with pytest.raises(DumpSyntaxError, match="byte 0, line 1: expected 'kdbOpen 2'"):
                call()

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_any_bytes_will_do(self, kind, parser):
        assert loads(kind(b"kdbOpen 2\n$key string 1 0\n/\n\n$end\n"), parser=parser) == KeySet([Key("/")])

    def test_a_buffer_may_be_used_again_after_feeding(self, parser):
        decoder, buffer = Decoder(parser=parser), bytearray(b"kdbOpen 2\n$key string 1 1\n/\nx\n$end\n")
        for at in range(0, len(buffer), 7):
            view = buffer[at : at + 7]
            found = decoder.feed(view)
            view[:] = b"?" * len(view)
        assert found == KeySet([Key("/", "x")])


class TestFiles:
    @pytest.mark.parametrize("end", [b"$end\n", b"$end", b""])
    def test_a_file_may_lack_its_end(self, end, parser):
        assert loads(b"kdbOpen 2\n$key string 1 0\n/\n\n" + end, parser=parser) == KeySet([Key("/")])

    @pytest.mark.parametrize("data", [b"", b"kdbOpen 2", b"kdbOpen 2\n"])
    def test_a_file_may_hold_nothing(self, data, parser):
        assert loads(data, parser=parser) == KeySet()

    @pytest.mark.parametrize("end", [b"$en", b"$", b"$end ", b"$key", b"$end\n\n", b"kdbOpen 2"])
    def test_a_file_ends_with_nothing_else(self, end, parser):
        with pytest.raises(DumpSyntaxError):
            loads(b"kdbOpen 2\n$key string 1 0\n/\n\n" + end, parser=parser)


class TestErrors:
    @given(testing.mutations(testing.dump_bytes()) | st.binary(), parsers)
    def test_arbitrary_bytes_raise_only_documented_errors_inside_the_input(self, data, parser):
        try:
            loads(data, parser=parser)
            return
        except (DumpSyntaxError, LimitExceeded) as error:
            offset, line = error.offset, error.line
        assert 0 <= offset <= len(data) and line == data.count(b"\n", 0, offset) + 1

    @given(testing.mutations(testing.dump_bytes()) | st.binary())
    def test_the_parsers_agree_on_everything(self, data):
        expected = answer(data, "python")
        assert answer(data, "fast") == expected and answer(data, "lark") == expected

    @given(st.data())
    def test_the_parsers_agree_on_relative_names(self, data):
        parent = data.draw(testing.names())
        dump = data.draw(
            testing.mutations(testing.keysets(testing.names_below("user:/p"), 3).map(lambda k: dumps(k, "user:/p")))
        )
        expected = answer(dump, "python", parent=parent)
        assert answer(dump, "fast", parent=parent) == expected and answer(dump, "lark", parent=parent) == expected

    @given(
        testing.mutations(testing.dump_bytes(3)),
        st.integers(0, 80),
        st.integers(0, 8),
        st.integers(0, 8),
        st.integers(0, 3),
    )
    def test_the_parsers_agree_on_limits(self, data, message, name, value, keys):
        limits = Limits(message=message, name=name, value=value, keys=keys)
        expected = answer(data, "python", limits=limits)
        assert answer(data, "fast", limits=limits) == expected and answer(data, "lark", limits=limits) == expected

    @pytest.mark.parametrize(
        ("record", "message"),
        [
            (b"$meta 1 1\nx\ny\n", "byte 10, line 2: expected '$key string', '$key binary' or '$end', found '$meta 1 1'"),
            (b"kdbOpen 2\n", "byte 10, line 2: expected '$key string', '$key binary' or '$end', found 'kdbOpen 2'"),
            (b"$key string 1 0\na\n\n", "byte 10, line 2: expected a valid key name, found 'a' (it must start with '/'"),
            (b"$key string 1 3\n/\na\0b\n", "expected a string value without NUL ('$key binary' carries any byte)"),
            (b"$key string 1 0\n/\n\n$meta 1 1\nx\n\0\n", "byte 29, line 5: expected metadata without NUL"),
            (b"$key string 1 0\n/\n\n$meta 0 0\n\n\n", "found '' (it leaves no name for the metadata)"),
            (b"$key string 1 0\n/\n\n$copymeta 2 1\n/x\nx\n", "from a key that was read before, found the unknown key '/x'"),
            (b"$key string 1 0\n/\n\n$copymeta 1 1\n/\nx\n", "of metadata that / has, found 'x', which it has not"),
            (b"$KEY string 1 0\n/\n\n", "expected a command: '$key', '$meta', '$copymeta' or '$end', found '$KEY string 1 0'"),
            (b"$" + b"x" * 100, "expected a command: '$key', '$meta', '$copymeta' or '$end', found '$xxx"),
        ],
    )  # fmt: skip
    def test_an_error_says_what_was_expected_and_found(self, record, message, parser):
        with pytest.raises(DumpSyntaxError) as caught:
            loads(b"kdbOpen 2\n" + record + b"$end\n", parser=parser)
        assert message in str(caught.value)

    def test_an_invalid_name_is_told_as_such(self, parser):
        with pytest.raises(InvalidNameInDump) as caught:
            loads(b"kdbOpen 2\n$key string 1 0\na\n\n$end\n", parser=parser)
        assert caught.value.name == "a" and caught.value.reason

    def test_an_unknown_parser_is_refused(self):
        with pytest.raises(ValueError, match="'slow'"):
            Decoder(parser="slow")


class TestRelativeNames:
    @pytest.mark.parametrize("name", ["../b", "..", "../a2", "x/../../b"])
    def test_a_name_that_leads_out_of_the_parent_is_refused(self, name, parser):
        record = f"kdbOpen 2\n$key string {len(name)} 0\n{name}\n\n$end\n".encode()
        with pytest.raises(InvalidNameInDump, match="leads out of user:/a"):
            loads(record, "user:/a", parser)

    def test_the_empty_name_is_the_parent(self, parser):
        assert loads(b"kdbOpen 2\n$key string 0 0\n\n\n$end\n", Key("user:/a"), parser) == KeySet([Key("user:/a")])

    def test_a_full_name_is_a_path_like_any_other(self, parser):
        found = loads(b"kdbOpen 2\n$key string 7 0\nuser:/b\n\n$end\n", "user:/a", parser)
        assert [key.name for key in found] == ["user:/a/user:/b"]

    def test_bare_names_can_be_given_a_place(self, parser):
        decoder = Decoder(parser=parser, bare_names_below="system:/x")
        found = decoder.feed(b"kdbOpen 2\n$key string 3 0\na/b\n\n$key string 7 0\nuser:/c\n\n$end\n")
        assert [key.name for key in found] == ["user:/c", "system:/x/a/b"]


class TestElektrasReader:
    """Behaviour of Elektra's reader that is ours as well (facts 4.3)."""

    def read(self, records: bytes, parser: str) -> KeySet:
        return loads(b"kdbOpen 2\n" + records + b"$end\n", parser=parser)

    def test_a_repeated_key_loses_the_metadata_of_the_first(self, parser):
        found = self.read(b"$key string 1 1\n/\n1\n$meta 1 1\nx\ny\n$key string 1 1\n/\n2\n", parser)
        assert list(found) == [Key("/", "2")]

    def test_repeated_metadata_keeps_the_last(self, parser):
        found = self.read(
            b"$key string 1 0\n/\n\n$meta 1 1\nx\ny\n$meta 6 1\nmeta:x\nw\n$meta 7 1\nmeta:/x\nz\n", parser
        )
        assert dict(found["/"].meta) == {"meta:x": "w", "x": "z"}

    def test_a_name_becomes_canonical(self, parser):
        found = self.read(b"$key string 9 0\n//a/./#10\n\n$meta 4 0\n/#10\n\n", parser)
        assert found["/a/#_10"].name == "/a/#_10" and list(found["/a/#_10"].meta) == ["#_10"]

    def test_binary_without_its_metadata_is_binary(self, parser):
        assert self.read(b"$key binary 1 1\n/\nx\n", parser)["/"] == Key("/", b"x")

    @pytest.mark.parametrize("value", [b"", b"x"])
    def test_text_with_the_metadata_of_binary_is_binary_with_its_final_nul(self, value, parser):
        found = self.read(b"$key string 1 %d\n/\n%b\n$meta 6 0\nbinary\n\n" % (len(value), value), parser)
        assert found["/"] == Key("/", value + b"\0")

    def test_copied_metadata_is_the_same_object(self, parser):
        found = self.read(
            b"$key string 1 0\n/\n\n$meta 1 1\nx\ny\n$key string 2 0\n/a\n\n$copymeta 1 1\n/\nx\n", parser
        )
        assert found["/a"]._meta["x"] is found["/"]._meta["x"]


class TestLimits:
    RECORD = b"kdbOpen 2\n$key string 7 5\nuser:/a\nvalue\n$meta 4 6\nmeta\nstring\n$end\n"

    @pytest.mark.parametrize(
        ("limits", "limit", "wanted", "offset"),
        [
            (Limits(message=len(RECORD) - 1), "message", len(RECORD), len(RECORD) - 5),
            (Limits(name=6), "name", 7, 10),
            (Limits(value=5), "value", 6, 40),
            (Limits(value=4), "value", 5, 10),
            (Limits(keys=0), "keys", 1, 10),
        ],
        ids=["message", "name", "metadata", "value", "keys"],
    )
    def test_a_limit_is_told_with_what_it_takes(self, limits, limit, wanted, offset, parser):
        with pytest.raises(LimitExceeded) as caught:
            loads(self.RECORD, parser=parser, limits=limits)
        found = caught.value
        assert (found.limit, found.wanted, found.offset) == (limit, wanted, offset)
        assert found.allowed == getattr(limits, limit)

    def test_exactly_the_limit_is_allowed(self, parser):
        assert loads(self.RECORD, parser=parser, limits=Limits(message=len(self.RECORD), name=7, value=6, keys=1))

    @pytest.mark.parametrize(
        "header",
        [
            b"$key string 1 268435457\n",
            b"$key binary 1048577 0\n",
            b"$key string 1 9999999999999999999\n",
            b"$key string 9 1073741825\n",
        ],
    )
    def test_a_length_beyond_the_limit_is_refused_before_its_payload_comes(self, header, parser):
        with pytest.raises(LimitExceeded):
            Decoder(parser=parser).feed(b"kdbOpen 2\n" + header)

    def test_an_announced_length_costs_no_memory(self, parser):
        decoder = Decoder(parser=parser)
        decoder.feed(b"kdbOpen 2\n")
        tracemalloc.start()
        try:
            decoder.feed(b"$key string 1 200000000\n/\n")
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()

    def test_a_line_without_an_end_is_not_kept(self, parser):
        decoder = Decoder(parser=parser)
        decoder.feed(b"kdbOpen 2\n")
        with pytest.raises(DumpSyntaxError):
            decoder.feed(b"$key string " + b"1" * 100)


class TestLinearWork:
    """The default parser against the clock, with a bound of ten times what it takes; test_scan.py counts what Python moves."""

    SECONDS = 10

    def read(self, data: bytes, size: int) -> KeySet:
        decoder, start = Decoder(), time.process_time()
        for at in range(0, len(data), size):
            found = decoder.feed(data[at : at + size])
        assert time.process_time() - start < self.SECONDS
        return found

    def test_a_value_that_comes_byte_by_byte(self):
        value = b"x" * 1_000_000  # moved for each of its bytes: 500 GB
        data = b"kdbOpen 2\n$key binary 1 %d\n/\n%b\n$end\n" % (len(value), value)
        assert self.read(data, 1)[0].value == value

    def test_many_keys_in_small_pieces(self):
        data = dumps(KeySet(Key(f"user:/{number:06}", "x" * 20) for number in range(50_000)))
        assert len(self.read(data, 31)) == 50_000

    def test_what_follows_the_end_in_pieces(self, parser):
        decoder, start = Decoder(parser=parser), time.process_time()
        decoder.feed(b"kdbOpen 2\n$end\n")
        for _ in range(100_000):
            decoder.feed(b"x" * 10)
        assert len(decoder.unused_data) == 1_000_000
        assert time.process_time() - start < self.SECONDS


@given(testing.keysets(), st.binary(max_size=20), st.binary(max_size=20))
def test_read_at_finds_the_keyset_that_a_decoder_finds(keyset: KeySet, before: bytes, behind: bytes) -> None:
    """None is allowed (it means: ask a Decoder), another keyset or another end is not."""
    dump = dumps(keyset)
    found = read_at(before + dump + behind, len(before))
    if found is not None:
        assert found[0] == loads(dump, parser="python")
        assert found[1] == len(before) + len(dump)


@given(testing.keysets(), st.data())
def test_read_at_answers_none_while_bytes_are_missing(keyset: KeySet, data: st.DataObject) -> None:
    dump = dumps(keyset)
    assert read_at(dump[: data.draw(st.integers(0, len(dump) - 1))], 0) is None


def test_read_at_keeps_the_limits() -> None:
    dump = dumps(KeySet([Key("user:/a", "value")]))
    for limits in (Limits(message=10), Limits(name=3), Limits(value=3), Limits(keys=0)):
        assert read_at(dump, 0, limits) is None


@pytest.mark.skipif(native is None, reason="the compiled scanner is not built")
def test_read_at_reads_what_lies_whole() -> None:
    dump = dumps(KeySet([Key("user:/a", "value", meta={"type": "string"})]))
    found = read_at(b"success\n" + dump + dump, len(b"success\n"))
    assert found is not None
    assert found[1] == len(b"success\n") + len(dump)
