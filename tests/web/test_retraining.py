"""Under Review, in a real browser: a real retrain is started, cancelled, started again, followed and ends."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from inksight.data.dataset import open_dataset
from inksight.improve.additions import LEFT_OUT
from inksight.registry.jobs import Jobs
from inksight.serving import create_app
from inksight.serving.services import Services
from inksight.serving.tokens import Tokens
from tests.improve.planted import MODEL, correct, rings, store_with_model
from tests.serving.conftest import HalvesClassifier, running
from tests.waiting import expect
from tests.web.test_draw import CONTRASTS, PHONE
from tests.web.test_everywhere import WEB
from tests.web.test_pictionary import press

pytestmark = pytest.mark.browser


@pytest.fixture
def served(home: Path, tmp_path: Path) -> Iterator[tuple[str, Services]]:
    """A service beside a small registered model and accepted corrections."""
    store = store_with_model(tmp_path, epochs=3)
    correct(store, rings(30, seed=1))
    store.close()
    app = create_app(models=[HalvesClassifier()])
    with running(app) as url:
        yield url + "/", app.state.services


@pytest.fixture
def address(served: tuple[str, Services]) -> str:
    return served[0]


@pytest.mark.slow
def test_a_retrain_from_the_button_to_its_end(served: tuple[str, Services], visit: Callable[..., Any]) -> None:
    token = Tokens().add("alice", ["review", "jobs"])
    page = visit(path="#/review", locale="fr-FR", **PHONE)
    page.get_by_label("Jeton").fill(token)
    page.keyboard.press("Enter")
    press(page, f"Réentraîner {MODEL} avec 30 acceptés")
    expect(page.locator(".retraining progress")).to_be_visible()
    page.wait_for_timeout(300)
    assert page.evaluate(CONTRASTS) == []
    assert page.evaluate("document.documentElement.scrollWidth <= screen.width")
    press(page, "Annuler")
    expect(page.locator(".retraining .outcome")).to_contain_text("Annulé", timeout=60_000)

    press(page, f"Réentraîner {MODEL} avec 30 acceptés")
    expect(page.locator(".retraining .stage")).to_contain_text("%")
    page.reload()
    expect(page.locator(".retraining .stage")).to_contain_text(MODEL, timeout=20_000)
    expect(page.locator(".retraining .outcome")).to_contain_text(f"{MODEL}", timeout=120_000)
    newest, before = Jobs(served[1].storage.database).all()
    assert (before.state, newest.state) == ("cancelled", "done")
    assert newest.result is not None
    assert newest.result["outcome"] in ("promoted", "refused")
    # What the version that answers has not learnt may be learnt again.
    left = 0 if newest.result["outcome"] == "promoted" else 1
    expect(page.get_by_role("button", name="Réentraîner")).to_have_count(left)


@pytest.mark.slow
def test_a_refused_retrain_says_why_and_what_now(
    served: tuple[str, Services], visit: Callable[..., Any], tmp_path: Path
) -> None:
    address, services = served
    # People who call everything flat: the model learns it, and is worse on the test split.
    with open_dataset(tmp_path / "bars.h5") as base:
        images, labels = base.load("train")
    slanted = images[labels == 1]
    correct(services.storage.registry, np.minimum(slanted[:100] + 3, 255).astype(np.uint8), "flat")
    correct(services.storage.registry, 255 - slanted[:60], "flat")
    correct(services.storage.registry, slanted[:2], "dragon")
    token = Tokens().add("alice", ["review", "jobs"])
    limits = {"epochs": 4, "rate": 1.0, "share": 0.5, "replay": 30, "overall_margin": 0.0, "class_margin": 0.0}
    body = {"kind": "retrain", "model": MODEL, "settings": limits}
    strict = Tokens().add("bob", ["models", "jobs"])
    httpx.post(f"{address}v1/jobs", json=body, headers={"Authorization": f"Bearer {strict}"}).raise_for_status()
    page = visit(path="#/review", **PHONE)
    page.get_by_label("Admin token").fill(token)
    page.keyboard.press("Enter")
    told = page.locator(".retraining .outcome.refused")
    expect(told).to_contain_text(f"{MODEL}:2 was trained, but gates held it back", timeout=120_000)
    expect(told.locator("dd").first).to_have_text(re.compile(r"\d%.* → .*\d% of \d+"))
    expect(told.locator("li").first).to_contain_text("%")
    expect(told.get_by_role("link")).to_have_text(f"See {MODEL}:2 under Models")
    page.reload()
    expect(told).to_contain_text("What now?")
    expect(told).to_contain_text("Left out: 2 with a label that is none of its classes.")
    press(page, "Français")
    expect(told).to_contain_text("Et maintenant")
    expect(told).to_contain_text("Laissés de côté\u00a0: 2 dont le mot n’est pas une de ses classes.")
    assert not re.search(r"\b(right|than|worse|against|gates|refused)\b", told.inner_text())
    assert page.evaluate(CONTRASTS) == []
    assert page.evaluate("document.documentElement.scrollWidth <= screen.width")
    # What is put right among the accepted ones is learnt anew.
    page.locator(".tabs").get_by_role("button", name="Acceptés").click()
    page.get_by_role("button", name="Rejeter").click()
    expect(page.get_by_role("button", name="Rejetés")).to_be_visible()
    expect(page.get_by_role("button", name="Réentraîner")).to_be_visible()


def test_a_failed_retrain_says_so_in_french(
    served: tuple[str, Services], visit: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "bars.h5").unlink()
    token = Tokens().add("alice", ["review", "jobs"])
    page = visit(path="#/review", locale="fr-FR")
    page.get_by_label("Jeton").fill(token)
    page.keyboard.press("Enter")
    press(page, f"Réentraîner {MODEL} avec 30 acceptés")
    told = page.locator(".retraining .outcome.failed")
    expect(told).to_contain_text("L’entraînement a échoué. Les images", timeout=60_000)
    expect(told).to_contain_text("'bars'")
    page.reload()
    expect(told).to_be_visible()
    press(page, "English")
    expect(told).to_contain_text("The training failed. The pictures")


@pytest.mark.parametrize("language", ["en", "fr"])
def test_every_reason_to_leave_a_correction_out_can_be_said(language: str) -> None:
    texts = (WEB / "lang" / f"{language}.js").read_text(encoding="utf-8")
    assert set(re.findall(r'"retrain\.left\.(\w+)": ".*{count}', texts)) == LEFT_OUT.keys()


def test_a_token_for_reviews_alone_offers_no_training(visit: Callable[..., Any]) -> None:
    token = Tokens().add("bob", ["review"])
    page = visit(path="#/review")
    page.get_by_label("Admin token").fill(token)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing is waiting for review.")).to_be_visible()
    page.wait_for_timeout(300)
    expect(page.locator(".retraining > *")).to_have_count(0)
