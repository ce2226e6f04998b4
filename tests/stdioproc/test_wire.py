"""Events as bytes: each case whole, byte by byte and with trailing bytes, in both dialects, with both parsers."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dumpfmt import Key, KeySet, Limits
from dumpfmt.testing import chunkings
from stdioproc import wire
from stdioproc.contract import Infos, make_contract
from stdioproc.dialects import DIALECTS, PROCESS, STDIOPROC, Dialect
from stdioproc.errors import RemoteProtocolError
from stdioproc.events import Ack, Event, Init, Reply, Request, Status, Terminate
from stdioproc.testing import acks, dialects, replies, requests

PARENT = Key("user:/tests/p", "/file", {"m": "1"})
DATA = KeySet(
    [Key("user:/tests/p/a", "two\nlines"), Key("user:/tests/p/b", b"\0\n$end\n"), Key("user:/tests/p/c", None)]
)


def reader(source: wire.Input, event: Event, dialect: Dialect) -> wire.Reader:
    if isinstance(event, Init):
        return wire.read_init(source)
    if isinstance(event, Ack):
        return wire.read_ack(source, dialect)
    if isinstance(event, Reply):
        operation = "get" if event.data is not None else "close"
        return wire.read_reply(source, dialect, Request(operation, event.parent))
    return wire.read_request(source, dialect)


def run(generator: Generator[None, None, Event]) -> Event | None:
    """What is read, or None when the reader waits for more."""
    try:
        next(generator)
    except StopIteration as finished:
        found: Event = finished.value
        return found
    return None


def same(one: Event, two: Event | None) -> None:
    assert type(one) is type(two)
    for field in type(one).__slots__:
        assert getattr(one, field) == getattr(two, field)


def cases(dialect: Dialect) -> list[Event]:
    with_data = [Request(op, PARENT, DATA if op in dialect.requests_with_data else None) for op in dialect.operations]
    answers: list[Event] = [Reply(status, PARENT, DATA) for status in Status]
    if dialect is PROCESS:
        answers.append(Reply(Status.SUCCESS, PARENT, None))
    contract = make_contract(Infos(author="ä"), frozenset(dialect.operations), dialect)
    return [Init(dialect), Ack("Whitelist", contract), *with_data, *answers, Terminate()]


CASES = [(dialect, event) for dialect in DIALECTS.values() for event in cases(dialect)]


@pytest.mark.parametrize(("dialect", "event"), CASES, ids=lambda value: repr(value))
def test_three_ways(dialect: Dialect, event: Event, parser: str) -> None:
    data = wire.encode(event, dialect)
    source = wire.Input(parser)  # type: ignore[arg-type]
    source.feed(data)
    same(event, run(reader(source, event, dialect)))
    assert source.pending == b""

    source = wire.Input(parser)  # type: ignore[arg-type]
    reading = reader(source, event, dialect)
    for at in range(len(data)):
        assert run(reading) is None
        source.feed(data[at : at + 1])
    same(event, run(reading))

    source = wire.Input(parser)  # type: ignore[arg-type]
    source.feed(data + b"kdbOpen 2\ntrailing")
    same(event, run(reader(source, event, dialect)))
    assert source.pending == b"kdbOpen 2\ntrailing"


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_event_in_any_pieces(data: st.DataObject) -> None:
    dialect = data.draw(dialects())
    request = data.draw(requests(dialect))
    event = data.draw(st.one_of(acks(dialect), st.just(request), replies(dialect, request)))
    source = wire.Input()
    is_reply = isinstance(event, Reply)
    reading = wire.read_reply(source, dialect, request) if is_reply else reader(source, event, dialect)
    found = None
    for piece in data.draw(chunkings(wire.encode(event, dialect))):
        assert found is None or not piece
        source.feed(piece)
        if piece:
            found = run(reading)
    same(event, found)


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=200), st.sampled_from(["request", "ack", "reply", "init"]), dialects())
def test_arbitrary_bytes_are_read_refused_or_waited_for(junk: bytes, what: str, dialect: Dialect) -> None:
    source = wire.Input(line_limit=100)
    source.feed(junk)
    readers = {
        "init": wire.read_init(source),
        "ack": wire.read_ack(source, dialect),
        "request": wire.read_request(source, dialect),
        "reply": wire.read_reply(source, dialect, Request("get", PARENT)),
    }
    try:
        run(readers[what])
    except RemoteProtocolError as error:
        assert str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        (b"ELEKTRA_PROCESS INIT v2", "expected 'ELEKTRA_STDIOPROC INIT v1' or 'ELEKTRA_PROCESS INIT v1'"),
        (b"ELEKTRA_STDIOPROC INIT v1\r", "INIT v1\\\\r'"),
        (b"", "found ''"),
        (b"help", "this program is a plugin, to be started by its host"),
    ],
)
def test_another_first_line_is_refused_with_what_was_expected(word: bytes, hint: str) -> None:
    source = wire.Input()
    source.feed(word + b"\n")
    with pytest.raises(RemoteProtocolError, match=hint):
        run(wire.read_init(source))


def test_an_operation_of_the_other_dialect_is_refused_by_name() -> None:
    source = wire.Input()
    source.feed(b"commit\n")
    with pytest.raises(RemoteProtocolError, match="which the dialect process has not"):
        run(wire.read_request(source, PROCESS))


@pytest.mark.parametrize("name", [b"", b"a/b", b".", b"..", b"a\0b", b"\\"])
def test_a_name_that_is_no_single_part_of_a_key_name_is_refused(name: bytes) -> None:
    source = wire.Input()
    source.feed(STDIOPROC.ack.encode() + b"\n" + name + b"\nkdbOpen 2\n$end\n")
    with pytest.raises(RemoteProtocolError, match="the name of the module"):
        run(wire.read_ack(source, STDIOPROC))


@pytest.mark.parametrize("count", [0, 2])
def test_a_parent_keyset_of_another_size_is_refused(count: int, parser: str) -> None:
    source = wire.Input(parser)  # type: ignore[arg-type]
    keys = b"".join(b"$key string 7 0\nuser:/%d\n\n" % n for n in range(count))
    source.feed(b"success\nkdbOpen 2\n" + keys + b"$end\n")
    with pytest.raises(RemoteProtocolError, match=f"one of {count} keys"):
        run(wire.read_reply(source, STDIOPROC, Request("get", PARENT)))


def test_a_line_has_a_limit_that_is_an_argument() -> None:
    for size, fits in ((10, True), (11, False)):
        source = wire.Input(line_limit=10)
        source.feed(b"x" * size + b"\n")
        if fits:
            with pytest.raises(StopIteration):
                next(source.line("a line"))
        else:
            with pytest.raises(RemoteProtocolError, match="a line of more than 10 bytes"):
                next(source.line("a line"))


def test_limits_of_keysets_are_arguments(parser: str) -> None:
    source = wire.Input(parser, Limits(value=10))  # type: ignore[arg-type]
    source.feed(b"success\n" + wire.encode(Reply(Status.SUCCESS, Key("user:/p", "x" * 11), None), PROCESS)[8:])
    with pytest.raises(RemoteProtocolError, match="the limit 'value' allows 10"):
        run(wire.read_reply(source, PROCESS, Request("close", Key("user:/p"))))
