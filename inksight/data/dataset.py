"""The dataset file: one HDF5 file with three splits of uint8 images, their labels and where each came from.

Layout: `X_train, y_train, id_train` and the same for `val` and `test`. X is uint8 `(N, H, W)` or `(N, H, W, 3)`, y
uint16 `(N,)` (an index into the classes), id a string per image (a key_id, or a file's relative path and hash).
Attributes: `classes` (JSON list, in label order), `source`, `preprocessing` (JSON), `counts` (JSON: split -> class ->
count), `seed`, `sha256`, `format_version`.

The SHA-256 covers classes, preprocessing, pixels, labels and ids in order, and neither compression nor chunking, so two
files with the same content have the same hash. It is computed while writing and can be checked with `verify`; opening a
file does not read the pixels and so does not prove them intact.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from isal import isal_zlib as zlib
from numpy.typing import NDArray

from inksight.data.parallel import ahead
from inksight.errors import DataError, NotFoundError
from inksight.workspace import NAME_LENGTH, atomic_path, is_printable, work_folder

SPLITS = ("train", "val", "test")
FORMAT_VERSION = 1
CHUNK_BYTES = 400_000  # about 512 drawings of 28x28, or 2 photos of 256x256x3: one read of a shuffled block
GZIP_LEVEL = 4  # what the file declares; any reader of gzip reads what isal writes
# isal's level 2 makes files 2 % larger than zlib's level 4 and is 7 times as fast: 496 against 72 MB/s on drawings.
ZLIB_LEVEL = 2


class Dataset:
    """A dataset file opened for reading; cheap to open, a context manager, and picklable (it reopens by path)."""

    def __init__(self, path: str | Path) -> None:
        """Open `path`; raises NotFoundError when it is missing and DataError when it is no dataset file."""
        self.path = Path(path).resolve()
        if not self.path.is_file():
            raise NotFoundError(
                f"dataset file {str(path)!r} does not exist", hint="Make one with `inksight data prepare`."
            )
        try:
            self._file = h5py.File(self.path, "r")
        except OSError as error:
            raise DataError(f"{str(path)!r} is not a dataset file: {error}") from None
        try:
            self._read_attributes()
        except (KeyError, ValueError, TypeError) as error:
            self._file.close()
            raise DataError(
                f"{str(path)!r} is an HDF5 file but no Inksight dataset: {error}",
                hint="A dataset file is written by `inksight data prepare`.",
            ) from None

    def _read_attributes(self) -> None:
        attributes = self._file.attrs
        version = int(attributes["format_version"])
        if version > FORMAT_VERSION:
            raise ValueError(f"format version {version} is newer than this code knows ({FORMAT_VERSION})")
        self.classes: tuple[str, ...] = tuple(json.loads(attributes["classes"]))
        self.source = str(attributes["source"])
        self.preprocessing: dict[str, Any] = json.loads(attributes["preprocessing"])
        self.counts: dict[str, dict[str, int]] = json.loads(attributes["counts"])
        self.seed = int(attributes["seed"])
        self.sha256 = str(attributes["sha256"])
        self.image_shape: tuple[int, ...] = tuple(int(n) for n in self._file["X_train"].shape[1:])
        for split in SPLITS:
            images, labels = self._file[f"X_{split}"], self._file[f"y_{split}"]
            if len(images) != len(labels) or images.dtype != np.uint8:
                raise ValueError(f"split {split} has {len(images)} images of {images.dtype} and {len(labels)} labels")

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    @property
    def channels(self) -> int:
        """1 for grayscale, 3 for colour."""
        return 1 if len(self.image_shape) == 2 else 3

    @property
    def kind(self) -> str:
        """Return "drawing" or "photo": how a picture from outside becomes an image of this dataset."""
        return str(self.preprocessing.get("kind", "drawing" if self.channels == 1 else "photo"))

    def size(self, split: str) -> int:
        """Return how many images the split holds."""
        return len(self.images(split))

    def images(self, split: str) -> Any:
        """Return the split's images as an h5py dataset, uint8 (N, H, W[, 3]), read only when indexed.

        Row numbers must ascend; others raise TypeError.
        """
        if split not in SPLITS:
            raise NotFoundError(f"unknown split {split!r}", hint=f"Choose one of: {', '.join(SPLITS)}")
        return _Images(self._file[f"X_{split}"].id, readonly=True)

    def labels(self, split: str) -> NDArray[np.uint16]:
        """Return the split's labels, uint16 (N,)."""
        self.images(split)
        with _intact(str(self.path)):
            return np.asarray(self._file[f"y_{split}"], dtype=np.uint16)

    def ids(self, split: str) -> NDArray[np.str_]:
        """Return where each image of the split came from, one string per image."""
        self.images(split)
        with _intact(str(self.path)):
            return np.asarray([value.decode() for value in self._file[f"id_{split}"][:]], dtype=np.str_)

    def load(self, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Read a whole split into memory: images uint8 (N, H, W[, 3]) and labels int64 (N,)."""
        return self.images(split)[:], self.labels(split).astype(np.int64)

    def verify(self) -> None:
        """Read everything and compare with the recorded SHA-256; raises DataError when they differ."""
        digest = _ContentHash(self.classes, self.preprocessing)
        for split in SPLITS:
            images, labels, ids = self.images(split), self.labels(split), self.ids(split)
            step = images.chunks[0] * 16 if images.chunks else max(len(images), 1)
            for start in range(0, len(images), step):
                part = slice(start, start + step)
                digest.add(split, images[part], labels[part], [str(i) for i in ids[part]])
        if digest.hexdigest() != self.sha256:
            raise DataError(
                f"{str(self.path)!r} does not match its recorded SHA-256",
                hint="The file was changed or damaged after it was written; prepare it again.",
            )

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[type[Dataset], tuple[str]]:
        return (Dataset, (str(self.path),))

    def __repr__(self) -> str:
        sizes = ", ".join(f"{split} {self.size(split)}" for split in SPLITS)
        return f"Dataset({self.name!r}, {len(self.classes)} classes, {self.image_shape}, {sizes})"


class _Images(h5py.Dataset):  # type: ignore[misc]  # h5py has no types
    """A split's images, which refuse row numbers that do not ascend, of whatever type.

    HDF5 gives rows in the file's order, so h5py refuses to be asked for another one. But it looks at the differences of
    the numbers, and those of unsigned ones wrap around: [3, 1] would quietly be answered with row 1 and row 3.
    """

    def __getitem__(self, key: Any, new_dtype: Any = None) -> Any:
        with _intact(self.file.filename):
            return super().__getitem__(_signed(key), new_dtype)

    def read_direct(self, dest: Any, source_sel: Any = None, dest_sel: Any = None) -> None:
        with _intact(self.file.filename):
            super().read_direct(dest, _signed(source_sel), _signed(dest_sel))


@contextmanager
def _intact(path: str) -> Iterator[None]:
    """Turn bytes that cannot be unpacked into DataError."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{path!r} is damaged: {error}", hint="It was changed after it was written; prepare it again."
        ) from None


