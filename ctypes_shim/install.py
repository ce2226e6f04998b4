"""Finds the plugin directory of the installed Elektra, and puts the shim there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ctypes_shim.build import EMBED_FILE, OLD_PLUGIN_FILE, PLUGIN_FILE, BuildError, build

#: Seconds for pkg-config.
QUERY_TIMEOUT = 10.0

#: Where distributions and Elektra's own build put plugins when nothing else is told; `*` is the architecture.
_USUAL = (
    "/usr/lib/*/elektra",
    "/usr/lib/elektra",
    "/usr/lib64/elektra",
    "/usr/local/lib/elektra",
    "/usr/local/lib64/elektra",
)


class InstallError(RuntimeError):
    """The shim cannot be installed; the message says what to do."""


class Installed(NamedTuple):
    """The files that were written, and those of earlier installs that were removed."""

    directory: Path
    files: tuple[Path, ...]
    removed: tuple[Path, ...]


def find_plugin_dir() -> Path:
    """The directory where the installed Elektra looks for plugins. Raises InstallError."""
    tried = []
    for directory in _candidates():
        if directory not in tried:
            tried.append(directory)
            if is_plugin_dir(directory):
                return directory
    looked = f" (looked at {', '.join(map(str, tried))})" if tried else ""
    raise InstallError(
        f"no plugin directory of Elektra found{looked}; install Elektra (libelektra), or name the directory with --plugin-dir"
    )


def is_plugin_dir(directory: Path) -> bool:
    """Whether plugins of Elektra lie there, ours not counted."""
    ours = (PLUGIN_FILE, OLD_PLUGIN_FILE)
    return any(path.name not in ours for path in directory.glob("libelektra-*.so"))


def loads_new_names(directory: Path) -> bool:
    """Whether the Elektra of this directory is 0.10 or later, which calls its files libelektra-plugin-NAME.so."""
    others = [path for path in directory.glob("libelektra-plugin-*.so") if path.name != PLUGIN_FILE]
    return bool(others) or not is_plugin_dir(directory)


def install(plugin_dir: str | os.PathLike[str] | None = None, both: bool = False) -> Installed:
    """Build the shim and put it into `plugin_dir`, or where the installed Elektra looks.

    One file name is installed, since Elektra would list the plugin twice under two; `both` installs the old and the new one.
    Raises InstallError and BuildError.
    """
    directory = Path(plugin_dir) if plugin_dir is not None else find_plugin_dir()
    if not directory.is_dir():
        raise InstallError(f"{directory} is no directory; name the one where Elektra's plugins lie with --plugin-dir")
    new = loads_new_names(directory)
    names = [PLUGIN_FILE, OLD_PLUGIN_FILE] if both else [PLUGIN_FILE if new else OLD_PLUGIN_FILE]
    with tempfile.TemporaryDirectory(prefix="stdioproc-install-") as temporary:
        built = build(temporary)
        try:
            # The embedding library first: a host that sees the new plugin must find what belongs to it.
            files = [_copy(built.embed, directory / EMBED_FILE)]
            files += [_copy(built.plugin, directory / name) for name in names]
            stale = [directory / name for name in (PLUGIN_FILE, OLD_PLUGIN_FILE) if name not in names]
            removed = [path for path in stale if path.exists()]
            for path in removed:
                path.unlink()
        except OSError as error:
            raise InstallError(_cannot_write(directory, error)) from error
    return Installed(directory, tuple(files), tuple(removed))


def _cannot_write(directory: Path, error: OSError) -> str:
    if isinstance(error, PermissionError):
        command = f"{os.path.join(os.path.dirname(sys.executable), 'stdioproc')} shim install --plugin-dir {directory}"
        return f"no permission to write into {directory}; run: sudo {command}"
    return f"cannot write into {directory}: {error.strerror or error}"


def _copy(source: Path, target: Path) -> Path:
    """By rename: a running host keeps the file that it has mapped."""
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
        temporary = Path(file.name)
    try:
        shutil.copyfile(source, temporary)
        temporary.chmod(0o755)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return target


def _candidates() -> Iterator[Path]:
    """pkg-config knows best; then beside the `kdb` on PATH; then the usual places."""
    told = _pkg_config()
    if told:
        yield Path(told)
    kdb = shutil.which("kdb")
    if kdb:
        prefix = Path(kdb).resolve().parent.parent
        yield prefix / "lib" / "elektra"
        yield prefix / "lib64" / "elektra"
        yield from sorted(prefix.glob("lib/*/elektra"))
    for pattern in _USUAL:
        yield from sorted(Path("/").glob(pattern.lstrip("/")))


def _pkg_config() -> str:
    program = shutil.which("pkg-config")
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, "--variable=plugindir", "elektra"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=QUERY_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


__all__ = ["BuildError", "InstallError", "Installed", "find_plugin_dir", "install", "is_plugin_dir", "loads_new_names"]
