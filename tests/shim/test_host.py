"""The plugin in a C host that loads it as Elektra does, with children that do their part."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Host

PARENT = "user:/tests/shim"


def notes(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def operations(log: Path) -> list[object]:
    return [note["op"] for note in notes(log)]


# --- without a program


def test_a_module_instance_answers_its_contract_without_python(host: Host) -> None:
    """KDB keeps one such instance, and Elektra's tools ask it: it must be complete, and cost nothing."""
    lines = host("config system:/module=1", "open 0", "contract 0", "maps libpython", "children", "close 0")
    assert lines[:2] == ["open 0 1", "contract 0 1"]
    for operation in ("open", "close", "get", "set", "commit", "error", "checkconf"):
        assert f"  /exports/{operation} function" in lines
    for info in ("needs", "provides", "metadata", "recommends"):
        assert f"  /infos/{info} " in lines
    assert "  /infos/version 1" in lines
    assert lines[-3:] == ["maps libpython 0", "children 0", "close 0 1"]


def test_nothing_starts_before_the_first_operation(host: Host, log: Path) -> None:
    lines = host(*host.worker(log=log), "open 0", "maps libpython", "maps stdioproc-embed", "children", "close 0")
    assert lines == ["open 0 1", "maps libpython 0", "maps stdioproc-embed 0", "children 0", "close 0 1"]
    assert notes(log) == []


def test_an_instance_without_a_program_says_what_to_do(host: Host) -> None:
    lines = host("open 0", "get 0", "close 0", "checkconf")
    assert "mount it again with app=/absolute/path" in lines[2]
    assert lines[4] == "checkconf -1"
    assert "add app=/absolute/path" in lines[5]


def test_every_function_is_exported_under_both_names_and_nothing_else(host: Host) -> None:
    words = ("Open", "Close", "Get", "Set", "Commit", "Error", "CheckConf")
    names = [
        "elektraPluginSymbol",
        *(f"elektra{plugin}{word}" for plugin in ("Stdprocio", "Stdioproc") for word in words),
    ]
    done = subprocess.run(
        ["nm", "-D", "--defined-only", host.plugin], capture_output=True, text=True, check=True, timeout=60
    )
    assert sorted(line.split()[2] for line in done.stdout.splitlines()) == sorted(names)


def test_it_works_under_the_old_file_name(host: Host, tmp_path: Path) -> None:
    """Elektra before 0.10 loads libelektra-NAME.so."""
    old = tmp_path / "libelektra-stdioproc.so"
    old.write_bytes(host.plugin.read_bytes())
    (tmp_path / "stdioproc-embed.so").write_bytes((host.plugin.parent / "stdioproc-embed.so").read_bytes())
    assert host(*host.worker(), "open 0", "get 0", "close 0", plugin=old)[1].startswith("get 0 1")


def test_it_works_as_a_link_to_where_it_was_built(host: Host, tmp_path: Path) -> None:
    link = tmp_path / host.plugin.name
    link.symlink_to(host.plugin)
    assert host(*host.worker(), "open 0", "get 0", "close 0", plugin=link)[1].startswith("get 0 1")


# --- operations


def test_the_life_of_a_plugin(host: Host, log: Path) -> None:
    """open with the first operation, close at the end, each operation with its own keys, all in one child."""
    lines = host(
        *host.worker("echo", log=log),
        "config config/x=y",
        "open 0",
        f"key {PARENT}/a 1",
        "get 0",
        "set 0",
        "commit 0",
        "error 0",
        "close 0",
        "children",
    )
    assert [line.rsplit(" ", 1)[0] for line in lines[1:5]] == ["get 0 1", "set 0 1", "commit 0 1", "error 0 1"]
    assert lines[-1] == "children 0"
    assert operations(log) == ["open", "get", "set", "commit", "error", "close"]
    assert notes(log)[0]["keys"] == ["user:/config/x"]
    assert {note["pid"] for note in notes(log)} == {notes(log)[0]["pid"]}


