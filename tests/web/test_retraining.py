"""Under Review, in a real browser: a real retrain is started, cancelled, started again, followed and ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from inksight.registry.jobs import Jobs
from inksight.serving import create_app
from inksight.serving.services import Services
from inksight.serving.tokens import Tokens
from tests.improve.planted import MODEL, correct, rings, store_with_model
from tests.serving.conftest import HalvesClassifier, running
from tests.web.test_draw import CONTRASTS, PHONE
from tests.web.test_pictionary import expect, press

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
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    press(page, "Annuler")
    expect(page.locator(".retraining .outcome")).to_contain_text("Annulé", timeout=60_000)

    press(page, f"Réentraîner {MODEL} avec 30 acceptés")
    expect(page.locator(".retraining .stage")).to_contain_text("%")
    page.reload()
    expect(page.locator(".retraining .stage")).to_contain_text(MODEL, timeout=20_000)
    expect(page.locator(".retraining .outcome")).to_contain_text(f"{MODEL}", timeout=120_000)
    expect(page.get_by_role("button", name="Réentraîner")).to_have_count(0)
    newest, before = Jobs(served[1].storage.database).all()
    assert (before.state, newest.state) == ("cancelled", "done")
    assert newest.result is not None
    assert newest.result["outcome"] in ("promoted", "refused")


def test_a_token_for_reviews_alone_offers_no_training(visit: Callable[..., Any]) -> None:
    token = Tokens().add("bob", ["review"])
    page = visit(path="#/review")
    page.get_by_label("Admin token").fill(token)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing is waiting for review.")).to_be_visible()
    page.wait_for_timeout(300)
    assert page.locator(".retraining > *").count() == 0
