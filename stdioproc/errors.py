"""Errors: of the protocol, and Elektra's own as they stand in the metadata of a parent key (facts 6)."""

from __future__ import annotations

from dumpfmt import Key
from dumpfmt.names import array_index, parse_array_index
from dumpfmt.text import encode


class ProtocolError(Exception):
    """Somebody broke the rules of the protocol."""


class LocalProtocolError(ProtocolError):
    """This side asked for something that the protocol does not allow now. Nothing was written."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the rules; the connection is of no more use.

    Attributes: `reason` (str), `phase` (str: what was going on) and `ended` (bool: the stream was over where more was due;
    nothing that came was wrong).
    """

    def __init__(self, reason: str, phase: str = "", *, ended: bool = False) -> None:
        super().__init__(f"{reason} ({phase})" if phase else reason)
        self.reason = reason
        self.phase = phase
        self.ended = ended


class ElektraError(Exception):
    """An error as Elektra reports it. Raise one of the classes below in a plugin: ValidationSemantic("what is wrong").

    `module`, `file` and `line` are filled in by `serve` where they are not given; `mountpoint` and `configfile` are
    what a host read back.
    """

    number = "C01310"
    description = "Internal"

    def __init__(
        self,
        reason: str,
        *,
        module: str = "",
        file: str = "",
        line: str = "",
        mountpoint: str = "",
        configfile: str = "",
    ) -> None:
        reason = str(reason)  # raise ValidationSemantic(error) is a slip that must not cost the child
        super().__init__(reason)
        self.reason = reason
        self.module = module
        self.file = file
        self.line = line
        self.mountpoint = mountpoint
        self.configfile = configfile

    def __str__(self) -> str:
        where = f"{self.module} issued " if self.module else ""
        return f"{where}{self.number} ({self.description}): {self.reason}"


class Resource(ElektraError):
    """Files, processes, memory, permissions."""

    number, description = "C01100", "Resource"


class OutOfMemory(ElektraError):
    number, description = "C01110", "Out of Memory"


class Installation(ElektraError):
    """Something is not installed or not configured as it must be."""

    number, description = "C01200", "Installation"


class Internal(ElektraError):
    """A bug in the plugin."""

    number, description = "C01310", "Internal"


class Interface(ElektraError):
    """The plugin was used in a way that it does not support."""

    number, description = "C01320", "Interface"


class PluginMisbehavior(ElektraError):
    """A plugin broke its contract."""

    number, description = "C01330", "Plugin Misbehavior"


class Conflict(ElektraError):
    """The configuration changed underneath."""

    number, description = "C02000", "Conflict"


class ValidationSyntactic(ElektraError):
    """A file or a value cannot be parsed."""

    number, description = "C03100", "Validation Syntactic"


class ValidationSemantic(ElektraError):
    """A value is understood and not allowed."""

    number, description = "C03200", "Validation Semantic"


CATEGORIES: dict[str, type[ElektraError]] = {
    category.number: category
    for category in (
        Resource,
        OutOfMemory,
        Installation,
        Internal,
        Interface,
        PluginMisbehavior,
        Conflict,
        ValidationSyntactic,
        ValidationSemantic,
    )
}

# What the metakey of an error or a warning itself says: a constant in Elektra, two blanks included.
_CONTENTS = "number description  module file line mountpoint configfile reason"
_FIELDS = ("number", "description", "module", "file", "line", "mountpoint", "configfile", "reason")
# Elektra keeps 100 warnings; it then writes over the first ones, and we rather drop the last.
MAX_WARNINGS = 100


def set_error(parent: Key, error: ElektraError) -> None:
    """Write an error into the parent key's metadata; where one is already there it becomes a warning, as in Elektra."""
    if "error" in parent.meta:
        add_warning(parent, error)
    else:
        _write(parent, "error", _fields(parent, error))


def add_warning(parent: Key, warning: ElektraError) -> None:
    """Write a warning behind those that the parent key's metadata holds."""
    _append_warning(parent, _fields(parent, warning))


def get_error(parent: Key) -> ElektraError | None:
    """The error in the parent key's metadata, if there is one; fields that are missing are empty."""
    return _read(parent, "error") if "error" in parent.meta else None


def get_warnings(parent: Key) -> list[ElektraError]:
    """The warnings in the parent key's metadata, oldest first."""
    return [_read(parent, f"warnings/{index}") for index in _warning_indexes(parent)]


