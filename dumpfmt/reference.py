"""The reference parser: grammar.lark over a Lark lexer that knows lengths.

It reads the same records (scan.py) and gives them to the same builder as the default parser; what it adds is that the
order of records comes from the written grammar. Property tests hold the two equal on accepted and on refused input.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from lark import Lark, Token, Transformer, Tree, UnexpectedToken
from lark.lexer import Lexer, LexerState

from dumpfmt.builder import KeySetBuilder
from dumpfmt.scan import BINARY, COPYMETA, META, STRING, Record, Scanner, unexpected


class RecordToken:
    """A token that holds a record. Not a `lark.Token`: that is a `str`, and records are bytes."""

    __slots__ = ("column", "end_column", "end_line", "end_pos", "line", "record", "start_pos", "type")

    def __init__(self, record: Record) -> None:
        self.type = record[0]
        self.record = record
        self.start_pos = record[1]
        self.line = self.column = self.end_line = self.end_column = self.end_pos = None

    def __repr__(self) -> str:
        return f"RecordToken({self.type} at byte {self.start_pos})"


class RecordLexer(Lexer):
    """Lark's side of the scanner, which is what is parsed: `Lark.parse_interactive(scanner)`.

    It holds no state of a parse, since Lark makes one instance for all of them.
    """

    __future_interface__ = 2

    def __init__(self, lexer_conf: object) -> None: ...

    def lex(self, lexer_state: LexerState, parser_state: object) -> Iterator[Token]:
        scanner: Any = lexer_state.text  # Lark types this as text, and passes on what it was given
        assert isinstance(scanner, Scanner)
        for record in scanner.records():
            yield RecordToken(record)  # type: ignore[misc]  # LALR asks a token only for its type and position


class _NoTree(Transformer[Any, Any]):
    """The builder keeps what is read; a tree beside it would hold every record once more."""

    def __default__(self, data: str, children: list[Any], meta: object) -> Tree[Any]:
        return Tree(data, [])


@cache
def grammar() -> Lark:
    """A Lark parser of the format; its input is a Scanner. One serves all parses: what belongs to a parse is elsewhere."""
    return Lark(
        files("dumpfmt").joinpath("grammar.lark").read_text("ascii"),
        parser="lalr",
        lexer=RecordLexer,
        transformer=_NoTree(),
    )


class LarkGrammar:
    """What FastGrammar does, by the grammar."""

    def __init__(self, scanner: Scanner, builder: KeySetBuilder) -> None:
        self._scanner = scanner
        self._builder = builder
        self._parser = grammar().parse_interactive(scanner)

    def expected(self) -> Collection[str]:
        return {name for name in self._choices() if name.isupper() and name != "$END"}

    def _choices(self) -> Collection[str]:
        choices: Collection[str] = self._parser.choices()  # type: ignore[no-untyped-call]  # Lark leaves it untyped
        return choices

    def run(self) -> None:
        parser, builder = self._parser, self._builder
        tokens: Iterator[RecordToken] = parser.lexer_thread.lex(parser.parser_state)  # type: ignore[no-untyped-call]
        for token in tokens:
            kind, offset, first, second = token.record
            try:
                parser.feed_token(token)  # type: ignore[arg-type]  # a token of our own class
            except UnexpectedToken:
                raise unexpected(self._scanner, offset, self.expected()) from None
            # The builder is asked here, not at a reduction: that would come one record late, behind the next one's
            # errors.
            if kind == META:
                builder.meta(offset, first, second)
            elif kind in (STRING, BINARY):
                builder.key(kind == BINARY, offset, first, second)
            elif kind == COPYMETA:
                builder.copymeta(offset, first, second)
