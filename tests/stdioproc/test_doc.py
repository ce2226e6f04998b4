"""docs/protocol.md: its diagram is the table, and its dialogues are what both sides say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dumpfmt import loads
from stdioproc.child.service import EX_HOST_GONE, EX_OK, EX_PLUGIN_UNFIT, EX_PROTOCOL, EX_USAGE
from stdioproc.connection import Connection
from stdioproc.dialects import DIALECTS, OPERATIONS, Dialect
from stdioproc.errors import CATEGORIES
from stdioproc.events import Event, Terminate
from stdioproc.host import pump
from stdioproc.host.ending import HURRY, PROCESS_GRACE
from stdioproc.host.process import CLOSE_TIMEOUT, MAX_RESTARTS, OPERATION_TIMEOUT, RESTART_WINDOW, START_TIMEOUT
from stdioproc.state import Role, State, mermaid
from stdioproc.testing import next_events
from stdioproc.wire import LINE_LIMIT, encode

DOCS = Path(__file__).parent.parent.parent / "docs"
DOC = (DOCS / "protocol.md").read_text()


def turns(dialect: Dialect) -> list[tuple[str, bytes]]:
    """Who says what, turn by turn."""
    found = re.search(rf"<!-- transcript: {dialect.name} -->\n```\n(.*?)```", DOC, re.S)
    assert found is not None
    joined: list[tuple[str, bytes]] = []
    for line in found[1].splitlines():
        who, data = line[0], line[3:].encode() + b"\n"
        assert line[:2] in ("P>", "C>")
        if joined and joined[-1][0] == who and data != dialect.terminate.encode() + b"\n":
            joined[-1] = (who, joined[-1][1] + data)
        else:
            joined.append((who, data))
    return joined


def one(events: list[Event]) -> Event:
    assert len(events) == 1
    return events[0]


@pytest.mark.parametrize("size", [1, 10**6])
def test_the_dialogues_are_what_both_sides_say(dialect: Dialect, parser: str, size: int) -> None:
    """Each turn is read by one side, and said again by the other: the same bytes."""
    host, child = (Connection(role, parser=parser) for role in Role)  # type: ignore[arg-type]
    for who, data in turns(dialect):
        speaker, hearer = (host, child) if who == "P" else (child, host)
        heard: list[Event] = []
        for start in range(0, len(data), size):
            assert not heard
            hearer.receive_data(data[start : start + size])
            heard = next_events(hearer)
        event = one(heard)
        assert encode(event, dialect) == data
        assert speaker.send(event) == data
    assert isinstance(event, Terminate)
    assert (host.state, child.state) == (State.CLOSING, State.CLOSING)


def test_the_dialogues_show_every_message(dialect: Dialect) -> None:
    said = b"".join(data for _, data in turns(dialect)).decode()
    for word in (
        dialect.init,
        dialect.ack,
        dialect.terminate,
        "success\n",
        "error\n",
        "open\n",
        "get\n",
        "set\n",
        "close\n",
    ):
        assert word in said


def test_the_example_of_a_keyset_is_one() -> None:
    found = re.search(r"```\n(kdbOpen 2\n.*?)```", DOC, re.S)
    assert found is not None
    assert [key.value for key in loads(found[1].encode())] == ["hello", b"xy"]


def test_the_diagram_is_the_table() -> None:
    assert f"```mermaid\n{mermaid()}```" in DOC


def test_the_tables_say_what_the_code_does() -> None:
    for dialect in DIALECTS.values():
        for word in (dialect.init, dialect.ack, dialect.terminate, dialect.root):
            assert f"`{word}`" in DOC
        assert f" {' '.join(dialect.operations)} |" in DOC
    for operation in OPERATIONS:
        assert re.search(rf"^\| .*\b{operation}\b", DOC, re.M)
    for category in CATEGORIES.values():
        assert f"| {category.number} | {category.description} |" in DOC
    writing = (DOCS / "writing-plugins.md").read_text()
    for status in (EX_OK, EX_USAGE, EX_HOST_GONE, EX_PROTOCOL, EX_PLUGIN_UNFIT):
        assert f"\n| {status} | " in writing
    assert f"| {START_TIMEOUT:g} s |" in DOC
    assert f"| {OPERATION_TIMEOUT:g} s |" in DOC
    assert f"| {CLOSE_TIMEOUT:g} s |" in DOC
    assert f"| {MAX_RESTARTS} in {RESTART_WINDOW:g} s |" in DOC
    assert f"at most {LINE_LIMIT} bytes" in DOC
    assert f"the last {pump.STDERR_TAIL // 1024} KiB" in DOC
    assert f"at most {PROCESS_GRACE:g} s" in DOC
    assert f"and {HURRY:g} s" in DOC
