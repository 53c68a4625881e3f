"""Accuracy on folders of photos: our default recipes beside scikit-learn's linear probe on the same features.

    .venv/bin/python benchmarks/photos.py --photos ../shared/data/photos --results photos.jsonl
    .venv/bin/python benchmarks/photos.py --photos ... --data dandelion-grass --methods transfer/efficientnet_lite0

Each folder is cut in two, by a fixed draw per class: recipes were chosen by cross-validation on the development part
(60 %) and never saw the reserved part (40 %). Here each of five folds takes a fifth of the reserved part as its test
and learns from all the rest, of which a seventh is for validation. Near-duplicates never stand on two sides. So each
reserved photo is judged exactly once; the interval of the pooled accuracy is Wilson's, beside it the folds' spread.
Features are computed once per folder and kept beside the results; heads are then trained on them by the trainer's own
loop and the default recipe, with five seeds per fold. A model's name as method runs the whole command instead, from
the dataset file to bundle and report. Finished folds are read back from the results file: a stopped run goes on there.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Generator

from inksight import models
from inksight.config import resolve
from inksight.data import DatasetWriter
from inksight.data.duplicates import cluster, near_pairs, sketch
from inksight.data.photos import decode
from inksight.evaluation.intervals import wilson_one
from inksight.models import shallow_fit
from inksight.models.preprocess import Preprocess
from inksight.models.shallow import Shallow
from inksight.models.transfer import TransferNet, guide_head, plain_head
from inksight.settings import TrainSettings
from inksight.training import train
from inksight.training.augment_photos import middle, photo_augmentation
from inksight.training.device import choose_dtype
from inksight.training.feed import Feed
from inksight.training.loop import Task, fit
from inksight.training.recipes import head_only, recipe
from inksight.training.transfer import head_task

DATASETS = ("dandelion-grass", "flowers", "pets", "insects")
TRANSFER = "transfer/efficientnet_lite0"
PROBE, HEAD, GUIDE = "linear probe", "plain head (our recipe)", "guide head"
FOLDS = SEEDS = 5
STORED, SEEN = 256, 224  # what `data prepare` does by default

Rows = NDArray[np.int64]
Photos = tuple[NDArray[np.uint8], Rows, list[str]]


def read(folder: Path) -> Photos:
    """Return all photos uint8 (N, 256, 256, 3), their labels and the classes."""
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    files = sorted(folder.glob("*/*.jpg"))
    images = np.stack([decode(path.read_bytes(), STORED)[0] for path in files])
    return images, np.array([classes.index(path.parent.name) for path in files]), classes


def near_groups(images: NDArray[np.uint8]) -> Rows:
    """Return the group of near-duplicates of each photo."""
    pairs, apart = near_pairs(sketch(images), lambda rows: images[rows], at_once=100)
    return cluster(len(images), pairs, apart)


def development(labels: Rows) -> NDArray[np.bool_]:
    """Return which photos recipes may be chosen on: 60 % of each class, always the same ones."""
    random = np.random.default_rng(12345)
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        random.shuffle(rows)
        chosen[rows[: int(0.6 * len(rows))]] = True
    return chosen


def folds(labels: Rows, groups: Rows) -> list[dict[str, Rows]]:
    """Return the rows of train, val and test of each fold."""
    known = development(labels)
    # A near-duplicate of a development photo is no unseen photo.
    reserved = np.flatnonzero(~np.isin(groups, groups[known]))
    made = []
    deal = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    for _, part in deal.split(reserved, labels[reserved], groups[reserved]):
        test = reserved[part]
        rest = np.flatnonzero(~np.isin(groups, groups[test]))
        inner = StratifiedGroupKFold(7, shuffle=True, random_state=0).split(rest, labels[rest], groups[rest])
        learn, val = next(iter(inner))
        made.append({"train": rest[learn], "val": rest[val], "test": test})
    return made


def write(path: Path, photos: Photos, fold: dict[str, Rows]) -> None:
    """Write one fold as a dataset file."""
    images, labels, classes = photos
    preprocessing = {"kind": "photo", "size": STORED, "image_size": SEEN}
    with DatasetWriter(
        path, classes=classes, image_shape=images.shape[1:], source="folder", preprocessing=preprocessing, seed=0
    ) as out:
        for split, rows in fold.items():
            out.append(split, images[rows], labels[rows], [str(row) for row in rows])


def probe(features: NDArray[np.float32], labels: Rows, fold: dict[str, Rows]) -> int:
    """Return how many test photos a linear probe knows; its penalty is chosen by cross-validation in training."""
    learn = np.concatenate([fold["train"], fold["val"]])
    found = make_pipeline(
        StandardScaler(), GridSearchCV(LogisticRegression(max_iter=500), {"C": [1e-3, 1e-2, 0.1, 1.0]}, cv=5)
    )
    found.fit(features[learn], labels[learn])
    return int((found.predict(features[fold["test"]]) == labels[fold["test"]]).sum())


@torch.no_grad()
def features_of(images: NDArray[np.uint8], settings: TrainSettings) -> NDArray[np.float32]:
    """Return the backbone's features (N, 1 + views, F): of the middle square and of augmented views, as in training."""
    net = models.create(TRANSFER, num_classes=2, image_shape=(SEEN, SEEN, 3)).eval()
    assert isinstance(net, TransferNet)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    dtype = choose_dtype(settings, torch.device("cpu"))
    prepare = Preprocess.from_spec(models.get(TRANSFER), (SEEN, SEEN, 3))
    augment = photo_augmentation(settings, SEEN)

    def run(seen: torch.Tensor) -> NDArray[np.float32]:
        inputs = prepare(seen).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            features: NDArray[np.float32] = net.backbone_features(inputs).float().numpy()
        return features

    blocks = [torch.from_numpy(images[start : start + 64]) for start in range(0, len(images), 64)]
    views = [np.concatenate([run(middle(block, SEEN)) for block in blocks])]
    for view in range(settings.feature_views):
        generator = Generator().manual_seed(view)
        views.append(np.concatenate([run(augment(block, generator)) for block in blocks]))
    return np.stack(views, axis=1)


