"""Reviewed corrections -> a better version: fine-tune, judge old and new on the same samples, pass the gates, promote.

    done = retrain("doodle")
    done.outcome            # "promoted", "registered", "refused", "rolled_back" when people went back from just that
                            # version before, or "nothing" when there is too little to learn

The present version's weights are trained on for a few epochs, on its dataset and the corrections together
(additions.py), so that it learns the new without forgetting the old. Old and new then answer the same test split and
the corrections that were held back. It can be killed at any point and called again: what is dealt, trained or
registered is found and not done twice. A running service follows the alias by itself.

Not guaranteed: that corrections are right (only reviewed ones count), or that a gain on few held-back ones is no luck;
the report carries n and p.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from inksight.config import as_dict, fields_of, resolve
from inksight.data.dataset import Dataset, open_dataset
from inksight.data.places import find
from inksight.errors import ConflictError, DataError, NotFoundError, UsageError
from inksight.improve.additions import Additions, gather, mark_learnt, write
from inksight.improve.verdict import Judged, judge
from inksight.settings import GateSettings, RetrainSettings, TrainSettings
from inksight.workspace import workspace, write_json

if TYPE_CHECKING:
    from inksight.registry import Registry, Version

Progress = Callable[[str, float], None]
"""Told the stage (gathering, training, judging, registering, promoting) and how much of the whole is done, 0..1."""


class NoDatasetError(NotFoundError):
    """The pictures that a model was trained on are not on this machine."""

    code = "no_dataset"


@dataclass(frozen=True)
class Retrained:
    """What a retraining did; `corrections` counts them by what became of them, `gates` are the gates' answers."""

    outcome: str
    parent: str
    message: str
    version: str | None = None
    forced: bool = False
    corrections: dict[str, Any] = field(default_factory=dict)
    test: dict[str, Any] | None = None
    held_back: dict[str, Any] | None = None
    gates: list[dict[str, Any]] = field(default_factory=list)
    folder: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def retrain(
    model: str,
    settings: RetrainSettings | None = None,
    *,
    store: Registry | None = None,
    progress: Progress = lambda stage, share: None,
    quiet: bool = True,
) -> Retrained:
    """Train the next version of a registered model on its reviewed corrections; see RetrainSettings.

    `model` is a reference in the registry: `name` (its champion), `name@alias` or `name:3`; the alias, champion unless
    named, is what moves. Raises NotFoundError for an unknown model and when its dataset is not here,
    ConflictError when it is being retrained already, TrainingInterrupted on SIGINT or SIGTERM (call again to go on).
    """
    settings = settings or RetrainSettings()
    if store is None:
        from inksight import registry

        with closing(registry.open()) as opened:
            return retrain(model, settings, store=opened, progress=progress, quiet=quiet)
    parent = store.find(model)
    runs = workspace().runs
    runs.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(runs / f".retrain-{parent.name}.lock", timeout=0), store.hold(parent, "retraining"):
            return _retrain(store, model, parent, settings, progress, quiet)
    except Timeout:
        raise ConflictError(f"{parent.name} is being retrained already", hint="Wait for it to end.") from None


def _retrain(
    store: Registry, model: str, parent: Version, settings: RetrainSettings, progress: Progress, quiet: bool
) -> Retrained:
    from inksight.registry import evidence, notes
    from inksight.registry.versions import CHAMPION, parse

    progress("gathering", 0.0)
    alias = parse(model)[1] or CHAMPION
    with open_dataset(_base(parent, settings.data)) as base:
        _check_classes(parent, base)
        added = gather(store.database, parent.name, base)
        counts = _counts(store, parent, added)
        if counts["new"] < settings.at_least:
            message = f"{counts['new']} new corrections to learn from, --at-least {settings.at_least} are asked for"
            return Retrained("nothing", parent.ref, message, corrections=counts)
        name = f"retrain-{parent.name}-v{parent.number}-{_key(parent, base, added, settings)}"
        dataset_file = workspace().dataset_path(name)
        if not dataset_file.is_file():
            replayed, repeats = write(
                added, base, dataset_file, replay=settings.replay, share=settings.share, seed=settings.seed
            )
            counts |= {"rehearsed": replayed, "repeats": repeats}
        folder = workspace().runs / name
        version = store.of_run(parent.name, name)
        if version is None:
            _train(store, parent, dataset_file, folder, settings, progress, quiet)
            progress("registering", 0.8)
            note = notes.write("retrained", parent=parent.ref, count=counts["train"])
            version = store.register(folder / "bundle", parent.name, parent=parent.ref, note=note)
        mark_learnt(store.database, [*added.side("train"), *added.side("val")], version.ref)
        progress("judging", 0.85)
        judged = judge(store, version, parent, base, added.side("test"))
        if not _points_at(store, parent, alias):
            # The gates compare with what would be replaced, whatever was trained on.
            judged = replace(judged, replaced=evidence.gather(store, version, alias, base.path))
    progress("promoting", 0.95)
    done = _promoted(store, version, parent, alias, settings, judged, counts, folder)
    write_json(folder / "retrain.json", done.as_dict())
    progress("done", 1.0)
    return done


