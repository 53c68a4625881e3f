"""The tables of the registry's database. Changing one needs a migration (migrations/versions); a test compares the two.

Times are UTC. Texts that people give (names, labels) are bounded where they enter, not here. The service adds its own
tables (scores, sessions) to the same `Base`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class UtcTime(TypeDecorator[datetime]):
    """A moment in UTC; SQLite forgets time zones, so they are taken off and put back here."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return an aware moment."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def now() -> datetime:
    """Return this moment in UTC."""
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """All tables; constraints are named so that migrations can name them too."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcTime, dict[str, Any]: JSON(none_as_null=True), list[Any]: JSON}  # noqa: RUF012


class Model(Base):
    """A model's name. Its row is locked by everything that changes versions or aliases of that name."""

    __tablename__ = "models"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    last_number: Mapped[int] = mapped_column(default=0)


class VersionRow(Base):
    """One upload of a bundle. It gets its number, and is visible, only when the upload is complete (state ready).

    States: uploading -> ready -> deleting -> deleted, or uploading -> failed -> deleted. Numbers are never used again.
    """

    __tablename__ = "versions"
    __table_args__ = (UniqueConstraint("model", "number"), Index("ix_versions_state", "state"))

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name"))
    number: Mapped[int | None]
    state: Mapped[str] = mapped_column(String(20))
    location: Mapped[str] = mapped_column(String(300))
    sha256: Mapped[str] = mapped_column(String(64))
    bytes: Mapped[int] = mapped_column(BigInteger)
    files: Mapped[dict[str, Any]]
    description: Mapped[dict[str, Any]]
    parent: Mapped[str | None] = mapped_column(String(200))
    dataset_sha256: Mapped[str | None] = mapped_column(String(64))
    note: Mapped[str] = mapped_column(Text, default="")
    own_note: Mapped[dict[str, Any] | None]  # the note in parts, if the program wrote it
    created_at: Mapped[datetime] = mapped_column(default=now)
    ready_at: Mapped[datetime | None]


class Metric(Base):
    """One number of a version, such as accuracy, or class/cat/accuracy."""

    __tablename__ = "metrics"

    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(300), primary_key=True)
    value: Mapped[float]


