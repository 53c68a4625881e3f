"""Fitting the classical models with scikit-learn and turning what it found into tensors."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from inksight.errors import UsageError
from inksight.models.shallow import BATCH, Forest, Linear, Rbf, Shallow, plain

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
Function = Callable[[torch.Tensor], torch.Tensor]

_READ = 2**26
"""Bytes of images that are read at once, in up to 64 batches: 4,096 drawings, or 320 photos of 256 pixels."""

LEAST_STEEPNESS = 0.05
"""Below it an RBF SVM's pairs vote linearly, and steepness only moves into the temperature, which then multiplies the
rounding of float32: with 0.0006 and 1,847, as 4,000 drawings gave, probabilities were off by 0.0006."""


def fit(
    model: Shallow,
    images: Any,
    labels: Labels,
    val_images: Any,
    val_labels: Labels,
    *,
    prepare: Function = plain,
    weights: Floats | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Fit `model` on uint8 images (N, H, W[, 3]), arrays or a dataset's split; calibrate on the validation images.

    `prepare` maps uint8 (N, H, W[, 3]) to the model's input where that is more than a division by 255 (photos are
    cropped). `weights`: how much an image of each class counts, float32 (classes,), in fit and calibration; none: all
    the same. Raises UsageError when a class has no image.
    """
    counts = np.bincount(labels, minlength=model.num_classes)
    if (counts == 0).any():
        raise UsageError(f"class number {int(counts.argmin())} has no training image", hint="Each class needs some.")
    rows = np.arange(len(labels))
    if model.classifier == "rbf_svm" and len(rows) > model.max_samples:
        rows = _stratified(labels, model.max_samples, seed)
        say(f"rbf_svm learns from {len(rows):,} of {len(labels):,} images (its time grows with their square)")
    start = time.perf_counter()
    features = over(images, rows, lambda x: model.features(prepare(x)))
    say(f"{len(rows):,} images, {features.shape[1]:,} features each, in {time.perf_counter() - start:.1f} s")
    mean, spread = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    if model.classifier == "forest":
        # Trees compare each feature with itself only; as they are, they stay exact in every runtime.
        mean, spread = np.zeros_like(mean), np.ones_like(spread)
    # A feature that is always the same says nothing; dividing by its spread would only blow up rounding errors.
    model.hold(mean=mean, spread=np.where(spread > 1e-6, 1 / np.maximum(spread, 1e-6), 0.0))
    standardised = (features - model.mean.numpy()) * model.spread.numpy()
    start = time.perf_counter()
    by_class = None if weights is None else dict(enumerate(weights.tolist()))
    _FITTERS[model.classifier](model, standardised, labels[rows], by_class, seed, say)
    say(f"{model.classifier} fitted in {time.perf_counter() - start:.1f} s")
    if len(val_labels):
        calibrate(model, over(val_images, None, lambda x: model.get_features(prepare(x))), val_labels, weights)
    else:
        say("there are no validation images, so the probabilities are not calibrated")


def calibrate(model: Shallow, features: Floats, labels: Labels, weights: Floats | None = None) -> None:
    """Choose the temperature, a shift per class and the steepness of an RBF SVM's pairs that fit the labels best.

    Minimises the log loss of standardised `features` (N, size) (Platt 1999 and Guo et al. 2017,
    for several classes), with a small pull of the shifts towards 0, so that a class with few images keeps its place.
    The loss has the class `weights` of the fit: without them the shifts would make rare classes rare again.
    """
    with torch.no_grad():
        inputs = torch.from_numpy(features)
        held = [inputs[i : i + 512] for i in range(0, len(inputs), 512)]
        if isinstance(model.head, Rbf):
            decisions = torch.cat([model.head.decisions(part) for part in held])
        else:
            scores = torch.cat([model.head(part) for part in held])
    truth = torch.from_numpy(labels)
    by_class = None if weights is None else torch.from_numpy(weights)
    log_scale = torch.zeros(2, requires_grad=True)
    shift = torch.zeros(model.num_classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_scale, shift], max_iter=200, line_search_fn="strong_wolfe")

    def steepness() -> torch.Tensor:
        return LEAST_STEEPNESS + log_scale[1:].exp()

    def logits() -> torch.Tensor:
        if isinstance(model.head, Rbf):
            steep = decisions * steepness()
            pairs = torch.nn.functional.logsigmoid(steep) @ model.head.winner
            return (pairs + torch.nn.functional.logsigmoid(-steep) @ model.head.loser) * log_scale[0].exp() + shift
        return scores * log_scale[0].exp() + shift

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(logits(), truth, by_class) + 1e-3 * (shift * shift).mean()
        torch.autograd.backward(loss)
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    model.hold(temperature=log_scale[:1].detach().exp().numpy(), shift=shift.detach().numpy())
    if isinstance(model.head, Rbf):
        model.head.hold(steepness=steepness().detach().numpy())


