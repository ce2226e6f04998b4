"""One plugin in a child process, as a host sees it."""

from __future__ import annotations

import os
import time
from _warnings import warn  # of warnings, what can still be called when the interpreter ends
from collections.abc import Callable, Mapping, Sequence

from dumpfmt import DEFAULT_LIMITS, Key, KeySet, Limits
from stdioproc.connection import Connection
from stdioproc.contract import Contract
from stdioproc.dialects import DIALECTS, LINE_LIMIT, PHASE, STDIOPROC, Dialect
from stdioproc.errors import Interface, RemoteProtocolError, complete_error, get_error, merge_metadata
from stdioproc.events import Ack, Init, Reply, Request, Status
from stdioproc.host.ending import Ending, end
from stdioproc.host.errors import (
    PluginDied,
    PluginDisabled,
    PluginOpenError,
    PluginProcessError,
    PluginProtocolError,
    PluginRefused,
    PluginStartError,
    PluginTimeout,
)
from stdioproc.host.pump import ChildGone, Deadline, DeadlinePassed, Pump
from stdioproc.host.spawn import Child, explain, spawn
from stdioproc.host.timeouts import CLOSE_TIMEOUT, OPERATION_TIMEOUT, START_TIMEOUT
from stdioproc.host.trust import DEFAULT_TRUST, Trust, UntrustedProgram
from stdioproc.secrets import mask, mask_text, values_of
from stdioproc.state import Role, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from dumpfmt.decode import Parser

#: A child that fails is started again at the next operation, so many times in so many seconds.
MAX_RESTARTS = 5
RESTART_WINDOW = 60.0
#: Seconds from a start to the next but one; twice as long for each further restart.
BACK_OFF = 0.1
#: Exit statuses by which a program says that it was called wrongly or cannot work (sysexits.h: EX_USAGE, EX_CONFIG).
REFUSALS = (64, 78)


