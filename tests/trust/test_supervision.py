"""A child that crashes is started again, open is replayed, and nothing is done twice."""

from __future__ import annotations

import os
import queue
import random
import select
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from dumpfmt import Key, KeySet
from stdioproc.host import PluginDied, PluginOpenError, PluginProcess, PluginProcessError, Status
from stdioproc.host.process import BACK_OFF, MAX_RESTARTS

pytestmark = pytest.mark.usefixtures("nothing_left")


class Killer:
    """A thread that kills a process after a while."""

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[tuple[int, float] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            pidfd, delay = order
            time.sleep(delay)  # the moment is what is tried
            try:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            except ProcessLookupError:
                pass
            os.close(pidfd)
            self._done.put(None)

    def kill(self, pid: int, delay: float) -> None:
        self._orders.put((os.pidfd_open(pid), delay))

    def wait(self) -> None:
        self._done.get(timeout=20)

    def end(self) -> None:
        self._orders.put(None)
        self._thread.join()


@pytest.mark.parametrize("operations", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_killed_at_random_moments_every_operation_took_effect_once_or_reported_an_error(
    child: Callable[..., list[str]], tmp_path: Path, operations: int
) -> None:
    chance, killer, journal = random.Random(operations), Killer(), tmp_path / "journal"
    outcomes: dict[str, bool] = {}
    events: list[str] = []
    typical = 0.002
    lives = 0

    def make() -> PluginProcess:
        return PluginProcess(
            child("journal.py"),
            config=KeySet([Key("user:/config/journal", str(journal))]),
            protocol="stdioproc",
            start_timeout=30,
            on_event=lambda event, plugin: events.append(event),
        )

    plugin = make()
    try:
        for number in range(operations):
            if lives > 1:  # so that no back-off slows this down; it has a test of its own
                plugin.end()
                plugin, lives = make(), 0
            plugin.start()
            doomed = chance.random() < (0.3 if operations < 100 else 0.1)
            if doomed:
                assert plugin.pid is not None
                killer.kill(plugin.pid, chance.uniform(0, 2 * typical))
                lives += 1
            keyset = KeySet([Key("user:/id", str(number))])
            began = time.monotonic()
            try:
                status = plugin.set(keyset, Key("user:/p"))
            except PluginDied:
                outcomes[str(number)] = False
                assert [key.name for key in keyset] == ["user:/id"]
            else:
                assert status is Status.SUCCESS
                outcomes[str(number)] = True
                assert keyset["user:/done"].value == str(number)
                typical = (typical * 9 + time.monotonic() - began) / 10
            if doomed:
                killer.wait()
    finally:
        killer.end()
        plugin.end()
    lines = [line.split() for line in journal.read_text().splitlines()]
    effects = Counter(what for kind, _, what in lines if kind == "set")
    assert len(outcomes) == operations
    for number, succeeded in outcomes.items():
        assert effects[number] == 1 if succeeded else effects[number] <= 1
    assert sum(outcomes.values()) > operations // 2
    assert operations < 100 or not all(outcomes.values())
    # Each child was opened once, and before anything else was asked of it.
    seen: set[str] = set()
    for kind, pid, _ in lines:
        assert (kind == "open") is (pid not in seen)
        seen.add(pid)
    # Who listens hears of each life and each death.
    assert events == ["started", "ended"] * (len(events) // 2)
    assert len(events) // 2 >= len(seen)


def test_restarts_wait_ever_longer_and_then_stop(bad: Callable[..., list[str]]) -> None:
    started: list[float] = []

    def note(event: str, plugin: PluginProcess) -> None:
        if event == "started":
            started.append(time.monotonic())
            assert plugin.pid is not None
        else:
            assert plugin.pid is None and plugin.ending is not None and plugin.ending.status == 1

    plugin = PluginProcess(bad("get", "exit_1"), protocol="stdioproc", on_event=note)
    for _ in range(MAX_RESTARTS + 1):
        with pytest.raises(PluginDied):
            plugin.get(KeySet(), Key("user:/p"))
    with pytest.raises(PluginProcessError, match="it is left alone for a while"):
        plugin.get(KeySet(), Key("user:/p"))
    assert len(started) == MAX_RESTARTS + 1
    waits = [late - early for early, late in pairwise(started)]
    # They are counted from before the start, and this is told of it after.
    assert [wait > BACK_OFF * 2**number / 2 for number, wait in enumerate(waits[1:])] == [True] * (MAX_RESTARTS - 1)


def test_open_that_fails_when_it_is_replayed_is_the_answer(child: Callable[..., list[str]], tmp_path: Path) -> None:
    """The operation is not sent to a child that could not be opened."""
    journal = tmp_path / "directory" / "journal"
    journal.parent.mkdir()
    plugin = PluginProcess(child("journal.py"), config=KeySet([Key("user:/config/journal", str(journal))]))
    with plugin:
        assert plugin.pid is not None
        pidfd = os.pidfd_open(plugin.pid)
        journal.rename(tmp_path / "moved")
        journal.parent.rmdir()
        killer = Killer()
        killer.kill(plugin.pid, 0)
        killer.wait()
        killer.end()
        assert select.select([pidfd], [], [], 20)[0]
        os.close(pidfd)
        with pytest.raises(PluginOpenError, match="No such file or directory"):
            plugin.set(KeySet([Key("user:/id", "1")]), Key("user:/p"))
    assert "set" not in (tmp_path / "moved").read_text()


def test_nothing_is_said_to_a_child_that_ended_between_operations(tmp_path: Path) -> None:
    """So the next operation can be given to another, without an error and without doing anything twice."""
    asked = tmp_path / "asked"
    code = (
        "import os, sys\n"
        "def hear():\n"
        "    data = os.read(0, 65536)\n"
        "    open(sys.argv[1], 'ab').write(b'%d ' % os.getpid() + data.split(b'\\n')[0] + b'\\n')\n"
        "hear()\n"
        "os.write(1, b'ELEKTRA_STDIOPROC ACK v1\\nx\\nkdbOpen 2\\n$key string 11 1\\nexports/get\\n1\\n$end\\n')\n"
        "hear()\n"
        "os.write(1, b'success\\nkdbOpen 2\\n$key string 7 0\\nuser:/p\\n\\n$end\\nkdbOpen 2\\n$end\\n')\n"
    )
    plugin = PluginProcess([sys.executable, "-I", "-S", "-c", code, str(asked)], protocol="stdioproc")
    for _ in range(3):
        assert plugin.get(KeySet(), Key("user:/p")) is Status.SUCCESS
        assert plugin.pid is not None
        try:
            pidfd = os.pidfd_open(plugin.pid)
        except ProcessLookupError:
            continue  # it has ended already
        assert select.select([pidfd], [], [], 20)[0]
        os.close(pidfd)
    plugin.end()
    words = [line.split() for line in asked.read_text().splitlines()]
    assert [word for _, word, *_ in words] == ["ELEKTRA_STDIOPROC", "get"] * 3
    assert len({pid for pid, *_ in words}) == 3
