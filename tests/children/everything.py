"""A plugin with every operation. It says on stderr what was called; `get` and `set` do what the key user:/do names.

everything.py [PARSER]
"""

import ctypes
import os
import subprocess
import sys

from stdioproc.child import Infos, Key, KeySet, Plugin, Status, serve
from stdioproc.errors import Conflict, Resource, ValidationSemantic


def say(text):
    os.write(2, f"[{text}]".encode())


class Rude(Exception):
    def __str__(self):
        raise RuntimeError("not even this")


class Everything(Plugin):
    infos = Infos(author="A", placements=("presetstorage", "postgetstorage", "commit", "rollback"))
    spec = KeySet([Key("spec:/", meta={"mountpoint": "x.toml"}), Key("spec:/a", meta={"type": "long"})])

    def open(self, config, parent):
        say("open " + " ".join(key.name for key in config))
        self.opened = config
        if "user:/config/refuse" in config:
            raise Resource(config["user:/config/refuse"].value)

    def get(self, data, parent):
        say(f"get {self.phase}")
        return self.do(data, parent)

    def set(self, data, parent):
        say(f"set {self.phase}")
        return self.do(data, parent)

    def commit(self, data, parent):
        say(f"commit {self.phase}")

    def error(self, data, parent):
        say(f"error {self.phase}")

    def checkconf(self, config, parent):
        say("checkconf")
        return self.do(config, parent)

    def close(self, parent):
        say("close")

    def do(self, data, parent):
        do = data.get("user:/do")
        return getattr(self, do.value)(data, parent) if do is not None else Status.NO_UPDATE

    # --- printing

    def prints(self, data, parent):
        print("a print")
        sys.stdout.write("unfinished")

    def writes_to_1(self, data, parent):
        os.write(1, b"straight to 1\n")

    def runs_a_program(self, data, parent):
        subprocess.run(["/bin/sh", "-c", "echo from a program; cat"], check=True, timeout=5)

    def puts(self, data, parent):
        libc = ctypes.CDLL(None)
        libc.puts(b"from C")
        libc.fflush(None)

    def reads_stdin(self, data, parent):
        data.append(Key("user:/read", os.read(0, 10) or None))
        data.append(Key("user:/input", sys.stdin.read()))

    def closes_all_it_knows(self, data, parent):
        for stream in (sys.stdin, sys.stdout, sys.stderr):
            stream.close()
        raise KeyError("after closing")

    # --- failing

    def raises_elektra(self, data, parent):
        raise ValidationSemantic("not like this")

    def raises_with_all(self, data, parent):
        raise Conflict("changed", module="other", file="f.c", line="7", mountpoint="user:/m", configfile="/c")

    def raises_value(self, data, parent):
        return int("no number")

    def raises_empty(self, data, parent):
        raise ValueError

    def raises_os(self, data, parent):
        with open("/nowhere/file"):
            pass

    def raises_memory(self, data, parent):
        raise MemoryError

    def raises_not_implemented(self, data, parent):
        raise NotImplementedError("later")

    def raises_exit(self, data, parent):
        sys.exit("bye")

    def raises_rude(self, data, parent):
        raise Rude

    def raises_odd_reason(self, data, parent):
        raise Resource(OSError(2, "a\0b\udcff\ud800"))

    def recurses(self, data, parent):
        return self.recurses(data, parent)

    def changes_and_fails(self, data, parent):
        data.append(Key("user:/new"))
        parent.value = "changed"
        self.warn(parent, Resource("a warning first"))
        raise Resource("then an error")

    def warns(self, data, parent):
        self.warn(parent, Resource("careful"))

    # --- wrong results

    def returns_true(self, data, parent):
        return True

    def returns_two(self, data, parent):
        return 2

    def returns_text(self, data, parent):
        return "success"

    def returns_data(self, data, parent):
        return data

    def returns_minus_one(self, data, parent):
        return -1

    def returns_none(self, data, parent):
        data.append(Key("user:/new", "1"))
        parent.value = "changed"

    def returns_noupdate(self, data, parent):
        data.append(Key("user:/new", "1"))
        parent.value = "changed"
        return 0

    # --- dying

    def exits(self, data, parent):
        os._exit(13)

    def descriptors(self, data, parent):
        for name in sorted(os.listdir("/proc/self/fd"), key=int):
            try:
                data.append(Key("user:/fd").child(name, os.readlink(f"/proc/self/fd/{name}")))
            except OSError:
                continue


if __name__ == "__main__":
    serve(Everything, parser=(*sys.argv[1:], "fast")[0] if sys.argv[1:2] != ["--elektra-spec"] else "fast")
