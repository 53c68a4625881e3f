"""From what a user names to a dataset file: a preset, a dataset file or a name in the workspace.

`prepare` makes the file from sources that are already on this machine. `ensure_dataset` is what `train` and `evaluate`
call: it also fetches what is missing, and takes a dataset that is already prepared as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inksight.config import resolve
from inksight.data import presets
from inksight.data.dataset import open_dataset
from inksight.data.pack import Prepared, Progress, no_progress
from inksight.data.prepare import drawing_file, prepare_digits, prepare_quickdraw
from inksight.data.split import check_ratios
from inksight.errors import NotFoundError, UsageError, unknown
from inksight.settings import FetchSettings, PrepareSettings
from inksight.workspace import workspace


def prepare(
    source: str | Path | None,
    *,
    classes: Sequence[str] = (),
    add: Sequence[str] = (),
    folder: Path | None = None,
    out: Path | None = None,
    options: Mapping[str, Any] | None = None,
    config: Path | None = None,
    progress: Progress = no_progress,
) -> Prepared:
    """Make a dataset file from a preset's sources; `options` are fields of PrepareSettings.

    `classes` and `add` choose Quick, Draw! classes; `folder` is where the source lies, else the workspace's downloads;
    `out` defaults to the workspace's datasets/<name>.h5. Raises NotFoundError for an unknown name (with the nearest),
    DataError for sources that are missing or broken.
    """
    base = None if source is None else presets.load(str(source))
    preset = presets.select(base, classes=classes, add=add)
    settings = resolve(PrepareSettings, preset=preset.options.get("prepare"), file=config, options=options)
    check_ratios((settings.train_ratio, settings.val_ratio, settings.test_ratio))  # before any drawing or decoding
    out = out or workspace().dataset_path(preset.name)
    if preset.kind == "digits":
        prepared = prepare_digits(out, settings=settings, progress=progress)
    elif preset.kind == "quickdraw":
        prepared = prepare_quickdraw(
            preset.classes, out, folder=folder, settings=settings, source=preset.name, progress=progress
        )
    else:
        raise UsageError(f"{preset.name!r} is of kind {preset.kind}, which cannot be prepared yet")
    prepared.notes = [*preset.notes(), *prepared.notes]
    return prepared


def ensure_dataset(data: str | Path, *, progress: Progress = no_progress) -> Path:
    """Return the dataset file that `data` names, fetching and preparing it first when it is not there yet.

    `data` is the path of a dataset file, the name of one in the workspace, or a preset (with `+class`). Fetching and
    preparing take their settings from the preset and from INKSIGHT_FETCH_* and INKSIGHT_PREPARE_* variables.
    Raises NotFoundError for a name that is none of these, and what fetching and preparing raise.
    """
    found = _existing(data)
    if found is not None:
        return found
    preset = presets.load(str(data))
    prepared = workspace().dataset_path(preset.name)
    if prepared.is_file():
        return prepared
    if preset.kind == "quickdraw":
        _fetch_missing(preset, progress)
    return prepare(str(data), progress=progress).path


def find_dataset(data: str | Path) -> Path:
    """Return the dataset file at a path or of a name in the workspace; unlike ensure_dataset, makes nothing.

    Raises NotFoundError with the nearest names of those that are there.
    """
    found = _existing(data)
    if found is None:
        known = [path.stem for path in workspace().datasets.glob("*.h5")]
        raise unknown("dataset", str(data), known)
    return found


def _existing(data: str | Path) -> Path | None:
    path = Path(data).expanduser()
    if path.is_file():
        with open_dataset(path):
            return path.resolve()
    if path.suffix == ".h5":
        raise NotFoundError(f"dataset file {str(data)!r} does not exist", hint="Make one with `inksight data prepare`.")
    named = workspace().dataset_path(str(data))
    return named if named.is_file() else None


def _fetch_missing(preset: presets.DatasetPreset, progress: Progress) -> None:
    from inksight.data.quickdraw import fetch

    wanted = resolve(PrepareSettings, preset=preset.options.get("prepare"))
    settings = resolve(
        FetchSettings,
        preset=preset.options.get("fetch"),
        options={"format": wanted.format, "recognized_only": wanted.recognized_only or None},
    )
    folder = settings.folder or workspace().downloads / "quickdraw"
    missing = [name for name in preset.classes if not drawing_file(folder, wanted.format, name).is_file()]
    if missing:
        progress(f"fetching {len(missing)} classes", 0.0)
        fetch(missing, settings=settings)
