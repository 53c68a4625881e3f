"""The drift check as a job: finds both periods from the settings and compares them."""

from __future__ import annotations

from pathlib import Path

from inksight.errors import unknown
from inksight.improve.drift import DriftReport, Sample, compare
from inksight.settings import DriftSettings


def watch(model: str, settings: DriftSettings | None = None) -> DriftReport:
    """Compare recent answers of `model` with earlier ones; see DriftSettings for where both come from.

    Raises UsageError for fewer than 50 answers in a period, NotFoundError and DataError for files.
    """
    settings = settings or DriftSettings()
    recent = _recent(model, settings)
    return compare(_reference(model, settings), recent, alpha=settings.alpha)


def _recent(model: str, settings: DriftSettings) -> Sample:
    from inksight.improve.history import exported

    if settings.recent is not None:
        return exported(settings.recent)
    return _from_log(model, settings, days=settings.recent_days, before_days=0)


def _reference(model: str, settings: DriftSettings) -> Sample:
    from inksight.improve.history import expected, exported

    if settings.reference is None:
        return _from_log(model, settings, days=settings.reference_days, before_days=settings.recent_days)
    if Path(settings.reference).suffix in (".jsonl", ".ndjson", ".json"):
        return exported(settings.reference)
    import inksight
    from inksight.data.ensure import find_dataset

    return expected(inksight.load(model), find_dataset(settings.reference))


def _from_log(model: str, settings: DriftSettings, *, days: float, before_days: float) -> Sample:
    from inksight import registry
    from inksight.improve.history import logged, models_in_log

    # The log knows models by name; `name@alias` and `name:3` are references to one of its versions.
    name, _, number = model.partition("@")[0].partition(":")
    version = settings.version or number or None
    opened = registry.open()
    try:
        found = logged(opened.database, name, days=days, before_days=before_days, version=version)
        if not len(found):
            known = models_in_log(opened.database)
            if known and name not in known:
                raise unknown("model", name, known, option="the prediction log")
        return found
    finally:
        opened.close()
