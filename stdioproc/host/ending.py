"""The end of a child: asked, then told, then made to; every wait has a bound and every child is reaped."""

from __future__ import annotations

import os
import signal

from stdioproc.connection import Connection
from stdioproc.dialects import PROCESS
from stdioproc.errors import ProtocolError
from stdioproc.events import Terminate
from stdioproc.host.pump import Deadline, Pump
from stdioproc.host.sigpipe import sigpipe_blocked

#: Seconds that a child of the released dialect has between TERMINATE and SIGTERM; released hosts give it none, and
#: its Java child never understands TERMINATE and spins when its stdin ends (facts 7.4, 7.5).
PROCESS_GRACE = 0.1
#: Seconds between SIGTERM and SIGKILL for a child that broke the rules or a deadline: its host waits no longer.
HURRY = 0.2
#: Seconds for the system to deliver SIGKILL. What is not dead then hangs in the kernel, and its parent cannot help it.
KILL_WAIT = 5.0

#: What a signal says of a limit, to those who set one.
_MEANINGS: dict[int, str] = {
    signal.SIGXCPU: " (its processor time is used up: limit/cpu)",
    signal.SIGXFSZ: " (a file would have become larger than it may)",
}


class Ending:
    """How a child ended.

    `rung` says what it took: "TERMINATE" (it ended when asked), "SIGTERM", "SIGKILL", or "itself" when it had ended before.
    `status` is the exit status, or minus the signal, or None when the system did not tell. `elapsed` is in seconds.
    """

    __slots__ = ("elapsed", "rung", "status")

    def __init__(self, rung: str, status: int | None, elapsed: float) -> None:
        self.rung = rung
        self.status = status
        self.elapsed = elapsed

    def __str__(self) -> str:
        if self.status is None:
            return "an unknown status"
        if self.status >= 0:
            return f"exit status {self.status}"
        try:
            name = signal.Signals(-self.status).name
        except ValueError:
            name = f"signal {-self.status}"
        return f"signal {name}{_MEANINGS.get(-self.status, '')}"

    def __repr__(self) -> str:
        return f"Ending({self.rung!r}, {self.status!r}, {self.elapsed:.3f})"


def end(pump: Pump, connection: Connection, timeout: float | None, *, at_once: bool = False) -> Ending:
    """End the child and reap it. `timeout` (seconds, None for no bound) is for each rung but the last; `at_once` begins with
    SIGTERM and hurries.

    TERMINATE and the end of stdin; SIGTERM to the process group; SIGKILL to the group. A child of the released dialect keeps
    its stdin until SIGTERM was sent.
    """
    clock = Deadline(None)
    try:
        rung = _make_it_end(pump, connection, timeout, at_once)
    except BaseException:
        # A callback that raises, or Ctrl-C: nobody will come back for this child.
        pump.quiet()
        pump.child.kill()
        pump.drain(Deadline(KILL_WAIT))
        pump.child.collect()
        raise
    return Ending(rung, pump.child.collect(), clock.elapsed)


def _make_it_end(pump: Pump, connection: Connection, timeout: float | None, at_once: bool) -> str:
    """Go as far up the ladder as it takes; the rung that did it."""
    child = pump.child
    if pump.exited:
        return "itself"
    if at_once:
        timeout = HURRY if timeout is None else min(HURRY, timeout)
    asked = not at_once and _say_terminate(pump, connection)
    released = connection.dialect is PROCESS
    if not released:
        child.close("stdin")
    if not asked:
        wait: float | None = 0.0  # it could not be asked, or did not deserve it
    elif released:
        wait = PROCESS_GRACE if timeout is None else min(PROCESS_GRACE, timeout)
    else:
        wait = timeout
    if pump.drain(Deadline(wait)):
        return "TERMINATE"
    child.terminate()
    child.close("stdin")
    if pump.drain(Deadline(timeout)):
        return "SIGTERM"
    child.kill()
    pump.drain(Deadline(KILL_WAIT))
    return "SIGKILL"


def _say_terminate(pump: Pump, connection: Connection) -> bool:
    """Whether the child was asked to end, in words that it can be expected to read."""
    try:
        data = connection.send(Terminate())
    except ProtocolError:
        return False
    try:
        with sigpipe_blocked():
            return os.write(pump.child.stdin, data) == len(data)
    except OSError:
        return True  # it closed its stdin: it may be ending already
