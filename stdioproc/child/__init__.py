"""What the author of a plugin imports.

    from stdioproc.child import Infos, Plugin, Status, serve
    from stdioproc.errors import ValidationSemantic

    class Upper(Plugin):
        name = "upper"
        infos = Infos(author="N <a@b>", licence="BSD", description="refuses lower case", placements=("presetstorage",))

        def set(self, data, parent):
            for key in data:
                if str(key.value) != str(key.value).upper():
                    raise ValidationSemantic(f"{key.name} must be upper case, not {key.value!r}")

    if __name__ == "__main__":
        serve(Upper)

Importing this is part of every start of a child: nothing here may import lark, subprocess, asyncio, typing or
dataclasses.
"""

from dumpfmt import Key, KeySet
from stdioproc.child.plugin import Plugin
from stdioproc.child.service import serve
from stdioproc.contract import Infos
from stdioproc.events import Status

__all__ = ["Infos", "Key", "KeySet", "Plugin", "Status", "serve"]
