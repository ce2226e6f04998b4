"""The Python side of the plugin, inside the host: requests of the thin library become calls of `stdioproc.host`.

Bytes come in and bytes go out; the layout is csrc/bridge.h. Nothing here prints, keeps a thread alive or changes the host's
environment, signals or working directory, and no exception leaves it.
"""

from __future__ import annotations

import _thread
import atexit
import os
from itertools import count

from ctypes_shim._host import HostEnvironment, quiet
from ctypes_shim.contract import ContractCache, ContractError
from dumpfmt import DumpError, Key, KeySet, dumps, loads
from stdioproc.errors import (
    ElektraError,
    Installation,
    Interface,
    Internal,
    OutOfMemory,
    PluginMisbehavior,
    Resource,
    add_warning,
    get_warnings,
    set_error,
)
from stdioproc.host import PluginProcess, PluginProcessError, Status
from stdioproc.host.config import ConfigError, PluginConfig

# Without importing typing: every kdb command that uses a mountpoint pays for what is imported here.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from stdioproc.host.spawn import Child

MODULE = "stdioproc"

_ffi: Any = None
_lib: Any = None
_environ: Mapping[str, str] | None = None  # None: that of this process


def attach(ffi: Any, lib: Any) -> None:
    """Take over all requests; `ffi` and `lib` are cffi's view of the embedding library."""
    global _environ, _ffi, _lib
    if _lib is None:
        _ffi, _lib = ffi, lib
        _environ = HostEnvironment(ffi, lib)
        atexit.register(_end_all)
    ffi.def_extern(name="stdioproc_python_request", error=-1, onerror=quiet)(on_request)
    ffi.def_extern(name="stdioproc_python_release", onerror=quiet)(_on_release)


class Instance:
    """One opened plugin, and its child."""

    def __init__(self, config: PluginConfig, started: Child | None = None) -> None:
        self.process: PluginProcess = config.process(_environ, started=started)
        self.config = config
        self.name = MODULE
        self._opened = False
        self._open_parent = Key("/")
        self._writable: tuple[str, ...] = ()

    def run(self, operation: str, keyset: KeySet, parent: Key, phase: str | None) -> Status:
        """One operation. Raises PluginProcessError."""
        try:
            if self.config.trust.sandbox is not None:
                self._let_write_beside(parent)
            self.start()
            call: Callable[..., Status] = getattr(self.process, operation)
            return call(keyset, parent, phase=phase)
        finally:
            self._pass_warnings_on(parent)

    def _let_write_beside(self, parent: Key) -> None:
        """A confined program may write where the file of the parent key lies (a temporary file lies there too). What it may is
        settled when it starts, so a file elsewhere needs another start.
        """
        value = parent.value
        directory = os.path.dirname(value) if isinstance(value, str) and os.path.isabs(value) else ""
        if directory and directory not in self._writable:
            self._writable = (*self._writable, directory)
            self.process.end()
            self.process = self.config.process(_environ, writable=self._writable)
            self._opened = False

    def start(self) -> None:
        """Start the child and open it, the first time; later it is started and opened again when it has ended."""
        if not self._opened:
            self.process.start()
            self.name = self.process.name
            self.process.open(self._open_parent)
            self._opened = True

    def _pass_warnings_on(self, parent: Key) -> None:
        """Opening happens late, so that what it warns of belongs to the operation that caused it."""
        for warning in get_warnings(self._open_parent):
            add_warning(parent, warning)
        self._open_parent.meta.clear()


_instances: dict[int, Instance] = {}
_contracts = ContractCache()
_replies: dict[int, list[Any]] = {}
_numbers = count(1)  # of instances and replies; never the same one twice, threads or not


# --- requests


def on_request(request: Any, reply: Any, started: Child | None = None) -> int:
    """Answer a request. `started` is a child that was started for it already."""
    kept: list[Any] = []
    early = [started] if started is not None else []
    reply.token = next(_numbers)
    _replies[reply.token] = kept
    reply.status = Status.ERROR
    try:
        _HANDLERS[request.kind](request, reply, kept, early)
    except BaseException as error:  # nothing may leave: there is C code above
        _put_error(reply, kept, _as_elektra_error(error))
        # Nobody knows what state it is in; the next operation makes another one.
        _drop_instance(reply.instance or request.instance)
        reply.instance = 0
        if isinstance(error, KeyboardInterrupt):
            _thread.interrupt_main()  # a host that is Python itself gets its Ctrl-C after all
    finally:
        for child in early:  # nobody took it over
            child.kill()
            child.collect()
    return 0


def _on_release(token: int) -> None:
    _replies.pop(token, None)


def _start(request: Any, reply: Any, kept: list[Any], early: list[Child]) -> None:
    try:
        instance = _instance(request, reply, early)
        instance.start()
        reply.status = Status.SUCCESS
    except (ConfigError, PluginProcessError) as error:
        _put_error(reply, kept, _as_elektra_error(error))


def _call(request: Any, reply: Any, kept: list[Any], early: list[Child]) -> None:
    parent = _parent(request)
    operation = bytes(_ffi.string(request.operation)).decode()
    phase = bytes(_ffi.string(request.phase)).decode() if request.phase != _ffi.NULL else None
    status, module, keyset = Status.ERROR, MODULE, KeySet()
    try:
        instance = _instance(request, reply, early)
        module = instance.name
        keyset = loads(_bytes(request.data), limits=instance.config.limits)
        status = instance.run(operation, keyset, parent, phase)
        module = instance.name
    except (ConfigError, DumpError, PluginProcessError) as error:
        _set_error(parent, _as_elektra_error(error), module)
    reply.status = status
    _keep(reply.module, kept, module.encode("utf-8", "surrogateescape"))
    _keep(reply.parent, kept, dumps(KeySet([parent])))
    if status is Status.SUCCESS:
        _keep(reply.data, kept, dumps(keyset))


