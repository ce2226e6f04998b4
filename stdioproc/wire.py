"""Messages as bytes: what each event looks like, and how it is read from bytes that arrive in any pieces.

Readers are generators: they yield while bytes are missing and return the event. They raise RemoteProtocolError for
what the peer should not have sent; the order of messages is not theirs to judge (state.py).
"""

from __future__ import annotations

from collections.abc import Generator

from dumpfmt import DEFAULT_LIMITS, Decoder, DumpError, Key, KeySet, Limits, dumps
from dumpfmt.decode import read_at
from dumpfmt.encode import dump_key
from dumpfmt.text import shown
from stdioproc.contract import check_module_name
from stdioproc.dialects import DIALECTS, LINE_LIMIT, OPERATIONS, Dialect
from stdioproc.errors import RemoteProtocolError
from stdioproc.events import Ack, Event, Init, Reply, Request, Status, Terminate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dumpfmt.decode import Parser

RESULTS = {"success": Status.SUCCESS, "noupdate": Status.NO_UPDATE, "error": Status.ERROR}
_WORDS = {status: word for word, status in RESULTS.items()}

# Yields until there are more bytes.
Reader = Generator[None, None, Event]


def encode(event: Event, dialect: Dialect) -> bytes:
    """The bytes of an event, whole."""
    if isinstance(event, Request):
        head = _line(event.operation) + dump_key(event.parent)
        return head + (
            dumps(event.data if event.data is not None else KeySet())
            if event.operation in dialect.requests_with_data
            else b""
        )
    if isinstance(event, Reply):
        head = _line(_WORDS[event.status]) + dump_key(event.parent)
        return head if event.data is None else head + dumps(event.data)
    if isinstance(event, Init):
        return _line(event.dialect.init)
    if isinstance(event, Ack):
        return _line(dialect.ack) + _line(event.name) + dumps(event.contract)
    assert isinstance(event, Terminate)
    return _line(dialect.terminate)


class Input:
    """Bytes that have arrived and were not read yet."""

    def __init__(self, parser: Parser = "fast", limits: Limits = DEFAULT_LIMITS, line_limit: int = LINE_LIMIT) -> None:
        self._parser: Parser = parser
        self._limits = limits
        self._line_limit = line_limit
        self._data = b""
        self._at = 0  # in the data: what lies before was read
        self._decoder: Decoder | None = None
        self.last = b""  # the bytes that came last, for messages

    def feed(self, data: bytes) -> None:
        rest = self.pending
        self._data, self._at = (rest + data if rest else data), 0
        self.last = data[-200:]

    @property
    def pending(self) -> bytes:
        """What has arrived and belongs to no keyset that is being read."""
        return self._data[self._at :]

    @property
    def inside_keyset(self) -> bool:
        return self._decoder is not None

    def line(self, expected: str) -> Generator[None, None, bytes]:
        """A line without its line feed."""
        while (end := self._data.find(b"\n", self._at, self._at + self._line_limit + 1)) < 0:
            if len(self._data) - self._at > self._line_limit:
                raise RemoteProtocolError(
                    f"expected {expected}, found a line of more than {self._line_limit} bytes: {shown(self.pending)}"
                )
            yield
        line, self._at = self._data[self._at : end], end + 1
        return line

    def keyset(self, what: str, bare_names_below: str | None = None) -> Generator[None, None, KeySet]:
        if self._parser == "fast" and bare_names_below is None:
            # Most keysets are small and have arrived whole.
            found = read_at(self._data, self._at, self._limits)
            if found is not None:
                keyset, self._at = found
                return keyset
        self._decoder = Decoder(None, self._parser, self._limits, bare_names_below=bare_names_below)
        while True:
            data, self._data, self._at = self.pending, b"", 0
            try:
                decoded = self._decoder.feed(data)
            except DumpError as error:
                raise RemoteProtocolError(f"the {what} keyset is no dump: {error}") from error
            if decoded is not None:
                self._data = self._decoder.unused_data
                self._decoder = None
                return decoded
            yield

    def end(self) -> str:
        """Why the end of the stream is inside a message, or nothing when it is between two."""
        if self._decoder is not None:
            try:
                self._decoder.close()
            except DumpError as error:
                return f"inside a keyset: {error}"
        return f"inside the line {shown(self.pending)}" if self.pending else "between two lines of a message"


def read_init(source: Input) -> Reader:
    """The first line that a child reads."""
    line = yield from source.line("an INIT line")
    for dialect in DIALECTS.values():
        if line == dialect.init.encode():
            return Init(dialect)
    wanted = " or ".join(repr(dialect.init) for dialect in DIALECTS.values())
    raise RemoteProtocolError(
        f"expected {wanted}, found {shown(line)}; this program is a plugin, to be started by its host"
    )


def read_request(source: Input, dialect: Dialect) -> Reader:
    line = yield from source.line("an operation or TERMINATE")
    if line == dialect.terminate.encode():
        return Terminate()
    operation = line.decode("utf-8", "backslashreplace")
    if operation not in dialect.operations:
        hint = f", which the dialect {dialect.name} has not" if operation in OPERATIONS else ""
        raise RemoteProtocolError(
            f"expected an operation ({' '.join(dialect.operations)}) or {dialect.terminate!r}, found {shown(line)}{hint}"
        )
    parent = yield from _parent(source)
    data = None
    if operation in dialect.requests_with_data:
        data = yield from source.keyset("data")
    return Request(operation, parent, data)


def read_ack(source: Input, dialect: Dialect) -> Reader:
    line = yield from source.line(repr(dialect.ack))
    if line != dialect.ack.encode():
        raise RemoteProtocolError(
            f"expected {dialect.ack!r}, found {shown(line)}: "
            "a plugin's stdout belongs to the protocol, anything else goes to stderr"
        )
    line = yield from source.line("the name of the module")
    try:
        name = check_module_name(line.decode("utf-8", "surrogateescape"))
    except ValueError as error:
        raise RemoteProtocolError(f"expected the name of the module: {error}") from None
    contract = yield from source.keyset("contract", bare_names_below=dialect.root)
    return Ack(name, contract)


def read_reply(source: Input, dialect: Dialect, request: Request) -> Reader:
    line = yield from source.line("success, noupdate or error")
    status = RESULTS.get(line.decode("utf-8", "backslashreplace"))
    if status is None:
        raise RemoteProtocolError(
            f"expected 'success', 'noupdate' or 'error', found {shown(line)}: "
            "a plugin's stdout belongs to the protocol, anything else goes to stderr"
        )
    parent = yield from _parent(source)
    if parent.name != request.parent.name:
        raise RemoteProtocolError(
            f"expected the parent key {shown(request.parent.name)} back, found {shown(parent.name)}"
        )
    data = None
    if request.operation in dialect.replies_with_data:
        data = yield from source.keyset("data")
    return Reply(status, parent, data)


def _parent(source: Input) -> Generator[None, None, Key]:
    keyset = yield from source.keyset("parent")
    if len(keyset) != 1:
        raise RemoteProtocolError(f"expected a parent keyset of one key, found one of {len(keyset)} keys")
    return keyset[0]


def _line(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape") + b"\n"
