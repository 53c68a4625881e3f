"""The lines that the program itself writes beside versions and moves, so that a page can say them in other languages.

note = write("retrained", parent="doodle:1", count=40)      # "retrained from doodle:1 on 40 corrections"
read(note)                                                  # ("retrained", {"parent": "doodle:1", "count": "40"})
read("the one with thicker pens")                           # None: what people write stays as it is
"""

from __future__ import annotations

import re

TEMPLATES = {
    "retrained": "retrained from {parent} on {count} corrections",
    "passed": "retrained from {parent}",
    "forced": "retrained from {parent}, although a gate said no",
    "job": "trained by a job",
    "matrix": "train-all {matrix}",
    "experiment": "experiment {number}",
}


def write(code: str, **values: object) -> str:
    """Return the line with this code."""
    return TEMPLATES[code].format(**values)


def read(note: str) -> tuple[str, dict[str, str]] | None:
    """Return the code and the values of a line that `write` made; None for any other."""
    for code, template in TEMPLATES.items():
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^\\s,]+)", re.escape(template))
        if found := re.fullmatch(pattern, note):
            return code, found.groupdict()
    return None
