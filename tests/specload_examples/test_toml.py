"""The toml plugin: what a file means as keys, what a change leaves alone, and what is refused so that nothing is lost."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dumpfmt import Key, KeySet, quickdump
from dumpfmt.names import array_index
from specload_examples import toml, toml_text
from stdioproc.errors import ElektraError, get_error, get_warnings
from stdioproc.events import Status
from stdioproc.host import PluginProcess

PROGRAM = [sys.executable, str(Path(__file__).resolve().parents[2] / "specload_examples" / "toml.py")]
ROOT = "user:/tests/toml"
PARENT = Key(ROOT)

# --- trees that TOML can hold

_AWKWARD = [
    "",
    "%",
    ".",
    "..",
    "#",
    "#0",
    "#1",
    "#_10",
    "#10",
    "#00",
    "a.b",
    "a/b",
    "a\\b",
    'q"q',
    "'",
    "ä ö",
    "true",
    "1",
    "-",
    "\t\n",
]
names = st.one_of(
    st.sampled_from("abc"),
    st.sampled_from(_AWKWARD),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5),
)
texts = st.one_of(
    st.sampled_from(
        ["", "1", "true", "x", "a\nb\nc", '"""', "'''", "\\", "1979-05-27", "0xff", "\r\n", "\u2028", "#1"]
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
)
_integers = st.integers(-(2**63), 2**63 - 1).map(str)
_floats = st.floats().map(repr).filter(lambda text: "." in text or text in ("inf", "-inf", "nan"))
#: A value and the metadata that go with it.
scalars: st.SearchStrategy[tuple[str, dict[str, str]]] = st.one_of(
    texts.map(lambda text: (text, {})),
    texts.map(lambda text: (text, {"type": "string"})),
    st.tuples(texts, st.sampled_from(["basic", "literal", "ml_basic", "ml_literal"])).map(
        lambda pair: (pair[0], {"type": "string", "tomltype": f"string_{pair[1]}"})
    ),
    _integers.map(lambda text: (text, {"type": "long_long"})),
    st.integers(0, 2**64 - 1).map(lambda n: (str(n), {"type": "unsigned_long_long", "origvalue": hex(n)})),
    _floats.map(lambda text: (text, {"type": "double"})),
    st.sampled_from("01").map(lambda text: (text, {"type": "boolean"})),
    st.datetimes().map(lambda d: (d.isoformat(), {"tomltype": "local_datetime"})),
    st.datetimes().map(lambda d: (d.isoformat() + "Z", {"tomltype": "offset_datetime", "type": "string"})),
    st.dates().map(lambda d: (d.isoformat(), {"tomltype": "local_date"})),
    st.times().map(lambda d: (d.isoformat(), {"tomltype": "local_time"})),
)


class Tree:
    """A table (`children`), an array (`items`) or a value; `how` is its `tomltype`, None for no key of its own."""

    def __init__(self, value: Any = None, children: Any = None, items: Any = None, how: str | None = None) -> None:
        self.value, self.children, self.items, self.how = value, children, items, how

    def keys(self, key: Key) -> list[Key]:
        if self.value is not None:
            return [Key(key.name, self.value[0], self.value[1])]
        if self.items is not None:
            last = array_index(len(self.items) - 1) if self.items else ""
            own = Key(key.name, last, {"array": last, **({"tomltype": self.how} if self.how else {})})
            return [own] + [k for i, item in enumerate(self.items) for k in item.keys(key.child(array_index(i)))]
        below = [k for name, child in self.children.items() for k in child.keys(key.child(name))]
        element_like = any(name.startswith("#") for name in self.children)
        if self.how or not below or element_like:
            below.insert(0, Key(key.name, "", {"tomltype": self.how or "simpletable"}))
        return below

    def __repr__(self) -> str:
        return f"Tree({self.value!r}, {self.children!r}, {self.items!r}, {self.how!r})"


