"""Workspace: locations from variables, and files that appear whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inksight.workspace import atomic_path, readable_json, workspace, write_json, write_text


def test_variables_decide(tmp_path: Path) -> None:
    place = workspace({"INKSIGHT_HOME": str(tmp_path), "INKSIGHT_ARTIFACTS": "s3://bucket/x"})
    assert place.datasets == tmp_path / "datasets"
    assert place.artifacts == "s3://bucket/x"
    assert place.database_url == f"sqlite:///{tmp_path / 'inksight.db'}"
    assert not place.datasets.exists()


def test_runs_get_different_folders(tmp_path: Path) -> None:
    place = workspace({"INKSIGHT_HOME": str(tmp_path)})
    names = {place.new_run("deep_v2/resnet").name for _ in range(20)}
    assert len(names) == 20
    assert all("/" not in name and name.split("-", 2)[2].startswith("deep_v2-resnet") for name in names)


def test_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    write_text(target, "old")

    def fail_half_way() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_readable_json_keeps_lists_of_numbers_on_one_line_and_texts_as_they_are(tmp_path: Path) -> None:
    value = {
        "interval": [0.5, -1e-07],
        "matrix": [[1, 2], [3, 4]],
        "names": ["[\n 1,  2 ]", "3"],
        "none": [],
        "one": [7],
    }
    text = readable_json(value)
    write_json(tmp_path / "file.json", value)
    assert (tmp_path / "file.json").read_text() == text + "\n"
    assert json.loads(text) == value
    assert '"interval": [0.5, -1e-07]' in text
    assert "    [1, 2],\n    [3, 4]\n" in text
