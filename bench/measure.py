"""Samples, taken in turns.

A machine changes while it measures: its clock, its caches, its other users. So every repetition takes one sample of each case
of a group, and what is compared are samples of the same repetition.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

T = TypeVar("T")
Unit = Literal["s", "B/B"]


@dataclass
class Case:
    """One thing to measure. `sample` gives seconds, or another figure for another `unit`."""

    name: str
    sample: Callable[[], float]
    against: str = ""  # the case of the same group that this one is divided by
    at_most: float | None = None  # what that ratio shall be
    size: int = 0  # bytes that are worked on, for a throughput
    unit: Unit = "s"


@dataclass
class Row:
    """What came out."""

    name: str
    samples: list[float]
    ratios: list[float] = field(default_factory=list)
    against: str = ""
    at_most: float | None = None
    at_most_seconds: float | None = None
    size: int = 0
    unit: Unit = "s"

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def spread(self) -> float:
        """Half of the samples are within this part of the median, either side: how much the machine was shaken."""
        if len(self.samples) < 3 or not self.median:
            return 0.0
        return statistics.median(abs(sample - self.median) for sample in self.samples) / self.median

    @property
    def ratio(self) -> float | None:
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def met(self) -> bool | None:
        """Whether it is as fast as it shall be; None where nothing was set."""
        if self.at_most_seconds is not None:
            return self.median <= self.at_most_seconds
        if self.at_most is None or self.ratio is None:
            return None
        return self.ratio <= self.at_most


@dataclass
class Table:
    """The rows of one group, and what could not be measured, with the reason."""

    key: str
    title: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def row(self, name: str) -> Row | None:
        return next((row for row in self.rows if row.name == name), None)


def timed(run: Callable[[T], object], prepare: Callable[[], T]) -> Callable[[], float]:
    """Seconds of `run` with what `prepare` made. Neither making that nor giving the result back to the system is timed."""

    def sample() -> float:
        subject = prepare()
        gc.collect()  # so that nobody pays for what another has left
        start = time.perf_counter()
        result = run(subject)
        seconds = time.perf_counter() - start
        del result
        return seconds

    return sample


def measure(cases: Sequence[Case], repetitions: int, *, warm_up: bool = True) -> list[Row]:
    """Take `repetitions` samples of each case, in turns."""
    samples: dict[str, list[float]] = {case.name: [] for case in cases}
    if len(samples) != len(cases):
        raise ValueError("two cases have one name")
    for repetition in range(repetitions + warm_up):
        for case in cases:
            sample = case.sample()
            if repetition >= warm_up:  # the first round fills caches
                samples[case.name].append(sample)
    rows = []
    for case in cases:
        own = samples[case.name]
        other = samples[case.against] if case.against else []
        ratios = [mine / theirs for mine, theirs in zip(own, other, strict=True)] if other else []
        rows.append(Row(case.name, own, ratios, case.against, case.at_most, None, case.size, case.unit))
    return rows


def difference(name: str, more: Row, less: Row, at_most_seconds: float | None = None) -> Row:
    """What `more` takes beyond `less`, from samples of the same repetitions."""
    samples = [a - b for a, b in zip(more.samples, less.samples, strict=True)]
    return Row(name, samples, at_most_seconds=at_most_seconds)
