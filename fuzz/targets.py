"""What is fuzzed in Python: each target takes bytes and returns in a few words what they did.

A target raises AssertionError (or anything undocumented) for a bug, and nothing for an input that is properly refused. The
words steer drivers that see no coverage: an input whose words were not seen before is worth keeping.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from unittest import mock

import dumpfmt
from dumpfmt import Decoder, DumpError, Key, KeySet, Limits, encode, quickdump, v1
from stdioproc.connection import Connection
from stdioproc.dialects import PROCESS, STDIOPROC, Dialect
from stdioproc.errors import LocalProtocolError, RemoteProtocolError
from stdioproc.events import Ack, EndOfStream, Event, Init, Reply, Request, Status, Terminate
from stdioproc.state import Role, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dumpfmt.decode import Parser

Target = Callable[[bytes], str]

#: The first byte of an input picks one of these.
LIMITS = (
    Limits(),
    Limits(message=256, name=32, value=32, keys=3),
    Limits(message=1 << 20, name=16, value=8, keys=1000),
    Limits(message=1 << 64, name=1 << 64, value=1 << 64, keys=1 << 64),  # more than a machine word
)


def _words(error: Exception) -> str:
    """The kind of an error and its message, without what differs from input to input."""
    return f"{type(error).__name__} {re.sub(r'[0-9]+|' + chr(39) + '.*', '', str(error))[:80]}"


def _pieces(data: bytes, step: int) -> Iterator[bytes]:
    """All at once for 0, else pieces of 1, 2, 4 … bytes, so that every record is cut somewhere."""
    size = len(data) + 1 if step % 8 == 0 else 1 << (step % 8 - 1)
    for start in range(0, max(len(data), 1), size):
        yield data[start : start + size]


class _Read:
    """How a reading ended: a keyset and what lies behind it, an error, or neither yet."""

    def __init__(self, data: bytes, parser: Parser, limits: Limits, step: int) -> None:
        decoder = Decoder(None, parser, limits)
        self.keyset: KeySet | None = None
        self.error: DumpError | None = None
        try:
            for piece in _pieces(data, step):
                self.keyset = decoder.feed(piece)
            if self.keyset is None:
                decoder.close()
        except DumpError as error:
            self.error = error
        self.unused = decoder.unused_data

    def outcome(self) -> object:
        if self.error is not None:
            return type(self.error), str(self.error), vars(self.error)
        return self.unused


def _shape(keyset: KeySet) -> object:
    """Everything that can be seen of a keyset, and which keys share which metakeys."""
    first: dict[int, tuple[str, str]] = {}
    return [
        (
            key.name,
            key.unescaped,
            key.value,
            [(name, str(text), first.setdefault(id(text), (key.name, name))) for name, text in key.meta.items()],
        )
        for key in keyset
    ]


def _dumps_in_python(keyset: KeySet) -> bytes:
    """What the encoder writes where nothing was compiled."""
    with mock.patch.object(encode, "native", None):
        return dumpfmt.dumps(keyset)


def _edit(keyset: KeySet, how: int) -> None:
    """Some changes, the same for equal keysets and equal numbers."""
    if not len(keyset):
        return
    key = keyset[how % len(keyset)]
    match how >> 5:
        case 0:
            key.value = f"changed {how}"
        case 1:
            keyset.pop(key)
        case 2:
            keyset.append(Key(key.name + ("" if key.name.endswith("/") else "/") + "new", None))
        case 3:
            keyset.cut(key)
        case 4:
            key.meta["added"] = "x"
        case 5:
            key.copy_all_meta(keyset[0])
        case 6:
            keyset.append(Key(key.name, "replaced", {name: "" for name in key.meta if name != "binary"}))
        case _:
            keyset.assign(keyset.below(key).deep_copy())


def records(data: bytes) -> str:
    """The compiled scanner, Records and encoder against the Python code.

    Input: limits, size of pieces, an edit, then a dump.
    """
    if len(data) < 3:
        return ""
    limits, step, how, content = LIMITS[data[0] % len(LIMITS)], data[1], data[2], data[3:]
    compiled = _Read(content, "fast", limits, step)
    plain = _Read(content, "python", limits, step)
    assert compiled.outcome() == plain.outcome(), (compiled.outcome(), plain.outcome())
    if data[0] & 0x80 and len(content) < 512:  # the reference is slow
        assert _Read(content, "lark", limits, step).outcome() == plain.outcome()
    if compiled.keyset is None or plain.keyset is None:
        assert compiled.keyset is plain.keyset
        assert plain.error is not None
        return _words(plain.error)
    written = _dumps_in_python(plain.keyset)
    assert dumpfmt.dumps(compiled.keyset) == written  # untouched: copied
    for key in plain.keyset:
        assert compiled.keyset[key.name].name == key.name
        assert key.name in compiled.keyset
    assert _shape(compiled.keyset) == _shape(plain.keyset)
    assert dumpfmt.dumps(compiled.keyset) == written  # touched: encoded
    assert dumpfmt.dumps(plain.keyset) == written
    assert _shape(dumpfmt.loads(written)) == _shape(plain.keyset)
    # An edit before anything was touched, and the same one on plain keys.
    again = _Read(content, "fast", limits, step).keyset
    assert again is not None
    _edit(again, how)
    _edit(plain.keyset, how)
    assert dumpfmt.dumps(again) == _dumps_in_python(plain.keyset)
    assert _shape(again) == _shape(plain.keyset)
    assert again == plain.keyset
    return f"{min(len(again), 4)} keys, {again._records is not None}, edit {how >> 5}"


class _Talk:
    """One side that behaves, against a peer that sends whatever the input holds."""

    def __init__(self, role: Role, parser: Parser, dialect: Dialect, limits: Limits) -> None:
        self.connection = Connection(role, parser=parser, limits=limits, line_limit=256)
        self.dialect = dialect
        self.seen: list[object] = []
        self.error: RemoteProtocolError | None = None
        self._asked = 0
        if role is Role.HOST:
            self.connection.send(Init(dialect))

    def hear(self, data: bytes | None) -> None:
        """More bytes, or the end."""
        if self.error is not None:
            return
        try:
            if data is None:
                self.connection.receive_eof()
            else:
                self.connection.receive_data(data)
            while (event := self.connection.next_event()) is not None:
                self.seen.append(_seen(event))
                if isinstance(event, EndOfStream):
                    break
                self._say(event)
        except RemoteProtocolError as error:
            self.error = error
        if self.error is not None:
            assert str(self.error) and self.error.reason
            self._stays_failed()

    def _stays_failed(self) -> None:
        assert self.connection.state is State.FAILED
        for call in (
            self.connection.next_event,
            self.connection.receive_eof,
            lambda: self.connection.receive_data(b""),
        ):
            try:
                call()
            except RemoteProtocolError as again:
                if again is self.error:
                    continue
            raise AssertionError("an error was forgotten")

    def _say(self, event: Event) -> None:
        """What is next: every operation in turn from a host, the answer from a child."""
        parent = Key("user:/parent")
        if isinstance(event, (Ack, Reply)):
            for _ in range(8):
                self._asked += 1
                operation = ("open", "get", "set", "checkconf", "commit", "error", "close", "")[(self._asked - 1) % 8]
                data = KeySet([parent]) if operation in self.dialect.requests_with_data else None
                # What the state or the contract forbids is not sent.
                with contextlib.suppress(LocalProtocolError):
                    self.connection.send(Request(operation, parent, data) if operation else Terminate())
                    return
        elif isinstance(event, Init):
            root = event.dialect.root
            exports = [Key(f"{root}/exports/{operation}", "1") for operation in ("open", "get", "set", "close")]
            exports += [Key(f"{root}/exports/has/{operation}", "1") for operation in ("open", "get", "set", "close")]
            self.connection.send(Ack("fuzz", KeySet([Key(root, "1"), *exports])))
        elif isinstance(event, Request):
            with_data = event.operation in self.connection.dialect.replies_with_data
            self.connection.send(Reply(Status.SUCCESS, event.parent, event.data or KeySet() if with_data else None))


def _seen(event: Event) -> object:
    if isinstance(event, Request):
        return event.operation, dumpfmt.dumps(KeySet([event.parent])), event.data and dumpfmt.dumps(event.data)
    if isinstance(event, Reply):
        return event.status, dumpfmt.dumps(KeySet([event.parent])), event.data and dumpfmt.dumps(event.data)
    if isinstance(event, Ack):
        return event.name, dumpfmt.dumps(event.contract)
    return repr(event)


def connection(data: bytes) -> str:
    """Bytes into a connection: events and documented errors, the same for both parsers and however they are cut.

    Input: role, dialect and limits; size of pieces; then what the peer sends.
    """
    if len(data) < 2:
        return ""
    role = Role.CHILD if data[0] & 1 else Role.HOST
    dialect = PROCESS if data[0] & 2 else STDIOPROC
    limits = LIMITS[(data[0] >> 2) % len(LIMITS)]
    parsers: tuple[Parser, Parser] = ("fast", "python")
    talks = [_Talk(role, parser, dialect, limits) for parser in parsers]
    for talk in talks:
        for piece in _pieces(data[2:], data[1]):
            talk.hear(piece)
        talk.hear(None)
    first, second = talks
    assert first.seen == second.seen
    assert (first.error is None) is (second.error is None)
    if first.error is not None:
        assert str(first.error) == str(second.error)
    # All at once, the same messages are seen: a host cannot have answers before its questions, so only for a child.
    if role is Role.CHILD:
        whole = _Talk(role, "fast", dialect, limits)
        whole.hear(data[2:])
        whole.hear(None)
        assert whole.seen == first.seen
    return f"{role.value} {dialect.name} {len(first.seen)} {_words(first.error) if first.error else ''}"


_PARENTS = ("user:/tests/vec", "system:/", "/", "user:/a/%")


def quickdump_reader(data: bytes) -> str:
    """Quickdump: a keyset or a DumpError; a keyset comes back from its own bytes. Input: parent and limits, then the bytes."""
    if not data:
        return ""
    parent, limits = _PARENTS[data[0] & 3], LIMITS[(data[0] >> 2) % len(LIMITS)]
    try:
        keyset = quickdump.loads(data[1:], parent, limits)
    except DumpError as error:
        return _words(error)
    _stays_within(keyset, limits)
    written = quickdump.dumps(keyset, parent)
    again = quickdump.loads(written, parent)
    assert _shape(again) == _shape(keyset)
    assert quickdump.dumps(again, parent) == written
    return f"{min(len(keyset), 4)} keys"


def v1_reader(data: bytes) -> str:
    """Version 1: a keyset or a DumpError; a keyset comes back from version 2. Input: limits, then the file."""
    if not data:
        return ""
    limits = LIMITS[data[0] % len(LIMITS)]
    try:
        keyset = v1.loads(data[1:], limits)
    except DumpError as error:
        return _words(error)
    _stays_within(keyset, limits)
    written = dumpfmt.dumps(keyset)
    assert written == _dumps_in_python(keyset)
    assert _shape(dumpfmt.loads(written)) == _shape(keyset)
    return f"{min(len(keyset), 4)} keys"


def _stays_within(keyset: KeySet, limits: Limits) -> None:
    assert len(keyset) <= limits.keys
    for key in keyset:
        assert key.value is None or len(key.value) <= limits.value + 1  # a string that turned binary keeps its NUL
        assert list(key.meta) == sorted(key.meta, key=lambda name: Key("meta:/" + name).unescaped)


TARGETS: dict[str, Target] = {
    "records": records,
    "connection": connection,
    "quickdump": quickdump_reader,
    "v1": v1_reader,
}
