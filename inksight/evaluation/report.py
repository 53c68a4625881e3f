"""Writes an evaluation's metrics: report.json, PNG figures, and report.html, one file that needs nothing else.

The page carries its pictures inside and asks no server for anything; it can be mailed, printed and opened offline.
Scripts only sort, find and point: without them everything can still be read. Its text is escaped, so a class named
`<script>` is shown, not run.
"""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from inksight.evaluation import words
from inksight.evaluation.figures import write_figures
from inksight.evaluation.metrics import IntArray, normalised
from inksight.workspace import write_json, write_text

# Above this many classes the confusion matrix is a picture to point at, plus a table of the classes mixed up most.
MOST_CELLS = 30
FOCUS = 20
PHOTO_SIDE = 224


def write_report(
    metrics: dict[str, Any], folder: Path, *, images: Any | None = None, explanations: Sequence[dict[str, Any]] = ()
) -> Path:
    """Write all files of the report into `folder` (made if need be) and return the path of report.html."""
    folder.mkdir(parents=True, exist_ok=True)
    write_figures(metrics, images, folder)
    write_json(folder / "report.json", metrics)
    page = folder / "report.html"
    write_text(page, render_html(metrics, images, explanations))
    return page


def render_html(m: dict[str, Any], images: Any | None = None, explanations: Sequence[dict[str, Any]] = ()) -> str:
    """Return the whole page for metrics; `images` gives image i, uint8 (H, W[, 3]), by index."""
    kind = words.noun(m)
    matrix = np.array(m["confusion_matrix"], np.int64)
    pictures = _pictures(m, images)
    comparison = m.get("comparison")
    floor = _floor(m)
    weak = {row["class"] for row in m["needs_improvement"]}
    rows = [_class_row(row, matrix, i, m["classes"], floor, weak) for i, row in enumerate(m["per_class"])]
    by_name = {row["class"]: row for row in rows}
    order = _similar_together(matrix) if len(rows) > MOST_CELLS else np.arange(len(rows))
    focus = _most_confused(matrix) if len(rows) > MOST_CELLS else []
    sections = [("numbers", "Numbers")]
    sections += [("compared", "Comparison")] if comparison else []
    sections += [("classes", "Classes"), ("confusion", "Confusion"), ("calibration", "Calibration")]
    sections += [("errors", "Sure and wrong")] if m["worst_errors"] and pictures else []
    sections += [("looks", "Where it looks")] if explanations else []
    sections += [("data", "Data"), ("speed", "Speed and size")]
    return render_page(
        "report.html.j2",
        title=m["model"].get("name") or "A model",
        m=m,
        noun=kind,
        drawn=kind != "photo" and _is_drawn(images),
        words=words.sentences(m),
        sections=sections,
        ruler=_ruler(m),
        numbers=_numbers(m),
        comparison={**comparison, "speed": _two_speeds(comparison)} if comparison else None,
        best=[by_name[name] for name in m["best_classes"]],
        worst=[by_name[name] for name in m["worst_classes"]],
        classes=rows,
        strip=[
            {"class": row["class"], "recall": row["recall"], "at": row["bar"]["at"], "weak": row["weak"]}
            for row in rows
            if row["support"]
        ],
        floor=floor,
        matrix=_matrix_view("whole", matrix, m["classes"], order),
        focus=_matrix_view("focus", matrix, m["classes"], np.array(focus), cells=True) if focus else None,
        cells=_cells(matrix, m["classes"], order) if len(rows) > MOST_CELLS else {"names": []},
        reliability=_dots(m["calibration"]["bins"]),
        explanations=[{**row, "picture": photo_uri(row["picture"])} for row in explanations],
        distribution=_distribution(m),
        splits=list(m["distribution"]),
        speed=_speed(m["model"]),
        pictures=pictures,
        pct=words.pct,
        pct0=words.pct0,
        span=words.span,
        count=words.count,
        num=words.num,
    )


