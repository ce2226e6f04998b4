"""What the interpreter in the host imports first: it takes the first request, and lets the program start up meanwhile.

Importing all that speaks to a program takes about as long as a program takes to start, so the program is started before the rest
is imported, and both go on at once. Every request, the first included, is answered by `_requests`.
"""

from __future__ import annotations

from ctypes_shim._host import HostEnvironment, quiet
from dumpfmt import loads

# At once, and not when it is first used: Python's signal module comes with it and takes SIGINT over, which the embedding library
# puts right after this import.
from stdioproc.host import spawn  # noqa: F401
from stdioproc.host.config import PluginConfig

# Without importing typing: every kdb command that uses a mountpoint pays for what is imported here.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stdioproc.host.spawn import Child

#: Must be the number in csrc/bridge.h: a library of another build would be read wrongly.
BRIDGE_VERSION = 1

# In bridge.h: the request to perform an operation, which is sure to need the program.
_CALL = 2


def attach(ffi: Any, lib: Any) -> None:
    """Called once by the embedding library, with cffi's view of it."""

    def first_request(request: Any, reply: Any) -> int:
        started = _start_early(ffi, lib, request)
        from ctypes_shim import _requests

        _requests.attach(ffi, lib)
        return _requests.on_request(request, reply, started)

    ffi.def_extern(name="stdioproc_python_request", error=-1, onerror=quiet)(first_request)
    ffi.def_extern(name="stdioproc_python_release", onerror=quiet)(lambda token: None)


def _start_early(ffi: Any, lib: Any, request: Any) -> Child | None:
    """The program of a first operation, started; None where that is not to be, or fails: the request itself says why."""
    environ = HostEnvironment(ffi, lib)
    if request.kind != _CALL or request.instance or environ.get("STDIOPROC_DISABLE") == "1":
        return None
    try:
        config = PluginConfig.from_keyset(loads(bytes(ffi.buffer(request.config.data, request.config.size))))
        # What a confined program may write is known when its first request is read.
        return config.spawn(environ) if config.trust.sandbox is None else None
    except Exception:
        return None