def _tables(children: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    return st.builds(
        lambda below, how: Tree(children=below, how=how),
        st.dictionaries(names, children, max_size=3),
        st.sampled_from([None, None, "simpletable", "inlinetable"]),
    )


def _nested(children: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    tables = _tables(children)
    return st.one_of(
        tables,
        st.lists(children, max_size=3).map(lambda items: Tree(items=items)),
        st.lists(tables, max_size=3).map(lambda items: Tree(items=items, how="tablearray")),
    )


trees = st.dictionaries(
    names, st.recursive(scalars.map(lambda value: Tree(value=value)), _nested, max_leaves=8), max_size=5
).map(lambda children: Tree(children=children))


def keyset_of(tree: Tree) -> KeySet:
    return KeySet(k for name, child in tree.children.items() for k in child.keys(PARENT.child(name)))


keysets = trees.map(keyset_of)
NOTES = ["# note", "  # Ünïcode", "\t# 'quote\""]


def written(keys: KeySet, text: str = "") -> str:
    return toml_text.edit(text, toml._wanted(keys, PARENT)[0])


def keys_of(text: str) -> KeySet:
    return KeySet(toml._keys_of(toml_text.read(text), PARENT))


@st.composite
def documents(draw: st.DrawFn) -> str:
    """A document with comments above and behind its statements, blank lines, and line ends of either kind."""
    text = written(draw(keysets))
    pieces: list[str] = []
    position = 0
    for start, end in sorted(_statements(toml_text.read(text))):
        pieces.append(text[position:start])
        if draw(st.booleans()):
            pieces.append(draw(st.sampled_from([*NOTES, "", "   "])) + "\n")
        pieces.append(text[start:end].removesuffix("\n") + draw(st.sampled_from(["", "", " # behind"])) + "\n")
        position = end
    text = "".join([*pieces, text[position:], *draw(st.lists(st.sampled_from(NOTES), max_size=1))])
    if draw(st.booleans()) and '"""' not in text and "'''" not in text:
        text = text.replace("\n", "\r\n")
    return text


def _statements(node: Any) -> Iterator[tuple[int, int]]:
    for span in (node.line, getattr(node, "header", None)):
        if span is not None:
            yield span
    for child in [*getattr(node, "children", {}).values(), *getattr(node, "items", [])]:
        yield from _statements(child)


def assert_holds(text: str, keys: KeySet) -> None:
    """All keys are read back, and what else is read is only a table's own key."""
    found = {key.name: key for key in keys_of(text)}
    for key in keys:
        assert key.name in found
        assert found[key.name].value == key.value
        if key.meta.get("type", "") != "":
            assert found[key.name].meta["type"] in (key.meta["type"], "long_long", "unsigned_long_long")
    for name in found.keys() - {key.name for key in keys}:
        assert found[name].value == "" and found[name].meta["tomltype"] in ("simpletable", "inlinetable")


@given(keysets)
def test_every_keyset_survives_a_round_trip(keys: KeySet) -> None:
    assert_holds(written(keys), keys)


@given(documents())
def test_an_unchanged_keyset_leaves_every_byte(text: str) -> None:
    assert written(keys_of(text), text) == text


@given(documents(), keysets)
def test_any_file_becomes_any_keyset(text: str, keys: KeySet) -> None:
    assert_holds(written(keys, text), keys)


@given(documents(), st.data())
def test_a_changed_value_leaves_every_other_line(text: str, data: st.DataObject) -> None:
    keys = keys_of(text)
    strings = [key for key in keys if key.meta.get("tomltype") == "string_basic"]
    assume(strings)
    data.draw(st.sampled_from(strings)).value = "changed"
    assert [line for line in text.split("\n") if line not in written(keys, text).split("\n")][1:] == []


@given(documents(), names, st.data())
def test_a_new_key_moves_nothing(text: str, name: str, data: st.DataObject) -> None:
    keys = keys_of(text)
    inline = [key for key in keys if key.meta.get("tomltype") == "inlinetable" or "array" in key.meta]
    tables = [key for key in keys if key.meta.get("tomltype") == "simpletable"]
    tables = [PARENT, *(key for key in tables if not any(key.is_below(other) for other in inline))]
    key = data.draw(st.sampled_from(tables)).child(name, "new")
    assume(not any(other.is_below_or_same(key) for other in keys))
    keys.append(key)
    result = written(keys, text)
    assert keys_of(result)[key.name].value == "new"
    kept = iter(result.split("\n"))
    assert all(line in kept for line in text.removesuffix("\n").split("\n"))  # all of them, in the same order


def test_a_document_that_tomlkit_misreads_is_refused() -> None:
    with pytest.raises(toml_text.EditError, match="differently"):
        toml_text.read("[[b]]\n[[b]]\nb.a = []\n[[b.b.b]]\n")


@given(documents(), st.data())
def test_a_removed_key_takes_no_comment_above_it_along(text: str, data: st.DataObject) -> None:
    keys = keys_of(text)
    values = [key for key in keys if "type" in key.meta and not any(part.startswith("#") for part in key.parts)]
    assume(values)
    key = data.draw(st.sampled_from(values))
    keys.pop(key)
    result = written(keys, text)
    assert key.name not in keys_of(result)
    for note in NOTES:
        assert result.count(note) == text.count(note)


# --- what a file means

SAMPLE = """\
# about this file

title = "x" # behind
hex = 0xFF
million = 1_000_000
pi = 3.14
low = -inf
on = true
moment = 1979-05-27T07:32:00Z
local = 1979-05-27 07:32:00
day = 1979-05-27
clock = 07:32:00
list = [1, [2], { x = 3 }]
none = []
inline = { a = 1, b.c = 2 }
"quoted.key" = 1
dotted.a = 1
[table]
k = 1
[empty]
[[many]]
n = 1
[[many]]
[many.sub]
z = "end"
"""


def test_a_file_as_keys() -> None:
    found = {key.name.removeprefix(ROOT + "/"): (key.value, dict(key.meta)) for key in keys_of(SAMPLE)}
    integer = {"type": "long_long"}
    assert found == {
        "title": ("x", {"type": "string", "tomltype": "string_basic"}),
        "hex": ("255", {"type": "unsigned_long_long", "origvalue": "0xFF"}),
        "million": ("1000000", {"type": "long_long", "origvalue": "1_000_000"}),
        "pi": ("3.14", {"type": "double"}),
        "low": ("-inf", {"type": "double"}),
        "on": ("1", {"type": "boolean"}),
        "moment": ("1979-05-27T07:32:00Z", {"type": "string", "tomltype": "offset_datetime"}),
        "local": ("1979-05-27 07:32:00", {"type": "string", "tomltype": "local_datetime"}),
        "day": ("1979-05-27", {"type": "string", "tomltype": "local_date"}),
        "clock": ("07:32:00", {"type": "string", "tomltype": "local_time"}),
        "list": ("#2", {"array": "#2"}),
        "list/#0": ("1", integer),
        "list/#1": ("#0", {"array": "#0"}),
        "list/#1/#0": ("2", integer),
        "list/#2": ("", {"tomltype": "inlinetable"}),
        "list/#2/x": ("3", integer),
        "none": ("", {"array": ""}),
        "inline": ("", {"tomltype": "inlinetable"}),
        "inline/a": ("1", integer),
        "inline/b/c": ("2", integer),
        "quoted.key": ("1", integer),
        "dotted/a": ("1", integer),
        "table": ("", {"tomltype": "simpletable"}),
        "table/k": ("1", integer),
        "empty": ("", {"tomltype": "simpletable"}),
        "many": ("#1", {"array": "#1", "tomltype": "tablearray"}),
        "many/#0": ("", {"tomltype": "simpletable"}),
        "many/#0/n": ("1", integer),
        "many/#1": ("", {"tomltype": "simpletable"}),
        "many/#1/sub": ("", {"tomltype": "simpletable"}),
        "many/#1/sub/z": ("end", {"type": "string", "tomltype": "string_basic"}),
    }


@pytest.mark.parametrize(
    ("before", "change", "after"),
    [
        ("a = 1 # one\n", {"a": ("2", None)}, "a = 2 # one\n"),
        ("a = 'x'\n", {"a": ("it's", None)}, 'a = "it\'s"\n'),
        ("a = 0x0f\n", {"a": ("255", None)}, "a = 0xff\n"),
        ("a = true\n", {"a": ("0", None)}, "a = false\n"),
        ("a = 1.5\n", {"a": ("2", None)}, "a = 2.0\n"),
        ("a = '1'\n", {"a": ("1", {"type": "long"})}, "a = 1\n"),
        ("a = 1\n", {"a": ("1", {"type": "string"})}, 'a = "1"\n'),
        ("a = 1\n", {"a": ("2", {})}, "a = 2\n"),
        ("a = 1\n", {"a": ("two", {})}, 'a = "two"\n'),
        ("a = 1\n", {"b": ("1", {})}, 'a = 1\nb = "1"\n'),
        ("a = 1", {"b": ("1", {"type": "long"})}, "a = 1\nb = 1\n"),
        ("a = 1\r\n[t]\r\n", {"t/b": ("x", {})}, 'a = 1\r\n[t]\r\nb = "x"\r\n'),
        ("[t]\nx = 1\n\n# about u\n[u]\n", {"t/y": ("1", {})}, '[t]\nx = 1\ny = "1"\n\n# about u\n[u]\n'),
        ("# file\n\n# about t\n[t]\n", {"y": ("1", {})}, '# file\n\ny = "1"\n# about t\n[t]\n'),
        ("[t]\n", {"n": ("", {"tomltype": "simpletable"}), "n/a": ("1", {})}, '[t]\n\n[n]\na = "1"\n'),
        ("a = [1, 2] # c\n", {"a/#2": ("3", {})}, "a = [1, 2, 3] # c\n"),
        ("a = [1, 2] # c\n", {"a/#1": None}, "a = [1] # c\n"),
        ("a = [\n  1, # one\n  2 # two\n]\n", {"a/#2": ("3", {})}, "a = [\n  1, # one\n  2, # two\n  3\n]\n"),
        ("a = [\n  1, # one\n  2, # two\n]\n", {"a/#1": None}, "a = [\n  1, # one\n]\n"),
        ("a = { x = 1, y = 2 }\n", {"a/x": None}, "a = { y = 2 }\n"),
        ("a = { x = 1, y = 2 }\n", {"a/y": None, "a/z": ("1", {})}, 'a = { x = 1, z = "1" }\n'),
        ("a.b = 1\nc = 2\n", {"a/d": ("1", {})}, 'a.b = 1\na.d = "1"\nc = 2\n'),
        ("a = 1\n# about b\nb = 2 # two\n", {"b": None}, "a = 1\n# about b\n"),
        ("[[a]]\nn = 1\n[z]\n", {"a/#1/n": ("x", {})}, '[[a]]\nn = 1\n\n[[a]]\nn = "x"\n[z]\n'),
        ("[[a]]\n[[a]]\nx = 1\n[z]\n", {"a/#1": None, "a/#1/x": None}, "[[a]]\n[z]\n"),
        ("\ufeffa = 1\n", {"a": ("2", None)}, "\ufeffa = 2\n"),
    ],
)
def test_a_change_touches_its_own_place(
    before: str, change: dict[str, tuple[str, dict[str, str] | None] | None], after: str
) -> None:
    keys = keys_of(before)
    for name, to in change.items():
        if to is None:
            keys.pop(f"{ROOT}/{name}")
        elif to[1] is None:
            keys[f"{ROOT}/{name}"].value = to[0]
        else:
            keys.append(Key(f"{ROOT}/{name}", to[0], to[1]))
    assert written(keys, before) == after


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ([Key(f"{ROOT}/a", b"\0")], ["/a", "binary", "base64"]),
        ([Key(f"{ROOT}/a", None)], ["/a", "null"]),
        ([Key(f"{ROOT}/a", "1"), Key(f"{ROOT}/a/b", "2")], ["/a has", "'1'", "/a/b"]),
        ([Key(ROOT, "1")], [ROOT, "mountpoint"]),
        ([Key(f"{ROOT}/a", "\udcff")], ["/a", "UTF-8"]),
        ([Key(f"{ROOT}/\udcff", "")], ["name", "UTF-8"]),
        ([Key(f"{ROOT}/a", "x", {"type": "long"})], ["/a", "'x'", "integer", "type"]),
        ([Key(f"{ROOT}/a", "2", {"type": "boolean"})], ["/a", "1 or 0"]),
        ([Key(f"{ROOT}/a", str(2**64), {"type": "unsigned_long_long"})], ["/a", "integer"]),
        ([Key(f"{ROOT}/a", "2001-02-29", {"tomltype": "local_date"})], ["/a", "date", "tomltype"]),
        ([Key(f"{ROOT}/a", "", {"array": ""}), Key(f"{ROOT}/a/#1")], ["/a", "no #0", "holes"]),
        ([Key(f"{ROOT}/a", "#0", {"array": "#0"}), Key(f"{ROOT}/a/x")], ["/a", "/a/x", "no element"]),
        ([Key("user:/other", "")], ["user:/other", "not below"]),
    ],
)
def test_what_toml_cannot_hold_is_refused_and_named(keys: list[Key], words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("old = 1\n")
    with pytest.raises(ElektraError) as caught:
        toml.Toml().set(KeySet(keys), Key(ROOT, str(path)))
    assert caught.value.number == "C03200"
    for word in words:
        assert word in caught.value.reason
    assert path.read_text() == "old = 1\n"


# --- the file, and the plugin as a process


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "x.toml"
    path.write_text(SAMPLE)
    return path


@pytest.mark.parametrize("parser", ["fast", "lark"])
def test_get_and_set_through_a_process(dialect: str, parser: str, path: Path) -> None:
    with PluginProcess(PROGRAM, protocol=dialect, parser=parser) as plugin:
        keys, parent = KeySet(), Key(ROOT, str(path))
        assert plugin.get(keys, parent) is Status.SUCCESS
        assert keys == keys_of(SAMPLE)
        assert plugin.set(keys, parent) is Status.SUCCESS and path.read_text() == SAMPLE
        keys[f"{ROOT}/title"].value = "y"
        assert plugin.set(keys, parent) is Status.SUCCESS
        assert path.read_text() == SAMPLE.replace('"x"', '"y"')
        assert parent == Key(ROOT, str(path))


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"a = 1\nb = \n", "line 2, column 5"),
        (b"a = 1\nb = [", "line 2, column 6: the file ends"),
        (b"a = 1\nb = '\xff'\n", "line 2, byte 6"),
        (b"[a]\n[a]\n", "line 2"),
        (b"a = " + b"[" * 10000, ""),
        (b"a = 2001-02-29\n", "line 1"),
    ],
)
def test_a_file_that_is_no_toml_is_a_syntactic_error(content: bytes, where: str, path: Path) -> None:
    path.write_bytes(content)
    parent = Key(ROOT, str(path))
    with PluginProcess(PROGRAM) as plugin:
        for operation in (plugin.get, plugin.set):
            assert operation(KeySet(), parent) is Status.ERROR
            error = get_error(parent)
            assert error is not None and error.number == "C03100"
            assert str(path) in error.reason and where in error.reason
    assert path.read_bytes() == content


