"""Talking to a child: writing and reading at once, with a deadline, its stderr drained all the while. No threads.

A message is never written whole before something is read, so neither side can block the other for good; what is kept
of stderr has a bound.
"""

from __future__ import annotations

import fcntl
import os
import select
import time
from collections.abc import Callable

from stdioproc.connection import Connection
from stdioproc.events import EndOfStream, Event
from stdioproc.host.sigpipe import sigpipe_blocked
from stdioproc.host.spawn import Child

#: Bytes of stderr that are kept for messages.
STDERR_TAIL = 4096
#: Seconds that a child which closed a pipe has for ending, so that its exit status can be told.
SETTLE = 0.2

# What a pipe holds at first, and what a pipe that carries more at a time is made to hold (pipe(7): the most that a user may).
_PIPE_SIZE = _READ_SIZE = 1 << 16
_PIPE_SIZE_MAX = 1 << 20
_READ_SIZE_MAX = 1 << 20


class Deadline:
    """A point in time that waits are bounded by; None for none."""

    __slots__ = ("_at", "started", "timeout")

    def __init__(self, timeout: float | None) -> None:
        self.started = time.monotonic()
        self.timeout = timeout
        self._at = None if timeout is None else self.started + timeout

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    def milliseconds(self) -> int | None:
        """What is left, rounded up, for poll(2); None without a bound."""
        if self._at is None:
            return None
        return max(0, int((self._at - time.monotonic()) * 1000) + 1)

    @property
    def passed(self) -> bool:
        return self._at is not None and time.monotonic() >= self._at


class DeadlinePassed(Exception):
    """Nothing complete came in time."""


class ChildGone(Exception):
    """The child ended, or closed a pipe that is needed; the message says which."""