def _signed(key: Any) -> Any:
    """Return what h5py is indexed by with the row numbers in it signed."""
    if isinstance(key, tuple):
        return tuple(_signed(part) for part in key)
    if isinstance(key, list | np.ndarray) and np.asarray(key).dtype.kind == "u":
        return np.asarray(key).astype(np.int64)
    return key


def open_dataset(path: str | Path) -> Dataset:
    """Open a dataset file; raises NotFoundError or DataError."""
    return Dataset(path)


class DatasetWriter:
    """Writes a dataset file bit by bit; the file appears under its name only when the block ends well.

        with DatasetWriter(path, classes=["cat", "dog"], image_shape=(28, 28), source="made", ...) as out:
            out.append("train", images, labels, ids)

    Appending in any order of splits is allowed; within a split the order is kept. Memory: what is appended at once plus
    one chunk per split. Chunks are compressed on all cores.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        classes: Sequence[str],
        image_shape: Sequence[int],
        source: str,
        preprocessing: Mapping[str, Any],
        seed: int,
    ) -> None:
        if len(classes) != len(set(classes)):
            raise DataError("class names must be unique")
        if strange := [name for name in classes if not is_printable(name)]:
            # A bundle refuses them too: better now than when the training is done.
            raise DataError(f"class name {strange[0]!r} holds control characters or half characters")
        if wrong := [name for name in classes if not 0 < len(name) <= NAME_LENGTH]:
            raise DataError(f"class name {wrong[0]!r} has {len(wrong[0])} characters", hint=f"1 to {NAME_LENGTH} are.")
        self.path = Path(path)
        self.classes = list(classes)
        self.image_shape = tuple(image_shape)
        self._attributes = {
            "format_version": FORMAT_VERSION,
            "classes": json.dumps(self.classes, ensure_ascii=False),
            "source": source,
            "preprocessing": json.dumps(dict(preprocessing), ensure_ascii=False, sort_keys=True),
            "seed": seed,
        }
        self._preprocessing = dict(preprocessing)
        self._rows = max(1, CHUNK_BYTES // int(np.prod(self.image_shape)))
        self.counts: dict[str, dict[str, int]] = {}  # known, like the hash, once the block has ended
        self.sha256 = ""
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        folder = self._stack.enter_context(work_folder(self.path))
        temporary = self._stack.enter_context(atomic_path(self.path, folder=folder))
        self._file = self._stack.enter_context(h5py.File(temporary, "w"))
        self._pool = self._stack.enter_context(ThreadPoolExecutor(os.cpu_count()))
        self._splits = {
            split: _SplitWriter(self._file, split, self.image_shape, self._rows, self._pool) for split in SPLITS
        }
        return self

    def append(self, split: str, images: NDArray[np.uint8], labels: NDArray[Any], ids: Sequence[str]) -> None:
        """Add images uint8 (N, H, W[, 3]), labels (N,) and an id each to a split.

        Raises DataError when they do not fit together or do not fit the dataset.
        """
        if images.shape[1:] != self.image_shape or images.dtype != np.uint8:
            raise DataError(f"images are {images.dtype} {images.shape[1:]}, the dataset holds uint8 {self.image_shape}")
        if not len(images) == len(labels) == len(ids):
            raise DataError(f"{len(images)} images, {len(labels)} labels and {len(ids)} ids do not fit together")
        if len(labels) and int(labels.max()) >= len(self.classes):
            raise DataError(f"label {int(labels.max())} has no class: there are {len(self.classes)}")
        self._splits[split].append(images, labels.astype(np.uint16), list(ids))

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            try:
                self._finish()
            except BaseException as error:
                self._stack.__exit__(type(error), error, error.__traceback__)
                raise
        self._stack.__exit__(kind, value, trace)

    def _finish(self) -> None:
        digest = _ContentHash(self.classes, self._preprocessing)
        for split, writer in self._splits.items():
            labels = writer.finish()
            found = np.bincount(labels, minlength=len(self.classes))
            self.counts[split] = {name: int(count) for name, count in zip(self.classes, found, strict=True)}
            digest.join(split, writer.digest)
        self.sha256 = digest.hexdigest()
        self._attributes["counts"] = json.dumps(self.counts, ensure_ascii=False)
        self._attributes["sha256"] = self.sha256
        for name, attribute in self._attributes.items():
            self._file.attrs[name] = attribute


class _SplitWriter:
    """Collects one split's images into chunks, compresses them on the pool and writes them in order."""

    def __init__(
        self, file: h5py.File, split: str, image_shape: tuple[int, ...], rows: int, pool: ThreadPoolExecutor
    ) -> None:
        self._file, self._split, self._rows, self._pool = file, split, rows, pool
        self._images = file.create_dataset(
            f"X_{split}",
            shape=(0, *image_shape),
            maxshape=(None, *image_shape),
            chunks=(rows, *image_shape),
            dtype=np.uint8,
            compression="gzip",
            compression_opts=GZIP_LEVEL,
        )
        self._labels: list[NDArray[np.uint16]] = []
        self._ids: list[NDArray[np.bytes_]] = []
        self._rest = np.empty((0, *image_shape), dtype=np.uint8)
        self._written = 0
        self.digest = _SplitHash()

    def append(self, images: NDArray[np.uint8], labels: NDArray[np.uint16], ids: list[str]) -> None:
        self._labels.append(labels)
        if ids:
            self._ids.append(np.asarray([name.encode() for name in ids]))
        self.digest.add(images, labels, ids)
        images = np.concatenate([self._rest, images]) if len(self._rest) else images
        whole = len(images) // self._rows * self._rows
        self._write(images[:whole])
        self._rest = images[whole:].copy()

    def _write(self, images: NDArray[np.uint8]) -> None:
        blocks = [images[start : start + self._rows] for start in range(0, len(images), self._rows)]
        if not blocks:
            return
        self._images.resize(self._written + len(images), axis=0)
        for data in ahead(self._pool, _compress, blocks, waiting=16):
            self._images.id.write_direct_chunk((self._written,) + (0,) * (images.ndim - 1), data)
            self._written += self._rows
        self._written = self._images.shape[0]

    def finish(self) -> NDArray[np.uint16]:
        if len(self._rest):
            self._images.resize(self._written + len(self._rest), axis=0)
            self._images[self._written :] = self._rest
        labels = np.concatenate(self._labels) if self._labels else np.empty(0, np.uint16)
        self._file.create_dataset(f"y_{self._split}", data=labels)
        encoded = np.concatenate(self._ids) if self._ids else np.empty(0, "S1")
        self._file.create_dataset(
            f"id_{self._split}", data=encoded, **({"compression": "gzip"} if len(encoded) else {})
        )
        return labels


