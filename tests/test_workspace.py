"""Workspace: locations from variables, and files that appear whole or not at all."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from inksight.workspace import atomic_path, readable_json, work_folder, workspace, write_json, write_text


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


HOLDER = """
import sys, time
from pathlib import Path
from inksight.workspace import work_folder
with work_folder(Path(sys.argv[1])) as folder:
    (folder / "spool").write_bytes(bytes(1000))
    print("holds", flush=True)
    time.sleep(60)
"""


def hold(target: Path) -> subprocess.Popen[str]:
    """Start a process that holds a work folder for `target`, and wait until it does."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(target)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "holds\n"
    return process


def end(process: subprocess.Popen[str], how: signal.Signals) -> None:
    process.send_signal(how)
    process.communicate(timeout=20)
    assert process.returncode == -how


def test_a_work_folder_goes_with_sigterm_and_after_sigkill_with_the_next(tmp_path: Path) -> None:
    target, other = tmp_path / "a.h5", tmp_path / "b.h5"
    stopped, killed, alive, another = (hold(path) for path in (target, target, target, other))
    assert len(list(tmp_path.glob(".a.h5.work-*/spool"))) == 3
    end(stopped, signal.SIGTERM)
    assert len(list(tmp_path.iterdir())) == 3
    end(killed, signal.SIGKILL)
    assert len(list(tmp_path.iterdir())) == 3
    with work_folder(target) as ours:
        left = set(tmp_path.iterdir())
        assert ours in left
        assert len(left) == 3  # ours, that of the process that lives, and the other target's
    end(another, signal.SIGKILL)
    with work_folder(target):
        assert len(list(tmp_path.glob(".b.h5.work-*"))) == 1  # another target's are not ours to judge
    end(alive, signal.SIGTERM)
    with work_folder(other):
        pass
    assert not list(tmp_path.iterdir())


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
