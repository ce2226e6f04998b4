"""`stdioproc demo`: the main job on real input, with everything that it sends and what it took.

Each step is a function on a `Stage`; STEPS is their order.
"""

from __future__ import annotations

import difflib
import os
import shutil
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from dumpfmt import Key, KeySet
from stdioproc.cli import dialogue, tree
from stdioproc.cli.screen import Screen, printable, show_error, show_messages
from stdioproc.errors import get_error
from stdioproc.host import PluginOpenError, PluginProcess, PluginProcessError, Status

EX_ERROR = 1
EX_PROTOCOL = 2

ROOT = "user:/pyproject"

# What is read where there is no pyproject.toml.
_SAMPLE = """\
# A small project, made up for this demonstration.
[project]
name = "fence"            # what it is called
version = "1.4.2"
keywords = ["paint", "wood"]

[build-system]
requires = ["setuptools>=68"]
build-backend = "setuptools.build_meta"

[tool.fence]
coats = 2                 # how often it is painted
colour = "green"
dry = true
"""

# The first of these that is there is changed; a version is what is changed most often.
_CHANGED = ("project/version", "tool/poetry/version", "project/name", "project/description")

_CHECKED = "build-system/build-backend"
_ALLOWED = ("setuptools.build_meta", "hatchling.build", "flit_core.buildapi")


class DemoError(Exception):
    """Something did not go as it must; the message says what."""


class Stage:
    """What the steps share: the screen, a directory for the time of the demonstration, the plugins that run, what was
    read, and what each thing took.
    """

    def __init__(self, screen: Screen, directory: Path, cleanup: ExitStack) -> None:
        self.screen = screen
        self.directory = directory
        self.source = directory / "pyproject.toml"
        self.keyset = KeySet()
        self.plugins: dict[str, PluginProcess] = {}
        self.recorder = dialogue.Recorder()
        self.refusal: list[tuple[str, bytes]] = []
        self.timings: list[tuple[str, str, float, int, int]] = []
        self._cleanup = cleanup

    def say(self, text: str) -> None:
        """A paragraph."""
        for line in textwrap.wrap(text, self.screen.width, break_long_words=False, break_on_hyphens=False):
            self.screen.line(line)

    def start(self, name: str) -> PluginProcess:
        """Start the installed plugin `name` in a child process, with an empty environment; it is ended with the stage."""
        argv = [*_pluginproc(), "--load-plugin", name]
        self.screen.cut(("$ ", "dim"), (" ".join(argv), "bold"))
        plugin = PluginProcess(argv, on_wire=self.recorder)
        self._cleanup.callback(plugin.end)
        self.plugins[name] = plugin
        with self.timed(name, "start and open"):
            plugin.start()
            plugin.open(Key(ROOT))
        return plugin

    @contextmanager
    def timed(self, plugin: str, what: str) -> Iterator[None]:
        """Note how long the block took, and the bytes that went both ways."""
        self.recorder.clear()
        before = time.perf_counter()
        yield
        elapsed = time.perf_counter() - before
        self.timings.append((plugin, what, elapsed, self.recorder.count("P>"), self.recorder.count("C>")))

    def expect(self, status: Status, wanted: Status, parent: Key) -> None:
        """Raises DemoError unless `status` is the one that is `wanted`; shows what `parent` has to say about it."""
        if status is not wanted:
            show_messages(self.screen, parent)
            raise DemoError(f"the plugin answered {status.name}, not {wanted.name}")


def read(stage: Stage) -> None:
    """A TOML file becomes a keyset."""
    here = Path("pyproject.toml")
    if here.is_file():
        stage.source = here.absolute()
        stage.say(f"The file is {stage.source}.")
    else:
        stage.source.write_text(_SAMPLE, encoding="utf-8")
        stage.say(f"There is no pyproject.toml in {Path.cwd()}, so a small one was made up: {stage.source}.")
    plugin = stage.start("toml")
    parent = Key(ROOT, str(stage.source))
    with stage.timed("toml", "get"):
        status = plugin.get(stage.keyset, parent)
    stage.expect(status, Status.SUCCESS, parent)
    stage.screen.line()
    for parts in tree.lines(stage.keyset, ROOT):
        stage.screen.cut(*parts)
    stage.screen.line((f"{len(stage.keyset)} keys", "dim"))


