"""Who may say what when: one table for both roles.

An event has one sender, so a state needs no role: what the host may send in a state is what the child may receive in
it. A (state, event) that is not in the table is an error of whoever sent it. This file knows neither bytes nor keys.
"""

from __future__ import annotations

from enum import Enum


class Role(Enum):
    HOST = "host"
    CHILD = "child"


class State(Enum):
    """The value is what messages call the state."""

    __hash__ = object.__hash__  # as Enum's own, but not in Python: every message looks into the table below

    IDLE = "before INIT"
    INIT_SENT = "waiting for ACK and contract"
    READY = "before open"
    BUSY_OPEN = "open is running"
    BUSY_CHECKCONF = "checkconf is running"
    OPENED = "between operations"
    BUSY = "an operation is running"
    BUSY_CLOSE = "close is running"
    ENDING = "only TERMINATE is left"
    CLOSING = "TERMINATE was sent"
    CLOSED = "ended"
    FAILED = "failed"


class Signal(Enum):
    """What can happen. Sent by the host: INIT to TERMINATE and HOST_EOF; by the child: the others."""

    __hash__ = object.__hash__

    INIT = "INIT"
    OPEN = "open"
    GET = "get"
    SET = "set"
    COMMIT = "commit"
    ERROR = "error"
    CHECKCONF = "checkconf"
    CLOSE = "close"
    TERMINATE = "TERMINATE"
    HOST_EOF = "the end of the host's side"
    ACK = "ACK of a child that has open"
    ACK_WITHOUT_OPEN = "ACK of a child that has no open"
    REPLY = "the answer success or noupdate"
    REPLY_ERROR = "the answer error"
    CHILD_EOF = "the end of the child's side"


REQUESTS = {
    signal.value: signal
    for signal in (Signal.OPEN, Signal.GET, Signal.SET, Signal.COMMIT, Signal.ERROR, Signal.CHECKCONF, Signal.CLOSE)
}

SENT_BY_CHILD = frozenset((Signal.ACK, Signal.ACK_WITHOUT_OPEN, Signal.REPLY, Signal.REPLY_ERROR, Signal.CHILD_EOF))


def sender(signal: Signal) -> Role:
    return Role.CHILD if signal in SENT_BY_CHILD else Role.HOST


#: Everything that is allowed. Replies come in two kinds since an `error` of open leaves nothing but TERMINATE.
TRANSITIONS: dict[tuple[State, Signal], State] = {
    (State.IDLE, Signal.INIT): State.INIT_SENT,
    (State.INIT_SENT, Signal.ACK): State.READY,
    (State.INIT_SENT, Signal.ACK_WITHOUT_OPEN): State.OPENED,
    (State.READY, Signal.CHECKCONF): State.BUSY_CHECKCONF,
    (State.BUSY_CHECKCONF, Signal.REPLY): State.READY,
    (State.BUSY_CHECKCONF, Signal.REPLY_ERROR): State.READY,
    (State.READY, Signal.OPEN): State.BUSY_OPEN,
    (State.BUSY_OPEN, Signal.REPLY): State.OPENED,
    (State.BUSY_OPEN, Signal.REPLY_ERROR): State.ENDING,
    (State.OPENED, Signal.GET): State.BUSY,
    (State.OPENED, Signal.SET): State.BUSY,
    (State.OPENED, Signal.COMMIT): State.BUSY,
    (State.OPENED, Signal.ERROR): State.BUSY,
    (State.OPENED, Signal.CHECKCONF): State.BUSY,
    (State.BUSY, Signal.REPLY): State.OPENED,
    (State.BUSY, Signal.REPLY_ERROR): State.OPENED,
    (State.OPENED, Signal.CLOSE): State.BUSY_CLOSE,
    (State.BUSY_CLOSE, Signal.REPLY): State.ENDING,
    (State.BUSY_CLOSE, Signal.REPLY_ERROR): State.ENDING,
    (State.READY, Signal.TERMINATE): State.CLOSING,
    (State.OPENED, Signal.TERMINATE): State.CLOSING,
    (State.ENDING, Signal.TERMINATE): State.CLOSING,
    # The end of a stream between two messages is an end; inside one, or with an answer due, it is an error.
    (State.IDLE, Signal.HOST_EOF): State.CLOSED,
    (State.READY, Signal.HOST_EOF): State.CLOSED,
    (State.OPENED, Signal.HOST_EOF): State.CLOSED,
    (State.ENDING, Signal.HOST_EOF): State.CLOSED,
    (State.CLOSING, Signal.HOST_EOF): State.CLOSED,
    (State.CLOSED, Signal.HOST_EOF): State.CLOSED,
    (State.IDLE, Signal.CHILD_EOF): State.CLOSED,
    (State.READY, Signal.CHILD_EOF): State.CLOSED,
    (State.OPENED, Signal.CHILD_EOF): State.CLOSED,
    (State.ENDING, Signal.CHILD_EOF): State.CLOSED,
    (State.CLOSING, Signal.CHILD_EOF): State.CLOSED,
    (State.CLOSED, Signal.CHILD_EOF): State.CLOSED,
}


def allowed(state: State) -> list[Signal]:
    """What may happen in a state, in the order of the table."""
    return [signal for (at, signal) in TRANSITIONS if at is state]


def mermaid() -> str:
    """The table as a Mermaid state diagram; docs/protocol.md holds it, and a test holds it to this."""
    lines = ["stateDiagram-v2", "    [*] --> IDLE"]
    arrows: dict[tuple[State, State], list[str]] = {}
    for (state, signal), target in TRANSITIONS.items():
        if signal not in (Signal.HOST_EOF, Signal.CHILD_EOF):
            arrows.setdefault((state, target), []).append(signal.value)
    lines += [f"    {state.name} --> {target.name}: {', '.join(words)}" for (state, target), words in arrows.items()]
    ends = sorted(
        {state.name for state, signal in TRANSITIONS if signal is Signal.CHILD_EOF and state is not State.CLOSED}
    )
    lines += [f"    {name} --> CLOSED: end of a stream" for name in ends]
    lines += ["    CLOSED --> [*]"]
    return "\n".join(lines) + "\n"
