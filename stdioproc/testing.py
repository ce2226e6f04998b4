"""For tests of anything that speaks the protocol: two connections back to back, peers that follow a script, strategies
and a state machine for Hypothesis. Needs `pip install stdioproc[testing]`.

Three tools, from the inside out:

`ConnectionPair` wires a host's Connection to a child's through two byte queues that the test empties, in pieces of any
size, and cuts::

    pair = ConnectionPair()
    pair.send(Role.HOST, Init(STDIOPROC))
    assert pair.deliver(Role.CHILD, 5) == []            # five bytes are no message yet
    [init] = pair.deliver(Role.CHILD)

A *script* is what one peer writes and expects, byte for byte: a list of `Write`, `Expect`, `Close`, `Exit` and `Hang`. The same
script is played against a Connection (`play`), is a child for a real host (`scripted_child` gives its argv), or is the host
of a real child (`run_against`). What a scripted child expected and did not get is on its stderr, and its exit status is
`UNEXPECTED`.

`TwoConnections` is a Hypothesis state machine: run it with other rules by deriving from it, or as it is with
`TwoConnections.TestCase`.
"""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from types import TracebackType
from typing import TYPE_CHECKING, Self

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dumpfmt import Key, KeySet
from dumpfmt.testing import keys, keysets
from stdioproc import wire
from stdioproc.connection import Connection
from stdioproc.contract import Infos, check_module_name, make_contract
from stdioproc.dialects import DIALECTS, OPERATIONS, STDIOPROC, Dialect
from stdioproc.errors import ProtocolError, RemoteProtocolError
from stdioproc.events import Ack, EndOfStream, Event, Init, Reply, Request, Status, Terminate
from stdioproc.state import REQUESTS, TRANSITIONS, Role, Signal, State, allowed, sender

if TYPE_CHECKING:
    from dumpfmt.decode import Parser

__all__ = [
    "UNEXPECTED",
    "Close",
    "ConnectionPair",
    "Exit",
    "Expect",
    "Hang",
    "Played",
    "Step",
    "Stopwatch",
    "TwoConnections",
    "Write",
    "acks",
    "dialects",
    "dialogues",
    "events",
    "in_pieces",
    "next_events",
    "operation_sets",
    "play",
    "replies",
    "requests",
    "run_against",
    "scripted_child",
]

#: Exit status of a scripted child that got other bytes than its script expects.
UNEXPECTED = 97


# --- time


