"""The loaded model: images in, labels or probabilities out.

    model = inksight.load("doodles")
    model.predict(["cat.png", "tree.jpg"])            # ['cat', 'tree']
    model.predict_proba(bitmaps)                      # uint8 (N, 28, 28) -> float32 (N, classes)
    model.predict_strokes([strokes])                  # pen strokes, raw or simplified

Safe to call from several threads. An array of the model's own shape goes straight to the runtime; everything else is
first made into such an array by inputs.py.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inksight.bundle.inputs import drawings_to_images, to_images
from inksight.bundle.parity import Predict
from inksight.errors import BundleError

if TYPE_CHECKING:
    from torch import nn

    from inksight.bundle.network import Network

# Pixels per call of the runtime: 83 drawings or one photo of 224x224. Larger batches fall out of the processor's cache:
# a shallow model answers 15,000 drawings/s on one core in batches of 64, 3,700 in batches of 5,000.
_PIXELS = 2**16


def require_numbers(probabilities: NDArray[np.float32], name: str) -> None:
    """Raise BundleError unless every probability is a finite number: NaN would pass for a sure answer."""
    if not np.isfinite(probabilities).all():
        raise BundleError(
            f"the model {name!r} answers with no number (NaN or infinite)",
            hint="Its weights are damaged or outgrew their number format; use another version.",
        )


class Classifier:
    """A bundle that has been checked and is ready to answer."""

    def __init__(self, folder: Path, description: dict[str, Any], run: Predict, runtime: str, threads: int) -> None:
        self.folder = folder
        self.description = description
        self.runtime = runtime
        self.threads = threads
        self.name: str = description["name"]
        self.kind: str = description["kind"]
        self.classes: list[str] = list(description["classes"])
        self.image_shape: tuple[int, ...] = tuple(description["preprocessing"]["input_shape"])
        self._run = run
        self._chunk = max(1, _PIXELS // int(np.prod(self.image_shape)))

    def __repr__(self) -> str:
        return (
            f"<Classifier {self.name!r}: {len(self.classes)} classes, {self.kind}s {self.image_shape}, {self.runtime}>"
        )

    def predict_proba(self, images: Any) -> NDArray[np.float32]:
        """Return the probability of each class, float32 (N, classes), rows summing to 1.

        `images`: uint8 array (N, H, W[, 3]) or one (H, W[, 3]); a PIL image or path, or a sequence of them. Arrays of
        another size than the model's, pictures and files are converted first. Raises UsageError for anything else.
        """
        if type(images) is np.ndarray and images.dtype == np.uint8 and images.shape[1:] == self.image_shape:
            if 0 < len(images) <= self._chunk:
                return self._run(images)
        else:
            images = to_images(images, self.description)
        if len(images) == 0:
            return np.empty((0, len(self.classes)), np.float32)
        return np.concatenate([self._run(images[i : i + self._chunk]) for i in range(0, len(images), self._chunk)])

    def predict(self, images: Any) -> list[str]:
        """Return the most probable class of each image; `images` as in `predict_proba`.

        Raises BundleError when the model's answer is no number, of which none is the largest.
        """
        probabilities = self.predict_proba(images)
        require_numbers(probabilities, self.name)
        return [self.classes[index] for index in probabilities.argmax(axis=1)]

    def predict_strokes(self, drawings: Sequence[Any]) -> list[str]:
        """Return the most probable class of each drawing, given as strokes [[xs, ys], ...], raw or simplified.

        Raises DrawingError for strokes that cannot be read, UsageError when the model is not one of drawings.
        """
        return self.predict(drawings_to_images(drawings, self.description))

    def top(self, probabilities: NDArray[np.float32], count: int = 3) -> list[list[tuple[str, float]]]:
        """Return the `count` most probable (label, probability) of each row, best first, ties in class order."""
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
        return [
            [(self.classes[i], float(row[i])) for i in best] for row, best in zip(probabilities, order, strict=True)
        ]

    def network(self) -> Network:
        """Return the whole classifier in PyTorch (preprocess, model, softmax), float32, from the bundle's weights."""
        return self._network

    def module(self) -> nn.Module:
        """Return the bare PyTorch model: normalised float32 (N, C, h, w) -> logits; for Grad-CAM and fine-tuning."""
        return self._network.model

    @functools.cached_property
    def _network(self) -> Network:
        from inksight.bundle.network import read_network

        return read_network(self.folder, self.description)
