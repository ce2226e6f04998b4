"""One side of a conversation: who errs, what an error leaves, and that pieces make no difference."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dumpfmt import Key, KeySet
from dumpfmt.testing import chunkings, mutations
from stdioproc import wire
from stdioproc.connection import Connection
from stdioproc.contract import Infos, make_contract
from stdioproc.dialects import OPERATIONS, PROCESS, STDIOPROC, Dialect
from stdioproc.errors import LocalProtocolError, RemoteProtocolError
from stdioproc.events import Ack, EndOfStream, Event, Init, Reply, Request, Status, Terminate
from stdioproc.state import Role, State
from stdioproc.testing import (
    ConnectionPair,
    Expect,
    Write,
    dialects,
    dialogues,
    echo,
    next_events,
    play,
)

PARENT = Key("user:/p", "/file")
DATA = KeySet([Key("user:/p/a", "x\ny"), Key("user:/p/b", b"\0\1")])


@pytest.mark.parametrize("size", [1, 7, 10**9])
def test_a_whole_conversation_in_pieces_of_any_size(dialect: Dialect, parser: str, size: int) -> None:
    """Both ends, in the three ways: byte by byte, in pieces, and whole."""
    pair = ConnectionPair(parser)  # type: ignore[arg-type]

    def pass_on(role: Role, event: Event) -> Event:
        pair.send(role, event)
        other = Role.CHILD if role is Role.HOST else Role.HOST
        heard: list[Event] = []
        while not heard:
            heard = pair.deliver(other, size)
        assert not pair.on_the_way_to(other)
        return heard[0]

    pass_on(Role.HOST, Init(dialect))
    contract = make_contract(Infos(), frozenset(dialect.operations), dialect)
    ack = pass_on(Role.CHILD, Ack("x", contract))
    assert isinstance(ack, Ack)
    assert ack.contract == contract
    for operation in [op for op in dialect.operations if op != "close"] + ["close"]:
        data = DATA if operation in dialect.requests_with_data else None
        request = pass_on(Role.HOST, Request(operation, PARENT, data))
        assert isinstance(request, Request)
        assert (request.operation, request.parent, request.data) == (operation, PARENT, data)
        reply = pass_on(Role.CHILD, echo(request, dialect))
        assert isinstance(reply, Reply)
        assert reply.data == (DATA if operation in dialect.replies_with_data else None)
    assert isinstance(pass_on(Role.HOST, Terminate()), Terminate)
    assert (pair.host.state, pair.child.state) == (State.CLOSING, State.CLOSING)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_dialogue_cut_anywhere_gives_the_same_events(data: st.DataObject) -> None:
    pair = ConnectionPair(data.draw(st.sampled_from(["fast", "lark"])))
    for role, event in data.draw(dialogues(length=3)):
        other = Role.CHILD if role is Role.HOST else Role.HOST
        heard: list[Event] = []
        for piece in data.draw(chunkings(pair.send(role, event))):
            assert not heard or not piece
            heard += pair.deliver(other, len(piece))
        assert [repr(each) for each in heard] == [repr(event)]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_every_proper_prefix_waits_and_is_an_error_at_its_end(data: st.DataObject) -> None:
    dialect = data.draw(dialects())
    host = Connection(Role.HOST)
    host.send(Init(dialect))
    ack = wire.encode(Ack("x", make_contract(Infos(), frozenset(OPERATIONS), dialect)), dialect)
    at = data.draw(st.integers(0, len(ack) - 1))
    for piece in data.draw(chunkings(ack[:at])):
        host.receive_data(piece)
        assert host.next_event() is None
    host.receive_eof()
    with pytest.raises(RemoteProtocolError) as caught:
        host.next_event()
    assert caught.value.ended
    assert not str(caught.value).endswith(" ")
    assert host.state is State.FAILED


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_mutated_bytes_raise_nothing_but_the_remote_error(data: st.DataObject) -> None:
    dialect = data.draw(dialects())
    parser = data.draw(st.sampled_from(["fast", "lark"]))
    ack = Ack("x", make_contract(Infos(), frozenset(OPERATIONS), dialect))
    reply = Reply(Status.SUCCESS, PARENT, DATA)
    good = wire.encode(ack, dialect) + wire.encode(reply, dialect)
    host = Connection(Role.HOST, parser=parser)  # type: ignore[arg-type]
    host.send(Init(dialect))
    try:
        for piece in data.draw(chunkings(data.draw(mutations(st.just(good))))):
            host.receive_data(piece)
            for event in iter(host.next_event, None):
                if isinstance(event, Ack) and host.state is State.READY:
                    host.send(Request("open", PARENT, KeySet()))
                elif isinstance(event, Ack) and "get" in host.contract.operations:  # type: ignore[union-attr]
                    host.send(Request("get", PARENT, KeySet()))
        host.receive_eof()
        next_events(host)
    except RemoteProtocolError:
        assert host.state is State.FAILED


def started(operations: tuple[str, ...] = OPERATIONS, dialect: Dialect = STDIOPROC) -> ConnectionPair:
    pair = ConnectionPair()
    pair.shake_hands(dialect, operations)
    return pair


def test_an_operation_that_was_not_announced_is_a_local_error_of_the_host() -> None:
    pair = started(("get",))
    with pytest.raises(LocalProtocolError, match="pair does not announce the operation 'set'"):
        pair.host.send(Request("set", PARENT, DATA))
    assert pair.ask("get", DATA).data == DATA


def test_an_operation_that_was_not_announced_is_a_remote_error_for_the_child() -> None:
    pair = started(("get",))
    pair.child.receive_data(wire.encode(Request("set", PARENT, DATA), STDIOPROC))
    with pytest.raises(RemoteProtocolError, match="the host asked for set, which the contract does not announce"):
        pair.child.next_event()


def test_an_unknown_operation_is_a_local_error() -> None:
    with pytest.raises(LocalProtocolError, match="no operation 'rename'"):
        started().host.send(Request("rename", PARENT, DATA))
    with pytest.raises(LocalProtocolError, match="commit"):
        started(dialect=PROCESS, operations=("get",)).host.send(Request("commit", PARENT, DATA))


def test_a_reply_that_does_not_fit_its_request_is_a_local_error() -> None:
    pair = started(("get",))
    pair.send(Role.HOST, Request("get", PARENT, DATA))
    pair.deliver(Role.CHILD)
    with pytest.raises(LocalProtocolError, match="must name the parent user:/p"):
        pair.child.send(Reply(Status.SUCCESS, Key("user:/q"), DATA))
    with pytest.raises(LocalProtocolError, match="has a data keyset"):
        pair.child.send(Reply(Status.SUCCESS, PARENT, None))
    assert pair.child.state is State.BUSY
    pair.send(Role.CHILD, Reply(Status.SUCCESS, PARENT, DATA))


@pytest.mark.parametrize("name", ["", "a/b", "a\nb", "..", "\\"])
def test_a_child_cannot_announce_a_name_that_is_none(name: str) -> None:
    child = Connection(Role.CHILD)
    child.receive_data(wire.encode(Init(STDIOPROC), STDIOPROC))
    child.next_event()
    with pytest.raises(LocalProtocolError, match="name"):
        child.send(Ack(name, KeySet()))
    assert child.state is State.INIT_SENT


def test_a_child_answers_in_the_dialect_of_init(dialect: Dialect) -> None:
    child = Connection(Role.CHILD)
    child.receive_data(wire.encode(Init(dialect), dialect))
    assert isinstance(child.next_event(), Init)
    assert child.send(Ack("x", KeySet())).startswith(dialect.ack.encode() + b"\nx\n")


@pytest.mark.parametrize("noise", [b"\n", b"hello\n", b"s", b"kdbOpen 2\n$end\n"])
def test_what_a_child_says_without_being_asked_is_an_error_that_quotes_it(noise: bytes) -> None:
    pair = started()
    pair.host.receive_data(noise)
    with pytest.raises(RemoteProtocolError, match="expected nothing without a request") as caught:
        pair.host.next_event()
    assert not caught.value.ended
    assert caught.value.phase == State.READY.value


def test_a_request_before_the_answer_is_an_error() -> None:
    pair = started(("get",))
    pair.send(Role.HOST, Request("get", PARENT, DATA))
    pair.deliver(Role.CHILD)
    pair.child.receive_data(b"get\n")
    with pytest.raises(RemoteProtocolError, match="expected nothing before the answer"):
        pair.child.next_event()


def test_data_after_the_end_is_the_callers_error() -> None:
    child = Connection(Role.CHILD)
    child.receive_eof()
    assert isinstance(child.next_event(), EndOfStream)
    assert child.next_event() is None
    with pytest.raises(LocalProtocolError):
        child.receive_data(b"x")


def test_play_checks_a_connection_byte_for_byte(dialect: Dialect, parser: str) -> None:
    script = [
        Write(dialect.init.encode() + b"\n"),
        Expect(dialect.ack.encode() + b"\nx\nkdbOpen 2\n$end\n"),
        Write(dialect.terminate.encode() + b"\n"),
    ]
    for size in (0, 1):
        child = Connection(Role.CHILD, parser=parser)  # type: ignore[arg-type]
        events = play(script, child, lambda event: Ack("x", KeySet()) if isinstance(event, Init) else None, size)
        assert [type(event) for event in events] == [Init, Terminate]
