"""Keysets in the formats of `stdioproc call`."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dumpfmt import DumpError, Key, KeySet, dumps, quickdump
from stdioproc.cli import keysets
from stdioproc.cli.keysets import JsonError

PARENT = Key("user:/p")

# Any bytes without NUL are text.
texts = st.binary(max_size=12).map(lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape"))
values = st.one_of(texts, st.binary(max_size=12), st.none())


@st.composite
def keys(draw: st.DrawFn) -> Key:
    key = PARENT.child(draw(texts), draw(values))
    for name, content in draw(st.dictionaries(texts.filter(bool), texts, max_size=3)).items():
        metaname = Key("meta:/").child(name).name
        if metaname != "meta:/binary":
            key.meta[metaname] = content
    return key


@given(st.lists(keys(), max_size=4).map(KeySet), st.sampled_from(keysets.FORMATS))
def test_what_is_written_is_read_again(keyset: KeySet, form: str) -> None:
    data = keysets.write(keyset, form, PARENT)
    assert keysets.read(data, PARENT) == (keyset, form)


def test_the_json_form_is_the_documented_one() -> None:
    keyset = KeySet(
        [
            Key("user:/a", "text", {"type": "string"}),
            Key("user:/b", b"\0\1"),
            Key("user:/c", None, {"binary": "kind"}),
            Key("user:/d", "\udcff"),
            Key("user:/\udcff", "ü", {"\udcff": "\udcff"}),
        ]
    )
    written = keysets.to_json(keyset)
    assert json.loads(written) == [
        {"name": "user:/a", "value": "text", "meta": {"type": "string"}},
        {"name": "user:/b", "binary": "AAE=", "meta": {}},
        {"name": "user:/c", "binary": None, "meta": {"binary": "kind"}},
        {"name": "user:/d", "value": {"base64": "/w=="}, "meta": {}},
        {
            "name": {"base64": "dXNlcjov/w=="},
            "value": "ü",
            "meta": [{"name": {"base64": "/w=="}, "value": {"base64": "/w=="}}],
        },
    ]
    assert len(written.splitlines()) == len(keyset) + 2
    assert keysets.from_json(written) == keyset
    assert keysets.from_json(b'[{"name": "user:/x"}]') == KeySet([Key("user:/x")])


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("[", "line 1, column 2: no JSON"),
        ("[" * 100_000, "nested too deeply"),
        (b'["\xff"]', "is not UTF-8 (byte 2)"),
        ('{"name": "user:/a"}', "is a list of keys"),
        ("[3]", "key 1 of the list: it is no object"),
        ("[{}]", "key 1 of the list: it has no name"),
        ('[{"name": "a"}]', "key 1 of the list: invalid key name 'a'"),
        ('[{"name": "/a"}, {"name": "/a"}]', "key 2 of the list: there are two keys /a"),
        ('[{"name": "/a", "name": "/b"}]', "an object has 'name' twice"),
        ('[{"name": "/a", "val": ""}]', "it has 'val'; known are"),
        ('[{"name": "/a", "value": "", "binary": null}]', "both value (text) and binary"),
        ('[{"name": "/a", "value": 3}]', "value must be text"),
        ('[{"name": "/a", "value": null}]', "value must be text"),
        ('[{"name": "/a", "value": "\\u0000"}]', "holds a NUL"),
        ('[{"name": "/a", "value": "\\ud800"}]', "lone surrogate"),
        ('[{"name": "/a", "binary": "ä"}]', "binary must be base64"),
        ('[{"name": "/a", "binary": "AAE"}]', "binary must be base64"),
        ('[{"name": "/a", "meta": 3}]', "meta is an object"),
        ('[{"name": "/a", "meta": {"x": 1}}]', "the metadata x must be text"),
        ('[{"name": "/a", "meta": {"": "x"}}]', "no name for the metadata"),
        ('[{"name": "/a", "meta": {"binary": ""}}]', "holds text"),
        ('[{"name": "/a", "meta": {"x": "", "meta:/x": ""}}]', "the metadata 'meta:/x' twice"),
        ('[{"name": "/a", "meta": [{"name": "x"}]}]', "meta is an object"),
    ],
)
def test_json_that_is_no_keyset_is_refused_with_the_place(written: str | bytes, words: str) -> None:
    with pytest.raises(JsonError) as caught:
        keysets.from_json(written if isinstance(written, bytes) else written.encode())
    assert words in str(caught.value)


def test_formats_are_recognised_by_their_first_bytes() -> None:
    assert keysets.detect(dumps(KeySet())) == "dump"
    assert keysets.detect(b"kdbOpen 1\n") == "dump"
    assert keysets.detect(quickdump.dumps(KeySet(), "/")) == "quickdump"
    assert keysets.detect(b" \n []") == "json"
    assert keysets.detect(b"") is None
    assert keysets.read(b"\n", PARENT) == (KeySet(), None)
    with pytest.raises(DumpError, match=r"begins with 'hello'.*a dump begins with"):
        keysets.read(b"hello", PARENT)
