"""Who may import whom: the arrows of the house point down only, and what starts often imports little."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("dumpfmt", "stdioproc", "ctypes_shim", "specload_examples")
SANS_IO = ("dialects", "events", "state", "wire", "connection")
INPUT_AND_OUTPUT = {
    *(
        "asyncio",
        "fcntl",
        "io",
        "multiprocessing",
        "os",
        "pathlib",
        "select",
        "selectors",
        "shutil",
        "signal",
        "socket",
    ),
    *(
        "ssl",
        "subprocess",
        "tempfile",
        "termios",
        "threading",
        "time",
        "urllib",
        "_thread",
        "_posixsubprocess",
        "posix",
    ),
}
#: What is too dear for a program that starts thousands of times a day.
HEAVY = {
    "asyncio",
    "dataclasses",
    "importlib.metadata",
    "inspect",
    "lark",
    "logging",
    "re",
    "subprocess",
    "threading",
    "typing",
}


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imports(name: str) -> set[str]:
    """Every module that a module names in an import, also inside functions, but for those only a type checker sees."""
    path, found = MODULES[name], set()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]

    def visit(node: ast.AST) -> None:
        if (
            isinstance(node, ast.If)
            and isinstance(node.test, (ast.Name, ast.Attribute))
            and is_type_checking(node.test)
        ):
            for child in node.orelse:
                visit(child)
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(
                    [*package.split(".")[: len(package.split(".")) - node.level + 1], *([base] if base else [])]
                )
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names if f"{base}.{alias.name}" in MODULES)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text("utf-8")))
    return found


def is_type_checking(test: ast.Name | ast.Attribute) -> bool:
    return (test.id if isinstance(test, ast.Name) else test.attr) == "TYPE_CHECKING"


def tops(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def of(prefix: str) -> list[str]:
    return [name for name in MODULES if name == prefix or name.startswith(prefix + ".")]


def loaded_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter has after a statement, beyond those that it has before it."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); before = set(sys.modules); {statement}; "
    code += "print(*sorted(set(sys.modules) - before), sep='\\n')"
    found = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    return set(found.stdout.split())


@pytest.mark.parametrize("name", of("dumpfmt"))
def test_dumpfmt_knows_nothing_above_it_and_does_no_input_or_output(name):
    assert not tops(imports(name)) & (INPUT_AND_OUTPUT | {"stdioproc", "ctypes_shim", "specload_examples"})


@pytest.mark.parametrize("name", [f"stdioproc.{name}" for name in SANS_IO])
def test_the_protocol_does_no_input_or_output(name):
    found = imports(name)
    assert not tops(found) & INPUT_AND_OUTPUT
    assert not [each for each in found if each.startswith(("stdioproc.host", "stdioproc.child", "stdioproc.cli"))]


@pytest.mark.parametrize("name", of("stdioproc.child"))
def test_a_child_needs_no_host(name):
    assert not [each for each in imports(name) if each.startswith(("stdioproc.host", "stdioproc.cli"))]


@pytest.mark.parametrize("name", of("stdioproc.host"))
def test_a_host_needs_no_child(name):
    assert not [each for each in imports(name) if each.startswith(("stdioproc.child", "stdioproc.cli"))]


@pytest.mark.parametrize("name", [name for name in MODULES if name.partition(".")[0] in ("dumpfmt", "stdioproc")])
def test_only_commands_know_the_shim(name):
    # The commands build and install it; what runs in a host is below it.
    assert name.startswith("stdioproc.cli") or "ctypes_shim" not in tops(imports(name))


def test_only_the_reference_parser_imports_lark():
    assert [name for name in MODULES if "lark" in tops(imports(name))] == ["dumpfmt.reference"]


def test_the_reference_parser_is_imported_only_when_asked_for():
    assert [name for name in MODULES if "dumpfmt.reference" in imports(name)] == ["dumpfmt.decode"]
    assert not {"dumpfmt.reference", "lark"} & loaded_by("import dumpfmt")


def test_only_strategies_import_hypothesis():
    assert {name.rpartition(".")[2] for name in MODULES if "hypothesis" in tops(imports(name))} == {"testing"}


def test_only_tests_and_strategies_import_strategies():
    strategies = {name for name in MODULES if name.rpartition(".")[2] == "testing"}
    assert not [name for name in MODULES if name not in strategies and imports(name) & strategies]


@pytest.mark.parametrize("name", MODULES)
def test_nothing_of_ours_is_imported_upwards(name):
    ours = {each for each in imports(name) if each in MODULES}
    if name.startswith("stdioproc."):
        assert not tops(ours) & {"specload_examples"}
    if name.startswith("ctypes_shim"):
        assert not [each for each in ours if each.startswith(("stdioproc.cli", "stdioproc.child", "specload_examples"))]


def test_importing_dumpfmt_costs_little():
    assert not loaded_by("import dumpfmt") & (HEAVY | {"os", "selectors", "signal", "socket"})


#: What `import stdioproc.child` may bring into an interpreter that was started without `site`, beside modules of ours.
CHILD = {
    *("__future__", "_bisect", "_collections", "_collections_abc", "_functools", "_operator", "_stat", "bisect"),
    *(
        "collections",
        "collections.abc",
        "enum",
        "fcntl",
        "functools",
        "genericpath",
        "itertools",
        "keyword",
        "operator",
    ),
    *("os", "os.path", "posixpath", "reprlib", "stat", "types"),
}


def test_a_child_imports_no_more_than_this():
    found = loaded_by("import stdioproc.child")
    ours = {name for name in found if name.partition(".")[0] in PACKAGES}
    assert not found & HEAVY
    assert not [name for name in ours if name.startswith(("stdioproc.host", "stdioproc.cli", "ctypes_shim"))]
    assert found - ours <= CHILD, f"new: {sorted(found - ours - CHILD)}"
