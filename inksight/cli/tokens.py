"""`inksight tokens`: admin tokens of the service."""

from __future__ import annotations

from typing import Annotated

import typer

from inksight.cli.output import JsonFlag, print_json, print_table, say

app = typer.Typer(help="Make and remove admin tokens of the HTTP service.", no_args_is_help=True)


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Whose token it is; it stands beside what it did.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope", help="What it allows: models, review, logs, experiments, jobs. May be given several times."
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a token and print it, this once."""
    from inksight.serving.tokens import Tokens

    token = Tokens().add(name, scope or [])
    if as_json:
        print_json({"name": name, "token": token, "scopes": sorted(set(scope or []))})
        return
    print(token)
    say("Keep it: it is not shown again. Send it as Authorization: Bearer TOKEN.")


@app.command("list")
def show(as_json: JsonFlag = False) -> None:
    """List the tokens and what they allow."""
    from inksight.serving.tokens import Tokens

    known = Tokens().all()
    if as_json:
        print_json(known)
        return
    print_table(["name", "scopes", "made"], [[name, ", ".join(f["scopes"]), f["made"]] for name, f in known.items()])


@app.command("remove")
def remove(name: Annotated[str, typer.Argument(help="The token's name.")]) -> None:
    """Forget a token; it is refused from now on."""
    from inksight.serving.tokens import Tokens

    Tokens().remove(name)
    say(f"The token {name!r} is no longer accepted.")
