"""Every family of models on the same 20 drawing classes: accuracy, size, training time and speed.

    .venv/bin/python benchmarks/families.py --bitmaps ../shared/data/quickdraw --folder runs/families

1,000 drawings per class to learn from, 125 to validate and 375 to test on (near-duplicates on one side). Each model
learns by its default recipe for as many passes as its line in MODELS says, on one thread, whose processor seconds are
counted: nets some minutes at most. Nothing was tuned for this table. When all are trained, the shipped bundles' speed
in ONNX Runtime is taken one after the other, on one thread. Finished models stay in the folder, so a stopped run goes
on where it was; the model that it was at begins anew, for its seconds to count.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import inksight
from inksight.data import open_dataset
from inksight.data.prepare import prepare_quickdraw
from inksight.evaluation.speed import measure_speed
from inksight.settings import PrepareSettings
from inksight.training import train

CLASSES = (
    *("rainbow", "smiley face", "lollipop", "book", "bowtie", "bicycle", "cat", "alarm clock", "dog", "flower"),
    *("airplane", "house", "bird", "banana", "fish", "apple", "diamond", "eye", "train", "mushroom"),
)
PER_CLASS = 1500
RATIOS = (1000 / PER_CLASS, 125 / PER_CLASS, 375 / PER_CLASS)
THAWED = {"freeze_backbone": False, "feature_views": 0, "epochs": 2, "backbone_rate": 0.5}

# Name in the table, model, settings.
MODELS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("shallow, linear SVM", "shallow", {"classifier": "linear_svm"}),
    ("shallow, logistic regression", "shallow", {"classifier": "logistic"}),
    ("shallow, random forest", "shallow", {"classifier": "forest"}),
    ("shallow, RBF SVM", "shallow", {"classifier": "rbf_svm"}),
    ("convnet", "convnet", {"epochs": 10}),
    ("simple_cnn", "simple_cnn", {"epochs": 10}),
    ("balanced_cnn", "balanced_cnn", {"epochs": 10}),
    ("sketchnet-s", "sketchnet-s", {"epochs": 10}),
    ("sketchnet-m", "sketchnet-m", {"epochs": 10}),
    ("sketchnet-l", "sketchnet-l", {"epochs": 6}),
    ("deep_v1", "deep_v1", {"epochs": 4}),
    ("deep_v1_residual", "deep_v1_residual", {"epochs": 4}),
    ("deep_v2/resnet", "deep_v2/resnet", {"epochs": 4}),
    ("deep_v2/densenet", "deep_v2/densenet", {"epochs": 4}),
    ("deep_v2/hybrid", "deep_v2/hybrid", {"epochs": 4}),
    ("efficientnet_lite0, frozen", "transfer/efficientnet_lite0", {"feature_views": 0}),
    ("efficientnet_lite0, thawed", "transfer/efficientnet_lite0", THAWED),
)
# What the "Eye vs AI" guide says of its own four models, on its own data.
GUIDE = ("71.2 %", "84.7 %", "91.3 %", "94.7 %")


def learn(data: Path, name: str, model: str, settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Train one model, keep its bundle in the folder and return its line."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    seconds = 0.0

    def note(entry: dict[str, Any]) -> None:
        nonlocal seconds
        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime

    with tempfile.TemporaryDirectory() as home:
        os.environ["INKSIGHT_HOME"] = home  # no features that another run left there
        run = train(data, model=model, run_dir=folder, tensorboard=False, quiet=True, on_epoch=note, **settings)
    description = inksight.load(run.bundle).description
    return {
        "name": name,
        "bundle": str(run.bundle),
        "accuracy": run.metrics["accuracy"],
        "interval": run.metrics["accuracy_interval"],
        "parameters": description["architecture"]["parameters"],
        "epochs": len(run.history),
        "cpu_seconds": seconds,
    }


def table(results: list[dict[str, Any]], images: NDArray[np.uint8]) -> str:
    """Return the lines as a Markdown table, with the speed of each bundle now, the guide's numbers below them."""
    lines = ["| model | accuracy | 95 % interval | parameters | passes | CPU s to train | ms, one | images/s |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for line in sorted(results, key=lambda line: float(line["accuracy"])):
        low, high = line["interval"]
        speed = measure_speed(inksight.load(line["bundle"], threads=1).predict_proba, images)
        lines.append(
            f"| {line['name']} | {line['accuracy']:.1%} | {low:.1%} to {high:.1%} | {line['parameters']:,} |"
            f" {line['epochs']} | {line['cpu_seconds']:.0f} |"
            f" {speed['ms_p50']:.2f} | {speed['images_per_second']:,.0f} |"
        )
    lines += [f"| *the guide's model {number}* | *{text}* | | | | | | |" for number, text in enumerate(GUIDE, 1)]
    return "\n".join(lines)


def main() -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bitmaps", type=Path, required=True, help="folder with full/numpy_bitmap/*.npy")
    parser.add_argument("--folder", type=Path, default=Path("runs/families"), help="where data and models stay")
    parser.add_argument("--only", nargs="*", help="names of the table's lines")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.folder.mkdir(parents=True, exist_ok=True)
    data, lines = options.folder / "twenty.h5", options.folder / "lines.jsonl"
    if not data.exists():
        train_ratio, val_ratio, test_ratio = RATIOS
        wanted = PrepareSettings(
            per_class=PER_CLASS, train_ratio=train_ratio, val_ratio=val_ratio, test_ratio=test_ratio
        )
        prepare_quickdraw(CLASSES, data, folder=options.bitmaps, settings=wanted)
    results = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    for name, model, settings in MODELS:
        if name in {line["name"] for line in results} or (options.only and name not in options.only):
            continue
        folder = options.folder / name.replace("/", "-")
        shutil.rmtree(folder, ignore_errors=True)
        results.append(learn(data, name, model, settings, folder))
        with open(lines, "a") as stream:
            stream.write(json.dumps(results[-1]) + "\n")
        print(results[-1], f"load {os.getloadavg()[0]:.1f}", flush=True)
    with open_dataset(data) as dataset:
        print(table(results, dataset.images("test")[:256]))


if __name__ == "__main__":
    main()
