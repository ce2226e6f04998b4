"""Contracts: the forms that a host accepts, and what a class may say of itself."""

from __future__ import annotations

import pytest

from dumpfmt import Key, KeySet, dumps
from stdioproc import wire
from stdioproc.connection import Connection
from stdioproc.contract import PLACEMENTS, Contract, Infos, check_module_name, make_contract
from stdioproc.dialects import DIALECTS, OPERATIONS, PROCESS, STDIOPROC, Dialect
from stdioproc.errors import RemoteProtocolError
from stdioproc.events import Init, Request
from stdioproc.state import Role

ROOTS = [STDIOPROC.root, PROCESS.root, "system:/elektra/modules/mine"]


def learned(contract: bytes, dialect: Dialect, parser: str = "fast", name: str = "mine") -> Contract:
    """What a host makes of the bytes of a contract."""
    host = Connection(Role.HOST, parser=parser)  # type: ignore[arg-type]
    host.send(Init(dialect))
    host.receive_data(f"{dialect.ack}\n{name}\n".encode() + contract)
    host.next_event()
    assert host.contract is not None
    return host.contract


def bare(**keys: str) -> bytes:
    """A contract as the seed draws it: names without a namespace."""
    out = b"kdbOpen 2\n"
    for name, value in keys.items():
        path = name.replace("__", "/").encode()
        out += b"$key string %d %d\n%b\n%b\n" % (len(path), len(value), path, value.encode())
    return out + b"$end\n"


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("marker", ["exports/get", "exports/has/get"])
def test_a_host_takes_either_marker_below_any_root(dialect: Dialect, parser: str, root: str, marker: str) -> None:
    keys = KeySet([Key(f"{root}/{marker}", "1"), Key(f"{root}/infos/author", "me")])
    contract = learned(dumps(keys), dialect, parser)
    assert contract.operations == {"get"}
    assert contract.infos == {"author": "me"}
    assert contract.keys == keys


def test_bare_names_are_relative_to_the_root(dialect: Dialect, parser: str) -> None:
    contract = learned(bare(exports__get="1", exports__has__set="1", infos__author="me"), dialect, parser)
    assert contract.operations == {"get", "set"}
    assert contract.infos == {"author": "me"}
    assert next(key.name for key in contract.keys) == f"{dialect.root}/exports/get"


def test_bare_names_are_understood_nowhere_else(dialect: Dialect, parser: str) -> None:
    host = Connection(Role.HOST, parser=parser)  # type: ignore[arg-type]
    host.send(Init(dialect))
    host.receive_data(f"{dialect.ack}\nmine\n".encode() + bare(exports__get="1"))
    host.next_event()
    host.send(Request("get", Key("user:/p"), KeySet()))
    host.receive_data(b"success\nkdbOpen 2\n$key string 7 0\nuser:/p\n\n$end\n" + bare(a="1"))
    with pytest.raises(RemoteProtocolError, match="a valid key name"):
        host.next_event()


@pytest.mark.parametrize("value", ["0", "", "yes", "1 ", "11"])
def test_a_marker_is_the_value_1(value: str) -> None:
    assert learned(bare(exports__get=value), STDIOPROC).operations == frozenset()


def test_markers_elsewhere_are_none() -> None:
    contract = learned(
        bare(exports__x__get="1", get="1", exports="1", exports__has="1", exports__rename="1"), STDIOPROC
    )
    assert contract.operations == frozenset()


def test_an_operation_that_the_dialect_has_not_is_none() -> None:
    assert learned(bare(exports__commit="1", exports__get="1"), PROCESS).operations == {"get"}


def test_a_name_with_an_escape_is_the_name_of_a_root() -> None:
    root = Key("system:/elektra/modules").child("a/b")
    contract = learned(dumps(KeySet([root.join("exports/get", "1")])), STDIOPROC, name="a\\/b")
    assert contract.operations == {"get"}


def test_a_child_writes_both_markers_for_what_the_dialect_has(dialect: Dialect) -> None:
    keys = make_contract(Infos(), frozenset({"get", "commit"}), dialect)
    exports = [key.name.removeprefix(f"{dialect.root}/") for key in keys if "/exports/" in key.name]
    wanted = ["exports/commit", "exports/get", "exports/has/commit", "exports/has/get"]
    assert exports == [name for name in wanted if dialect is STDIOPROC or "commit" not in name]
    assert all(key.value == "1" for key in keys if "/exports/" in key.name)


def test_infos_arrive_as_they_were_given(dialect: Dialect) -> None:
    infos = Infos(
        author="Ä <a@b>",
        licence="BSD",
        description="does\nthings",
        placements=("presetstorage", "postgetstorage"),
        status=("maintained", "-100"),
        provides=("storage/toml", "filter"),
    )
    contract = learned(dumps(make_contract(infos, frozenset(OPERATIONS), dialect)), dialect)
    assert contract.infos["author"] == "Ä <a@b>"
    assert contract.infos["description"] == "does\nthings"
    assert contract.infos["placements"] == "presetstorage postgetstorage"
    assert contract.infos["status"] == "maintained -100"
    assert contract.infos["provides"] == "storage/toml storage toml filter"


@pytest.mark.parametrize(("field", "word"), [("status", "maintaned"), ("placements", "presetstorag")])
def test_a_word_that_elektra_does_not_know_is_refused(field: str, word: str) -> None:
    with pytest.raises(ValueError, match=f"infos.{field}: Elektra knows no .* '{word}'"):
        Infos(**{field: (word,)})  # type: ignore[arg-type]


def test_a_text_where_words_belong_says_how_to_write_it() -> None:
    with pytest.raises(ValueError, match=r"write \('a', 'b'\)"):
        Infos(needs="a b")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'a b' is no single word"):
        Infos(needs=("a b",))


@pytest.mark.parametrize(("placement", "operation"), PLACEMENTS.items())
def test_a_placement_needs_its_operation(placement: str, operation: str) -> None:
    infos = Infos(placements=(placement,))
    infos.check_operations(frozenset({operation}))
    with pytest.raises(ValueError, match=f"'{placement}' needs the operation '{operation}'"):
        infos.check_operations(frozenset(OPERATIONS) - {operation})


@pytest.mark.parametrize("name", ["toml", "Whitelist", "a.b", "mit leer", "ä", "a\\/b"])
def test_names_of_modules(name: str) -> None:
    assert check_module_name(name) == name


@pytest.mark.parametrize("name", ["", "a/b", "/a", "a/", ".", "..", "a\nb", "a\0b", "\\"])
def test_what_is_no_name_of_a_module(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        check_module_name(name)


def test_the_words_of_a_dialect() -> None:
    assert [(d.init, d.ack, d.terminate) for d in DIALECTS.values()] == [
        ("ELEKTRA_STDIOPROC INIT v1", "ELEKTRA_STDIOPROC ACK v1", "ELEKTRA_STDIOPROC TERMINATE"),
        ("ELEKTRA_PROCESS INIT v1", "ELEKTRA_PROCESS ACK v1", "ELEKTRA_PROCESS TERMINATE"),
    ]
    assert wire.LINE_LIMIT == 4096
