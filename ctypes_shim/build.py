"""Compiles the two libraries of the shim with the machine's C compiler, for the Python environment that runs this.

No Elektra is needed: two empty libraries with Elektra's sonames, made from `elektra_abi.h`, stand in for it while linking.
"""

from __future__ import annotations

import compileall
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import NamedTuple

import dumpfmt
from ctypes_shim._build import SOURCES, write_glue

PLUGIN_FILE = "libelektra-plugin-stdioproc.so"
#: The name that Elektra before 0.10 loads.
OLD_PLUGIN_FILE = "libelektra-stdioproc.so"
EMBED_FILE = "stdioproc-embed.so"

#: Seconds for one call of the compiler; far more than any needs.
COMPILER_TIMEOUT = 300.0
#: Seconds for loading the libraries once, Python's start included.
LOAD_TIMEOUT = 30.0

# No -Werror: a compiler of tomorrow may know warnings that nobody who builds today could heed. The tests build with it.
_WARNINGS = ("-Wall", "-Wextra")
#: What the interpreter in the host imports of ours; the first has _runtime.
_PACKAGES = ("ctypes_shim", "stdioproc", "dumpfmt")
#: The scanner of records is dumpfmt's own: one set of rules for lengths in all C code.
SCANNER = Path(dumpfmt.__file__).parent / "csrc"
_COMMON = ("-std=c11", "-D_GNU_SOURCE", "-O2", "-fPIC", "-fvisibility=hidden", f"-I{SCANNER}")
# nodelete: Elektra's loader calls dlclose, and neither Python nor handlers for fork can be unmapped.
_LINK = ("-shared", "-Wl,-z,nodelete", "-Wl,-z,relro", "-Wl,-z,now", "-Wl,--no-undefined", "-Wl,--enable-new-dtags")
DUMP_SOURCES = (
    *(SOURCES / name for name in ("dump_common.c", "dump_write.c", "dump_read.c", "dump_apply.c")),
    SCANNER / "dumpscan.c",
)
_THIN_SOURCES = (
    *(SOURCES / name for name in ("plugin.c", "contract.c", "parent.c", "report.c", "boot.c")),
    *DUMP_SOURCES,
)


class BuildError(RuntimeError):
    """The shim cannot be built here; the message says what to install or to change."""


class Built(NamedTuple):
    """Where the two libraries are. They belong into one directory."""

    plugin: Path
    embed: Path


class PythonLibrary(NamedTuple):
    """What is needed to embed the running Python."""

    include: Path
    library: Path


def build(output_dir: str | os.PathLike[str], flags: tuple[str, ...] = ()) -> Built:
    """Compile both libraries into `output_dir`, which is made when it is missing; `flags` are added for the compiler. Raises
    BuildError."""
    output = Path(output_dir)
    compiler = find_compiler()
    python = find_python_library()
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="stdioproc-build-") as temporary:
            work = Path(temporary)
            plugin = _build_plugin(compiler, work, flags)
            embed = _build_embed(compiler, python, work, flags)
            _compile_bytecode()
            return Built(_move(plugin, output), _move(embed, output))
    except OSError as error:
        raise BuildError(f"cannot write the libraries to {output}: {error.strerror or error}") from error


