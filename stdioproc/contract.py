"""The contract: what a plugin says of itself, and which operations it has (facts 5.5, 7.2)."""

from __future__ import annotations

from dumpfmt import InvalidKeyName, Key, KeySet
from dumpfmt.names import canonical
from dumpfmt.names import parts as name_parts
from stdioproc.dialects import DIALECTS, OPERATIONS, Dialect

MODULES = "system:/elektra/modules"

#: Where a plugin can stand, and the operation that it needs there (facts 5.5).
PLACEMENTS = {
    "getresolver": "get",
    "pregetcache": "get",
    "pregetstorage": "get",
    "getstorage": "get",
    "procgetstorage": "get",
    "postgetstorage": "get",
    "postgetcache": "get",
    "postgetcleanup": "get",
    "setresolver": "set",
    "presetstorage": "set",
    "setstorage": "set",
    "presetcleanup": "set",
    "precommit": "commit",
    "commit": "commit",
    "postcommit": "commit",
    "prerollback": "error",
    "rollback": "error",
    "postrollback": "error",
}

#: Words of `infos/status` besides whole numbers (facts 5.5).
STATUSES = frozenset(
    [
        "default",
        "recommended",
        "productive",
        "maintained",
        "reviewed",
        "conformant",
        "compatible",
        "coverage",
        "specific",
        "unittest",
        "shelltest",
        "tested",
        "nodep",
        "libc",
        "configurable",
        "final",
        "global",
        "readonly",
        "writeonly",
        "preview",
        "memleak",
        "experimental",
        "difficult",
        "limited",
        "unfinished",
        "old",
        "nodoc",
        "concept",
        "orphan",
        "obsolete",
        "discouraged",
    ]
)

_WORDS = ("placements", "status", "provides", "needs", "recommends", "metadata", "ordering")
_TEXTS = ("author", "licence", "description")
# Elektra's tools look plugins up by these two kinds, so a plugin of one implementation provides the kind as well.
_KINDS = ("storage", "resolver")


class Infos:
    """What a plugin says of itself; lists are tuples of words.

    `author` reads `Name <mail@example.org>`; `placements` says where in a mountpoint it can stand; `provides=("storage/x",)`
    stands for `storage/x storage x`, as Elektra's own build writes it.
    Raises ValueError for a word that Elektra does not know, or that holds a blank.
    """

    __slots__ = (*_TEXTS, *_WORDS)

    author: str
    licence: str
    description: str
    placements: tuple[str, ...]
    status: tuple[str, ...]
    provides: tuple[str, ...]
    needs: tuple[str, ...]
    recommends: tuple[str, ...]
    metadata: tuple[str, ...]
    ordering: tuple[str, ...]

    def __init__(
        self,
        *,
        author: str = "",
        licence: str = "",
        description: str = "",
        placements: tuple[str, ...] = (),
        status: tuple[str, ...] = (),
        provides: tuple[str, ...] = (),
        needs: tuple[str, ...] = (),
        recommends: tuple[str, ...] = (),
        metadata: tuple[str, ...] = (),
        ordering: tuple[str, ...] = (),
    ) -> None:
        self.author = author
        self.licence = licence
        self.description = description
        self.placements = _words("placements", placements)
        self.status = _words("status", status)
        self.provides = _provides(_words("provides", provides))
        self.needs = _words("needs", needs)
        self.recommends = _words("recommends", recommends)
        self.metadata = _words("metadata", metadata)
        self.ordering = _words("ordering", ordering)
        for word in self.status:
            if word not in STATUSES and not word.lstrip("-").isdigit():
                raise ValueError(
                    f"infos.status: Elektra knows no status {word!r}; known are {' '.join(sorted(STATUSES))}"
                )
        for word in self.placements:
            if word not in PLACEMENTS:
                raise ValueError(
                    f"infos.placements: Elektra knows no placement {word!r}; known are {' '.join(PLACEMENTS)}"
                )

    def check_operations(self, operations: frozenset[str]) -> None:
        """Raises ValueError when a placement lacks its operation: Elektra then refuses to mount the plugin."""
        for word in self.placements:
            if PLACEMENTS[word] not in operations:
                raise ValueError(
                    f"infos.placements: {word!r} needs the operation {PLACEMENTS[word]!r}, which the plugin does not define"
                )

    def items(self) -> list[tuple[str, str]]:
        """Names and texts as they stand below `infos` in a contract."""
        texts = [(field, getattr(self, field)) for field in _TEXTS]
        words = [(field, " ".join(getattr(self, field))) for field in _WORDS]
        return [*texts, *words, ("version", "1")]

    def __repr__(self) -> str:
        given = (f"{field}={getattr(self, field)!r}" for field in self.__slots__ if getattr(self, field))
        return f"Infos({', '.join(given)})"


