"""What a child gets from its host, and what a host keeps: descriptors, environment, signals, zombies."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dumpfmt import Key, KeySet
from stdioproc.host import PluginDied, PluginProcess, PluginStartError, PluginTimeout, Status
from stdioproc.testing import Stopwatch

PARENT = Key("user:/p")

#: Prints what a program sees of the world on stderr, and ends.
LOOK = """
import os, signal, sys
for name in sorted(os.listdir("/proc/self/fd"), key=int):
    try:
        print("fd", name, os.readlink("/proc/self/fd/" + name), file=sys.stderr)
    except OSError:
        pass
for line in open("/proc/self/status"):
    if line.startswith(("SigBlk", "SigIgn")):
        print(*line.split(), file=sys.stderr)
print("session", os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid(), file=sys.stderr)
print("environ", open("/proc/self/environ", "rb").read(), file=sys.stderr)
print("cwd", os.getcwd(), file=sys.stderr)
try:
    open("/dev/tty")
except OSError:
    print("no terminal", file=sys.stderr)
"""


def look(**options: object) -> list[str]:
    plugin = PluginProcess([sys.executable, "-I", "-S", "-c", LOOK], protocol="stdioproc", **options)  # type: ignore[arg-type]
    with pytest.raises(PluginDied) as caught:
        plugin.start()
    return caught.value.stderr.decode().splitlines()


@pytest.mark.usefixtures("nothing_left")
def test_a_child_inherits_three_pipes_and_nothing_else(tmp_path: Path) -> None:
    leaky = os.open(tmp_path / "leak", os.O_CREAT | os.O_RDWR)
    os.set_inheritable(leaky, True)
    try:
        lines = [line.split(maxsplit=2) for line in look() if line.startswith("fd ")]
    finally:
        os.close(leaky)
    # The one more is the directory that was being listed.
    assert [number for _, number, link in lines if "/fd" not in link] == ["0", "1", "2"]
    assert all(link.startswith("pipe:") for _, number, link in lines[:3])
    assert len({link for _, _, link in lines[:3]}) == 3


def test_the_environment_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COPIED", "from the host")
    monkeypatch.setenv("BOTH", "from the host")
    monkeypatch.delenv("UNSET", raising=False)
    [line] = [line for line in look() if line.startswith("environ")]
    assert line == "environ b''"
    [line] = [
        line
        for line in look(env={"A": "ä=1", "BOTH": "given"}, copyenv=["COPIED", "BOTH", "UNSET"])
        if line.startswith("environ")
    ]
    told = "COPIED=from the host\0BOTH=given\0A=ä=1\0".encode()
    assert line == f"environ {told!r}"


def test_session_signals_and_directory() -> None:
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR2})
    try:
        lines = look()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGUSR1, before)
    assert "session True True" in lines
    assert "no terminal" in lines
    assert f"cwd {os.getcwd()}" in lines
    assert "SigBlk: 0000000000000000" in lines
    [bits] = [int(line.split()[1], 16) for line in lines if line.startswith("SigIgn")]
    ignored = {number for number in signal.valid_signals() if bits >> (number - 1) & 1}
    assert ignored == {signal.SIGPIPE, signal.SIGXFSZ}  # the interpreter that looks ignores these two itself


@pytest.mark.parametrize("closed", ["0", "1", "2", "0, 1", "0, 1, 2"])
def test_a_host_without_standard_streams(
    python: Callable[..., object], child: Callable[..., list[str]], closed: str, tmp_path: Path
) -> None:
    code = f"""
import os, sys
for descriptor in ({closed},):
    os.close(descriptor)
from dumpfmt import Key, KeySet
from stdioproc.host import PluginProcess
with PluginProcess(sys.argv[2:]) as plugin:
    keyset = KeySet([Key("user:/do", "warns")])
    parent = Key("user:/p")
    assert plugin.get(keyset, parent) == 1
    assert b"get None" in plugin.stderr_tail
for descriptor in ({closed},):
    try:
        os.fstat(descriptor)
    except OSError:
        continue
    raise SystemExit("something took it")
open(sys.argv[1], "w").close()
os._exit(0)
"""
    done = python(code, str(tmp_path / "done"), *child("everything.py"))
    assert (tmp_path / "done").exists(), done


def test_sigpipe_with_its_default_disposition_does_not_end_the_host(
    python: Callable[..., object], bad: Callable[..., list[str]]
) -> None:
    code = """
