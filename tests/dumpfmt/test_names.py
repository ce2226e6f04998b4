"""Key names: Elektra's answers, and the laws that hold for every name."""

from __future__ import annotations

import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dumpfmt import InvalidKeyName, Key, Namespace, names, testing, text


@pytest.mark.vectors("names")
def test_a_name_is_what_elektra_says(row):
    if not row["valid"]:
        with pytest.raises(InvalidKeyName) as caught:
            Key(row["in"])
        assert caught.value.name == row["in"]
        return
    key = Key(row["in"])
    assert key.name == row["name"]
    assert key.namespace == row["namespace"]
    assert list(key.parts) == row["parts"]
    assert key.basename == row["basename"]


@pytest.mark.vectors("name_edits")
def test_an_edited_name_is_what_elektra_says(row):
    key = Key(row["base"])
    for edit, change in (
        ("keyAddName", key.join),
        ("keyAddBaseName", key.child),
        ("keySetBaseName", key.with_basename),
    ):
        if edit not in row:
            continue  # Elektra's own answer is one of its bugs (facts 1.5)
        if row[edit] is None:
            with pytest.raises(InvalidKeyName):
                change(row["arg"])
        else:
            assert change(row["arg"]).name == row[edit], edit


@pytest.mark.vectors("below")
def test_below_is_what_elektra_says(row):
    assert Key(row["check"]).is_below(Key(row["key"])) == bool(row["isBelow"])


@given(testing.anything_like_a_name())
def test_a_canonical_name_is_its_own_canonical_form(name):
    try:
        found = names.canonical(name)
    except InvalidKeyName:
        return
    assert names.canonical(found) == found


@given(testing.spellings())
def test_what_is_built_from_valid_parts_is_valid(name):
    names.canonical(name)


@given(testing.names())
def test_the_shortcut_for_plain_names_agrees_with_the_rules(name):
    found = names.plain(text.encode(name))
    assert found is None or found == names.unescaped(name)


@given(testing.anything_like_a_name())
def test_the_shortcut_for_plain_names_takes_only_canonical_names(name):
    assume("\0" not in name)
    found = names.plain(text.encode(name))
    if found is not None:
        assert names.canonical(name) == name


@given(testing.names())
def test_the_unescaped_form_holds_namespace_and_parts(name):
    key = Key(name)
    expected = bytes([key.namespace]) + b"\0" + (b"\0".join(map(text.encode, key.parts)) + b"\0")
    assert key.unescaped == expected


@given(testing.parts())
def test_escaping_is_undone_by_unescaping(part):
    assert names.unescape_part(names.escape_part(part)) == part


@given(testing.names(), testing.parts())
def test_a_child_has_the_part_it_was_given(name, part):
    key = Key(name)
    assert key.child(part).parts == (*key.parts, part)


@given(testing.names(), testing.parts())
def test_a_child_is_directly_below_its_parent(name, part):
    key = Key(name)
    assume(key.child(part).unescaped != key.unescaped)  # '/%' is another name of the root (facts 1.2)
    child = key.child(part)
    assume(key.name.partition("/")[2] != "%")
    assert child.is_directly_below(key) and child.is_below(key) and child.is_below_or_same(key)
    assert not key.is_below(child)


@given(testing.names(), testing.parts())
def test_a_new_base_name_replaces_the_last_part(name, part):
    key = Key(name)
    assume(key.parts)
    changed = key.with_basename(part)
    assert changed.parts == (*key.parts[:-1], part) and changed.namespace is key.namespace


@pytest.mark.parametrize("root", [testing._root(namespace) for namespace in Namespace])
def test_a_root_has_no_base_name_to_replace(root):
    with pytest.raises(InvalidKeyName, match="root"):
        Key(root).with_basename("x")


@given(testing.names(), testing.relative_names())
def test_a_join_never_leaves_the_namespace(name, relative):
    assert Key(name).join(relative).namespace is Key(name).namespace


@given(testing.names())
def test_joining_dots_leads_to_the_parent(name):
    key = Key(name)
    assert key.join("..").parts == key.parts[:-1]


@given(testing.names(), testing.relative_names(), testing.relative_names())
def test_joining_twice_is_joining_the_joined(name, first, second):
    assume(".." not in second)  # which would work against `first`
    assert Key(name).join(first).join(second).name == Key(name).join(f"{first}/{second}").name


@given(testing.names(), testing.parts())
def test_joining_an_escaped_part_is_a_child(name, part):
    assert Key(name).join(names.escape_part(part)).name == Key(name).child(part).name


@pytest.mark.parametrize(
    ("base", "edit", "argument", "expected"),
    [
        pytest.param("/a:", Key.with_basename, "x", "/x", id="base-name-of-a-cascading-name-with-a-colon"),
        pytest.param("user:/%", Key.child, "a", "user:/%/a", id="child-of-the-empty-part"),
        pytest.param("user:/%", Key.join, "a", "user:/%/a", id="join-to-the-empty-part"),
        pytest.param("user:/%/a", Key.with_basename, "b", "user:/%/b", id="base-name-behind-the-empty-part"),
        pytest.param("user:/x", Key.join, "\\%", "user:/x/\\%", id="join-with-an-escaped-start"),
        pytest.param("user:/x", Key.child, "#12abc", "user:/x/#12abc", id="part-that-starts-as-an-array"),
        pytest.param("user:/x", Key.child, "#12/a", "user:/x/#12\\/a", id="array-start-and-slash"),
    ],
)
def test_where_elektra_has_a_bug_its_documented_rule_holds(base, edit, argument, expected):
    assert edit(Key(base), argument).name == expected


@given(testing.names(testing.STORED_NAMESPACES), testing.parts())
def test_a_cascading_name_stands_for_every_namespace(name, part):
    key = Key(name)
    cascading = Key(name[name.index("/") :])
    assume(key.unescaped != key.child(part).unescaped and cascading.unescaped != b"\1\0\0")
    assert key.child(part).is_below(cascading) and cascading.child(part).is_below(key)


def test_roots_of_different_kinds_are_not_the_same():
    assert not Key("/").is_below_or_same("user:/") and not Key("user:/").is_below_or_same("/")


@given(st.integers(0, 2**63 - 1))
def test_an_array_index_is_read_back(number):
    assert names.parse_array_index(names.array_index(number)) == number


@given(st.integers(0, 2**63 - 2))
def test_array_parts_sort_as_their_numbers(number):
    assert names.array_index(number) < names.array_index(number + 1)


@pytest.mark.parametrize(
    "part", ["", "#", "#_", "#10", "#__10", "#00", "#_1", "##1", "#1a", "a#1", "#_-1", "#\u0661", "1"]
)
def test_what_is_no_canonical_array_part_has_no_index(part):
    assert names.parse_array_index(part) is None


@pytest.mark.parametrize("number", [-1, 2**63])
def test_an_index_out_of_range_is_refused(number):
    with pytest.raises(ValueError, match="between 0 and"):
        names.array_index(number)


def test_splitting_a_name_of_many_escaped_slashes_is_linear():
    start = time.process_time()
    assert Key("user:/" + "\\/" * 500_000).parts == ("/" * 500_000,)
    assert time.process_time() - start < 5  # some 0.5 s; a quadratic way moves 10^11 bytes
