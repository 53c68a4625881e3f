"""Folders, zips and CSV files of photos become dataset files; so do several datasets together."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from inksight.cli import app
from inksight.data.dataset import SPLITS, open_dataset
from inksight.data.ensure import ensure_dataset, prepare, prepare_combined
from inksight.data.folder import combine, prepare_photos
from inksight.data.listing import list_photos
from inksight.errors import ConflictError, DataError, NotFoundError, UsageError
from inksight.settings import PrepareSettings
from inksight.workspace import workspace
from tests.data.made import bitmaps, bucket

SMALL = PrepareSettings(image_size=32, margin=0.25)


def photo(seed: int, size: tuple[int, int] = (60, 50)) -> Image.Image:
    """A made photo: smooth random colours, no two alike."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC)


def fill(folder: Path, name: str, count: int, seed: int) -> None:
    (folder / name).mkdir(parents=True)
    for number in range(count):
        photo(seed * 1000 + number).save(folder / name / f"{number:03d}.png")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    fill(tmp_path / "leaves", "oak", 20, 1)
    fill(tmp_path / "leaves", "maple", 30, 2)
    return tmp_path / "leaves"


def test_a_folder_per_class(source: Path, tmp_path: Path) -> None:
    done = prepare_photos(source, tmp_path / "x.h5", settings=SMALL)
    assert done.counts == {
        "train": {"maple": 24, "oak": 16},
        "val": {"maple": 3, "oak": 2},
        "test": {"maple": 3, "oak": 2},
    }
    with open_dataset(done.path) as data:
        data.verify()
        assert data.kind == "photo"
        assert data.image_shape == (40, 40, 3)
        assert data.preprocessing == {"kind": "photo", "size": 40, "image_size": 32}
        name, hash = str(data.ids("train")[0]).split("#")
        assert (source / name).is_file()
        assert len(hash) == 12
        expected = Image.open(source / name).resize((40, 40), Image.Resampling.BICUBIC, box=(5, 0, 55, 50))
        assert np.abs(data.images("train")[0].astype(int) - np.asarray(expected)).max() <= 2


