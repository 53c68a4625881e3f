"""Classify in a real browser: choosing, dropping, pasting and taking a picture; where the model looked."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from inksight.serving import create_app
from inksight.settings import ServeSettings
from tests.serving.conftest import HalvesClassifier, running
from tests.waiting import expect
from tests.web.test_draw import CONTRASTS, PHONE
from tests.web.test_pictionary import press

pytestmark = pytest.mark.browser
WHOLE_BROWSER = True


class ColoursClassifier:
    """Judges photos: the probabilities are the shares of red, green and blue."""

    kind = "photo"
    image_shape: tuple[int, ...] = (32, 32, 3)

    def __init__(self) -> None:
        self.name = "colours"
        self.classes = ["red", "green", "blue"]
        self.description: dict[str, Any] = {
            "version": "7",
            "name": self.name,
            "kind": self.kind,
            "preprocessing": {"input_shape": list(self.image_shape)},
        }

    def predict_proba(self, images: Any) -> npt.NDArray[np.float32]:
        """Return the colours' shares, sharpened."""
        shares = (np.asarray(images, np.float64).mean(axis=(1, 2)) + 1) ** 3
        answer: npt.NDArray[np.float32] = (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)
        return answer


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, Any]]:
    """A service with a model of drawings and one of photos."""
    app = create_app(ServeSettings(), models=[HalvesClassifier(), ColoursClassifier()])
    with running(app) as url:
        yield url + "/", app.state.services


@pytest.fixture(scope="module")
def address(served: tuple[str, Any]) -> str:
    return served[0]


def photo(width: int, height: int, colour: str, kind: str = "JPEG", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(stream, kind, **options)
    return stream.getvalue()


def chosen(page: Any, name: str, data: bytes, media_type: str = "image/jpeg") -> None:
    page.locator("input[type=file]").first.set_input_files({"name": name, "mimeType": media_type, "buffer": data})


def seen(page: Any, label: str) -> None:
    expect(page.locator(".verdict .word")).to_have_text(label)


def test_the_model_that_was_chosen_last_answers(visit: Callable[..., Any]) -> None:
    page = visit(path="#/classify")
    picker = page.locator("select")
    expect(picker).to_have_value("colours")
    held: list[Any] = []
    page.route("**/v1/models/halves", lambda route: held.append(route))
    picker.select_option("halves")
    while not held:
        page.wait_for_timeout(50)
    with page.expect_response("**/v1/models/colours"):
        picker.select_option("colours")
    with page.expect_response("**/v1/models/halves"):
        held[0].continue_()
    page.wait_for_timeout(200)
    with page.expect_request("**/v1/predict") as asked:
        chosen(page, "red.jpg", photo(100, 80, "red"))
    assert asked.value.post_data_json["model"] == "colours"


def test_a_photo_is_made_small_judged_and_explained(visit: Callable[..., Any]) -> None:
    page = visit(path="#/classify")
    # A picture is first of all for a model of photos.
    expect(page.locator("select")).to_have_value("colours")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    exif[0x010E] = "taken at home"
    big = photo(4000, 3000, "#20c040", exif=exif.tobytes())
    with page.expect_request("**/v1/predict") as asked:
        chosen(page, "lawn.jpg", big)
    seen(page, "green")
    body = asked.value.post_data_json
    data = base64.b64decode(body["image"].partition(",")[2])
    assert b"taken at home" not in data
    with Image.open(io.BytesIO(data)) as sent:
        assert sent.size == (768, 1024), "upright, and no side above 1024"
    assert body["model"] == "colours"
    expect(page.locator(".looked .stamp img")).to_be_visible()
    stamp = page.locator(".looked .stamp").bounding_box()
    assert stamp["width"] % 10 == stamp["height"] % 10 == 0, "whole holes on all sides"
    expect(page.locator(".looked figcaption")).to_contain_text("red is what spoke")
    expect(page.locator(".guesses li:not(.empty)")).to_have_count(2)
    with page.expect_response("**/v1/feedback") as told:
        press(page, "That’s right")
    assert told.value.status == 201


OLDER = """() => {
  const read = window.createImageBitmap;
  window.createImageBitmap = (source, options = {}) => {
    if (!["none", "flipY"].includes(options.imageOrientation ?? "none")) throw new TypeError("no such orientation");
    return read(source, options);
  };
}"""


def test_older_browsers_read_pictures_too(visit: Callable[..., Any]) -> None:
    """Safari 16 and Chrome before 112 know fewer ways to turn a picture, and refuse the others."""
    page = visit(path="#/classify")
    page.evaluate(OLDER)
    chosen(page, "red.jpg", photo(60, 60, "red"))
    seen(page, "red")


def test_another_model_judges_the_same_picture(visit: Callable[..., Any]) -> None:
    page = visit(path="#/classify")
    picture = np.full((300, 300, 3), 255, np.uint8)
    picture[40:260, 40:60] = 0
    picture[140:160, 40:260] = 0
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    chosen(page, "drawing.png", stream.getvalue(), "image/png")
    expect(page.locator(".classify:not(.waiting)")).to_be_visible()
    page.locator("select").select_option("halves")
    seen(page, "left")
    expect(page.locator(".looked .stamp img")).to_be_visible()


def test_dropping_and_pasting(visit: Callable[..., Any]) -> None:
    page = visit(path="#/classify")
    script = """([kind, colour]) => {
      const canvas = Object.assign(document.createElement("canvas"), { width: 50, height: 50 });
      const context = canvas.getContext("2d");
      context.fillStyle = colour;
      context.fillRect(0, 0, 50, 50);
      return new Promise((done) => canvas.toBlob((blob) => {
        const data = new DataTransfer();
        data.items.add(new File([blob], "a.png", { type: "image/png" }));
        const event = kind === "drop" ? new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true })
          : new ClipboardEvent(kind, { clipboardData: data, bubbles: true });
        document.body.dispatchEvent(event);
        done(null);
      }));
    }"""
    page.evaluate(script, ["drop", "#0000ff"])
    seen(page, "blue")
    page.evaluate(script, ["paste", "#ff0000"])
    seen(page, "red")


@pytest.mark.parametrize(
    ("name", "data", "media_type", "told"),
    [
        ("notes.txt", b"hello", "text/plain", "notes.txt is not a picture."),
        ("torn.jpg", photo(60, 60, "red")[:100], "image/jpeg", "torn.jpg cannot be read as a picture."),
        ("empty.png", b"", "image/png", "empty.png cannot be read as a picture."),
    ],
)
def test_wrong_files_are_told(visit: Callable[..., Any], name: str, data: bytes, media_type: str, told: str) -> None:
    page = visit(path="#/classify")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "predict" in request.url else None)
    chosen(page, name, data, media_type)
    expect(page.locator(".notice")).to_contain_text(told)
    assert asked == []
    chosen(page, "good.jpg", photo(60, 60, "red"))
    seen(page, "red")


