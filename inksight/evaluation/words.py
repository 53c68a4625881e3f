"""The report's sentences: what the numbers say, in plain English, with the caveats that belong to them."""

from __future__ import annotations

import math
from typing import Any

from inksight.evaluation import verdict

THIN = "\N{NARROW NO-BREAK SPACE}"


def pct(share: float | None) -> str:
    """Return a share as "91.2 %", or a dash for None."""
    return "–" if share is None else f"{100 * share:.1f}{THIN}%"


def pct0(share: float) -> str:
    """Return a share as "91 %", never rounding up to 100."""
    return f"{math.floor(100 * share + 0.5) if share < 0.995 else math.floor(100 * share)}{THIN}%"


def span(ends: list[float]) -> str:
    """Return an interval of shares as "90.1–92.2"."""
    return f"{100 * ends[0]:.1f}–{100 * ends[1]:.1f}"


def count(number: int) -> str:
    """Return a count with its thousands set apart."""
    return f"{number:,}".replace(",", THIN)


def num(value: float | None) -> str:
    """Return a number with three significant digits, or a dash for None."""
    return "–" if value is None else f"{value:,.0f}".replace(",", THIN) if abs(value) >= 100 else f"{value:.3g}"


def noun(metrics: dict[str, Any]) -> str:
    """Return what one sample is called: drawing, photo or image."""
    return {"drawing": "drawing", "photo": "photo"}.get(metrics["data"].get("kind", ""), "image")


def sentences(m: dict[str, Any]) -> dict[str, Any]:
    """Return the sentences of the report by section, from the metrics of an Evaluation."""
    return {
        "lede": _lede(m),
        "warnings": _warnings(m),
        "evenness": _evenness(m),
        "weak": _weak(m),
        "calibration": _calibration(m),
        "temperature": _temperature(m),
        "comparison": comparison(m["comparison"]) if "comparison" in m else "",
        "explanations": _explanations(m),
        "data": _data(m),
        "provenance": _provenance(m),
    }


def comparison(c: dict[str, Any]) -> str:
    """Return what a comparison of two models found."""
    decided = c["only_a_right"] + c["only_b_right"]
    p = "p < 0.001" if c["mcnemar_p"] < 0.001 else f"p = {c['mcnemar_p']:.3f}"
    low, high = (100 * end for end in c["difference_interval"])
    few, many = c["classes"]
    choice = "" if few == many else f" A chooses among {few} classes, B among {many}."
    return (
        f"{c['verdict'][0].upper()}{c['verdict'][1:]}. Accuracy of {c['a']} (A) minus {c['b']} (B): "
        f"{100 * c['difference']:+.1f} points (95 % interval {low:+.1f} to {high:+.1f}; McNemar's exact test on the "
        f"{count(decided)} samples that exactly one got right, {p}). They give the same answer to "
        f"{pct(c['same_answer'])} of the samples.{choice}"
    )


def _lede(m: dict[str, Any]) -> str:
    low, high = m["accuracy_interval"]
    unseen = {"test": "unseen ", "val": "validation "}.get(m["split"], f"{m['split']} ")
    text = (
        f"Right on {pct(m['accuracy'])} of {count(m['samples'])} {unseen}{noun(m)}s "
        f"(between {100 * low:.1f} and {100 * high:.1f}{THIN}% with 95{THIN}% confidence), among {len(m['classes'])} "
        f"{'classes' if len(m['classes']) != 1 else 'class'}."
    )
    if m["worst_classes"]:
        worst = next(row for row in m["per_class"] if row["class"] == m["worst_classes"][0])
        text += (
            f" Its best class is “{m['best_classes'][0]}”, its weakest “{worst['class']}” at {pct(worst['recall'])}."
        )
    gap = m["calibration"]["overconfidence"]
    if gap is not None and abs(gap) >= 0.03:
        text += f" It is {'too' if gap > 0 else 'not'} sure {'of itself' if gap > 0 else 'enough of itself'}."
    return text


