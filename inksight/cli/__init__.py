"""The command line: one file per verb, each of which parses, calls the library and prints.

Nothing here imports torch, NumPy or a server at module level, so that `inksight --help` answers in under 0.3 s.
Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from inksight.cli.output import print_document, print_error, print_interrupted, say
from inksight.config import likely_slips
from inksight.errors import InksightError, UsageError, of_system

# Wrong usage as typer itself finds it: click's UsageError, which typer brings under names that change.
_Misused: Any = typer.BadParameter.__base__

VERBS = {
    "quickstart": "Train on the embedded digits, judge, save, and draw.",
    "data": "Find, fetch, prepare and inspect data.",
    "train": "Train a model, judge it and save it as a bundle.",
    "evaluate": "Judge a model on samples it has not seen.",
    "predict": "Say what pictures or drawings show.",
    "tune": "Search for a model's best settings.",
    "train-all": "Train every model on every dataset.",
    "report": "Write the report of train-all again.",
    "models": "Versions of models: list, compare, promote, clean.",
    "export": "Write a model in another format.",
    "compress": "Prune and quantise a model.",
    "bench": "Time models in turns on the same images.",
    "serve": "Serve models over HTTP, with a page to draw on.",
    "tokens": "Make and remove admin tokens of the service.",
    "corrections": "Review what players said about answers.",
    "retrain": "Train a model on its accepted corrections.",
    "drift": "Compare recent answers with earlier ones.",
}
"""What `inksight --help` says of each verb, in the order in which one needs them."""


@cache
def _command(verb: str) -> Any:
    """Return a verb's command: of its module, the group `app` or the function of the same name."""
    name = verb.replace("-", "_")
    module = import_module(f"inksight.cli.{name}")
    if hasattr(module, "app"):
        return typer.main.get_group(module.app)
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(verb, cls=getattr(module, "Command", TyperCommand))(getattr(module, name))
    return typer.main.get_command(single)


class _Commands(Mapping[str, Any]):
    """All verbs' commands, each imported when it is asked for: one verb need not wait for the others."""

    def __getitem__(self, verb: str) -> Any:
        if verb not in VERBS:
            raise KeyError(verb)
        return _command(verb)

    def __iter__(self) -> Iterator[str]:
        return iter(VERBS)

    def __len__(self) -> int:
        return len(VERBS)


class Verbs(TyperGroup):
    """The root of all verbs: Ctrl-C in any of them ends with one line and exit code 130."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**(attributes | {"commands": _Commands()}))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the verbs without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def invoke(self, ctx: Any) -> Any:
        """Run the verb; what its KeyboardInterrupt says, such as how to go on, stands behind the word.

        Wrong usage is told in words by typer; with --json it is a document as well.
        """
        try:
            return super().invoke(ctx)
        except _Misused as error:
            print_document(UsageError(error.format_message()))
            raise
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
    if any(name.startswith("INKSIGHT_") for name in os.environ):
        from inksight import settings  # noqa: F401  (whose classes the variables are of)

        for given, meant in likely_slips(os.environ).items():
            say(f"{given} is no setting and has no effect. Did you mean {meant}?")


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
