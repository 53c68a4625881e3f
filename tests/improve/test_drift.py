"""Drift: rare alarms when nothing changed, sure ones when something did, and every source of answers."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
from sqlalchemy import update
from typer.testing import CliRunner

from inksight import registry
from inksight.cli import app
from inksight.data.dataset import DatasetWriter
from inksight.errors import DataError, NotFoundError, UsageError
from inksight.improve import drift, history
from inksight.improve.drift import Sample, compare
from inksight.registry.tables import Correction, Prediction

LABELS = np.array(["cat", "dog", "eye", "tree", "sun", "moon", "fish", "star"])
NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)


def period(rng: np.random.Generator, count: int = 400, **changes: Any) -> Sample:
    """Return a made period; `changes` may set weights of labels, beta parameters, shares and ink."""
    weights = changes.get("weights", np.ones(8) / 8)
    a, b = changes.get("confidence", (5.0, 2.0))
    return Sample(
        name=changes.get("name", "made"),
        labels=rng.choice(LABELS, count, p=weights),
        confidence=rng.beta(float(a), float(b), count),
        unsure=rng.random(count) < changes.get("unsure", 0.1),
        right=rng.random(count // 3) < changes.get("right", 0.8),
        features={"share of ink": rng.normal(changes.get("ink", 0.15), 0.04, count)},
    )


def test_nothing_changed_and_hardly_ever_an_alarm() -> None:
    rng = np.random.default_rng(0)
    reports = [compare(period(rng, 300), period(rng, 150)) for _ in range(400)]
    significant = np.mean([any(check.p < 0.05 for check in report.checks) for report in reports])
    # 400 rounds at 5 %: two standard deviations above is 7.2 %.
    assert significant <= 0.072
    assert np.mean([report.drifted for report in reports]) <= significant


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"weights": np.array([0.4, *[0.6 / 7] * 7])}, "answers"),
        ({"confidence": (3, 3)}, "confidence"),
        ({"unsure": 0.3}, "unsure answers"),
        ({"right": 0.55}, "right by feedback"),
        ({"ink": 0.19}, "share of ink"),
    ],
)
def test_each_planted_change_is_found_by_its_own_check(change: dict[str, Any], check: str) -> None:
    rng = np.random.default_rng(1)
    report = compare(period(rng, 900), period(rng, 600, **change))
    found = [one.name for one in report.checks if one.drifted(0.05)]
    assert found == [check]
    assert report.drifted
    one = next(one for one in report.checks if one.name == check)
    assert one.verdict(0.05) in ("moderate", "large")
    if check == "answers":
        assert one.detail == "cat"
        assert one.after == pytest.approx(0.4, abs=0.07)


def test_a_trifle_is_significant_with_many_answers_and_still_no_drift() -> None:
    rng = np.random.default_rng(2)
    report = compare(period(rng, 50_000), period(rng, 50_000, confidence=(5, 2.15), unsure=0.11))
    confidence = report.checks[1]
    assert confidence.p < 0.001
    assert confidence.verdict(0.05) == "small"
    assert not report.drifted


def test_psi_by_hand_and_without_bias() -> None:
    before, after = np.array([50_000, 50_000]), np.array([60_000, 40_000])
    assert drift.psi(before, after) == pytest.approx(0.1 * np.log(1.2) - 0.1 * np.log(0.8), abs=1e-4)
    rng = np.random.default_rng(0)
    null = [
        drift.psi(rng.multinomial(200, np.ones(10) / 10), rng.multinomial(200, np.ones(10) / 10)) for _ in range(300)
    ]
    # Without the correction the mean is 9 * (1/200 + 1/200) = 0.09: close to "moderate" out of nothing.
    assert np.mean(null) < 0.03
    assert np.isfinite(drift.psi([0, 10], [10, 0]))


def test_categories_that_come_and_go() -> None:
    before = np.array(["a"] * 100 + ["rare"] * 2)
    after = np.array(["a"] * 60 + ["new"] * 40 + ["odd"])
    check = drift.categories("answers", before, after)
    assert check.p < 1e-6
    assert check.detail == "new"
    assert drift.categories("answers", before[:50], before[50:100]).p == 1


def test_too_few_answers_are_said_so() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(UsageError, match="last week has 20 answers"):
        compare(period(rng), period(rng, 20, name="last week"))


def test_features_of_drawings_and_photos() -> None:
    drawing = np.zeros((2, 10, 10), np.uint8)
    drawing[0, 2:4, 1:9] = 255
    found = drift.features_of(drawing)
    assert {name: values.tolist() for name, values in found.items()} == {
        "share of ink": pytest.approx([0.16, 0]),
        "width": pytest.approx([0.8, 0]),
        "height": pytest.approx([0.2, 0]),
    }
    grey, red = np.full((1, 4, 4, 3), 51, np.uint8), np.full((1, 4, 4, 3), (255, 0, 0), np.uint8)
    photos = drift.features_of(np.concatenate([grey, red]))
    assert photos["brightness"] == pytest.approx([0.2, 1 / 3])
    assert photos["colourfulness"] == pytest.approx([0, 1])


def row(rng: np.random.Generator, index: int, label: str = "cat") -> dict[str, Any]:
    strokes = [[rng.integers(0, 255, 5).tolist(), rng.integers(0, 255, 5).tolist()] for _ in range(3)]
    return {
        "label": label,
        "confidence": float(rng.beta(5, 2)),
        "unsure": False,
        "version": "1",
        "input_sha256": f"{index:064d}",
        "input": {"strokes": strokes},
    }


def test_an_export_is_read_once_per_input(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [row(rng, i, str(rng.choice(LABELS))) for i in range(80)]
    picture = np.zeros((28, 28), np.uint8)
    picture[5:9] = 255
    rows[7]["input"] = {"image": base64.b64encode(picture.tobytes()).decode(), "shape": [28, 28]}
    file = tmp_path / "log.jsonl"
    shadow = row(rng, 999) | {"extra": {"shadow_of": "p1"}}
    file.write_text("".join(json.dumps(one) + "\n" for one in [*rows, shadow, *rows[:30]]))
    found = history.exported(file)
    assert len(found) == 80
    assert found.versions == ("1",)
    assert set(found.features) == {"share of ink", "width", "height", "strokes"}
    assert len(found.features["strokes"]) == 79
    assert len(found.features["width"]) == 80
    assert (found.features["strokes"] == 3).all()


@pytest.mark.parametrize(
    "line",
    [
        *("{", "[]", '{"label": "cat"}', '{"label": "cat", "confidence": "high"}'),
        '{"predicted": "dog", "label": "cat", "confidence": 0.5}',
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "log.jsonl"
    file.write_text('{"label": "cat", "confidence": 0.5}\n' + line + "\n")
    with pytest.raises(DataError, match=r"log.jsonl:2 is no logged prediction"):
        history.exported(file)
    with pytest.raises(NotFoundError):
        history.exported(tmp_path / "none.jsonl")


def test_a_misspelt_model_is_told_from_one_without_answers(log: registry.Registry) -> None:
    done = CliRunner().invoke(app, ["drift", "dodle"])
    assert isinstance(done.exception, NotFoundError)
    assert done.exception.hint == "Did you mean doodle?"


@pytest.fixture
def log() -> Iterator[registry.Registry]:
    """Fill the workspace's log: 300 answers 8 to 30 days old, 200 of the last 6 days with many more cats."""
    opened = registry.open()
    rng = np.random.default_rng(0)
    with opened.database.write() as session:
        for index in range(500):
            recent = index >= 300
            age = rng.uniform(0, 6) if recent else rng.uniform(8, 30)
            label = "cat" if recent and index % 2 else str(rng.choice(LABELS))
            made = row(rng, index, label)
            session.add(
                Prediction(
                    id=f"p{index}", at=NOW - timedelta(days=age), model="doodle", ms=1.0, input_kind="strokes",
                    extra=None, **made | {"version": "2" if recent else "1"},
                )
            )  # fmt: skip
            if index % 3 == 0:
                session.add(
                    Correction(
                        prediction_id=f"p{index}", model="doodle", version="1", predicted=label, confidence=0.5,
                        label=label, correct=index % 4 != 0, input=None, final_label=None, reviewer=None,
                        reviewed_at=None,
                    )
                )  # fmt: skip
    yield opened
    opened.close()


