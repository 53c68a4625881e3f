"""The dataset file: what is written is read back, appears whole, and is identified by its content alone."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inksight.data import DatasetWriter, open_dataset
from inksight.errors import DataError, NotFoundError


def write(
    path: Path, images: Any, labels: Any, ids: list[str], cuts: list[int], shape: tuple[int, ...] = (28, 28)
) -> None:
    made_by = {"classes": ["a", "b", "c"], "source": "test", "preprocessing": {"kind": "drawing"}, "seed": 1}
    with DatasetWriter(path, image_shape=shape, **made_by) as out:  # type: ignore[arg-type]
        for start, stop in zip([0, *cuts], [*cuts, len(images)], strict=True):
            out.append("train", images[start:stop], labels[start:stop], ids[start:stop])
        out.append("val", images[:3], labels[:3], ids[:3])


def sample(count: int, shape: tuple[int, ...] = (28, 28)) -> tuple[Any, Any, list[str]]:
    random = np.random.default_rng(count)
    images = random.integers(0, 256, (count, *shape), dtype=np.uint8)
    return images, random.integers(0, 3, count), [f"id-{n}-é" for n in range(count)]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(3, 1600), parts=st.lists(st.floats(0, 1), max_size=4))
def test_round_trip_whatever_the_appends(
    tmp_path_factory: pytest.TempPathFactory, count: int, parts: list[float]
) -> None:
    folder = tmp_path_factory.mktemp("round")
    images, labels, ids = sample(count)
    write(folder / "cut.h5", images, labels, ids, sorted(int(part * count) for part in parts))
    write(folder / "whole.h5", images, labels, ids, [])
    with open_dataset(folder / "cut.h5") as cut, open_dataset(folder / "whole.h5") as whole:
        read, read_labels = cut.load("train")
        np.testing.assert_array_equal(read, images)
        np.testing.assert_array_equal(read_labels, labels)
        assert list(cut.ids("train")) == ids
        assert cut.size("test") == 0
        assert cut.sha256 == whole.sha256
        assert sum(cut.counts["train"].values()) == count
        cut.verify()


def test_colour_and_pickle(tmp_path: Path) -> None:
    images, labels, ids = sample(10, (32, 32, 3))
    write(tmp_path / "photos.h5", images, labels, ids, [4], (32, 32, 3))
    with open_dataset(tmp_path / "photos.h5") as dataset:
        again = pickle.loads(pickle.dumps(dataset))  # noqa: S301  our own bytes: worker processes get datasets this way
        assert (again.channels, again.image_shape, again.kind) == (3, (32, 32, 3), "drawing")
        np.testing.assert_array_equal(again.load("train")[0], images)
        again.close()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32, np.uint64, np.int64])
def test_rows_out_of_order_are_refused(tmp_path: Path, kind: type[np.integer[Any]]) -> None:
    """h5py answers unsigned numbers, whose differences wrap around, with the rows in another order than asked for."""
    images, labels, ids = sample(200)
    write(tmp_path / "data.h5", images, labels, ids, [])
    rows, target = np.array([50, 3, 120, 7], kind), np.empty((4, 28, 28), np.uint8)
    with open_dataset(tmp_path / "data.h5") as dataset:
        stored = dataset.images("train")
        for key in (rows, list(rows), (rows, slice(10))):
            with pytest.raises(TypeError, match="increasing order"):
                stored[key]
        with pytest.raises(TypeError, match="increasing order"):
            stored.read_direct(target, np.s_[rows])
        ascending = np.sort(rows)
        np.testing.assert_array_equal(stored[ascending], images[ascending])
        np.testing.assert_array_equal(stored[ascending, 5:9, 3], images[ascending, 5:9, 3])
        np.testing.assert_array_equal(stored[rows[0]], images[50])
        np.testing.assert_array_equal(stored[labels == 1], images[labels == 1])
        assert stored[[]].shape == (0, 28, 28)


def test_damage_is_found(tmp_path: Path) -> None:
    path = tmp_path / "data.h5"
    write(path, *sample(40), cuts=[])
    with h5py.File(path, "r+") as file:
        file["X_train"][7, 3, 3] ^= 1
    with open_dataset(path) as dataset, pytest.raises(DataError, match="SHA-256"):
        dataset.verify()


def test_bytes_that_cannot_be_unpacked_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "data.h5"
    write(path, *sample(600), cuts=[])
    with h5py.File(path) as file:
        chunk = file["X_train"].id.get_chunk_info(0)
    data = bytearray(path.read_bytes())
    for place in range(chunk.byte_offset + 100, chunk.byte_offset + chunk.size - 100):
        data[place] ^= 0x5A
    path.write_bytes(data)
    with open_dataset(path) as dataset:
        for read in (
            lambda: dataset.load("train"),
            lambda: dataset.images("train").read_direct(np.empty((1, 28, 28), np.uint8), np.s_[0:1]),
        ):
            with pytest.raises(DataError, match=r"data\.h5' is damaged"):
                read()


def test_failure_leaves_nothing(tmp_path: Path) -> None:
    images, labels, ids = sample(5)
    with pytest.raises(DataError, match="label 9 has no class"):
        write(tmp_path / "data.h5", images, labels * 0 + 9, ids, [])
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        open_dataset(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("<html>")
    with pytest.raises(DataError, match="not a dataset file"):
        open_dataset(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1]
    with pytest.raises(DataError, match="no Inksight dataset"):
        open_dataset(tmp_path / "other.h5")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("\x1b[31mred", "control characters or half characters"),
        ("a\nb", "control characters or half characters"),
        ("\ud800x", "control characters or half characters"),
        ("x" * 201, "has 201 characters"),
        ("", "has 0 characters"),
    ],
)
def test_class_names_that_no_bundle_may_have_are_refused(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(DataError, match=why):
        DatasetWriter(
            tmp_path / "x.h5", classes=["cat", name], image_shape=(28, 28), source="made", preprocessing={}, seed=0
        )
