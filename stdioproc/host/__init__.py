"""What runs plugins in child processes.

from stdioproc.host import PluginProcess

with PluginProcess(["/usr/bin/pluginproc", "--load-plugin", "toml"]) as plugin:
    status = plugin.get(keyset, parent)
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
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

# Where each name comes from, when somebody asks for it: who starts a child early imports only what that takes.
_HOMES = {
    "Ending": "stdioproc.host.ending",
    "PluginDied": "stdioproc.host.errors",
    "PluginDisabled": "stdioproc.host.errors",
    "PluginOpenError": "stdioproc.host.errors",
    "PluginProcess": "stdioproc.host.process",
    "PluginProcessError": "stdioproc.host.errors",
    "PluginProtocolError": "stdioproc.host.errors",
    "PluginRefused": "stdioproc.host.errors",
    "PluginStartError": "stdioproc.host.errors",
    "PluginTimeout": "stdioproc.host.errors",
    "Status": "stdioproc.events",
    "Trust": "stdioproc.host.trust",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(__import__(home, fromlist=[name]), name)  # importlib's own import would cost as much as ours