def test_a_missing_file_cannot_be_read_and_can_be_written(path: Path) -> None:
    path.unlink()
    parent = Key(ROOT, str(path))
    with PluginProcess(PROGRAM) as plugin:
        assert plugin.get(KeySet(), parent) is Status.ERROR
        error = get_error(parent)
        assert error is not None and error.number == "C01100" and str(path) in error.reason
        assert plugin.set(KeySet([Key(f"{ROOT}/a", "x")]), Key(ROOT, str(path))) is Status.SUCCESS
    assert path.read_text() == 'a = "x"\n'


def test_metadata_that_is_not_stored_is_a_warning(path: Path) -> None:
    parent = Key(ROOT, str(path))
    with PluginProcess(PROGRAM) as plugin:
        assert plugin.set(KeySet([Key(f"{ROOT}/a", "x", {"mine": "1", "order": "3"})]), parent) is Status.SUCCESS
    (warning,) = get_warnings(parent)
    assert "'mine'" in warning.reason and f"{ROOT}/a" in warning.reason and "order'" not in warning.reason


@pytest.mark.parametrize("change", ["edited", "removed"])
def test_a_file_that_changed_since_it_was_read_is_a_conflict(path: Path, change: str) -> None:
    plugin, keys, parent = toml.Toml(), KeySet(), Key(ROOT, str(path))
    plugin.get(keys, parent)
    path.write_text("other = 1\n") if change == "edited" else path.unlink()
    with pytest.raises(ElektraError) as caught:
        plugin.set(keys, parent)
    assert caught.value.number == "C02000" and str(path) in caught.value.reason
    assert not path.exists() or path.read_text() == "other = 1\n"


