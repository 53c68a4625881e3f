"""How many images are held at once."""

from __future__ import annotations

from inksight.data.at_once import explained_at_once, judged_at_once, read_at_once


def test_photos_are_held_few_at_a_time() -> None:
    judged = {(28, 28): 256, (96, 96): 113, (256, 256, 3): 5, (2048, 2048, 3): 1, (1280,): 256}
    assert {shape: judged_at_once(shape) for shape in judged} == judged
    explained = {(28, 28): 256, (256, 256, 3): 1, (2048, 2048, 3): 1}
    assert {shape: explained_at_once(shape) for shape in explained} == explained
    assert [read_at_once(shape) for shape in ((28, 28), (256, 256, 3), (4096, 4096, 3))] == [5349, 21, 1]
