"""How sure a share is: intervals and exact tests for proportions, in closed form.

All intervals are 95 % unless asked otherwise, and two-sided. They describe sampling error only: drawings that are
mislabelled or unlike those that will come are not in them.

Sources: Wilson 1927; Newcombe 1998 (two papers: independent and paired differences); Zou and Donner 2008 (MOVER);
McNemar 1947 in its exact form; Holm 1979.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Interval = tuple[float, float]


def z_value(confidence: float = 0.95) -> float:
    """Return the normal quantile of a two-sided interval: 1.96 for 0.95."""
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def wilson(successes: Any, trials: Any, *, confidence: float = 0.95) -> tuple[FloatArray, FloatArray]:
    """Return the lower and upper ends of Wilson's score interval, float64, of the shape of the counts.

    No trials give (0, 1): nothing is known.
    """
    k, n = np.asarray(successes, float), np.asarray(trials, float)
    z = z_value(confidence)
    safe = np.maximum(n, 1)
    share = k / safe
    centre = (share + z * z / (2 * safe)) / (1 + z * z / safe)
    half = z / (1 + z * z / safe) * np.sqrt(share * (1 - share) / safe + z * z / (4 * safe * safe))
    # At 0 and at all successes the ends are exact; rounding would put them a hair inside.
    low = np.where((n == 0) | (k == 0), 0.0, np.maximum(centre - half, 0))
    high = np.where((n == 0) | (k == n), 1.0, np.minimum(centre + half, 1))
    return low, high


def wilson_one(successes: int, trials: int, *, confidence: float = 0.95) -> Interval:
    """Return Wilson's interval of one share as two floats."""
    low, high = wilson(successes, trials, confidence=confidence)
    return float(low), float(high)


def f1_interval(hits: Any, support: Any, predicted: Any, *, confidence: float = 0.95) -> tuple[FloatArray, FloatArray]:
    """Return an interval of F1 per class, float64 like the counts.

    F1 = 2J / (1 + J), where J = hits / (samples of the class or called so) is a share, so Wilson's ends of J are
    mapped over: the "indirect Wilson" method that Lam, Gopal and Qian (2023) recommend.
    """
    k = np.asarray(hits, float)
    low, high = wilson(k, np.asarray(support, float) + np.asarray(predicted, float) - k, confidence=confidence)
    return 2 * low / (1 + low), 2 * high / (1 + high)


def mean_of_shares(successes: Any, trials: Any, *, confidence: float = 0.95) -> Interval:
    """Return an interval of the mean of independent shares, such as balanced accuracy (MOVER on Wilson's ends).

    Groups without trials are left out; none at all give (0, 1).
    """
    k, n = np.asarray(successes, float), np.asarray(trials, float)
    k, n = k[n > 0], n[n > 0]
    if len(n) == 0:
        return 0.0, 1.0
    share = k / n
    low, high = wilson(k, n, confidence=confidence)
    mean = float(share.mean())
    below = float(np.sqrt(((share - low) ** 2).sum())) / len(n)
    above = float(np.sqrt(((high - share) ** 2).sum())) / len(n)
    return max(0.0, mean - below), min(1.0, mean + above)


def difference(k_a: int, n_a: int, k_b: int, n_b: int, *, confidence: float = 0.95) -> Interval:
    """Return an interval of share a minus share b for two independent groups (Newcombe 1998, method 10)."""
    p_a, p_b = k_a / max(n_a, 1), k_b / max(n_b, 1)
    (l_a, u_a), (l_b, u_b) = (wilson_one(k, n, confidence=confidence) for k, n in ((k_a, n_a), (k_b, n_b)))
    if n_a == 0 or n_b == 0:
        return l_a - u_b, u_a - l_b
    gap = p_a - p_b
    return gap - math.hypot(p_a - l_a, u_b - p_b), gap + math.hypot(u_a - p_a, p_b - l_b)


def paired_difference(both: int, only_a: int, only_b: int, neither: int, *, confidence: float = 0.95) -> Interval:
    """Return an interval of share a minus share b measured on the same samples (Newcombe 1998, paired, method 10)."""
    n = both + only_a + only_b + neither
    if n == 0:
        return -1.0, 1.0
    p_a, p_b = (both + only_a) / n, (both + only_b) / n
    l_a, u_a = wilson_one(both + only_a, n, confidence=confidence)
    l_b, u_b = wilson_one(both + only_b, n, confidence=confidence)
    product = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    excess = float(both * neither - only_a * only_b)
    if excess > 0:
        excess = max(excess - n / 2, 0.0)  # Newcombe's continuity correction of a positive correlation
    phi = excess / math.sqrt(product) if product else 0.0

    def reach(a: float, b: float) -> float:
        return math.sqrt(max(a * a - 2 * phi * a * b + b * b, 0.0))

    gap = p_a - p_b
    return gap - reach(p_a - l_a, u_b - p_b), gap + reach(u_a - p_a, p_b - l_b)


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the exact two-sided p-value that two models differ, from the samples that only one got right."""
    from scipy.stats import binomtest

    total = only_a + only_b
    return float(binomtest(only_a, total, 0.5).pvalue) if total else 1.0


def holm(p_values: Any) -> FloatArray:
    """Return p-values adjusted for their number (Holm's step-down), float64 (k,), in the given order."""
    p = np.asarray(p_values, float)
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted
