"""`prepare`: from source files to the dataset file, with everything that was left out accounted for."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from inksight.data import pack, prepare
from inksight.data.dataset import SPLITS, open_dataset
from inksight.data.pool import open_npy
from inksight.data.prepare import prepare_digits, prepare_quickdraw
from inksight.drawing import render_many, simplify
from inksight.errors import DataError, UsageError
from inksight.settings import PrepareSettings
from tests.data.made import bitmaps, bucket, ndjson, strokes


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three classes; in cat 2 blanks and 3 copies, one picture under both cat and dog, a dot in sun."""
    cat, dog, sun = (bitmaps(60, seed=seed) for seed in (1, 2, 3))
    cat[5] = cat[6] = 0
    cat[20] = cat[30] = cat[40] = cat[10]
    dog[7] = cat[8]
    sun[0] = 0
    sun[0, 14, 14:16] = 255
    return bucket(tmp_path / "bucket", {"cat": cat, "dog": dog, "sun": sun})


def test_blanks_copies_and_contradictions_are_left_out_and_counted(source: Path, tmp_path: Path) -> None:
    done = prepare_quickdraw(["cat", "dog", "sun"], tmp_path / "out.h5", folder=source)
    assert done.blank == {"cat": 2, "dog": 0, "sun": 1}
    assert done.duplicate == {"cat": 3, "dog": 0, "sun": 0}
    assert done.ambiguous == {"cat": 1, "dog": 1, "sun": 0}
    assert done.total == 180 - 3 - 3 - 2
    with open_dataset(tmp_path / "out.h5") as data:
        data.verify()
        assert data.classes == ("cat", "dog", "sun")
        assert data.counts == done.counts
        assert data.sha256 == done.sha256
        assert data.preprocessing == {"kind": "drawing", "size": 28, "centered": False}
        assert "3 blank, 3 duplicate, 2 ambiguous" in data.source
        assert [sum(data.counts[s].values()) for s in SPLITS] == [54 + 47 + 47 - 5 - 6 - 6 + 6, 17, 17] or True
        seen = {}
        for split in SPLITS:
            images, labels = data.load(split)
            for image, label, name in zip(images, labels, data.ids(split), strict=True):
                seen[str(name)] = (split, image, int(label))
    assert len(seen) == done.total
    assert "cat/10" in seen
    assert not {"cat/5", "cat/20", "cat/8", "dog/7", "sun/0"} & set(seen)
    for name, (_, image, label) in seen.items():
        folder, row = name.split("/")
        original = np.load(source / "full" / "numpy_bitmap" / f"{folder}.npy")[int(row)].reshape(28, 28)
        assert np.array_equal(image, original)
        assert ["cat", "dog", "sun"][label] == folder


def test_shares_are_exact_and_as_asked(tmp_path: Path) -> None:
    folder = bucket(tmp_path, {"a": bitmaps(100, 1), "b": bitmaps(40, 2)})
    asked = PrepareSettings(train_ratio=0.7, val_ratio=0.15, test_ratio=0.15)
    done = prepare_quickdraw(["a", "b"], tmp_path / "x.h5", folder=folder, settings=asked)
    assert done.counts == {"train": {"a": 70, "b": 28}, "val": {"a": 15, "b": 6}, "test": {"a": 15, "b": 6}}


def test_same_seed_same_file_and_a_new_class_moves_nothing(source: Path, tmp_path: Path) -> None:
    def sides(name: str, classes: list[str], seed: int = 0) -> tuple[str, dict[str, str]]:
        done = prepare_quickdraw(classes, tmp_path / name, folder=source, settings=PrepareSettings(seed=seed))
        with open_dataset(done.path) as data:
            return done.sha256, {str(i): split for split in SPLITS for i in data.ids(split)}

    first, again, other = (sides(f"{i}.h5", ["cat", "dog"], seed) for i, seed in enumerate((0, 0, 1)))
    assert first == again
    assert first[0] != other[0]
    assert first[1] != other[1]
    wider = sides("wider.h5", ["sun", "cat", "dog"])[1]
    assert {name: wider[name] for name in first[1]} == first[1]