def complete_error(parent: Key, default: ElektraError) -> None:
    """Fill in what a child's error leaves out: all of it from `default`, or single fields (Elektra would print
    them empty).
    """
    if "error" not in parent.meta:
        set_error(parent, default)
        return
    for field, content in _fields(parent, default).items():
        if f"error/{field}" in parent.meta:
            continue
        # The number of a category gives its description; a wrong pair would be worse than none.
        if field == "description":
            category = CATEGORIES.get(parent.meta.get("error/number", ""))
            content = category.description if category else content
        parent.meta[f"error/{field}"] = content


def merge_metadata(parent: Key, returned: Key, *, failed: bool) -> None:
    """Take the metadata of the parent key that a child returned into the one that it was sent (protocol.md, States).

    Nothing that was there is lost: warnings are added to those of before, an error of before stays the error, and
    metadata that the child left out stays. An error that a child set although it did not answer `error` becomes a
    warning.
    """
    if not returned._meta:
        return
    before, after = _warning_fields(parent), _warning_fields(returned)
    new = (
        after[len(before) :] if after[: len(before)] == before else [fields for fields in after if fields not in before]
    )
    for fields in new:
        _append_warning(parent, fields)
    had_error = "error" in parent.meta
    own_error = {name: value for name, value in parent.meta.items() if _is_error(name)}
    returned_error = {name: value for name, value in returned.meta.items() if _is_error(name)}
    if returned_error and returned_error != own_error:
        if failed and not had_error:
            parent.meta.update(returned_error)
        else:
            _append_warning(parent, [(field, returned.meta.get(f"error/{field}", "")) for field in _FIELDS])
    for name in returned._meta:
        if not _is_error(name) and not _is_warning(name) and name != "binary":
            parent.copy_meta(returned, name)


def _is_error(name: str) -> bool:
    return name == "error" or name.startswith("error/")


def _is_warning(name: str) -> bool:
    return name == "warnings" or name.startswith("warnings/")


def _fields(parent: Key, error: ElektraError) -> dict[str, str]:
    value = parent.value
    fields = {
        "number": error.number,
        "description": error.description,
        "module": error.module,
        "file": error.file,
        "line": error.line,
        "mountpoint": error.mountpoint or parent.name,
        "configfile": error.configfile or (value if isinstance(value, str) else ""),
        "reason": error.reason,
    }
    return {field: _storable(str(content)) for field, content in fields.items()}


def _storable(content: str) -> str:
    """What a plugin says in an error may hold anything; metadata is a C string."""
    content = content.replace("\0", "\\0")
    try:
        encode(content)
    except UnicodeEncodeError:
        return content.encode("utf-8", "backslashreplace").decode("utf-8")
    return content


def _write(parent: Key, root: str, fields: dict[str, str] | list[tuple[str, str]]) -> None:
    parent.meta[root] = _CONTENTS
    for field, content in dict(fields).items():
        parent.meta[f"{root}/{field}"] = content


def _read(parent: Key, root: str) -> ElektraError:
    meta = parent.meta
    number = meta.get(f"{root}/number", "")
    error = CATEGORIES.get(number, ElektraError)(
        meta.get(f"{root}/reason", ""),
        module=meta.get(f"{root}/module", ""),
        file=meta.get(f"{root}/file", ""),
        line=meta.get(f"{root}/line", ""),
        mountpoint=meta.get(f"{root}/mountpoint", ""),
        configfile=meta.get(f"{root}/configfile", ""),
    )
    error.number = number
    error.description = meta.get(f"{root}/description", "")
    return error


def _warning_indexes(parent: Key) -> list[str]:
    found = {name.split("/")[1] for name in parent.meta if name.startswith("warnings/")}
    return sorted(found)  # the underscores of array parts make their order that of the numbers (facts 1.7)


def _warning_fields(parent: Key) -> list[list[tuple[str, str]]]:
    return [
        [(field, parent.meta.get(f"warnings/{index}/{field}", "")) for field in _FIELDS]
        for index in _warning_indexes(parent)
    ]


def _append_warning(parent: Key, fields: dict[str, str] | list[tuple[str, str]]) -> None:
    last = parse_array_index(parent.meta.get("warnings", ""))
    number = len(_warning_indexes(parent)) if last is None else last + 1
    if number >= MAX_WARNINGS:
        return
    _write(parent, f"warnings/{array_index(number)}", fields)
    parent.meta["warnings"] = array_index(number)
