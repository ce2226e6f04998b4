"""The tools of stdioproc.testing, and the state machine that they make."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from dumpfmt import KeySet
from stdioproc.dialects import STDIOPROC
from stdioproc.errors import RemoteProtocolError
from stdioproc.events import EndOfStream, Event, Init
from stdioproc.state import Role, State
from stdioproc.testing import (
    UNEXPECTED,
    Close,
    ConnectionPair,
    Exit,
    Expect,
    Hang,
    Stopwatch,
    TwoConnections,
    Write,
    dialogues,
    run_against,
    scripted_child,
)

TestTwoConnections = TwoConnections.TestCase
TestTwoConnections.settings = settings(
    max_examples=15, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


class ManyRuns(TwoConnections):
    """The same, for longer."""


TestManyRuns = pytest.mark.slow(ManyRuns.TestCase)
TestManyRuns.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_a_pair_delivers_in_pieces_and_then_its_end() -> None:
    pair = ConnectionPair()
    pair.send(Role.HOST, Init(STDIOPROC))
    assert pair.deliver(Role.CHILD, 5) == []
    [init] = pair.deliver(Role.CHILD)
    assert isinstance(init, Init)
    pair.cut(Role.HOST)
    with pytest.raises(RemoteProtocolError, match="the child ended before it answered"):
        pair.deliver(Role.HOST)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(dialogues())
def test_every_dialogue_that_the_strategy_draws_is_allowed(said: list[tuple[Role, Event]]) -> None:
    pair = ConnectionPair()
    for role, event in said:
        pair.send(role, event)
        other = Role.CHILD if role is Role.HOST else Role.HOST
        [heard] = pair.deliver(other)
        assert repr(heard) == repr(event)
        if getattr(event, "data", None) is not None:
            assert heard.data == event.data  # type: ignore[union-attr]
    pair.cut(Role.CHILD)
    [end] = pair.deliver(Role.CHILD)
    assert isinstance(end, EndOfStream)
    assert pair.child.state is State.CLOSED


def test_a_scripted_child_says_what_it_did_not_get() -> None:
    played = run_against(scripted_child([Expect(b"hello\n")]), [Write(b"hullo\n")])
    assert played.status == UNEXPECTED
    assert b"at byte 1" in played.stderr


def test_a_script_against_a_script() -> None:
    child = scripted_child([Expect(b"a\n"), Write(b"one\ntwo\n", size=3), Close("stdout"), Expect(None), Exit(7)])
    played = run_against(child, [Write(b"a\n"), Expect(b"one\n"), Expect(b"two\n")])
    assert (played.status, played.output) == (7, b"")


def test_a_host_of_a_silent_child_does_not_wait_for_ever() -> None:
    with Stopwatch(3), pytest.raises(AssertionError, match="nothing more in time"):
        run_against(scripted_child([Hang(stubborn=True)]), [Expect(b"x")], timeout=0.5)


def test_a_stopwatch_tells() -> None:
    with pytest.raises(AssertionError, match="more than"), Stopwatch(-1):
        pass


def test_ask_gives_back_what_the_child_got() -> None:
    pair = ConnectionPair()
    pair.shake_hands()
    assert pair.ask("open").data == KeySet()
