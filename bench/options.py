"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    keys: int = 100_000
    many_keys: int = 1_000_000  # to see whether the work is linear
    sizes: tuple[int, ...] = (10, 100, 1_000, 10_000, 100_000, 1_000_000)
    repetitions: int = 5
    starts: int = 31
    batches: int = 41
    kdb_mounts: bool = False

    def repetitions_for(self, keys: int) -> int:
        """More for what is quick, since that is shaken more; fewer for what takes seconds."""
        if keys > 200_000:
            return min(self.repetitions, 3)
        return self.repetitions * 3 if keys <= 10_000 else self.repetitions


QUICK = Options(
    keys=10_000, many_keys=100_000, sizes=(10, 1_000, 10_000, 100_000), repetitions=3, starts=11, batches=15
)
