"""A host that is killed leaves nothing: not the program, not what it started, not what fled into a session of its own."""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dumpfmt import Key, KeySet
from stdioproc.host import PluginDied, PluginProcess, PluginStartError, Status, spawn
from stdioproc.testing import Stopwatch

if TYPE_CHECKING:
    from conftest import Note, Watched  # beside this file

#: The promise, and what a loaded machine may add to it.
GONE, SLACK = 1.0, 0.5

#: A host that goes through all operations of a child which stops in one of them, or pauses where it is told to.
HOST = """
import os, signal, sys, threading
from dumpfmt import Key, KeySet
from stdioproc.host import PluginProcess

where, note, *argv = sys.argv[1:]
plugin = PluginProcess(
    argv, protocol="stdioproc", env={"NOTE": note}, start_timeout=60, operation_timeout=60, close_timeout=60
)

def pause(here):
    if where == here:
        os.write(1, b"here\\n")
        while True:
            signal.pause()

if where == "thread":  # it starts the child, and is gone when the host is killed
    thread = threading.Thread(target=plugin.start)
    thread.start()
    thread.join()
plugin.start()
pause("before open")
plugin.checkconf(KeySet(), Key("user:/p"))
plugin.open()
for operation in ("get", "set", "commit", "error"):
    getattr(plugin, operation)(KeySet([Key("user:/p/a", "x")]), Key("user:/p"))
if where == "forked" and not os.fork():
    where = "copy"
    os.write(1, b"%d\\n" % os.getpid())
    pause("copy")
pause("forked")
pause("thread")
pause("idle")
plugin.end()
"""

#: Where the host stands, and where its child clings.
PHASES = {
    **{phase: phase for phase in ("start", "handshake", "contract", "checkconf", "open", "get", "set", "commit")},
    "error": "error",
    "close": "close",
    "end": "end",
}
PAUSES = {"before open": "handshake", "idle": "get", "thread": "handshake"}

Start = Callable[..., subprocess.Popen[bytes]]
Bad = Callable[..., list[str]]
Notes = Callable[[], "Note"]
Marked = Callable[[str], list[int]]


def test_killed_in_every_phase(hosts: Start, bad: Bad, notes: Notes, watched: Watched) -> None:
    """All deaf to the end of input and to SIGTERM. They are killed together, which makes it no easier."""
    started = []
    for where, phase in {**PHASES, **PAUSES}.items():
        note = notes()
        clings = "clings_and_answers" if where in PAUSES else "clings"
        started.append((hosts(HOST, where, str(note.path), *bad(phase, clings)), note, where in PAUSES))
    for host, note, pauses in started:
        watched.add(note.pids())
        if pauses:
            assert host.stdout is not None
            assert host.stdout.readline() == b"here\n"
    assert len(watched.wait(0)) == 4 * len(started)
    for host, _, _ in started:
        host.kill()
    assert watched.wait(GONE + SLACK) == []


def clinging(hosts: Start, bad: Bad, notes: Notes, where: str = "idle") -> tuple[subprocess.Popen[bytes], list[int]]:
    """A host that pauses, and the numbers of its child's family: two descendants, the program, the keeper."""
    note = notes()
    host = hosts(HOST, where, str(note.path), *bad("get", "clings_and_answers"))
    return host, note.pids()


def test_a_copy_of_the_host_keeps_nobody_alive(hosts: Start, bad: Bad, notes: Notes, watched: Watched) -> None:
    """It holds what the host held: the pipes, the lifeline."""
    host, family = clinging(hosts, bad, notes, "forked")
    assert host.stdout is not None
    copy = next(int(line) for line in (host.stdout.readline() for _ in range(3)) if line != b"here\n")
    watched.add(family)
    copied = os.pidfd_open(copy)
    try:
        host.kill()
        assert watched.wait(GONE + SLACK) == []
        assert not select.select([copied], [], [], 0)[0]
    finally:
        signal.pidfd_send_signal(copied, signal.SIGKILL)
        os.close(copied)


def test_a_keeper_that_is_stopped_wakes_when_the_host_ends(
    hosts: Start, bad: Bad, notes: Notes, watched: Watched
) -> None:
    host, family = clinging(hosts, bad, notes)
    os.kill(family[-1], signal.SIGSTOP)
    watched.add(family)
    host.kill()
    assert watched.wait(GONE + SLACK) == []


