"""Runs in a process of its own: what a decoded keyset takes, in bytes, as JSON.

Arguments: a file with a dump, `pieces` (as it comes through a pipe) or `whole`, a parser, and none, some or all (of the keys
are touched).
"""

from __future__ import annotations

import json
import re
import sys

from dumpfmt import Decoder, KeySet, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dumpfmt.decode import Parser

_STEP = {"none": 0, "some": 100, "all": 1}


def memory(field: str) -> int:
    """VmRSS (what is held now) or VmHWM (the most that ever was), in bytes."""
    with open("/proc/self/status", encoding="ascii") as file:
        found = re.search(rf"{field}:\s*(\d+) kB", file.read())
    assert found is not None
    return int(found[1]) * 1024


def read(path: str, how: str, parser: Parser) -> KeySet:
    with open(path, "rb", buffering=0) as file:
        if how == "whole":
            return loads(file.read(), parser=parser)
        decoder = Decoder(parser=parser)
        while True:
            keyset = decoder.feed(file.read(1 << 20))
            if keyset is not None:
                return keyset


def main(path: str, how: str, parser: Parser, touched: str) -> None:
    loads(b"kdbOpen 2\n$key string 6 1\nuser:/\n1\n$end\n", parser=parser)  # what is made once is not the keyset's
    before = memory("VmRSS")
    keyset = read(path, how, parser)
    step = _STEP[touched]
    if step:
        for key in keyset if step == 1 else (keyset[i] for i in range(0, len(keyset), step)):
            key.name, key.value, list(key.meta.items())  # being looked at is the point
    print(json.dumps({"held": memory("VmRSS") - before, "peak": memory("VmHWM") - before, "keys": len(keyset)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4])  # type: ignore[arg-type]  # Decoder looks at the parser's name
