"""`inksight report`: a matrix' report once more, without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from inksight.cli.options import settings_options
from inksight.cli.output import JsonFlag
from inksight.cli.train_all import show
from inksight.config import resolve
from inksight.settings import ReportSettings


@settings_options(ReportSettings)
def report(
    name: Annotated[str, typer.Argument(metavar="[MATRIX]", help="The matrix' name; none: the newest.")] = "",
    as_json: JsonFlag = False,
    options: dict[str, Any] = {},  # noqa: B006 - filled in by settings_options
    config: Path | None = None,
) -> None:
    """Write the report of a matrix again from its results, for example with another latency limit."""
    settings = resolve(ReportSettings, file=config, options=options)
    from inksight.tuning.matrix_report import write_matrix_report
    from inksight.tuning.train_all import load_matrix

    found, page = write_matrix_report(load_matrix(name), max_latency_ms=settings.max_latency_ms)
    show(found, page, as_json=as_json)
