"""README.md names only addresses that the service has."""

from __future__ import annotations

import re

from fastapi.testclient import TestClient

from inksight.serving import create_app
from tests.docs.documents import REPOSITORY


def test_every_address_is_there() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    addresses = re.findall(r"`(?:[A-Z]+ )?(/[\w/.]*)`", text)
    assert {"/", "/v1/predict", "/metrics"} <= set(addresses)
    client = TestClient(create_app())
    assert [address for address in addresses if client.get(address).status_code == 404] == []
