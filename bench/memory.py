"""What a decoded keyset takes, as bytes for each byte of its dump; each figure from a fresh process."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import data
from bench.measure import Case, Row, Table, measure
from bench.options import Options
from bench.programs import HERE, PYTHON

_TIMEOUT = 300.0
_REPETITIONS = 3


def run(options: Options) -> list[Table]:
    table = Table(
        "memory",
        f"Memory of a decoded keyset of {options.keys:,} keys, in bytes for each byte of its dump (against: 1, the dump itself)",
    )
    with tempfile.TemporaryDirectory(prefix="stdioproc-bench-") as directory:
        few, many = Path(directory, "few.dump"), Path(directory, "many.dump")
        few.write_bytes(data.standard(options.keys))
        many.write_bytes(data.standard(options.many_keys))
        for name, how, parser, touched, at_most in (
            ("untouched, came in pieces", "pieces", "fast", "none", 1.5),
            ("untouched, came whole", "whole", "fast", "none", 1.5),
            ("1 % touched", "pieces", "fast", "some", None),
            ("all touched", "pieces", "fast", "all", None),
            ("python, all touched", "pieces", "python", "all", None),
        ):
            probes = [_probe(few, how, parser, touched) for _ in range(_REPETITIONS)]
            for word in ("held", "peak"):
                samples = [probe[word] / few.stat().st_size for probe in probes]
                row = Row(f"{name}: {word}", samples, unit="B/B")
                if word == "held" and at_most is not None:
                    row.ratios, row.at_most = samples, at_most
                table.rows.append(row)
        times = options.many_keys / options.keys
        size = few.stat().st_size  # the same for both, so that the ratio is of bytes
        for name, touched in (("untouched", "none"), ("all touched", "all")):
            less, more = f"{name}: {options.keys:,} keys", f"{name}: {options.many_keys:,} keys"
            cases = [
                Case(less, _held(few, touched, size), unit="B/B"),
                Case(more, _held(many, touched, size), less, times * 1.1, unit="B/B"),
            ]
            table.rows += measure(cases, _REPETITIONS, warm_up=False)
    return [table]


def _held(path: Path, touched: str, size: int) -> Callable[[], float]:
    return lambda: _probe(path, "pieces", "fast", touched)["held"] / size


def _probe(path: Path, how: str, parser: str, touched: str) -> dict[str, int]:
    done = subprocess.run(
        [*PYTHON, str(HERE / "memory_probe.py"), str(path), how, parser, touched],
        env={},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_TIMEOUT,
        check=True,
    )
    answer: dict[str, int] = json.loads(done.stdout)
    return answer
