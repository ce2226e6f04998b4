#!/usr/bin/env python3
"""An Elektra storage plugin for TOML files. What a change does not touch keeps its comments, order and formatting.

    kdb mount project.toml user:/project stdioproc app=/…/bin/pluginproc args/#0=--load-plugin args/#1=toml
    kdb ls user:/project
    kdb set user:/project/tool/server/port 8080

Names: tables are paths, whatever way they are written; array elements are `#0`, `#1` … `#_10`; any other name is one
part of a key name, escaped as Elektra does it. A table has a key of its own where it has a header, is written inline
or is empty, or when a name in it looks like an array element.

Metadata, as Elektra's own toml plugin has it:
  type       string, long_long, unsigned_long_long (hexadecimal, octal, binary), double, boolean (1 and 0)
  tomltype   simpletable, inlinetable, tablearray; string_basic, string_literal, string_ml_basic, string_ml_literal;
             and, here only, offset_datetime, local_datetime, local_date, local_time (their `type` is string)
  origvalue  a number as it is written, where that is not its value: 0xff, 1_000
  array      the last index of an array, empty for none; here it is the value of the array's key as well

To set: `type` (and for dates `tomltype`) decides what is written, and a value that does not fit is refused. Without `type`
the value stays what it was in the file when it fits that, an element that is added to an array what the last one is,
and all else is a string. A key with an empty value and keys below is a table; any other value beside keys below,
binary values, bytes that are no UTF-8 and arrays with holes are refused, since TOML cannot hold them. Other metadata
is not stored, and a warning says so; comments and order live in the file only. Who changes the `tomltype` of a table
has that part of the file written anew, without the comments in it.

The file is replaced as a whole, with its mode and owner, and only after the new text was read again and found to hold
all keys. A file that changed since it was read is a conflict. Who is killed while writing leaves `.NAME.stdioproc-….tmp`
beside the file at most, which the next set removes.

`./toml.py` serves it too, and `./toml.py --elektra-spec` answers with a specification of what pyproject.toml files say
of a project, for Elektra's specload.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat

from dumpfmt import Key, KeySet
from dumpfmt.names import array_index, parse_array_index
from dumpfmt.text import shown
from specload_examples import toml_text as tt
from stdioproc.child import Infos, Plugin, serve
from stdioproc.errors import Conflict, ElektraError, Internal, Resource, ValidationSemantic, ValidationSyntactic

_INTEGERS = ("short", "unsigned_short", "long", "unsigned_long", "long_long", "unsigned_long_long", "octet")
_FLOATS = ("float", "double", "long_double")
_TEXTS = ("string", "wstring", "char", "wchar", "enum")
#: Elektra's words for types, and what is written for them.
_KINDS = {
    **dict.fromkeys(_INTEGERS, tt.INTEGER),
    **dict.fromkeys(_FLOATS, tt.FLOAT),
    **dict.fromkeys(_TEXTS, tt.STRING),
    "boolean": tt.BOOLEAN,
}
_DATES = (tt.OFFSET_DATETIME, tt.LOCAL_DATETIME, tt.LOCAL_DATE, tt.LOCAL_TIME)
_TABLES = {"simpletable": "section", "inlinetable": "inline"}

#: Metadata that the file shows in another way, or that is about the moment only.
_STORED = ("type", "tomltype", "array", "origvalue", "order", "binary", "internal")
#: The name that Elektra's resolver gives to the file that it will rename to the real one: pid, second, microsecond.
_RESOLVER_NAME = re.compile(r"(.+)\.[0-9]+:[0-9]+\.[0-9]+\.tmp", re.DOTALL)


class Toml(Plugin):
    name = "toml"
    infos = Infos(
        author="The stdioproc developers <stdioproc@example.org>",
        licence="BSD",
        description="reads and writes TOML files, and keeps comments, order and formatting",
        placements=("getstorage", "setstorage"),
        provides=("storage/toml",),
        recommends=("type",),
        status=("maintained", "unittest", "nodep"),
        metadata=("type", "tomltype", "origvalue", "array"),
    )
    spec = KeySet(
        [
            Key("spec:/project", "", {"description": "what a package index shows of the project"}),
            Key("spec:/project/name", "", {"description": "its name", "type": "string", "require": ""}),
            Key("spec:/project/version", "", {"description": "its version", "type": "string"}),
            Key("spec:/project/description", "", {"description": "one line about it", "type": "string"}),
            Key("spec:/project/requires-python", "", {"description": "versions of Python", "type": "string"}),
            Key("spec:/project/dependencies/#", "", {"description": "what it needs", "type": "string"}),
        ]
    )

    def __init__(self) -> None:
        # For each mountpoint: the file that was read, its text then, and its text after what was set here.
        self._files: dict[str, tuple[str, bytes, bytes]] = {}

    def get(self, data: KeySet, parent: Key) -> None:
        path = _path(parent)
        content = _read(path)
        if content is None:
            raise Resource(f"{path} does not exist; Elektra would not have asked for it")
        try:
            keys = list(_keys_of(tt.read(_decode(content, path)), parent))
        except tt.TomlError as error:
            raise ValidationSyntactic(f"{path}: {error}") from None
        except tt.EditError as error:
            raise Internal(f"{path}: {error}") from None
        data.cut(parent)
        data.extend(keys)
        self._files[parent.name] = (path, content, content)

    def set(self, data: KeySet, parent: Key) -> None:
        path = _path(parent)
        current = _read(path)
        base = self._base(parent.name, path, current)
        want, unstored = _wanted(data, parent)
        try:
            text = tt.edit(_decode(base or b"", path), want)
        except tt.TomlError as error:
            raise ValidationSyntactic(f"{path}: {error}. It was not changed") from None
        except tt.Unfit as error:
            raise _unfit(error) from None
        except (tt.EditError, RecursionError) as error:
            reason = "the keys are nested too deeply" if isinstance(error, RecursionError) else error
            raise Internal(f"{path} was not changed: {reason}. The file must be edited by hand") from None
        content = text.encode()
        _write(path, content, current)
        if unstored:
            self.warn(parent, _unstored(unstored))
        original, read, _ = self._files.get(parent.name, (path, content, content))
        self._files[parent.name] = (original, read, content)

    def _base(self, mountpoint: str, path: str, current: bytes | None) -> bytes | None:
        """The content that is to be changed: `current`, the file's own, or that of the file which Elektra's resolver will
        replace with it. Raises Conflict when that is not what was read.
        """
        known = self._files.get(mountpoint)
        if known is None:
            resolver_name = _RESOLVER_NAME.fullmatch(path)
            return _read(resolver_name[1]) if current is None and resolver_name else current
        original, *contents = known
        if original != path:
            current = _read(original)
            if current is None:  # the resolver knows better why: it may have removed it itself, with the last key
                return None
        if current not in contents:
            what = "is gone" if current is None else "has changed"
            raise Conflict(f"{original} {what} since it was read; get it again and repeat the change")
        return current


# --- from the file to keys


def _keys_of(root: tt.Table, parent: Key) -> list[Key]:
    keys: list[Key] = []
    _emit_children(root, parent, keys)
    return keys


def _emit_children(table: tt.Table, key: Key, keys: list[Key]) -> None:
    for name, child in table.children.items():
        if "\0" in name:
            raise ValidationSemantic(f"a name below {key.name} holds a NUL, which no key of Elektra can: {shown(name)}")
        below = key.child(name)
        if below.unescaped == key.unescaped:
            raise ValidationSemantic(
                f"the empty name '\"\"' cannot stand directly below {key.name}, since Elektra has no such key; mount the "
                "file deeper"
            )
        _emit(child, below, keys)


def _emit(node: tt.Node, key: Key, keys: list[Key]) -> None:
    if isinstance(node, tt.Scalar):
        keys.append(_scalar_key(node, key))
    elif isinstance(node, tt.Table):
        if node.how not in (tt.IMPLICIT, tt.DOTTED) or any(_is_element(name) for name in node.children):
            key.meta["tomltype"] = "inlinetable" if node.how == tt.INLINE else "simpletable"
            keys.append(key)
        _emit_children(node, key, keys)
    elif isinstance(node, (tt.Array, tt.Tables)):
        key.value = array_index(len(node.items) - 1) if node.items else ""
        key.meta["array"] = key.value
        if isinstance(node, tt.Tables):
            key.meta["tomltype"] = "tablearray"
        keys.append(key)
        for index, item in enumerate(node.items):
            _emit(item, key.child(array_index(index)), keys)


def _scalar_key(node: tt.Scalar, key: Key) -> Key:
    if "\0" in node.text:
        raise ValidationSemantic(f"the value of {key.name} holds a NUL (\\u0000), which no text of Elektra can")
    key.value = node.text
    if node.kind == tt.INTEGER:
        number = int(node.text)
        plain = node.raw.lstrip("+-")[:2] not in ("0x", "0o", "0b")
        if plain and -(2**63) <= number < 2**63:
            key.meta["type"] = "long_long"
        elif 0 <= number < 2**64:
            key.meta["type"] = "unsigned_long_long"
    else:
        key.meta["type"] = {tt.FLOAT: "double", tt.BOOLEAN: "boolean"}.get(node.kind, "string")
    if node.kind == tt.STRING:
        key.meta["tomltype"] = tt.style_of(node.raw)
    elif node.kind in _DATES:
        key.meta["tomltype"] = node.kind
    elif node.kind != tt.BOOLEAN and node.raw != node.text:
        key.meta["origvalue"] = node.raw
    return key


# --- from keys to what the file shall hold


class _Branch:
    """Keys by their names: `key` is the one that ends here."""

    __slots__ = ("below", "key")

    def __init__(self) -> None:
        self.key: Key | None = None
        self.below: dict[str, _Branch] = {}

    def first(self) -> Key:
        branch = self
        while branch.key is None:
            branch = next(iter(branch.below.values()))
        return branch.key


def _wanted(data: KeySet, parent: Key) -> tuple[tt.Want, list[tuple[str, str]]]:
    """The tree that the file shall hold, and the metadata (key, name) that it does not."""
    root = _Branch()
    depth = len(parent.parts)
    unstored: list[tuple[str, str]] = []
    for key in data:
        if not key.is_below_or_same(parent):
            raise ValidationSemantic(f"{key.name} is not below the mountpoint {parent.name}")
        branch = root
        for part in key.parts[depth:]:
            branch = branch.below.setdefault(part, _Branch())
        branch.key = key
        unstored += [(key.name, name) for name in key.meta if name.split("/")[0] not in _STORED]
    if root.key is not None and root.key.value != "":
        raise ValidationSemantic(
            f"{root.key.name} is the mountpoint: a TOML file has no value of its own; only keys below it can be stored"
        )
    return _want_table(root, parent.name), unstored


def _want(branch: _Branch, where: str) -> tt.Want:
    key = branch.key
    meta: dict[str, str] = dict(key.meta) if key is not None else {}
    where = key.name if key is not None else where
    value = key.value if key is not None else ""
    if not isinstance(value, str):
        what = "a binary value" if value else "the null value"
        raise ValidationSemantic(
            f"{where} holds {what}, which TOML cannot; store text, for example with Elektra's base64 plugin before this one"
        )
    tomltype = meta.get("tomltype", "")
    is_index = value == "" or parse_array_index(value) is not None
    says_array = "array" in meta or tomltype == "tablearray"
    if branch.below:
        if (says_array and is_index) or (is_index and tomltype not in _TABLES and _contiguous(branch)):
            return _want_array(branch, where, tomltype, strict=says_array)
        if value != "":
            raise ValidationSemantic(
                f"{where} has the value {shown(value)} and keys below it ({_below(branch)}): TOML holds one or the other; "
                "remove the value or these keys"
            )
        want = _want_table(branch, where)
        want.style = _TABLES.get(tomltype, "section" if key is not None else "")
        if want.style == "section" and any(_is_element(name) for name in branch.below):
            want.style = ""  # the key says that this is no array, not how the table is written
        return want
    assert key is not None  # a branch ends with a key
    if says_array and is_index:
        return _want_array(branch, where, tomltype, strict=True)
    want = tt.Want(where)
    if tomltype in _TABLES and value == "":
        want.children = {}
        want.style = _TABLES[tomltype]
        return want
    want.text = _utf8(value, f"the value of {where}")
    want.raw = meta.get("origvalue", "")
    want.kind = _KINDS.get(meta.get("type", ""))
    if meta.get("type", "any") not in (*_KINDS, "any", ""):
        want.kind = tt.STRING
    if tomltype in _DATES and want.kind in (None, tt.STRING):
        want.kind = tomltype
    elif tomltype in tt.STYLES:
        want.style = tomltype
    return want


def _want_table(branch: _Branch, where: str) -> tt.Want:
    want = tt.Want(where)
    want.children = {}
    for name, below in branch.below.items():
        want.children[_utf8(name, f"the name of a key below {where}")] = _want(below, f"{where}/{name}")
    return want


def _want_array(branch: _Branch, where: str, tomltype: str, *, strict: bool) -> tt.Want:
    want = tt.Want(where)
    if strict:
        for name, below in branch.below.items():
            if not _is_element(name):
                raise ValidationSemantic(
                    f"{where} is an array, but {below.first().name} is no element of it (#0, #1 … #9, #_10); rename this key, "
                    f"or remove the metadata 'array' and 'tomltype' of {where} to make it a table"
                )
        for index, name in enumerate(branch.below):
            if name != array_index(index):
                raise ValidationSemantic(
                    f"the array {where} has {branch.below[name].first().name} but no {array_index(index)}: TOML arrays have no "
                    "holes; number the elements from #0 on, and remove only the last ones"
                )
    want.items = [_want(below, f"{where}/{name}") for name, below in branch.below.items()]
    want.style = "section" if tomltype == "tablearray" else ""
    return want


def _contiguous(branch: _Branch) -> bool:
    return all(name == array_index(index) for index, name in enumerate(branch.below))


def _is_element(name: str) -> bool:
    return parse_array_index(name) is not None


def _below(branch: _Branch) -> str:
    first = next(iter(branch.below.values())).first().name
    return first if len(branch.below) == 1 else f"{first} …"


def _utf8(text: str, what: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValidationSemantic(f"{what} is no UTF-8, and TOML is: {shown(text)}") from None
    return text


def _unfit(error: tt.Unfit) -> ElektraError:
    by = "tomltype" if error.kind in _DATES else "type"
    return ValidationSemantic(
        f"{error.want.where} is {shown(error.want.text or '')}, but its metadata '{by}' asks for {error.expected}; "
        f"change the value, or change or remove the metadata '{by}'"
    )


def _unstored(unstored: list[tuple[str, str]]) -> ElektraError:
    named = ", ".join(f"'{name}' of {key}" for key, name in unstored[:3])
    more = f" and {len(unstored) - 3} more" if len(unstored) > 3 else ""
    return ValidationSemantic(
        f"TOML has no place for this metadata, it was not stored: {named}{more} (comments stay in the file as they are)"
    )


# --- the file


def _path(parent: Key) -> str:
    if not isinstance(parent.value, str) or not parent.value:
        raise ValidationSemantic(f"the value of the parent key {parent.name} must be the path of a TOML file")
    return os.path.realpath(parent.value)  # a link stays one, and its target is what is replaced


def _read(path: str) -> bytes | None:
    """The content of a file; None when there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # nobody may write into a named pipe
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Resource(f"cannot read {path}: it is no regular file")
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Resource(f"cannot read {path}: {error.strerror}") from None


