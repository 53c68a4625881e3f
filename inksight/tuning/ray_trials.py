"""Runs the trials of a study on a Ray cluster, each as a task of its own; they meet in the database.

A trial whose machine is lost is given to another by Ray. In the study it stays "running" until the grace period of its
heartbeat has passed; it is then failed and its settings are tried once more (tuning/storage.py).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from inksight.settings import TuneSettings
from inksight.tuning.cluster import Cluster, passed_on, settle
from inksight.tuning.exchange import Exchange, Stored
from inksight.tuning.ray_runner import LOSSES
from inksight.tuning.trial import Trials
from inksight.tuning.workers import work
from inksight.workspace import workspace

_STOP_SECONDS = 60


def run_trials(
    cluster: Cluster,
    trials: Trials,
    settings: TuneSettings,
    count: int,
    deadline: float | None,
    say: Callable[[str], None],
) -> None:
    """Run `count` trials, `settings.jobs` at once; none is started after the deadline."""
    ray, place = cluster.ray, workspace()
    share = cluster.share(settings.jobs)
    trials = replace(trials, threads=int(share["num_cpus"]))
    data = None if cluster.local else Exchange(place.artifacts).offer_dataset(trials.dataset)
    told = passed_on(os.environ, place, local=cluster.local)
    task = ray.remote(one_trial).options(**share, max_retries=LOSSES, scheduling_strategy="SPREAD")
    started = 0
    running: list[Any] = []
    try:
        while True:
            while started < count and len(running) < settings.jobs and (not deadline or time.monotonic() < deadline):
                running.append(task.remote(trials, settings, data, told))
                started += 1
            if not running:
                return
            ended, running = ray.wait(running, timeout=1)
            for trial in ended:
                try:
                    lines = ray.get(trial)
                except ray.exceptions.RayTaskError as error:
                    raise error.cause from None
                except ray.exceptions.RayError as error:
                    lines = [f"a trial was lost {LOSSES + 1} times with its machine or worker ({type(error).__name__})"]
                for line in lines:
                    say(line)
    except BaseException:
        for trial in running:
            ray.cancel(trial)
        if running:
            ray.wait(running, num_returns=len(running), timeout=_STOP_SECONDS)
        raise


def one_trial(trials: Trials, settings: TuneSettings, data: Stored | None, told: dict[str, str]) -> list[str]:
    """Run one trial on the machine that Ray chose; returns what is to be said of it."""
    place = settle(told)
    torch.set_num_threads(trials.threads)
    if data is not None:
        path = Exchange(place.artifacts).fetch_dataset(data, trials.dataset.stem, place.datasets / "fetched")
        trials = replace(trials, dataset=Path(path), folder=place.home / "tuning" / trials.folder.name)
    lines: list[str] = []
    work(trials, trials.study, settings, 1, None, lines.append)
    return lines
