"""`inksight retrain`: reviewed corrections become a better version."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from inksight.cli.options import settings_options
from inksight.cli.output import JsonFlag, print_json, say
from inksight.config import resolve
from inksight.settings import RetrainSettings


@settings_options(RetrainSettings)
def retrain(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Name in the registry (its champion), name@alias or name:version.")
    ],
    as_json: JsonFlag = False,
    options: dict[str, Any] = {},  # noqa: B006 - filled in by settings_options
    config: Path | None = None,
) -> None:
    """Train a model on its accepted corrections, judge it beside the old version, and promote it through the gates.

    Stopped or killed, the same command goes on. Exit code 1 when a gate says no, or when people went back from just
    that version before; 0 when there is nothing to learn.
    """
    settings = resolve(RetrainSettings, file=config, options=options)
    from inksight.improve.retrain import retrain as run

    try:
        done = run(model, settings, progress=lambda stage, share: say(stage), quiet=as_json)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("What is done is kept; the same command goes on.") from None
    if as_json:
        print_json(done.as_dict())
    else:
        _print(done.as_dict())
    if done.outcome in ("refused", "rolled_back"):
        raise typer.Exit(1)


def _print(done: dict[str, Any]) -> None:
    from inksight.improve.additions import LEFT_OUT

    counts = done["corrections"]
    print(
        f"corrections: {counts['train']} to train on ({counts['new']} of them new), {counts['val']} to validate on, "
        f"{counts['held_back']} held back"
    )
    for reason, count in counts["left_out"].items():
        print(f"  left out: {count}, {LEFT_OUT[reason]}")
    for name, title in (("test", "test split"), ("held_back", "held-back corrections")):
        found = done[name]
        if found:
            low, high = found["interval"]
            print(
                f"{title}: {found['old']:.1%} -> {found['new']:.1%} ({found['difference']:+.1%}, {low:+.1%} to "
                f"{high:+.1%}, n = {found['n']:,}, McNemar p = {found['p']:.2g})"
            )
    for answer in done["gates"]:
        say(f"{'passed' if answer['passed'] else 'FAILED'}  {answer['gate']}: {answer['detail']}")
    print(done["message"])