def over(images: Any, rows: NDArray[np.int64] | None, function: Function) -> Floats:
    """Return `function` of uint8 images (an array or a dataset's split), in batches, for `rows` or all of them."""
    rows = np.arange(len(images)) if rows is None else rows
    parts = []
    with torch.inference_mode():
        read = BATCH * max(1, min(64, _READ // (BATCH * math.prod(images.shape[1:]))))
        for start in range(0, len(rows), read):
            chosen = rows[start : start + read]
            block = images[int(chosen[0]) : int(chosen[-1]) + 1][chosen - chosen[0]]
            parts += [
                function(torch.from_numpy(block[first : first + BATCH])).numpy()
                for first in range(0, len(block), BATCH)
            ]
    return np.concatenate(parts)


def _stratified(labels: Labels, count: int, seed: int) -> NDArray[np.int64]:
    """Return `count` rows with every class in its share, at least one of each, in ascending order."""
    random = np.random.default_rng(seed)
    share = count / len(labels)
    chosen = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        chosen.append(random.choice(rows, max(1, round(share * len(rows))), replace=False))
    return np.sort(np.concatenate(chosen))


def _fit_linear(
    model: Shallow, x: Floats, y: Labels, weights: dict[int, float] | None, seed: int, say: Callable[[str], None]
) -> None:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    # The penalty of an RBF SVM, 10, would let a linear one of a thousand features learn by heart.
    strength = model.penalty / 1000
    estimator = (
        LogisticRegression(C=strength, max_iter=500, class_weight=weights)
        if model.classifier == "logistic"
        else LinearSVC(C=strength / 10, class_weight=weights, dual="auto", random_state=seed, max_iter=2000)
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        estimator.fit(x, y)
    if any(issubclass(warning.category, ConvergenceWarning) for warning in caught):
        say(f"{model.classifier} stopped before it had converged")
    assert isinstance(model.head, Linear)
    weight, bias = estimator.coef_, estimator.intercept_
    if len(weight) == 1:  # two classes: one score, for the second
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    model.head.hold(weight=weight, bias=bias)


def _fit_rbf(
    model: Shallow, x: Floats, y: Labels, weights: dict[int, float] | None, seed: int, say: Callable[[str], None]
) -> None:
    from sklearn.svm import SVC

    gamma = model.gamma or 1 / (x.shape[1] * float(x.var()))
    estimator = SVC(C=model.penalty, gamma=gamma, class_weight=weights, cache_size=1000).fit(x, y)
    assert isinstance(model.head, Rbf)
    classes, counts = model.num_classes, estimator.n_support_
    owner = np.repeat(np.arange(classes), counts)
    coefficients = np.zeros((len(owner), classes * (classes - 1) // 2), np.float32)
    pair = 0
    for i in range(classes):
        for j in range(i + 1, classes):
            # Row j - 1 of dual_coef_ weighs class i's vectors against class j, row i the other way round.
            coefficients[owner == i, pair] = estimator.dual_coef_[j - 1, owner == i]
            coefficients[owner == j, pair] = estimator.dual_coef_[i, owner == j]
            pair += 1
    # scikit-learn turns the sign of a single pair, so that positive means the second class.
    sign = -1 if classes == 2 else 1
    model.head.hold(
        vectors=estimator.support_vectors_,
        coefficients=sign * coefficients,
        bias=sign * estimator.intercept_,
        gamma=np.array([gamma]),
    )
    say(f"{len(owner):,} support vectors")


def _fit_forest(
    model: Shallow, x: Floats, y: Labels, weights: dict[int, float] | None, seed: int, say: Callable[[str], None]
) -> None:
    from sklearn.ensemble import RandomForestClassifier

    estimator = RandomForestClassifier(
        model.trees,
        max_depth=model.depth,
        min_samples_leaf=model.leaf,
        class_weight=weights,
        random_state=seed,
        n_jobs=-1,
    ).fit(x, y)
    parts: dict[str, list[Any]] = {name: [] for name in ("feature", "threshold", "child", "leaf", "shares")}
    roots, offset, leaves = [], 0, 0
    for tree in (one.tree_ for one in estimator.estimators_):
        count = tree.node_count
        order = _level_order(tree.children_left, tree.children_right)
        place = np.argsort(order)
        is_leaf = tree.children_left[order] < 0
        roots.append(offset)
        parts["feature"].append(np.maximum(tree.feature[order], 0))
        parts["threshold"].append(np.where(is_leaf, np.float32(np.inf), _below(tree.threshold[order])))
        parts["child"].append(offset + np.where(is_leaf, np.arange(count), place[tree.children_left[order]]))
        parts["leaf"].append(np.where(is_leaf, leaves + np.cumsum(is_leaf) - 1, 0))
        shares = tree.value[order][is_leaf, 0]
        parts["shares"].append(shares / shares.sum(axis=1, keepdims=True))
        offset, leaves = offset + count, leaves + int(is_leaf.sum())
    assert isinstance(model.head, Forest)
    model.head.hold(roots=np.array(roots), **{name: np.concatenate(values) for name, values in parts.items()})
    say(f"{len(roots)} trees with {offset:,} nodes")


def _level_order(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a tree's nodes from the root down, level by level, siblings side by side."""
    levels = [np.zeros(1, np.int64)]
    while len(parents := levels[-1][left[levels[-1]] >= 0]):
        levels.append(np.stack([left[parents], right[parents]], axis=1).ravel())
    return np.concatenate(levels)


def _below(threshold: NDArray[np.float64]) -> Floats:
    """Return the largest float32 not above each threshold: `x <= t` then says the same for every float32 x."""
    rounded = threshold.astype(np.float32)
    return np.where(rounded > threshold, np.nextafter(rounded, np.float32(-np.inf)), rounded).astype(np.float32)


_FITTERS = {"linear_svm": _fit_linear, "logistic": _fit_linear, "rbf_svm": _fit_rbf, "forest": _fit_forest}
