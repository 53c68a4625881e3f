"""The lines that the program itself writes beside versions and moves, so that a page can say them in other languages.

note = write("retrained", parent="doodle:1", count=40)      # "retrained from doodle:1 on 40 corrections"
parts(note)                                                 # {"code": "retrained", "values": {"parent": ...}}
parts("the one with thicker pens")                          # None: what people write stays as it is
"""

from __future__ import annotations

from typing import Any

TEMPLATES = {
    "retrained": "retrained from {parent} on {count} corrections",
    "passed": "retrained from {parent}",
    "forced": "retrained from {parent}, although a gate said no",
    "job": "trained by a job",
    "matrix": "train-all {matrix}",
    "experiment": "experiment {number}",
}


class Note(str):
    """A line of the program's own, which knows its code and values; any other text is of people."""

    code: str
    values: dict[str, str]


def write(code: str, **values: object) -> Note:
    """Return the line with this code."""
    note = Note(TEMPLATES[code].format(**values))
    note.code, note.values = code, {name: str(value) for name, value in values.items()}
    return note


def parts(note: str) -> dict[str, Any] | None:
    """Return the code and the values of a line that `write` made, as the tables keep them; None for any other."""
    return {"code": note.code, "values": note.values} if isinstance(note, Note) else None
