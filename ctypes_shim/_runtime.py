"""The Python side of the plugin, inside the host: requests of the thin library become calls of `stdioproc.host`.

Bytes come in and bytes go out; the layout is csrc/bridge.h. Nothing here prints, keeps a thread alive or changes the host's
environment, signals or working directory, and no exception leaves it.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # without importing typing: every kdb command that uses a mountpoint pays for what is imported here
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from dumpfmt import KeySet
    from stdioproc.contract import Contract
    from stdioproc.host import PluginProcess
    from stdioproc.host.config import PluginConfig

#: Must be the number in csrc/bridge.h: a library of another build would be read wrongly.
BRIDGE_VERSION = 1

START, CALL, CONTRACT, CHECKCONF, END, FORGET = 1, 2, 3, 4, 5, 6
SUCCESS, NO_UPDATE, ERROR = 1, 0, -1

_ffi: Any
_lib: Any


def attach(ffi: Any, lib: Any) -> None:
    """Called once by the embedding library, with cffi's view of it."""
    global _ffi, _lib
    _ffi, _lib = ffi, lib
    ffi.def_extern(name="stdioproc_python_request", error=-1, onerror=_quiet)(_on_request)
    ffi.def_extern(name="stdioproc_python_release", onerror=_quiet)(_on_release)


def _quiet(kind: object, error: object, trace: object) -> None:
    """Without it cffi prints a traceback to the host's standard error; the C side reports the failure itself."""


def _on_request(request: Any, reply: Any) -> int:
    print("request", request.kind, file=sys.stderr)
    return -1


def _on_release(token: int) -> None:
    pass
