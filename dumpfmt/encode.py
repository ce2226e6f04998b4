"""Writing dumps: version 2, byte for byte as Elektra's own plugin writes them (facts 4.1)."""

from __future__ import annotations

from collections.abc import Iterator

from dumpfmt import names, text
from dumpfmt.errors import DumpError
from dumpfmt.key import Key
from dumpfmt.keyset import KeySet
from dumpfmt.native import native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO


_EMPTY = b"kdbOpen 2\n$end\n"


def dump(keyset: KeySet, file: IO[bytes], parent: Key | str | None = None) -> None:
    """Write the keyset to a binary file that is open for writing; see `dumps`."""
    file.write(dumps(keyset, parent))


def dump_key(key: Key) -> bytes:
    """The dump of a keyset of one key: the parent of every message."""
    return native.encode((key,)) if native is not None else dumps(KeySet((key,)))


def dumps(keyset: KeySet, parent: Key | str | None = None) -> bytes:
    """The keyset as a dump, with full names or, with `parent`, names relative to it.

    A metakey that several keys share is written once and then referred to (`$copymeta`). Raises DumpError for a key
    that is not below `parent`.
    """
    if not keyset:
        return _EMPTY
    if parent is None and native is not None:
        return native.encode(keyset._parts())
    root = Key(parent) if isinstance(parent, str) else parent
    out = [b"kdbOpen 2\n"]
    add = out.append
    written: dict[int, tuple[bytes, bytes]] = {}  # id of a metakey -> key and metadata name where it was first written
    encoded: dict[str, bytes] = {}  # names of metadata repeat
    for key, name in _full_names(keyset) if root is None else relative_names(keyset, root):
        value = key._value
        if isinstance(value, str):
            content = value.encode("utf-8", "surrogateescape")
            add(b"$key string %d %d\n%b\n%b\n" % (len(name), len(content), name, content))
        else:
            content = value or b""
            add(b"$key binary %d %d\n%b\n%b\n" % (len(name), len(content), name, content))
        for metaname, metakey in key._meta.items():
            identity = id(metakey)
            first = written.get(identity)
            if first is not None:
                add(b"$copymeta %d %d\n%b\n%b\n" % (len(first[0]), len(first[1]), *first))
                continue
            short = encoded.get(metaname)
            if short is None:
                short = encoded[metaname] = metaname.encode("utf-8", "surrogateescape")
            written[identity] = (name, short)
            content = metakey.encode("utf-8", "surrogateescape")
            add(b"$meta %d %d\n%b\n%b\n" % (len(short), len(content), short, content))
    add(b"$end\n")
    return b"".join(out)


def _full_names(keyset: KeySet) -> Iterator[tuple[Key, bytes]]:
    return ((key, text.encode(key.name)) for key in keyset)


def relative_names(keyset: KeySet, parent: Key) -> Iterator[tuple[Key, bytes]]:
    """Each key with its escaped name without `parent` and the slash behind it; the parent itself is empty.

    Elektra's writer cuts by length and never looks (facts 4.1), so a key elsewhere is refused here. A cascading parent
    takes keys of any one namespace as keys of its own.
    """
    namespaces: set[int] = set()
    for key in keyset:
        if not key.is_below_or_same(parent):
            raise DumpError(f"{key.name} is not below {parent.name}, to which the names of this dump are relative")
        namespaces.add(key.unescaped[0])
        if len(namespaces) > 1 and parent.namespace is names.Namespace.CASCADING:
            raise DumpError(
                f"{key.name} has another namespace than the keys before it: below {parent.name} both look alike"
            )
        yield key, text.encode(_relative_name(key, parent))


def _relative_name(key: Key, parent: Key) -> str:
    path, root = key.name[key.name.index("/") :], parent.name[parent.name.index("/") :]
    if path == root:
        return ""
    if path.startswith(root.removesuffix("/") + "/"):
        return path[len(root) :].removeprefix("/")
    # The parent in another spelling, as "\\#5" is one of "#5".
    relative = "/".join(names.split(path[1:])[len(parent.parts) :])
    if names.unescaped(names.join(parent.name, relative))[1:] != key.unescaped[1:]:
        raise DumpError(f"{key.name} has no name relative to {parent.name}")
    return relative
