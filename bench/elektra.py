"""With a real Elektra: its own plugins on the same work. Found as `kdb` on PATH, its libraries by the loader.

Nothing of it is changed, unless `--kdb-mounts` is given: `kdb get` is then measured with a mountpoint at
user:/tests/stdioproc/bench, which is mounted and unmounted meanwhile.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import data
from bench.measure import Case, Row, Table, measure, timed
from bench.options import Options
from bench.programs import HERE, touch_child
from bench.work import touch_all, touch_one_percent
from ctypes_shim.build import BuildError, build, find_compiler
from dumpfmt import KeySet, dumps, loads

_MODES = {"none": "no key touched", "some": "1 % touched", "all": "every key touched"}
#: What the shim shall reach against `process`, as the part of its time.
_SHIM_AT_MOST = {"none": None, "some": 1 / 6, "all": 1 / 3}
_EMPTY_CALLS = 100
_MOUNTPOINT = "user:/tests/stdioproc/bench"
_OUTSIDE = "user:/tests/stdioproc-elsewhere"
_KDB_TIMEOUT = 60.0
_SOURCE = "source.dump"


class NoElektra(Exception):
    """Why there is nothing to measure."""


def run(options: Options) -> list[Table]:
    codec = Table("elektra", f"Against Elektra's own plugins: {options.keys:,} keys")
    tables = [codec]
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stdioproc-bench-")))
        try:
            if shutil.which("kdb") is None:
                raise NoElektra("there is no kdb on PATH")
            environment = _with_shim(directory, codec)
            program = _compile(directory)

            def new_probe() -> Probe:
                probe = Probe(program, environment)
                stack.callback(probe.close)
                return probe

            _files(codec, new_probe(), directory, options)
        except (NoElektra, BuildError) as error:
            codec.notes.append(f"Skipped: {error}.")
            return tables
        tables.append(_gets(new_probe, directory, options))
        if options.kdb_mounts:
            tables.append(_kdb_get(directory, environment, options))
        else:
            codec.notes.append("kdb get inside and outside of a mountpoint: not asked for (--kdb-mounts).")
    return tables


class Probe:
    """elektra_probe.c, running."""

    def __init__(self, program: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [program], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()

    def ask(self, command: str) -> float:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise NoElektra(f"the probe ended with {self._process.wait()} before {command!r}") from None
        return float(self._answer())

    def open(self, plugin: str, **config: str) -> int:
        pairs = "\t".join(f"{name}={value}" for name, value in config.items())
        return int(self.ask(f"open {plugin} {pairs}"))

    def sample(self, command: str) -> Callable[[], float]:
        return lambda: self.ask(command)

    def close(self) -> None:
        self._process.communicate()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline().strip()
        if not answer or answer.startswith("error"):
            raise NoElektra(answer.removeprefix("error ") or f"the probe ended with {self._process.wait()}")
        return answer


def _compile(directory: Path) -> Path:
    program = directory / "probe"
    command = [find_compiler(), "-O2", "-o", str(program), str(HERE / "elektra_probe.c"), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoElektra(f"the probe does not compile: {done.stderr.strip()}")
    return program


def _with_shim(directory: Path, table: Table) -> dict[str, str]:
    """The environment in which Elektra finds the plugin of this project, built for the occasion, and installs nothing."""
    try:
        build(directory / "shim")
    except BuildError as error:
        table.notes.append(f"Through stdioproc: the shim cannot be built here: {error}.")
    path = [str(directory / "shim"), os.environ.get("LD_LIBRARY_PATH", "")]
    return os.environ | {"LD_LIBRARY_PATH": ":".join(filter(None, path))}


def _files(table: Table, probe: Probe, directory: Path, options: Options) -> None:
    dump = data.standard(options.keys)
    source, written = directory / _SOURCE, directory / "written.dump"
    source.write_bytes(dump)
    before = probe.ask("rss")
    probe.ask(f"load {source}")
    held = probe.ask("rss") - before
    probe.ask(f"write {written}")
    if written.read_bytes() != dump:
        table.notes.append("Elektra's dump writes this keyset differently: the comparison is not of the same bytes.")
    objects = loads(dump, parser="python")

    def read(touch: Callable[[KeySet], None] | None = None) -> Callable[[], float]:
        def work(path: Path) -> KeySet:
            keyset = loads(path.read_bytes())
            if touch is not None:
                touch(keyset)
            return keyset

        return timed(work, lambda: source)

    size = len(dump)
    theirs_read, theirs_write = "Elektra's dump: read the file", "Elektra's dump: write the file"
    cases = [
        Case(theirs_read, probe.sample(f"read {source}"), size=size),
        Case("ours: read the file, decode", read(), theirs_read, size=size),
        Case("ours: read the file, decode, touch 1 %", read(touch_one_percent), theirs_read, size=size),
        Case("ours: read the file, decode, touch all", read(touch_all), theirs_read, 1.0, size),
        Case(theirs_write, probe.sample(f"write {written}"), size=size),
        Case(
            "ours: encode from objects, write the file",
            timed(lambda keyset: written.write_bytes(dumps(keyset)), lambda: objects),
            theirs_write,
            1 / 8,
            size,
        ),
    ]
    table.rows = measure(cases, options.repetitions)
    table.rows.append(Row("Elektra's keyset, bytes for each byte of the dump", [held / size], unit="B/B"))


def _gets(new_probe: Callable[[], Probe], directory: Path, options: Options) -> Table:
    table = Table("elektra-get", f"A get of {options.keys:,} keys through a plugin of Elektra")
    cases: list[Case] = []
    empty: list[Case] = []

    # A process for each plugin: two that embed Python do not go together in one.
    probes: dict[str, Probe] = {}

    def add(plugin: str, mode: str, **config: str) -> None:
        name = f"{plugin}: {_MODES[mode]}"
        try:
            if plugin not in probes:
                probes[plugin] = new_probe()
                probes[plugin].ask(f"load {directory / _SOURCE}")
            probe = probes[plugin]
            number = probe.open(plugin, **config)
            probe.ask(f"empty {number} 1")
        except NoElektra as error:
            table.notes.append(f"{name}: skipped, {error}.")
            return
        base = f"process: {_MODES[mode]}"
        against = base if plugin != "process" and any(case.name == base for case in cases) else ""
        at_most = _SHIM_AT_MOST[mode] if plugin == "stdioproc" and against else None
        cases.append(Case(name, probe.sample(f"get {number} 1"), against, at_most))
        if not any(case.name.startswith(plugin) for case in empty):
            base = "process: empty get"
            against = base if plugin != "process" and any(case.name == base for case in empty) else ""
            empty.append(Case(f"{plugin}: empty get", probe.sample(f"empty {number} {_EMPTY_CALLS}"), against))

    for mode in _MODES:
        executable, *arguments = touch_child(mode)
        args = {"args": f"#{len(arguments) - 1}"} | {f"args/#{i}": value for i, value in enumerate(arguments)}
        add("process", mode, executable=executable, **args)
        add("stdioproc", mode, app=executable, **args)
    add("python", "all", script=str(_script(directory, "all")))
    # Elektra's take many seconds each, and the call with an empty keyset has warmed them up.
    table.rows = measure(cases, min(options.repetitions, 3), warm_up=False)
    table.rows += measure(empty, options.batches)
    return table


def _script(directory: Path, mode: str) -> Path:
    script = directory / f"script_{mode}.py"
    script.write_bytes((HERE / "elektra_script.py").read_bytes())
    return script


def _kdb_get(directory: Path, environment: dict[str, str], options: Options) -> Table:
    """One `kdb get` for a key in a mountpoint and for one elsewhere: every mountpoint's plugins are opened by every command."""
    table = Table("kdb", "One kdb get, process and all")
    executable, *arguments = touch_child("none")
    args = [f"args=#{len(arguments) - 1}", *(f"args/#{i}={value}" for i, value in enumerate(arguments))]
    script = _script(directory, "none")
    mounts = {
        "no mountpoint": None,
        "a dump mountpoint": ["dump"],
        "with process": ["dump", "process", f"executable={executable}", *args],
        "with stdioproc": ["dump", "stdioproc", f"app={executable}", *args],
        "with python": ["dump", "python", f"script={script}"],
    }
    first: list[Row] = []
    for name, plugins in mounts.items():
        try:
            with _mounted(plugins, environment):
                cases = [Case(f"{name}: a key elsewhere", _kdb_sample(_OUTSIDE, environment))]
                if plugins is not None:
                    cases.append(Case(f"{name}: a key in it", _kdb_sample(_MOUNTPOINT + "/key", environment)))
                rows = measure(cases, options.starts)
        except NoElektra as error:
            table.notes.append(f"{name}: skipped, {error}.")
            continue
        first = first or rows
        table.rows += rows
    # Mountpoints cannot be there in turns without costing more than what is measured, so these ratios are of medians.
    for row in table.rows[1:]:
        row.against, row.ratios = first[0].name, [row.median / first[0].median]
    return table


@contextmanager
def _mounted(plugins: list[str] | None, environment: dict[str, str]) -> Iterator[None]:
    if plugins is None:
        yield
        return
    _kdb(environment, "mount", "stdioproc-bench.dump", _MOUNTPOINT, *plugins)
    try:
        _kdb(environment, "set", f"{_MOUNTPOINT}/key", "value")
        yield
    finally:
        _kdb(environment, "rm", "-rf", _MOUNTPOINT, check=False)
        _kdb(environment, "umount", _MOUNTPOINT, check=False)


def _kdb_sample(name: str, environment: dict[str, str]) -> Callable[[], float]:
    def sample() -> float:
        start = time.perf_counter()
        _kdb(environment, "get", name, check=False)  # a key that is not there is an answer, too
        return time.perf_counter() - start

    return sample


def _kdb(environment: dict[str, str], *arguments: str, check: bool = True) -> None:
    done = subprocess.run(
        ["kdb", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_KDB_TIMEOUT,
        check=False,
    )
    if check and done.returncode:
        text = (done.stdout + done.stderr).decode("utf-8", "replace").strip()
        raise NoElektra(f"kdb {arguments[0]} failed ({done.returncode}): {text}")
