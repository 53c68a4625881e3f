"""`inksight tune`: search for the settings that make a model best on a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from inksight.cli.options import settings_options
from inksight.cli.output import JsonFlag, print_json, print_table, say
from inksight.config import resolve
from inksight.settings import TuneSettings


@settings_options(TuneSettings)
def tune(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A preset's name, a dataset file or a folder.")],
    model: Annotated[str, typer.Option("--model", "-m", metavar="NAME", help="The model.")] = "sketchnet-s",
    as_json: JsonFlag = False,
    options: dict[str, Any] = {},  # noqa: B006 - filled in by settings_options
    config: Path | None = None,
) -> None:
    """Search for the settings that make a model best on a dataset; the same command goes on after a stop.

    Only the validation split is looked at. `inksight train DATA --from-study NAME` then uses what was found.
    """
    settings = resolve(TuneSettings, file=config, options=options)
    from inksight.tuning import tune as search
    from inksight.tuning.report import summary, write_report
    from inksight.workspace import workspace

    try:
        found = search(data, model=model, settings=settings, say=say)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("What is done is kept; the same command goes on.") from None
    page = write_report(found, workspace().home / "reports" / f"study-{found.best.study}")
    if as_json:
        print_json({"report": str(page), **summary(found)})
        return
    names = sorted({name for best in found.front for name in {**best.settings, **best.options}})
    rows = [
        [best.number, *best.values, *({**best.settings, **best.options}.get(name, "") for name in names)]
        for best in found.front
    ]
    print_table(["trial", *settings.objective, *names], rows)
    print(f"report: {page}")
    print(f"next:   inksight train {data} --from-study {found.best.study}")
