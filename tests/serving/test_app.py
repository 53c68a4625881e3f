"""Everything around predictions: routes, error shape, limits, headers, readiness, metrics."""

from __future__ import annotations

import errno
import http.client
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from inksight.errors import UsageError
from inksight.serving import create_app, serve
from inksight.settings import ServeSettings
from tests.serving.conftest import CLASSES, TALL_LEFT, HalvesClassifier, ready, running
from tests.serving.test_predict import check_error, drawn_picture
from tests.waiting import wait_for


def test_models_and_classes(client: TestClient) -> None:
    [summary] = client.get("/v1/models").json()["models"]
    assert (summary["name"], summary["version"], summary["default"], summary["classes"]) == ("halves", "1", True, 4)
    detail = client.get("/v1/models/halves").json()
    assert detail["labels"] == CLASSES
    assert detail["metrics"] == {"accuracy": 1.0}
    assert client.get("/v1/classes").json() == {"model": {"name": "halves", "version": "1"}, "classes": CLASSES}
    error = check_error(client.get("/v1/models/halvs"), 404, "not_found")
    assert "halves" in error["hint"]
    check_error(client.get("/v1/classes", params={"model": "nope"}), 404)


def test_several_models_answer_by_name() -> None:
    models = [HalvesClassifier("one"), HalvesClassifier("two", version="7")]
    with TestClient(create_app(models=models)) as client:
        ready(client)
        default = client.post("/v1/predict", json={"strokes": TALL_LEFT}).json()
        second = client.post("/v1/predict", json={"strokes": TALL_LEFT, "model": "two"}).json()
    assert default["model"] == {"name": "one", "version": "1"}
    assert second["model"] == {"name": "two", "version": "7"}


@pytest.mark.parametrize("route", ["/v1/predict", "/v1/predict/batch"])
@pytest.mark.parametrize("form", [False, True])
def test_the_address_may_say_which_model_and_how_many_labels(route: str, form: bool) -> None:
    batch = route.endswith("batch")

    def ask(address: str, **fields: Any) -> Any:
        if form:
            return client.post(address, files={"file": ("a.png", drawn_picture())}, data=fields)
        drawing = {"strokes": TALL_LEFT}
        return client.post(address, json={**({"inputs": [drawing]} if batch else drawing), **fields})

    with TestClient(create_app(models=[HalvesClassifier("one"), HalvesClassifier("two")])) as client:
        ready(client)
        for given, fields, model, top in (
            ("", {}, "one", 4),
            ("?model=two", {}, "two", 4),
            ("?model=two&top=2", {"model": "two"}, "two", 2),
            ("?top=3", {"model": "two", "top": 3}, "two", 3),
            ("?model=", {"model": "two"}, "two", 4),
        ):
            body = ask(route + given, **fields).json()
            [answer] = body["results"] if batch else [body]
            assert (body["model"]["name"], len(answer["predictions"])) == (model, top), given
        assert "one, two" in check_error(ask(f"{route}?model=xyz"), 404, "not_found")["hint"]
        assert "'one'" in check_error(ask(f"{route}?model=one", model="two"), 422, "invalid")["message"]
        check_error(ask(f"{route}?model=one&model=two"), 422, "invalid")
        check_error(ask(f"{route}?top=0"), 422, "invalid")
        assert "model, top" in check_error(ask(f"{route}?modle=two"), 422, "invalid")["hint"]


def test_unknown_routes_and_methods(client: TestClient) -> None:
    check_error(client.get("/nope"), 404, "not_found")
    check_error(client.post("/nope"), 404, "not_found")
    check_error(client.get("/v1/predict/"), 404, "not_found")
    check_error(client.get("/web/../../settings.py"), 404)
    check_error(client.get("/web/%2e%2e/%2e%2e/settings.py"), 404)
    error = check_error(client.put("/v1/predict"), 405, "method_not_allowed")
    assert "POST" in error["hint"]
    assert client.put("/v1/predict").headers["allow"] == "POST"


