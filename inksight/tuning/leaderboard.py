"""What a matrix of trainings found: a leaderboard per dataset, and the bundle that the games should use.

All numbers are of the test split (of validation where a dataset has no test images). The winner is chosen on the same
images that it is reported on, so with many candidates its accuracy flatters it a little; the intervals do not say so.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import numpy.typing as npt

from inksight.errors import InksightError
from inksight.evaluation.intervals import paired_difference
from inksight.evaluation.words import count, num, pct, span
from inksight.tuning.train_all import Matrix
from inksight.workspace import write_json

# Two models count as equally good when chance explains their difference and it is below this: on a small test split
# chance alone would call models equal that are five points apart.
NEAR = 0.01
TIMED_IMAGES = 64
TIMED_SECONDS = 0.7

Row = dict[str, Any]


def facts(matrix: Matrix, limit_ms: float) -> dict[str, Any]:
    """Return everything that the report says, in plain values; times the bundles that were not timed yet."""
    results = matrix.results()
    timings = time_bundles(matrix, results)
    datasets = []
    for name in dict.fromkeys(job.dataset for job in matrix.jobs):
        rows = [_row(result, timings) for result in results if result["dataset"]["name"] == name]
        rows.sort(key=lambda row: (-row["accuracy"], row["latency_ms"], row["model"]))
        pick = choose(rows, limit_ms) if rows else None
        shown = [{key: value for key, value in row.items() if key != "right"} for row in rows]
        datasets.append({"name": name, "rows": shown, "pick": pick})
    return {
        "matrix": matrix.name,
        "max_latency_ms": limit_ms,
        "jobs": len(matrix.jobs),
        "datasets": datasets,
        "failures": [failure.as_dict() for failure in matrix.failures()],
        "processor": timings.get("processor", ""),
    }


def time_bundles(matrix: Matrix, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the timings by job, of all results; datasets with a new bundle are timed, all their bundles in turns.

    In turns, and only when no job runs: a timing taken beside a training would say nothing.
    """
    from inksight.bundle.timing import take_turns
    from inksight.data import open_dataset
    from inksight.evaluation.speed import processor

    path = matrix.folder / "timings.json"
    known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    known = {"processor": processor(), "jobs": known.get("jobs", {})}
    for name in dict.fromkeys(result["dataset"]["name"] for result in results):
        group = [result for result in results if result["dataset"]["name"] == name]
        if all(known["jobs"].get(one["job"], {}).get("reference") == one["reference"] for one in group):
            continue
        loaded = {one["job"]: _load(one) for one in group}
        with open_dataset(group[0]["dataset"]["path"]) as dataset:
            images = dataset.images(group[0]["metrics"]["split"])[:TIMED_IMAGES]
        runs = {key: classifier.predict_proba for key, classifier in loaded.items()}
        timed = take_turns(runs, images, seconds=TIMED_SECONDS)
        for one in group:
            found = timed[one["job"]]
            known["jobs"][one["job"]] = {
                "reference": one["reference"], "p50_ms": found.p50_ms, "p99_ms": found.p99_ms,
                "low_ms": found.low_ms, "high_ms": found.high_ms, "calls": found.calls,
            }  # fmt: skip
        write_json(path, known)
    return known


def choose(rows: Sequence[Row], limit_ms: float) -> dict[str, Any]:
    """Return the row that the games should use and why, from the rows of one dataset (at least one).

    Of those that answer within `limit_ms` (if none does: the fastest), the most accurate; where others are equally good
    (chance explains the difference on the same images, and it is at most NEAR), the smallest of these.
    """
    quick = [row for row in rows if row["latency_ms"] <= limit_ms]
    if not quick:
        chosen = min(rows, key=lambda row: row["latency_ms"])
        why = f"No model answers within {num(limit_ms)} ms; this is the fastest. {_what(chosen)}"
        return {**_name(chosen), "why": why, "equals": []}
    best = max(quick, key=lambda row: (row["accuracy"], -row["bytes"]))
    equals = [row for row in quick if row is best or _equal(best, row)]
    chosen = min(equals, key=lambda row: (row["bytes"], row["latency_ms"]))
    said = [_what(chosen)]
    if chosen is not best:
        said.append(
            f"{best['model']} gets {_points(best, chosen)} more right, which may be chance "
            f"(95 % interval {_reach(best, chosen)}), and is {_times(best['bytes'] / chosen['bytes'])} as large."
        )
    larger = [row["model"] for row in equals if row is not chosen and row is not best]
    if larger:
        said.append(f"As good, but larger: {', '.join(larger)}.")
    others = [row for row in quick if row not in equals]
    if others:
        nearest = max(others, key=lambda row: row["accuracy"])
        said.append(
            f"Next within {num(limit_ms)} ms is {nearest['model']}, {_apart(chosen, nearest)} "
            f"(95 % interval {_reach(chosen, nearest)})."
        )
    elif len(rows) == 1:
        said.append("It is the only one that was trained.")
    slow = [row for row in rows if row not in quick and row["accuracy"] > best["accuracy"]]
    said += [
        f"{row['model']} is better ({pct(row['accuracy'])}) but takes {num(row['latency_ms'])} ms, over the limit of "
        f"{num(limit_ms)} ms."
        for row in slow
    ]
    if chosen["balanced_accuracy_interval"][0] <= 1 / chosen["classes"]:
        said.append(f"That is no better than guessing among {chosen['classes']} classes: no game is fun with it.")
    return {**_name(chosen), "why": " ".join(said), "equals": [row["model"] for row in equals if row is not chosen]}


