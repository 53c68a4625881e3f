"""`ensure`: which source is meant, when it is prepared again, and with which settings it is fetched and prepared."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inksight.data.dataset import SPLITS, open_dataset
from inksight.data.ensure import ensure_dataset, find_dataset, prepare, prepare_combined
from inksight.data.quickdraw import fetch
from inksight.errors import NotFoundError, UsageError
from inksight.workspace import workspace
from tests.data.made import bitmaps, bucket, ndjson, strokes


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INKSIGHT_PREPARE_IMAGE_SIZE", "16")


def photo(seed: int) -> Image.Image:
    """A made photo, no two alike."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 20, 3), dtype=np.uint8))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two classes of ten photos each."""
    for number, name in enumerate(("oak", "maple")):
        (tmp_path / "leaves" / name).mkdir(parents=True)
        for row in range(10):
            photo(100 * number + row).save(tmp_path / "leaves" / name / f"{row}.png")
    return tmp_path / "leaves"


def test_names_that_are_not_utf8_are_spelled_out(source: Path) -> None:
    """Linux takes any bytes for a name; archives from elsewhere leave such names behind."""
    (source / "oak" / "0.png").rename(os.fsdecode(os.fsencode(source / "oak") + b"/caf\xe9.png"))
    (source / "maple").rename(os.fsdecode(os.fsencode(source) + b"/\xe9rable"))
    (source / "oak" / os.fsdecode(b"\xff.txt")).write_text("no picture")
    source = source.rename(os.fsdecode(os.fsencode(source) + b"\xe9"))
    done = prepare(source)
    assert done.path.name == "leaves\\xe9.h5"
    assert [where for where, _ in done.skipped] == ["oak/\\xff.txt"]
    for path in (done.path, ensure_dataset(source)):
        with open_dataset(path) as data:
            data.verify()
            assert data.classes == ("\\xe9rable", "oak")
            names = [str(name).split("#")[0] for split in SPLITS for name in data.ids(split)]
            assert "oak/caf\\xe9.png" in names
            assert data.source.startswith("leaves\\xe9;")


