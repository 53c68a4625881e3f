"""Frozen backbones, cached features, and thawing in stages, with a backbone small enough for a test."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import inksight
from inksight import models
from inksight.data import DatasetWriter, at_once, open_dataset
from inksight.errors import UsageError
from inksight.models.preprocess import Preprocess
from inksight.models.timm_import import import_timm
from inksight.models.transfer import TransferNet
from inksight.settings import TrainSettings
from inksight.training import reading, train, trainer, transfer
from inksight.training.checkpoints import load_checkpoint
from inksight.training.loop import Task
from inksight.training.recipes import recipe
from inksight.training.tensorboard import TensorBoard
from inksight.training.trackers import RunInfo, Samples, read_history
from inksight.training.transfer import _unfreezing

# timm's own test net: 0.5 M parameters.
OPTIONS: dict[str, Any] = {"model": "transfer/test_resnet", "pretrained": False, "batch_size": 16, "threads": 1}
# A random backbone needs the batch norms of this head.
OPTIONS |= {"model_options": {"head": "guide"}, "freeze_backbone": False}
OPTIONS |= {"tensorboard": False, "quiet": True, "learning_rate": 0.003, "feature_views": 2, "precision": "float32"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a file of photos of two kinds, reddish and bluish, stored with a margin of 8 pixels."""
    path = tmp_path_factory.mktemp("data") / "colours.h5"
    random = np.random.default_rng(0)
    with DatasetWriter(
        path,
        classes=["blue", "red"],
        image_shape=(72, 72, 3),
        source="made",
        preprocessing={"kind": "photo", "size": 72, "image_size": 64},
        seed=0,
    ) as out:
        for split, n in (("train", 64), ("val", 16), ("test", 16)):
            labels = np.arange(n) % 2
            images = random.integers(0, 150, (n, 72, 72, 3)).astype(np.uint8)
            images[labels == 0, :, :, 2] += 90
            images[labels == 1, :, :, 0] += 90
            out.append(split, images, labels, [f"{split}{i}" for i in range(n)])
    return path


def rank(entry: dict[str, Any]) -> tuple[float, float]:
    return entry["val_accuracy"], -entry["val_loss"]


