"""The grammar: what it says is what the default parser does."""

from __future__ import annotations

from itertools import product

import pytest
from lark import Token

from dumpfmt import DumpError, loads
from dumpfmt.decode import FastGrammar
from dumpfmt.reference import LarkGrammar, RecordToken, grammar
from dumpfmt.scan import BINARY, COPYMETA, END, HEADER, META, STRING, Scanner

RECORDS = {
    HEADER: b"kdbOpen 2\n",
    STRING: b"$key string 1 0\n/\n\n",
    BINARY: b"$key binary 1 0\n/\n\n",
    META: b"$meta 1 0\nx\n\n",
    COPYMETA: b"$copymeta 1 6\n/\nbinary\n",
    END: b"$end\n",
}


class Ignore:
    """A builder that takes everything."""

    def key(self, *_: object) -> None: ...

    meta = copymeta = key


@pytest.mark.parametrize("length", range(1, 6))
def test_both_grammars_allow_the_same_orders(length):
    for order in product(RECORDS, repeat=length):
        answers = []
        for make in (FastGrammar, LarkGrammar):
            scanner = Scanner()
            scanner.feed(b"".join(RECORDS[kind] for kind in order))
            found = make(scanner, Ignore())
            try:
                found.run()
            except DumpError as error:
                answers.append((type(error), str(error)))
            else:
                answers.append((scanner.eof, set(found.expected())))
        assert answers[0] == answers[1], order


def test_the_grammar_knows_every_kind_of_record():
    assert {terminal.name for terminal in grammar().terminals} | set(RECORDS) == set(RECORDS)
    assert {symbol.name for rule in grammar().rules for symbol in rule.expansion if symbol.is_term} == set(RECORDS)


def test_a_token_shows_no_payload():
    token = RecordToken((STRING, 10, b"name", b"value" * 100))
    assert repr(token) == "RecordToken(STRING at byte 10)" and not isinstance(token, Token)


def test_one_parser_serves_readers_that_take_turns():
    streams = [b"".join([RECORDS[HEADER], RECORDS[kind], RECORDS[END]]) for kind in (STRING, BINARY)]
    scanners = [Scanner(), Scanner()]
    readers = [LarkGrammar(scanner, Ignore()) for scanner in scanners]
    for at in range(max(map(len, streams))):
        for stream, scanner, reader in zip(streams, scanners, readers, strict=True):
            scanner.feed(stream[at : at + 1])
            reader.run()
    assert all(scanner.eof for scanner in scanners)


@pytest.mark.parametrize("parser", ["fast", "python", "lark"])
def test_a_reader_of_any_kind_starts_with_the_header(parser):
    with pytest.raises(DumpError, match="expected 'kdbOpen 2'"):
        loads(RECORDS[STRING], parser=parser)