class Stopwatch:
    """`with Stopwatch(0.5): …` fails when the block takes longer than that many seconds; `elapsed` tells."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.elapsed = 0.0

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.elapsed = time.monotonic() - self._started
        if kind is None and self.elapsed > self.seconds:
            raise AssertionError(f"took {self.elapsed:.3f} s, which is more than {self.seconds:.3f} s")


# --- two connections


class ConnectionPair:
    """A host's and a child's Connection with a byte queue each way.

    `to_child` and `to_host` are what is on the way. A direction that was cut delivers what is on the way, then its end.
    """

    def __init__(self, parser: Parser = "fast") -> None:
        self.host = Connection(Role.HOST, parser=parser)
        self.child = Connection(Role.CHILD, parser=parser)
        self.to_child = bytearray()
        self.to_host = bytearray()
        self._cut: set[Role] = set()
        self._ended: set[Role] = set()

    def connection(self, role: Role) -> Connection:
        return self.host if role is Role.HOST else self.child

    def on_the_way_to(self, role: Role) -> bytearray:
        return self.to_host if role is Role.HOST else self.to_child

    def send(self, role: Role, event: Event) -> bytes:
        """Let `role` send; the bytes, which are on the way now (unless that direction was cut)."""
        data = self.connection(role).send(event)
        peer = _peer(role)
        if isinstance(event, EndOfStream):
            self._cut.add(peer)
        elif peer not in self._cut:
            self.on_the_way_to(peer).extend(data)
        return data

    def cut(self, toward: Role) -> None:
        """Nothing that is sent to `toward` from now on arrives; its end does."""
        self._cut.add(toward)

    def deliver(self, to: Role, count: int | None = None) -> list[Event]:
        """Hand over the next `count` bytes (all when None), and the end when the direction is cut and empty; what came of it.

        Raises RemoteProtocolError.
        """
        queue, connection = self.on_the_way_to(to), self.connection(to)
        data = bytes(queue[:count])
        del queue[:count]
        connection.receive_data(data)
        if not queue and to in self._cut and to not in self._ended:
            self._ended.add(to)
            connection.receive_eof()
        return next_events(connection)

    def shake_hands(self, dialect: Dialect = STDIOPROC, operations: Sequence[str] = OPERATIONS) -> None:
        """INIT and ACK of a child named `pair`."""
        self.send(Role.HOST, Init(dialect))
        self.deliver(Role.CHILD)
        self.send(Role.CHILD, Ack("pair", make_contract(Infos(), frozenset(operations), dialect)))
        self.deliver(Role.HOST)

    def ask(
        self, operation: str, data: KeySet | None = None, parent: Key | None = None, status: Status = Status.SUCCESS
    ) -> Reply:
        """One operation that the child answers with what it got."""
        self.send(Role.HOST, Request(operation, parent or Key("user:/pair"), data or KeySet()))
        [request] = self.deliver(Role.CHILD)
        assert isinstance(request, Request)
        self.send(Role.CHILD, echo(request, self.child.dialect, status))
        [reply] = self.deliver(Role.HOST)
        assert isinstance(reply, Reply)
        return reply


def next_events(connection: Connection) -> list[Event]:
    """All events that are complete."""
    found: list[Event] = []
    while (event := connection.next_event()) is not None:
        found.append(event)
    return found


def in_pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def echo(request: Request, dialect: Dialect, status: Status = Status.SUCCESS) -> Reply:
    """The answer of a child that gives back what it got, in the keysets that the dialect wants."""
    with_data = request.operation in dialect.replies_with_data
    return Reply(status, request.parent, (request.data or KeySet()) if with_data else None)


def _peer(role: Role) -> Role:
    return Role.CHILD if role is Role.HOST else Role.HOST


# --- scripts


class Write:
    """The peer writes these bytes, in pieces of `size` with `pause` seconds behind each when given."""

    __slots__ = ("data", "pause", "size")

    def __init__(self, data: bytes, size: int = 0, pause: float = 0.0) -> None:
        self.data = data
        self.size = size
        self.pause = pause


class Expect:
    """Exactly these bytes come next; None: anything, up to the end of the stream."""

    __slots__ = ("data",)

    def __init__(self, data: bytes | None) -> None:
        self.data = data


class Close:
    """The peer closes "stdin", "stdout" or "stderr"."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Exit:
    """The peer ends with this status, or by the signal when it is negative."""

    __slots__ = ("status",)

    def __init__(self, status: int) -> None:
        self.status = status


class Hang:
    """The peer does nothing more; with `stubborn` SIGTERM does not end it either."""

    __slots__ = ("stubborn",)

    def __init__(self, stubborn: bool = False) -> None:
        self.stubborn = stubborn


Step = Write | Expect | Close | Exit | Hang


def play(
    script: Sequence[Step], connection: Connection, react: Callable[[Event], Event | None], size: int = 0
) -> list[Event]:
    """Play the peer of `connection`: its bytes go in whole, or in pieces of `size`; what `react` gives for an event is sent
    and is what the script can expect. Returns all events. Raises AssertionError when bytes differ, and RemoteProtocolError.
    """
    sent = bytearray()
    found: list[Event] = []

    def take() -> None:
        for event in next_events(connection):
            found.append(event)
            answer = react(event)
            if answer is not None:
                sent.extend(connection.send(answer))

    for step in script:
        if isinstance(step, Write):
            for piece in in_pieces(step.data, size or len(step.data) or 1):
                connection.receive_data(piece)
                take()
        elif isinstance(step, Expect):
            wanted = bytes(sent) if step.data is None else step.data
            assert bytes(sent[: len(wanted)]) == wanted
            del sent[: len(wanted)]
        elif isinstance(step, (Close, Exit)):
            connection.receive_eof()
            take()
    assert not sent, f"the script does not expect {bytes(sent)!r}"
    return found


