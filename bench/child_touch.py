"""The child of all round trips: get looks at none, 1 % or all of the keys (`none`, `some`, `all` as the argument)."""

from __future__ import annotations

import sys

from dumpfmt import Key, KeySet
from stdioproc.child import Infos, Plugin, serve

STEP = {"none": 0, "some": 100, "all": 1}


class Touch(Plugin):
    name = "benchtouch"
    infos = Infos(
        author="the authors of stdioproc",
        licence="BSD",
        description="looks at keys, for the benchmark",
        placements=("postgetstorage",),
    )
    step = 0

    def get(self, data: KeySet, parent: Key) -> None:
        if self.step:
            for key in data if self.step == 1 else (data[i] for i in range(0, len(data), self.step)):
                key.name  # noqa: B018  # being looked at is the point
                key.value  # noqa: B018
                for _ in key.meta.items():
                    pass


if __name__ == "__main__":
    Touch.step = STEP[sys.argv[1]] if len(sys.argv) > 1 else 0
    serve(Touch)