def _row(result: Mapping[str, Any], timings: Mapping[str, Any]) -> Row:
    metrics, timed = result["metrics"], timings["jobs"][result["job"]]
    worst = metrics["worst_class"]
    return {
        "model": result["model"],
        "reference": result["reference"],
        "bundle": result["bundle"],
        "split": metrics["split"],
        "samples": metrics["samples"],
        "classes": len(metrics["per_class"]),
        "kind": result["kind"],
        "accuracy": metrics["accuracy"],
        "accuracy_interval": metrics["accuracy_interval"],
        "balanced_accuracy": metrics["balanced_accuracy"],
        "balanced_accuracy_interval": metrics["balanced_accuracy_interval"],
        "worst_class": worst["class"] if worst else None,
        "worst_accuracy": worst["accuracy"] if worst else None,
        "parameters": result["parameters"],
        "bytes": result["bytes"],
        "latency_ms": timed["p50_ms"],
        "latency_p99_ms": timed["p99_ms"],
        "latency_range_ms": [timed["low_ms"], timed["high_ms"]],
        "epochs": result["epochs"],
        "training_seconds": result["training_seconds"],
        "study": result["study"],
        "right": result["right"],
    }


def _load(result: Mapping[str, Any]) -> Any:
    """Return the bundle of a result, ready to answer: from its run, or from the registry when that is gone."""
    from inksight import bundle, registry

    try:
        return bundle.load(result["bundle"])
    except InksightError:
        with closing(registry.open()) as store:
            return bundle.load(store.resolve(result["reference"]))


def _bits(row: Row) -> npt.NDArray[np.bool_]:
    """Return which images a row's model got right, bool (samples,)."""
    packed = np.frombuffer(base64.b64decode(row["right"]), np.uint8)
    return np.unpackbits(packed, count=row["samples"]).astype(bool)


def difference(a: Row, b: Row) -> tuple[float, float, float]:
    """Return accuracy of `a` minus that of `b` and its 95 % interval, both on the same images (Newcombe 1998)."""
    right_a, right_b = _bits(a), _bits(b)
    table = [right_a & right_b, right_a & ~right_b, ~right_a & right_b, ~right_a & ~right_b]
    low, high = paired_difference(*(int(part.sum()) for part in table))
    return float(right_a.mean() - right_b.mean()), low, high


def _equal(best: Row, other: Row) -> bool:
    gap, low, _ = difference(best, other)
    return gap <= NEAR and low <= 0


def _name(row: Row) -> dict[str, Any]:
    return {key: row[key] for key in ("model", "reference", "bundle")}


def _what(row: Row) -> str:
    noun = {"drawing": "drawings", "photo": "photos"}.get(row["kind"], "images")
    return (
        f"{row['model']} is right on {pct(row['accuracy'])} of {count(row['samples'])} {row['split']} {noun} "
        f"({span(row['accuracy_interval'])}), answers in {num(row['latency_ms'])} ms "
        f"and has {num(row['bytes'] / 1e6)} MB."
    )


def _points(a: Row, b: Row) -> str:
    return f"{100 * (a['accuracy'] - b['accuracy']):.1f} points"


def _apart(chosen: Row, other: Row) -> str:
    """Say how far another is from the chosen one, which may be better: then it is larger, and chance explains it."""
    lower = chosen["accuracy"] >= other["accuracy"]
    return f"{_points(chosen, other)} lower" if lower else f"{_points(other, chosen)} higher"


def _reach(a: Row, b: Row) -> str:
    _, low, high = difference(a, b)
    return f"{100 * low:+.1f} to {100 * high:+.1f}"


def _times(factor: float) -> str:
    return f"{factor:.1f} times" if factor >= 1.05 else "about"
