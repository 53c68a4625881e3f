"""`train`: what comes before the loop (data, model, folder) and after it (evaluation, bundle, curves).

Not guaranteed: the same weights on another machine or with another number of threads; floating-point sums are then
taken in another order.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inksight import models
from inksight.config import as_dict, option_name, resolve
from inksight.data import Dataset, open_dataset
from inksight.data.at_once import judged_at_once
from inksight.data.ensure import ensure_dataset
from inksight.data.places import remember
from inksight.errors import TrainingError, UsageError
from inksight.models.preprocess import Preprocess
from inksight.settings import TrainSettings
from inksight.training.allocator import give_back_memory
from inksight.training.augment import build_augmentation
from inksight.training.augment_photos import build_mix, check_has_effect, photo_augmentation
from inksight.training.balance import class_weights, imbalance
from inksight.training.checkpoints import seed_step
from inksight.training.curves import draw_curves
from inksight.training.device import choose_device, choose_dtype, set_up_torch
from inksight.training.distributed import Group, process_group
from inksight.training.feed import Feed
from inksight.training.interrupt import TrainingInterrupted
from inksight.training.loop import Task, fit
from inksight.training.mlflow_tracker import Mlflow, check_address
from inksight.training.progress import Progress
from inksight.training.reading import feeds, few_rows, labels_of
from inksight.training.recipes import head_only, recipe
from inksight.training.runs import (
    RunDescription,
    check_name,
    check_same,
    check_unused,
    forget_unbegun,
    is_run,
    latest_run,
    new_folder,
    read_run,
)
from inksight.training.trackers import Entry, JsonLines, NoTracker, Samples, Tracker, Trackers

DEFAULT_MODEL = "sketchnet-s"
FAST_EPOCHS = 2
# Settings of a backbone. The first two change what an epoch is, so that no other model may have them from anywhere.
BACKBONE = ("freeze_backbone", "frozen_epochs", "feature_views", "unfreeze_every", "thawed_stages", "backbone_rate",
            "layer_decay")  # fmt: skip


@dataclass(frozen=True)
class TrainingRun:
    """A finished run: its folder, the bundle in it, one record per epoch, and the numbers on the test split.

    `model` is what was trained, with its best weights, and takes what `preprocess` makes of the dataset's images.
    `leads` is false in all but the first of several processes.
    """

    folder: Path
    bundle: Path
    history: list[Entry]
    metrics: dict[str, Any]
    model: nn.Module = field(repr=False)
    preprocess: Preprocess = field(repr=False)
    leads: bool = True


def train(
    data: str | Path,
    *,
    model: str | None = None,
    settings: TrainSettings | None = None,
    run_dir: str | Path | None = None,
    resume: bool = False,
    config: str | Path | None = None,
    model_options: Mapping[str, Any] | None = None,
    quiet: bool = False,
    finish: bool = True,
    trackers: Sequence[Tracker] = (),
    on_epoch: Callable[[Entry], None] | None = None,
    start: Mapping[str, Tensor] | None = None,
    **options: Any,
) -> TrainingRun:
    """Train a model and leave a run folder with checkpoints, curves, a bundle and a report.

    `data`: a dataset file, a preset's name or a folder; what is missing is fetched and prepared. `settings`: all
    settings at once; or single ones as keyword arguments (epochs=3), over the model's recipe, the dataset's preset and
    the TOML file `config`. `model_options`: options of the model's own. With `resume` the run in `run_dir`, of that
    name, or the newest one with the same settings goes on where it was; a finished one is evaluated and saved again,
    and one that was killed before it began begins.
    `finish=False` ends after the last epoch: no test, bundle or curves (for searches, which look at validation only).
    `trackers` are told beside the run's own. `on_epoch` gets each epoch's record and may stop the training by raising.
    `start` are weights to begin with instead of fresh ones, by their names in the model.

    Raises UsageError for settings that do not fit, ConflictError when the run exists or a resumed one was started
    otherwise, TrainingError when training cannot go on, TrainingInterrupted on SIGINT or SIGTERM.
    """
    if model is not None:
        models.get(model)  # a misspelt name must not cost a download first
    with process_group() as group:
        path = Path(group.tell(str(_dataset_file(data, config, quiet)) if group.leads else ""))
        with open_dataset(path) as dataset:
            folder = Path(run_dir) if run_dir is not None else None
            if folder is None and resume and (name := (settings.name if settings else options.get("name"))):
                folder = new_folder(name, "")
            if resume and folder and not group.tell("begun" if is_run(folder) else ""):
                if group.leads and not quiet:
                    print(f"nothing to resume in {folder}: the run begins", file=sys.stderr, flush=True)
                resume = False
            stored = read_run(folder) if resume and folder else None
            chosen = model or (stored.model if stored else DEFAULT_MODEL)
            spec = models.get(chosen)
            if settings is None:
                layer = stored.settings if stored else recipe(chosen, dataset.name)
                settings = resolve(TrainSettings, preset=layer, file=config, options=options)
                if settings.freeze_backbone and not stored:  # a run stored what this gave
                    settings = resolve(TrainSettings, preset=head_only(layer), file=config, options=options)
            elif options:
                raise UsageError("give either settings or single options, not both", hint=f"Here: {', '.join(options)}")
            if settings.mlflow:
                check_address(settings.mlflow)
            check_name(settings.name)
            check_has_effect(settings, photos=_crop(dataset) is not None)
            _check_backbone(spec, settings, options)
            if group.leads:
                remember(dataset.sha256, dataset.path)
            begun = stored.model_options if stored and stored.model == spec.name else {}
            described = RunDescription(
                data=str(path),
                dataset={"name": dataset.name, "sha256": dataset.sha256},
                model=spec.name,
                model_options=_model_options(spec, settings, {**begun, **(model_options or {})}),
                settings=as_dict(settings),
            )
            if resume:
                folder = folder or latest_run(described)
                check_same(read_run(folder), described)
            else:
                folder = Path(group.tell(str(folder or new_folder(settings.name, f"{dataset.name}-{spec.name}"))))
                if group.leads:
                    check_unused(folder)
                    described.write(folder)
            try:
                return _run(
                    dataset, spec, described.model_options, settings, folder, group,
                    resume=resume, quiet=quiet, finish=finish, trackers=trackers, on_epoch=on_epoch, start=start,
                )  # fmt: skip
            except TrainingInterrupted:
                raise
            except KeyboardInterrupt:  # before the first step or after the last, while it is judged and saved
                raise TrainingInterrupted(str(folder)) from None
            except Exception:
                if group.leads and not resume:
                    forget_unbegun(folder)
                raise


def _run(
    dataset: Dataset,
    spec: models.ModelSpec,
    options: dict[str, Any],
    settings: TrainSettings,
    folder: Path,
    group: Group,
    *,
    resume: bool,
    quiet: bool,
    finish: bool,
    trackers: Sequence[Tracker],
    on_epoch: Callable[[Entry], None] | None,
    start: Mapping[str, Tensor] | None,
) -> TrainingRun:
    set_up_torch(settings)
    device = choose_device(settings, group.local_rank)
    dtype = choose_dtype(settings, device)
    if settings.fast:
        short = {name: min(getattr(settings, name), FAST_EPOCHS) for name in ("epochs", "frozen_epochs")}
        settings = replace(settings, feature_views=0, **short)
    say = Progress(settings.epochs, 0, quiet=quiet or not group.leads).say

    seed_step(settings.seed, 0)
    crop = _crop(dataset)
    seen_shape = (crop, crop, 3) if crop else dataset.image_shape
    model = models.create(spec.name, num_classes=len(dataset.classes), image_shape=seen_shape, **options)
    if start is not None:
        model.load_state_dict(dict(start))
    preprocess = Preprocess.from_spec(spec, dataset.image_shape, crop=[crop, crop] if crop else None).to(device)
    cropped = Preprocess.from_spec(spec, seen_shape).to(device)
    few = few_rows(dataset, settings)
    feed, val = feeds(dataset, few, settings, folder, group, resume=resume)
    _check(dataset, feed, model, settings, group)
    counts = np.bincount(feed.labels, minlength=len(dataset.classes)).tolist()
    say(
        f"{dataset.name}: {feed.rows:,} images of {len(dataset.classes)} classes to train on, {val.rows:,} to validate"
        f" on; {spec.name} with {models.size_text(model)}; {device.type}, {str(dtype)[6:]}"
        + (f", {group.world} processes" if group.world > 1 else "")
        + (", read in shuffled chunks" if feed.buffer_rows else "")
    )
    if imbalance(counts) > 2 and settings.class_weights == "none":
        say(f"the largest class has {imbalance(counts):.1f} times the images of the smallest: see --class-weights")
    task = Task(
        train=feed,
        val=val,
        # Augmentation has cropped the photos that it gives; others still have their margin.
        prepare=lambda images: (preprocess if images.shape[1:3] == dataset.image_shape[:2] else cropped)(images),
        augment=photo_augmentation(settings, crop) if crop else build_augmentation(settings),
        mix=build_mix(settings),
        weights=torch.from_numpy(class_weights(settings.class_weights, counts)),
    )
    tracker = _trackers(settings, trackers, say) if group.leads else NoTracker()
    common: dict[str, Any] = {"device": device, "dtype": dtype, "quiet": quiet, "group": group, "tracker": tracker}
    common |= {"resume": resume, "on_epoch": on_epoch}
    try:
        if spec.family == "transfer":
            from inksight.models.transfer import TransferNet
            from inksight.training.transfer import fit_transfer

            assert isinstance(model, TransferNet)
            shown = "all" if few is None else few.tolist()
            pictures = f"{dataset.sha256} {shown} {spec.name} {preprocess.description}"
            state = fit_transfer(model, task, settings, folder, pictures=pictures, **common)
        elif spec.family == "shallow":
            from inksight.training.shallow import fit_shallow

            state = fit_shallow(
                model, dataset, preprocess, settings, folder, tracker=tracker, say=say, on_epoch=on_epoch
            )
        else:
            state = fit(model, task, settings, folder, **common)
        metrics: dict[str, Any] = {}
        if group.leads and finish:
            del task, feed
            give_back_memory()
            draw_curves(state.history, folder / "curves.png", title=folder.name)
            metrics = _judge_and_save(model, preprocess, dataset, spec, options, settings, folder)
            give_back_memory()
            if val.rows:
                tracker.samples(_samples(model.cpu(), preprocess.cpu(), val, dataset.classes))
        tracker.finish(metrics, folder)
    except BaseException as error:
        tracker.stop(error)
        raise
    metrics = json.loads(group.tell(json.dumps(metrics)))
    return TrainingRun(folder, folder / "bundle", state.history, metrics, model, preprocess, group.leads)


def _crop(dataset: Dataset) -> int | None:
    """Return the side of the square that models see of a photo; drawings are seen whole (None)."""
    if dataset.kind != "photo" or dataset.channels != 3:
        return None
    return min(int(dataset.preprocessing.get("image_size", min(dataset.image_shape[:2]))), *dataset.image_shape[:2])


def _dataset_file(data: str | Path, config: str | Path | None, quiet: bool) -> Path:
    """Return the dataset file that `data` names, made first where it is missing."""
    said = ""

    def say(text: str, share: float) -> None:
        nonlocal said
        if not quiet and text != said:
            print(text, file=sys.stderr, flush=True)
        said = text

    return ensure_dataset(data, config=Path(config) if config else None, progress=say)


def _check(dataset: Dataset, feed: Feed, model: nn.Module, settings: TrainSettings, group: Group) -> None:
    if not feed.rows:
        raise TrainingError(f"{dataset.name} has no training images", hint="Prepare it with a larger --train-ratio.")
    if len(dataset.classes) < 2:
        raise TrainingError(f"{dataset.name} has a single class; a classifier needs at least two")
    smallest = int(np.diff(feed.bounds).min()) // group.world
    if smallest < 1:
        raise UsageError(
            f"--batch-size {settings.batch_size} is too small for {group.world} processes",
            hint="Every process needs at least one image of each batch.",
        )
    if smallest < 2 and any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in model.modules()):
        raise UsageError(
            f"--batch-size {settings.batch_size} leaves a process one image; batch normalisation needs two or more",
            hint="Raise --batch-size, or use a model without batch normalisation.",
        )


def _model_options(spec: models.ModelSpec, settings: TrainSettings, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options of the model, with those that are settings too; raises UsageError when it lacks one."""
    given = dict(options)
    asked: dict[str, Any] = {"dropout": settings.dropout, "weights": settings.weights or None}
    asked["classifier"] = settings.classifier
    asked["pretrained"] = None if settings.pretrained else False
    for name, value in asked.items():
        if value is not None:
            if name not in spec.options:
                raise UsageError(f"{option_name(name)}: {spec.name} has no such option", hint="Leave it out.")
            given[name] = value
    return spec.resolve(given)