def head(features: NDArray[np.float32], labels: Rows, fold: dict[str, Rows], settings: TrainSettings, kind: str) -> int:
    """Train a head by the trainer's own loop and return how many test photos it knows."""
    torch.manual_seed(settings.seed)
    classes = int(labels.max()) + 1
    made = (
        plain_head(features.shape[2], classes, 0.0) if kind == "plain" else guide_head(features.shape[2], classes, 0.5)
    )
    learn, val = (Feed(fold[split], labels[fold[split]], batch_size=settings.batch_size) for split in ("train", "val"))
    task = Task(learn, val, prepare=lambda x: x, augment=lambda x, _: x, weights=torch.ones(classes))
    task = head_task(task, features[fold["train"]], features[fold["val"], 0], settings)
    with tempfile.TemporaryDirectory() as folder:
        fit(made, task, settings, Path(folder), device=torch.device("cpu"), quiet=True, keep_last=True)
    with torch.no_grad():
        answers = made.eval()(torch.from_numpy(features[fold["test"], 0])).argmax(1).numpy()
    return int((answers == labels[fold["test"]]).sum())


def shallow(images: NDArray[np.uint8], labels: Rows, fold: dict[str, Rows], seed: int) -> int:
    """Fit the classical model with its defaults and return how many test photos it knows."""
    classes = int(labels.max()) + 1
    model = models.create("shallow", num_classes=classes, image_shape=(SEEN, SEEN, 3))
    assert isinstance(model, Shallow)
    prepare = Preprocess.from_spec(models.get("shallow"), images.shape[1:], crop=[SEEN, SEEN])
    learn, val, test = (fold[split] for split in ("train", "val", "test"))
    shallow_fit.fit(model, images[learn], labels[learn], images[val], labels[val], prepare=prepare, seed=seed)
    answers = shallow_fit.over(images[test], None, lambda x: model(prepare(x))).argmax(1)
    return int((answers == labels[test]).sum())


