"""Keys: the rules of values and metadata (facts 2 and 3)."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dumpfmt import InvalidKeyName, Key, Namespace, names, testing
from dumpfmt.key import MetaKey


@given(testing.keys())
def test_the_repr_evaluates_to_an_equal_key(key):
    assert eval(repr(key)) == key


@given(
    testing.keys(), st.sampled_from([copy.copy, copy.deepcopy, lambda key: pickle.loads(pickle.dumps(key)), Key.copy])
)
def test_a_copy_is_equal_and_its_own(key, duplicate):
    found = duplicate(key)
    assert found == key and found is not key and found.unescaped == key.unescaped


@given(testing.keys())
def test_a_change_of_a_copy_leaves_the_original(key):
    before = repr(key)
    found = key.copy()
    found.meta["new"] = "1"
    found.value = "changed"
    assert repr(key) == before


def test_keys_differ_in_name_value_or_metadata():
    key = Key("user:/a", "1", {"m": "1"})
    assert key == Key("user:/a", "1", {"m": "1"})
    assert key != Key("user:/b", "1", {"m": "1"})
    assert key != Key("user:/a", "2", {"m": "1"})
    assert key != Key("user:/a", "1", {"m": "2"})
    assert key != "user:/a"


def test_a_key_has_no_hash():
    with pytest.raises(TypeError):
        hash(Key("user:/a"))


def test_the_name_of_a_key_never_changes():
    with pytest.raises(AttributeError):
        Key("user:/a").name = "user:/b"


def test_the_namespace_is_the_first_byte_of_the_unescaped_name():
    assert Key("default:/a").namespace is Namespace.DEFAULT and int(Namespace.DEFAULT) == 8
    assert int(Key("/a").namespace) == 1


class TestValues:
    @pytest.mark.parametrize("value", [None, b"", bytearray(), memoryview(b"")])
    def test_no_bytes_are_the_null_value(self, value):
        assert Key("user:/a", value).value is None

    @pytest.mark.parametrize("value", [b"\0", bytearray(b"\0"), memoryview(b"\0")])
    def test_binary_is_kept_as_bytes(self, value):
        found = Key("user:/a", value).value
        assert found == b"\0" and type(found) is bytes

    @pytest.mark.parametrize("value", [None, b"x"])
    def test_binary_has_the_metadata_binary(self, value):
        key = Key("user:/a", value)
        assert key.is_binary and dict(key.meta) == {"binary": ""}

    def test_text_has_not(self):
        key = Key("user:/a", "")
        assert not key.is_binary and not key.meta

    def test_assigning_text_drops_binary_and_origvalue(self):
        key = Key("user:/a", b"x", {"origvalue": "y", "type": "string"})
        key.value = "x"
        assert dict(key.meta) == {"type": "string"}

    def test_assigning_binary_keeps_origvalue(self):
        key = Key("user:/a", "x", {"origvalue": "y"})
        key.value = b"x"
        assert dict(key.meta) == {"binary": "", "origvalue": "y"}

    def test_assigning_binary_keeps_what_binary_says(self):
        key = Key("user:/a", b"x", {"binary": "hex"})
        key.value = b"y"
        assert key.meta["binary"] == "hex"

    def test_text_with_a_nul_is_refused_and_changes_nothing(self):
        key = Key("user:/a", b"x")
        with pytest.raises(ValueError, match="user:/a holds a NUL"):
            key.value = "a\0b"
        assert key.value == b"x" and key.is_binary

    @pytest.mark.parametrize("value", [1, 1.5, True, ["x"], object()])
    def test_a_value_of_another_type_is_refused(self, value):
        with pytest.raises(TypeError, match="must be str, bytes or None"):
            Key("user:/a", value)

    def test_equal_bytes_are_equal_text(self):
        assert Key("user:/a", "\udcc3\udcb6") == Key("user:/a", "ö")


class TestMetadata:
    @given(testing.metadata(8), testing.values())
    def test_it_is_sorted_by_unescaped_name(self, meta, value):
        key = Key("user:/a", value, meta)
        assert list(key.meta) == sorted(key.meta, key=lambda name: names.unescaped("meta:/" + name))

    @given(testing.metadata(8))
    def test_it_holds_what_was_given(self, meta):
        assert dict(Key("user:/a", "", meta).meta) == meta

    @pytest.mark.parametrize(
        ("given", "name"),
        [("a//b/", "a/b"), ("#10", "#_10"), ("user:/q", "user:/q"), ("meta:t3", "meta:t3"), ("meta:/x/../y", "y")],
    )
    def test_its_names_are_canonical(self, given, name):
        assert list(Key("user:/a", "", {given: "1"}).meta) == [name]

    @pytest.mark.parametrize("name", ["x", "meta:/x", "/x/", "./x"])
    def test_every_spelling_of_a_name_finds_it(self, name):
        key = Key("user:/a", "", {"x": "1"})
        assert key.meta[name] == "1" and name in key.meta
        del key.meta[name]
        assert not key.meta

    def test_two_spellings_of_one_unescaped_name_are_one_metakey(self):
        key = Key("user:/a", "", {"#5": "old"})
        key.meta["\\#5"] = "new"
        assert dict(key.meta) == {"#5": "new"}

    @pytest.mark.parametrize("name", ["", "/", "..", "a/..", "a\\", "meta:/", "meta:/x\\"])
    def test_a_name_that_elektra_would_put_at_the_root_is_refused(self, name):
        with pytest.raises(InvalidKeyName):
            Key("user:/a").meta[name] = "1"

    def test_a_missing_name_is_a_key_error(self):
        with pytest.raises(KeyError):
            Key("user:/a").meta["x"]
        with pytest.raises(KeyError):
            del Key("user:/a").meta["x"]
        assert Key("user:/a").meta.get("x") is None

    @pytest.mark.parametrize("value", [None, 1, b"x"])
    def test_it_is_text(self, value):
        with pytest.raises(TypeError, match="metadata is text"):
            Key("user:/a").meta["x"] = value

    def test_text_with_a_nul_is_refused(self):
        with pytest.raises(ValueError, match="NUL"):
            Key("user:/a").meta["x"] = "\0"

    def test_an_empty_text_is_metadata(self):
        assert Key("user:/a", "", {"x": ""}).meta["x"] == ""

    def test_binary_cannot_be_put_on_text(self):
        with pytest.raises(ValueError, match=r"assign bytes .* to \.value"):
            Key("user:/a").meta["binary"] = ""

    def test_binary_cannot_be_taken_off_bytes(self):
        with pytest.raises(ValueError, match=r"assign text to \.value"):
            del Key("user:/a", b"x").meta["binary"]

    def test_setting_replaces_the_object_that_keys_share(self):
        first, second = Key("user:/a", "", {"x": "1"}), Key("user:/b")
        second.copy_meta(first, "x")
        second.meta["x"] = "2"
        assert first.meta["x"] == "1"


class TestSharing:
    def test_a_copied_metakey_is_the_same_object(self):
        first, second = Key("user:/a", "", {"x": "1"}), Key("user:/b")
        assert second.copy_meta(first, "meta:/x")
        assert second._meta["x"] is first._meta["x"]

    def test_copying_what_is_missing_drops_it(self):
        key = Key("user:/a", "", {"x": "1"})
        assert not key.copy_meta(Key("user:/b"), "x")
        assert not key.meta

    @given(testing.keys(), testing.keys())
    def test_copying_all_keeps_the_rest_and_what_the_value_is(self, source, target):
        before, binary = set(target.meta), target.is_binary
        target.copy_all_meta(source)
        assert set(target.meta) == before | {name for name in source.meta if name != "binary"}
        assert target.is_binary is binary and ("binary" in target.meta) is binary
        shared = [name for name in source.meta if name != "binary" or binary]
        assert all(target._meta[name] is source._meta[name] for name in shared)

    def test_binary_is_not_shared_with_text(self):
        with pytest.raises(ValueError, match="holds text"):
            Key("user:/a").copy_meta(Key("user:/b", b"x"), "binary")

    def test_a_copy_shares_all_metakeys(self):
        key = Key("user:/a", b"x", {"x": "1"})
        assert all(key.copy()._meta[name] is metakey for name, metakey in key._meta.items())

    def test_equal_metadata_is_not_shared(self):
        first, second = Key("user:/a", "", {"x": "1"}), Key("user:/b", "", {"x": "1"})
        assert first._meta["x"] is not second._meta["x"]

    def test_a_metakey_is_text(self):
        assert isinstance(MetaKey("x"), str)
