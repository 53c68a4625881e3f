"""Datasets and half-trained runs in the artefact root, where machines that share nothing else find them.

    datasets/<sha256 of the file>/    data.h5, and complete, which is written last
    jobs/<matrix>/<job>/<number>/     what a job needs to go on elsewhere, as of one of its checkpoints
    jobs/<matrix>/<job>/files/        what a finished job leaves for people, until whoever ordered it has fetched it

What counts never changes: a newer checkpoint has a place of its own, and counts once its `Stored` was handed on.
Not guaranteed: that a run's newest checkpoint is stored; what came after it is trained again.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

from filelock import FileLock

from inksight.registry.artifacts import Artifacts, table_of

# The state of the training first: one that is newer than the best weights beside it would not save them again.
_RUN = (
    "checkpoints/last.pt", "checkpoints/best.pt", "settings.json", "reading.json", "history.jsonl", "mlflow.json",
)  # fmt: skip
# Of a finished run. Its bundle is in the registry, and nobody goes on from its checkpoints.
_FILES = ("settings.json", "history.jsonl", "mlflow.json", "curves.png", "report", "tensorboard")


@dataclass(frozen=True)
class Stored:
    """What was stored where: the table of the files says their sizes and SHA-256. `written`: a checkpoint's time."""

    location: str
    files: dict[str, Any]
    written: float = 0.0


class Exchange:
    """Puts files into an artefact root and takes them out, verified both ways.

    All methods raise UnavailableError when the root does not answer and BundleError when a file is missing or damaged.
    """

    def __init__(self, root: str) -> None:
        self.artifacts = Artifacts(root)

    def offer_dataset(self, path: Path) -> Stored:
        """Store a dataset file unless it is there already."""
        with tempfile.TemporaryDirectory(prefix="inksight-offer-") as name:
            folder = Path(name)
            (folder / "data.h5").symlink_to(path.resolve())
            files = table_of(folder, ["data.h5"])
            stored = Stored(f"datasets/{files['data.h5']['sha256']}", files)
            if not self.artifacts.exists(f"{stored.location}/complete"):
                self.artifacts.put(folder, stored.location, files)
                (folder / "complete").touch()
                self.artifacts.put(folder, stored.location, table_of(folder, ["complete"]))
        return stored

    def fetch_dataset(self, stored: Stored, name: str, cache: Path) -> Path:
        """Return a local file of that name with a stored dataset; it is fetched once per machine."""
        target: Path = cache / stored.files["data.h5"]["sha256"][:16] / f"{name}.h5"
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.parent / "lock"):
            if not target.exists():
                with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target.parent) as folder:
                    self.artifacts.get(stored.location, stored.files, Path(folder))
                    os.replace(Path(folder) / "data.h5", target)
        return target

    def store_run(self, run: Path, location: str) -> Stored | None:
        """Store what the run in this folder needs to go on; None when it has no checkpoint yet."""
        if not run.is_dir():
            return None
        with tempfile.TemporaryDirectory(prefix=".state-", dir=run) as name:
            folder = Path(name)
            for part in _RUN:
                try:
                    # A link stays what it was when the training replaces the file by a newer one.
                    os.link(run / part, folder / Path(part).name)
                except FileNotFoundError:
                    if part == _RUN[0]:
                        return None
            files = table_of(folder, [path.name for path in folder.iterdir()])
            self.artifacts.put(folder, location, files)
            return Stored(location, files, (folder / "last.pt").stat().st_mtime)

    def fetch_run(self, stored: Stored, run: Path) -> bool:
        """Bring a run to a stored checkpoint and return True; False when the one in this folder is as far."""
        if written(run) >= stored.written:
            return False
        (run / "checkpoints").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".state-", dir=run) as name:
            folder = Path(name)
            self.artifacts.get(stored.location, stored.files, folder)
            os.utime(folder / "last.pt", (stored.written, stored.written))
            # The state last: a kill in between leaves a run that is fetched again.
            for part in reversed(_RUN):
                if Path(part).name in stored.files:
                    os.replace(folder / Path(part).name, run / part)
        return True

    def store_files(self, run: Path, location: str) -> Stored:
        """Store what a finished run has to show: settings, history, plots, report and TensorBoard's files."""
        with tempfile.TemporaryDirectory(prefix="inksight-files-") as name:
            with ZipFile(Path(name) / "run.zip", "w", ZIP_DEFLATED) as archive:
                for path in sorted(run.rglob("*")):
                    inside = path.relative_to(run)
                    if path.is_file() and inside.parts[0] in _FILES:
                        archive.write(path, inside)
            files = table_of(Path(name), ["run.zip"])
            self.artifacts.put(Path(name), location, files)
        return Stored(location, files)

    def fetch_files(self, stored: Stored, run: Path) -> None:
        """Put stored files of a finished run into its folder here."""
        run.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".files-", dir=run) as name:
            self.artifacts.get(stored.location, stored.files, Path(name))
            with ZipFile(Path(name) / "run.zip") as archive:
                archive.extractall(run)

    def forget(self, location: str) -> None:
        """Remove everything below a location."""
        self.artifacts.delete(location)


def written(run: Path) -> float:
    """Return when a run's newest checkpoint was written, in seconds since 1970; 0 when it has none."""
    last = run / _RUN[0]
    return last.stat().st_mtime if last.exists() else 0.0
