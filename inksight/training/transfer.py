"""Training a new head on a pretrained backbone: first the head alone, then both.

While the backbone is frozen its answers never change. So they are computed once, for the plain picture and a few
augmented views of it, and the head learns from those: an epoch takes a fraction of a second instead of a pass through
the backbone. The features stay in files of the workspace (cache/features), which are read as they are needed, for other
runs on the same images and weights; what was used longest ago goes when there are more than 4 GB.

Then the backbone joins, all at once or one stage after the other from the last (progressive unfreezing), each stage
with a smaller learning rate than the one behind it (discriminative rates; Howard & Ruder 2018).
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from inksight.data.at_once import judged_at_once
from inksight.models.transfer import TransferNet
from inksight.settings import TrainSettings
from inksight.training.augment import Mix
from inksight.training.checkpoints import seed_step
from inksight.training.feed import Feed, Images
from inksight.training.loop import Score, State, Task, fit
from inksight.training.progress import Progress
from inksight.training.trackers import JsonLines
from inksight.workspace import atomic_path, workspace

Features = NDArray[np.float32]

# Bytes of features that stay in the cache. Those of 1,600 photos by EfficientNet-Lite0 in four views are 41 MB.
KEPT = 4 * 10**9
A_DAY = 86_400

# Settings that change what augmentation draws, and so the features of augmented views.
_VIEW_SETTINGS = ("augment", "policy", "crop_min", "flip", "rotate", "shift", "zoom", "elastic", "stroke", "seed")


def fit_transfer(
    model: TransferNet,
    task: Task,
    settings: TrainSettings,
    folder: Path,
    *,
    pictures: str,
    device: torch.device,
    dtype: torch.dtype,
    quiet: bool,
    **fit_options: Any,
) -> State:
    """Train head, then head and backbone, as the settings say; the model ends with the best weights.

    Takes and raises what `fit` does. With --freeze-backbone the head's training is the whole run; otherwise the head's
    files are in the run's `head` folder. The backbone's features come from the cache where they are known: those of
    `pictures`, a text that tells which images there are, which network sees them, and how they are prepared for it.
    """
    say = Progress(0, 0, quiet=quiet or not fit_options["group"].leads).say
    baseline = None
    if settings.freeze_backbone or settings.frozen_epochs:
        whole = settings.freeze_backbone
        epochs = settings.frozen_epochs or settings.epochs
        features = _cached_features(model, task, settings, pictures, device, dtype, say)
        head_options = dict(fit_options)
        if not whole:
            head_options |= {"tracker": JsonLines(), "on_epoch": None, "resume": True}
        threads = torch.get_num_threads()
        # A step of the head is under a millisecond of work: with more threads most of its time goes into waking them.
        torch.set_num_threads(1)
        try:
            state = fit(
                model.head,
                # A head that only prepares for the backbone to join learns without: so it was measured.
                head_task(task, *features, settings, mix=task.mix if whole else None),
                dataclasses.replace(settings, epochs=epochs, max_steps=settings.max_steps if whole else 0),
                folder if whole else folder / "head",
                device=device,
                quiet=quiet,
                # Few photos: choosing an epoch by 40 of them lost 0.4 to 0.7 points against the last
                # (docs/experiments.md).
                keep_last=not settings.early_stopping_patience,
                **head_options,
            )
        finally:
            torch.set_num_threads(threads)
        if whole:
            return state
        if task.val.rows:
            baseline = Score(state.best_score, state.best_loss)
            say(f"the head alone reached {baseline.accuracy:.1%}; now the backbone joins")

    def factor_of(name: str) -> float:
        depth = model.depth_of(name)
        return settings.backbone_rate * settings.layer_decay ** (depth - 1) if depth else 1.0

    task = dataclasses.replace(task, factor_of=factor_of, begin_epoch=_unfreezing(model, settings))
    return fit(model, task, settings, folder, device=device, dtype=dtype, quiet=quiet, baseline=baseline, **fit_options)


def _unfreezing(model: TransferNet, settings: TrainSettings) -> Callable[[int], None] | None:
    """Return what thaws stage after stage, last first, every `unfreeze_every` epochs; None when all are thawed.

    No more than `thawed_stages` ever learn, where that is set. Autograd then stops at the first of them, and what lies
    before it costs a forward pass only.
    """
    if not (settings.unfreeze_every or settings.thawed_stages):
        return None
    stages = model.stages()[::-1]
    most = settings.thawed_stages or len(stages)

    def begin_epoch(epoch: int) -> None:
        thawed = min(most, 1 + epoch // settings.unfreeze_every) if settings.unfreeze_every else most
        for depth, stage in enumerate(stages, start=1):
            for parameter in stage:
                parameter.requires_grad_(depth <= thawed)

    return begin_epoch


def head_task(task: Task, train: Features, val: Features, settings: TrainSettings, *, mix: Mix | None = None) -> Task:
    """Return the task of learning from features: train (N, 1 + views, F), val (N, F), and `mix` for pairs of them."""

    def any_view(features: Tensor, generator: Generator) -> Tensor:
        views = torch.randint(features.shape[1], (len(features),), generator=generator, device=features.device)
        return features[torch.arange(len(features), device=features.device), views]

    def feed(features: Any, like: Feed) -> Feed:
        return Feed(features, like.labels, batch_size=settings.batch_size, seed=settings.seed, share=like.share)

    return Task(
        train=feed(train, task.train),
        val=feed(val, task.val),
        prepare=lambda features: features,
        augment=any_view,
        mix=mix,
        weights=task.weights,
    )


def _cached_features(
    model: TransferNet,
    task: Task,
    settings: TrainSettings,
    pictures: str,
    device: torch.device,
    dtype: torch.dtype,
    say: Callable[[str], None],
) -> tuple[Features, Features]:
    """Return features of the training images (N, 1 + views, F) and of the validation images (N, F)."""
    digest = hashlib.sha256(f"{pictures} {dtype} {settings.feature_views}".encode())
    if settings.feature_views:
        digest.update(str([getattr(settings, name) for name in _VIEW_SETTINGS]).encode())
    for name, value in model.backbone.state_dict().items():
        digest.update(name.encode() + value.cpu().numpy().tobytes())
    path = workspace().home / "cache" / "features" / f"{digest.hexdigest()[:32]}.f32"
    rows, views = task.train.rows, 1 + settings.feature_views
    if path.exists():
        path.touch()
    else:
        say(f"computing the backbone's features of {rows * views + task.val.rows:,} pictures, once")
        with atomic_path(path) as temporary, open(temporary, "wb") as stream:
            for features in _all_features(model, task, settings, device, dtype):
                stream.write(features.tobytes())
        forget_features(path.parent)
    # Read from the file as the head asks for them. "c": torch wants arrays that could be written to.
    stored = np.memmap(path, np.float32, "c", shape=(rows * views + task.val.rows, model.features))
    return stored[: rows * views].reshape(rows, views, model.features), stored[rows * views :]


def _all_features(
    model: TransferNet, task: Task, settings: TrainSettings, device: torch.device, dtype: torch.dtype
) -> Iterator[Features]:
    """Yield blocks of the training images' features (n, 1 + views, F), then of the validation images' (n, F)."""
    model.to(device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    for start, images in _blocks(task.train.images, task.train.rows):
        views = [_features(model, task, images, device, dtype)]
        for view in range(1, 1 + settings.feature_views):
            generator = Generator(device).manual_seed(seed_step(settings.seed, view * task.train.rows + start))
            views.append(_features(model, task, images, device, dtype, task.augment, generator))
        yield np.stack(views, axis=1)
    for _, images in _blocks(task.val.images, task.val.rows):
        yield _features(model, task, images, device, dtype)


def forget_features(folder: Path) -> None:
    """Remove what was used longest ago of a folder of features, until it holds KEPT bytes; the last used stay."""
    with suppress(FileNotFoundError):  # another training tidies up too
        used = {file: file.stat() for file in folder.iterdir()}
        total = 0
        for place, (file, found) in enumerate(sorted(used.items(), key=lambda item: -item[1].st_mtime)):
            if file.name.startswith(".") and time.time() - found.st_mtime < A_DAY:
                continue  # another training is writing it
            total += found.st_size
            if place and total > KEPT:
                file.unlink()  # who reads it goes on doing so


def _blocks(images: Any, rows: int, size: int = 64) -> Any:
    for start in range(0, rows, size):
        yield start, images[start : start + size]


@torch.no_grad()
def _features(
    model: TransferNet,
    task: Task,
    images: Images,
    device: torch.device,
    dtype: torch.dtype,
    augment: Any = None,
    generator: Generator | None = None,
) -> Features:
    """Return the pooled features of some images, float32 (n, F)."""
    x = torch.from_numpy(images).to(device)
    x = task.prepare(augment(x, generator) if augment else x).contiguous(memory_format=torch.channels_last)
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        parts = torch.split(x, judged_at_once(images.shape[1:]))
        features = torch.cat([model.backbone_features(part) for part in parts])
    result: Features = features.float().cpu().numpy()
    return result