class Alias(Base):
    """A name that points at one version of a model, such as champion."""

    __tablename__ = "aliases"

    model: Mapped[str] = mapped_column(ForeignKey("models.name"), primary_key=True)
    alias: Mapped[str] = mapped_column(String(100), primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"), index=True)
    moved_at: Mapped[datetime] = mapped_column(default=now)


class Move(Base):
    """One move of an alias, with the gates' answers and whether it was forced; never changed afterwards."""

    __tablename__ = "moves"
    __table_args__ = (Index("ix_moves_model_alias", "model", "alias"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name"))
    alias: Mapped[str] = mapped_column(String(100))
    action: Mapped[str] = mapped_column(String(20))  # promote or rollback
    from_id: Mapped[int | None] = mapped_column(ForeignKey("versions.id"))
    to_id: Mapped[int] = mapped_column(ForeignKey("versions.id"))
    forced: Mapped[bool] = mapped_column(default=False)
    gates: Mapped[list[Any]]
    note: Mapped[str] = mapped_column(Text, default="")
    own_note: Mapped[dict[str, Any] | None]
    at: Mapped[datetime] = mapped_column(default=now)


class LeaseRow(Base):
    """A process uses a version (serves it, copies it) until `expires_at`; it renews the lease while it lives."""

    __tablename__ = "leases"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"), index=True)
    holder: Mapped[str] = mapped_column(String(200))
    expires_at: Mapped[datetime]


class Prediction(Base):
    """One answer that a server gave. `input` (the drawing itself) only where the setting allows.

    What a shadow said beside an answer is here too, with `shadow_of` in `extra`; `given` leaves it out.
    """

    __tablename__ = "predictions"
    __table_args__ = (Index("ix_predictions_at", "at"), Index("ix_predictions_model", "model", "version", "at"))

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    model: Mapped[str] = mapped_column(String(100))
    version: Mapped[str] = mapped_column(String(100))
    label: Mapped[str] = mapped_column(String(200))
    confidence: Mapped[float]
    unsure: Mapped[bool] = mapped_column(default=False)
    ms: Mapped[float | None]
    input_kind: Mapped[str] = mapped_column(String(20), default="strokes")
    input_sha256: Mapped[str] = mapped_column(String(64))
    input: Mapped[dict[str, Any] | None]
    extra: Mapped[dict[str, Any] | None]

    @classmethod
    def given(cls) -> ColumnElement[bool]:
        """Return the condition that somebody got the answer."""
        condition: ColumnElement[bool] = cls.extra["shadow_of"].as_string().is_(None)
        return condition

    @staticmethod
    def was_given(row: Mapping[str, Any]) -> bool:
        """Return `given` for a row of an export, of which not all need have `extra`."""
        extra = row.get("extra")
        return not isinstance(extra, dict) or extra.get("shadow_of") is None


class Correction(Base):
    """What a person says a drawing is, waiting for review.

    States: pending -> accepted (label is right), relabelled (final_label is), rejected. A reviewed one keeps its input.
    """

    __tablename__ = "corrections"
    __table_args__ = (Index("ix_corrections_state", "state", "at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    prediction_id: Mapped[str | None] = mapped_column(String(36), index=True)  # the prediction may be gone by now
    model: Mapped[str] = mapped_column(String(100))
    version: Mapped[str] = mapped_column(String(100))
    predicted: Mapped[str] = mapped_column(String(200))
    confidence: Mapped[float | None]
    label: Mapped[str] = mapped_column(String(200))
    correct: Mapped[bool]
    input_kind: Mapped[str] = mapped_column(String(20), default="strokes")
    input_sha256: Mapped[str] = mapped_column(String(64), default="")
    input: Mapped[dict[str, Any] | None]
    source: Mapped[str] = mapped_column(String(50), default="feedback")
    state: Mapped[str] = mapped_column(String(20), default="pending")
    final_label: Mapped[str | None] = mapped_column(String(200))
    reviewer: Mapped[str | None] = mapped_column(String(100))
    reviewed_at: Mapped[datetime | None]
    split: Mapped[str | None] = mapped_column(String(10))  # train, val, test: for good once dealt; out: of no use
    learnt_in: Mapped[str | None] = mapped_column(String(200))  # the newest version that was trained on it


class Job(Base):
    """A piece of work that outlives a process: a training of train-all, a retrain.

    States: waiting -> running -> done, failed or cancelled; a running one whose heartbeat stopped may be taken over.
    `slot` is unique while it is not null: of the jobs that name the same one, only one is waiting or running.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_state", "state"),
        Index("ix_jobs_batch", "batch"),
        Index("uq_jobs_slot", "slot", unique=True),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    batch: Mapped[str] = mapped_column(String(100), default="")
    kind: Mapped[str] = mapped_column(String(50))
    spec: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(20), default="waiting")
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    worker: Mapped[str | None] = mapped_column(String(200))
    heartbeat_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(Text)
    result: Mapped[dict[str, Any] | None]
    slot: Mapped[str | None] = mapped_column(String(100))
    progress: Mapped[dict[str, Any] | None]


class Experiment(Base):
    """A candidate beside a live version: a split of the visitors (A/B), or a shadow that answers nobody.

    States: running -> better (it won), rolled back (it did harm), overtaken (its champion was replaced) or stopped (by
    hand). With `auto_promote`, better -> promoted, refused (the verdict has the error), overtaken or stopped.
    """

    __tablename__ = "experiments"
    __table_args__ = (Index("ix_experiments_state", "state"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    model: Mapped[str] = mapped_column(String(100))
    # What the service followed; "" is a fixed version. Those from before this was noted count as champion's.
    alias: Mapped[str] = mapped_column(String(100), server_default="champion")
    mode: Mapped[str] = mapped_column(String(20))  # split or shadow
    champion: Mapped[int]  # version numbers, as they were at the start
    candidate: Mapped[int]
    share: Mapped[float]
    auto_promote: Mapped[bool] = mapped_column(default=False)
    state: Mapped[str] = mapped_column(String(20), default="running")
    started_by: Mapped[str] = mapped_column(String(100), default="")
    started_at: Mapped[datetime] = mapped_column(default=now)
    ended_at: Mapped[datetime | None]
    verdict: Mapped[dict[str, Any] | None]


class GameSession(Base):
    """One game that somebody plays, with its running score. Its id is what allows to play on: it cannot be guessed.

    States: playing -> done. A race has one session per player.
    """

    __tablename__ = "game_sessions"
    __table_args__ = (Index("ix_game_sessions_started_at", "started_at"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    game: Mapped[str] = mapped_column(String(20))  # pictionary, infinite, eye or race
    level: Mapped[str] = mapped_column(String(20), default="")
    model: Mapped[str] = mapped_column(String(100))
    version: Mapped[str] = mapped_column(String(100))
    rounds: Mapped[int]  # planned; 0: until the player stops
    score: Mapped[int] = mapped_column(default=0)
    machine_score: Mapped[int] = mapped_column(default=0)
    streak: Mapped[int] = mapped_column(default=0)
    best_streak: Mapped[int] = mapped_column(default=0)
    state: Mapped[str] = mapped_column(String(20), default="playing")
    started_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None]
    extra: Mapped[dict[str, Any] | None]


class GameRound(Base):
    """One round: what is asked, when it began by the server's clock, and how it ended.

    States: open -> won or lost, once. `input` is the drawing, kept only where the setting allows; `spec` what was
    decided beforehand (a photo, the labels to choose from, the machine's answer, version and salt).
    """

    __tablename__ = "game_rounds"
    __table_args__ = (UniqueConstraint("session_id", "number"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("game_sessions.id"))
    number: Mapped[int]
    answer: Mapped[str] = mapped_column(String(200))
    state: Mapped[str] = mapped_column(String(20), default="open")
    seconds: Mapped[float]  # the limit
    started_at: Mapped[datetime] = mapped_column(default=now)
    took: Mapped[float | None]  # seconds until it ended
    points: Mapped[int] = mapped_column(default=0)
    guess: Mapped[str | None] = mapped_column(String(200))
    confidence: Mapped[float | None]
    input: Mapped[dict[str, Any] | None]
    spec: Mapped[dict[str, Any] | None]


class Score(Base):
    """A line of a leaderboard: at most one per session, which may be gone by now."""

    __tablename__ = "scores"
    __table_args__ = (
        UniqueConstraint("session_id"),
        Index("ix_scores_game", "game", "level", "at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[str] = mapped_column(String(36))
    game: Mapped[str] = mapped_column(String(20))
    level: Mapped[str] = mapped_column(String(20), default="")
    model: Mapped[str] = mapped_column(String(100), default="", server_default="")  # "": from before this was noted
    name: Mapped[str] = mapped_column(String(60))
    score: Mapped[int]
    at: Mapped[datetime] = mapped_column(default=now)
