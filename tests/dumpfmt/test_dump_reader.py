"""Odd input: what Elektra's reader does with it (tests/vectors/dump_reader.jsonl), and what ours does.

Our answers are data (tests/vectors/dump_reader_ours.jsonl): a case is agreed, or it is refused with this message; where Elektra
accepts it, for the reason given there. The table in docs/dump-format.md is that data.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from dumpfmt import DumpError, Key, KeySet, loads

ROOT = Path(__file__).parents[2]
PARSERS = ["fast", "python", "lark"]


def rows(name: str) -> list[dict]:
    return [json.loads(line) for line in (ROOT / f"tests/vectors/{name}.jsonl").read_text("utf-8").splitlines()]


ELEKTRA = {row["case"]: row for row in rows("dump_reader")}
OURS = {row["case"]: row for row in rows("dump_reader_ours")}
DOCUMENT = ROOT / "docs" / "dump-format.md"
BEGIN, END = "<!-- table: stricter -->\n", "<!-- end -->\n"


def keyset_of(row: dict) -> KeySet:
    keyset = KeySet()
    for found in row["keys"]:
        value = found["value"] if "value" in found else base64.b64decode(found["binary"] or b"")
        key = Key(found["name"], value, dict(found.get("meta", ())))
        for name, source in found.get("shared", ()):
            key.copy_meta(keyset[source], name)
        keyset.append(key)
    return keyset


def test_every_case_has_an_answer_of_ours():
    assert list(OURS) == list(ELEKTRA)


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("case", [case for case in ELEKTRA if "refused" not in OURS[case]])
def test_what_is_read_is_what_elektra_reads(case, parser):
    row = ELEKTRA[case]
    assert row["rc"] == 1
    found = loads(base64.b64decode(row["bytes"]), parser=parser)
    assert found == keyset_of(row)


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("case", [case for case in OURS if "refused" in OURS[case]])
def test_what_is_refused_says_why(case, parser):
    with pytest.raises(DumpError) as caught:
        loads(base64.b64decode(ELEKTRA[case]["bytes"]), parser=parser)
    assert type(caught.value).__name__ == OURS[case]["error"]
    assert str(caught.value) == OURS[case]["refused"]


@pytest.mark.parametrize("case", [case for case in ELEKTRA if ELEKTRA[case].get("rc") != 1])
def test_what_elektra_refuses_or_dies_of_is_refused(case):
    assert "refused" in OURS[case]


def table() -> str:
    """The cases that Elektra accepts, or dies of, and we refuse."""
    lines = ["| input | Elektra's reader | why it is refused here |", "|---|---|---|"]
    for case, ours in OURS.items():
        if "why" in ours:
            lines.append(
                f"| {shown(base64.b64decode(ELEKTRA[case]['bytes']))} | {answer(ELEKTRA[case])} | {ours['why']} |"
            )
    return "\n".join(lines) + "\n"


def shown(data: bytes) -> str:
    text = data.decode("utf-8").removeprefix("kdbOpen 2\n").removesuffix("$end\n")
    return "`" + text.replace("\n", "⏎").replace("\t", "⇥").replace("\0", "␀") + "`"


def answer(row: dict) -> str:
    if "crashed" in row:
        return "aborts the process"
    if not row["keys"]:
        return "reads no key"
    parts = []
    for key in row["keys"]:
        meta = "".join(f", `{name}` = {value!r}" for name, value in key.get("meta", ()))
        parts.append(f"{key['value']!r}{meta}")
    return "reads " + " and ".join(parts)


def test_the_table_in_the_documentation_is_this_data():
    text = DOCUMENT.read_text("utf-8")
    assert text.partition(BEGIN)[2].partition(END)[0] == table(), f"put this between the two marks:\n{table()}"