def render_page(template: str, **values: Any) -> str:
    """Return a template of assets/ filled in; it gets the reports' style and scripts as `css` and `js`."""
    from markupsafe import Markup

    page: str = (
        _environment()
        .get_template(template)
        .render(css=Markup(_asset("report.css")), js=Markup(_asset("report.js")), **values)
    )
    return page


def picture_uri(image: Any) -> str:
    """Return an image, uint8 (H, W) ink or (H, W, 3), as a data URI.

    Drawings become ink on nothing, so that they lie on any paper; photos are made at most 224 px and JPEG, which is a
    tenth of the bytes.
    """
    from PIL import Image

    pixels = np.asarray(image)
    if pixels.ndim == 3:
        return photo_uri(pixels)
    stream = io.BytesIO()
    Image.fromarray(np.stack([np.full_like(pixels, 29), pixels], axis=-1)).save(stream, "PNG", optimize=True)
    return data_uri(stream.getvalue(), "png")


def photo_uri(pixels: Any) -> str:
    """Return uint8 (H, W, 3) as the data URI of a JPEG of at most 224 px."""
    from PIL import Image

    stream = io.BytesIO()
    photo = Image.fromarray(pixels)
    photo.thumbnail((PHOTO_SIDE, PHOTO_SIDE), Image.Resampling.LANCZOS)
    photo.save(stream, "JPEG", quality=85)
    return data_uri(stream.getvalue(), "jpeg")