def _promoted(
    store: Registry,
    version: Version,
    parent: Version,
    alias: str,
    settings: RetrainSettings,
    judged: Judged,
    counts: dict[str, Any],
    folder: Path,
) -> Retrained:
    """Ask the gates and move the alias if they, or --force, say so."""
    from inksight.registry import gates, notes
    from inksight.registry.aliases import latency_of

    # A retrain has margins of its own; the other limits are those of every promotion.
    margins = {"overall_margin": settings.overall_margin, "class_margin": settings.class_margin}
    limits = resolve(GateSettings, options=margins)
    # Against the parent, always: an alias that points at nothing yet would let anything pass.
    latency = latency_of(store, version, limits)
    answers = gates.judge(version, parent, limits, evidence=judged.evidence, latency_ms=latency)
    passed = all(answer.passed for answer in answers)
    outcome, message, forced = "registered", f"{version.ref} passes the gates; it was not promoted, as asked", False
    if not passed:
        failed = "; ".join(f"[{answer.gate}] {answer.detail}" for answer in answers if not answer.passed)
        outcome, message = "refused", f"{version.ref} was not promoted: {failed}"
    if settings.promote and not settings.force and _rolled_back(store, version, alias):
        # The same corrections find the version that people were not content with.
        outcome = "rolled_back"
        message = f"{version.ref} was not promoted: {version.name}@{alias} was rolled back from it; --force promotes it"
    elif settings.promote and (passed or settings.force):
        try:
            moved = store.promote(
                version.name,
                version.number,
                alias=alias,
                settings=limits,
                evidence=judged.evidence if _points_at(store, parent, alias) else judged.replaced,
                force=settings.force,
                note=notes.write("passed" if passed else "forced", parent=parent.ref),
            )
        except gates.Refused as error:
            # The alias points at another version than the one that was trained on, and the gates compare with that.
            outcome, message, answers = "refused", error.message, error.answers
        else:
            forced = moved.forced
            outcome = "promoted"
            message = f"{version.name}@{alias} is {version.ref} now" + (" (forced)" if forced else "")
    return Retrained(
        outcome,
        parent.ref,
        message,
        version=version.ref,
        forced=forced,
        corrections=counts,
        test=judged.test,
        held_back=judged.held_back,
        gates=[answer.as_dict() for answer in answers],
        folder=str(folder),
    )


def _train(
    store: Registry,
    parent: Version,
    data: Path,
    folder: Path,
    settings: RetrainSettings,
    progress: Progress,
    quiet: bool,
) -> None:
    """Train from the parent's weights, or go on where a killed training was; a finished one is left alone."""
    if (folder / "bundle" / "model.json").is_file():
        return
    from inksight import models
    from inksight.bundle import load
    from inksight.training import train

    architecture = parent.description["architecture"]
    if architecture.get("shapes"):
        raise UsageError(
            f"{parent.ref} was pruned and cannot be trained on", hint="Retrain the version it was made from."
        )
    spec = models.get(architecture["name"])
    # A classical model is fitted anew on everything; there are no weights to go on from.
    start = None if spec.family == "shallow" else load(store.resolve(parent.ref)).module().state_dict()
    options = {name: value for name, value in architecture["options"].items() if name not in ("weights", "pretrained")}
    train(
        data,
        model=spec.name,
        model_options=options,
        settings=_train_settings(parent, settings, spec.family),
        run_dir=folder,
        resume=(folder / "settings.json").is_file(),
        start=start,
        quiet=quiet,
        on_epoch=lambda entry: progress("training", 0.05 + 0.75 * entry["epoch"] / settings.epochs),
    )


