"""The report of a matrix: report.json, a plot per dataset, and report.html, one file that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from inksight import plotting
from inksight.evaluation import words
from inksight.evaluation.report import data_uri, render_page
from inksight.training.progress import duration
from inksight.tuning.jobs import alike
from inksight.tuning.leaderboard import facts
from inksight.tuning.train_all import Matrix
from inksight.workspace import write_json, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox


def write_matrix_report(matrix: Matrix, *, max_latency_ms: float) -> tuple[dict[str, Any], Path]:
    """Write the report into the matrix' folder and return what it says and the page's path; trains nothing.

    Bundles that were not timed before are timed now; apart from that, the same results give the same bytes.
    """
    found = facts(matrix, max_latency_ms)
    plots = {}
    for dataset in found["datasets"]:
        if dataset["rows"]:
            picture = plotting.png_bytes(accuracy_against_latency(dataset, max_latency_ms))
            (matrix.folder / f"latency-{dataset['name']}.png").write_bytes(picture)
            plots[dataset["name"]] = data_uri(picture, "png")
    write_json(matrix.folder / "report.json", found)
    page = render_page(
        "matrix.html.j2", f=found, failures=alike(found["failures"]), plots=plots, lede=lede(found),
        pct=words.pct, span=words.span, count=words.count, num=words.num, duration=duration,
    )  # fmt: skip
    write_text(matrix.folder / "report.html", page)
    return found, matrix.folder / "report.html"


def lede(found: dict[str, Any]) -> str:
    """Return the report in a sentence or two."""
    models = len({row["model"] for dataset in found["datasets"] for row in dataset["rows"]})
    trained = sum(len(dataset["rows"]) for dataset in found["datasets"])
    many = len(found["datasets"])
    text = (
        f"{models} model{'s' if models != 1 else ''} on {many} dataset{'s' if many != 1 else ''}: "
        f"{trained} of {found['jobs']} trainings are done."
    )
    if found["failures"]:
        text += f" {len(found['failures'])} failed, with the reason at the end."
    unfinished = found["jobs"] - trained - len(found["failures"])
    if unfinished:
        text += f" {unfinished} {'is' if unfinished == 1 else 'are'} not finished: the same command goes on."
    return text


def accuracy_against_latency(dataset: dict[str, Any], limit_ms: float) -> Figure:
    """Return accuracy with its interval against milliseconds per answer, one dot per model, the chosen one marked."""
    from matplotlib.ticker import LogLocator, NullFormatter

    rows = dataset["rows"]
    figure, ax = plotting.axes(8.0, 4.5, title=f"{dataset['name']}: accuracy against the time of one answer")
    with plotting.style():
        for row in rows:
            colour = plotting.ACCENT if row["model"] == dataset["pick"]["model"] else plotting.INK
            low, high = row["accuracy_interval"]
            ax.vlines(row["latency_ms"], 100 * low, 100 * high, color=colour, linewidth=1.2)
            ax.scatter(row["latency_ms"], 100 * row["accuracy"], color=colour, s=24, zorder=3)
        ax.set_xscale("log")
        fastest, slowest = (end(row["latency_ms"] for row in rows) for end in (min, max))
        ax.set_xlim(fastest / 2, slowest * 5)  # room for the names on the right
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        ax.xaxis.set_minor_formatter(NullFormatter())
        if fastest / 2 < limit_ms < 3 * slowest:  # further away the line would only squeeze the dots together
            ax.axvline(limit_ms, color=plotting.FAINT, zorder=0)
            ax.text(limit_ms, 0.015, f" limit {limit_ms:g} ms", fontsize=7, transform=ax.get_xaxis_transform())
        ax.set_xlabel("ms per answer, one image on one thread")
        ax.set_ylabel("accuracy, %")
        ax.grid(axis="y")
        _name_dots(figure, ax, dataset)
    return figure


def _name_dots(figure: Figure, ax: Axes, dataset: dict[str, Any]) -> None:
    """Write each model's name to the right of its dot, further down where another name stands already."""
    figure.draw_without_rendering()  # only then are the places of the dots on the paper known
    taken: list[Bbox] = []
    for row in dataset["rows"]:  # the best first
        colour = plotting.ACCENT if row["model"] == dataset["pick"]["model"] else plotting.INK
        at = (row["latency_ms"], 100 * row["accuracy"])
        name = ax.annotate(row["model"], at, xytext=(6, 3), textcoords="offset points", fontsize=8, color=colour)
        while any(name.get_window_extent().overlaps(other) for other in taken):
            name.xyann = (6, name.xyann[1] - 3)
        taken.append(name.get_window_extent())
