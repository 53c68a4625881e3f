"""Training steps with and without what glibc gives back to the kernel after each (inksight/training/allocator.py).

    python benchmarks/allocator.py --rounds 3

Each measurement is a process of its own, the two kinds in turns. Prints one JSON document: for every model the images
per second and the processor's milliseconds per image, one number per round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

import torch

from inksight import models
from inksight.training.allocator import keep_freed_memory

# Name, image shape, batch size, steps.
CASES = {
    "simple_cnn": ((28, 28), 128, 60),
    "sketchnet-m": ((28, 28), 128, 30),
    "deep_v1": ((64, 64, 3), 32, 12),
    "transfer/efficientnet_lite0": ((224, 224, 3), 16, 6),
}
WARM_UP = 2


def one(name: str) -> dict[str, float]:
    """Time plain float32 steps of one model in this process."""
    shape, batch, steps = CASES[name]
    torch.manual_seed(0)
    model = models.create(name, num_classes=20, image_shape=shape)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(batch, 3 if len(shape) == 3 else 1, *shape[:2]).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 20, (batch,))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    wall = processor = 0.0
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            wall, processor = time.perf_counter(), time.process_time()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    return {"images_per_second": steps * batch / wall, "processor_ms": 1e3 * processor / (steps * batch)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        name, kind = arguments.one
        if kind == "kept":
            assert keep_freed_memory(), "the C library is not glibc"
        print(json.dumps(one(name)))
        return
    results: dict[str, dict[str, dict[str, list[float]]]] = {}
    for _ in range(arguments.rounds):
        for name in CASES:
            for kind in ("given back", "kept"):
                done = subprocess.run(
                    [sys.executable, __file__, "--one", name, kind], check=True, capture_output=True, text=True
                )
                for what, value in json.loads(done.stdout).items():
                    results.setdefault(name, {}).setdefault(kind, {}).setdefault(what, []).append(round(value, 3))
    print(json.dumps(results, indent=1))
    for name, kinds in results.items():
        before, after = (statistics.median(kinds[kind]["images_per_second"]) for kind in ("given back", "kept"))
        print(f"{name}: {before:,.0f} -> {after:,.0f} images/s, {after / before:.2f} times", file=sys.stderr)


if __name__ == "__main__":
    main()
