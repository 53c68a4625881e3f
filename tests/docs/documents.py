"""Reads the commands out of README.md and docs/, so that each one can be run.

A fenced block marked `sh` holds commands, one a line (a backslash continues it, a `#` comments it). A block marked
`python` is a program. A block that cannot run on one machine in seconds is preceded by `<!-- not run: REASON -->`, and
the tests count how many there are, so that none hides.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
_FENCE = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]+?) -->\n+)?^```(?P<language>sh|python)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, its text, its line number, and why it is not run (empty: it is)."""

    language: str
    body: str
    line: int
    not_run: str

    @property
    def commands(self) -> list[list[str]]:
        """The commands of an `sh` block, each split into words as a shell would."""
        joined = self.body.replace("\\\n", " ")
        split = [shlex.split(line, comments=True) for line in joined.splitlines()]
        return [words for words in split if words]


def documents() -> list[Path]:
    """Return README.md and every page of docs/."""
    return [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


def blocks(document: Path) -> list[Block]:
    """Return the document's blocks in order."""
    text = document.read_text(encoding="utf-8")
    return [
        Block(found["language"], found["body"], text[: found.start("body")].count("\n"), found["reason"] or "")
        for found in _FENCE.finditer(text)
    ]
