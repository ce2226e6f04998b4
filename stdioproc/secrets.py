"""Values that must not be quoted: what marks them, and how they are kept out of messages and traces.

A key is secret when it has the metadata `secret`, or Elektra's own `crypto/encrypt`, with a value other than `0`.
"""

from __future__ import annotations

from collections.abc import Iterable

from dumpfmt import Key, KeySet
from dumpfmt.text import encode, shown

MARKS = ("secret", "crypto/encrypt")
MASK = b"***"

# A piece of a secret at the edge of an excerpt is recognised from so many bytes on.
_SHORTEST_PIECE = 4


def is_mark(name: str, value: str) -> bool:
    """Whether this metadata makes its key secret."""
    return name in MARKS and value not in ("", "0")


def is_secret(key: Key) -> bool:
    return any(is_mark(name, key.meta.get(name, "")) for name in MARKS)


def values_of(*keysets: KeySet | None) -> list[bytes]:
    """The values of the secret keys, as they may stand in messages: as they are, and as messages escape them; longest first."""
    found: set[bytes] = set()
    for keyset in keysets:
        for key in keyset if keyset is not None else ():
            value = key.value
            if value and is_secret(key):
                raw = encode(value) if isinstance(value, str) else value
                found |= {raw, shown(raw, len(raw))[1:-1].encode()}
    return sorted(found, key=len, reverse=True)


def mask(data: bytes, secrets: Iterable[bytes]) -> bytes:
    """`data` with each secret masked, also where the excerpt begins or ends inside one."""
    for secret in secrets:
        data = data.replace(secret, MASK)
        for size in range(len(secret) - 1, _SHORTEST_PIECE - 1, -1):
            if data.startswith(secret[-size:]):
                data = MASK + data[size:]
            if data.endswith(secret[:size]):
                data = data[: len(data) - size] + MASK
    return data


def mask_text(text: str, secrets: list[bytes]) -> str:
    return mask(encode(text), secrets).decode("utf-8", "surrogateescape") if secrets else text
