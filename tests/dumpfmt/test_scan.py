"""The record scanner by itself: whole records, in pieces, and what it says of damaged ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dumpfmt import DumpError, DumpSyntaxError, LimitExceeded, Limits, TruncatedDump, testing
from dumpfmt.scan import BINARY, COMMANDS, COPYMETA, END, HEADER, META, STRING, Scanner


def scan(data: bytes, limits: Limits | None = None):
    scanner = Scanner(limits or Limits())
    scanner.feed(data)
    return list(scanner.records())


def test_every_kind_of_record_is_read_with_its_offset():
    data = b"kdbOpen 2\n$key string 1 2\n/\nab\n$key binary 1 1\n/\n\0\n$meta 1 0\nx\n\n$copymeta 1 1\n/\nx\n$end\n"
    assert scan(data) == [
        (HEADER, 0, b"", b""),
        (STRING, 10, b"/", b"ab"),
        (BINARY, 31, b"/", b"\0"),
        (META, 51, b"x", b""),
        (COPYMETA, 64, b"/", b"x"),
        (END, 82, b"", b""),
    ]


def test_payloads_may_look_like_records():
    assert scan(b"$meta 5 6\n$end\n\n\n$end\n\n") == [(META, 0, b"$end\n", b"\n$end\n")]


def test_the_order_of_records_is_no_matter_of_the_scanner():
    assert [record[0] for record in scan(b"$meta 0 0\n\n\nkdbOpen 2\n$end\n")] == [META, HEADER, END]


def test_nothing_is_read_behind_the_end():
    scanner = Scanner()
    scanner.feed(b"$end\n$end\n")
    assert len(list(scanner.records())) == 1 and scanner.eof and scanner.unused_data == b"$end\n"
    assert scanner.offset == 5 and list(scanner.records()) == []


@given(st.data(), testing.mutations(testing.dump_bytes()))
def test_pieces_make_no_difference(data, damaged):
    def read(pieces):
        scanner, records = Scanner(), []
        try:
            for piece in pieces:
                scanner.feed(piece)
                records += scanner.records()
            scanner.close()
        except DumpError as error:
            return records, type(error), error.offset, error.line
        return records, scanner.unused_data

    assert read(data.draw(testing.chunkings(damaged))) == read([damaged])


@given(testing.dump_bytes(), st.data())
def test_what_was_fed_is_read_pending_or_behind_the_end(dump, data):
    scanner = Scanner()
    fed = b""
    for piece in data.draw(testing.chunkings(dump + b"tail")):
        scanner.feed(piece)
        fed += piece
        list(scanner.records())
        assert fed[scanner.offset :] == scanner.pending + scanner.unused_data


@pytest.mark.parametrize(
    ("data", "offset", "line", "expected", "found"),
    [
        (b"kdbOpen 3\n", 0, 1, "'kdbOpen 2', the first line of a dump", "'kdbOpen 3'"),
        (b"\x7fELF" + b"\0" * 60, 0, 1, "'kdbOpen 2', the first line of a dump", "'\\x7fELF\\x00"),
        (b"kdbOpen 2\n\n", 10, 2, "a command", "an empty line"),
        (b"kdbOpen 2\n$end \n", 10, 2, "'$end' and a line feed", "'$end '"),
        (b"kdbOpen 2\n$end\r\n", 10, 2, "'$end' and a line feed", "'$end\\r'"),
        (b"kdbOpen 2\n$key\n", 10, 2, "'$key' with a type and two lengths", "'$key'"),
        (b"$key text 1 1\n", 5, 1, "the type 'string' or 'binary'", "'text'"),
        (b"$key string 1\n", 0, 1, "'$key string' with two lengths", "'$key string 1'"),
        (b"$meta 1 2 3\n", 0, 1, "'$meta' with two lengths", "'$meta 1 2 3'"),
        (b"$meta 1 02\n", 8, 1, "a length in plain decimal digits", "'02'"),
        (b"$meta -1 2\n", 6, 1, "a length in plain decimal digits", "'-1'"),
        (b"$meta 1 \xd9\xa1\n", 8, 1, "a length in plain decimal digits", "'\u0661'"),
        (b"$meta 1 1\nxy\nz\n", 11, 2, "that '$meta' announced as its first payload", "'y\\nz\\n'"),
        (b"$meta 1 1\nx\nyz\n", 13, 3, "as its second payload", "'z\\n'"),
    ],
)  # fmt: skip
def test_a_damaged_record_is_refused_at_its_place(data, offset, line, expected, found):
    with pytest.raises(DumpSyntaxError) as caught:
        scan(data)
    error = caught.value
    assert (error.offset, error.line) == (offset, line)
    assert expected in error.expected and found.rstrip("'") in error.found


@pytest.mark.parametrize(
    ("data", "offset", "expected"),
    [
        (b"kdbOpen 2\n$en", 10, "a line feed behind the command"),
        (b"$meta 1 5\nx\nab", 14, "4 more bytes of the record '$meta 1 5'"),
        (b"$meta 1 5\n", 10, "8 more bytes of the record '$meta 1 5'"),
    ],
)
def test_an_end_inside_a_record_says_what_is_missing(data, offset, expected):
    scanner = Scanner()
    scanner.feed(data)
    list(scanner.records())
    with pytest.raises(TruncatedDump) as caught:
        scanner.close()
    assert caught.value.offset == offset and caught.value.expected == expected


def test_many_different_commands_do_not_fill_the_memory():
    scanner = Scanner()
    for length in range(5000):
        scanner.feed(b"$meta 0 %d\n\n%b\n" % (length, b"x" * length))
        assert len(list(scanner.records())) == 1
    assert len(scanner._commands) <= 4096


def test_a_command_is_never_longer_than_a_line_may_be():
    with pytest.raises(DumpSyntaxError):
        scan(b"$meta " + b"0" * 100)
    with pytest.raises(LimitExceeded):
        scan(b"$key binary 9999999999999999999 9999999999999999999\n")


def test_limits_say_what_they_are():
    assert repr(Limits(message=1, name=2, value=3, keys=4)) == "Limits(message=1, name=2, value=3, keys=4)"


def test_every_kind_has_a_name_for_messages():
    assert list(COMMANDS) == [HEADER, STRING, BINARY, META, COPYMETA, END]


class CountingScanner(Scanner):
    """Counts the bytes that are put together anew, and those in which line feeds are counted."""

    moved = 0

    def _advance(self, buffer: bytes) -> None:
        self.moved += len(buffer) + self._position
        super()._advance(buffer)


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
@pytest.mark.parametrize(
    ("data", "factor"),
    [
        pytest.param(b"$key binary 1 30000\n/\n" + b"x" * 30_000 + b"\n$end\n", 3, id="a-long-value"),
        pytest.param(b"$key binary 1 30000\n/\n" + b"\n" * 30_000 + b"\n$end\n", 3, id="many-line-feeds"),
        # Byte by byte a command line is put together for each of its bytes; it has 64 at most.
        pytest.param(b"$key string 1 1\n/\nx\n" * 1000 + b"$end\n", 40, id="many-records"),
    ],
)
def test_work_is_linear_however_small_the_pieces(data, factor, size):
    scanner = CountingScanner()
    for at in range(0, len(data), size):
        scanner.feed(data[at : at + size])
        list(scanner.records())
    assert scanner.eof
    assert scanner.moved <= factor * len(data)
