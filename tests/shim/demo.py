"""What `make demo` shows of the shim: Elektra's plugin in a C host, and in the real Elektra if it is installed and may be used.

The C host stands for Elektra and uses the test double of its libraries; the plugin and the program are the real ones.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ctypes_shim.build import SOURCES, BuildError, Built, build, find_compiler

HERE = Path(__file__).parent
WHITELIST = HERE.parents[1] / "specload_examples" / "whitelist.py"
MOUNTPOINT = "user:/tests/stdioproc-demo"
FILE = "stdioproc-demo.dump"

#: Seconds for one program.
TIMEOUT = 60.0


def main() -> int:
    try:
        with tempfile.TemporaryDirectory(prefix="stdioproc-demo-") as temporary:
            in_a_c_host(Path(temporary))
    except BuildError as error:
        print(f"The shim cannot be built here: {error}")
    in_elektra()
    return 0


def in_a_c_host(work: Path) -> None:
    print("The Elektra plugin, compiled now, in a C host that loads it as Elektra does:")
    shim = build(work)
    host = compile_host(work)
    commands = [
        f"config app={sys.executable}",
        f"config args/#0={WHITELIST}",
        "open 0",
        "maps libpython",
        "phase 0 71",
        "key user:/app/color red",
        "meta user:/app/color check/whitelist/#0 red",
        "meta user:/app/color check/whitelist/#1 green",
        "parent user:/app /app.conf",
        "set 0",
        "key user:/app/color blue",
        "meta user:/app/color check/whitelist/#0 red",
        "meta user:/app/color check/whitelist/#1 green",
        "set 0",
        "close 0",
        "children",
    ]
    explained = {
        "open 0 1": "open      success; nothing was started",
        "maps libpython 0": "          and libpython is not even mapped",
        "set 0 1 /app.conf": "set red   success",
        "set 0 -1 /app.conf": "set blue  refused by the program:",
        "close 0 1": "close     success",
        "children 0": "          and no process is left",
    }
    for line in run_host(host, shim, commands):
        print(f"  {explained.get(line, '            ' + line)}")


def compile_host(work: Path) -> Path:
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O1", f"-I{SOURCES}", f"-I{HERE / 'double'}"]
    core, plugin, host = work / "libelektra-core.so.5", work / "libelektra-plugin.so.5", work / "host"
    (work / "empty.c").write_text("extern int nothing;\n")
    shared = ["-shared", "-fPIC"]
    for command in (
        [*flags, *shared, "-Wl,-soname,libelektra-core.so.5", "-o", core, HERE / "double" / "elektra_double.c"],
        [*flags, *shared, "-Wl,-soname,libelektra-plugin.so.5", "-o", plugin, work / "empty.c"],
        [
            *flags,
            "-o",
            host,
            HERE / "host.c",
            "-Wl,--no-as-needed",
            core,
            plugin,
            f"-Wl,-rpath,{work}",
            "-pthread",
            "-ldl",
        ],
    ):
        subprocess.run([find_compiler(), *command], check=True, timeout=TIMEOUT)
    return host


def run_host(host: Path, shim: Built, commands: list[str]) -> list[str]:
    # Without LD_LIBRARY_PATH, which could bring a real Elektra in where the double belongs.
    env = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [host, shim.plugin, *commands], capture_output=True, text=True, env=env, timeout=TIMEOUT, check=True
    )
    return done.stdout.splitlines()


def in_elektra() -> None:
    """Only where stdioproc is installed as a plugin already, and mounting is allowed: nothing is installed or left behind."""
    program = [f"app={sys.executable}", f"args/#0={WHITELIST}"]
    commands = [
        ["kdb", "mount", FILE, MOUNTPOINT, "dump", "stdioproc", *program],
        ["kdb", "meta-set", f"{MOUNTPOINT}/color", "check/whitelist/#0", ""],
        ["kdb", "meta-set", f"{MOUNTPOINT}/color", "check/whitelist/#1", "red"],
        ["kdb", "set", f"{MOUNTPOINT}/color", "red"],
        ["kdb", "set", f"{MOUNTPOINT}/color", "blue"],
        ["kdb", "get", f"{MOUNTPOINT}/color"],
    ]
    cleanup = [["kdb", "rm", "-rf", MOUNTPOINT], ["kdb", "umount", MOUNTPOINT]]
    reason = why_not_in_elektra()
    if reason:
        print(f"\nIn a real Elektra ({reason}, so these are not run):")
        for command in (*commands, *cleanup):
            print(f"  {shlex.join(command)}")
        return
    print("\nIn the Elektra that is installed:")
    try:
        for command in commands:
            print(f"  $ {shlex.join(command)}")
            done = kdb(command)
            for line in (done.stdout + done.stderr).splitlines():
                print(f"      {line}")
    finally:  # also on Ctrl-C
        for command in cleanup:
            kdb(command)


def why_not_in_elektra() -> str:
    if shutil.which("kdb") is None:
        return "there is no kdb on PATH"
    if "stdioproc" not in kdb(["kdb", "plugin-list"]).stdout.split():
        return "stdioproc is not among its plugins; see: stdioproc shim install"
    if MOUNTPOINT in kdb(["kdb", "mount"]).stdout:
        return f"{MOUNTPOINT} is mounted already"
    table = kdb(["kdb", "file", "system:/elektra/mountpoints"]).stdout.strip()
    writable = table if os.path.exists(table) else os.path.dirname(table)
    if not table or not os.access(writable, os.W_OK):
        return f"its mount table {table} cannot be written"
    return ""


def kdb(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )


if __name__ == "__main__":
    sys.exit(main())