def change(stage: Stage) -> None:
    """One value is changed and written to a copy of the file."""
    key = _to_change(stage.keyset)
    old, new = str(key.value), _changed(str(key.value))
    target = stage.directory / "copy" / stage.source.name
    target.parent.mkdir()
    shutil.copyfile(stage.source, target)
    original = stage.source.read_bytes()
    stage.screen.cut((printable(key.name), "bold"), f": {old} → {new}")
    stage.say("The plugin writes a copy; the file itself is only read.")
    stage.screen.line()
    key.value = new
    parent = Key(ROOT, str(target))
    with stage.timed("toml", "set"):
        status = stage.plugins["toml"].set(stage.keyset, parent)
    stage.expect(status, Status.SUCCESS, parent)
    before, after = original.decode(), target.read_text(encoding="utf-8")
    different = _show_diff(stage.screen, before, after)
    total = len(before.splitlines())
    stage.screen.line((f"{different} of {total} lines differs; all others are as they were, comments included", "dim"))
    if stage.source.read_bytes() != original:
        raise DemoError(f"{stage.source} itself was changed")
    if different != 1:
        raise DemoError(f"one line was to change, and {different} did")


def refuse(stage: Stage) -> None:
    """A value that is not allowed comes back as an Elektra error."""
    plugin = stage.start("whitelist")
    meta = {f"check/whitelist/#{index}": allowed for index, allowed in enumerate(_ALLOWED)}
    stage.say(f"Allowed for {_CHECKED} (metadata check/whitelist/#): {', '.join(_ALLOWED)}.")
    for value, wanted in ((_ALLOWED[0], Status.SUCCESS), ("make", Status.ERROR)):
        parent = Key(ROOT)
        with stage.timed("whitelist", f"set, {'allowed' if wanted is Status.SUCCESS else 'refused'}"):
            status = plugin.set(KeySet([Key(ROOT).join(_CHECKED, value, meta)]), parent)
        stage.expect(status, wanted, parent)
        word = ("success", "green") if status is Status.SUCCESS else ("error", "bold red")
        stage.screen.line(f"set {_CHECKED} = {value}: ", word)
    stage.refusal = stage.recorder.messages()
    error = get_error(parent)
    if error is None:
        raise DemoError("the plugin answered error and did not say why")
    stage.screen.line()
    show_error(stage.screen, error)


def show_dialogue(stage: Stage) -> None:
    """The refused operation, byte for byte: P> is what the host (parent) wrote, C> what the child answered."""
    stage.say("P> is what the host (the parent) wrote, C> what the plugin (the child) answered; a record to a line.")
    stage.screen.line()
    for parts in dialogue.lines(stage.refusal):
        stage.screen.cut(*parts)


def end(stage: Stage) -> None:
    """Both plugins are closed and end; what everything took."""
    for name, plugin in stage.plugins.items():
        with stage.timed(name, "close and end"):
            plugin.end()
    stage.screen.line((f"{'plugin':<11}{'step':<22}{'ms':>8}{'bytes out':>12}{'bytes in':>12}", "dim"))
    for name, what, elapsed, sent, received in stage.timings:
        bytes_out, bytes_in = (f"{count:,}" if count else "-" for count in (sent, received))
        stage.screen.line((f"{name:<11}", "bold"), f"{what:<22}{elapsed * 1000:>8.2f}{bytes_out:>12}{bytes_in:>12}")
    for name, plugin in stage.plugins.items():
        if plugin.ending is None or plugin.ending.rung != "TERMINATE" or plugin.ending.status != 0:
            raise DemoError(f"{name} did not end when it was asked: {plugin.ending!r}")


def go_on(stage: Stage) -> None:
    """What to try next."""
    file = "pyproject.toml" if stage.source.parent != stage.directory else "FILE.toml"
    stage.screen.line(("$ ", "dim"), f"{_typed('stdioproc')} call get --parent user:/x --parent-value {file} \\")
    stage.screen.line("      --format json -- pluginproc --load-plugin toml")
    stage.screen.line(("$ ", "dim"), f"{_typed('pluginproc')} --list")
    stage.say("Your own Elektra was not touched, and nothing is left behind.")


