"""The training loop, flat: read it top to bottom.

`fit` takes a model, images and settings, and leaves the best weights in the model and `last.pt` and `best.pt` in the
run's folder. It can be killed at any moment and called again with `resume=True`: on one CPU configuration (same number
of threads and processes) the final weights are then bit-identical to those of a run that was never killed. On GPUs
that also needs `deterministic`.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from inksight.data.at_once import judged_at_once
from inksight.errors import TrainingError
from inksight.settings import TrainSettings
from inksight.training.augment import Augmentation, Mix
from inksight.training.checkpoints import load_checkpoint, save_checkpoint, seed_step
from inksight.training.distributed import Group
from inksight.training.ema import Ema
from inksight.training.feed import Feed
from inksight.training.interrupt import Interruption, TrainingInterrupted
from inksight.training.optimizers import LearningRateFactor, build_optimizer
from inksight.training.progress import Progress, duration
from inksight.training.schedules import Plateau, schedule_factor
from inksight.training.trackers import Entry, NoTracker, RunInfo, Tracker

# Between two records within an epoch, in steps: often enough for a smooth curve, too rarely to cost time.
TRACK_EVERY = 20


class Score(NamedTuple):
    """How good an epoch is on the validation split; without one, `accuracy` is the epoch's number."""

    accuracy: float
    loss: float

    @property
    def rank(self) -> tuple[float, float]:
        """What the better epoch has more of: accuracy, and at the same accuracy less loss."""
        return self.accuracy, -self.loss


