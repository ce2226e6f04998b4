"""Tests of what is promised to whoever is at the other end: docs/trust.md."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest


def first_lines(source: int, count: int, seconds: float = 20.0) -> list[str]:
    """So many lines from a pipe, in bounded time."""
    data, end = b"", time.monotonic() + seconds
    while data.count(b"\n") < count:
        left = end - time.monotonic()
        if left <= 0 or not select.select([source], [], [], left)[0]:
            raise AssertionError(f"only {data!r} in {seconds} s")
        more = os.read(source, 65536)
        if not more:
            raise AssertionError(f"it ended after {data!r}")
        data += more
    return data.decode().splitlines()


class Watched:
    """Processes that are to end; `wait` says which did not."""

    def __init__(self) -> None:
        self._found: dict[int, int] = {}

    def add(self, pids: Iterable[int]) -> None:
        for pid in pids:
            try:
                self._found[pid] = os.pidfd_open(pid)
            except ProcessLookupError:
                continue  # gone already

    def wait(self, seconds: float) -> list[int]:
        """Wait until all have ended, or the time is over; those that live."""
        end = time.monotonic() + seconds
        living = dict(self._found)
        while living:
            left = end - time.monotonic()
            poll = select.poll()
            for descriptor in living.values():
                poll.register(descriptor, select.POLLIN)
            ended = {descriptor for descriptor, _ in poll.poll(max(0, left * 1000))}
            living = {pid: descriptor for pid, descriptor in living.items() if descriptor not in ended}
            if left <= 0:
                break
        return list(living)

    def close(self) -> None:
        """What a test that failed left behind must not stay."""
        for descriptor in self._found.values():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            os.close(descriptor)


@pytest.fixture
def watched() -> Iterator[Watched]:
    found = Watched()
    yield found
    found.close()


class Note:
    """A named pipe in which a child notes numbers of processes (tests/children/bad.py, clings)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        # As long as somebody writes, the pipe has no end.
        self._writer = os.open(path, os.O_WRONLY)

    def pids(self, count: int = 4) -> list[int]:
        return [int(line) for line in first_lines(self._reader, count)]

    def close(self) -> None:
        os.close(self._reader)
        os.close(self._writer)


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[Callable[[], Note]]:
    made: list[Note] = []

    def make() -> Note:
        made.append(Note(tmp_path / f"note{len(made)}"))
        return made[-1]

    yield make
    for note in made:
        note.close()


@pytest.fixture
def hosts() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start Python code as a process of its own, which is ended when the test is."""
    started: list[subprocess.Popen[bytes]] = []

    def start(code: str, *args: str, **options: object) -> subprocess.Popen[bytes]:
        started.append(
            subprocess.Popen(  # type: ignore[call-overload]
                [sys.executable, "-bb", "-W", "error", "-c", code, *args], stdout=subprocess.PIPE, **options
            )
        )
        return started[-1]

    yield start
    for host in started:
        host.kill()
        host.wait()
        assert host.stdout is not None
        host.stdout.close()


@pytest.fixture
def marked() -> Callable[[str], list[int]]:
    """The processes that have something in their environment: what a host gave to its child and all that came from it."""

    def find(token: str) -> list[int]:
        found = []
        for name in os.listdir("/proc"):
            try:
                if name.isdigit() and token.encode() in Path(f"/proc/{name}/environ").read_bytes():
                    found.append(int(name))
            except OSError:
                continue
        return found

    return find
