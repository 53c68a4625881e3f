"""How fast and how large a loaded model is, on this machine, now.

One image at a time as a visitor's request would come, and many at once; in process, without HTTP. Other work on the
same cores makes both slower: compare only numbers taken side by side (`inksight bench` does that).
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]

WARM_UP = 20
RUNS = 300
SECONDS = 0.6
BATCH = 256


def measure_speed(predict: Callable[[Images], Any], images: Images, *, seconds: float = SECONDS) -> dict[str, Any]:
    """Time `predict` on single images (N, H, W[, 3]) and on batches; at most about `seconds` for each.

    Returns milliseconds (median and 99th percentile of `runs`) and images per second with batches of `batch`.
    """
    singles = [images[i % len(images)][None] for i in range(RUNS)]
    for image in singles[:WARM_UP]:
        predict(image)
    times = []
    start = time.perf_counter()
    for image in singles:
        before = time.perf_counter()
        predict(image)
        times.append(time.perf_counter() - before)
        if before - start > seconds:
            break
    batch = np.resize(images, (BATCH, *images.shape[1:]))
    # A photo network may need seconds for 256 images: the batch shrinks to what fits the time.
    batch = batch[: max(1, min(BATCH, int(seconds / 4 / np.median(times))))]
    predict(batch)
    done, start = 0, time.perf_counter()
    while done == 0 or time.perf_counter() - start < seconds / 2:
        predict(batch)
        done += len(batch)
    elapsed = time.perf_counter() - start
    return {
        "ms_p50": 1000 * float(np.median(times)),
        "ms_p99": 1000 * float(np.quantile(times, 0.99)),
        "runs": len(times),
        "images_per_second": done / elapsed,
        "batch": len(batch),
        "cores": os.cpu_count() or 1,
        "processor": processor(),
    }


def processor() -> str:
    """Return the processor's name as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def folder_bytes(folder: Path) -> int:
    """Return the size of all files below a folder, in bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