def data_uri(content: bytes, kind: str) -> str:
    """Return bytes of an image file as a data URI; `kind` is png or jpeg."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


@functools.cache
def _environment() -> Any:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    return Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@functools.cache
def _asset(name: str) -> str:
    return (resources.files("inksight.evaluation") / "assets" / name).read_text("utf-8")


def _is_drawn(images: Any | None) -> bool:
    return images is None or np.asarray(images[0]).ndim == 2


def _pictures(m: dict[str, Any], images: Any | None) -> dict[int, str]:
    if images is None:
        return {}
    wanted = {row["index"] for row in m["worst_errors"]}
    for pair in m["confused_pairs"]:
        wanted.update(pair["a_as_b_examples"], pair["b_as_a_examples"])
    for key in ("only_a_examples", "only_b_examples"):
        wanted.update(row["index"] for row in m.get("comparison", {}).get(key, []))
    return {index: picture_uri(images[index]) for index in sorted(wanted)}


def _floor(m: dict[str, Any]) -> int:
    """Return where the bars of the class table begin: the ten below the lowest interval, at most 90."""
    lows = [row["recall_interval"][0] for row in m["per_class"] if row["support"]]
    return int(min(90, 100 * min(lows, default=0) // 10 * 10))


def _class_row(
    row: dict[str, Any], matrix: IntArray, index: int, names: list[str], floor: int, weak: set[str]
) -> dict[str, Any]:
    wrong = matrix[index].copy()
    wrong[index] = 0
    other = int(wrong.argmax())

    def place(share: float) -> float:
        return round(100 * (100 * share - floor) / (100 - floor), 2)

    low, high = row["recall_interval"]
    return {
        **row,
        "weak": row["class"] in weak,
        "other": names[other] if wrong[other] else None,
        "other_count": int(wrong[other]),
        "bar": {"low": place(low), "high": place(high), "at": place(row["recall"] or 0)},
    }


def _ruler(m: dict[str, Any]) -> list[dict[str, Any]]:
    marks = [("accuracy", "accuracy"), ("balanced", "balanced_accuracy")]
    if len(m["classes"]) > 3:
        marks.append(("top-3", "top_3"))
    return [{"name": name, **_mark(m[key], *m[f"{key}_interval"])} for name, key in marks]


def _mark(value: float, low: float, high: float) -> dict[str, Any]:
    """Return a mark of the ruler, with the place of its name: beside the interval, above it where that leaves no room.

    On the smallest phone the longest name takes nearly half of the ruler.
    """
    place = "above" if max(low, 1 - high) < 0.48 else "left" if low > 1 - high else "right"
    return {"value": value, "low": low, "high": high, "place": place}


def _numbers(m: dict[str, Any]) -> list[dict[str, str]]:
    def row(name: str, value: str, note: str, ends: list[float] | None = None) -> dict[str, str]:
        return {"name": name, "value": value, "note": note, "interval": f"{words.span(ends)} %" if ends else ""}

    rows = [row("Top-1 accuracy", words.pct(m["accuracy"]), "first guess right", m["accuracy_interval"])]
    if len(m["classes"]) > 3:
        rows.append(row("Top-3 accuracy", words.pct(m["top_3"]), "among the first three", m["top_3_interval"]))
    spread = m["class_accuracy"]["std"]
    return [
        *rows,
        row(
            "Balanced accuracy",
            words.pct(m["balanced_accuracy"]),
            "mean class accuracy: every class counts the same",
            m["balanced_accuracy_interval"],
        ),
        row(
            "Spread of classes",
            f"{100 * spread:.1f} points",
            f"standard deviation: {m['class_accuracy']['verdict']} balance",
        ),
        row("Macro F1", f"{m['macro']['f1']:.3f}", "mean over the classes"),
        row("Weighted F1", f"{m['weighted']['f1']:.3f}", "classes weighted by their samples"),
        row("Matthews correlation", f"{m['matthews']:.3f}", "1 perfect, 0 guessing"),
        row("Log loss", f"{m['log_loss']:.3f}", f"nats; guessing gives {np.log(len(m['classes'])):.2f}"),
        row("Brier score", f"{m['brier']:.3f}", "0 perfect, 2 worst"),
        row("Calibration error", words.pct(m["calibration"]["error"]), "mean gap of confidence and accuracy"),
    ]


def _matrix_view(
    name: str, matrix: IntArray, classes: list[str], order: IntArray, *, cells: bool = False
) -> dict[str, Any]:
    part = matrix[np.ix_(order, order)]
    shares = normalised(matrix)[np.ix_(order, order)]
    shade = {"share": np.sqrt(shares), "count": np.sqrt(part / max(int(part.max()), 1))}
    names = [classes[i] for i in order]
    if not cells and len(order) > MOST_CELLS:
        pictures = {f"{kind}_picture": _shade_picture(values) for kind, values in shade.items()}
        return {"id": name, "names": names, "rows": None, **pictures}
    rows = [
        {
            "name": names[i],
            "cells": [
                {
                    "count": int(part[i, j]),
                    "percent": words.pct(float(shares[i, j])),
                    "short": f"{100 * shares[i, j]:.0f}" if shares[i, j] >= 0.005 else "·",
                    "right": i == j,
                    "share_shade": round(float(shade["share"][i, j]), 3),
                    "count_shade": round(float(shade["count"][i, j]), 3),
                }
                for j in range(len(order))
            ],
        }
        for i in range(len(order))
    ]
    return {"id": name, "names": names, "rows": rows}


def _shade_picture(values: Any) -> str:
    """Return a matrix of shades 0..1 as a PNG of one pixel per cell; mistakes get a scale of their own, to be seen."""
    from PIL import Image

    right = np.eye(len(values), dtype=bool)
    most = max(float(values[~right].max(initial=0)), 1e-9)
    strength = np.where(right, values, np.where(values > 0, 0.15 + 0.85 * values / most, 0))
    pixels = np.zeros((*values.shape, 4), np.uint8)
    pixels[...] = (200, 69, 45, 0)
    pixels[right] = (29, 36, 51, 0)
    pixels[..., 3] = (255 * strength).round()
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", optimize=True)
    return data_uri(stream.getvalue(), "png")


def _cells(matrix: IntArray, classes: list[str], order: IntArray) -> dict[str, Any]:
    part = matrix[np.ix_(order, order)]
    filled = [[int(i), int(j), int(part[i, j])] for i, j in np.argwhere(part > 0)]
    return {"names": [classes[i] for i in order], "support": part.sum(axis=1).tolist(), "filled": filled}


def _similar_together(matrix: IntArray) -> IntArray:
    """Return an order of the classes in which those mixed up with each other are neighbours."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    shares = normalised(matrix)
    alike = (shares + shares.T) / 2
    np.fill_diagonal(alike, 0)
    apart = 1 - alike / max(float(alike.max()), 1e-12)
    np.fill_diagonal(apart, 0)
    order: IntArray = leaves_list(linkage(squareform(apart, checks=False), "average", optimal_ordering=True))
    return order


