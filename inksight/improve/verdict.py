"""Is the retrained version better? Old and new answer the same test split and the same held-back corrections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from inksight.improve.additions import Addition
from inksight.registry.gates import Answer, Evidence

if TYPE_CHECKING:
    from inksight.data.dataset import Dataset
    from inksight.registry import Registry, Version

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Judged:
    """The paired results on both, and the evidence for the gates; `held_back` is None when nothing was held back.

    `replaced` is the evidence against the version that the alias points at, where that is not the old one.
    """

    test: dict[str, Any]
    held_back: dict[str, Any] | None
    evidence: Evidence
    replaced: Evidence | None = None


def judge(store: Registry, new: Version, old: Version, base: Dataset, held: Sequence[Addition]) -> Judged:
    """Let both versions answer the base's test split and the held-back corrections, and compare them pair by pair.

    The gate that is added: of the held-back corrections, the new version must get at least as many right.
    """
    from inksight.bundle import load
    from inksight.evaluation import evaluate

    models = [load(store.resolve(version.ref)) for version in (old, new)]
    evaluations = [evaluate(model, base, speed=False, explain=False) for model in models]
    truth = evaluations[0].y_true
    right = [found.probabilities.argmax(axis=1) == truth for found in evaluations]
    test = paired(right[0], right[1])
    held_back = None
    if held:
        images, labels = np.stack([item.image for item in held]), np.array([item.label for item in held])
        answers = [np.array(model.predict(images)) for model in models]
        held_back = paired(answers[0] == labels, answers[1] == labels)
    source = f"the test split of {base.name}"
    evidence = Evidence(
        evaluations[1].summary, evaluations[0].summary, old.ref, source, further=(_gate(new, old, held_back),)
    )
    return Judged(test, held_back, evidence)


def paired(old: Bools, new: Bools) -> dict[str, Any]:
    """Compare two models by which samples each got right, bool (N,): McNemar's exact p and Newcombe's interval.

    `difference` is new minus old, in -1..1.
    """
    from inksight.evaluation.intervals import mcnemar, paired_difference

    only_new, only_old = int((new & ~old).sum()), int((old & ~new).sum())
    both, neither = int((new & old).sum()), int((~new & ~old).sum())
    low, high = paired_difference(both, only_new, only_old, neither)
    return {
        "n": len(old),
        "old": float(old.mean()),
        "new": float(new.mean()),
        "difference": float(new.mean()) - float(old.mean()),
        "interval": [float(low), float(high)],
        "only_new_right": only_new,
        "only_old_right": only_old,
        "p": mcnemar(only_new, only_old),
    }


def _gate(new: Version, old: Version, held_back: dict[str, Any] | None) -> Answer:
    if held_back is None:
        return Answer("corrections", True, "no corrections were held back yet", "corrections.none")
    right = [round(held_back[which] * held_back["n"]) for which in ("new", "old")]
    detail = (
        f"{new.ref} gets {right[0]} of {held_back['n']} held-back corrections right, {old.ref} {right[1]}; "
        "fewer are not allowed"
    )
    values = {"right": right[0], "before": right[1], "of": held_back["n"], "champion": old.ref}
    return Answer("corrections", right[0] >= right[1], detail, "corrections", values)
