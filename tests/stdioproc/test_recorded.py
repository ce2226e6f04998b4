"""Every byte between a real kdb and a child, replayed: against our child, and against our host."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dumpfmt import Decoder, Key, KeySet
from stdioproc import wire
from stdioproc.contract import Contract, Infos, make_contract
from stdioproc.dialects import PROCESS
from stdioproc.events import Ack, Request, Status
from stdioproc.host import PluginDied, PluginProcess
from stdioproc.testing import UNEXPECTED, Exit, Expect, Step, Write, run_against, scripted_child

VECTORS = Path(__file__).parent.parent / "vectors" / "kdb_process.jsonl"

Message = tuple[str, bytes]


def conversations() -> Iterator[tuple[str, str, list[Message]]]:
    for line in VECTORS.read_text().splitlines():
        record = json.loads(line)
        for number, child in enumerate(record["children"]):
            messages = [(each["from"], raw(each["bytes"])) for each in child if each["from"] in ("parent", "child")]
            yield f"{record['scenario']}-{number}", record["child_mode"], messages


def raw(content: str | dict[str, str]) -> bytes:
    return content.encode() if isinstance(content, str) else base64.b64decode(content["b64"])


CONVERSATIONS = list(conversations())
INFOS = Infos(
    author="rig",
    licence="BSD",
    description="records the wire",
    placements=("postgetstorage", "presetstorage"),
    status=("maintained",),
)
OURS = Ack("recorder", make_contract(INFOS, frozenset(PROCESS.operations), PROCESS))


def test_all_of_them_are_there() -> None:
    assert len(CONVERSATIONS) == 22


@pytest.mark.parametrize(("mode", "messages"), [c[1:] for c in CONVERSATIONS], ids=[c[0] for c in CONVERSATIONS])
def test_our_child_answers_as_the_recorded_one(
    child: Callable[..., list[str]], parser: str, mode: str, messages: list[Message]
) -> None:
    handshake = next(data for who, data in messages if who == "child")
    script: list[Step] = [
        Write(data) if who == "parent" else Expect(wire.encode(OURS, PROCESS) if data is handshake else data)
        for who, data in messages
    ]
    played = run_against(child("recorder.py", mode, parser), script)
    assert (played.status, played.output, played.stderr) == (0, b"", b"")


@pytest.mark.parametrize("messages", [c[2] for c in CONVERSATIONS], ids=[c[0] for c in CONVERSATIONS])
def test_the_handshake_means_the_same(messages: list[Message]) -> None:
    recorded = next(data for who, data in messages if who == "child")
    ack, name, contract = recorded.split(b"\n", 2)
    assert (ack.decode(), name) == (PROCESS.ack, b"recorder")
    theirs = Contract("recorder", read(contract)[0], PROCESS)
    ours = Contract(OURS.name, OURS.contract, PROCESS)
    assert theirs.operations == ours.operations
    assert {word: text for word, text in ours.infos.items() if word in theirs.infos} == theirs.infos


def read(data: bytes) -> tuple[KeySet, bytes]:
    decoder = Decoder()
    keyset = decoder.feed(data)
    assert keyset is not None
    return keyset, decoder.unused_data


def read_request(data: bytes) -> Request:
    operation, _, rest = data.partition(b"\n")
    parent, rest = read(rest)
    return Request(operation.decode(), parent[0], read(rest)[0] if rest else None)


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("messages", [c[2] for c in CONVERSATIONS], ids=[c[0] for c in CONVERSATIONS])
def test_our_host_asks_as_the_recorded_one(parser: str, messages: list[Message]) -> None:
    terminate = PROCESS.terminate.encode() + b"\n"
    spoken = [(who, data) for who, data in messages if data != terminate]
    script: list[Step] = [Expect(data) if who == "parent" else Write(data, size=7) for who, data in spoken]
    script += [Expect(terminate), Exit(0)]
    asked = [read_request(data) for who, data in spoken[2:] if who == "parent"]
    answered = [data for who, data in spoken[2:] if who == "child"]
    opened, *asked, closed = asked
    assert (opened.operation, closed.operation) == ("open", "close")

    plugin = PluginProcess(scripted_child(script), config=opened.data, protocol="process", parser=parser)  # type: ignore[arg-type]
    plugin.start()
    try:
        assert plugin.open(opened.parent) is status(answered[0])
        for request, answer in zip(asked, answered[1:-1], strict=True):
            before = request.data
            assert before is not None
            keyset, parent = before.copy(), request.parent.copy()
            assert getattr(plugin, request.operation)(keyset, parent) is status(answer)
            returned_parent, rest = read(answer.partition(b"\n")[2])
            assert parent == returned_parent[0]
            assert keyset == (read(rest)[0] if status(answer) is Status.SUCCESS else before)
    finally:
        plugin.end(closed.parent)
    assert repr(plugin.ending).startswith("Ending('TERMINATE', 0,"), plugin.stderr_tail


def status(answer: bytes) -> Status:
    return wire.RESULTS[answer.partition(b"\n")[0].decode()]


def test_a_host_that_says_something_else_is_told() -> None:
    """The replay is worth something: a script that expects another request fails."""
    [messages] = [c[2] for c in CONVERSATIONS if c[0] == "get-1"]
    script: list[Step] = [Expect(data) if who == "parent" else Write(data) for who, data in messages]
    plugin = PluginProcess(scripted_child(script), protocol="process")
    plugin.start()
    with pytest.raises(PluginDied, match=f"exit status {UNEXPECTED}") as caught:
        plugin.open(Key("user:/other"))
    assert b"at byte 28: expected" in caught.value.stderr
