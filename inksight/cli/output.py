"""What every verb prints with: tables and progress for people, JSON for machines, one shape of error.

Results go to standard output, progress and errors to standard error. With --json, standard output holds exactly one
JSON document. Progress is a live bar on a terminal and plain lines elsewhere.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer

from inksight.errors import InksightError

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


_answered = False


def print_json(value: Any) -> None:
    """Print one JSON document on standard output."""
    global _answered
    _answered = True
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_error(error: InksightError) -> None:
    """Print an error: text on standard error; with --json also the document, unless a result was printed already."""
    if "--json" in sys.argv and not _answered:
        print_json(error.as_dict())
    print(f"error: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"  {error.hint}", file=sys.stderr)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows as an aligned table, without a head where no column has a name.

    Numbers are right-aligned, floats get four significant digits.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    rows = [list(row) for row in rows]
    table = Table(box=box.SIMPLE_HEAD, show_header=any(columns))
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row))
    # Off a terminal (a pipe, a log) rich assumes 80 columns and would fold; give it room instead.
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False)
    console.print(table)


def say(message: str) -> None:
    """Print one line of progress or explanation on standard error."""
    print(message, file=sys.stderr, flush=True)
