"""MLflow: parameters at the start, metrics per epoch, artefacts at the end, and the version in its model registry.

    inksight train quickdraw20 --mlflow http://127.0.0.1:5000

A run of Inksight is a run of MLflow, also when it is resumed: mlflow.json in its folder holds the id by which it is
found. What MLflow has missed (an outage, a kill) is sent when it is back, while the training goes on; at the end the
training waits for MLflow only as long as that answers. What is then unsent is left out, and said; the run's folder has
everything.

The registered model is named <dataset>-<model>. Its alias `candidate` is the newest version; `champion` moves to a
version that is at least as accurate as the present one on the same test images. These aliases are MLflow's own: what
Inksight serves is decided by `inksight models promote`.
Not guaranteed: which of two trainings that end in the same second becomes champion.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from inksight import __version__
from inksight.errors import InksightError, MissingPartError, UsageError
from inksight.training.outbox import Outbox
from inksight.training.runs import RunDescription, read_run
from inksight.training.trackers import Entry, NoTracker, RunInfo
from inksight.workspace import write_text

if TYPE_CHECKING:
    from mlflow import MlflowClient

PATIENCE, LONGEST = 20.0, 300.0
"""Seconds that the end of a training waits without progress, and in all."""

SHORT_PATIENCE = 3.0
"""The same of a training that left no model and whose server is away, and of one that was stopped or failed."""

_CLIENT = {
    # The default is 7 tries with two minutes each; the outbox tries again without anybody waiting for it.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    # By default the client reports its use to the makers of MLflow.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Standard output belongs to `train --json`.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}

_TAG = "inksight.id"
_FAILURES = (InksightError, RuntimeError, ValueError, MemoryError, OSError)


def check_address(address: str) -> None:
    """Raise UsageError unless `address` can be a tracking server's, and MissingPartError without the package."""
    parts = urlsplit(address)
    if not re.match(r"[a-z][a-z0-9+.-]*:/", address) or (parts.scheme in ("http", "https") and not parts.hostname):
        raise UsageError(f"--mlflow: {address!r} is not an address", hint="For example: http://127.0.0.1:5000")
    if parts.scheme in ("http", "https") and "@" in parts.netloc:
        # Settings are saved with the run.
        raise UsageError(
            "--mlflow: an address must not hold a password",
            hint="Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN.",
        )
    if importlib.util.find_spec("mlflow") is None:
        raise MissingPartError("--mlflow needs the package mlflow-skinny", hint="pip install 'inksight[mlflow]'")


