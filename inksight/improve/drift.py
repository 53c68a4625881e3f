"""Drift: do visitors draw, and does the model answer, as before?

    report = compare(reference, recent)
    report.drifted, report.as_dict()

Compared are the answers, their confidence, the share of unsure ones, the share called right in feedback, and properties
of the inputs where they were kept. Chi-square for categories, Kolmogorov-Smirnov for numbers, Holm's correction over
all checks: with nothing changed, at most `alpha` of the comparisons shows anything. Many answers make any trifle
significant, so drift is called only when the shift is large enough as well: by the population stability index (PSI, 0.1
a moderate shift, 0.25 a large one, as in credit scoring), for shares by 5 points.

What is not guaranteed: that answers are worse. A school class drawing only cats is drift, and harmless. Answers to the
same drawing while it grows are not independent; equal inputs are counted once, the rest makes p-values too small.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from inksight.errors import UsageError
from inksight.evaluation.intervals import holm

FEWEST = 50
BINS = 10
MODERATE, LARGE = 0.10, 0.25
SHARE = 0.05

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """Answers of one period: labels (N,) and confidence float (N,).

    `unsure` is bool (N,), or empty where it is not known; `right` is bool for the answers that got feedback (any
    number); `features` holds numbers about the inputs that were kept, by name, each of any number; `versions` are the
    model's versions that answered.
    """

    name: str
    labels: npt.NDArray[np.str_]
    confidence: Values
    unsure: npt.NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, bool))
    right: npt.NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, bool))
    features: dict[str, Values] = field(default_factory=dict)
    versions: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Check:
    """One comparison: the test's p-value (adjusted for the number of checks), and how large the shift is.

    `size` is a PSI or, for shares, a difference; `limit` is the size that counts. `before` and `after` are means, or
    the shares of the category that changed most, named in `detail`.
    """

    name: str
    test: str
    p: float
    size: float
    limit: float
    before: float
    after: float
    detail: str
    n_before: int
    n_after: int

    def drifted(self, alpha: float) -> bool:
        """Return whether the shift is both beyond chance and large enough."""
        return self.p < alpha and self.size >= self.limit

    def verdict(self, alpha: float) -> str:
        """Return stable, small, moderate or large."""
        if self.p >= alpha:
            return "stable"
        if self.size < self.limit:
            return "small"
        return "large" if self.size >= self.limit * LARGE / MODERATE else "moderate"


@dataclass(frozen=True)
class DriftReport:
    """All checks of two periods; `drifted` when one of them drifted."""

    reference: str
    recent: str
    alpha: float
    checks: list[Check]
    notes: list[str]

    @property
    def drifted(self) -> bool:
        """Whether any check drifted."""
        return any(check.drifted(self.alpha) for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON can hold it."""
        return {
            "drifted": self.drifted,
            "reference": self.reference,
            "recent": self.recent,
            "alpha": self.alpha,
            "notes": self.notes,
            "checks": [{**asdict(check), "verdict": check.verdict(self.alpha)} for check in self.checks],
        }


def compare(reference: Sample, recent: Sample, *, alpha: float = 0.05) -> DriftReport:
    """Compare two periods; raises UsageError when either has fewer than 50 answers."""
    for sample in (reference, recent):
        if len(sample) < FEWEST:
            raise UsageError(
                f"{sample.name} has {len(sample)} answers, too few to tell drift from chance",
                hint=f"At least {FEWEST} are needed: take a longer period.",
            )
    checks = [
        categories("answers", reference.labels, recent.labels),
        numbers("confidence", reference.confidence, recent.confidence),
    ]
    for name, old, new in (
        ("unsure answers", reference.unsure, recent.unsure),
        ("right by feedback", reference.right, recent.right),
    ):
        if min(len(old), len(new)) >= FEWEST:
            checks.append(shares(name, old, new))
    for name, values in reference.features.items():
        others = recent.features.get(name, np.empty(0))
        if min(len(values), len(others)) >= FEWEST:
            checks.append(numbers(name, values, others))
    adjusted = holm([check.p for check in checks])
    checks = [Check(**{**asdict(check), "p": float(p)}) for check, p in zip(checks, adjusted, strict=True)]
    return DriftReport(reference.name, recent.name, alpha, checks, list(_notes(reference, recent)))


