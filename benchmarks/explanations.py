"""Do explanations point at what matters? Erase the ink that is marked hottest and see how far the answer falls.

    python benchmarks/explanations.py [--data DATASET] [--model NAME ...] [--images N]

Each method marks the fifth of a drawing's ink that it holds to matter most; that ink is erased and the probability of
the answer given before is measured again. A better explanation makes it fall further; ink picked at random is the
floor. Occlusion erases too and so has an advantage at this game; it is a hundredth as fast.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

import inksight
from inksight.data.dataset import open_dataset
from inksight.data.ensure import ensure_dataset
from inksight.evaluation.explain import occlusion
from inksight.evaluation.gradcam import gradient_maps

Images = npt.NDArray[np.uint8]
SHARE = 5


def main() -> None:
    """Train each model, explain unseen drawings by every method and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="dataset file or preset of drawings")
    parser.add_argument("--model", nargs="+", default=["simple_cnn", "sketchnet-s"], help="architectures")
    parser.add_argument("--images", type=int, default=200, help="drawings of the test split")
    parser.add_argument("--epochs", type=int, default=5)
    asked = parser.parse_args()
    path = ensure_dataset(asked.data)
    with open_dataset(path) as dataset:
        images = dataset.load("test")[0]
    rng = np.random.default_rng(0)
    images = images[rng.permutation(len(images))[: asked.images]]
    print(f"fall of the answer's probability when a fifth of the ink is erased; {len(images)} drawings of {asked.data}")
    print("| model | method | fall (mean +- standard error) | ms per drawing |\n|---|---|---|---|")
    with TemporaryDirectory() as folder:
        for name in asked.model:
            run = inksight.train(path, model=name, epochs=asked.epochs, run_dir=Path(folder) / name, seed=0)
            for method, mean, error, ms in measure(inksight.load(run.bundle), images, rng):
                print(f"| {name} | {method} | {mean:.3f} +- {error:.3f} | {ms:.2f} |", flush=True)


def measure(
    model: inksight.Classifier, images: Images, rng: np.random.Generator
) -> list[tuple[str, float, float, float]]:
    """Return (method, mean fall, its standard error, milliseconds per drawing) of every method."""
    before = model.predict_proba(images)
    answers = before.argmax(axis=1)
    rows = np.arange(len(images))
    network = model.network()
    methods: dict[str, Callable[[], Any]] = {
        "Grad-CAM, gradients in place": lambda: gradient_maps(network, images, answers),
        "Grad-CAM, gradients averaged": lambda: gradient_maps(network, images, answers, in_place=False),
        "occlusion": lambda: [
            occlusion(model, image, int(answer)) for image, answer in zip(images, answers, strict=True)
        ],
        "random ink": lambda: rng.random(images.shape),
    }
    found = []
    for method, explained in methods.items():
        start = time.perf_counter()
        heat = np.asarray(explained())
        elapsed = time.perf_counter() - start
        fall = before[rows, answers] - model.predict_proba(erased(images, heat, rng))[rows, answers]
        error = float(fall.std() / np.sqrt(len(fall)))
        found.append((method, float(fall.mean()), error, 1000 * elapsed / len(images)))
    return found


def erased(images: Images, heat: npt.NDArray[Any], rng: np.random.Generator) -> Images:
    """Return the drawings without the fifth of their inked pixels that is hottest; equals in random order."""
    left = images.copy()
    for picture, marks in zip(left, heat, strict=True):
        ink = np.flatnonzero(picture)
        order = ink[np.lexsort((rng.random(len(ink)), -marks.ravel()[ink]))]
        picture.ravel()[order[: len(ink) // SHARE]] = 0
    return left


if __name__ == "__main__":
    main()
