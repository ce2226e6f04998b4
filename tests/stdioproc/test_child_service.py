"""What `serve` promises to whoever writes a plugin, and to the host of it."""

from __future__ import annotations

import os
import pty
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dumpfmt import Key, KeySet, dumps, quickdump
from stdioproc import wire
from stdioproc.contract import Infos, make_contract
from stdioproc.dialects import OPERATIONS, STDIOPROC, Dialect
from stdioproc.errors import Resource as ResourceError
from stdioproc.errors import get_error, get_warnings, set_error
from stdioproc.events import Ack, Init, Reply, Request, Status, Terminate
from stdioproc.host import PluginDied, PluginProcess
from stdioproc.testing import Close, Expect, Step, Stopwatch, Write, run_against

PROGRAM = Path(__file__).parent.parent / "children" / "everything.py"
PARENT = Key("user:/p", "/file")
EMPTY = KeySet()


@pytest.fixture(scope="module", params=["stdioproc", "process"])
def plugin(request: pytest.FixtureRequest) -> Iterator[PluginProcess]:
    """One child for all tests that leave it alive."""
    argv = [sys.executable, "-P", str(PROGRAM)]
    with PluginProcess(argv, protocol=request.param, operation_timeout=10) as running:
        yield running


def call(plugin: PluginProcess, do: str, operation: str = "get") -> tuple[Status, KeySet, Key]:
    keyset, parent = KeySet([Key("user:/do", do)]), PARENT.copy()
    pid = plugin.pid
    status = getattr(plugin, operation)(keyset, parent)
    assert plugin.pid == pid, "another child had to be started"
    return status, keyset, parent


@pytest.mark.parametrize(
    ("do", "printed"),
    [
        ("prints", b"a print\n"),
        ("writes_to_1", b"straight to 1\n"),
        ("runs_a_program", b"from a program\n"),
        ("puts", b"from C\n"),
    ],
)
def test_what_a_plugin_prints_goes_to_stderr_and_not_on_the_wire(
    plugin: PluginProcess, do: str, printed: bytes
) -> None:
    assert call(plugin, do)[0] is Status.SUCCESS
    assert call(plugin, "warns")[0] is Status.SUCCESS  # by now the host has read it
    assert printed in plugin.stderr_tail


def test_a_plugins_stdin_is_empty(plugin: PluginProcess) -> None:
    status, keyset, _ = call(plugin, "reads_stdin")
    assert status is Status.SUCCESS
    assert (keyset["user:/read"].value, keyset["user:/input"].value) == (None, "")


def line_of(text: str) -> str:
    [number] = [n for n, line in enumerate(PROGRAM.read_text().splitlines(), 1) if line.strip() == text]
    return str(number)


@pytest.mark.parametrize(
    ("do", "number", "reason", "line"),
    [
        ("raises_elektra", "C03200", "not like this", 'raise ValidationSemantic("not like this")'),
        ("raises_value", "C01310", "ValueError: invalid literal for int()", 'return int("no number")'),
        ("raises_empty", "C01310", "ValueError", "raise ValueError"),
        ("raises_os", "C01100", "No such file or directory: '/nowhere/file'", 'with open("/nowhere/file"):'),
        ("raises_memory", "C01110", "out of memory during get", "raise MemoryError"),
        ("raises_not_implemented", "C01320", "later", 'raise NotImplementedError("later")'),
        ("raises_exit", "C01310", "tried to exit with 'bye'", 'sys.exit("bye")'),
        ("raises_rude", "C01310", "Rude", "raise Rude"),
        ("raises_odd_reason", "C01100", "[Errno 2] a\\0b", 'raise Resource(OSError(2, "a\\0b\\udcff\\ud800"))'),
        ("recurses", "C01310", "RecursionError", "return self.recurses(data, parent)"),
        ("returns_true", "C01330", "get returned True", ""),
        ("returns_two", "C01330", "get returned 2", ""),
        ("returns_text", "C01330", "get returned 'success'", ""),
        ("returns_data", "C01330", "get returned KeySet(", ""),
    ],
)
def test_an_exception_is_an_elektra_error_with_its_place(
    plugin: PluginProcess, do: str, number: str, reason: str, line: str
) -> None:
    status, keyset, parent = call(plugin, do)
    error = get_error(parent)
    assert status is Status.ERROR
    assert error is not None
    assert error.number == number
    assert reason in error.reason
    assert (error.module, error.file, error.configfile) == ("everything", str(PROGRAM), "/file")
    if line:
        assert error.line == line_of(line)
    assert len(keyset) == 1


