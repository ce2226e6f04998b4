"""The toml plugin, killed or disturbed right before each of the system calls between a request to set and its answer."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dumpfmt import Key, KeySet
from specload_examples import toml
from stdioproc.errors import get_error
from stdioproc.events import Status
from stdioproc.host import PluginDied, PluginProcess

PROGRAM = [sys.executable, toml.__file__]
ROOT = "user:/tests/toml"
OLD = "# note\ntitle = 'old' # behind\n"
NEW = "# note\ntitle = 'new' # behind\n"
MADE = 'title = "new"\n'
FOREIGN = "# of somebody else\ntitle = 'foreign'\n"


@pytest.fixture(scope="module")
def tracer(tmp_path_factory: pytest.TempPathFactory) -> str:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: `cc` is not on PATH")
    if not sys.platform.startswith("linux"):
        pytest.skip("the tracer is written for Linux's ptrace")
    program = str(tmp_path_factory.mktemp("tracer") / "tracer")
    source = Path(__file__).with_name("tracer.c")
    subprocess.run([compiler, "-std=c11", "-Wall", "-Wextra", "-Werror", "-o", program, str(source)], check=True)
    allowed = subprocess.run([program, "check"], capture_output=True, text=True, check=False)
    if allowed.returncode != 0:
        pytest.skip(f"ptrace is not permitted here: {allowed.stderr.strip()}")
    return program


class Case:
    """One set of one file: `replace` changes it, `create` makes it."""

    def __init__(self, tracer: str, directory: Path, kind: str) -> None:
        self.tracer, self.directory, self.kind = tracer, directory, kind
        self.path = directory / "files" / "x.toml"
        self.log = directory / "calls"
        (directory / "warm.toml").write_text("a = 1\n")
        self.path.parent.mkdir(exist_ok=True)
        self.old = OLD if kind == "replace" else None
        self.new = NEW if kind == "replace" else MADE

    def prepare(self) -> None:
        for path in self.path.parent.iterdir():
            path.unlink()
        if self.old is not None:
            self.path.write_text(self.old)
            if os.geteuid() == 0:
                os.chown(self.path, 65534, 65533)
            self.path.chmod(0o640)

    def run(self, when: int, *action: str) -> tuple[Status | None, Key]:
        """Set with something done right before the call of that number; the status, None when the child died."""
        self.prepare()
        parent = Key(ROOT, str(self.path))
        with PluginProcess([self.tracer, str(self.log), str(when), *action, *PROGRAM]) as plugin:
            # What is imported at the first use shall not be among the calls that are looked at.
            plugin.get(KeySet(), Key("user:/tests/warm", str(self.directory / "warm.toml")))
            keys = KeySet()
            if self.old is not None:
                assert plugin.get(keys, parent) is Status.SUCCESS
            keys.append(Key(f"{ROOT}/title", "new"))
            try:
                return plugin.set(keys, parent), parent
            except PluginDied:
                return None, parent

    def calls(self) -> list[str]:
        """The calls of an undisturbed set, up to the one that writes the answer."""
        assert self.run(0, "kill")[0] is Status.SUCCESS
        assert self.path.read_text() == self.new
        names = self.log.read_text().split()
        names = names[: len(names) - names[::-1].index("write")]
        named = [name for name in names if name in ("write", "fsync", "rename", "link")]
        # The file, on disk before it has its name; the directory; the answer. Nothing is missing.
        assert named == ["write", "fsync", "rename" if self.kind == "replace" else "link", "fsync", "write"]
        return names

    def content(self) -> str | None:
        return self.path.read_text() if self.path.exists() else None

    def leftovers(self) -> list[str]:
        return sorted(name for name in os.listdir(self.path.parent) if name != "x.toml")

    def kill(self, when: int) -> None:
        assert self.run(when, "kill")[0] is None
        assert len(self.log.read_text().split()) == when
        content, leftovers = self.content(), self.leftovers()
        assert content in (self.old, self.new)
        if self.old is not None:
            self.check_mode()
        assert len(leftovers) <= 1
        assert all(name.startswith(".x.toml.stdioproc-") and name.endswith(".tmp") for name in leftovers)
        for name in leftovers if self.old is not None else []:
            assert not stat.S_IMODE((self.path.parent / name).stat().st_mode) & ~0o640  # no secret gets out by it
        with PluginProcess(PROGRAM) as plugin:
            keys, parent = KeySet(), Key(ROOT, str(self.path))
            if content is not None:
                assert plugin.get(keys, parent) is Status.SUCCESS
                assert keys[f"{ROOT}/title"].value == ("old" if content == OLD else "new")
            keys.append(Key(f"{ROOT}/title", "next"))
            assert plugin.set(keys, parent) is Status.SUCCESS
        assert self.path.read_text() == (self.old or MADE).replace("old", "next").replace("new", "next")
        if self.old is not None:
            self.check_mode()
        assert self.leftovers() == []

    def check_mode(self) -> None:
        status = self.path.stat()
        assert stat.S_IMODE(status.st_mode) == 0o640
        if os.geteuid() == 0:
            assert (status.st_uid, status.st_gid) == (65534, 65533)

    def disturb(self, when: int) -> tuple[bool, str | None]:
        """Somebody else's file takes the place: whether that was found to be a conflict, and what is there at the end."""
        foreign = self.directory / "foreign"
        foreign.write_text(FOREIGN)
        status, parent = self.run(when, "rename", str(foreign), str(self.path))
        error = get_error(parent)
        assert status is (Status.SUCCESS if error is None else Status.ERROR)
        if error is not None:
            assert error.number == "C02000" and str(self.path) in error.reason, error
        assert self.leftovers() == []
        return error is not None, self.content()


