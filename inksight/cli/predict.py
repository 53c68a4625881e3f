"""`inksight predict`: answers for pictures, strokes and folders of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from inksight.cli.options import ModelArgument, settings_options
from inksight.cli.output import JsonFlag, print_json, print_table, say
from inksight.config import resolve
from inksight.settings import PredictSettings


@settings_options(PredictSettings, short={"top": "k"})
def predict(
    model: ModelArgument,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", help="Pictures, strokes (.json, .ndjson), bitmaps (.npy), folders, or - for stdin."
        ),
    ],
    json: JsonFlag = False,
    options: dict[str, Any] = {},  # noqa: B006 - filled in by settings_options
    config: Path | None = None,
) -> None:
    """Say what pictures or drawings show.

    Exits with 2 when any of them could not be read; the others are answered all the same.
    """
    settings = resolve(PredictSettings, file=config, options=options)
    import inksight
    from inksight.bundle.answers import STANDARD_INPUT, answer

    classifier = inksight.load(model, threads=settings.threads)
    stdin = sys.stdin.buffer.read() if STANDARD_INPUT in files else b""
    answers = list(answer(classifier, files, top=settings.top, unsure_below=settings.unsure_below, stdin=stdin))
    failed = [one for one in answers if one.error is not None]
    if settings.explain is not None and not failed:
        from inksight.evaluation.explain import explain_files

        say(f"explained in {explain_files(classifier, files, settings.explain, len(answers))}")
    if json:
        print_json([one.as_dict() for one in answers])
    else:
        rows = [
            [
                one.file if one.item is None else f"{one.file}:{one.item}",
                one.predictions[0][0] + (" (unsure)" if one.unsure else ""),
                f"{one.predictions[0][1]:.1%}",
                ", ".join(f"{label} {probability:.1%}" for label, probability in one.predictions[1:]),
            ]
            for one in answers
            if one.error is None
        ]
        if rows:
            print_table(["file", "answer", "probability", "else"], rows)
    for one in failed:
        if one.error is not None:
            place = one.file if one.item is None else f"{one.file}:{one.item}"
            say(f"error: {place}: {one.error.message}")
            if one.error.hint:
                say(f"  {one.error.hint}")
    if failed:
        say(f"{len(failed)} of {len(answers)} could not be answered")
        raise typer.Exit(2)
