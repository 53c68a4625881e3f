"""`inksight data list|fetch` as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from inksight.cli import app


def inksight(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "inksight", *words], capture_output=True, text=True, timeout=60)


def bucket(folder: Path) -> str:
    (folder / "full/numpy_bitmap").mkdir(parents=True)
    for name in ("cat", "dog", "dragon"):
        np.save(folder / "full/numpy_bitmap" / f"{name}.npy", np.zeros((30, 784), np.uint8))
    return folder.as_uri()


def test_list() -> None:
    done = inksight("data", "list")
    assert done.returncode == 0, done.stderr
    for name in ("quickdraw10", "quickdraw345", "dandelion-grass", "digits"):
        assert name in done.stdout
    fifty = json.loads(inksight("data", "list", "quickdraw50", "--json").stdout)
    assert fifty[0]["missing"] == ["heart"]
    assert len(fifty[0]["classes"]) == 49
    assert "dolphin" in inksight("data", "list", "quickdraw10").stdout


def test_a_broken_preset_is_told_beside_the_others(home: Path) -> None:
    (home / "presets").mkdir()
    path = home / "presets" / "leaves.toml"
    path.write_text('[dataset]\nkind = "photo\n')
    done = inksight("data", "list")
    assert done.returncode == 0
    assert "quickdraw10" in done.stdout
    assert "leaves" not in done.stdout
    [line] = done.stderr.splitlines()
    assert line.startswith(f"warning: settings file '{path}' is not valid TOML: ")
    assert "line 2" in line
    listed = json.loads(inksight("data", "list", "--json").stdout)
    [broken] = [entry for entry in listed if "error" in entry]
    assert broken["name"] == "leaves"
    assert line == f"warning: {broken['error']['message']}"
    assert len(listed) > 9
    for words in (["data", "list", "leaves"], ["data", "prepare", "leaves"], ["train", "leaves"]):
        asked = inksight(*words)
        assert asked.returncode == 2
        assert str(path) in asked.stderr


def test_fetch_with_one_more_class(tmp_path: Path) -> None:
    url = bucket(tmp_path / "bucket")
    words = ["data", "fetch", "--classes", "cat,dog", "--add", "dragon", "--per-class", "10", "--base-url", url]
    done = inksight(*words, "--folder", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "3 of 3 classes, 30 drawings" in done.stdout
    assert "[3/3]" in done.stderr
    assert len(np.load(tmp_path / "out/full/numpy_bitmap/dragon.npy")) == 10
    again = json.loads(inksight(*words, "--folder", str(tmp_path / "out"), "--json").stdout)
    assert [file["status"] for file in again["files"]] == ["verified"] * 3


def test_fetch_that_fails_says_what_and_exits_1(tmp_path: Path) -> None:
    url = bucket(tmp_path / "bucket")
    done = inksight("data", "fetch", "--classes", "cat,hexagon", "--base-url", url)
    assert done.returncode == 1
    assert "1 of 2 classes could not be fetched: hexagon" in done.stderr
    assert "cat: 30 drawings" in done.stderr


def test_check_counts_what_it_does_not_name(tmp_path: Path) -> None:
    done = inksight("data", "fetch", "quickdraw20", "--check", "--base-url", bucket(tmp_path / "bucket"))
    assert done.returncode == 2
    [first, hint] = done.stderr.splitlines()
    assert first.startswith("error: 19 of 20 classes are not at file:")
    assert first.endswith(": apple, sun, tree, house, car, fish, star, umbrella, flower, moon and 9 more")
    assert "--base-url" in hint


def test_nothing_is_said_to_be_kept_where_nothing_came(tmp_path: Path) -> None:
    words = ["data", "fetch", "--base-url", bucket(tmp_path / "bucket"), "--folder", str(tmp_path / "out"), "--classes"]
    assert "is kept" not in inksight(*words, "hexagon").stderr
    assert "What was fetched is kept" in inksight(*words, "hexagon,cat").stderr


def test_what_the_file_system_refuses_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = inksight("data", "fetch", "--classes", "cat", "--folder", str(tmp_path / "file" / "x"))
    assert done.returncode == 1
    assert done.stderr.strip() == f"error: {tmp_path / 'file' / 'x'}: there is a file where a folder should be"
    with open("/dev/full", "wb") as full:
        words = [sys.executable, "-m", "inksight", "data", "list"]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("error: no space left on the disk\n")


def test_check(tmp_path: Path) -> None:
    url = bucket(tmp_path / "bucket")
    done = inksight("data", "fetch", "--classes", "cat,hexagon", "--base-url", url, "--check")
    assert done.returncode == 2
    assert "hexagon" in done.stderr
    assert "yes" in done.stdout
    assert inksight("data", "fetch", "--classes", "cat", "--base-url", url, "--check").returncode == 0


def test_the_time_told_is_that_of_the_whole_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from inksight.data import ensure

    honest = ensure.prepare

    def slow(*source: Any, **options: Any) -> Any:
        time.sleep(1.5)  # reading and decoding, which packing does not count
        return honest(*source, **options)

    monkeypatch.setattr(ensure, "prepare", slow)
    for index in range(12):
        for name, grey in (("a", 10), ("b", 200)):
            (tmp_path / "ph" / name).mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(index).integers(0, 50, (16, 16, 3), dtype=np.uint8) + np.uint8(grey)
            Image.fromarray(pixels).save(tmp_path / "ph" / name / f"{index}.png")
    done = CliRunner().invoke(app, ["data", "prepare", str(tmp_path / "ph"), "--image-size", "16", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["seconds"] > 1.5


def test_wrong_usage_exits_2_and_names_the_way_out() -> None:
    for words, expected in (
        (["--classes", "dragoon"], "dragon"),
        (["quickdraw21"], "quickdraw20"),
        (["pets"], "nothing to download"),
        (["quickdraw10", "--format", "gif"], "numpy_bitmap"),
        (["quickdraw10", "--recognized-only"], "--format simplified"),
    ):
        done = inksight("data", "fetch", *words)
        assert done.returncode == 2, done.stderr
        assert expected in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", ["data fetch quickdraw20 --check", "data prepare quickdraw20"])
def test_no_classes_are_not_all_classes(words: str) -> None:
    done = inksight(*words.split(), "--classes", " , ")
    assert done.returncode == 2
    assert "--classes: nothing is given" in done.stderr