def _compress(block: NDArray[np.uint8]) -> bytes:
    return zlib.compress(np.ascontiguousarray(block).data, ZLIB_LEVEL)


class _SplitHash:
    """The running SHA-256 of a split's pixels, labels and ids, however the split is cut into appends."""

    def __init__(self) -> None:
        self._parts = {"pixels": hashlib.sha256(), "labels": hashlib.sha256(), "ids": hashlib.sha256()}

    def add(self, images: NDArray[np.uint8], labels: NDArray[np.uint16], ids: Sequence[str]) -> None:
        self._parts["pixels"].update(np.ascontiguousarray(images).data)
        self._parts["labels"].update(np.ascontiguousarray(labels, dtype="<u2").data)
        self._parts["ids"].update("".join(f"{name}\n" for name in ids).encode())

    def hexdigest(self) -> str:
        return "".join(part.hexdigest() for part in self._parts.values())


class _ContentHash:
    """The SHA-256 of a whole dataset's content."""

    def __init__(self, classes: Sequence[str], preprocessing: Mapping[str, Any]) -> None:
        self._head = json.dumps([list(classes), dict(preprocessing)], ensure_ascii=False, sort_keys=True)
        self._splits = {split: _SplitHash() for split in SPLITS}

    def add(self, split: str, images: NDArray[np.uint8], labels: NDArray[np.uint16], ids: Sequence[str]) -> None:
        self._splits[split].add(images, labels, ids)

    def join(self, split: str, digest: _SplitHash) -> None:
        self._splits[split] = digest

    def hexdigest(self) -> str:
        whole = [self._head] + [f"{split}:{self._splits[split].hexdigest()}" for split in SPLITS]
        return hashlib.sha256("\n".join(whole).encode()).hexdigest()
