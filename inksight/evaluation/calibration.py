"""Is a model as often right as it says? Reliability bins, calibration error, and the temperature that would mend it.

Confidence is the probability of the answer given. Expected calibration error as in Guo et al. 2017, 15 equal bins; it
depends on the bins and is biased upwards on few samples, so compare models on the same split only. Temperature scaling
changes no answer, only how sure the model says it is. Rows that are not finite are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inksight.evaluation.intervals import wilson
from inksight.evaluation.metrics import FloatArray, IntArray, Probabilities, answers, usable

BINS = 15


@dataclass(frozen=True)
class Reliability:
    """Per bin of confidence, arrays (B,): edges (B + 1,), count, mean confidence, accuracy with its interval.

    Empty bins hold NaN. `error` is the expected, `worst` the largest gap between confidence and accuracy, 0..1;
    `gap` is mean confidence minus accuracy over all samples: above 0 the model is too sure of itself.
    """

    edges: FloatArray
    count: IntArray
    confidence: FloatArray
    accuracy: FloatArray
    low: FloatArray
    high: FloatArray
    error: float
    worst: float
    gap: float


def reliability(y_true: IntArray, probabilities: Probabilities, *, bins: int = BINS) -> Reliability:
    """Sort samples into equal bins of confidence and compare confidence with accuracy in each."""
    good = usable(probabilities)
    edges = np.linspace(0, 1, bins + 1)
    truth, answer = y_true[good], answers(probabilities)[good]
    confidence = probabilities[good].max(axis=1).astype(float) if good.any() else np.empty(0)
    right = (truth == answer).astype(float)
    # Bins are closed above, (a, b], as in Guo et al.: 1.0 belongs to the last bin.
    place = np.clip(np.digitize(confidence, edges[1:-1], right=True), 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    sums = [np.bincount(place, weights=values, minlength=bins) for values in (confidence, right)]
    means = [np.divide(total, count, out=np.full(bins, np.nan), where=count > 0) for total in sums]
    low, high = wilson(sums[1], count)
    gaps = np.abs(means[0] - means[1])[count > 0]
    total = int(count.sum())
    return Reliability(
        edges=edges,
        count=count,
        confidence=means[0],
        accuracy=means[1],
        low=np.where(count > 0, low, np.nan),
        high=np.where(count > 0, high, np.nan),
        error=float((gaps * count[count > 0]).sum() / total) if total else float("nan"),
        worst=float(gaps.max()) if total else float("nan"),
        gap=float(confidence.mean() - right.mean()) if total else float("nan"),
    )


def apply_temperature(probabilities: Probabilities, temperature: float) -> FloatArray:
    """Return probabilities softened (temperature > 1) or sharpened (< 1), float64 (N, C); 1 changes nothing."""
    tiny = float(np.finfo(np.float32).tiny)
    scaled: FloatArray = np.log(np.maximum(probabilities, tiny).astype(float)) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    np.exp(scaled, out=scaled)
    scaled /= scaled.sum(axis=1, keepdims=True)
    return scaled


def fit_temperature(y_true: IntArray, probabilities: Probabilities) -> float:
    """Return the temperature (0.05..20) with the least log loss; fit it on validation, never on test samples.

    1.0 when there is nothing to fit on. The log loss is convex in 1/temperature, so Newton's method finds it; where a
    step would leave what is known to hold the minimum, that is halved. (Loading SciPy's search takes half a second of
    processor, on most validation splits longer than the fit.)
    """
    good = usable(probabilities)
    if not good.any():
        return 1.0
    rows = np.flatnonzero(good)
    truth = y_true[rows]
    tiny = float(np.finfo(np.float32).tiny)
    logs = np.log(np.maximum(probabilities[rows], tiny).astype(float))
    logs -= logs.max(axis=1, keepdims=True)
    own = float(logs[np.arange(len(rows)), truth].mean())
    low, high, inverse = 1 / 20, 20.0, 1.0
    while high / low > 1 + 1e-5:
        weights = np.exp(logs * inverse)
        total = weights.sum(axis=1)
        weights *= logs
        means = weights.sum(axis=1) / total
        slope = float(means.mean()) - own
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        curvature = float((np.einsum("ij,ij->i", weights, logs) / total - means**2).mean())
        step = slope / curvature if curvature > 0 else np.inf
        if abs(step) < 1e-6 * inverse:
            break
        inverse = inverse - step if low < inverse - step < high else float(np.sqrt(low * high))
    return 1 / inverse
