"""The report of a study: tuning.json, and one page with its history, importances and, with several goals, the front."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState

from inksight.plotting import ACCENT, INK, axes, bars, png_bytes, style
from inksight.tuning.study import Found, leading
from inksight.tuning.workers import fate
from inksight.workspace import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_UNITS = {"latency": "ms"}

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light; }}
body {{ background: #faf7f0; color: #1d2433; font: 16px/1.55 system-ui, sans-serif; max-width: 60rem;
  margin: 0 auto; padding: 2rem 1.25rem; }}
h1, h2 {{ font-family: Georgia, serif; font-style: italic; }}
img {{ max-width: 100%; }}
table {{ border-collapse: collapse; font-size: .9rem; }}
td, th {{ padding: .3rem .8rem .3rem 0; text-align: left; border-bottom: 1px solid #d9d3c5; vertical-align: top; }}
.wide {{ overflow-x: auto; }}
</style>
<h1>{title}</h1>
<p>{lede}</p>
{body}
</html>
"""


def summary(found: Found) -> dict[str, Any]:
    """Return all trials, the best one and the importances as plain values."""
    study = found.study
    return {
        "study": study.study_name,
        "model": study.user_attrs["model"],
        "dataset": study.user_attrs["dataset"],
        "objective": study.user_attrs["objective"],
        "counts": found.counts,
        "best": vars(found.best),
        "front": [vars(best) for best in found.front],
        "importance": importance(study),
        "trials": [
            {
                "number": trial.number,
                "state": fate(trial),
                "values": trial.values,
                "params": trial.params,
                "failure": trial.user_attrs.get("failure"),
                "curve": trial.intermediate_values,
            }
            for trial in study.get_trials(deepcopy=False)
        ],
    }


def importance(study: optuna.Study) -> dict[str, float]:
    """Return the share of the first objective's variance that each setting explains (fANOVA, Hutter et al. 2014).

    Empty with fewer than four finished trials or when they are all equally good.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len({trial.values[0] for trial in complete}) < 4:
        return {}
    found = optuna.importance.get_param_importances(
        study,
        evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0),
        target=lambda trial: trial.values[0],
    )
    return {name: float(value) for name, value in found.items()}


def write_report(found: Found, folder: Path) -> Path:
    """Write tuning.json, the plots and tuning.html into `folder`; returns the page's path."""
    facts = summary(found)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "tuning.json", json.dumps(facts, indent=2, ensure_ascii=False, default=str) + "\n")
    plots = {"history": ("Trial by trial", _history(found))}
    if facts["importance"]:
        names = list(facts["importance"])
        drawn = bars(names, list(facts["importance"].values()), title="What mattered", label="share of the variance")
        plots["importance"] = ("What mattered", drawn)
    if len(facts["objective"]) > 1:
        plots["front"] = ("The front", _front(found))
    parts = []
    for name, (title, drawn) in plots.items():
        data = png_bytes(drawn)
        (folder / f"{name}.png").write_bytes(data)
        encoded = base64.b64encode(data).decode()
        parts.append(f'<h2>{title}</h2>\n<img alt="{title}" src="data:image/png;base64,{encoded}">')
    parts += ["<h2>All trials</h2>", f'<div class="wide">{_table(facts)}</div>']
    best = found.best
    measured = zip(facts["objective"], best.values, strict=True)
    values = ", ".join(f"{name} {value:.4g} {_UNITS.get(name, '')}".rstrip() for name, value in measured)
    counted = ", ".join(f"{count} {state}" for state, count in found.counts.items())
    lede = f"Best: trial {best.number} with {values} on the validation split. Trials: {counted}."
    if len(facts["objective"]) > 1:
        others = ", ".join(str(other.number) for other in found.front[1:])
        first = facts["objective"][leading(facts["objective"])]
        lede = (
            f"On the front: trial {best.number}, best by {first}, with {values} on the validation split"
            f"{', then ' + others if others else ''}; no trial is better than these in everything. Trials: {counted}."
        )
    page = _PAGE.format(title=html.escape(f"Study {facts['study']}"), lede=html.escape(lede), body="\n".join(parts))
    write_text(folder / "tuning.html", page)
    return folder / "tuning.html"


def _history(found: Found) -> Figure:
    from matplotlib.ticker import MaxNLocator

    trials = found.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    name = found.study.user_attrs["objective"][0]
    better = max if found.study.directions[0].name == "MAXIMIZE" else min
    drawn, ax = axes(8, 4, title=f"{name} of each trial, and the best so far")
    numbers, values = [trial.number for trial in trials], [trial.values[0] for trial in trials]
    best = [better(values[: index + 1]) for index in range(len(values))]
    with style():
        ax.plot(numbers, values, "o", color=INK, markersize=4)
        ax.step(numbers, best, where="post", color=ACCENT)
        ax.set_xlabel("trial")
        ax.set_ylabel(_axis(name))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return drawn


def _axis(objective: str) -> str:
    return f"{objective}, {_UNITS[objective]}" if objective in _UNITS else objective


def _front(found: Found) -> Figure:
    first, second = found.study.user_attrs["objective"][:2]
    trials = found.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    drawn, ax = axes(8, 4.5, title=f"{first} against {second}: the front in red")
    front = sorted(found.front, key=lambda best: best.values[1])
    with style():
        ax.plot([t.values[1] for t in trials], [t.values[0] for t in trials], "o", color=INK, markersize=4)
        ax.plot([b.values[1] for b in front], [b.values[0] for b in front], "o-", color=ACCENT, drawstyle="steps-post")
        for best in front:
            at = (best.values[1], best.values[0])
            ax.annotate(f"trial {best.number}", at, xytext=(6, -10), textcoords="offset points", fontsize=8)
        ax.set_xlabel(_axis(second))
        ax.set_ylabel(_axis(first))
    return drawn


def _table(facts: dict[str, Any]) -> str:
    names = sorted({name for trial in facts["trials"] for name in trial["params"]})
    head = "".join(f"<th>{html.escape(name)}" for name in ["trial", "state", *facts["objective"], *names, "failure"])
    rows = []
    for trial in facts["trials"]:
        values = trial["values"] or [None] * len(facts["objective"])
        cells = [trial["number"], trial["state"], *values, *(trial["params"].get(name) for name in names)]
        cells.append(trial["failure"])
        rows.append("<tr>" + "".join(f"<td>{html.escape(_shown(cell))}" for cell in cells))
    return f"<table><tr>{head}\n" + "\n".join(rows) + "</table>"


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
