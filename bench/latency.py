"""What one small call costs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from bench import data
from bench.child_touch import Touch
from bench.measure import Case, Table, measure
from bench.options import Options
from bench.programs import bare_child, touch_child
from dumpfmt import Key, KeySet
from stdioproc.child.plugin import operations_of
from stdioproc.connection import Connection
from stdioproc.contract import Infos, make_contract
from stdioproc.dialects import STDIOPROC
from stdioproc.events import Ack, Init, Reply, Request, Status
from stdioproc.host import PluginProcess
from stdioproc.state import Role

#: Calls a sample: long enough for the clock, short enough for samples of both kinds to see the same machine.
_CALLS = 200


def run(options: Options) -> list[Table]:
    wire: dict[str, bytes] = {"P>": b"", "C>": b""}

    def on_wire(direction: str, piece: bytes) -> None:
        wire[direction] += piece

    parent = Key(data.PARENT)
    with PluginProcess(touch_child("none"), on_wire=on_wire) as watched:
        wire.update({"P>": b"", "C>": b""})
        watched.get(KeySet(), parent)
        request, reply = wire["P>"], wire["C>"]

    bare = bare_child(len(request), len(reply))
    host, child = _connected(Touch.infos, operations_of(Touch))

    def ping_pong() -> None:
        # As small as it gets: both messages fit a pipe, so each is one call.
        os.write(bare.to_child, request)
        os.read(bare.from_child, 65536)

    def without_pipe() -> None:
        child.receive_data(host.send(Request("get", parent.copy(), KeySet())))
        asked = child.next_event()
        assert isinstance(asked, Request)
        host.receive_data(child.send(Reply(Status.SUCCESS, asked.parent, asked.data)))
        assert host.next_event() is not None

    with PluginProcess(touch_child("none")) as process:

        def empty_get() -> None:
            process.get(KeySet(), parent)

        floor = "bare os.write and os.read of the same bytes"
        cases = [
            Case(floor, _per_call(ping_pong)),
            Case("empty get, PluginProcess to a Python child", _per_call(empty_get), floor, 2.0),
            Case("the messages of both sides, made and read without a pipe", _per_call(without_pipe), floor),
        ]
        table = Table(
            "latency", f"A small call: an empty get, {len(request)} bytes there and {len(reply)} back (one call)"
        )
        table.rows = measure(cases, options.batches)
    bare.close()
    return [table]


def _per_call(call: Callable[[], None]) -> Callable[[], float]:
    def sample() -> float:
        start = time.perf_counter()
        for _ in range(_CALLS):
            call()
        return (time.perf_counter() - start) / _CALLS

    return sample


def _connected(infos: Infos, operations: frozenset[str]) -> tuple[Connection, Connection]:
    """Both sides of a conversation behind its handshake, in this process."""
    host, child = Connection(Role.HOST), Connection(Role.CHILD)
    child.receive_data(host.send(Init(STDIOPROC)))
    child.next_event()
    host.receive_data(child.send(Ack("benchtouch", make_contract(infos, operations, STDIOPROC))))
    host.next_event()
    return host, child