@pytest.mark.parametrize("restarted", [False, True])
def test_comments_survive_the_file_of_the_resolver(path: Path, restarted: bool) -> None:
    plugin, keys = toml.Toml(), KeySet()
    plugin.get(keys, Key(ROOT, str(path)))
    temporary = f"{path}.4711:1700000000.123456.tmp"
    (toml.Toml() if restarted else plugin).set(keys, Key(ROOT, temporary))
    assert Path(temporary).read_text() == path.read_text() == SAMPLE


def test_two_sets_in_a_row_are_no_conflict(path: Path) -> None:
    plugin, keys, parent = toml.Toml(), KeySet(), Key(ROOT, str(path))
    plugin.get(keys, parent)
    for value in ("1", "2"):
        keys[f"{ROOT}/title"].value = value
        plugin.set(keys, parent)
    assert 'title = "2" # behind' in path.read_text()


def test_mode_and_link_are_kept_and_nothing_else_is_left(path: Path) -> None:
    path.chmod(0o640)
    link = path.with_name("link.toml")
    link.symlink_to(path.name)
    plugin, keys, parent = toml.Toml(), KeySet(), Key(ROOT, str(link))
    plugin.get(keys, parent)
    keys.append(Key(f"{ROOT}/new", "x"))
    plugin.set(keys, parent)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640 and link.is_symlink()
    assert 'new = "x"' in path.read_text()
    assert sorted(os.listdir(path.parent)) == ["link.toml", "x.toml"]


# --- the specification


@pytest.mark.parametrize("program", ["toml", "whitelist"])
def test_the_specification_is_the_expected_one(program: str) -> None:
    from specload_examples.whitelist import Whitelist

    examples = Path(toml.__file__).parent
    answer = subprocess.run(
        [sys.executable, str(examples / f"{program}.py"), "--elektra-spec"], capture_output=True, check=True, env={}
    )
    assert answer.stdout == (examples / f"{program}.expected").read_bytes()
    spec = {"toml": toml.Toml, "whitelist": Whitelist}[program].spec
    assert quickdump.loads(answer.stdout, "spec:/") == spec
