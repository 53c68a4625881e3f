"""Where dataset files lie, by the SHA-256 of their content.

A bundle says what it learnt from by name and hash, never by path: a path tells strangers about the machine that trained
and is of no use on theirs. Notes in the workspace, one file per hash, make up for it here.
"""

from __future__ import annotations

from pathlib import Path

from inksight.data.dataset import open_dataset
from inksight.workspace import workspace, write_text


def remember(sha256: str, path: Path) -> None:
    """Note that the dataset with this content lies at `path`; a later note wins."""
    write_text(_note(sha256), f"{path.resolve()}\n")


def places(sha256: str | None, name: str | None) -> list[Path]:
    """Return where the dataset of this content or name may lie, likeliest first; nothing says that it still does."""
    note = _note(sha256) if sha256 else None
    noted = [Path(note.read_text(encoding="utf-8").strip())] if note and note.is_file() else []
    return [*noted, *([workspace().dataset_path(name)] if name else [])]


def find(sha256: str | None, name: str | None) -> Path | None:
    """Return the file that has this content, or without a hash the likeliest that is there; None when there is none."""
    for place in places(sha256, name):
        if place.is_file():
            with open_dataset(place) as dataset:
                if sha256 is None or dataset.sha256 == sha256:
                    return place
    return None


def _note(sha256: str) -> Path:
    return workspace().datasets / ".places" / f"{sha256}.txt"
