"""Photo augmentation: whole batches as tensors in the training process, against worker processes.

    .venv/bin/python benchmarks/photo_augmentation.py --photos ../shared/data/photos/flowers

All make batches of 64 crops of 224x224 from 512 stored squares of 256x256 on two cores: crop, flip, turn, shear and
colours. "batch" is what Inksight does. "workers, ours" runs the same code on one picture at a time in two DataLoader
worker processes; "workers, torchvision" is the usual recipe there, on Pillow images. Workers are started before the
clock, and while they work the training process only waits: with a network to train, they would share its cores.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset

from inksight.data.photos import decode
from inksight.models.timm_import import import_timm
from inksight.settings import TrainSettings
from inksight.training.augment_photos import photo_augmentation

BATCH, STORED, SEEN = 64, 256, 224


class Pictures(Dataset[Tensor]):
    """Stored squares, each changed on its own when it is asked for."""

    def __init__(self, images: Tensor, change: Callable[[Tensor], Tensor]) -> None:
        self.images, self.change = images, change

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> Tensor:
        """Return picture `row`, changed."""
        return self.change(self.images[row])


class Ours:
    """The batch augmentation, for one picture."""

    def __init__(self, settings: TrainSettings) -> None:
        self.augment = photo_augmentation(settings, SEEN)

    def __call__(self, image: Tensor) -> Tensor:
        """Return the changed picture, float32 (224, 224, 3)."""
        torch.set_num_threads(1)
        seed = int(torch.randint(2**31, (1,)))
        return self.augment(image[None], Generator().manual_seed(seed))[0]


class Torchvision:
    """The usual transforms, on a Pillow image."""

    def __init__(self) -> None:
        import_timm()  # makes torchvision importable beside a CPU build of torch
        from torchvision import transforms

        self.transforms = transforms.Compose(
            [
                transforms.RandomAffine(15, shear=5),
                transforms.RandomResizedCrop(SEEN, scale=(0.5, 1.0)),
                transforms.RandomHorizontalFlip(),
                transforms.ColorJitter(0.15, 0.2, 0.25, 0.02),
                transforms.PILToTensor(),
            ]
        )

    def __call__(self, image: Tensor) -> Tensor:
        """Return the changed picture, uint8 (3, 224, 224)."""
        changed: Tensor = self.transforms(Image.fromarray(image.numpy()))
        return changed


def in_batches(images: Tensor, settings: TrainSettings) -> Iterator[Tensor]:
    """Yield the augmented batches of one epoch."""
    augment, generator = photo_augmentation(settings, SEEN), Generator().manual_seed(0)
    order = torch.randperm(len(images))
    for start in range(0, len(images), BATCH):
        yield augment(images[order[start : start + BATCH]], generator)


def speeds(epoch: Callable[[], Any], count: int, repeats: int) -> str:
    """Return images per second over the repeats, as text."""
    found = []
    for turn in range(repeats + 1):
        start = time.perf_counter()
        seen = sum(len(batch) for batch in epoch())
        assert seen == count
        if turn:
            found.append(count / (time.perf_counter() - start))
    return f"{statistics.median(found):,.0f} ({min(found):,.0f} to {max(found):,.0f})"


def main() -> None:
    """Print one line per way and policy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="a folder of photos, one subfolder per class")
    parser.add_argument("--count", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(2)
    files = sorted(options.photos.glob("*/*.jpg"))[: options.count]
    images = torch.from_numpy(np.stack([decode(file.read_bytes(), STORED)[0] for file in files]))
    print("| augmentation | images/s: median (range) |\n|---|---|")
    for policy in ("jitter", "trivial", "rand"):
        settings = TrainSettings(policy=policy)
        speed = speeds(partial(in_batches, images, settings), len(images), options.repeats)
        print(f"| batch, {policy} | {speed} |", flush=True)
    for name, change in (("ours", Ours(TrainSettings())), ("torchvision", Torchvision())):
        loader: DataLoader[Tensor] = DataLoader(
            Pictures(images, change), BATCH, shuffle=True, num_workers=2, persistent_workers=True
        )
        print(f"| workers, {name} | {speeds(loader.__iter__, len(images), options.repeats)} |", flush=True)


if __name__ == "__main__":
    main()