# Runs in an interpreter of its own without site-packages: quick to start, and independent of what is tested.
_PLAYER = r"""
import base64, json, os, signal, sys, time
for do, *args in json.loads(sys.argv[1]):
    if do == "write":
        data, size, pause = base64.b64decode(args[0]), args[1], args[2]
        for at in range(0, len(data), size or len(data) or 1):
            rest = data[at : at + size] if size else data
            while rest:
                rest = rest[os.write(1, rest):]
            if pause:
                time.sleep(pause)
    elif do == "expect":
        if args[0] is None:
            while os.read(0, 65536):
                pass
            continue
        wanted, got = base64.b64decode(args[0]), b""
        while got != wanted and wanted.startswith(got) and (data := os.read(0, len(wanted) - len(got))):
            got += data
        if got != wanted:
            at = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b), min(len(got), len(wanted)))
            os.write(2, b"at byte %d: expected %r, got %r\n" % (at, wanted[at : at + 200], got[at : at + 200]))
            os._exit(97)
    elif do == "close":
        os.close({"stdin": 0, "stdout": 1, "stderr": 2}[args[0]])
    elif do == "exit":
        if args[0] < 0:
            os.kill(os.getpid(), -args[0])
        os._exit(args[0])
    elif do == "hang":
        if args[0]:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            signal.pause()
"""


def scripted_child(script: Sequence[Step]) -> list[str]:
    """The argv of a program that follows `script` on its stdin and stdout."""
    return [sys.executable, "-I", "-S", "-c", _PLAYER, json.dumps([_as_json(step) for step in script])]


def _as_json(step: Step) -> list[object]:
    if isinstance(step, Write):
        return ["write", base64.b64encode(step.data).decode("ascii"), step.size, step.pause]
    if isinstance(step, Expect):
        return ["expect", None if step.data is None else base64.b64encode(step.data).decode("ascii")]
    if isinstance(step, Close):
        return ["close", step.name]
    if isinstance(step, Exit):
        return ["exit", step.status]
    return ["hang", step.stubborn]


class Played:
    """How a real child took a script: exit `status` (minus the signal), its `stderr`, and `output` behind the last Expect."""

    __slots__ = ("output", "status", "stderr")

    def __init__(self, status: int, stderr: bytes, output: bytes) -> None:
        self.status = status
        self.stderr = stderr
        self.output = output

    def __repr__(self) -> str:
        return f"Played({self.status}, {self.stderr!r}, {self.output!r})"


def run_against(
    argv: Sequence[str], script: Sequence[Step], *, env: Mapping[str, str] | None = None, timeout: float = 20.0
) -> Played:
    """Be the host of a real child that follows `script`; at the end of the script its stdin is closed.

    Raises AssertionError when its bytes differ or `timeout` seconds passed, in which case it is killed. `Hang` reads until
    the child ends and leaves its stdin open.
    """
    deadline = time.monotonic() + timeout
    process = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ if env is None else env),
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    talk = _Talk(process.stdin.fileno(), process.stdout.fileno(), process.stderr.fileno(), deadline)
    try:
        for step in script:
            if isinstance(step, Write):
                for piece in in_pieces(step.data, step.size or len(step.data) or 1):
                    talk.write(piece)
                    if step.pause:
                        time.sleep(step.pause)
            elif isinstance(step, Expect):
                talk.expect(step.data)
            elif isinstance(step, Close):
                getattr(process, step.name).close()
                talk.closed(step.name)
            elif isinstance(step, Exit):
                break
            else:
                talk.expect(None)
        talk.closed("stdin")
        process.stdin.close()
        talk.expect(None)
        status = process.wait(max(0.0, deadline - time.monotonic()))
        return Played(status, bytes(talk.errors), bytes(talk.output))
    except subprocess.TimeoutExpired:
        raise AssertionError(f"the child goes on after {timeout} s; its stderr: {bytes(talk.errors)!r}") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()


