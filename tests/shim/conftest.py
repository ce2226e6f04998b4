"""The shim's tests compile C: the shim itself, the test double of Elektra's libraries, and hosts that load it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from ctypes_shim.build import SCANNER, SOURCES, BuildError, Built, build, find_compiler, find_python_library

HERE = Path(__file__).parent
#: A copy of the children for this run alone, so that its processes can be told from those of another run.
CHILDREN = Path(tempfile.mkdtemp(prefix="stdioproc-children-"))
FLAGS = (
    "-std=c11",
    "-D_GNU_SOURCE",
    "-g",
    "-O1",
    "-Wall",
    "-Wextra",
    "-Werror",
    f"-I{SOURCES}",
    f"-I{SCANNER}",
    f"-I{HERE / 'double'}",
)

#: Seconds for one run of a compiled program; most need a tenth of one.
RUN_TIMEOUT = 60.0
#: Seconds for a child to end after its host was killed.
ORPHAN_TIMEOUT = 5.0


@pytest.fixture(scope="session")
def compiler() -> str:
    try:
        return find_compiler()
    except BuildError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def compile_c(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Compile C files to a file of that name, in a directory of its own."""
    work = tmp_path_factory.mktemp("compiled")

    def run(name: str, *arguments: str | Path) -> Path:
        target = work / name
        subprocess.run([compiler, *FLAGS, "-o", target, *map(str, arguments)], check=True, timeout=RUN_TIMEOUT)
        return target

    return run


@pytest.fixture(scope="session")
def double(compile_c: Callable[..., Path]) -> Path:
    """The directory of the test double: two libraries with the sonames of Elektra's."""
    core = compile_c(
        "libelektra-core.so.5",
        HERE / "double" / "elektra_double.c",
        "-shared",
        "-fPIC",
        "-Wl,-soname,libelektra-core.so.5",
    )
    empty = core.parent / "empty.c"
    empty.write_text("extern int nothing;\n")
    compile_c("libelektra-plugin.so.5", empty, "-shared", "-fPIC", "-Wl,-soname,libelektra-plugin.so.5")
    return core.parent


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Both libraries, built as a user builds them, with warnings as errors."""
    try:
        find_compiler()
        find_python_library()
    except BuildError as error:
        pytest.skip(str(error))
    return build(tmp_path_factory.mktemp("shim"), flags=("-Werror",))


class Host:
    """The C host with the plugin. Calling it runs commands; the answer is the lines that it printed.

    The static methods give commands that configure a program. (Tests cannot import from here; the fixture brings it all.)
    """

    children = CHILDREN

    def __init__(self, executable: Path, plugin: Path) -> None:
        self.executable = executable
        self.plugin = plugin

    def __call__(
        self, *commands: str, env: dict[str, str] | None = None, wrapper: Sequence[str] = (), plugin: Path | None = None
    ) -> list[str]:
        """Raises AssertionError when the host does not end with 0, or writes anything to its standard error."""
        done = subprocess.run(
            [*wrapper, str(self.executable), str(plugin or self.plugin), *commands],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={"PATH": "/usr/bin:/bin"} if env is None else env,
            timeout=RUN_TIMEOUT,
            check=False,
        )
        output = done.stdout.decode("utf-8", "backslashreplace")
        assert done.returncode == 0, f"{done.returncode}: {output}\n{done.stderr.decode('utf-8', 'backslashreplace')}"
        assert done.stderr == b""
        return output.splitlines()

    @staticmethod
    def program(*command: str | Path) -> list[str]:
        return [f"config app={command[0]}", *(f"config args/#{index}={word}" for index, word in enumerate(command[1:]))]

    @staticmethod
    def worker(mode: str = "echo", placements: str = "presetstorage,postgetstorage", log: Path | str = "") -> list[str]:
        """children/worker.py, which does its part; `mode` says what with the keys."""
        return Host.program(sys.executable, CHILDREN / "worker.py", mode, placements, log)

    @staticmethod
    def broken(mode: str) -> list[str]:
        """children/broken.sh, which does not; with deadlines that a test can wait for."""
        timeouts = ["config timeout/start=500", "config timeout/operation=500", "config timeout/close=300"]
        return [*Host.program(CHILDREN / "broken.sh", mode), *timeouts]

    @staticmethod
    def running() -> list[str]:
        return running_children()


@pytest.fixture(scope="session")
def host(double: Path, shim: Built, compile_c: Callable[..., Path]) -> Host:
    libraries = (double / "libelektra-core.so.5", double / "libelektra-plugin.so.5")
    program = compile_c(
        "host", HERE / "host.c", "-Wl,--no-as-needed", *libraries, f"-Wl,-rpath,{double}", "-pthread", "-ldl"
    )
    return Host(program, shim.plugin)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture(scope="session")
def valgrind() -> str:
    found = shutil.which("valgrind")
    if found is None:
        pytest.skip("valgrind is not installed (apt install valgrind)")
    return found


@pytest.fixture(scope="session", autouse=True)
def _children() -> Iterator[None]:
    shutil.copytree(HERE / "children", CHILDREN, dirs_exist_ok=True)
    yield
    shutil.rmtree(CHILDREN)


def running_children() -> list[str]:
    """Command lines of the processes that name a file of CHILDREN."""
    lines = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue  # it has just ended
        if str(CHILDREN) in line:
            lines.append(line)
    return lines


@pytest.fixture(autouse=True)
def _no_orphans() -> Iterator[None]:
    """No test may leave a child of the shim running. One whose host was killed has a moment to notice."""
    yield
    deadline = time.monotonic() + ORPHAN_TIMEOUT
    while running_children() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert running_children() == []
