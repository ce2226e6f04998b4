"""A resolver in Python, for the shim's tests: resolver.py DIRECTORY [LOG]. Files lie in DIRECTORY; commit is a rename."""

from __future__ import annotations

import json
import os
import sys

from stdioproc.child import Infos, Key, KeySet, Plugin, Status, serve

DIRECTORY = sys.argv[1]
LOG = sys.argv[2] if len(sys.argv) > 2 else ""


class Resolver(Plugin):
    name = "pyresolver"
    infos = Infos(
        author="Nobody <nobody@example.org>",
        licence="BSD",
        description="keeps configuration files in one directory",
        placements=("getresolver", "setresolver", "commit", "rollback"),
        provides=("resolver/pyresolver",),
        status=("maintained",),
    )

    def get(self, data: KeySet, parent: Key) -> Status:
        self._note("get", parent)
        path = os.path.join(DIRECTORY, str(parent.value))
        parent.value = path
        return Status.SUCCESS if os.path.exists(path) else Status.NO_UPDATE

    def set(self, data: KeySet, parent: Key) -> Status:
        self._note("set", parent)
        parent.value = os.path.join(DIRECTORY, os.path.basename(str(parent.value))) + ".tmp"
        return Status.SUCCESS

    def commit(self, data: KeySet, parent: Key) -> Status:
        self._note("commit", parent)
        temporary = str(parent.value)
        os.replace(temporary, temporary.removesuffix(".tmp"))
        return Status.SUCCESS

    def error(self, data: KeySet, parent: Key) -> Status:
        self._note("error", parent)
        if os.path.exists(str(parent.value)):
            os.unlink(str(parent.value))
        return Status.SUCCESS

    def _note(self, operation: str, parent: Key) -> None:
        if LOG:
            with open(LOG, "a", encoding="utf-8") as file:
                file.write(
                    json.dumps({"op": operation, "phase": self.phase, "parent": parent.name, "value": parent.value})
                    + "\n"
                )


serve(Resolver)