def check_loads(plugin: Path, embed: Path) -> str:
    """Load both libraries in a small C host, with an environment that helps nobody, and make Python answer; what went wrong, or
    nothing. Raises BuildError when the host cannot be compiled."""
    compiler = find_compiler()
    with tempfile.TemporaryDirectory(prefix="stdioproc-doctor-") as temporary:
        work = Path(temporary)
        for soname, names in _elektra_functions().items():
            _build_stub(compiler, work, soname, names)
        host = work / "host"
        _run(compiler, *_COMMON, *_WARNINGS, "-o", str(host), str(SOURCES / "doctor_host.c"), "-ldl")
        try:
            done = subprocess.run(
                [host, plugin.resolve(), embed.resolve()],
                env={"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": temporary},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=LOAD_TIMEOUT,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
    if done.returncode == 0:
        return ""
    return (done.stdout + done.stderr).strip() or f"the host ended with {done.returncode}"


def find_compiler() -> str:
    """The C compiler: `$CC`, or the first of cc, gcc, clang. Raises BuildError with the package to install."""
    wanted = os.environ.get("CC", "").split()
    for name in (*wanted[:1], "cc", "gcc", "clang"):
        found = shutil.which(name)
        if found:
            return found
    raise BuildError(
        "no C compiler found (tried $CC, cc, gcc, clang); install one (Debian, Ubuntu: apt install gcc; Fedora: dnf install gcc)"
    )


def find_python_library() -> PythonLibrary:
    """The headers and the shared library of the running Python. Raises BuildError with the package to install."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    include = Path(sysconfig.get_path("include"))
    install = f"install it (Debian, Ubuntu: apt install python{version}-dev; Fedora: dnf install python3-devel)"
    if sys.implementation.name != "cpython":
        raise BuildError(
            f"the shim embeds CPython, and this is {sys.implementation.name}; use an environment of CPython"
        )
    if not (include / "Python.h").is_file():
        raise BuildError(f"{include / 'Python.h'} is missing: {install}")
    library = _find_libpython()
    if library is None:
        raise BuildError(
            f"the shared library of Python {version} at {sys.base_prefix} was not found: {install}; "
            "a Python built from source needs ./configure --enable-shared"
        )
    return PythonLibrary(include, library)


def _find_libpython() -> Path | None:
    """`INSTSONAME` is the file that programs load at run time; distributions put it where `LIBDIR` does not always say."""
    variables = sysconfig.get_config_vars("INSTSONAME", "LDLIBRARY", "LIBDIR", "MULTIARCH", "LIBPL")
    names = [str(name) for name in variables[:2] if name and ".so" in str(name)]
    libdir, multiarch, libpl = (str(value or "") for value in variables[2:])
    folders = [libdir, os.path.join(libdir, multiarch), os.path.join(sys.base_prefix, "lib"), libpl]
    for folder in folders:
        for name in names:
            path = Path(folder) / name
            if folder and path.is_file():
                return path
    return None


def _build_plugin(compiler: str, work: Path, flags: tuple[str, ...]) -> Path:
    stubs = [_build_stub(compiler, work, soname, names) for soname, names in _elektra_functions().items()]
    target = work / PLUGIN_FILE
    sources = list(map(str, _THIN_SOURCES))
    script = f"-Wl,--version-script={SOURCES / 'exports.map'}"
    _run(
        compiler,
        *_COMMON,
        *_WARNINGS,
        *_LINK,
        *flags,
        script,
        "-o",
        str(target),
        *sources,
        *map(str, stubs),
        "-pthread",
        "-ldl",
    )
    return target


def _elektra_functions() -> dict[str, list[str]]:
    """The functions of each section of elektra_abi.h, by the soname in its heading."""
    functions: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in (SOURCES / "elektra_abi.h").read_text(encoding="utf-8").splitlines():
        heading = re.match(r"/\* Section: (\S+)", line)
        if heading:
            current = None if heading[1] == "end" else functions.setdefault(heading[1], [])
        declared = re.match(r"\w[\w *]*?\b(\w+) \(", line)
        if declared and current is not None:
            current.append(declared[1])
    return functions


def _build_stub(compiler: str, work: Path, soname: str, names: list[str]) -> Path:
    source = work / f"{soname}.c"
    source.write_text("".join(f"void {name} (void) {{}}\n" for name in names), encoding="utf-8")
    target = work / soname
    _run(compiler, "-shared", "-fPIC", "-w", f"-Wl,-soname,{soname}", "-o", str(target), str(source))
    return target


def _build_embed(compiler: str, python: PythonLibrary, work: Path, flags: tuple[str, ...]) -> Path:
    glue = work / "glue.c"
    write_glue(glue)
    (work / "baked.h").write_text(_baked(), encoding="utf-8")
    include = (f"-I{work}", f"-I{SOURCES}", f"-I{python.include}")
    objects = []
    # The generated file is not ours to keep free of warnings.
    for source, warnings in ((SOURCES / "embed.c", (*_WARNINGS, *flags)), (glue, ("-w",))):
        objects.append(str(work / f"{source.stem}.o"))
        _run(compiler, *_COMMON, *warnings, *include, "-c", "-o", objects[-1], str(source))
    target = work / EMBED_FILE
    script = f"-Wl,--version-script={SOURCES / 'embed.map'}"
    runpath = f"-Wl,-rpath,{python.library.parent}"
    _run(
        compiler, *_LINK, *flags, script, runpath, "-o", str(target), *objects, str(python.library), "-pthread", "-ldl"
    )
    return target


def _baked() -> str:
    """baked.h: the environment that this library belongs to. The search path is complete, so that site needs not be imported."""
    backend = importlib.util.find_spec("_cffi_backend")
    if backend is None or backend.origin is None:
        raise BuildError(
            f"the package cffi is not installed for {sys.executable}: {sys.executable} -m pip install cffi"
        )
    packages = [
        *map(_parent_of, _PACKAGES),
        str(Path(backend.origin).parent),
    ]
    stdlib = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), *_dynload()]
    required = [
        os.path.join(stdlib[0], "os.py"),
        os.path.join(packages[0], "ctypes_shim", "_runtime.py"),
        backend.origin,
    ]
    texts = {
        "BAKED_EXECUTABLE": sys.executable,
        "BAKED_PREFIX": sys.prefix,
        "BAKED_BASE_PREFIX": sys.base_prefix,
        "BAKED_EXEC_PREFIX": sys.exec_prefix,
        "BAKED_BASE_EXEC_PREFIX": sys.base_exec_prefix,
    }
    lines = [f"#define {name} {_c_text(value)}" for name, value in texts.items()]
    lists = {"baked_path": [*stdlib, *packages], "baked_packages": packages, "baked_required": required}
    for name, values in lists.items():
        entries = ", ".join(_c_text(value) for value in dict.fromkeys(values))
        lines.append(f"static const char * const {name}[] = {{ {entries}, 0 }};")
    return "\n".join(lines) + "\n"


def _compile_bytecode() -> None:
    """The interpreter in the host writes no files, so what an editable install has not compiled yet would be compiled in every
    host. Only in the user's own directories: root must leave nothing in them."""
    for package in _PACKAGES:
        directory = Path(_parent_of(package)) / package
        if os.stat(directory).st_uid == os.geteuid():
            compileall.compile_dir(directory, quiet=2)


def _parent_of(package: str) -> str:
    """The directory that must be on the search path for `package`, wherever an editable install has put it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise BuildError(f"the package {package} is not installed for {sys.executable}; install stdioproc again")
    return str(Path(spec.origin).resolve().parent.parent)


def _dynload() -> list[str]:
    return [entry for entry in sys.path if os.path.basename(entry) == "lib-dynload"]


def _c_text(value: str) -> str:
    """A C string literal of the file system bytes of `value`; octal escapes end after three digits, unlike hexadecimal ones."""
    body = "".join(chr(b) if 32 <= b < 127 and b not in b'"\\?' else f"\\{b:03o}" for b in os.fsencode(value))
    return f'"{body}"'


def _move(source: Path, output: Path) -> Path:
    """A rename within `output`: a host that has the old library mapped keeps it, and nobody sees half a file."""
    target = output / source.name
    with tempfile.NamedTemporaryFile(dir=output, prefix=f".{source.name}.", delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(source.read_bytes())
            os.fchmod(file.fileno(), 0o755)
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    return target


def _run(*command: str) -> None:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMPILER_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"cannot run the C compiler {command[0]}: {error}") from error
    if done.returncode != 0:
        raise BuildError(f"the C compiler failed ({done.returncode}): {' '.join(command)}\n{done.stderr.strip()}")
