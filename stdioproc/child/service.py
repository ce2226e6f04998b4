"""`serve`: a plugin class becomes a program that speaks the protocol."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from dumpfmt import Key, KeySet
from stdioproc.child import descriptors
from stdioproc.child.plugin import Plugin, module_name, operations_of
from stdioproc.connection import Connection
from stdioproc.contract import make_contract
from stdioproc.dialects import PHASE, PROCESS
from stdioproc.errors import (
    ElektraError,
    Interface,
    Internal,
    OutOfMemory,
    PluginMisbehavior,
    ProtocolError,
    RemoteProtocolError,
    Resource,
    set_error,
)
from stdioproc.events import Ack, EndOfStream, Init, Reply, Request, Status, Terminate
from stdioproc.state import Role

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from dumpfmt.decode import Parser

# Exit statuses (sysexits.h); docs/writing-plugins.md lists them for people.
EX_OK = 0
EX_USAGE = 64
EX_HOST_GONE = 74
EX_PROTOCOL = 76
EX_PLUGIN_UNFIT = 78

_TERMINAL_HINT = (
    "{name} is a plugin for Elektra: a host starts it and talks to it over stdin and stdout.\n"
    "To try it: stdioproc call get -- {argv0}    To end it: Ctrl-D.\n"
)


def serve(plugin: type[Plugin], argv: list[str] | None = None, *, parser: Parser = "fast") -> NoReturn:
    """Speak the protocol for `plugin` on descriptors 0 and 1 until the host ends it; does not return.

    With `--elektra-spec` as the first argument the plugin's specification is written instead, for Elektra's specload.
    `argv` are the arguments, the program's name first (sys.argv when None).

    Exit status: 0 after TERMINATE or at the end of input; 74 when the host went away with the plugin still open or inside a
    message; 76 when it broke the protocol; 78 when the class is no proper plugin. `close` has run once in each case where
    `open` had.
    """
    argv = sys.argv if argv is None else argv
    if not isinstance(plugin, type):
        _exit(EX_PLUGIN_UNFIT, f"serve needs the class itself, serve({type(plugin).__name__}), not an instance of it")
    try:
        name, operations = module_name(plugin), operations_of(plugin)
        plugin.infos.check_operations(operations)
    except ValueError as error:
        _exit(EX_PLUGIN_UNFIT, f"{plugin.__module__}.{plugin.__qualname__}: {error}")
    if argv[1:2] == ["--elektra-spec"]:
        _write_spec(plugin, name)
    if os.isatty(0):
        _tell(_TERMINAL_HINT.format(name=name, argv0=argv[0] if argv else "PROGRAM"))
    try:
        wire = descriptors.claim()
    except OSError as error:
        _exit(EX_HOST_GONE, f"{name}: stdin and stdout must be open, they carry the protocol: {error}")
    try:
        served = plugin()
    except Exception as error:
        _tell_traceback(error)
        _exit(EX_PLUGIN_UNFIT, f"{name}: making a {plugin.__qualname__} failed, so it cannot be served")
    raise SystemExit(_Service(served, name, operations, wire, Connection(Role.CHILD, parser=parser)).run())


def _exit(status: int, message: str) -> NoReturn:
    _tell(message + "\n")
    raise SystemExit(status)


def _tell(message: str) -> None:
    """Write to stderr, which may be closed, or be something that the plugin put there."""
    try:
        sys.stderr.write(message)
    except (AttributeError, OSError, ValueError):
        pass


def _tell_traceback(error: BaseException) -> None:
    import traceback  # only a failing plugin pays for it

    _tell("".join(traceback.format_exception(error)))


def _write_spec(plugin: type[Plugin], name: str) -> NoReturn:
    if plugin.spec is None:
        _exit(EX_USAGE, f"{name} has no specification to answer --elektra-spec with")
    from dumpfmt import quickdump

    data = quickdump.dumps(plugin.spec, "spec:/")
    sys.stdout.flush()
    while data:
        data = data[os.write(1, data) :]
    raise SystemExit(EX_OK)


class _Service:
    """A plugin, the connection to its host, and what is between them."""

    def __init__(
        self,
        plugin: Plugin,
        name: str,
        operations: frozenset[str],
        wire: descriptors.Wire,
        connection: Connection,
    ) -> None:
        self._plugin = plugin
        self._name = name
        self._operations = operations
        self._wire = wire
        self._connection = connection
        self._opened_with: Key | None = None  # the parent of open, while close is still due

    def run(self) -> int:
        connection, wire = self._connection, self._wire
        try:
            while True:
                event = connection.next_event()
                if event is None:
                    data = wire.read()
                    if data:
                        connection.receive_data(data)
                    else:
                        connection.receive_eof()
                elif isinstance(event, Request):
                    wire.write_all(connection.send(self._answer(event)))
                elif isinstance(event, Init):
                    contract = make_contract(self._plugin.infos, self._operations, event.dialect)
                    wire.write_all(connection.send(Ack(self._name, contract)))
                elif isinstance(event, Terminate):
                    return EX_OK
                elif isinstance(event, EndOfStream):
                    return EX_OK if self._opened_with is None else EX_HOST_GONE
        except ProtocolError as error:
            if isinstance(error, RemoteProtocolError) and error.ended:
                self._say(f"the host is gone: {error}")
                return EX_HOST_GONE
            self._say(f"the host broke the protocol: {error}")
            return EX_PROTOCOL
        except (BrokenPipeError, ConnectionResetError):
            self._say("the host is gone: it no longer reads")
            return EX_HOST_GONE
        finally:
            self._close_if_due()

    def _answer(self, request: Request) -> Reply:
        parent, data = request.parent, request.data
        self._plugin.phase = parent.meta.pop(PHASE, None) if parent._meta else None
        # A released host takes the keyset over whatever the result (facts 7.3): it must get back what it sent.
        original = None
        if self._connection.dialect is PROCESS and data is not None:
            original = data.deep_copy()
        status = self._perform(request.operation, data if data is not None else KeySet(), parent)
        if request.operation == "open" and status is not Status.ERROR:
            self._opened_with = parent.copy()
        elif request.operation == "close":
            self._opened_with = None
        if request.operation not in self._connection.dialect.replies_with_data:
            return Reply(status, parent)
        if original is not None and status is not Status.SUCCESS:
            data = original
        return Reply(status, parent, data if data is not None else KeySet())

    def _perform(self, operation: str, data: KeySet, parent: Key) -> Status:
        method: Callable[..., object] = getattr(self._plugin, operation)
        try:
            returned = method(parent) if operation == "close" else method(data, parent)
            return _status(returned, operation)
        except (Exception, SystemExit) as error:
            self._report(operation, method, error, parent)
            return Status.ERROR

    def _report(self, operation: str, method: Callable[..., object], error: BaseException, parent: Key) -> None:
        """An exception becomes an Elektra error with the place in the plugin where it came from."""
        if isinstance(error, ElektraError):
            elektra_error = error
        else:
            _tell_traceback(error)
            elektra_error = _as_elektra_error(operation, error)
        file, line = _place(error, method)
        elektra_error.module = elektra_error.module or self._name
        elektra_error.file = elektra_error.file or file
        elektra_error.line = elektra_error.line or line
        set_error(parent, elektra_error)

    def _close_if_due(self) -> None:
        """The host left without close: the plugin's resources are let go all the same, once."""
        parent, self._opened_with = self._opened_with, None
        if parent is None or "close" not in self._operations:
            return
        try:
            self._plugin.close(parent)  # type: ignore[attr-defined]  # which operations a class has is known at run time
        except Exception as error:
            _tell_traceback(error)

    def _say(self, message: str) -> None:
        _tell(f"{self._name}: {message}\n")