def _check_backbone(spec: models.ModelSpec, settings: TrainSettings, options: Mapping[str, Any]) -> None:
    """Raise UsageError for what is said of a backbone to a model without one; a dataset's preset may, for others."""
    names = [name for name in BACKBONE if options.get(name)]
    names += [name for name in BACKBONE[:2] if getattr(settings, name)]
    if spec.family != "transfer" and names:
        raise UsageError(f"{option_name(names[0])}: {spec.name} has no backbone", hint="Use --model transfer/NAME.")


def _trackers(settings: TrainSettings, others: Sequence[Tracker], warn: Callable[[str], None]) -> Tracker:
    own: list[Tracker] = [JsonLines()]
    if settings.tensorboard:
        from inksight.training.tensorboard import TensorBoard

        own.append(TensorBoard())
    if settings.mlflow:
        own.append(Mlflow(settings.mlflow, warn))
    return Trackers([*own, *others], warn)


def _samples(model: nn.Module, prepare: Any, feed: Feed, classes: Sequence[str], count: int = 1000) -> Samples:
    """Return up to `count` images spread evenly over the split."""
    rows = np.unique(np.linspace(0, feed.rows - 1, min(count, feed.rows)).astype(np.int64))
    return Samples(model, prepare, np.stack([feed.images[int(row)] for row in rows]), feed.labels[rows], classes)


