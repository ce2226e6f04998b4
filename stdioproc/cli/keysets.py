"""Keysets as files of a person's shell: dump, quickdump and JSON, recognised by their first bytes.

The JSON form is a list of objects, one for each key:

    {"name": "user:/a", "value": "text", "meta": {"type": "string"}}
    {"name": "user:/b", "binary": "AAE="}       binary values are base64, null is the null value
    {"name": "user:/c", "value": {"base64": "/w=="}}

`value` (default: empty text) and `binary` exclude each other, `meta` may be missing. Every text that is not UTF-8 stands
as {"base64": …}; where the name of a metakey is such a text, `meta` is a list of {"name": …, "value": …}. The metadata
`binary` is implied by the value. Nothing is lost but the knowledge which equal metakeys are one object.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import NoReturn

from dumpfmt import DumpError, InvalidKeyName, Key, KeySet, dumps, loads, quickdump
from dumpfmt.text import decode, encode, shown

FORMATS = ("dump", "quickdump", "json")

_Text = str | dict[str, str]


class UnknownFormat(DumpError):
    """The bytes begin like no format that is known here."""


class JsonError(DumpError):
    """JSON that is no keyset."""


def detect(data: bytes) -> str | None:
    """The format (one of FORMATS) that `data` is in by its first bytes; None for no data. Raises UnknownFormat."""
    if data.startswith(quickdump.MAGIC[:4]):
        return "quickdump"
    if data.startswith(b"kdbOpen"):
        return "dump"
    start = data.lstrip()
    if start.startswith(b"["):
        return "json"
    if not start:
        return None
    raise UnknownFormat(
        f"this is no keyset, it begins with {shown(data[:40], 40)}: a dump begins with 'kdbOpen 2', quickdump with 'EKDB', "
        "JSON with '['"
    )


def read(data: bytes, parent: Key) -> tuple[KeySet, str | None]:
    """The keyset in `data` and its format; names in quickdump are relative to `parent`. Raises DumpError."""
    found = detect(data)
    if found is None:
        return KeySet(), None
    if found == "json":
        return from_json(data), found
    return (loads(data) if found == "dump" else quickdump.loads(data, parent)), found


def write(keyset: KeySet, form: str, parent: Key) -> bytes:
    """The keyset in the format `form`, one of FORMATS. Raises DumpError for quickdump of keys that are not below `parent`."""
    if form == "json":
        return to_json(keyset)
    if form == "quickdump":
        return quickdump.dumps(keyset, parent)
    return dumps(keyset)


def to_json(keyset: KeySet) -> bytes:
    """The keyset as JSON text, one key to a line."""
    lines = [json.dumps(_json_key(key), ensure_ascii=False) for key in keyset]
    return ("[\n" + ",\n".join(lines) + "\n]\n" if lines else "[]\n").encode()


def from_json(data: bytes) -> KeySet:
    """The keyset in JSON text. Raises JsonError, which names the key and says what is wrong."""
    try:
        found = json.loads(data, object_pairs_hook=_once)
    except RecursionError:
        raise JsonError("this JSON is nested too deeply to be a keyset") from None
    except JsonError:
        raise
    except UnicodeDecodeError as error:
        raise JsonError(
            f'this JSON is not UTF-8 (byte {error.start}); such text is written as {{"base64": …}}'
        ) from None
    except json.JSONDecodeError as error:
        raise JsonError(f"line {error.lineno}, column {error.colno}: no JSON: {error.msg}") from None
    if not isinstance(found, list):
        raise JsonError("a keyset in JSON is a list of keys")
    keyset = KeySet()
    for index, each in enumerate(found):
        key = _key(index, each)
        if key in keyset:
            _wrong(index, f"there are two keys {key.name}")
        keyset.append(key)
    return keyset


def _json_text(text: str) -> _Text:
    try:
        text.encode()
    except UnicodeEncodeError:
        return {"base64": base64.b64encode(encode(text)).decode("ascii")}
    return text


def _json_key(key: Key) -> dict[str, object]:
    written: dict[str, object] = {"name": _json_text(key.name)}
    value = key.value
    if isinstance(value, str):
        written["value"] = _json_text(value)
    else:
        written["binary"] = None if value is None else base64.b64encode(value).decode("ascii")
    meta = {name: content for name, content in key.meta.items() if not (name == "binary" and content == "")}
    if all(isinstance(_json_text(name), str) for name in meta):
        written["meta"] = {name: _json_text(content) for name, content in meta.items()}
    else:
        written["meta"] = [{"name": _json_text(name), "value": _json_text(content)} for name, content in meta.items()]
    return written


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise JsonError(f"an object has {shown(name)} twice")
        found[name] = value
    return found


def _key(index: int, written: object) -> Key:
    if not isinstance(written, dict):
        _wrong(index, 'it is no object such as {"name": …, "value": …, "meta": {}}')
    unknown = [name for name in written if name not in ("name", "value", "binary", "meta")]
    if unknown:
        _wrong(index, f"it has {shown(unknown[0])}; known are name, value, binary and meta")
    if "name" not in written:
        _wrong(index, "it has no name")
    if "value" in written and "binary" in written:
        _wrong(index, "it has both value (text) and binary (base64 or null); a key has one")
    value: str | bytes | None = ""
    if "binary" in written:
        binary = written["binary"]
        value = None if binary is None else _base64(index, "binary", binary)
    elif "value" in written:
        value = _text(index, "value", written["value"])
    try:
        key = Key(_text(index, "name", written["name"]), value)
        for name, content in _meta(index, written.get("meta", {})):
            if name in key.meta and not (name == "binary" and key.is_binary):
                _wrong(index, f"it has the metadata {shown(name)} twice")
            key.meta[name] = content
    except InvalidKeyName as error:
        _wrong(index, str(error))
    except JsonError:
        raise
    except ValueError as error:
        _wrong(index, str(error))
    return key


def _meta(index: int, meta: object) -> list[tuple[str, str]]:
    if isinstance(meta, Mapping):
        return [(name, _text(index, f"the metadata {name}", content)) for name, content in meta.items()]
    pairs = []
    for each in meta if isinstance(meta, list) else [None]:
        if not isinstance(each, Mapping) or set(each) != {"name", "value"}:
            _wrong(index, 'meta is an object of names and texts, or a list of {"name": …, "value": …}')
        pairs.append((_text(index, "the name of a metakey", each["name"]), _text(index, "metadata", each["value"])))
    return pairs


def _text(index: int, what: str, written: object) -> str:
    if isinstance(written, str):
        return written
    if isinstance(written, Mapping) and set(written) == {"base64"}:
        return decode(_base64(index, what, written["base64"]))
    _wrong(
        index, f'{what} must be text, or {{"base64": …}} for text that is not UTF-8, not {shown(json.dumps(written))}'
    )


def _base64(index: int, what: str, written: object) -> bytes:
    if isinstance(written, str):
        try:
            return base64.b64decode(written, validate=True)
        except (binascii.Error, ValueError):
            pass
    _wrong(index, f"{what} must be base64, not {shown(json.dumps(written))}")


def _wrong(index: int, reason: str) -> NoReturn:
    raise JsonError(f"key {index + 1} of the list: {reason}")
