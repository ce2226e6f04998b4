"""The model of docs/model.md: made from the table of the code, checked by spin, and able to fail."""

from __future__ import annotations

import pytest

from model import generate
from model.check import CHECKS, MUTANTS, Check, Mutant, missing, run, run_mutant
from stdioproc.state import TRANSITIONS, Signal, State, sender

needs_spin = pytest.mark.skipif(bool(missing()), reason=missing() or "nothing is missing")


def test_the_generated_part_is_that_of_the_table() -> None:
    assert generate.TARGET.read_text(encoding="utf-8") == generate.render(), "run: python -m model.generate"


def test_only_signals_that_no_run_can_tell_apart_are_one() -> None:
    for signal, first in generate.representatives(TRANSITIONS).items():
        assert sender(signal) is sender(first)
        assert all(TRANSITIONS.get((state, signal)) is TRANSITIONS.get((state, first)) for state in State)


def test_a_signal_that_differs_is_kept() -> None:
    table = {**TRANSITIONS, (State.READY, Signal.COMMIT): State.BUSY}
    assert generate.representatives(table)[Signal.COMMIT] is Signal.COMMIT
    assert "state == S_READY && signal == G_COMMIT -> state = S_BUSY" in generate.render(table)


@needs_spin
@pytest.mark.parametrize(
    "check",
    [
        # A cold compiler on a busy machine: no search here is for every run of the tests.
        pytest.param(check, id=check.name, marks=pytest.mark.slow)
        for check in CHECKS.values()
        if check.name != "honest"
    ]
    + [pytest.param(CHECKS["honest"], id="honest")],
)
def test_holds(check: Check) -> None:
    result = run(check)
    assert result.finding == ""
    assert result.states > 1000, "a search of almost nothing proves nothing"


@needs_spin
@pytest.mark.slow
@pytest.mark.parametrize("mutant", [pytest.param(mutant, id=mistake) for mistake, mutant in MUTANTS.items()])
def test_finds(mutant: Mutant) -> None:
    assert mutant.finding in run_mutant(mutant).finding


@needs_spin
def test_finds_a_host_that_writes_before_it_reads() -> None:
    mutant = MUTANTS["the host writes a whole message before it reads"]
    assert mutant.finding in run_mutant(mutant).finding