def whole(photos: Photos, fold: dict[str, Rows], model: str, seed: int, name: str) -> int:
    """Train as `inksight train` does, to bundle and report, and return how many test photos it knows."""
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["INKSIGHT_HOME"] = temporary  # no features that another run left there
        path = Path(temporary) / f"{name}.h5"
        write(path, photos, fold)
        done = train(path, model=model, seed=seed, run_dir=Path(temporary) / "run", quiet=True)
        right: int = round(float(done.metrics["accuracy"]) * len(fold["test"]))
        return right


def measure(name: str, photos: Photos, methods: list[str], known: set[tuple[str, str, int]], out: Path) -> None:
    """Run what is not known yet of one folder and append it to the results."""
    images, labels, _ = photos
    settings = resolve(TrainSettings, preset=head_only(recipe(TRANSFER, "")), environ={})
    kept = out.with_name(f"{out.stem}-{name}.npy")
    if {PROBE, HEAD, GUIDE} & {*methods} and not kept.exists():
        np.save(kept, features_of(images, settings))
    features: NDArray[np.float32] = np.load(kept) if kept.exists() else np.empty((0, 0, 0), np.float32)
    torch.set_num_threads(1)  # a head's step is too little work for more
    for number, fold in enumerate(folds(labels, near_groups(images))):
        for method in methods:
            if (name, method, number) in known:
                continue
            start = time.perf_counter()
            if method == PROBE:
                right = [probe(features[:, 0], labels, fold)]
            elif method in (HEAD, GUIDE):
                seeds = [replace(settings, seed=seed) for seed in range(SEEDS)]
                right = [head(features, labels, fold, seeded, method.split()[0]) for seeded in seeds]
            elif method == "shallow":
                right = [shallow(images, labels, fold, seed) for seed in range(SEEDS)]
            else:
                torch.set_num_threads(len(os.sched_getaffinity(0)))
                right = [whole(photos, fold, method, number, name)]
            entry = {"data": name, "method": method, "fold": number, "right": right, "test": len(fold["test"])}
            entry |= {"train": len(fold["train"]), "seconds": round((time.perf_counter() - start) / len(right), 1)}
            with open(out, "a") as stream:
                stream.write(json.dumps(entry) + "\n")
            print(entry, flush=True)


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as a Markdown table."""
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for entry in results:
        grouped[entry["data"], entry["method"]].append(entry)
    lines = ["| photos | method | accuracy | 95 % interval | spread of folds | n | s per training |"]
    lines.append("|---|---|---|---|---|---|---|")
    for (data, method), entries in sorted(grouped.items()):
        total = sum(entry["test"] for entry in entries)
        # The mean over the seeds; the interval is that of as many photos, whatever the number of seeds.
        right = sum(float(np.mean(entry["right"])) for entry in entries)
        low, high = wilson_one(round(right), total)
        shares = [100 * float(np.mean(entry["right"])) / entry["test"] for entry in entries]
        seconds = np.median([entry["seconds"] for entry in entries])
        lines.append(
            f"| {data} | {method} | {right / total:.1%} | {low:.1%} to {high:.1%} | {min(shares):.1f} to"
            f" {max(shares):.1f} | {total} | {seconds:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="the folder that holds the four folders")
    parser.add_argument("--results", type=Path, default=Path("photos.jsonl"))
    parser.add_argument("--data", nargs="*", default=list(DATASETS))
    parser.add_argument("--methods", nargs="*", default=[PROBE, HEAD, GUIDE, "shallow"])
    options = parser.parse_args()
    lines = options.results.read_text().splitlines() if options.results.exists() else []
    known = {(entry["data"], entry["method"], entry["fold"]) for entry in map(json.loads, lines)}
    for name in options.data:
        measure(name, read(options.photos / name), options.methods, known, options.results)
    print(table([json.loads(line) for line in options.results.read_text().splitlines()]))


if __name__ == "__main__":
    main()