class Pump:
    """The pipes of one child."""

    def __init__(
        self,
        child: Child,
        on_stderr: Callable[[bytes], None] | None = None,
        on_wire: Callable[[str, bytes], None] | None = None,
    ) -> None:
        self.child = child
        self.exited = False  # the process is over (and waits for being reaped)
        self.stderr_tail = b""
        self._on_stderr = on_stderr
        self._on_wire = on_wire
        self._read_size = _READ_SIZE
        self._enlarged = False
        self._poll = select.poll()
        self._poll.register(child.stdout, select.POLLIN)
        self._poll.register(child.stderr, select.POLLIN)
        self._poll.register(child.pidfd, select.POLLIN)

    def exchange(self, connection: Connection, data: bytes, deadline: Deadline) -> Event:
        """Write `data` and give the next event of `connection`, which is never EndOfStream.

        Raises RemoteProtocolError, DeadlinePassed, ChildGone.
        """
        with sigpipe_blocked():
            rest = memoryview(data)
            if len(data) > _PIPE_SIZE and not self._enlarged:
                self._enlarge()
            try:
                rest = self._write(connection, rest)
                answer: Event | None = None
                while True:
                    event = connection.next_event()
                    if isinstance(event, EndOfStream):
                        raise ChildGone("it closed its stdout")
                    answer = event or answer
                    # A child may answer early, but what it leaves of the question would stand before the next one.
                    if answer is not None and not rest:
                        return answer
                    if rest and self.exited:
                        raise ChildGone("it ended before it had read the question")
                    if deadline.passed:
                        raise DeadlinePassed
                    rest = self._step(connection, rest, deadline)
            finally:
                if rest:
                    self._unregister_stdin()

    def quiet(self) -> None:
        """Call nobody back any more."""
        self._on_stderr = self._on_wire = None

    def drain(self, deadline: Deadline) -> bool:
        """Throw away what the child writes until it has ended or the deadline passed; whether it has ended."""
        while not self.exited:
            if deadline.passed:
                return False
            for descriptor, _ in self._poll.poll(deadline.milliseconds()):
                if descriptor == self.child.pidfd:
                    self.exited = True
                elif descriptor == self.child.stderr:
                    self._read_stderr()
                elif descriptor == self.child.stdout and not self._read(descriptor):
                    self._hang_up("stdout")
        self._drain_stderr()
        return True

    def stray_output(self, connection: Connection) -> None:
        """Take what the child wrote without being asked; `connection` then refuses it. Raises ChildGone when it
        has ended.
        """
        for descriptor, _ in self._poll.poll(0):
            if descriptor == self.child.pidfd:
                self.exited = True
            elif descriptor == self.child.stderr:
                self._read_stderr()
            elif descriptor == self.child.stdout and not connection.ended:
                data = self._read(descriptor)
                if data:
                    connection.receive_data(data)
                elif data is not None:
                    self._settle(connection)
                    raise ChildGone("it closed its stdout")
        if self.exited:
            if not connection.ended:
                self._drain_stdout(connection)
            if connection.ended or not connection.pending:
                self._drain_stderr()
                raise ChildGone("it ended")

    def _step(self, connection: Connection, rest: memoryview, deadline: Deadline) -> memoryview:
        child = self.child
        if rest:
            self._poll.register(child.stdin, select.POLLOUT)
        for descriptor, _ in self._poll.poll(deadline.milliseconds()):
            if descriptor == child.stdout:
                data = self._read(descriptor)
                if data:
                    connection.receive_data(data)
                elif data is not None:
                    self._hang_up("stdout")
                    self._settle(connection)
                    connection.receive_eof()
            elif descriptor == child.stdin:
                rest = self._write(connection, rest)
                if not rest:
                    self._unregister_stdin()
            elif descriptor == child.stderr:
                self._read_stderr()
            elif descriptor == child.pidfd and not self.exited:
                # Not just anything else: a pipe may have been closed since the system listed it.
                self.exited = True
                self._poll.unregister(child.pidfd)
                # A descendant may hold the pipes open: what the child itself said is there already.
                self._drain_stdout(connection)
                self._drain_stderr()
                connection.receive_eof()
                if child.stdout >= 0:
                    self._hang_up("stdout")
        return rest

    def _write(self, connection: Connection, data: memoryview) -> memoryview:
        """Write what the pipe takes; what is left. Raises ChildGone when the child no longer reads."""
        while data:
            try:
                written = os.write(self.child.stdin, data)
            except BlockingIOError:
                break
            except BrokenPipeError:
                self._settle(connection)
                # What it wrote instead of reading may say why.
                connection.next_event()
                raise ChildGone(
                    "it ended before it answered" if self.exited else "it closed its stdin, so it cannot be asked"
                ) from None
            if self._on_wire is not None:
                self._on_wire("P>", bytes(data[:written]))
            data = data[written:]
        return data

    def _read(self, descriptor: int) -> bytes | None:
        """What is there; empty at the end, None when there is nothing yet."""
        try:
            data = os.read(descriptor, self._read_size)
        except BlockingIOError:
            return None
        if len(data) == self._read_size and self._read_size < _READ_SIZE_MAX:
            self._read_size *= 2
            if not self._enlarged:
                self._enlarge()
        if self._on_wire is not None and data and descriptor == self.child.stdout:
            self._on_wire("C>", data)
        return data

    def _enlarge(self) -> None:
        """Fewer turns for large messages. A user's pipes may be used up; then they stay as they are."""
        self._enlarged = True
        for descriptor in (self.child.stdin, self.child.stdout):
            try:
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_SIZE_MAX)
            except (OSError, ValueError):
                pass

    def _read_stderr(self) -> None:
        data = self._read(self.child.stderr)
        if data:
            self.stderr_tail = (self.stderr_tail + data)[-STDERR_TAIL:]
            if self._on_stderr is not None:
                self._on_stderr(data)
        elif data is not None:
            self._hang_up("stderr")

    def _drain_stdout(self, connection: Connection) -> bool:
        """Give the connection what a child that is dead left in the pipe; whether there was anything."""
        if self.child.stdout < 0:
            return False
        # No more than the pipe holds: a descendant may go on writing.
        room = before = fcntl.fcntl(self.child.stdout, fcntl.F_GETPIPE_SZ)
        while room > 0 and (data := self._read(self.child.stdout)):
            connection.receive_data(data)
            room -= len(data)
        return room < before

    def _drain_stderr(self) -> None:
        # A descendant that goes on writing must not keep us here: a pipe holds no more than this at a time.
        for _ in range(64):
            if self.child.stderr < 0:
                return
            before = self.stderr_tail
            self._read_stderr()
            if self.stderr_tail is before:
                return

    def _settle(self, connection: Connection) -> None:
        """A child that closed a pipe is mostly about to end: give it a moment, so that its exit status and its last words can
        be told.
        """
        deadline = Deadline(SETTLE)
        room = _READ_SIZE
        while not self.exited and not deadline.passed:
            for descriptor, _ in self._poll.poll(deadline.milliseconds()):
                if descriptor == self.child.pidfd:
                    self.exited = True
                elif descriptor == self.child.stderr:
                    self._read_stderr()
                elif descriptor == self.child.stdout:
                    data = self._read(descriptor)
                    if data == b"":
                        self._hang_up("stdout")
                    elif data and room > 0:
                        connection.receive_data(data)
                        room -= len(data)
        if self.exited and room > 0:
            self._drain_stdout(connection)
        self._drain_stderr()

    def _hang_up(self, name: str) -> None:
        self._poll.unregister(getattr(self.child, name))
        self.child.close(name)

    def _unregister_stdin(self) -> None:
        try:
            self._poll.unregister(self.child.stdin)
        except (KeyError, ValueError):
            pass