def test_every_odd_file_is_named_and_strict_refuses(source: Path, tmp_path: Path) -> None:
    good = (source / "oak" / "000.png").read_bytes()
    (source / "oak" / "cut.png").write_bytes(good[:300])
    (source / "oak" / "notes.txt").write_text("leaves of 2019")
    (source / "maple" / "empty.jpg").write_bytes(b"")
    (source / "maple" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (source / "stray.png").write_bytes(good)
    (source / "oak" / ".DS_Store").write_bytes(b"x")
    (source / "oak" / "Thumbs.db").write_bytes(b"x")
    (source / "elm").mkdir()
    os.mkfifo(source / "oak" / "pipe.png")  # reading it would wait for ever
    photo(77).convert("CMYK").save(source / "oak" / "cmyk.jpg")
    done = prepare_photos(source, tmp_path / "x.h5", settings=SMALL)
    assert {where for where, _ in done.skipped} == {
        "stray.png", "oak/cut.png", "oak/notes.txt", "oak/pipe.png", "maple/empty.jpg", "maple/gone.jpg", "elm",
    }  # fmt: skip
    reasons = dict(done.skipped)
    assert reasons["stray.png"] == "not in a class folder"
    assert reasons["oak/notes.txt"] == "not a picture"
    assert "truncated" in reasons["oak/cut.png"]
    assert "cannot be read" in reasons["maple/gone.jpg"]
    assert reasons["oak/pipe.png"] == "not a file"
    assert reasons["elm"] == "an empty folder"
    assert done.notes == ["CMYK: converted (1 picture)"]
    assert done.total == 51
    with pytest.raises(DataError, match=r"--strict: 7 of .*; and 2 more"):
        prepare_photos(source, tmp_path / "y.h5", settings=PrepareSettings(image_size=32, strict=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["leaves", "x.h5"]


def test_a_prescribed_split_is_kept(tmp_path: Path) -> None:
    for split, count, seed in (("train", 20, 1), ("Validation", 6, 3), ("test", 5, 5)):
        fill(tmp_path / "in" / split, "a", count, seed)
        fill(tmp_path / "in" / split, "b", count, seed + 1)
    done = prepare_photos(tmp_path / "in", tmp_path / "x.h5", settings=SMALL)
    assert {split: done.counts[split]["a"] for split in SPLITS} == {"train": 20, "val": 6, "test": 5}
    assert done.notes == ["split as the source prescribes"]
    with open_dataset(done.path) as data:
        assert all(str(name).startswith("Validation/") for name in data.ids("val"))


def test_a_missing_val_is_taken_out_of_train(tmp_path: Path) -> None:
    for split, count, seed in (("train", 36, 1), ("test", 5, 5)):
        fill(tmp_path / "in" / split, "a", count, seed)
        fill(tmp_path / "in" / split, "b", count, seed + 1)
    done = prepare_photos(tmp_path / "in", tmp_path / "x.h5", settings=SMALL)
    assert {split: done.counts[split]["b"] for split in SPLITS} == {"train": 32, "val": 4, "test": 5}
    assert "val, which it lacks, taken out of its train part" in done.notes[0]


@pytest.mark.parametrize("wrapped", ["", "set/"])
def test_what_lies_beside_a_prescribed_split_is_skipped(tmp_path: Path, wrapped: str) -> None:
    for seed, split in enumerate(("Training", "test")):
        for number, name in enumerate(("cat", "dog")):
            fill(tmp_path / "in" / split, name, 10, 10 * seed + number)
    fill(tmp_path / "in" / "Training", "fox", 10, 30)  # test has none
    fill(tmp_path / "in", "unlabelled", 2, 31)
    fill(tmp_path / "in" / "more", "cat", 1, 32)
    source = zipped(tmp_path / "in", tmp_path / "in.zip", wrapped) if wrapped else tmp_path / "in"
    done = prepare_photos(source, tmp_path / "x.h5", settings=SMALL)
    assert {name: done.counts["test"][name] for name in ("cat", "dog", "fox")} == {"cat": 10, "dog": 10, "fox": 0}
    assert done.total == 50
    beside = ["more/cat/000.png", "unlabelled/000.png", "unlabelled/001.png"]
    assert done.skipped == [(f"{wrapped}{name}", "beside train, val and test") for name in beside]
    with pytest.raises(DataError, match="--strict: 3 of "):
        prepare_photos(source, tmp_path / "y.h5", settings=PrepareSettings(image_size=32, strict=True))


def test_classes_may_be_called_like_parts_of_a_split(tmp_path: Path) -> None:
    for number, name in enumerate(("train/steam", "train/electric", "bus/city", "test/old")):
        fill(tmp_path / "in", name, 1, number)
    assert list_photos(tmp_path / "in").classes() == ["bus", "test", "train"]


@pytest.mark.parametrize(
    ("count", "kept"), [(3, (1, 1, 1)), (10, (6, 2, 2)), (20, (12, 3, 5)), (48, (30, 6, 12)), (99, (30, 6, 12))]
)
def test_fewer_pictures_keep_the_shares_of_a_prescribed_split(
    tmp_path: Path, count: int, kept: tuple[int, int, int]
) -> None:
    for number, (split, size) in enumerate((("train", 30), ("val", 6), ("test", 12))):
        fill(tmp_path / "in" / split, "a", size, 10 + number)
    fill(tmp_path / "in" / "train", "b", 2, 20)  # none for val
    fill(tmp_path / "in" / "test", "b", 1, 21)
    settings = PrepareSettings(image_size=16, per_class=count, group_near=False)
    done = prepare_photos(tmp_path / "in", tmp_path / "x.h5", settings=settings)
    assert tuple(done.counts[split]["a"] for split in SPLITS) == kept
    assert tuple(done.counts[split]["b"] for split in SPLITS) == (2, 0, 1)
    assert done.notes == ["split as the source prescribes"]
    with open_dataset(done.path) as data:  # the first ones of each
        names = sorted(str(name).split("#")[0] for name in data.ids("train") if "/a/" in str(name))
    assert names == [f"train/a/{number:03d}.png" for number in range(kept[0])]


def test_near_duplicates_across_a_prescribed_split_are_told(tmp_path: Path) -> None:
    for split, count, seed in (("train", 20, 1), ("val", 6, 3), ("test", 5, 5)):
        fill(tmp_path / "in" / split, "a", count, seed)
    fainter = Image.open(tmp_path / "in" / "train" / "a" / "003.png").point(lambda value: value * 0.97)
    fainter.save(tmp_path / "in" / "test" / "a" / "same.png")
    done = prepare_photos(tmp_path / "in", tmp_path / "x.h5", settings=SMALL)
    assert "2 pictures have a near-duplicate in another split of the source's own" in done.notes
    assert (done.near_groups, done.near_pictures) == (0, 0)  # none was kept on one side
    # Without val that part is dealt: of these three, only the two in train are kept together.
    shutil.rmtree(tmp_path / "in" / "val")
    fainter.point(lambda value: value * 0.98).save(tmp_path / "in" / "train" / "a" / "same.png")
    done = prepare_photos(tmp_path / "in", tmp_path / "x.h5", settings=SMALL)
    assert (done.near_groups, done.near_pictures) == (1, 2)
    assert "3 pictures have a near-duplicate in another split of the source's own" in done.notes


def test_near_duplicates_stay_on_one_side(tmp_path: Path) -> None:
    fill(tmp_path / "in", "a", 40, 1)
    fill(tmp_path / "in", "b", 40, 2)
    for path in sorted((tmp_path / "in" / "a").glob("*.png")):
        with Image.open(path) as image:
            image.resize((90, 75)).save(path.with_name(f"{path.stem}-again.jpg"), quality=70)
    with open_dataset(prepare_photos(tmp_path / "in", tmp_path / "x.h5", settings=SMALL).path) as data:
        side = {Path(str(i).split("#")[0]).stem: s for s in SPLITS for i in data.ids(s) if str(i).startswith("a/")}
    assert len(side) == 80
    assert sum(side[f"{n:03d}"] != side[f"{n:03d}-again"] for n in range(40)) <= 1


def test_a_long_burst_of_one_photo_stays_on_one_side(tmp_path: Path) -> None:
    fill(tmp_path / "in", "a", 300, 1)
    rng = np.random.default_rng(5)
    for number in range(70):
        moved = np.asarray(photo(1)).astype(int) + rng.integers(-6, 7, (50, 60, 3))
        Image.fromarray(moved.clip(0, 255).astype(np.uint8)).save(tmp_path / "in" / "a" / f"burst{number}.png")
    done = prepare_photos(tmp_path / "in", tmp_path / "x.h5", settings=SMALL)
    with open_dataset(done.path) as data:
        sides = [split for split in SPLITS for name in data.ids(split) if str(name).startswith("a/burst")]
    assert len(sides) == 70
    assert len(set(sides)) == 1
    assert done.notes == []


def zipped(folder: Path, path: Path, inside: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, f"{inside}{file.relative_to(folder).as_posix()}")
    return path


def test_a_zip_gives_the_same_pictures_as_its_folder(source: Path, tmp_path: Path) -> None:
    (source / "README.txt").write_text("about")
    folder = prepare_photos(source, tmp_path / "folder.h5", settings=SMALL)
    plain = prepare_photos(zipped(source, tmp_path / "a.zip"), tmp_path / "plain.h5", settings=SMALL)
    wrapped = prepare_photos(zipped(source, tmp_path / "b.zip", "set/leaves/"), tmp_path / "w.h5", settings=SMALL)
    assert folder.sha256 == plain.sha256
    assert folder.counts == plain.counts == wrapped.counts


def test_a_zip_with_backslashes(source: Path, tmp_path: Path) -> None:
    """Older Windows tools write them between folders."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in source.rglob("*.png"):
            member = zipfile.ZipInfo("x")
            member.filename = f"set\\{path.parent.name}\\{path.name}"
            archive.writestr(member, path.read_bytes())
    done = prepare_photos(tmp_path / "a.zip", tmp_path / "x.h5", settings=SMALL)
    assert done.counts["train"] == {"maple": 24, "oak": 16}


def test_a_class_without_a_single_good_picture_says_why(source: Path, tmp_path: Path) -> None:
    for name in ("000.png", "001.png"):
        (source / "pine").mkdir(exist_ok=True)
        (source / "pine" / name).write_bytes(b"junk")
    with pytest.raises(DataError, match=r"no picture of class 'pine' can be used, e.g. pine/000.png: not a picture"):
        prepare_photos(source, tmp_path / "x.h5", settings=SMALL)


def test_class_names_that_differ_only_in_case_are_told(source: Path, tmp_path: Path) -> None:
    fill(source, "Oak", 20, 3)
    fill(source, "OAK ", 20, 4)
    done = prepare_photos(source, tmp_path / "x.h5", settings=SMALL)
    assert done.notes == ["classes whose names differ in nothing but case or blanks: 'OAK ', 'Oak', 'oak'"]


def test_a_class_named_twice_is_one(source: Path, tmp_path: Path) -> None:
    done = prepare_photos(source, tmp_path / "x.h5", classes=["oak", "maple", "oak"], settings=SMALL)
    assert done.counts["train"] == {"oak": 16, "maple": 24}


def test_a_class_that_is_in_another_as_well_says_so(source: Path, tmp_path: Path) -> None:
    shutil.copytree(source / "oak", source / "copy")
    with pytest.raises(DataError, match=r"nothing is left of class 'copy': of its pictures are 20 in another class"):
        prepare_photos(source, tmp_path / "x.h5", settings=SMALL)


def test_hostile_zips_do_no_harm(source: Path, tmp_path: Path) -> None:
    path = zipped(source, tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("oak/bomb.png", bytes(60_000_000))
        archive.writestr("../../escape/evil.png", (source / "oak" / "000.png").read_bytes())
        archive.writestr("/etc/evil.png", b"x")
        archive.writestr("__MACOSX/oak/._000.png", b"x")
    done = prepare_photos(path, tmp_path / "out" / "x.h5", settings=SMALL)
    reasons = dict(done.skipped)
    assert "zip bomb" in reasons["oak/bomb.png"]
    assert reasons["../../escape/evil.png"] == "its name points outside the zip"
    assert set(reasons) == {"oak/bomb.png", "../../escape/evil.png", "/etc/evil.png"}
    assert done.total == 50
    assert not list(tmp_path.rglob("evil.png"))
    (tmp_path / "broken.zip").write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match="not a zip file"):
        list_photos(tmp_path / "broken.zip")


def test_damaged_members_are_skipped(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(source.rglob("*.png")):
            archive.write(file, file.relative_to(source).as_posix())
    data = bytearray(path.read_bytes())
    at = data.find(b"oak/005.png") + 200
    data[at : at + 40] = bytes(40)
    path.write_bytes(data)
    done = prepare_photos(path, tmp_path / "x.h5", settings=SMALL)
    assert [where for where, _ in done.skipped] == ["oak/005.png"]
    assert "cannot be unpacked" in done.skipped[0][1]


@pytest.mark.parametrize(
    "text",
    [
        "path,label\n{rows}",
        "{rows}",
        "Label;File\n{swapped}",
        "\ufefffilename\tclass\n{tabs}",
    ],
)
def test_csv_files(source: Path, tmp_path: Path, text: str) -> None:
    names = [(f"leaves/{kind}/{n:03d}.png", kind) for kind in ("oak", "maple") for n in range(20)]
    table = tmp_path / "table.csv"
    content = text.format(
        rows="\n".join(f"{p},{k}" for p, k in names),
        swapped="\n".join(f"{k};{p}" for p, k in names),
        tabs="\n".join(f"{p}\t{k}" for p, k in names),
    )
    table.write_text(content + "\n\n", encoding="utf-8")
    done = prepare_photos(table, tmp_path / "x.h5", settings=SMALL)
    assert done.counts["train"] == {"maple": 16, "oak": 16}
    assert done.skipped == []


def test_csv_with_splits_and_faults(source: Path, tmp_path: Path) -> None:
    lines = ["path,label,split"]
    for kind in ("oak", "maple"):
        lines += [
            f"leaves/{kind}/{n:03d}.png,{kind},{'train' if n < 12 else 'val' if n < 16 else 'test'}" for n in range(20)
        ]
    lines += ["leaves/oak/999.png,oak,train", "leaves/oak/001.png", ",oak,train", "leaves/oak/002.png,oak,later"]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(lines))
    done = prepare_photos(table, tmp_path / "x.h5", settings=SMALL)
    assert {split: done.counts[split]["oak"] for split in SPLITS} == {"train": 12, "val": 4, "test": 4}
    reasons = dict(done.skipped)
    assert set(reasons) == {"leaves/oak/999.png", "table.csv:43", "table.csv:44", "table.csv:45"}
    assert "'later' is none of train, val, test" in reasons["table.csv:45"]


def test_photos_take_the_place_of_no_other_dataset(tmp_path: Path, source: Path) -> None:
    options = {"image_size": 32}
    first = prepare(source, options=options)
    assert prepare(source, options=options).path == first.path
    other = Path(shutil.copytree(source, tmp_path / "2025" / "leaves"))
    with pytest.raises(ConflictError, match=f"is the dataset of {source}, not of '{other}'") as caught:
        prepare(other, options=options)
    assert "--out" in caught.value.hint
    prepare(other, out=first.path, options=options)  # what is asked for by name may be replaced
    with pytest.raises(ConflictError, match="is the dataset of"):
        prepare(source, options=options)
    digits = Path(shutil.copytree(source, tmp_path / "digits"))
    with pytest.raises(ConflictError, match="'digits' is a preset"):
        prepare(digits, options=options)
    combined = Path(shutil.copytree(source, tmp_path / "combined"))
    shutil.copy(first.path, workspace().dataset_path("combined"))
    with pytest.raises(ConflictError, match="is the dataset of leaves, not"):
        prepare(combined, options=options)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("leaves", {"format": "raw"}),
        ("leaves", {"center": True}),
        ("digits", {"format": "raw"}),
        ("digits", {"image_size": 96}),
        ("quickdraw20", {"strict": True}),
        ("quickdraw20", {"recognized_only": True}),
    ],
)
def test_options_of_another_kind_of_source_are_refused(source: Path, name: str, option: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=r"no such option|no effect on bitmaps"):
        prepare(source if name == "leaves" else name, options=option)


def test_an_unknown_name_is_answered_with_what_is_prepared(source: Path) -> None:
    prepare(source, options={"image_size": 32})
    with pytest.raises(NotFoundError, match="unknown preset 'leafs'") as caught:
        ensure_dataset("leafs")
    assert caught.value.hint.endswith("Prepared here: leaves.")
    with pytest.raises(NotFoundError) as caught:
        ensure_dataset("resembles-nothing-here")
    assert "quickdraw50. Prepared here: leaves." in caught.value.hint
    with pytest.raises(NotFoundError, match="does not exist"):
        ensure_dataset("./leafs")


def test_sources_without_classes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no pictures in class folders"):
        list_photos(tmp_path / "empty")
    photo(1).save(tmp_path / "empty" / "a.png")
    with pytest.raises(DataError, match=r"1 passed over, e.g. a.png: not in a class folder"):
        list_photos(tmp_path / "empty")
    with pytest.raises(NotFoundError, match="does not exist"):
        list_photos(tmp_path / "nowhere")
    (tmp_path / "x.csv").write_text("")
    with pytest.raises(DataError, match="is empty"):
        list_photos(tmp_path / "x.csv")
    (tmp_path / "x.csv").write_text("path,label\n")
    with pytest.raises(DataError, match="holds no lines of path,label"):
        list_photos(tmp_path / "x.csv")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nowhere/", "does not exist"),
        ("photos.zip", "does not exist"),
        ("./notes.txt", "no source of photos"),
        ("notes.txt", "no s"),
    ],
)
def test_what_can_only_be_a_path_is_not_sought_among_the_presets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, words: str
) -> None:
    (tmp_path / "notes.txt").write_text("leaves of 2019")
    monkeypatch.chdir(tmp_path)
    with pytest.raises((DataError, NotFoundError), match=words):
        prepare(source)


def test_a_folder_is_no_place_for_a_dataset_file(source: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(source)  # it would be replaced by the file, the folder out of reach
    for out in (source, tmp_path / "link"):
        with pytest.raises(UsageError, match=r"--out: .* is a folder"):
            prepare(source, out=out)


def test_links_are_followed_and_circles_end(source: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "oak").symlink_to(source / "oak")
    (linked / "elm").symlink_to(source / "maple")
    (source / "oak" / "again").symlink_to(linked)
    listing = list_photos(linked)
    assert listing.classes() == ["elm", "oak"]
    assert len(listing.entries) == 50


def test_classes_can_be_chosen(source: Path, tmp_path: Path) -> None:
    fill(source, "elm", 10, 9)
    done = prepare(source, classes=["oak", "elm"], out=tmp_path / "x.h5", options={"image_size": 32})
    assert list(done.counts["train"]) == ["oak", "elm"]
    with pytest.raises(NotFoundError, match="'oka'") as caught:
        prepare(source, classes=["oka"], out=tmp_path / "x.h5")
    assert "oak" in caught.value.hint


def test_a_users_preset_and_the_shipped_ones(shared_data: Path, source: Path, tmp_path: Path) -> None:
    presets = workspace().home / "presets"
    presets.mkdir(parents=True)
    (presets / "leaves.toml").write_text(
        f'[dataset]\nkind = "photo"\nsummary = "mine"\nsource = {json.dumps(str(source))}\n'
        "[prepare]\nimage_size = 32\ntrain_ratio = 0.6\nval_ratio = 0.2\ntest_ratio = 0.2\n"
    )
    with open_dataset(ensure_dataset("leaves")) as data:
        assert data.counts["test"] == {"maple": 6, "oak": 4}
    done = prepare("dandelion-grass", folder=shared_data / "photos" / "dandelion-grass", options={"image_size": 32})
    assert done.counts["train"] == {"dandelion": 112, "grass": 112}
    assert done.counts["val"] == done.counts["test"] == {"dandelion": 24, "grass": 24}


@pytest.mark.parametrize("name", ["pets", "flowers", "insects"])
def test_real_photos_are_prepared_whole(shared_data: Path, tmp_path: Path, name: str) -> None:
    folder = shared_data / "photos" / name
    done = prepare(name, folder=folder, out=tmp_path / "x.h5", options={"image_size": 48, "per_class": 60})
    assert done.skipped == []
    assert done.total > 0.95 * 60 * len(done.blank)
    assert min(done.counts["test"].values()) >= 5


def test_train_data_may_be_a_folder_and_is_made_anew_when_it_changes(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INKSIGHT_PREPARE_IMAGE_SIZE", "32")
    first = ensure_dataset(source)
    assert ensure_dataset(source) == first
    photo(4242).save(source / "oak" / "new.png")
    second = ensure_dataset(source)
    assert second != first
    with open_dataset(second) as data:
        assert sum(data.counts[split]["oak"] for split in SPLITS) == 21


def test_combined_names_clash_clearly_and_copies_are_found_across(source: Path, tmp_path: Path) -> None:
    fill(tmp_path / "trees", "oak", 20, 7)
    fill(tmp_path / "trees", "pine", 20, 8)
    twin = Image.open(source / "maple" / "004.png").point(lambda value: value * 0.97)
    twin.save(tmp_path / "trees" / "pine" / "twin.png")
    one = prepare_photos(source, tmp_path / "leaves.h5", settings=SMALL)
    two = prepare_photos(tmp_path / "trees", tmp_path / "trees.h5", settings=SMALL)
    done = combine([one.path, two.path], tmp_path / "both.h5", settings=SMALL)
    assert list(done.counts["train"]) == ["maple", "leaves/oak", "trees/oak", "pine"]
    assert done.total == one.total + two.total
    with open_dataset(done.path) as data:
        data.verify()
        assert data.source.startswith("leaves + trees")
        side = {str(name).split("#")[0]: split for split in SPLITS for name in data.ids(split)}
        assert side["leaves:maple/004.png"] == side["trees:pine/twin.png"]
        with open_dataset(one.path) as before:
            pictures = {str(n): before.images("train")[i].tobytes() for i, n in enumerate(before.ids("train"))}
        for split in SPLITS:
            for row, name in enumerate(data.ids(split)):
                original = pictures.get(str(name).removeprefix("leaves:"))
                assert original in (None, data.images(split)[row].tobytes())


def test_only_like_goes_with_like(source: Path, tmp_path: Path) -> None:
    one = prepare_photos(source, tmp_path / "one.h5", settings=SMALL)
    larger = prepare_photos(source, tmp_path / "two.h5", settings=PrepareSettings(image_size=48))
    with pytest.raises(UsageError, match="cannot be combined") as caught:
        combine([one.path, larger.path], tmp_path / "x.h5")
    assert "--image-size" in caught.value.hint
    with pytest.raises(UsageError, match="at least two"):
        combine([one.path, one.path], tmp_path / "x.h5")


def test_the_command_line_combines_and_prints_what_was_skipped(source: Path, tmp_path: Path) -> None:
    (source / "oak" / "broken.jpg").write_bytes(b"no")
    fill(tmp_path / "trees", "pine", 20, 8)
    fill(tmp_path / "trees", "fir", 20, 9)
    runner, words = CliRunner(), ["--image-size", "32"]
    result = runner.invoke(app, ["data", "prepare", str(source), *words])
    assert result.exit_code == 0
    assert "skipped 1:\n  oak/broken.jpg: not a picture" in result.stdout
    assert workspace().dataset_path("leaves").is_file()
    strict = runner.invoke(app, ["data", "prepare", str(source), *words, "--strict"])
    assert isinstance(strict.exception, DataError)
    assert runner.invoke(app, ["data", "prepare", str(tmp_path / "trees"), *words]).exit_code == 0
    both = runner.invoke(app, ["data", "prepare", "leaves", "trees", "--json"])
    assert json.loads(both.stdout)["counts"]["val"] == {"maple": 3, "oak": 2, "fir": 2, "pine": 2}
    wrong = runner.invoke(app, ["data", "prepare", "leaves", "trees", "--classes", "oak"])
    assert isinstance(wrong.exception, UsageError)
    # What is prepared only now takes the options too; what was prepared with another size is not passed off as this.
    fill(tmp_path / "herbs", "mint", 20, 10)
    now = runner.invoke(app, ["data", "prepare", "leaves", str(tmp_path / "herbs"), *words])
    assert now.exit_code == 0, now.output
    larger = runner.invoke(app, ["data", "prepare", "leaves", "trees", "--image-size", "48"])
    assert "already prepared with 32, not 48" in str(larger.exception)


def test_drawings_combine_too(tmp_path: Path) -> None:
    bucket(tmp_path, {"cat": bitmaps(30, 1), "dog": bitmaps(30, 2)})
    for name in ("cat", "dog"):
        prepare(None, classes=[name], folder=tmp_path)
    done = prepare_combined(["cat", "dog"])
    assert done.path == workspace().dataset_path("combined")
    assert done.counts["train"] == {"cat": 24, "dog": 24}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_preparation_leaves_nothing_behind(source: Path, tmp_path: Path, how: signal.Signals) -> None:
    out = tmp_path / "made" / "leaves.h5"
    photo(5, (2400, 2000)).save(source / "oak" / "large.png")
    for number in range(100):  # seconds of decoding
        os.link(source / "oak" / "large.png", source / "oak" / f"large{number}.png")
    with subprocess.Popen(
        [sys.executable, "-m", "inksight", "data", "prepare", str(source), "--out", str(out)],
        stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # what runs in the background ignores it
    ) as process:  # fmt: skip
        while process.poll() is None and not any(out.parent.glob(".*/*.raw")):
            time.sleep(0.01)
        process.send_signal(how)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == (130 if how == signal.SIGINT else -how), errors
    assert "Traceback" not in errors
    assert errors.splitlines().count("Interrupted.") == (how == signal.SIGINT)
    if how == signal.SIGKILL:
        assert any(out.parent.glob(".*/*.raw"))
        prepare_photos(source, out, settings=PrepareSettings(image_size=32, per_class=10))
        assert list(out.parent.iterdir()) == [out]
    else:
        assert not list(out.parent.iterdir())