class Mlflow(NoTracker):
    """Tells a tracking server. `experiment`: its name there; none: MLFLOW_EXPERIMENT_NAME, else the dataset's."""

    def __init__(self, address: str, warn: Callable[[str], None], *, experiment: str = "") -> None:
        check_address(address)
        for name, value in _CLIENT.items():
            os.environ.setdefault(name, value)
        self._address, self._warn = address, warn
        self._experiment = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME", "")
        self._outbox = Outbox(f"MLflow at {address}", _may_pass)
        self._made: MlflowClient | None = None
        self._id = self._run_id = ""

    def start(self, run: RunInfo) -> None:
        """Open the run, or find it again; the epochs before a resume that it misses are sent too."""
        self._run = read_run(run.folder)
        found = run.folder / "mlflow.json"
        known = json.loads(found.read_text(encoding="utf-8")) if found.exists() else {}
        self._id = known.get("id") or uuid.uuid4().hex
        write_text(found, json.dumps({"tracking": self._address, "id": self._id}) + "\n")
        self._put(lambda: self._open(run.name, int(time.time() * 1000)))
        for entry in run.history:
            self._send_epoch(entry, again=True)

    def epoch(self, entry: Entry) -> None:
        """Send an epoch's numbers."""
        self._send_epoch(entry, again=False)

    def finish(self, metrics: Mapping[str, Any], folder: Path) -> None:
        """Send the final numbers and files, register the version, and wait for that within bounds."""
        if metrics:
            self._send_metrics(dict(_numbers(metrics, f"{metrics.get('split', 'final')}_")), step=0)
        for file in _files(folder):
            self._put(lambda file=file: self._upload(folder, file))  # type: ignore[misc]
        if (folder / "bundle" / "model.json").exists():
            self._put(lambda: self._register(folder, metrics))
        self._put(lambda: self._client.set_terminated(self._run_id, "FINISHED"))
        # Without a model (a trial of a search, of which there are many) a few numbers are not worth a long wait.
        self._close(PATIENCE if metrics else SHORT_PATIENCE, LONGEST)

    def stop(self, error: BaseException) -> None:
        """Say that the run failed or was stopped; a resume goes on in the same one."""
        if not self._id:
            return
        status = "FAILED" if isinstance(error, _FAILURES) else "KILLED"
        reason = f"{type(error).__name__}: {error}"[:500]
        self._put(lambda: self._client.set_tag(self._run_id, "inksight.stopped", reason))
        self._put(lambda: self._client.set_terminated(self._run_id, status))
        self._close(SHORT_PATIENCE, SHORT_PATIENCE)

    @property
    def _client(self) -> MlflowClient:
        """The client, made in the outbox's thread: opening a database as the store may fail or take long."""
        if self._made is None:
            from mlflow import MlflowClient

            self._made = MlflowClient(tracking_uri=self._address, registry_uri=self._address)
        return self._made

    def _put(self, message: Callable[[], object]) -> None:
        self._outbox.put(message)
        self._tell()

    def _tell(self) -> None:
        # From here and not from the outbox's thread: whatever shows progress is not made for two.
        for note in self._outbox.notes():
            self._warn(note)

    def _close(self, patience: float, longest: float) -> None:
        unsent = self._outbox.close(patience, longest)
        self._tell()
        lost = unsent + self._outbox.refused
        if lost:
            self._warn(f"MLflow at {self._address} did not get {lost} messages; the run's folder has everything")

    def _open(self, name: str, started: int) -> None:
        client, described = self._client, self._run
        experiment_id = self._experiment_id(self._experiment or str(described.dataset["name"]))
        found = client.search_runs([experiment_id], f"tags.`{_TAG}` = '{self._id}'", max_results=1)
        if found:
            self._run_id = found[0].info.run_id
            client.update_run(self._run_id, status="RUNNING")
        else:
            tags = {_TAG: self._id, "inksight.version": __version__}
            self._run_id = client.create_run(experiment_id, started, tags, name).info.run_id
        from mlflow.entities import Param

        if not client.get_run(self._run_id).data.params:  # they cannot be changed
            params = [Param(key, str(value)) for key, value in _parameters(described).items()]
            for start in range(0, len(params), 100):  # the most that one request may hold
                client.log_batch(self._run_id, params=params[start : start + 100])

    def _experiment_id(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another run was faster
                    raise
                found = self._client.get_experiment_by_name(name)
                assert found is not None
        return str(found.experiment_id)

    def _send_epoch(self, entry: Entry, *, again: bool) -> None:
        values = {key: float(value) for key, value in entry.items() if key not in ("epoch", "step", "best")}
        self._send_metrics(values, step=int(entry["epoch"]), again=again)

    def _send_metrics(self, values: Mapping[str, float], *, step: int, again: bool = False) -> None:
        # MLflow takes the same value at the same time twice for one: a message may be repeated.
        moment = int(time.time() * 1000)

        def message() -> None:
            from mlflow.entities import Metric

            if again and any(m.step == step for m in self._client.get_metric_history(self._run_id, next(iter(values)))):
                return
            self._client.log_batch(self._run_id, [Metric(key, value, moment, step) for key, value in values.items()])

        self._put(message)

    def _upload(self, folder: Path, file: Path) -> None:
        place = file.relative_to(folder).parent
        self._client.log_artifact(self._run_id, str(file), None if place == Path() else place.as_posix())

    def _register(self, folder: Path, metrics: Mapping[str, Any]) -> None:
        from mlflow.exceptions import MlflowException

        client, described = self._client, self._run
        there = {item.path for item in client.list_artifacts(self._run_id, "bundle")}
        missing = {f"bundle/{path.name}" for path in (folder / "bundle").iterdir()} - there
        if missing:
            raise ValueError(f"not registered, since {', '.join(sorted(missing))} did not arrive")
        name = re.sub(r"[/:]", "-", f"{described.dataset['name']}-{described.model}")
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        tags = {"run": folder.name, "dataset_sha256": str(described.dataset["sha256"])}
        if "accuracy" in metrics:
            tags |= {"accuracy": repr(float(metrics["accuracy"])), "split": str(metrics.get("split", ""))}
        known = client.search_model_versions(f"run_id = '{self._run_id}'")
        if known:
            version = known[0]  # registered before its answer got lost, or before a resume
        else:
            source = f"runs:/{self._run_id}/bundle"
            version = client.create_model_version(name, source, self._run_id, tags=tags, await_creation_for=0)
        client.set_registered_model_alias(name, "candidate", version.version)
        if _beats(tags, self._champion(name)):
            client.set_registered_model_alias(name, "champion", version.version)

    def _champion(self, name: str) -> dict[str, str] | None:
        """Return the tags of the registered model's champion; None when it has none."""
        if "champion" not in self._client.get_registered_model(name).aliases:
            return None
        return dict(self._client.get_model_version_by_alias(name, "champion").tags)


def _beats(tags: Mapping[str, str], champion: Mapping[str, str] | None) -> bool:
    """Whether a version with these tags becomes champion: it must be as accurate on the same images."""
    if champion is None:
        return True
    if any(tags.get(key) != champion.get(key) for key in ("dataset_sha256", "split")) or "accuracy" not in tags:
        return False
    return float(tags["accuracy"]) >= float(champion["accuracy"])


def _may_pass(error: Exception) -> bool:
    """Whether the same message may succeed later: the server is away or overloaded, and not of another opinion."""
    from mlflow.exceptions import MlflowException
    from requests import HTTPError, RequestException

    if isinstance(error, HTTPError) and error.response is not None:
        return error.response.status_code >= 500 or error.response.status_code == 429
    if isinstance(error, MlflowException):
        # Without an answer the client invents the status 500.
        status = int(error.get_http_status_code())  # type: ignore[no-untyped-call]
        return status >= 500 or status == 429
    return isinstance(error, RequestException | ConnectionError | TimeoutError)


def _parameters(described: RunDescription) -> dict[str, Any]:
    options = {f"option.{key}": value for key, value in described.model_options.items()}
    data = {"data": described.dataset["name"], "data_sha256": described.dataset["sha256"]}
    settings = {key: value for key, value in described.settings.items() if key not in ("name", "mlflow")}
    return {"model": described.model, **data, **settings, **options}


def _numbers(metrics: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    """Yield the summary's numbers and the ends of its intervals; those of single classes are in the report."""
    for key, value in metrics.items():
        if isinstance(value, int | float):
            yield f"{prefix}{key}", float(value)
        elif isinstance(value, list | tuple) and len(value) == 2 and key.endswith("interval"):
            yield from ((f"{prefix}{key}_low", float(value[0])), (f"{prefix}{key}_high", float(value[1])))


def _files(folder: Path) -> list[Path]:
    """Return what is worth keeping of a run's folder; checkpoints and TensorBoard's files stay where they are."""
    single = [folder / name for name in ("settings.json", "history.jsonl", "curves.png")]
    trees = [path for name in ("bundle", "report") for path in sorted((folder / name).rglob("*"))]
    return [path for path in [*single, *trees] if path.is_file()]
