"""Every route against its own OpenAPI description: whatever is sent, no 500, and one error shape (schemathesis)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
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
ROUTES = {found.ok().label: found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)}


@pytest.fixture
def address() -> Iterator[str]:
    with running(create_app(models=[HalvesClassifier()])) as url:
        yield url


@pytest.fixture
def token() -> str:
    return Tokens().add("tester", list(SCOPES))


@pytest.mark.parametrize("route", sorted(ROUTES))
def test_every_route_keeps_its_word(route: str, address: str, token: str) -> None:
    # Not schema.parametrize(): its tests all share one id, and pytest-xdist runs only one of them.
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=ROUTES[route].as_strategy())
    def ask(case: Any) -> None:
        response = case.call(base_url=address, headers={"Authorization": f"Bearer {token}"})
        case.validate_response(response, checks=CHECKS)
        if response.status_code >= 400 and case.method != "HEAD":
            error = response.json()
            assert list(error) == ["error"]
            assert list(error["error"]) == ["code", "message", "hint"]

    ask()
