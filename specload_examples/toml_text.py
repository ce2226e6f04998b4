"""TOML as a text that is changed in place: where each key and value stands, and the edits that turn it into other keys.

tomlkit decides what is TOML and what it means. Its own way to edit a document is not used: it puts a new key between
a table's end and the comment of the next table, and drops the comment behind the element before the one that is
deleted. Here a change is a list of splices, so what nobody changed stays as it is, byte for byte.

`read` gives a `Table`. `edit` takes a text and the tree of what is wanted, and returns the new text, which it has
read again and compared with what was wanted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: What a scalar is.
STRING, INTEGER, FLOAT, BOOLEAN = "string", "integer", "float", "boolean"
OFFSET_DATETIME, LOCAL_DATETIME, LOCAL_DATE, LOCAL_TIME = (
    "offset_datetime",
    "local_datetime",
    "local_date",
    "local_time",
)

#: How a table came to be.
ROOT, HEADER, ELEMENT, IMPLICIT, DOTTED, INLINE = "root", "header", "element", "implicit", "dotted", "inline"
_SECTIONS = (ROOT, HEADER, ELEMENT)  # tables with lines of their own
_NAMELESS = (IMPLICIT, DOTTED)  # tables that exist for the names below them only

#: How a string is written: the delimiters, in Elektra's words.
STYLES = {"string_basic": '"', "string_literal": "'", "string_ml_basic": '"""', "string_ml_literal": "'''"}

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"[ \t]*")
_GAP = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")  # between the values of an array
_COMMENT = re.compile(r"[ \t]*#[^\r\n]*")

_DATE = r"\d{4}-\d\d-\d\d"
_TIME = r"\d\d:\d\d(?::\d\d(?:\.\d+)?)?"
_PATTERNS = {
    OFFSET_DATETIME: re.compile(rf"{_DATE}[Tt ]{_TIME}(?:[Zz]|[+-]\d\d:\d\d)"),
    LOCAL_DATETIME: re.compile(rf"{_DATE}[Tt ]{_TIME}"),
    LOCAL_DATE: re.compile(_DATE),
    LOCAL_TIME: re.compile(_TIME),
    BOOLEAN: re.compile(r"true|false"),
    INTEGER: re.compile(
        r"[+-]?(?:0|[1-9](?:_?\d)*)|0x[0-9A-Fa-f](?:_?[0-9A-Fa-f])*|0o[0-7](?:_?[0-7])*|0b[01](?:_?[01])*"
    ),
    FLOAT: re.compile(r"[+-]?(?:(?:0|[1-9](?:_?\d)*)(?:\.\d(?:_?\d)*)?(?:[eE][+-]?\d(?:_?\d)*)?|inf|nan)"),
}
_BARE_SCALAR = re.compile(rf"{_DATE}[ ]{_TIME}(?:[Zz]|[+-]\d\d:\d\d)?|[^\s,\]}}#]+")

_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b", '"': '"', "\\": "\\"}
_ESCAPE = re.compile(
    r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|x([0-9A-Fa-f]{2})|([ \t]*\r?\n[ \t\r\n]*)|(.))", re.DOTALL
)
_SHORT = {value: "\\" + letter for letter, value in _ESCAPES.items() if letter != "e"}
# What a basic string must escape; a multi-line one may hold a line feed. U+0085 and its like are allowed, and are
# line ends to some editors.
_MUST = re.compile(r'["\\\x00-\x1f\x7f-\x9f\u2028\u2029]')
_MUST_LINES = re.compile(r'\\|"(?="")|"\Z|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]')
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROL_LINES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


class TomlError(ValueError):
    """The text is no TOML. `line` and `column` count from 1; 0 where they are not known."""

    def __init__(self, reason: str, line: int = 0, column: int = 0) -> None:
        super().__init__(f"line {line}, column {column}: {reason}" if line else reason)
        self.line = line
        self.column = column


class EditError(Exception):
    """The text cannot be changed into what is wanted. Nothing is wrong with either: it is a limit of this module."""


# --- what was read


class Node:
    """A value, and where it stands: `start` and `end` of the value; `line` of the statement, `entry` in an inline table."""

    __slots__ = ("end", "entry", "holder", "line", "name", "parent", "start")

    def __init__(self) -> None:
        self.start = self.end = -1
        self.line: tuple[int, int] | None = None
        self.entry: tuple[int, int] | None = None
        self.holder: Table | None = None  # the inline table that the entry stands in
        self.parent: Table | None = None
        self.name = ""


