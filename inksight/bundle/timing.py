"""How long answers take, measured so that two models can be compared.

The models take turns in short rounds, so that a busy moment of the machine hits all of them; medians are over all calls
of all rounds, the spread is that of the rounds' medians.

Not guaranteed: anything about another machine, or about this one when it is busy with something else.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inksight.bundle.parity import Predict

ROUNDS = 7


@dataclass(frozen=True)
class Timing:
    """Milliseconds per call (median, 99th percentile, lowest and highest median of a round), images/s, calls."""

    batch: int
    p50_ms: float
    p99_ms: float
    low_ms: float
    high_ms: float
    images_per_second: float
    calls: int

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON can hold them."""
        return asdict(self)


def take_turns(
    models: Mapping[str, Predict], images: NDArray[np.uint8], *, batch: int = 1, seconds: float = 1.0
) -> dict[str, Timing]:
    """Time every model on batches of `images` (N, H, W[, 3]), about `seconds` each, and return the timings by name.

    Successive calls see different images; each model gets at least one call per round, however slow it is.
    """
    count = max(1, min(32, 2**22 // (batch * int(np.prod(images.shape[1:])))))
    batches = [
        np.ascontiguousarray(np.resize(np.roll(images, -i * batch, 0), (batch, *images.shape[1:])))
        for i in range(count)
    ]
    for predict in models.values():
        _round(predict, batches, seconds / 20)  # caches, thread pools, the first call's allocations
    rounds: dict[str, list[NDArray[np.float64]]] = {name: [] for name in models}
    for _ in range(ROUNDS):
        for name, predict in models.items():
            rounds[name].append(_round(predict, batches, seconds / ROUNDS))
    return {name: _timing(batch, times) for name, times in rounds.items()}


def _round(predict: Predict, batches: list[NDArray[np.uint8]], seconds: float) -> NDArray[np.float64]:
    clock = time.perf_counter_ns
    times: list[int] = []
    end = clock() + int(seconds * 1e9)
    while not times or clock() < end:
        batch = batches[len(times) % len(batches)]
        start = clock()
        predict(batch)
        times.append(clock() - start)
    return np.asarray(times) / 1e6


def _timing(batch: int, rounds: list[NDArray[np.float64]]) -> Timing:
    times, medians = np.concatenate(rounds), [float(np.median(one)) for one in rounds]
    return Timing(
        batch=batch,
        p50_ms=float(np.median(times)),
        p99_ms=float(np.quantile(times, 0.99)),
        low_ms=min(medians),
        high_ms=max(medians),
        images_per_second=1000 * batch * len(times) / float(times.sum()),
        calls=len(times),
    )