@pytest.mark.parametrize(
    ("operation", "number", "word"),
    [
        ("get", "01", "getresolver"),
        ("get", "71", "pregetstorage"),
        ("get", "78", "getstorage"),
        ("get", "7f", "postgetstorage"),
        ("set", "01", "setresolver"),
        ("set", "71", "presetstorage"),
        ("set", "78", "setstorage"),
        ("set", "7f", None),
        ("commit", "e1", "precommit"),
        ("commit", "e8", "commit"),
        ("commit", "ef", "postcommit"),
        ("error", "f1", "prerollback"),
        ("error", "f8", "rollback"),
        ("error", "ff", "postrollback"),
    ],
)
def test_the_child_learns_the_phase(host: Host, log: Path, operation: str, number: str, word: str | None) -> None:
    host(*host.worker("echo", log=log), "open 0", f"phase 0 {number}", f"{operation} 0", "show-parent", "close 0")
    assert notes(log)[1]["phase"] == word


def test_keys_that_come_back_unchanged_are_the_same_objects(host: Host) -> None:
    lines = host(
        *host.worker("edit"),
        "open 0",
        f"key {PARENT}/change old",
        f"key {PARENT}/keep same",
        f"key {PARENT}/remove gone",
        f"meta {PARENT}/keep type long",
        f"share {PARENT}/change {PARENT}/keep type",
        f"where {PARENT}/keep",
        "get 0",
        f"where {PARENT}/keep",
        f"same {PARENT}/change {PARENT}/keep",
        "show",
        "close 0",
    )
    assert lines[1] == lines[3]
    assert lines[4] == "same 1"
    assert lines[5:-1] == [
        f"key {PARENT}/added new",
        "  meta:/type string",
        f"key {PARENT}/bytes binary 00ff0a",
        f"key {PARENT}/change changed",
        "  meta:/type long",
        f"key {PARENT}/keep same",
        "  meta:/type long",
        f"key {PARENT}/null binary ",
    ]


@pytest.mark.parametrize(("mode", "status"), [("noupdate", 0), ("refuse", -1), ("bug", -1), ("die", -1)])
def test_keys_change_only_on_success(host: Host, mode: str, status: int) -> None:
    lines = host(
        *host.worker(mode),
        "open 0",
        f"key {PARENT}/a 1",
        f"where {PARENT}/a",
        "get 0",
        f"where {PARENT}/a",
        "show",
        "close 0",
    )
    assert lines[2].startswith(f"get 0 {status}")
    assert lines.count(lines[1]) == 2
    assert f"key {PARENT}/a 1" in lines


def test_the_parent_takes_the_value_unless_it_is_locked(host: Host) -> None:
    lines = host(
        *host.worker("value"),
        "open 0",
        f"parent {PARENT} /file",
        "get 0",
        "show-parent",
        f"parent {PARENT} /file",
        "lock",
        "set 0",
        "show-parent",
        "close 0",
    )
    assert lines[1:3] == ["get 0 1 another value", f"parent {PARENT} another value"]
    assert lines[4:6] == ["set 0 1 /file", f"parent {PARENT} /file"]
    assert lines.count("  meta:/note kept") == 2


def test_the_parent_value_is_not_taken_on_error_or_by_other_operations(host: Host) -> None:
    assert host(*host.worker("refuse"), "open 0", f"parent {PARENT} /file", "get 0", "close 0")[1] == "get 0 -1 /file"
    assert host(*host.worker("value"), "open 0", f"parent {PARENT} /file", "error 0", "close 0")[1] == "error 0 1 /file"


def test_an_error_of_the_child_arrives_whole(host: Host) -> None:
    lines = host(*host.worker("refuse"), "open 0", f"parent {PARENT} /file", "set 0", "show-parent", "close 0")
    assert f"error C03200 worker:{PARENT} refused, as told" in lines
    meta = dict(line.strip().split(" ", 1) for line in lines if line.startswith("  meta:/error/"))
    assert meta["meta:/error/description"] == "Validation Semantic"
    assert meta["meta:/error/mountpoint"] == PARENT
    assert meta["meta:/error/file"].endswith("worker.py")
    assert int(meta["meta:/error/line"]) > 0


def test_warnings_are_added_to_those_that_were_there(host: Host) -> None:
    lines = host(
        *host.worker("warn"),
        "open 0",
        f"parent {PARENT} /file",
        f"meta {PARENT} warnings #0",
        f"meta {PARENT} warnings/#0 x",
        f"meta {PARENT} warnings/#0/reason an old warning",
        "get 0",
        "get 0",
        "close 0",
    )
    assert lines[2:4] == ["warning an old warning", "warning a warning, as told"]
    assert lines[5:8] == ["warning an old warning", "warning a warning, as told", "warning a warning, as told"]


