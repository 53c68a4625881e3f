"""Evidence for the gates: candidate and champion judged on the same samples, now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from inksight.errors import NotFoundError
from inksight.registry.gates import Evidence

if TYPE_CHECKING:
    from inksight.registry.registry import Registry
    from inksight.registry.versions import Version


def gather(
    registry: Registry, candidate: Version, alias: str, data: str | Path, *, split: str = "test"
) -> Evidence | None:
    """Judge `candidate` and what the alias points at on one split of a dataset; None when it points at nothing yet."""
    from inksight.evaluation import evaluate

    try:
        champion = registry.find(f"{candidate.name}@{alias}")
    except NotFoundError:
        return None
    ours, theirs = (
        evaluate(registry.resolve(version.ref), data, split=split, speed=False).summary
        for version in (candidate, champion)
    )
    return Evidence(ours, theirs, champion.ref, f"the {split} split of {data}")
