"""The page of a matrix' report, in a real browser: readable on a desk and on a telephone, by day and by night."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inksight.tuning import matrix_report
from inksight.tuning.leaderboard import choose
from inksight.tuning.matrix_report import write_matrix_report
from inksight.tuning.train_all import Matrix
from tests.tuning.test_leaderboard import first, row
from tests.web.conftest import browser  # noqa: F401

STUDY = {"best_trial": 7, "trials": 10, "settings": {"learning_rate": 0.0043, "model.attention": "cbam"}}


def told(model: str, right: int, ms: float, size: int) -> dict[str, Any]:
    made = row(model, first(right), size=size, ms=ms)
    ends = made["accuracy_interval"]
    return made | {
        "reference": f"quickdraw20-{model.replace('/', '-')}:12", "latency_p99_ms": 9 * ms, "study": STUDY,
        "balanced_accuracy": made["accuracy"], "balanced_accuracy_interval": ends, "parameters": size // 4,
        "worst_class": "The Eiffel Tower", "worst_accuracy": 0.71, "training_seconds": 5025.0,
    }  # fmt: skip


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    rows = [
        told("transfer/efficientnet_lite0", 931, 4.21, 13_600_000), told("deep_v2/resnet", 929, 1.7, 28_110_000),
        told("sketchnet-m", 915, 0.11, 1_210_000),
    ]  # fmt: skip
    failure = {
        "dataset": "pets", "model": "shallow", "message": "no trial of study pets-shallow succeeded", "hint": "More.",
        "log": "/home/somebody/inksight-home/matrices/pets+quickdraw20-1f2e3d4c/pets-shallow/log.txt",
        "lines": ["trial 0 fail   (" + "model.hog_orientations=10, " * 12 + ")"],
    }  # fmt: skip
    absent = (
        "https://storage.example.org/" + "quickdraw_dataset/full/numpy_bitmap/" * 4 + "sun.npy: there is no such file"
    )
    failures = [failure, *({**failure, "dataset": "x", "model": model, "message": absent} for model in ("a", "b"))]
    datasets = [
        {"name": "quickdraw20", "rows": rows, "pick": choose(rows, 50)},
        {"name": "pets", "rows": [], "pick": None},
    ]
    found = {
        "matrix": "pets+quickdraw20-1f2e3d4c", "max_latency_ms": 50, "jobs": 7, "datasets": datasets,
        "failures": failures, "processor": "a processor",
    }  # fmt: skip
    monkeypatch.setattr(matrix_report, "facts", lambda matrix, limit: found)
    _, path = write_matrix_report(Matrix(tmp_path), max_latency_ms=50)
    return path.as_uri()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_and_can_be_read(page: str, browser: Any, width: int, scheme: str) -> None:  # noqa: F811
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    problems: list[str] = []
    try:
        tab = context.new_page()
        tab.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on(
            "request",
            lambda request: None if request.url.startswith(("file:", "data:")) else problems.append(request.url),
        )
        tab.goto(page)
        assert "3 of 7 trainings are done. 3 failed" in tab.inner_text(".lede")
        assert "1 is not finished" in tab.inner_text(".lede")
        assert tab.locator("#failed h3").all_inner_texts() == ["shallow on pets", "a, b on x"]
        root = "document.documentElement."
        assert tab.evaluate(f"{root}scrollWidth <= {root}clientWidth"), "the page can be pushed sideways"
        if width > 1000:
            table = "document.querySelector('.table')"
            assert tab.evaluate(f"{table}.scrollWidth <= {table}.clientWidth"), "columns are cut off"
        # Its letters are 9 points of a picture 8 inches wide.
        assert tab.evaluate("document.querySelector('.plot').clientWidth") >= 540
        # The paper of the plot is that of the page, or next to it.
        seen = tab.evaluate("getComputedStyle(document.querySelector('.plot')).filter")
        assert (seen != "none") == (scheme == "dark")
        for _ in range(2):  # the first click puts the largest on top
            tab.click("thead button >> text=/^ms$/")
        names = tab.locator("tbody th").all_inner_texts()
        assert [name.split()[0] for name in names] == ["sketchnet-m", "deep_v2/resnet", "transfer/efficientnet_lite0"]
        assert problems == []
    finally:
        context.close()


def test_a_limit_that_is_far_away_leaves_the_plot_its_room() -> None:
    dataset = {"name": "pets", "rows": [told("simple_cnn", 500, 19.3, 3_000_000)], "pick": {"model": "simple_cnn"}}
    for limit_ms in (0.0001, 1e6):
        figure = matrix_report.accuracy_against_latency(dataset, limit_ms)
        assert [text.get_text() for text in figure.axes[0].texts] == ["simple_cnn"]


def test_names_in_the_plot_do_not_cover_each_other() -> None:
    rows = [told("simple_cnn", 500, 19.3, 3_000_000), told("sketchnet-m", 500, 21.3, 2_000_000)]
    rows += [told("sketchnet-s", 499, 20.0, 1_000_000)]
    figure = matrix_report.accuracy_against_latency(
        {"name": "pets", "rows": rows, "pick": {"model": "simple_cnn"}}, 500
    )
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 3
    assert not any(one.overlaps(other) for at, one in enumerate(boxes) for other in boxes[:at])
