"""A plugin whose every effect is a line in a file, on the disk before it is answered.

The file is named by `user:/config/journal`. A line is the operation, the process, and the value of `user:/id`.
"""

import os

from stdioproc.child import Key, Plugin, serve


class Journal(Plugin):
    journal = -1

    def note(self, *words):
        os.write(self.journal, (" ".join(map(str, words)) + "\n").encode())
        os.fsync(self.journal)

    def open(self, config, parent):
        self.journal = os.open(config["user:/config/journal"].value, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.note("open", os.getpid(), "-")

    def set(self, data, parent):
        self.note("set", os.getpid(), data["user:/id"].value)
        data.append(Key("user:/done", data["user:/id"].value))

    def close(self, parent):
        self.note("close", os.getpid(), "-")


if __name__ == "__main__":
    serve(Journal)
