"""The command line: one file per verb, each of which parses, calls the library and prints.

Nothing here imports torch, NumPy or a server at module level, so that `inksight --help` answers in under 0.3 s.
Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from inksight.cli.bench import bench
from inksight.cli.compress import compress
from inksight.cli.corrections import app as corrections_app
from inksight.cli.data import app as data_app
from inksight.cli.drift import drift
from inksight.cli.evaluate import evaluate
from inksight.cli.export import export
from inksight.cli.models import app as models_app
from inksight.cli.output import print_error, print_interrupted
from inksight.cli.predict import predict
from inksight.cli.quickstart import quickstart
from inksight.cli.report import report
from inksight.cli.retrain import retrain
from inksight.cli.serve import serve
from inksight.cli.tokens import app as tokens_app
from inksight.cli.train import train
from inksight.cli.train_all import SpacedLists, train_all
from inksight.cli.tune import tune
from inksight.errors import InksightError, of_system


class Verbs(TyperGroup):
    """The root of all verbs: Ctrl-C in any of them ends with one line and exit code 130."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb; what its KeyboardInterrupt says, such as how to go on, stands behind the word."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            print_interrupted(str(stop))
            raise typer.Exit(130) from None


app = typer.Typer(
    name="inksight",
    cls=Verbs,
    help="Train, judge, ship and keep improving classifiers of hand drawings and photos.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(value: bool) -> None:
    if value:
        from inksight import __version__

        typer.echo(f"inksight {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


app.command("bench")(bench)
app.command("compress")(compress)
app.add_typer(corrections_app, name="corrections")
app.add_typer(data_app, name="data")
app.command("drift")(drift)
app.command("evaluate")(evaluate)
app.command("export")(export)
app.add_typer(models_app, name="models")
app.command("predict")(predict)
app.command("quickstart")(quickstart)
app.command("retrain")(retrain)
app.command("report")(report)
app.command("serve")(serve)
app.add_typer(tokens_app, name="tokens")
app.command("train")(train)
app.command("train-all", cls=SpacedLists)(train_all)
app.command("tune")(tune)


def main() -> None:
    """Run the command line and turn deliberate errors into one clear message and an exit code."""
    try:
        app()
    except InksightError as error:
        print_error(error)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader (head, less) went away; writing the rest to nowhere keeps Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        known = of_system(error)
        if known is None:
            raise
        print_error(known)
        sys.exit(known.exit_code)
