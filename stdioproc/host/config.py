"""The configuration of a mounted plugin: the table in docs/mounting.md, read strictly.

Keys are looked up cascading, so `user:/` (what stands behind the plugin's name in a mount line) comes before
`system:/` (what was given with `-c`).
"""

from __future__ import annotations

import os

from dumpfmt import Key, KeySet, Limits, Namespace
from dumpfmt.names import array_index, parse_array_index
from stdioproc.dialects import LINE_LIMIT
from stdioproc.host.timeouts import CLOSE_TIMEOUT, OPERATION_TIMEOUT, START_TIMEOUT
from stdioproc.host.trust import Trust

TYPE_CHECKING = False  # without importing typing, which the start of a host would pay for
if TYPE_CHECKING:
    from collections.abc import Mapping

    from stdioproc.host.process import PluginProcess
    from stdioproc.host.spawn import Child

PROTOCOLS = ("auto", "stdioproc", "process")
STARTS = ("lazy", "eager")

_SINGLE = ("app", "executable", "protocol", "start")
_ARRAYS = ("args", "env", "copyenv")
_TIMEOUTS = ("timeout/start", "timeout/operation", "timeout/close")
_LIMITS = ("limit/message", "limit/name", "limit/value", "limit/keys", "limit/line")
_TRUST = ("sha256", "sha256/interpreter", "insecure", "sandbox", "limit/memory", "limit/cpu", "limit/files")
_KNOWN = frozenset((*_SINGLE, *_TIMEOUTS, *_LIMITS, *_TRUST))


class ConfigError(ValueError):
    """A key of the plugin configuration is missing, unknown or wrong; `key` names it. The message says what to do."""

    def __init__(self, key: str, reason: str) -> None:
        # As in a mount line: the whole name would be taken for that of a mountpoint.
        super().__init__(f"configuration key {key.removeprefix('user:/')} {reason}")
        self.key = key
        self.reason = reason


