"""A child needs no Python: the plugins in sh and in C."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dumpfmt import Key, KeySet
from stdioproc.errors import get_error
from stdioproc.events import Status
from stdioproc.host import PluginProcess

UPPER = str(Path(__file__).resolve().parents[2] / "specload_examples" / "upper.sh")
ROOT = "user:/tests/x"
SHELLS = [shell for shell in ("dash", "bash", "busybox", "ksh") if shutil.which(shell)]


def argv(shell: str) -> list[str]:
    path = str(shutil.which(shell))
    return [path, "sh", UPPER] if shell == "busybox" else [path, UPPER]


def awkward() -> KeySet:
    keys = KeySet(
        [
            Key(ROOT, ""),
            Key(f"{ROOT}/backslash", "\\A\\0101%S *\t \\"),
            Key(f"{ROOT}/lines", "\n\nA\n\n"),
            Key(f"{ROOT}/line\nfeed", "Ä"),
            Key(f"{ROOT}/bytes", b"\0\1\n\xff\\\0"),
            Key(f"{ROOT}/null", None),
            Key(f"{ROOT}/no utf-8", "\udcff"),
            Key(f"{ROOT}/$end", "$END", {"m": "a\nb\\c\\", "n": ""}),
        ]
    )
    keys[f"{ROOT}/$end"].copy_meta(keys[ROOT], "shared")
    return keys


@pytest.fixture(params=[*SHELLS, "c"])
def program(request: pytest.FixtureRequest) -> list[str]:
    if request.param == "c":
        return [request.getfixturevalue("maxlength")]
    return argv(request.param)


@pytest.mark.parametrize("parser", ["fast", "lark"])
def test_every_byte_comes_back(program: list[str], dialect: str, parser: str) -> None:
    keys = awkward()
    keys[ROOT].meta["shared"] = "x"
    keys[f"{ROOT}/null"].copy_meta(keys[ROOT], "shared")
    with PluginProcess(program, protocol=dialect, parser=parser) as plugin:
        parent = Key(ROOT, "/a file", {"m": "\\n"})
        before = KeySet(key.copy() for key in keys)
        for _ in range(2):
            assert plugin.set(keys, parent) is Status.SUCCESS
        assert keys == before
        assert parent == Key(ROOT, "/a file", {"m": "\\n"})


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.one_of(st.binary(max_size=40), st.text("AB\n\\ %Ä*", max_size=20)), max_size=4))
def test_any_value_comes_back(program: list[str], values: list[str | bytes]) -> None:
    keys = KeySet(Key(f"{ROOT}/{number}", value) for number, value in enumerate(values))
    before = KeySet(key.copy() for key in keys)
    with PluginProcess(program, protocol="stdioproc") as plugin:
        assert plugin.set(keys, Key(ROOT)) is Status.SUCCESS
    assert keys == before


@pytest.mark.parametrize("shell", SHELLS)
def test_sh_refuses_small_letters_and_names_the_key(shell: str, dialect: str) -> None:
    parent = Key(ROOT, "/file")
    keys = KeySet([Key(f"{ROOT}/a", "AT"), Key(f"{ROOT}/b", "A\\t\n\\"), Key(f"{ROOT}/c", b"small, but no text")])
    with PluginProcess(argv(shell), protocol=dialect) as plugin:
        assert plugin.set(keys, parent) is Status.ERROR
    error = get_error(parent)
    assert error is not None and error.number == "C03200" and error.mountpoint == ROOT and error.configfile == "/file"
    assert error.reason.startswith(f"{ROOT}/b must not hold small letters, but is 'A\\t\n\\'")


@pytest.mark.parametrize(
    ("value", "most", "status"),
    [
        ("albert", "6", Status.SUCCESS),
        ("alberta", "6", Status.ERROR),
        ("äöü", "3", Status.SUCCESS),
        (b"\xc3\xa4", "1", Status.ERROR),
        ("", "0", Status.SUCCESS),
        ("a", "many", Status.ERROR),
        ("a", "", Status.ERROR),
        ("a", "9999999999", Status.ERROR),
    ],
)
def test_c_counts_characters(maxlength: str, dialect: str, value: str | bytes, most: str, status: Status) -> None:
    parent = Key(ROOT, "/file")
    with PluginProcess([maxlength], protocol=dialect) as plugin:
        assert plugin.set(KeySet([Key(f"{ROOT}/a", value, {"check/length/max": most})]), parent) is status
    error = get_error(parent)
    assert (error is None) == (status is Status.SUCCESS)
    assert error is None or (f"{ROOT}/a" in error.reason and "check/length/max" in error.reason)


def test_c_understands_shared_metadata(maxlength: str) -> None:
    first, second = Key(f"{ROOT}/a", "x", {"check/length/max": "1"}), Key(f"{ROOT}/b", "xx")
    second.copy_meta(first, "check/length/max")
    parent = Key(ROOT)
    with PluginProcess([maxlength]) as plugin:
        assert plugin.set(KeySet([first, second]), parent) is Status.ERROR
    error = get_error(parent)
    assert error is not None and error.reason.startswith(f"{ROOT}/b has 2 characters")


@pytest.mark.parametrize(
    "message",
    [
        b"kdbOpen 3\n",
        b"kdbOpen 2\n$key string 1 99999999999999999999\n",
        b"kdbOpen 2\n$key string 4 -1\n",
        b"kdbOpen 2\n$key string 9 2\nuser:/abc\nxyz\n",
        b"kdbOpen 2\n$key string 9 9\nuser:/abc\nxyz\n",
        b"kdbOpen 2\n$nonsense\n",
        b"kdbOpen 2\n$key string 9 3\nuser:/abc\nx",
        b"kdbOpen 2\n$key binary 9 5\nuser:/abc\nxy",
        b"kdbOpen 2\n" + b"x" * 5000,
    ],
)
def test_a_broken_keyset_ends_the_child_with_a_reason(program: list[str], message: bytes) -> None:
    ended = subprocess.run(program, input=b"ELEKTRA_PROCESS INIT v1\nset\n" + message, capture_output=True, timeout=20)
    assert ended.returncode == 76
    assert ended.stderr.startswith((b"upper: ", b"maxlength: "))


@pytest.mark.parametrize("end", [b"ELEKTRA_STDIOPROC TERMINATE\n", b""])
def test_the_end_is_quiet(program: list[str], end: bytes) -> None:
    ended = subprocess.run(program, input=b"ELEKTRA_STDIOPROC INIT v1\n" + end, capture_output=True, timeout=20)
    assert (ended.returncode, ended.stderr) == (0, b"")
