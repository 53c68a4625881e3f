"""Finds pictures that are the same, and pictures that are nearly the same, among millions.

**Same** means equal byte for byte. **Near** means: laid over each other at their centres of mass, by a shift of whole
pixels, the two differ by at most `threshold` of their ink, that is sum |a - b| <= threshold * sum (|a| + |b|). For
drawings `a` and `b` are the ink itself; for photos they are 32x32 grey thumbnails less their mean, so that a photo
resized, recompressed or brightened stays near itself. Independent drawings of the same thing are rarely nearer than
0.2; the default of 0.10 allows about one pixel of pen in ten to differ.

Comparing all pairs is out of the question, so candidates come from sorting: each picture gets 64 bits that compare the
strengths of its low spatial frequencies (these do not change when a picture is shifted), the bits are sorted in sixteen
rotations, and neighbours in the sorted lists are candidates. Each candidate is then measured exactly. What is reported
is therefore near for certain; not guaranteed is that every near pair is found (tests measure above 95 % for copies
shifted by a pixel or with a few pixels changed, among 100,000 real drawings).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from inksight.data.parallel import ahead, cores

Images = NDArray[np.uint8]
Planes = NDArray[np.float32]
Take = Callable[[NDArray[np.int64]], Images]

NEAR = 0.10
# Drawings in components of near pairs that hold more than this may be no copies but shapes alike by nature: among 860
# real drawings of "line", 543 have a neighbour within 0.10. Such a component is cut at half the distance until its
# parts fit, at most so many times: what then still hangs together is the same picture but for noise.
LARGEST_GROUP = 50
_CUTS = 4

_ROTATIONS = range(0, 64, 4)
_NEIGHBOURS = 4
_BITS_APART = 10
_RADIUS = 6.2
_PROFILE = 32
_SIDE = 32


@dataclass(frozen=True)
class Sketches:
    """What is remembered of each picture: 84 bytes instead of its pixels.

    fingerprint uint64 (N,) of the bytes; bits uint64 (N,) for sorting; weight float32 (N,) the sum of its ink;
    profile float16 (N, 32) strengths of its lowest frequencies as shares of its weight.
    """

    fingerprint: NDArray[np.uint64]
    bits: NDArray[np.uint64]
    weight: NDArray[np.float32]
    profile: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.bits)

    def pick(self, rows: NDArray[np.int64]) -> Sketches:
        """Return the sketches of some of the pictures, in the order of `rows`."""
        return Sketches(self.fingerprint[rows], self.bits[rows], self.weight[rows], self.profile[rows])


def join(parts: list[Sketches]) -> Sketches:
    """Return the sketches of several blocks as one."""
    return Sketches(
        np.concatenate([part.fingerprint for part in parts]),
        np.concatenate([part.bits for part in parts]),
        np.concatenate([part.weight for part in parts]),
        np.concatenate([part.profile for part in parts]),
    )


def sketch(images: Images) -> Sketches:
    """Return the sketches of images uint8 (N, H, W) (drawings) or (N, H, W, 3) (photos)."""
    planes = thumbnails(images)
    basis, left, right, scale = _frequencies(planes.shape[1], planes.shape[2])
    flat = planes.reshape(len(planes), planes.shape[1] * planes.shape[2])
    waves = flat @ basis
    half = waves.shape[1] // 2
    strength = np.hypot(waves[:, :half], waves[:, half:])
    weighted = strength * scale
    stronger = np.ascontiguousarray(weighted[:, left] > weighted[:, right])
    bits = np.packbits(stronger, axis=1).view(np.uint64)[:, 0]
    weight = np.abs(flat).sum(axis=1)
    profile = (strength[:, :_PROFILE] / np.maximum(weight, 1)[:, None]).astype(np.float16)
    return Sketches(fingerprint(images), bits, weight, profile)


def fingerprint(images: Images) -> NDArray[np.uint64]:
    """Return a 64-bit hash of each image's bytes, uint64 (N,): equal images have equal hashes, the rest rarely."""
    flat = np.ascontiguousarray(images).reshape(len(images), int(np.prod(images.shape[1:])))
    if flat.shape[1] % 8:
        flat = np.pad(flat, ((0, 0), (0, 8 - flat.shape[1] % 8)))
    words = flat.view(np.uint64)
    return mix(words @ _odd_numbers(words.shape[1]))


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit values one to one, so that every bit of the result depends on every bit (splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def thumbnails(images: Images) -> Planes:
    """Return what is compared, float32 (N, h, w): ink for drawings, grey less its mean at 32x32 for photos."""
    if images.ndim == 4:
        grey: Planes = np.matmul(images, np.array([0.299, 0.587, 0.114], np.float32))
        small = _reduce(grey)
        centred: Planes = small - small.mean(axis=(1, 2), keepdims=True)
        return centred
    return _reduce(images.astype(np.float32))


def _reduce(planes: Planes) -> Planes:
    """Average over equal blocks down to at most 32 pixels a side."""
    for axis in (1, 2):
        size = planes.shape[axis]
        if size > _SIDE:
            edges = np.linspace(0, size, _SIDE + 1).astype(int)
            sums = np.add.reduceat(planes, edges[:-1], axis=axis)
            blocks = np.diff(edges).astype(np.float32).reshape([-1 if i == axis else 1 for i in range(3)])
            planes = np.divide(sums, blocks, dtype=np.float32)
    return planes


@lru_cache(maxsize=8)
def _odd_numbers(count: int) -> NDArray[np.uint64]:
    return np.random.default_rng(20240229).integers(0, 2**63, count, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


@lru_cache(maxsize=8)
def _frequencies(
    high: int, wide: int
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return the waves (h*w, 2K), 64 pairs of them to compare, and the factors that make their strengths alike."""
    reach = int(_RADIUS)
    half = [(u, v) for u in range(reach + 1) for v in range(-reach, reach + 1) if u > 0 or v > 0]
    chosen = sorted((w for w in half if np.hypot(*w) <= _RADIUS), key=lambda w: (np.hypot(*w), w))
    waves = np.array(chosen, np.float64)
    radius = np.hypot(waves[:, 0], waves[:, 1])
    # A period longer than the picture leaves room for a shift without wrapping.
    y, x = np.mgrid[:high, :wide] * (2 * np.pi * 7 / 8)
    phase = y.reshape(-1, 1) / high * waves[:, 0] + x.reshape(-1, 1) / wide * waves[:, 1]
    basis = np.concatenate([np.cos(phase), np.sin(phase)], axis=1).astype(np.float32)
    ratio = radius[:, None] / radius[None, :]
    alike = np.argwhere(np.triu((ratio > 0.7) & (ratio < 1.4), k=1))
    pairs = np.random.default_rng(1997).permutation(alike)[:64]
    return basis, pairs[:, 0].copy(), pairs[:, 1].copy(), radius.astype(np.float32)


def exact_groups(sketches: Sketches, take: Take, *, at_once: int = 1000) -> NDArray[np.int64]:
    """Return for each picture the index of the first one with the same bytes (its own where there is none earlier).

    `take(indices)` gives the pixels; it is asked only for pictures whose fingerprints coincide, `at_once` at a time.
    """
    first = np.arange(len(sketches), dtype=np.int64)
    order = np.argsort(sketches.fingerprint, kind="stable")
    ordered = sketches.fingerprint[order]
    same = np.flatnonzero(ordered[1:] == ordered[:-1])
    for start in range(0, len(same), at_once):
        part = same[start : start + at_once]
        a, b = take(order[part]), take(order[part + 1])
        equal = (a == b).reshape(len(part), -1).all(axis=1)
        # In order, so that a chain of equal neighbours ends at its first; a stable sort makes that the lowest index.
        for index in part[equal].tolist():
            first[order[index + 1]] = first[order[index]]
    return first


def near_pairs(
    sketches: Sketches, take: Take, *, threshold: float = NEAR, at_once: int = 1000
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return near pairs (M, 2) with i < j, in order, and how far apart each is, float32 (M,) in 0..threshold.

    `take(indices)` gives the pixels; it is asked for the candidates only, `at_once` pairs at a time. Exact copies are
    near at 0; leave them out beforehand where they are many.
    """
    candidates = _candidates(sketches, threshold)
    batches = [candidates[start : start + at_once] for start in range(0, len(candidates), at_once)]
    with ThreadPoolExecutor(cores()) as threads:
        measured = list(ahead(threads, lambda pairs: _measure(pairs, take, threshold), batches))
    if not measured:
        return np.empty((0, 2), np.int64), np.empty(0, np.float32)
    return np.concatenate([pairs for pairs, _ in measured]), np.concatenate([apart for _, apart in measured])


def _measure(pairs: NDArray[np.int64], take: Take, threshold: float) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    unique, inverse = np.unique(pairs, return_inverse=True)
    planes, inverse = thumbnails(take(unique)), inverse.reshape(-1, 2)
    apart = distance(planes[inverse[:, 0]], planes[inverse[:, 1]])
    near = apart <= threshold
    return pairs[near], apart[near]


def _candidates(sketches: Sketches, threshold: float) -> NDArray[np.int64]:
    with ThreadPoolExecutor(cores()) as threads:
        keys = list(ahead(threads, lambda turn: _neighbours(sketches, turn, threshold), _ROTATIONS))
    count = np.int64(max(len(sketches), 1))
    unique = np.unique(np.concatenate(keys))
    return np.stack([unique // count, unique % count], axis=1)


def _neighbours(sketches: Sketches, turn: int, threshold: float) -> NDArray[np.int64]:
    """Return pairs that stand close in one sorted list and may be near, each as one number i * N + j with i < j."""
    bits = (sketches.bits << np.uint64(turn)) | (sketches.bits >> np.uint64((64 - turn) % 64))
    # Stable: else the order of equal bits, and with it which copies are found, would depend on the processor.
    order = np.argsort(bits, kind="stable")
    found = []
    for step in range(1, _NEIGHBOURS + 1):
        a, b = order[:-step], order[step:]
        alike = np.bitwise_count(sketches.bits[a] ^ sketches.bits[b]) <= _BITS_APART
        a, b = a[alike], b[alike]
        # |sum a - sum b| and the difference of any strength are at most sum |a - b|: a sure and cheap "no".
        heavy, light = sketches.weight[a], sketches.weight[b]
        alike = np.abs(heavy - light) <= threshold * (heavy + light) * 1.001
        a, b, heavy, light = a[alike], b[alike], heavy[alike, None], light[alike, None]
        apart = np.abs(sketches.profile[a] * heavy - sketches.profile[b] * light).max(axis=1, initial=0)
        # Half a thousandth is what 16 bits lose of each.
        alike = apart <= (threshold + 0.001) * (heavy + light)[:, 0]
        a, b = a[alike], b[alike]
        found.append(np.minimum(a, b) * np.int64(len(sketches)) + np.maximum(a, b))
    return np.concatenate(found)


def distance(a: Planes, b: Planes) -> NDArray[np.float32]:
    """Return sum |a - b| / sum (|a| + |b|) of each pair (M, h, w), b first shifted onto a's centre; 0 for no ink."""
    b = _shift(b, np.rint(_centre(a) - _centre(b)).astype(np.int64))
    differ: NDArray[np.float32] = np.abs(a - b).sum(axis=(1, 2))
    whole = np.abs(a).sum(axis=(1, 2)) + np.abs(b).sum(axis=(1, 2))
    return np.divide(differ, np.where(whole > 0, whole, 1), dtype=np.float32)


def _centre(planes: Planes) -> NDArray[np.float32]:
    ink = np.abs(planes)
    whole = np.maximum(ink.sum(axis=(1, 2)), 1e-6)
    y = ink.sum(axis=2) @ np.arange(planes.shape[1], dtype=np.float32) / whole
    x = ink.sum(axis=1) @ np.arange(planes.shape[2], dtype=np.float32) / whole
    return np.stack([y, x], axis=1)


def _shift(planes: Planes, by: NDArray[np.int64]) -> Planes:
    """Shift each plane by whole pixels (y, x), zeros coming in from outside."""
    shifted = np.empty_like(planes)
    high, wide = planes.shape[1:]
    steps, which = np.unique(by, axis=0, return_inverse=True)
    for index, (dy, dx) in enumerate(steps.tolist()):
        rows = np.flatnonzero(which.reshape(-1) == index)
        if dy == dx == 0:
            shifted[rows] = planes[rows]
            continue
        moved = np.zeros((len(rows), high, wide), np.float32)
        into = (slice(max(dy, 0), high + min(dy, 0)), slice(max(dx, 0), wide + min(dx, 0)))
        out_of = (slice(max(-dy, 0), high + min(-dy, 0)), slice(max(-dx, 0), wide + min(-dx, 0)))
        moved[:, into[0], into[1]] = planes[rows][:, out_of[0], out_of[1]]
        shifted[rows] = moved
    return shifted


def cluster(
    count: int,
    pairs: NDArray[np.int64],
    apart: NDArray[np.float32],
    *,
    threshold: float = NEAR,
    largest: int | None = LARGEST_GROUP,
) -> NDArray[np.int64]:
    """Return a group number per picture, int64 (count,): the lowest index in its group.

    Groups are the connected components of the pairs. One with more than `largest` members (None: any number will do)
    is cut again at half the distance, up to four times; what hangs together even then is one group.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    group = np.arange(count, dtype=np.int64)
    members = np.unique(pairs)
    for cut in range(_CUTS + 1):
        local = np.searchsorted(members, pairs)
        graph = coo_matrix((np.ones(len(local), np.int8), (local[:, 0], local[:, 1])), shape=(len(members),) * 2)
        _, label = connected_components(graph, directed=False)
        size = np.bincount(label, minlength=1)
        large = size > (size.max() if largest is None or cut == _CUTS else largest)
        fits = ~large[label]
        lowest = np.full(label.max(initial=-1) + 1, count, np.int64)
        np.minimum.at(lowest, label, members)
        group[members[fits]] = lowest[label[fits]]
        again = large[label[local[:, 0]]] & (apart <= threshold / 2 ** (cut + 1))
        pairs, apart = pairs[again], apart[again]
        members = np.unique(pairs)
    return group
