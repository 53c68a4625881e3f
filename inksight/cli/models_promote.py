"""`inksight models promote` and `inksight models rollback`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inksight.cli.options import between, settings_options
from inksight.cli.output import JsonFlag, print_json, say
from inksight.config import resolve
from inksight.errors import GateError
from inksight.settings import GateSettings

if TYPE_CHECKING:
    from inksight.registry import Promotion
    from inksight.registry.gates import Answer

AliasOption = Annotated[str, typer.Option(help="The alias to move.")]


@settings_options(GateSettings)
def promote(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="name (its newest version), name@alias or name:3.")],
    alias: AliasOption = "champion",
    data: Annotated[
        str | None, typer.Option(help="Judge both versions on this dataset now; default: what their bundles say.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Move the alias whatever the gates say; this is recorded.")
    ] = False,
    note: Annotated[str, typer.Option(help="Why.")] = "",
    json: JsonFlag = False,
    *,
    options: dict[str, Any],
    config: Path | None = None,
) -> None:
    """Point an alias at a version if it passes the gates against the version it points at now."""
    from inksight import registry
    from inksight.registry.evidence import gather
    from inksight.registry.gates import Refused
    from inksight.registry.versions import parse

    settings = resolve(GateSettings, file=config, options=options)
    with closing(registry.open()) as store:
        name, other, number = parse(model)
        newest = other is None and number is None
        version = store.versions(name)[0] if newest else store.find(model)
        evidence = gather(store, version, alias, data) if data else None
        try:
            done = store.promote(
                name, version.number, alias=alias, settings=settings, evidence=evidence, force=force, note=note
            )
        except Refused as error:
            if json:
                raise
            _say(error.answers)
            raise GateError(error.short, hint=error.hint) from None
    _print(done, json)


def rollback(
    name: Annotated[str, typer.Argument(help="The model's name.")],
    alias: AliasOption = "champion",
    to: Annotated[int | None, typer.Option(help="This version instead of the one before.", callback=between(1))] = None,
    note: Annotated[str, typer.Option(help="Why.")] = "",
    json: JsonFlag = False,
) -> None:
    """Point an alias back at the version before; again for one more step back."""
    from inksight import registry

    with closing(registry.open()) as store:
        done = store.rollback(name, alias=alias, to=to, note=note)
    _print(done, json)


def _say(answers: list[Answer]) -> None:
    for answer in answers:
        say(f"{'passed' if answer.passed else 'FAILED'}  {answer.gate}: {answer.detail}")


def _print(done: Promotion, json: bool) -> None:
    if json:
        print_json(done.as_dict())
        return
    _say(done.answers)
    name = f"{done.version.name}@{done.alias}"
    if not done.moved:
        print(f"{name} is {done.version.ref} already")
        return
    before = "nothing" if done.previous is None else f"{done.version.name}:{done.previous}"
    print(f"{name} is {done.version.ref} now, was {before}{' (forced)' if done.forced else ''}")
