"""The models in a real browser: numbers, the confusion matrix, and moving an alias with a token."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from inksight import registry
from inksight.evaluation import judge
from inksight.registry import notes
from inksight.registry.gates import Reason
from inksight.serving import create_app
from inksight.settings import ServeSettings
from tests.bundle.conftest import CLASSES, make_bundle
from tests.serving.conftest import HalvesClassifier, running
from tests.waiting import expect
from tests.web.test_draw import CONTRASTS, PHONE
from tests.web.test_everywhere import WEB
from tests.web.test_pictionary import press

pytestmark = pytest.mark.browser


def summary(names: list[str], skill: float) -> dict[str, Any]:
    """Judge made-up answers: the truth gets `skill` more than the other classes, and confusions are frequent."""
    random = np.random.default_rng(1)
    truth = np.arange(40 * len(names)) % len(names)
    scores = random.normal(size=(len(truth), len(names)))
    scores[np.arange(len(truth)), truth] += skill
    chances = np.exp(scores)
    return judge(truth, chances / chances.sum(axis=1, keepdims=True), names).summary


class ManyClassifier(HalvesClassifier):
    """Knows many classes, of which it only ever says the first."""

    def __init__(self, count: int) -> None:
        super().__init__(f"many-{count}")
        self.classes = [f"thing {index:03d}" for index in range(count)]
        counts = {"train": {name: 100 + index for index, name in enumerate(self.classes)}}
        self.description = {"version": "1", "metrics": summary(self.classes, 2.0), "dataset": {"counts": counts}}

    def predict_proba(self, images: Any) -> Any:
        """Return equal chances."""
        return np.full((len(images), len(self.classes)), 1 / len(self.classes), np.float32)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A service with a model of the registry (version 2 is worse) and one of many classes; its address and a token."""
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INKSIGHT_HOME", str(folder / "home"))
        opened = registry.open()
        for number, skill in enumerate((3.0, 1.0), 1):
            bundle = make_bundle(folder / str(number), "convnet", metrics=summary(CLASSES, skill))
            note = notes.write("retrained", parent="doodle:1", count=40) if number == 2 else "by Ada, with care"
            opened.register(bundle, "doodle", note=note)
        opened.promote("doodle", 1, force=True, note=notes.write("forced", parent="doodle:1"))
        opened.close()
        models: list[Any] = ["doodle", ManyClassifier(345), ManyClassifier(40)]
        app = create_app(ServeSettings(follow_seconds=0.2), models=models)
        with running(app) as url:
            app.state.services.storage.registry  # noqa: B018 - opens it here, in this workspace
            yield url + "/", app.state.services.tokens.add("alice", ["models"])


@pytest.fixture(scope="module")
def address(served: tuple[str, str]) -> str:
    return served[0]


def enter(page: Any, token: str) -> None:
    page.get_by_label("Admin token").fill(token)
    page.keyboard.press("Enter")
    expect(page.locator(".version-list li").first).to_be_visible()
    assert "null" not in page.locator(".versions").inner_text()


def test_the_record_of_a_model(visit: Callable[..., Any]) -> None:
    page = visit(path="#/models")
    expect(page.locator(".headline .word")).to_have_text("doodle")
    told = summary(CLASSES, 3.0)
    expect(page.locator(".shares dd").first).to_contain_text(f"{100 * told['accuracy']:.1f}%")
    assert page.locator(".shares dd").count() == 4
    matrix = page.locator(".matrix tbody tr").evaluate_all(
        "(rows) => rows.map((row) => [...row.querySelectorAll('td')].map((cell) => Number(cell.textContent)))"
    )
    assert matrix == told["confusion"]["matrix"]
    truth, answer, count = told["confusion"]["errors"][0]
    expect(page.locator(".errors li").first).to_have_text(
        f"{CLASSES[truth]} taken for {CLASSES[answer]}{count} of {sum(matrix[truth])}"
    )
    assert page.locator(".classes tbody tr").count() == len(CLASSES)
    expect(page.locator(".classes tbody th").first).to_have_text(told["worst_class"]["class"])
    expect(page.locator(".record")).to_contain_text("the stronger the colour, the more often")


def test_many_classes_stay_readable(visit: Callable[..., Any]) -> None:
    page = visit(path="#/models")
    press(page, "many-40")
    inked = """() => { const c = document.querySelector(".matrix-picture");
      return c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some((v, i) => i % 4 === 3 && v > 0); }"""
    expect(page.locator(".matrix-picture")).to_be_visible()
    page.reload()
    expect(page.locator(".headline .word")).to_have_text("many-40")
    expect(page.locator(".matrix-picture")).to_be_visible()
    page.wait_for_timeout(200)
    assert page.evaluate(inked)
    press(page, "many-345")
    expect(page.locator(".matrix-picture")).to_have_count(0)
    assert page.locator(".matrix").count() == 0
    assert page.locator(".errors li").count() == 10
    assert page.locator(".classes tbody tr").count() == 12
    expect(page.get_by_text("The smallest class has 100 pictures, the largest 444.")).to_be_visible()
    press(page, "Show all 345")
    assert page.locator(".classes tbody tr").count() == 345


