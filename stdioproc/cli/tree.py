"""A keyset as a tree of lines."""

from __future__ import annotations

from collections.abc import Iterator

from dumpfmt import Key, KeySet
from dumpfmt.text import shown
from stdioproc.cli.screen import Part, printable

#: Children of one key that are shown before the rest is only counted; elements of arrays say less than names do.
MAX_CHILDREN = 6
MAX_ELEMENTS = 3
_MAX_VALUE = 100


class _Node:
    __slots__ = ("children", "key")

    def __init__(self) -> None:
        self.key: Key | None = None
        self.children: dict[str, _Node] = {}

    def count(self) -> int:
        """The keys at and below this node."""
        return (self.key is not None) + sum(child.count() for child in self.children.values())


def lines(keyset: KeySet, root: Key | str) -> Iterator[list[Part]]:
    """The lines, in parts for `Screen.cut`, of the keys at and below `root`: names, values and types."""
    top = Key(root) if isinstance(root, str) else root
    tree = _Node()
    for key in keyset.below(top):
        node = tree
        for part in key.parts[len(top.parts) :]:
            node = node.children.setdefault(part, _Node())
        node.key = key
    yield [(printable(top.name), "bold"), *_content(tree)]
    yield from _below(tree, "", MAX_CHILDREN * 4)


def _below(node: _Node, indent: str, most: int) -> Iterator[list[Part]]:
    names = list(node.children)
    if names and all(name.startswith("#") for name in names):
        most = MAX_ELEMENTS
    # A line that says "1 more" takes the place of that one.
    kept = names if len(names) <= most + 1 else names[:most]
    left = names[len(kept) :]
    for name in kept:
        child = node.children[name]
        last = name == names[-1]
        yield [
            (indent + ("└── " if last else "├── "), "dim"),
            (_one_line(name), "" if child.children else "cyan"),
            *_content(child),
        ]
        yield from _below(child, indent + ("    " if last else "│   "), MAX_CHILDREN)
    if left:
        keys = sum(node.children[name].count() for name in left)
        keys_below = f" ({keys} keys)" if keys != len(left) else ""
        yield [(f"{indent}└── … {len(left)} more{keys_below}", "dim")]


def _content(node: _Node) -> list[Part]:
    key = node.key
    if key is None:
        return []
    parts: list[Part] = []
    if key.value is None:
        parts.append((" = null", "dim"))
    elif isinstance(key.value, bytes):
        parts += [" = ", (f"{len(key.value)} bytes {shown(key.value, 20)}", "magenta")]
    elif key.value or not node.children:
        parts += [" = ", (shown(key.value, _MAX_VALUE), "green")]
    if "type" in key.meta:
        parts.append((f"  {_one_line(key.meta['type'])}", "dim"))
    return parts


def _one_line(text: str) -> str:
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")