def test_what_an_error_says_of_itself_is_kept(plugin: PluginProcess) -> None:
    error = get_error(call(plugin, "raises_with_all")[2])
    assert error is not None
    assert (error.module, error.file, error.line, error.mountpoint, error.configfile) == (
        "other",
        "f.c",
        "7",
        "user:/m",
        "/c",
    )


def test_only_an_unexpected_exception_leaves_a_traceback(plugin: PluginProcess) -> None:
    call(plugin, "raises_value")
    call(plugin, "raises_elektra")
    call(plugin, "warns")
    assert b"ValueError: invalid literal" in plugin.stderr_tail
    assert b"ValidationSemantic" not in plugin.stderr_tail


def test_an_error_of_before_stays_and_the_new_one_is_a_warning(plugin: PluginProcess) -> None:
    keyset, parent = KeySet([Key("user:/do", "raises_elektra")]), PARENT.copy()
    set_error(parent, ResourceError("before"))
    assert plugin.get(keyset, parent) is Status.ERROR
    error = get_error(parent)
    assert error is not None
    assert error.reason == "before"
    assert [warning.reason for warning in get_warnings(parent)] == ["not like this"]


def test_a_warning_has_the_line_of_its_caller(plugin: PluginProcess) -> None:
    [warning] = get_warnings(call(plugin, "warns")[2])
    assert (warning.module, warning.file) == ("everything", str(PROGRAM))
    assert warning.line == line_of('self.warn(parent, Resource("careful"))')


def test_data_and_parent_change_only_on_success(plugin: PluginProcess) -> None:
    for do, expected in (
        ("returns_none", Status.SUCCESS),
        ("returns_noupdate", Status.NO_UPDATE),
        ("changes_and_fails", Status.ERROR),
    ):
        status, keyset, parent = call(plugin, do, "set")
        assert status is expected
        assert ("user:/new" in keyset) is (expected is Status.SUCCESS)
        assert parent.value == ("/file" if expected is Status.ERROR else "changed")
    assert [warning.reason for warning in get_warnings(parent)] == ["a warning first"]


def test_minus_one_without_a_reason_is_completed_by_the_host(plugin: PluginProcess) -> None:
    status, _, parent = call(plugin, "returns_minus_one")
    error = get_error(parent)
    assert (status, error and error.number) == (Status.ERROR, "C01320")
    assert "without saying why" in parent.meta["error/reason"]


def test_the_phase_is_told_in_stdioproc_and_is_no_metadata(plugin: PluginProcess) -> None:
    parent = PARENT.copy()
    assert plugin.get(KeySet(), parent, phase="postgetstorage") is Status.NO_UPDATE
    assert dict(parent.meta) == {}
    call(plugin, "warns")
    told = b"postgetstorage" if plugin.dialect == "stdioproc" else b"None"
    assert b"[get " + told + b"]" in plugin.stderr_tail


# --- life and death, each with a child of its own


def hello(dialect: Dialect = STDIOPROC) -> list[Step]:
    infos = Infos(author="A", placements=("presetstorage", "postgetstorage", "commit", "rollback"))
    ack = Ack("everything", make_contract(infos, frozenset(OPERATIONS), dialect))
    return [Write(wire.encode(Init(dialect), dialect)), Expect(wire.encode(ack, dialect))]


def operation(name: str, dialect: Dialect = STDIOPROC, data: KeySet = EMPTY) -> list[Step]:
    with_data = name in dialect.replies_with_data
    status = Status.NO_UPDATE if name in ("get", "set", "checkconf") else Status.SUCCESS
    return [
        Write(wire.encode(Request(name, PARENT, data), dialect)),
        Expect(wire.encode(Reply(status, PARENT, data if with_data else None), dialect)),
    ]


BYE: list[Step] = [Write(wire.encode(Terminate(), STDIOPROC))]


