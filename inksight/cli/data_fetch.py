"""`inksight data fetch`: brings Quick, Draw! drawings here, or asks whether they exist."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from inksight.cli.fetch_progress import Bars, Lines, size_text
from inksight.cli.options import class_names, settings_options
from inksight.cli.output import JsonFlag, print_json, print_table, say
from inksight.config import resolve
from inksight.errors import NotFoundError, UsageError
from inksight.settings import FetchSettings


@settings_options(FetchSettings)
def fetch(
    preset: Annotated[
        str | None,
        typer.Argument(help="A preset (see `inksight data list`), also with classes added: quickdraw20+dragon."),
    ] = None,
    classes: Annotated[str | None, typer.Option(help="These classes instead of the preset's: a,b,c.")] = None,
    add: Annotated[list[str] | None, typer.Option(help="One more class; may be given several times.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only ask whether each class exists; download nothing.")
    ] = False,
    json: JsonFlag = False,
    *,
    options: dict[str, Any],
    config: Path | None = None,
) -> None:
    """Fetch the first drawings of each class of Quick, Draw!.

    What is there already is verified and skipped, or extended. After Ctrl-C, a dropped connection or a crash the same
    command goes on where it stopped.
    """
    from inksight.data import presets, quickdraw

    base = presets.load(preset) if preset else None
    if base is not None and base.kind != "quickdraw":
        raise UsageError(
            f"preset {base.name!r} is of kind {base.kind}: there is nothing to download",
            hint=f"inksight data prepare {base.name}",
        )
    wanted = class_names(classes)
    chosen = presets.select(base, classes=wanted, add=add or [])
    settings = resolve(FetchSettings, preset=chosen.options.get("fetch"), file=config, options=options)
    for note in chosen.notes():
        say(note)
    if check:
        _check(quickdraw.check(chosen.classes, settings=settings), settings, json)
        return
    progress = Bars() if sys.stderr.isatty() else Lines()
    try:
        with progress:
            result = quickdraw.fetch(chosen.classes, settings=settings, progress=progress, strict=False)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("What has arrived is kept; the same command goes on from there.") from None
    if json:
        print_json(result.as_dict() | {"preset": chosen.name, "missing": chosen.missing, "renamed": chosen.renamed})
    elif result.paths:
        drawings = sum(file.count for file in result.files)
        here = size_text(sum(file.bytes for file in result.files))
        now = size_text(sum(file.transferred for file in result.files))
        print(f"{len(result.paths)} of {len(result.files)} classes, {drawings:,} drawings, {here} ({now} fetched now)")
        print(f"in {result.folder}")
    if result.failures:
        raise quickdraw.failure(result)


def _check(answers: dict[str, int | None], settings: FetchSettings, json: bool) -> None:
    if json:
        print_json({name: {"exists": size is not None, "bytes": size} for name, size in answers.items()})
    else:
        rows = [
            [name, "no" if size is None else "yes", "" if size is None else "?" if size < 0 else size_text(size)]
            for name, size in answers.items()
        ]
        print_table(["class", "exists", "whole file"], rows)
    absent = [name for name, size in answers.items() if size is None]
    if absent:
        raise NotFoundError(
            f"{len(absent)} of {len(answers)} classes are not at {settings.base_url}: {', '.join(absent[:10])}"
            + (f" and {len(absent) - 10} more" if len(absent) > 10 else ""),
            hint="Check --base-url and --format.",
        )