class Scalar(Node):
    """`raw` as it is written, `text` as Elektra has it."""

    __slots__ = ("kind", "raw", "text")

    def __init__(self, raw: str) -> None:
        super().__init__()
        self.raw = raw
        self.kind = kind_of(raw)
        self.text = text_of(self.kind, raw)


class Array(Node):
    __slots__ = ("items",)

    def __init__(self) -> None:
        super().__init__()
        self.items: list[Node] = []


class Tables(Node):
    """An array of tables: `[[name]]`."""

    __slots__ = ("items",)

    def __init__(self) -> None:
        super().__init__()
        self.items: list[Table] = []


class Table(Node):
    """`header` is the span of its line; `body_end` is where the line of a new key goes (-1: there was none)."""

    __slots__ = ("body_end", "children", "entries", "header", "how")

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.children: dict[str, Node] = {}
        self.header: tuple[int, int] | None = None
        self.body_end = -1
        self.entries: list[Node] = []  # of an inline table, in order

    def put(self, name: str, node: Node) -> None:
        self.children[name] = node
        node.parent = self
        node.name = name


def path_of(table: Table) -> tuple[str, ...]:
    """The names that lead to a table, without the indices of arrays of tables."""
    names: list[str] = []
    node: Table | None = table
    while node is not None and node.how != ROOT:
        names.append(node.name)
        node = node.parent
    return tuple(reversed(names))


# --- reading


def read(text: str) -> Table:
    """The document in `text`. Raises TomlError; or EditError when tomlkit and this module understand it differently."""
    import tomlkit  # takes longer to import than a contract takes to answer
    from tomlkit.exceptions import TOMLKitError

    # A byte order mark is no part of TOML 1.0, and editors write it.
    body = text.removeprefix("\ufeff")
    try:
        value: Mapping[str, Any] = tomlkit.parse(body).unwrap()
    except RecursionError:
        raise TomlError("the values are nested too deeply") from None
    except (TOMLKitError, ValueError) as error:
        raise _refusal(error, body) from None
    root = _Scanner(text, len(text) - len(body)).document()
    if not _agree(root, value):
        # Seen with a table of dotted keys in an element of an array of tables, and an array of tables below it.
        raise EditError(
            "tomlkit and this plugin understand its structure differently; write tables with headers instead of dotted keys"
        )
    return root


def _refusal(error: Exception, text: str) -> TomlError:
    line, column = getattr(error, "line", 0), getattr(error, "col", 0)
    reason = str(error).replace(f" at line {line} col {column}", "").rstrip(".")
    # tomlkit takes the end for a NUL, and does not know where it is.
    if "end of file" in reason or (r"'\x00'" in reason and "\0" not in text):
        lines = text.split("\n")
        return TomlError("the file ends before what stands there is complete", len(lines), len(lines[-1]) + 1)
    return TomlError(reason, line, column + 1 if line else 0)


def kind_of(raw: str) -> str:
    if raw[0] in "\"'":
        return STRING
    for kind, pattern in _PATTERNS.items():
        if pattern.fullmatch(raw):
            return kind
    raise EditError(f"the value {raw!r} is not understood")


def style_of(raw: str) -> str:
    """How a string is written."""
    for style in ("string_ml_basic", "string_ml_literal", "string_basic", "string_literal"):
        if raw.startswith(STYLES[style]) and len(raw) >= 2 * len(STYLES[style]):
            return style
    raise EditError(f"the string {raw!r} is not understood")


def text_of(kind: str, raw: str) -> str:
    """A value as Elektra has it: integers in decimal digits, booleans as 1 and 0, all else as it is written."""
    if kind == STRING:
        return _unquote(raw)
    if kind == INTEGER:
        return str(int(raw.replace("_", ""), 0))
    if kind == FLOAT:
        return raw.replace("_", "")
    if kind == BOOLEAN:
        return "1" if raw == "true" else "0"
    return raw


def _unquote(raw: str) -> str:
    style = style_of(raw)
    size = len(STYLES[style])
    body = raw[size:-size]
    if size == 3:
        body = body.removeprefix("\r\n") if body.startswith("\r\n") else body.removeprefix("\n")
    return body if "literal" in style or "\\" not in body else _ESCAPE.sub(_unescape, body)


