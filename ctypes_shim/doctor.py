"""What is missing for the shim, and what to do about it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ctypes_shim.build import (
    EMBED_FILE,
    OLD_PLUGIN_FILE,
    PLUGIN_FILE,
    BuildError,
    build,
    check_loads,
    find_compiler,
    find_python_library,
)
from ctypes_shim.install import InstallError, find_plugin_dir, loads_new_names

#: Seconds for asking kdb.
QUERY_TIMEOUT = 30.0


class Finding(NamedTuple):
    """One thing that was looked at. `good` is None where the shim works without it. `advice` is empty when there is none."""

    what: str
    good: bool | None
    found: str
    advice: str = ""


def examine(plugin_dir: str | None = None) -> list[Finding]:
    """Look at everything that the shim needs, in the order in which it must be mended."""
    findings = [
        _check("C compiler", find_compiler),
        _check("Python headers and shared library", lambda: str(find_python_library().library)),
    ]
    if all(finding.good for finding in findings):
        findings.append(_check_build())
    findings.append(_check_kdb())
    findings.extend(_check_installed(plugin_dir))
    return findings


def _check(what: str, find: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, find())
    except BuildError as error:
        return Finding(what, False, "missing", str(error))


def _check_build() -> Finding:
    what = "building and loading it in a C host"
    with tempfile.TemporaryDirectory(prefix="stdioproc-doctor-") as temporary:
        try:
            problem = check_loads(*build(temporary))
        except BuildError as error:
            return Finding(what, False, "does not build", str(error))
    if problem:
        return Finding(what, False, "built, but does not load", problem)
    return Finding(what, True, "works")


def _check_kdb() -> Finding:
    kdb = shutil.which("kdb")
    if kdb is None:
        advice = "install Elektra (libelektra) to mount anything; the shim can be built without it"
        return Finding("Elektra", None, "no kdb on PATH", advice)
    try:
        done = subprocess.run(
            [kdb, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=QUERY_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("Elektra", False, f"{kdb} does not run", str(error))
    if done.returncode != 0:
        return Finding("Elektra", False, f"{kdb} --version fails ({done.returncode})", done.stderr.strip())
    version = next(
        (line.partition(":")[2].strip() for line in done.stdout.splitlines() if line.startswith("KDB_VERSION")), ""
    )
    return Finding("Elektra", True, f"{kdb} {version}".rstrip())


def _check_installed(plugin_dir: str | None) -> list[Finding]:
    try:
        directory = Path(plugin_dir) if plugin_dir else find_plugin_dir()
    except InstallError as error:
        return [Finding("plugin directory", None, "not found", str(error))]
    findings = [Finding("plugin directory", True, str(directory))]
    wanted = PLUGIN_FILE if loads_new_names(directory) else OLD_PLUGIN_FILE
    plugin, embed = directory / wanted, directory / EMBED_FILE
    if not plugin.exists() or not embed.exists():
        missing = plugin if not plugin.exists() else embed
        findings.append(Finding("installed plugin", False, f"{missing} is missing", "run: stdioproc shim install"))
        return findings
    try:
        problem = check_loads(plugin, embed)
    except BuildError as error:
        findings.append(Finding("installed plugin", None, f"{plugin} (could not be tried)", str(error)))
        return findings
    if problem:
        findings.append(
            Finding("installed plugin", False, f"{plugin} does not load", f"{problem}; run: stdioproc shim install")
        )
    else:
        findings.append(Finding("installed plugin", True, str(plugin)))
    if all((directory / name).exists() for name in (PLUGIN_FILE, OLD_PLUGIN_FILE)):
        advice = "Elektra lists the plugin twice; unless two versions of it share this directory, run: stdioproc shim install"
        findings.append(Finding("file names", None, "both the old and the new one are installed", advice))
    return findings