def _decode(content: bytes, path: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - (content.rfind(b"\n", 0, error.start) + 1) + 1
        raise ValidationSyntactic(
            f"{path}: line {line}, byte {column}: TOML files are UTF-8, found {shown(content[error.start : error.end])}"
        ) from None


def _write(path: str, content: bytes, current: bytes | None) -> None:
    """Replace a file, which held `current`, as a whole: a reader, or a crash, sees the old one or the new one."""
    directory, name = os.path.split(path)
    if content != current:
        with contextlib.ExitStack() as stack:
            old = _lock(path, stack)
            temporary, descriptor = _temporary(directory, name, 0o666 if old is None else 0o600)
            stack.callback(os.close, descriptor)  # which gives the lock back, so it is the last
            try:
                _fill(descriptor, content, old, path)
                _replace(temporary, path, old, current)
            except BaseException as error:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                if isinstance(error, OSError):
                    raise Resource(f"cannot write {path}: {error.strerror}; it is as it was") from None
                raise
        _sync_directory(directory)
    _remove_leftovers(directory, name)


def _lock(path: str, stack: contextlib.ExitStack) -> os.stat_result | None:
    """What is to be replaced, None when there is nothing; others of this kind wait with theirs until `stack` is closed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        stack.callback(os.close, descriptor)
        _try_lock(descriptor)
        return os.fstat(descriptor)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        raise Conflict(f"{path} is just being written by another process; get it again and repeat the change") from None
    except OSError as error:
        raise Resource(f"cannot write {path}: {error.strerror}") from None


def _try_lock(descriptor: int) -> bool:
    """Raises BlockingIOError when somebody else holds the lock; False where the file system has none."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True


def _temporary(directory: str, name: str, mode: int) -> tuple[str, int]:
    """A new file and a descriptor of it. Its writer holds a lock on it, so one without a lock was left by a crash."""
    while True:
        path = os.path.join(directory, f"{_temporary_prefix(name)}{os.urandom(6).hex()}.tmp")
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        except OSError as error:
            raise Resource(
                f"cannot write {os.path.join(directory, name)}: its directory takes no new file: {error.strerror}"
            ) from None
        try:
            _try_lock(descriptor)
            if os.fstat(descriptor).st_nlink:
                return path, descriptor
        except BlockingIOError:
            pass
        os.close(descriptor)  # another process took it for a leftover before it was locked, and removes it


def _temporary_prefix(name: str) -> str:
    resolver_name = _RESOLVER_NAME.fullmatch(name)
    name = resolver_name[1] if resolver_name else name  # the resolver's is another one each time
    return f".{os.fsdecode(os.fsencode(name)[:200])}.stdioproc-"


def _fill(descriptor: int, content: bytes, old: os.stat_result | None, path: str) -> None:
    if old is not None:
        _keep_owner(descriptor, old, path)
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
    if old is not None:
        os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
    os.fsync(descriptor)


def _keep_owner(descriptor: int, old: os.stat_result, path: str) -> None:
    new = os.fstat(descriptor)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        try:
            os.fchown(descriptor, old.st_uid, old.st_gid)
        except OSError:
            raise Resource(
                f"cannot write {path}: it belongs to user {old.st_uid} and group {old.st_gid}, which the new file could "
                "not be given to; run this as its owner"
            ) from None


def _replace(temporary: str, path: str, old: os.stat_result | None, current: bytes | None) -> None:
    # What is read may have lost its name in the meantime; that is looked at last, right before the rename.
    if _read(path) != current or (old is not None and _identity(os.stat(path)) != _identity(old)):
        raise Conflict(f"{path} has changed while it was written; get it again and repeat the change")
    if old is None:
        # A link, unlike a rename, never replaces what another process made in the meantime.
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise Conflict(f"{path} was made while it was written; get it and repeat the change") from None
        except OSError:
            pass  # not every file system has links
        else:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            return
    os.rename(temporary, path)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (
        status.st_dev,
        status.st_ino,
        status.st_mode,
        status.st_uid,
        status.st_gid,
        status.st_size,
        status.st_mtime_ns,
    )


def _remove_leftovers(directory: str, name: str) -> None:
    """Remove what writers of this file left behind when they were killed. No failure here is one of the set."""
    pattern = re.compile(re.escape(_temporary_prefix(name)) + r"[0-9a-f]{12}\.tmp")
    try:
        found = [path for path in os.listdir(directory) if pattern.fullmatch(path)]
    except OSError:
        return
    for leftover in found:
        with contextlib.suppress(OSError):
            # One that root made may have been given to the owner of the file already.
            owners = (os.geteuid(), os.stat(os.path.join(directory, name)).st_uid)
            _remove_leftover(os.path.join(directory, leftover), owners)


def _remove_leftover(path: str, owners: tuple[int, ...]) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_uid in owners and _try_lock(descriptor):
            os.unlink(path)
    finally:
        os.close(descriptor)


def _sync_directory(directory: str) -> None:
    """The rename is on disk only when the directory is; file systems that cannot do that are no reason to fail."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    serve(Toml)