def test_a_keeper_that_is_told_to_end_takes_all_with_it(hosts: Start, bad: Bad, notes: Notes, watched: Watched) -> None:
    _, family = clinging(hosts, bad, notes)
    watched.add(family)
    # The last of them ends it; those before it does not even notice.
    for number in (signal.SIGUSR1, signal.SIGALRM, signal.SIGPIPE, signal.SIGTSTP, signal.SIGRTMIN, signal.SIGTERM):
        os.kill(family[-1], number)
    assert watched.wait(GONE + SLACK) == []


@pytest.mark.usefixtures("nothing_left")
def test_a_keeper_that_is_killed(bad: Bad, notes: Notes, watched: Watched) -> None:
    """The system kills the program with it, the host what is left of the session, and the next operation has a new child. What
    fled into a session of its own is lost sight of: docs/trust.md says so.
    """
    note = notes()
    plugin = PluginProcess(bad("open", "clings_and_answers"), protocol="stdioproc", env={"NOTE": str(note.path)})
    with plugin:
        family = note.pids()
        parents = {pid: int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[3]) for pid in family}
        fled = [pid for pid in family[:2] if parents[pid] != family[2]]
        assert len(fled) == 1
        watched.add(pid for pid in family if pid not in fled)
        os.kill(family[-1], signal.SIGKILL)
        assert family[-2] not in watched.wait(GONE + SLACK)[:1]
        assert plugin.get(KeySet(), Key("user:/p")) is Status.SUCCESS
        assert watched.wait(GONE + SLACK) == []
        second = note.pids()
    watched.add(second)
    assert watched.wait(GONE + SLACK) == []
    watched.add(fled)


def test_an_order_to_a_keeper_that_is_dead_does_not_end_the_host(python: Callable[..., object]) -> None:
    """There is nobody to read it, and SIGPIPE may have its default."""
    code = """
import os, select, signal
from stdioproc.host.spawn import spawn
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
child = spawn(["/bin/sleep", "60"], {})
os.kill(child._leader, signal.SIGKILL)
select.select([child.pidfd], [], [])
child.terminate()
child.kill()
assert child.collect() is None
print("lives")
"""
    done = python(code)
    assert done.stdout == b"lives\n", done  # type: ignore[attr-defined]


@pytest.mark.parametrize("moment", ["_read_report", "_child_of"])
def test_killed_before_the_keeper_has_reported(
    marked: Marked, hosts: Start, tmp_path: Path, watched: Watched, moment: str
) -> None:
    """Or just when it has: the host is killed where it would call that function."""
    token = f"TOKEN={tmp_path}"
    code = f"""
import os, signal, sys
from stdioproc.host import spawn
spawn.{moment} = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
spawn.spawn(["/bin/sleep", "60"], {{"TOKEN": sys.argv[1]}})
"""
    host = hosts(code, str(tmp_path))
    assert host.wait(20) == -signal.SIGKILL
    watched.add(marked(token))
    assert watched.wait(GONE + SLACK) == []
    assert marked(token) == []


@pytest.mark.parametrize("count", [12, pytest.param(150, marks=pytest.mark.slow)])
def test_killed_at_any_moment(
    marked: Marked, hosts: Start, bad: Bad, notes: Notes, watched: Watched, count: int
) -> None:
    """Whatever it was doing then, nobody has its token in the environment a moment later."""
    chance = random.Random(count)
    note = notes()
    with Stopwatch(20):
        host = hosts(HOST, "end", str(note.path), *bad("end", "clings"))
        began = time.monotonic()
        watched.add(note.pids())
        whole = time.monotonic() - began
        host.kill()
    for _ in range(count):
        host = hosts(HOST, "end", str(note.path), *bad("end", "clings"))
        # Not for waiting for something: it is the moment that is tried.
        time.sleep(chance.uniform(0, whole))
        host.kill()
        host.wait()
        watched.add(marked(f"NOTE={note.path}"))
    assert watched.wait(GONE + SLACK) == []
    assert marked(f"NOTE={note.path}") == []


@pytest.mark.usefixtures("nothing_left")
def test_a_keeper_that_says_nothing_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody killed it, or replaced it by a program that knows nothing of its duty."""
    mute = tmp_path / "keeper"
    mute.write_text("#!/bin/sh\nexit 0\n")
    mute.chmod(0o755)
    monkeypatch.setattr(spawn, "KEEPER", str(mute))
    with Stopwatch(0.5), pytest.raises(PluginStartError, match="its keeper ended before it had started it"):
        PluginProcess(["/bin/true"]).start()


# --- execution that takes its time: a lease on the file keeps the system from opening it, as a dead file server would


@pytest.fixture
def leased(tmp_path: Path) -> str:
    program = tmp_path / "program"
    shutil.copy("/bin/true", program)
    program.chmod(0o755)
    return str(program)


LEASE = """
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
descriptor = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
os.write(1, b"leased\\n")
while True:
    signal.pause()
