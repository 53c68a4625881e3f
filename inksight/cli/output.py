"""What every verb prints with: tables and progress for people, JSON for machines, one shape of error.

Results go to standard output, progress and errors to standard error. With --json, standard output holds exactly one
JSON document. Progress is a live bar on a terminal and plain lines elsewhere.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inksight.errors import InksightError

if TYPE_CHECKING:
    from rich.table import Table as RichTable

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


_answered = False


def print_json(value: Any) -> None:
    """Print one JSON document on standard output; numbers that JSON has no word for (NaN, infinities) are null."""
    import orjson

    global _answered
    _answered = True
    option = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
    print(orjson.dumps(value, default=str, option=option).decode())


def print_document(error: InksightError) -> None:
    """Print an error's JSON document with --json, unless a result was printed already."""
    if "--json" in sys.argv and not _answered:
        print_json(error.as_dict())


def print_error(error: InksightError) -> None:
    """Print an error: text on standard error, and its document."""
    print_document(error)
    print(f"error: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"  {error.hint}", file=sys.stderr)


def print_interrupted(more: str) -> None:
    """Print that Ctrl-C ended the command, and `more`, in place of a progress line that was under way."""
    say(("\r\033[K" if sys.stderr.isatty() else "") + f"Interrupted. {more}".rstrip())


def print_text(text: str) -> None:
    """Print a paragraph on standard output, at a terminal broken between words."""
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
        text = textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)
    print(text)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, spare: Sequence[str] = ()) -> None:
    """Print rows as an aligned table, without a head where no column has a name.

    Numbers are right-aligned, floats get four significant digits. Where a terminal is too narrow, columns of `spare`
    are left out, the first ones first; only what is then still too wide is folded.
    """
    from rich.console import Console

    # Off a terminal (a pipe, a log) rich assumes 80 columns and would fold; give it room instead.
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False)
    rows = [list(row) for row in rows]
    spared: set[str] = set()
    table = _table(columns, rows, spared)
    for column in spare:
        if console.measure(table, options=console.options.update(width=10_000)).maximum <= console.width:
            break
        spared.add(column)
        table = _table(columns, rows, spared)
    console.print(table)


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]], spared: set[str]) -> RichTable:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_header=any(columns))
    kept = [index for index, column in enumerate(columns) if column not in spared]
    for index in kept:
        numeric = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        table.add_column(columns[index], justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        cells = (row[index] for index in kept)
        table.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells))
    return table


def say(message: str) -> None:
    """Print one line of progress or explanation on standard error."""
    # In one write: print would send the line's end on its own, and another thread's line could come between.
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()
