"""Run the checks of the model with spin, and show that each can fail.

python -m model.check           every check and every mutant; 1 when something is not as it has to be
python -m model.check --quick   without the two large searches (a million states and more); the mutants in full
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from model.generate import Table, render
from stdioproc.state import TRANSITIONS, Signal, State

HERE = Path(__file__).parent

#: Far above what the searches need (the longest path and 900 MB); reaching them is an error, never a shorter search.
_DEPTH = 1_000_000
_MEMORY_MB = 3000

_SAFETY = ("-DSAFETY", "-DNOCLAIM")
# Weak fairness: who could go on all the time does so at some time.
_LIVENESS = ("-DNFAIR=2",)


class Check:
    """One question to the model: `promise` in words, the world it is asked in, safety or liveness."""

    def __init__(self, name: str, promise: str, *defines: str, liveness: bool = False, large: bool = False) -> None:
        self.name = name
        self.promise = promise
        self.defines = defines
        self.liveness = liveness
        self.large = large


class Mutant:
    """A mistake that `check` has to find, and how spin words it."""

    def __init__(self, mistake: str, check: str, finding: str, *defines: str, table: Table = TRANSITIONS) -> None:
        self.mistake = mistake
        self.check = check
        self.finding = finding
        self.defines = defines
        self.table = table


class Result:
    """`finding` is spin's first complaint, empty when the search was complete and found nothing."""

    def __init__(self, finding: str, states: int, seconds: float) -> None:
        self.finding = finding
        self.states = states
        self.seconds = seconds


CHECKS = {
    check.name: check
    for check in (
        Check("honest", "honest sides never block each other for good and never refuse each other", "-DHONEST"),
        Check("honest-returns", "between honest sides every call returns without deadlines", "-DHONEST", liveness=True),
        Check("faults", "whatever a child does: no deadlock, no doubled effect, nothing left behind", large=True),
        Check("faults-return", "whatever a child does every call returns", "-DPROGRESS", liveness=True, large=True),
        Check("liar-host", "whatever a host does, a plugin sees proper calls and one close", "-DLIAR_HOST"),
        Check("liar-host-ends", "a child does not outlive its host", "-DLIAR_HOST", liveness=True),
    )
}

_DEADLOCK = "invalid end state"
_NEVER = "acceptance cycle"


def _without(state: State, signal: Signal) -> Table:
    return {row: target for row, target in TRANSITIONS.items() if row != (state, signal)}


MUTANTS = {
    mutant.mistake: mutant
    for mutant in (
        Mutant("the host writes a whole message before it reads", "honest", _DEADLOCK, "-DBAD_WRITES_FIRST"),
        Mutant("the host leaves stderr alone", "honest", _DEADLOCK, "-DBAD_STDERR_LEFT"),
        Mutant("SIGTERM without asking first", "honest", "!(told_to_end)", "-DBAD_NO_GRACE"),
        Mutant("no deadline", "faults", _DEADLOCK, "-DBAD_NO_DEADLINE"),
        Mutant("a deadline that counts only in silence", "faults-return", _NEVER, "-DBAD_DEADLINE_WHEN_IDLE"),
        Mutant("applied after an error", "faults", "(answer==", "-DBAD_APPLIES_ERROR"),
        Mutant("applied as it comes, and at the end", "faults", "(applied<=1)", "-DBAD_APPLIES_TWICE"),
        Mutant("applied before the call is over", "faults", "((trouble==0)||(applied==0))", "-DBAD_APPLIES_EARLY"),
        Mutant("a ladder without SIGKILL", "faults", "!(alive)", "-DBAD_NO_KILL"),
        Mutant("used again after a deadline", "faults", "((state==", "-DBAD_KEEPS_LATE"),
        Mutant("a late answer taken for the next one", "faults", "(lied||(answer_call==call))", "-DBAD_STALE_ANSWER"),
        Mutant("an operation sent again after its child died", "faults", "(performed<=1)", "-DBAD_RETRIES"),
        Mutant("an exception in the ending leaves the child", "faults", "!(unreaped)", "-DBAD_INTERRUPT_LEAKS"),
        Mutant("output taken after the end was noticed", "faults", "!(eof)", "-DBAD_LATE_OUTPUT"),
        Mutant("a child that leaves without close", "liar-host", "!(p_open)", "-DBAD_CHILD_LEAVES_OPEN"),
        Mutant("a child that works after an error", "liar-host", "p_open", "-DBAD_CHILD_GOES_ON"),
        Mutant(
            "a table that refuses the answer error",
            "honest",
            "(believed!=",
            table=_without(State.BUSY, Signal.REPLY_ERROR),
        ),
        Mutant(
            "a table that allows get before open",
            "liar-host",
            "p_open",
            table={**TRANSITIONS, (State.READY, Signal.GET): State.BUSY},
        ),
        Mutant(
            "a table that allows two opens",
            "liar-host",
            "!(p_opened)",
            table={**TRANSITIONS, (State.OPENED, Signal.OPEN): State.BUSY_OPEN},
        ),
    )
}


