"""The prediction log: every answer goes to the database, and no answer waits for it.

Answers are put into a queue in memory and written by a thread, many at a time. While the database is away the queue
grows to its bound; what does not fit is dropped and counted. Old rows are deleted once an hour.

Not guaranteed: answers of the last quarter of a second before a process is killed.
"""

from __future__ import annotations

import base64
import logging
import threading
import time
from collections import OrderedDict, deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert
from sqlalchemy.exc import SQLAlchemyError

from inksight.errors import InksightError
from inksight.serving.inputs import Picture
from inksight.serving.logs import log
from inksight.serving.metrics import Metrics
from inksight.settings import ServeSettings

if TYPE_CHECKING:
    from inksight.serving.predictor import Answer
    from inksight.serving.storage import Storage

PAUSE = 0.25
BATCH = 500
FIRST_PRUNE = 60.0
"""Seconds: a server that is only tried out has nothing to delete and needs no database for it."""

RECENT = 5_000
"""Answers kept in memory, so that feedback finds one that is not written yet."""


class Journal:
    """Writes answers in the background; `record` is called by the event loop, everything else by any thread."""

    def __init__(self, storage: Storage, settings: ServeSettings, metrics: Metrics) -> None:
        self._storage = storage
        self._metrics = metrics
        self._settings = settings
        self._queue: deque[dict[str, Any]] = deque()
        self._recent: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._failing = False
        self._next_prune = time.monotonic() + FIRST_PRUNE
        self.dropped = 0

    def start(self) -> None:
        """Start writing."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, once, and end."""
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def waiting(self) -> int:
        """Answers that are not written yet."""
        return len(self._queue)

    def record(self, answer: Answer, ms: float, extra: dict[str, Any] | None = None) -> None:
        """Take an answer over; never waits."""
        entry = {"answer": answer, "ms": ms, "at": time.time(), "extra": extra}
        self._recent[answer.id] = entry
        if len(self._recent) > RECENT:
            self._recent.popitem(last=False)
        if not self._settings.log_predictions:
            return
        if len(self._queue) >= self._settings.log_queue:
            self.dropped += 1
            self._metrics.log_dropped.inc()
            return
        self._queue.append(entry)

    def recent(self, prediction_id: str) -> dict[str, Any] | None:
        """Return the row of an answer that this process gave lately, or None."""
        entry = self._recent.get(prediction_id)
        return None if entry is None else self._row(entry)

    def _work(self) -> None:
        pause = PAUSE
        while not self._stopping.is_set():
            self._wake.wait(pause)
            pause = PAUSE if self._write() else min(5.0, 2 * pause)
            self._metrics.log_waiting.set(len(self._queue))
            self._prune()
        self._write()
        if self._queue:
            log("predictions were not written", level=logging.WARNING, lost=len(self._queue), dropped=self.dropped)

    def _write(self) -> bool:
        """Write what waits; False when the database did not take it."""
        while self._queue:
            entries = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            try:
                # The table, not the class: the object mapper would cost as much again as the insert.
                table = self._storage.tables.Prediction.__table__
                rows = [self._row(entry) for entry in entries]
                with self._storage.database.write() as session:
                    session.connection().execute(insert(table), rows)
            except (InksightError, SQLAlchemyError) as error:
                self._queue.extendleft(reversed(entries))
                if not self._failing:
                    log("the database does not take predictions", level=logging.WARNING, reason=str(error)[:300])
                self._failing = True
                return False
            self._metrics.logged.inc(len(entries))
            if self._failing:
                log("the database takes predictions again", dropped=self.dropped, waiting=len(self._queue))
            self._failing = False
        return True

    def _prune(self) -> None:
        if not self._settings.log_days or self._failing or time.monotonic() < self._next_prune:
            return
        self._next_prune = time.monotonic() + 3600
        oldest = datetime.now(UTC) - timedelta(days=self._settings.log_days)
        table = self._storage.tables.Prediction
        try:
            with self._storage.database.write() as session:
                session.execute(delete(table).where(table.at < oldest))
        except (InksightError, SQLAlchemyError) as error:
            log("old predictions could not be deleted", level=logging.WARNING, reason=str(error)[:300])

    def _row(self, entry: dict[str, Any]) -> dict[str, Any]:
        answer: Answer = entry["answer"]
        best = int(answer.probabilities.argmax())
        return {
            "id": answer.id,
            "at": datetime.fromtimestamp(entry["at"], UTC),
            "model": answer.model.name,
            "version": answer.model.version,
            "label": answer.model.classes[best],
            "confidence": round(float(answer.probabilities[best]), 6),
            "unsure": answer.unsure,
            "ms": entry["ms"],
            "input_kind": answer.kind,
            "input_sha256": answer.input_hash,
            "input": kept_input(answer) if self._settings.keep_drawings else None,
            "extra": entry["extra"],
        }


def kept_input(answer: Answer) -> dict[str, Any]:
    """Return the drawing as it is kept: the strokes, or of a picture the image that the model saw."""
    if isinstance(answer.source, Picture):
        return {"image": base64.b64encode(answer.image.tobytes()).decode(), "shape": list(answer.image.shape)}
    return {"strokes": [stroke[:2] for stroke in answer.source.strokes]}