def test_the_log_is_read_by_model_period_and_version(log: registry.Registry) -> None:
    def read(**options: Any) -> Sample:
        return history.logged(log.database, "doodle", now=NOW, **options)

    assert len(read(days=7)) == 200
    assert len(read(days=30, before_days=7)) == 300
    assert len(read(days=30, version="1")) == 300
    assert len(history.logged(log.database, "other", days=30, now=NOW)) == 0
    assert len(read(days=7).right) == 67
    with log.database.write() as session:
        session.execute(update(Prediction).where(Prediction.id == "p499").values(extra={"shadow_of": "p498"}))
    assert len(read(days=7)) == 199, "what a shadow said was no answer to anybody"
    report = compare(read(days=30, before_days=7), read(days=7))
    assert [check.name for check in report.checks if check.drifted(0.05)] == ["answers"]
    assert "Different versions answered (1 before, 2 now)" in report.notes[0]


def test_what_the_infinite_game_kept_was_not_called_right_by_anybody(log: registry.Registry) -> None:
    with log.database.write() as session:
        session.execute(update(Correction).values(source="infinite"))
    assert len(history.logged(log.database, "doodle", days=7, now=NOW).right) == 0


def test_a_verdict_on_an_older_one_of_equal_inputs_counts() -> None:
    rng = np.random.default_rng(0)
    rows = [row(rng, index) | {"correct": said} for index, said in ((1, None), (1, False), (1, True), (2, True))]
    nameless = [row(rng, 3) | {"input_sha256": "", "correct": said} for said in (None, True, True)]
    found = history.sample("made", rows + nameless)
    assert len(found) == 5
    assert found.right.tolist() == [False, True, True, True]