def _status(returned: object, operation: str) -> Status:
    if returned is None:
        return Status.SUCCESS
    if isinstance(returned, int) and not isinstance(returned, bool) and -1 <= returned <= 1:
        return Status(returned)
    raise PluginMisbehavior(f"{operation} returned {returned!r}; return a Status, 1, 0 or -1, or nothing for success")


def _as_elektra_error(operation: str, error: BaseException) -> ElektraError:
    try:
        text = str(error)
    except Exception:  # what an exception says of itself is the plugin's code too
        text = ""
    if isinstance(error, MemoryError):
        return OutOfMemory(f"out of memory during {operation}")
    if isinstance(error, OSError):
        return Resource(text or type(error).__name__)
    if isinstance(error, NotImplementedError):
        return Interface(text or f"{operation} is not implemented")
    if isinstance(error, SystemExit):
        return Internal(f"{operation} tried to exit with {error.code!r}; raise an error instead")
    return Internal(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def _place(error: BaseException, method: Callable[..., object]) -> tuple[str, str]:
    """File and line: the innermost place in the file of the plugin's method, or else the innermost at all."""
    code = getattr(getattr(method, "__func__", method), "__code__", None)
    own = code.co_filename if code is not None else None
    place = (own or "", str(code.co_firstlineno) if code is not None else "")
    step = error.__traceback__
    while step is not None:
        filename = step.tb_frame.f_code.co_filename
        if own is None or filename == own:
            place = (filename, str(step.tb_lineno))
        step = step.tb_next
    return place
