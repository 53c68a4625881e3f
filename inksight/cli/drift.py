"""`inksight drift`: do visitors draw, and does the model answer, as before?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from inksight.cli.options import settings_options
from inksight.cli.output import JsonFlag, print_json, print_table, say
from inksight.config import resolve
from inksight.settings import DriftSettings


@settings_options(DriftSettings)
def drift(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Name of a served model; for a dataset as reference, what loads it.")
    ],
    json: JsonFlag = False,
    options: dict[str, Any] = {},  # noqa: B006 - filled in by settings_options
    config: Path | None = None,
) -> None:
    """Compare a model's recent answers with earlier ones, or with what it answers on a dataset.

    Without files, both periods come from the prediction log of the service.
    """
    settings = resolve(DriftSettings, file=config, options=options)
    from inksight.improve.watch import watch

    report = watch(model, settings)
    if json:
        print_json(report.as_dict())
    else:
        for note in report.notes:
            say(f"note: {note}")
        rows = [
            [
                check.name,
                check.verdict(report.alpha),
                f"{check.before:.3f} -> {check.after:.3f} ({check.detail})",
                f"{check.size:.3f}",
                f"{check.p:.2g}",
                f"{check.n_before:,} / {check.n_after:,}",
            ]
            for check in report.checks
        ]
        print_table(["check", "shift", "before -> after", "size", "p, adjusted", "n"], rows)
        print(f"{report.recent} against {report.reference}: {'DRIFT' if report.drifted else 'no drift'}")
    if report.drifted and settings.fail:
        raise typer.Exit(1)
