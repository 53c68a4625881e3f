"""`inksight serve`: the HTTP service and the page to draw on."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from inksight.cli.options import settings_options
from inksight.cli.output import say
from inksight.config import resolve
from inksight.errors import InksightError
from inksight.settings import ServeSettings


@settings_options(ServeSettings)
def serve(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]...",
            help="Bundles or registry names; the first is the default. Without any, the built-in model for drawings.",
        ),
    ] = None,
    options: dict[str, Any] = {},  # noqa: B006 - filled in by settings_options
    config: Path | None = None,
) -> None:
    """Serve models over HTTP, with a page to draw on."""
    settings = resolve(ServeSettings, file=config, options=options)
    from inksight import serving
    from inksight.registry.loading import before_registered
    from inksight.serving.app import BUILT_IN

    for name in models or []:
        # The service starts without the database too, and tells by itself what is wrong with it.
        with suppress(InksightError):
            if (folder := before_registered(name)) is not None:
                say(
                    f"{name} is {folder}, not the registered model of that name. Promotions reach a service of "
                    f"{name}@champion."
                )
    serving.serve(
        models or [BUILT_IN],
        settings,
        on_start=lambda address: say(f"Draw at {address}   (Ctrl-C stops)"),
    )