"""


@pytest.mark.usefixtures("nothing_left")
def test_a_program_that_is_not_executed_in_time(hosts: Start, leased: str) -> None:
    """That it runs is reported when it does, not when it was forked for it."""
    holder = hosts(LEASE, leased)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"leased\n"
    # The path to it is not questioned here: only that it cannot be executed.
    with Stopwatch(0.4 + 0.5), pytest.raises(PluginStartError, match="did not execute it in time") as caught:
        PluginProcess([leased], start_timeout=0.4).start()
    assert caught.value.phase == "start"
    holder.kill()
    holder.wait()
    with pytest.raises(PluginDied):
        PluginProcess([leased]).start()


def test_killed_while_the_program_is_not_executed(
    marked: Marked, hosts: Start, leased: str, tmp_path: Path, watched: Watched
) -> None:
    holder = hosts(LEASE, leased)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"leased\n"
    token = f"TOKEN={tmp_path}"
    host = hosts(
        "import sys; from stdioproc.host import PluginProcess\n"
        "PluginProcess([sys.argv[1]], env={'TOKEN': sys.argv[2]}, start_timeout=60).start()",
        leased,
        str(tmp_path),
    )
    with Stopwatch(20):
        while len(found := marked(token)) < 2:  # the keeper, and the copy of it that is to be the program
            os.sched_yield()
    watched.add(found)
    host.kill()
    assert watched.wait(GONE + SLACK) == []


# --- a family of any size, and how it is found


@pytest.fixture(params=["listed", "searched"])
def keeper(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keeper as it is built, and one for a kernel that does not list the children of a process."""
    if request.param == "listed":
        return
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to build the other keeper with")
    source = Path(spawn.__file__).parent / "csrc" / "keeper.c"
    built = tmp_path / "keeper"
    subprocess.run([compiler, "-std=c11", '-DCHILDREN="/proc/none/%ld"', str(source), "-o", str(built)], check=True)
    monkeypatch.setattr(spawn, "KEEPER", str(built))


#: Many processes, each in a session of its own, and orphans all.
MANY = """
import os, signal, sys
tell, told = os.pipe()
for _ in range(int(sys.argv[1])):
    if os.fork() == 0:
        os.setsid()
        os.write(2, b"%d\\n" % os.getpid())
        os.write(told, b".")
        os.closerange(0, 3)
        while True:
            signal.pause()
    os.read(tell, 1)
os.close(2)
if sys.argv[2] == "ends": os._exit(0)
while True:
    signal.pause()
"""


@pytest.mark.usefixtures("nothing_left", "keeper")
@pytest.mark.parametrize("way", ["ends", "lasts"])
@pytest.mark.parametrize("count", [3, pytest.param(1500, marks=pytest.mark.slow)])
def test_a_family_of_any_size(watched: Watched, count: int, way: str) -> None:
    """The list of 1,500 children does not fit one page."""
    seen: list[bytes] = []
    plugin = PluginProcess(
        [sys.executable, "-I", "-S", "-c", MANY, str(count), way],
        protocol="stdioproc",
        start_timeout=1.0 if count < 10 else 3.0,
        on_stderr=seen.append,
    )
    with Stopwatch(15), pytest.raises(Exception, match=r"start|handshake"):
        plugin.start()
    pids = [int(line) for line in b"".join(seen).split()]
    assert len(pids) == count
    watched.add(pids)
    assert watched.wait(0) == []


#: A process that is a new one all the time, in a new session: what is listed has mostly ended when it is killed.
COMET = """
import os, sys
if os.fork(): os._exit(0)
while True:
    if os.fork(): os._exit(0)
    os.setsid()
"""


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_left")
def test_a_family_that_runs_away(marked: Marked, tmp_path: Path) -> None:
    for _ in range(5):
        with Stopwatch(7), pytest.raises(PluginDied):
            PluginProcess(
                [sys.executable, "-I", "-S", "-c", COMET], protocol="stdioproc", env={"TOKEN": str(tmp_path)}
            ).start()
        assert marked(f"TOKEN={tmp_path}") == []
