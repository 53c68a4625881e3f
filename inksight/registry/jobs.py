"""Jobs: work that outlives the process that asked for it, and of which everybody who opens the database knows.

Whoever works on a job says every BEAT_SECONDS that it lives. One that has been silent for LOST_SECONDS counts as lost:
its process was killed, or the machine restarted. Of the jobs that name the same slot only one is active at a time.

    waiting -> running -> done | failed             running, waiting -> cancelling -> cancelled

Not guaranteed: that a lost job has really stopped; one that lives after all learns at its next beat that it should.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError

from inksight.errors import ConflictError, InksightError, NotFoundError, sentences
from inksight.registry.tables import Job, now

if TYPE_CHECKING:
    from inksight.registry.database import Database

ACTIVE = ("waiting", "running", "cancelling")
BEAT_SECONDS = 1.0
LOST_SECONDS = 60.0
"""Longer than a process of low priority waits on a loaded machine."""

LOST = "its process is gone: it was killed, or the machine restarted"


class JobError(InksightError):
    """A job's process ended before the job did; it is not the job that is wrong."""

    code = "job_ended"

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="Asked for again, it goes on at its last checkpoint; its log may say more.")


class Jobs:
    """The jobs of a database; every method asks it and may block."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, kind: str, spec: dict[str, Any], slot: str) -> Job:
        """Put a job down, to be started by the caller. Raises ConflictError while another one has the slot."""
        self.bury()
        job = Job(id=secrets.token_hex(8), kind=kind, spec=spec, slot=slot[:100], state="waiting", created_at=now())
        try:
            with self._database.write() as session:
                session.add(job)
        except IntegrityError:
            raise ConflictError(f"another job works on {slot}", hint="Wait for its end, or cancel it.") from None
        return job

    def all(self, limit: int = 50) -> Sequence[Job]:
        """Return the jobs, the newest first."""
        self.bury()
        with self._database.read() as session:
            return session.scalars(select(Job).order_by(Job.created_at.desc(), Job.id).limit(limit)).all()

    def find(self, job_id: str) -> Job:
        """Return a job; raises NotFoundError."""
        self.bury()
        with self._database.read() as session:
            job = session.get(Job, job_id)
        if job is None:
            raise NotFoundError(f"there is no job {job_id!r}", hint="GET /v1/jobs lists them.")
        return job

    def claim(self, job_id: str, worker: str) -> Job | None:
        """Begin to work on a waiting job; None when it is not to be done any more."""
        moment = now()
        claimed = self._move(
            job_id, ("waiting",), state="running", worker=worker, started_at=moment, heartbeat_at=moment
        )
        if not claimed:
            self._end(job_id, ("cancelling",), state="cancelled")
            return None
        return self.find(job_id)

    def beat(self, job_id: str, progress: dict[str, Any]) -> bool:
        """Say that the work goes on, and how far it is; return whether it is still wanted."""
        return self._move(job_id, ("running",), heartbeat_at=now(), progress=progress)

    def cancel(self, job_id: str) -> Job:
        """Ask a job to end. Raises NotFoundError, or ConflictError when it has ended."""
        if not self._move(job_id, ("waiting", "running"), state="cancelling") and self.find(job_id).state not in ACTIVE:
            raise ConflictError(f"job {job_id} has ended", hint="There is nothing to cancel.")
        return self.find(job_id)

    def finish(self, job_id: str, result: dict[str, Any]) -> None:
        """End a job that is done, and free its slot."""
        # What it said last may not have been written down: it is, once in a while.
        self._end(job_id, ACTIVE, state="done", result=result, progress={"stage": "done", "share": 1.0})

    def fail(self, job_id: str, error: InksightError) -> None:
        """End a job that failed, and free its slot; a failure that was asked for is a cancellation.

        `error` is kept as a sentence, and as the result in the one error shape, so that a page can say it in its words.
        """
        why = {"error": sentences(error.message, error.hint), "result": error.as_dict()}
        self._end(job_id, ("cancelling",), state="cancelled", **why)
        self._end(job_id, ACTIVE, state="failed", **why)

    def bury(self) -> None:
        """End the jobs that have been silent for too long."""
        before = now() - timedelta(seconds=LOST_SECONDS)
        with self._database.read() as session:
            lost = session.scalars(
                select(Job.id).where(Job.state.in_(ACTIVE), func.coalesce(Job.heartbeat_at, Job.created_at) < before)
            ).all()
        for job_id in lost:
            self.fail(job_id, JobError(LOST))

    def _end(self, job_id: str, states: Sequence[str], **values: Any) -> None:
        self._move(job_id, states, slot=None, finished_at=now(), **values)

    def _move(self, job_id: str, states: Sequence[str], **values: Any) -> bool:
        with self._database.write() as session:
            moved = session.execute(update(Job).where(Job.id == job_id, Job.state.in_(states)).values(**values))
        return bool(moved.rowcount)  # type: ignore[attr-defined]