def test_a_warning_of_open_appears_at_the_operation_that_opened(host: Host) -> None:
    assert host(*host.worker("warn-open"), "open 0", "get 0", "get 0", "close 0")[2] == "warning opened with doubts"


def test_an_error_that_stands_already_stays_and_the_new_one_becomes_a_warning(host: Host) -> None:
    """While KDB rolls back, the parent key carries an error that blocks others."""
    lines = host(
        *host.worker("refuse"),
        "open 0",
        f"parent {PARENT} /file",
        f"meta {PARENT} error blocked",
        "error 0",
        "show-parent",
        "close 0",
    )
    assert "  meta:/error blocked" in lines
    assert "warning refused, as told" in lines


def test_a_failing_open_is_told_by_the_operation(host: Host) -> None:
    lines = host(*host.worker("refuse-open"), "open 0", "get 0", "close 0", "children")
    assert lines[0] == "open 0 1"
    assert lines[2] == f"error C01320 worker:{PARENT} this worker does not open"
    assert lines[3:] == ["close 0 1", "children 0"]


def test_what_a_child_prints_does_not_break_the_wire(host: Host) -> None:
    assert host(*host.worker("print"), "open 0", "get 0", "get 0", "close 0")[1:3] == ["get 0 1 /nowhere/file"] * 2


def test_a_string_with_a_nul_is_refused_and_nothing_is_changed(host: Host) -> None:
    lines = host(*host.worker(), "open 0", f"key {PARENT}/a x", f"nul {PARENT}/a", "set 0", "close 0", "maps libpython")
    assert lines[1].startswith("set 0 -1")
    assert f"{PARENT}/a contains a NUL byte" in lines[2]
    assert lines[-1] == "maps libpython 0"


def test_the_parent_may_be_a_member_of_the_keyset(host: Host) -> None:
    lines = host(
        *host.worker("noupdate"),
        "open 0",
        f"parent {PARENT} /file",
        "parent-in-data",
        "get 0",
        "show-parent",
        "close 0",
        f"parent {PARENT} x",
    )
    assert lines[1].startswith("get 0 0")


def test_many_keys_go_both_ways(host: Host) -> None:
    """More than the pipes hold: host and child must read and write at once."""
    lines = host(*host.worker("edit"), "open 0", "many 20000", "set 0", "count", "close 0")
    assert lines[1:3] == ["set 0 1 /nowhere/file", "count 20003"]


# --- environment of the child


def test_the_environment_is_exactly_what_the_mountpoint_says(host: Host) -> None:
    """A variable that the host sets later than Python started counts too; here the host has it from the start."""
    lines = host(
        *host.worker("environment"),
        "config env/#0=NAME=a value",
        "config copyenv/#0=COPIED",
        "config copyenv/#1=ABSENT",
        "open 0",
        "get 0",
        "show",
        "close 0",
        env={"PATH": "/usr/bin:/bin", "COPIED": "c", "SECRET": "s"},
    )
    found = {
        line.split(" ", 2)[1].rpartition("/")[2]: line.split(" ", 2)[2] for line in lines if line.startswith("key ")
    }
    found.pop("LC_CTYPE", None)  # Python sets it for itself in the C locale
    assert found == {"NAME": "a value", "COPIED": "c"}


# --- contract and checkconf


def test_the_contract_is_that_of_the_program(host: Host) -> None:
    lines = host(*host.worker("echo", "getstorage,setstorage"), "open 0", "contract 0", "close 0")
    assert "  /infos/placements getstorage setstorage" in lines
    assert "  /infos/provides storage/worker storage worker" in lines
    assert "  /infos/description does what a test tells it" in lines
    assert "  /exports/commit function" in lines


def test_a_mounting_starts_the_program_at_most_twice(host: Host, log: Path, tmp_path: Path) -> None:
    """Elektra's tools ask for the contract about ten times, from different instances."""
    count = tmp_path / "count"
    script = tmp_path / "counted"
    script.write_text(f'#!/bin/sh\necho >> {count}\nexec {sys.executable} {host.children}/worker.py "$@"\n')
    script.chmod(0o755)
    mounting = [*host.program(script, "echo", "presetstorage"), "open 0", "contract 0", "close 0"]
    host(*mounting, *mounting, *host.program(script, "echo", "presetstorage"), "checkconf", *mounting)
    assert len(count.read_text()) == 2


