"""A plugin that does not come back from get, and takes its time when it is told to end."""

import os
import signal
import sys

from stdioproc.child import Key, KeySet, Plugin


class Silent(Plugin):
    def get(self, data: KeySet, parent: Key) -> None:
        print(f"silent is {os.getpid()}", file=sys.stderr, flush=True)
        while True:
            signal.pause()