def test_a_tab_shows_no_other_models_record_while_the_server_is_away(browser: Any, served: tuple[str, str]) -> None:
    page = browser.new_context(locale="en-GB").new_page()
    page.goto(served[0] + "#/models")
    enter(page, served[1])
    expect(page.locator(".matrix")).to_be_visible()
    page.route("**/v1/**", lambda route: route.abort())
    press(page, "many-40")
    expect(page.locator(".headline .word")).to_have_text("many-40")
    expect(page.locator(".record")).to_have_text("The server does not answer. Trying again …")
    assert page.locator(".matrix, .tally, .versions").count() == 0
    for name in ("doodle", "many-40", "doodle"):
        press(page, name)
        expect(page.locator(".headline .word")).to_have_text(name, timeout=500)
    page.unroute("**/v1/**")
    expect(page.locator(".matrix")).to_be_visible()
    expect(page.locator(".headline .word")).to_have_text("doodle")
    expect(page.locator(".version-list li").first).to_be_visible()
    page.context.close()


def test_what_the_program_noted_is_said_in_french(visit: Callable[..., Any], served: tuple[str, str]) -> None:
    page = visit(path="#/models", locale="fr-FR")
    page.locator(".gate input").fill(served[1])
    page.keyboard.press("Enter")
    # Not darker: at night it is the light ones.
    expect(page.locator(".record")).to_contain_text("plus la teinte est forte, plus c’est fréquent")
    versions = page.locator(".version-list .small-print")
    expect(versions.first).to_contain_text("réentraînée à partir de doodle:1, sur 40 corrections")
    expect(versions.last).to_contain_text("by Ada, with care")
    expect(page.locator(".moves li").last).to_contain_text("réentraînée à partir de doodle:1, malgré l’avis")


@pytest.mark.parametrize("language", ["en", "fr"])
def test_every_note_of_the_program_can_be_said(language: str) -> None:
    said = dict(re.findall(r'"notes\.(\w+)": "(.*)"', (WEB / "lang" / f"{language}.js").read_text(encoding="utf-8")))
    assert said.keys() == notes.TEMPLATES.keys()
    for code, template in notes.TEMPLATES.items():
        assert sorted(re.findall(r"{\w+}", said[code])) == sorted(re.findall(r"{\w+}", template))


def test_the_alias_is_chosen_by_keyboard(visit: Callable[..., Any], served: tuple[str, str]) -> None:
    page = visit(path="#/models")
    enter(page, served[1])
    page.get_by_label("Alias").focus()
    for key, chosen in (("ArrowDown", "candidate"), ("ArrowUp", "champion")):
        with page.expect_response("**/aliases"):
            page.keyboard.press(key)
        page.wait_for_timeout(300)
        expect(page.get_by_label("Alias")).to_have_value(chosen)
        expect(page.get_by_label("Alias")).to_be_focused()


def test_the_menu_and_back_lead_on_from_a_models_tab(visit: Callable[..., Any]) -> None:
    page = visit(path="#/models")
    word = page.locator(".headline .word")
    expect(word).to_have_text("doodle")
    place = page.evaluate("history.state.place")
    press(page, "many-40")
    expect(word).to_have_text("many-40")
    assert page.evaluate("history.state.place") == place, "it is the same entry of the tab's history"
    page.get_by_role("link", name="Models").click()
    expect(word).to_have_text("doodle")
    page.go_back()
    expect(word).to_have_text("many-40")


def test_an_address_that_is_mangled_shows_the_first_model(visit: Callable[..., Any]) -> None:
    page = visit(path="#/models/100%")
    expect(page.locator(".headline .word")).to_have_text("doodle")


def test_a_token_for_models_survives_a_look_at_the_reviews(browser: Any, served: tuple[str, str]) -> None:
    page = browser.new_context(locale="en-GB").new_page()
    page.goto(served[0] + "#/models")
    enter(page, served[1])
    page.get_by_role("link", name="Review").click()
    expect(page.get_by_role("alert")).to_contain_text("review")
    page.get_by_role("link", name="Models").click()
    expect(page.locator(".version-list li").first).to_be_visible()
    page.context.close()


