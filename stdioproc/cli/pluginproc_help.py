"""What `pluginproc` tells about itself: --help and --list. Apart, since the start of a plugin must not import click."""

from __future__ import annotations

import sys

import click

from stdioproc.cli import entry_points
from stdioproc.cli.screen import Screen

_EPILOG = """\b
Examples:
  pluginproc --load-plugin whitelist
  pluginproc --load-plugin my_package.plugins:Upper
  pluginproc --load-plugin /etc/elektra/upper.py
  pluginproc --load-plugin whitelist --elektra-spec | xxd

\b
Try one without Elektra:
  stdioproc call get --parent user:/x -- pluginproc --load-plugin toml

\b
Exit status: 0 ended by its host, 64 wrong command line, 74 the host
is gone, 76 the host broke the protocol, 78 the plugin is unfit.
"""


def _show_list(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted:
        return
    screen = Screen()
    found: dict[str, entry_points.EntryPoint] = {}
    for entry_point in entry_points.installed():
        found.setdefault(entry_point.name, entry_point)
    if not found:
        screen.line(f"No plugin is installed for {sys.executable}.")
        screen.line(f"A package installs one with an entry point in the group {entry_points.GROUP!r}.")
    width = max(map(len, found), default=0)
    for name in sorted(found):
        entry = found[name]
        screen.line((name.ljust(width), "bold"), "  ", entry.value, (f"  ({entry.distribution})", "dim"))
    context.exit()


@click.command(
    "pluginproc",
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    options_metavar="--load-plugin PLUGIN",
)
@click.option(
    "--load-plugin",
    metavar="PLUGIN",
    help="NAME of an installed plugin (see --list), module:Class of one that Python can import, or FILE.py; "
    "FILE.py:Class where a file defines several.",
)
@click.option(
    "--list", is_flag=True, is_eager=True, expose_value=False, callback=_show_list, help="Name the installed plugins."
)
@click.argument("arguments", nargs=-1, metavar="[ARGUMENT]...")
def _command(load_plugin: str, arguments: tuple[str, ...]) -> None:
    """Run a plugin for Elektra that is a Python class.

    The program speaks the protocol of stdioproc on stdin and stdout; it is what `app=` of a mountpoint names. With
    --elektra-spec behind the plugin it writes the plugin's specification instead, for Elektra's specload. Other
    arguments are the plugin's own.
    """


def show(arguments: list[str]) -> int:
    """Answer --help or --list, whichever is in `arguments` (list of str); returns the exit status."""
    wanted = "--list" if "--list" in arguments and not {"-h", "--help"} & set(arguments) else "--help"
    _command.main([wanted], prog_name="pluginproc", standalone_mode=False)
    return 0