def test_the_camera_takes_a_picture(visit: Callable[..., Any]) -> None:
    page = visit(path="#/classify", permissions=["camera"])
    press(page, "Camera")
    expect(page.locator("video")).to_be_visible()
    page.wait_for_timeout(300)
    press(page, "Take the picture")
    expect(page.locator(".classify:not(.waiting)")).to_be_visible()
    # Chromium's made-up camera shows a green picture.
    seen(page, "green")
    assert page.evaluate("document.querySelector('video').srcObject") is None, "the camera is off again"
    press(page, "Camera")
    expect(page.locator("video")).to_be_visible()
    choosers: list[Any] = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))
    press(page, "Cancel")
    expect(page.locator("video")).to_be_hidden()
    expect(page.get_by_role("button", name="Camera", exact=True)).to_be_focused()
    page.wait_for_timeout(200)
    assert choosers == []


def test_a_wrong_file_closes_the_camera(visit: Callable[..., Any]) -> None:
    page = visit(path="#/classify", permissions=["camera"])
    press(page, "Camera")
    expect(page.locator("video")).to_be_visible()
    chosen(page, "letter.pdf", b"%PDF-1.4", "application/pdf")
    expect(page.locator(".notice")).to_contain_text("letter.pdf is not a picture.")
    expect(page.locator("video")).to_be_hidden()
    expect(page.get_by_role("button", name="Take the picture")).to_be_hidden()
    expect(page.locator(".classify.blank")).to_be_visible()


def test_a_refused_camera_is_told_kindly(visit: Callable[..., Any]) -> None:
    page = visit(path="#/classify")
    press(page, "Camera")
    expect(page.locator(".notice")).to_contain_text("All right, no camera.")
    expect(page.get_by_role("button", name="Camera", exact=True)).to_be_enabled()
    expect(page.get_by_role("button", name="Camera", exact=True)).to_be_focused()


def test_a_model_too_slow_to_explain_says_so(browser: Any, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from inksight.serving.routes import explain as explain_routes

    monkeypatch.setattr(explain_routes, "SLOWEST", 0.0)
    page = browser.new_context(locale="en-GB").new_page()
    page.goto(address + "#/classify")
    chosen(page, "a.jpg", photo(60, 60, "blue"))
    seen(page, "blue")
    expect(page.locator(".looked figcaption")).to_contain_text("too slow")
    expect(page.locator(".looked .stamp")).to_be_hidden()
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [{"width": 1280, "height": 800}, PHONE, {"width": 320, "height": 568}])
def test_it_reads_well_everywhere(visit: Callable[..., Any], scheme: str, size: dict[str, Any], tmp_path: Path) -> None:
    page = visit(path="#/classify", color_scheme=scheme, locale="fr-FR", **size)

    def check() -> None:
        page.wait_for_timeout(350)
        assert page.evaluate(CONTRASTS) == []
        assert page.evaluate("document.documentElement.scrollWidth <= screen.width")

    check()
    chosen(page, "a.jpg", photo(600, 400, "blue"))
    seen(page, "blue")
    expect(page.locator(".looked .stamp img")).to_be_visible()
    check()
