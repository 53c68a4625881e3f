"""Storage drills on a real S3 server: push, pull, damage, outages, restarts, two promoters at once."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inksight.errors import (
    BundleError,
    GateError,
    InksightError,
    MissingPartError,
    NotFoundError,
    UnavailableError,
    UsageError,
)
from inksight.registry import Registry
from inksight.registry import open as open_registry
from inksight.registry.artifacts import Artifacts, digest_of, table_of
from inksight.workspace import workspace
from tests.conftest import REPOSITORY
from tests.registry.checks import check
from tests.registry.conftest import Make
from tests.servers import PostgresServer, S3Server

pytestmark = pytest.mark.s3


@pytest.fixture
def remote(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """A registry whose artefacts lie in S3."""
    monkeypatch.setenv("INKSIGHT_ARTIFACTS", s3_root)
    store = open_registry(workspace())
    yield store
    store.close()


def test_push_pull_and_clean(remote: Registry, make: Make, tmp_path: Path) -> None:
    bundle = make()
    version = remote.register(bundle, "a")
    remote.register(make(), "a")
    remote.promote("a", 1)
    remote.pull(version, tmp_path / "out")
    for file in bundle.iterdir():
        assert (tmp_path / "out" / file.name).read_bytes() == file.read_bytes()
    assert remote.artifacts.exists(version.location)
    remote.promote("a", 2, force=True)
    remote.register(make(), "a")
    remote.register(make(), "a")
    remote.promote("a", 4, force=True)
    done = remote.clean(keep=1)
    assert [ref for ref, _ in done.removed] == ["a:3", "a:1"]
    assert not remote.artifacts.exists(version.location)


def test_large_files_are_uploaded_in_parts(remote: Registry, tmp_path: Path) -> None:
    """12 MB: beyond what one request of the client holds; read back and compared like all others."""
    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(bytes(range(256)) * (12 * 4096))
    files = table_of(folder, ["model.onnx"])
    remote.artifacts.put(folder, "models/large/1", files)
    back = tmp_path / "back"
    back.mkdir()
    remote.artifacts.get("models/large/1", files, back)
    assert digest_of(table_of(back, ["model.onnx"])) == digest_of(files)


def test_damage_in_the_bucket_is_noticed(remote: Registry, make: Make) -> None:
    import botocore.session

    version = remote.register(make(), "a")
    bucket, _, prefix = remote.artifacts.root.removeprefix("s3://").partition("/")
    client = botocore.session.get_session().create_client("s3")
    key = f"{prefix}/{version.location}/model.onnx"
    client.put_object(Bucket=bucket, Key=key, Body=b"another graph")
    with pytest.raises(BundleError, match="is damaged"):
        remote.resolve("a:1")
    client.delete_object(Bucket=bucket, Key=key)
    with pytest.raises(BundleError, match="is missing"):
        remote.resolve("a:1")
    client.close()


def test_a_restart_in_the_middle(remote: Registry, make: Make, s3_server: S3Server) -> None:
    """While the server is away everything says so and leaves no visible half; afterwards all is as before."""
    remote.register(make(), "a")
    s3_server.stop()
    try:
        with pytest.raises(UnavailableError, match="does not answer"):
            remote.register(make(), "a")
        with pytest.raises(UnavailableError, match="does not answer"):
            remote.resolve("a:1")
        assert [version.number for version in remote.versions("a")] == [1]
    finally:
        s3_server.start()
    assert remote.resolve("a:1").is_dir()
    assert remote.register(make(), "a").number == 2
    assert remote.clean(failed=True).uploads == 1


def test_the_server_stops_in_the_middle_of_an_upload(
    remote: Registry, make: Make, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The push fails and says so, nothing of it can be seen, and pushing again works once the server is back."""
    remote.register(make(), "a")
    whole = remote.artifacts._verify
    arrived: list[str] = []

    def stop_then(location: str, name: str, facts: Any) -> None:
        whole(location, name, facts)
        arrived.append(f"{location}/{name}")
        s3_server.stop()

    folder = make()
    with monkeypatch.context() as patch:
        patch.setattr(remote.artifacts, "_verify", stop_then)
        try:
            with pytest.raises(UnavailableError, match="does not answer"):
                remote.register(folder, "a")
        finally:
            s3_server.start()
    assert len(arrived) == 1, "the first of several files was there already"
    assert remote.artifacts.exists(arrived[0])
    assert [version.ref for version in remote.versions()] == ["a:1"]
    with pytest.raises(NotFoundError):
        remote.resolve("a:2")
    assert remote.register(folder, "a").ref == "a:2"
    assert remote.resolve("a:2").is_dir()
    assert remote.clean(failed=True).uploads == 1
    assert not remote.artifacts.exists(arrived[0])