def test_checkconf_notes_the_dialect_and_takes_only_the_childs_part(host: Host) -> None:
    lines = host(*host.worker(), "config config/fill=1", "checkconf")
    assert lines[0] == "checkconf 1"
    assert "   user:/protocol stdioproc" in lines
    assert "   user:/config/filled yes" in lines
    assert f"   user:/app {sys.executable}" in lines


def test_checkconf_with_a_dialect_changes_nothing(host: Host) -> None:
    assert host(*host.worker(), "config protocol=stdioproc", "checkconf")[0] == "checkconf 0"


def test_checkconf_tells_what_the_child_says(host: Host) -> None:
    lines = host(*host.worker(), "config config/bad=1", "checkconf")
    assert lines[0] == "checkconf -1"
    assert lines[-1] == "error C03200 worker:/ bad is not a good configuration"


def test_checkconf_refuses_placements_that_kdb_mount_cannot_make(host: Host) -> None:
    lines = host(*host.worker("echo", "getresolver,setresolver,commit,rollback"), "checkconf")
    assert lines[0] == "checkconf -1"
    assert lines[-1].startswith("error C01200 ")
    assert "stdioproc mount FILE MOUNTPOINT" in lines[-1]


def test_checkconf_refuses_a_slip_of_the_pen(host: Host) -> None:
    lines = host(*host.worker(), "config arg/#0=x", "checkconf")
    assert lines[0] == "checkconf -1"
    assert "configuration key arg/#0 is not known" in lines[-1]


# --- a good guest


def test_it_leaves_no_trace_in_the_host(host: Host) -> None:
    """Descriptors, signals, mask, cwd, environment, umask and threads are as before, once the plugin is closed."""
    lines = host(
        "handlers", "load", "state", *host.worker("edit"), "open 0", "get 0", "set 0", "close 0", "state", "children"
    )
    before, after = (line for line in lines if line.startswith("state"))
    assert before == after
    assert lines[-1] == "children 0"


def test_signals_of_the_host_stay_while_it_is_open(host: Host) -> None:
    """Importing Python's signal module would take SIGINT over."""
    lines = host("load", "state", *host.worker(), "open 0", "get 0", "state", "close 0")
    before, after = (re.sub(r" descriptors=\d+", "", line) for line in lines if line.startswith("state"))
    assert before == after


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"PATH": ""},
        {"PATH": "/usr/bin:/bin", "PYTHONHOME": "/nowhere"},
        {"PATH": "/usr/bin:/bin", "PYTHONPATH": "/nowhere", "PYTHONSTARTUP": "/nowhere"},
        {"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        {"PATH": "/usr/bin:/bin", "PYTHONVERBOSE": "1", "PYTHONDEVMODE": "1"},
    ],
    ids=str,
)
def test_the_hosts_environment_does_not_matter(host: Host, env: dict[str, str]) -> None:
    assert (
        host(*host.worker(), "open 0", f"key {PARENT}/ä ü", "set 0", "close 0", env=env)[1] == "set 0 1 /nowhere/file"
    )


def test_a_host_with_closed_standard_descriptors(host: Host) -> None:
    """The child's pipes must not become descriptors 0, 1 or 2."""
    lines = host("close-stdio", *host.worker("edit"), "open 0", f"key {PARENT}/change old", "get 0", "show", "close 0")
    assert lines[1] == "get 0 1 /nowhere/file"
    assert f"key {PARENT}/change changed" in lines


def test_a_host_that_ignores_sigchld(host: Host) -> None:
    assert host("ignore-sigchld", *host.worker(), "open 0", "get 0", "close 0", "children")[1:] == [
        "get 0 1 /nowhere/file",
        "close 0 1",
        "children 0",
    ]


def test_several_instances_in_one_process(host: Host, log: Path) -> None:
    lines = host(
        *host.worker("echo", log=log),
        "open 0",
        *host.worker("edit", log=log),
        "open 1",
        "get 0",
        "get 1",
        "children",
        "close 0",
        "get 1",
        "close 1",
        "children",
    )
    assert lines[4] == "children 2"
    assert lines[-1] == "children 0"
    assert len({note["pid"] for note in notes(log)}) == 2


