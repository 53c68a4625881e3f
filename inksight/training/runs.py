"""The folder of a run: what is in it, and finding the one to resume.

settings.json          what was asked for: data, model, resolved settings
reading.json           how many training images are in memory at a time; null: all
history.jsonl          one line per epoch
mlflow.json            where MLflow knows the run, with --mlflow
curves.png
checkpoints/last.pt, checkpoints/best.pt
tensorboard/           event files
bundle/                the trained model, ready to ship
report/                the evaluation on the test split
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inksight.config import option_name
from inksight.errors import ConflictError, NotFoundError, UsageError
from inksight.workspace import NAME_LENGTH, is_path, is_printable, workspace, write_json


@dataclass(frozen=True)
class RunDescription:
    """What settings.json holds; a resumed run must be the same in all but `data`, the place of the dataset file."""

    data: str
    dataset: dict[str, Any]
    model: str
    model_options: dict[str, Any]
    settings: dict[str, Any]

    def write(self, folder: Path) -> None:
        """Write settings.json."""
        write_json(folder / "settings.json", vars(self))


def is_run(folder: Path) -> bool:
    """Return whether a run has begun in the folder: settings.json is the first thing written."""
    return (folder / "settings.json").is_file()


def read_run(folder: Path) -> RunDescription:
    """Read settings.json; raises NotFoundError when the folder holds no run."""
    path = folder / "settings.json"
    if not is_run(folder):
        raise NotFoundError(f"{str(folder)!r} holds no training run", hint="A run's folder has a settings.json.")
    return RunDescription(**json.loads(path.read_text(encoding="utf-8")))


def new_folder(name: str, fallback: str) -> Path:
    """Return the folder of a new run: runs/<name>, or a fresh dated one when the run has no name."""
    return workspace().runs / check_name(name) if name else workspace().new_run(fallback)


def check_name(name: str) -> str:
    """Return a run's name if its folder and its bundle may have it, else raise UsageError."""
    if is_path(name) or not is_printable(name):
        raise UsageError(f"--name {name!r} cannot be a folder's name", hint="Use letters, digits, '-', '_' and '.'.")
    if len(name) > NAME_LENGTH:
        raise UsageError(f"--name {name!r} has {len(name)} characters", hint=f"At most {NAME_LENGTH}.")
    return name


def check_unused(folder: Path) -> None:
    """Raise ConflictError when the folder holds a run already."""
    if is_run(folder):
        raise ConflictError(
            f"there is a run in {str(folder)!r} already", hint="Go on with it by --resume, or choose another --name."
        )


def forget_unbegun(folder: Path) -> None:
    """Take back the description of a new run that failed before anything was trained, so that its name is free."""
    history = folder / "history.jsonl"
    trained = history.is_file() and history.stat().st_size > 0
    if trained or any((folder / name).exists() for name in ("checkpoints", "head")):
        return
    for name in ("settings.json", "reading.json", "history.jsonl", "mlflow.json"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "tensorboard", ignore_errors=True)
    with suppress(OSError):  # it holds something else
        folder.rmdir()


# What may differ when a run goes on: how it is watched and saved changes no weight.
FREE_SETTINGS = frozenset({"name", "checkpoint_every", "tensorboard", "mlflow"})


def latest_run(wanted: RunDescription) -> Path:
    """Return the newest run with the same data, model, its options and settings; raises NotFoundError if none has."""
    folders = sorted(
        (path.parent for path in workspace().runs.glob("*/settings.json")),
        key=lambda folder: (folder / "settings.json").stat().st_mtime,
        reverse=True,
    )
    runs = {folder: read_run(folder) for folder in folders}
    for folder, run in runs.items():
        if not differences(run, wanted):
            return folder
    hint = "Repeat the command of the run with --resume added, or start without --resume."
    for folder, run in runs.items():
        if (run.model, run.dataset["sha256"]) == (wanted.model, wanted.dataset["sha256"]):
            hint = f"{folder.name} had other settings: {', '.join(differences(run, wanted))}. {hint}"
            break
    raise NotFoundError(f"there is no run of {wanted.model} with these data and settings to resume", hint=hint)


def differences(before: RunDescription, now: RunDescription) -> list[str]:
    """Return what differs between two runs and matters, as text: --epochs 10 (was 15)."""
    names = sorted({*before.settings, *now.settings} - FREE_SETTINGS)
    changes = [
        f"{option_name(name)} {now.settings.get(name)} (was {before.settings.get(name)})"
        for name in names
        if before.settings.get(name) != now.settings.get(name)
    ]
    if before.model != now.model:
        changes.append(f"--model {now.model} (was {before.model})")
    else:
        changes += [
            f"--option {name}={now.model_options.get(name)} (was {before.model_options.get(name)})"
            for name in sorted({*before.model_options, *now.model_options})
            if before.model_options.get(name) != now.model_options.get(name)
        ]
    if before.dataset["sha256"] != now.dataset["sha256"]:
        changes.append(f"other images: {now.dataset['name']} (was {before.dataset['name']})")
    return changes


def check_same(before: RunDescription, now: RunDescription) -> None:
    """Raise ConflictError unless a run to be resumed was started with the same data, model and settings."""
    changes = differences(before, now)
    if changes:
        raise ConflictError(
            f"the run was started with other settings: {', '.join(changes)}",
            hint="Resume it with the same ones, or start a new run without --resume.",
        )
