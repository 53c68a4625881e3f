"""Models that answer: brought up, tested on themselves, swapped while requests are in flight.

A model goes live only after it has answered a self-test. A swap replaces one reference; requests that already hold the
old model finish on it, and it is freed with the last of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from inksight.bundle.selftest import Answering, self_test
from inksight.errors import UsageError, unknown
from inksight.serving.errors import NotReadyError


class Classifier(Answering, Protocol):
    """What serving needs of a model; `inksight.load` returns one."""

    kind: str
    description: dict[str, Any]


@dataclass(frozen=True, eq=False)
class LiveModel:
    """A tested model under its name and version, equal to no other.

    `seconds` is what one image takes, `reference` how the model was asked for, `release` gives the registry's version
    free once the model is no longer live.
    """

    name: str
    version: str
    classifier: Classifier
    seconds: float
    reference: str = ""
    release: Callable[[], None] | None = None
    since: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def classes(self) -> list[str]:
        """The labels, in the order of the probabilities."""
        return self.classifier.classes

    @property
    def draws(self) -> bool:
        """Whether the model judges drawings (strokes or pictures of them); otherwise it judges photos."""
        return self.classifier.kind == "drawing"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one uint8 image, `(H, W)` or `(H, W, 3)`."""
        return tuple(self.classifier.image_shape)


def bring_up(
    classifier: Classifier, *, name: str | None = None, version: str | None = None, reference: str = ""
) -> LiveModel:
    """Test a model and return it ready to serve; raises BundleError when it does not answer sensibly."""
    seconds = self_test(classifier)
    return LiveModel(
        name=name or classifier.name,
        version=version or str(classifier.description.get("version") or "1"),
        classifier=classifier,
        seconds=seconds,
        reference=reference or name or classifier.name,
    )


class LiveModels:
    """The models that answer now, by name; the first one is the default."""

    def __init__(self) -> None:
        self._models: dict[str, LiveModel] = {}
        self._lock = threading.Lock()

    def put(self, model: LiveModel) -> LiveModel | None:
        """Make a tested model answer under its name from now on; return the one it replaces."""
        with self._lock:
            old = self._models.get(model.name)
            # A new dict, so that readers need no lock and never see half a change.
            self._models = {**self._models, model.name: model}
            return old

    def expect_new(self, model: LiveModel) -> None:
        """Raise UsageError when a live model has this one's name already: nobody could ask for either."""
        other = self._models.get(model.name)
        if other is not None:
            raise UsageError(
                f"two models are named {model.name!r}: {other.reference} and {model.reference}",
                hint="Serve one of them; an experiment (POST /v1/experiments) compares two versions.",
            )

    def get(self, name: str | None = None) -> LiveModel:
        """Return a model by name (default: the first); raises NotFoundError, or NotReadyError while there is none."""
        models = self._models
        if not models:
            raise NotReadyError("no model is ready yet", hint="GET /v1/health/ready tells when.")
        if name is None:
            return next(iter(models.values()))
        found = models.get(name)
        if found is None:
            raise unknown("model", name, models)
        return found

    def all(self) -> Iterable[LiveModel]:
        """Return every live model, the default first."""
        return tuple(self._models.values())
