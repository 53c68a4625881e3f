"""`inksight models clean`: retention."""

from __future__ import annotations

import re
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from inksight.cli.options import between
from inksight.cli.output import JsonFlag, print_json
from inksight.errors import UsageError

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def clean(
    name: Annotated[str | None, typer.Argument(help="Only this model; default: all.")] = None,
    keep: Annotated[
        int, typer.Option(help="Newest versions of each model that stay.", callback=between(1), show_default=True)
    ] = 3,
    failed: Annotated[
        bool, typer.Option("--failed", help="Also remove failed uploads and training runs without a bundle.")
    ] = False,
    logs_older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="Also remove logs of that age: 7d, 12h, 30m, 2w.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed; remove nothing.")] = False,
    json: JsonFlag = False,
) -> None:
    """Remove old versions. One that has an alias, is in use, or that a rollback would need, always stays."""
    from inksight import registry

    age = None if logs_older_than is None else parse_age(logs_older_than)
    with closing(registry.open()) as store:
        if name is not None:
            store.versions(name)  # an unknown name is answered with the nearest ones
        done = store.clean(name, keep=keep, failed=failed, logs_older_than=age, dry_run=dry_run)
    if json:
        print_json(done.as_dict())
        return
    would = "would remove" if dry_run else "removed"
    for reference, reason in done.removed:
        print(f"{would} {reference}: {reason}")
    for reference, reason in done.kept:
        print(f"kept {reference}: {reason}")
    for run in done.runs:
        print(f"{would} run {run}: it has no bundle")
    print(
        f"{would} {len(done.removed)} versions, {done.uploads} failed uploads, {len(done.runs)} runs, "
        f"{len(done.logs)} log files, {done.predictions} logged predictions: {done.bytes / 1e6:.1f} MB"
    )


def parse_age(text: str) -> timedelta:
    """Return the length of time that 30m, 12h, 7d or 2w means; raises UsageError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([mhdw])", text.strip().lower())
    if match is None:
        raise UsageError(f"--logs-older-than: {text!r} is not an age", hint="Write 30m, 12h, 7d or 2w.")
    try:
        age = timedelta(**{_UNITS[match[2]]: float(match[1])})
        _ = datetime.now(UTC) - age
    except OverflowError:
        raise UsageError(f"--logs-older-than: {text!r} is longer ago than there are dates") from None
    return age
