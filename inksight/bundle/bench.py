"""Side by side: how fast bundles answer, how large they are, how much memory a process takes that serves one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inksight.bundle.classifier import Classifier
from inksight.bundle.loading import load
from inksight.bundle.parity import made_images
from inksight.bundle.timing import take_turns
from inksight.errors import BundleError, UsageError
from inksight.settings import BenchSettings

_IMAGES = 256

# Run in a process of its own: memory that other models or earlier calls left behind must not count.
_MEMORY = """
import json, resource, sys
import numpy as np
def peak():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
import onnx
if sys.argv[3] == "torch":
    import torch
else:
    import onnxruntime
before = peak()
from inksight.bundle.loading import load
model = load(sys.argv[1], runtime=sys.argv[3])
model.predict_proba(np.zeros((int(sys.argv[2]), *model.image_shape), np.uint8))
print(json.dumps({"process_mb": peak(), "model_mb": peak() - before}))
"""


def bench(
    models: Sequence[Classifier], settings: BenchSettings | None = None, *, images: NDArray[np.uint8] | None = None
) -> dict[str, Any]:
    """Time the models in turns and return {"models": [...], "timings": [...], "agreement": [...]}.

    `images` uint8 (N, H, W[, 3]): what to answer, made ones without. Each timing has model, threads, batch, p50 and p99
    in milliseconds, the lowest and highest median of a round, images/s, and `times_faster` than the first model.
    Raises UsageError when the models take images of different shapes.
    """
    settings = settings or BenchSettings()
    shapes = {model.image_shape for model in models}
    if len(shapes) != 1:
        raise UsageError(
            f"the models take images of different shapes: {', '.join(map(str, sorted(shapes)))}",
            hint="Only models that answer the same images can be compared.",
        )
    images = made_images(models[0].image_shape, _IMAGES) if images is None else images
    names = unique_names(models)
    timings = []
    for threads in settings.threads:
        loaded = [load(model.folder, runtime=settings.runtime, threads=threads) for model in models]
        runs = {name: model.predict_proba for name, model in zip(names, loaded, strict=True)}
        for batch in settings.batches:
            with torch_threads(threads) if settings.runtime == "torch" else nullcontext():
                found = take_turns(runs, images, batch=batch, seconds=settings.seconds)
            first = found[names[0]].p50_ms
            timings += [
                {"model": name, "threads": threads, **one.as_dict(), "times_faster": first / one.p50_ms}
                for name, one in found.items()
            ]
    return {
        "runtime": settings.runtime,
        "models": [_facts(name, model, settings) for name, model in zip(names, models, strict=True)],
        "timings": timings,
        "agreement": _agreement(names, models, images),
    }


def unique_names(models: Sequence[Classifier]) -> list[str]:
    """Return the models' names, or their folders where two have the same."""
    names = [model.name for model in models]
    if len(set(names)) == len(names):
        return names
    folders = [str(model.folder) for model in models]
    return folders if len(set(folders)) == len(folders) else [f"{i}: {name}" for i, name in enumerate(names, start=1)]


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let PyTorch compute on `count` threads (0: one per core) within the block; the number is the process's."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or os.cpu_count() or 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _facts(name: str, model: Classifier, settings: BenchSettings) -> dict[str, Any]:
    description = model.description
    return {
        "model": name,
        "architecture": description["architecture"]["name"],
        "precision": description["precision"],
        "parameters": description["architecture"].get("parameters"),
        "onnx_bytes": description["files"]["model.onnx"]["bytes"],
        "folder_bytes": sum(path.stat().st_size for path in model.folder.iterdir()),
        "accuracy": description.get("metrics", {}).get("accuracy"),
        **_memory(model, max(settings.batches), settings.runtime),
    }


def _memory(model: Classifier, batch: int, runtime: str) -> dict[str, float]:
    """Return the peak resident megabytes of a process that answers one batch, and the model's share of it."""
    command = [sys.executable, "-c", _MEMORY, str(model.folder), str(batch), runtime]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BundleError(f"measuring the memory of {model.name!r} failed: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _agreement(names: Sequence[str], models: Sequence[Classifier], images: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """Return, for every model after the first with the same classes, the share of images it answers as the first."""
    first = models[0].predict_proba(images).argmax(axis=1)
    return [
        {
            "model": name,
            "as": names[0],
            "same_answer": float((model.predict_proba(images).argmax(axis=1) == first).mean()),
            "images": len(images),
        }
        for name, model in zip(names[1:], models[1:], strict=True)
        if model.classes == models[0].classes
    ]
