"""Every route against its own OpenAPI description: whatever is sent, no 500, and one error shape (schemathesis)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from inksight.serving import create_app
from inksight.serving.tokens import SCOPES, Tokens
from tests.serving.conftest import HalvesClassifier, running

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]

schema = schemathesis.openapi.from_dict(create_app(models=[HalvesClassifier()]).openapi())


@pytest.fixture
def address() -> Iterator[str]:
    with running(create_app(models=[HalvesClassifier()])) as url:
        yield url


@pytest.fixture
def token() -> str:
    return Tokens().add("tester", list(SCOPES))


@schema.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_route_keeps_its_word(case: Any, address: str, token: str) -> None:
    response = case.call(base_url=address, headers={"Authorization": f"Bearer {token}"})
    case.validate_response(response, checks=CHECKS)
    if response.status_code >= 400 and case.method != "HEAD":
        error = response.json()
        assert list(error) == ["error"]
        assert list(error["error"]) == ["code", "message", "hint"]
