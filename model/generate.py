"""The protocol part of the model, written from the table that the code runs by.

The hand-written part (bridge.pml) never says which message may follow which: it asks `protocol_step`. So the model cannot
drift away from `stdioproc.state`; a test holds protocol.pml to this.

    python -m model.generate            writes protocol.pml
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stdioproc.state import TRANSITIONS, Role, Signal, State, sender

Table = Mapping[tuple[State, Signal], State]

TARGET = Path(__file__).with_name("protocol.pml")

_STREAM_ENDS = frozenset((Signal.HOST_EOF, Signal.CHILD_EOF))


def representatives(table: Table) -> dict[Signal, Signal]:
    """For each signal the first one that the table treats alike.

    Signals of one sender with equal rows cannot be told apart by any run, so searching with one of them searches for all.
    """
    first: dict[tuple[Role, frozenset[tuple[State, State]]], Signal] = {}
    chosen: dict[Signal, Signal] = {}
    for signal in Signal:
        row = frozenset((source, target) for (source, at), target in table.items() if at is signal)
        chosen[signal] = first.setdefault((sender(signal), row), signal)
    return chosen


def render(table: Table = TRANSITIONS) -> str:
    """Promela for `table`: numbers, who sends what, whose turn it is, and the step."""
    alike = representatives(table)
    distinct = [signal for signal in Signal if alike[signal] is signal]
    messages = [signal for signal in distinct if signal not in _STREAM_ENDS]
    lines = ["/* Made by model/generate.py from stdioproc/state.py; do not edit. */", ""]
    lines += [f"#define S_{state.name} {number}" for number, state in enumerate(State)]
    lines += [""]
    # 0 is no signal.
    lines += [f"#define G_{signal.name} {number}" for number, signal in enumerate(distinct, 1)]
    lines += [f"#define G_{s.name} G_{alike[s].name}" for s in Signal if alike[s] is not s]
    lines += ["", "/* Any message of one side, for peers that say anything at any time. */"]
    for role in Role:
        own = [signal for signal in messages if sender(signal) is role]
        lines += [f"inline any_message_of_{role.value}(piece)", "{", "\tif"]
        lines += [f"\t:: piece = G_{signal.name}" for signal in own]
        lines += ["\tfi", "}"]
        lines += [_any_of(f"sent_by_{role.value}(g)", "(g)", [f"G_{signal.name}" for signal in own])]
        turn = [state for state in State if any((state, signal) in table for signal in own)]
        lines += [_any_of(f"turn_of_{role.value}(s)", "(s)", [f"S_{state.name}" for state in turn]), ""]
    lines += [
        "/* What is not in the table is an error. Inside d_step: `else` needs all of the table to be looked at at once. */",
        "inline protocol_step(state, signal)",
        "{",
        "\tif",
    ]
    lines += [
        f"\t:: state == S_{source.name} && signal == G_{signal.name} -> state = S_{target.name}"
        for (source, signal), target in table.items()
        if alike[signal] is signal
    ]
    lines += ["\t:: else -> state = S_FAILED", "\tfi", "}"]
    return "\n".join(lines) + "\n"


def _any_of(head: str, variable: str, values: list[str]) -> str:
    return f"#define {head} ({' || '.join(f'{variable} == {value}' for value in values) or 'false'})"


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
