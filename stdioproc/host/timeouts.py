"""How long a host waits, in seconds, unless it was told otherwise. A wait without a bound is a defect (docs/protocol.md)."""

START_TIMEOUT = 5.0
OPERATION_TIMEOUT = 60.0
CLOSE_TIMEOUT = 2.0
