"""From what a user names to a dataset file: a preset, a folder of photos, a dataset file or a name in the workspace.

`prepare` makes the file from sources that are already on this machine. `ensure_dataset` is what `train` and `evaluate`
call: it also fetches what is missing, and takes a dataset that is already prepared as it is.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inksight.config import as_dict, option_name, resolve
from inksight.data import presets
from inksight.data.dataset import open_dataset
from inksight.data.folder import combine, prepare_photos
from inksight.data.listing import ARCHIVES, TABLES, check_source, files, is_source, readable
from inksight.data.pack import Prepared, Progress, no_progress
from inksight.data.prepare import drawing_file, prepare_digits, prepare_quickdraw
from inksight.data.split import check_ratios
from inksight.errors import ConflictError, NotFoundError, UsageError, nearest, sentences, unknown
from inksight.settings import FetchSettings, PrepareSettings
from inksight.workspace import workspace, write_text

if TYPE_CHECKING:
    from inksight.data.quickdraw import FileOutcome


_SOURCES = {"photo": "photos", "quickdraw": "drawings of Quick, Draw!", "digits": "the digits"}
_ONLY_OF = {
    "format": ("quickdraw",),
    "recognized_only": ("quickdraw",),
    "center": ("quickdraw", "digits"),
    "image_size": ("photo",),
    "margin": ("photo",),
    "strict": ("photo",),
}
"""Which kinds of sources an option of preparing is about; the others are about all."""


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
    """Make a dataset file from a preset's sources, or from a folder, zip or CSV of photos.

    `options` are fields of PrepareSettings, `classes` and `add` choose classes, `folder` is where a preset's source
    lies (else the workspace's downloads), `out` defaults to the workspace's datasets/<name>.h5. A preset's name goes
    before a folder of that name: write ./pets for the folder. Raises NotFoundError for an unknown name (with the
    nearest), UsageError for a choice that the source does not offer, ConflictError where photos would take the place of
    another dataset, DataError for sources that are missing or broken.
    """
    if source is not None and _is_photos(source):
        _check_unused(f"the photos in {str(source)!r}", add=add, folder=folder)
        _check_options("photo", options)
        path = Path(source).expanduser()
        settings = _settings({}, config, options)
        check_source(path)
        name = readable(path.resolve().stem)
        target = _target(out, name)
        if out is None:
            _check_same(path.resolve(), target, name)
        prepared = prepare_photos(path, target, classes=classes, settings=settings, progress=progress)
        if target == workspace().dataset_path(name):
            write_text(_origin(name), f"{readable(str(path.resolve()))}\n")
        return prepared
    base = None if source is None else presets.load(str(source))
    if base is not None and base.kind == "photo":
        _check_unused(f"the photos of {base.name!r}", add=add)
        _check_options("photo", options)
        return prepare_photos(
            folder or presets.source_folder(base),
            _target(out, base.name),
            classes=classes or base.classes,
            settings=_settings(base.options.get("prepare", {}), config, options),
            name=base.name,
            progress=progress,
        )
    preset = presets.select(base, classes=classes, add=add)
    settings = _settings(preset.options.get("prepare", {}), config, options)
    _check_options(preset.kind, options)
    if (options or {}).get("recognized_only") and settings.format == "numpy_bitmap":
        raise UsageError(
            "--recognized-only has no effect on bitmaps, which do not say what the game recognised",
            hint="Read strokes: --format simplified or raw.",
        )
    out = _target(out, preset.name)
    if preset.kind == "digits":
        _check_unused(f"{preset.name!r}, which needs no files", folder=folder)
        prepared = prepare_digits(out, settings=settings, progress=progress)
    else:
        if folder is None:  # where fetching puts them
            folder = resolve(FetchSettings, preset=preset.options.get("fetch"), file=config).folder
        prepared = prepare_quickdraw(
            preset.classes, out, folder=folder, settings=settings, source=preset.name, progress=progress
        )
    prepared.notes = [*preset.notes(), *prepared.notes]
    return prepared


def prepare_combined(
    sources: Sequence[str | Path],
    *,
    out: Path | None = None,
    options: Mapping[str, Any] | None = None,
    config: Path | None = None,
    progress: Progress = no_progress,
) -> Prepared:
    """Make one dataset file of several datasets, each prepared first where it is not yet; see folder.combine.

    `out` defaults to the workspace's datasets/combined.h5. `options` and `config` hold for what is prepared now, too.
    """
    settings = _settings({}, config, options)
    target = _target(out, "combined")
    paths = [_ensure(source, options, config, progress) for source in sources]
    if options and "image_size" in options:
        _check_size(paths, settings.image_size)
    titles = [_title(source, path) for source, path in zip(sources, paths, strict=True)]
    return combine(paths, target, titles=titles, settings=settings, progress=progress)


def _title(source: str | Path, path: Path) -> str:
    """Return what a source with the dataset file `path` is called: photos by their own name, without a state's hash."""
    photos = _existing(source) is None and _is_photos(source)
    return readable(Path(source).expanduser().resolve().stem) if photos else path.stem


def _check_same(source: Path, target: Path, name: str) -> None:
    """Refuse to put photos where a preset's dataset belongs, or in place of a dataset of other photos.

    Only names are alike: `train NAME` would learn something else from then on.
    """
    hint = f"Say where it goes: --out FILE, e.g. {target.with_stem(f'{name}-photos')}."
    if name in presets.names():
        raise ConflictError(f"{name!r} is a preset, and its dataset has that name", hint=hint)
    if not target.is_file():
        return
    note = _origin(name)
    before = note.read_text(encoding="utf-8").strip() if note.is_file() else None
    if before is None:  # made by an older version, or from something else than photos
        with open_dataset(target) as dataset:
            before = dataset.source.split("; left out", 1)[0]
        same = before == readable(source.name)
    else:
        same = before == readable(str(source))
    if not same:
        raise ConflictError(f"{str(target)!r} is the dataset of {before}, not of {str(source)!r}", hint=hint)


def _origin(name: str) -> Path:
    """Return the note of the path that a dataset of photos was made from; the dataset itself must not tell it."""
    return workspace().datasets / ".origins" / f"{name}.txt"


def _check_unused(source: str, **options: object) -> None:
    """Raise UsageError for an option that was given and would have no effect."""
    for name, value in options.items():
        if value:
            raise UsageError(
                f"--{name} has no effect on {source}",
                hint="--add takes classes of Quick, Draw!, --folder says where a preset's files lie.",
            )


def _check_options(kind: str, options: Mapping[str, Any] | None) -> None:
    """Raise UsageError for an option that was given and that another kind of source has."""
    for name in options or {}:
        if kind not in _ONLY_OF.get(name, (kind,)):
            raise UsageError(f"{option_name(name)}: {_SOURCES[kind]} have no such option", hint="Leave it out.")


def _check_size(paths: Sequence[Path], size: int) -> None:
    """Refuse to combine photos that were prepared, earlier, with another size than is asked for now."""
    for path in paths:
        with open_dataset(path) as dataset:
            has = dataset.preprocessing.get("image_size", size)
            if has != size:
                raise UsageError(
                    f"--image-size: {dataset.name!r} is already prepared with {has}, not {size}",
                    hint="Prepare it again with that --image-size first, or leave the option away.",
                )


def _target(out: Path | None, name: str) -> Path:
    """Return where the dataset file goes; raises UsageError where that is a folder, before minutes of work."""
    target = out or workspace().dataset_path(name)
    if target.is_dir():
        raise UsageError(f"--out: {str(target)!r} is a folder", hint=f"Name the file, e.g. {target / name}.h5.")
    return target


def _settings(preset: Mapping[str, Any], config: Path | None, options: Mapping[str, Any] | None) -> PrepareSettings:
    settings = resolve(PrepareSettings, preset=preset, file=config, options=options)
    # Before any drawing or decoding, which may take minutes.
    check_ratios((settings.train_ratio, settings.val_ratio, settings.test_ratio))
    return settings


def _is_photos(source: str | Path) -> bool:
    """Whether a source is photos rather than a preset; also of a path that can only be meant so and is none."""
    path = Path(source).expanduser()
    known, broken = presets.survey()
    if str(source) in broken or any(preset.name == str(source) for preset in known):
        return False
    return path.exists() or os.sep in str(source) or path.suffix.lower() in ARCHIVES + TABLES


def ensure_dataset(data: str | Path, *, config: Path | None = None, progress: Progress = no_progress) -> Path:
    """Return the dataset file that `data` names, fetching and preparing it first when it is not there yet.

    `data` is the path of a dataset file, the name of one in the workspace, a preset (with `+class`), or a folder, zip
    or CSV of photos, which is prepared again when its files have changed. Names go before a folder of that name: write
    ./pets for the folder. Fetching and preparing take their settings from the preset, from the tables [fetch] and
    [prepare] of the file `config` and from INKSIGHT_FETCH_* and INKSIGHT_PREPARE_* variables.
    Raises NotFoundError for a name that is none of these, and what fetching and preparing raise.
    """
    return _ensure(data, None, config, progress)


def _ensure(data: str | Path, options: Mapping[str, Any] | None, config: Path | None, progress: Progress) -> Path:
    found = _existing(data)
    if found is not None:
        return found
    if _is_photos(data):
        path = Path(data).expanduser().resolve()
        check_source(path)
        settings = resolve(PrepareSettings, file=config, options=options)
        out = workspace().dataset_path(f"{readable(path.stem)}-{_state(path, settings)}")
        return out if out.is_file() else _prepare_aloud(data, out, options, config, progress)
    preset = _preset(str(data))
    prepared = workspace().dataset_path(preset.name)
    if prepared.is_file():
        return prepared
    folder = _fetch_missing(preset, options, config, progress) if preset.kind == "quickdraw" else None
    return _prepare_aloud(str(data), prepared, options, config, progress, folder=folder)


def _preset(name: str) -> presets.DatasetPreset:
    """Return a preset; an unknown name may also be that of a prepared dataset, misspelt."""
    try:
        return presets.load(name)
    except NotFoundError as error:
        known = _prepared()
        near = nearest(name, known) or known[:20]
        more = f"Prepared here: {', '.join(near)}." if near else ""
        raise NotFoundError(error.message, hint=sentences(error.hint, more)) from None


def _prepared() -> list[str]:
    return sorted(path.stem for path in workspace().datasets.glob("*.h5"))


def _prepare_aloud(
    source: str | Path,
    out: Path,
    options: Mapping[str, Any] | None,
    config: Path | None,
    progress: Progress,
    *,
    folder: Path | None = None,
) -> Path:
    """Prepare, and tell `progress` what a user should know about the result: words left out, files skipped."""
    prepared = prepare(source, folder=folder, out=out, options=options, config=config, progress=progress)
    for note in prepared.notes:
        progress(note, 1.0)
    return prepared.path


def find_dataset(data: str | Path) -> Path:
    """Return the dataset file at a path or of a name in the workspace; unlike ensure_dataset, makes nothing.

    Raises NotFoundError with the nearest names of those that are there.
    """
    found = _existing(data)
    if found is None:
        raise unknown("dataset", str(data), _prepared())
    return found


def _existing(data: str | Path) -> Path | None:
    path = Path(data).expanduser()
    if path.is_file() and not is_source(path):
        with open_dataset(path):
            return path.resolve()
    if path.suffix == ".h5":
        raise NotFoundError(f"dataset file {str(data)!r} does not exist", hint="Make one with `inksight data prepare`.")
    # Joined with the workspace's folder, ./pets would be its pets.h5, and /x/pets the file /x/pets.h5.
    if path.name != str(data):
        return None
    named = workspace().dataset_path(path.name)
    return named if named.is_file() else None


def _state(source: Path, settings: PrepareSettings) -> str:
    """Return a short hash of a source's files (names, sizes, times) and of the settings that preparing would use."""
    state = hashlib.sha256(repr(as_dict(settings)).encode())
    for path in files(source):
        try:
            found = path.stat()
            said = f"{found.st_size} {found.st_mtime_ns}"
        except OSError:  # a link to nowhere, or a line of a CSV: preparing says so
            said = "none"
        state.update(os.fsencode(f"{path} {said}\n"))
    return state.hexdigest()[:8]


def _fetch_missing(
    preset: presets.DatasetPreset, options: Mapping[str, Any] | None, config: Path | None, progress: Progress
) -> Path:
    """Fetch those of a preset's classes that are not here in the format that preparing wants; return their folder."""
    from inksight.data.quickdraw import fetch

    wanted = _settings(preset.options.get("prepare", {}), config, options)
    settings = resolve(
        FetchSettings,
        preset=preset.options.get("fetch"),
        file=config,
        options={"format": wanted.format, "recognized_only": wanted.recognized_only or None},
    )
    folder = settings.folder or workspace().drawings
    missing = [name for name in preset.classes if not drawing_file(folder, wanted.format, name).is_file()]
    if missing:
        fetch(missing, settings=settings, progress=_Fetching(len(missing), progress))
    return folder


class _Fetching:
    """Tells a preparation's progress how the download before it goes."""

    def __init__(self, total: int, progress: Progress) -> None:
        self.total, self.ready, self.progress = total, 0, progress

    def begin(self, names: Sequence[str]) -> None:
        self.progress(f"fetching {self.total} classes", 0.0)

    def bytes(self, name: str, done: int, total: int | None) -> None:
        pass  # files take seconds: their number says enough

    def note(self, message: str) -> None:
        self.progress(message, self.ready / self.total)

    def finished(self, outcome: FileOutcome) -> None:
        self.ready += 1
        self.progress(f"fetching {self.total} classes", self.ready / self.total)
