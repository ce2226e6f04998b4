"""`stdioproc call`: one operation of one plugin, from a shell."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Sequence

import click

from dumpfmt import DumpError, Key, KeySet
from stdioproc.cli import keysets
from stdioproc.cli.screen import Screen, printable, show_error, show_messages
from stdioproc.cli.statuses import EX_PLUGIN_UNFIT, EX_USAGE
from stdioproc.dialects import DIALECTS, OPERATIONS
from stdioproc.host import PluginDied, PluginOpenError, PluginProcess, PluginProcessError, Status

EX_ERROR = 1
EX_PROTOCOL = 2

_WITHOUT_KEYSET = ("open", "close")

_EPILOG = """\b
Examples:
  stdioproc call get --parent user:/x --parent-value ./pyproject.toml \\
      --format json -- pluginproc --load-plugin toml
  stdioproc call set --file keys.json -- /usr/bin/python3 my_plugin.py

\b
Formats of keysets, recognised by their first bytes:
  dump       Elektra's own, begins with 'kdbOpen 2'
  quickdump  begins with 'EKDB'; names are relative to --parent
  json       a list of keys:
    {"name": "user:/a", "value": "text", "meta": {"type": "string"}}
    {"name": "user:/b", "binary": "AAE="}   base64; null: no value
    text that is not UTF-8 is written as {"base64": "/w=="}

\b
Exit status: 0 success or noupdate, 1 the plugin answered error,
2 the program could not be started or broke the protocol,
64 wrong command line or no keyset in IN, 130 after Ctrl-C.
"""


def _name(written: str) -> Key:
    try:
        return Key(_text(written))
    except ValueError as error:
        raise click.BadParameter(f"{error}; write it like user:/name") from None


def _pair(written: str) -> tuple[str, str]:
    name, equals, content = written.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{written!r} must read NAME=VALUE")
    return name, content


def _variable(written: str) -> str:
    if not written or "=" in written:
        raise click.BadParameter(f"{written!r} must be the name of a variable; to set one use --env NAME=VALUE")
    return written


def _seconds(written: str | float) -> float:
    try:
        seconds = float(written)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:  # nan neither
        raise click.BadParameter(f"{written!r} must be a time in seconds, 0 for no limit")
    return seconds


def _text(argument: str) -> str:
    """An argument as text of a key: its bytes are kept whatever the locale is."""
    return os.fsencode(argument).decode("utf-8", "surrogateescape")


@click.command(
    epilog=_EPILOG,
    options_metavar="[OPTION]...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
@click.argument("operation", metavar="OP", type=click.Choice(OPERATIONS))
@click.argument("program", metavar="-- EXE [ARGUMENT]...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option(
    "--file",
    "source",
    metavar="IN",
    help="The file of the keyset to send, - for stdin.  [default: none, an empty keyset]",
)
@click.option(
    "--parent", metavar="NAME", type=_name, default="user:/", show_default=True, help="The name of the parent key."
)
@click.option(
    "--parent-value", metavar="TEXT", default="", help="Its value: for a storage plugin the path of the file."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(keysets.FORMATS),
    help="The format of the keyset that is printed.  [default: that of IN, else dump]",
)
@click.option(
    "--config",
    metavar="NAME=VALUE",
    type=_pair,
    multiple=True,
    help="Configuration of the plugin: user:/config/NAME. Repeatable.",
)
@click.option(
    "--protocol",
    type=click.Choice(["auto", *DIALECTS]),
    default="auto",
    show_default=True,
    help="The dialect to speak.",
)
@click.option(
    "--env",
    metavar="NAME=VALUE",
    type=_pair,
    multiple=True,
    help="A variable for the program, whose environment is empty otherwise, as when mounted. Repeatable.",
)
@click.option(
    "--copyenv",
    metavar="NAME",
    type=_variable,
    multiple=True,
    help="A variable that the program gets from here. Repeatable.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=_seconds,
    default=60.0,
    show_default=True,
    help="For the operation; 0: no limit.",
)
@click.option(
    "--start-timeout",
    metavar="SECONDS",
    type=_seconds,
    default=5.0,
    show_default=True,
    help="For start and handshake; 0: no limit.",
)
def call(
    operation: str,
    program: tuple[str, ...],
    source: str | None,
    parent: Key,
    parent_value: str,
    form: str | None,
    config: tuple[tuple[str, str], ...],
    protocol: str,
    env: tuple[tuple[str, str], ...],
    copyenv: tuple[str, ...],
    timeout: float,
    start_timeout: float,
) -> int:
    """Start a plugin's program and have it perform one operation.

    OP is open, get, set, commit, error, checkconf or close. The program is opened before and closed after it. On success
    and noupdate the keyset is printed (on noupdate it is what was sent); errors, warnings and what the program says on
    stderr go to stderr. open and close have no keyset. EXE without a slash is searched in PATH, and beside this command.
    """
    argv = [_executable(program[0]), *program[1:]]
    parent_value = parent.value = _text(parent_value)
    keyset, found = _input(source, operation, parent)
    form = form or found or "dump"
    if form == "quickdump" and parent.name.startswith("/"):
        raise click.UsageError(
            f"names in quickdump are relative to --parent, and {parent.name} would lose their namespaces; "
            "write it with one, like user:/"
        )
    configuration = _configuration(config)
    if operation == "checkconf":
        keyset.extend(configuration)
    screen = Screen(sys.stderr)
    plugin = PluginProcess(
        argv,
        config=configuration,
        protocol=protocol,
        env=dict(env),
        copyenv=copyenv,
        start_timeout=start_timeout or None,
        operation_timeout=timeout or None,
        restart=False,
        on_stderr=_pass_on,
    )
    try:
        status = _perform(plugin, operation, keyset, parent, screen)
    except PluginOpenError as error:
        show_error(screen, error.error)
        return EX_ERROR
    except PluginProcessError as error:
        screen.line(f"stdioproc: {_message(error)}{_hint(error, env, copyenv)}")
        return EX_PROTOCOL
    finally:
        _end(plugin)
    show_messages(screen, parent)
    if status is Status.ERROR:
        return EX_ERROR
    if operation in _WITHOUT_KEYSET:
        if operation == "close" and plugin.ending is not None and plugin.ending.rung != "TERMINATE":
            screen.line(f"stdioproc: {argv[0]} did not end when it was asked: {plugin.ending.rung}, {plugin.ending}")
        return 0
    if isinstance(parent.value, str) and parent.value != parent_value:
        screen.line(f"stdioproc: the value of {printable(parent.name)} is now {printable(parent.value)!r}")
    try:
        data = keysets.write(keyset, form, parent)
    except DumpError as error:
        raise click.UsageError(f"{error}; choose another --parent or --format") from None
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
    return 0


def _perform(plugin: PluginProcess, operation: str, keyset: KeySet, parent: Key, screen: Screen) -> Status:
    plugin.start()
    if operation not in plugin.operations:
        there = ", ".join(each for each in OPERATIONS if each in plugin.operations) or "no operation"
        screen.line(f"stdioproc: {plugin.name} has no {operation} (it has {there}), so it was not asked")
    if operation == "checkconf":  # comes before open when a plugin is mounted
        status = plugin.checkconf(keyset, parent)
    elif operation in _WITHOUT_KEYSET:
        status = plugin.open(parent)
    else:
        plugin.open(parent.copy())
        perform = {"get": plugin.get, "set": plugin.set, "commit": plugin.commit, "error": plugin.error}[operation]
        status = perform(keyset, parent)
    if operation in plugin.operations and status is Status.NO_UPDATE:
        screen.line(f"stdioproc: {plugin.name} answered noupdate")
    return status


def _end(plugin: PluginProcess) -> None:
    """The ending has a bound; a second Ctrl-C must not leave a child behind."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        plugin.end()
    finally:
        signal.signal(signal.SIGINT, before)