@dataclass
class State:
    """Where the training is, apart from tensors; a checkpoint holds it whole."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    # Sums over the current epoch's training images so far: `seen` counts those of all processes, the two others this
    # process's; in a checkpoint all three are of all processes.
    loss: float = 0.0
    correct: float = 0.0
    seen: float = 0.0
    seconds: float = 0.0
    # The best epoch so far (counted from 1; 0: none yet) and how many epochs have passed since.
    best_epoch: int = 0
    best_score: float = -math.inf
    best_loss: float = math.inf
    waited: int = 0
    stopped: bool = False
    plateau: dict[str, Any] = field(default_factory=dict)
    history: list[Entry] = field(default_factory=list)


@dataclass(frozen=True)
class Task:
    """What there is to learn: the two feeds, and how uint8 images become the model's input.

    `augment` is applied to training images; `prepare` maps uint8 or float (N, H, W[, 3]) in 0..255 to the normalised
    float32 (N, C, h, w). `mix` blends pairs of augmented images. `weights` are the class weights, float32 (classes,).
    `begin_epoch` is told the number (from 0) of each epoch before it starts, and may freeze or thaw parameters.
    """

    train: Feed
    val: Feed
    prepare: Callable[[Tensor], Tensor]
    augment: Augmentation
    weights: Tensor
    mix: Mix | None = None
    factor_of: LearningRateFactor = lambda name: 1.0
    begin_epoch: Callable[[int], None] | None = None


def fit(
    model: nn.Module,
    task: Task,
    settings: TrainSettings,
    folder: Path,
    *,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    group: Group = Group(),  # noqa: B008  (frozen)
    tracker: Tracker = NoTracker(),  # noqa: B008  (has no state)
    resume: bool = False,
    quiet: bool = False,
    on_epoch: Callable[[Entry], None] | None = None,
    baseline: Score | None = None,
    keep_last: bool = False,
) -> State:
    """Train `model` in place and return the final state; the model ends with the best weights.

    "Best" is the highest validation accuracy and, of equals, the lowest loss there: a few photos leave many equals.
    Without validation images it is the last epoch. `baseline` is that of the weights as given, which are kept if no
    epoch is better. With `keep_last` every epoch counts as better than those before. Raises TrainingError when the loss
    is no longer finite and TrainingInterrupted (after a checkpoint) on SIGINT or SIGTERM.
    """
    last, best = folder / "checkpoints" / "last.pt", folder / "checkpoints" / "best.pt"
    model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = build_optimizer(model, settings, task.factor_of)
    ema = Ema(model, settings.ema_decay) if settings.ema_decay else None
    plateau = Plateau(settings.decay_factor, settings.decay_epochs or 3)
    state = State()
    if resume and last.exists():
        saved = load_checkpoint(last)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        if ema:
            ema.module.load_state_dict(saved["ema"])
        state = State(**saved["state"])
        # How many processes there were does not matter: each goes on with an equal part of the sums.
        state.loss, state.correct = state.loss / group.world, state.correct / group.world
        plateau = Plateau(**state.plateau)
    elif baseline is not None:
        state.best_score, state.best_loss = baseline
        if group.leads:
            save_checkpoint(best, {"model": model.state_dict(), "epoch": 0})
    weights = task.weights.to(device)
    steps_per_epoch = len(task.train)
    total_steps = min(steps_per_epoch * settings.epochs, settings.max_steps or sys.maxsize)
    epochs = math.ceil(total_steps / steps_per_epoch)
    called = group.wrap(model, device, some_unused=task.begin_epoch is not None)
    generator = Generator(device)
    progress = Progress(epochs, total_steps, quiet=quiet or not group.leads)
    tracker.start(RunInfo(folder.name, folder, {}, state.history, state.step))

    def save_last() -> None:
        """Write a checkpoint; all processes must call this at the same step."""
        state.plateau = asdict(plateau)
        loss, correct = group.sum(torch.tensor([state.loss, state.correct], dtype=torch.float64)).tolist()
        if group.leads:
            tensors = {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "ema": ema.module.state_dict() if ema else {},
            }
            save_checkpoint(last, {**tensors, "state": asdict(replace(state, loss=loss, correct=correct))})

    with Interruption() as interruption:
        saved_at = time.monotonic()
        while state.epoch < epochs and not state.stopped:
            if task.begin_epoch:
                task.begin_epoch(state.epoch)
            called.train()
            began = time.monotonic() - state.seconds
            # The last step's: a run that was stopped right after an epoch's last batch has none left in it.
            last_step = max(state.step - 1, 0)
            factor = schedule_factor(settings, last_step, total_steps, steps_per_epoch) * plateau.scale
            for batch in task.train.batches(state.epoch, start=state.batch):
                if state.step == total_steps:
                    break  # --max-steps, within a pass
                seed = seed_step(settings.seed, state.step, group.rank)
                generator.manual_seed(seed ^ 1)
                factor = schedule_factor(settings, state.step, total_steps, steps_per_epoch) * plateau.scale
                for parameters in optimizer.param_groups:
                    parameters["lr"] = settings.learning_rate * factor * parameters["factor"]

                images = torch.from_numpy(batch.images).to(device, non_blocking=True)
                labels = torch.from_numpy(batch.labels).to(device, non_blocking=True)
                augmented = task.augment(images, generator)
                partners, share = labels, 1.0
                if task.mix:
                    augmented, order, share = task.mix(augmented, generator)
                    partners = labels[order]
                inputs = _channels_last(task.prepare(augmented))
                with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                    logits = called(inputs)
                losses = _loss(logits, labels, weights, settings)
                if share < 1:
                    losses = share * losses + (1 - share) * _loss(logits, partners, weights, settings)
                # Divided by the whole batch's weight, not this process's: uneven shares then count as they should.
                loss = losses / weights[torch.from_numpy(batch.all_labels).to(device)].sum()

                optimizer.zero_grad(set_to_none=True)
                # DDP averages gradients over processes; the loss is already a part of the whole.
                (loss * group.world).backward()  # type: ignore[no-untyped-call]
                if settings.clip_norm:
                    nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
                optimizer.step()
                state.step += 1
                state.batch += 1
                if ema:
                    ema.update(model, state.step)

                value = float(loss.detach())
                if not math.isfinite(value):
                    raise _diverged(state, settings, dtype)
                state.loss += value * len(batch.all_labels)
                state.correct += float((logits.detach().argmax(1) == labels).sum())
                state.seen += len(batch.all_labels)
                state.seconds = time.monotonic() - began
                accuracy = state.correct * group.world / state.seen
                mean_loss = state.loss * group.world / state.seen
                progress.step(state.epoch + 1, state.step, mean_loss, accuracy, state.seen / state.seconds)
                if state.step % TRACK_EVERY == 0:
                    rate = settings.learning_rate * factor
                    tracker.step(state.step, {"loss": value * group.world, "learning_rate": rate})
                due = time.monotonic() - saved_at >= settings.checkpoint_every
                asked, due = group.votes(interruption.asked, due)
                if asked or due:
                    save_last()
                    saved_at = time.monotonic()
                if asked:
                    raise TrainingInterrupted(str(folder))

            group.same(model, ema.module if ema else None)
            entry = _record(state, settings.learning_rate * factor, group, device)
            candidates: dict[str, nn.Module] = {"val_": model} | ({"ema_val_": ema.module} if ema else {})
            if task.val.rows:
                for prefix, candidate in candidates.items():
                    entry.update(_measure(candidate, task, weights, device, dtype, group, prefix=prefix))
                scores = {prefix: Score(entry[f"{prefix}accuracy"], entry[f"{prefix}loss"]) for prefix in candidates}
                prefix = max(scores, key=lambda prefix: scores[prefix].rank)
                chosen, score = candidates[prefix], scores[prefix]
            else:
                chosen, score = list(candidates.values())[-1], Score(float(state.epoch), 0.0)
            plateau.update(entry["val_loss" if task.val.rows else "train_loss"])
            state.waited += 1
            entry["best"] = keep_last or score.rank > Score(state.best_score, state.best_loss).rank
            if entry["best"]:
                state.best_epoch, state.waited = entry["epoch"], 0
                state.best_score, state.best_loss = score
                if group.leads:
                    save_checkpoint(best, {"model": chosen.state_dict(), "epoch": entry["epoch"]})
            state.history.append(entry)
            state.stopped = 0 < settings.early_stopping_patience <= state.waited
            state.epoch, state.batch = state.epoch + 1, 0
            state.loss = state.correct = state.seen = state.seconds = 0.0
            save_last()
            saved_at = time.monotonic()
            tracker.epoch(entry)
            progress.say(_line(entry, epochs))
            if on_epoch:
                on_epoch(entry)
            if state.stopped:
                progress.say(f"stopped early: no better epoch for {state.waited}; the best was {state.best_epoch}")
        if group.votes(interruption.asked)[0]:  # since the last step
            raise TrainingInterrupted(str(folder))
    group.wait()
    model.load_state_dict(load_checkpoint(best)["model"])
    return state


def _loss(logits: Tensor, labels: Tensor, weights: Tensor, settings: TrainSettings) -> Tensor:
    """Return the summed, weighted cross-entropy of a batch."""
    return F.cross_entropy(logits.float(), labels, weights, reduction="sum", label_smoothing=settings.label_smoothing)


def _channels_last(inputs: Tensor) -> Tensor:
    """Lay images out as convolutions like them; features (N, F) are left alone."""
    return inputs.contiguous(memory_format=torch.channels_last) if inputs.dim() == 4 else inputs


def _record(state: State, rate: float, group: Group, device: torch.device) -> Entry:
    """Return an epoch's record from the sums of all processes."""
    loss, correct = group.sum(torch.tensor([state.loss, state.correct], dtype=torch.float64, device=device)).tolist()
    return {
        "epoch": state.epoch + 1,
        "step": state.step,
        "learning_rate": rate,
        "train_loss": loss / state.seen,
        "train_accuracy": correct / state.seen,
        "images_per_second": state.seen / max(state.seconds, 1e-9),
        "seconds": state.seconds,
    }