import signal, sys
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
from dumpfmt import Key, KeySet
from stdioproc.host import PluginDied, PluginProcess
plugin = PluginProcess(sys.argv[1:], protocol="stdioproc")
with plugin:
    try:
        plugin.get(KeySet([Key("user:/big", "x" * 1000000)]), Key("user:/p"))
    except PluginDied as error:
        print(error)
assert signal.SIGPIPE not in signal.sigpending()
assert signal.SIGPIPE not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
try:
    PluginProcess(["/bin/true"]).start()
except PluginDied as error:
    print(error)
"""
    done = python(code, *bad("open", "answers_and_exits"))
    assert done.returncode == 0, done  # type: ignore[attr-defined]
    assert b"(get, after" in done.stdout, done  # type: ignore[attr-defined]
    assert b"/bin/true: it speaks neither dialect" in done.stdout, done  # type: ignore[attr-defined]


def test_a_forked_process_neither_ends_nor_talks_to_the_parents_child(child: Callable[..., list[str]]) -> None:
    plugin = PluginProcess(child("everything.py"))
    with plugin:
        pid, parent = plugin.pid, Key("user:/p")
        assert plugin.get(KeySet(), parent) is Status.NO_UPDATE
        forked = os.fork()
        if not forked:
            status = 1
            try:
                if plugin.get(KeySet(), parent) is Status.NO_UPDATE and plugin.pid != pid:
                    plugin.end()
                    status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 0
        if not (forked := os.fork()):
            plugin.end()  # the other's child: only forgotten
            os._exit(0 if plugin.ending is None else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 0
        assert plugin.get(KeySet(), parent) is Status.NO_UPDATE
        assert plugin.pid == pid


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("misbehaviour", ["exit_1", "wrong_word", "answers_twice"])
def test_nothing_is_left_after_many_cycles(bad: Callable[..., list[str]], misbehaviour: str) -> None:
    for _ in range(34):
        plugin = PluginProcess(bad("get", misbehaviour), protocol="stdioproc")
        with plugin, pytest.raises(Exception, match="get"):
            plugin.get(KeySet(), PARENT)


@pytest.mark.usefixtures("nothing_left")
def test_a_host_that_ignores_sigchld_loses_nothing_but_the_status(bad: Callable[..., list[str]]) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with PluginProcess(bad("never", "")) as plugin:
            assert plugin.get(KeySet(), PARENT) is Status.SUCCESS
        assert str(plugin.ending) in ("an unknown status", "exit status 0")
        for _ in range(20):
            with pytest.raises((PluginDied, PluginStartError)):
                PluginProcess(["/bin/true"]).start()
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.usefixtures("nothing_left")
def test_out_of_descriptors_is_an_error_that_says_so() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, hard))
    hogs = []
    try:
        with contextlib.suppress(OSError):
            while True:
                hogs.append(os.open("/dev/null", os.O_RDONLY))
        # It needs six for the pipes, and one more for a moment.
        for _ in range(6):
            with pytest.raises(PluginStartError, match="too many open descriptors") as caught:
                PluginProcess(["/bin/true"], protocol="stdioproc").start()
            assert caught.value.phase == "start"
            os.close(hogs.pop())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for hog in hogs:
            os.close(hog)


@pytest.mark.usefixtures("nothing_left")
def test_a_child_that_stops_its_parent_is_ended_all_the_same() -> None:
    """Between host and program may stand a keeper of the same user, which the program can send signals to."""
    code = (
        "import os, signal, sys\n"
        "if os.getppid() != int(sys.argv[1]): os.kill(os.getppid(), signal.SIGSTOP)\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "while True: signal.pause()"
    )
    argv = [sys.executable, "-I", "-S", "-c", code, str(os.getpid())]
    with Stopwatch(1 + 0.5), pytest.raises(PluginTimeout):
        PluginProcess(argv, protocol="stdioproc", start_timeout=0.8).start()


@pytest.mark.usefixtures("nothing_left")
def test_descendants_in_the_childs_group_end_with_it(tmp_path: Path) -> None:
    """Also when the child itself has ended well before."""
    note = tmp_path / "pid"
    code = "sleep 60 & echo $! > $0; exit 0"
    with Stopwatch(2), pytest.raises(PluginDied):
        PluginProcess(["/bin/sh", "-c", code, str(note)], protocol="stdioproc").start()
    pid = int(note.read_text())
    with Stopwatch(2):
        while Path(f"/proc/{pid}").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
            pass
