"""What stands between the toml plugin and its file: other writers, full disks, permissions, and what is no file."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dumpfmt import Key, KeySet
from dumpfmt.names import parse_array_index
from specload_examples import toml, toml_text
from stdioproc.errors import Conflict, ElektraError, Resource, ValidationSemantic, get_error
from stdioproc.events import Status
from stdioproc.host import PluginProcess

PROGRAM = [sys.executable, toml.__file__]
ROOT = "user:/tests/toml"
OLD = "# note\ntitle = 'old'\n"
#: Runs the plugin behind a piece of Python that takes something from the process.
LESS = "import os, sys; exec(sys.argv[1]); os.execv(sys.argv[2], sys.argv[2:])"
#: Root is asked for permissions as everybody else is: CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER.
NO_PRIVILEGES = """
import ctypes
for capability in (0, 1, 2, 3) if os.geteuid() == 0 else ():
    if ctypes.CDLL(None).prctl(24, capability, 0, 0, 0):
        raise OSError("prctl(PR_CAPBSET_DROP)")
"""
SMALL_FILES = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))"


def with_less(code: str) -> list[str]:
    return [sys.executable, "-c", LESS, code, *PROGRAM]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "files" / "x.toml"
    path.parent.mkdir()
    path.write_text(OLD)
    return path


def refused(path: Path, change: Callable[[], object], argv: list[str] = PROGRAM, value: str = "new") -> ElektraError:
    """The error of a set, with a change made between it and the get."""
    keys, parent = KeySet(), Key(ROOT, str(path))
    with PluginProcess(argv) as plugin:
        if path.is_file():
            assert plugin.get(keys, parent) is Status.SUCCESS, get_error(parent)
        change()
        keys.append(Key(f"{ROOT}/title", value))
        assert plugin.set(keys, parent) is Status.ERROR
    error = get_error(parent)
    assert error is not None and str(path.parent) in error.reason
    return error


# --- the file changes between get and set


def _edited(path: Path) -> None:
    path.write_text("title = 'other'\n")


def _edited_at_the_same_time(path: Path) -> None:
    before = path.stat()
    path.write_text(OLD.replace("old", "odd"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_mtime_ns, path.stat().st_size) == (before.st_mtime_ns, before.st_size)


def _replaced(path: Path) -> None:
    path.with_name("other").write_text("title = 'other'\n")
    path.with_name("other").rename(path)


def _emptied(path: Path) -> None:
    os.truncate(path, 0)


@pytest.mark.parametrize("change", [_edited, _edited_at_the_same_time, _replaced, _emptied, os.unlink])
def test_a_change_between_get_and_set_is_a_conflict(path: Path, change: Callable[[Path], None]) -> None:
    after: list[str | None] = []

    def changed() -> None:
        change(path)
        after.append(path.read_text() if path.exists() else None)

    assert refused(path, changed).number == "C02000"
    assert [path.read_text() if path.exists() else None] == after
    assert os.listdir(path.parent) == (["x.toml"] if path.exists() else [])


def test_the_same_content_in_another_file_is_no_conflict(path: Path) -> None:
    plugin, keys, parent = toml.Toml(), KeySet(), Key(ROOT, str(path))
    plugin.get(keys, parent)
    path.with_name("other").write_text(OLD)
    path.with_name("other").rename(path)
    path.chmod(0o604)
    keys.append(Key(f"{ROOT}/title", "new"))
    plugin.set(keys, parent)
    assert path.read_text() == OLD.replace("old", "new") and stat.S_IMODE(path.stat().st_mode) == 0o604


def test_of_two_processes_that_read_the_same_one_is_told(path: Path) -> None:
    with PluginProcess(PROGRAM) as first, PluginProcess(PROGRAM) as second:
        results = []
        held = [(KeySet(), Key(ROOT, str(path))) for _ in range(2)]
        for plugin, (keys, parent) in zip((first, second), held, strict=True):
            plugin.get(keys, parent)
        for name, (plugin, (keys, parent)) in zip("ab", zip((first, second), held, strict=True), strict=True):
            keys.append(Key(f"{ROOT}/{name}", "1"))
            results.append(plugin.set(keys, parent))
    assert results == [Status.SUCCESS, Status.ERROR]
    error = get_error(held[1][1])
    assert error is not None and error.number == "C02000"
    assert path.read_text() == OLD + 'a = "1"\n'


def test_a_file_that_another_one_is_replacing_is_a_conflict(path: Path) -> None:
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        error = refused(path, lambda: None)
    assert error.number == "C02000" and "being written" in error.reason
    assert path.read_text() == OLD and os.listdir(path.parent) == ["x.toml"]


def test_two_processes_that_count_in_one_file_lose_nothing(path: Path) -> None:
    path.write_text("count = 0\n")

    def count() -> None:
        with PluginProcess(PROGRAM) as plugin:
            done = 0
            while done < 40:
                keys, parent = KeySet(), Key(ROOT, str(path))
                assert plugin.get(keys, parent) is Status.SUCCESS
                number = keys[f"{ROOT}/count"]
                number.value = str(int(str(number.value)) + 1)
                if plugin.set(keys, parent) is Status.SUCCESS:
                    done += 1
                    continue
                error = get_error(parent)
                assert error is not None and error.number == "C02000", error

    with ThreadPoolExecutor(2) as pool:
        for counting in [pool.submit(count) for _ in range(2)]:
            counting.result()
    assert path.read_text() == "count = 80\n" and os.listdir(path.parent) == ["x.toml"]


# --- between the last look and the new name; and file systems that cannot all of it


def _set(path: Path) -> None:
    plugin, keys, parent = toml.Toml(), KeySet(), Key(ROOT, str(path))
    if path.exists():
        plugin.get(keys, parent)
    keys.append(Key(f"{ROOT}/title", "new"))
    plugin.set(keys, parent)


def _while(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Make a change while the new file is brought to the disk."""

    def fsync(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            change()

    monkeypatch.setattr(os, "fsync", fsync)


def test_a_mode_that_changes_during_the_set_is_not_overwritten(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _while(monkeypatch, lambda: path.chmod(0o600))
    with pytest.raises(Conflict):
        _set(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and path.read_text() == OLD


def test_a_new_file_needs_no_links(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    path.unlink()
    monkeypatch.setattr(os, "link", link)
    _set(path)
    assert path.read_text() == 'title = "new"\n' and os.listdir(path.parent) == ["x.toml"]


def test_locks_are_not_needed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    leftover = path.with_name(".x.toml.stdioproc-0123456789ab.tmp")
    leftover.write_text("half")
    monkeypatch.setattr(fcntl, "flock", flock)
    _set(path)
    assert "new" in path.read_text()
    assert leftover.exists()  # nobody can know whether its writer lives


# --- what the system refuses


@pytest.mark.parametrize("call", ["write", "fchmod", "fsync", "rename", "link"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_any_call_may_fail(path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    if call == "link":  # and then the rename
        path.unlink()
        monkeypatch.setattr(os, "rename", fail)
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(Resource) as caught:
        _set(path)
    monkeypatch.undo()
    assert str(path) in caught.value.reason and os.strerror(number) in caught.value.reason
    assert os.listdir(path.parent) == ([] if call == "link" else ["x.toml"])
    assert call == "link" or path.read_text() == OLD


def test_a_set_that_took_place_says_so_whatever_fails_then(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "listdir", fail)
    monkeypatch.setattr(toml, "_sync_directory", lambda _: None)
    monkeypatch.setattr(os, "unlink", fail)
    _set(path)
    assert "new" in path.read_text()


def test_a_file_that_may_not_grow_is_as_it_was(path: Path) -> None:
    error = refused(path, lambda: None, with_less(SMALL_FILES), value="x" * 5000)
    assert error.number == "C01100" and os.strerror(errno.EFBIG) in error.reason and str(path) in error.reason
    assert path.read_text() == OLD and os.listdir(path.parent) == ["x.toml"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small file system")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=8", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("what", ["bytes", "files"])
def test_a_full_disk_leaves_the_file_as_it_was(small_disk: Path, what: str) -> None:
    path = small_disk / "x.toml"
    path.write_text(OLD)

    def fill() -> None:
        try:
            for number in range(64):
                (small_disk / f"filling{number if what == 'files' else ''}").open("ab").close()
                if what == "bytes":
                    with (small_disk / "filling").open("ab", buffering=0) as file:
                        file.write(b"x" * 4096)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                return
            raise
        raise AssertionError("the disk is not full")

    error = refused(path, fill)
    assert error.number == "C01100" and "No space left" in error.reason and str(path) in error.reason
    assert path.read_text() == OLD
    assert all(name == "x.toml" or name.startswith("filling") for name in os.listdir(small_disk))
    for file in small_disk.glob("filling*"):
        file.unlink()
    _set(path)
    assert path.read_text() == OLD.replace("old", "new")


def test_a_directory_that_may_not_be_written_leaves_the_file(path: Path) -> None:
    path.parent.chmod(0o500)
    try:
        error = refused(path, lambda: None, with_less(NO_PRIVILEGES))
    finally:
        path.parent.chmod(0o700)
    assert error.number == "C01100" and "Permission denied" in error.reason
    assert path.read_text() == OLD and os.listdir(path.parent) == ["x.toml"]


def test_a_directory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    error = refused(tmp_path / "none" / "x.toml", lambda: None)
    assert error.number == "C01100" and "No such file" in error.reason
    assert os.listdir(tmp_path) == []


def test_a_file_that_may_not_be_read_is_not_replaced(path: Path) -> None:
    error = refused(path, lambda: path.chmod(0), with_less(NO_PRIVILEGES))
    path.chmod(0o600)
    assert error.number == "C01100" and "Permission denied" in error.reason and str(path) in error.reason
    assert path.read_text() == OLD and os.listdir(path.parent) == ["x.toml"]


def test_the_file_of_somebody_else_is_not_made_ones_own(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to another user")
    path.chmod(0o666)
    os.chown(path, 65534, 65534)
    error = refused(path, lambda: None, with_less(NO_PRIVILEGES))
    assert error.number == "C01100" and "user 65534" in error.reason
    assert path.read_text() == OLD and os.listdir(path.parent) == ["x.toml"]


def _directory(path: Path) -> None:
    path.mkdir()


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _device(path: Path) -> None:
    path.symlink_to("/dev/full")


@pytest.mark.parametrize("make", [_directory, _pipe, _loop, _device])
def test_what_is_no_file_is_left_alone(path: Path, make: Callable[[Path], None]) -> None:
    path.unlink()
    make(path)
    before = path.lstat()
    parents = [Key(ROOT, str(path)), Key(ROOT, str(path))]
    with PluginProcess(PROGRAM) as plugin:
        assert plugin.get(KeySet(), parents[0]) is Status.ERROR
        assert plugin.set(KeySet([Key(f"{ROOT}/title", "new")]), parents[1]) is Status.ERROR
    for parent in parents:
        error = get_error(parent)
        assert error is not None and error.number == "C01100" and os.path.realpath(path) in error.reason
    assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert os.listdir(path.parent) == ["x.toml"]


def test_a_link_to_nothing_makes_its_target(path: Path) -> None:
    link = path.with_name("link.toml")
    link.symlink_to("made.toml")
    _set(link)
    assert link.is_symlink() and path.with_name("made.toml").read_text() == 'title = "new"\n'


# --- whatever is set: the file holds it, or is as it was

_texts = st.one_of(
    st.sampled_from(["", "x", "1", "0", "true", "0x1f", "1979-05-27", "#0", "#1", '"""', "\r\n", "\\", "nan"]),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6),
)
_refused = st.sampled_from([None, b"", b"\0", "\udcff"])
_values = st.integers(0, 20).flatmap(lambda n: _texts if n else _refused)
_meta = st.dictionaries(
    st.sampled_from(["type", "tomltype", "array", "origvalue", "order", "comment/#0", "mine"]),
    st.one_of(
        st.sampled_from(
            [*toml._KINDS, *toml._TABLES, *toml._DATES, *toml_text.STYLES, "tablearray", "any", "#0", "0xff"]
        ),
        _texts,
    ),
    max_size=3,
)
_parts = st.one_of(st.sampled_from(["a", "b", "#0", "#1", "", ".", "%", "a.b"]), _texts)


@st.composite
def _keysets(draw: st.DrawFn) -> KeySet:
    keys = KeySet()
    for _ in range(draw(st.integers(0, 5))):
        key = Key(ROOT)
        for part in draw(st.lists(_parts, min_size=1, max_size=3)):
            key = key.child(part)
        keys.append(Key(key.name, draw(_values), draw(_meta)))
    return keys


_DOCUMENTS = ["", OLD, "a = 1\r\n[b]\r\n# c\r\n", "a = [1, 2] # x\n", "[[a]]\nb = {c = 1}\n", "\ufeffa.b.c = 0xff", "#"]


@given(_keysets(), st.sampled_from(_DOCUMENTS))
def test_what_was_written_is_read_back_and_what_was_refused_changed_nothing(
    tmp_path_factory: pytest.TempPathFactory, keys: KeySet, document: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "property.toml"
    path.write_bytes(document.encode())
    parent = Key(ROOT, str(path))
    plugin = toml.Toml()
    plugin.get(KeySet(), parent)
    try:
        plugin.set(keys, parent)
    except ValidationSemantic:
        assert path.read_bytes() == document.encode()
        return
    found = KeySet()
    toml.Toml().get(found, parent)
    written = path.read_bytes()
    for key in keys:
        if key.name not in found:  # a table that has no place of its own in the file
            assert key.value == "" and (key.name == ROOT or any(other.is_below(key) for other in found)), key
        elif "array" in found[key.name].meta:  # its value is the last index, whatever it was before
            assert key.value == "" or parse_array_index(str(key.value)) is not None, key
        elif found[key.name].value != key.value:  # the same number or truth value, spelled as TOML does
            assert toml._KINDS[key.meta["type"]] != toml_text.STRING, (key, found[key.name])
    again = toml.Toml()
    again.get(found, parent)
    again.set(found, parent)
    assert path.read_bytes() == written
