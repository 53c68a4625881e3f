"""The AI Pictionary guide's recipe in Keras, as the other side of against_keras.py.

Runs in an environment of its own that has tensorflow-cpu and h5py but not Inksight:

    python benchmarks/keras_guide.py dataset.h5 --epochs 15

Conv 32, pool, conv 64, pool, dropout, softmax: 50,836 parameters for 20 classes; Adam 1e-3, batch 128, pixels
divided by 255. Prints one JSON document: seconds and test accuracy after every epoch (evaluation time not counted),
images per second, the latency of `model.predict` and of a direct call for one image, and the peak resident memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import h5py
import keras
import numpy as np


def build(num_classes: int) -> Any:
    """Return the guide's network, compiled."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(num_classes, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def milliseconds(call: Any, count: int) -> dict[str, float]:
    """Return the median and 99th percentile of `count` calls, in milliseconds, after five that are not counted."""
    for _ in range(5):
        call()
    times = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
    return {"p50": statistics.median(times), "p99": float(np.percentile(times, 99)), "n": count}


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    keras.utils.set_random_seed(arguments.seed)
    with h5py.File(arguments.dataset) as file:
        num_classes = len(json.loads(file.attrs["classes"]))
        train, train_labels = file["X_train"][:][..., None].astype("float32") / 255, file["y_train"][:]
        test, test_labels = file["X_test"][:][..., None].astype("float32") / 255, file["y_test"][:]
    model = build(num_classes)
    history, seconds, processor = [], 0.0, 0.0
    for epoch in range(arguments.epochs):
        start, began = time.perf_counter(), time.process_time()
        model.fit(train, train_labels, batch_size=128, epochs=1, verbose=0)
        seconds, processor = seconds + time.perf_counter() - start, processor + time.process_time() - began
        answers = np.concatenate([model(test[i : i + 1024], training=False) for i in range(0, len(test), 1024)])
        accuracy = float((answers.argmax(1) == test_labels).mean())
        history.append(
            {"epoch": epoch + 1, "seconds": seconds, "processor_seconds": processor, "test_accuracy": accuracy}
        )
    one = test[:1]
    result = {
        "framework": f"keras {keras.__version__} on {keras.backend.backend()}",
        "parameters": model.count_params(),
        "history": history,
        "images_per_second": len(train) * arguments.epochs / seconds,
        "predict_ms": milliseconds(lambda: model.predict(one, verbose=0), 50),
        "call_ms": milliseconds(lambda: model(one, training=False).numpy(), 200),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