@pytest.fixture(params=["replace", "create"])
def case(request: pytest.FixtureRequest, tracer: str, tmp_path: Path) -> Case:
    return Case(tracer, tmp_path, request.param)


def _sample(calls: list[str]) -> list[int]:
    """Before the new file is written, before it takes the name, after that, before the answer."""
    taken = max(calls.index(name) for name in ("rename", "link") if name in calls) + 1
    return [calls.index("write") + 1, taken, taken + 1, len(calls)]


def test_a_killed_set_has_happened_or_has_not(case: Case) -> None:
    for when in _sample(case.calls()):
        case.kill(when)


@pytest.mark.slow
def test_a_set_killed_at_any_system_call_has_happened_or_has_not(case: Case) -> None:
    for when in range(1, len(case.calls()) + 1):
        case.kill(when)


def _check_disturbed(case: Case, calls: list[str], when: int) -> None:
    replaced = calls.index("rename" if case.kind == "replace" else "link") + 1
    # Between the last look at the file and the rename nothing can be noticed: there is no call that compares and renames.
    # A file that is made is given its name by a link, which fails when there is one. A set without a get before has
    # nothing to compare with but what it finds first.
    unseen = range(replaced, replaced + 1) if case.kind == "replace" else range(1, calls.index("openat") + 2)
    conflict, content = case.disturb(when)
    if when > replaced:
        assert (conflict, content) == (False, FOREIGN)
    elif when in unseen:
        assert not conflict
    else:
        assert (conflict, content) == (True, FOREIGN), f"before {calls[when - 1]}, call {when} of {calls}"


def test_a_file_that_is_replaced_during_a_set_is_a_conflict(case: Case) -> None:
    calls = case.calls()
    for when in [calls.index("write") + 1, calls.index("fsync") + 1, len(calls)]:
        _check_disturbed(case, calls, when)


@pytest.mark.slow
def test_a_file_that_is_replaced_at_any_system_call_is_a_conflict(case: Case) -> None:
    calls = case.calls()
    for when in range(1, len(calls) + 1):
        _check_disturbed(case, calls, when)


# --- what a killed writer left, and what only looks like it


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "x.toml"
    path.write_text(OLD)
    return path


def _change(path: Path) -> None:
    plugin, keys, parent = toml.Toml(), KeySet(), Key(ROOT, str(path))
    plugin.get(keys, parent)
    keys.append(Key(f"{ROOT}/title", "new"))
    plugin.set(keys, parent)


@pytest.mark.parametrize(
    "name",
    [
        "x.toml.stdioproc-0123456789ab.tmp",
        ".x.toml.stdioproc-0123456789ab.tmp~",
        ".x.toml.stdioproc-0123456789AB.tmp",
        ".x.toml.stdioproc-.tmp",
        ".x.toml.0123456789ab.tmp",
        ".y.toml.stdioproc-0123456789ab.tmp",
        ".xxtoml.stdioproc-0123456789ab.tmp",
    ],
)
def test_a_file_of_another_name_is_not_removed(path: Path, name: str) -> None:
    path.with_name(name).write_text("mine")
    _change(path)
    assert path.with_name(name).read_text() == "mine"


LEFTOVER = ".x.toml.stdioproc-0123456789ab.tmp"


def _directory(path: Path) -> None:
    path.mkdir()


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _link(path: Path) -> None:
    path.with_name("target").write_text("mine")
    path.symlink_to("target")


def _of_another_user(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to another user")
    path.write_text("mine")
    os.chown(path, 65534, 65534)


@pytest.mark.parametrize("make", [_directory, _pipe, _link, _of_another_user])
def test_what_no_writer_left_is_not_removed(path: Path, make: Callable[[Path], None]) -> None:
    make(path.with_name(LEFTOVER))
    _change(path)
    assert path.read_text() == NEW and os.path.lexists(path.with_name(LEFTOVER))


def test_a_living_writer_keeps_its_file(path: Path) -> None:
    temporary, descriptor = toml._temporary(str(path.parent), path.name, 0o600)
    try:
        _change(path)
        assert os.path.exists(temporary)
    finally:
        os.close(descriptor)
    path.write_text(OLD)
    _change(path)
    assert not os.path.exists(temporary)


def test_a_set_that_changes_nothing_cleans_up_too(path: Path) -> None:
    path.with_name(LEFTOVER).write_text("half")
    path.write_text(NEW)
    _change(path)
    assert os.listdir(path.parent) == ["x.toml"]


def test_what_was_left_beside_the_file_of_the_resolver_is_found_again(path: Path) -> None:
    path.with_name(LEFTOVER).write_text("half")
    resolver = path.with_name("x.toml.4711:1700000000.123456.tmp")
    toml.Toml().set(KeySet([Key(f"{ROOT}/title", "new")]), Key(ROOT, str(resolver)))
    assert sorted(os.listdir(path.parent)) == ["x.toml", resolver.name]


@pytest.mark.parametrize("name", ["ä" * 125 + ".toml", "€" * 83 + ".toml", "x" * 250 + ".toml"])
def test_a_name_may_be_as_long_as_the_system_allows(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(OLD)
    _change(path)
    assert path.read_text() == NEW and os.listdir(tmp_path) == [name]