def test_a_bug_is_a_500_in_the_one_shape(caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(models=[HalvesClassifier()])

    @app.get("/bug")
    async def bug() -> None:
        raise RuntimeError("secret detail")

    with TestClient(app) as client:
        response = client.get("/bug")
    error = check_error(response, 500, "internal")
    assert "secret" not in response.text
    assert response.headers["x-request-id"] in error["hint"]
    [record] = [record for record in caplog.records if record.message == "unhandled error"]
    assert record.exc_info is not None


@pytest.mark.parametrize("path", ["/", "/v1/health/live", "/v1/health/ready", "/health", "/metrics", "/nope"])
def test_what_can_be_had_has_a_head(client: TestClient, path: str) -> None:
    head, whole = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (whole.status_code, b"")
    assert head.headers["content-type"] == whole.headers["content-type"]
    assert client.head("/v1/predict").headers["allow"] == "POST"


def test_heads_have_no_body_on_the_wire() -> None:
    with running(create_app(models=[HalvesClassifier()])) as address:
        with closing(http.client.HTTPConnection(address.removeprefix("http://"))) as connection:
            for _ in range(2):  # a body would be taken for the next answer
                connection.request("HEAD", "/v1/health/ready")
                answer = connection.getresponse()
                assert (answer.status, answer.read()) == (200, b"")
        counts = httpx.get(f"{address}/metrics").text
    assert re.search(r'inksight_requests_total\{.*method="HEAD".*\} 2.0', counts)


def test_request_ids(client: TestClient) -> None:
    given = client.get("/v1/health/live", headers={"x-request-id": "abc-123"})
    assert given.headers["x-request-id"] == "abc-123"
    for hostile in ("a b", "x" * 65, 'a"b', ""):
        made = client.get("/v1/health/live", headers={"x-request-id": hostile}).headers["x-request-id"]
        assert re.fullmatch("[0-9a-f]{16}", made)


def test_security_headers_are_everywhere(client: TestClient) -> None:
    for response in (client.get("/"), client.get("/nope"), client.post("/v1/predict", json={"strokes": TALL_LEFT})):
        assert response.headers["x-content-type-options"] == "nosniff"
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "access-control-allow-origin" not in response.headers


def test_page_and_assets(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    for path in re.findall(r'(?:src|href)="(web/[^"]+)"', page.text):
        response = client.get(f"/{path}")
        assert response.status_code == 200, path
        again = client.get(f"/{path}", headers={"if-none-match": response.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert "<script>" not in page.text
    assert " style=" not in page.text
    assert "http://" not in page.text.replace("http://www.w3.org/", "")


@pytest.fixture
def small() -> Iterator[TestClient]:
    settings = ServeSettings(max_body_bytes=5_000)
    with TestClient(create_app(settings, models=[HalvesClassifier()])) as client:
        yield ready(client)


@pytest.mark.parametrize("path", ["/v1/predict", "/v1/predict/batch", "/nope", "/v1/models"])
def test_declared_length_over_the_limit(small: TestClient, path: str) -> None:
    check_error(small.post(path, content=b"x" * 5_001), 413, "too_large")


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data; boundary=x"])
def test_undeclared_length_is_counted_while_streaming(small: TestClient, content_type: str) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(1_000):
            sent += 1_000
            yield b"x" * 1_000

    response = small.post("/v1/predict", content=endless(), headers={"content-type": content_type})
    check_error(response, 413, "too_large")


def test_a_body_of_the_limit_passes(small: TestClient) -> None:
    body = b'{"strokes": []' + b" " * (5_000 - 15) + b"}"
    assert len(body) == 5_000
    assert small.post("/v1/predict", content=body, headers={"content-type": "application/json"}).status_code == 200


def test_not_ready_until_the_self_test_passed() -> None:
    class Slow(HalvesClassifier):
        slow = True

        def predict_proba(self, images):  # type: ignore[no-untyped-def]
            while self.slow:
                pass
            return super().predict_proba(images)

    model = Slow()
    with TestClient(create_app(models=[model])) as client:
        assert client.get("/v1/health/live").json() == {"status": "ok"}
        check_error(client.get("/v1/health/ready"), 503, "not_ready")
        response = client.post("/v1/predict", json={"strokes": TALL_LEFT})
        check_error(response, 503, "not_ready")
        assert response.headers["retry-after"] == "1"
        model.slow = False
        assert ready(client).get("/v1/health/ready").json()["models"] == [{"name": "halves", "version": "1"}]


@pytest.mark.parametrize("fault", ["nan", "not a distribution", "wrong shape", "raises", "moody"])
def test_a_model_that_fails_its_self_test_never_goes_live(fault: str) -> None:
    class Faulty(HalvesClassifier):
        def predict_proba(self, images):  # type: ignore[no-untyped-def]
            answer = super().predict_proba(images)
            if fault == "nan":
                answer[0, 0] = float("nan")
            elif fault == "not a distribution":
                answer *= 2
            elif fault == "wrong shape":
                answer = answer[:, :3]
            elif fault == "raises":
                raise ValueError("no")
            elif len(images) == 1:
                answer = answer[:, ::-1]
            return answer

    with TestClient(create_app(models=[Faulty()])) as client:
        for _ in range(200):
            response = client.get("/v1/health/ready")
            if "self-test" in response.text:
                break
        check_error(response, 503, "not_ready")
        assert "self-test" in response.json()["error"]["message"]
        check_error(client.post("/v1/predict", json={"strokes": TALL_LEFT}), 503)


def test_metrics_count_what_happened(client: TestClient) -> None:
    for _ in range(3):
        client.post("/v1/predict", json={"strokes": TALL_LEFT})
    client.post("/v1/predict", json={"strokes": []})
    client.post("/v1/predict", json={})
    for number in range(20):
        client.get(f"/unknown/{number}")
        client.get(f"/web/unknown{number}")
    text = client.get("/metrics").text
    assert 'inksight_predictions_total{input="strokes",model="halves",unsure="false",version="1"} 3.0' in text
    assert 'inksight_predictions_total{input="strokes",model="halves",unsure="true",version="1"} 1.0' in text
    assert 'inksight_requests_total{method="POST",route="/v1/predict",status="422"} 1.0' in text
    assert 'route="other",status="404"} 20.0' in text
    assert "unknown" not in text
    assert 'inksight_model_live{model="halves",version="1"} 1.0' in text


def test_openapi_describes_every_route(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    app = client.app
    assert isinstance(app, FastAPI)
    assert {"/v1/predict", "/v1/predict/batch", "/v1/models", "/v1/models/{name}", "/v1/classes", "/metrics"} <= set(
        document["paths"]
    )
    body = document["paths"]["/v1/predict"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "multipart/form-data"}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], (path, method)
            assert "4XX" in operation["responses"], (path, method)


def test_every_route_is_documented(client: TestClient) -> None:
    text = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"/[\w/{}]+", text))
    assert set(client.get("/openapi.json").json()["paths"]) <= documented


def test_where_the_database_is_concerns_no_visitor(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("INKSIGHT_DATABASE_URL", "postgresql+psycopg://ada@127.0.0.1:1/vault")
    with TestClient(create_app(models=[HalvesClassifier()])) as client:
        refused = ready(client).post("/v1/games", json={"game": "pictionary"})
    assert check_error(refused, 503, "unavailable")["message"].endswith("does not answer")
    assert not {"ada", "127.0.0.1", "vault"} & set(re.findall(r"[\w.]+", refused.text))
    assert "vault" in str([record.__dict__.get("fields") for record in caplog.records])


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/cache"), "/cache: no space left"),
        (OSError("nothing more is known"), "OSError: nothing more is known"),
        (RuntimeError("a slip in the code"), "RuntimeError: a slip in the code"),
    ],
)
def test_whatever_stops_the_loading_of_a_model_is_told(
    monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    def load(*_: Any) -> None:
        raise error

    monkeypatch.setattr("inksight.serving.services.load_model", load)
    app = create_app(models=["doodle"])
    failures: list[Any] = []
    app.state.services.on_loaded = failures.append
    with TestClient(app) as client:
        wait_for(lambda: failures)
        assert told in check_error(client.get("/v1/health/ready"), 503, "not_ready")["message"]
    assert told in failures[0].message


PASSWORD = "hunter2"
WRONG_URLS = [
    f"postgresql+psycopg2://ada:{PASSWORD}@127.0.0.1/vault",
    f"postgresql://ada:{PASSWORD}@127.0.0.1:port/vault",
    f"ada:{PASSWORD}@127.0.0.1/vault",
]


@pytest.mark.parametrize("url", WRONG_URLS)
def test_the_database_password_is_told_to_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, url: str
) -> None:
    monkeypatch.setenv("INKSIGHT_DATABASE_URL", url)
    with TestClient(create_app(models=[HalvesClassifier()])) as client:
        ready(client)
        client.post("/v1/predict", json={"strokes": TALL_LEFT})
        answers = [
            client.get("/v1/leaderboard", params={"game": "pictionary"}),
            client.post("/v1/feedback", json={"prediction_id": "unknown", "correct": True}),
        ]
    for answer in answers:
        check_error(answer, 503, "unavailable")
        assert PASSWORD not in answer.text
    logged = str([(record.getMessage(), record.__dict__.get("fields")) for record in caplog.records])
    assert "predictions" in logged
    assert PASSWORD not in logged
    with pytest.raises(UsageError, match="INKSIGHT_DATABASE_URL") as caught:
        serve(["doodles"], ServeSettings(port=0))
    assert PASSWORD not in caught.value.message + caught.value.hint


def test_why_a_service_is_not_ready_does_not_say_where_its_database_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INKSIGHT_DATABASE_URL", "postgresql+psycopg://ada@127.0.0.1:1/vault")
    with TestClient(create_app(models=["doodle"])) as client:
        told = wait_for(lambda: "not ready: the database" in (r := client.get("/v1/health/ready")).text and r)
    assert check_error(told, 503, "not_ready")["message"].endswith("does not answer")
    assert not {"ada", "127.0.0.1", "vault"} & set(re.findall(r"[\w.]+", told.text))
