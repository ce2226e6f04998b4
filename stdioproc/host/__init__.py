"""What runs plugins in child processes.

from stdioproc.host import PluginProcess

with PluginProcess(["/usr/bin/pluginproc", "--load-plugin", "toml"]) as plugin:
    status = plugin.get(keyset, parent)
"""

from stdioproc.events import Status
from stdioproc.host.ending import Ending
from stdioproc.host.errors import (
    PluginDied,
    PluginDisabled,
    PluginOpenError,
    PluginProcessError,
    PluginProtocolError,
    PluginRefused,
    PluginStartError,
    PluginTimeout,
)
from stdioproc.host.process import PluginProcess
from stdioproc.host.trust import Trust

__all__ = [
    "Ending",
    "PluginDied",
    "PluginDisabled",
    "PluginOpenError",
    "PluginProcess",
    "PluginProcessError",
    "PluginProtocolError",
    "PluginRefused",
    "PluginStartError",
    "PluginTimeout",
    "Status",
    "Trust",
]