def _unescape(match: re.Match[str]) -> str:
    code = match[1] or match[2] or match[3]
    if code:
        return chr(int(code, 16))
    return "" if match[4] is not None else _ESCAPES[match[5]]


def _agree(node: Node, value: object) -> bool:
    if isinstance(node, Table):
        return (
            isinstance(value, dict)
            and node.children.keys() == value.keys()
            and all(_agree(child, value[name]) for name, child in node.children.items())
        )
    if isinstance(node, (Array, Tables)):
        return (
            isinstance(value, list)
            and len(node.items) == len(value)
            and all(_agree(item, each) for item, each in zip(node.items, value, strict=True))
        )
    assert isinstance(node, Scalar)
    if node.kind == STRING:
        return node.text == value
    if node.kind == BOOLEAN:
        return isinstance(value, bool) and value is (node.text == "1")
    if node.kind == INTEGER:
        return isinstance(value, int) and str(int(value)) == node.text
    if node.kind == FLOAT:
        return isinstance(value, float) and (math.isnan(value) or float(node.text) == value)
    return not isinstance(value, (str, int, float, list, dict))


class _Scanner:
    """Finds where everything stands in a text that is known to be TOML."""

    def __init__(self, text: str, position: int) -> None:
        self._text = text
        self._position = position

    def document(self) -> Table:
        try:
            return self._document()
        except (IndexError, KeyError, AttributeError, ValueError, RecursionError) as error:
            raise EditError(f"its structure is not understood near offset {self._position}") from error

    def _document(self) -> Table:
        text = self._text
        root = section = Table(ROOT)
        root.start = self._position
        while self._position < len(text):
            start = self._position
            self._skip(_BLANK)
            if self._position == len(text):
                break
            if text[self._position] in "#\r\n":
                self._statement_end()
                continue
            if text[self._position] == "[":
                section = self._header(root)
                section.header = start, section.body_end
                continue
            names = self._names()
            self._expect("=")
            node = self._value()
            self._put(section, names, node)
            self._statement_end()
            section.body_end = self._position
            node.line = start, self._position
        return root

    def _header(self, root: Table) -> Table:
        double = self._text.startswith("[[", self._position)
        self._position += 2 if double else 1
        names = self._names()
        self._expect("]]" if double else "]")
        self._statement_end()
        table = root
        for name in names[:-1]:
            child = table.children.get(name)
            if child is None:
                child = Table(IMPLICIT)
                table.put(name, child)
            table = child.items[-1] if isinstance(child, Tables) else _as_table(child)
        last = names[-1]
        child = table.children.get(last)
        if double:
            if child is None:
                child = Tables()
                table.put(last, child)
            if not isinstance(child, Tables):
                raise ValueError(last)
            section = Table(ELEMENT)
            section.parent, section.name = table, last
            child.items.append(section)
        elif child is None:
            section = Table(HEADER)
            table.put(last, section)
        else:
            section = _as_table(child)
            section.how = HEADER
        section.body_end = self._position
        return section

    def _put(self, section: Table, names: list[str], node: Node) -> None:
        table = section
        for name in names[:-1]:
            child = table.children.get(name)
            if child is None:
                child = Table(DOTTED)
                table.put(name, child)
            table = _as_table(child)
        if names[-1] in table.children:
            raise ValueError(names[-1])
        table.put(names[-1], node)

    def _names(self) -> list[str]:
        names = []
        while True:
            self._skip(_BLANK)
            start = self._position
            if self._text[start] in "\"'":
                names.append(_unquote(self._string()))
            else:
                match = _BARE.match(self._text, start)
                if match is None:
                    raise ValueError(start)
                self._position = match.end()
                names.append(match[0])
            self._skip(_BLANK)
            if self._text[self._position] != ".":
                return names
            self._position += 1

    def _value(self) -> Node:
        self._skip(_BLANK)
        start = self._position
        character = self._text[start]
        node: Node
        if character == "[":
            node = self._array()
        elif character == "{":
            node = self._inline_table()
        elif character in "\"'":
            node = Scalar(self._string())
        else:
            match = _BARE_SCALAR.match(self._text, start)
            if match is None:
                raise ValueError(start)
            self._position = match.end()
            node = Scalar(match[0])
        node.start, node.end = start, self._position
        return node

    def _array(self) -> Array:
        array = Array()
        self._position += 1
        while True:
            self._skip(_GAP)
            if self._text[self._position] == "]":
                self._position += 1
                return array
            array.items.append(self._value())
            self._skip(_GAP)
            if self._text[self._position] == ",":
                self._position += 1

    def _inline_table(self) -> Table:
        table = Table(INLINE)
        self._position += 1
        while True:
            self._skip(_GAP)
            if self._text[self._position] == "}":
                self._position += 1
                return table
            start = self._position
            names = self._names()
            self._expect("=")
            node = self._value()
            self._put(table, names, node)
            node.entry, node.holder = (start, self._position), table
            table.entries.append(node)
            self._skip(_GAP)
            if self._text[self._position] == ",":
                self._position += 1

    def _string(self) -> str:
        text, start = self._text, self._position
        quote = text[start]
        if text.startswith(quote * 3, start):
            position = start + 3
            while not text.startswith(quote * 3, position):
                position += 2 if text[position] == "\\" and quote == '"' else 1
            position += 3
            while position - start < len(text) and text.startswith(quote, position):
                position += 1  # up to two quotes may stand before the closing three
        else:
            position = start + 1
            while text[position] != quote:
                position += 2 if text[position] == "\\" and quote == '"' else 1
            position += 1
        self._position = position
        return text[start:position]

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self._text, self._position)
        if match is not None:
            self._position = match.end()

    def _expect(self, token: str) -> None:
        self._skip(_BLANK)
        if not self._text.startswith(token, self._position):
            raise ValueError(self._position)
        self._position += len(token)

    def _statement_end(self) -> None:
        """The rest of a line: blanks, a comment and the line's end (a carriage return counts as blank)."""
        end = self._text.find("\n", self._position)
        self._position = len(self._text) if end < 0 else end + 1


