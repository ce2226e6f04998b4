"""Key names: namespaces, validity, canonical form, escaping, order.

The rules are Elektra's as its C code applies them (facts 1.1 to 1.8), including the spellings that its documentation
forbids and its code accepts. Where its own answer is a bug (facts 1.5) the documented rule holds here.

A *name* is a `str` in the form of `dumpfmt.text`. Its *unescaped* form is `bytes`: the number of the namespace, a
NUL, and each part followed by a NUL; two names are the same key exactly when these bytes are equal, and keys are
ordered by them.
"""

from __future__ import annotations

from enum import IntEnum

from dumpfmt import text
from dumpfmt.errors import InvalidKeyName


class Namespace(IntEnum):
    """The value is the first byte of the unescaped name (facts 1.1)."""

    CASCADING = 1
    META = 2
    SPEC = 3
    PROC = 4
    DIR = 5
    USER = 6
    SYSTEM = 7
    DEFAULT = 8


#: What a canonical name starts with, before its first slash.
PREFIXES: dict[bytes, bytes] = {
    (b"" if ns is Namespace.CASCADING else ns.name.lower().encode() + b":"): bytes([ns]) for ns in Namespace
}
_WORDS = frozenset(prefix[:-1].decode() for prefix in PREFIXES if prefix)
_DIGITS = "0123456789"
_MAX_INDEX = 2**63 - 1


def canonical(name: str) -> str:
    """The canonical spelling of a complete name. Raises InvalidKeyName (facts 1.2, 1.3)."""
    name = _text(name)
    prefix, path = _split_namespace(name)
    _check_escapes(name)
    kept: list[str] = []
    for part in split(path):
        if part in ("", "."):
            continue
        if part == "..":
            if kept:
                kept.pop()
            continue
        kept.append(_canonical_part(part))
    return f"{prefix}/{'/'.join(kept)}"


def unescaped(name: str) -> bytes:
    """The unescaped form of a *canonical* name (facts 1.4)."""
    slash = name.index("/")
    namespace = PREFIXES[name[:slash].encode()]
    path = name[slash + 1 :]
    if not path:
        return namespace + b"\0\0"
    return namespace + b"\0" + b"".join(text.encode(unescape_part(part)) + b"\0" for part in split(path))


def plain(name: bytes) -> bytes | None:
    """The unescaped form of `name`, when it is canonical as it stands and nothing in it is escaped; else None.

    None says only that the slow functions above must look: nearly every name of a stream passes here, at the price of
    a few substring searches.
    """
    slash = name.find(b"/")
    if slash < 0:
        return None
    namespace = PREFIXES.get(name[:slash])
    path = name[slash:]
    if (
        namespace is None
        or b"\\" in path
        or b"//" in path
        or b"/." in path
        or b"/#" in path
        or b"/%" in path
        or b"\0" in path
    ):
        return None
    if path[-1] == 47:  # a slash at the end: the root, or a spelling that is not canonical
        return namespace + b"\0\0" if len(path) == 1 else None
    return namespace + path.replace(b"/", b"\0") + b"\0"


def is_plain_path(path: str) -> bool:
    """Whether parts with slashes between them are canonical as they stand, as nearly all are; False is no verdict."""
    return not (
        not path
        or path[0] in "/.#%"
        or path[-1] == "/"
        or "\\" in path
        or "//" in path
        or "/." in path
        or "/#" in path
        or "/%" in path
        or "\0" in path
        or not path.isascii()
    )


def parts(name: str) -> tuple[str, ...]:
    """The unescaped parts of a *canonical* name; a root has none."""
    path = name[name.index("/") + 1 :]
    return tuple(unescape_part(part) for part in split(path)) if path else ()


def join(name: str, relative: str) -> str:
    """`name` with the escaped path `relative` appended, `..` working against what is there (keyAddName).

    The namespace is never left. Raises InvalidKeyName when the result is no valid name.
    """
    return canonical(f"{name}/{relative}")


def child(name: str, part: str) -> str:
    """`name` with one more part, given unescaped (keyAddBaseName)."""
    separator = "" if name.endswith("/") and not name.endswith("\\/") else "/"
    return f"{name}{separator}{escape_part(part)}"


def with_basename(name: str, part: str) -> str:
    """`name` with its last part replaced by `part`, given unescaped (keySetBaseName).

    Raises InvalidKeyName for a root, which has no part.
    """
    slash = name.index("/")
    if slash + 1 == len(name):
        raise InvalidKeyName(name, "a root has no base name that could be replaced")
    return "/".join([name[:slash], *split(name[slash + 1 :])[:-1], escape_part(part)])


def escape_part(part: str) -> str:
    """The spelling of one unescaped part that gives it back (facts 1.5, with the array rule mended)."""
    part = _text(part)
    if part == "":
        return "%"
    if part in ("%", ".", ".."):
        return "\\" + part
    if len(part) > 2 and _is_index(part):
        return "\\" + part
    return part.replace("\\", "\\\\").replace("/", "\\/")


def unescape_part(part: str) -> str:
    if part == "%":
        return ""
    if "\\" not in part:
        return part
    result: list[str] = []
    position = 0
    while (found := part.find("\\", position)) >= 0:
        result.append(part[position:found] + part[found + 1 : found + 2])
        position = found + 2
    return "".join(result) + part[position:]