def _warnings(m: dict[str, Any]) -> list[str]:
    found = list(m["data"].get("warnings", []))
    other = m.get("comparison", {})
    found += [f"Of {other['b']}: {text[0].lower()}{text[1:]}" for text in other.get("warnings", [])]
    if m["split"] == "train":
        found.append(
            "These samples were trained on: the numbers say how well they were learnt, not how well others fare."
        )
    if m["unusable_answers"]:
        found.append(
            f"{count(m['unusable_answers'])} answers held values that are not numbers. They count as wrong; "
            "a healthy model gives none."
        )
    absent = m["classes_without_samples"]
    if absent:
        names = ", ".join(absent[:8]) + (f" and {len(absent) - 8} more" if len(absent) > 8 else "")
        found.append(f"No samples of {names}: nothing is known of {'it' if len(absent) == 1 else 'them'}.")
    if m["samples"] < 100:
        found.append(f"Only {m['samples']} samples: mind the width of the intervals.")
    return found


def _evenness(m: dict[str, Any]) -> str:
    c = m["class_accuracy"]
    if c["verdict"] == "unknown":
        return ""
    return (
        f"Mean class accuracy is {pct(c['mean'])}, with a spread of {100 * c['std']:.1f} points (standard deviation), "
        f"from {pct(c['min'])} to {pct(c['max'])}: {c['verdict']} balance. ({verdict.EVENNESS_RULE.capitalize()}.)"
    )


def _weak(m: dict[str, Any]) -> str:
    many = len(m["needs_improvement"])
    return (
        f"{many} {'class is' if many == 1 else 'classes are'} below the mean class accuracy of "
        f"{pct(m['balanced_accuracy'])} by more than chance: even the upper end of the 95 % interval is lower."
    )


def _calibration(m: dict[str, Any]) -> str:
    c = m["calibration"]
    if c["error"] is None:
        return "No usable answers."
    gap = 100 * c["overconfidence"]
    if abs(gap) < 1:
        tendency = "On the whole it is as sure as it should be"
    else:
        tendency = f"On the whole it is {abs(gap):.1f} points {'surer' if gap > 0 else 'less sure'} than it is right"
    return f"{tendency}; the gap per level of confidence is {100 * c['error']:.1f} points (expected calibration error)."


def _temperature(m: dict[str, Any]) -> str:
    c = m["calibration"]
    if c["temperature"] is None:
        return "No temperature was fitted: that needs samples of a validation split, which are not those judged here."
    after = 100 * c["error_after_temperature"]
    change = "soften" if c["temperature"] > 1 else "sharpen"
    gained = "" if c["error_after_temperature"] < c["error"] else " It helps the log loss only."
    return (
        f"A temperature of {c['temperature']:.2f}, fitted on the validation split only, would {change} its "
        f"probabilities: the error here would go from {100 * c['error']:.1f} to {after:.1f} points, the log loss from "
        f"{m['log_loss']:.3f} to {c['log_loss_after_temperature']:.3f}. No answer would change.{gained}"
    )


def _explanations(m: dict[str, Any]) -> str:
    method = m.get("explanations", {}).get("method", "")
    how = {
        "grad-cam": "Grad-CAM (Selvaraju et al. 2017) with each place's own gradient on the last convolution's maps",
        "occlusion": "Occlusion (Zeiler and Fergus 2014): how much the answer loses when a patch is covered",
    }.get(method, method)
    return f"Red marks what counted for the answer given, right or wrong. {how}." if how else ""


def _data(m: dict[str, Any]) -> str:
    judged = m["distribution"].get(m["split"]) or {}
    counts = [n for n in judged.values() if n]
    text = f"{count(m['samples'])} {noun(m)}s were judged"
    if m["data"].get("name"):
        text += f", the {m['split']} split of {m['data']['name']}"
    if len(counts) > 1:
        ratio = max(counts) / min(counts)
        text += (
            ". The classes are of one size"
            if ratio < 1.05
            else (f". The largest class has {ratio:.1f} times the samples of the smallest")
        )
    return text + "."


def _provenance(m: dict[str, Any]) -> str:
    from inksight import __version__

    parts = [f"Judged by Inksight {__version__}"]
    if m["data"].get("sha256"):
        parts.append(f"dataset SHA-256 {m['data']['sha256']}")
    if m["model"].get("sha256"):
        parts.append(f"model SHA-256 {m['model']['sha256']}")
    return "; ".join(parts) + "."
