"""PluginProcess: what an operation changes, which operations are sent, and when a child is started again."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dumpfmt import Key, KeySet
from stdioproc import wire
from stdioproc.contract import Infos, make_contract
from stdioproc.dialects import OPERATIONS, PROCESS, STDIOPROC, Dialect
from stdioproc.errors import Resource, add_warning, get_error, get_warnings, set_error
from stdioproc.events import Ack, Init, Reply, Request, Status, Terminate
from stdioproc.host import (
    PluginDied,
    PluginDisabled,
    PluginOpenError,
    PluginProcess,
    PluginProtocolError,
    PluginStartError,
    PluginTimeout,
)
from stdioproc.host.process import MAX_RESTARTS
from stdioproc.testing import Exit, Expect, Hang, Step, Stopwatch, Write, scripted_child

PARENT = Key("user:/p", "/file", {"m": "1"})
ROOT = Key("/")
DATA = KeySet([Key("user:/p/a", "x")])
OTHER = KeySet([Key("user:/p/b", "y")])

pytestmark = pytest.mark.usefixtures("nothing_left")


def hello(operations: tuple[str, ...] = OPERATIONS, dialect: Dialect = STDIOPROC, name: str = "scripted") -> list[Step]:
    ack = Ack(name, make_contract(Infos(), frozenset(operations), dialect))
    return [Expect(wire.encode(Init(dialect), dialect)), Write(wire.encode(ack, dialect))]


def answer(
    operation: str,
    reply: Reply,
    *,
    parent: Key = PARENT,
    data: KeySet | None = DATA,
    dialect: Dialect = STDIOPROC,
) -> list[Step]:
    return [Expect(wire.encode(Request(operation, parent, data), dialect)), Write(wire.encode(reply, dialect))]


def bye(dialect: Dialect = STDIOPROC) -> list[Step]:
    return [Expect(wire.encode(Terminate(), dialect)), Exit(0)]


def run(script: list[Step], protocol: str = "stdioproc") -> PluginProcess:
    return PluginProcess(scripted_child(script), protocol=protocol, start_timeout=5, operation_timeout=5)


# --- what an operation changes


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("operation", ["get", "set", "commit", "error"])
def test_data_is_applied_only_on_success_and_the_parents_value_only_for_get_and_set(
    operation: str, status: Status
) -> None:
    returned = Key("user:/p", "/changed", {"m": "1"})
    with run([*hello((operation,)), *answer(operation, Reply(status, returned, OTHER)), *bye()]) as plugin:
        keyset, parent = DATA.copy(), PARENT.copy()
        assert getattr(plugin, operation)(keyset, parent) is status
    assert keyset == (OTHER if status is Status.SUCCESS else DATA)
    taken = status is not Status.ERROR and operation in ("get", "set")
    assert parent.value == ("/changed" if taken else "/file")
    assert parent.meta["m"] == "1"
    assert plugin.ending is not None
    assert (plugin.ending.rung, plugin.ending.status) == ("TERMINATE", 0)


def test_a_keyset_stays_the_object_that_it_was_and_its_keys_are_not_touched_on_failure() -> None:
    key = Key("user:/p/a", "x")
    keyset = KeySet([key])
    with run([*hello(("get",)), *answer("get", Reply(Status.ERROR, PARENT, OTHER)), *bye()]) as plugin:
        plugin.get(keyset, PARENT.copy())
    assert keyset["user:/p/a"] is key


def test_checkconf_takes_changes_below_config_only() -> None:
    config = KeySet([Key("user:/app", "/x"), Key("user:/config/a", "1"), Key("user:/config/gone", "1")])
    returned = KeySet(
        [Key("user:/app", "/evil"), Key("user:/config/a", "2"), Key("user:/config/b", "3"), Key("user:/z")]
    )
    reply = Reply(Status.SUCCESS, Key("user:/p", "/changed", {"m": "1"}), returned)
    parent = PARENT.copy()
    with run([*hello(("checkconf",)), *answer("checkconf", reply, data=config.copy()), *bye()]) as plugin:
        assert plugin.checkconf(config, parent) is Status.SUCCESS
    assert {key.name: key.value for key in config} == {"user:/app": "/x", "user:/config/a": "2", "user:/config/b": "3"}
    assert parent.value == "/file"


@pytest.mark.parametrize("status", [Status.NO_UPDATE, Status.ERROR])
def test_checkconf_without_success_changes_nothing(status: Status) -> None:
    config = KeySet([Key("user:/config/a", "1")])
    with run(
        [*hello(("checkconf",)), *answer("checkconf", Reply(status, PARENT, OTHER), data=config), *bye()]
    ) as plugin:
        assert plugin.checkconf(config, PARENT.copy()) is status
    assert [key.name for key in config] == ["user:/config/a"]


def test_checkconf_needs_no_open() -> None:
    config = KeySet([Key("user:/config/a", "1")])
    script = [
        *hello(("open", "checkconf")),
        *answer("checkconf", Reply(Status.SUCCESS, PARENT, config), data=config),
        *bye(),
    ]
    plugin = run(script)
    plugin.start()
    assert plugin.checkconf(config, PARENT.copy()) is Status.SUCCESS
    plugin.end()


def test_warnings_of_before_survive_and_new_ones_are_added() -> None:
    parent = PARENT.copy()
    add_warning(parent, Resource("before"))
    reply = PARENT.copy()
    add_warning(reply, Resource("new"))
    script = [*hello(("get",)), *answer("get", Reply(Status.NO_UPDATE, reply, OTHER), parent=parent.copy()), *bye()]
    with run(script) as plugin:
        plugin.get(DATA.copy(), parent)
    assert [warning.reason for warning in get_warnings(parent)] == ["before", "new"]


def test_an_error_without_a_reason_is_completed() -> None:
    parent = PARENT.copy()
    with run([*hello(("get",)), *answer("get", Reply(Status.ERROR, PARENT, OTHER)), *bye()]) as plugin:
        assert plugin.get(DATA.copy(), parent) is Status.ERROR
    error = get_error(parent)
    assert error is not None
    assert (error.number, error.module, error.file) == ("C01320", "scripted", plugin.program)
    assert "answered 'error' to get without saying why" in error.reason


def test_an_error_with_gaps_is_filled_in() -> None:
    reply = Key("user:/p", "/file", {"m": "1", "error": "x", "error/number": "C03100", "error/reason": "line 3"})
    parent = PARENT.copy()
    with run([*hello(("get",)), *answer("get", Reply(Status.ERROR, reply, OTHER)), *bye()]) as plugin:
        plugin.get(DATA.copy(), parent)
    error = get_error(parent)
    assert error is not None
    assert (error.number, error.description, error.reason) == ("C03100", "Validation Syntactic", "line 3")
    assert (error.module, error.mountpoint, error.configfile) == ("scripted", "user:/p", "/file")


def test_an_error_of_before_survives() -> None:
    parent = PARENT.copy()
    set_error(parent, Resource("before"))
    reply = PARENT.copy()
    set_error(reply, Resource("new"))
    with run(
        [*hello(("get",)), *answer("get", Reply(Status.ERROR, reply, OTHER), parent=parent.copy()), *bye()]
    ) as plugin:
        plugin.get(DATA.copy(), parent)
    error = get_error(parent)
    assert error is not None
    assert error.reason == "before"
    assert [warning.reason for warning in get_warnings(parent)] == ["new"]


def test_the_phase_goes_with_the_parent_and_does_not_come_back() -> None:
    sent = Key("user:/p", "/file", {"internal/stdioproc/phase": "precommit", "m": "1"})
    parent = PARENT.copy()
    with run(
        [*hello(("commit",)), *answer("commit", Reply(Status.SUCCESS, sent, DATA), parent=sent), *bye()]
    ) as plugin:
        plugin.commit(DATA.copy(), parent, phase="precommit")
    assert dict(parent.meta) == {"m": "1"}


def test_the_released_dialect_has_no_phase() -> None:
    reply = Reply(Status.SUCCESS, PARENT, DATA)
    script = [*hello(("get",), PROCESS), *answer("get", reply, dialect=PROCESS), *bye(PROCESS)]
    with run(script, "process") as plugin:
        plugin.get(DATA.copy(), PARENT.copy(), phase="postgetstorage")


# --- which operations are sent


@pytest.mark.parametrize("protocol", ["stdioproc", "process"])
def test_an_operation_without_a_marker_is_never_sent(protocol: str) -> None:
    dialect = STDIOPROC if protocol == "stdioproc" else PROCESS
    plugin = run([*hello((), dialect), *bye(dialect)], protocol)
    with plugin:
        assert plugin.open() is Status.SUCCESS
        for operation in ("get", "set", "commit", "error"):
            keyset, parent = DATA.copy(), PARENT.copy()
            assert getattr(plugin, operation)(keyset, parent) is Status.NO_UPDATE
            assert (keyset, parent) == (DATA, PARENT)
        assert plugin.checkconf(DATA.copy(), PARENT.copy()) is Status.NO_UPDATE
    assert repr(plugin.ending).startswith("Ending('TERMINATE', 0,")


OPEN = answer("open", Reply(Status.SUCCESS, ROOT, KeySet()), parent=ROOT, data=KeySet())
CLOSE = answer("close", Reply(Status.SUCCESS, ROOT, KeySet()), parent=ROOT, data=KeySet())
GET = answer("get", Reply(Status.SUCCESS, PARENT, OTHER))


def test_open_is_sent_once_and_first_and_close_once_and_last() -> None:
    script = [*hello(("open", "get", "close")), *OPEN, *GET, *GET, *CLOSE, *bye()]
    with run(script) as plugin:
        assert plugin.open() is Status.SUCCESS
        plugin.get(DATA.copy(), PARENT.copy())
        plugin.get(DATA.copy(), PARENT.copy())
    plugin.end()
    assert repr(plugin.ending).startswith("Ending('TERMINATE', 0,")


def test_open_is_sent_before_the_first_operation_by_itself() -> None:
    plugin = run([*hello(("open", "get", "close")), *OPEN, *GET, *CLOSE, *bye()])
    assert plugin.get(DATA.copy(), PARENT.copy()) is Status.SUCCESS
    plugin.end()
    assert repr(plugin.ending).startswith("Ending('TERMINATE', 0,")


def test_without_open_there_is_no_close() -> None:
    plugin = run([*hello(("open", "close")), *bye()])
    assert plugin.operations == {"open", "close"}
    plugin.end()
    assert repr(plugin.ending).startswith("Ending('TERMINATE', 0,")


def test_open_carries_the_configuration_and_is_replayed() -> None:
    config = KeySet([Key("user:/config/x", "1")])
    once = answer("open", Reply(Status.SUCCESS, ROOT, KeySet()), parent=ROOT, data=config)
    argv = scripted_child([*hello(("open", "get")), *once, *GET, Exit(3)])
    plugin = PluginProcess(argv, config=config, protocol="stdioproc")
    pids = set()
    with plugin:
        for _ in range(3):
            assert plugin.get(DATA.copy(), PARENT.copy()) is Status.SUCCESS
            pids.add(plugin.pid)
            gone(plugin)
    assert len(pids) == 3


def gone(plugin: PluginProcess) -> None:
    """Wait until its child has ended; the host does not know yet."""
    assert plugin.pid is not None
    try:
        pidfd = os.pidfd_open(plugin.pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([pidfd], [], [], 10)[0]
    finally:
        os.close(pidfd)


def test_open_that_answers_error_raises_what_it_said(child: Callable[..., list[str]]) -> None:
    config = KeySet([Key("user:/config/refuse", "the disk is full")])
    parent = Key("user:/mountpoint")
    plugin = PluginProcess(child("everything.py"), config=config)
    plugin.start()
    with pytest.raises(PluginOpenError, match="the disk is full") as caught:
        plugin.open(parent)
    assert caught.value.error.number == "C01100"
    assert caught.value.elektra_error() is caught.value.error
    assert dict(parent.meta) == {}
    assert plugin.pid is None
    with pytest.raises(PluginOpenError), plugin:
        pass


def test_close_takes_its_own_parent_and_gives_its_warnings() -> None:
    other, reply = Key("user:/other"), Key("user:/other")
    add_warning(reply, Resource("late"))
    closing = answer("close", Reply(Status.SUCCESS, reply, KeySet()), parent=other.copy(), data=KeySet())
    plugin = run([*hello(("open", "close")), *OPEN, *closing, *bye()])
    plugin.start()
    plugin.open()
    plugin.end(other)
    assert [warning.reason for warning in get_warnings(other)] == ["late"]


# --- dialects


def test_auto_falls_back_within_one_start_deadline(
    child: Callable[..., list[str]], bad: Callable[..., list[str]]
) -> None:
    with PluginProcess(bad("never", "silent", "process")) as plugin:
        assert plugin.dialect == "process"
        assert plugin.get(DATA.copy(), PARENT.copy()) is Status.SUCCESS
    with PluginProcess(child("everything.py")) as plugin:
        assert plugin.dialect == "stdioproc"


def test_auto_remembers_what_it_found(bad: Callable[..., list[str]]) -> None:
    seen: list[bytes] = []
    plugin = PluginProcess(bad("get", "exit_1", "process"), on_wire=lambda way, data: seen.append(data))
    with plugin:
        for _ in range(2):
            with pytest.raises(PluginDied):
                plugin.get(DATA.copy(), PARENT.copy())
    assert b"".join(seen).count(b"ELEKTRA_STDIOPROC INIT v1\n") == 1


def test_auto_that_finds_neither_says_what_came_back() -> None:
    plugin = PluginProcess(scripted_child([Write(b"usage: foo\n"), Expect(None)]))
    with pytest.raises(PluginProtocolError, match="neither dialect") as caught:
        plugin.start()
    assert str(caught.value).count("found 'usage: foo'") == 2


def test_silence_suggests_the_released_dialect() -> None:
    with Stopwatch(0.3 + 0.5), pytest.raises(PluginTimeout, match="needs protocol=process"):
        PluginProcess(scripted_child([Hang()]), start_timeout=0.3).start()
    with pytest.raises(PluginTimeout) as caught:
        PluginProcess(scripted_child([Hang()]), protocol="process", start_timeout=0.3).start()
    assert "protocol=process" not in str(caught.value)


def test_silence_of_the_second_attempt_tells_of_the_first() -> None:
    code = "import os, time\nif b'STDIO' in os.read(0, 99): os._exit(4)\nos.read(0, 99)"
    plugin = PluginProcess([sys.executable, "-I", "-S", "-c", code], start_timeout=0.5)
    with Stopwatch(0.5 + 0.5), pytest.raises(PluginTimeout, match="neither dialect") as caught:
        plugin.start()
    assert "stdioproc: it ended before it answered" in str(caught.value)
    assert "process: no complete answer within 0.5 s" in str(caught.value)


# --- starting again


def test_a_child_that_ended_between_two_operations_is_replaced_without_an_error() -> None:
    with run([*hello(("get",)), *GET, Exit(0)]) as plugin:
        for _ in range(3):
            assert plugin.get(DATA.copy(), PARENT.copy()) is Status.SUCCESS
            gone(plugin)


def test_restart_false_is_one_life() -> None:
    plugin = PluginProcess(scripted_child([*hello(("get",)), GET[0], Exit(1)]), protocol="stdioproc", restart=False)
    with plugin:
        with pytest.raises(PluginDied):
            plugin.get(DATA.copy(), PARENT.copy())
        with pytest.raises(PluginStartError, match=r"it ended \(exit status 1\) and may not be started again"):
            plugin.get(DATA.copy(), PARENT.copy())


def test_no_more_than_so_many_starts_in_a_minute() -> None:
    plugin = run([*hello(("get",)), GET[0], Exit(1)])
    with plugin:
        for _ in range(MAX_RESTARTS + 1):
            with pytest.raises(PluginDied):
                plugin.get(DATA.copy(), PARENT.copy())
        with pytest.raises(PluginStartError, match=f"started {MAX_RESTARTS + 1} times in 60 s"):
            plugin.get(DATA.copy(), PARENT.copy())


def test_a_handshake_that_fails_counts() -> None:
    plugin = PluginProcess(["/bin/false"])
    for _ in range(MAX_RESTARTS + 1):
        with pytest.raises(PluginDied):
            plugin.start()
    with pytest.raises(PluginStartError, match="it is left alone for a while"):
        plugin.start()


def test_a_block_that_ended_well_counts_for_nothing() -> None:
    plugin = run([*hello(), *OPEN, *CLOSE, *bye()])
    for _ in range(MAX_RESTARTS + 3):
        with plugin:
            pass


def test_disabled_means_no_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STDIOPROC_DISABLE", "1")
    plugin = PluginProcess(["/bin/sh", "-c", f"touch {tmp_path}/started"])
    with pytest.raises(PluginDisabled) as caught:
        plugin.get(DATA.copy(), PARENT.copy())
    assert caught.value.elektra_error().number == "C01200"
    assert not (tmp_path / "started").exists()


# --- callbacks and interruptions


def test_on_stderr_gets_everything() -> None:
    code = "import os\nos.write(2, b'x' * 100000)\n"
    got: list[bytes] = []
    plugin = PluginProcess([sys.executable, "-I", "-S", "-c", code], on_stderr=got.append, protocol="stdioproc")
    with pytest.raises(PluginDied) as caught:
        plugin.start()
    assert len(b"".join(got)) == 100000
    assert 0 < len(caught.value.stderr) <= 4096


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ValueError])
def test_an_interrupted_operation_leaves_no_half_message(
    bad: Callable[..., list[str]], interruption: type[BaseException]
) -> None:
    def watch(way: str, data: bytes) -> None:
        if data.startswith(b"get"):
            raise interruption

    plugin = PluginProcess(bad("never", ""), protocol="stdioproc", on_wire=watch)
    with plugin:
        with pytest.raises(interruption):
            plugin.get(DATA.copy(), PARENT.copy())
        assert plugin.pid is None
        assert plugin.set(DATA.copy(), PARENT.copy()) is Status.SUCCESS


@pytest.mark.parametrize("misbehaviour", ["silent", "stubborn"])
def test_dropped_while_its_child_runs_it_ends_the_child_and_warns(
    bad: Callable[..., list[str]], misbehaviour: str
) -> None:
    plugin = PluginProcess(bad("get", misbehaviour), protocol="stdioproc")
    plugin.open()
    pid = plugin.pid
    assert pid is not None
    with Stopwatch(1), pytest.warns(ResourceWarning, match=rf"\(process {pid}\) was still running"):
        del plugin
    assert not Path(f"/proc/{pid}").exists()


def test_dropped_without_a_child_it_says_nothing(bad: Callable[..., list[str]]) -> None:
    plugin = PluginProcess(bad("get", "exit_1"), protocol="stdioproc")
    with pytest.raises(PluginDied):
        plugin.get(DATA.copy(), PARENT.copy())
    del plugin
    plugin = PluginProcess(bad("never", ""))
    plugin.start()
    if not (forked := os.fork()):
        del plugin  # the child is the other's
        os._exit(0)
    os.waitpid(forked, 0)
    assert plugin.get(DATA.copy(), PARENT.copy()) is Status.SUCCESS
    plugin.end()


def test_dropped_at_the_end_of_the_interpreter(python: Callable[..., object], bad: Callable[..., list[str]]) -> None:
    code = (
        "import sys, stdioproc.host\n"
        "plugin = stdioproc.host.PluginProcess(sys.argv[1:], protocol='stdioproc')\n"
        "plugin.start()\n"
        "loop = [plugin]; loop.append(loop)\n"
        "print(plugin.pid)"
    )
    done = python(code, *bad("end", "stubborn"))
    assert done.returncode == 0  # type: ignore[attr-defined]
    assert b"Error" not in done.stderr, done  # type: ignore[attr-defined]
    assert b"was still running" in done.stderr, done  # type: ignore[attr-defined]
    with Stopwatch(2):
        while Path(f"/proc/{int(done.stdout)}").exists():  # type: ignore[attr-defined]
            os.sched_yield()


# --- errors, read as a user


def test_an_error_names_everything() -> None:
    complaint = b"Traceback (most recent call last):\n  the disk is full\n"
    code = (
        "import os\n"
        "os.read(0, 99)\n"
        "os.write(1, b'ELEKTRA_STDIOPROC ACK v1\\nx\\nkdbOpen 2\\n$key string 11 1\\nexports/get\\n1\\n$end\\n')\n"
        "os.read(0, 9999)\n"
        f"os.write(2, {complaint!r})\n"
        "os.write(1, b'succ')\n"
        "os._exit(42)\n"
    )
    plugin = PluginProcess([sys.executable, "-I", "-S", "-c", code], protocol="stdioproc")
    plugin.start()
    with pytest.raises(PluginDied) as caught:
        plugin.get(DATA.copy(), PARENT.copy())
    error = caught.value
    assert (error.program, error.phase, error.ending) == (sys.executable, "get", "exit status 42")
    assert (error.last_bytes, error.stderr) == (b"succ", complaint)
    assert str(error) == (
        f"{sys.executable}: it ended in the middle of its answer: the child ended inside the line 'succ' "
        f"(get, after {error.elapsed:.2f} s); it ended with exit status 42; its last bytes were 'succ'; "
        "its stderr ends:\nTraceback (most recent call last):\n  the disk is full"
    )
    assert error.elektra_error().number == "C01100"


def test_arguments_are_checked_at_once() -> None:
    with pytest.raises(ValueError, match="absolute path"):
        PluginProcess(["python"])
    with pytest.raises(ValueError, match="absolute path"):
        PluginProcess("/bin/true")
    with pytest.raises(ValueError, match="absolute path"):
        PluginProcess([])
    with pytest.raises(ValueError, match="'auto', 'stdioproc' or 'process', not 'pipe'"):
        PluginProcess(["/bin/true"], protocol="pipe")


def test_a_parent_that_is_no_key_is_refused(child: Callable[..., list[str]]) -> None:
    with (
        PluginProcess(child("everything.py"), start_timeout=20.0) as plugin,
        pytest.raises(TypeError, match="is a Key"),
    ):
        plugin.get(KeySet(), "user:/x")  # type: ignore[arg-type]  # a slip that a person makes
