"""What the service answers, one file per subject; each has a `router`."""

from __future__ import annotations

from inksight.serving.routes import (
    admin,
    experiments,
    explain,
    eye,
    feedback,
    games,
    health,
    jobs,
    models,
    predict,
    race,
    simple,
    versions,
)

# Predictions first: routes are tried in order.
ROUTERS = (
    predict.router,
    explain.router,
    feedback.router,
    health.router,
    models.router,
    simple.router,
    games.router,
    eye.router,
    race.router,
    versions.router,
    admin.router,
    jobs.router,
    experiments.router,
)
