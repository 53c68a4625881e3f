"""Gates: what a version must show before an alias such as champion points at it, each answer with its numbers.

Candidate and champion are compared on the same samples only: the summaries in their bundles must come from the same
split of the same dataset file, or `evidence` must give both, measured on one. Nothing here measures accuracy.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from inksight.errors import GateError
from inksight.registry.versions import Version
from inksight.settings import GateSettings

PARITY = 1e-4  # largest difference of a probability between the export and the trained model
_ROUNDING = 1e-9  # 0.88 - 0.90 is a little below -0.02
_RUNS = 200
LISTED = 5
"""Classes that an answer names; it counts all."""


Reason = Literal[
    "parity", "parity.on_purpose", "parity.unknown", "overall", "overall.first", "overall.unmeasured",
    "overall.datasets", "overall.splits", "classes", "classes.chance", "classes.worse", "accuracy", "latency", "size",
    "corrections", "corrections.none",
]  # fmt: skip
"""What an answer says, without the numbers; the page has a text for each."""


@dataclass(frozen=True)
class Answer:
    """One gate's answer; `detail` states it with its numbers.

    `reason` and `values` say the same to programs: the page tells it in its reader's language.
    """

    gate: str
    passed: bool
    detail: str
    reason: Reason
    values: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Evidence:
    """Summaries of candidate and champion, measured on the same samples; `champion` is the reference measured.

    `further` are answers of gates that only the one who measured can give; they count like the others.
    """

    candidate: Mapping[str, Any]
    champion_metrics: Mapping[str, Any]
    champion: str
    source: str
    further: tuple[Answer, ...] = ()


def judge(
    candidate: Version,
    champion: Version | None,
    settings: GateSettings,
    *,
    evidence: Evidence | None = None,
    latency_ms: float | None = None,
) -> list[Answer]:
    """Return every gate's answer, in a fixed order; gates without a limit are left out."""
    answers = [_parity(candidate)]
    new = dict(evidence.candidate) if evidence else candidate.metrics
    old = None if champion is None else dict(evidence.champion_metrics) if evidence else champion.metrics
    answers += _overall_and_classes(candidate, champion, new, old, settings, evidence)
    if settings.min_accuracy is not None:
        accuracy = new.get("accuracy")
        enough = accuracy is not None and accuracy >= settings.min_accuracy
        shown = "unknown" if accuracy is None else f"{accuracy:.2%}"
        detail = f"accuracy {shown}, at least {settings.min_accuracy:.2%} is required"
        values = {"accuracy": accuracy, "least": settings.min_accuracy}
        answers.append(Answer("accuracy", enough, detail, "accuracy", values))
    if settings.max_latency_ms is not None and latency_ms is not None:
        fast = latency_ms <= settings.max_latency_ms
        detail = (
            f"one prediction takes {latency_ms:.3f} ms (median of {_RUNS}), {settings.max_latency_ms:g} ms is allowed"
        )
        values = {"ms": latency_ms, "most": settings.max_latency_ms}
        answers.append(Answer("latency", fast, detail, "latency", values))
    if settings.max_megabytes is not None:
        size = candidate.bytes / 1e6
        detail = f"the bundle has {size:.2f} MB, {settings.max_megabytes:g} MB is allowed"
        values = {"size": size, "most": settings.max_megabytes}
        answers.append(Answer("size", size <= settings.max_megabytes, detail, "size", values))
    return [*answers, *(evidence.further if evidence else ())]


class Refused(GateError):
    """Gates said no; the message states those with their numbers, `answers` has all, `short` only their names."""

    def __init__(self, candidate: Version, alias: str, answers: list[Answer]) -> None:
        failed = [answer for answer in answers if not answer.passed]
        super().__init__(
            f"{candidate.ref} does not become {alias}: " + "; ".join(f"[{a.gate}] {a.detail}" for a in failed),
            hint="Improve the model, change the gate's limit, or promote with --force, which is recorded.",
        )
        self.answers = answers
        self.short = f"{candidate.ref} does not become {alias}: refused by {', '.join(a.gate for a in failed)}"


def measure_latency(folder: Path) -> float:
    """Return the median milliseconds of one prediction on one thread, images of the bundle's own shape."""
    import numpy as np

    from inksight.bundle import load

    model = load(folder)
    image = np.zeros((1, *model.image_shape), np.uint8)
    model.predict_proba(image)
    times = []
    for _ in range(_RUNS):
        begin = time.perf_counter()
        model.predict_proba(image)
        times.append(time.perf_counter() - begin)
    return float(np.median(times)) * 1000


def _parity(candidate: Version) -> Answer:
    parity = candidate.description.get("parity") or {}
    if candidate.description.get("precision", "float32") != "float32":
        precision = candidate.description["precision"]
        detail = f"the export is {precision} on purpose; its accuracy is judged instead"
        return Answer("parity", True, detail, "parity.on_purpose", {"precision": precision})
    difference, changes, samples = (parity.get(key) for key in ("max_difference", "top1_changes", "samples"))
    if difference is None or not samples:
        return Answer("parity", False, "the bundle does not say how far export and model are apart", "parity.unknown")
    detail = (
        f"the export differs by {difference:.2g} (allowed {PARITY:g}) "
        f"and changes {changes} of {samples:,} answers (allowed 0)"
    )
    values = {"difference": difference, "allowed": PARITY, "changes": changes, "samples": samples}
    return Answer("parity", bool(difference <= PARITY and changes == 0), detail, "parity", values)