def _as_table(node: Node) -> Table:
    if not isinstance(node, Table):
        raise ValueError(node.name)
    return node


# --- what is wanted


class Want:
    """A node of the tree that a file shall hold: a value (`text`), a table (`children`) or an array (`items`).

    `kind` is what a value must be; None lets the file's old kind decide. `raw` is a spelling to use when it means the
    same, `style` how a string is written or a table made ("inline", "section" or "" for either). `fixed` says that
    kind or style were asked for. `where` names it in messages.
    """

    __slots__ = ("children", "items", "kind", "raw", "style", "text", "where")

    def __init__(self, where: str) -> None:
        self.where = where
        self.text: str | None = None
        self.kind: str | None = None
        self.raw = ""
        self.style = ""
        self.children: dict[str, Want] | None = None
        self.items: list[Want] | None = None


class Unfit(ValueError):
    """A value cannot be written as the kind that it must have."""

    def __init__(self, want: Want, kind: str, expected: str) -> None:
        super().__init__(f"{want.where}: {kind} expected {expected}")
        self.want = want
        self.kind = kind
        self.expected = expected


_EXPECTED = {
    INTEGER: "an integer such as 42, -7 or 0xff",
    FLOAT: "a number such as 3.14, 1e6, inf or nan",
    BOOLEAN: "1 or 0 (or true or false)",
    OFFSET_DATETIME: "a date and time with an offset, such as 1979-05-27T07:32:00Z",
    LOCAL_DATETIME: "a date and time such as 1979-05-27T07:32:00",
    LOCAL_DATE: "a date such as 1979-05-27",
    LOCAL_TIME: "a time such as 07:32:00",
}
# TOML promises 64 bits with a sign; Elektra's unsigned_long_long needs one bit more, and tomlkit reads it.
_INTEGERS = range(-(2**63), 2**64)


def spell(want: Want, old: Scalar | None) -> str:
    """How a wanted value is written; `old` is the value in its place, whose kind and notation count where nothing else
    was asked for. Raises Unfit.
    """
    assert want.text is not None
    if want.kind is None:
        if old is not None and old.kind != STRING:
            spelled = _spell(old.kind, want.text, old.raw)
            if spelled is not None and text_of(old.kind, spelled) == want.text:
                return spelled
        return _quote(want.text, want.style or (style_of(old.raw) if old is not None and old.kind == STRING else ""))
    if want.kind == STRING:
        return _quote(want.text, want.style or (style_of(old.raw) if old is not None and old.kind == STRING else ""))
    if want.raw and _PATTERNS[want.kind].fullmatch(want.raw) and text_of(want.kind, want.raw) == want.text:
        return want.raw
    spelled = _spell(want.kind, want.text, old.raw if old is not None and old.kind == want.kind else "")
    if spelled is None:
        raise Unfit(want, want.kind, _EXPECTED[want.kind])
    return spelled


