"""`inksight models ...`: the registry from the command line."""

from __future__ import annotations

import typer

from inksight.cli.models_architectures import architectures
from inksight.cli.models_clean import clean
from inksight.cli.models_promote import promote, rollback
from inksight.cli.models_show import list_versions, show
from inksight.cli.models_transfer import pull, push

app = typer.Typer(
    name="models",
    help="Versions of models: list, compare, promote, clean.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command("architectures")(architectures)
app.command("clean")(clean)
app.command("list")(list_versions)
app.command("promote")(promote)
app.command("pull")(pull)
app.command("push")(push)
app.command("rollback")(rollback)
app.command("show")(show)
