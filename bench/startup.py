"""How long until a child answers, and what imports cost."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from bench.measure import Case, Table, difference, measure
from bench.options import Options
from bench.programs import PYTHON, Piped, pluginproc, touch_child
from stdioproc.dialects import STDIOPROC

#: A plugin that is installed with the package, so that there is an entry point to find.
_NAME, _MODULE, _CLASS = "whitelist", "specload_examples.whitelist", "Whitelist"

_IMPORTS = ("dumpfmt", "stdioproc.child", "stdioproc.host", "enum", "re", "lark", "importlib.metadata", "click")


def run(options: Options) -> list[Table]:
    return [_starts(options), _imports(options)]


def _starts(options: Options) -> Table:
    bare = "python -I -c pass, to its end"
    served = f"{_NAME}, served: exec to ACK"
    by_name = "pluginproc --load-plugin NAME: exec to ACK"
    code = f"from {_MODULE} import {_CLASS}; from stdioproc.child import serve; serve({_CLASS})"
    command = [pluginproc(), "--load-plugin"]
    cases = [
        Case(bare, _to_its_end("pass")),
        Case("a plugin of one file: exec to ACK", _to_ack(touch_child("none")), bare, 2.2),
        Case(served, _to_ack([*PYTHON, "-c", code]), bare, 2.2),
        Case("pluginproc --load-plugin module:Class: exec to ACK", _to_ack([*command, f"{_MODULE}:{_CLASS}"]), bare),
        Case(by_name, _to_ack([*command, _NAME]), bare),
    ]
    rows = measure(cases, options.starts)
    table = Table("startup", "Start of a child", rows)
    by = {row.name: row for row in rows}
    table.rows.append(difference("what pluginproc NAME adds to serving it", by[by_name], by[served], 0.006))
    return table


def _imports(options: Options) -> Table:
    bare = "python -I -c pass"
    cases = [Case(bare, _to_its_end("pass"))]
    cases += [Case(f"import {name}", _to_its_end(f"import {name}"), bare) for name in _IMPORTS]
    table = Table("imports", "Imports in a fresh process, beyond an empty one", measure(cases, options.starts))
    table.rows[1:] = [difference(row.name, row, table.rows[0]) for row in table.rows[1:]]
    return table


def _to_its_end(code: str) -> Callable[[], float]:
    def sample() -> float:
        start = time.perf_counter()
        pid = os.posix_spawn(PYTHON[0], [*PYTHON, "-c", code], {})
        _, status = os.waitpid(pid, 0)
        seconds = time.perf_counter() - start
        if status:
            raise RuntimeError(f"python -c {code!r} failed")
        return seconds

    return sample


def _to_ack(argv: list[str]) -> Callable[[], float]:
    def sample() -> float:
        child = Piped(argv)
        os.write(child.to_child, f"{STDIOPROC.init}\n".encode())
        answer = os.read(child.from_child, 65536)
        seconds = time.perf_counter() - child.started
        child.close()
        if not answer.startswith(STDIOPROC.ack.encode()):
            raise RuntimeError(f"{argv} answered {answer!r}")
        return seconds

    return sample
