"""Trackers: who is told how a training goes. All have the same few methods, and none can stop a training.

    NoTracker     the null object: listens to nobody
    JsonLines     history.jsonl, one JSON object per epoch: what curves, reports and resuming read
    Trackers      several at once; one that fails is reported once and left out from then on

TensorBoard's is in tensorboard.py, MLflow's in mlflow_tracker.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from inksight.workspace import write_text

if TYPE_CHECKING:
    from torch import Tensor, nn

Entry = dict[str, Any]


@dataclass(frozen=True)
class RunInfo:
    """What a tracker is told at the start: `history` holds the epochs before a resume, `step` where it goes on."""

    name: str
    folder: Path
    settings: Mapping[str, Any]
    history: Sequence[Entry] = ()
    step: int = 0


@dataclass(frozen=True)
class Samples:
    """Some validation images to show: uint8 (n, H, W[, 3]), labels int64 (n,), and how the model takes them."""

    model: nn.Module
    prepare: Callable[[Tensor], Tensor]
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: Sequence[str]


class Tracker(Protocol):
    """What a tracker can be told."""

    def start(self, run: RunInfo) -> None:
        """Begin, or go on after a resume."""

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Take numbers from within an epoch (every few steps)."""

    def epoch(self, entry: Entry) -> None:
        """Take an epoch's record; it has "epoch" and "step"."""

    def samples(self, samples: Samples) -> None:
        """Take the trained model and some images."""

    def finish(self, metrics: Mapping[str, Any], folder: Path) -> None:
        """Take the final numbers; the run's files are in `folder`."""

    def stop(self, error: BaseException) -> None:
        """Take note that the run ended early, by a failure, a signal or its caller, in `finish` at the latest."""


class NoTracker:
    """Listens to nobody."""

    def start(self, run: RunInfo) -> None:
        """Do nothing."""

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Do nothing."""

    def epoch(self, entry: Entry) -> None:
        """Do nothing."""

    def samples(self, samples: Samples) -> None:
        """Do nothing."""

    def finish(self, metrics: Mapping[str, Any], folder: Path) -> None:
        """Do nothing."""

    def stop(self, error: BaseException) -> None:
        """Do nothing."""


class JsonLines(NoTracker):
    """Writes history.jsonl in the run's folder, anew after a resume, so that no epoch is in it twice."""

    def start(self, run: RunInfo) -> None:
        """Write the epochs before the resume, if any."""
        self.path = run.folder / "history.jsonl"
        write_text(self.path, "".join(json.dumps(entry) + "\n" for entry in run.history))

    def epoch(self, entry: Entry) -> None:
        """Append one line."""
        with open(self.path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")


class Trackers:
    """Tells several trackers; one that raises is named once through `warn` and then left alone."""

    def __init__(self, trackers: Sequence[Tracker], warn: Callable[[str], None]) -> None:
        self._trackers, self._warn = list(trackers), warn

    def start(self, run: RunInfo) -> None:
        """Tell all."""
        self._tell(lambda tracker: tracker.start(run))

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Tell all."""
        self._tell(lambda tracker: tracker.step(step, values))

    def epoch(self, entry: Entry) -> None:
        """Tell all."""
        self._tell(lambda tracker: tracker.epoch(entry))

    def samples(self, samples: Samples) -> None:
        """Tell all."""
        self._tell(lambda tracker: tracker.samples(samples))

    def finish(self, metrics: Mapping[str, Any], folder: Path) -> None:
        """Tell all."""
        self._tell(lambda tracker: tracker.finish(metrics, folder))

    def stop(self, error: BaseException) -> None:
        """Tell all."""
        self._tell(lambda tracker: tracker.stop(error))

    def _tell(self, message: Callable[[Tracker], None]) -> None:
        for tracker in list(self._trackers):
            try:
                message(tracker)
            except Exception as error:  # noqa: BLE001  (a tracker may fail in any way; hours of training must go on)
                self._trackers.remove(tracker)
                self._warn(f"{type(tracker).__name__} failed and is left out from now on: {error}")


def read_history(folder: Path) -> list[Entry]:
    """Return the epochs recorded in a run's folder, oldest first; empty when there are none."""
    path = folder / "history.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
