"""How far players, reviewers and the machine agree, on every kind of database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from inksight.errors import ConflictError
from inksight.registry import Registry, corrections
from inksight.registry.tables import Correction

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def add(store: Registry, count: int, predicted: str, label: str, state: str = "pending", **columns: Any) -> None:
    """Put corrections into the database; the reviewer of a relabelled one says that it is a dog."""
    final = {"accepted": label, "relabelled": "dog"}.get(state)
    facts: dict[str, Any] = {"model": "zoo", "version": "1", "at": NOON, "reviewer": None, **columns}
    with store.database.write() as session:
        session.add_all(
            Correction(
                predicted=predicted, label=label, correct=predicted == label, state=state, final_label=final, **facts
            )
            for _ in range(count)
        )


def test_agreement_by_class_and_day(any_store: Registry) -> None:
    add(any_store, 3, "cat", "cat", "accepted", reviewer="ada")
    add(any_store, 1, "cat", "fox", "relabelled", reviewer="ada")
    add(any_store, 2, "cat", "fox", at=NOON + timedelta(hours=13))
    add(any_store, 1, "cat", "fox", model="other")
    found = corrections.statistics(any_store.database, model="zoo")
    assert found["states"] == {"accepted": 3, "relabelled": 1, "pending": 2}
    assert (found["players_agreed"]["share"], found["players_agreed"]["n"]) == (0.5, 6)
    assert (found["reviewers_agreed"]["share"], found["reviewers_agreed"]["n"]) == (0.75, 4)
    assert (found["machine_right"]["share"], found["machine_right"]["n"]) == (0.75, 4)
    assert found["confusions"] == [{"predicted": "cat", "label": "dog", "count": 1}]
    cat, fox = found["by_class"]
    assert (cat["label"], cat["players_agreed"]["share"], cat["reviewers_agreed"]["share"]) == ("cat", 1, 1)
    assert (fox["label"], fox["players_agreed"]["n"], fox["reviewers_agreed"]["n"]) == ("fox", 3, 1)
    assert [(row["day"], row["players_agreed"]["n"]) for row in found["by_day"]] == [
        ("2026-03-01", 4),
        ("2026-03-02", 2),
    ]
    assert found["by_day"][1]["reviewers_agreed"] is None


def test_what_the_infinite_game_keeps_is_no_agreement(any_store: Registry) -> None:
    add(any_store, 1, "cat", "fox", "rejected", reviewer="ada")
    add(any_store, 9, "cat", "cat", "accepted", source="infinite", reviewer="ada")
    found = corrections.statistics(any_store.database)
    assert found["states"] == {"accepted": 9, "rejected": 1}
    assert found["sources"] == {"feedback": 1, "infinite": 9}
    assert (found["players_agreed"]["share"], found["players_agreed"]["n"]) == (0, 1)
    assert (found["reviewers_agreed"]["share"], found["reviewers_agreed"]["n"]) == (0, 1)
    assert found["machine_right"] is None


def test_many_classes_and_days_are_cut_to_those_that_matter(store: Registry) -> None:
    for index in range(corrections.CLASSES + 5):
        add(store, 1 + (index == 7), "cat", f"class {index:03d}", at=NOON + timedelta(days=index))
    found = corrections.statistics(store.database)
    assert len(found["by_class"]) == corrections.CLASSES
    assert found["by_class"][0]["label"] == "class 007"
    assert len(found["by_day"]) == corrections.DAYS
    assert found["by_day"][-1]["day"] == str((NOON + timedelta(days=index)).date())
    assert found["players_agreed"]["n"] == corrections.CLASSES + 6


def test_what_was_changed_since_it_was_seen_is_not_decided(any_store: Registry) -> None:
    add(any_store, 1, "cat", "fox")
    [row] = corrections.listing(any_store.database)
    seen = {"state": row.state, "label": row.label, "final_label": row.final_label}
    corrections.decide(any_store.database, row.id, "relabel", label="dog", reviewer="ada", seen=seen)
    with pytest.raises(ConflictError, match="it is relabelled by ada, and says 'dog'"):
        corrections.decide(any_store.database, row.id, "accept", reviewer="bob", seen=seen)
    assert corrections.find(any_store.database, row.id).final_label == "dog"


def test_another_decision_is_to_be_learnt_anew(store: Registry) -> None:
    add(store, 1, "cat", "fox", "accepted", reviewer="ada", learnt_in="zoo:2")
    [row] = corrections.listing(store.database)
    same = corrections.decide(store.database, row.id, "accept", reviewer="bob")
    assert (same.final_label, same.learnt_in) == ("fox", "zoo:2")
    other = corrections.decide(store.database, row.id, "relabel", label="dog", reviewer="bob")
    assert (other.final_label, other.learnt_in) == ("dog", None)