def test_the_command_on_files_and_a_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    files = {}
    for name, weights in (("before", None), ("same", None), ("cats", [0.6, *[0.4 / 7] * 7])):
        files[name] = tmp_path / f"{name}.jsonl"
        rows = [row(rng, i, str(rng.choice(LABELS, p=weights))) for i in range(200)]
        files[name].write_text("".join(json.dumps(one) + "\n" for one in rows))

    def run(*words: str | Path) -> Any:
        return CliRunner().invoke(app, ["drift", "doodle", *map(str, words)])

    same = run("--reference", files["before"], "--recent", files["same"], "--fail")
    assert same.exit_code == 0, same.output
    assert "no drift" in same.stdout
    cats = run("--reference", files["before"], "--recent", files["cats"], "--fail", "--json")
    assert cats.exit_code == 1
    printed = json.loads(cats.stdout)
    assert printed["drifted"]
    assert printed["checks"][0]["verdict"] == "large"

    import inksight

    class Flat:
        classes = LABELS.tolist()

        def predict_proba(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            return rng.dirichlet(np.ones(8), len(images)).astype(np.float32)

    monkeypatch.setattr(inksight, "load", lambda name: cast("Any", Flat()), raising=False)
    data = tmp_path / "made.h5"
    with DatasetWriter(
        data, classes=LABELS.tolist(), image_shape=(28, 28), source="made", preprocessing={}, seed=0
    ) as out:
        out.append("test", rng.integers(0, 9, (90, 28, 28), dtype=np.uint8), np.arange(90) % 8, ["x"] * 90)
    against = run("--reference", data, "--recent", files["same"], "--json")
    assert against.exit_code == 0, against.output
    names = [check["name"] for check in json.loads(against.stdout)["checks"]]
    assert names == ["answers", "confidence", "share of ink", "width", "height"]


def test_an_empty_log_says_what_is_missing() -> None:
    done = CliRunner().invoke(app, ["drift", "doodle"])
    assert isinstance(done.exception, UsageError)
    assert "0 answers" in done.exception.message