def test_gates_refuse_force_and_roll_back(browser: Any, served: tuple[str, str]) -> None:
    page = browser.new_context(locale="en-GB").new_page()
    page.goto(served[0] + "#/models")
    page.get_by_label("Admin token").fill("ink_nonsense")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("This token is not valid here.")
    enter(page, served[1])
    expect(page.get_by_role("button", name="Roll back")).to_be_disabled()
    shown = page.locator(".version-list [aria-current=true] .which-one strong")
    expect(shown).to_have_text("Version 1")
    press(page, "Look at it: 2")
    expect(page.locator(".headline .overline")).to_have_text("Version 2 · does not answer now")
    expect(shown).to_have_text("Version 2")
    press(page, "Promote: 2")
    refused = page.locator(".judged.refused")
    expect(refused).to_contain_text("Version 2 does not become champion")
    expect(refused).to_be_focused()
    told = [summary(CLASSES, skill)["accuracy"] for skill in (1.0, 3.0)]
    expect(refused.locator("li").first).to_contain_text(
        f"{told[0]:.2%} right answers against {told[1]:.2%} of doodle:1"
    )
    press(page, "Promote all the same")
    expect(page.locator(".version-list li.now")).to_contain_text("Version 2")
    expect(page.locator(".headline .overline")).to_have_text("Version 2 · answers now")
    expect(page.locator(".moves li").first).to_contain_text("champion: 1 → 2, against the gates")
    press(page, "Roll back to version 1")
    expect(page.get_by_text("champion is doodle:1 now.")).to_be_focused()
    expect(page.locator(".version-list li.now")).to_contain_text("Version 1")
    expect(page.locator(".headline .overline")).to_have_text("Version 1 · answers now")
    expect(shown).to_have_text("Version 1")
    expect(page.get_by_role("button", name="Roll back")).to_be_disabled()
    page.context.close()


def test_a_refusal_is_told_in_the_readers_language(browser: Any, served: tuple[str, str]) -> None:
    page = browser.new_context(locale="fr-FR").new_page()
    page.goto(served[0] + "#/models")
    page.get_by_label("Jeton").fill(served[1])
    page.keyboard.press("Enter")
    press(page, "Promouvoir: 2")
    refused = page.locator(".judged.refused")
    expect(refused).to_contain_text("La version 2 ne devient pas champion")
    told = [f"{100 * summary(CLASSES, skill)['accuracy']:.2f}".replace(".", ",") for skill in (1.0, 3.0)]
    expect(refused.locator("li").first).to_contain_text(f"{told[0]}\u00a0% de réponses justes contre {told[1]}\u00a0%")
    said = refused.inner_text()
    assert not re.search(r"\b(accuracy|against|classes are|worse|allowed|promote)\b|\{|gates\.", said), said
    page.context.close()


@pytest.mark.parametrize("language", ["en", "fr"])
def test_every_reason_of_a_gate_has_its_words(language: str) -> None:
    texts = (WEB / "lang" / f"{language}.js").read_text()
    assert not [reason for reason in get_args(Reason) if f'"gates.{reason}": "' not in texts]


def test_a_model_from_a_folder_has_no_versions(visit: Callable[..., Any]) -> None:
    page = visit(path="#/models/many-40")
    expect(page.get_by_text("served from a folder, not from the registry")).to_be_visible()
    expect(page.get_by_label("Admin token")).to_have_count(0)
    press(page, "doodle")
    expect(page.get_by_label("Admin token")).to_be_visible()
    expect(page.get_by_text("served from a folder")).to_have_count(0)


LINES = """(cell, name) => {
  cell.textContent = name;
  const text = document.createRange();
  text.selectNodeContents(cell);
  return text.getClientRects().length;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [{"width": 1280, "height": 800}, PHONE, {"width": 320, "height": 568}])
def test_it_reads_well_everywhere(
    visit: Callable[..., Any], served: tuple[str, str], scheme: str, size: dict[str, Any], tmp_path: Path
) -> None:
    page = visit(path="#/models", color_scheme=scheme, **size)
    expect(page.locator(".matrix")).to_be_visible()
    assert page.evaluate(CONTRASTS) == []
    assert page.evaluate("document.documentElement.scrollWidth <= screen.width")
    enter(page, served[1])
    page.wait_for_timeout(300)
    assert page.evaluate(CONTRASTS) == []
    assert page.evaluate("document.documentElement.scrollWidth <= screen.width")
    page.screenshot(path=tmp_path / "models.png", full_page=True)
    for name in ("grenouille", "télécommande"):
        lines = page.locator(".classes tbody th").first.evaluate(LINES, name)
        assert lines == 1, "no word is broken in the middle"
    assert page.evaluate("document.documentElement.scrollWidth <= screen.width")