@torch.no_grad()
def predict_proba(model: nn.Module, preprocess: nn.Module, dataset: Dataset, split: str) -> NDArray[np.float32]:
    """Return the model's probabilities for a split in float32 (N, classes), computed in float32 on the CPU."""
    model, preprocess = model.cpu().float().eval(), preprocess.cpu()
    images = dataset.images(split)
    parts = [np.empty((0, len(dataset.classes)), np.float32)]
    size = judged_at_once(images.shape[1:])
    for start in range(0, len(images), size):
        logits: Tensor = model(preprocess(torch.from_numpy(images[start : start + size])))
        parts.append(logits.softmax(1).numpy())
    return np.concatenate(parts)


def _judge_and_save(
    model: nn.Module,
    preprocess: Preprocess,
    dataset: Dataset,
    spec: models.ModelSpec,
    options: dict[str, Any],
    settings: TrainSettings,
    folder: Path,
) -> dict[str, Any]:
    """Evaluate on the test split (without one, on validation), write the report and the bundle; return the summary."""
    from inksight import bundle
    from inksight.bundle.saving import remove_halves
    from inksight.evaluation.judging import judge
    from inksight.evaluation.run import completed

    evaluation = None
    split = next((name for name in ("test", "val") if dataset.size(name)), None)
    summary: dict[str, Any] = {}
    if split:
        validation = None
        if split == "test" and dataset.size("val"):
            validation = (labels_of(dataset, "val"), predict_proba(model, preprocess, dataset, "val"))
        evaluation = judge(
            labels_of(dataset, split), predict_proba(model, preprocess, dataset, split), dataset.classes,
            images=dataset.images(split), ids=dataset.ids(split), split=split, validation=validation,
            distribution=dataset.counts, model={"name": spec.name, "parameters": models.parameter_count(model)},
            data={"name": dataset.name, "sha256": dataset.sha256},
        )  # fmt: skip
        summary = evaluation.summary
    remove_halves(folder / "bundle")  # of a process that was killed while it saved
    bundle.save(
        folder / "bundle", model,
        name=settings.name or None,
        architecture={"name": spec.name, "options": options},
        classes=dataset.classes,
        preprocessing={**preprocess.description, "kind": dataset.kind},
        dataset={
            "name": dataset.name, "sha256": dataset.sha256, "source": dataset.source, "counts": dataset.counts,
        },
        metrics=summary,
        # A bundle is shipped; whose server watched its training is nobody's business.
        settings=as_dict(replace(settings, mlflow="")),
        provenance={"run": folder.name},
        samples=dataset.images("val") if dataset.size("val") else None,
    )  # fmt: skip
    give_back_memory()
    if evaluation is not None:
        completed(evaluation, bundle.load(folder / "bundle")).write(folder / "report")
    return summary
