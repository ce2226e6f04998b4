"""Elektra keys and their text form: names, keysets, dump and quickdump. No process, no protocol, no network.

from dumpfmt import Key, KeySet, dumps, loads

keyset = KeySet([Key("user:/a", "text", meta={"type": "string"}), Key("user:/b", b"\\0\\1")])
assert loads(dumps(keyset)) == keyset
"""

from dumpfmt.decode import Decoder, load, loads
from dumpfmt.encode import dump, dumps
from dumpfmt.errors import (
    DumpError,
    DumpSyntaxError,
    InvalidKeyName,
    InvalidNameInDump,
    LimitExceeded,
    TruncatedDump,
)
from dumpfmt.key import Key, Metadata, Value
from dumpfmt.keyset import KeySet
from dumpfmt.names import Namespace
from dumpfmt.scan import DEFAULT_LIMITS, Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dumpfmt import quickdump

__all__ = [
    "DEFAULT_LIMITS",
    "Decoder",
    "DumpError",
    "DumpSyntaxError",
    "InvalidKeyName",
    "InvalidNameInDump",
    "Key",
    "KeySet",
    "LimitExceeded",
    "Limits",
    "Metadata",
    "Namespace",
    "TruncatedDump",
    "Value",
    "dump",
    "dumps",
    "load",
    "loads",
    "quickdump",
]


def __getattr__(name: str) -> object:
    # Few programs need it, and every start of a child would pay for it.
    if name == "quickdump":
        return __import__("dumpfmt.quickdump", fromlist=[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
