"""Writing dumps: version 2, byte for byte as Elektra's own plugin writes them (facts 4.1)."""

from __future__ import annotations

from dumpfmt.errors import DumpError
from dumpfmt.key import Key
from dumpfmt.keyset import KeySet
from dumpfmt.native import native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO


def dump(keyset: KeySet, file: IO[bytes], parent: Key | str | None = None) -> None:
    """Write the keyset to a binary file that is open for writing; see `dumps`."""
    file.write(dumps(keyset, parent))


def dumps(keyset: KeySet, parent: Key | str | None = None) -> bytes:
    """The keyset as a dump, with full names or, with `parent`, names relative to it.

    A metakey that several keys share is written once and then referred to (`$copymeta`). Raises DumpError for a key
    that is not below `parent`.
    """
    if parent is None and native is not None:
        return native.encode(keyset._parts())
    root = Key(parent) if isinstance(parent, str) else parent
    out = [b"kdbOpen 2\n"]
    add = out.append
    written: dict[int, tuple[bytes, bytes]] = {}  # id of a metakey -> key and metadata name where it was first written
    encoded: dict[str, bytes] = {}  # names of metadata repeat
    for key in keyset:
        name = key._name.encode("utf-8", "surrogateescape")
        if root is not None:
            name = relative_name(key, root)
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


def relative_name(key: Key, parent: Key) -> bytes:
    """The escaped name of `key` without `parent` and the slash behind it; the parent itself is empty.

    Elektra's writer cuts by length and never looks (facts 4.1), so a key elsewhere is refused here. A cascading
    parent takes keys of any one namespace as keys of its own.
    """
    if not key.is_below_or_same(parent):
        raise DumpError(f"{key.name} is not below {parent.name}, to which the names of this dump are relative")
    path, root = key.name[key.name.index("/") :], parent.name[parent.name.index("/") :]
    return path[len(root) :].removeprefix("/").encode("utf-8", "surrogateescape")
