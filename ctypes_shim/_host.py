"""What the Python side asks of the C program that it runs in."""

from __future__ import annotations

from collections.abc import Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


def quiet(kind: object, error: object, trace: object) -> None:
    """Without it cffi prints a traceback to the host's standard error; the C side reports the failure itself."""


class HostEnvironment(Mapping[str, str]):
    """The environment of the host as it is now. os.environ is a copy from when Python started, which may be long ago."""

    def __init__(self, ffi: Any, lib: Any) -> None:
        self._ffi = ffi
        self._lib = lib

    def __getitem__(self, name: str) -> str:
        value = self._lib.getenv(name.encode("utf-8", "surrogateescape"))
        if value == self._ffi.NULL:
            raise KeyError(name)
        return bytes(self._ffi.string(value)).decode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        raise TypeError("only single variables are looked up")

    def __len__(self) -> int:
        raise TypeError("only single variables are looked up")