def test_a_table_is_prepared_again_when_a_listed_file_changes(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "table.csv"
    rows = [f"leaves/{name}/{row}.png,{name}" for name in ("oak", "maple") for row in range(10)]
    table.write_text("\n".join(["path,label", *rows, "leaves/oak/none.png,oak"]))
    first = ensure_dataset(table)
    assert ensure_dataset(table) == first
    monkeypatch.chdir(tmp_path)
    assert ensure_dataset("table.csv") == first  # however it is named
    assert ensure_dataset("leaves/") == ensure_dataset(source)
    photo(777).save(source / "oak" / "0.png")
    second = ensure_dataset(table)
    assert second != first
    photo(778).save(source / "oak" / "none.png")
    with open_dataset(ensure_dataset(table)) as data:
        assert sum(data.counts[split]["oak"] for split in SPLITS) == 11


def test_a_path_names_no_dataset_of_the_workspace(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    named = prepare("./leaves").path
    beside = Path(shutil.copy(named, source.with_suffix(".h5")))
    photo(777).save(source / "oak" / "new.png")
    made = ensure_dataset("./leaves")
    assert made == ensure_dataset("leaves/") == ensure_dataset(str(source))
    assert made not in (named, beside)
    with open_dataset(made) as data:
        assert sum(data.counts[split]["oak"] for split in SPLITS) == 11
    for path in ("./leaves", str(source)):
        with pytest.raises(NotFoundError, match="unknown dataset"):
            find_dataset(path)
    assert ensure_dataset("leaves") == find_dataset("leaves") == named


def test_what_a_link_points_to_may_change_and_circles_end(source: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "oak").symlink_to(source / "oak")
    (linked / "maple").mkdir()
    for path in sorted((source / "maple").iterdir()):
        (linked / "maple" / path.name).symlink_to(path)
    (linked / "maple" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (linked / "oak" / "again").symlink_to(linked)
    first = ensure_dataset(linked)
    assert ensure_dataset(linked) == first
    photo(779).save(source / "maple" / "0.png")
    assert ensure_dataset(linked) != first


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """Bitmaps and strokes of four classes, laid out as in the public bucket, and two presets of two classes each."""
    names = ("apple", "cat", "moon", "sun")
    for seed, name in enumerate(names):
        ndjson(tmp_path / "mirror" / "full" / "simplified" / f"{name}.ndjson", strokes(30, seed))
    presets = workspace().home / "presets"
    presets.mkdir(parents=True)
    for title, classes in (("fruit", names[:2]), ("sky", names[2:])):
        (presets / f"{title}.toml").write_text(
            f'[dataset]\nkind = "quickdraw"\nsummary = "mine"\nclasses = {list(classes)}\n'
        )
    return bucket(tmp_path / "mirror", {name: bitmaps(30, seed) for seed, name in enumerate(names)})


def test_what_is_combined_is_fetched_in_the_format_that_is_asked_for(
    mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INKSIGHT_FETCH_BASE_URL", mirror.as_uri())
    done = prepare_combined(["fruit", "sky"], options={"format": "simplified"})
    assert done.counts["train"] == {"apple": 24, "cat": 24, "moon": 24, "sun": 24}
    fetched = sorted(path.parent.name for path in (workspace().downloads / "quickdraw" / "full").glob("*/*"))
    assert fetched == ["simplified"] * 4


def test_a_settings_file_says_how_to_fetch_and_prepare(mirror: Path, tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text(
        f'[fetch]\nbase_url = "{mirror.as_uri()}"\nper_class = 20\nfolder = "{tmp_path / "mine"}"\n'
        '[prepare]\nformat = "simplified"\ntrain_ratio = 0.5\nval_ratio = 0.25\ntest_ratio = 0.25\n'
    )
    with open_dataset(ensure_dataset("fruit", config=config)) as data:
        assert data.counts["train"] == {"apple": 10, "cat": 10}
        assert "(simplified)" in data.source
    assert (tmp_path / "mine" / "full" / "simplified" / "apple.ndjson").is_file()
    assert not workspace().downloads.exists()


def test_drawings_are_prepared_from_where_they_were_fetched_to(
    mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INKSIGHT_FETCH_FOLDER", str(tmp_path / "mine"))
    monkeypatch.setenv("INKSIGHT_FETCH_BASE_URL", mirror.as_uri())
    fetch(["apple", "cat"])
    assert prepare("fruit").counts["train"] == {"apple": 24, "cat": 24}


def test_what_is_combined_is_called_by_its_plain_name(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for place, name, first in (("trees", "pine", 300), ("2025/leaves", "elm", 500)):
        for number, each in enumerate(("oak", name)):
            (tmp_path / place / each).mkdir(parents=True)
            for row in range(10):
                photo(first + 100 * number + row).save(tmp_path / place / each / f"{row}.png")
    names = ["maple", "leaves/oak", "trees/oak", "pine", "elm", "leaves-2/oak"]
    sources: list[str | Path] = ["./leaves", tmp_path / "trees", "./2025/leaves"]
    assert list(prepare_combined(sources).counts["train"]) == names
    photo(777).save(source / "oak" / "new.png")  # its file here has another name now
    done = prepare_combined(sources)
    assert list(done.counts["train"]) == names
    with open_dataset(done.path) as data:
        assert data.source.startswith("leaves + trees + leaves-2;")
        ids = [str(name).split("#")[0] for split in SPLITS for name in data.ids(split)]
        assert "leaves:oak/new.png" in ids
        assert "leaves-2:oak/0.png" in ids
    prepare("trees")
    both = prepare_combined(["trees", source])
    assert list(both.counts["train"]) == ["trees/oak", "pine", "maple", "leaves/oak"]
    with pytest.raises(UsageError, match="each of them once"):
        prepare_combined([source, "trees", "./leaves"])


def test_choices_that_a_source_does_not_offer_are_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--add has no effect on the photos in .*leaves"):
        prepare(source, add=["dragon"], folder=tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"--folder has no effect on the photos in .*leaves"):
        prepare(source, folder=tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"--add has no effect on the photos of 'pets'"):
        prepare("pets", add=["dragon"], folder=source)
    with pytest.raises(UsageError, match=r"--folder has no effect on 'digits'"):
        prepare("digits", folder=source)