def test_wrong_credentials_and_wrong_roots(s3_root: str, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    monkeypatch.setenv("INKSIGHT_ARTIFACTS", s3_root)
    store = open_registry(workspace())
    with pytest.raises(UnavailableError):
        store.register(make(), "a")
    store.close()
    with pytest.raises((UsageError, MissingPartError)):
        Artifacts("nonsense://x/y")


def test_two_promoters_at_once(remote: Registry, make: Make, postgres_server: PostgresServer) -> None:
    """On PostgreSQL and S3: whoever comes second is judged against what the first made champion."""
    place = replace(workspace(), database_url=postgres_server.new_database())
    stores = [open_registry(place) for _ in range(2)]
    for round_number in range(5):
        name = f"m{round_number}"
        for accuracy in (0.8, 0.9, 0.85):
            stores[0].register(make(accuracy=accuracy), name)
        stores[0].promote(name, 1)
        answers: list[str] = []
        gate = threading.Barrier(2)

        def one(store: Registry, number: int, name: str = name, answers: list[str] = answers) -> None:
            gate.wait()  # noqa: B023  (the threads end within the round)
            try:
                store.promote(name, number)
                answers.append(f"{number} promoted")
            except GateError as error:
                answers.append(f"{number} refused: {error.message}")

        threads = [threading.Thread(target=one, args=(store, n)) for store, n in zip(stores, (2, 3), strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # 0.90 always ends as champion; 0.85 is promoted only if it came first, else refused against 0.90.
        assert stores[0].find(f"{name}@champion").number == 2
        refused = [answer for answer in answers if "refused" in answer]
        assert len(answers) == 2
        assert all("3 refused" in answer and f"against 90.00% of {name}:2" in answer for answer in refused)
        check_chain = [move.previous for move in stores[0].history(name)][::-1]
        assert check_chain == ([None, 1] if refused else [None, 1, 3])
    for store in stores:
        store.close()


def test_the_command_line_uses_the_bucket(remote: Registry, make: Make, tmp_path: Path) -> None:
    for words in (["push", str(make()), "doodle"], ["promote", "doodle"], ["pull", "doodle", str(tmp_path / "out")]):
        done = subprocess.run(
            [sys.executable, "-m", "inksight", "models", *words], capture_output=True, text=True, cwd=REPOSITORY
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/model.json").exists()
    assert not (workspace().home / "artifacts").exists()


@pytest.mark.slow
def test_a_crowd_on_s3_and_postgres(
    remote: Registry, make: Make, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from tests.registry.test_crowd import start

    monkeypatch.setenv("INKSIGHT_DATABASE_URL", postgres_server.new_database())
    store = open_registry(workspace())
    store.register(make(), "m")
    crowd = [start(tmp_path, "act", "6", str(seed)) for seed in range(2)]
    for process in crowd:
        out, err = process.communicate(timeout=100)
        assert process.returncode == 0, err
        assert "register" in out
    check(store)
    for version in store.versions():
        assert store.resolve(version.ref).is_dir()
    store.close()


def test_every_storage_error_is_one_of_ours(remote: Registry) -> None:
    """A bucket that does not exist."""
    elsewhere = Artifacts("s3://no-such-bucket-here/x")
    with pytest.raises(InksightError):
        elsewhere.get("models/a/1", {"model.onnx": {"bytes": 1, "sha256": "0"}}, workspace().home)
