"""Values that are marked secret stand in no message and in no trace."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dumpfmt import Key, KeySet, dumps
from stdioproc.cli.dialogue import records, without_secrets
from stdioproc.host import PluginProcess, PluginProcessError
from stdioproc.secrets import MASK, is_secret, mask, values_of

SECRET = "correct horse battery staple"

# Answers the handshake, and to a get with all that it was sent: on stdout, where it is no answer, and on stderr.
BABBLER = """
import os
os.read(0, 99)
os.write(1, b"ELEKTRA_STDIOPROC ACK v1\\nbabbler\\nkdbOpen 2\\n$key string 11 1\\nexports/get\\n1\\n$end\\n")
told = os.read(0, 99999)
os.write(2, told)
os.write(1, told)
"""


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        ({}, False),
        ({"secret": "1"}, True),
        ({"secret": "0"}, False),
        ({"crypto/encrypt": "1"}, True),
        ({"crypto/encrypt": "0"}, False),
        ({"type": "string"}, False),
    ],
)
def test_what_marks_a_secret(meta: dict[str, str], expected: bool) -> None:
    assert is_secret(Key("user:/a", "x", meta=meta)) is expected


@given(st.binary(min_size=4, max_size=12), st.binary(max_size=20), st.binary(max_size=20), st.data())
def test_no_excerpt_keeps_a_secret(secret: bytes, before: bytes, behind: bytes, data: st.DataObject) -> None:
    whole = before + secret + behind
    start = data.draw(st.integers(0, len(whole)))
    assert secret not in mask(whole[start:], [secret]).replace(MASK, b"")


def test_an_excerpt_that_begins_inside_a_secret_is_masked() -> None:
    assert mask(b"battery staple\n$end", [SECRET.encode()]) == MASK + b"\n$end"
    assert mask(b"value: correct ho", [SECRET.encode()]) == b"value: " + MASK


@pytest.mark.parametrize("marked", [True, False])
def test_an_error_quotes_no_secret_of_the_request(marked: bool) -> None:
    keyset = KeySet([Key("user:/p/password", SECRET, meta={"secret": "1"} if marked else {})])
    plugin = PluginProcess([sys.executable, "-c", BABBLER], protocol="stdioproc", start_timeout=20.0)
    plugin.start()
    with pytest.raises(PluginProcessError) as failed:
        plugin.get(keyset, Key("user:/p"))
    plugin.end()
    told = "".join(
        [str(failed.value), repr(failed.value.last_bytes), repr(failed.value.stderr), repr(failed.value.__cause__)]
    )
    assert (SECRET in told) is not marked
    assert keyset["user:/p/password"].value == SECRET


def test_an_error_quotes_no_secret_of_the_configuration() -> None:
    config = KeySet([Key("user:/config/token", SECRET, meta={"crypto/encrypt": "1"})])
    assert SECRET.encode() in values_of(config)


def test_a_dialogue_shows_no_secret() -> None:
    keyset = KeySet([Key("user:/a", "seen"), Key("user:/b", SECRET, meta={"comment": "c", "secret": "1"})])
    shared = Key("user:/c", SECRET)
    shared.copy_meta(keyset["user:/b"], "secret")
    keyset.append(shared)
    message = b"success\n" + dumps(keyset)
    shown = b"".join(without_secrets(list(records(message))))
    assert SECRET.encode() in message
    assert SECRET.encode() not in shown
    assert b"seen" in shown