@pytest.mark.parametrize(
    ("script", "status", "said"),
    [
        ([], 0, b""),
        ([Write(b"ELEKTRA_")], 74, b"everything: the host is gone: the host ended inside the line 'ELEKTRA_'"),
        (hello(), 0, b""),
        ([*hello(), *BYE], 0, b""),
        ([*hello(), Write(b"open\n")], 74, b"everything: the host is gone"),
        ([*hello(), Write(b"open\nkdbOpen 2\n$end\n")], 76, b"everything: the host broke the protocol"),
        ([*hello(), *operation("open")], 74, b"[open ][close]"),
        ([*hello(), *operation("open"), *operation("get"), Write(b"ge")], 74, b"[close]"),
        ([*hello(), *operation("open"), *operation("get"), Write(b"help\n")], 76, b"[close]"),
        ([*hello(), *operation("open"), *BYE], 0, b"[open ][close]"),
        ([*hello(), *operation("open"), *operation("close")], 0, b"[open ][close]"),
        ([*hello(), *operation("open"), *operation("close"), *BYE], 0, b"[open ][close]"),
        (
            [*hello(), *operation("checkconf"), *operation("open"), *operation("commit"), *operation("error")],
            74,
            b"[close]",
        ),
        ([*hello(), Write(b"get\nkdbOpen 2\n$key string 1 0\n/\n\n$end\nkdbOpen 2\n$end\n")], 76, b"possible was"),
        ([Write(b"hello\n")], 76, b"this program is a plugin, to be started by its host"),
    ],
)
def test_the_end_of_input_in_each_phase(
    child: Callable[..., list[str]], script: list[Step], status: int, said: bytes
) -> None:
    """Close has run once where open had, and the exit status tells."""
    with Stopwatch(10):
        played = run_against(child("everything.py"), script)
    assert played.status == status, played.stderr
    assert said in played.stderr
    assert played.stderr.count(b"[close]") == played.stderr.count(b"[open ")
    assert played.output == b""


def test_the_whole_life_in_either_dialect_and_parser(
    child: Callable[..., list[str]], parser: str, dialect: Dialect
) -> None:
    data = KeySet([Key("user:/p/b", b"\0\1"), Key("user:/p/s", "a\nb")])
    script = hello(dialect)
    for name in dialect.operations:
        script += operation(name, dialect, KeySet() if name in ("open", "close") else data)
    script += [Write(wire.encode(Terminate(), dialect))]
    played = run_against(child("everything.py", parser), script)
    assert (played.status, played.output) == (0, b"")


@pytest.mark.parametrize("size", [1, 13])
def test_a_host_may_write_in_any_pieces(child: Callable[..., list[str]], size: int) -> None:
    script = [
        Write(step.data, size=size) if isinstance(step, Write) else step
        for step in [*hello(), *operation("open"), *operation("get"), *operation("close"), *BYE]
    ]
    assert run_against(child("everything.py"), script).status == 0


def test_a_host_that_does_not_wait_for_the_ack_is_served_all_the_same(child: Callable[..., list[str]]) -> None:
    both = wire.encode(Init(STDIOPROC), STDIOPROC) + wire.encode(Request("open", PARENT, EMPTY), STDIOPROC)
    played = run_against(child("everything.py"), [Write(both)])
    assert played.status == 74
    assert b"[open ][close]" in played.stderr


def test_a_host_that_reads_no_more_is_gone(child: Callable[..., list[str]]) -> None:
    data = KeySet([Key("user:/p", "x" * 1_000_000)])
    script = [
        *hello(),
        *operation("open"),
        Close("stdout"),
        Write(wire.encode(Request("get", PARENT, data), STDIOPROC)),
    ]
    played = run_against(child("everything.py"), script)
    assert played.status == 74
    assert b"[close]" in played.stderr
    assert b"it no longer reads" in played.stderr


def test_open_that_fails_needs_no_close(child: Callable[..., list[str]]) -> None:
    config = KeySet([Key("user:/config/refuse", "no")])
    played = run_against(
        child("everything.py"),
        [*hello(), Write(wire.encode(Request("open", PARENT, config), STDIOPROC)), Expect(b"error\n")],
    )
    assert b"[close]" not in played.stderr
    assert played.status == 0


def test_a_plugin_that_closes_all_it_knows_still_answers(child: Callable[..., list[str]]) -> None:
    with PluginProcess(child("everything.py")) as plugin:
        keyset, parent = KeySet([Key("user:/do", "closes_all_it_knows")]), PARENT.copy()
        assert plugin.get(keyset, parent) is Status.ERROR
        assert "after closing" in parent.meta["error/reason"]
        assert plugin.get(KeySet(), parent) is Status.NO_UPDATE


def test_a_plugin_that_ends_its_process_is_a_child_that_died(child: Callable[..., list[str]]) -> None:
    with PluginProcess(child("everything.py")) as plugin:
        with pytest.raises(PluginDied, match="exit status 13"):
            plugin.get(KeySet([Key("user:/do", "exits")]), PARENT)
        assert plugin.get(KeySet(), PARENT) is Status.NO_UPDATE


