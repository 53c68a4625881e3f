"""Classical models: images per second from uint8 pixels to probabilities, features included.

    .venv/bin/python benchmarks/shallow_speed.py --data ../shared/data

Models are fitted on real drawings (28x28, 10 classes) and real photos (64x64 RGB, 5 classes), saved as bundles and
timed as they are shipped: `inksight.load(...).predict_proba` on two threads, after one call to warm up. Features alone
are timed too. Printed are the median and the range over the repeats.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import inksight
from inksight import bundle, models
from inksight.data.photos import decode
from inksight.models.preprocess import Preprocess
from inksight.models.shallow import CLASSIFIERS, Shallow, plain
from inksight.models.shallow_features import Features
from inksight.models.shallow_fit import fit, over

Set = tuple[NDArray[np.uint8], NDArray[np.int64]]


def drawings(data: Path, each: int = 500, classes: int = 10) -> Set:
    """Return 28x28 bitmaps of the first classes that have enough, shuffled."""
    files = sorted((data / "quickdraw" / "full" / "numpy_bitmap").glob("*.npy"))
    files = [file for file in files if len(np.load(file, mmap_mode="r")) >= each][:classes]
    images = np.concatenate([np.load(file, mmap_mode="r")[:each].reshape(each, 28, 28) for file in files])
    return shuffled(images, np.repeat(np.arange(classes), each))


def photos(data: Path, size: int = 64) -> Set:
    """Return the flowers as 64x64 RGB, shuffled."""
    files = sorted((data / "photos" / "flowers").glob("*/*.jpg"))
    names = sorted({file.parent.name for file in files})
    images = np.stack([decode(file.read_bytes(), size)[0] for file in files])
    return shuffled(images, np.array([names.index(file.parent.name) for file in files]))


def shuffled(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Set:
    """Return both in one random order."""
    order = np.random.default_rng(0).permutation(len(labels))
    return images[order], labels[order]


def speeds(function: Callable[[], Any], count: int, repeats: int) -> str:
    """Return images per second over the repeats, as text."""
    function()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        found.append(count / (time.perf_counter() - start))
    return f"{statistics.median(found):,.0f} ({min(found):,.0f} to {max(found):,.0f})"


def extract(features: Features, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the features of uint8 images."""
    return over(images, None, lambda x: features(plain(x)))


def fitted(classifier: str, data: Set, folder: Path) -> inksight.Classifier:
    """Fit on four fifths, save, and load as shipped."""
    images, labels = data
    cut = len(labels) * 4 // 5
    classes = int(labels.max()) + 1
    model = models.create("shallow", num_classes=classes, image_shape=images.shape[1:], classifier=classifier)
    assert isinstance(model, Shallow)
    fit(model, images[:cut], labels[:cut], images[cut:], labels[cut:])
    description = Preprocess.from_spec(models.get("shallow"), images.shape[1:]).description
    bundle.save(
        folder,
        model,
        architecture={"name": "shallow", "options": {"classifier": classifier}},
        classes=[str(label) for label in range(classes)],
        preprocessing=description | {"kind": "drawing" if images.ndim == 3 else "photo"},
        samples=images[cut:],
    )
    return inksight.load(folder, threads=2)


def main() -> None:
    """Print one line per classifier and kind of image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with quickdraw/ and photos/")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(2)
    print("| images | what | images/s on two threads: median (range) |\n|---|---|---|")
    for name, data in (("28x28", drawings(options.data)), ("64x64 RGB", photos(options.data))):
        images = data[0][:1600]
        model = models.create("shallow", num_classes=2, image_shape=images.shape[1:])
        assert isinstance(model, Shallow)
        speed = speeds(partial(extract, model.features, images), len(images), options.repeats)
        print(f"| {name} | {model.features.size:,} features alone, PyTorch | {speed} |", flush=True)
        for classifier in CLASSIFIERS:
            with tempfile.TemporaryDirectory() as folder:
                shipped = fitted(classifier, data, Path(folder) / "bundle")
                speed = speeds(partial(shipped.predict_proba, images), len(images), options.repeats)
            print(f"| {name} | {classifier}, whole | {speed} |", flush=True)


if __name__ == "__main__":
    main()