def _most_confused(matrix: IntArray) -> list[int]:
    """Return the FOCUS classes that take part in most mistakes, neighbours together; empty when there are none."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    involved = wrong.sum(axis=0) + wrong.sum(axis=1)
    chosen = np.argsort(-involved, kind="stable")[:FOCUS]
    chosen = chosen[involved[chosen] > 0]
    if len(chosen) < 3:
        return chosen.tolist()  # type: ignore[no-any-return]
    order = _similar_together(matrix[np.ix_(chosen, chosen)])
    return chosen[order].tolist()  # type: ignore[no-any-return]


def _dots(bins: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the reliability diagram's dots in the SVG's units: 2.8 per point, 0 at (40, 300)."""
    most = max(bins["count"], default=1) or 1
    dots = []
    for i, many in enumerate(bins["count"]):
        if not many:
            continue
        confidence, accuracy = bins["confidence"][i], bins["accuracy"][i]
        left, right = bins["edges"][i], bins["edges"][i + 1]
        dots.append(
            {
                "x": round(40 + 280 * confidence, 1),
                "y": round(300 - 280 * accuracy, 1),
                "ideal": round(300 - 280 * confidence, 1),
                "low": round(300 - 280 * bins["low"][i], 1),
                "high": round(300 - 280 * bins["high"][i], 1),
                "left": round(41 + 280 * left, 1),
                "wide": round(280 * (right - left) - 2, 1),
                "tall": round(max(0.7, 38 * many / most), 1),
                "title": f"sure {100 * confidence:.0f} %, right {100 * accuracy:.0f} %, {many} samples",
            }
        )
    return dots


def _distribution(m: dict[str, Any]) -> list[dict[str, Any]]:
    splits = list(m["distribution"].values())
    most = max(sum(split.get(name, 0) for split in splits) for name in m["classes"]) or 1
    return [
        {
            "class": name,
            "shares": [round(100 * split.get(name, 0) / most, 2) for split in splits],
            "total": sum(split.get(name, 0) for split in splits),
        }
        for name in m["classes"]
    ]


def _speed(model: dict[str, Any]) -> list[dict[str, str]]:
    rows = []
    speed = model.get("speed")
    if speed:
        where = f"{speed['runtime']}, {speed['threads']} thread{'s' if speed['threads'] != 1 else ''}"
        rows += [
            ("One image", f"{words.num(speed['ms_p50'])} ms", f"median of {words.count(speed['runs'])}; {where}"),
            ("One image, slow", f"{words.num(speed['ms_p99'])} ms", "99 of 100 are faster"),
            ("Many at once", f"{words.num(speed['images_per_second'])} /s", f"batches of {speed['batch']}; {where}"),
        ]
    if model.get("bytes"):
        rows.append(("Size", f"{words.num(model['bytes'] / 1e6)} MB", "all files of the bundle"))
    if model.get("parameters"):
        rows.append(("Parameters", words.count(model["parameters"]), "numbers that were learnt"))
    if speed:
        rows.append(("Machine", f"{speed['cores']} cores", speed["processor"]))
    return [{"name": name, "value": value, "note": note} for name, value, note in rows]


def _two_speeds(comparison: dict[str, Any]) -> list[float] | None:
    speeds = [model.get("speed") for model in comparison["models"]]
    return [speed["ms_p50"] for speed in speeds] if all(speeds) else None
