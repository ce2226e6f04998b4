"""One side of a conversation, without any I/O: bytes in, events out; events in, bytes out.

host = Connection(Role.HOST)
to_child = host.send(Init(STDIOPROC))
host.receive_data(from_child)
while (event := host.next_event()) is not None: ...
"""

from __future__ import annotations

from dumpfmt import DEFAULT_LIMITS, Limits
from dumpfmt.text import shown
from stdioproc import state, wire
from stdioproc.contract import Contract, check_module_name
from stdioproc.dialects import LINE_LIMIT, STDIOPROC, Dialect
from stdioproc.errors import LocalProtocolError, RemoteProtocolError
from stdioproc.events import Ack, EndOfStream, Event, Init, Reply, Request, Status, Terminate
from stdioproc.state import Role, Signal, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dumpfmt.decode import Parser

_BUSY = frozenset((State.BUSY, State.BUSY_OPEN, State.BUSY_CHECKCONF, State.BUSY_CLOSE))
_OVER = frozenset((State.CLOSED, State.FAILED))


class Connection:
    """The protocol of one child, seen by `role`.

    `send` gives the bytes of an event, `receive_data` takes what arrived, `next_event` gives the next whole message
    or None while bytes are missing, `receive_eof` says that no more will come. What this side may not do raises
    LocalProtocolError and changes nothing; what the peer may not do raises RemoteProtocolError, now and from every
    later call.
    """

    def __init__(
        self,
        role: Role,
        *,
        parser: Parser = "fast",
        limits: Limits = DEFAULT_LIMITS,
        line_limit: int = LINE_LIMIT,
    ) -> None:
        self.role = role
        self.state = State.IDLE
        self.dialect: Dialect = STDIOPROC
        self.contract: Contract | None = None
        self._input = wire.Input(parser, limits, line_limit)
        self._reader: wire.Reader | None = None
        self._request: Request | None = None
        self._eof = False
        self._error: RemoteProtocolError | None = None

    @property
    def request(self) -> Request | None:
        """The request that waits for its reply."""
        return self._request

    @property
    def ended(self) -> bool:
        """Whether `receive_eof` was called."""
        return self._eof

    @property
    def pending(self) -> bytes:
        """What arrived and is part of no message yet."""
        return self._input.pending

    @property
    def phase(self) -> str:
        """What is going on, for people: the running operation, or the state."""
        return self._request.operation if self._request is not None else self.state.value

    @property
    def last_bytes(self) -> bytes:
        """The end of what arrived last, since this side said something."""
        return self._input.last

    def send(self, event: Event) -> bytes:
        """The bytes that say `event` to the peer; the connection takes them as sent.

        Raises LocalProtocolError when it is not this side's turn to say that.
        """
        if self._error is not None:
            raise self._error
        signal = self._signal(event)
        if state.sender(signal) is not self.role:
            raise LocalProtocolError(f"a {self.role.value} cannot send {event!r}")
        target = state.TRANSITIONS.get((self.state, signal))
        if target is None:
            raise LocalProtocolError(
                f"{signal.value} cannot be sent now ({self.phase}); possible: "
                + (", ".join(s.value for s in state.allowed(self.state) if state.sender(s) is self.role) or "nothing")
            )
        if isinstance(event, Init):
            self.dialect = event.dialect
        self._check_own(event)
        data = b"" if isinstance(event, EndOfStream) else wire.encode(event, self.dialect)
        if isinstance(event, Ack):
            self.contract = Contract(event.name, event.contract, self.dialect)
        self._input.last = b""
        self._enter(event, target)
        return data

    def receive_data(self, data: bytes) -> None:
        """Take bytes that arrived from the peer."""
        if self._error is not None:
            raise self._error
        if data and self._eof:
            raise LocalProtocolError("receive_data was called after receive_eof")
        self._input.feed(data)

    def receive_eof(self) -> None:
        """The peer closed its side."""
        if self._error is not None:
            raise self._error
        self._eof = True

    def next_event(self) -> Event | None:
        """The next message of the peer, EndOfStream once when it is over, or None while bytes are missing.

        Raises RemoteProtocolError.
        """
        if self._error is not None:
            raise self._error
        if self.state in _OVER:
            if self._input.pending:
                raise self._fail(f"expected nothing more, found {shown(self._input.pending)}")
            return None
        if self._reader is None:
            if not self._input.pending:
                return self._end() if self._eof else None
            self._reader = self._expect()
        try:
            next(self._reader)
        except StopIteration as finished:
            self._reader = None
            event: Event = finished.value
        except RemoteProtocolError as error:
            raise self._fail(error.reason) from error.__cause__
        else:
            if self._eof:
                raise self._fail(f"the {self._peer} ended {self._input.end()}", ended=True)
            return None
        self._received(event)
        return event

    def _expect(self) -> wire.Reader:
        """The reader for what the peer may send now."""
        if self.role is Role.CHILD:
            if self.state is State.IDLE:
                return wire.read_init(self._input)
            if self.state in _BUSY or self.state is State.INIT_SENT:
                raise self._fail(f"expected nothing before the answer, found {shown(self._input.pending)}")
            return wire.read_request(self._input, self.dialect)
        if self.state is State.INIT_SENT:
            return wire.read_ack(self._input, self.dialect)
        if self._request is not None:
            return wire.read_reply(self._input, self.dialect, self._request)
        raise self._fail(
            f"expected nothing without a request, found {shown(self._input.pending)}: "
            "a plugin's stdout belongs to the protocol, anything else goes to stderr"
        )

    def _received(self, event: Event) -> None:
        if isinstance(event, Init):
            self.dialect = event.dialect
        elif isinstance(event, Ack):
            self.contract = Contract(event.name, event.contract, self.dialect)
        signal = self._signal(event)
        target = state.TRANSITIONS.get((self.state, signal))
        if target is None:
            possible = ", ".join(s.value for s in state.allowed(self.state) if state.sender(s) is not self.role)
            raise self._fail(f"the {self._peer} sent {signal.value}; possible was {possible or 'nothing'}")
        if isinstance(event, Request) and self.contract is not None and event.operation not in self.contract.operations:
            raise self._fail(f"the host asked for {event.operation}, which the contract does not announce")
        self._enter(event, target)

    def _end(self) -> EndOfStream:
        signal = Signal.CHILD_EOF if self.role is Role.HOST else Signal.HOST_EOF
        target = state.TRANSITIONS.get((self.state, signal))
        if target is None:
            raise self._fail(
                f"the {self._peer} ended before it answered" if self.role is Role.HOST else "the host left",
                ended=True,
            )
        self.state = target
        return EndOfStream()

    def _enter(self, event: Event, target: State) -> None:
        self.state = target
        if isinstance(event, Request):
            self._request = event
        elif isinstance(event, Reply):
            self._request = None

    def _signal(self, event: Event) -> Signal:
        if isinstance(event, Request):
            if event.operation not in state.REQUESTS:
                raise LocalProtocolError(
                    f"there is no operation {event.operation!r}; known are {' '.join(state.REQUESTS)}"
                )
            return state.REQUESTS[event.operation]
        if isinstance(event, Reply):
            return Signal.REPLY_ERROR if event.status is Status.ERROR else Signal.REPLY
        if isinstance(event, Ack):
            try:
                check_module_name(event.name)
            except ValueError as error:
                raise LocalProtocolError(str(error)) from None
            contract = Contract(event.name, event.contract, self.dialect)
            return Signal.ACK if "open" in contract.operations else Signal.ACK_WITHOUT_OPEN
        if isinstance(event, Init):
            return Signal.INIT
        if isinstance(event, Terminate):
            return Signal.TERMINATE
        return Signal.HOST_EOF if self.role is Role.HOST else Signal.CHILD_EOF

    def _check_own(self, event: Event) -> None:
        """What the table does not know: operations that were not announced, and replies that do not fit their
        request.
        """
        if isinstance(event, Request):
            if event.operation not in self.dialect.operations:
                raise LocalProtocolError(f"the dialect {self.dialect.name} has no operation {event.operation!r}")
            if self.contract is not None and event.operation not in self.contract.operations:
                raise LocalProtocolError(f"{self.contract.name} does not announce the operation {event.operation!r}")
        elif isinstance(event, Reply) and self._request is not None:
            if event.parent.name != self._request.parent.name:
                raise LocalProtocolError(
                    f"the reply must name the parent {self._request.parent.name}, not {event.parent.name}"
                )
            if (event.data is not None) is not (self._request.operation in self.dialect.replies_with_data):
                raise LocalProtocolError(
                    f"a reply to {self._request.operation} has {'no' if event.data is not None else 'a'} data keyset "
                    f"in the dialect {self.dialect.name}"
                )

    @property
    def _peer(self) -> str:
        return "child" if self.role is Role.HOST else "host"

    def _fail(self, message: str, *, ended: bool = False) -> RemoteProtocolError:
        phase = self.phase
        self.state = State.FAILED
        self._reader = None
        self._error = RemoteProtocolError(message, phase, ended=ended)
        return self._error
