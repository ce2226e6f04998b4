"""Writing to a pipe without a reader, without a signal."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # what `signal` is made of
import signal

_SIGPIPE = (int(signal.SIGPIPE),)


class sigpipe_blocked:
    """Writing to a child that is gone gives EPIPE, and never the signal that would end the host.

    Python ignores SIGPIPE, but a host may have set it to its default, and an embedded interpreter leaves it there.
    """

    __slots__ = ("_before", "_theirs")

    # _signal: what `signal` puts around these makes enums of all signals, which takes longer than the calls.
    def __enter__(self) -> None:
        self._before = _signal.pthread_sigmask(signal.SIG_BLOCK, _SIGPIPE)
        self._theirs = signal.SIGPIPE in self._before or signal.SIGPIPE in _signal.sigpending()

    def __exit__(self, *exc_info: object) -> None:
        try:
            while not self._theirs and signal.SIGPIPE in _signal.sigpending():
                signal.sigtimedwait(_SIGPIPE, 0)
        finally:
            _signal.pthread_sigmask(signal.SIG_SETMASK, self._before)
