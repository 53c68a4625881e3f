"""Retention: removes old versions, failed uploads and old logs; says first what it would do and why it keeps the rest.

Never removed: a version with an alias, one that a process holds a lease on (it serves or copies it), the one that a
rollback would go back to, and the newest `keep`. The choice and the change to state "deleting" are one transaction
under the model's lock, so a promotion at the same moment comes either before it (the version is kept) or after it (the
promotion is refused). Files go afterwards; a clean-up that is killed in between is finished by the next.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, select
from sqlalchemy.orm import Session

from inksight.errors import UsageError
from inksight.registry.aliases import previous_target
from inksight.registry.store import Store
from inksight.registry.tables import Alias, Experiment, LeaseRow, Model, Prediction, VersionRow, now
from inksight.registry.versions import lock_model

_ABANDONED = timedelta(hours=1)  # an upload that takes longer than this is taken for dead


@dataclass
class Cleaned:
    """What was removed (or would be, in a dry run) and what was kept although it is old, each with the reason."""

    dry_run: bool
    removed: list[tuple[str, str]] = field(default_factory=list)
    kept: list[tuple[str, str]] = field(default_factory=list)
    uploads: int = 0
    runs: list[str] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)
    predictions: int = 0
    bytes: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "dry_run": self.dry_run,
            "removed": [{"version": ref, "reason": reason} for ref, reason in self.removed],
            "kept": [{"version": ref, "reason": reason} for ref, reason in self.kept],
            "failed_uploads": self.uploads,
            "failed_runs": self.runs,
            "logs": self.logs,
            "predictions": self.predictions,
            "bytes": self.bytes,
        }


def clean(
    store: Store,
    name: str | None = None,
    *,
    keep: int | None = 3,
    failed: bool = False,
    logs_older_than: timedelta | None = None,
    dry_run: bool = False,
) -> Cleaned:
    """Remove all but the newest `keep` versions of each model (None: leave them), and what else is asked for.

    `failed`: uploads and training runs that ended without a bundle. `logs_older_than`: training logs and logged
    predictions of that age, but those that a running experiment counts. With `name`, only that model's versions and
    uploads.
    """
    if keep is not None and keep < 1:
        raise UsageError(f"--keep: {keep} is too small", hint="It must be at least 1.")
    report = Cleaned(dry_run)
    with store.database.read() as session:
        query = select(Model.name).order_by(Model.name)
        models = [found for found in session.scalars(query) if name in (None, found)]
    for model in models:
        _clean_model(store, model, keep, failed, report)
    if failed and name is None:
        _clean_runs(store, report)
    if logs_older_than is not None and name is None:
        _clean_logs(store, now() - logs_older_than, report)
    return report


def _clean_model(store: Store, model: str, keep: int | None, failed: bool, report: Cleaned) -> None:
    with store.database.write() as session:
        lock_model(session, model)
        doomed = [] if keep is None else _choose(session, model, keep, report)
        if failed:
            dead = _dead_uploads(session, model)
            report.uploads += len(dead)
            doomed += dead
        report.bytes += sum(row.bytes for row in doomed)
        if report.dry_run:
            session.rollback()
            return
        for row in doomed:
            row.state = "deleting"
        session.flush()
        unfinished = select(VersionRow).where(VersionRow.model == model, VersionRow.state == "deleting")
        places = [(row.id, row.location, row.sha256) for row in session.scalars(unfinished)]
    for row_id, location, sha256 in places:
        store.artifacts.delete(location)
        with store.database.write() as session:
            session.get_one(VersionRow, row_id).state = "deleted"
            sharing = select(func.count()).where(VersionRow.sha256 == sha256, VersionRow.state == "ready")
            alone = session.execute(sharing).scalar_one() == 0
        if alone:
            shutil.rmtree(store.cache / sha256, ignore_errors=True)


def _choose(session: Session, model: str, keep: int, report: Cleaned) -> list[VersionRow]:
    """Return the versions to remove and note in the report why each old one goes or stays."""
    query = select(VersionRow).where(VersionRow.model == model, VersionRow.state == "ready")
    rows = list(session.scalars(query.order_by(VersionRow.number.desc())))
    aliases = list(session.scalars(select(Alias).where(Alias.model == model)))
    session.execute(delete(LeaseRow).where(LeaseRow.expires_at < now()))
    reasons = {row.id: f"one of the newest {keep}" for row in rows[:keep]}
    for lease in session.scalars(select(LeaseRow)):
        reasons[lease.version_id] = f"in use: {lease.holder}"
    for alias in aliases:
        target = previous_target(session, model, alias.alias)
        if target is not None:
            reasons[target.id] = f"{alias.alias} would roll back to it"
    for alias in aliases:
        reasons[alias.version_id] = f"is {alias.alias}"
    for row in rows[keep:]:
        if row.id in reasons:
            report.kept.append((f"{model}:{row.number}", reasons[row.id]))
    doomed = [row for row in rows if row.id not in reasons]
    report.removed += [(f"{model}:{row.number}", f"older than the newest {keep}") for row in doomed]
    return doomed


def _dead_uploads(session: Session, model: str) -> list[VersionRow]:
    query = select(VersionRow).where(VersionRow.model == model, VersionRow.state.in_(["failed", "uploading"]))
    limit = now() - _ABANDONED
    return [row for row in session.scalars(query) if row.state == "failed" or row.created_at < limit]


def _clean_runs(store: Store, report: Cleaned) -> None:
    """Remove run folders without a bundle that nothing has written to for an hour."""
    limit = (now() - _ABANDONED).timestamp()
    for run in sorted(store.runs.iterdir()) if store.runs.is_dir() else []:
        if not run.is_dir() or run.is_symlink() or (run / "bundle").exists():
            continue
        files = [path for path in run.rglob("*") if path.is_file()]
        newest = max((path.stat().st_mtime for path in [run, *files]), default=0.0)
        if newest < limit:
            report.runs.append(run.name)
            report.bytes += sum(path.stat().st_size for path in files)
            if not report.dry_run:
                shutil.rmtree(run)


def _clean_logs(store: Store, limit: datetime, report: Cleaned) -> None:
    """Remove TensorBoard files and *.log files of runs, and logged predictions, older than `limit`."""
    for path in _log_files(store.runs):
        if path.stat().st_mtime < limit.timestamp():
            report.logs.append(path.relative_to(store.runs).as_posix())
            report.bytes += path.stat().st_size
            if not report.dry_run:
                path.unlink()
    with store.database.write() as session:
        old = outdated(limit)
        report.predictions = session.execute(select(func.count()).select_from(Prediction).where(old)).scalar_one()
        if not report.dry_run:
            session.execute(delete(Prediction).where(old))


def outdated(limit: datetime) -> ColumnElement[bool]:
    """Return the condition for logged predictions that are older than `limit` and that no running experiment counts.

    What people said of its answers can be told apart only by these; a test from which evidence goes proves nothing.
    """
    counting = (
        select(Experiment.id)
        .where(Experiment.state == "running", Experiment.model == Prediction.model)
        .where(Experiment.started_at <= Prediction.at)
    )
    return and_(Prediction.at < limit, ~counting.exists())


def _log_files(runs: Path) -> list[Path]:
    if not runs.is_dir():
        return []
    found = [*runs.glob("*/tensorboard/**/*"), *runs.glob("*/**/*.log")]
    return sorted({path for path in found if path.is_file() and not path.is_symlink()})
