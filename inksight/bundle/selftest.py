"""Does a model answer sensibly? Asked before it is registered and before it is served.

Not guaranteed: that its answers are right, or that the graph is the model that the weights beside it describe.
"""

from __future__ import annotations

import time
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from inksight.errors import BundleError


class Answering(Protocol):
    """What the test needs of a model; a Classifier has it."""

    name: str
    classes: list[str]
    image_shape: tuple[int, ...]

    def predict_proba(self, images: Any) -> NDArray[np.float32]:
        """Return probabilities, float32 `(N, C)`, of uint8 images `(N, H, W[, 3])`."""


def self_test(classifier: Answering) -> float:
    """Ask the model about blank, full and random images; return the seconds that one takes (median of 5).

    Raises BundleError unless every answer is a finite distribution over the classes and a batch answers what its
    images answer one by one.
    """
    shape = tuple(classifier.image_shape)
    images = np.zeros((4, *shape), np.uint8)
    images[1] = 255
    images[2:] = np.random.default_rng(0).integers(0, 256, (2, *shape), dtype=np.uint8)
    try:
        together = np.asarray(classifier.predict_proba(images))
        times, singles = [], []
        for index in (0, 1, 2, 3, 0):
            start = time.perf_counter()
            singles.append(np.asarray(classifier.predict_proba(images[index : index + 1])))
            times.append(time.perf_counter() - start)
    # A runtime may raise anything; whatever it is, this model must not go live.
    except Exception as error:
        raise BundleError(f"model {classifier.name!r} failed its self-test: {error}") from error
    expected = (4, len(classifier.classes))
    if together.shape != expected:
        raise BundleError(f"model {classifier.name!r} failed its self-test: {together.shape} instead of {expected}")
    if not np.isfinite(together).all() or np.abs(together.sum(axis=1) - 1).max() > 1e-3 or together.min() < -1e-6:
        raise BundleError(f"model {classifier.name!r} failed its self-test: its answers are not probabilities")
    if np.abs(np.concatenate(singles[:4]) - together).max() > 1e-3:
        raise BundleError(f"model {classifier.name!r} failed its self-test: a batch answers otherwise than its parts")
    return sorted(times)[2]
