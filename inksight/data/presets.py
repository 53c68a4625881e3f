"""Named datasets: which classes, from which source, with which defaults for each verb.

A preset is a TOML file, in the package (inksight/presets) or in $INKSIGHT_HOME/presets, where a user adds his own; the
user's file wins when both have the name. A file is a dataset preset when it has a [dataset] table:

    [dataset]
    kind = "photo"                  # quickdraw, photo or digits
    summary = "two kinds of leaves"
    source = "/data/leaves"         # photo: a folder; relative to this file, or to <home>/downloads for the package's
    classes = ["oak", "maple"]      # photo: may be left out (the subfolders)

    [prepare]                       # any other table: defaults for the settings section of that name
    train_ratio = 0.7

Wherever a preset's name is taken, `name+class` means the preset with that class added: `quickdraw20+dragon`, and
`class+class` these classes alone: `cat+dog+dragon`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import inksight.settings  # noqa: F401  (makes the sections known)
from inksight.config import check_sections, read_toml
from inksight.errors import DataError, NotFoundError, UsageError, unknown
from inksight.workspace import workspace

KINDS = ("quickdraw", "photo", "digits")
ALL_QUICKDRAW = "quickdraw345"


@dataclass(frozen=True)
class DatasetPreset:
    """One named dataset; `classes` are spelled as the source spells them, in the preset's order.

    `renamed` maps the preset's own words to those of the source, `missing` are words that the source lacks, and
    `options` holds the defaults of each settings section, e.g. options["prepare"]["train_ratio"].
    """

    name: str
    kind: str
    summary: str
    classes: tuple[str, ...]
    source: str = ""
    renamed: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    options: dict[str, dict[str, Any]] = field(default_factory=dict)

    def notes(self) -> list[str]:
        """Return what a user should know before he uses it: words spelled otherwise, words left out."""
        lines = [f"{self.name}: {word!r} is {other!r} in Quick, Draw!" for word, other in self.renamed.items()]
        return lines + [
            f"{self.name}: {word!r} is not in Quick, Draw! and is left out ({len(self.classes)} classes remain)"
            for word in self.missing
        ]


def names() -> list[str]:
    """Return the names of all dataset presets, the package's and the user's, sorted by kind and size."""
    return [preset.name for preset in survey()[0]]


def survey() -> tuple[list[DatasetPreset], dict[str, UsageError]]:
    """Return all dataset presets, sorted by kind and size, and by its name what is wrong with each broken file."""
    presets: list[DatasetPreset] = []
    broken: dict[str, UsageError] = {}
    for name, path in _paths().items():
        try:
            if "dataset" in _read(path):
                presets.append(_parse(name, path))
        except UsageError as error:
            broken[name] = error
    return sorted(presets, key=lambda p: (KINDS.index(p.kind), len(p.classes), p.name)), broken


def load(name: str) -> DatasetPreset:
    """Return the preset of that name; `name+class+class` adds classes to it, `class+class` makes one of its own.

    Raises NotFoundError with the nearest names for an unknown preset or class, UsageError for a broken file.
    """
    base, *extra = (part.strip() for part in name.split("+"))
    paths = _paths()
    if base in paths and "dataset" not in _read(paths[base]):
        raise NotFoundError(f"preset {paths[base]} has no table [dataset]", hint=f"Choose one of: {', '.join(names())}")
    if base not in paths:
        if _plain(base) in map(_plain, categories()):
            if extra:
                return select(None, classes=[base, *extra])
            raise NotFoundError(
                f"{base!r} is a class, not a preset", hint=f"Name at least two, as in {base}+dragon, or a preset."
            )
        raise unknown("preset", base, names())
    preset = _parse(base, paths[base])
    return select(preset, add=extra) if extra else preset


def select(
    preset: DatasetPreset | None, *, classes: Iterable[str] | None = None, add: Iterable[str] = ()
) -> DatasetPreset:
    """Return the preset with its classes replaced by `classes` and extended by `add`; without a preset, Quick, Draw!'s.

    Raises NotFoundError with the nearest names for a class that Quick, Draw! lacks, UsageError when none is left.
    """
    chosen = list(classes or ())
    added = [*chosen, *add]
    if preset is not None and preset.kind != "quickdraw":
        if added:
            raise UsageError(f"--classes and --add choose Quick, Draw! classes; {preset.name} is of kind {preset.kind}")
        return preset
    added = [known_class(name) for name in added]
    start: tuple[str, ...] = () if chosen or preset is None else preset.classes
    result = tuple(dict.fromkeys((*start, *added)))
    if not result:
        raise UsageError("no classes given", hint=f"Name a preset ({', '.join(names())}) or use --classes a,b,c.")
    extra = [name for name in result if name not in start]
    if preset is None or chosen:
        title = "+".join(result) if len(result) <= 4 else f"{len(result)}classes-{_fingerprint(result)}"
        options = preset.options if preset else {}
        summary = "chosen classes of Quick, Draw!"
        return DatasetPreset(title, "quickdraw", summary, result, source="quickdraw", options=options)
    return replace(preset, name="+".join([preset.name, *extra]), classes=result)


@cache
def categories() -> tuple[str, ...]:
    """Return the 345 class names of Quick, Draw! in its own order."""
    return tuple(read_toml(_package_folder() / f"{ALL_QUICKDRAW}.toml")["dataset"]["classes"])


def known_class(name: str) -> str:
    """Return Quick, Draw!'s spelling of a class name, whose case, `_`, `-` and spaces do not matter.

    Raises NotFoundError with the nearest names when there is no such class.
    """
    by_plain = {_plain(category): category for category in categories()}
    if _plain(name) not in by_plain:
        raise unknown("class", name, categories(), option="Quick, Draw!")
    return by_plain[_plain(name)]


def source_folder(preset: DatasetPreset) -> Path:
    """Return the folder of a photo preset's pictures; raises DataError that says where to put them if absent."""
    source = Path(preset.source).expanduser()
    path = _paths().get(preset.name)
    near = path.parent / source if path is not None and path.parent != _package_folder() else None
    home = workspace().downloads / source
    for candidate in (near, home):
        if candidate is not None and candidate.exists():
            return candidate
    raise DataError(
        f"the pictures of {preset.name!r} are not at {home}",
        hint=f"Put them there, one subfolder per class ({', '.join(preset.classes) or 'any names'}), link the folder, "
        f"or write {workspace().home / 'presets' / (preset.name + '.toml')} with your own [dataset] source.",
    )