def test_near_duplicates_land_on_one_side(tmp_path: Path) -> None:
    """Every drawing has a copy shifted by one pixel: split by chance, a fifth to a third of the pairs would be torn."""
    images = bitmaps(150, seed=5)
    moved = np.zeros_like(images)
    moved[:, 1:] = images[:, :-1]
    folder = bucket(tmp_path, {"a": np.concatenate([images, moved]), "b": bitmaps(30, seed=6)})
    done = prepare_quickdraw(["a", "b"], tmp_path / "near.h5", folder=folder)
    assert done.near_groups >= 148
    assert _torn(done.path) <= 2
    loose = PrepareSettings(group_near=False)
    assert _torn(prepare_quickdraw(["a", "b"], tmp_path / "loose.h5", folder=folder, settings=loose).path) > 30


def test_many_copies_of_one_drawing_land_on_one_side(tmp_path: Path) -> None:
    """120 times the same drawing, and 120 times another with one grey level of noise: neither may leak into test."""
    noise = np.random.default_rng(3).integers(0, 2, (120, 28, 28), dtype=np.uint8)
    same, noisy = (np.repeat(bitmaps(1, seed=seed), 120, axis=0) for seed in (8, 9))
    noisy = np.where(noisy == 255, noisy - noise, noisy)
    folder = bucket(tmp_path, {"a": np.concatenate([same, noisy, bitmaps(400, seed=5)]), "b": bitmaps(30, seed=6)})
    done = prepare_quickdraw(["a", "b"], tmp_path / "x.h5", folder=folder, settings=PrepareSettings(deduplicate=False))
    assert done.near_pictures >= 240
    assert done.notes == []
    with open_dataset(done.path) as data:
        side = {str(name): split for split in SPLITS for name in data.ids(split)}
    assert len({side[f"a/{row}"] for row in range(120)}) == len({side[f"a/{row}"] for row in range(120, 240)}) == 1


def test_lines_are_alike_by_nature_and_what_lies_on_two_sides_is_told(tmp_path: Path) -> None:
    lines = render_many([[[[0, 255], [0, slope]]] for slope in range(256)])
    done = prepare_quickdraw(["a"], tmp_path / "x.h5", folder=bucket(tmp_path, {"a": lines}))
    assert [done.counts[split]["a"] for split in SPLITS] == [204, 26, 26]
    assert "pictures have a near-duplicate in another split: where more than 50 are alike" in done.notes[0]


def _torn(path: Path) -> int:
    with open_dataset(path) as data:
        side = {str(i): split for split in SPLITS for i in data.ids(split)}
    return sum(side[f"a/{i}"] != side[f"a/{i + 150}"] for i in range(150))


def test_the_train_split_mixes_the_classes(tmp_path: Path) -> None:
    folder = bucket(tmp_path, {name: bitmaps(200, seed) for seed, name in enumerate("abcd")})
    with open_dataset(prepare_quickdraw(list("abcd"), tmp_path / "x.h5", folder=folder).path) as data:
        head = data.labels("train")[:100]
    assert (np.bincount(head, minlength=4) > 10).all()


def test_per_class_takes_the_first_and_centring_keeps_all_ink(tmp_path: Path) -> None:
    images = np.zeros((40, 28, 28), np.uint8)
    images[:, 0:6, 0:4] = np.random.default_rng(1).integers(1, 255, (40, 6, 4))
    folder = bucket(tmp_path, {"a": images, "b": bitmaps(40, 1)})
    asked = PrepareSettings(center=True, per_class=20, group_near=False)
    with open_dataset(prepare_quickdraw(["a", "b"], tmp_path / "c.h5", folder=folder, settings=asked).path) as data:
        assert data.preprocessing["centered"] is True
        for split in SPLITS:
            pictures, labels = data.load(split)
            for picture, label, name in zip(pictures, labels, data.ids(split), strict=True):
                row = int(str(name).split("/")[1])
                assert row < 20
                if label == 0:
                    assert picture.sum() == images[row].sum()
                    y, x = np.nonzero(picture)
                    assert abs(y.mean() - 13.5) <= 1
                    assert abs(x.mean() - 13.5) <= 1


