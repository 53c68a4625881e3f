"""Behind tokens: retrains and trainings, started and watched from afar."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import Field

from inksight.errors import UsageError
from inksight.serving.admin import requires
from inksight.serving.logs import log
from inksight.serving.schemas import Shape
from inksight.serving.services import Services, services
from inksight.serving.tokens import Holder

router = APIRouter(prefix="/v1/jobs", tags=["admin"])

Allowed = Annotated[Holder, Depends(requires("jobs"))]
GATE_SETTINGS = {"force", "overall_margin", "class_margin"}
"""What a retrain may be told to pass the gates by."""

JobId = Annotated[str, Path(pattern="^[0-9a-f]{1,36}$", description="As the server gave it.")]


class NewJob(Shape):
    """What to do: train a registered model on its reviewed corrections, or a network on a dataset of the workspace."""

    kind: Literal["retrain", "train"]
    model: str = Field(max_length=100, description="The model's name in the registry.", examples=["doodle"])
    architecture: str | None = Field(default=None, max_length=100, description="Train: the network.")
    data: str | None = Field(default=None, max_length=200, description="Train: a dataset file's name, without .h5.")
    settings: dict[str, Any] = Field(
        default_factory=dict, description="As the options of the command, e.g. epochs.", examples=[{"epochs": 3}]
    )


class JobItem(Shape):
    """A piece of work that outlives the process that asked for it."""

    id: str
    kind: str
    model: str | None
    state: Literal["waiting", "running", "cancelling", "done", "failed", "cancelled"]
    progress: dict[str, Any] | None = Field(description="The stage, and the share of the whole that is done, 0..1.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: str | None


class JobPage(Shape):
    """Jobs, the newest first."""

    jobs: list[JobItem]
    to_learn: dict[str, int] = Field(description="By model: accepted drawings that no version has learnt yet.")


class JobDetail(JobItem):
    """One job with what it was asked, what came out, and the last lines of its log."""

    spec: dict[str, Any]
    result: dict[str, Any] | None = Field(description="Of one that failed: its error, in the one shape of errors.")
    log: list[str]


@router.get("")
def jobs(request: Request, holder: Allowed, limit: Annotated[int, Query(ge=1, le=500)] = 50) -> JobPage:
    """List the jobs, the newest first."""
    workshop = services(request).workshop
    return JobPage(jobs=[JobItem(**_facts(row)) for row in workshop.jobs.all(limit)], to_learn=workshop.to_learn())


@router.post("", status_code=201)
def start(request: Request, wanted: NewJob, holder: Allowed) -> JobDetail:
    """Start a retrain or a training on this machine; one at a time for each model.

    A retrain that is told how to pass the gates (force, the margins) needs the scope `models` too: it may move an
    alias that the gates would not.
    """
    shared = services(request)
    if wanted.kind == "retrain":
        if wanted.architecture is not None or wanted.data is not None:
            raise UsageError('"architecture" and "data" are for train', hint="A retrain has those of the model.")
        if not GATE_SETTINGS.isdisjoint(wanted.settings):
            holder.expect("models")
        job = shared.workshop.retrain(wanted.model, wanted.settings)
    elif wanted.architecture is None or wanted.data is None:
        raise UsageError('train needs "architecture" and "data"', hint="inksight models architectures lists networks.")
    else:
        job = shared.workshop.train(wanted.model, wanted.architecture, wanted.data, wanted.settings)
    log("job started", job=job.id, kind=job.kind, model=wanted.model, by=holder.name)
    return _detail(shared, job)


@router.get("/{job_id}")
def job(request: Request, job_id: JobId, holder: Allowed) -> JobDetail:
    """Return how a job is, with the last lines of its log."""
    shared = services(request)
    return _detail(shared, shared.workshop.jobs.find(job_id))


@router.post("/{job_id}/cancel")
def cancel(request: Request, job_id: JobId, holder: Allowed) -> JobDetail:
    """Ask a job to end. A training writes a checkpoint first; the same job started again goes on there."""
    shared = services(request)
    cancelled = shared.workshop.jobs.cancel(job_id)
    log("job cancelled", job=job_id, by=holder.name)
    return _detail(shared, cancelled)


def _facts(row: Any) -> dict[str, Any]:
    facts = {name: getattr(row, name) for name in JobItem.model_fields if name != "model"}
    return {**facts, "model": row.spec.get("model")}


def _detail(shared: Services, row: Any) -> JobDetail:
    return JobDetail(**_facts(row), spec=row.spec, result=row.result, log=shared.workshop.log(row))
