"""Keysets: Elektra's order, lookup and cut; and a plain model that says what every change must amount to."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from dumpfmt import InvalidKeyName, Key, KeySet, Namespace, dumps, loads, names, testing


@pytest.mark.vectors("order")
def test_the_order_is_elektras(row):
    assert [key.name for key in KeySet(Key(name) for name in row["given"])] == row["sorted"]


@given(st.lists(testing.keys(), max_size=8), st.randoms())
def test_the_order_does_not_depend_on_how_keys_came(keys, shuffler: random.Random):
    unique = list(KeySet(keys))
    shuffled = unique.copy()
    shuffler.shuffle(shuffled)
    assert list(KeySet(shuffled)) == unique


def test_a_parent_stands_directly_before_its_children():
    order = [
        "user:/a",
        "user:/a/%",
        "user:/a/#1",
        "user:/a/b",
        "user:/a\x01",
        "user:/a b",
        "user:/a-",
        "user:/a\\/b",
        "user:/ab",
    ]
    assert [key.name for key in KeySet(map(Key, reversed(order)))] == order


def test_the_last_key_of_a_name_wins():
    keyset = KeySet([Key("user:/a", "1", {"m": "1"}), Key("user:/a", "2")])
    assert list(keyset) == [Key("user:/a", "2")]


def test_two_spellings_of_one_unescaped_name_are_one_key():
    assert [key.name for key in KeySet([Key("user:/#5"), Key("user:/\\#5")])] == ["user:/\\#5"]


class TestLookup:
    ORDER = ("proc", "dir", "user", "system", "default")

    def test_a_cascading_name_finds_namespaces_in_elektras_order(self):
        keyset = KeySet(Key(f"{ns}:/a") for ns in self.ORDER)
        for ns in self.ORDER:
            assert keyset.get("/a") is keyset[f"{ns}:/a"]
            del keyset[f"{ns}:/a"]
        assert keyset.get("/a") is None

    def test_a_cascading_key_comes_last(self):
        keyset = KeySet([Key("/a"), Key("default:/a")])
        assert keyset.get("/a").name == "default:/a"
        del keyset["default:/a"]
        assert keyset.get("/a").name == "/a"

    @pytest.mark.parametrize("ns", ["spec", "meta"])
    def test_a_cascading_name_finds_no_specification_and_no_metadata(self, ns):
        assert KeySet([Key(f"{ns}:/a")]).get("/a") is None

    def test_a_name_in_brackets_is_exact(self):
        keyset = KeySet([Key("user:/a")])
        assert keyset["user:/a/"].name == "user:/a" and "/a" not in keyset
        with pytest.raises(KeyError, match="no key '/a' in this keyset"):
            keyset["/a"]

    def test_a_position_counts_in_order(self):
        keyset = KeySet([Key("user:/b"), Key("user:/a")])
        assert [keyset[0].name, keyset[-1].name] == ["user:/a", "user:/b"]
        with pytest.raises(IndexError):
            keyset[2]

    def test_a_missing_key_is_the_default(self):
        fallback = Key("user:/b")
        assert KeySet().get("user:/a") is None and KeySet().get("user:/a", fallback) is fallback

    def test_an_invalid_name_is_refused(self):
        with pytest.raises(InvalidKeyName):
            KeySet().get("a")


class TestCut:
    def test_a_cascading_cut_leaves_default_keys(self):
        keyset = KeySet([Key("user:/a/b"), Key("system:/a"), Key("default:/a"), Key("user:/ab")])
        assert [key.name for key in keyset.cut("/a")] == ["user:/a/b", "system:/a"]
        assert [key.name for key in keyset] == ["user:/ab", "default:/a"]

    def test_a_cascading_below_takes_every_namespace(self):
        keyset = KeySet(Key(name) for name in ("/a", "meta:/a", "spec:/a/b", "default:/a", "user:/ab"))
        assert [key.name for key in keyset.below("/a")] == ["/a", "meta:/a", "spec:/a/b", "default:/a"]

    def test_a_root_takes_its_namespace(self):
        keyset = KeySet(Key(name) for name in ("user:/", "user:/a", "system:/a"))
        assert [key.name for key in keyset.below("user:/")] == ["user:/", "user:/a"]


def test_a_changed_keyset_ends_an_iteration():
    keyset = KeySet([Key("user:/a"), Key("user:/b")])
    keys = iter(keyset)
    keyset.append(next(keys).child("x"))
    with pytest.raises(RuntimeError, match="changed"):
        next(keys)


def test_a_repr_shows_the_first_keys():
    assert repr(KeySet(Key(f"user:/{n}") for n in range(5))) == (
        "KeySet([Key('user:/0'), Key('user:/1'), Key('user:/2'), … 2 more])"
    )


@given(testing.keysets())
def test_a_deep_copy_shares_nothing_and_keeps_what_is_shared_within(keyset):
    found = keyset.deep_copy()
    before = dumps(keyset)
    assert dumps(found) == before
    for key in found:
        key.meta["new"] = "1"
        key.value = b"new"
    assert dumps(keyset) == before


NAMES = testing.names_below("user:/a") | testing.names(testing.ALL_NAMESPACES) | testing.roots()


class KeySetMachine(RuleBasedStateMachine):
    """A keyset and a dict of names; whatever is done to both, they hold the same key objects.

    It starts from nothing or from a dump, since a keyset that was read keeps its records as long as it can.
    """

    known = Bundle("known")

    @initialize(keyset=testing.keysets(NAMES), read=st.booleans(), parser=st.sampled_from(["fast", "python"]))
    def start(self, keyset: KeySet, read: bool, parser: str) -> None:
        self.model: dict[bytes, Key] = {key.unescaped: key for key in keyset}
        self.real = loads(dumps(keyset), parser=parser) if read else KeySet(keyset)

    @rule(target=known, name=NAMES)
    def a_name(self, name: str) -> str:
        return name

    @rule(target=known, pick=st.integers(0, 100))
    def a_held_name(self, pick: int) -> str:
        held = sorted(self.model)
        return self.model[held[pick % len(held)]].name if held else "/"

    @rule(name=known, value=testing.values(), meta=testing.metadata(2))
    def append(self, name: str, value: str | bytes | None, meta: dict[str, str]) -> None:
        key = Key(name, value, meta)
        self.real.append(key)
        self.model[key.unescaped] = key
        assert self.real[name] is key

    @rule(name=known)
    def pop(self, name: str) -> None:
        expected = self.model.pop(Key(name).unescaped, None)
        if expected is None:
            with pytest.raises(KeyError):
                self.real.pop(name)
        else:
            assert self.real.pop(name) == expected

    @rule(name=known)
    def get(self, name: str) -> None:
        wanted = Key(name).unescaped
        order = (wanted[0],) if wanted[0] != Namespace.CASCADING else (4, 5, 6, 7, 8, 1)
        found = [self.model[each] for ns in order if (each := bytes([ns]) + wanted[1:]) in self.model]
        assert self.real.get(name) == (found[0] if found else None)
        assert (name in self.real) == (wanted in self.model)

    @rule(name=known, cut=st.booleans())
    def below_or_cut(self, name: str, cut: bool) -> None:
        root = Key(name)
        expected = {
            each: key
            for each, key in self.model.items()
            if each[0] == root.unescaped[0] or root.namespace is Namespace.CASCADING
            if not (cut and root.namespace is Namespace.CASCADING and each[0] == Namespace.DEFAULT)
            if names.is_below_or_same(each, each[:1] + root.unescaped[1:])
        }
        found = self.real.cut(name) if cut else self.real.below(name)
        assert list(found) == [expected[each] for each in sorted(expected)]
        assert len(found) == len(expected)
        if cut:
            for each in expected:
                del self.model[each]
            with_again = found.copy()
            with_again.extend(self.real)
            assert len(with_again) == len(found) + len(self.real)

    @rule(name=known, value=testing.values())
    def change_a_value(self, name: str, value: str | bytes | None) -> None:
        if name in self.real:
            self.real[name].value = value
            self.model[Key(name).unescaped].value = value

    @rule(name=known, donor=known, meta=testing.meta_names())
    def share_metadata(self, name: str, donor: str, meta: str) -> None:
        if name in self.real and donor in self.real:
            for find in (lambda name: self.real[name], lambda name: self.model[Key(name).unescaped]):
                find(donor).meta.setdefault(meta, "shared")
                find(name).copy_meta(find(donor), meta)

    @rule()
    def go_on_with_a_copy(self) -> None:
        old, self.real = self.real, self.real.copy()
        assert all(a is b for a, b in zip(old, self.real, strict=True))
        old.clear()

    @rule()
    def go_on_with_an_assigned_one(self) -> None:
        other = KeySet([Key("user:/gone")])
        other.assign(self.real)
        self.real = other

    @rule()
    def go_on_with_a_deep_copy(self) -> None:
        self.real = self.real.deep_copy()

    @rule(parser=st.sampled_from(["fast", "python"]))
    def go_on_with_what_was_written(self, parser: str) -> None:
        self.real = loads(dumps(self.real), parser=parser)

    @invariant()
    def same_keys_in_order(self) -> None:
        expected = [self.model[name] for name in sorted(self.model)]
        assert len(self.real) == len(expected)
        assert list(self.real) == expected
        assert self.real == KeySet(expected)
        for position, key in enumerate(self.real):
            assert self.real[position] is key and self.real[position - len(expected)] is key

    @invariant()
    def the_same_is_written(self) -> None:
        assert loads(dumps(self.real), parser="python") == KeySet(self.model.values())


TestKeySetMachine = KeySetMachine.TestCase
TestKeySetMachine.settings = settings(max_examples=60, stateful_step_count=25)


def test_what_is_no_key_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="a keyset holds Key objects, not str"):
        KeySet().append("user:/a")  # type: ignore[arg-type]  # a slip that a person makes