def _fingerprint(classes: tuple[str, ...]) -> str:
    import hashlib

    return hashlib.sha256("\n".join(classes).encode()).hexdigest()[:8]


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().lower()


def _package_folder() -> Path:
    return Path(str(files("inksight"))) / "presets"


def _paths() -> dict[str, Path]:
    """All preset files by name; a user's file hides the package's of the same name."""
    folders = (_package_folder(), workspace().home / "presets")
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.toml"))}


_CACHE: dict[tuple[Path, int], dict[str, Any]] = {}


def _read(path: Path) -> dict[str, Any]:
    key = (path, path.stat().st_mtime_ns if path.exists() else 0)
    if key not in _CACHE:
        _CACHE[key] = read_toml(path)
    for word, value in _CACHE[key].items():
        if not isinstance(value, dict):
            raise UsageError(f"preset {path}: {word} = {value!r} stands in no table", hint="Write [dataset] above it.")
    return _CACHE[key]


def _parse(name: str, path: Path) -> DatasetPreset:
    options = dict(_read(path))
    table = options.pop("dataset")
    try:
        check_sections(options, f"preset {path}")
    except NotFoundError as error:  # of a section, not of the preset: callers do without a preset that is not there
        raise UsageError(error.message, hint=error.hint) from None
    table = dict(table)
    kind, summary = table.pop("kind", ""), table.pop("summary", "")
    words, source = table.pop("classes", []), table.pop("source", "")
    renamed = table.pop("renamed", {})
    if kind not in KINDS:
        raise UsageError(f"preset {path}: kind = {kind!r} is not valid", hint=f"Choose one of: {', '.join(KINDS)}")
    if table:
        raise UsageError(
            f"preset {path}: [dataset] has unknown keys: {', '.join(table)}",
            hint="Known keys: kind, summary, classes, source, renamed",
        )
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise UsageError(f"preset {path}: classes must be a list of names")
    texts = (summary, source, *renamed.values()) if isinstance(renamed, dict) else (None,)
    if not all(isinstance(text, str) for text in texts):
        raise UsageError(f"preset {path}: summary and source must be texts, renamed a table of texts")
    if kind == "photo" and not source:
        raise UsageError(f"preset {path}: kind photo needs a source", hint="Add source = 'a folder of pictures'.")
    missing: tuple[str, ...] = ()
    if kind == "quickdraw":
        spelled = [renamed.get(word, word) for word in words]
        missing = tuple(word for word in spelled if word not in categories())
        words = [word for word in spelled if word not in missing]
        source = source or "quickdraw"
    return DatasetPreset(name, kind, summary, tuple(dict.fromkeys(words)), source, renamed, missing, options)