class PluginConfig:
    """What a mountpoint says about its program.

    `program` (absolute path), `args` (after argv[0]), `env` and `copyenv` (the program's whole environment), `config` (keys that
    open hands to the program), `protocol`, `start`, `start_timeout`, `operation_timeout` and `close_timeout` in seconds (None:
    no deadline), `limits` of keysets, `line_limit` in bytes, `trust` in the program.
    """

    __slots__ = (
        "args",
        "close_timeout",
        "config",
        "copyenv",
        "env",
        "limits",
        "line_limit",
        "operation_timeout",
        "program",
        "protocol",
        "start",
        "start_timeout",
        "trust",
    )

    program: str
    args: tuple[str, ...]
    env: dict[str, str]
    copyenv: tuple[str, ...]
    config: KeySet
    protocol: str
    start: str
    start_timeout: float | None
    operation_timeout: float | None
    close_timeout: float | None
    limits: Limits
    line_limit: int
    trust: Trust

    @classmethod
    def from_keyset(cls, config: KeySet) -> PluginConfig:
        """Read a plugin configuration. Raises ConfigError for the first key that is not as the table says."""
        _refuse_unknown(config)
        self = cls()
        self.program = _program(config)
        self.args = _array(config, "args")
        self.env = _environment(config)
        self.copyenv = _copied_names(config)
        self.config = config.below("/config")
        self.protocol = _choice(config, "protocol", PROTOCOLS)
        self.start = _choice(config, "start", STARTS)
        self.start_timeout = _seconds(config, "timeout/start", START_TIMEOUT)
        self.operation_timeout = _seconds(config, "timeout/operation", OPERATION_TIMEOUT)
        self.close_timeout = _seconds(config, "timeout/close", CLOSE_TIMEOUT)
        default = Limits()
        self.limits = Limits(
            message=_positive(config, "limit/message", default.message),
            name=_positive(config, "limit/name", default.name),
            value=_positive(config, "limit/value", default.value),
            keys=_positive(config, "limit/keys", default.keys),
        )
        self.line_limit = _positive(config, "limit/line", LINE_LIMIT)
        self.trust = _trust(config)
        return self

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The whole environment of the program: `env`, and what `copyenv` names and `environ` has. `env` wins."""
        return {**{name: environ[name] for name in self.copyenv if name in environ}, **self.env}

    def spawn(self, environ: Mapping[str, str]) -> Child:
        """Start the program and say nothing to it yet, for a `process` that takes it over: it starts up while the host still
        imports what will speak to it. Raises OSError and UntrustedProgram.
        """
        from stdioproc.host.spawn import spawn

        timeout = None if self.start_timeout is None else int(self.start_timeout * 1000)
        return spawn([self.program, *self.args], self.environment(environ), timeout, self.trust)

    def process(
        self,
        environ: Mapping[str, str] | None = None,
        protocol: str | None = None,
        started: Child | None = None,
        writable: tuple[str, ...] = (),
    ) -> PluginProcess:
        """A PluginProcess that is not started yet, or has `started`.

        `environ` is where `copyenv` looks, the environment of this process when it is None; `protocol` stands in for the
        configured one where it is known better. `writable` are the directories that a confined program may write in.
        """
        from stdioproc.host.process import PluginProcess

        return PluginProcess(
            [self.program, *self.args],
            config=self.config,
            protocol=protocol or self.protocol,
            env=self.environment(os.environ if environ is None else environ),
            start_timeout=self.start_timeout,
            operation_timeout=self.operation_timeout,
            close_timeout=self.close_timeout,
            limits=self.limits,
            line_limit=self.line_limit,
            trust=self.trust if self.trust.sandbox is None else self.trust.with_writable(writable),
            started=started,
        )

    def __repr__(self) -> str:
        return f"<configuration of {' '.join((self.program, *self.args))}>"


def _find(config: KeySet, name: str) -> Key | None:
    return config.get(f"/{name}")


def _text(key: Key) -> str:
    if not isinstance(key.value, str):
        raise ConfigError(key.name, "is binary, and must be text")
    return key.value


def _refuse_unknown(config: KeySet) -> None:
    """Elektra puts keys of its own into other namespaces, so only `user:/` can be checked for typing slips."""
    for key in config:
        if key.namespace != Namespace.USER:
            continue
        path = key.name.removeprefix("user:/")
        first, _, rest = path.partition("/")
        if not path or first == "config" or path in _KNOWN or path in _ARRAYS:
            continue
        if first in _ARRAYS and rest:
            if parse_array_index(rest) is None:
                raise ConfigError(key.name, f"is no element of an array; elements are {first}/#0, {first}/#1 and so on")
            continue
        # kdb mount takes what stands behind a comma for a key without a value.
        comma = "" if key.value else "; a value with a comma needs `stdioproc mount`, since kdb mount splits it there"
        raise ConfigError(
            key.name,
            f"is not known to stdioproc{_suggestion(path)}; keys for the program itself belong below config/{comma}",
        )


def _suggestion(path: str) -> str:
    from difflib import get_close_matches  # only who made a slip pays for it

    close = get_close_matches(path, [*_KNOWN, *_ARRAYS], n=1)
    return f" (was {close[0]} meant?)" if close else ""


def _program(config: KeySet) -> str:
    app, executable = _find(config, "app"), _find(config, "executable")
    if app is not None and executable is not None and app.value != executable.value:
        raise ConfigError(app.name, "differs from executable; both name the program, so give one of them")
    key = app if app is not None else executable
    if key is None:
        raise ConfigError("user:/app", "is missing: give the program as app=/absolute/path")
    program = _text(key)
    if not program.startswith("/"):
        raise ConfigError(key.name, f"must be an absolute path, not {program!r}: the program is not searched in PATH")
    return program


def _array(config: KeySet, name: str) -> tuple[str, ...]:
    """The elements, with or without the array root. A root must agree with them, since a wrong count would drop arguments."""
    elements: dict[int, Key] = {}
    for key in config.below(f"/{name}"):
        index = parse_array_index(key.parts[1]) if len(key.parts) == 2 else None
        if index is not None:
            found = _find(config, f"{name}/{key.parts[1]}")
            elements[index] = found if found is not None else key
    values = []
    for expected, index in enumerate(sorted(elements)):
        if index != expected:
            raise ConfigError(
                elements[index].name,
                f"stands after a gap: {name}/{array_index(expected)} is missing; number the elements from #0 without a gap",
            )
        values.append(_text(elements[index]))
    root = _find(config, name)
    if root is not None:
        _check_root(root, name, len(values))
    return tuple(values)


def _check_root(root: Key, name: str, count: int) -> None:
    last = _text(root)
    right = array_index(count - 1) if count else ""
    if last == right:
        return
    hint = f"write {name}={right}, or leave {name} out" if right else f"leave {name} out, or give {name}/#0"
    if last and parse_array_index(last) is None:
        raise ConfigError(root.name, f"must be the last index of the array, such as #1 or #_10, not {last!r}; {hint}")
    raise ConfigError(
        root.name, f"says that the last element is {last or 'none'}, but there are {count} elements; {hint}"
    )


def _environment(config: KeySet) -> dict[str, str]:
    env: dict[str, str] = {}
    for index, entry in enumerate(_array(config, "env")):
        name, equals, value = entry.partition("=")
        key = f"env/{array_index(index)}"
        if not equals or not name:
            raise ConfigError(
                key, f"must read NAME=value, not {entry!r}; to hand a variable of the host on, use copyenv/#0=NAME"
            )
        if name in env:
            raise ConfigError(key, f"sets {name} a second time; give it once")
        env[name] = value
    return env


def _copied_names(config: KeySet) -> tuple[str, ...]:
    names = _array(config, "copyenv")
    for index, name in enumerate(names):
        if not name or "=" in name:
            raise ConfigError(
                f"copyenv/{array_index(index)}",
                f"must be the name of an environment variable, not {name!r}; to set one, use env/#",
            )
    return names


def _trust(config: KeySet) -> Trust:
    program, interpreter = _checksum(config, "sha256"), _checksum(config, "sha256/interpreter")
    if interpreter and not program:
        key = _find(config, "sha256/interpreter")
        assert key is not None
        raise ConfigError(key.name, "pins the interpreter of a script that is not pinned itself; give sha256 too")
    return Trust(
        sha256=program,
        interpreter_sha256=interpreter,
        insecure=_choice(config, "insecure", ("0", "1")) == "1",
        memory=_positive_or_none(config, "limit/memory"),
        cpu=_positive_or_none(config, "limit/cpu"),
        files=_positive_or_none(config, "limit/files"),
        sandbox=() if _choice(config, "sandbox", ("0", "1")) == "1" else None,
    )


def _checksum(config: KeySet, name: str) -> str:
    key = _find(config, name)
    if key is None:
        return ""
    value = _text(key).strip().lower()
    if len(value) != 64 or not set(value) <= set("0123456789abcdef"):
        raise ConfigError(key.name, "must be the 64 hexadecimal digits that sha256sum prints")
    return value


def _positive_or_none(config: KeySet, name: str) -> int | None:
    return None if _find(config, name) is None else _positive(config, name, 0)


def _choice(config: KeySet, name: str, choices: tuple[str, ...]) -> str:
    key = _find(config, name)
    if key is None:
        return choices[0]
    value = _text(key)
    if value not in choices:
        raise ConfigError(key.name, f"must be one of {', '.join(choices)}, not {value!r}")
    return value


def _number(key: Key, what: str) -> int:
    value = _text(key)
    # 18 digits are more than any limit or deadline can mean.
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise ConfigError(key.name, f"must be {what}, written in digits, not {value!r}")
    return int(value)


def _seconds(config: KeySet, name: str, default: float) -> float | None:
    key = _find(config, name)
    if key is None:
        return default
    milliseconds = _number(key, "a time in milliseconds (0: wait without end)")
    return milliseconds / 1000 if milliseconds else None


def _positive(config: KeySet, name: str, default: int) -> int:
    key = _find(config, name)
    if key is None:
        return default
    number = _number(key, "a number above 0")
    if not number:
        raise ConfigError(key.name, "must be a number above 0: there is no working without a limit")
    return number