# --- classes that are no plugins, and people


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('name = "a/b"\n    def get(self, data, parent): pass', b"no single valid part of a key name"),
        ('infos = Infos(placements=("presetstorage",))', b"'presetstorage' needs the operation 'set'"),
    ],
)
def test_a_class_that_is_no_proper_plugin_ends_with_78(python: Callable[..., object], body: str, said: bytes) -> None:
    code = f"from stdioproc.child import *\nclass P(Plugin):\n    {body}\nserve(P)"
    done = python(code, input=b"ELEKTRA_STDIOPROC INIT v1\n")
    assert (done.returncode, done.stdout) == (78, b"")  # type: ignore[attr-defined]
    assert said in done.stderr  # type: ignore[attr-defined]
    assert b"Traceback" not in done.stderr  # type: ignore[attr-defined]


def test_an_instance_in_the_place_of_the_class_is_told(python: Callable[..., object]) -> None:
    done = python("from stdioproc.child import *\nclass P(Plugin): pass\nserve(P())", input=b"")
    assert (done.returncode, done.stdout) == (78, b"")  # type: ignore[attr-defined]
    assert done.stderr == b"serve needs the class itself, serve(P), not an instance of it\n"  # type: ignore[attr-defined]


def test_the_name_is_the_classs_in_lower_case_and_a_plugin_may_have_no_operation(
    python: Callable[..., object],
) -> None:
    done = python(
        "from stdioproc.child import *\nclass Mine(Plugin): pass\nserve(Mine)", input=b"ELEKTRA_PROCESS INIT v1\n"
    )
    assert done.stdout.startswith(b"ELEKTRA_PROCESS ACK v1\nmine\nkdbOpen 2\n")  # type: ignore[attr-defined]
    assert b"exports" not in done.stdout  # type: ignore[attr-defined]


def test_elektra_spec_is_answered_with_quickdump(child: Callable[..., list[str]]) -> None:
    played = run_against([*child("everything.py"), "--elektra-spec"], [])
    assert played.status == 0
    spec = quickdump.loads(played.output, "spec:/")
    assert spec["spec:/a"].meta["type"] == "long"


def test_elektra_spec_without_a_spec_is_a_usage_error(
    child: Callable[..., list[str]], python: Callable[..., object]
) -> None:
    done = python("from stdioproc.child import *\nclass P(Plugin): pass\nserve(P)", "--elektra-spec")
    assert (done.returncode, done.stdout) == (64, b"")  # type: ignore[attr-defined]
    assert b"has no specification" in done.stderr  # type: ignore[attr-defined]


def test_a_person_at_a_terminal_gets_a_hint(child: Callable[..., list[str]]) -> None:
    controller, terminal = pty.openpty()
    try:
        pid = os.posix_spawn(
            sys.executable,
            child("everything.py"),
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, terminal, fd) for fd in (0, 1, 2)],
        )
        shown = b""
        while b"Ctrl-D" not in shown:
            shown += os.read(controller, 4096)
        os.write(controller, b"\x04")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert b"everything is a plugin for Elektra" in shown
    finally:
        os.close(controller)
        os.close(terminal)


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "0<&- 1>&-", "0<&- 1>&- 2>&-"])
def test_without_stdin_or_stdout_there_is_no_protocol(child: Callable[..., list[str]], closed: str) -> None:
    done = run_against(["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *child("everything.py")], [])
    assert done.status == 74
    assert b"stdin and stdout must be open" in done.stderr or "2>&-" in closed


def test_without_stderr_everything_works(child: Callable[..., list[str]]) -> None:
    argv = ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh", *child("everything.py")]
    with PluginProcess(argv) as plugin:
        for do in ("prints", "puts", "raises_value", "writes_to_1"):
            plugin.get(KeySet([Key("user:/do", do)]), PARENT.copy())
        assert plugin.get(KeySet(), PARENT.copy()) is Status.NO_UPDATE


def test_the_wire_is_not_inherited_by_programs_that_a_plugin_starts(plugin: PluginProcess) -> None:
    links = {key.basename: key.value for key in call(plugin, "descriptors")[1].below("user:/fd")}
    assert links["0"] == "/dev/null"
    assert links["1"] == links["2"]


def test_dumps_is_what_goes_over_the_wire() -> None:
    """The bytes of the tests above are not made by the code under test alone: one of them by hand."""
    assert dumps(KeySet([Key("user:/a", "b")])) == b"kdbOpen 2\n$key string 7 1\nuser:/a\nb\n$end\n"
