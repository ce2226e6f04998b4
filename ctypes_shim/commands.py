"""The commands `stdioproc shim …` and `stdioproc mount`."""

from __future__ import annotations

from pathlib import Path

import click

_MARKS = {True: ("ok", "green"), False: ("missing", "red"), None: ("note", "yellow")}


@click.group(short_help="Build, install and examine the Elektra plugin that runs programs.")
def shim() -> None:
    """The Elektra plugin that runs programs: build it, install it, find out what is missing."""


@shim.command()
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="Where to put both libraries."
)
def build(output: Path) -> None:
    """Compile the plugin for this Python environment."""
    from ctypes_shim.build import BuildError
    from ctypes_shim.build import build as build_shim

    try:
        built = build_shim(output)
    except BuildError as error:
        raise click.ClickException(str(error)) from error
    click.echo(built.plugin)
    click.echo(built.embed)


@shim.command()
@click.option(
    "--plugin-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where Elektra's plugins lie; found when not given.",
)
@click.option("--both", is_flag=True, help="Install the file names of Elektra before and since 0.10.")
def install(plugin_dir: Path | None, both: bool) -> None:
    """Build the plugin and put it where the installed Elektra looks."""
    from ctypes_shim.build import BuildError
    from ctypes_shim.install import InstallError
    from ctypes_shim.install import install as install_shim

    try:
        done = install_shim(plugin_dir, both)
    except (BuildError, InstallError) as error:
        raise click.ClickException(str(error)) from error
    for path in done.files:
        click.echo(path)
    for path in done.removed:
        click.echo(f"removed {path}")


@shim.command()
@click.option("--plugin-dir", help="Where Elektra's plugins lie; found when not given.")
def doctor(plugin_dir: str | None) -> None:
    """Look at everything that the plugin needs, and say what to do. Exit status 1 when something is missing."""
    from ctypes_shim.doctor import examine

    findings = examine(plugin_dir)
    for finding in findings:
        word, colour = _MARKS[finding.good]
        click.echo(f"{click.style(f'{word:8}', fg=colour)}{finding.what}: {finding.found}")
        if finding.advice:
            click.echo(f"        {finding.advice}")
    if any(finding.good is False for finding in findings):
        raise click.exceptions.Exit(1)


@click.command(short_help="Mount a plugin's program with kdb.", context_settings={"ignore_unknown_options": False})
@click.argument("file")
@click.argument("mountpoint")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- EXE [ARGS]...")
@click.option(
    "--with", "plugins", multiple=True, metavar="PLUGIN", help="Mount this plugin of Elektra before the program."
)
@click.option(
    "--env",
    multiple=True,
    metavar="NAME=VALUE",
    help="A variable of the program's environment, which is empty otherwise.",
)
@click.option(
    "--copyenv",
    multiple=True,
    metavar="NAME",
    help="A variable to take from the environment of whoever uses the mountpoint.",
)
@click.option("--config", multiple=True, metavar="KEY=VALUE", help="Configuration for the program itself.")
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="Configuration of stdioproc, such as timeout/operation=5000.",
)
@click.option("--print", "only_print", is_flag=True, help="Show what would be done, and do nothing.")
def mount(
    file: str,
    mountpoint: str,
    command: tuple[str, ...],
    plugins: tuple[str, ...],
    env: tuple[str, ...],
    copyenv: tuple[str, ...],
    config: tuple[str, ...],
    options: tuple[str, ...],
    only_print: bool,
) -> None:
    """Mount the program EXE at MOUNTPOINT, with FILE as its configuration file.

    The program is started once to learn what it is. Where kdb mount cannot express what is needed, the keys of the mountpoint are
    written besides.
    """
    from ctypes_shim.mount import MountError, carry_out, plan

    try:
        planned = plan(
            file, mountpoint, command, plugins=plugins, env=env, copyenv=copyenv, config=config, options=options
        )
        click.echo(str(planned))
        for argument in planned.relative_files():
            click.echo(
                f"stdioproc: {argument} is a file of this directory, but the program will run in the directory of whoever uses "
                "the mountpoint; give the absolute path",
                err=True,
            )
        if not only_print:
            carry_out(planned)
    except (MountError, ValueError) as error:
        raise click.ClickException(str(error)) from error
