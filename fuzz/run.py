"""Fuzzing for a given time: `python fuzz/run.py SECONDS [TARGET …]`, which `make fuzz` calls. See README.md.

Ends with 0 when nothing was found, 1 when something was, 2 when it could not run what was asked for. Without clang the C targets
are skipped. What is tried starts from corpus/ and regressions/ beside this file; new inputs and findings go to build/fuzz.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = ROOT / "build" / "fuzz"
CSRC = HERE / "csrc"

CLANG = os.environ.get("CLANG", "clang")
NO_CLANG = f"needs {CLANG} with libFuzzer (Debian and Ubuntu: apt install clang libclang-rt-dev)"
C_FLAGS = ["-std=c11", "-g", "-O1", "-fno-omit-frame-pointer", "-Wall", "-Wextra", "-Werror"]
SANITIZERS = ["-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]

#: C harness -> the other sources it is made of, and flags. Paths are relative to the repository.
C_TARGETS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "dumpscan": (("dumpfmt/csrc/dumpscan.c",), ("-Idumpfmt/csrc",)),
    "names": (("dumpfmt/csrc/dumpscan.c",), ("-Idumpfmt/csrc",)),
    "keyset_dump": (
        ("ctypes_shim/csrc/dump_*.c", "tests/shim/double/elektra_double.c", "dumpfmt/csrc/dumpscan.c"),
        ("-D_GNU_SOURCE", "-Ictypes_shim/csrc", "-Itests/shim/double", "-Idumpfmt/csrc"),
    ),
    "keeper_options": ((), ("-Istdioproc/host/csrc",)),
    "records": (("dumpfmt/csrc/native.c", "dumpfmt/csrc/dumpscan.c"), ("-Idumpfmt/csrc",)),
}
PYTHON_TARGETS = ("connection", "quickdump", "v1")
TARGETS = (*C_TARGETS, *PYTHON_TARGETS)
#: Where there is no clang, Python's own driver runs this one too.
EITHER = ("records",)

#: Megabytes: of one allocation, and in all. No limit of dumpfmt that the targets use allows more for inputs of this size.
MALLOC_LIMIT, RSS_LIMIT, MAX_LEN = 64, 1024, 4096
#: Seconds that one input may take.
INPUT_TIMEOUT = 20


class CannotBuild(Exception):
    """There is no compiler, or it lacks what is needed."""


def build(target: str, compiler: Sequence[str], flags: Sequence[str], to: Path) -> Path:
    """Compile a C harness. Raises CannotBuild with the compiler's words."""
    sources, more = C_TARGETS[target]
    files = [CSRC / f"{target}.c", *(file for pattern in sources for file in sorted(ROOT.glob(pattern)))]
    command = [*compiler, *C_FLAGS, *flags, *more, f"-I{CSRC}", *map(str, files), "-o", str(to)]
    if target == "records":
        command += _python_flags()
    to.parent.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise CannotBuild(f"{compiler[0]} is not installed") from None
    if done.returncode:
        raise CannotBuild(done.stderr)
    return to


def _python_flags() -> list[str]:
    """How to put this Python into a program. Its headers are not held to our warnings."""
    library = sysconfig.get_config_var("LIBDIR")
    return [
        "-Wno-missing-field-initializers",
        f"-isystem{sysconfig.get_path('include')}",
        f"-L{library}",
        f"-Wl,-rpath,{library}",
        f"-lpython{sysconfig.get_config_var('LDVERSION')}",
    ]


def environment(target: str) -> dict[str, str]:
    """What a run finds in its environment."""
    found = dict(os.environ)
    found["ASAN_OPTIONS"] = "allocator_may_return_null=1:detect_stack_use_after_return=1"
    found["UBSAN_OPTIONS"] = "print_stacktrace=1"
    if target == "records":
        site = [str(Path(path).resolve()) for path in sys.path if path.endswith("site-packages")]
        found["FUZZ_PATH"] = os.pathsep.join([str(HERE), str(ROOT), *site])
        found["PYTHONHOME"] = f"{sys.base_prefix}:{sys.base_exec_prefix}"
        found["PYTHONMALLOC"] = "malloc"  # so that objects, too, lie in memory that is watched
        found["ASAN_OPTIONS"] += ":detect_leaks=0"  # Python frees not everything at its end
    return found


