"""Registering, finding and copying versions."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select

from inksight import registry as registry_room
from inksight.errors import BundleError, ConflictError, NotFoundError, UnavailableError, UsageError
from inksight.registry import Registry
from inksight.registry.artifacts import Artifacts
from inksight.registry.tables import Metric, VersionRow
from inksight.registry.versions import parse
from inksight.workspace import workspace
from tests.registry.conftest import Make


def test_numbers_grow_by_one_per_name(any_store: Registry, make: Make) -> None:
    refs = [any_store.register(make(), name).ref for name in ("a", "a", "b", "a")]
    assert refs == ["a:1", "a:2", "b:1", "a:3"]
    assert [version.ref for version in any_store.versions()] == ["a:3", "a:2", "a:1", "b:1"]
    assert [version.ref for version in any_store.versions("a")] == ["a:3", "a:2", "a:1"]


def test_a_version_carries_what_the_bundle_says(any_store: Registry, make: Make) -> None:
    any_store.register(make(), "a")
    version = any_store.register(make(accuracy=0.93, dataset="b" * 64), "a", parent="a:1", note="more data")
    assert version.accuracy == 0.93
    assert version.parent == "a:1"
    assert version.note == "more data"
    assert version.as_dict()["settings"] == {"epochs": 3}
    assert version.as_dict()["dataset"]["sha256"] == "b" * 64
    with any_store.database.read() as session:
        metrics = dict(session.execute(select(Metric.name, Metric.value).where(Metric.version_id == version.id)).all())
    assert metrics["accuracy"] == 0.93
    assert metrics["per_class/cat/accuracy"] == 0.93


def test_references(any_store: Registry, make: Make) -> None:
    for _ in range(3):
        any_store.register(make(), "a")
    assert any_store.find("a").number == 3  # no champion yet: the newest
    any_store.promote("a", 1)
    any_store.promote("a", 2, alias="candidate")
    assert any_store.find("a").number == 1
    assert any_store.find("a@champion").number == 1
    assert any_store.find("a@candidate").aliases == ("candidate",)
    assert any_store.find("a:3").number == any_store.find("a:v3").number == 3


def test_finding_one_version_reads_no_other(store: Registry, make: Make) -> None:
    for _ in range(5):
        store.register(make(), "a")
    store.promote("a", 2)
    read: list[int] = []

    def note(row: VersionRow, _: Any) -> None:
        read.append(row.number or 0)

    event.listen(VersionRow, "load", note)
    try:
        for reference in ("a", "a@champion", "a:4"):
            store.find(reference)
    finally:
        event.remove(VersionRow, "load", note)
    assert read == [2, 2, 4]
    with pytest.raises(NotFoundError, match="no version"):
        store.find(f"a:{2**70}")


def test_the_version_of_a_run_is_none_that_was_made_from_it(store: Registry, make: Make) -> None:
    assert store.of_run("a", "first") is None
    store.register(make(provenance={"run": "first"}), "a")
    store.register(make(provenance={"run": "first", "made_from": "a:1"}), "a")
    store.register(make(provenance={"run": "second"}), "a")
    store.register(make(provenance={"run": "first"}), "b")
    found = store.of_run("a", "first")
    assert found is not None
    assert found.ref == "a:1"
    assert store.of_run("a", "third") is None


def test_unknown_references_name_what_there_is(store: Registry, make: Make) -> None:
    store.register(make(), "doodle")
    store.promote("doodle", 1)
    for reference, expected in (("dodle", "doodle"), ("doodle:7", "Versions: 1"), ("doodle@champoin", "champion")):
        with pytest.raises(NotFoundError) as caught:
            store.find(reference)
        assert expected in caught.value.hint
    for reference in ("a@b@c", "a:x", "../a", "", "a b", "@x"):
        with pytest.raises(UsageError):
            parse(reference)
    for name in ("../evil", "a/b", "", "a@b", "a:1", "-x", "x" * 101):
        with pytest.raises(UsageError):
            store.register(make(), name)


def test_resolve_gives_a_verified_copy_that_outlives_the_artefact(store: Registry, make: Make) -> None:
    bundle = make()
    version = store.register(bundle, "a")
    folder = store.resolve("a:1")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in bundle.iterdir()
    }
    shutil.rmtree(Path(store.artifacts.root) / version.location)
    assert store.resolve("a:1") == folder
    (folder / "model.onnx").write_bytes(b"damaged")  # noticed; and now it cannot be copied again
    with pytest.raises(BundleError, match="is missing"):
        store.resolve("a:1")
    assert list(store.cache.iterdir()) == []


def test_resolve_takes_paths_and_built_in_names_too(store: Registry, make: Make) -> None:
    bundle = make()
    assert store.resolve(str(bundle)) == bundle
    with pytest.raises(NotFoundError, match="no model"):
        store.resolve("./nothing-here")


def test_damage_in_storage_is_noticed(store: Registry, make: Make) -> None:
    version = store.register(make(), "a")
    file = Path(store.artifacts.root) / version.location / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(BundleError, match="is damaged"):
        store.resolve("a:1")


def test_an_unsound_bundle_is_refused(store: Registry, make: Make) -> None:
    changed = make()
    (changed / "model.onnx").write_bytes(b"another graph")
    extra = make()
    (extra / "notes.txt").write_text("x")
    missing = make()
    (missing / "model.safetensors").unlink()
    for bundle in (changed, extra, missing):
        with pytest.raises(BundleError):
            store.register(bundle, "a")
    with pytest.raises(NotFoundError):
        store.find("a")
    with pytest.raises(NotFoundError):
        store.register(make(), "a", parent="b:1")


def test_a_bundle_whose_graph_gives_no_probabilities_is_refused(store: Registry, make: Make) -> None:
    """Whatever its model.json says of parity: sizes and checksums are right."""
    with pytest.raises(BundleError, match="failed its self-test: its answers are not probabilities"):
        store.register(make(weight=float("nan")), "a")
    with store.database.read() as session:
        assert session.scalars(select(VersionRow)).all() == []


class Failing(Artifacts):
    """Storage that breaks, or corrupts, at one file."""

    def __init__(self, root: str, how: str) -> None:
        super().__init__(root)
        self.how = how

    def put(self, folder: Path, location: str, files: Any) -> None:
        if self.how == "wrong bytes":
            damaged = folder.with_name(folder.name + "-damaged")
            shutil.copytree(folder, damaged)
            (damaged / "model.onnx").write_bytes(b"!")
            super().put(damaged, location, files)
        super().put(folder, location, {"README.md": files["README.md"]})
        raise UnavailableError("the storage went away")


@pytest.mark.parametrize(("how", "error"), [("outage", UnavailableError), ("wrong bytes", BundleError)])
def test_an_upload_that_fails_is_never_seen(store: Registry, make: Make, how: str, error: type[Exception]) -> None:
    broken = Registry(store.database, Failing(store.artifacts.root, how), store.cache, store.runs)
    with pytest.raises(error):
        broken.register(make(), "a")
    assert store.versions() == []
    with store.database.read() as session:
        row = session.scalars(select(VersionRow)).one()
        assert (row.state, row.number) == ("failed", None)
    assert store.register(make(), "a").number == 1  # no number was lost
    assert store.artifacts.exists(row.location)
    assert store.clean(failed=True).uploads == 1
    assert not store.artifacts.exists(row.location)


def test_an_upload_that_was_cleaned_away_does_not_appear(
    store: Registry, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload so slow that clean took it for dead."""

    class Slow(Artifacts):
        def put(self, folder: Path, location: str, files: Any) -> None:
            super().put(folder, location, files)
            monkeypatch.setattr("inksight.registry.cleanup._ABANDONED", -registry_room_hour())
            assert store.clean(failed=True).uploads == 1

    slow = Registry(store.database, Slow(store.artifacts.root), store.cache, store.runs)
    with pytest.raises(ConflictError, match="cleaned away"):
        slow.register(make(), "a")
    assert store.versions() == []


def registry_room_hour() -> Any:
    from datetime import timedelta

    return timedelta(hours=1)


@pytest.mark.slow
def test_a_bundle_that_can_be_loaded_comes_back_loadable(store: Registry) -> None:
    """A real bundle, through the registry and out again."""
    from inksight.bundle import load
    from tests.bundle.conftest import make_bundle as real_bundle

    store.register(real_bundle(workspace().home / "real"), "real")
    model = load(store.resolve("real"))
    assert len(model.classes) == 5
    assert store.promote("real", settings=None).moved


def test_opening_makes_nothing_but_the_database(home: Path) -> None:
    registry_room.open().close()
    assert sorted(path.name for path in home.iterdir()) in (
        ["inksight.db"],
        ["inksight.db", "inksight.db.opening"],
    )
