"""The prediction log: every answer goes to the database, and no answer waits for it.

Answers become rows at once, so that no picture is held any longer, and are written by a thread, many at a time. While
the database is away they wait, up to a bound in number and memory; what does not fit, there or in the table, is dropped
and counted. Old rows are deleted once an hour.

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

import orjson
from sqlalchemy import delete
from sqlalchemy.exc import DataError, IntegrityError

from inksight.registry.cleanup import outdated
from inksight.registry.database import insert_new
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
"""Answers kept in memory where none are written, so that feedback finds them."""

KEPT_BYTES = 256 * 2**20
"""Most memory for drawings and photos that wait to be written; without them a row is about a kilobyte."""

UNFIT = (DataError, IntegrityError, ValueError)
"""What a database that answers raises for a row that it will never take, such as one with a NUL in a text."""

Row = dict[str, Any]


class Journal:
    """Writes answers in the background; `record` is called by the event loop, everything else by any thread."""

    def __init__(self, storage: Storage, settings: ServeSettings, metrics: Metrics) -> None:
        self._storage = storage
        self._metrics = metrics
        self._settings = settings
        self._queue: deque[Row] = deque()
        self._recent: OrderedDict[str, Row] = OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.Lock()
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
        """Take an answer over; never waits for the database."""
        settings = self._settings
        row = row_of(answer, ms, extra, keep=settings.keep_drawings)
        with self._lock:
            if settings.log_predictions:
                if len(self._queue) >= settings.log_queue or self._kept_bytes > KEPT_BYTES:
                    self.dropped += 1
                    self._metrics.log_dropped.inc()
                    return
                self._queue.append(row)
            self._recent[row["id"]] = row
            self._kept_bytes += _bytes(row)
            while not settings.log_predictions and (len(self._recent) > RECENT or self._kept_bytes > KEPT_BYTES):
                self._kept_bytes -= _bytes(self._recent.popitem(last=False)[1])

    def recent(self, prediction_id: str) -> Row | None:
        """Return the row of an answer that this process gave lately and has not written, or None."""
        row = self._recent.get(prediction_id)
        return None if row is None else _readable(row)

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
        size = BATCH
        while self._queue:
            # They wait until they are written; nobody else takes any.
            rows = [self._queue[index] for index in range(min(size, len(self._queue)))]
            try:
                self._insert(rows)
            except UNFIT as error:
                # One of them would keep all others waiting for ever: it is found by halves.
                if len(rows) == 1:
                    self._drop(rows[0], error)
                size = max(1, len(rows) // 2)
                continue
            except Exception as error:  # noqa: BLE001  (whatever it is, it may pass, and the answers wait)
                if not self._failing:
                    log("the database does not take predictions", level=logging.WARNING, reason=str(error)[:300])
                self._failing = True
                return False
            size = min(BATCH, 2 * size)
            self._metrics.logged.inc(len(rows))
            with self._lock:
                for _ in rows:
                    self._forget_first()
            if self._failing:
                log("the database takes predictions again", dropped=self.dropped, waiting=len(self._queue))
            self._failing = False
        return True

    def _insert(self, rows: list[Row]) -> None:
        # The table, not the class: the object mapper would cost as much again as the insert.
        table = self._storage.tables.Prediction.__table__
        with self._storage.database.write() as session:
            # Rows may be there already: a connection can break between the commit and the word of it.
            session.connection().execute(insert_new(session, table), [_readable(row) for row in rows])

    def _drop(self, row: Row, error: Exception) -> None:
        log("the database refuses a prediction", level=logging.WARNING, id=row["id"], reason=str(error)[:300])
        self._metrics.log_dropped.inc()
        with self._lock:
            self.dropped += 1
            self._forget_first()

    def _forget_first(self) -> None:
        self._kept_bytes -= _bytes(self._recent.pop(self._queue.popleft()["id"]))

    def _prune(self) -> None:
        if not self._settings.log_days or self._failing or time.monotonic() < self._next_prune:
            return
        self._next_prune = time.monotonic() + 3600
        oldest = datetime.now(UTC) - timedelta(days=self._settings.log_days)
        table = self._storage.tables.Prediction
        try:
            with self._storage.database.write() as session:
                session.execute(delete(table).where(outdated(oldest)))
        except Exception as error:  # noqa: BLE001  (the next hour brings another try; answers must be written on)
            log("old predictions could not be deleted", level=logging.WARNING, reason=str(error)[:300])


def row_of(answer: Answer, ms: float, extra: dict[str, Any] | None, *, keep: bool) -> Row:
    """Return an answer as a row of the table, its drawing as JSON in bytes.

    Thousands of lists of numbers that live for a while would cost the garbage collector a fifth of the processor.
    """
    best = int(answer.probabilities.argmax())
    return {
        "id": answer.id,
        "at": datetime.now(UTC),
        "model": answer.model.name,
        "version": answer.model.version,
        "label": answer.model.classes[best],
        "confidence": round(float(answer.probabilities[best]), 6),
        "unsure": answer.unsure,
        "ms": ms,
        "input_kind": answer.kind,
        "input_sha256": answer.input_hash,
        "input": orjson.dumps(kept_input(answer)) if keep else None,
        "extra": extra,
    }


def _bytes(row: Row) -> int:
    return len(row["input"] or b"")


def _readable(row: Row) -> Row:
    return row | {"input": orjson.loads(row["input"])} if row["input"] else row


def kept_input(answer: Answer) -> dict[str, Any]:
    """Return the drawing as it is kept: the strokes, or of a picture the image that the model saw."""
    if isinstance(answer.source, Picture):
        return {"image": base64.b64encode(answer.image.tobytes()).decode(), "shape": list(answer.image.shape)}
    return {"strokes": [stroke[:2] for stroke in answer.source.strokes]}
