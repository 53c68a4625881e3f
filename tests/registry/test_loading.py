"""`inksight.load` and registry references: what is found where, and that looking makes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from inksight.errors import NotFoundError
from inksight.registry import Registry
from inksight.registry.loading import before_registered, locate
from tests.registry.conftest import Make


def test_references_come_from_the_registry(store: Registry, make: Make) -> None:
    first, second = make(), make(accuracy=0.95)
    store.register(first, "doodle")
    store.register(second, "doodle")
    store.promote("doodle", 1)
    for reference, bundle in (("doodle", first), ("doodle@champion", first), ("doodle:2", second)):
        assert (locate(reference) / "model.onnx").read_bytes() == (bundle / "model.onnx").read_bytes()


def test_paths_and_runs_come_first(store: Registry, make: Make, home: Path) -> None:
    store.register(make(), "doodle")
    bundle = make()
    assert locate(bundle) == bundle
    run = home / "runs" / "doodle"
    run.mkdir(parents=True)
    (run / "settings.json").write_text("{}")
    make().rename(run / "bundle")
    assert locate("doodle") == run / "bundle"
    assert locate("doodle:1").parent == store.cache
    assert before_registered("doodle") == run / "bundle"
    assert [before_registered(name) for name in ("doodle:1", str(bundle), "doodles", "nothing", "a b c")] == [None] * 5
    (home / "runs" / "alone").mkdir()
    assert before_registered("alone") is None, "no registered model has that name"


def test_looking_for_a_model_makes_no_registry(home: Path) -> None:
    for name in ("nothing", "nothing@champion", "nothing:1", "./nothing", "a b c"):
        with pytest.raises(NotFoundError, match="there is no model"):
            locate(name)
        assert before_registered(name) is None
    assert list(home.iterdir()) == []


def test_an_empty_registry_does_not_deny_the_runs(store: Registry, home: Path) -> None:
    (home / "runs" / "leaves" / "bundle").mkdir(parents=True)
    with pytest.raises(NotFoundError) as caught:
        locate("leafs")
    assert caught.value.hint.startswith("Did you mean leaves")


def test_what_is_close_is_named(store: Registry, make: Make) -> None:
    store.register(make(), "doodle")
    with pytest.raises(NotFoundError) as caught:
        locate("dodle")
    assert "Did you mean doodle?" in caught.value.hint
    assert "path of a bundle" in caught.value.hint
    with pytest.raises(NotFoundError) as caught:
        locate("resembles-nothing-here")
    assert caught.value.hint.startswith("Choose one of: doodle. Give the path of a bundle")
    with pytest.raises(NotFoundError, match="doodle has no version 7") as caught:
        locate("doodle:7")
    assert caught.value.hint == "Versions: 1"