def _configuration(pairs: Sequence[tuple[str, str]]) -> KeySet:
    root = Key("user:/config")
    keyset = KeySet()
    for name, content in pairs:
        try:
            key = root.join(_text(name), _text(content))
        except ValueError as error:
            raise click.UsageError(f"--config {name}: {error}") from None
        if not key.is_below(root):
            raise click.UsageError(
                f"--config {name}: it leads out of {root.name}; give a name below that, like limit/size"
            )
        keyset.append(key)
    return keyset


def _input(source: str | None, operation: str, parent: Key) -> tuple[KeySet, str | None]:
    if source is None:
        return KeySet(), None
    if operation in _WITHOUT_KEYSET:
        raise click.UsageError(
            f"{operation} sends no keyset, so --file has no use; configuration is given with --config"
        )
    try:
        if source == "-":
            data = sys.stdin.buffer.read()
        else:
            with open(source, "rb") as file:
                data = file.read()
        return keysets.read(data, parent)
    except OSError as error:
        raise click.UsageError(f"--file {source}: {error.strerror}") from None
    except DumpError as error:
        raise click.UsageError(f"{'stdin' if source == '-' else source}: {error}") from None


def _executable(name: str) -> str:
    """The absolute path of what was typed, as a shell would find it; or beside this command, which a shell that has not
    activated the environment would not."""
    if "/" in name:
        return os.path.abspath(name)
    beside = os.path.dirname(sys.executable), os.path.dirname(os.path.abspath(sys.argv[0]))
    for path in (None, *beside):
        found = shutil.which(name, path=path)
        if found is not None:
            return os.path.abspath(found)
    here = f"; for the file in this directory write ./{name}" if os.path.exists(name) else ""
    raise click.UsageError(f"there is no program {name!r} in PATH{here}")


def _pass_on(data: bytes) -> None:
    sys.stderr.buffer.write(data)
    sys.stderr.buffer.flush()


def _message(error: PluginProcessError) -> str:
    """Without the end of the program's stderr, which was passed on already."""
    return printable(str(error).partition("; its stderr ends:\n")[0])


def _hint(error: PluginProcessError, env: Sequence[object], copyenv: Sequence[str]) -> str:
    """A program that ends before it answers often misses a variable; not one that says what else it misses (sysexits.h)."""
    said_why = error.ending in (f"exit status {EX_USAGE}", f"exit status {EX_PLUGIN_UNFIT}")
    if error.phase == "handshake" and isinstance(error, PluginDied) and not said_why and not env and not copyenv:
        return "\n(Its environment was empty, as when mounted; --copyenv PATH and such hand yours on.)"
    return ""
