"""Prometheus metrics with bounded labels: routes are templates, methods and statuses come from short lists.

With several workers each process writes its counts to files in PROMETHEUS_MULTIPROC_DIR, and any of them can answer
for all; what a worker that ended had counted still counts. Where there is no /proc, gauges of a killed worker stay.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from inksight.serving.live import LiveModel

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The service's counters; one set per application, shared by its workers through files."""

    def __init__(self) -> None:
        self._shared = bool(os.environ.get("PROMETHEUS_MULTIPROC_DIR"))
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "inksight_requests", "Requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "inksight_request_seconds", "Time to answer.", ["route"], buckets=_SECONDS, registry=self.registry
        )
        self._in_flight = Gauge(
            "inksight_requests_in_flight",
            "Requests being answered now.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._predictions = Counter(
            "inksight_predictions",
            "Inputs judged.",
            ["model", "version", "input", "unsure"],
            registry=self.registry,
        )
        self._batches = Histogram(
            "inksight_batch_size",
            "Inputs judged by one run of a model.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )
        self._models = Gauge(
            "inksight_model_live",
            "1 for the version of each model that answers.",
            ["model", "version"],
            registry=self.registry,
            multiprocess_mode="livemax",
        )

        self.swaps = Counter(
            "inksight_model_swaps", "Versions that an alias moved to.", ["model", "outcome"], registry=self.registry
        )
        self.logged = Counter("inksight_predictions_logged", "Answers written to the database.", registry=self.registry)
        self.log_dropped = Counter(
            "inksight_predictions_dropped", "Answers that the full queue of the log lost.", registry=self.registry
        )
        self.log_waiting = Gauge(
            "inksight_predictions_waiting",
            "Answers that wait to be written.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )

    def started(self) -> None:
        """Count a request in."""
        self._in_flight.inc()

    def finished(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request out."""
        self._in_flight.dec()
        self._requests.labels(method if method in _METHODS else "other", route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def predicted(self, model: LiveModel, kind: str, unsure: bool) -> None:
        """Count one judged input."""
        self._predictions.labels(model.name, model.version, kind, "true" if unsure else "false").inc()

    def batch(self, size: int) -> None:
        """Count one run of a model."""
        self._batches.observe(size)

    def live(self, models: Iterable[LiveModel], replaced: LiveModel | None = None) -> None:
        """State which versions answer; the one that was replaced goes to 0."""
        if replaced is not None:
            self._models.labels(replaced.name, replaced.version).set(0)
        for model in models:
            self._models.labels(model.name, model.version).set(1)

    def text(self) -> bytes:
        """Return the counts of all workers in Prometheus' text format."""
        if not self._shared:
            return generate_latest(self.registry)
        for path in Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).glob("gauge_live*_*.db"):
            process = int(path.stem.rpartition("_")[2])
            if not Path(f"/proc/{process}").exists() and Path("/proc").exists():
                mark_process_dead(process)  # type: ignore[no-untyped-call]
        everyone = CollectorRegistry()
        MultiProcessCollector(everyone)  # type: ignore[no-untyped-call]
        return generate_latest(everyone)
