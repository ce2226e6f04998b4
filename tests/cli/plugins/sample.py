"""A plugin with every operation, for the tests of the commands."""

import os
import sys

from stdioproc.child import Infos, Key, KeySet, Plugin, Status, serve
from stdioproc.errors import Resource, ValidationSemantic


class Sample(Plugin):
    name = "sample"
    infos = Infos(author="Somebody <a@example.org>", licence="BSD", description="does a bit of everything")
    spec = KeySet([Key("spec:/colour", "", {"default": "red"})])

    def __init__(self) -> None:
        self.config = KeySet()

    def open(self, config: KeySet, parent: Key) -> None:
        self.config = config
        if "user:/config/refuse" in config:
            raise Resource("told to refuse")

    def get(self, data: KeySet, parent: Key) -> Status:
        if "user:/config/noupdate" in self.config:
            return Status.NO_UPDATE
        print("sample says hello", file=sys.stderr)
        data.append(parent.join("value", str(parent.value)))
        data.append(parent.join("binary", b"\0\1\xff"))
        data.append(parent.join("null", None))
        data.append(parent.join("latin", "\udcfc", {"comment": "\udce4"}))
        for name in ("SAMPLE", "COPIED", "HOME"):
            if name in os.environ:
                data.append(parent.join(f"environment/{name}", os.environ[name]))
        for key in self.config:
            data.append(parent.child("config").child(key.basename, key.value))
        if "user:/config/move" in self.config:
            parent.value = "/moved"
        return Status.SUCCESS

    def set(self, data: KeySet, parent: Key) -> None:
        for key in data:
            if key.basename == "odd":
                self.warn(parent, ValidationSemantic(f"{key.name} is odd"))
            if key.value == "bad":
                raise ValidationSemantic(f"{key.name} is bad \033[31m")

    def commit(self, data: KeySet, parent: Key) -> None:
        print("committed", file=sys.stderr)

    def error(self, data: KeySet, parent: Key) -> None:
        print("rolled back", file=sys.stderr)

    def checkconf(self, config: KeySet, parent: Key) -> None:
        config.append(Key("user:/config/checked", "yes"))

    def close(self, parent: Key) -> None:
        print("closed", file=sys.stderr)


if __name__ == "__main__":
    serve(Sample)