def is_below_or_same(check: bytes, key: bytes) -> bool:
    """Whether `check` is `key` or below it; both unescaped (facts 1.6)."""
    return (check[1:] == key[1:] and _comparable(check, key)) or is_below(check, key)


def is_below(check: bytes, key: bytes) -> bool:
    """Whether `check` is strictly below `key`; both unescaped (facts 1.6)."""
    if not _comparable(check, key):
        return False
    if _depth(key) == 0:
        return _depth(check) > 0
    return len(check) > len(key) and check.startswith(key[1:], 1)


def is_directly_below(check: bytes, key: bytes) -> bool:
    """Whether `check` is below `key` with exactly one part more; both unescaped."""
    return _depth(check) == _depth(key) + 1 and is_below(check, key)


def _comparable(check: bytes, key: bytes) -> bool:
    """The same namespace, or one of the two cascading (two roots of different kinds are not comparable)."""
    if check[0] == key[0]:
        return True
    return Namespace.CASCADING in (check[0], key[0]) and _depth(check) + _depth(key) > 0


def _depth(unescaped_name: bytes) -> int:
    return 0 if len(unescaped_name) == 3 else unescaped_name.count(0) - 1


def array_index(number: int) -> str:
    """The array part for an index: `#0`, `#9`, `#_10`, `#__100` (facts 1.8). Raises ValueError when it is negative
    or too large.
    """
    if not 0 <= number <= _MAX_INDEX:
        raise ValueError(f"an array index lies between 0 and {_MAX_INDEX}, not at {number}")
    digits = str(number)
    return "#" + "_" * (len(digits) - 1) + digits


def parse_array_index(part: str) -> int | None:
    """The index that an array part stands for, or None when it is no canonical array part."""
    digits = part.lstrip("#").lstrip("_")
    if not part.startswith("#") or not digits.isascii() or not digits.isdigit() or len(digits) > 19:
        return None
    number = int(digits)
    return number if number <= _MAX_INDEX and array_index(number) == part else None


def _text(name: str) -> str:
    try:
        return text.normal(name, "it")
    except ValueError as error:
        raise InvalidKeyName(name, str(error)) from None


def _split_namespace(name: str) -> tuple[str, str]:
    if not name:
        raise InvalidKeyName(name, "it is empty; the shortest name is '/'")
    colon, slash = name.find(":"), name.find("/")
    if slash == 0:
        return "", name[1:]
    if colon < 0 or 0 <= slash < colon:
        raise InvalidKeyName(name, "it must start with '/' or a namespace such as 'user:/'")
    word = name[:colon]
    if word not in _WORDS:
        raise InvalidKeyName(name, f"there is no namespace {text.shown(word)}; known are {' '.join(sorted(_WORDS))}")
    if name[colon + 1 : colon + 2] != "/":
        raise InvalidKeyName(name, f"a slash must follow '{word}:'")
    return name[: colon + 1], name[colon + 2 :]


def split(path: str) -> list[str]:
    """Split at slashes that no backslash escapes."""
    if "\\" not in path:
        return path.split("/")
    result: list[str] = []
    pending: list[str] = []  # pieces that an escaped slash follows
    for piece in path.split("/"):
        pending.append(piece)
        if (len(piece) - len(piece.rstrip("\\"))) % 2 == 0:
            result.append("/".join(pending))
            pending.clear()
    return result


def _canonical_part(part: str) -> str:
    if part[0] == "#" and _is_index(part):
        return "#" + "_" * (len(part) - 2) + part[1:]
    return part


def _is_index(part: str) -> bool:
    """Whether `part` is `#` and a decimal number from 1 to 2^63-1 without a leading zero."""
    digits = part[1:]
    return (
        part[0] == "#"
        and 0 < len(digits) <= 19
        and digits.isascii()
        and digits.isdigit()
        and digits[0] != "0"
        and int(digits) <= _MAX_INDEX
    )


def _check_escapes(name: str) -> None:
    position = name.find("\\")
    while position >= 0:
        follower = name[position + 1 : position + 2]
        if not follower:
            raise InvalidKeyName(name, "the backslash at its end escapes nothing; write '\\\\' for a backslash")
        if follower not in "\\/" and not _escape_is_known(name, position, follower):
            raise InvalidKeyName(
                name,
                f"'\\{follower}' at index {position} escapes nothing; allowed are \\\\ and \\/ anywhere, "
                "\\% \\. \\.. as a whole part, and \\# before a decimal number at the end of a part",
            )
        position = name.find("\\", position + 2)


def _escape_is_known(name: str, position: int, follower: str) -> bool:
    # Elektra looks at the byte before the backslash as it stands, so an escaped slash counts as the start of a part
    # (facts 1.2).
    at_start = position == 0 or name[position - 1] == "/"
    if follower == "%":
        return at_start and _part_ends(name, position + 2)
    if follower == ".":
        end = position + (3 if name[position + 2 : position + 3] == "." else 2)
        return at_start and _part_ends(name, end)
    if follower == "#":
        end = position + 2
        while name[end : end + 1] and name[end] in _DIGITS:
            end += 1
        digits = name[position + 2 : end]
        # Only the first 19 digits are compared with the largest index (facts 1.2).
        return _part_ends(name, end) and (not digits or (digits[0] != "0" and int(digits[:19]) <= _MAX_INDEX))
    return False


def _part_ends(name: str, position: int) -> bool:
    return name[position : position + 1] in ("", "/")
