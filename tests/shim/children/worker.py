"""A plugin for the shim's tests that does what it is told: worker.py MODE [PLACEMENTS [LOG]].

Each operation is noted in LOG, one JSON object a line. MODE says what get and set do with the keys.
"""

from __future__ import annotations

import json
import os
import sys

from stdioproc.child import Infos, Key, KeySet, Plugin, Status, serve
from stdioproc.errors import Interface, ValidationSemantic

MODE = sys.argv[1]
PLACEMENTS = tuple(sys.argv[2].split(",")) if len(sys.argv) > 2 else ("presetstorage", "postgetstorage")
LOG = sys.argv[3] if len(sys.argv) > 3 else ""


class Worker(Plugin):
    name = "worker"
    infos = Infos(
        author="Nobody <nobody@example.org>",
        licence="BSD",
        description="does what a test tells it",
        placements=PLACEMENTS,
        provides=("storage/worker",) if "getstorage" in PLACEMENTS else (),
        status=("maintained", "unittest"),
    )

    def open(self, config: KeySet, parent: Key) -> None:
        self._note("open", config, parent)
        if MODE == "refuse-open":
            raise Interface("this worker does not open")
        if MODE == "warn-open":
            self.warn(parent, Interface("opened with doubts"))

    def get(self, data: KeySet, parent: Key) -> Status | None:
        self._note("get", data, parent)
        return self._work(data, parent)

    def set(self, data: KeySet, parent: Key) -> Status | None:
        self._note("set", data, parent)
        return self._work(data, parent)

    def commit(self, data: KeySet, parent: Key) -> None:
        self._note("commit", data, parent)

    def error(self, data: KeySet, parent: Key) -> Status | None:
        self._note("error", data, parent)
        return self._work(data, parent)

    def checkconf(self, config: KeySet, parent: Key) -> Status:
        self._note("checkconf", config, parent)
        if "user:/config/bad" in config:
            raise ValidationSemantic("bad is not a good configuration")
        if "user:/config/fill" in config:
            config.append(Key("user:/config/filled", "yes"))
            config.append(Key("user:/app", "/somewhere/else"))
            return Status.SUCCESS
        return Status.NO_UPDATE

    def close(self, parent: Key) -> None:
        self._note("close", KeySet(), parent)

    def _work(self, data: KeySet, parent: Key) -> Status | None:
        if MODE == "noupdate":
            data.clear()
            parent.value = "taken over"
            return Status.NO_UPDATE
        if MODE == "refuse":
            data.clear()
            parent.value = "not taken over"
            raise ValidationSemantic("refused, as told")
        if MODE == "bug":
            raise ZeroDivisionError("a bug, as told")
        if MODE == "die":
            print("last words", file=sys.stderr, flush=True)
            os._exit(3)
        if MODE == "warn":
            self.warn(parent, Interface("a warning, as told"))
        if MODE == "print":
            print("to standard output, where nobody should")
        if MODE == "value":
            parent.value = "another value"
            parent.meta["note"] = "kept"
        if MODE == "edit":
            self._edit(data, parent)
        if MODE == "environment":
            data.extend(parent.child(name, value) for name, value in os.environ.items())
        return None

    def _edit(self, data: KeySet, parent: Key) -> None:
        """Change one key, remove one, add some of each kind."""
        for key in list(data):
            if key.basename == "change":
                key.value = "changed"
            if key.basename == "remove":
                data.pop(key)
        data.append(parent.child("added", "new", {"type": "string"}))
        data.append(parent.child("bytes", b"\0\xff\n"))
        data.append(parent.child("null", None))

    def _note(self, operation: str, data: KeySet, parent: Key) -> None:
        if LOG:
            note = {
                "pid": os.getpid(),
                "op": operation,
                "phase": self.phase,
                "parent": parent.name,
                "value": parent.value,
            }
            note["keys"] = [key.name for key in data]
            note["meta"] = sorted(parent.meta)
            with open(LOG, "a", encoding="utf-8") as file:
                file.write(json.dumps(note) + "\n")


serve(Worker)
