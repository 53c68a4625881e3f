"""Promotion through the gates, force, rollback and history."""

from __future__ import annotations

import pytest

from inksight.errors import ConflictError, GateError, NotFoundError, UsageError
from inksight.registry import Evidence, Registry, gates
from inksight.settings import GateSettings
from tests.registry.conftest import Make


def test_the_first_version_has_nothing_to_beat(any_store: Registry, make: Make) -> None:
    any_store.register(make(accuracy=None), "a")
    done = any_store.promote("a")
    assert (done.version.ref, done.previous, done.forced, done.moved) == ("a:1", None, False, True)
    assert any_store.find("a@champion").number == 1
    assert not any_store.promote("a", 1).moved  # it is champion already


def refused(store: Registry, name: str, number: int, settings: GateSettings | None = None) -> str:
    with pytest.raises(GateError) as caught:
        store.promote(name, number, settings=settings)
    assert store.find(f"{name}@champion").number == 1
    return caught.value.message


def test_a_worse_version_is_refused_with_numbers(any_store: Registry, make: Make) -> None:
    any_store.register(make(accuracy=0.9), "a")
    any_store.promote("a")
    any_store.register(make(accuracy=0.88), "a")
    message = refused(any_store, "a", 2)
    assert "[overall] accuracy 88.00% against 90.00% of a:1: -2.00%, at most 0.00% worse is allowed" in message
    allowed = any_store.promote("a", 2, settings=GateSettings(overall_margin=0.02))
    assert allowed.previous == 1


def test_one_class_that_became_worse_is_refused(store: Registry, make: Make) -> None:
    store.register(make(accuracy=0.9), "a")
    store.promote("a")
    store.register(make(accuracy=0.92, per_class={"cat": 0.75}), "a")
    assert "[classes] 1 of 3 classes are worse: cat 75.0% against 90.0% of 100 (-15.0%)" in refused(store, "a", 2)
    store.promote("a", 2, settings=GateSettings(class_margin=0.16))


def test_a_class_that_may_look_worse_by_chance_is_let_through(store: Registry, make: Make) -> None:
    """8 of 100 answers fewer; 10 would be beyond chance."""
    store.register(make(accuracy=0.9), "a")
    store.promote("a")
    store.register(make(accuracy=0.92, per_class={"cat": 0.82}), "a")
    answer = next(answer for answer in store.promote("a", 2).answers if answer.gate == "classes")
    assert answer.passed
    assert answer.reason == "classes.chance"
    assert answer.values["chance"] == 1
    assert "none of 3 classes is surely worse, for 1 the gap may be chance" in answer.detail


@pytest.mark.parametrize("sides", [(None, 0.9), (0.9, None), (None, None)])
def test_a_class_without_test_samples_is_passed_over(
    store: Registry, make: Make, sides: tuple[float | None, float | None]
) -> None:
    store.register(make(per_class={"cat": sides[0]}), "a")
    store.promote("a")
    store.register(make(per_class={"cat": sides[1], "dog": 0.7}), "a")
    assert "1 of 3 classes are worse: dog" in refused(store, "a", 2)
    store.register(make(per_class={"cat": sides[1]}), "a")
    answer = next(answer for answer in store.promote("a", 3).answers if answer.gate == "classes")
    assert answer.passed
    assert answer.values["unmeasured"] == 1
    assert "1 had no samples to compare" in answer.detail


def test_a_class_that_disappeared_is_refused(store: Registry, make: Make) -> None:
    store.register(make(per_class={"whale": 0.5}), "a")
    store.promote("a")
    store.register(make(), "a")
    assert "whale is missing" in refused(store, "a", 2)


def test_versions_judged_on_different_data_are_not_compared(store: Registry, make: Make) -> None:
    store.register(make(accuracy=0.9), "a")
    store.promote("a")
    store.register(make(accuracy=0.99, dataset="c" * 64), "a")
    store.register(make(accuracy=0.99, split="val"), "a")
    store.register(make(accuracy=None), "a")
    assert "different datasets" in refused(store, "a", 2)
    assert "different splits" in refused(store, "a", 3)
    assert "carries no accuracy" in refused(store, "a", 4)
    evidence = Evidence({"accuracy": 0.8}, {"accuracy": 0.7}, "a:1", "new drawings")
    done = store.promote("a", 2, evidence=evidence)
    assert "80.00% against 70.00% of a:1 on new drawings" in done.answers[1].detail
    with pytest.raises(ConflictError, match="became a:2"):  # the evidence is about a champion that is none any more
        store.promote("a", 4, evidence=evidence)


