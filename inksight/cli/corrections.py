"""`inksight corrections`: what players said about answers, and the review of it."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inksight.cli.options import between
from inksight.cli.output import JsonFlag, print_json, print_table, say

if TYPE_CHECKING:
    from inksight.registry.database import Database

app = typer.Typer(help="Review what players said about answers; accepted corrections retrain the model.")

StateOption = Annotated[
    str | None, typer.Option("--state", help="Only pending, accepted, relabelled or rejected ones. [default: all]")
]
ModelOption = Annotated[str | None, typer.Option("--model", help="Only corrections of this model. [default: all]")]
_MOST = 2**63 - 1  # what a database's column holds

Number = Annotated[int, typer.Argument(metavar="ID", help="The correction's number.", callback=between(1, _MOST))]
Numbers = Annotated[
    list[int], typer.Argument(metavar="ID...", help="The corrections' numbers.", callback=between(1, _MOST))
]
Reviewer = Annotated[
    str | None, typer.Option("--reviewer", help="Who decides. [default: the name of the user who is logged in]")
]


@app.command("list")
def show_list(
    state: StateOption = None,
    model: ModelOption = None,
    after: Annotated[int, typer.Option(help="Only those with a higher number.", callback=between(0, _MOST))] = 0,
    limit: Annotated[int, typer.Option(help="How many at most.", callback=between(1, _MOST))] = 50,
    as_json: JsonFlag = False,
) -> None:
    """List corrections, the oldest first."""
    from inksight.registry import corrections

    with _database() as database:
        found = corrections.listing(database, state=state, model=model, after=after, limit=limit)
    rows = [corrections.as_dict(row) for row in found]
    if as_json:
        print_json([{name: value for name, value in row.items() if name != "input"} for row in rows])
        return
    columns = ["id", "state", "model", "predicted", "label", "final_label", "reviewer"]
    print_table(
        [*columns, "drawing"],
        [[*(row[name] or "" for name in columns), "kept" if row["input"] else "-"] for row in rows],
    )
    if len(rows) == limit:
        say(f"more with: --after {rows[-1]['id']}")


@app.command("show")
def show(
    number: Number,
    out: Annotated[Path | None, typer.Option("--out", help="PNG file to draw the input into.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show one correction, and its drawing as a picture."""
    from inksight.registry import corrections

    with _database() as database:
        row = corrections.as_dict(corrections.find(database, number))
    if out is not None:
        _draw(row, out)
    if as_json:
        print_json(row)
        return
    for name, value in row.items():
        if name != "input" and value not in (None, ""):
            print(f"{name:14} {value}")
    print(f"{'drawing':14} {'kept' if row['input'] else 'not kept (see serve --keep-drawings)'}")


@app.command("export")
def export(
    out: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="JSONL file. [default: standard output]")] = None,
    state: StateOption = None,
    model: ModelOption = None,
) -> None:
    """Write corrections with their drawings as JSON lines."""
    from inksight.registry import corrections
    from inksight.workspace import atomic_path

    def lines(database: Database) -> Iterator[str]:
        for row in corrections.exported(database, state=state, model=model):
            yield json.dumps(row, ensure_ascii=False, default=str) + "\n"

    with _database() as database:
        if out is None:
            sys.stdout.writelines(lines(database))
            return
        with atomic_path(out) as temporary, open(temporary, "w", encoding="utf-8") as stream:
            stream.writelines(lines(database))
    say(f"written: {out}")


@app.command("accept")
def accept(numbers: Numbers, reviewer: Reviewer = None, as_json: JsonFlag = False) -> None:
    """The player's label is right."""
    _decide(numbers, "accept", None, reviewer, as_json)


@app.command("relabel")
def relabel(
    number: Number,
    label: Annotated[str, typer.Argument(help="What it really is: one of the model's classes.")],
    reviewer: Reviewer = None,
    as_json: JsonFlag = False,
) -> None:
    """It is neither what the machine nor what the player said."""
    _decide([number], "relabel", label, reviewer, as_json)


@app.command("reject")
def reject(numbers: Numbers, reviewer: Reviewer = None, as_json: JsonFlag = False) -> None:
    """The drawing is of no use: a scribble, a joke, unfinished."""
    _decide(numbers, "reject", None, reviewer, as_json)


@app.command("stats")
def stats(model: ModelOption = None, as_json: JsonFlag = False) -> None:
    """Count corrections, and how far players, reviewers and the machine agree."""
    from inksight.registry import corrections

    with _database() as database:
        found = corrections.statistics(database, model=model)
    if as_json:
        print_json(found)
        return
    print_table(["state", "corrections"], [[state, found["states"].get(state, 0)] for state in corrections.STATES])
    for name, text in (
        ("players_agreed", "players called the answer right"),
        ("reviewers_agreed", "reviewers let the player's label stand"),
        ("machine_right", "the machine was right by the review"),
    ):
        share = found[name]
        if share:
            print(f"{text}: {share['share']:.1%} ({share['low']:.1%} to {share['high']:.1%}, n = {share['n']:,})")
    if found["confusions"]:
        print_table(
            ["the machine said", "it was", "times"],
            [[row["predicted"], row["label"], row["count"]] for row in found["confusions"]],
        )


def _decide(numbers: Sequence[int], action: str, label: str | None, reviewer: str | None, as_json: bool) -> None:
    from inksight.registry import corrections

    who = reviewer or getpass.getuser()
    with _database() as database:
        for number in numbers:  # all or none: a misspelt number must not leave half of them decided
            corrections.find(database, number)
        classes = _classes(corrections.find(database, numbers[0]).model) if label else None
        done = [
            corrections.decide(database, number, action, reviewer=who, label=label, classes=classes)
            for number in numbers
        ]
    if as_json:
        print_json([{"id": row.id, "state": row.state, "final_label": row.final_label} for row in done])
        return
    for row in done:
        print(f"{row.id} {row.state}" + (f": {row.final_label}" if row.final_label else ""))


def _classes(model: str) -> list[str] | None:
    """Return the classes of a model by name, None (with a warning) when there is no such model here."""
    from inksight.bundle.description import describe
    from inksight.errors import NotFoundError
    from inksight.registry.loading import locate

    try:
        return list(describe(locate(model))["classes"])
    except NotFoundError:
        say(f"warning: there is no model {model!r} here, so the label is not checked")
        return None


def _draw(row: dict[str, Any], out: Path) -> None:
    from PIL import Image

    from inksight.errors import DataError
    from inksight.registry.kept import image_of
    from inksight.workspace import atomic_path

    kept = row["input"]
    if not kept:
        raise DataError(f"the drawing of correction {row['id']} was not kept", hint="inksight serve --keep-drawings")
    image = image_of(kept, tuple(kept.get("shape", (28, 28))))
    picture = Image.fromarray(255 - image if image.ndim == 2 else image)
    scale = max(1, 280 // picture.width)
    with atomic_path(out) as temporary:
        picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST).save(temporary, "PNG")
    say(f"written: {out}")


@contextmanager
def _database() -> Iterator[Database]:
    from inksight import registry

    with closing(registry.open()) as store:
        yield store.database