class Contract:
    """What a host learned from ACK: `name`, `infos` (texts by name), `operations` and the `keys` as they came."""

    __slots__ = ("infos", "keys", "name", "operations")

    def __init__(self, name: str, keys: KeySet, dialect: Dialect) -> None:
        self.name = name
        self.keys = keys
        self.infos: dict[str, str] = {}
        operations: set[str] = set()
        roots = [Key(dialect.root), *(Key(other.root) for other in DIALECTS.values()), Key(f"{MODULES}/{name}")]
        for root in roots:
            depth = len(root.parts)
            for key in keys.below(root):
                path, value = key.parts[depth:], key.value
                if path[:1] == ("infos",) and len(path) == 2 and isinstance(value, str):
                    self.infos.setdefault(path[1], value)
                elif path[:1] == ("exports",) and path[-1] in dialect.operations and value == "1" and _is_marker(path):
                    operations.add(path[-1])
        self.operations = frozenset(operations)

    def __repr__(self) -> str:
        return f"<contract of {self.name}: {' '.join(op for op in OPERATIONS if op in self.operations)}>"


def make_contract(infos: Infos, operations: frozenset[str], dialect: Dialect) -> KeySet:
    """The contract of a child in a dialect: infos, and both forms of marker for the operations that the dialect has."""
    root = Key(dialect.root)
    keys = KeySet([root.join("infos", f"what {dialect.name} runs says of itself")])
    for name, content in infos.items():
        keys.append(root.join(f"infos/{name}", content))
    for operation in dialect.operations:
        if operation in operations:
            keys.append(root.join(f"exports/{operation}", "1"))
            keys.append(root.join(f"exports/has/{operation}", "1"))
    return keys


def check_module_name(name: str) -> str:
    """`name`, when it is one valid part of a key name. Raises ValueError."""
    try:
        as_name = canonical(f"/{name}")
    except InvalidKeyName as error:
        raise ValueError(f"the module name {name!r} is no valid part of a key name: {error.reason}") from None
    if as_name != f"/{name}" or len(name_parts(as_name)) != 1 or "\n" in name:
        raise ValueError(f"the module name {name!r} is no single valid part of a key name")
    return name


def _is_marker(path: tuple[str, ...]) -> bool:
    return len(path) == 2 or (len(path) == 3 and path[1] == "has")


def _words(field: str, words: tuple[str, ...] | str) -> tuple[str, ...]:
    if isinstance(words, str):
        raise ValueError(f"infos.{field} is a tuple of words, not the text {words!r}; write {tuple(words.split())!r}")
    for word in words:
        if not word or word.split() != [word]:
            raise ValueError(f"infos.{field} is a tuple of words; {word!r} is no single word")
    return tuple(words)


def _provides(words: tuple[str, ...]) -> tuple[str, ...]:
    """Elektra's build expands `storage/x` to `storage/x storage x`; without it the tools add a second storage (facts 5.5)."""
    expanded: list[str] = []
    for word in words:
        kind, slash, short = word.partition("/")
        for each in (word, kind, short) if slash and kind in _KINDS else (word,):
            if each not in expanded:
                expanded.append(each)
    return tuple(expanded)
