"""Gates: what a version must show before an alias such as champion points at it, each answer with its numbers.

Candidate and champion are compared on the same samples only: the summaries in their bundles must come from the same
split of the same dataset file, or `evidence` must give both, measured on one. Nothing here measures accuracy.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from inksight.errors import GateError
from inksight.registry.versions import Version
from inksight.settings import GateSettings

PARITY = 1e-4  # largest difference of a probability between the export and the trained model
_ROUNDING = 1e-9  # 0.88 - 0.90 is a little below -0.02
_RUNS = 200


@dataclass(frozen=True)
class Answer:
    """One gate's answer; `detail` states it with its numbers."""

    gate: str
    passed: bool
    detail: str

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
        answers.append(
            Answer("accuracy", enough, f"accuracy {shown}, at least {settings.min_accuracy:.2%} is required")
        )
    if settings.max_latency_ms is not None and latency_ms is not None:
        fast = latency_ms <= settings.max_latency_ms
        detail = (
            f"one prediction takes {latency_ms:.3f} ms (median of {_RUNS}), {settings.max_latency_ms:g} ms is allowed"
        )
        answers.append(Answer("latency", fast, detail))
    if settings.max_megabytes is not None:
        size = candidate.bytes / 1e6
        detail = f"the bundle has {size:.2f} MB, {settings.max_megabytes:g} MB is allowed"
        answers.append(Answer("size", size <= settings.max_megabytes, detail))
    return [*answers, *(evidence.further if evidence else ())]


def refusal(candidate: Version, alias: str, answers: list[Answer]) -> GateError:
    """Return the error that states the gates that did not pass."""
    failed = [answer for answer in answers if not answer.passed]
    return GateError(
        f"{candidate.ref} does not become {alias}: " + "; ".join(f"[{a.gate}] {a.detail}" for a in failed),
        hint="Improve the model, change the gate's limit, or promote with --force, which is recorded.",
    )


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
        return Answer("parity", True, f"the export is {precision} on purpose; its accuracy is judged instead")
    difference, changes, samples = (parity.get(key) for key in ("max_difference", "top1_changes", "samples"))
    if difference is None or not samples:
        return Answer("parity", False, "the bundle does not say how far export and model are apart")
    detail = (
        f"the export differs by {difference:.2g} (allowed {PARITY:g}) "
        f"and changes {changes} of {samples:,} answers (allowed 0)"
    )
    return Answer("parity", bool(difference <= PARITY and changes == 0), detail)


def _overall_and_classes(
    candidate: Version,
    champion: Version | None,
    new: dict[str, Any],
    old: dict[str, Any] | None,
    settings: GateSettings,
    evidence: Evidence | None,
) -> list[Answer]:
    if champion is None or old is None:
        return [Answer("overall", True, "there is no version to compare with yet")]
    if new.get("accuracy") is None or old.get("accuracy") is None:
        silent = candidate.ref if new.get("accuracy") is None else champion.ref
        return [Answer("overall", False, f"{silent} carries no accuracy; evaluate it, or give --data to judge both")]
    if evidence is None and (reason := _not_comparable(candidate, champion)):
        return [Answer("overall", False, f"{reason}; give --data to judge both on the same samples")]
    where = f" on {evidence.source}" if evidence else ""
    gap = new["accuracy"] - old["accuracy"]
    detail = (
        f"accuracy {new['accuracy']:.2%} against {old['accuracy']:.2%} of {champion.ref}{where}: {gap:+.2%}, "
        f"at most {settings.overall_margin:.2%} worse is allowed"
    )
    answers = [Answer("overall", gap >= -settings.overall_margin - _ROUNDING, detail)]
    before, after = old.get("per_class") or {}, new.get("per_class") or {}
    worse = []
    for name, entry in before.items():
        if name not in after:
            worse.append((float("-inf"), f"{name} is missing"))
            continue
        drop = after[name]["accuracy"] - entry["accuracy"]
        if drop < -settings.class_margin - _ROUNDING:
            worse.append((drop, f"{name} {after[name]['accuracy']:.1%} against {entry['accuracy']:.1%} ({drop:+.1%})"))
    limit = f"at most {settings.class_margin:.1%} worse is allowed"
    if worse:
        listed = ", ".join(text for _, text in sorted(worse)[:5]) + (" ..." if len(worse) > 5 else "")
        answers.append(Answer("classes", False, f"{len(worse)} of {len(before)} classes are worse: {listed}; {limit}"))
    else:
        answers.append(Answer("classes", True, f"none of {len(before)} classes is worse beyond the margin; {limit}"))
    return answers


def _not_comparable(candidate: Version, champion: Version) -> str:
    """Say why two summaries must not be compared, "" when they may."""
    ours, theirs = candidate.description.get("dataset") or {}, champion.description.get("dataset") or {}
    if not ours.get("sha256") or ours.get("sha256") != theirs.get("sha256"):
        return f"{candidate.ref} and {champion.ref} were judged on different datasets"
    if candidate.metrics.get("split") != champion.metrics.get("split"):
        return f"{candidate.ref} and {champion.ref} were judged on different splits"
    return ""
