"""Much data, and little time: no deadlock, bounded memory, deadlines that hold."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable

import pytest

from dumpfmt import Key, KeySet, Limits
from stdioproc.host import PluginProcess, PluginProtocolError, PluginStartError, PluginTimeout, Status
from stdioproc.testing import Stopwatch

pytestmark = pytest.mark.usefixtures("nothing_left")

#: Answers byte by byte what it reads, while it reads: both pipes are full at once.
ECHO = r"""
import os, sys
def line():
    got = b""
    while not got.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            os._exit(0)
        got += byte
    return got
line()
os.write(1, b"ELEKTRA_STDIOPROC ACK v1\necho\nkdbOpen 2\n$key string 11 1\nexports/get\n1\n$end\n")
while True:
    if line().endswith(b"TERMINATE\n"):
        os._exit(0)
    os.write(1, b"success\n")
    tail, ends = b"", 0
    while ends < 2:
        data = os.read(0, int(sys.argv[1]))
        if not data:
            os._exit(0)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(1, rest):]
        tail += data
        ends += tail.count(b"\n$end\n")
        tail = tail[-5:] if not tail.endswith(b"\n$end\n") else b""
"""


def echo(size: int = 65536, **options: object) -> PluginProcess:
    argv = [sys.executable, "-I", "-S", "-c", ECHO, str(size)]
    return PluginProcess(argv, protocol="stdioproc", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("keys", [1, 3000])
def test_a_child_that_answers_while_it_reads(parser: str, keys: int) -> None:
    data = KeySet([Key(f"user:/p/k{n}", "v" * (3_000_000 // keys), {"m": "x"}) for n in range(keys)])
    with echo(operation_timeout=30, parser=parser) as plugin:
        for _ in range(2):
            keyset = data.copy()
            with Stopwatch(30):
                assert plugin.get(keyset, Key("user:/p")) is Status.SUCCESS
            assert keyset == data


@pytest.mark.slow
def test_64_mebibytes_both_ways_in_bounded_memory() -> None:
    size = 64 << 20
    value = bytes(range(256)) * (size // 256)
    with echo(1 << 20, operation_timeout=60) as plugin:
        keyset = KeySet([Key("user:/p/big", value)])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert plugin.get(keyset, Key("user:/p")) is Status.SUCCESS
        assert keyset["user:/p/big"].value == value
        # The message, what was read of the answer, its whole record, the value: a fixed number of copies.
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 6 * size // 1024


@pytest.mark.slow
def test_64_mebibytes_through_our_own_child(child: Callable[..., list[str]]) -> None:
    value = b"\0\n" * (32 << 20)
    with PluginProcess(child("recorder.py", "echo"), protocol="process") as plugin:
        keyset = KeySet([Key("user:/p/big", value)])
        assert plugin.get(keyset, Key("user:/p")) is Status.SUCCESS
        assert keyset["user:/p/big"].value == value


def test_an_endless_keyset_ends_at_the_limit(bad: Callable[..., list[str]]) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    plugin = PluginProcess(bad("get", "endless_keyset"), protocol="stdioproc", limits=Limits(message=20_000_000))
    with plugin, Stopwatch(20), pytest.raises(PluginProtocolError, match="the limit 'message' allows 20000000"):
        plugin.get(KeySet(), Key("user:/p"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000


@pytest.mark.parametrize("phase", ["handshake", "open", "get"])
@pytest.mark.parametrize("timeout", [0.2, 0.5])
def test_deadlines_hold(bad: Callable[..., list[str]], phase: str, timeout: float) -> None:
    plugin = PluginProcess(
        bad(phase, "stubborn"),
        protocol="stdioproc",
        start_timeout=timeout if phase == "handshake" else 10,
        operation_timeout=timeout if phase != "handshake" else 10,
        close_timeout=timeout,
    )
    plugin_ready = Stopwatch(timeout + 0.5)
    if phase != "handshake":
        plugin.start()
    if phase == "get":
        plugin.open()
    with plugin_ready, pytest.raises(PluginTimeout) as caught:
        plugin.get(KeySet(), Key("user:/p"))
    assert timeout <= caught.value.elapsed <= timeout + 0.25
    assert plugin.ending is not None
    assert plugin.ending.rung == "SIGKILL"


def test_a_deadline_of_zero_is_over_at_once(bad: Callable[..., list[str]]) -> None:
    with Stopwatch(1), pytest.raises((PluginTimeout, PluginStartError)):
        PluginProcess(bad("handshake", "silent"), start_timeout=0.0).start()
