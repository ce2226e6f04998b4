"""Children that misbehave, each with a stopwatch: one table, misbehaviour by phase (tests/children/bad.py)."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

from dumpfmt import Key, KeySet
from stdioproc.host import (
    PluginDied,
    PluginProcess,
    PluginProcessError,
    PluginProtocolError,
    PluginStartError,
    PluginTimeout,
    Status,
)
from stdioproc.testing import Stopwatch

START, OPERATION, CLOSE = 1.5, 0.4, 0.3
#: What an error may come later than its deadline.
SLACK = 0.5

#: Misbehaviour: what the host makes of it, and a part of the reason. None: the host copes.
ANSWERS: dict[str, tuple[type[PluginProcessError] | None, str]] = {
    "silent": (PluginTimeout, "no complete answer within"),
    "stopped": (PluginTimeout, "no complete answer within"),
    "stubborn": (PluginTimeout, "no complete answer within"),
    "clings": (PluginTimeout, "no complete answer within"),
    "spins": (PluginTimeout, "no complete answer within"),
    "half": (PluginTimeout, "no complete answer within"),
    "half_a_line": (PluginTimeout, "no complete answer within"),
    "trickle": (PluginTimeout, "no complete answer within"),
    "endless_keyset": (PluginTimeout, "no complete answer within"),
    "nothing_but_the_word": (PluginTimeout, "no complete answer within"),
    "one_keyset_too_few": (PluginTimeout, "no complete answer within"),
    "closes_stdin": (PluginTimeout, "no complete answer within"),
    "half_and_exit": (PluginDied, "in the middle of its answer"),
    "endless_line": (PluginProtocolError, "a line of more than 4096 bytes"),
    "huge_length": (PluginProtocolError, "the limit 'value' allows"),
    "negative_length": (PluginProtocolError, "plain decimal digits"),
    "length_too_short": (PluginProtocolError, "a line feed behind the 2 bytes"),
    "wrong_word": (PluginProtocolError, "found 'well'"),
    "capital_word": (PluginProtocolError, "found 'SUCCESS"),
    "blank_line_first": (PluginProtocolError, "found ''"),
    "blank_line_last": (PluginProtocolError, "expected nothing without a request"),
    "no_parent": (PluginProtocolError, "one of 0 keys"),
    "two_parents": (PluginProtocolError, "one of 2 keys"),
    "other_parent": (PluginProtocolError, "found 'user:/other'"),
    "one_keyset_too_many": (PluginProtocolError, "expected nothing without a request"),
    "answers_twice": (PluginProtocolError, "expected nothing without a request"),
    "invalid_name": (PluginProtocolError, "expected a valid key name"),
    "nul_in_string": (PluginProtocolError, "without NUL"),
    "meta_first": (PluginProtocolError, "found '$meta 1 1'"),
    "copymeta_of_nothing": (PluginProtocolError, "found the unknown key 'user:/zzz'"),
    "noise": (PluginProtocolError, "expected 'success', 'noupdate' or 'error'"),
    "prints_before": (PluginProtocolError, "found 'Hello from a print statement'"),
    "prints_behind": (PluginProtocolError, "found 'Hello from a print statement"),
    "closes_stdout": (PluginDied, "it closed its stdout before it answered"),
    "closes_everything": (PluginDied, "it closed its stdout before it answered"),
    "closes_stderr_then_stdout": (PluginDied, "it closed its stdout before it answered"),
    "exit_0": (PluginDied, "exit status 0"),
    "exit_1": (PluginDied, "exit status 1"),
    "complains_and_exits": (PluginDied, "the disk is full"),
    "out_of_memory": (PluginDied, "MemoryError"),
    "out_of_descriptors": (PluginDied, "Too many open files"),
    "disk_full": (PluginDied, "No space left on device"),
    "raises": (PluginDied, "in the middle of its answer"),
    "killed": (PluginDied, "signal SIGKILL"),
    "aborts": (PluginDied, "signal SIGABRT"),
    "segfaults": (PluginDied, "signal SIGSEGV"),
    "grandchild_holds_pipes": (PluginDied, "exit status 5"),
    "grandchild_floods": (
        PluginProcessError,
        "",
    ),  # died, or said what is no answer: whichever is seen first
    "grandchild_answers": (PluginDied, "exit status 0"),
    # What the host copes with, in this operation at least:
    "closes_stdin_and_answers": (None, ""),
    "answers_and_exits": (None, ""),
    "clings_and_answers": (None, ""),
    "ignores_everything_and_answers": (None, ""),
    "floods_stderr": (None, ""),
    "grandchild_holds_pipes_and_answers": (None, ""),
}

#: In the handshake there is no parent and any name below the root will do, and ACK is one word of several lines.
HANDSHAKE: dict[str, tuple[type[PluginProcessError] | None, str]] = {
    **ANSWERS,
    "no_parent": (PluginProtocolError, "no dump"),
    "two_parents": (None, ""),
    "other_parent": (PluginProtocolError, "no dump"),
    "invalid_name": (None, ""),
    "capital_word": (PluginProtocolError, "found 'ELEKTRA_STDIOPROC ACK V1"),
    "noise": (PluginProtocolError, "expected 'ELEKTRA_STDIOPROC ACK v1'"),
    "closes_stdin_and_answers": (PluginDied, "it closed its stdin"),
    "answers_and_exits": (PluginDied, "it ended"),
    "ignores_everything_and_answers": (PluginTimeout, "no complete answer within"),
}


def process(argv: list[str], start_timeout: float = 10.0) -> PluginProcess:
    return PluginProcess(
        argv, protocol="stdioproc", start_timeout=start_timeout, operation_timeout=OPERATION, close_timeout=CLOSE
    )


def test_every_misbehaviour_is_in_the_table() -> None:
    tree = ast.parse((Path(__file__).parent.parent / "children" / "bad.py").read_text())
    [methods] = [node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Child"]
    assert {node.name for node in methods if isinstance(node, ast.FunctionDef)} - {"__init__"} == set(ANSWERS)


def attempt(plugin: PluginProcess, operation: str, misbehaviour: str) -> None:
    """One operation of a child that misbehaves in it: the error, its bounds, and what must be as it was."""
    kind, words = ANSWERS[misbehaviour]
    keyset, parent = KeySet([Key("user:/p/a", "x", {"m": "1"})]), Key("user:/p", "/file", {"m": "2"})
    before = KeySet([key.copy() for key in keyset]), parent.copy()
    plugin.start()
    if operation != "checkconf":
        plugin.open()
    with Stopwatch(OPERATION + SLACK):
        if kind is None:
            assert getattr(plugin, operation)(keyset, parent) is Status.SUCCESS
            return
        with pytest.raises(kind) as caught:
            getattr(plugin, operation)(keyset, parent)
    error = caught.value
    assert words in str(error)
    assert error.phase == operation
    assert error.program == plugin.program
    assert f"({operation}, after {error.elapsed:.2f} s)" in str(error)
    assert error.elapsed <= OPERATION + SLACK
    assert (keyset, parent) == before
    if kind is PluginTimeout:
        assert error.elapsed >= OPERATION


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("misbehaviour", ANSWERS)
def test_in_an_operation(bad: Callable[..., list[str]], misbehaviour: str) -> None:
    plugin = process(bad("get", misbehaviour))
    attempt(plugin, "get", misbehaviour)
    with Stopwatch(3 * CLOSE + SLACK):
        plugin.end()
    assert plugin.ending is not None
    assert plugin.ending.status is not None


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("operation", ["set", "commit", "error", "checkconf"])
@pytest.mark.parametrize("misbehaviour", ANSWERS)
def test_in_every_operation(bad: Callable[..., list[str]], operation: str, misbehaviour: str) -> None:
    plugin = process(bad(operation, misbehaviour))
    attempt(plugin, operation, misbehaviour)
    plugin.end()


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("misbehaviour", ANSWERS)
def test_in_open(bad: Callable[..., list[str]], misbehaviour: str) -> None:
    """It is sent by the first operation, whose keyset is as it was."""
    kind, words = ANSWERS[misbehaviour]
    plugin = process(bad("open", misbehaviour))
    keyset, parent = KeySet([Key("user:/p/a", "x", {"m": "1"})]), Key("user:/p", "/file", {"m": "2"})
    plugin.start()
    with Stopwatch(OPERATION + 3 * CLOSE + SLACK):
        if kind is None:
            assert plugin.open() is Status.SUCCESS
        else:
            with pytest.raises(kind) as caught:
                plugin.get(keyset, parent)
            # The parent of open is another one: the root.
            assert words in str(caught.value) or "user:/other" in str(caught.value)
            assert caught.value.phase == "open"
            assert (keyset["user:/p/a"].value, parent.meta["m"]) == ("x", "2")
        plugin.end()


#: Those that need no deadline are quick enough for every run.
QUICK = [name for name, (kind, _) in HANDSHAKE.items() if kind is not PluginTimeout]


def shake_hands(plugin: PluginProcess, misbehaviour: str) -> None:
    kind, words = HANDSHAKE[misbehaviour]
    with Stopwatch(START + OPERATION + 3 * CLOSE + SLACK):
        if kind is None:
            with plugin:
                return
        with pytest.raises(kind) as caught, plugin:
            plugin.get(KeySet(), Key("user:/p"))
    assert words in str(caught.value)
    assert caught.value.phase in ("handshake", "open", "get")
    assert plugin.pid is None


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("misbehaviour", QUICK)
def test_in_the_handshake(bad: Callable[..., list[str]], misbehaviour: str) -> None:
    shake_hands(process(bad("handshake", misbehaviour), START), misbehaviour)


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("phase", ["start", "handshake"])
@pytest.mark.parametrize("misbehaviour", HANDSHAKE)
def test_in_the_whole_handshake(bad: Callable[..., list[str]], phase: str, misbehaviour: str) -> None:
    shake_hands(process(bad(phase, misbehaviour), START), misbehaviour)


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("misbehaviour", [name for name, (kind, _) in ANSWERS.items() if kind is not None])
def test_in_the_contract(bad: Callable[..., list[str]], misbehaviour: str) -> None:
    """The first line of the answer is a line of the contract here, so it is always wrong in some way, or no way."""
    plugin = process(bad("contract", misbehaviour), START)
    with Stopwatch(START + OPERATION + 3 * CLOSE + SLACK):
        try:
            with plugin:
                plugin.get(KeySet(), Key("user:/p"))
        except PluginProcessError as error:
            phase = error.phase
        else:
            phase = "get"
    assert phase in ("handshake", "open", "get")
    assert plugin.pid is None


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("phase", ["close", "end"])
@pytest.mark.parametrize(
    "misbehaviour", ["silent", "stopped", "stubborn", "spins", "endless_line", "killed", "grandchild_floods"]
)
def test_the_ending_is_bounded(bad: Callable[..., list[str]], phase: str, misbehaviour: str) -> None:
    end(process(bad(phase, misbehaviour)))


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("phase", ["close", "end"])
@pytest.mark.parametrize("misbehaviour", ANSWERS)
def test_every_ending_is_bounded(bad: Callable[..., list[str]], phase: str, misbehaviour: str) -> None:
    end(process(bad(phase, misbehaviour)))


def end(plugin: PluginProcess) -> None:
    """Leaving the block never raises, whatever the child does, and the data of before is there."""
    keyset = KeySet([Key("user:/p/a", "x")])
    with plugin:
        assert plugin.get(keyset, Key("user:/p")) is Status.SUCCESS
        watch = Stopwatch(3 * CLOSE + SLACK)
        watch.__enter__()
    watch.__exit__(None, None, None)
    assert keyset["user:/p/a"].value == "x"
    assert plugin.ending is not None
    assert plugin.ending.status is not None


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("misbehaviour", ["half", "exit_1", "wrong_word", "stubborn"])
def test_the_next_operation_on_a_fresh_child_works(bad: Callable[..., list[str]], misbehaviour: str) -> None:
    plugin = process(bad("get", misbehaviour))
    with plugin:
        with pytest.raises(PluginProcessError):
            plugin.get(KeySet(), Key("user:/p"))
        assert plugin.set(KeySet(), Key("user:/p")) is Status.SUCCESS


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("reads_on", [True, False])
def test_an_early_answer_counts_when_the_question_is_read_to_its_end(
    bad: Callable[..., list[str]], reads_on: bool
) -> None:
    """What is left of the question would stand before the next one."""
    plugin = process(
        [
            *bad("get", "silent")[:3],
            "-c",
            "import os\n"
            "os.read(0, 99)\n"
            "os.write(1, b'ELEKTRA_STDIOPROC ACK v1\\nhasty\\nkdbOpen 2\\n$key string 11 1\\nexports/get\\n1\\n$end\\n')\n"
            "os.read(0, 99)\n"
            "os.write(1, b'success\\nkdbOpen 2\\n$key string 7 0\\nuser:/p\\n\\n$end\\nkdbOpen 2\\n$end\\n')\n"
            "while READS_ON and os.read(0, 65536): pass\n"
            "while True: pass".replace("READS_ON", str(reads_on)),
        ]
    )
    keyset = KeySet([Key("user:/p/big", "x" * 3_000_000)])  # more than any pipe takes
    with plugin:
        if reads_on:
            assert plugin.get(keyset, Key("user:/p")) is Status.SUCCESS
            assert len(keyset) == 0
        else:
            with pytest.raises(PluginTimeout):
                plugin.get(keyset, Key("user:/p"))
            assert len(keyset) == 1


@pytest.mark.usefixtures("nothing_left")
def test_a_callback_that_raises_during_the_ending_leaves_no_child(bad: Callable[..., list[str]]) -> None:
    """It raised in the middle of the wait for the end, where nobody comes back for the child."""

    def refuse(data: bytes) -> None:
        raise RuntimeError("a callback of the host")

    plugin = PluginProcess(
        ["/bin/sh", "-c", "trap '' TERM; while :; do echo noise >&2; done"],
        protocol="stdioproc",
        start_timeout=5.0,
        on_stderr=refuse,
    )
    with pytest.raises(RuntimeError, match="a callback of the host"):
        plugin.start()
    assert plugin.pid is None


@pytest.mark.usefixtures("nothing_left")
def test_a_child_that_ends_before_it_read_the_question_is_told_at_once(bad: Callable[..., list[str]]) -> None:
    """A descendant that holds its pipes must not make the host wait for a dead child."""
    plugin = PluginProcess(
        [
            *bad("get", "silent")[:3],
            "-c",
            "import os, time\n"
            "os.read(0, 99)\n"
            "os.write(1, b'ELEKTRA_STDIOPROC ACK v1\\nhasty\\nkdbOpen 2\\n$key string 11 1\\nexports/get\\n1\\n$end\\n')\n"
            "os.read(0, 99)\n"
            "os.write(1, b'success\\nkdbOpen 2\\n$key string 7 0\\nuser:/p\\n\\n$end\\nkdbOpen 2\\n$end\\n')\n"
            "os.fork() == 0 and time.sleep(60)",
        ],
        protocol="stdioproc",
        operation_timeout=30.0,
    )
    keyset = KeySet([Key("user:/p/big", "x" * 3_000_000)])
    with plugin, Stopwatch(15.0), pytest.raises(PluginDied):
        plugin.get(keyset, Key("user:/p"))
    assert len(keyset) == 1


@pytest.mark.usefixtures("nothing_left")
def test_output_of_a_descendant_after_the_child_is_dead_is_no_answer(bad: Callable[..., list[str]]) -> None:
    plugin = process(
        [
            *bad("get", "silent")[:3],
            "-c",
            "import os, time\n"
            "os.read(0, 99)\n"
            "os.write(1, b'ELEKTRA_STDIOPROC ACK v1\\nx\\nkdbOpen 2\\n$key string 11 1\\nexports/get\\n1\\n$end\\n')\n"
            "os.read(0, 9999)\n"
            "os.write(1, b'success\\nkdbOpen 2\\n$key string 7 0\\nuser:/p\\n\\n$end\\nkdbOpen 2\\n$end\\n')\n"
            "if os.fork(): os._exit(0)\n"
            "os.write(1, b'noise\\n' * 9)\n"
            "time.sleep(9)\n",
        ]
    )
    with plugin:
        for _ in range(3):
            try:
                assert plugin.get(KeySet(), Key("user:/p")) is Status.SUCCESS
            except (PluginDied, PluginProtocolError):
                pass  # it depends on whether the system tells of the death or the noise first


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no such file"),
        (b"#!/nowhere/python\n", "interpreter '/nowhere/python', which does not exist"),
        (b"just text\n", "neither a program for this machine nor a script"),
        (b"\x7fELF\2\1\1" + bytes(57), "neither a program for this machine nor a script"),
        (b"", "neither a program for this machine nor a script"),
        (b"#!" + b"x" * 300, "interpreter"),
    ],
)
def test_a_program_that_cannot_start_says_what_to_do(tmp_path: Path, content: bytes | None, words: str) -> None:
    program = tmp_path / "program"
    if content is not None:
        program.write_bytes(content)
        program.chmod(0o755)
    with pytest.raises(PluginStartError, match=words) as caught:
        PluginProcess([str(program)]).start()
    assert str(program) in str(caught.value)


def test_a_program_that_is_not_executable_says_what_to_do(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"#!/bin/sh\n")
    with pytest.raises(PluginStartError, match=r"chmod \+x"):
        PluginProcess([str(program)]).start()
    with pytest.raises(PluginStartError, match="it is a directory"):
        PluginProcess([str(tmp_path)]).start()
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    with pytest.raises(PluginStartError, match="a symbolic link to a file that does not exist"):
        PluginProcess([str(tmp_path / "link")]).start()
