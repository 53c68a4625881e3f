"""Class weights: how much each class counts in the loss when some are rare.

Both kinds are scaled so that the average image weighs 1, which leaves the learning rate's meaning alone. A class
without training images gets weight 0: nothing can be learned about it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def class_weights(kind: str, counts: Sequence[int]) -> NDArray[np.float32]:
    """Return one float32 weight per class from its number of training images.

    "none": all 1. "balanced": inversely proportional to the count, as scikit-learn's. "effective": by the effective
    number of samples (1 - beta^n) / (1 - beta) of Cui et al. 2019, with beta = 1 - 1/N for N images per class on
    average, which spares a class of one image the weight of thousands.
    """
    n = np.asarray(counts, dtype=np.float64)
    present = n > 0
    if kind == "none" or not present.any():
        return np.ones(len(n), dtype=np.float32)
    if kind == "balanced":
        volume = n
    else:
        beta = 1 - 1 / max(n[present].mean(), 2.0)
        volume = (1 - beta**n) / (1 - beta)
    weights = np.divide(1.0, volume, out=np.zeros_like(n), where=present)
    weights *= n.sum() / (weights * n).sum()
    return weights.astype(np.float32)


def imbalance(counts: Sequence[int]) -> float:
    """Return the largest class's count over the smallest's, classes without images left out; 1.0 is balanced."""
    present = [count for count in counts if count]
    return max(present) / min(present) if present else 1.0
