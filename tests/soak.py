"""Mixed operations, kills and restarts on many children for a given time; at the end everything is as it was.

    python tests/soak.py [--seconds 600] [--children 12] [--seed N]

Memory, descriptors and processes are compared with what they were after a first round. Exit status 0 when nothing grew and
nothing was left, 1 when something did: it says what, and with which seed to try again.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from dumpfmt import Key, KeySet
from stdioproc.host import PluginProcess, PluginProcessError, Status

CHILDREN = Path(__file__).parent / "children"
#: What the memory of the host may differ by: the allocator keeps what it once had.
ROOM = 8 << 20
MISBEHAVIOURS = (
    *("half", "half_and_exit", "wrong_word", "endless_line", "huge_length", "answers_twice", "exit_1", "killed"),
    *("closes_stdout", "closes_everything", "floods_stderr", "grandchild_holds_pipes", "clings", "stubborn", "stopped"),
)


def memory() -> int:
    """What this process has in memory, in bytes."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def family(token: str) -> list[int]:
    """All processes with `token` in their environment: what was started here, and what came from it."""
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and token.encode() in Path(f"/proc/{name}/environ").read_bytes():
                found.append(int(name))
        except OSError:
            continue
    return found


class Soak:
    def __init__(self, children: int, chance: random.Random, folder: Path) -> None:
        self.chance = chance
        self.token = f"SOAK={folder}"
        self.journal = folder / "journal"
        self.counts: Counter[str] = Counter()
        self.plugins: list[PluginProcess] = [self.make() for _ in range(children)]

    def make(self) -> PluginProcess:
        kind = self.chance.choice(("good", "journal", "bad", "bad"))
        program = [sys.executable, "-I", "-S", str(CHILDREN / "bad.py")]
        if kind == "journal":
            program = [sys.executable, "-P", str(CHILDREN / "journal.py")]
        elif kind == "good":
            program += ["never", "", *self.chance.choice(([], ["process"]))]
        else:
            phase = self.chance.choice(("handshake", "open", "get", "set", "commit", "close", "end"))
            program += [phase, self.chance.choice(MISBEHAVIOURS)]
        name, _, value = self.token.partition("=")
        return PluginProcess(
            program,
            config=KeySet([Key("user:/config/journal", str(self.journal))]),
            env={name: value},
            protocol="auto" if "process" in program else "stdioproc",
            start_timeout=1.0,
            operation_timeout=0.3,
            close_timeout=0.3,
        )

    def step(self) -> None:
        at = self.chance.randrange(len(self.plugins))
        plugin = self.plugins[at]
        what: Callable[[PluginProcess], str] = self.chance.choices(
            (self.operate, self.kill, self.stop, self.end, self.replace), weights=(80, 8, 2, 6, 4)
        )[0]
        outcome = what(plugin)
        self.counts[outcome] += 1
        if outcome in ("left alone", "replaced"):
            plugin.end()
            self.plugins[at] = self.make()

    def operate(self, plugin: PluginProcess) -> str:
        size = self.chance.choice((0, 1, 10, 1000))
        keyset = KeySet([Key("user:/id", "1"), *(Key(f"user:/p/{number}", "x" * 99) for number in range(size))])
        parent = Key("user:/p", "/file")
        operation = self.chance.choice(("get", "get", "set", "commit", "error"))
        try:
            status: Status = getattr(plugin, operation)(keyset, parent)
        except PluginProcessError as error:
            if len(keyset) != size + 1:
                raise AssertionError(f"{operation} failed, and the keyset was changed") from error
            return "left alone" if "left alone" in error.reason else f"failed ({type(error).__name__})"
        return status.name.lower()

    def kill(self, plugin: PluginProcess) -> str:
        return self.send(plugin, signal.SIGKILL, "killed")

    def stop(self, plugin: PluginProcess) -> str:
        return self.send(plugin, signal.SIGSTOP, "stopped")

    def send(self, plugin: PluginProcess, number: int, done: str) -> str:
        """A signal to its child, if that lives: its number may be another's by now."""
        try:
            pidfd = os.pidfd_open(plugin.pid or -1)
        except OSError:
            return "not running"
        try:
            if plugin.pid not in family(self.token):
                return "not running"
            signal.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            return "not running"
        finally:
            os.close(pidfd)
        return done

    def end(self, plugin: PluginProcess) -> str:
        plugin.end()
        return "ended"

    def replace(self, plugin: PluginProcess) -> str:
        return "replaced"

    def rest(self) -> tuple[int, int, list[int]]:
        """End all; memory, descriptors, and processes that are left."""
        for plugin in self.plugins:
            plugin.end()
        deadline = time.monotonic() + 2
        while (left := family(self.token)) and time.monotonic() < deadline:
            os.sched_yield()
        return memory(), descriptors(), left


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long (default: 600)")
    parser.add_argument("--children", type=int, default=12, help="how many children at a time (default: 12)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="for the same order again")
    args = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(args.children, random.Random(args.seed), Path(folder))
        while time.monotonic() < began + args.seconds / 4:
            soak.step()
        first = soak.rest()
        while time.monotonic() < began + args.seconds:
            soak.step()
        last = soak.rest()
    counts = ", ".join(f"{count} {what}" for what, count in soak.counts.most_common())
    print(f"seed {args.seed}, {time.monotonic() - began:.0f} s: {counts}")
    print(f"memory {first[0] >> 10} KiB, then {last[0] >> 10} KiB; descriptors {first[1]}, then {last[1]}")
    print(f"processes left: {len(last[2])}")
    wrong = last[0] > first[0] + ROOM or last[1] != first[1] or first[2] or last[2]
    if wrong:
        print(f"something grew or was left behind {first[2] or last[2] or ''}; try again with --seed {args.seed}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
