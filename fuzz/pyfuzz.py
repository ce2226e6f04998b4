"""Runs one target of targets.py on inputs made by chance: `pyfuzz.py TARGET [-flag=value …] [CORPUS …]`.

The flags are libFuzzer's (`-max_total_time=`, `-artifact_prefix=`, `-dict=`, `-seed=`, `-max_len=`, `-timeout=`,
`-rss_limit_mb=`). With atheris installed (`pip install atheris`) coverage of the Python code steers what is tried;
without it, the words that targets return do.
A file instead of a directory is run once. Ends with 0, or with 1 and the input in a file `crash-…`.
"""

from __future__ import annotations

import hashlib
import random
import resource
import signal
import sys
import time
import traceback
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from targets import Target


def dictionary(path: str) -> list[bytes]:
    """The words of a libFuzzer dictionary."""
    found = []
    for line in Path(path).read_text().splitlines():
        quoted = line[line.find('"') + 1 : line.rfind('"')]
        if quoted and not line.startswith("#"):
            found.append(quoted.encode("latin-1").decode("unicode_escape").encode("latin-1"))
    return found


class Mutator:
    """New inputs from old ones: libFuzzer's usual changes, less clever."""

    def __init__(self, chance: random.Random, words: list[bytes], max_len: int) -> None:
        self._chance = chance
        self._words = words or [b"\0"]
        self._max_len = max_len

    def __call__(self, pool: list[bytes]) -> bytes:
        chance = self._chance
        data = chance.choice(pool)
        for _ in range(chance.choice((1, 1, 1, 2, 3, 5))):
            start = chance.randint(0, len(data))
            end = min(len(data), start + chance.choice((0, 0, 1, 1, 2, 4, 16, 64)))
            match chance.randrange(6):
                case 0:
                    piece = chance.choice(self._words)
                case 1:
                    piece = bytes([chance.randrange(256)])
                case 2:
                    piece = data[start:end] * 2
                case 3:
                    other = chance.choice(pool)
                    at = chance.randint(0, len(other))
                    piece = other[at : at + chance.choice((1, 8, 32, 128))]
                case 4:
                    piece = b"%d" % chance.choice((0, 1, 2, 7, 9, 10, 31, 32, 33, 2**31, 2**32, 2**63, 2**64))
                case _:
                    piece = b""
            data = data[:start] + piece + data[end:]
        return data[: self._max_len]


def fuzz(target: Target, flags: dict[str, str], inputs: list[bytes], keep: Path | None) -> int:
    """The loop where atheris is not installed. Returns the exit status."""

    def too_long(*_: object) -> None:
        raise TimeoutError("an input took longer than -timeout allows")

    signal.signal(signal.SIGALRM, too_long)
    seed = int(flags.get("seed", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    print(f"INFO: Seed: {seed}", file=sys.stderr)
    words = dictionary(flags["dict"]) if "dict" in flags else []
    mutate = Mutator(random.Random(seed), words, int(flags.get("max_len", "4096")))
    end = time.monotonic() + float(flags.get("max_total_time", "0") or 0)
    pool: list[bytes] = []
    seen: set[str] = set()
    count = 0
    while inputs or (flags.get("runs") != "0" and time.monotonic() < end):
        data = inputs.pop() if inputs else mutate(pool)
        count += 1
        try:
            signal.alarm(int(flags.get("timeout", "0")))
            words_of_it = target(data)
            signal.alarm(0)
        except BaseException:  # whatever it is, it is what was looked for
            traceback.print_exc()
            name = f"{flags.get('artifact_prefix', '')}crash-{hashlib.sha1(data).hexdigest()}"
            Path(name).write_bytes(data)
            print(f"Test unit written to {name}", file=sys.stderr)
            return 1
        if words_of_it not in seen and len(seen) < 20_000:
            seen.add(words_of_it)
            pool.append(data)
            if keep is not None:
                (keep / hashlib.sha1(data).hexdigest()).write_bytes(data)
        pool = pool or [b"\0\0\0"]
    print(f"Done {count} runs, {len(seen)} ways to end", file=sys.stderr)
    return 0


def main(argv: list[str]) -> int:
    if len(argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    flags = dict(word[1:].split("=", 1) for word in argv[2:] if word.startswith("-"))
    places = [Path(word) for word in argv[2:] if not word.startswith("-")]
    files = [place for place in places if place.is_file()]
    if not files and "rss_limit_mb" in flags:
        # Address space, since nothing in Python counts what is resident; the interpreter itself has some.
        size = int(flags["rss_limit_mb"]) << 20
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    try:
        import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError:
        from targets import TARGETS

        keep = None if files else next(iter(places), None)
        inputs = files or sorted(file for place in places for file in place.iterdir())
        flags |= {"runs": "0"} if files else {}
        return fuzz(TARGETS[argv[1]], flags, [file.read_bytes() for file in inputs], keep)
    with atheris.instrument_imports(include=["dumpfmt", "stdioproc"]):
        from targets import TARGETS
    target = TARGETS[argv[1]]
    atheris.Setup([argv[0], *argv[2:]], lambda data: void(target(data)))
    atheris.Fuzz()  # ends the process
    return 0


def void(result: str) -> None:
    """atheris wants to hear nothing of a good input."""


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    sys.exit(main(sys.argv))
