#!/usr/bin/env python3
"""An Elektra plugin that lets only listed values be stored.

    kdb mount paint.ecf user:/paint dump stdioproc app=/…/bin/pluginproc args/#0=--load-plugin args/#1=whitelist
    kdb meta-set user:/paint/colour "check/whitelist/#0" ""
    kdb meta-set user:/paint/colour "check/whitelist/#1" red
    kdb set user:/paint/colour red       # stored
    kdb set user:/paint/colour blue      # refused: C03200

Each metakey `check/whitelist/#N` of a key is one value that it may have; the empty value is allowed where it is listed,
which a key that is created without a value needs. The metakey `check/whitelist` itself is neither needed nor looked
at. A key without such metakeys is not checked, and a binary value is none of any list. All keys are checked at once:
the first that is refused is the error, each further one a warning.

It does what the whitelist plugin of Elektra's Java binding does. `./whitelist.py` serves it too, and
`./whitelist.py --elektra-spec` answers with an example specification, for Elektra's specload.
"""

from __future__ import annotations

import re

from dumpfmt import Key, KeySet
from dumpfmt.text import shown
from stdioproc.child import Infos, Plugin, serve
from stdioproc.errors import ValidationSemantic

_BELOW = "check/whitelist/"
# As many underscores as one likes: the list is a set, so only Elektra's own order would need the right number.
_ELEMENT = re.compile(r"#_*[0-9]+")
# Bytes of a value that a message quotes.
_SHOWN = 200


class Whitelist(Plugin):
    name = "whitelist"
    infos = Infos(
        author="The stdioproc developers <stdioproc@example.org>",
        licence="BSD",
        description="refuses values that the metadata check/whitelist/# of a key does not list",
        # Only where values are about to be stored: what is in a file already must stay readable, or nobody could
        # mend it with Elektra.
        placements=("presetstorage",),
        provides=("check",),
        status=("maintained", "unittest", "nodep"),
        metadata=("check/whitelist/#",),
    )
    spec = KeySet(
        [
            Key(
                "spec:/colour",
                "",
                {
                    "description": "the colour of the fence",
                    "default": "red",
                    "check/whitelist/#0": "red",
                    "check/whitelist/#1": "green",
                    "check/whitelist/#2": "blue",
                },
            ),
            Key("spec:/coats", "", {"description": "how often it is painted", "default": "2", "type": "long"}),
        ]
    )

    def set(self, data: KeySet, parent: Key) -> None:
        refusals: list[ValidationSemantic] = []
        for key in data:
            allowed, ignored = _list_of(key)
            for name in ignored:
                self.warn(
                    parent,
                    ValidationSemantic(
                        f"the metadata 'meta:/{name}' of {key.name} is ignored: the values of a whitelist stand in "
                        "'check/whitelist/#0', 'check/whitelist/#1' and so on"
                    ),
                )
            reason = _refusal(key, allowed)
            if reason:
                refusals.append(ValidationSemantic(reason))
        for refusal in refusals[1:]:
            self.warn(parent, refusal)
        if refusals:
            raise refusals[0]


def _list_of(key: Key) -> tuple[list[str], list[str]]:
    """The values that a key may have, and the names of metakeys that look like elements of the list and are none."""
    allowed: list[str] = []
    ignored: list[str] = []
    for name, value in key.meta.items():
        if name.startswith(_BELOW):
            if _ELEMENT.fullmatch(name[len(_BELOW) :]):
                allowed.append(value)
            else:
                ignored.append(name)
    return allowed, ignored


def _refusal(key: Key, allowed: list[str]) -> str:
    """Why the value of `key` is not allowed; empty when it is."""
    if not allowed:
        return ""
    listed = ", ".join(shown(value, _SHOWN) for value in allowed)
    value = key.value
    if not isinstance(value, str):
        return f"{key.name} holds a binary value, but only these texts are allowed: {listed}"
    if value not in allowed:
        return f"{key.name} must not be {shown(value, _SHOWN)}; allowed are {listed}"
    return ""


if __name__ == "__main__":
    serve(Whitelist)
