"""Predictions over HTTP: the shapes in and out, and everything a client can get wrong."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from inksight import drawing
from inksight.registry.kept import image_of
from inksight.serving import create_app
from inksight.serving.inputs import StrokeInput
from inksight.serving.live import bring_up
from inksight.serving.pictures import is_simple, open_picture
from inksight.serving.predictor import run_batch
from inksight.settings import ServeSettings
from tests.serving.conftest import CLASSES, TALL_LEFT, HalvesClassifier, ready


def png(image: Image.Image, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def drawn_picture(size: int = 200) -> bytes:
    image = Image.new("L", (size, size), 255)
    ImageDraw.Draw(image).line([(20, 20), (20, 180), (180, 180)], fill=0, width=8)
    return png(image)


def data_url(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


def check_error(response: Any, status: int, code: str | None = None) -> dict[str, str]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert list(body) == ["error"]
    assert list(body["error"]) == ["code", "message", "hint"]
    assert body["error"]["message"]
    assert code is None or body["error"]["code"] == code
    return dict(body["error"])


def test_strokes_are_judged_as_the_renderer_draws_them(client: TestClient, classifier: HalvesClassifier) -> None:
    body = client.post("/v1/predict", json={"strokes": TALL_LEFT}).json()
    expected = classifier.predict_proba(drawing.render(drawing.simplify(TALL_LEFT))[None])[0]
    assert list(body) == ["id", "model", "predictions", "unsure", "ms"]
    assert body["model"] == {"name": "halves", "version": "1"}
    assert [p["label"] for p in body["predictions"]] == [CLASSES[i] for i in np.argsort(-expected)]
    assert [p["probability"] for p in body["predictions"]] == pytest.approx(sorted(expected, reverse=True), abs=1e-5)
    assert body["unsure"] is False
    assert body["ms"] > 0


@pytest.mark.parametrize("shape", [(56, 56), (28, 28, 3), (40, 48, 3)])
def test_drawings_take_the_shape_that_their_model_wants(shape: tuple[int, ...]) -> None:
    model = HalvesClassifier()
    model.image_shape = shape
    seen: list[Any] = []

    def predict_proba(images: Any) -> Any:
        assert images.shape[1:] == shape
        seen.append(images)
        return np.full((len(images), 4), 0.25, np.float32)

    model.predict_proba = predict_proba  # type: ignore[method-assign]
    picture = data_url(drawn_picture())
    with TestClient(create_app(ServeSettings(), models=[model])) as client:
        ready(client)
        bodies: list[dict[str, Any]] = [{"strokes": TALL_LEFT}, {"image": picture}]
        for body in (*bodies, {"strokes": []}):
            seen.clear()
            assert client.post("/v1/predict", json=body).status_code == 200
            assert bool(seen[0].any()) == (body in bodies)
        both = client.post("/v1/predict/batch", json={"inputs": bodies}).json()
        assert not [result for result in both["results"] if "error" in result]
        for body in bodies:
            assert client.post("/v1/explain", json=body).status_code == 200
    kept = image_of({"strokes": TALL_LEFT}, shape)
    [(shown, _)] = run_batch(bring_up(model), [StrokeInput(TALL_LEFT, 9, False)])
    assert np.array_equal(kept, shown), "what was kept is judged again as it was seen"


def test_canvas_size_and_place_do_not_matter(client: TestClient) -> None:
    moved = [[[x * 3.7 + 40 for x in xs], [y * 3.7 - 900 for y in ys]] for xs, ys in TALL_LEFT]
    ours, theirs = (client.post("/v1/predict", json={"strokes": s}).json() for s in (TALL_LEFT, moved))
    assert [p["probability"] for p in ours["predictions"]] == pytest.approx(
        [p["probability"] for p in theirs["predictions"]], abs=0.02
    )


def test_ids_are_unique_and_sort_by_time(client: TestClient) -> None:
    ids = [client.post("/v1/predict", json={"strokes": TALL_LEFT}).json()["id"] for _ in range(20)]
    assert len(set(ids)) == 20
    assert [i[:12] for i in ids] == sorted(i[:12] for i in ids)


@pytest.mark.parametrize(
    "strokes", [[], [[[], []]], [[[5], [5]]], [[[5, 6, 5], [5, 5, 7]]], [[[5, 5], [5, 5], [0, 9]]]]
)
def test_blank_and_dot_are_unsure(client: TestClient, strokes: Any) -> None:
    body = client.post("/v1/predict", json={"strokes": strokes}).json()
    assert body["unsure"] is True


@pytest.mark.parametrize("side", [1, 2.9])
def test_one_stroke_in_unit_coordinates_is_judged_as_in_any_others(client: TestClient, side: float) -> None:
    bracket = np.array([[200, 0, 0, 200], [0, 0, 255, 255]])
    large, small = (
        client.post("/v1/predict", json={"strokes": [(bracket * scale).tolist()]}).json() for scale in (1, side / 255)
    )
    assert small["predictions"] == large["predictions"]
    assert (small["unsure"], large["unsure"]) == (False, False)


def test_blank_picture_is_unsure(client: TestClient) -> None:
    blank = png(Image.new("L", (300, 200), 255))
    assert client.post("/v1/predict", json={"image": data_url(blank)}).json()["unsure"] is True


def test_a_picture_of_a_lone_dot_is_unsure_in_every_shape(classifier: HalvesClassifier) -> None:
    dots = []
    for size, radius in ((400, 8), (800, 12), (28, 2)):
        image = Image.new("L", (size, size), 255)
        ImageDraw.Draw(image).ellipse([size // 4 - radius] * 2 + [size // 4 + radius] * 2, fill=0)
        dots.append(png(image))
    answers = []
    with TestClient(create_app(ServeSettings(unsure_below=0.0), models=[classifier])) as client:
        ready(client)
        for dot in dots:
            answers.append(client.post("/v1/predict", json={"image": data_url(dot)}).json())
            answers.append(client.post("/v1/predict", files={"file": ("dot.png", dot)}).json())
        inputs = [{"image": data_url(dot)} for dot in dots]
        answers += client.post("/v1/predict/batch", json={"inputs": inputs}).json()["results"]
        files = [("file", ("dot.png", dot)) for dot in dots]
        answers += client.post("/v1/predict/batch", files=files).json()["results"]
        drawn = client.post("/v1/predict", json={"image": data_url(drawn_picture())}).json()
    assert [one["unsure"] for one in answers] == [True] * 12
    assert drawn["unsure"] is False


def test_top_limits_the_labels(client: TestClient) -> None:
    assert len(client.post("/v1/predict", json={"strokes": TALL_LEFT, "top": 2}).json()["predictions"]) == 2
    assert len(client.post("/v1/predict", json={"strokes": TALL_LEFT, "top": 999}).json()["predictions"]) == 4


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_pictures_in_every_way(client: TestClient, kind: str) -> None:
    data = png(Image.open(io.BytesIO(drawn_picture())), kind)
    by_json = client.post("/v1/predict", json={"image": data_url(data)})
    by_form = client.post("/v1/predict", files={"file": ("../../etc/passwd", data)}, data={"top": "2"})
    assert by_json.status_code == by_form.status_code == 200
    assert by_json.json()["predictions"][:2] == by_form.json()["predictions"]
    assert by_json.json()["predictions"][0]["label"] in ("left", "bottom")


def test_batch_answers_in_order_with_errors_in_place(client: TestClient) -> None:
    flipped = [[[255 - x for x in xs], ys] for xs, ys in TALL_LEFT]
    drawings = [TALL_LEFT, [[[1, 2], [3]]], flipped, []]
    inputs: list[dict[str, Any]] = [*({"strokes": strokes} for strokes in drawings), {"image": "%%%"}]
    body = client.post("/v1/predict/batch", json={"inputs": inputs, "top": 1}).json()
    results = body["results"]
    assert body["model"]["name"] == "halves"
    assert results[0]["predictions"][0]["label"] == "left"
    assert results[2]["predictions"][0]["label"] == "right"
    assert results[3]["unsure"] is True
    assert {results[i]["error"]["code"] for i in (1, 4)} == {"invalid_drawing"}


def test_batch_of_files(client: TestClient) -> None:
    files = [("file", ("a.png", drawn_picture())), ("file", ("b.png", b"broken"))]
    results = client.post("/v1/predict/batch", files=files).json()["results"]
    assert "predictions" in results[0]
    assert "error" in results[1]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"[]", 422),
        (b"null", 422),
        (b"{}", 422),
        (b"\xff\xfe", 422),
        (b"[" * 100_000, 422),
        (b'{"strokes": null}', 422),
        (b'{"strokes": "cat"}', 422),
        (b'{"strokes": {}}', 422),
        (b'{"strokes": [1, 2]}', 422),
        (b'{"strokes": [[[1, 2], [3]]]}', 422),
        (b'{"strokes": [[[1, null], [3, 4]]]}', 422),
        (b'{"strokes": [[["1", "2"], [3, 4]]]}', 422),
        (b'{"strokes": [[[1e400, 2], [3, 4]]]}', 422),
        (b'{"strokes": [[[NaN, 2], [3, 4]]]}', 422),
        (b'{"strokes": [[[1e12, 2], [3, 4]]]}', 422),
        (b'{"strokes": [[[[1], 2], [3, 4]]]}', 422),
        (b'{"image": 5}', 422),
        (b'{"image": ""}', 422),
        (b'{"image": "data:text/html;base64,aaaa"}', 422),
        (b'{"image": "data:image/png;base64,####"}', 422),
        (b'{"image": "file:///etc/passwd"}', 422),
        (b'{"image": "/etc/passwd"}', 422),
        (b'{"image": "http://127.0.0.1/"}', 422),
        (b'{"strokes": [], "image": "x"}', 422),
        (b'{"strokes": [], "top": 0}', 422),
        (b'{"strokes": [], "top": "x"}', 422),
        (b'{"strokes": [], "top": true}', 422),
        (b'{"strokes": [], "model": 7}', 422),
        (b'{"strokes": [], "model": "nope"}', 404),
    ],
)
def test_wrong_requests_get_the_one_error_shape(client: TestClient, body: bytes, status: int) -> None:
    check_error(client.post("/v1/predict", content=body, headers={"content-type": "application/json"}), status)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "image/png"])
def test_other_media_types_are_refused(client: TestClient, content_type: str) -> None:
    response = client.post("/v1/predict", content=b"{}", headers={"content-type": content_type})
    check_error(response, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=x", b"no boundary here"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--x--\r\n',
        ),
        ("multipart/form-data; boundary=x", b"--x\r\nnonsense"),
        ("multipart/form-data; boundary=", b"--\r\n"),
        ("multipart/form-data; boundary=\xff", b"--\r\n"),
    ],
)
def test_wrong_forms_get_the_one_error_shape(client: TestClient, content_type: str, body: bytes) -> None:
    response = client.post("/v1/predict", content=body, headers={b"content-type": content_type.encode("latin-1")})
    assert response.status_code in (400, 422)
    check_error(response, response.status_code)


@pytest.mark.parametrize("damage", ["cut", "garbled", "not a picture", "svg", "pdf", "empty"])
def test_broken_pictures_get_a_4xx(client: TestClient, damage: str) -> None:
    whole = drawn_picture()
    data = {
        "cut": whole[: len(whole) // 2],
        "garbled": whole[:60] + bytes(reversed(whole[60:])),
        "not a picture": b"GIF89a but not really",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"></svg>',
        "pdf": b"%PDF-1.7\n",
        "empty": b"",
    }[damage]
    check_error(client.post("/v1/predict", files={"file": ("x.png", data)}), 422, "invalid_drawing")


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def header(width: int, height: int) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))


def bomb(width: int, height: int, before: bytes = b"") -> bytes:
    """Return a PNG whose header claims a size, with pixels that compress a thousandfold behind it."""
    pixels = zlib.compress(bytes(1_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + before + header(width, height) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(6_000, 6_000), (30_000, 30_000), (2_000_000_000, 2), (60_000, 60_000)])
def test_bombs_are_refused_before_they_unpack(client: TestClient, size: tuple[int, int]) -> None:
    check_error(client.post("/v1/predict", files={"file": ("x.png", bomb(*size))}), 413, "too_large")


def test_only_small_drawings_are_read_in_the_event_loop() -> None:
    large = png(Image.new("L", (401, 400), 255))
    grain = Image.effect_noise((200, 200), 60)
    assert is_simple(drawn_picture())
    assert not any(is_simple(data) for data in (large, png(grain), png(grain, "JPEG"), bomb(60_000, 60_000), b""))


@pytest.mark.parametrize("before", [chunk(b"teSt", struct.pack(">II", 28, 28)), header(28, 28)], ids=["own", "twice"])
def test_a_large_picture_cannot_pass_for_a_small_one(before: bytes) -> None:
    disguised = bomb(900, 900, before)
    assert open_picture(disguised, max_pixels=10**6).size == (900, 900), "this is the size that is decoded"
    assert not is_simple(disguised)


def test_too_many_inputs_are_refused(client: TestClient) -> None:
    check_error(client.post("/v1/predict/batch", json={"inputs": [{"strokes": []}] * 257}), 413, "too_large")
    check_error(client.post("/v1/predict/batch", json={"inputs": []}), 422)


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["strokes", "image"]), inner, max_size=2)
    ),
    max_leaves=20,
)


@given(value=_json)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_strokes_get_an_answer_or_a_4xx(client: TestClient, value: Any) -> None:
    import json

    for body in ({"strokes": value}, {"image": value}, value):
        content = json.dumps(body).encode()
        response = client.post("/v1/predict", content=content, headers={"content-type": "application/json"})
        if response.status_code != 200:
            assert 400 <= response.status_code < 500
            check_error(response, response.status_code)


_points = st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=1, max_size=12)


@given(drawn=st.lists(_points, min_size=1, max_size=4))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_drawing_is_answered(client: TestClient, drawn: list[list[tuple[float, float]]]) -> None:
    strokes = [[[x for x, _ in points], [y for _, y in points]] for points in drawn]
    body = client.post("/v1/predict", json={"strokes": strokes}).json()
    assert sum(p["probability"] for p in body["predictions"]) == pytest.approx(1, abs=1e-3)
