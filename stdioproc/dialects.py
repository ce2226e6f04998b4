"""The two wordings of the protocol, as data (docs/protocol.md)."""

from __future__ import annotations

#: Every operation of an Elektra plugin that can be asked of a child, in the order of a plugin's life.
OPERATIONS = ("open", "get", "set", "commit", "error", "checkconf", "close")

#: The metadata of a parent key that tells the placement being served, in the dialect stdioproc (docs/protocol.md).
PHASE = "internal/stdioproc/phase"

#: Bytes that a line outside keysets may have, in any dialect, unless told otherwise.
LINE_LIMIT = 4096


class Dialect:
    """One wording: its words, its contract root, its operations and which keysets go with each."""

    __slots__ = (
        "ack",
        "init",
        "name",
        "operations",
        "replies_with_data",
        "requests_with_data",
        "root",
        "terminate",
    )

    def __init__(
        self,
        name: str,
        *,
        operations: tuple[str, ...],
        requests_with_data: tuple[str, ...],
        replies_with_data: tuple[str, ...],
    ) -> None:
        word = name.upper()
        self.name = name
        self.init = f"ELEKTRA_{word} INIT v1"
        self.ack = f"ELEKTRA_{word} ACK v1"
        self.terminate = f"ELEKTRA_{word} TERMINATE"
        self.root = f"system:/elektra/modules/{name}"
        self.operations = operations
        self.requests_with_data = frozenset(requests_with_data)
        self.replies_with_data = frozenset(replies_with_data)

    def __repr__(self) -> str:
        return f"<dialect {self.name}>"


#: The user's draft (seed 002): seven operations, and two keysets each way for every one of them.
STDIOPROC = Dialect("stdioproc", operations=OPERATIONS, requests_with_data=OPERATIONS, replies_with_data=OPERATIONS)

#: What Elektra released from 0.9.9 to 0.11 (facts 7.2, 7.3).
PROCESS = Dialect(
    "process",
    operations=("open", "get", "set", "close"),
    requests_with_data=("open", "get", "set"),
    replies_with_data=("get", "set"),
)

DIALECTS = {dialect.name: dialect for dialect in (STDIOPROC, PROCESS)}
