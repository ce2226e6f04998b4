"""The whitelist plugin refuses what a key's list does not hold, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dumpfmt import Key, KeySet
from stdioproc.errors import get_error, get_warnings
from stdioproc.events import Status
from stdioproc.host import PluginProcess

PROGRAM = [sys.executable, str(Path(__file__).resolve().parents[2] / "specload_examples" / "whitelist.py")]
LIST = {"check/whitelist/#0": "red", "check/whitelist/#1": "green"}


def run(key: Key, dialect: str = "stdioproc", parser: str = "fast") -> tuple[Status, Key]:
    parent = Key("user:/tests/paint", "/file")
    with PluginProcess(PROGRAM, protocol=dialect, parser=parser) as plugin:
        return plugin.set(KeySet([key]), parent), parent


@pytest.mark.parametrize("parser", ["fast", "lark"])
def test_a_listed_value_is_stored(dialect: str, parser: str) -> None:
    status, parent = run(Key("user:/tests/paint/a", "green", LIST), dialect, parser)
    assert status is Status.SUCCESS and "error" not in parent.meta


def test_another_value_is_refused_with_key_value_and_list(dialect: str) -> None:
    status, parent = run(Key("user:/tests/paint/a", "blue", LIST), dialect)
    error = get_error(parent)
    assert status is Status.ERROR and error is not None and error.number == "C03200"
    assert error.reason == "user:/tests/paint/a must not be 'blue'; allowed are 'red', 'green'"
    assert error.file.endswith("whitelist.py") and error.module == "whitelist"


@pytest.mark.parametrize(
    "meta",
    [
        {"check/whitelist/#_10": "red"},
        {"check/whitelist/#00": "red"},
        {"check/whitelist/#__0": "red"},
        {"check/whitelist": "#0", "check/whitelist/#3": "red"},
    ],
)
def test_every_element_counts_whatever_the_root_says(meta: dict[str, str]) -> None:
    assert run(Key("user:/tests/paint/a", "red", meta))[0] is Status.SUCCESS
    assert run(Key("user:/tests/paint/a", "blue", meta))[0] is Status.ERROR


@pytest.mark.parametrize("meta", [{}, {"check/whitelist": "#0"}, {"check/whitelists/#0": "red"}])
def test_a_key_without_elements_is_not_checked(meta: dict[str, str]) -> None:
    assert run(Key("user:/tests/paint/a", "blue", meta))[0] is Status.SUCCESS


@pytest.mark.parametrize("name", ["#", "#_", "#abc", "##0", "garbage", "#0/below", "x/#0"])
def test_what_is_no_element_is_ignored_with_a_warning(name: str) -> None:
    status, parent = run(Key("user:/tests/paint/a", "blue", {f"check/whitelist/{name}": "red"}))
    assert status is Status.SUCCESS
    (warning,) = get_warnings(parent)
    assert warning.number == "C03200" and f"check/whitelist/{name}" in warning.reason


@pytest.mark.parametrize("value", [b"red", None])
def test_a_binary_value_is_no_value_of_a_list(value: bytes | None) -> None:
    status, parent = run(Key("user:/tests/paint/a", value, LIST))
    error = get_error(parent)
    assert status is Status.ERROR and error is not None and "binary" in error.reason


def test_the_empty_value_must_be_listed() -> None:
    assert run(Key("user:/tests/paint/a", "", LIST))[0] is Status.ERROR
    assert run(Key("user:/tests/paint/a", "", {**LIST, "check/whitelist/#2": ""}))[0] is Status.SUCCESS


def test_each_further_refusal_is_a_warning() -> None:
    parent = Key("user:/tests/paint")
    keys = KeySet(Key(f"user:/tests/paint/{name}", "blue", LIST) for name in "abc")
    with PluginProcess(PROGRAM) as plugin:
        assert plugin.set(keys, parent) is Status.ERROR
        assert plugin.operations == {"set"}
    error = get_error(parent)
    assert error is not None and "/a " in error.reason
    assert ["/b " in each.reason or "/c " in each.reason for each in get_warnings(parent)] == [True, True]
