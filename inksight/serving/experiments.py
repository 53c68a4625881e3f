"""A/B tests and shadows: which visitor meets which version, what they say about it, and when it is decided.

Visitors are dealt by a hash of the experiment and who they are, so that one stays with one version on every worker and
after a restart. Who they are is the header X-Client-Id or a cookie that the service sets while an experiment runs; a
client that keeps neither is a new visitor each time. The first verdict of each visitor counts (see
evaluation/sequential.py for why only that one), and the test may be looked at after every answer: it is, every few
seconds, and a candidate that does harm is stopped then and there.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, select, tuple_, update

from inksight.errors import InksightError, UnavailableError
from inksight.evaluation.sequential import Counts, Trial
from inksight.registry import notes
from inksight.serving.live import LiveModel
from inksight.serving.logs import log
from inksight.serving.sources import followed_alias, load_version

if TYPE_CHECKING:
    from inksight.serving.journal import Journal
    from inksight.serving.live import LiveModels
    from inksight.serving.predictor import Answer, Predictor
    from inksight.serving.storage import Storage

COOKIE = "inksight_visitor"
HEADER = "x-client-id"
SHADOWS = 64
"""Shadow answers under way; while as many wait, further ones are left out rather than slow anybody down."""

_VISITOR = re.compile(r"[A-Za-z0-9_.-]{8,64}")


@dataclass(frozen=True)
class Running:
    """A running experiment with its candidate loaded."""

    id: str
    model: str
    mode: str
    champion: int
    candidate: int
    share: float
    auto_promote: bool
    started_at: datetime
    live: LiveModel


@dataclass(frozen=True, slots=True)
class Dealt:
    """The version that a visitor meets, and what the log notes about it."""

    model: LiveModel
    extra: dict[str, Any] | None = None
    new_visitor: str | None = None
    shadow: Running | None = None


class Experiments:
    """The experiments of one process; all processes read them from the database."""

    def __init__(self, models: LiveModels, predictor: Predictor, journal: Journal, storage: Storage) -> None:
        self._models = models
        self._predictor = predictor
        self._journal = journal
        self._storage = storage
        self._running: dict[str, Running] = {}
        self._shadows: set[asyncio.Task[None]] = set()
        self._lock = asyncio.Lock()

    def deal(self, model: LiveModel, headers: Mapping[str, str], cookies: Mapping[str, str]) -> Dealt:
        """Return the version of a model that the visitor meets."""
        running = self._running.get(model.name)
        if running is None or model.version != str(running.champion):
            return Dealt(model)
        if running.mode == "shadow":
            return Dealt(model, {"experiment": running.id}, shadow=running)
        given = headers.get(HEADER) or cookies.get(COOKIE) or ""
        visitor = given if _VISITOR.fullmatch(given) else secrets.token_urlsafe(16)
        arm = "candidate" if dealt_share(running.id, visitor) < running.share else "champion"
        extra = {"experiment": running.id, "arm": arm, "visitor": hashed(running.id, visitor)}
        chosen = running.live if arm == "candidate" else model
        return Dealt(chosen, extra, new_visitor=None if visitor == given else visitor)

    def shadow(self, running: Running, answer: Answer) -> None:
        """Let the candidate judge what the champion has judged, after the answer and beside it."""
        if len(self._shadows) >= SHADOWS:
            return
        task = asyncio.create_task(self._shadow(running, answer))
        self._shadows.add(task)
        task.add_done_callback(self._shadows.discard)

    async def _shadow(self, running: Running, answer: Answer) -> None:
        from dataclasses import replace

        from inksight.serving.predictor import new_id

        try:
            probabilities = await self._predictor.judge_image(answer.image, running.live)
        except InksightError as error:
            log("a shadow answer failed", level=logging.WARNING, experiment=running.id, **error.as_dict())
            return
        shadow = replace(answer, id=new_id(), model=running.live, probabilities=probabilities)
        agrees = shadow.ranked(1)[0][0] == answer.ranked(1)[0][0]
        extra = {"experiment": running.id, "shadow_of": answer.id, "agrees": agrees}
        self._journal.record(shadow, 0.0, extra)

    async def refresh(self) -> None:
        """Read what runs, drop the candidates of experiments that ended, load new ones, decide, and promote."""
        async with self._lock:  # else the follower and a route load a candidate each, and one is never freed
            rows = {row.id: row for row in await asyncio.to_thread(self._read)}
            for running in list(self._running.values()):
                if running.id not in rows:
                    del self._running[running.model]
                    if running.live.release is not None:
                        await asyncio.to_thread(running.live.release)
            for row in rows.values():
                if row.model not in self._running and (started := await self._start(row)) is not None:
                    self._running[row.model] = started
            for running in list(self._running.values()):
                if running.mode == "split":
                    await asyncio.to_thread(self._decide, running)
            await asyncio.to_thread(self._promote_winners)

    async def stop(self) -> None:
        """Let shadows finish and free the candidates."""
        await asyncio.gather(*self._shadows, return_exceptions=True)
        for running in self._running.values():
            if running.live.release is not None:
                await asyncio.to_thread(running.live.release)

    def results(self, experiment: Any) -> dict[str, Any]:
        """Return what an experiment shows so far: the test's verdict of a split, the agreement of a shadow."""
        storage = self._storage
        prediction, correction = storage.tables.Prediction, storage.tables.Correction
        with storage.database.read() as session:
            since = prediction.at >= experiment.started_at
            if experiment.mode == "shadow":
                query = select(prediction.extra).where(
                    since, prediction.model == experiment.model, prediction.version == str(experiment.candidate)
                )
                agreed = [
                    extra["agrees"]
                    for extra in session.scalars(query)
                    if extra and extra.get("experiment") == experiment.id and "agrees" in extra
                ]
                return {"answers": len(agreed), "agreement": sum(agreed) / len(agreed) if agreed else None}
            said = session.execute(
                select(prediction.extra, correction.correct)
                .join(correction, correction.prediction_id == prediction.id)
                .where(since, prediction.model == experiment.model)
                .order_by(correction.id)
            )
            first: dict[str, tuple[str, bool]] = {}
            for extra, correct in said:
                if extra and extra.get("experiment") == experiment.id:
                    first.setdefault(extra["visitor"], (extra["arm"], bool(correct)))
        counts = {
            arm: Counts(
                sum(correct for which, correct in first.values() if which == arm),
                sum(which == arm for which, _ in first.values()),
            )
            for arm in ("champion", "candidate")
        }
        return Trial(share=experiment.share).judge(counts["champion"], counts["candidate"]).as_dict()

    def _read(self) -> list[Any]:
        """Return what runs here, and end what was overtaken."""
        storage = self._storage
        table = storage.tables.Experiment
        with storage.database.read() as session:
            query = select(table).where(table.state == "running", self._ours())
            rows = list(session.scalars(query.order_by(table.started_at)))
        return [row for row in rows if not self._overtaken(row)]

    def _ours(self) -> ColumnElement[bool]:
        """Return the condition for experiments of the models that are live here, by the aliases that they follow.

        Other services on this database follow others: those of doodle@staging say nothing about doodle@champion.
        """
        table = self._storage.tables.Experiment
        live = [(model.name, followed_alias(model) or "") for model in self._models.all() if model.release is not None]
        return tuple_(table.model, table.alias).in_(live)

    def _overtaken(self, row: Any) -> bool:
        """End an experiment whose champion the alias has left: with the version that answers now nothing was compared.

        The moves tell, not what is live here: this worker may be the last to follow.
        """
        if self._left_for(row) is None:
            return False
        if self.end(row.id, "overtaken", self.results(row)):
            log("the champion of an experiment was replaced", experiment=row.id, model=row.model, champion=row.champion)
        return True

    def _left_for(self, row: Any) -> int | None:
        """Return the version for which its alias left the champion of an experiment, None while it has not."""
        move, version = self._storage.tables.Move, self._storage.tables.VersionRow
        query = (
            select(move.to_id)
            .join(version, version.id == move.from_id)
            .where(move.model == row.model, move.alias == row.alias, move.at >= row.started_at)
            .where(version.number == row.champion)
            .order_by(move.id)
        )
        with self._storage.database.read() as session:
            target = session.scalars(query.limit(1)).first()
            return None if target is None else session.get_one(version, target).number

    async def _start(self, row: Any) -> Running | None:
        storage = self._storage
        reference = f"{row.model}:{row.candidate}"
        try:
            version = await asyncio.to_thread(storage.registry.find, reference)
            live = await asyncio.to_thread(load_version, storage, version, reference)
        except (UnavailableError, OSError) as error:
            # Other workers may have it, and here the next look.
            log("a candidate cannot be had now", level=logging.WARNING, experiment=row.id, reason=str(error))
            return None
        except InksightError as error:
            log("a candidate cannot be served", level=logging.ERROR, experiment=row.id, **error.as_dict())
            await asyncio.to_thread(self.end, row.id, "stopped", error.as_dict())
            return None
        log("experiment running", experiment=row.id, model=row.model, mode=row.mode, candidate=row.candidate)
        return Running(
            row.id, row.model, row.mode, row.champion, row.candidate, row.share, row.auto_promote, row.started_at, live
        )

    def _decide(self, running: Running) -> None:
        verdict = self.results(running)
        if verdict["decision"] == "roll back":
            if self.end(running.id, "rolled back", verdict):
                log("the candidate did harm and was stopped", level=logging.WARNING, experiment=running.id, **verdict)
        elif verdict["decision"] == "promote" and self.end(running.id, "better", verdict):
            log("the candidate is better", experiment=running.id, **verdict)

    def _promote_winners(self) -> None:
        """Promote what won and is to be promoted; tried at every look, as a server may be away and a worker die."""
        table = self._storage.tables.Experiment
        query = select(table).where(table.state == "better", table.auto_promote, self._ours())
        with self._storage.database.read() as session:
            rows = list(session.scalars(query))
        for row in rows:
            self._promote(row)

    def _promote(self, row: Any) -> None:
        left_for = self._left_for(row)
        if left_for is not None:
            # By a worker that died before it could say so, or by people; whatever they did since then stands.
            state = "promoted" if left_for == row.candidate else "overtaken"
            self.end(row.id, state, None, before=("better",))
            return
        note = notes.write("experiment", number=row.id)
        try:
            self._storage.registry.promote(row.model, row.candidate, alias=row.alias, note=note)
        except (UnavailableError, OSError) as error:
            log("a winner cannot be promoted now", level=logging.WARNING, experiment=row.id, reason=str(error))
        except InksightError as error:
            # A gate said no or cannot be asked, or the version is damaged or gone: another try would end the same way.
            if self.end(row.id, "refused", {**row.verdict, **error.as_dict()}, before=("better",)):
                log("the winner was refused", level=logging.WARNING, experiment=row.id, **error.as_dict())
        else:
            # Also where somebody called it off meanwhile: this is what happened.
            self.end(row.id, "promoted", None, before=("better", "stopped"))

    def end(
        self, number: str, state: str, verdict: dict[str, Any] | None, *, before: tuple[str, ...] = ("running",)
    ) -> bool:
        """Move an experiment on from one of the states `before`; False when another process was faster."""
        storage = self._storage
        table = storage.tables.Experiment
        values: dict[str, Any] = {"state": state, "ended_at": storage.tables.now()}
        if verdict is not None:
            values["verdict"] = verdict
        change = update(table).where(table.id == number, table.state.in_(before)).values(**values).returning(table.id)
        with storage.database.write() as session:
            return session.execute(change).first() is not None


def dealt_share(experiment: str, visitor: str) -> float:
    """Return where a visitor stands in 0..1, evenly spread and independent between experiments."""
    return int.from_bytes(hashlib.sha256(f"{experiment}/{visitor}".encode()).digest()[:7], "big") / 2**56


def hashed(experiment: str, visitor: str) -> str:
    """Return a visitor's name in the log: the same within an experiment, and no use outside it."""
    return hashlib.sha256(f"visitor/{experiment}/{visitor}".encode()).hexdigest()[:24]
