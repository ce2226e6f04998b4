"""For Elektra's in-process `python` plugin: get looks at every key when the file's name says so (see elektra.py)."""

import kdb  # type: ignore[import-not-found]  # Elektra's own binding, there only inside its plugin

ROOT = "system:/elektra/modules/python"
TOUCH = __file__.endswith("_all.py")


class ElektraPlugin:
    def open(self, config, errorKey):  # type: ignore[no-untyped-def]  # Elektra's convention
        return 1

    def get(self, returned, parentKey):  # type: ignore[no-untyped-def]
        if parentKey.name == ROOT:
            for name, value in (("", "the contract"), ("/infos", "infos"), ("/infos/placements", "postgetstorage")):
                returned.append(kdb.Key(ROOT + name, kdb.KEY_VALUE, value))
            return 1
        if TOUCH:
            for key in returned:
                key.name  # noqa: B018  # being looked at is the point
                key.value  # noqa: B018
                for meta in key.getMeta():
                    meta.name, meta.value  # noqa: B018
        return 1

    def close(self, errorKey):  # type: ignore[no-untyped-def]
        return 1
