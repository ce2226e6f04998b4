"""The table: every (role, state, event) is in it, or is an error that changes nothing (local) or ends it (remote)."""

from __future__ import annotations

import pytest

from dumpfmt import Key, KeySet
from stdioproc import wire
from stdioproc.connection import Connection
from stdioproc.contract import Infos, make_contract
from stdioproc.dialects import OPERATIONS, STDIOPROC
from stdioproc.errors import LocalProtocolError, RemoteProtocolError
from stdioproc.events import Ack, EndOfStream, Event, Init, Reply, Request, Status, Terminate
from stdioproc.state import TRANSITIONS, Role, Signal, State, allowed, mermaid, sender
from stdioproc.testing import next_events

PARENT = Key("user:/p")


def event_of(signal: Signal) -> Event:
    if signal is Signal.INIT:
        return Init(STDIOPROC)
    if signal is Signal.ACK:
        return Ack("x", make_contract(Infos(), frozenset(OPERATIONS), STDIOPROC))
    if signal is Signal.ACK_WITHOUT_OPEN:
        return Ack("x", make_contract(Infos(), frozenset(OPERATIONS) - {"open"}, STDIOPROC))
    if signal is Signal.REPLY:
        return Reply(Status.SUCCESS, PARENT, KeySet())
    if signal is Signal.REPLY_ERROR:
        return Reply(Status.ERROR, PARENT, KeySet())
    if signal is Signal.TERMINATE:
        return Terminate()
    if signal in (Signal.HOST_EOF, Signal.CHILD_EOF):
        return EndOfStream()
    return Request(signal.value, PARENT, KeySet())


def paths() -> dict[State, list[Signal]]:
    """A shortest way from IDLE to every state but FAILED."""
    found: dict[State, list[Signal]] = {State.IDLE: []}
    todo = [State.IDLE]
    while todo:
        state = todo.pop(0)
        for (at, signal), target in TRANSITIONS.items():
            if at is state and target not in found:
                found[target] = [*found[state], signal]
                todo.append(target)
    return found


PATHS = paths()


def go(role: Role, path: list[Signal]) -> Connection:
    connection = Connection(role)
    if path == PATHS[State.CLOSED]:  # its own end, so that the peer may still speak
        path = [Signal.HOST_EOF if role is Role.HOST else Signal.CHILD_EOF]
    for signal in path:
        do(connection, signal)
    return connection


def do(connection: Connection, signal: Signal) -> bytes:
    """Let it happen: sent when it is this side's, received when it is the peer's. What was written."""
    event = event_of(signal)
    if sender(signal) is connection.role:
        return connection.send(event)
    if isinstance(event, EndOfStream):
        connection.receive_eof()
    else:
        connection.receive_data(wire.encode(event, STDIOPROC))
    next_events(connection)
    return b""


def test_every_state_can_be_reached() -> None:
    assert set(PATHS) == set(State) - {State.FAILED}


@pytest.mark.parametrize("signal", Signal, ids=lambda signal: signal.name)
@pytest.mark.parametrize("state", PATHS, ids=lambda state: state.name)
@pytest.mark.parametrize("role", Role, ids=lambda role: role.value)
def test_a_triple_is_in_the_table_or_an_error_of_whoever_sent_it(role: Role, state: State, signal: Signal) -> None:
    connection = go(role, PATHS[state])
    assert connection.state is state
    target = TRANSITIONS.get((state, signal))
    request = connection.request
    if target is not None:
        do(connection, signal)
        assert connection.state is target
    elif sender(signal) is role:
        with pytest.raises(LocalProtocolError):
            connection.send(event_of(signal))
        assert connection.state is state
        assert connection.request is request
        for possible in allowed(state):  # and everything that was possible is possible still
            if sender(possible) is role:
                assert do(connection, possible) or isinstance(event_of(possible), EndOfStream)
                break
    else:
        with pytest.raises(RemoteProtocolError) as caught:
            do(connection, signal)
        assert connection.state is State.FAILED
        for attempt in (
            connection.next_event,
            connection.receive_eof,
            lambda: connection.receive_data(b"x"),
            lambda: connection.send(Terminate()),
        ):
            with pytest.raises(RemoteProtocolError) as again:
                attempt()
            assert again.value is caught.value


@pytest.mark.parametrize("signal", Signal, ids=lambda signal: signal.name)
def test_nobody_can_send_what_is_the_other_sides(signal: Signal) -> None:
    other = Role.HOST if sender(signal) is Role.CHILD else Role.CHILD
    if isinstance(event_of(signal), EndOfStream):
        return  # one object, and whose end it is depends on who sends it
    for state, path in PATHS.items():
        connection = go(other, path)
        with pytest.raises(LocalProtocolError, match=f"a {other.value} cannot send"):
            connection.send(event_of(signal))
        assert connection.state is state


def test_open_comes_once_and_close_last() -> None:
    assert TRANSITIONS[State.BUSY_OPEN, Signal.REPLY] is State.OPENED
    assert (State.OPENED, Signal.OPEN) not in TRANSITIONS
    assert allowed(State.ENDING) == [Signal.TERMINATE, Signal.HOST_EOF, Signal.CHILD_EOF]


def test_no_answer_can_be_skipped() -> None:
    """While an operation runs nothing but its answer is possible; the end of a stream is an error."""
    for state in (State.BUSY, State.BUSY_OPEN, State.BUSY_CHECKCONF, State.BUSY_CLOSE):
        assert set(allowed(state)) == {Signal.REPLY, Signal.REPLY_ERROR}


def test_the_diagram_shows_every_state_and_every_word() -> None:
    diagram = mermaid()
    for state in State:
        assert (state.name in diagram) is (state is not State.FAILED)
    for signal in Signal:
        assert (signal.value in diagram) is (signal not in (Signal.HOST_EOF, Signal.CHILD_EOF))