@torch.no_grad()
def _measure(
    model: nn.Module,
    task: Task,
    weights: Tensor,
    device: torch.device,
    dtype: torch.dtype,
    group: Group,
    *,
    prefix: str,
) -> dict[str, float]:
    """Return loss, accuracy and balanced accuracy on the validation split, under names with `prefix`."""
    was_training = model.training
    model.eval()
    classes = len(weights)
    # Per class: images, right answers, loss.
    sums = torch.zeros(3, classes, dtype=torch.float64, device=device)
    for batch in task.val.in_order(judged_at_once(task.val.images.shape[1:])):
        labels = torch.from_numpy(batch.labels).to(device)
        inputs = _channels_last(task.prepare(torch.from_numpy(batch.images).to(device)))
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            logits = model(inputs).float()
        losses = F.cross_entropy(logits, labels, reduction="none")
        right = (logits.argmax(1) == labels).double()
        sums.index_add_(1, labels, torch.stack([torch.ones_like(right), right, losses.double()]))
    model.train(was_training)
    images, right, loss = group.sum(sums)
    present = images > 0
    return {
        f"{prefix}loss": float(loss.sum() / images.sum()),
        f"{prefix}accuracy": float(right.sum() / images.sum()),
        f"{prefix}balanced_accuracy": float((right[present] / images[present]).mean()),
    }


def _line(entry: Entry, epochs: int) -> str:
    """Return an epoch's record as one line for people."""
    parts = [
        f"epoch {entry['epoch']}/{epochs}",
        f"loss {entry['train_loss']:.3f}",
        f"accuracy {entry['train_accuracy']:.1%}",
    ]
    if "val_accuracy" in entry:
        parts.append(f"validation: loss {entry['val_loss']:.3f} accuracy {entry['val_accuracy']:.1%}")
    if "ema_val_accuracy" in entry:
        parts.append(f"average {entry['ema_val_accuracy']:.1%}")
    parts.append(f"{entry['images_per_second']:,.0f} img/s")
    parts.append(duration(entry["seconds"]) + (" *" if entry["best"] else ""))
    return "  ".join(parts)


def _diverged(state: State, settings: TrainSettings, dtype: torch.dtype) -> TrainingError:
    ways = [f"lower --learning-rate (now {settings.learning_rate:g})"]
    if settings.weight_decay > 1:
        ways.append(f"lower --weight-decay (now {settings.weight_decay:g})")
    if not 0 < settings.clip_norm <= 1:
        ways.append("set --clip-norm 1")
    if dtype != torch.float32:
        ways.append("use --precision float32")
    said = ", ".join(ways[:-1]) + " or " * (len(ways) > 1) + ways[-1]
    return TrainingError(
        f"the loss became infinite or not a number at step {state.step} (epoch {state.epoch + 1})",
        hint=f"{said[0].upper()}{said[1:]}.",
    )
