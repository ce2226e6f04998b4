"""What Elektra's tools are told about a program, and whether it can be mounted: made of the program's own contract."""

from __future__ import annotations

import os

from dumpfmt import Key, KeySet
from stdioproc.contract import Infos
from stdioproc.host import PluginProcessError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from stdioproc.host.config import PluginConfig

#: Where the contract of the mounted plugin stands: below the name of its library file, whatever the program calls itself.
ROOT = "system:/elektra/modules/stdioproc"

#: Where the released `process` plugin puts every program, without asking it.
RELEASED_PLACEMENTS = ("postgetstorage", "presetstorage")

#: `kdb mount` has no way to put these into a mountpoint (or does so where KDB never calls them); `stdioproc mount` has.
NOT_BY_KDB_MOUNT = ("getresolver", "setresolver", "commit", "prerollback", "rollback", "postrollback")

_WORDS = ("placements", "status", "provides", "needs", "recommends", "metadata", "ordering")
_ALWAYS_EXPORTED = ("open", "close", "checkconf")
_MIRRORED = ("get", "set", "commit", "error")


class ContractError(Exception):
    """The program announces what Elektra cannot use. The message names the program and says what to change."""


class ProgramContract:
    """What a program said: its `name`, `dialect`, `operations`, and `infos` (texts by name) as Elektra's tools shall see them."""

    __slots__ = ("dialect", "infos", "name", "operations", "placements")

    def __init__(
        self, program: str, name: str, dialect: str, operations: frozenset[str], infos: Mapping[str, str]
    ) -> None:
        """Raises ContractError when the infos cannot be those of a plugin."""
        self.name = name
        self.dialect = dialect
        self.operations = operations
        words = {field: tuple(infos.get(field, "").split()) for field in _WORDS}
        if dialect == "process" and not _is_placed_well(words["placements"], words["provides"]):
            # Released hosts never looked at these words, so programs made for them may say anything.
            words["placements"] = RELEASED_PLACEMENTS
        try:
            checked = Infos(
                placements=words["placements"],
                status=words["status"],
                provides=words["provides"],
                needs=words["needs"],
                recommends=words["recommends"],
                metadata=words["metadata"],
                ordering=words["ordering"],
            )
            checked.check_operations(operations)
        except ValueError as error:
            raise ContractError(f"{program} announces a contract that Elektra cannot use: {error}") from error
        if not checked.placements:
            raise ContractError(
                f"{program} announces no placements, so Elektra would mount it and never call it; "
                "its infos must name some, such as presetstorage"
            )
        if not _is_placed_well(checked.placements, checked.provides):
            raise ContractError(
                f"{program} announces the placement of a storage plugin without providing one, and Elektra would add a second "
                'storage plugin beside it; its infos need provides=("storage/NAME",)'
            )
        self.placements = checked.placements
        self.infos = {"author": "", "licence": "", "description": "", **infos, "version": "1"}
        self.infos.update({field: " ".join(getattr(checked, field)) for field in _WORDS})

    def mount_problem(self) -> str:
        """Why plain `kdb mount` cannot mount it; empty when it can."""
        impossible = [word for word in self.placements if word in NOT_BY_KDB_MOUNT]
        if not impossible:
            return ""
        return (
            f"{self.name} is placed at {' '.join(impossible)}, which kdb mount cannot do; "
            "use `stdioproc mount FILE MOUNTPOINT -- PROGRAM ARGS…`, which can"
        )

    def keyset(self) -> KeySet:
        """The contract as the plugin returns it, but for the functions: `exports/get` and so on stand for those."""
        root = Key(ROOT)
        keys = KeySet(
            [Key(ROOT, self.name), root.join("exports"), root.join("infos", f"{self.name}, run by stdioproc")]
        )
        keys.extend(root.join("infos").child(name, text) for name, text in self.infos.items())
        mirrored = (operation for operation in _MIRRORED if operation in self.operations)
        keys.extend(root.join(f"exports/{operation}", "1") for operation in (*_ALWAYS_EXPORTED, *mirrored))
        return keys


def _is_placed_well(placements: tuple[str, ...], provides: tuple[str, ...]) -> bool:
    """Elektra adds a storage plugin unless one is provided, and has one place for it."""
    if not placements:
        return False
    return "storage" in provides or not {"getstorage", "setstorage"} & set(placements)


def ask(config: PluginConfig, environ: Mapping[str, str] | None) -> ProgramContract:
    """Start the program, hear what it announces, end it; open is not sent. Raises PluginProcessError and ContractError."""
    process = config.process(environ)
    try:
        process.start()
        contract = process.contract
        return ProgramContract(config.program, contract.name, process.dialect, contract.operations, contract.infos)
    finally:
        process.end()


class ContractCache:
    """Contracts, and failures to get one, by what decides about them; one mounting asks about ten times."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], ProgramContract | PluginProcessError | ContractError] = {}

    def ask(self, config: PluginConfig, environ: Mapping[str, str] | None) -> ProgramContract:
        """As the function of this name, at most once for a program that did not change. Raises the same error again."""
        key = self._key(config, environ)
        known = self._known.get((*key, config.protocol))
        if known is None:
            try:
                known = ask(config, environ)
                # What is asked again at the end of a mounting has the dialect that was found as its protocol.
                self._known[(*key, known.dialect)] = known
            except (PluginProcessError, ContractError) as error:
                known = error.with_traceback(None)
            self._known[(*key, config.protocol)] = known
        if isinstance(known, Exception):
            raise known
        return known

    @staticmethod
    def _key(config: PluginConfig, environ: Mapping[str, str] | None) -> tuple[object, ...]:
        """Arguments may be files too, such as the script that an interpreter runs."""
        words = (config.program, *config.args)
        environment = tuple(sorted(config.environment(environ if environ is not None else os.environ).items()))
        return (words, environment, tuple(_identity(word) for word in words))


def _identity(path: str) -> tuple[int, int, int, int] | None:
    if not path.startswith("/"):
        return None
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
