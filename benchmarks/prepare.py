"""How fast 1.4 million bitmaps become a dataset file, and how much memory that takes.

    python benchmarks/prepare.py                            # needs ../shared/data/quickdraw (or --data), 3 GB of disk

The bitmaps are real Quick, Draw! drawings, made into enough different ones by mirroring, turning and shearing, in 20
files laid out as the public bucket is. Every repeat is a process of its own, so that its peak memory is its own.
Baseline: the loop of the usual guides, which centres with np.roll picture by picture and writes gzip-4 float32 through
h5py, timed on a part and scaled up.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

CLASSES = 20


def make(source: Path, folder: Path, count: int) -> list[str]:
    """Write `count` different bitmaps into 20 files under `folder` and return their class names."""
    real = np.concatenate([np.load(path) for path in sorted(source.glob("*.npy"))]).reshape(-1, 28, 28)
    real = real[np.random.default_rng(0).permutation(len(real))]
    variants = []
    for shear in (0, 1, -1):
        sheared = np.stack([np.roll(real[:, y], shear * (y - 14) // 5, axis=1) for y in range(28)], axis=1)
        variants += [sheared, sheared[:, :, ::-1], sheared.transpose(0, 2, 1), sheared[:, :, ::-1].transpose(0, 2, 1)]
    everything = np.concatenate(variants)[:count].reshape(-1, 784)
    target = folder / "full" / "numpy_bitmap"
    target.mkdir(parents=True)
    names = [f"class{number:02d}" for number in range(CLASSES)]
    for name, part in zip(names, np.array_split(everything, CLASSES), strict=True):
        np.save(target / f"{name}.npy", part)
    return names


def once(folder: Path, names: list[str], center: bool) -> dict[str, float]:
    """Prepare the files once, in this process."""
    from inksight.data.prepare import prepare_quickdraw
    from inksight.settings import PrepareSettings

    started = time.perf_counter()
    done = prepare_quickdraw(names, folder / "out.h5", folder=folder, settings=PrepareSettings(center=center))
    seconds = time.perf_counter() - started
    # Not getrusage: its maximum includes the parent's memory at the time of the fork.
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    return {"seconds": seconds, "peak_mb": peak, "kept": done.total, "near": done.near_pictures,
            "file_mb": done.path.stat().st_size / 1e6}  # fmt: skip


def guide(folder: Path, names: list[str], count: int) -> float:
    """Return the seconds that a picture-by-picture loop takes for `count` pictures."""
    images = np.load(folder / "full" / "numpy_bitmap" / f"{names[0]}.npy", mmap_mode="r")[:count].reshape(-1, 28, 28)
    started = time.perf_counter()
    kept = []
    for image in images:
        scaled = image.astype(np.float32) / 255
        total = scaled.sum()
        if total > 0:
            y = round(float((scaled.sum(axis=1) * np.arange(28)).sum() / total))
            x = round(float((scaled.sum(axis=0) * np.arange(28)).sum() / total))
            scaled = np.roll(np.roll(scaled, 14 - y, axis=0), 14 - x, axis=1)
        kept.append(scaled)
    with h5py.File(folder / "guide.h5", "w") as file:
        file.create_dataset("X", data=np.stack(kept), compression="gzip", compression_opts=4)
    return time.perf_counter() - started


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ.get("INKSIGHT_SHARED_DATA") or Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--data", type=Path, default=default / "quickdraw" / "full" / "numpy_bitmap")
    parser.add_argument("--drawings", type=int, default=1_400_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--once", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--center", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        names = sorted(path.stem for path in given.once.glob("full/numpy_bitmap/*.npy"))
        print(json.dumps(once(given.once, names, given.center)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        names = make(given.data, folder, given.drawings)
        part = min(20_000, given.drawings // CLASSES)
        per_picture = guide(folder, names, part) / part
        print(f"{given.drawings:,} bitmaps, {os.cpu_count()} cores, {given.repeats} repeats")
        print(f"guide's loop: {per_picture * given.drawings:.0f} s (scaled up from {part:,})")
        for options in ([], ["--center"]):
            command = [sys.executable, __file__, "--once", str(folder), *options]
            runs = [json.loads(subprocess.check_output(command)) for _ in range(given.repeats)]
            seconds = sorted(run["seconds"] for run in runs)
            print(
                f"prepare {' '.join(options):9s} median {statistics.median(seconds):.1f} s "
                f"({seconds[0]:.1f} to {seconds[-1]:.1f}), peak memory {max(run['peak_mb'] for run in runs):.0f} MB, "
                f"kept {runs[0]['kept']:,}, {runs[0]['near']:,} near another, file {runs[0]['file_mb']:.0f} MB"
            )


if __name__ == "__main__":
    main()
