"""Eye vs AI: a picture of a dataset's test split, up to four labels, and an answer that the machine is bound to.

The machine chooses among the same labels as the player, before the player sees them. What is shown then is the SHA-256
of `salt:label` in UTF-8; label and salt are told afterwards, so that anybody can check that the answer did not change.
"""

from __future__ import annotations

import base64
import hashlib
import io
import random
import secrets
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from inksight.errors import ConflictError

if TYPE_CHECKING:
    from inksight.data.dataset import Dataset
    from inksight.serving.live import LiveModel

LABELS = 4

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Level:
    """Seconds to answer, and how many of the wrong labels are those that the machine finds likeliest."""

    seconds: float
    likely: int


LEVELS = {"easy": Level(15.0, 0), "normal": Level(8.0, 1), "hard": Level(5.0, 3)}


class Pictures:
    """The test split of a dataset, by file or name; opened on first use, read by one thread at a time."""

    def __init__(self, data: str) -> None:
        self.data = data
        self._dataset: Dataset | None = None
        self._labels: npt.NDArray[Any] = np.empty(0, np.uint16)
        self._lock = threading.Lock()

    def open(self) -> Dataset:
        """Return the dataset; raises ConflictError without --game-data, NotFoundError and DataError for a bad one."""
        if not self.data:
            raise ConflictError("this server has no pictures to play with", hint="inksight serve --game-data FILE")
        with self._lock:
            if self._dataset is None:
                from inksight.data.dataset import open_dataset
                from inksight.data.ensure import find_dataset

                dataset = open_dataset(find_dataset(self.data))
                self._labels = dataset.labels("test")
                self._dataset = dataset
        if len(self._labels) == 0:
            raise ConflictError("the game's dataset has no test pictures", hint="Prepare it with a test split.")
        return self._dataset

    def judge(self, models: Iterable[LiveModel]) -> LiveModel:
        """Return the first model that takes these pictures and knows all their classes; raises ConflictError."""
        dataset = self.open()
        kind = dataset.preprocessing.get("kind", "drawing")
        for model in models:
            fits = kind == "photo" or model.input_shape == dataset.image_shape
            if model.classifier.kind == kind and fits and set(dataset.classes) <= set(model.classes):
                return model
        raise ConflictError(
            f"no model that is served knows the classes of {dataset.name!r}", hint="Serve one trained on that dataset."
        )

    def pick(self, asked: Sequence[int], rng: random.Random) -> tuple[int, Image, str]:
        """Return a picture's place, its pixels and its label; none twice before all were seen."""
        dataset = self.open()
        fresh = sorted(set(range(len(self._labels))) - set(asked)) or range(len(self._labels))
        index = rng.choice(fresh)
        with self._lock:
            image = np.asarray(dataset.images("test")[index])
        return index, image, dataset.classes[int(self._labels[index])]


def choose_labels(truth: str, shares: Mapping[str, float], likely: int, rng: random.Random) -> list[str]:
    """Return up to LABELS labels in random order: the truth, `likely` that the machine finds likeliest, any others."""
    wrong = [name for name in sorted(shares, key=lambda name: -shares[name]) if name != truth]
    picked = wrong[:likely][: LABELS - 1]
    rest = wrong[len(picked) :]
    picked += rng.sample(rest, min(LABELS - 1 - len(picked), len(rest)))
    options = [truth, *picked]
    rng.shuffle(options)
    return options


def commit(label: str) -> tuple[str, str]:
    """Return a fresh salt and the commitment to a label, both in hexadecimal."""
    salt = secrets.token_hex(16)
    return salt, commitment(salt, label)


def commitment(salt: str, label: str) -> str:
    """Return the SHA-256 of `salt:label`, in hexadecimal."""
    return hashlib.sha256(f"{salt}:{label}".encode()).hexdigest()


def model_input(image: Image, model: LiveModel) -> Image:
    """Return a dataset's picture as the model takes it; a photo of another size is scaled."""
    if image.shape == model.input_shape:
        return image
    from PIL import Image as Pillow

    from inksight.bundle.inputs import to_images

    scaled: Image = to_images([Pillow.fromarray(image)], model.classifier.description)[0]
    return scaled


def data_url(image: Image, *, drawing: bool) -> str:
    """Return a picture as a PNG data URL; a drawing (0 paper, 255 ink) as dark on light."""
    from PIL import Image as Pillow

    buffer = io.BytesIO()
    Pillow.fromarray(255 - image if drawing else image).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
