"""Where live models come from: bundles by path, built-in names, versions in the registry by number or by alias.

A reference without a number follows its alias: when `champion` moves, the service moves with it (swapping.py).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import cast

from inksight.bundle import loading
from inksight.errors import NotFoundError, UnavailableError, UsageError, sentences
from inksight.registry.versions import CHAMPION, Version, parse
from inksight.serving.live import Classifier, LiveModel, bring_up
from inksight.serving.storage import Storage


def load_model(storage: Storage, wanted: str | Classifier) -> LiveModel:
    """Load a model by path, name or registry reference and test it; raises BundleError or NotFoundError."""
    if not isinstance(wanted, str):
        return bring_up(wanted)
    try:
        folder = loading.locate(wanted)
    except NotFoundError as error:
        # Looking for a name that is no path must not hide that the registry has no such model either.
        version = find_version(storage, wanted, error)
        return load_version(storage, version, wanted)
    classifier = cast(Classifier, loading.load(folder))
    return bring_up(classifier, version=_content_version(classifier), reference=wanted)


def load_version(storage: Storage, version: Version, reference: str) -> LiveModel:
    """Load a version of the registry and test it; a lease keeps clean-up away from it while it is served."""
    lease = storage.registry.hold(version, "serving")
    try:
        folder = storage.registry.resolve(version.ref)
        classifier = cast(Classifier, loading.load(folder))
        live = bring_up(classifier, name=version.name, version=str(version.number), reference=reference)
    except BaseException:
        lease.release()
        raise
    return replace(live, release=lease.release)


def find_version(storage: Storage, reference: str, otherwise: NotFoundError | None = None) -> Version:
    """Return what a registry reference means now; raises `otherwise` (or NotFoundError) when it means nothing."""
    try:
        return storage.registry.find(reference)
    except (NotFoundError, UsageError) as error:
        if otherwise is None:
            raise
        # An empty registry has nothing to add to what may be served without one.
        near = error.hint if error.hint.startswith(("Did you mean", "Choose", "Versions")) else ""
        raise NotFoundError(otherwise.message, hint=sentences(otherwise.hint, near)) from None


def followed_alias(live: LiveModel) -> str | None:
    """Return the alias that a live model follows; None where it is a fixed version or not of the registry."""
    if live.release is None:
        return None
    _, alias, number = parse(live.reference)
    return None if number is not None else alias or CHAMPION


def moved_to(storage: Storage, live: LiveModel) -> Version | None:
    """Return the version that a live model's alias points at now, when it is another one than is live."""
    if followed_alias(live) is None:
        return None
    with suppress(NotFoundError, UnavailableError):
        version = storage.registry.find(live.reference)
        return None if str(version.number) == live.version else version
    # The alias or the database is gone: what is live goes on answering.
    return None


def _content_version(classifier: Classifier) -> str:
    """Return a bundle's version outside the registry: the first digits of its graph's hash."""
    files = classifier.description.get("files") or {}
    digest = (files.get("model.onnx") or {}).get("sha256")
    return str(digest)[:8] if digest else "1"