def categories(name: str, before: npt.NDArray[np.str_], after: npt.NDArray[np.str_]) -> Check:
    """Compare how often each category occurs: chi-square, with rare categories (fewer than 5 expected) taken as one."""
    from scipy.stats import chi2_contingency

    names, codes = np.unique(np.concatenate([before, after]), return_inverse=True)
    table = np.stack([np.bincount(part, minlength=len(names)) for part in (codes[: len(before)], codes[len(before) :])])
    expected = table.sum(axis=0) * min(len(before), len(after)) / (len(before) + len(after))
    rare = expected < 5
    pooled = np.concatenate([table[:, ~rare], table[:, rare].sum(axis=1, keepdims=True)], axis=1)
    pooled = pooled[:, pooled.sum(axis=0) > 0]
    p = float(chi2_contingency(pooled, correction=False).pvalue) if pooled.shape[1] > 1 else 1.0
    share = table / table.sum(axis=1, keepdims=True)
    most = int(np.abs(share[1] - share[0]).argmax())
    return Check(
        name, "chi-square", p, psi(pooled[0], pooled[1]), MODERATE,
        float(share[0, most]), float(share[1, most]), str(names[most]), len(before), len(after),
    )  # fmt: skip


def numbers(name: str, before: Values, after: Values) -> Check:
    """Compare two distributions of numbers: Kolmogorov-Smirnov, and PSI over tenths of the first."""
    from scipy.stats import ks_2samp

    before, after = (np.asarray(values, float) for values in (before, after))
    edges = np.unique(np.quantile(before, np.linspace(0, 1, BINS + 1)[1:-1]))
    counts = [np.bincount(np.searchsorted(edges, v, side="right"), minlength=len(edges) + 1) for v in (before, after)]
    return Check(
        name, "Kolmogorov-Smirnov", float(ks_2samp(before, after).pvalue), psi(*counts), MODERATE,
        float(before.mean()), float(after.mean()), "mean", len(before), len(after),
    )  # fmt: skip


def shares(name: str, before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_]) -> Check:
    """Compare two shares: Fisher's exact test, and their difference."""
    from scipy.stats import fisher_exact

    table = [[int(part.sum()), int((~part).sum())] for part in (before, after)]
    old, new = float(before.mean()), float(after.mean())
    p = float(fisher_exact(table).pvalue)
    return Check(name, "Fisher's exact", p, abs(new - old), SHARE, old, new, "share", len(before), len(after))


def psi(before: npt.ArrayLike, after: npt.ArrayLike) -> float:
    """Return the population stability index of two tables of counts: sum of (q - p) ln(q / p).

    Half a count is added to each cell, so that an empty one is no infinity; what chance alone gives, on average
    (cells - 1) (1/n + 1/m), is taken off, else small samples seem to drift.
    """
    tables = [np.asarray(counts, float) + 0.5 for counts in (before, after)]
    p, q = (counts / counts.sum() for counts in tables)
    chance = (len(p) - 1) * sum(1 / counts.sum() for counts in tables)
    return max(0.0, float(((q - p) * np.log(q / p)).sum()) - float(chance))


def _notes(reference: Sample, recent: Sample) -> Iterable[str]:
    if reference.versions and recent.versions and set(reference.versions) != set(recent.versions):
        yield (
            f"Different versions answered ({', '.join(reference.versions)} before, {', '.join(recent.versions)} now): "
            "changed answers may come from the model."
        )
    for name in sorted(reference.features.keys() ^ recent.features.keys()):
        yield f"The inputs' {name} is known of one period only and was not compared."
    if not reference.features and not recent.features:
        yield "No inputs were kept, so only answers were compared (`inksight serve --keep-drawings` keeps them)."


def features_of(images: npt.NDArray[np.uint8]) -> dict[str, Values]:
    """Return what is compared of images uint8 (N, H, W[, 3]), each float64 (N,) in 0..1.

    Drawings: share of ink, width and height of the inked box. Photos: brightness, contrast, colourfulness.
    """
    pixels = images.astype(np.float32) / 255
    if images.ndim == 4:
        grey = pixels.mean(axis=3)
        return {
            "brightness": grey.mean(axis=(1, 2)).astype(float),
            "contrast": grey.std(axis=(1, 2)).astype(float),
            "colourfulness": (pixels.max(axis=3) - pixels.min(axis=3)).mean(axis=(1, 2)).astype(float),
        }
    inked = images > 0
    return {
        "share of ink": pixels.mean(axis=(1, 2)).astype(float),
        "width": _extent(inked, 1),
        "height": _extent(inked, 2),
    }


def _extent(inked: npt.NDArray[np.bool_], axis: int) -> Values:
    """Return the share of the lines across `axis` from the first with ink to the last, for bool (N, H, W)."""
    filled = np.any(inked, axis=axis)
    length = filled.shape[1]
    first, last = filled.argmax(axis=1), length - filled[:, ::-1].argmax(axis=1)
    return np.where(np.any(filled, axis=1), (last - first) / length, 0.0)
