"""One trial: train with the chosen settings, report each epoch, stop when it is hopeless, say how good it became.

Only the validation split is looked at. A trial that fails (it diverges, it does not fit in memory) is recorded as
failed with its reason, and the search goes on.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import optuna
import torch
from filelock import FileLock

from inksight import models
from inksight.bundle.graph import to_onnx
from inksight.bundle.loading import onnx_runner
from inksight.bundle.network import Network
from inksight.bundle.parity import made_images
from inksight.bundle.timing import take_turns
from inksight.data import open_dataset
from inksight.training import TrainingRun, train
from inksight.training.mlflow_tracker import Mlflow
from inksight.training.recipes import is_frozen
from inksight.training.trackers import Tracker
from inksight.tuning.spaces import Dimension, split_values

# What each objective is called in an epoch's record, and whether more of it is better.
CURVES = {"accuracy": "val_accuracy", "balanced_accuracy": "val_balanced_accuracy", "loss": "val_loss"}
LARGER_IS_BETTER = {"accuracy", "balanced_accuracy"}


def direction(objective: str) -> Literal["maximize", "minimize"]:
    """Return Optuna's word for an objective."""
    return "maximize" if objective in LARGER_IS_BETTER else "minimize"


@dataclass(frozen=True)
class Trials:
    """What all trials of a study share; calling it runs one."""

    dataset: Path
    model: str
    space: list[Dimension]
    objectives: list[str]
    epochs: int
    seed: int
    folder: Path
    threads: int = 0
    mlflow: str = ""
    study: str = ""
    # What holds in every trial, whatever is chosen.
    training: dict[str, Any] = field(default_factory=dict)

    def __call__(self, trial: optuna.Trial) -> float | tuple[float, ...]:
        """Run one trial; returns the value of each objective, raises TrialPruned when it is stopped early."""
        values = {dimension.name: dimension.suggest(trial) for dimension in self.space}
        training, options = split_values(values)
        folder = self.folder / f"trial-{trial.number:04d}"
        shutil.rmtree(folder, ignore_errors=True)  # left by a worker that was killed
        trial.set_user_attr("folder", str(folder))
        fixed = {"epochs": self.epochs, "seed": self.seed, "tensorboard": False, "threads": self.threads, "mlflow": ""}
        try:
            # What the recipes say is added by `train`, below these.
            layers = {**training, **self.training, **fixed}
            with open_dataset(self.dataset) as dataset:
                if is_frozen(self.model, dataset.name, layers):
                    layers["frozen_epochs"] = 0  # the trial's epochs are the head's
            run = train(
                self.dataset, model=self.model, model_options=options, run_dir=folder, quiet=True, finish=False,
                on_epoch=lambda entry: self._report(trial, entry), trackers=self._trackers(), **layers,
            )  # fmt: skip
        finally:
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        trial.set_user_attr("seconds", sum(entry["seconds"] for entry in run.history))
        found = [
            self._best(run.history, name) if name in CURVES else self._measure(trial, name, run)
            for name in self.objectives
        ]
        return found[0] if len(found) == 1 else tuple(found)

    def _trackers(self) -> list[Tracker]:
        if not self.mlflow:
            return []
        return [Mlflow(self.mlflow, lambda line: print(line, file=sys.stderr, flush=True), experiment=self.study)]

    def _report(self, trial: optuna.Trial, entry: dict[str, Any]) -> None:
        if len(self.objectives) > 1:  # Optuna cannot weigh several curves against each other
            return
        value = entry[CURVES[self.objectives[0]]]
        trial.report(value, step=int(entry["epoch"]))
        if entry["epoch"] < self.epochs and trial.should_prune():  # after the last one nothing is left to save
            raise optuna.TrialPruned(f"epoch {entry['epoch']}: {value:.4f}")

    def _best(self, history: list[dict[str, Any]], objective: str) -> float:
        values = [float(entry[CURVES[objective]]) for entry in history]
        return max(values) if objective in LARGER_IS_BETTER else min(values)

    def _measure(self, trial: optuna.Trial, objective: str, run: TrainingRun) -> float:
        """Return what an answer costs: milliseconds per picture, or the number of parameters.

        Of the trained model: only the fit decides how many vectors or nodes a classical one has. One architecture is
        timed once: two timings of the same would differ by chance, and the front would hold a bad trial for the sake
        of it.
        """
        if objective == "parameters":
            return float(models.parameter_count(run.model))
        described = run.preprocess.description
        facts = {"name": self.model, "kind": "drawing", "classes": [], "preprocessing": described}
        with torch.inference_mode(False):
            graph = to_onnx(Network(run.preprocess.cpu(), run.model.cpu()), facts)
        ours = architecture(graph)
        trial.set_user_attr("architecture", ours)
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "timing.lock"):  # neither twice nor beside another timing
            for other in trial.study.get_trials(deepcopy=False):
                known = other.user_attrs
                if "latency" in known and known["architecture"] == ours:
                    return float(known["latency"])
            runs = {"model": onnx_runner(graph, 1, self.model)}
            found = take_turns(runs, made_images(tuple(described["input_shape"]), 32), seconds=0.3)["model"].p50_ms
            trial.set_user_attr("latency", found)
        return found


def architecture(graph: bytes) -> str:
    """Return a short hash of what an ONNX graph computes with, operations and shapes, whatever its weights."""
    import onnx

    parts = onnx.load_from_string(graph).graph
    facts = [(tuple(weight.dims), weight.data_type) for weight in parts.initializer]
    for node in parts.node:
        plain = [one.SerializeToString(deterministic=True) for one in node.attribute if not one.HasField("t")]
        facts += [(node.op_type, *plain)]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
