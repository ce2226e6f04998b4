"""`stdioproc mount`: the exact `kdb mount` line for a program, or the mountpoint's keys where `kdb mount` cannot make them.

`kdb mount` splits every value at commas, and has no way to place a resolver, a commit or a rollback plugin. In these cases it
mounts everything but the program, and the program's keys are added to what it wrote, in one transaction: a mountpoint that
is only half written would make the whole of KDB unusable.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from typing import NamedTuple

from ctypes_shim._requests import check_configuration
from ctypes_shim.contract import ContractError, ProgramContract, ask
from dumpfmt import DumpError, Key, KeySet, dumps, loads
from dumpfmt.names import array_index
from stdioproc.errors import get_error
from stdioproc.host import PluginProcessError, Status
from stdioproc.host.config import ConfigError, PluginConfig

MOUNTPOINTS = "system:/elektra/mountpoints"
PLUGIN = "stdioproc"

#: Seconds for one call of kdb, which may start the program itself.
KDB_TIMEOUT = 120.0

#: Where a placement stands below `definition/positions`; arrays end with `#`.
POSITIONS = {
    "getresolver": "get/resolver",
    "pregetstorage": "get/prestorage/#",
    "getstorage": "get/storage",
    "procgetstorage": "get/poststorage/#",
    "postgetstorage": "get/poststorage/#",
    "setresolver": "set/resolver",
    "presetstorage": "set/prestorage/#",
    "setstorage": "set/storage",
    "precommit": "set/precommit/#",
    "commit": "set/commit",
    "postcommit": "set/postcommit/#",
    "prerollback": "set/prerollback/#",
    "rollback": "set/rollback",
    "postrollback": "set/postrollback/#",
}


class MountError(RuntimeError):
    """The program cannot be mounted; the message says why and what to do."""


class Plan(NamedTuple):
    """How a program is mounted.

    `command` is the kdb line to run; `own_keys` says why the program's keys are written afterwards (empty: the line does all).
    `config` is the plugin configuration, `contract` what the program announced.
    """

    mountpoint: str
    command: tuple[str, ...]
    own_keys: str
    config: KeySet
    contract: ProgramContract

    def relative_files(self) -> list[str]:
        """Arguments that are paths as seen from here, and would mean other files, or none, from elsewhere."""
        arguments = (key.value for key in self.config.below("user:/args") if len(key.parts) == 2)
        return [
            each for each in arguments if isinstance(each, str) and not os.path.isabs(each) and os.path.isfile(each)
        ]

    def __str__(self) -> str:
        line = shlex.join(self.command)
        return f"{line}\n# and the keys of the program itself: {self.own_keys}" if self.own_keys else line


def plan(
    file: str,
    mountpoint: str,
    command: Sequence[str],
    *,
    plugins: Sequence[str] = (),
    env: Sequence[str] = (),
    copyenv: Sequence[str] = (),
    config: Sequence[str] = (),
    options: Sequence[str] = (),
) -> Plan:
    """Ask the program what it is and find out how to mount it. Nothing is changed.

    `plugins` are mounted before the program; `env` are `NAME=value`, `copyenv` names, `config` and `options` `key=value` (for the
    program, and for stdioproc itself). Raises MountError.
    """
    keys = _configuration(command, env, copyenv, config, options)
    try:
        read = PluginConfig.from_keyset(keys)
        contract = ask(read, os.environ)
        parent = Key("/")
        if check_configuration(read, contract.operations, contract.dialect, keys, parent) is Status.ERROR:
            raise MountError(f"{read.program} refuses its configuration: {get_error(parent)}")
    except (ConfigError, ContractError, PluginProcessError) as error:
        raise MountError(str(error)) from error
    base = ("kdb", "mount", file, mountpoint, *plugins)
    reason = _why_own_keys(contract, keys)
    line = base if reason else (*base, PLUGIN, *_arguments(keys))
    return Plan(Key(mountpoint).name, line, reason, keys, contract)


def carry_out(plan: Plan) -> None:
    """Mount. Raises MountError, with the mountpoint as it was before: not there."""
    _kdb(plan.command[1:])
    if not plan.own_keys:
        return
    root = Key(MOUNTPOINTS).child(plan.mountpoint)
    try:
        base = loads(_kdb(("export", root.name, "dump")), parent=root)
        edited = dumps(add_program(base, root, plan), parent=root)
        _kdb(("umount", plan.mountpoint))
    except (MountError, DumpError):
        _kdb(("umount", plan.mountpoint), check=False)
        raise
    # Into an empty place: kdb import would otherwise try to merge with what is there.
    _kdb(("import", root.name, "dump"), edited)


def add_program(base: KeySet, root: Key, plan: Plan) -> KeySet:
    """What `kdb mount` wrote for a mountpoint, with the program put where its placements say. Raises MountError."""
    keys = base.copy()
    plugin = root.join(f"plugins/{PLUGIN}")
    if plugin in keys:
        raise MountError(f"{plan.mountpoint} has another program already; this way only one can be mounted")
    keys.append(plugin)
    keys.append(plugin.join("name", PLUGIN))
    for key in plan.config:
        relative = key.name.removeprefix("user:/")
        keys.append(plugin.join(f"config/{relative}" if relative else "config", key.value))
    positions = root.join("definition/positions")
    for placement in plan.contract.placements:
        position = POSITIONS.get(placement)
        if position is None:
            raise MountError(
                f"{plan.contract.name} is placed at {placement}, where no mountpoint of this Elektra has a place"
            )
        if position.endswith("#"):
            _append_to_array(keys, positions.join(position.removesuffix("/#")))
        else:
            keys.append(positions.join(position, PLUGIN))
    _mark_differences(keys, positions)
    _drop_unused(keys, root)
    return keys


def _configuration(
    command: Sequence[str], env: Sequence[str], copyenv: Sequence[str], config: Sequence[str], options: Sequence[str]
) -> KeySet:
    if not command:
        raise MountError(
            "no program given: put it behind --, as in stdioproc mount FILE MOUNTPOINT -- /path/of/program ARGS…"
        )
    program = shutil.which(command[0])
    if program is None:
        raise MountError(f"{command[0]} is no program that can be run; give its path, and make it executable")
    keys = KeySet([Key("user:/app", os.path.abspath(program))])
    for name, values in (("args", command[1:]), ("env", env), ("copyenv", copyenv)):
        if values:
            keys.append(Key(f"user:/{name}", array_index(len(values) - 1)))
        keys.extend(Key(f"user:/{name}/{array_index(index)}", value) for index, value in enumerate(values))
    for prefix, pairs in (("user:/config", config), ("user:/", options)):
        for pair in pairs:
            name, equals, value = pair.partition("=")
            if not equals or not name:
                raise MountError(f"{pair!r} must read key=value")
            keys.append(Key(prefix).join(name, value))
    return keys


def _why_own_keys(contract: ProgramContract, keys: KeySet) -> str:
    problem = contract.mount_problem()
    if problem:
        return problem.partition(";")[0]
    for key in keys:
        if isinstance(key.value, str) and "," in key.value:
            return f"{key.name.removeprefix('user:/')} has a comma, where kdb mount would split it"
    return ""


def _arguments(keys: KeySet) -> list[str]:
    return [f"{key.name.removeprefix('user:/')}={key.value}" for key in keys if isinstance(key.value, str)]


def _append_to_array(keys: KeySet, array: Key) -> None:
    """Behind what is there. The root is needed for those arrays that KDB reads by it."""
    count = sum(1 for key in keys.below(array) if len(key.parts) == len(array.parts) + 1)
    keys.append(array.join(array_index(count), PLUGIN))
    keys.append(Key(array.name, array_index(count)))


def _mark_differences(keys: KeySet, positions: Key) -> None:
    """KDB wants it said aloud when commit or rollback is not the plugin that resolves."""
    resolver = keys.get(positions.join("set/resolver"))
    for word in ("commit", "rollback"):
        other = keys.get(positions.join(f"set/{word}"))
        if resolver is not None and other is not None and resolver.value != other.value:
            keys.append(positions.join(f"set/{word}/differs", "1"))


def _drop_unused(keys: KeySet, root: Key) -> None:
    """A plugin that the program took the place of would be opened for nothing."""
    used = {key.value for key in keys.below(root.join("definition/positions"))}
    plugins = root.join("plugins")
    depth = len(plugins.parts)
    names = {key.parts[depth] for key in keys.below(plugins) if len(key.parts) > depth}
    for name in names - used - {"backend"}:
        keys.cut(plugins.child(name))


def _kdb(arguments: Sequence[str], data: bytes = b"", check: bool = True) -> bytes:
    program = shutil.which("kdb")
    if program is None:
        raise MountError("kdb is not on PATH; install Elektra, or use --print to see what would be done")
    try:
        done = subprocess.run([program, *arguments], input=data, capture_output=True, timeout=KDB_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MountError(f"kdb {arguments[0]} does not run: {error}") from error
    if check and done.returncode != 0:
        output = (done.stdout + done.stderr).decode("utf-8", "replace").strip()
        if f"provides {PLUGIN} " in output:
            raise MountError("this Elektra does not have the plugin stdioproc yet; run: stdioproc shim install")
        raise MountError(f"kdb {arguments[0]} failed ({done.returncode}): {output}")
    return done.stdout