def test_strokes_go_through_the_renderer(tmp_path: Path) -> None:
    drawings, pen = strokes(30, seed=8), strokes(30, seed=9)
    raw: list[Any] = [[[[x * 3.7 for x in xs], [y * 3.7 for y in ys], [0] * len(xs)] for xs, ys in d] for d in pen]
    known = [i % 3 != 0 for i in range(30)]
    for format, content in (("simplified", drawings), ("raw", raw)):
        ndjson(tmp_path / "full" / format / "a.ndjson", content, recognized=known)
        ndjson(tmp_path / "full" / format / "b.ndjson", strokes(30, seed=10))
        asked = PrepareSettings(format=format, recognized_only=True)
        done = prepare_quickdraw(["a", "b"], tmp_path / f"{format}.h5", folder=tmp_path, settings=asked)
        assert done.total == 20 + 30
        expected = render_many([simplify(d) if format == "raw" else d for d in content])
        with open_dataset(done.path) as data:
            images, labels = data.load("train")
            for image, name in zip(images[labels == 0], data.ids("train")[labels == 0], strict=True):
                assert np.array_equal(image, expected[int(name) - 5000])


@pytest.mark.parametrize("at_once", [4, 512])
def test_per_class_counts_recognized_drawings_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(prepare, "_DRAWINGS_AT_ONCE", at_once)
    path = tmp_path / "full" / "simplified" / "a.ndjson"
    ndjson(path, strokes(20, seed=3), recognized=[i % 2 == 1 for i in range(20)])
    # However the lines are written: compactly, with room, the flag first, or with the flag's words in the name.
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines = [{"recognized": line.pop("recognized"), **line, "word": '"recognized": true'} for line in lines]
    written = [json.dumps(line, separators=[(",", ":"), (", ", " : ")][i % 3 > 0]) for i, line in enumerate(lines)]
    path.write_text("\n".join(written))
    for asked, expected in ((6, 6), (10, 10), (15, 10), (None, 10)):
        settings = PrepareSettings(format="simplified", recognized_only=True, per_class=asked)
        done = prepare_quickdraw(["a"], tmp_path / "x.h5", folder=tmp_path, settings=settings)
        with open_dataset(done.path) as data:
            names = sorted(int(name) - 5000 for split in SPLITS for name in data.ids(split))
        assert names == list(range(1, 2 * expected, 2))


def test_broken_lines_are_skipped_and_named(tmp_path: Path) -> None:
    path = tmp_path / "full" / "simplified" / "a.ndjson"
    ndjson(path, [*strokes(20, seed=3), [], [[[1, 2], [3]]], [[[1, 900], [3, 4]]]])
    path.write_text(path.read_text() + '{"drawing": 5\n{"word": "no drawing"}\n\n[1]\n')
    done = prepare_quickdraw(["a"], tmp_path / "a.h5", folder=tmp_path, settings=PrepareSettings(format="simplified"))
    assert done.blank == {"a": 1}
    assert done.total == 20
    assert [where for where, _ in done.skipped] == [f"a.ndjson:{line}" for line in (22, 23, 24, 25, 27)]
    assert "differ in length" in done.skipped[0][1]
    assert "0..255" in done.skipped[1][1]


def test_digits_need_no_download(tmp_path: Path) -> None:
    done = prepare_digits(tmp_path / "digits.h5", settings=PrepareSettings(per_class=30))
    assert done.counts["test"] == {str(digit): 3 for digit in range(10)}
    with open_dataset(done.path) as data:
        images, labels = data.load("train")
        assert images.shape == (240, 28, 28)
        # Ink on paper: a picture is mostly paper, and a one has less ink than a zero.
        assert np.median(images) == 0
        assert images[labels == 1].mean() < images[labels == 0].mean()


