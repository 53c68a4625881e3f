"""Speed of the drawing models: parameters, training images per second, latency of one picture.

    .venv/bin/python benchmarks/architectures.py --models simple_cnn,sketchnet-s,sketchnet-m

One thread for everything. Training: forward and backward of a batch under bfloat16 autocast, channels-last, best of the
repeats by CPU time, which other work on the machine disturbs less than the clock. Latency: ONNX Runtime, uint8 in,
probabilities out, median and 99th percentile by the clock. Accuracy is not measured here.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from inksight import bundle, models
from inksight.models.preprocess import Preprocess

DEFAULT = "convnet,simple_cnn,balanced_cnn,sketchnet-s,sketchnet-m,sketchnet-l,deep_v1,deep_v2/resnet"


def training_speed(net: nn.Module, batch: int, repeats: int) -> float:
    """Return images per CPU second of forward and backward on one thread."""
    net.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.rand(batch, 1, 28, 28).contiguous(memory_format=torch.channels_last)
    times = []
    for _ in range(repeats):
        start = time.process_time()
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(x)
        torch.autograd.backward(logits.float().logsumexp(1).mean())
        times.append(time.process_time() - start)
    return batch / min(times)


def latency(name: str, net: nn.Module, classes: int, count: int) -> tuple[float, float]:
    """Return median and 99th percentile of one prediction of the saved bundle, in microseconds."""
    preprocessing = Preprocess.from_spec(models.get(name), (28, 28)).description | {"kind": "drawing"}
    with tempfile.TemporaryDirectory() as folder:
        path = bundle.save(
            Path(folder) / "bundle",
            net,
            architecture={"name": name, "options": {}},
            classes=[str(i) for i in range(classes)],
            preprocessing=preprocessing,
        )
        model = bundle.load(path, threads=1)
    image = np.random.default_rng(0).integers(0, 256, (1, 28, 28), dtype=np.uint8)
    times = []
    for _ in range(count):
        start = time.perf_counter()
        model.predict_proba(image)
        times.append((time.perf_counter() - start) * 1e6)
    return float(np.median(times)), float(np.percentile(times, 99))


def main() -> None:
    """Print one line per model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=DEFAULT, help="names, separated by commas")
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--predictions", type=int, default=1500)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"one thread, batch {options.batch}, best of {options.repeats}, {options.predictions} predictions")
    print("model | parameters | train img/s | p50 us | p99 us")
    for name in options.models.split(","):
        net = models.create(name, num_classes=options.classes, image_shape=(28, 28))
        middle, slow = latency(name, net, options.classes, options.predictions)
        speed = training_speed(net, options.batch, options.repeats)
        print(f"{name} | {models.parameter_count(net):,} | {speed:,.0f} | {middle:.0f} | {slow:.0f}", flush=True)


if __name__ == "__main__":
    main()
