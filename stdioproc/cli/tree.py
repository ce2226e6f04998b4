"""A keyset as a tree of lines."""

from __future__ import annotations

from collections.abc import Iterator

from dumpfmt import Key, KeySet
from dumpfmt.text import shown
from stdioproc.cli.screen import Part, printable

#: Children of one key that are shown before the rest is only counted, and how deep below the root they are.
MAX_CHILDREN = 12
MAX_DEPTH = 3
#: Elements of an array, which stand in one line.
MAX_ELEMENTS = 4
_MAX_VALUE = 100


class _Node:
    __slots__ = ("children", "key")

    def __init__(self) -> None:
        self.key: Key | None = None
        self.children: dict[str, _Node] = {}

    def count(self) -> int:
        """The keys at and below this node."""
        return (self.key is not None) + sum(child.count() for child in self.children.values())

    def is_flat_array(self) -> bool:
        """Whether everything below is elements of an array without anything below them."""
        return bool(self.children) and all(
            name.startswith("#") and child.key is not None and not child.children
            for name, child in self.children.items()
        )


def lines(keyset: KeySet, root: Key | str) -> Iterator[list[Part]]:
    """The lines, in parts for `Screen.cut`, of the keys at and below `root`: names, values, and types other than string."""
    top = Key(root) if isinstance(root, str) else root
    tree = _Node()
    for key in keyset.below(top):
        node = tree
        for part in key.parts[len(top.parts) :]:
            node = node.children.setdefault(part, _Node())
        node.key = key
    yield [(printable(top.name), "bold"), *_content(tree)]
    yield from _below(tree, "", MAX_DEPTH)


def _below(node: _Node, indent: str, depth: int) -> Iterator[list[Part]]:
    names = list(node.children)
    # A line that says "1 more" would take the place of that one.
    kept = names if len(names) <= MAX_CHILDREN + 1 else names[:MAX_CHILDREN]
    for name in kept:
        child = node.children[name]
        last = name == names[-1]
        line: list[Part] = [
            (indent + ("└── " if last else "├── "), "dim"),
            (_one_line(name), "cyan" if child.key else ""),
        ]
        if child.is_flat_array():
            yield [*line, *_elements(child)]
        elif depth == 1 and child.children:
            yield [*line, *_content(child), (f"  … {_keys(child.count())}", "dim")]
        else:
            yield [*line, *_content(child)]
            yield from _below(child, indent + ("    " if last else "│   "), depth - 1)
    if len(kept) < len(names):
        left = [node.children[name].count() for name in names[len(kept) :]]
        yield [(f"{indent}└── … {len(left)} more ({_keys(sum(left))})", "dim")]


def _keys(count: int) -> str:
    return "1 key" if count == 1 else f"{count} keys"


def _elements(node: _Node) -> Iterator[Part]:
    """An array whose elements have nothing below them, in one line."""
    names = list(node.children)
    yield ("/" + (names[0] if len(names) == 1 else f"{names[0]}…{names[-1]}"), "cyan")
    yield " = "
    for index, name in enumerate(names[:MAX_ELEMENTS]):
        key = node.children[name].key
        assert key is not None
        if index:
            yield ", "
        yield (shown(key.value or b"", _MAX_VALUE), "magenta" if key.is_binary else "green")
    if len(names) > MAX_ELEMENTS:
        yield (", …", "dim")


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
    if key.meta.get("type", "string") != "string":
        parts.append((f"  {_one_line(key.meta['type'])}", "dim"))
    return parts


def _one_line(text: str) -> str:
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")
