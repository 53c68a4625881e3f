"""TensorBoard: scalars while training, then the graph, sample images with answers, and the embedding projector.

    tensorboard --logdir inksight-home/runs

Each run is a line of its own, named by its folder. A resumed run goes on in a new event file, whose start hides what
the killed one wrote after its last checkpoint.
"""

from __future__ import annotations

import math
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter

from inksight import plotting
from inksight.data.at_once import judged_at_once
from inksight.training.trackers import Entry, NoTracker, RunInfo, Samples

# The projector draws each image as a sprite; beyond this many, browsers crawl.
EMBEDDED = 1000
# Pixels of a sprite's side: whole photos would take gigabytes, and more pixels than browsers show.
SPRITE = 64
SHOWN = 40

# An epoch's record by the tag it gets; tags with the same first part share a plot.
_TAGS = {
    "train_loss": "loss/train",
    "val_loss": "loss/validation",
    "ema_val_loss": "loss/validation_average",
    "train_accuracy": "accuracy/train",
    "val_accuracy": "accuracy/validation",
    "val_balanced_accuracy": "accuracy/validation_balanced",
    "ema_val_accuracy": "accuracy/validation_average",
    "images_per_second": "speed/images_per_second",
}


class TensorBoard(NoTracker):
    """Writes event files into the run's `tensorboard` folder."""

    def start(self, run: RunInfo) -> None:
        """Open the event file; after a resume, later steps of the old one are hidden."""
        self._writer = SummaryWriter(run.folder / "tensorboard", purge_step=run.step + 1 if run.step else None)

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Write numbers from within an epoch."""
        for name, value in values.items():
            self._writer.add_scalar(f"step/{name}", value, step)

    def epoch(self, entry: Entry) -> None:
        """Write an epoch's record, at its step."""
        for key, tag in _TAGS.items():
            if key in entry:
                self._writer.add_scalar(tag, entry[key], entry["step"])
        self._writer.flush()

    @torch.no_grad()
    def samples(self, samples: Samples) -> None:
        """Write the model's graph, a sheet of images with the model's answers, and features for the projector."""
        images = samples.images[:EMBEDDED]
        model = samples.model.float().eval()

        def over(count: int, function: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
            parts = torch.split(torch.from_numpy(images[:count]), judged_at_once(images.shape[1:]))
            return torch.cat([function(samples.prepare(part)) for part in parts])

        with warnings.catch_warnings():
            # torch's own graph writer traces, and tracing warns that it is old; it is the only one TensorBoard reads.
            warnings.simplefilter("ignore")
            self._writer.add_graph(model, samples.prepare(torch.from_numpy(images[:2])))
        self._writer.add_image("samples/validation", self._sheet(samples, over(SHOWN, model)), dataformats="HWC")
        for before in Path(self._writer.log_dir).glob("*/features"):
            shutil.rmtree(before)  # of a finished run that is judged again; torch would print a warning about it
        every = math.ceil(max(images.shape[1:3]) / SPRITE)
        sprites = torch.from_numpy(plotting.as_rgb(images[:, ::every, ::every]))
        self._writer.add_embedding(
            over(EMBEDDED, model.get_features),  # type: ignore[arg-type]
            metadata=[samples.classes[label] for label in samples.labels[: len(images)]],
            label_img=sprites.permute(0, 3, 1, 2).float() / 255,
            tag="features",
        )
        self._writer.flush()

    def finish(self, metrics: Mapping[str, Any], folder: Path) -> None:
        """Write the final numbers and close."""
        for name, value in metrics.items():
            if isinstance(value, int | float):
                self._writer.add_scalar(f"final/{name}", value, 0)
        self._writer.close()

    def stop(self, error: BaseException) -> None:
        """Close: the writer has a thread and an open file, and searches stop many trainings in one process."""
        if hasattr(self, "_writer"):  # it may have ended before it began
            self._writer.close()

    def _sheet(self, samples: Samples, logits: torch.Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Return a picture of the first images, each with the right class and, when it differs, the model's."""
        from io import BytesIO

        from PIL import Image

        answers = logits.argmax(1).tolist()
        captions = []
        for label, answer in zip(samples.labels, answers, strict=False):
            right = samples.classes[label]
            captions.append(right if label == answer else f"{right}\nnot {samples.classes[answer]}")
        drawn = plotting.gallery(samples.images[: len(captions)], captions, columns=8, title="Validation images")
        return np.asarray(Image.open(BytesIO(plotting.png_bytes(drawn))).convert("RGB"))
