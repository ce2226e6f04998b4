"""From what --load-plugin names to a plugin class. Part of every start: see pluginproc.py for what may be imported."""

from __future__ import annotations

import os
import sys

from stdioproc.child import Plugin
from stdioproc.cli.statuses import EX_PLUGIN_UNFIT, EX_USAGE, LoadError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

_LOAD = "--load-plugin"


def load(target: str) -> type[Plugin]:
    """The plugin class that the argument of --load-plugin names. Raises LoadError.

    What the plugin's module prints while it is imported goes to stderr, and stdin is empty for it: both belong to the
    protocol.
    """
    path, _, name = _split_file(target)
    if path:
        return _class_of_file(path, name)
    module, colon, name = target.partition(":")
    if not colon:
        from stdioproc.cli import entry_points

        module, name = entry_points.find(target)
    return _class(_import(module), name, target)


def _split_file(target: str) -> tuple[str, str, str]:
    """`FILE.py:Class` in three, the first empty when `target` is no file: files have a slash or end with .py."""
    path, colon, name = target.rpartition(":")
    if colon and path.endswith(".py"):
        return path, colon, name
    if "/" in target or target.endswith(".py"):
        return target, "", ""
    return "", "", ""


def _import(name: str) -> ModuleType:
    with _Wire():
        try:
            __import__(name)
        except ModuleNotFoundError as error:
            # Only when it is this very module, or a package that it is in, that is missing.
            if error.name is not None and (error.name == name or name.startswith(error.name + ".")):
                raise LoadError(
                    EX_PLUGIN_UNFIT,
                    f"there is no module {error.name!r} for this Python ({sys.executable}): install it there, set PYTHONPATH, or "
                    f"give the file itself as {_LOAD} /path/to/{name.rpartition('.')[2]}.py",
                ) from None
            raise _failed(name, error) from error
        except ValueError:  # __import__("") and ".x"
            raise LoadError(EX_USAGE, f"{name!r} is no name of a module; write {_LOAD} module:Class") from None
        except (Exception, SystemExit) as error:
            raise _failed(name, error) from error
    return sys.modules[name]


def _class_of_file(path: str, name: str) -> type[Plugin]:
    from importlib.machinery import ModuleSpec, SourceFileLoader  # cheaper than importlib.util by far

    path = os.path.abspath(path)
    if not os.path.isfile(path):
        what = "is a directory" if os.path.isdir(path) else "does not exist"
        raise LoadError(EX_USAGE, f"{path} {what}; {_LOAD} FILE.py needs the Python file that defines the plugin")
    stem = os.path.basename(path).removesuffix(".py")
    # A name of its own, since a plugin in json.py must not be what others get for `import json`.
    module_name = f"stdioproc_plugin_{stem}"
    loader = SourceFileLoader(module_name, path)
    spec = ModuleSpec(module_name, loader, origin=path)
    spec.has_location = True
    module = type(sys)(module_name)
    module.__file__, module.__loader__, module.__spec__ = path, loader, spec
    sys.modules[module_name] = module
    # As when Python runs the file: it can import what lies beside it.
    sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
    with _Wire():
        try:
            loader.exec_module(module)
        except (Exception, SystemExit) as error:
            raise _failed(path, error) from error
    if name:
        return _class(module, name, path)
    # A leading underscore is for bases that are no plugins themselves.
    found = [
        value
        for key, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, Plugin)
        and value.__module__ == module_name
        and value.__name__ == key
        and not key.startswith("_")
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        raise LoadError(
            EX_PLUGIN_UNFIT, f"{path} defines no plugin: a class that derives from stdioproc.child.Plugin is needed"
        )
    names = ", ".join(each.__name__ for each in found)
    raise LoadError(
        EX_USAGE, f"{path} defines {len(found)} plugins ({names}); say which: {_LOAD} {path}:{found[0].__name__}"
    )


def _class(module: ModuleType, name: str, target: str) -> type[Plugin]:
    found: object = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if isinstance(found, type) and issubclass(found, Plugin):
        return found
    plugins = sorted(
        key
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Plugin) and value is not Plugin
    )
    there = f"; it has the plugin {', '.join(plugins)}" if plugins else ""
    if found is None or not name:
        raise LoadError(
            EX_PLUGIN_UNFIT, f"{module.__name__} ({module.__file__}) has no {name or 'class without a name'}{there}"
        )
    raise LoadError(
        EX_PLUGIN_UNFIT,
        f"{name} in {module.__name__} ({module.__file__}) does not derive from stdioproc.child.Plugin{there}",
    )


def _failed(what: str, error: BaseException) -> LoadError:
    """The import of a plugin raised: the last line of its traceback, and the place that belongs to the author."""
    import traceback  # only a failing plugin pays for it

    last = traceback.format_exception_only(error)[-1].strip()
    if isinstance(error, SystemExit):
        last = f'it exits ({error.code!r}) while it is imported; put `serve(...)` below `if __name__ == "__main__":`'
    file, line = what, 0
    if isinstance(error, SyntaxError) and error.filename:
        file, line = error.filename, error.lineno or 0
    else:
        for frame in traceback.extract_tb(error.__traceback__):
            if frame.filename != __file__ and not frame.filename.startswith("<frozen "):
                file, line = frame.filename, frame.lineno or 0
    place = f"{file}:{line}" if line else file
    return LoadError(EX_PLUGIN_UNFIT, f"the plugin {what} cannot be imported: {last} ({place})")


class _Wire:
    """While a plugin is imported descriptor 0 is empty and 1 is stderr, so that a print breaks nothing."""

    def __enter__(self) -> None:
        import fcntl

        self._kept: list[tuple[int, int]] = []
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for descriptor in (0, 1):
            try:
                kept = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
            except OSError:
                continue  # not open: serve tells
            self._kept.append((kept, descriptor))
            try:
                os.dup2(2 if descriptor else null, descriptor)
            except OSError:  # started without a stderr
                os.dup2(null, descriptor)
        if null > 2:
            os.close(null)

    def __exit__(self, *exc_info: object) -> None:
        if sys.stdout is not None:
            sys.stdout.flush()
        for kept, descriptor in self._kept:
            os.dup2(kept, descriptor)
            os.close(kept)
