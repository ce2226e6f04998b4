"""Makes corpus/ anew from the answers of a real Elektra (tests/vectors): `python fuzz/seeds.py`.

Small inputs of every kind; `run.py` finds the rest.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
VECTORS = HERE.parent / "tests" / "vectors"
#: Of each kind, so many inputs of at most so many bytes.
COUNT, SIZE = 24, 1200


def rows(name: str) -> Iterator[dict[str, Any]]:
    for line in (VECTORS / name).read_text("utf-8").splitlines():
        yield json.loads(line)


def spread(found: Iterable[bytes], count: int = COUNT) -> list[bytes]:
    """Some of them, from the shortest to the longest that is not too long."""
    fitting = sorted({data for data in found if len(data) <= SIZE}, key=lambda data: (len(data), data))
    return [fitting[i * (len(fitting) - 1) // (count - 1)] for i in range(count)] if len(fitting) > count else fitting


def stored(column: str) -> Iterator[bytes]:
    return (base64.b64decode(row[column]) for row in rows("storage.jsonl"))


def dumps() -> list[bytes]:
    odd = [base64.b64decode(row["bytes"]) for row in rows("dump_reader.jsonl")]
    return spread(stored("dump_full")) + spread(odd, 60)


def names() -> Iterator[bytes]:
    sorted_names = [row["sorted"] for row in rows("order.jsonl")]
    for found in sorted_names:
        for first, second in pairwise(found):
            yield b"\xff\xff".join(name.encode() for name in (first, second, found[0]))
    for row in rows("names.jsonl"):
        yield str(row["in"]).encode("utf-8", "surrogateescape")


def conversations() -> Iterator[bytes]:
    for row in rows("kdb_process.jsonl"):
        for child in row["children"]:
            for who, role in (("parent", 1), ("child", 2)):
                said = "".join(message["bytes"] for message in child if message["from"] == who)
                yield bytes([role, 0]) + said.encode("utf-8", "surrogateescape")
                yield bytes([role, 3]) + said.replace("_PROCESS", "_STDIOPROC").encode("utf-8", "surrogateescape")


def version_1() -> Iterator[bytes]:
    def record(command: str, first: bytes, second: bytes) -> bytes:
        return b"%b %d %d\n%b%b\n" % (command.encode(), len(first), len(second), first, second)

    key = record("keyNew", b"user/t/a\0", b"text\0")
    meta = record("keyMeta", b"type\0", b"long\0")
    other = record("keyNew", b"system/b\0", b"\0\1\xff")
    binary = record("keyMeta", b"binary\0", b"\0")
    copy = record("keyCopyMeta", b"user/t/a\0", b"type\0")
    yield b"\0kdbOpen 1\nksNew 0\nksEnd\n"
    yield b"\0kdbOpen 1\nksNew 1\n" + key + b"keyEnd\nksEnd\n"
    yield b"\0ksNew 2\n" + key + meta + b"keyEnd\n" + other + binary + copy + b"keyEnd\nksEnd\n"
    yield b"\1kdbOpen 1\n" + key + meta + meta + b"keyEnd\n"
    yield b"\2" + record("keyNew", b"/a\0", b"\0") + copy + b"keyEnd\nksNew 0\nksEnd\n"


def corpora() -> dict[str, list[bytes]]:
    found = dumps()
    pairs = [first + b"\xff\xff\xff" + second for first, second in pairwise(spread(stored("dump_full")))]
    return {
        "dumpscan": [bytes([i % 5]) + data for i, data in enumerate(found)],
        "names": spread(names(), 120),
        "keyset_dump": found + spread(pairs),
        "keeper_options": [
            b"-",
            b"memory=1048576,cpu=2,files=64",
            b"exec=5",
            b"exec=5,keep=6",
            b"files=x",
            b"a",
            b"cpu=-1",
        ],
        "records": [bytes([i % 3 | (i % 2) << 7, i % 9, i * 37 % 256]) + data for i, data in enumerate(found)],
        "connection": spread(conversations(), 40),
        "quickdump": [bytes([i % 3 << 2]) + data for i, data in enumerate(spread(stored("quickdump"), 40))],
        "v1": list(version_1()),
    }


def main() -> int:
    shutil.rmtree(HERE / "corpus", ignore_errors=True)
    for target, inputs in corpora().items():
        directory = HERE / "corpus" / target
        directory.mkdir(parents=True)
        for data in inputs:
            (directory / hashlib.sha1(data).hexdigest()[:16]).write_bytes(data)
        print(f"{target:15} {len(inputs)} inputs, {sum(map(len, inputs))} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
