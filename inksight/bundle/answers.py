"""Answers for files: pictures, strokes (JSON, ndjson), bitmaps (npy), folders of them, or standard input.

Every file is answered or reported by itself: a broken one does not stop the others. Pictures and drawings are collected
into batches, so that a folder of thousands costs little more than its decoding.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inksight.bundle.classifier import Classifier, require_numbers
from inksight.bundle.inputs import drawings_to_images, read_file, to_input
from inksight.drawing import is_dot, shows_nothing
from inksight.errors import InksightError, NotFoundError, UsageError

PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
STROKES = (".json", ".ndjson", ".jsonl")
BITMAPS = (".npy",)

STANDARD_INPUT = "-"

_BATCH = 256


@dataclass(frozen=True)
class Answer:
    """What one input gave: the best labels and their probabilities, or the error; `item` is its line or row, from 1.

    `unsure`: nothing or only a dot is drawn, or the best probability is below the caller's bar.
    """

    file: str
    item: int | None
    predictions: tuple[tuple[str, float], ...] = ()
    unsure: bool = False
    error: InksightError | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the answer as JSON shows it."""
        place: dict[str, Any] = {"file": self.file} | ({} if self.item is None else {"item": self.item})
        if self.error is not None:
            return place | self.error.as_dict()
        ranked = [{"label": label, "probability": p} for label, p in self.predictions]
        return place | {"predictions": ranked, "unsure": self.unsure}


@dataclass(frozen=True)
class _Item:
    file: str
    item: int | None
    image: NDArray[np.uint8] | None = None
    dot: bool = False
    error: InksightError | None = None


def answer(
    model: Classifier, paths: Iterable[str], *, top: int = 3, unsure_below: float = 0.4, stdin: bytes = b""
) -> Iterator[Answer]:
    """Yield an Answer with the `top` best labels for everything in `paths`, in order.

    One whose best probability is below `unsure_below` (0 to 1), or on which nothing or only a dot is drawn, is marked
    unsure.

    A path is a file, a folder (searched with its subfolders) or "-" (`stdin`: a picture, or JSON, one drawing a line).
    """
    waiting: list[_Item] = []
    for item in (item for path in paths for item in _items(model, path, stdin)):
        waiting.append(item)
        if len(waiting) == _BATCH:
            yield from _answer(model, waiting, top, unsure_below)
            waiting = []
    yield from _answer(model, waiting, top, unsure_below)


def _answer(model: Classifier, items: list[_Item], top: int, unsure_below: float) -> Iterator[Answer]:
    images = [item.image for item in items if item.image is not None]
    rows: Iterator[NDArray[np.float32]] = iter(model.predict_proba(np.stack(images)) if images else ())
    for item in items:
        if item.image is None:
            yield Answer(item.file, item.item, error=item.error)
            continue
        row = next(rows)
        try:
            require_numbers(row, model.name)
        except InksightError as error:
            yield Answer(item.file, item.item, error=error)
            continue
        predictions = tuple(model.top(row[None], top)[0])
        nothing = item.dot or (shows_nothing(item.image) if model.kind == "drawing" else not item.image.any())
        unsure = nothing or predictions[0][1] < unsure_below
        yield Answer(item.file, item.item, predictions, unsure)


def _items(model: Classifier, path: str, stdin: bytes) -> Iterator[_Item]:
    try:
        if path == STANDARD_INPUT:
            if stdin.lstrip()[:1] in (b"{", b"["):
                yield from _drawings(model, path, stdin)
            else:
                yield _Item(path, None, to_input(stdin, model.description))
        elif Path(path).is_dir():
            for file in _files_in(Path(path)):
                yield from _items(model, str(file), stdin)
        else:
            yield from _file(model, path)
    except InksightError as error:
        yield _Item(path, None, error=error)


def _files_in(folder: Path) -> list[Path]:
    known = {*PICTURES, *STROKES, *BITMAPS}
    files = sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in known and file.is_file() and not file.name.startswith(".")
    )
    if not files:
        raise NotFoundError(
            f"the folder {str(folder)!r} holds no file that can be read",
            hint=f"Known endings: {', '.join(sorted(known))}",
        )
    return files


def _file(model: Classifier, path: str) -> Iterator[_Item]:
    data = read_file(Path(path))
    suffix = Path(path).suffix.lower()
    if suffix in STROKES:
        yield from _drawings(model, path, data)
    elif suffix in BITMAPS:
        yield from _bitmaps(model, path, data)
    else:
        yield _Item(path, None, to_input(data, model.description))


def _drawings(model: Classifier, path: str, data: bytes) -> Iterator[_Item]:
    lines = [line for line in data.splitlines() if line.strip()]
    try:
        # A JSON document may be spread over lines; ndjson is one whole document in each.
        documents = [json.loads(data)]
        single = True
    except (ValueError, RecursionError):
        documents, single = lines, len(lines) == 1
    if not documents:
        raise UsageError("it is empty")
    for number, document in enumerate(documents, start=1):
        place = None if single else number
        try:
            strokes = _strokes(document)
            image = drawings_to_images([strokes], model.description)[0]
            yield _Item(path, place, image, is_dot(strokes))
        except InksightError as error:
            yield _Item(path, place, error=error)


def _strokes(document: Any) -> Any:
    if isinstance(document, bytes):
        try:
            document = json.loads(document)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"not JSON: {error}", hint="Each line of an ndjson file is one drawing.") from None
    if isinstance(document, dict):
        for key in ("drawing", "strokes"):
            if key in document:
                return document[key]
        raise UsageError(
            'the JSON object has neither "drawing" nor "strokes"',
            hint='Write {"strokes": [[[x, ...], [y, ...]], ...]}.',
        )
    return document


def _bitmaps(model: Classifier, path: str, data: bytes) -> Iterator[_Item]:
    try:
        _check_length(data)
        # allow_pickle is False by default, but this is the one place where it must never change.
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        # The first sentence: NumPy goes on with how to load a pickle all the same.
        raise UsageError(f"no array of bitmaps: {str(error).split('. ')[0]}") from None
    if not isinstance(array, np.ndarray):
        raise UsageError("no array of bitmaps but an archive of arrays (.npz)", hint="Save one array with numpy.save.")
    shape = model.image_shape
    if array.dtype != np.uint8 or array.ndim < 2 or int(np.prod(array.shape[1:])) != int(np.prod(shape)):
        raise UsageError(
            f"it holds {array.dtype} {array.shape}",
            hint=f"The model takes uint8 (N, {', '.join(map(str, shape))}).",
        )
    for number, image in enumerate(array.reshape(-1, *shape), start=1):
        yield _Item(path, number, image)


def _check_length(data: bytes) -> None:
    """Raise ValueError when a .npy header claims more than the file holds: NumPy would first make room for it all."""
    stream = io.BytesIO(data)
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if not data.startswith(np.lib.format.MAGIC_PREFIX):
        return  # np.load says what it is instead
    read = headers.get(np.lib.format.read_magic(stream))
    if read is None:
        raise ValueError("its version of the format is not known")
    shape, _, dtype = read(stream)
    claimed, held = math.prod(shape) * dtype.itemsize, len(data) - stream.tell()
    if not dtype.hasobject and claimed > held:
        raise ValueError(f"its header claims {claimed:,} bytes, the file holds {held:,}")
