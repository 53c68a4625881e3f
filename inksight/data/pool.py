"""Pictures that wait in .npy files to be packed: read in blocks, or a few at a time, never all at once.

One file per class. Blocks are read with plain reads rather than a memory map, because mapped pages would count as
resident memory until the system needs them; only `take` maps, for the few candidates that are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inksight.errors import DataError

Images = NDArray[np.uint8]


@dataclass(frozen=True)
class NpyFile:
    """A checked .npy file of uint8 images: where the pixels start, how many images there are and of what shape."""

    path: Path
    offset: int
    count: int
    shape: tuple[int, ...]


def open_npy(path: Path, *, shape: tuple[int, ...] = (28, 28), at_most: int | None = None) -> NpyFile:
    """Check a .npy file of uint8 images (N, H*W) or (N, H, W[, 3]) and return it, cut to its first `at_most` images.

    Raises DataError, naming the file, for anything else: another type or shape, a broken header, missing bytes.
    """
    try:
        with open(path, "rb") as stream:
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            found, fortran, dtype = read(stream)
            offset = stream.tell()
    except FileNotFoundError:
        raise DataError(f"{str(path)!r} does not exist", hint="Fetch it with `inksight data fetch`.") from None
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{str(path)!r} is not a .npy file: {error}") from None
    flat = (int(np.prod(shape)),)
    if dtype != np.uint8 or fortran or len(found) < 2 or tuple(found[1:]) not in (shape, flat):
        raise DataError(f"{str(path)!r} holds {dtype} {tuple(found)}, not uint8 (N, {', '.join(map(str, shape))})")
    missing = found[0] * flat[0] - (path.stat().st_size - offset)
    if missing > 0:
        raise DataError(
            f"{str(path)!r} is cut short: its header promises {found[0]} images, {missing} bytes are missing",
            hint="Fetch it again.",
        )
    count = int(found[0]) if at_most is None else min(int(found[0]), at_most)
    return NpyFile(path, offset, count, shape)


class Pool:
    """The pictures of several classes, one file each, numbered from 0 in the files' order."""

    def __init__(self, files: Sequence[NpyFile], *, ids: Callable[[int, int], str]) -> None:
        """`ids(file, row)` gives the id of a picture: its key_id, or the name of the file it came from."""
        self.files = list(files)
        self.shape = self.files[0].shape
        self.starts = np.cumsum([0] + [file.count for file in self.files])
        self._ids = ids

    def __len__(self) -> int:
        return int(self.starts[-1])

    def labels(self) -> NDArray[np.uint16]:
        """Return each picture's class, which is its file's number, uint16 (N,)."""
        return np.repeat(np.arange(len(self.files), dtype=np.uint16), [file.count for file in self.files])

    def read(self, file: int, start: int, stop: int) -> Images:
        """Read rows start..stop of one file, uint8 (stop - start, H, W[, 3])."""
        source = self.files[file]
        size = int(np.prod(source.shape))
        pixels = np.fromfile(source.path, np.uint8, (stop - start) * size, offset=source.offset + start * size)
        return pixels.reshape(-1, *source.shape)

    def take(self, indices: NDArray[np.int64]) -> Images:
        """Read single pictures by their numbers, in the order given, uint8 (len(indices), H, W[, 3])."""
        images = np.empty((len(indices), *self.shape), np.uint8)
        which = np.searchsorted(self.starts, indices, side="right") - 1
        for file in np.unique(which).tolist():
            source, mine = self.files[file], which == file
            mapped = np.memmap(source.path, np.uint8, "r", source.offset, (source.count, *source.shape))
            images[mine] = mapped[indices[mine] - self.starts[file]]
        return images

    def ids(self, indices: NDArray[np.int64]) -> list[str]:
        """Return the ids of pictures by their numbers."""
        which = np.searchsorted(self.starts, indices, side="right") - 1
        rows = indices - self.starts[which]
        return [self._ids(file, row) for file, row in zip(which.tolist(), rows.tolist(), strict=True)]
