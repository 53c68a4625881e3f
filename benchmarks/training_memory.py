"""Peak resident memory of a whole training run, and the speed of reading a file in shuffled chunks.

    python benchmarks/training_memory.py --images 200000
    python benchmarks/training_memory.py --images 300 --photos

Makes a dataset file of random strokes-like pictures, then trains `simple_cnn` on it for one epoch in processes of
their own: once with the images in memory, once with `memory_limit` at a tenth of them. Prints one JSON document: the
file's bytes in memory, the peak resident memory of each whole run (training, evaluation, export, report) and of the
training alone, and images per second. It also times reading one epoch without training, which is the most that
chunked reading can serve. With --photos: pictures of 256 x 256 in colour and the head of a frozen EfficientNet-Lite0,
whose features are read in chunks as well.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from inksight.data import DatasetWriter, open_dataset
from inksight.training import train
from inksight.training.feed import Feed

CLASSES = 20


def make(path: Path, images: int, shape: tuple[int, ...]) -> int:
    """Write a dataset file of `images` training pictures (and a tenth of each other split); return their bytes."""
    random = np.random.default_rng(0)
    with DatasetWriter(
        path,
        classes=[f"class {i}" for i in range(CLASSES)],
        image_shape=shape,
        source="made",
        preprocessing={"kind": "drawing" if len(shape) == 2 else "photo"},
        seed=0,
    ) as out:
        total = 0
        for split, count in (("train", images), ("val", images // 20), ("test", images // 20)):
            at_once = 10_000 * 784 // int(np.prod(shape))
            for start in range(0, count, at_once):
                n = min(at_once, count - start)
                pictures = random.integers(0, 256, (n, *shape), dtype=np.uint8)
                if len(shape) == 2:
                    pictures[random.random(pictures.shape) < 0.8] = 0  # mostly paper, as drawings are
                labels = random.integers(0, CLASSES, n)
                out.append(split, pictures, labels, [f"{split}{start + i}" for i in range(n)])
                total += pictures.nbytes
    return total


def one_run(data: str, folder: str, limit_gb: float, model: str) -> dict[str, Any]:
    """Train for an epoch in this process and return its peak memory in bytes and its speed."""
    peak_while_training = 0

    def note(entry: dict[str, Any]) -> None:
        nonlocal peak_while_training
        peak_while_training = peak()

    run = train(
        data,
        model=model,
        epochs=1,
        run_dir=folder,
        memory_limit=limit_gb,
        augment=0,
        freeze_backbone=model.startswith("transfer/"),
        quiet=True,
        on_epoch=note,
    )
    return {
        "peak_bytes_training": peak_while_training,
        "peak_bytes_whole_run": peak(),
        "images_per_second": run.history[0]["images_per_second"],
    }


def peak() -> int:
    """Return this process's peak resident memory in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def reading_speed(path: Path, buffer_rows: int) -> float:
    """Return how many images per second chunked reading serves when nobody trains."""
    with open_dataset(path) as dataset:
        feed = Feed(
            dataset.images("train"), dataset.labels("train").astype(np.int64), batch_size=128, buffer_rows=buffer_rows
        )
        start = time.perf_counter()
        served = sum(len(batch.labels) for batch in feed.batches(0))
        return served / (time.perf_counter() - start)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--photos", action="store_true", help="Photos of 256 pixels instead of drawings.")
    parser.add_argument("--one-run", nargs=4, metavar=("DATA", "FOLDER", "LIMIT_GB", "MODEL"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one_run:
        data, folder, limit, model = arguments.one_run
        print(json.dumps(one_run(data, folder, float(limit), model)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "made.h5"
        size = make(path, arguments.images, (256, 256, 3) if arguments.photos else (28, 28))
        model = "transfer/efficientnet_lite0" if arguments.photos else "simple_cnn"
        results: dict[str, Any] = {"images": arguments.images, "bytes_in_memory": size}
        for name, limit in (("in memory", 0.0), ("in chunks", size / 1e10)):
            done = subprocess.run(
                [sys.executable, __file__, "--one-run", str(path), str(Path(temporary) / name), str(limit), model],
                check=True,
                capture_output=True,
                text=True,
            )
            results[name] = json.loads(done.stdout.splitlines()[-1])
        buffer = arguments.images // (3 if arguments.photos else 30)
        results["chunked_reading_images_per_second"] = [reading_speed(path, buffer) for _ in range(3)]
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
