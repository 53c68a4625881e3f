"""`inksight data ...`: one sub-command per file."""

from __future__ import annotations

import typer

from inksight.cli.data_audit import audit
from inksight.cli.data_fetch import fetch
from inksight.cli.data_list import list_presets
from inksight.cli.data_prepare import prepare
from inksight.cli.data_show import show

app = typer.Typer(
    name="data", help="Find, fetch, prepare and inspect data.", no_args_is_help=True, rich_markup_mode=None
)
app.command("audit")(audit)
app.command("fetch")(fetch)
app.command("list")(list_presets)
app.command("prepare")(prepare)
app.command("show")(show)
