"""What Elektra's tools are told about a program, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from ctypes_shim.contract import ROOT, ContractCache, ContractError, ProgramContract
from dumpfmt import Key, KeySet
from stdioproc.host import PluginProcessError
from stdioproc.host.config import PluginConfig

EVERY = frozenset(("open", "get", "set", "commit", "error", "close"))


def contract(infos: dict[str, str], operations: frozenset[str] = EVERY, dialect: str = "stdioproc") -> ProgramContract:
    return ProgramContract("/the/program", "name", dialect, operations, infos)


def infos_of(made: ProgramContract) -> dict[str, str]:
    return {key.basename: str(key.value) for key in made.keyset().below(f"{ROOT}/infos")}


def test_the_infos_are_those_of_the_program() -> None:
    found = infos_of(
        contract({"placements": "presetstorage", "description": "d", "stacking": "", "status": "maintained 7"})
    )
    assert found["description"] == "d"
    assert found["stacking"] == ""
    assert found["status"] == "maintained 7"
    assert found["version"] == "1"
    assert {"author", "licence", "needs", "provides", "metadata", "recommends", "ordering"} <= set(found)


def test_exports_mirror_the_operations() -> None:
    keys = contract({"placements": "presetstorage"}, frozenset(("set",))).keyset()
    assert [key.basename for key in keys.below(f"{ROOT}/exports")] == ["exports", "checkconf", "close", "open", "set"]


def test_provides_is_expanded() -> None:
    """A storage plugin that says only storage/x would get a second one beside it."""
    found = infos_of(contract({"placements": "getstorage setstorage", "provides": "storage/toml"}))
    assert found["provides"] == "storage/toml storage toml"


@pytest.mark.parametrize(
    ("infos", "operations", "words"),
    [
        ({}, EVERY, "announces no placements"),
        ({"placements": "moon"}, EVERY, "no placement 'moon'"),
        ({"placements": "presetstorage", "status": "brilliant"}, EVERY, "no status 'brilliant'"),
        ({"placements": "presetstorage"}, frozenset(("get",)), "needs the operation 'set'"),
        ({"placements": "getstorage setstorage"}, EVERY, 'provides=("storage/NAME",)'),
    ],
)
def test_nonsense_is_refused_and_the_program_named(
    infos: dict[str, str], operations: frozenset[str], words: str
) -> None:
    with pytest.raises(ContractError) as caught:
        contract(infos, operations)
    assert str(caught.value).startswith("/the/program announces")
    assert words in str(caught.value)


@pytest.mark.parametrize("placements", ["", "getstorage setstorage"])
def test_programs_for_the_released_host_are_placed_as_it_does(placements: str) -> None:
    """It never looked at what they announce: its own test child says it is a storage plugin and is none."""
    assert contract({"placements": placements}, dialect="process").placements == ("postgetstorage", "presetstorage")


def test_programs_for_the_released_host_may_say_where_they_belong() -> None:
    assert contract({"placements": "presetstorage"}, dialect="process").placements == ("presetstorage",)


@pytest.mark.parametrize("word", ["getresolver", "setresolver", "commit", "prerollback", "rollback", "postrollback"])
def test_what_kdb_mount_cannot_place_is_told_with_the_way_out(word: str) -> None:
    problem = contract({"placements": f"presetstorage {word}"}).mount_problem()
    assert word in problem
    assert "stdioproc mount" in problem


def test_what_kdb_mount_can_place_is_no_problem() -> None:
    words = "pregetstorage postgetstorage presetstorage precommit postcommit"
    assert contract({"placements": words}).mount_problem() == ""


def test_a_failure_is_remembered_until_the_program_changes(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho again >> $0.count\n")
    program.chmod(0o755)
    config = PluginConfig.from_keyset(KeySet([Key("user:/app", str(program)), Key("user:/protocol", "stdioproc")]))
    cache = ContractCache()
    count = tmp_path / "program.count"
    for expected in (1, 1):
        with pytest.raises(PluginProcessError):
            cache.ask(config, {})
        assert len(count.read_text().split()) == expected
    program.write_text("#!/bin/sh\n# changed\necho again >> $0.count\n")
    with pytest.raises(PluginProcessError):
        cache.ask(config, {})
    assert len(count.read_text().split()) == 2