#: In this order; what is shown above each, and the step.
STEPS: tuple[tuple[str, Callable[[Stage], None]], ...] = (
    ("Read pyproject.toml through the plugin toml", read),
    ("Change a value and write a copy", change),
    ("Send a change through the plugin whitelist", refuse),
    ("The dialogue of that refusal", show_dialogue),
    ("What it took", end),
    ("Go on", go_on),
)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
def demo() -> int:
    """Show everything at work on this project's pyproject.toml.

    Two plugins run in child processes: toml reads the file in the current directory (a small made-up one if there is none)
    and writes a changed copy, whitelist refuses a value. Nothing outside a temporary directory is written, and no Elektra
    is needed or touched.

    Exit status: 0 all went as it must, 1 something did not, 2 a plugin did not start or broke the protocol.
    """
    screen = Screen()
    with ExitStack() as cleanup:
        directory = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="stdioproc-demo-")))
        stage = Stage(screen, directory, cleanup)
        try:
            for number, (title, step) in enumerate(STEPS, 1):
                if number > 1:
                    screen.line()
                screen.line((f"{number}. {title}", "bold blue"))
                screen.line()
                step(stage)
                screen.flush()
        except PluginOpenError as error:
            show_error(screen, error.error)
            return _failed(screen, f"{error.program} could not be opened", EX_ERROR)
        except PluginProcessError as error:
            return _failed(screen, printable(str(error)), EX_PROTOCOL)
        except BrokenPipeError:
            raise  # who reads us has seen enough
        except (DemoError, OSError, UnicodeDecodeError) as error:
            return _failed(screen, printable(str(error)), EX_ERROR)
    return 0


def _failed(screen: Screen, reason: str, status: int) -> int:
    screen.flush()
    Screen(sys.stderr).line((f"stdioproc demo: {reason}", "red"))
    return status


def _pluginproc() -> list[str]:
    """The installed `pluginproc`: beside the running command, or else beside the interpreter; without one, its module."""
    for beside in (os.path.abspath(sys.argv[0]), sys.executable):
        program = os.path.join(os.path.dirname(beside), "pluginproc")
        if os.access(program, os.X_OK) and os.path.isfile(program):
            return [program]
    # -P: not with the current directory, whatever lies there, as the first on sys.path.
    return [sys.executable, "-P", "-m", "stdioproc.cli.pluginproc"]


def _typed(command: str) -> str:
    """What to type for one of our commands: its name where the shell finds it, or else its path."""
    if shutil.which(command) is not None:
        return command
    for beside in (os.path.abspath(sys.argv[0]), sys.executable):
        path = os.path.join(os.path.dirname(beside), command)
        if os.path.isfile(path):
            return min(path, os.path.relpath(path), key=len)
    return command


def _to_change(keyset: KeySet) -> Key:
    for name in _CHANGED:
        key = keyset.get(f"{ROOT}/{name}")
        if key is not None and isinstance(key.value, str) and key.value and "\n" not in key.value:
            return key
    for key in keyset:  # somebody else's file
        value = key.value
        if key.meta.get("type") == "string" and isinstance(value, str) and value and value.isprintable():
            return key
    raise DemoError("the file has no text in it that could be changed")


def _changed(value: str) -> str:
    head, dot, last = value.rpartition(".")
    if last.isascii() and last.isdigit():
        return f"{head}{dot}{int(last) + 1}"
    return f"{value}-changed"


def _show_diff(screen: Screen, before: str, after: str) -> int:
    """Show how the texts differ; the number of lines that are other ones."""
    removed = added = 0
    styles = {"-": "red", "+": "green", "@": "cyan"}
    diff = difflib.unified_diff(before.splitlines(), after.splitlines(), "original", "copy", lineterm="", n=2)
    for line in diff:
        screen.line((printable(line), styles.get(line[:1], "")))
        removed += line.startswith("-") and not line.startswith("---")
        added += line.startswith("+") and not line.startswith("+++")
    return max(removed, added)