def missing() -> str:
    """Which package is missing, and why it is needed; empty when nothing is."""
    if shutil.which("spin") is None:
        return "spin is not installed (package spin): it searches the model"
    if shutil.which("cc") is None:
        return "there is no C compiler (package gcc): spin makes a C program of the model"
    return ""


def run(check: Check, defines: tuple[str, ...] = (), table: Table = TRANSITIONS) -> Result:
    """Search all states of the model in the world of `check`."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="stdioproc-model-") as directory:
        (Path(directory) / "protocol.pml").write_text(render(table), encoding="utf-8")
        shutil.copy(HERE / "bridge.pml", directory)
        _command(directory, "spin", *check.defines, *defines, "-a", "bridge.pml")
        kind = _LIVENESS if check.liveness else _SAFETY
        # A long search pays for the optimiser, a short one does not.
        level = "-O2" if check.large and not (defines or table is not TRANSITIONS) else "-O0"
        _command(directory, "cc", level, "-w", *kind, f"-DMEMLIM={_MEMORY_MB}", "-o", "pan", "pan.c")
        said = _command(directory, "./pan", f"-m{_DEPTH}", *(("-a", "-f") if check.liveness else ()))
    states = re.search(r"(\d+) states, stored", said)
    if (
        states is None
        or ("Search not completed" in said and "errors: 0" in said)
        or "max search depth too small" in said
    ):
        raise RuntimeError(f"the search for {check.name} did not come to its end:\n{said}")
    finding = re.search(r"^pan:1: (.*?) \(at depth", said, re.MULTILINE)
    if finding is None and "errors: 0" not in said:
        raise RuntimeError(f"spin complains in other words than expected:\n{said}")
    return Result(finding.group(1) if finding else "", int(states.group(1)), time.monotonic() - started)


def run_mutant(mutant: Mutant) -> Result:
    return run(CHECKS[mutant.check], mutant.defines, mutant.table)


def _command(directory: str, *argv: str) -> str:
    done = subprocess.run(
        argv, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def main(arguments: list[str]) -> int:
    reason = missing()
    if reason:
        print(reason, file=sys.stderr)
        return 1
    quick = "--quick" in arguments
    good = True
    for check in CHECKS.values():
        if quick and check.large:
            continue
        result = run(check)
        good = good and not result.finding
        verdict = result.finding or "holds"
        print(
            f"{check.name:15} {result.states:>9,} states {result.seconds:6.1f} s  {verdict}: {check.promise}",
            flush=True,
        )
    for mutant in MUTANTS.values():
        result = run_mutant(mutant)
        found = mutant.finding in result.finding
        good = good and found
        verdict = "found" if found else "NOT FOUND"
        print(f"{mutant.check:15} {verdict}: {mutant.mistake} ({result.finding or 'no complaint'})", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
