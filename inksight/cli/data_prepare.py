"""`inksight data prepare`: makes the dataset file."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inksight.cli.options import class_names, settings_options
from inksight.cli.output import JsonFlag, print_json, print_table, say
from inksight.errors import UsageError
from inksight.settings import PrepareSettings

if TYPE_CHECKING:
    from inksight.data.pack import Prepared


@settings_options(PrepareSettings)
def prepare(
    source: Annotated[
        list[str] | None,
        typer.Argument(
            help="A preset (see `inksight data list`, also quickdraw20+dragon), or a folder, .zip or .csv of photos. "
            "Several: their union, called combined."
        ),
    ] = None,
    classes: Annotated[str | None, typer.Option(help="These classes instead of the preset's or folder's.")] = None,
    add: Annotated[list[str] | None, typer.Option(help="One more class; may be given several times.")] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where the source lies. [default: the workspace's downloads]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The dataset file. [default: <home>/datasets/<name>.h5]")
    ] = None,
    json: JsonFlag = False,
    *,
    options: dict[str, Any],
    config: Path | None = None,
) -> None:
    """Make a dataset file: copies and blanks left out, split into train, val and test.

    Which pictures go where follows from their content and the seed; near-duplicates stay on one side.
    """
    started = time.perf_counter()
    from inksight.data import ensure

    wanted = class_names(classes)
    if source is not None and len(source) > 1:
        if wanted or add or folder:
            raise UsageError(
                "--classes, --add and --folder go with one source", hint="Prepare the sources one by one first."
            )
        prepared = ensure.prepare_combined(source, out=out, options=options, config=config, progress=Steps())
    else:
        prepared = ensure.prepare(
            source[0] if source else None,
            classes=wanted,
            add=add or [],
            folder=folder,
            out=out,
            options=options,
            config=config,
            progress=Steps(),
        )
    prepared = replace(prepared, seconds=time.perf_counter() - started)  # reading the source counts, too
    if json:
        print_json(prepared.as_dict())
    else:
        report(prepared)


class Steps:
    """Progress as one changing line on a terminal; elsewhere a line per step and one every ten seconds."""

    def __init__(self) -> None:
        self._step = ""
        self._said = 0.0
        self._live = sys.stderr.isatty()

    def __call__(self, step: str, share: float) -> None:
        """Show that `step` is done to `share` (0 to 1)."""
        if self._live:
            ending = "\n" if share >= 1 else ""
            sys.stderr.write(f"\r\033[K{step} {share:4.0%}{ending}")
            sys.stderr.flush()
        elif step != self._step or time.monotonic() - self._said > 10:
            say(f"{step} {share:.0%}" if step == self._step else step)
            self._said = time.monotonic()
        self._step = step


def report(prepared: Prepared) -> None:
    """Print what a preparation kept and left out, then what it skipped and why."""
    splits = list(prepared.counts)
    columns = ["class", *splits, "blank", "duplicate", "ambiguous"]
    rows = [
        [name, *(prepared.counts[s][name] for s in splits), prepared.blank[name], prepared.duplicate[name],
         prepared.ambiguous[name]]
        for name in prepared.blank
    ]  # fmt: skip
    total = ["all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])]
    print_table(columns, [*rows, total])
    if prepared.near_groups:
        groups = f"{prepared.near_groups:,} group{'s' * (prepared.near_groups != 1)}"
        print(f"near-duplicates kept on one side: {prepared.near_pictures:,} pictures in {groups}")
    for note in prepared.notes:
        print(f"note: {note}")
    if prepared.skipped:
        print(f"skipped {len(prepared.skipped)}:")
        for where, reason in prepared.skipped:
            print(f"  {where}: {reason}")
    print(f"{prepared.total:,} pictures in {prepared.seconds:.1f} s: {prepared.path}")
