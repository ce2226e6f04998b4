"""What goes wrong between a host and its child, told with everything that is known."""

from __future__ import annotations

from dumpfmt.text import shown
from stdioproc.errors import ElektraError, Installation, PluginMisbehavior, Resource


class PluginProcessError(Exception):
    """A child did not do its part; the keysets of the operation are as they were.

    Attributes: `program` (str), `phase` (str: start, handshake or an operation), `reason` (str), `elapsed` (float, seconds in
    the phase), `ending` (str: exit status or signal, empty while it runs), `last_bytes` and `stderr` (bytes, the ends of what
    it wrote). `category` is the Elektra error that a host reports for it (protocol.md, Codes).
    """

    category: type[ElektraError] = Resource

    def __init__(
        self,
        program: str,
        phase: str,
        reason: str,
        *,
        elapsed: float = 0.0,
        ending: str = "",
        last_bytes: bytes = b"",
        stderr: bytes = b"",
    ) -> None:
        self.program = program
        self.phase = phase
        self.reason = reason
        self.elapsed = elapsed
        self.ending = ending
        self.last_bytes = last_bytes
        self.stderr = stderr
        super().__init__(self._message())

    def _message(self) -> str:
        text = f"{self.program}: {self.reason} ({self.phase}, after {self.elapsed:.2f} s)"
        if self.ending and self.ending not in self.reason:
            text += f"; it ended with {self.ending}"
        if self.last_bytes:
            text += f"; its last bytes were {shown(self.last_bytes[-80:], 80)}"
        if self.stderr:
            text += "; its stderr ends:\n" + self.stderr.decode("utf-8", "backslashreplace").rstrip("\n")
        return text

    def elektra_error(self) -> ElektraError:
        """The same as an error for a parent key."""
        return self.category(str(self))


class PluginStartError(PluginProcessError):
    """The program could not be started."""


class PluginDisabled(PluginStartError):
    """STDIOPROC_DISABLE=1 keeps every child from starting."""

    category = Installation


class PluginRefused(PluginStartError):
    """The program must not be started as it is: others can replace it, or it is not the one that was pinned."""

    category = Installation


class PluginDied(PluginProcessError):
    """The child ended although something was due from it."""


class PluginTimeout(PluginProcessError):
    """A deadline passed."""


class PluginProtocolError(PluginProcessError):
    """The child said what the protocol does not allow."""

    category = PluginMisbehavior


class PluginOpenError(PluginProcessError):
    """The child answered `error` to open. Attribute `error` is what it said."""

    category = PluginMisbehavior

    def __init__(self, program: str, error: ElektraError, *, elapsed: float = 0.0, stderr: bytes = b"") -> None:
        self.error = error
        super().__init__(program, "open", f"open failed: {error}", elapsed=elapsed, stderr=stderr)

    def elektra_error(self) -> ElektraError:
        return self.error