def test_a_frozen_backbone_stays_and_its_features_are_computed_once(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    original = TransferNet.backbone_features

    def counted(self: TransferNet, x: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        return original(self, x)

    monkeypatch.setattr(TransferNet, "backbone_features", counted)
    options = {**OPTIONS, "freeze_backbone": True, "frozen_epochs": 12, "finish": False}
    first = train(photos, run_dir=tmp_path / "first", **options)
    assert sum(calls) == 64 * 3 + 16  # each training image plain and in two views, each validation image once
    assert first.history[-1]["val_accuracy"] > 0.8
    assert len(first.history) == 12
    assert load_checkpoint(first.folder / "checkpoints" / "best.pt")["epoch"] == 12
    calls.clear()
    again = train(photos, run_dir=tmp_path / "again", **options)
    assert not calls, "the features were not taken from the cache"
    weights = [load_checkpoint(run.folder / "checkpoints" / "best.pt")["model"] for run in (first, again)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_features_of_other_pictures_are_others(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--fast chooses pictures by the seed: another seed must not get the features of the first one's."""
    monkeypatch.setattr(reading, "FAST_IMAGES", 20)
    kept: list[Any] = []
    plain = transfer._cached_features

    def cached(*rest: Any) -> Any:
        kept.append(plain(*rest))
        return kept[-1]

    monkeypatch.setattr(transfer, "_cached_features", cached)
    torch.manual_seed(0)
    backbone = import_timm().create_model("test_resnet", num_classes=0)
    save_file(backbone.state_dict(), tmp_path / "weights.safetensors")
    options = {**OPTIONS, "weights": str(tmp_path / "weights.safetensors"), "freeze_backbone": True, "finish": False}
    for run, seed in enumerate((0, 1, 0)):
        train(photos, run_dir=tmp_path / str(run), fast=True, seed=seed, epochs=1, **options)
    assert not np.array_equal(kept[0][0], kept[1][0])
    assert np.array_equal(kept[0][0], kept[2][0])


def test_features_are_read_from_a_file_and_the_last_used_stay(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INKSIGHT_HOME", str(tmp_path / "home"))
    folder = tmp_path / "home" / "cache" / "features"
    bytes_each = (64 * 3 + 16) * 96 * 4
    monkeypatch.setattr(transfer, "KEPT", 2.5 * bytes_each, raising=False)
    given: list[Any] = []
    plain = transfer.head_task

    def head_task(task: Task, train: Any, val: Any, settings: TrainSettings, **named: Any) -> Task:
        given.append((train, val))
        return plain(task, train, val, settings, **named)

    monkeypatch.setattr(transfer, "head_task", head_task)
    options = {**OPTIONS, "freeze_backbone": True, "finish": False, "epochs": 1, "seed": 0}

    def kept(crop_min: float) -> set[str]:
        train(photos, run_dir=tmp_path / str(len(given)), crop_min=crop_min, **options)
        return {path.name for path in folder.iterdir() if path.suffix != ".tmp"}

    (first,) = kept(0.1)
    assert all(isinstance(features, np.memmap) for features in given[0])
    assert (folder / first).stat().st_size == bytes_each
    (second,) = kept(0.2) - {first}
    (folder / ".left.0.tmp.f32").write_bytes(b"written")
    assert kept(0.1) == {first, second, ".left.0.tmp.f32"}
    third = kept(0.3)
    assert first in third
    assert second not in third
    os.utime(folder / ".left.0.tmp.f32", (0, 0))
    assert ".left.0.tmp.f32" not in kept(0.4)


def test_features_are_known_by_network_and_preparation_too(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def fit_transfer(*rest: Any, pictures: str, **named: Any) -> None:
        told.append(pictures)
        raise KeyError

    monkeypatch.setattr(transfer, "fit_transfer", fit_transfer)
    with pytest.raises(KeyError):
        train(photos, run_dir=tmp_path / "run", **OPTIONS)
    assert "transfer/test_resnet" in told[0]
    assert "'crop': [64, 64]" in told[0]


def test_no_more_photos_go_through_the_network_at_once_than_may(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch of 256 photos of 224 pixels takes gigabytes."""
    monkeypatch.setattr(at_once, "JUDGED", 5 * 72 * 72 * 3)
    sizes: list[int] = []
    prepared: list[int] = []
    forward, prepare = TransferNet.backbone_features, Preprocess.forward

    def seen(self: TransferNet, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            sizes.append(len(x))
        return forward(self, x)

    def counted(self: Preprocess, images: torch.Tensor) -> torch.Tensor:
        prepared.append(len(images))
        return prepare(self, images)

    monkeypatch.setattr(TransferNet, "backbone_features", seen)
    run = train(photos, run_dir=tmp_path / "run", epochs=1, frozen_epochs=1, **{**OPTIONS, "finish": False})
    assert set(sizes) <= {1, 4, 5}, "features or validation"
    net = models.create("transfer/test_resnet", num_classes=2, image_shape=(64, 64, 3), pretrained=False)
    preprocess = Preprocess.from_spec(models.get("transfer/test_resnet"), (72, 72, 3), crop=(64, 64))
    monkeypatch.setattr(Preprocess, "forward", counted)
    sizes.clear()
    with open_dataset(photos) as dataset:
        trainer.predict_proba(net, preprocess, dataset, "test")
        samples = Samples(net, preprocess, dataset.images("val")[:], np.arange(16) % 2, dataset.classes)
    tracker = TensorBoard()
    tracker.start(RunInfo("run", run.folder, {}))
    tracker.samples(samples)
    tracker.finish({}, run.folder)
    assert sizes
    assert max(sizes + prepared) == 5
    with Image.open(next(run.folder.glob("tensorboard/*/features/sprite.png"))) as sprite:
        assert sprite.width == 4 * 36, "sixteen whole photos"


def test_two_phases_end_in_a_bundle_that_crops(photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    backbone = import_timm().create_model("test_resnet", num_classes=0)
    save_file(backbone.state_dict(), tmp_path / "weights.safetensors")
    run = train(
        photos,
        run_dir=tmp_path / "run",
        weights=str(tmp_path / "weights.safetensors"),
        frozen_epochs=6,
        epochs=2,
        unfreeze_every=1,
        mixup=0.2,
        policy="trivial",
        **OPTIONS,
    )
    assert len(run.history) == 2
    # An epoch of both counts as best only when it beats the head alone.
    alone = rank(read_history(run.folder / "head")[-1])
    assert all(rank(entry) > alone for entry in run.history if entry["best"])
    assert (run.folder / "head" / "history.jsonl").read_text().count("\n") == 6
    assert run.metrics["accuracy"] > 0.8
    model = inksight.load(run.bundle)
    assert model.description["preprocessing"]["crop"] == [64, 64]
    red = np.zeros((1, 72, 72, 3), np.uint8)
    red[..., 0] = 200
    assert model.predict(red) == ["red"]


def test_stages_thaw_from_the_last() -> None:
    net = models.create("transfer/test_resnet", num_classes=2, image_shape=(64, 64, 3), pretrained=False)
    assert isinstance(net, TransferNet)
    begin_epoch = _unfreezing(net, TrainSettings(unfreeze_every=2))
    assert begin_epoch is not None
    stages = net.stages()
    for epoch in range(2 * len(stages)):
        begin_epoch(epoch)
        thawed = [all(parameter.requires_grad for parameter in stage) for stage in stages]
        expected = 1 + epoch // 2
        assert thawed == [False] * (len(stages) - expected) + [True] * expected
    assert _unfreezing(net, TrainSettings()) is None


@pytest.mark.parametrize("unfreeze_every", [0, 1])
def test_no_more_stages_thaw_than_may(unfreeze_every: int) -> None:
    net = models.create("transfer/test_resnet", num_classes=2, image_shape=(64, 64, 3), pretrained=False)
    assert isinstance(net, TransferNet)
    begin_epoch = _unfreezing(net, TrainSettings(thawed_stages=2, unfreeze_every=unfreeze_every))
    assert begin_epoch is not None
    for epoch in range(3):
        begin_epoch(epoch)
    thawed = [all(parameter.requires_grad for parameter in stage) for stage in net.stages()]
    assert thawed == [False] * (len(thawed) - 2) + [True] * 2


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18", "densenet121"])
def test_a_stage_is_more_than_a_norm(name: str) -> None:
    net = models.create(f"transfer/{name}", num_classes=2, image_shape=(64, 64, 3), pretrained=False)
    assert isinstance(net, TransferNet)
    assert all(any(parameter.ndim > 1 for parameter in stage) for stage in net.stages())


def test_earlier_stages_learn_more_slowly_and_later(photos: Path, tmp_path: Path) -> None:
    """Plain SGD at a constant rate moves weights by rate times gradient: rates and frozen stages show in the steps."""
    torch.manual_seed(0)
    before = import_timm().create_model("test_resnet", num_classes=0)
    save_file(before.state_dict(), tmp_path / "weights.safetensors")
    options = {**OPTIONS, "optimizer": "sgd", "scheduler": "none", "momentum": 0.0, "weight_decay": 0.0, "warmup": 0.0}
    options |= {"weights": str(tmp_path / "weights.safetensors"), "clip_norm": 0.0, "augment": 0.0, "batch_size": 64}
    options |= {"epochs": 1, "learning_rate": 1e-3, "backbone_rate": 0.5, "finish": False, "dropout": 0.0}

    def moved(name: str, **more: Any) -> list[float]:
        run = train(photos, run_dir=tmp_path / name, **{**options, **more})
        after = load_checkpoint(run.folder / "checkpoints" / "last.pt")["model"]
        net = models.create("transfer/test_resnet", num_classes=2, image_shape=(64, 64, 3), pretrained=False)
        assert isinstance(net, TransferNet)
        depth = {net.depth_of(f"backbone.{key}"): key for key, value in before.named_parameters() if value.ndim > 1}
        return [float((after[f"backbone.{key}"] - before.state_dict()[key]).norm()) for _, key in sorted(depth.items())]

    even, decayed = moved("even", layer_decay=1.0), moved("decayed", layer_decay=0.5)
    for depth, (whole, less) in enumerate(zip(even, decayed, strict=True)):
        assert less == pytest.approx(whole * 0.5**depth, rel=1e-3)
    gradual = moved("gradual", layer_decay=1.0, unfreeze_every=1)
    assert gradual[0] == pytest.approx(even[0], rel=1e-3)
    assert not any(gradual[1:])


def test_epochs_count_whatever_a_recipe_says_of_frozen_ones(photos: Path, tmp_path: Path) -> None:
    frozen: dict[str, Any] = {**OPTIONS, "freeze_backbone": True, "feature_views": 0, "finish": False}
    recipes = recipe("transfer/test_resnet", "")
    assert recipes["frozen_epochs"] not in (0, 3)
    assert len(train(photos, run_dir=tmp_path / "epochs", epochs=3, **frozen).history) == 3
    assert len(train(photos, run_dir=tmp_path / "recipe", **frozen).history) == recipes["frozen_epochs"]


@pytest.mark.parametrize("where", ["option", "file"])
def test_a_frozen_run_that_says_how_long_can_be_resumed(photos: Path, tmp_path: Path, where: str) -> None:
    frozen: dict[str, Any] = {**OPTIONS, "freeze_backbone": True, "feature_views": 0, "finish": False}
    (tmp_path / "config.toml").write_text("[train]\nfrozen_epochs = 3\n")
    said: dict[str, Any] = {"frozen_epochs": 3} if where == "option" else {"config": tmp_path / "config.toml"}
    train(photos, run_dir=tmp_path / "run", **frozen, **said)
    for repeated in (frozen | said, {"quiet": True, "finish": False}):
        assert len(train(photos, run_dir=tmp_path / "run", resume=True, **repeated).history) == 3


@pytest.mark.parametrize("freeze", [True, False])
def test_steps_count_in_the_training_that_is_the_run(photos: Path, tmp_path: Path, freeze: bool) -> None:
    options = {**OPTIONS, "freeze_backbone": freeze, "frozen_epochs": 3, "feature_views": 0, "finish": False}
    run = train(photos, run_dir=tmp_path / "run", epochs=3, max_steps=6, **options)
    assert [entry["step"] for entry in run.history] == [4, 6]
    if not freeze:
        assert [entry["step"] for entry in read_history(run.folder / "head")] == [4, 8, 12]


def test_a_dataset_may_want_something_of_one_family_alone() -> None:
    thawing, frozen = recipe("transfer/resnet18", "flowers"), recipe("transfer/resnet18", "pets")
    assert (thawing["freeze_backbone"], thawing["thawed_stages"]) == (False, 3)
    assert frozen["freeze_backbone"]
    assert thawing["learning_rate"] == frozen["learning_rate"]  # the model's recipe holds otherwise
    assert recipe("deep_v1", "flowers") == recipe("deep_v1", "pets") == {}


def test_mixup_mixes_the_features_of_a_frozen_backbone(photos: Path, tmp_path: Path) -> None:
    options = {**OPTIONS, "freeze_backbone": True, "feature_views": 0, "finish": False, "epochs": 3}
    plain, mixed = (train(photos, run_dir=tmp_path / str(m), mixup=m, **options).history[-1] for m in (0.0, 5.0))
    # Half of each target is another class's, every second time.
    assert mixed["train_loss"] > plain["train_loss"] + 0.1
    with pytest.raises(UsageError, match="--cutmix pastes parts of images"):
        train(photos, run_dir=tmp_path / "cut", cutmix=1.0, **options)
    assert not (tmp_path / "cut").exists()


@pytest.mark.parametrize(("name", "value"), [("zoom", 0.3), ("elastic", 0.0), ("stroke", 1.0)])
def test_what_changes_drawings_only_is_refused_for_photos(
    photos: Path, tmp_path: Path, name: str, value: float
) -> None:
    with pytest.raises(UsageError, match=f"--{name} changes drawings"):
        train(photos, run_dir=tmp_path / "run", **{**OPTIONS, name: value})
    assert not (tmp_path / "run").exists()


def test_freezing_needs_a_backbone(photos: Path) -> None:
    with pytest.raises(UsageError, match="has no backbone"):
        train(photos, model="simple_cnn", freeze_backbone=True)
    with pytest.raises(UsageError, match="--layer-decay: simple_cnn has no backbone"):
        train(photos, model="simple_cnn", layer_decay=0.5)
    with pytest.raises(UsageError, match="--weights"):
        train(photos, model="simple_cnn", weights="file.safetensors")
