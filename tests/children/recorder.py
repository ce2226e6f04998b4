"""The plugin whose dialogues with a real kdb were recorded (tests/vectors/kdb_process.jsonl).

recorder.py echo|reject|warn|noupdate [PARSER]
"""

import sys

from stdioproc.child import Infos, Plugin, Status, serve
from stdioproc.errors import PluginMisbehavior, ValidationSemantic, add_warning, set_error

MODE, PARSER = (*sys.argv[1:], "fast")[:2]


class Recorder(Plugin):
    infos = Infos(
        author="rig",
        licence="BSD",
        description="records the wire",
        placements=("postgetstorage", "presetstorage"),
        status=("maintained",),
    )

    def open(self, config, parent):
        return self.answer()

    def get(self, data, parent):
        if MODE == "warn":
            add_warning(parent, PluginMisbehavior("only a warning", module="recorder", file="rig.py", line="2"))
            parent.meta["warnings/#0/configfile"] = ""
        return self.answer()

    def set(self, data, parent):
        if MODE == "reject":
            error = ValidationSemantic("value refused by the recorder", module="recorder", file="rig.py", line="1")
            set_error(parent, error)
            parent.meta["error/configfile"] = ""
            return Status.ERROR
        return self.answer()

    def close(self, parent):
        return self.answer()

    def answer(self):
        return Status.NO_UPDATE if MODE == "noupdate" else Status.SUCCESS


serve(Recorder, parser=PARSER)