def _contract(request: Any, reply: Any, kept: list[Any], early: list[Child]) -> None:
    try:
        config = PluginConfig.from_keyset(loads(_bytes(request.config)))
        contract = _contracts.ask(config, _environ)
        _keep(reply.data, kept, dumps(contract.keyset()))
        reply.status = Status.SUCCESS
    except (ConfigError, DumpError, PluginProcessError, ContractError) as error:
        _put_error(reply, kept, _as_elektra_error(error))


def _checkconf(request: Any, reply: Any, kept: list[Any], early: list[Child]) -> None:
    parent = _parent(request)
    keyset = loads(_bytes(request.config))
    module = MODULE
    status = Status.ERROR
    try:
        config = PluginConfig.from_keyset(keyset)
        contract = _contracts.ask(config, _environ)
        module = contract.name
        problem = contract.mount_problem()
        if problem:
            _set_error(parent, Installation(problem), module)
        else:
            status = check_configuration(config, contract.operations, contract.dialect, keyset, parent)
    except (ConfigError, DumpError, PluginProcessError, ContractError) as error:
        _set_error(parent, _as_elektra_error(error), module)
    reply.status = status
    _keep(reply.module, kept, module.encode("utf-8", "surrogateescape"))
    _keep(reply.parent, kept, dumps(KeySet([parent])))
    if status is Status.SUCCESS:
        _keep(reply.data, kept, dumps(keyset))


def check_configuration(
    config: PluginConfig, operations: frozenset[str], dialect: str, keyset: KeySet, parent: Key
) -> Status:
    """Let the program check its configuration, and note the dialect that it speaks. Raises PluginProcessError.

    SUCCESS when `keyset` was changed, ERROR with the reason on `parent`, else NO_UPDATE.
    """
    status = Status.NO_UPDATE
    if "checkconf" in operations:
        process = config.process(_environ, dialect)
        try:
            status = process.checkconf(keyset, parent)
        finally:
            process.end()
    if status is not Status.ERROR and config.protocol == "auto":
        keyset.append(Key("user:/protocol", dialect))
        status = Status.SUCCESS
    return status


def _end(request: Any, reply: Any, kept: list[Any], early: list[Child]) -> None:
    _drop_instance(request.instance)
    reply.status = Status.SUCCESS


_HANDLERS = {1: _start, 2: _call, 3: _contract, 4: _checkconf, 5: _end}


# --- instances


def _instance(request: Any, reply: Any, early: list[Child]) -> Instance:
    instance = _instances.get(request.instance)
    number = request.instance
    if instance is None:
        config = PluginConfig.from_keyset(loads(_bytes(request.config)))
        instance = Instance(config, early.pop() if early else None)
        number = next(_numbers)
        _instances[number] = instance
    reply.instance = number
    return instance


def _drop_instance(number: int) -> None:
    instance = _instances.pop(number, None)
    if instance is not None:
        try:
            instance.process.end()
        except BaseException:  # it is given up anyway, and there is nobody to tell
            pass


def _end_all() -> None:
    """Whoever owns the interpreter ends it (our own never is); the children must not outlive it."""
    for number in list(_instances):
        _drop_instance(number)


# --- errors


def _as_elektra_error(error: BaseException) -> ElektraError:
    if isinstance(error, PluginProcessError):
        return error.elektra_error()
    if isinstance(error, ConfigError):
        return Installation(str(error))
    if isinstance(error, ContractError):
        return PluginMisbehavior(str(error))
    if isinstance(error, DumpError):
        return Interface(f"these keys cannot be handed to the program: {error}")
    if isinstance(error, MemoryError):
        return OutOfMemory("out of memory")
    if isinstance(error, KeyboardInterrupt):
        return Resource("interrupted")
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})" if trace is not None else ""
    return Internal(f"a bug in stdioproc: {type(error).__name__}: {error}{where}; please report it")


def _set_error(parent: Key, error: ElektraError, module: str) -> None:
    error.module = error.module or module
    # What happened at open is told about the key of the operation that caused it.
    error.mountpoint = error.configfile = ""
    set_error(parent, error)


def _put_error(reply: Any, kept: list[Any], error: ElektraError) -> None:
    """For requests without a parent key, and when everything else has failed."""
    reply.status = Status.ERROR
    _keep(reply.number, kept, error.number.encode())
    _keep(reply.reason, kept, error.reason.encode("utf-8", "surrogateescape"))
    if error.module:
        _keep(reply.module, kept, error.module.encode("utf-8", "surrogateescape"))


# --- bytes


def _bytes(field: Any) -> bytes:
    return bytes(_ffi.buffer(field.data, field.size)) if field.size else b""


def _parent(request: Any) -> Key:
    return loads(_bytes(request.parent))[0]


def _keep(field: Any, kept: list[Any], data: bytes) -> None:
    """Point a field of the reply at `data`, which lives until the reply is released."""
    view = _ffi.from_buffer(data)
    kept.append(view)
    field.data = view
    field.size = len(data)
