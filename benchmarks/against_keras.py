"""Inksight against the AI Pictionary guide's recipe in Keras: same drawings, same cores, one run.

    python -m venv .venv-keras && .venv-keras/bin/pip install tensorflow-cpu h5py
    python benchmarks/against_keras.py --bitmaps ../shared/data/quickdraw --keras-python .venv-keras/bin/python

Each round trains Keras (15 epochs), then Inksight twice: a short run (how long until it is as good as Keras ends) and a
full run (how many errors are left when Keras stops). The number of epochs of the full run follows from the speed of one
epoch, so that it ends within Keras' time. Nothing is chosen by test accuracy: the models and the settings of the short
run were fixed beforehand on validation data. Seconds are those of the training itself on both sides (loading and
judging left out), on the clock and of the processor: on a shared machine only the latter compare. Inksight's processor
time includes loading the data and its validation after each epoch.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = (
    "rainbow,smiley face,lollipop,book,bowtie,bicycle,cat,alarm clock,dog,flower,"
    "airplane,house,bird,banana,fish,apple,diamond,eye,train,mushroom"
)
HERE = Path(__file__).resolve().parent

SHORT = {"augment": 0.0, "learning_rate": 0.03, "max_steps": 500}
"""Settings of the short run: in 1.4 passes there is nothing to overfit, and larger steps get further."""


def train_ours(dataset: Path, model: str, epochs: int, seed: int, **options: Any) -> dict[str, Any]:
    """Train in a process of its own and return seconds, test accuracy, images per second and peak memory."""
    words = [sys.executable, str(HERE / "against_keras.py"), "--ours", str(dataset), model, str(epochs), str(seed)]
    words.append(json.dumps(options))
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def child(dataset: str, model: str, epochs: int, seed: int, options: dict[str, Any]) -> None:
    """The other end of `train_ours`."""
    from inksight.training import train

    start = time.perf_counter()
    processor = {0: time.process_time()}
    run = train(
        dataset,
        model=model,
        epochs=epochs,
        seed=seed,
        tensorboard=False,
        quiet=True,
        name=f"bench-{os.getpid()}",
        on_epoch=lambda entry: processor.update({int(entry["epoch"]): time.process_time()}),
        **options,
    )
    print(
        json.dumps(
            {
                "seconds": sum(float(entry["seconds"]) for entry in run.history),
                # Counted from the start, so loading the data and the first compilation of kernels are in it too.
                "processor_seconds": processor[max(processor)] - processor[0],
                "whole_seconds": time.perf_counter() - start,
                "test_accuracy": run.metrics["accuracy"],
                "images_per_second": statistics.median(float(entry["images_per_second"]) for entry in run.history),
                "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "bundle": str(run.bundle),
            }
        )
    )


def train_keras(python: str, dataset: Path, epochs: int, seed: int) -> dict[str, Any]:
    """Train the guide's recipe in Keras' own environment."""
    words = [python, str(HERE / "keras_guide.py"), str(dataset), "--epochs", str(epochs), "--seed", str(seed)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def latency(bundle: str, dataset: Path) -> dict[str, float]:
    """Return median and 99th percentile of one prediction in process, in milliseconds."""
    import inksight
    from inksight.data import open_dataset

    model = inksight.load(bundle)
    with open_dataset(dataset) as opened:
        image = opened.images("test")[:1]
    for _ in range(50):
        model.predict_proba(image)
    times = []
    for _ in range(2000):
        start = time.perf_counter()
        model.predict_proba(image)
        times.append((time.perf_counter() - start) * 1e3)
    return {"p50": statistics.median(times), "p99": float(np.percentile(times, 99)), "n": len(times)}


def spread(values: list[float]) -> str:
    """Return "median (min to max)"."""
    return f"{statistics.median(values):.4g} ({min(values):.4g} to {max(values):.4g})"


def main() -> None:
    """Run the rounds and print a table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bitmaps", required=True, help="folder laid out as the Quick, Draw! bucket")
    parser.add_argument("--keras-python", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keras-epochs", type=int, default=15)
    parser.add_argument("--model", default="sketchnet-m", help="model of the full run")
    parser.add_argument("--short-model", default="sketchnet-s")
    parser.add_argument("--short-epochs", type=int, default=2)
    parser.add_argument("--per-class", type=int, default=3000)
    parser.add_argument("--out", type=Path, default=Path("runs/against_keras.json"))
    arguments = parser.parse_args()

    dataset = Path(tempfile.mkdtemp()) / "against_keras.h5"
    words = [sys.executable, "-m", "inksight", "data", "prepare", "--classes", CLASSES, "--out", str(dataset)]
    words += ["--per-class", str(arguments.per_class), "--folder", arguments.bitmaps]
    subprocess.run(words, check=True)

    rounds = []
    for seed in range(arguments.rounds):
        keras = train_keras(arguments.keras_python, dataset, arguments.keras_epochs, seed)
        goal, limit = keras["history"][-1]["test_accuracy"], keras["history"][-1]["seconds"]
        short = train_ours(dataset, arguments.short_model, arguments.short_epochs, seed, **SHORT)
        probe = train_ours(dataset, arguments.model, 1, seed)
        epochs = max(1, int(limit / (probe["seconds"] * 1.05)))
        full = train_ours(dataset, arguments.model, epochs, seed)
        rounds.append({"keras": keras, "short": short, "full": full | {"epochs": epochs}})
        print(
            f"round {seed}: Keras {goal:.2%} in {limit:.1f} s; {arguments.short_model} {short['test_accuracy']:.2%} in"
            f" {short['seconds']:.1f} s; {arguments.model} {full['test_accuracy']:.2%} in {full['seconds']:.1f} s",
            file=sys.stderr,
            flush=True,
        )
    ours = latency(rounds[-1]["full"]["bundle"], dataset)
    keras_last = [one["keras"]["history"][-1] for one in rounds]
    print(f"cores {os.cpu_count()}, {platform.processor() or platform.machine()}, rounds {len(rounds)}")
    print("what | Keras | Inksight")
    print(f"test accuracy, Keras' end / short run | {spread([k['test_accuracy'] for k in keras_last])}", end=" | ")
    print(spread([one["short"]["test_accuracy"] for one in rounds]))
    print(f"seconds to that | {spread([k['seconds'] for k in keras_last])}", end=" | ")
    print(spread([one["short"]["seconds"] for one in rounds]))
    print(f"processor seconds to that | {spread([k['processor_seconds'] for k in keras_last])}", end=" | ")
    print(spread([one["short"]["processor_seconds"] for one in rounds]))
    print(f"errors when Keras stops | {spread([1 - k['test_accuracy'] for k in keras_last])}", end=" | ")
    print(spread([1 - one["full"]["test_accuracy"] for one in rounds]))
    print(f"images per second | {spread([one['keras']['images_per_second'] for one in rounds])}", end=" | ")
    print(spread([one["full"]["images_per_second"] for one in rounds]))
    print(f"peak memory, MB | {spread([one['keras']['peak_rss_mb'] for one in rounds])}", end=" | ")
    print(spread([one["full"]["peak_rss_mb"] for one in rounds]))
    predict = [one["keras"]["predict_ms"]["p50"] for one in rounds]
    print(f"one prediction in process, ms p50 | {spread(predict)} | {ours['p50']:.4g} (p99 {ours['p99']:.4g})")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps({"rounds": rounds, "latency": ours}, indent=1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ours"]:
        child(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]), json.loads(sys.argv[6]))
    else:
        main()