class Run:
    """One target, for some seconds."""

    def __init__(self, target: str, seconds: float) -> None:
        self.target = target
        self.seconds = seconds
        self.summary = ""
        self.status = 0
        self.crashes: list[Path] = []

    def __call__(self) -> None:
        findings = BUILD / "findings" / self.target
        corpus = BUILD / "corpus" / self.target
        for directory in (findings, corpus):
            directory.mkdir(parents=True, exist_ok=True)
        try:
            command = self._command()
        except CannotBuild as error:
            has_clang = shutil.which(CLANG) is not None and "libclang_rt" not in str(error)
            self.summary = f"does not build:\n{error}" if has_clang else f"skipped: {NO_CLANG}"
            self.status = 2 if has_clang else 0
            return
        words = HERE / "dict" / f"{self.target}.dict"
        flags = {
            "max_total_time": str(max(1, round(self.seconds))),
            "max_len": str(MAX_LEN),
            "rss_limit_mb": str(RSS_LIMIT),
            "malloc_limit_mb": str(MALLOC_LIMIT),
            "timeout": str(INPUT_TIMEOUT),
            "artifact_prefix": f"{findings}/",
            "print_final_stats": "1",
        }
        if words.exists():
            flags["dict"] = str(words)
        seeds = [place for kind in ("corpus", "regressions") if (place := HERE / kind / self.target).is_dir()]
        before = set(findings.iterdir())
        log = BUILD / f"{self.target}.log"
        with log.open("wb") as out:
            done = subprocess.run(
                [*command, *(f"-{name}={value}" for name, value in flags.items()), str(corpus), *map(str, seeds)],
                env=environment(self.target),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: os.nice(10),
                check=False,
            )
        text = log.read_text("utf-8", "replace")
        runs = re.search(r"Done (\d+) runs|number_of_executed_units: (\d+)", text)
        count = next(filter(None, runs.groups())) if runs else "no"
        self.crashes = sorted(set(findings.iterdir()) - before)
        self.status = 1 if done.returncode or self.crashes else 0
        self.summary = f"{count} runs" if not self.status else f"FOUND something after {count} runs, see {_short(log)}"

    def _command(self) -> list[str]:
        if self.target in C_TARGETS:
            try:
                return [str(build(self.target, [CLANG], SANITIZERS, BUILD / self.target))]
            except CannotBuild:
                if self.target not in EITHER or shutil.which(CLANG) is not None:
                    raise
        return [sys.executable, str(HERE / "pyfuzz.py"), self.target]


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def main(argv: list[str]) -> int:
    try:
        seconds = float(argv[1])
        targets = argv[2:] or list(TARGETS)
        unknown = [target for target in targets if target not in TARGETS]
        if unknown:
            raise ValueError(f"there is no target {unknown[0]}")
    except (IndexError, ValueError) as error:
        print(f"{error}\nusage: run.py SECONDS [TARGET …], targets: {' '.join(TARGETS)}", file=sys.stderr)
        return 2
    jobs = min(len(targets), len(os.sched_getaffinity(0)))
    runs = [Run(target, seconds * jobs / len(targets)) for target in targets]
    started = time.monotonic()
    waiting = iter(runs)
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                run = next(waiting, None)
            if run is None:
                return
            run()
            print(f"{run.target:15} {run.summary}", flush=True)
            for crash in run.crashes:
                print(f"{'':15} {_short(crash)}", flush=True)

    threads = [threading.Thread(target=work) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if importlib.util.find_spec("atheris") is None and set(targets) & set(PYTHON_TARGETS):
        print("the Python targets ran without coverage; with it: pip install atheris")
    print(f"{len(runs)} targets in {time.monotonic() - started:.0f} s")
    return max(run.status if run.status != 2 else 1 for run in runs) if any(run.status for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
