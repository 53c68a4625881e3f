"""`inksight train-all`: many models on many datasets, then a report of which to use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from inksight.cli.matrix_progress import failure_lines, watcher
from inksight.cli.options import settings_options
from inksight.cli.output import JsonFlag, print_json, print_table, print_text, say
from inksight.config import read_sections, resolve
from inksight.settings import ReportSettings, TrainAllSettings

_LISTS = ("--models", "--datasets")
_COLUMNS = (
    *("model", "accuracy", "95 % interval", "balanced", "worst class"),
    *("parameters", "MB", "ms", "trained", "version"),
)
_SPARE = ("parameters", "trained", "balanced", "worst class", "version", "MB")  # they are in the report too


class Command(TyperCommand):
    """A command that takes `--models a b c` as well as `--models a,b,c`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Join the words after a list's option, up to the next option, by commas."""
        joined: list[str] = []
        collecting = False
        for word in args:
            if word in _LISTS:
                collecting = True
                joined += [word, ""]
            elif collecting and not word.startswith("-"):
                joined[-1] = f"{joined[-1]},{word}" if joined[-1] else word
            else:
                collecting = False
                joined.append(word)
        return super().parse_args(ctx, joined)


@settings_options(TrainAllSettings)
def train_all(
    as_json: JsonFlag = False,
    options: dict[str, Any] = {},  # noqa: B006 - filled in by settings_options
    config: Path | None = None,
) -> None:
    """Train every model on every dataset, register the results, and report which the games should use.

    The same command goes on after a stop or a crash and tries failed jobs again. In the file of --config, the tables
    [train] and [tune] hold for every job. --models and --datasets take several names, with spaces or commas between.
    """
    settings = resolve(TrainAllSettings, file=config, options=options)
    report = resolve(ReportSettings, file=config)
    tables = read_sections(config) if config is not None else {}
    from inksight.tuning.jobs import alike
    from inksight.tuning.matrix_report import write_matrix_report
    from inksight.tuning.train_all import train_all as run

    try:
        with watcher() as watch:
            matrix = run(
                settings, training=tables.get("train"), tuning=tables.get("tune"), watch=watch, say=say,
            )  # fmt: skip
    except KeyboardInterrupt:
        raise KeyboardInterrupt("What is done is kept; the same command goes on.") from None
    found, page = write_matrix_report(matrix, max_latency_ms=report.max_latency_ms)
    show(found, page, as_json=as_json)
    for failure in alike(found["failures"]):
        say(f"failed: {', '.join(failure['models'])} on {failure['dataset']}: {failure['message']}")
        for line in failure_lines(failure):
            say(f"    {line}")
    if found["failures"]:
        say(f"{len(found['failures'])} of {len(matrix.jobs)} jobs failed; the same command tries them again")
        raise typer.Exit(1)


def show(found: dict[str, Any], page: Path, *, as_json: bool) -> None:
    """Print a matrix' leaderboards and what the games should use."""
    if as_json:
        print_json({"report": str(page), **found})
        return
    for dataset in found["datasets"]:
        print(f"\n{dataset['name']}")
        if dataset["pick"]:
            print_table(_COLUMNS, [_cells(row) for row in dataset["rows"]], spare=_SPARE)
            print_text(f"for the games: {dataset['pick']['reference']}. {dataset['pick']['why']}")
        else:
            print("no model was trained to the end")
    print(f"\nreport: {page}")


def _cells(row: dict[str, Any]) -> list[Any]:
    low, high = row["accuracy_interval"]
    worst = f"{row['worst_class']} {row['worst_accuracy']:.1%}" if row["worst_class"] else ""
    return [
        row["model"], f"{row['accuracy']:.1%}", f"{low:.1%} to {high:.1%}", f"{row['balanced_accuracy']:.1%}", worst,
        f"{row['parameters']:,}", round(row["bytes"] / 1e6, 2), row["latency_ms"], f"{row['training_seconds']:.0f} s",
        row["reference"],
    ]  # fmt: skip
