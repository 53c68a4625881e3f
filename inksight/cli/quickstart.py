"""`inksight quickstart`: from nothing to a page that guesses, in about a minute and without a download."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from inksight.cli.options import settings_options
from inksight.cli.output import say
from inksight.cli.train import how_to_go_on
from inksight.config import resolve
from inksight.errors import GateError, NotFoundError, UnavailableError
from inksight.settings import ServeSettings

NAME = "digits"
"""What the model is called in the registry."""


@settings_options(ServeSettings)
def quickstart(
    epochs: Annotated[int, typer.Option("--epochs", metavar="N", help="Passes over the 4,000 digits.")] = 6,
    serve: Annotated[bool, typer.Option("--serve/--no-serve", help="Open the page at the end.")] = True,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Show the page in a browser.")] = True,
    options: dict[str, Any] = {},  # noqa: B006 - filled in by settings_options
    config: Path | None = None,
) -> None:
    """Train on the embedded digits, judge, register the model, and serve it beside the built-in one for drawings."""
    settings = resolve(ServeSettings, file=config, options=options)
    from inksight.training import TrainingInterrupted, train

    say("1/3  training a small network on 5,000 handwritten digits")
    try:
        run = train("digits", model="sketchnet-s", epochs=epochs)
    except TrainingInterrupted as stop:
        raise KeyboardInterrupt(how_to_go_on("digits", stop.folder)) from None
    low, high = run.metrics["accuracy_interval"]
    say(f"2/3  judged on {run.metrics['samples']} digits it never saw: {run.metrics['accuracy']:.1%} right")
    say(f"     (95 % interval {low:.1%} to {high:.1%}); report: {run.folder / 'report' / 'report.html'}")
    say(f"     bundle: {run.bundle}")
    model = _register(run.bundle)
    if not serve:
        return
    from inksight import serving

    def show(address: str) -> None:
        say(f"3/3  draw at {address}   (Ctrl-C stops)")
        if browser and _has_display():
            import webbrowser

            webbrowser.open(address)

    # Doodles first: they are what the page greets a newcomer with; the fresh digits model is one choice away.
    serving.serve(["doodles", model], settings, on_start=show)


def _register(bundle: Path) -> str:
    """Add the model to the registry, so that corrections can retrain it, in front if the gates agree.

    Returns what to serve: the registry's champion, or the bundle itself where there is none.
    """
    from inksight import registry

    try:
        with closing(registry.open()) as store:
            version = store.register(bundle, NAME)
            try:
                store.promote(NAME, version.number)
                say(f"     registered as {version.ref}")
            except GateError as refused:
                say(f"     registered as {version.ref}, not as champion: {refused.message}")
                say(f"     {store.find(f'{NAME}@champion').ref} is served")
            return f"{NAME}@champion"
    except NotFoundError:  # the gates refused the first of all
        return str(bundle)
    except UnavailableError as away:
        say(f"     not registered: {away.message}")
        return str(bundle)


def _has_display() -> bool:
    """Return whether a window can open; without one, `webbrowser` would start a text browser and block."""
    return sys.platform in ("darwin", "win32") or any(os.environ.get(n) for n in ("DISPLAY", "WAYLAND_DISPLAY"))