def _spell(kind: str, text: str, like: str) -> str | None:
    if kind == BOOLEAN:
        return {"1": "true", "true": "true", "0": "false", "false": "false"}.get(text)
    if kind == INTEGER:
        if not _PATTERNS[INTEGER].fullmatch(text) or int(text.replace("_", ""), 0) not in _INTEGERS:
            return None
        if like[:2] in ("0x", "0o", "0b") and re.fullmatch(r"0|[1-9][0-9]*", text):
            digits = format(int(text), {"x": "x", "o": "o", "b": "b"}[like[1]])
            # As wide and as capital as it was.
            digits = digits.zfill(len(like) - 2) if "_" not in like else digits
            return like[:2] + (digits.upper() if like[2:].upper() == like[2:] else digits)
        return text
    if kind == FLOAT:
        if _PATTERNS[INTEGER].fullmatch(text) and text[:2] not in ("0x", "0o", "0b"):
            return text + ".0"
        return text if _PATTERNS[FLOAT].fullmatch(text) else None
    return text if _PATTERNS[kind].fullmatch(text) and kind_of(text) == kind and _is_date(text) else None


def _is_date(raw: str) -> bool:
    """Whether a date exists: its digits look like one."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        tomlkit.parse(f"x = {raw}\n")
    except (TOMLKitError, ValueError):
        return False
    return True


def _quote(text: str, style: str) -> str:
    """A string in the style asked for; as a basic one where the style cannot hold it."""
    if not style and text.count("\n") > 1:
        style = "string_ml_basic"  # Elektra's own choice
    if style == "string_literal" and "'" not in text and not _CONTROL.search(text):
        return f"'{text}'"
    if style == "string_ml_literal" and "'''" not in text and text[-1:] != "'" and not _CONTROL_LINES.search(text):
        return f"'''\n{text}'''"
    if style in ("string_ml_basic", "string_ml_literal"):
        return '"""\n' + _MUST_LINES.sub(_escape, text) + '"""'
    return '"' + _MUST.sub(_escape, text) + '"'


def _escape(match: re.Match[str]) -> str:
    return _SHORT.get(match[0]) or f"\\u{ord(match[0]):04x}"


def _name(name: str) -> str:
    return name if _BARE.fullmatch(name) else _quote(name, "string_basic")


def _dotted(names: tuple[str, ...]) -> str:
    return ".".join(_name(name) for name in names)


# --- editing


def edit(text: str, want: Want) -> str:
    """`text` with what `want` (a table) holds and nothing else. Raises TomlError when `text` is no TOML, Unfit for a value, and
    EditError.
    """
    root = read(text)
    # TOML forbids some dotted keys beside tables that are there already, and tomlkit misreads some that it allows;
    # sections of their own never clash.
    for dotted in (True, False):
        result = _Editor(text, root, dotted).edit(want)
        try:
            if _holds(read(result), want):
                return result
        except (TomlError, EditError):
            continue
    raise EditError("no text was found that holds all keys")


def _holds(node: Node, want: Want) -> bool:
    """Whether a document that was read is what was wanted."""
    if want.children is not None:
        return (
            isinstance(node, Table)
            and node.children.keys() == want.children.keys()
            and all(_holds(child, want.children[name]) for name, child in node.children.items())
        )
    if want.items is not None:
        return (
            isinstance(node, (Array, Tables))
            and len(node.items) == len(want.items)
            and all(_holds(item, each) for item, each in zip(node.items, want.items, strict=True))
        )
    if not isinstance(node, Scalar) or want.text is None or (want.kind is not None and node.kind != want.kind):
        return False
    return node.text == want.text or (
        # The same value, spelled as this kind spells it: true, 0xff, 5 as a float.
        node.kind != STRING
        and want.kind == node.kind
        and _spell(node.kind, want.text, node.raw) in (node.raw, node.text)
    )


class _Editor:
    """Collects splices on a text."""

    def __init__(self, text: str, root: Table, dotted: bool) -> None:
        self._text = text
        self._root = root
        self._prefers_dotted = dotted
        self._splices: list[tuple[int, int, int, int, str]] = []
        self._removed: dict[int, tuple[Table, set[int]]] = {}  # entries of inline tables, by the table
        self._added: dict[int, tuple[Table, list[str]]] = {}
        self._newline = "\r\n" if "\r\n" in text else "\n"

    def edit(self, want: Want) -> str:
        self._table(self._root, want)
        for key in self._removed.keys() | self._added.keys():
            table = self._removed[key][0] if key in self._removed else self._added[key][0]
            keep = [id(entry) not in self._removed.get(key, (table, set()))[1] for entry in table.entries]
            spans = [entry.entry for entry in table.entries if entry.entry is not None]
            self._list(table, spans, keep, self._added.get(key, (table, []))[1], " ")
        return self._result()

    # splices

    def _splice(self, start: int, end: int, replacement: str, rank: int = 0) -> None:
        self._splices.append((start, end, rank, len(self._splices), replacement))

    def _insert_lines(self, position: int, lines: list[str], rank: int = 0) -> None:
        self._splice(position, position, "".join(line + self._newline for line in lines), rank)

    def _result(self) -> str:
        out: list[str] = []
        position = 0
        last = ""  # the last character so far
        for start, end, _, _, replacement in sorted(self._splices):
            if start < position:
                raise EditError("two changes touch the same place")
            out.append(self._text[position:start])
            last = out[-1][-1:] or last
            if replacement.endswith("\n") and start == end and last not in ("", "\n", "\ufeff"):
                out.append(self._newline)  # the file's last line had no end
            out.append(replacement)
            last = replacement[-1:] or last
            position = end
        out.append(self._text[position:])
        return "".join(out)

    # what is there and stays, changes or goes

    def _table(self, table: Table, want: Want) -> None:
        assert want.children is not None
        for name, child in table.children.items():
            if name not in want.children:
                self._delete(child)
        new: dict[str, Scalar | None] = {}
        for name, wanted in want.children.items():
            old = table.children.get(name)
            if old is None:
                new[name] = None
            elif not self._change(old, wanted):
                self._delete(old)
                new[name] = old if isinstance(old, Scalar) else None
        if table.how == IMPLICIT and want.style == "section":
            # It gets a header now, and with it a place for what is new in it.
            header = Want(want.where)
            header.children = {name: want.children[name] for name in new}
            section, _ = _section_of(table)
            self._insert_blocks(self._block_position(section), [self._block("[", path_of(table), header)])
            return
        for name, like in new.items():
            self._add(table, name, want.children[name], like)

    def _change(self, node: Node, want: Want) -> bool:
        """Make a node what is wanted, where it stands; False when that needs another kind of place."""
        if isinstance(node, Scalar) and want.text is not None:
            self._scalar(node, want)
            return True
        if isinstance(node, Table) and want.children is not None:
            if not want.children and node.how in _NAMELESS:
                return False  # it would end with its last key
            if want.style and (want.style == "inline") != (node.how == INLINE) and node.how != ELEMENT:
                return False
            if want.style == "section" and node.how == DOTTED:
                return False  # its lines stand in another section
            self._table(node, want)
            return True
        if isinstance(node, Tables) and want.items:
            if any(item.children is None for item in want.items) or want.style == "inline":
                return False
            self._tables(node, want)
            return True
        if isinstance(node, Array) and want.items is not None:
            if want.style == "section" and _can_be_tables(want):
                return False
            self._array(node, want)
            return True
        return False

    def _scalar(self, node: Scalar, want: Want) -> None:
        same = want.text == node.text and want.kind in (None, node.kind)
        same_spelling = not want.raw or want.raw == node.raw
        if node.kind == STRING:
            same_spelling = not want.style or want.style == style_of(node.raw)
        if same and same_spelling:
            return
        spelled = spell(want, node)
        if spelled != node.raw and not (same and node.kind == STRING and style_of(spelled) == style_of(node.raw)):
            self._splice(node.start, node.end, spelled)

    def _array(self, array: Array, want: Want) -> None:
        assert want.items is not None
        kept = min(len(array.items), len(want.items))
        for item, wanted in zip(array.items, want.items, strict=False):
            if not self._change(item, wanted):
                self._splice(item.start, item.end, self._inline(wanted, None))
        like = array.items[-1] if array.items and isinstance(array.items[-1], Scalar) else None
        self._list(
            array,
            [(item.start, item.end) for item in array.items],
            [index < kept for index in range(len(array.items))],
            [self._inline(item, like) for item in want.items[kept:]],
            "",
        )

    def _tables(self, tables: Tables, want: Want) -> None:
        assert want.items is not None
        for item, wanted in zip(tables.items, want.items, strict=False):
            self._table(item, wanted)
        for item in tables.items[len(want.items) :]:
            self._delete(item)
        if len(want.items) > len(tables.items):
            path = path_of(tables.items[0])
            blocks = [self._block("[[", path, item) for item in want.items[len(tables.items) :]]
            self._insert_blocks(_end_of(tables), blocks)

    def _delete(self, node: Node) -> None:
        if node.line is not None:
            self._splice(*node.line, "")
        elif node.entry is not None:
            assert node.holder is not None
            self._removed.setdefault(id(node.holder), (node.holder, set()))[1].add(id(node))
        else:
            if isinstance(node, Table):
                if node.header is not None:
                    self._splice(*node.header, "")
                for child in node.children.values():
                    self._delete(child)
            elif isinstance(node, Tables):
                for item in node.items:
                    self._delete(item)

    # what is new

    def _add(self, table: Table, name: str, want: Want, like: Scalar | None = None) -> None:
        section, path = _section_of(table)
        path = (*path, name)
        if section.how == INLINE:
            entries = self._added.setdefault(id(section), (section, []))[1]
            entries.extend(self._pairs(path, want, like))
            return
        lines: list[str] = []
        blocks: list[list[str]] = []
        self._place(path, (*path_of(section), *path), want, lines, blocks, like)
        if lines:
            self._insert_lines(self._line_position(table, section), lines)
        self._insert_blocks(self._block_position(section), blocks)

    def _place(
        self,
        path: tuple[str, ...],
        full: tuple[str, ...],
        want: Want,
        lines: list[str],
        blocks: list[list[str]],
        like: Scalar | None = None,
    ) -> None:
        """Sort what is new into lines of a section (`path` counts from there) and sections of its own (`full`)."""
        if want.items and want.style == "section" and _can_be_tables(want):
            blocks.extend(self._block("[[", full, item) for item in want.items)
        elif want.children is None or want.style == "inline":
            lines.append(f"{_dotted(path)} = {self._inline(want, like)}")
        elif want.style == "section" or not want.children or not self._prefers_dotted:
            blocks.append(self._block("[", full, want))
        else:
            for name, child in want.children.items():
                self._place((*path, name), (*full, name), child, lines, blocks)

    def _block(self, bracket: str, full: tuple[str, ...], want: Want) -> list[str]:
        lines = [bracket + _dotted(full) + "]" * len(bracket)]
        blocks: list[list[str]] = []
        for name, child in (want.children or {}).items():
            self._place((name,), (*full, name), child, lines, blocks)
        for block in blocks:
            lines += ["", *block]
        return lines

    def _insert_blocks(self, position: int, blocks: list[list[str]]) -> None:
        """Sections, each behind a blank line, and behind the lines that go to the same place: those belong to what is before."""
        before = self._text[:position].replace("\r", "").rstrip(" \t")
        for block in blocks:
            self._insert_lines(position, block if before.endswith("\n\n") else ["", *block], rank=1)
            before = ""

    def _block_position(self, section: Table) -> int:
        return len(self._text) if section.how == ROOT else _end_of(section)

    def _line_position(self, table: Table, section: Table) -> int:
        """Behind the last line of the table, else behind the last line of its section."""
        ends = [end for _, end in _lines_of(table)] if table is not section else []
        if ends:
            return max(ends)
        if section.body_end >= 0:
            return section.body_end
        # The document has no key outside its tables: before the first header and the comment that is its own.
        headers = [start for start, _ in _headers_of(section)]
        if not headers:
            return len(self._text)
        position = min(headers)
        while True:
            line_start = self._text.rfind("\n", 0, max(position - 1, 0)) + 1
            if position == line_start or not self._text[line_start:position].lstrip(" \t\ufeff").startswith("#"):
                return position
            if self._text[line_start:position].startswith("\ufeff"):
                return position
            position = line_start

    def _inline(self, want: Want, like: Scalar | None) -> str:
        if want.text is not None:
            return spell(want, like)
        if want.items is not None:
            return "[" + ", ".join(self._inline(item, None) for item in want.items) + "]"
        assert want.children is not None
        pairs = [pair for name, child in want.children.items() for pair in self._pairs((name,), child, None)]
        return "{ " + ", ".join(pairs) + " }" if pairs else "{}"

    def _pairs(self, path: tuple[str, ...], want: Want, like: Scalar | None) -> list[str]:
        """The entries of an inline table for a value; a table that nobody named becomes dotted keys."""
        if want.children and not want.style and self._prefers_dotted:
            return [pair for name, child in want.children.items() for pair in self._pairs((*path, name), child, None)]
        return [f"{_dotted(path)} = {self._inline(want, like)}"]

    # lists: arrays and inline tables

    def _list(self, node: Node, spans: list[tuple[int, int]], keep: list[bool], added: list[str], padding: str) -> None:
        if all(keep) and not added:
            return
        text = self._text
        commas = [self._comma(end) for _, end in spans]
        for (start, end), comma, kept in zip(spans, commas, keep, strict=True):
            if kept:
                continue
            line_start = len(text[:start].rstrip(" \t"))
            end = comma + 1 if comma >= 0 else end
            if text[line_start - 1] == "\n":  # alone on its line: with its comment and the line
                rest = _COMMENT.match(text, end)
                end = rest.end() if rest is not None else end
                rest = re.compile(r"[ \t]*\r?\n").match(text, end)
                end = rest.end() if rest is not None else end
            self._splice(line_start, end, "")
        last = max((index for index, kept in enumerate(keep) if kept), default=-1)
        if last < 0:
            if added:
                space = padding if text[node.start + 1] not in " \t\r\n" else ""
                self._splice(node.start + 1, node.start + 1, padding + ", ".join(added) + space)
            return
        trailing = commas[-1] >= 0
        end, comma = spans[last][1], commas[last]
        if not added:
            if comma >= 0 and not trailing:
                self._splice(comma, comma + 1, "")
            return
        position = comma + 1 if comma >= 0 else end
        if comma < 0:
            self._splice(end, end, ",")
        note = _COMMENT.match(text, position, node.end)
        start = spans[last][0]
        line_start = len(text[:start].rstrip(" \t"))
        own_line = text[line_start - 1] == "\n"
        if note is not None or own_line:
            position = note.end() if note is not None else position
            indent = text[line_start:start] if own_line else "    "
            joined = ("," + self._newline + indent).join(added)
            self._splice(position, position, self._newline + indent + joined + ("," if trailing else ""))
        else:
            self._splice(position, position, " " + ", ".join(added) + ("," if trailing else ""))

    def _comma(self, position: int) -> int:
        match = _GAP.match(self._text, position)
        position = match.end() if match is not None else position
        return position if self._text[position] == "," else -1


def _can_be_tables(want: Want) -> bool:
    return bool(want.items) and all(item.children is not None for item in want.items or ())


def _section_of(table: Table) -> tuple[Table, tuple[str, ...]]:
    """The table in whose lines the keys of `table` stand, and the names from there."""
    names: list[str] = []
    while table.how in _NAMELESS:
        assert table.parent is not None
        names.append(table.name)
        table = table.parent
    return table, tuple(reversed(names))


def _lines_of(node: Node) -> Iterator[tuple[int, int]]:
    """The lines of a table's keys in the section of the table."""
    if node.line is not None:
        yield node.line
    elif isinstance(node, Table) and node.header is None:
        for child in node.children.values():
            yield from _lines_of(child)


def _headers_of(node: Node) -> Iterator[tuple[int, int]]:
    if isinstance(node, Table):
        if node.header is not None:
            yield node.header
        for child in node.children.values():
            yield from _headers_of(child)
    elif isinstance(node, Tables):
        for item in node.items:
            yield from _headers_of(item)


def _end_of(node: Node) -> int:
    """Where the last line of a section and all that is below it ends."""
    if isinstance(node, Tables):
        return max(_end_of(item) for item in node.items)
    if isinstance(node, Table) and node.line is None:
        ends = [_end_of(child) for child in node.children.values()]
        return max([node.body_end, node.header[1] if node.header is not None else 0, *ends])
    return node.line[1] if node.line is not None else node.end