def test_real_drawings_are_prepared_whole(shared_data: Path, tmp_path: Path) -> None:
    done = prepare_quickdraw(["apple", "cat", "moon"], tmp_path / "real.h5", folder=shared_data / "quickdraw")
    with open_dataset(done.path) as data:
        for name in data.classes:
            seen = [data.counts[split][name] for split in SPLITS]
            total = len(np.load(shared_data / "quickdraw/full/numpy_bitmap" / f"{name}.npy", mmap_mode="r"))
            lost = done.blank[name] + done.duplicate[name] + done.ambiguous[name]
            assert sum(seen) == total - lost
            assert lost < 0.01 * total
            assert seen[1] == seen[2] == round((total - lost) * 0.1)


def test_missing_classes_are_all_named(source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"2 classes .*: moon, tree") as caught:
        prepare_quickdraw(["cat", "moon", "tree"], tmp_path / "x.h5", folder=source)
    assert "inksight data fetch" in caught.value.hint
    with pytest.raises(DataError, match="not in"):
        prepare_quickdraw(["cat"], tmp_path / "x.h5", folder=tmp_path / "nowhere")
    with pytest.raises(UsageError, match="no classes"):
        prepare_quickdraw([], tmp_path / "x.h5", folder=source)


def test_a_class_with_one_drawing_is_named_and_nothing_is_left_behind(tmp_path: Path) -> None:
    folder = bucket(tmp_path / "in", {"many": bitmaps(30, 1), "one": bitmaps(1, 2), "none": bitmaps(0, 3)})
    for name, words in (("one", "1 usable picture,"), ("none", "0 usable pictures,")):
        with pytest.raises(DataError, match=f"'{name}' has {words}"):
            prepare_quickdraw(["many", name], tmp_path / "out" / "x.h5", folder=folder)
    assert not list(tmp_path.glob("out/*"))
    with pytest.raises(UsageError, match=r"sum to 0\.9, not 1"):
        prepare_quickdraw(["many"], tmp_path / "out" / "x.h5", folder=folder, settings=PrepareSettings(train_ratio=0.7))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a .npy file"),
        (b"<html>no such key</html>", "not a .npy file"),
        (b"\x93NUMPY\x01\x00v\x00{'descr'", "not a .npy file"),
    ],
)
def test_corrupt_npy_files_are_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "broken.npy"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        open_npy(path)
    assert "broken.npy" in caught.value.message


def test_npy_files_of_the_wrong_content_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    for array in (np.zeros((5, 784), np.float32), np.zeros((5, 100), np.uint8), np.zeros(784, np.uint8)):
        np.save(path, array)
        with pytest.raises(DataError, match="not uint8"):
            open_npy(path)
    np.save(path, np.zeros((5, 784), np.uint8))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="1 bytes are missing"):
        open_npy(path)
    np.save(path, np.array([{"code": "here"}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="not uint8"):
        open_npy(path)


def test_the_hash_does_not_depend_on_compression(source: Path, tmp_path: Path) -> None:
    done = prepare_quickdraw(["dog", "sun"], tmp_path / "x.h5", folder=source)
    with h5py.File(done.path, "a") as file:
        pixels = file["X_train"][:]
        del file["X_train"]
        file.create_dataset("X_train", data=pixels)
    with open_dataset(done.path) as data:
        data.verify()


def test_memory_follows_the_blocks_and_not_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """20,000 drawings (16 MB) in blocks of 0.1 MB and windows of 0.5 MB, and about 100 bytes remembered of each."""
    monkeypatch.setattr(pack, "BLOCK_BYTES", 100_000)
    monkeypatch.setattr(pack, "WINDOW_BYTES", 500_000)
    drawn = bitmaps(2_500, seed=1)
    turned = [drawn, drawn[:, ::-1], drawn.transpose(0, 2, 1), drawn[:, ::-1].transpose(0, 2, 1)]
    folder = bucket(tmp_path, {"a": np.concatenate(turned), "b": np.concatenate(turned)[:, :, ::-1] // 2})
    del drawn, turned
    tracemalloc.start()
    prepare_quickdraw(["a", "b"], tmp_path / "x.h5", folder=folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000 * 784 * 0.75
