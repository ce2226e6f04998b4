"""`pluginproc`: a plugin that is a Python class becomes the program that Elektra mounts.

    pluginproc --load-plugin NAME | module:Class | FILE.py | FILE.py:Class  [ARGUMENT...]

It is started several times by every `kdb` command that touches a mountpoint, so the plain case is read by hand: up to
the ACK neither click nor rich nor importlib.metadata is imported, only the plugin and what that needs.

Exit status: that of `stdioproc.child.serve`; 64 when the command line is wrong, 78 when the plugin is there and unfit.
"""

from __future__ import annotations

import sys

from stdioproc.child import serve
from stdioproc.cli.loading import load
from stdioproc.cli.statuses import EX_USAGE, LoadError

EX_INTERRUPTED = 130

_LOAD = "--load-plugin"
_SPEC = "--elektra-spec"
_ABOUT = ("--help", "-h", "--list")


def main() -> int:
    """Run the command with sys.argv; returns the exit status, unless `serve` ends the process with its own."""
    arguments = sys.argv[1:]
    try:
        if any(argument in _ABOUT for argument in _before_plugin(arguments)):
            from stdioproc.cli.pluginproc_help import show  # click costs more than the start of a plugin

            return show(arguments)
        target, rest = _read(arguments)
        program = f"{sys.argv[0]} {_LOAD} {target}"
        sys.argv[1:] = rest  # what a plugin sees when it looks at its own arguments
        serve(load(target), [program, *rest])
    except LoadError as error:
        sys.stderr.write(f"pluginproc: {error}\n")
        return error.status
    except KeyboardInterrupt:
        return EX_INTERRUPTED


def _before_plugin(arguments: list[str]) -> list[str]:
    """The arguments that are ours: what follows the plugin is the plugin's."""
    for index, argument in enumerate(arguments):
        if argument == _LOAD or argument.startswith(_LOAD + "="):
            return arguments[:index]
    return arguments


def _read(arguments: list[str]) -> tuple[str, list[str]]:
    """What --load-plugin names, and the arguments for the plugin. Raises LoadError."""
    own = _before_plugin(arguments)
    # Elektra's specload puts --elektra-spec first when it is told no other arguments.
    for argument in own:
        if argument != _SPEC:
            raise _unknown(argument)
    rest = arguments[len(own) :]
    if not rest:
        raise LoadError(
            EX_USAGE,
            f"say which plugin: {_LOAD} NAME, {_LOAD} module:Class or {_LOAD} FILE.py; "
            "`pluginproc --list` names those that are installed",
        )
    _, equals, target = rest.pop(0).partition("=")
    if not equals and rest:
        target = rest.pop(0)
    if not target or target.startswith("-"):
        raise LoadError(
            EX_USAGE,
            f"{_LOAD} needs the plugin behind it{f', not the option {target}' if target else ''}: NAME, module:Class or "
            "FILE.py; `pluginproc --list` names those that are installed",
        )
    return target, own + rest


def _unknown(argument: str) -> LoadError:
    if argument.startswith("-"):
        from difflib import get_close_matches  # only who made a slip pays for it

        close = get_close_matches(argument.partition("=")[0], [_LOAD, _SPEC, *_ABOUT], n=1)
        meant = f" Was {close[0]} meant?" if close else ""
        return LoadError(
            EX_USAGE,
            f"there is no option {argument}.{meant} Arguments for the plugin itself go behind {_LOAD} NAME; "
            "`pluginproc --help` tells more",
        )
    return LoadError(EX_USAGE, f"{argument!r} stands alone; to run a plugin: pluginproc {_LOAD} {argument}")


if __name__ == "__main__":
    raise SystemExit(main())
