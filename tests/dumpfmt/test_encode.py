"""Writing dumps: byte for byte what Elektra writes, and nothing that could not be read back."""

from __future__ import annotations

import base64
import io

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dumpfmt import DumpError, Key, KeySet, dump, dumps, encode, load, loads, testing

PARENT = "user:/tests/vec"


def keyset_of(row) -> KeySet:
    """The keyset of a row of storage.jsonl, with its metakeys shared as Elektra had them."""
    keyset = KeySet()
    for found in row["keyset"]:
        binary = base64.b64decode(found["binary"] or b"") if "binary" in found else None
        key = Key(found["name"], found.get("value", binary), dict(found.get("meta", ())))
        for name, source in found.get("shared", ()):
            assert key.copy_meta(keyset[source], name)
        keyset.append(key)
    return keyset


@pytest.mark.vectors("storage")
def test_a_dump_with_full_names_is_elektras(row):
    assert dumps(keyset_of(row)) == base64.b64decode(row["dump_full"])


@pytest.mark.vectors("storage")
def test_a_dump_with_relative_names_is_elektras(row):
    assert dumps(keyset_of(row), PARENT) == base64.b64decode(row["dump_relative"])


@pytest.fixture(params=["compiled", "python"])
def writer(request, monkeypatch):
    """`dumps` with and without the compiled part."""
    if request.param == "compiled" and encode.native is None:
        pytest.skip("the compiled part was not built")
    if request.param == "python":
        monkeypatch.setattr(encode, "native", None)
    return dumps


def test_the_example_of_the_documentation(writer):
    first, second = Key("user:/t/a", "1", {"type": "long"}), Key("user:/t/b", "2")
    second.copy_meta(first, "type")
    assert writer(KeySet([first, second])) == (
        b"kdbOpen 2\n$key string 9 1\nuser:/t/a\n1\n$meta 4 4\ntype\nlong\n"
        b"$key string 9 1\nuser:/t/b\n2\n$copymeta 9 4\nuser:/t/a\ntype\n$end\n"
    )


@pytest.mark.parametrize(
    ("value", "record"),
    [
        ("x\ny", b"$key string 7 3\nuser:/a\nx\ny\n"),
        ("", b"$key string 7 0\nuser:/a\n\n"),
        (None, b"$key binary 7 0\nuser:/a\n\n$meta 6 0\nbinary\n\n"),
        (b"\0", b"$key binary 7 1\nuser:/a\n\0\n$meta 6 0\nbinary\n\n"),
        ("ö", b"$key string 7 2\nuser:/a\n\xc3\xb6\n"),
        ("\udcff", b"$key string 7 1\nuser:/a\n\xff\n"),
    ],
)
def test_a_value_is_written_as_it_is(writer, value, record):
    assert writer(KeySet([Key("user:/a", value)])) == b"kdbOpen 2\n" + record + b"$end\n"


def test_equal_metadata_that_is_not_shared_is_written_twice(writer):
    keyset = KeySet([Key("user:/a", "", {"m": "1"}), Key("user:/b", "", {"m": "1"})])
    assert writer(keyset).count(b"$meta 1 1\nm\n1\n") == 2


@given(keyset=testing.keysets())
def test_both_writers_write_the_same(keyset):
    compiled = dumps(keyset)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encode, "native", None)
        assert dumps(keyset) == compiled


@given(testing.keysets(), st.data())
def test_a_keyset_that_was_read_and_changed_is_written_as_one_that_was_built(keyset, data):
    read = loads(dumps(keyset))
    built = loads(dumps(keyset), parser="python")
    for name in data.draw(st.lists(st.sampled_from([key.name for key in keyset]), max_size=4)) if len(keyset) else ():
        action = data.draw(st.sampled_from(["look", "value", "meta", "replace", "remove", "add"]))
        for each in (read, built):
            if action == "add" or name not in each:
                each.append(Key(name).child("new", "1"))
            elif action == "look":
                assert each[name].name == name
            elif action == "value":
                each[name].value = b"changed"
            elif action == "meta":
                each[name].meta["new"] = "1"
            elif action == "replace":
                each.append(Key(name, "replaced"))
            else:
                del each[name]
    assert dumps(read) == dumps(built)


def test_a_relative_dump_refuses_a_key_elsewhere():
    with pytest.raises(DumpError, match=r"user:/b is not below user:/a"):
        dumps(KeySet([Key("user:/b")]), "user:/a")


def test_a_cascading_parent_takes_keys_of_one_namespace():
    assert b"$key string 1 0\nb\n\n" in dumps(KeySet([Key("user:/a/b")]), "/a")


def test_a_cascading_parent_refuses_keys_that_would_become_one():
    with pytest.raises(DumpError, match="namespace"):
        dumps(KeySet([Key("user:/a/b"), Key("system:/a/b")]), "/a")


@pytest.mark.parametrize("parent", ["user:/\\#5", "user:/#5"])
@pytest.mark.parametrize("name", ["user:/\\#5/x", "user:/#5/x", "user:/#5/a\\#10"])
def test_a_parent_in_another_spelling_is_cut_off_all_the_same(parent, name):
    found = loads(dumps(KeySet([Key(name)]), parent), parent)
    assert [key.unescaped for key in found] == [Key(name).unescaped]


def test_what_could_not_be_read_back_below_the_parent_is_refused():
    with pytest.raises(DumpError):
        dumps(KeySet([Key("user:/a")]), "user:/%")  # the root by its other name: Elektra reads user:/%/a


@given(testing.names(testing.STORED_NAMESPACES), st.data())
def test_relative_names_are_read_back(parent, data):
    assume(Key(parent).unescaped[1:] != b"\0\0" or parent.endswith(":/"))
    keyset = data.draw(testing.keysets(testing.names_below(parent)))
    assert loads(dumps(keyset, parent), parent) == keyset


@given(testing.keysets(), st.sampled_from(["fast", "python", "lark"]))
def test_a_file_is_read_back(keyset, parser):
    file = io.BytesIO()
    dump(keyset, file)
    file.seek(0)
    assert load(file, parser=parser) == keyset
