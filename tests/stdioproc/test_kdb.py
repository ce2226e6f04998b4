"""With the released Elektra: our children mounted by its `process` plugin, its children driven by our host.

Needs kdb on PATH. The mountpoint is a name of its own, and unmounted again. The Java child is found by the environment
variable STDIOPROC_JAVA_CHILD (a program that starts it).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dumpfmt import Key, KeySet
from stdioproc.errors import get_error
from stdioproc.host import PluginOpenError, PluginProcess, PluginProtocolError, Status
from stdioproc.testing import Stopwatch

KDB = shutil.which("kdb")

pytestmark = pytest.mark.kdb

needs_kdb = pytest.mark.skipif(KDB is None, reason="kdb is not on PATH")


def kdb(*args: str) -> subprocess.CompletedProcess[str]:
    assert KDB is not None
    return subprocess.run([KDB, *args], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def mount(child: Callable[..., list[str]]) -> Iterator[Callable[..., str]]:
    """`mount(mode)`: mount the recorder in that mode with the released plugin; the mountpoint."""
    mountpoint = f"user:/tests/stdioproc{os.getpid()}"
    name = f"stdioproc{os.getpid()}.dump"
    mounted = []

    def run(mode: str) -> str:
        program, *args = child("recorder.py", mode)
        words = [f"executable={program}", f"args=#{len(args) - 1}"]
        words += [f"args/#{number}={word}" for number, word in enumerate(args)]
        done = kdb("mount", name, mountpoint, "dump", "process", *words, "config/setting=x")
        if done.returncode and not mounted:
            pytest.skip(f"kdb mount does not work here: {done.stderr}")
        mounted.append(mountpoint)
        return mountpoint

    yield run
    for each in mounted:
        kdb("rm", "-rf", each)
        kdb("umount", each)


@needs_kdb
def test_our_child_mounted_by_the_released_plugin(mount: Callable[..., str]) -> None:
    root = mount("echo")
    value = "two\nlines € ä \\ end"
    assert kdb("set", f"{root}/a", value).returncode == 0
    assert kdb("get", f"{root}/a").stdout == value + "\n"
    assert kdb("meta-set", f"{root}/a", "check/type", "long").returncode == 0
    assert kdb("meta-get", f"{root}/a", "check/type").stdout == "long\n"
    assert kdb("ls", root).stdout.splitlines() == [f"{root}/a"]
    assert kdb("rm", f"{root}/a").returncode == 0
    assert kdb("ls", root).stdout == ""


@needs_kdb
def test_our_errors_are_kdbs_errors(mount: Callable[..., str]) -> None:
    root = mount("reject")
    done = kdb("set", f"{root}/a", "hello")
    assert done.returncode == 5
    assert "module recorder issued the error C03200" in done.stderr
    assert "Validation Semantic: value refused by the recorder" in done.stderr
    assert kdb("get", f"{root}/a").returncode == 11


@needs_kdb
@pytest.mark.parametrize("mode", ["warn", "noupdate"])
def test_our_warnings_are_kdbs_warnings(mount: Callable[..., str], mode: str) -> None:
    root = mount(mode)
    assert kdb("set", f"{root}/a", "hello").returncode == 0
    done = kdb("get", f"{root}/a")
    assert (done.returncode, done.stdout) == (0, "hello\n")
    assert ("Module recorder issued the warning C01330" in done.stderr) is (mode == "warn")


@pytest.fixture
def shell_child() -> str:
    """The released shell child, which is installed with Elektra's plugins."""
    if KDB is None:
        pytest.skip("kdb is not on PATH")
    prefix = Path(KDB).resolve().parent.parent
    found = [path for place in prefix.glob("lib*") for path in place.glob("**/tool_exec/process-testapp.sh")]
    if not found:
        pytest.skip("Elektra's shell test child is not installed")
    return str(found[0])


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("protocol", ["auto", "process"])
@pytest.mark.parametrize("result", ["success", "noupdate"])
def test_the_released_shell_child(shell_child: str, result: str, protocol: str) -> None:
    with PluginProcess([shell_child, result], protocol=protocol) as plugin:
        assert (plugin.dialect, plugin.name) == ("process", "testapp")
        assert plugin.operations == {"open", "get", "set", "close"}
        for operation in ("get", "set"):
            keyset, parent = KeySet([Key("user:/p/a", "x")]), Key("user:/p", "/file")
            status = getattr(plugin, operation)(keyset, parent)
            assert status is (Status.SUCCESS if result == "success" else Status.NO_UPDATE)
            assert parent.value == operation
            assert ("user:/p/operation" in keyset) is (result == "success")
        assert plugin.commit(KeySet(), Key("user:/p")) is Status.NO_UPDATE
    assert plugin.ending is not None
    assert plugin.ending.status == 0


def test_the_released_shell_child_that_fails_in_open(shell_child: str) -> None:
    with pytest.raises(PluginOpenError, match="without saying why"), PluginProcess([shell_child, "error"]):
        pass


@pytest.fixture
def java_child() -> str:
    program = os.environ.get("STDIOPROC_JAVA_CHILD")
    if not program:
        pytest.skip("STDIOPROC_JAVA_CHILD does not name Elektra's Java child")
    return program


def allowed(value: str | bytes) -> KeySet:
    return KeySet([Key("user:/p/a", value, {"check/whitelist/#0": "", "check/whitelist/#1": "yes"})])


@pytest.mark.usefixtures("nothing_left")
def test_the_released_java_child(java_child: str) -> None:
    """It understands neither TERMINATE nor the end of its input, and yet it ends well."""
    with PluginProcess([java_child], start_timeout=30) as plugin:
        assert (plugin.dialect, plugin.name, plugin.operations) == ("process", "Whitelist", {"set"})
        parent = Key("user:/p", "/file")
        assert plugin.set(allowed("yes"), parent) is Status.SUCCESS
        assert plugin.set(allowed("no"), parent) is Status.ERROR
        error = get_error(parent)
        assert error is not None
        assert error.number == "C03200"
        assert plugin.get(KeySet(), parent) is Status.NO_UPDATE
        watch = Stopwatch(2)
        watch.__enter__()
    watch.__exit__(None, None, None)
    assert plugin.ending is not None
    assert (plugin.ending.rung, plugin.ending.status) == ("SIGTERM", 143)


@pytest.mark.usefixtures("nothing_left")
def test_binary_values_of_the_released_java_child_are_a_clear_error(java_child: str) -> None:
    """It announces them one byte too short."""
    with PluginProcess([java_child], start_timeout=30) as plugin:
        keyset = allowed(b"\0\1\2")
        with pytest.raises(PluginProtocolError, match=r"the 2 bytes that '\$key binary' announced") as caught:
            plugin.set(keyset, Key("user:/p"))
        assert caught.value.phase == "set"
        assert keyset == allowed(b"\0\1\2")
        assert plugin.set(allowed("yes"), Key("user:/p")) is Status.SUCCESS
