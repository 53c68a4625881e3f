"""The service on PostgreSQL and S3: it starts from there, goes on through outages of both, and follows aliases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from inksight.registry import open as open_registry
from inksight.workspace import workspace
from tests.bundle.conftest import make_bundle as make_real_bundle
from tests.servers import PostgresServer, S3Server
from tests.serving.test_process import serve
from tests.waiting import wait_for

pytestmark = [pytest.mark.s3, pytest.mark.postgres, pytest.mark.slow]

DRAWING = {"strokes": [[[20, 200, 110, 20], [200, 200, 40, 200]]]}


def ask(address: str) -> dict[str, Any]:
    answer = httpx.post(f"{address}/v1/predict", json=DRAWING, timeout=20)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["model"]
    return found


def wait_for_version(address: str, version: str) -> None:
    wait_for(lambda: ask(address)["version"] == version, f"version {version} live")


def test_it_starts_from_s3_and_outlives_both_servers(
    s3_server: S3Server,
    s3_root: str,
    postgres_server: PostgresServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("INKSIGHT_ARTIFACTS", s3_root)
    monkeypatch.setenv("INKSIGHT_DATABASE_URL", postgres_server.new_database())
    store = open_registry(workspace())
    for index in range(2):
        store.register(make_real_bundle(tmp_path / f"real-{index}"), "doodle")
    store.promote("doodle", 1)
    with serve("doodle@champion") as service:
        assert ask(service.address) == {"name": "doodle", "version": "1"}
        assert [ref for ref, _ in store.clean(keep=1).removed] == []  # what is served stays
        s3_server.stop()
        postgres_server.stop("immediate")
        try:
            for _ in range(20):
                assert ask(service.address)["version"] == "1"
        finally:
            postgres_server.start()
            s3_server.start()
        store.promote("doodle", 2, force=True)
        wait_for_version(service.address, "2")
        store.rollback("doodle")
        wait_for_version(service.address, "1")
    store.close()
