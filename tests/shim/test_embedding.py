"""The interpreter inside the host: which one it is, what happens when it is gone, and hosts that have one already."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import ctypes_shim
from ctypes_shim.build import (
    EMBED_FILE,
    PLUGIN_FILE,
    BuildError,
    build,
    check_loads,
    find_compiler,
    find_python_library,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Host

    from ctypes_shim.build import Built

PARENT = "user:/tests/shim"
ROOT = Path(__file__).parents[2]


def test_both_libraries_stay_mapped_and_know_where_libpython_is(shim: Built) -> None:
    for library in shim:
        done = subprocess.run(["readelf", "-d", library], capture_output=True, text=True, check=True, timeout=60)
        assert "NODELETE" in done.stdout
        assert ("libpython" in done.stdout) is (library == shim.embed)
    needed = subprocess.run(
        ["readelf", "-d", shim.plugin], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert "[libelektra-core.so.5]" in needed
    assert "[libelektra-plugin.so.5]" in needed


def test_the_libraries_load_with_an_environment_that_helps_nobody(shim: Built) -> None:
    """What `stdioproc shim doctor` does."""
    assert check_loads(*shim) == ""


def test_without_the_embedding_library_the_operation_says_so(host: Host, shim: Built, tmp_path: Path) -> None:
    alone = tmp_path / PLUGIN_FILE
    shutil.copy(shim.plugin, alone)
    lines = host(*host.worker(), "open 0", "contract 0", "get 0", "close 0", plugin=alone)
    assert "contract 0 1" in lines
    assert any(
        line.startswith("error C01200") and EMBED_FILE in line and "stdioproc shim install" in line for line in lines
    )


def test_an_embedding_library_of_another_kind_is_refused(host: Host, shim: Built, tmp_path: Path) -> None:
    shutil.copy(shim.plugin, tmp_path / PLUGIN_FILE)
    shutil.copy(shim.plugin, tmp_path / EMBED_FILE)
    lines = host(*host.worker(), "open 0", "get 0", "close 0", plugin=tmp_path / PLUGIN_FILE)
    assert "is of another version than this plugin" in lines[2]


def test_a_missing_interpreter_is_a_clear_error(host: Host, tmp_path: Path) -> None:
    """An environment that was removed or moved: Python would fall back in silence to whatever its library finds."""
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(environment), "platbase": str(environment)}))
    (site / "here.pth").write_text(f"{ROOT}\n{sysconfig.get_path('purelib')}\n")
    code = "import sys; from ctypes_shim.build import build; build(sys.argv[1])"
    subprocess.run([environment / "bin" / "python", "-c", code, tmp_path], check=True, timeout=300)
    shutil.rmtree(environment)
    lines = host(
        *host.worker(), "open 0", "get 0", f"parent {PARENT} x", "get 0", "close 0", plugin=tmp_path / PLUGIN_FILE
    )
    errors = [line for line in lines if line.startswith("error")]
    assert len(errors) == 2
    assert all(f"{environment}/bin/python, which is not there any more" in line for line in errors)


PYTHON_HOST = """
import ctypes, sys
plugin, core, program, *args = sys.argv[1:]
core = ctypes.CDLL(core, ctypes.RTLD_GLOBAL)
ctypes.CDLL(sys.argv[2].replace("core", "plugin"), ctypes.RTLD_GLOBAL)
library = ctypes.CDLL(plugin)
for name in ("keyNew", "ksNew", "double_open"):
    getattr(core, name).restype = ctypes.c_void_p
def key(name, value):
    made = ctypes.c_void_p(core.keyNew(name.encode(), None))
    core.keySetString(made, value.encode())
    return made
config = ctypes.c_void_p(core.ksNew(ctypes.c_size_t(4), None))
for name, value in [("user:/app", program), *((f"user:/args/#{i}", arg) for i, arg in enumerate(args))]:
    core.ksAppendKey(config, key(name, value))
status = ctypes.c_int()
parent = key("user:/tests/shim", "/file")
handle = ctypes.c_void_p(core.double_open(library.elektraPluginSymbol, config, parent, ctypes.byref(status)))
data = ctypes.c_void_p(core.ksNew(ctypes.c_size_t(0), None))
print("get", library.elektraStdioprocGet(handle, data, parent), "of", core.ksGetSize(data))
print("close", core.double_close(handle, parent))
"""


def test_a_host_that_is_python_itself(host: Host, shim: Built, double: Path) -> None:
    """Elektra's bindings: the interpreter that runs already is used, and its own modules stay what they are."""
    command = [sys.executable, "-c", PYTHON_HOST, shim.plugin, double / "libelektra-core.so.5", sys.executable]
    done = subprocess.run(
        [*command, host.children / "worker.py", "edit"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "get 1 of 3\nclose 1\n", done.stderr


def test_an_interpreter_that_its_owner_ends(host: Host, compile_c: Callable[..., Path], double: Path) -> None:
    """Elektra's python plugin finalises Python when it is closed: refused with the reason, and the child is not left behind."""
    python = find_python_library()
    libraries = (double / "libelektra-core.so.5", double / "libelektra-plugin.so.5", python.library)
    runpaths = (f"-Wl,-rpath,{double}", f"-Wl,-rpath,{python.library.parent}")
    owner = compile_c(
        "python_owner",
        Path(__file__).parent / "python_owner.c",
        f"-I{python.include}",
        "-Wl,--no-as-needed",
        *libraries,
        *runpaths,
        "-ldl",
    )
    done = subprocess.run(
        [owner, host.plugin, sys.executable, host.children / "worker.py", "echo"],
        env={"PYTHONPATH": f"{ROOT}:{sysconfig.get_path('purelib')}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    first, second, close = done.stdout.splitlines()
    assert first.rstrip() == "get 1"
    assert second.startswith("get -1 ")
    assert "shut down by its owner" in second
    assert close == "close 1"


# --- building


def test_without_a_compiler_the_message_names_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(BuildError, match="apt install gcc"):
        find_compiler()


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BuildError, match="cannot write the libraries"):
        build(tmp_path / "file" / "below")


def test_a_compiler_that_fails_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho 'this is a broken compiler' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    with pytest.raises(BuildError, match="this is a broken compiler"):
        build(tmp_path / "out")
    assert not (tmp_path / "out" / PLUGIN_FILE).exists()


def test_building_again_replaces_the_files_by_rename(shim: Built, tmp_path: Path) -> None:
    """A running host keeps the library that it has mapped."""
    target = tmp_path / PLUGIN_FILE
    target.write_text("old")
    with target.open() as old:
        built = build(tmp_path)
        assert old.read() == "old"
    assert built.plugin == target
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([PLUGIN_FILE, EMBED_FILE])


@pytest.mark.parametrize("language", ["c", "c++"])
def test_the_header_for_hosts_stands_alone(compiler: str, tmp_path: Path, language: str) -> None:
    source = tmp_path / "source"
    source.write_text(
        '#include "stdioproc.h"\nint (*get) (struct _Plugin *, struct _KeySet *, struct _Key *) = elektraStdioprocGet;\n'
    )
    include = f"-I{Path(ctypes_shim.__file__).parent / 'include'}"
    command = [compiler, "-x", language, "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", include, source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if language == "c++" and "cc1plus" in done.stderr:
        pytest.skip("no C++ compiler (apt install g++)")
    assert done.returncode == 0, done.stderr