def _train_settings(parent: Version, settings: RetrainSettings, family: str) -> TrainSettings:
    """Return what the version was trained with, gentler and shorter."""
    known = fields_of(TrainSettings)
    before = {name: value for name, value in (parent.description.get("settings") or {}).items() if name in known}
    rate = float(before.get("learning_rate") or TrainSettings().learning_rate) * settings.rate
    changes: dict[str, Any] = {
        "name": "",
        "epochs": settings.epochs,
        "max_steps": 0,
        "learning_rate": rate,
        "dropout": None,  # an option of the model by now
        "classifier": None,
        "weights": "",
        "pretrained": family != "transfer",
        # The backbone knows enough; on cached features the head takes seconds.
        "freeze_backbone": family == "transfer",
        "frozen_epochs": 0,
        **({"cutmix": 0.0} if family == "transfer" else {}),  # features have no parts
        "early_stopping_patience": 0,
        "ema_decay": 0.0,
        "fast": False,
        "threads": settings.threads,
        "seed": settings.seed,
    }
    return resolve(TrainSettings, preset={**before, **changes}, environ={})


def _base(parent: Version, data: str | None) -> Path:
    """Return the dataset that the model was first trained on, before any correction, or the one that is named."""
    if data is not None:
        from inksight.data.ensure import ensure_dataset

        return ensure_dataset(data)
    recorded = parent.description.get("dataset") or {}
    path = _dataset_file(parent.name, recorded.get("sha256"), recorded.get("name"))
    with open_dataset(path) as dataset:
        base = dataset.preprocessing.get("base")
    return path if base is None else _dataset_file(parent.name, base["sha256"], base["name"])


def _dataset_file(name: str, sha256: str | None, title: str | None) -> Path:
    """Return the dataset file with this content, where this workspace knows it."""
    found = find(sha256, title) if sha256 else None
    if found is not None:
        return found
    which = f", {title!r}," if title else ""
    raise NoDatasetError(
        f"the dataset that {name!r} was trained on{which} is not here",
        hint="Name it, or one of the same classes: --data FILE, a dataset's name or a preset.",
    )


def _check_classes(parent: Version, base: Dataset) -> None:
    if list(base.classes) != list(parent.description["classes"]):
        raise UsageError(
            f"{base.name!r} does not have the classes of {parent.ref} in the same order",
            hint="Prepare one with --classes " + ",".join(parent.description["classes"])[:200],
        )
    if base.size("test") == 0:
        raise DataError(f"{base.name!r} has no test split to judge on", hint="Prepare it with --test-ratio above 0.")


def _counts(store: Registry, parent: Version, added: Additions) -> dict[str, Any]:
    """Count corrections by side; `new` are those to train on that neither the parent nor its ancestors learnt."""
    # What an ancestor learnt that was cleaned away since is counted as new, which only trains once more.
    known = store.lineage(parent)
    return {
        "train": len(added.side("train")),
        "val": len(added.side("val")),
        "held_back": len(added.side("test")),
        "new": sum(item.learnt_in not in known for item in added.side("train")),
        "left_out": added.left_out,
    }


def _key(parent: Version, base: Dataset, added: Additions, settings: RetrainSettings) -> str:
    """Return a short name for everything that decides the weights, so that the same request finds the same run."""
    parts = {
        "parent": parent.sha256,
        "base": base.sha256,
        "corrections": [(item.id, item.label, item.split) for item in added.items],
        "settings": {name: as_dict(settings)[name] for name in ("epochs", "rate", "replay", "share", "seed")},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def _rolled_back(store: Registry, version: Version, alias: str) -> bool:
    """Whether the last that this alias had to do with the version was to be rolled back from it."""
    for move in store.history(version.name):
        if move.alias == alias and version.number in (move.previous, move.number):
            return move.action == "rollback" and move.previous == version.number
    return False


def _points_at(store: Registry, parent: Version, alias: str) -> bool:
    try:
        return store.find(f"{parent.name}@{alias}").id == parent.id
    except NotFoundError:
        return False
