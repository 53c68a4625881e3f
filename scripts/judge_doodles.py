"""Measure the trained model `doodles` on drawings it has not learnt from, and write its bundle.

    .venv/bin/python scripts/judge_doodles.py doodles.npz --weights doodles.safetensors --data ../shared/data

Beside the test part of the data: raw strokes as a pen made them, pictures, and the same drawings put on pictures of
several sizes with several pens. Raw drawings may be in the other sources as well; those that are nearly equal to a
drawing of the training part are left out and counted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from doodles_data import SEED, Bitmaps, from_pictures, from_strokes, pictured
from numpy.typing import NDArray
from train_doodles import (
    AUGMENTATION,
    BATCH,
    BELIEF,
    COPY_WEIGHT,
    DECAY,
    ERASED,
    MODEL,
    RATE,
    SMOOTHING,
    WARMUP,
    predict,
)

from inksight import bundle, models
from inksight.drawing import from_picture, render, simplify
from inksight.evaluation.intervals import wilson_one
from inksight.evaluation.judging import judge
from inksight.models.preprocess import Preprocess

FOLDER = Path(__file__).resolve().parent.parent / "inksight/bundle/doodles"
PENS = ((64, 1), (112, 1), (112, 4), (280, 3), (280, 16), (600, 4), (600, 30))
# Two copies of one drawing, made by different paths, differ by up to 4 grey levels on average; strangers by over 15.
SAME_DRAWING = 6.0
LIMITS = (
    "It answers one of its classes whatever is drawn. The page and the service say 'unsure' for low probabilities.",
    "A hundred of its test drawings per class, or fewer, say little about a single class: mind the intervals.",
    "Classes that people draw alike are mixed up: circle and donut, cookie or moon; dog, cat, tiger and the like.",
    "About one drawing in ten of the data is mislabelled or unfinished, in the test part as well.",
    "Strokes and line drawings only. Filled shapes, shading and photos of things are out of its world.",
)


def share(answers: Sequence[str], truth: Sequence[str]) -> tuple[float, list[float], int]:
    """Return the share of right answers, its 95 % interval, and the number of drawings."""
    right = sum(a == b for a, b in zip(answers, truth, strict=True))
    return right / len(truth), list(wilson_one(right, len(truth))), len(truth)


def raw_drawings(folder: Path, classes: Sequence[str]) -> tuple[Bitmaps, list[str]]:
    """Return the raw drawings of known classes, simplified and rendered as a server does it, and their classes."""
    bitmaps, labels = [], []
    for path in sorted((folder / "quickdraw/full/raw").glob("*.ndjson")):
        if path.stem in classes:
            for line in path.read_text(encoding="utf-8").splitlines():
                bitmaps.append(render(simplify(json.loads(line)["drawing"])))
                labels.append(path.stem)
    return np.stack(bitmaps), labels


def strangers(
    bitmaps: Bitmaps, labels: Sequence[str], known: Bitmaps, known_labels: Sequence[str]
) -> NDArray[np.bool_]:
    """Return which bitmaps differ from every known one of their class by more than SAME_DRAWING grey levels."""
    found = np.ones(len(bitmaps), bool)
    names = np.array(known_labels)
    for index, (bitmap, label) in enumerate(zip(bitmaps, labels, strict=True)):
        same = known[names == label].astype(np.int16)
        if len(same):
            found[index] = np.abs(same - bitmap.astype(np.int16)).mean(axis=(1, 2)).min() > SAME_DRAWING
    return found


def main() -> None:
    """Measure, print, and write the bundle into the package."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = np.load(options.prepared, allow_pickle=False)
    images, labels, parts, sources = (data[key] for key in ("images", "labels", "parts", "sources"))
    classes = [str(name) for name in data["classes"]]
    net = models.create(MODEL, num_classes=len(classes), image_shape=(28, 28))
    net.load_state_dict(safetensors.torch.load_file(options.weights))
    with safetensors.safe_open(options.weights, "pt") as file:
        seen = int(file.metadata()["seen"])

    test = parts == "test"
    found = judge(labels[test], predict(net, images[test]).softmax(1).numpy(), classes)
    metrics: dict[str, Any] = dict(found.summary) | {"split": "test", "samples": int(test.sum())}

    def measure(name: str, bitmaps: Bitmaps, truth: Sequence[str]) -> None:
        answers = [classes[i] for i in predict(net, bitmaps).argmax(1).tolist()]
        right, interval, count = share(answers, truth)
        metrics[name], metrics[f"{name}_interval"] = right, interval
        print(f"{name}: {right:.4f} {[round(end, 3) for end in interval]} of {count}", flush=True)

    truth = [classes[i] for i in labels]
    rows = np.flatnonzero(test & (sources == "bitmap"))
    measure("test_bitmaps", images[rows], [truth[i] for i in rows])
    pictures = [d for label in classes for d, _ in from_pictures(options.data, label, part="test")]
    measure("test_pictures", np.stack([d.bitmap for d in pictures]), [d.label for d in pictures])
    raw, raw_labels = raw_drawings(options.data, classes)
    rows = np.flatnonzero(parts == "train")
    new = strangers(raw, raw_labels, images[rows], [truth[i] for i in rows])
    print(f"raw: {len(raw)} drawings of {sorted(set(raw_labels))}, {int((~new).sum())} of them learnt from")
    measure("raw_strokes", raw[new], [label for label, is_new in zip(raw_labels, new, strict=True) if is_new])
    for label in sorted(set(raw_labels)):
        chosen = new & (np.array(raw_labels) == label)
        measure(f"raw_{label}", raw[chosen], [label] * int(chosen.sum()))
        del metrics[f"raw_{label}"], metrics[f"raw_{label}_interval"]

    rng = np.random.default_rng(SEED)
    unseen = [d for label in classes for d in from_strokes(options.data, label) if d.part == "test" and d.strokes]
    measure("test_strokes", np.stack([d.bitmap for d in unseen]), [d.label for d in unseen])
    for side, pen in PENS:
        bitmaps = [from_picture(pictured(d.strokes, rng, size=side, pen=pen)) for d in unseen if d.strokes]
        measure(f"the_same_on_{side}_px_with_a_{pen}_px_pen", np.stack(bitmaps), [d.label for d in unseen])

    preprocessing = Preprocess.from_spec(models.get(MODEL), (28, 28)).description | {"kind": "drawing"}
    counts = {part: int((parts == part).sum()) for part in ("train", "val", "test")}
    bundle.save(
        options.out,
        net,
        architecture={"name": MODEL, "options": {}},
        classes=classes,
        preprocessing=preprocessing,
        name="doodles",
        dataset={
            "name": "quickdraw (84 classes: official bitmaps and strokes, exported pictures)",
            "sha256": hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest(),
            "source": "Quick, Draw! by Google, https://github.com/googlecreativelab/quickdraw-dataset",
            "licence": "CC BY 4.0",
            "counts": counts,
        },
        metrics=metrics,
        settings={
            "optimizer": "muon",
            "learning_rate": RATE,
            "weight_decay": DECAY,
            "batch_size": BATCH,
            "label_smoothing": SMOOTHING,
            "belief_in_the_model_before": BELIEF,
            "warmup": WARMUP,
            "copy_weight": COPY_WEIGHT,
            "erased": ERASED,
            "augmentation": str(AUGMENTATION),
            "drawings_seen": seen,
        },
        provenance={"scripts": "scripts/doodles_data.py, scripts/train_doodles.py, scripts/judge_doodles.py"},
        limits=LIMITS,
        samples=images[test],
        storage="float16",
    )
    size = sum(path.stat().st_size for path in options.out.iterdir())
    print(f"{options.out}: {size:,} bytes")


if __name__ == "__main__":
    main()