class _Talk:
    """Reads both outputs whatever it is doing, so that no script can deadlock."""

    def __init__(self, stdin: int, stdout: int, stderr: int, deadline: float) -> None:
        self._names = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
        self._deadline = deadline
        self.output = bytearray()
        self.errors = bytearray()
        os.set_blocking(stdin, False)

    def closed(self, name: str) -> None:
        self._names.pop(name, None)

    def write(self, data: bytes) -> None:
        while data and (stdin := self._names.get("stdin")) is not None:
            self._wait(stdin)
            try:
                data = data[os.write(stdin, data) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                return

    def expect(self, wanted: bytes | None) -> None:
        while (wanted is None or (len(self.output) < len(wanted) and wanted.startswith(self.output))) and self._wait(
            None
        ):
            pass
        if wanted is not None:
            got = bytes(self.output[: len(wanted)])
            assert got == wanted, f"expected {wanted!r}, got {got!r}; stderr: {bytes(self.errors)!r}"
            del self.output[: len(wanted)]

    def _wait(self, writable: int | None) -> bool:
        """Wait for something; False when both outputs are at their end."""
        readable = [self._names[name] for name in ("stdout", "stderr") if name in self._names]
        if not readable and writable is None:
            return False
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise AssertionError(f"the child did nothing more in time; its stderr: {bytes(self.errors)!r}")
        ready, _, _ = select.select(readable, [] if writable is None else [writable], [], left)
        for name, target in (("stdout", self.output), ("stderr", self.errors)):
            if self._names.get(name) in ready:
                data = os.read(self._names[name], 1 << 16)
                target.extend(data)
                if not data:
                    self.closed(name)
        return True


# --- strategies


def dialects() -> st.SearchStrategy[Dialect]:
    return st.sampled_from(list(DIALECTS.values()))


def operation_sets(dialect: Dialect) -> st.SearchStrategy[frozenset[str]]:
    """What a child can have of the operations of a dialect."""
    return st.frozensets(st.sampled_from(dialect.operations))


def requests(dialect: Dialect) -> st.SearchStrategy[Request]:
    """Requests as a child gets them: with data where the dialect sends it."""

    def make(operation: str, parent: Key, data: KeySet) -> Request:
        return Request(operation, parent, data if operation in dialect.requests_with_data else None)

    return st.builds(make, st.sampled_from(dialect.operations), keys(), keysets())


def replies(dialect: Dialect, request: Request) -> st.SearchStrategy[Reply]:
    """Answers that fit a request: any result, any value and metadata of the parent key, any data."""

    def make(status: Status, parent: Key, data: KeySet) -> Reply:
        returned = Key(request.parent.name, parent.value)
        returned.copy_all_meta(parent)
        return Reply(status, returned, data if request.operation in dialect.replies_with_data else None)

    return st.builds(make, st.sampled_from(list(Status)), keys(), keysets())


def acks(dialect: Dialect) -> st.SearchStrategy[Ack]:
    """Names and contracts of children with any set of operations."""
    names = st.text("abcxyzABC-_.0", min_size=1, max_size=12).filter(_is_name)
    infos = st.builds(Infos, author=st.text("ab @", max_size=8), description=st.text("äb\n", max_size=8))
    contracts = st.builds(make_contract, infos, operation_sets(dialect), st.just(dialect))
    return st.builds(Ack, names, contracts)


def _is_name(name: str) -> bool:
    try:
        check_module_name(name)
    except ValueError:
        return False
    return True


def events(dialect: Dialect = STDIOPROC) -> st.SearchStrategy[Event]:
    """Anything that either side can say in a dialect, in no order."""
    return st.one_of(
        st.just(Init(dialect)),
        acks(dialect),
        requests(dialect),
        requests(dialect).flatmap(lambda request: replies(dialect, request)),
        st.just(Terminate()),
    )


@st.composite
def dialogues(draw: st.DrawFn, dialect: Dialect | None = None, length: int = 6) -> list[tuple[Role, Event]]:
    """A whole conversation that the table allows, from INIT to TERMINATE, with up to `length` operations."""
    spoken = draw(dialects()) if dialect is None else dialect
    ack = draw(acks(spoken))
    contract = Connection(Role.CHILD)
    contract.receive_data(wire.encode(Init(spoken), spoken))
    next_events(contract)
    contract.send(ack)
    assert contract.contract is not None
    said: list[tuple[Role, Event]] = [(Role.HOST, Init(spoken)), (Role.CHILD, ack)]
    state = contract.state
    for _ in range(draw(st.integers(0, length))):
        possible = [
            signal.value
            for signal in allowed(state)
            if signal.value in contract.contract.operations and signal in REQUESTS.values()
        ]
        if not possible:
            break
        operation = draw(st.sampled_from(sorted(possible)))
        data = draw(keysets()) if operation in spoken.requests_with_data else None
        request = Request(operation, draw(keys()), data)
        reply = draw(replies(spoken, request))
        said += [(Role.HOST, request), (Role.CHILD, reply)]
        state = TRANSITIONS[state, REQUESTS[operation]]
        state = TRANSITIONS[state, Signal.REPLY_ERROR if reply.status is Status.ERROR else Signal.REPLY]
    said.append((Role.HOST, Terminate()))
    return said


# --- the state machine


class TwoConnections(RuleBasedStateMachine):
    """A host and a child talk through pipes that deliver in any pieces and may be cut anywhere.

    Rules: the host says something that the table allows (or ends its side), the child answers, some bytes arrive at either
    side, a pipe is cut, either side tries what is not its turn. Invariants: each side has gone only along the table; what is
    heard was said, in that order; only a cut makes errors; after one nothing but its reason comes out. When the rules are
    done everything is delivered and both sides come to rest.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pair = ConnectionPair()
        self.errors: dict[Role, RemoteProtocolError] = {}
        self.was_cut = False
        self.seen: dict[Role, list[State]] = {role: [State.IDLE] for role in Role}
        self.said: dict[Role, list[Event]] = {role: [] for role in Role}
        self.heard: dict[Role, list[Event]] = {role: [] for role in Role}

    # What either side does goes through these two.

    def _say(self, role: Role, event: Event) -> None:
        self.pair.send(role, event)
        self.said[role].append(event)
        self._note(role)

    def _hear(self, role: Role, count: int | None) -> None:
        try:
            for event in self.pair.deliver(role, count):
                self.heard[role].append(event)
        except RemoteProtocolError as error:
            self.errors.setdefault(role, error)
        self._note(role)

    def _note(self, role: Role) -> None:
        state = self.pair.connection(role).state
        if self.seen[role][-1] is not state:
            self.seen[role].append(state)

    def _can(self, role: Role) -> list[Signal]:
        connection = self.pair.connection(role)
        if role in self.errors:
            return []
        return [signal for signal in allowed(connection.state) if sender(signal) is role]

    @precondition(lambda self: Signal.INIT in self._can(Role.HOST))
    @rule(dialect=dialects())
    def host_begins(self, dialect: Dialect) -> None:
        self._say(Role.HOST, Init(dialect))

    @precondition(lambda self: Signal.ACK in self._can(Role.CHILD))
    @rule(data=st.data())
    def child_acknowledges(self, data: st.DataObject) -> None:
        self._say(Role.CHILD, data.draw(acks(self.pair.child.dialect)))

    @precondition(lambda self: any(signal in REQUESTS.values() for signal in self._can(Role.HOST)))
    @rule(data=st.data())
    def host_asks(self, data: st.DataObject) -> None:
        host = self.pair.host
        assert host.contract is not None
        possible = [s.value for s in self._can(Role.HOST) if s.value in host.contract.operations]
        if possible:
            operation = data.draw(st.sampled_from(possible))
            content = data.draw(keysets()) if operation in host.dialect.requests_with_data else None
            self._say(Role.HOST, Request(operation, data.draw(keys()), content))

    @precondition(lambda self: self.pair.child.request is not None and Signal.REPLY in self._can(Role.CHILD))
    @rule(data=st.data())
    def child_replies(self, data: st.DataObject) -> None:
        request = self.pair.child.request
        assert request is not None
        self._say(Role.CHILD, data.draw(replies(self.pair.child.dialect, request)))

    @precondition(lambda self: Signal.TERMINATE in self._can(Role.HOST))
    @rule()
    def host_terminates(self) -> None:
        self._say(Role.HOST, Terminate())

    @precondition(lambda self: self.pair.to_child)
    @rule(count=st.integers(1, 400))
    def some_arrive_at_child(self, count: int) -> None:
        self._hear(Role.CHILD, count)

    @precondition(lambda self: self.pair.to_host)
    @rule(count=st.integers(1, 400))
    def some_arrive_at_host(self, count: int) -> None:
        self._hear(Role.HOST, count)

    @rule(role=st.sampled_from(list(Role)))
    def all_arrive(self, role: Role) -> None:
        self._hear(role, None)

    @precondition(lambda self: self.pair.host.state is not State.IDLE)
    @rule(toward=st.sampled_from(list(Role)), lost=st.integers(0, 40))
    def pipe_is_cut(self, toward: Role, lost: int) -> None:
        """The writer is gone, and the last bytes of what it wrote with it."""
        queue = self.pair.on_the_way_to(toward)
        del queue[len(queue) - min(lost, len(queue)) :]
        self.pair.cut(toward)
        self.was_cut = True

    @rule(role=st.sampled_from(list(Role)), event=events())
    def out_of_turn(self, role: Role, event: Event) -> None:
        """What is not this side's turn raises, writes nothing and changes nothing."""
        connection = self.pair.connection(role)
        before, request = connection.state, connection.request
        if any(_says(signal, event) for signal in self._can(role)):
            return
        if not _raises(lambda: connection.send(event)):
            raise AssertionError(f"{role} could send {event} in {before}")
        assert connection.state is before
        assert connection.request is request

    @invariant()
    def states_follow_the_table(self) -> None:
        targets: dict[State, set[State]] = {state: {State.FAILED} for state in State}
        for (state, _), target in TRANSITIONS.items():
            targets[state].add(target)
        for seen in self.seen.values():
            for state, target in pairwise(seen):
                # A side that receives several messages at once passes through states that nobody saw.
                assert target in _reachable(state, targets), (state, target)

    @invariant()
    def what_is_heard_was_said(self) -> None:
        for role in Role:
            heard = [event for event in self.heard[role] if not isinstance(event, EndOfStream)]
            said = self.said[_peer(role)]
            assert [repr(event) for event in heard] == [repr(event) for event in said[: len(heard)]]

    @invariant()
    def only_a_cut_makes_errors(self) -> None:
        assert self.was_cut or not self.errors

    @invariant()
    def after_an_error_nothing_but_the_reason(self) -> None:
        for role, reason in self.errors.items():
            connection = self.pair.connection(role)
            assert connection.state is State.FAILED
            assert _raises(connection.next_event) is reason
            assert _raises(partial(connection.receive_data, b"x")) is reason
            assert _raises(connection.receive_eof) is reason
            assert _raises(partial(connection.send, Terminate())) is reason

    def teardown(self) -> None:
        """Deliver what is on the way, end both sides, and both are at rest."""
        for _ in range(2):
            for role in Role:
                if role not in self.errors:
                    self._hear(role, None)
        for role in Role:
            self.pair.cut(role)
            if role not in self.errors:
                self._hear(role, None)
        for role in Role:
            state = self.pair.connection(role).state
            assert state in (State.CLOSED, State.FAILED), f"{role.value} still waits: {state.value}"


def _raises(attempt: Callable[[], object]) -> ProtocolError | None:
    try:
        attempt()
    except ProtocolError as error:
        return error
    return None


def _says(signal: Signal, event: Event) -> bool:
    if isinstance(event, Request):
        return REQUESTS[event.operation] is signal
    kinds: dict[type[object], tuple[Signal, ...]] = {
        Init: (Signal.INIT,),
        Ack: (Signal.ACK, Signal.ACK_WITHOUT_OPEN),
        Reply: (Signal.REPLY, Signal.REPLY_ERROR),
        Terminate: (Signal.TERMINATE,),
        EndOfStream: (Signal.HOST_EOF, Signal.CHILD_EOF),
    }
    return signal in kinds[type(event)]


def _reachable(start: State, targets: Mapping[State, set[State]]) -> set[State]:
    found, todo = {start}, [start]
    while todo:
        for state in targets[todo.pop()] - found:
            found.add(state)
            todo.append(state)
    return found
