"""The `stdioproc` command."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from typing import NoReturn

import click

from stdioproc.cli.statuses import EX_USAGE

EX_INTERRUPTED = 130

#: Each command in a module of its own, imported when it is asked for; those of the shim stand above this package, and are
#: only named here.
COMMANDS = {
    "demo": "stdioproc.cli.demo:demo",
    "call": "stdioproc.cli.call:call",
    "mount": "ctypes_shim.commands:mount",
    "shim": "ctypes_shim.commands:shim",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module, _colon, attribute = COMMANDS.get(cmd_name, "").partition(":")
        if not module:
            return None
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(args[0], COMMANDS, n=1)
            meant = f" Was {close[0]} meant?" if close else ""
            raise click.UsageError(
                f"there is no command {args[0]!r}.{meant} There are: {', '.join(COMMANDS)}.", context
            )
        return super().resolve_command(context, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(package_name="stdioproc", message="%(prog)s %(version)s")
def _stdioproc() -> None:
    """Elektra plugins in child processes: any program that reads stdin and writes stdout.

    `stdioproc demo` shows all of it; `pluginproc` runs plugins that are Python classes.
    """


def main() -> int:
    """Run the command with sys.argv; returns the exit status: 64 for a wrong command line, 130 after Ctrl-C, and what the
    command itself returns.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores SIGHUP, and that stays so
            signal.signal(number, _leave)
    if "_STDIOPROC_COMPLETE" in os.environ:
        _stdioproc.main(prog_name="stdioproc")  # click answers the shell, and ends
    try:
        # Not through click's main: its statuses for a wrong command line and a broken pipe have other meanings here.
        with _stdioproc.make_context("stdioproc", sys.argv[1:] or ["--help"]) as context:
            status = _stdioproc.invoke(context)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.UsageError as error:
        _say(_with_hint(error))
        return EX_USAGE
    except click.ClickException as error:
        _say(error.format_message())
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return EX_INTERRUPTED
    except BrokenPipeError:
        # Who reads us has seen enough (| head). Python would complain when it flushes stdout at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), 1)
        return 128 + signal.SIGPIPE


def _leave(number: int, _: object) -> NoReturn:
    """As an exception, so that children are ended on the way out."""
    raise SystemExit(128 + number)


def _with_hint(error: click.UsageError) -> str:
    message = error.format_message()
    command = error.ctx.command_path if error.ctx is not None else "stdioproc"
    if isinstance(error, click.NoSuchOption) and "--" not in sys.argv:
        for name, operands in (("call", "OP"), ("mount", "FILE MOUNTPOINT")):
            if command.endswith(f" {name}"):
                message += f" Options of the plugin's program go behind `--`: stdioproc {name} {operands} -- EXE ARGS."
    return f"{message}\nSee `{command} --help`."


def _say(message: str) -> None:
    sys.stderr.write(f"stdioproc: {message}\n")


if __name__ == "__main__":
    raise SystemExit(main())
