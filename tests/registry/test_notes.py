"""What the program writes beside versions is read back in parts; what people write is left alone."""

from __future__ import annotations

import re

import pytest

from inksight.registry import notes


@pytest.mark.parametrize("code", notes.TEMPLATES)
def test_what_was_written_is_read_back(code: str) -> None:
    values = {name: f"{name}:1" for name in re.findall(r"{(\w+)}", notes.TEMPLATES[code])}
    assert notes.read(notes.write(code, **values)) == (code, values)


@pytest.mark.parametrize("note", ["", "retrained from memory, by Ada", "the job is done", "experiment 3 (Ada)"])
def test_what_people_write_is_left_alone(note: str) -> None:
    assert notes.read(note) is None
