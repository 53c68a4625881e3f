"""From reviewed corrections to a better version, without forgetting, leaking or doing things twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from inksight import registry
from inksight.cli import app
from inksight.data import open_dataset
from inksight.data.places import places
from inksight.errors import ConflictError, UsageError
from inksight.improve.retrain import _train_settings, retrain
from inksight.registry import Registry
from inksight.registry.tables import Correction
from inksight.settings import RetrainSettings
from inksight.training import TrainingInterrupted, train
from inksight.training.augment_photos import check_has_effect
from tests.improve.planted import MODEL, correct, rings, store_with_model

SETTINGS = RetrainSettings(epochs=4, rate=0.5, class_margin=0.1, overall_margin=0.02)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a model that knows bars and has never seen a ring."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INKSIGHT_HOME", str(folder / "home"))
        store_with_model(folder).close()
    return folder


@pytest.fixture
def store(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """A copy of that workspace, so that each test starts afresh."""
    home = Path(shutil.copytree(trained / "home", tmp_path / "home"))
    monkeypatch.setenv("INKSIGHT_HOME", str(home))
    opened = registry.open()
    yield opened
    opened.close()


def base_file(store: Registry) -> Path:
    recorded = store.find(MODEL).description["dataset"]
    assert "path" not in recorded
    return places(recorded["sha256"], recorded["name"])[0]


def accuracy(store: Registry, reference: str, images: Any, label: str) -> float:
    from inksight.bundle import load

    return float(np.mean(np.array(load(store.resolve(reference)).predict(images)) == label))


def test_a_new_style_is_learnt_and_nothing_forgotten(store: Registry) -> None:
    unseen = rings(200, seed=99)
    before = accuracy(store, MODEL, unseen, "slanted")
    assert before < 0.5
    ids = correct(store, rings(60, seed=1))
    done = retrain(MODEL, SETTINGS, store=store)
    assert done.outcome == "promoted", done.message
    assert (done.parent, done.version) == ("bars:1", "bars:2")
    assert accuracy(store, MODEL, unseen, "slanted") > 0.9
    assert done.test is not None
    assert done.test["n"] == 180
    assert done.test["difference"] >= -0.02
    assert done.held_back is not None
    assert done.held_back["new"] > done.held_back["old"]
    assert done.held_back["p"] < 0.05
    counts = done.corrections
    assert counts["train"] + counts["val"] + counts["held_back"] + sum(counts["left_out"].values()) == len(ids)
    new = store.find(MODEL)
    assert (new.ref, new.parent) == ("bars:2", "bars:1")
    assert store.history(MODEL)[0].forced is False
    assert {gate["gate"] for gate in store.history(MODEL)[0].gates} >= {"overall", "classes", "corrections"}


def test_what_is_judged_on_is_never_learnt(store: Registry, home: Path) -> None:
    with open_dataset(base_file(store)) as base:
        test_images = base.images("test")[:5]
        base_test = base.load("test")
    twin = rings(1, seed=3)
    near = np.repeat(twin, 3, axis=0)
    near[1, 0, 0], near[2, 27, 27] = 255, 255
    # Copies of test pictures, with a pixel changed; near-duplicates of one ring; and the same picture twice.
    copies = test_images.copy()
    copies[:, 1, 1] = 255 - copies[:, 1, 1]
    from_test = correct(store, copies, "upright")
    alike = correct(store, near)
    correct(store, rings(30, seed=4))
    again = correct(store, rings(1, seed=4))
    done = retrain(MODEL, SETTINGS, store=store)
    with store.database.read() as session:
        sides = {row.id: row.split for row in session.scalars(select(Correction))}
    assert {sides[number] for number in from_test} == {"test"}
    assert len({sides[number] for number in alike}) == 1
    assert sides[again[0]] is None
    assert done.corrections["left_out"] == {"repeated": 1}
    assert done.folder is not None
    [data] = (home_of(store) / "datasets").glob("retrain-*.h5")
    with open_dataset(data) as learnt:
        images, labels = learnt.load("test")
        assert np.array_equal(images, base_test[0])
        assert np.array_equal(labels, base_test[1])
        used = {name for split in ("train", "val") for name in learnt.ids(split) if name.startswith("correction:")}
    assert used == {f"correction:{number}" for number, side in sides.items() if side in ("train", "val")}


def test_sides_are_for_good_and_the_base_is_not_trained_on_itself(store: Registry) -> None:
    correct(store, rings(30, seed=1))
    first = retrain(MODEL, SETTINGS, store=store)
    with store.database.read() as session:
        before = {row.id: row.split for row in session.scalars(select(Correction))}
    correct(store, rings(30, seed=2))
    second = retrain(MODEL, SETTINGS, store=store)
    assert (first.version, second.parent, second.version) == ("bars:2", "bars:2", "bars:3")
    with store.database.read() as session:
        after = {row.id: row.split for row in session.scalars(select(Correction))}
    assert {number: after[number] for number in before} == before
    assert second.corrections["train"] > second.corrections["new"] >= 10
    assert second.corrections["rehearsed"] == 1800


def test_twice_is_once(store: Registry) -> None:
    correct(store, rings(30, seed=1))
    first = retrain(MODEL, RetrainSettings(epochs=1, promote=False), store=store)
    assert first.outcome in ("registered", "refused")
    second = retrain(MODEL, RetrainSettings(epochs=1, promote=False), store=store)
    assert (second.version, second.test) == (first.version, first.test)
    assert len(store.versions(MODEL)) == 2
    assert store.find(MODEL).number == 1
    forced = retrain(MODEL, RetrainSettings(epochs=1, force=True), store=store)
    assert forced.outcome == "promoted"
    assert store.find(MODEL).ref == first.version
    assert retrain(MODEL, SETTINGS, store=store).outcome == "nothing"
    store.rollback(MODEL)
    again = retrain(MODEL, RetrainSettings(epochs=1), store=store)
    assert (again.outcome, again.version) == ("rolled_back", first.version)
    assert store.find(MODEL).number == 1
    assert retrain(MODEL, RetrainSettings(epochs=1, force=True), store=store).outcome == "promoted"
    assert len(store.versions(MODEL)) == 2


def test_a_gate_says_no_unless_forced(store: Registry) -> None:
    # People who call everything flat: the model learns it, and is worse on the test split.
    correct(store, np.random.default_rng(0).integers(0, 60, (40, 28, 28)).astype(np.uint8), "flat")
    with open_dataset(base_file(store)) as base:
        images, labels = base.load("train")
    correct(store, 255 - images[labels == 1][:60], "flat")
    correct(store, np.minimum(images[labels == 1][:100] + 3, 255).astype(np.uint8), "flat")
    settings = RetrainSettings(epochs=4, rate=1.0, share=0.5, replay=30, overall_margin=0.0, class_margin=0.0)
    done = retrain(MODEL, settings, store=store)
    assert done.outcome == "refused"
    assert "[overall]" in done.message or "[classes]" in done.message
    assert store.find(MODEL).number == 1
    forced = retrain(MODEL, RetrainSettings(**{**vars_of(settings), "force": True}), store=store)
    assert (forced.outcome, forced.forced, forced.version) == ("promoted", True, done.version)
    assert store.history(MODEL)[0].forced is True


def test_the_limits_of_all_promotions_hold_for_a_retrain(store: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    correct(store, rings(30, seed=1))
    monkeypatch.setenv("INKSIGHT_GATES_MAX_MEGABYTES", "0.000001")
    monkeypatch.setenv("INKSIGHT_GATES_OVERALL_MARGIN", "0")
    gentle = RetrainSettings(epochs=1, rate=0.01, class_margin=1.0, overall_margin=1.0)
    done = retrain(MODEL, gentle, store=store)
    assert done.outcome == "refused"
    assert [gate["gate"] for gate in done.gates if not gate["passed"] and gate["gate"] != "corrections"] == ["size"]


def test_a_refusal_beside_another_champion_names_its_gates(store: Registry, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"epochs": 1, "max_steps": 2, "tensorboard": False, "augment": 0.0}
    weak = train(base_file(store), model="simple_cnn", run_dir=tmp_path / "weak", quiet=True, **settings)
    store.register(weak.bundle, MODEL)
    correct(store, rings(30, seed=1))
    gentle = RetrainSettings(epochs=1, rate=0.01, class_margin=1.0, overall_margin=0.2)
    done = retrain(f"{MODEL}:2", gentle, store=store)
    assert (done.parent, done.outcome) == ("bars:2", "refused")
    [against] = [answer for answer in done.gates if not answer["passed"]]
    assert (against["gate"], against["values"]["champion"]) == ("overall", "bars:1")


def test_a_parent_that_was_trained_in_few_steps_does_not_shorten_the_retraining(store: Registry) -> None:
    parent = store.find(MODEL)
    known = dict(parent.description["settings"] or {})
    parent = replace(parent, description={**parent.description, "settings": {**known, "max_steps": 3}})
    settings = _train_settings(parent, SETTINGS, "convnet")
    assert (settings.epochs, settings.max_steps) == (SETTINGS.epochs, 0)


def test_a_parent_that_was_trained_with_cutmix_can_be_retrained(store: Registry) -> None:
    parent = store.find(MODEL)
    known = dict(parent.description["settings"] or {}) | {"cutmix": 1.0, "mixup": 0.2, "freeze_backbone": False}
    parent = replace(parent, description={**parent.description, "settings": known})
    settings = _train_settings(parent, SETTINGS, "transfer")
    check_has_effect(settings, photos=True)
    assert settings.freeze_backbone
    assert (settings.cutmix, settings.mixup) == (0.0, 0.2)
    assert _train_settings(parent, SETTINGS, "convnet").cutmix == 1.0


def test_too_little_to_learn(store: Registry) -> None:
    correct(store, rings(5, seed=1))
    correct(store, rings(30, seed=2), state="pending")
    correct(store, rings(30, seed=3), state="rejected")
    correct(store, rings(3, seed=4), input=None)
    correct(store, rings(2, seed=5), "dragon")
    done = retrain(MODEL, SETTINGS, store=store)
    assert done.outcome == "nothing"
    assert done.corrections["left_out"] == {"unkept": 3, "class": 2}
    assert len(store.versions(MODEL)) == 1


def test_a_lost_dataset_is_named(store: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    path = base_file(store)
    hidden = path.rename(path.with_suffix(".away"))
    try:
        with pytest.raises(UsageError, match="trained on, 'bars', is not here") as caught:
            retrain(MODEL, SETTINGS, store=store)
        assert "--data" in caught.value.hint
        correct(store, rings(20, seed=1))
        given = Path(shutil.copy(hidden, path.with_name("elsewhere.h5")))
        done = retrain(MODEL, RetrainSettings(epochs=1, data=str(given), promote=False), store=store)
        assert done.version == "bars:2"
    finally:
        hidden.rename(path)


def test_one_at_a_time(store: Registry, home: Path) -> None:
    from filelock import FileLock

    (home_of(store) / "runs").mkdir(exist_ok=True)
    with FileLock(home_of(store) / "runs" / f".retrain-{MODEL}.lock"), pytest.raises(ConflictError, match="already"):
        retrain(MODEL, SETTINGS, store=store)


@pytest.mark.slow
def test_killed_and_started_again_it_goes_on(store: Registry) -> None:
    correct(store, rings(60, seed=1))
    command = [sys.executable, "-m", "inksight", "retrain", MODEL, "--epochs", "30", "--json"]
    environment = {**os.environ, "INKSIGHT_HOME": str(home_of(store))}
    killed = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        runs, deadline = home_of(store) / "runs", time.monotonic() + 120
        while not list(runs.glob("retrain-*/checkpoints/last.pt")):
            assert killed.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    assert len(store.versions(MODEL)) == 1
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert again.returncode == 0, again.stderr
    done = json.loads(again.stdout)
    assert done["outcome"] == "promoted"
    [folder] = runs.glob("retrain-*/history.jsonl")
    epochs = [json.loads(line)["epoch"] for line in folder.read_text().splitlines()]
    assert epochs == list(range(1, 31))
    assert len(store.versions(MODEL)) == 2


def home_of(store: Registry) -> Path:
    return store.cache.parent if (store.cache.parent / "inksight.db").exists() else Path(os.environ["INKSIGHT_HOME"])


def vars_of(settings: RetrainSettings) -> dict[str, Any]:
    from inksight.config import as_dict

    return as_dict(settings)


def test_what_goes_on_after_ctrl_c_is_the_whole_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise TrainingInterrupted("runs/x")

    monkeypatch.setattr("inksight.improve.retrain.retrain", stopped)
    done = CliRunner().invoke(app, ["retrain", "doodle", "--epochs", "30"])
    assert done.exit_code == 130
    assert done.stderr == "Interrupted. What is done is kept; the same command goes on.\n"