def test_unloading_and_loading_again(host: Host) -> None:
    """Elektra's loader calls dlclose; Python cannot be unmapped and started again."""
    use = [*host.worker(), "open 0", "get 0", "close 0", "unload"]
    lines = host(*use, *use, *use, "children")
    assert lines.count("get 0 1 /nowhere/file") == 3
    assert lines.count("unload 0") == 3


def test_a_fork_after_use_leaves_the_parents_child_alone(host: Host, log: Path) -> None:
    """The forked process starts a child of its own, ends that one, and the parent goes on with its first."""
    lines = host(
        *host.worker("echo", log=log),
        "open 0",
        "get 0",
        "fork get 0;children;close 0;children",
        "get 0",
        "close 0",
        "children",
    )
    assert lines == [
        "open 0 1",
        "get 0 1 /nowhere/file",
        "get 0 1 /nowhere/file",
        "children 1",
        "close 0 1",
        "children 0",
        "forked exit 0",
        "get 0 1 /nowhere/file",
        "close 0 1",
        "children 0",
    ]
    pids = [note["pid"] for note in notes(log) if note["op"] == "get"]
    assert pids[0] == pids[2] != pids[1]


def test_closing_in_a_forked_process_does_not_end_the_parents_child(host: Host, log: Path) -> None:
    lines = host(*host.worker("echo", log=log), "open 0", "get 0", "fork close 0", "get 0", "close 0")
    assert lines[-2:] == ["get 0 1 /nowhere/file", "close 0 1"]
    assert operations(log) == ["open", "get", "get", "close"]


def test_threads_with_a_handle_each(host: Host) -> None:
    commands = ";".join([*host.worker("edit"), "open %", "get %", "set %", "repeat 5 get %", "close %"])
    lines = host(f"threads 6 {commands}", "children")
    assert sum(line.startswith("get ") and line.endswith(" 1 /nowhere/file") for line in lines) == 36
    assert lines[-2:] == ["joined 6", "children 0"]


def test_forks_while_other_threads_are_inside_python(host: Host) -> None:
    """Without waiting for the interpreter the forked child would hang in its first call."""
    work = ";".join([*host.worker(), "open %", "repeat 5 get %", "fork close %", "close %"])
    lines = host(f"threads 4 {work}", "children")
    assert lines.count("forked exit 0") == 4
    assert lines[-1] == "children 0"


def test_the_child_ends_with_a_host_that_is_killed(host: Host) -> None:
    """SIGKILL leaves no time for anything: the end of its input tells the child."""
    process = subprocess.Popen(
        [host.executable, host.plugin, *host.worker(), "open 0", "get 0", "wait-for-end"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        while process.stdout.readline().strip() != "waiting":
            pass
        assert host.running()
        os.kill(process.pid, signal.SIGKILL)
    # The fixture waits for the child and fails when it stays.


def test_stdioproc_disable_keeps_every_child_from_starting(host: Host, log: Path) -> None:
    env = {"PATH": "/usr/bin:/bin", "STDIOPROC_DISABLE": "1"}
    lines = host(*host.worker(log=log), "open 0", "contract 0", "set 0", "close 0", "maps libpython", env=env)
    assert "contract 0 1" in lines
    assert any(line.startswith("error C01200") and "STDIOPROC_DISABLE" in line for line in lines)
    assert lines[-2:] == ["close 0 1", "maps libpython 0"]
    assert notes(log) == []


def test_eager_start(host: Host, log: Path) -> None:
    """As the draft words it: the child runs from open to close."""
    lines = host(*host.worker(log=log), "config start=eager", "open 0", "children", "get 0", "close 0", "children")
    assert lines == ["open 0 1", "children 1", "get 0 1 /nowhere/file", "close 0 1", "children 0"]


def test_eager_start_that_fails_is_a_warning(host: Host) -> None:
    """An open that fails would make the whole of KDB unusable."""
    lines = host(*host.program("/nowhere/program"), "config start=eager", "open 0", "close 0")
    assert lines[0] == "open 0 1"
    assert lines[1].startswith("warning /nowhere/program: there is no such file")
