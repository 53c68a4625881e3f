"""Finding a dataset file again by its content."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from inksight.data import open_dataset
from inksight.data.ensure import prepare
from inksight.data.places import find, remember
from inksight.workspace import workspace


def test_a_note_that_has_become_wrong_does_not_hide_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INKSIGHT_HOME", str(tmp_path / "home"))
    right = prepare("digits", options={"per_class": 10}).path
    other = prepare("digits", out=tmp_path / "other.h5", options={"per_class": 12}).path
    with open_dataset(right) as dataset:
        sha256 = dataset.sha256
    moved = tmp_path / "moved.h5"
    shutil.copy(right, moved)
    remember(sha256, moved)
    assert find(sha256, "digits") == moved
    shutil.copy(other, moved)
    assert find(sha256, "digits") == workspace().dataset_path("digits")
    assert find(sha256, None) is None
    assert find(None, "digits") == workspace().dataset_path("digits")
