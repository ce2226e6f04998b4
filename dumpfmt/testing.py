"""Hypothesis strategies for keys and their text form: for the tests of whoever writes or reads dumps.

    from hypothesis import given
    from dumpfmt import testing

    @given(testing.keysets())
    def test_my_writer_and_dumpfmt_agree(keyset): ...

Needs the extra `testing`. What comes out is nasty on purpose: escapes, arrays, `%`, dots, control bytes, text that looks
like commands of the format, bytes that are no UTF-8, metakeys that several keys share. Everything shrinks to something
short and plain. Nothing but tests may import this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from dumpfmt import names as _names
from dumpfmt import text as _text
from dumpfmt.encode import dumps
from dumpfmt.key import Key, Value, meta_name
from dumpfmt.keyset import KeySet
from dumpfmt.names import Namespace

#: Every namespace. A key database stores no cascading names and keeps `meta:/` for metadata, but keysets may hold both.
ALL_NAMESPACES: tuple[Namespace, ...] = tuple(Namespace)
#: The namespaces of keys that a mountpoint can hold.
STORED_NAMESPACES: tuple[Namespace, ...] = tuple(
    ns for ns in Namespace if ns not in (Namespace.CASCADING, Namespace.META)
)

# The plain letters come first, since Hypothesis shrinks towards the front.
_LETTERS = "abz019#%._\\/: \n$-@=*\t\r\x01\x7fäö€\U0001f600"
_ODD_PARTS = (
    *("", "%", ".", "..", "...", "#", "#0", "#9", "#10", "#_10", "#__100", "#00", "#010", "#1a", "#12/a", "##1"),
    *("#9223372036854775807", "#9223372036854775808", "#99999999999999999999", "\\", "\\\\", "/", "a/b", "a\\", "\\/"),
    *(
        "%a",
        ".a",
        "..a",
        "a%",
        "a.",
        "\\%",
        "\\.",
        "\\#10",
        "user:",
        "user:/a",
        "meta:",
        "®elektra",
        "$end",
        "\n$end\n",
    ),
)
_ODD_TEXTS = (
    *(
        "",
        " ",
        "\n",
        "\r\n",
        "0",
        "1",
        "#1",
        " lead",
        "trail ",
        "two words",
        "line\nbreak",
        "$end",
        "$end\n",
        "kdbOpen 2\n",
    ),
    *("$key string 1 1\nx\ny", "$meta 1 1\n", "binary", "(null)", "(binary)", "x" * 70, "x" * 129),
)
_ODD_BYTES = (
    b"\0",
    b"\0\0",
    b"\n",
    b"\n$end\n",
    b"\0\n$end\n",
    b"\xff\xfe",
    b"text",
    b"EKDB\0\0\0\3",
    bytes(range(256)),
)
_META_NAMES = (
    "type",
    "order",
    "comment",
    "array",
    "check/type",
    "comment/#0",
    "comment/#_10",
    "origvalue",
    "x y",
    "a/%/b",
)


def texts(max_size: int = 20) -> SearchStrategy[str]:
    """What a string value or metadata may hold: any bytes but NUL, in the form that dumpfmt gives them."""
    return st.one_of(
        st.text(_LETTERS, max_size=max_size),
        st.sampled_from(_ODD_TEXTS),
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=max_size),
        st.binary(max_size=max_size).map(lambda data: _text.decode(data.replace(b"\0", b""))),
    )


def values(max_size: int = 20) -> SearchStrategy[Value]:
    """Text, binary, and the null binary."""
    return st.one_of(texts(max_size), st.sampled_from(_ODD_BYTES), st.binary(min_size=1, max_size=max_size), st.none())


def parts() -> SearchStrategy[str]:
    """One unescaped part of a name."""
    return st.one_of(
        st.text(_LETTERS, min_size=1, max_size=6),
        st.sampled_from(_ODD_PARTS),
        st.builds("#{}".format, st.integers(0, 2**64)),
        texts(6),
    )


def escaped_parts() -> SearchStrategy[str]:
    """One part as it stands in a valid name; also in spellings of which there is a more usual one."""
    return st.one_of(
        parts().map(_names.escape_part),
        st.sampled_from(("%", ".", "..", "", "\\#", "\\#5", "a\\#10", "\\%", "\\.", "\\..", "#10", "#_10")),
    )


def relative_names(max_parts: int = 4) -> SearchStrategy[str]:
    """Valid escaped paths, not canonical: with `.` and `..`, empty parts, and slashes at either end."""
    return st.builds(
        lambda path, before, behind: before + "/".join(path) + behind,
        st.lists(escaped_parts(), max_size=max_parts),
        st.sampled_from(("", "/", "//", "/./")),
        st.sampled_from(("", "/", "//", "/.")),
    )


def spellings(namespaces: Sequence[Namespace] = ALL_NAMESPACES) -> SearchStrategy[str]:
    """Valid names, not canonical."""
    return st.builds(lambda root, path: root + path, roots(namespaces), relative_names())


def names(namespaces: Sequence[Namespace] = ALL_NAMESPACES) -> SearchStrategy[str]:
    """Canonical names."""
    return spellings(namespaces).map(_names.canonical)


def roots(namespaces: Sequence[Namespace] = ALL_NAMESPACES) -> SearchStrategy[str]:
    """`/`, `user:/` and so on."""
    return st.sampled_from([_root(ns) for ns in namespaces])


def anything_like_a_name() -> SearchStrategy[str]:
    """Valid names, names with a flaw, and noise: for the question whether something is a name."""
    noise = st.text(_LETTERS, max_size=12)
    return st.one_of(
        spellings(),
        st.builds(lambda root, path: root + path, roots(), noise),
        st.builds(lambda name, at, what: name[: at % (len(name) + 1)] + what + name[at % (len(name) + 1) :],
                  spellings(), st.integers(0, 100), st.text("\\/#%.:0", max_size=3)),
        noise,
    )  # fmt: skip


@st.composite
def names_below(draw: DrawFn, parent: str) -> str:
    """Canonical names that are `parent` or below it."""
    name = _names.canonical(parent)
    for part in draw(st.lists(parts(), max_size=3)):
        name = _names.child(name, part)
    return name


def meta_names() -> SearchStrategy[str]:
    """Names of metadata, without `meta:/`, canonical; never `binary`, which says what a value is."""
    path = st.lists(parts(), min_size=1, max_size=2).map(lambda found: "/".join(map(_names.escape_part, found)))
    return st.one_of(st.sampled_from(_META_NAMES), path).map(meta_name).filter(lambda name: name != "binary")


def metadata(max_size: int = 4) -> SearchStrategy[dict[str, str]]:
    """What `Key(…, meta=…)` takes."""
    return st.dictionaries(meta_names(), texts(), max_size=max_size)


def keys(names: SearchStrategy[str] | None = None) -> SearchStrategy[Key]:
    """Keys of any name, or of the names given, with any value and metadata of their own."""
    return st.builds(Key, spellings() if names is None else names, values(), metadata())


@st.composite
def keysets(draw: DrawFn, names: SearchStrategy[str] | None = None, max_size: int = 8) -> KeySet:
    """Keysets of any names, or of the names given, whose keys share some of their metakeys."""
    drawn = draw(st.lists(keys(names), max_size=max_size))
    keyset = KeySet(drawn)
    held = list(keyset)
    sharing = st.tuples(st.integers(0, max_size), st.integers(0, max_size), st.integers(0, 3))
    for source, target, which in draw(st.lists(sharing, max_size=max_size)) if len(held) > 1 else ():
        donor, taker = held[source % len(held)], held[target % len(held)]
        found = [name for name in donor.meta if name != "binary" or taker.is_binary]
        if found:
            taker.copy_meta(donor, found[which % len(found)])
    return keyset


def dump_bytes(max_size: int = 8) -> SearchStrategy[bytes]:
    """Dumps with full names, as a writer makes them."""
    return keysets(max_size=max_size).map(dumps)


def chunkings(data: bytes) -> SearchStrategy[list[bytes]]:
    """Ways to cut `data` into pieces, empty ones among them; joined they are `data`."""
    cuts = st.lists(st.integers(0, len(data)), max_size=20).map(lambda found: [0, *sorted(found), len(data)])
    single = st.just([data[at : at + 1] for at in range(len(data))])
    pieces = cuts.map(lambda ends: [data[start:end] for start, end in pairwise(ends)])
    return st.one_of(pieces, single) if len(data) <= 4096 else pieces


_SNIPPETS = (
    *(
        b"",
        b"\n",
        b"\0",
        b" ",
        b"\r",
        b"\t",
        b"\\",
        b"/",
        b"0",
        b"1",
        b"9",
        b"-1",
        b"+1",
        b"99999999999999999999",
        b"\xff",
    ),
    *(b"$end\n", b"$end", b"kdbOpen 2\n", b"kdbOpen 1\n", b"$key string 1 0\n/\n\n", b"$key binary 1 1\n/\n\0\n"),
    *(
        b"$meta 1 1\nx\ny\n",
        b"$copymeta 1 1\n/\nx\n",
        b"$meta 6 0\nbinary\n\n",
        b"$key",
        b"$meta 1",
        b"string",
        b"binary",
    ),
)


@st.composite
def mutations(draw: DrawFn, sources: SearchStrategy[bytes]) -> bytes:
    """Bytes of `sources` with up to three faults: something inserted, removed, replaced, repeated or moved."""
    data = draw(sources)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.one_of(st.just(start), st.just(min(start + 1, len(data))), st.integers(start, len(data))))
        piece = draw(st.one_of(st.sampled_from(_SNIPPETS), st.binary(max_size=3), st.just(data[start:end] * 2)))
        data = data[:start] + piece + data[end:]
    return data


def _root(namespace: Namespace) -> str:
    return "/" if namespace is Namespace.CASCADING else f"{namespace.name.lower()}:/"


__all__ = [
    "ALL_NAMESPACES",
    "STORED_NAMESPACES",
    "anything_like_a_name",
    "chunkings",
    "dump_bytes",
    "escaped_parts",
    "keys",
    "keysets",
    "meta_names",
    "metadata",
    "mutations",
    "names",
    "names_below",
    "parts",
    "relative_names",
    "roots",
    "spellings",
    "texts",
    "values",
]