class PluginProcess:
    """A program that is an Elektra plugin, started and spoken to.

        with PluginProcess(["/usr/bin/pluginproc", "--load-plugin", "toml"]) as plugin:
            status = plugin.get(keyset, parent)

    `argv[0]` is an absolute path. The environment is exactly `env` and what `copyenv` names of the host's; empty by default.
    `config` are keys below `user:/config`, handed over with open. `protocol` is a dialect's name, or "auto": stdioproc first,
    and process when the child ends or answers something else. Timeouts are in seconds, None for no bound (0 is over at
    once, where a mountpoint's 0 means none): `start_timeout` for start and handshake with all attempts, `operation_timeout` for
    each operation, `close_timeout` for each step of the ending.
    `restart` says whether a child that failed is started again by the next operation (open included). `on_stderr` gets what the
    child writes to stderr, as it is read. `on_wire` gets "P>" and the bytes that were written to the child, or "C>" and those
    that were read from it, in the pieces in which the system took and gave them (all but TERMINATE); what it raises comes out
    of the operation.

    Entering the block starts the child and opens it; leaving it closes and ends the child, and never raises for how it ended.
    Operations change keyset and parent in place, and return a Status: ERROR with the reason in the parent's metadata. A child
    that does not do its part raises a PluginProcessError and leaves the keyset untouched. An operation that the child does not
    have is not sent: it answers NO_UPDATE.

    `on_event` is called with "started" and "ended" and this object, whose `pid` and `ending` then tell. `trust` says what is
    demanded of the program and what it is left (stdioproc.host.trust); by default one that others can replace is refused.
    `started` is a child of just these arguments that runs already and was told nothing (PluginConfig.spawn).

    An object is for one thread at a time. After a fork it is the parent's: in the forked process it starts a child of its own.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        config: KeySet | None = None,
        protocol: str = "auto",
        env: Mapping[str, str] | None = None,
        copyenv: Sequence[str] = (),
        start_timeout: float | None = START_TIMEOUT,
        operation_timeout: float | None = OPERATION_TIMEOUT,
        close_timeout: float | None = CLOSE_TIMEOUT,
        restart: bool = True,
        parser: Parser = "fast",
        limits: Limits = DEFAULT_LIMITS,
        line_limit: int = LINE_LIMIT,
        on_stderr: Callable[[bytes], None] | None = None,
        on_wire: Callable[[str, bytes], None] | None = None,
        on_event: Callable[[str, PluginProcess], None] | None = None,
        trust: Trust = DEFAULT_TRUST,
        started: Child | None = None,
    ) -> None:
        if isinstance(argv, str) or not argv or not os.path.isabs(argv[0]):
            raise ValueError(f"argv is a list that begins with the absolute path of a program, not {argv!r}")
        if protocol != "auto" and protocol not in DIALECTS:
            raise ValueError(f"protocol must be 'auto', {' or '.join(map(repr, DIALECTS))}, not {protocol!r}")
        self.argv = list(argv)
        self.program = argv[0]
        self._config = config if config is not None else KeySet()
        self._dialects = tuple(DIALECTS.values()) if protocol == "auto" else (DIALECTS[protocol],)
        self._env = dict(env or {})
        self._copyenv = tuple(copyenv)
        self._start_timeout = start_timeout
        self._operation_timeout = operation_timeout
        self._close_timeout = close_timeout
        self._restart = restart
        self._parser: Parser = parser
        self._limits = limits
        self._line_limit = line_limit
        self._on_stderr = on_stderr
        self._on_wire = on_wire
        self._on_event = on_event
        self._trust = trust
        self._started = started

        self.ending: Ending | None = None
        self._pump: Pump | None = None
        self._connection: Connection | None = None
        self._contract: Contract | None = None
        self._owner = 0  # the process whose child it is
        self._opened_with: Key | None = None
        self._starts: list[float] = []
        self._asked: Init | Request | None = None  # what was said last

    def __enter__(self) -> Self:
        self.start()
        try:
            self.open()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.end()

    def __del__(self) -> None:
        """Who drops it while its child runs has forgotten `end`: the child is ended, close is not sent, and a warning says so."""
        pump = getattr(self, "_pump", None)  # none at all where __init__ refused its arguments
        if pump is None:
            return
        if self._owner != os.getpid():
            self._forget()
            return
        self._on_event = None  # nobody is given an object that is about to vanish
        pump.quiet()
        told = f"{self.program} (process {pump.child.pid}) was still running when its PluginProcess was dropped; call end()"
        try:
            self._end(at_once=True)
        finally:
            warn(told, ResourceWarning, stacklevel=2, source=self)

    # --- what is known of the child

    @property
    def contract(self) -> Contract:
        """What the child announced: name, infos, operations. Starts the child when it never ran."""
        if self._contract is None:
            self.start()
        assert self._contract is not None
        return self._contract

    @property
    def operations(self) -> frozenset[str]:
        return self.contract.operations

    @property
    def name(self) -> str:
        """The name of the child's module."""
        return self.contract.name

    @property
    def dialect(self) -> str:
        """The name of the dialect that the child speaks; starts the child when it never ran."""
        return (self._dialects[0] if len(self._dialects) == 1 else self._running().dialect).name

    @property
    def pid(self) -> int | None:
        """The process id while the child runs."""
        return self._pump.child.pid if self._pump is not None else None

    @property
    def stderr_tail(self) -> bytes:
        """The end of what the running child wrote to stderr."""
        return self._pump.stderr_tail if self._pump is not None else b""

    # --- start and end

    def start(self) -> None:
        """Start the child and learn its contract, unless it runs. Raises PluginProcessError."""
        self._running()

    def open(self, parent: Key | None = None) -> Status:
        """Send open with the configuration, once; it is replayed when a child is started again.

        Answers SUCCESS when the child has no open. Raises PluginOpenError when the child answers `error`.
        """
        self._opened_with = parent if parent is not None else Key("/")
        return self._open(self._running())

    def end(self, parent: Key | None = None) -> None:
        """Send close if it is due, end the child and reap it. Does not raise for how it ended: `ending` tells.

        `parent` goes with close and gets its warnings; without one it is a copy of what went with open.
        """
        pump, connection = self._pump, self._connection
        if pump is None or connection is None:
            return
        if self._owner != os.getpid():
            self._forget()
            return
        self._starts = []  # it was not the child that failed
        try:
            if connection.state is State.OPENED and self._opened_with is not None and "close" in self.operations:
                told = parent if parent is not None else self._opened_with.copy()
                reply = self._exchange(
                    connection, Request("close", told.copy(), KeySet()), self._close_timeout, end_on_error=False
                )
                merge_metadata(told, reply.parent, failed=reply.status is Status.ERROR)
        except PluginProcessError:
            pass  # what is left of it is ended now
        finally:
            self._end()

    # --- operations

    def get(self, keyset: KeySet, parent: Key, *, phase: str | None = None) -> Status:
        return self._operate("get", keyset, parent, phase)

    def set(self, keyset: KeySet, parent: Key, *, phase: str | None = None) -> Status:
        return self._operate("set", keyset, parent, phase)

    def commit(self, keyset: KeySet, parent: Key, *, phase: str | None = None) -> Status:
        return self._operate("commit", keyset, parent, phase)

    def error(self, keyset: KeySet, parent: Key, *, phase: str | None = None) -> Status:
        return self._operate("error", keyset, parent, phase)

    def checkconf(self, config: KeySet, parent: Key) -> Status:
        """Ask the child about a whole plugin configuration; on SUCCESS only changes below `/config` are taken over."""
        connection = self._running()
        if "checkconf" not in self.operations:
            return Status.NO_UPDATE
        reply = self._ask(connection, "checkconf", config, parent, None)
        if reply.status is Status.SUCCESS and reply.data is not None:
            config.cut("/config")
            config.extend(reply.data.below("/config"))
        return reply.status

    def _operate(self, operation: str, keyset: KeySet, parent: Key, phase: str | None) -> Status:
        connection = self._running()
        if operation not in self.operations:
            return Status.NO_UPDATE
        self._open(connection)
        reply = self._ask(connection, operation, keyset, parent, phase)
        if reply.status is Status.SUCCESS and reply.data is not None:
            keyset.assign(reply.data)
        if reply.status is not Status.ERROR and operation in ("get", "set") and parent.value != reply.parent.value:
            parent.value = reply.parent.value
        return reply.status

    def _ask(self, connection: Connection, operation: str, data: KeySet, parent: Key, phase: str | None) -> Reply:
        if not isinstance(parent, Key):
            raise TypeError(f"the parent is a Key, not {type(parent).__name__}: Key('user:/app', path)")
        sent = parent.copy()
        if phase is not None and connection.dialect is STDIOPROC:
            sent.meta[PHASE] = phase
        reply = self._exchange(connection, Request(operation, sent, data), self._operation_timeout)
        if reply.parent._meta:
            reply.parent.meta.pop(PHASE, None)
        failed = reply.status is Status.ERROR
        merge_metadata(parent, reply.parent, failed=failed)
        if failed:
            complete_error(
                parent,
                Interface(
                    f"{self.program} answered 'error' to {operation} without saying why",
                    module=self.name,
                    file=self.program,
                ),
            )
        return reply

    # --- the child behind it

    def _running(self) -> Connection:
        """The connection to a child that is fit for the next operation; starts one where that is allowed."""
        if self._pump is not None and self._owner != os.getpid():
            self._forget()
        connection = self._connection
        if connection is not None and self._pump is not None:
            if connection.state is State.CLOSED:
                self._end()  # it answered, and ended
                return self._start_again()
            if connection.state not in (State.READY, State.OPENED):
                raise PluginStartError(self.program, "start", f"it can take no operation ({connection.state.value})")
            try:
                self._pump.stray_output(connection)
                connection.next_event()
                return connection
            except RemoteProtocolError as error:
                raise self._failed(PluginProtocolError, "between operations", error.reason, Deadline(None)) from error
            except ChildGone:
                self._end()  # it ended between two operations: nothing is lost, the next child takes over
        return self._start_again()

    def _start_again(self) -> Connection:
        if self._starts and not self._restart:
            raise PluginStartError(self.program, "start", f"it ended ({self.ending}) and may not be started again")
        return self._start()

    def _start(self) -> Connection:
        now = time.monotonic()
        self._starts = [start for start in self._starts if start > now - RESTART_WINDOW]
        if len(self._starts) > MAX_RESTARTS:
            raise PluginStartError(
                self.program,
                "start",
                f"it was started {len(self._starts)} times in {RESTART_WINDOW:.0f} s and failed each time (last: {self.ending}); "
                "it is left alone for a while",
            )
        if os.environ.get("STDIOPROC_DISABLE") == "1":
            raise PluginDisabled(self.program, "start", "STDIOPROC_DISABLE=1 is set, so no plugin is started")
        self._back_off(now)
        self._starts.append(time.monotonic())
        deadline = Deadline(self._start_timeout)
        refused: list[tuple[Dialect, PluginProcessError]] = []
        for dialect in self._dialects:
            try:
                return self._handshake(dialect, deadline)
            except (PluginDied, PluginProtocolError) as error:
                refused.append((dialect, error))
                if self.ending is not None and self.ending.rung == "itself" and self.ending.status in REFUSALS:
                    raise  # it said on stderr what is wrong, and would say it again in the other dialect
            except PluginTimeout as error:
                if not refused:
                    raise
                refused.append((dialect, error))
        if len(refused) == 1:
            raise refused[0][1]
        last = refused[-1][1]
        reasons = dict.fromkeys(error.reason for _, error in refused)
        tried = "; ".join(f"{dialect.name}: {error.reason}" for dialect, error in refused)
        tried = tried if len(reasons) > 1 else f"both times: {last.reason}"
        raise type(last)(
            self.program,
            "handshake",
            f"it speaks neither dialect of the protocol ({tried})",
            elapsed=deadline.elapsed,
            ending=last.ending,
            last_bytes=last.last_bytes,
            stderr=last.stderr,
        )

    def _back_off(self, now: float) -> None:
        """The first restart is at once; the others wait, ever longer, since the start before."""
        restarts = len(self._starts)
        if restarts > 1:
            time.sleep(max(0.0, self._starts[-1] + BACK_OFF * 2 ** (restarts - 2) - now))

    def _handshake(self, dialect: Dialect, deadline: Deadline) -> Connection:
        child, self._started = self._started or self._spawn(deadline), None
        self._pump = Pump(child, self._on_stderr, self._on_wire)
        self._owner = os.getpid()
        self.ending = None
        self._tell("started")
        connection = self._connection = Connection(
            Role.HOST, parser=self._parser, limits=self._limits, line_limit=self._line_limit
        )
        event = self._attempt(connection, Init(dialect), "handshake", deadline)
        assert isinstance(event, Ack) and connection.contract is not None
        self._contract = connection.contract
        self._dialects = (dialect,)
        return connection

    def _spawn(self, deadline: Deadline) -> Child:
        env = {name: value for name in self._copyenv if (value := os.environ.get(name)) is not None}
        try:
            return spawn(self.argv, env | self._env, deadline.milliseconds(), self._trust)
        except UntrustedProgram as error:
            raise PluginRefused(self.program, "start", str(error), elapsed=deadline.elapsed) from None
        except OSError as error:
            raise PluginStartError(
                self.program, "start", explain(self.program, error), elapsed=deadline.elapsed
            ) from error

    def _open(self, connection: Connection) -> Status:
        if connection.state is not State.READY:
            return Status.SUCCESS
        parent = (self._opened_with or Key("/")).copy()
        deadline = Deadline(self._operation_timeout)
        reply = self._attempt(connection, Request("open", parent.copy(), self._config), "open", deadline)
        assert isinstance(reply, Reply)
        if self._opened_with is None:
            self._opened_with = parent
        error = None
        if reply.status is Status.ERROR:
            complete_error(reply.parent, Interface("open answered 'error' without saying why", module=self.name))
            error = get_error(reply.parent)
            # It is raised, and so must not be left as a warning besides.
            for name in [name for name in reply.parent.meta if name == "error" or name.startswith("error/")]:
                del reply.parent.meta[name]
        merge_metadata(self._opened_with, reply.parent, failed=False)
        if error is not None:
            tail = self.stderr_tail
            self._end()
            raise PluginOpenError(self.program, error, elapsed=deadline.elapsed, stderr=tail)
        return reply.status

    def _exchange(
        self, connection: Connection, request: Request, timeout: float | None, *, end_on_error: bool = True
    ) -> Reply:
        reply = self._attempt(connection, request, request.operation, Deadline(timeout), end_on_error=end_on_error)
        assert isinstance(reply, Reply)
        return reply

    def _attempt(
        self,
        connection: Connection,
        event: Init | Request,
        phase: str,
        deadline: Deadline,
        *,
        end_on_error: bool = True,
    ) -> object:
        """Say something and give the answer; whatever goes wrong ends the child and is told with all that is known."""
        pump = self._pump
        assert pump is not None
        if connection.state is State.CLOSED:
            raise self._failed(PluginDied, phase, "it ended before it was asked", deadline, end_child=end_on_error)
        data = connection.send(event)
        self._asked = event
        try:
            answer = pump.exchange(connection, data, deadline)
            connection.next_event()  # a second answer is none
            return answer
        except RemoteProtocolError as error:
            kind: type[PluginProcessError] = PluginProtocolError
            reason = error.reason
            if error.ended:
                kind = PluginDied
                what = "ended" if pump.exited else "closed its stdout"
                if connection.last_bytes:
                    reason = f"it {what} in the middle of its answer: {reason}"
                else:
                    reason = f"it {what} before it answered"
            failed = self._failed(kind, phase, reason, deadline, end_child=end_on_error)
            # The cause quotes what was found; it must not say what the message keeps to itself.
            raise failed from (error if failed.reason == reason else None)
        except ChildGone as error:
            raise self._failed(PluginDied, phase, str(error), deadline, end_child=end_on_error) from None
        except DeadlinePassed:
            hint = ""
            if phase == "handshake" and len(self._dialects) > 1 and connection.dialect is self._dialects[0]:
                hint = "; a program that waits for the released protocol needs protocol=process"
            raise self._failed(
                PluginTimeout,
                phase,
                f"no complete answer within {deadline.timeout:g} s{hint}",
                deadline,
                end_child=end_on_error,
            ) from None
        except BaseException:
            # A callback that raised, or Ctrl-C: nobody knows how much of the message is written or read.
            if self._pump is not None:
                self._end(at_once=True)
            raise

    def _failed(
        self, kind: type[PluginProcessError], phase: str, reason: str, deadline: Deadline, *, end_child: bool = True
    ) -> PluginProcessError:
        connection, pump = self._connection, self._pump
        assert connection is not None and pump is not None
        elapsed, last_bytes = deadline.elapsed, connection.last_bytes
        exited = pump.exited
        if end_child:
            self._end(at_once=True)
        secrets = values_of(self._config, self._asked.data if isinstance(self._asked, Request) else None)
        return kind(
            self.program,
            phase,
            mask_text(reason, secrets),
            elapsed=elapsed,
            ending=str(self.ending) if exited and self.ending is not None else "",
            last_bytes=mask(last_bytes, secrets),
            stderr=mask(pump.stderr_tail, secrets),
        )

    def _end(self, *, at_once: bool = False) -> None:
        pump, connection = self._pump, self._connection
        assert pump is not None and connection is not None
        self._pump = self._connection = None
        self.ending = end(pump, connection, self._close_timeout, at_once=at_once)
        self._tell("ended")

    def _tell(self, event: str) -> None:
        if self._on_event is not None:
            self._on_event(event, self)

    def _forget(self) -> None:
        """After a fork the child is the other process's: neither told nor ended here."""
        if self._pump is not None:
            self._pump.child.abandon()
        self._pump = self._connection = None
        self._starts = []