def _overall_and_classes(
    candidate: Version,
    champion: Version | None,
    new: dict[str, Any],
    old: dict[str, Any] | None,
    settings: GateSettings,
    evidence: Evidence | None,
) -> list[Answer]:
    if champion is None or old is None:
        return [Answer("overall", True, "there is no version to compare with yet", "overall.first")]
    if new.get("accuracy") is None or old.get("accuracy") is None:
        silent = candidate.ref if new.get("accuracy") is None else champion.ref
        detail = f"{silent} carries no accuracy; evaluate it, or give --data to judge both"
        return [Answer("overall", False, detail, "overall.unmeasured", {"version": silent})]
    if evidence is None and (apart := _apart(candidate, champion)):
        what = apart.removeprefix("overall.")
        detail = f"{candidate.ref} and {champion.ref} were judged on different {what}"
        detail += "; give --data to judge both on the same samples"
        return [Answer("overall", False, detail, apart, {"version": candidate.ref, "champion": champion.ref})]
    where = f" on {evidence.source}" if evidence else ""
    gap = new["accuracy"] - old["accuracy"]
    detail = (
        f"accuracy {new['accuracy']:.2%} against {old['accuracy']:.2%} of {champion.ref}{where}: {gap:+.2%}, "
        f"at most {settings.overall_margin:.2%} worse is allowed"
    )
    values = {
        "accuracy": new["accuracy"],
        "before": old["accuracy"],
        "champion": champion.ref,
        "gap": gap,
        "margin": settings.overall_margin,
    }
    answers = [Answer("overall", gap >= -settings.overall_margin - _ROUNDING, detail, "overall", values)]
    return [*answers, _classes(old.get("per_class") or {}, new.get("per_class") or {}, settings.class_margin)]


def _classes(before: dict[str, Any], after: dict[str, Any], margin: float) -> Answer:
    """Refuse a class whose accuracy fell by more than the margin and by more than chance explains.

    Of 23 classes with 18 drawings each some always look worse. The interval is that of two independent samples; the
    drawings are the same, which makes it wide enough for many classes (docs/benchmarks/corrections.md). A class that
    had no samples on either side is passed over.
    """
    worse: list[tuple[float, str, dict[str, Any], dict[str, Any] | None]] = []
    chance = unmeasured = 0
    for name, was in before.items():
        now = after.get(name)
        if now is not None and (was.get("accuracy") is None or now.get("accuracy") is None):
            unmeasured += 1
            continue
        drop = float("-inf") if now is None else now["accuracy"] - was["accuracy"]
        if drop >= -margin - _ROUNDING:
            continue
        if now is None or _beyond_chance(was, now):
            worse.append((drop, name, was, now))
        else:
            chance += 1
    worse.sort(key=lambda found: found[:2])
    limit = f"at most {margin:.1%} worse is allowed, and what may be chance (95 %)"
    if unmeasured:
        limit += f"; {unmeasured} had no samples to compare"
    values = {
        "worse": [
            {"class": name, "before": was.get("accuracy"), "after": now and now["accuracy"], "samples": was["samples"]}
            for _, name, was, now in worse[:LISTED]
        ],
        "count": len(worse),
        "of": len(before),
        "margin": margin,
        "chance": chance,
        "unmeasured": unmeasured,
    }
    if not worse:
        detail = f"none of {len(before)} classes is surely worse"
        detail += f", for {chance} the gap may be chance; {limit}" if chance else f"; {limit}"
        return Answer("classes", True, detail, "classes.chance" if chance else "classes", values)
    listed = [
        f"{name} is missing"
        if now is None
        else f"{name} {now['accuracy']:.1%} against {was['accuracy']:.1%} of {was['samples']:,} ({drop:+.1%})"
        for drop, name, was, now in worse[:LISTED]
    ]
    detail = f"{len(worse)} of {len(before)} classes are worse: {', '.join(listed)}"
    detail += f"{' ...' if len(worse) > LISTED else ''}; {limit}"
    return Answer("classes", False, detail, "classes.worse", values)


def _beyond_chance(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Tell whether a class surely became worse: the 95 % interval of the difference leaves zero out."""
    from inksight.evaluation.intervals import difference

    right = [round(entry["accuracy"] * entry["samples"]) for entry in (after, before)]
    _, high = difference(right[0], after["samples"], right[1], before["samples"])
    return high < 0


def _apart(candidate: Version, champion: Version) -> Reason | None:
    """Say why two summaries must not be compared; None when they may."""
    ours, theirs = candidate.description.get("dataset") or {}, champion.description.get("dataset") or {}
    if not ours.get("sha256") or ours.get("sha256") != theirs.get("sha256"):
        return "overall.datasets"
    if candidate.metrics.get("split") != champion.metrics.get("split"):
        return "overall.splits"
    return None