@pytest.mark.parametrize(
    ("parity", "passes"),
    [
        ({"samples": 1000, "max_difference": 1e-5, "top1_changes": 0}, True),
        ({"samples": 1000, "max_difference": 2e-4, "top1_changes": 0}, False),
        ({"samples": 1000, "max_difference": 1e-5, "top1_changes": 1}, False),
        ({"samples": 1000, "max_difference": float("nan"), "top1_changes": 0}, False),
        ({}, False),
    ],
)
def test_parity(store: Registry, make: Make, parity: dict[str, float], passes: bool) -> None:
    version = store.register(make(), "a")
    version.description["parity"] = parity
    answer = gates.judge(version, None, GateSettings())[0]
    assert (answer.gate, answer.passed) == ("parity", passes)


def test_limits_on_accuracy_latency_and_size(store: Registry, make: Make) -> None:
    version = store.register(make(accuracy=0.9), "a")

    def answers(latency: float | None = None, **limits: float) -> dict[str, bool]:
        return {a.gate: a.passed for a in gates.judge(version, None, GateSettings(**limits), latency_ms=latency)}

    assert answers() == {"parity": True, "overall": True}
    assert answers(min_accuracy=0.9)["accuracy"]
    assert not answers(min_accuracy=0.91)["accuracy"]
    assert answers(0.5, max_latency_ms=0.5)["latency"]
    assert not answers(0.6, max_latency_ms=0.5)["latency"]
    assert answers(max_megabytes=version.bytes / 1e6)["size"]
    assert not answers(max_megabytes=version.bytes / 1e6 - 1e-6)["size"]


def test_limits_of_the_environment_hold_at_every_door(
    store: Registry, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.register(make(accuracy=0.9), "a")
    store.promote("a")
    store.register(make(accuracy=0.95), "a")
    monkeypatch.setenv("INKSIGHT_GATES_MIN_ACCURACY", "0.96")
    monkeypatch.setenv("INKSIGHT_GATES_MAX_LATENCY_MS", "2")
    monkeypatch.setattr(gates, "measure_latency", lambda _: 3.0)
    assert "[accuracy] accuracy 95.00%, at least 96.00% is required" in refused(store, "a", 2)
    told = {answer.gate: answer.passed for answer in store.judged("a", 2)}
    assert (told["accuracy"], told["latency"]) == (False, False)


def test_force_is_recorded(any_store: Registry, make: Make) -> None:
    any_store.register(make(accuracy=0.9), "a")
    any_store.promote("a")
    any_store.register(make(accuracy=0.5), "a")
    done = any_store.promote("a", 2, force=True, note="demo tonight")
    assert done.forced
    newest, first = any_store.history("a")
    assert (newest.forced, newest.note, newest.previous, newest.number) == (True, "demo tonight", 1, 2)
    assert [answer["gate"] for answer in newest.gates if not answer["passed"]] == ["overall", "classes"]
    assert not first.forced
    any_store.register(make(accuracy=0.95), "a")
    assert not any_store.promote("a", 3, force=True).forced  # it was not needed


def test_rollback_goes_back_step_by_step(any_store: Registry, make: Make) -> None:
    for index in range(4):
        any_store.register(make(accuracy=0.9 + index / 100), "a")
        any_store.promote("a")
    assert any_store.rollback("a").version.number == 3
    assert any_store.rollback("a").version.number == 2
    any_store.promote("a", 4)
    assert any_store.rollback("a").version.number == 2
    assert any_store.rollback("a").version.number == 1
    with pytest.raises(ConflictError, match="no earlier version"):
        any_store.rollback("a")
    assert any_store.rollback("a", to=3).previous == 1
    assert any_store.rollback("a").version.number == 1
    assert [move.action for move in any_store.history("a")][:2] == ["rollback", "rollback"]


def test_rollback_of_what_is_not_there(store: Registry, make: Make) -> None:
    with pytest.raises(NotFoundError, match="unknown model"):
        store.rollback("a")
    store.register(make(), "a")
    with pytest.raises(NotFoundError, match="no alias"):
        store.rollback("a")
    store.promote("a")
    with pytest.raises(ConflictError, match="no other version 9"):
        store.rollback("a", to=9)
    with pytest.raises(UsageError, match="alias"):
        store.promote("a", alias="a/b")
