"""`inksight serve` as a process: address, errors, several workers with one set of counts, a graceful end."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from inksight.serving.run import _listen, address_of
from inksight.settings import ServeSettings
from tests.serving.conftest import TALL_LEFT
from tests.serving.test_admin import real_bundle  # noqa: F401
from tests.waiting import alive, wait_for


class Service:
    """A running `inksight serve` and everything it has printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.address = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            found = re.search(r"http://[\d.]+:\d+", line)
            if found and not self.address:
                self.address = found[0]

    def end(self, sent: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end and return its exit code."""
        self.process.send_signal(sent)
        code = self.process.wait(timeout=30)
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


@contextmanager
def serve(*arguments: str) -> Iterator[Service]:
    command = [sys.executable, "-m", "inksight", "serve", *arguments, "--port", "0"]
    folder = tempfile.TemporaryDirectory()  # one that is killed leaves its temporary files behind
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": folder.name}
    service = Service(
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True)
    )
    try:
        wait_for(lambda: service.address or service.process.poll() is not None)
        deadline = time.monotonic() + 60
        while not _ready(service):
            assert service.process.poll() is None, "".join(service.lines)
            assert time.monotonic() < deadline, "".join(service.lines)
            time.sleep(0.1)
        yield service
    finally:
        # The whole group: workers of a killed parent would hold the pipe open.
        with suppress(ProcessLookupError):
            os.killpg(service.process.pid, signal.SIGKILL)
        service.end(signal.SIGKILL)
        folder.cleanup()


def _ready(service: Service) -> bool:
    try:
        return httpx.get(f"{service.address}/v1/health/ready", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ends_gracefully_and_logs_json(real_bundle: Path, sent: signal.Signals) -> None:  # noqa: F811
    codes: list[int] = []
    with serve(str(real_bundle), "--access-log", "--batch-size", "1") as service:

        def ask_on() -> None:
            with httpx.Client(base_url=service.address, timeout=20) as client:
                try:
                    while True:
                        codes.append(client.post("/v1/predict", json={"strokes": TALL_LEFT}).status_code)
                except httpx.ConnectError:
                    return
                except httpx.TransportError as error:
                    # An idle connection may be closed under a client; an answer may not be cut off.
                    if "disconnected" not in str(error) and "reset" not in str(error):
                        codes.append(0)

        threads = [threading.Thread(target=ask_on) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(1)
        started = time.monotonic()
        code = service.end(sent)
        assert time.monotonic() - started < 8
        for thread in threads:
            thread.join()
    assert set(codes) == {200}
    assert code in (0, -sent, 128 + sent, 130)
    logged = [json.loads(line) for line in service.lines if line.startswith("{")]
    requests = [line for line in logged if line["event"] == "request"]
    assert requests
    assert {"time", "level", "request_id", "method", "path", "status", "ms", "client"} <= set(requests[-1])


def test_a_body_that_is_under_way_is_answered_at_shutdown(real_bundle: Path) -> None:  # noqa: F811
    import socket

    with serve(str(real_bundle)) as service:
        host, port = service.address.removeprefix("http://").split(":")
        body = json.dumps({"strokes": TALL_LEFT}).encode()
        head = f"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head.encode() + b"\r\n\r\n" + body[:10])
            time.sleep(0.3)
            service.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            connection.sendall(body[10:])
            connection.settimeout(10)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        service.process.wait(timeout=20)


def keep_asking(address: str, enough: Callable[[http.client.HTTPResponse], bool]) -> Iterator[object]:
    """Yield the status of one prediction after the other on a kept connection; last of all an error that ends it."""
    body = json.dumps({"strokes": TALL_LEFT})
    with closing(http.client.HTTPConnection(address, timeout=30)) as connection:
        try:
            while True:
                connection.request("POST", "/v1/predict", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                yield answer.status
                if enough(answer):
                    return
                time.sleep(0.01)
        except (OSError, http.client.HTTPException) as error:
            yield error


@pytest.mark.parametrize("workers", ["1", "2"])
def test_clients_that_keep_their_connections_are_told_to_leave(real_bundle: Path, workers: str) -> None:  # noqa: F811
    ends: list[object] = []

    def ask(address: str) -> None:
        *_, end = keep_asking(address, lambda answer: answer.getheader("connection") == "close")
        ends.append(end)

    with serve(str(real_bundle), "--workers", workers) as service:
        address = service.address.removeprefix("http://")
        clients = [threading.Thread(target=ask, args=(address,)) for _ in range(8)]
        for client in clients:
            client.start()
        time.sleep(1)
        assert not ends
        assert service.end() in (0, -15, 143)
        for client in clients:
            client.join()
    assert ends == [200] * 8


def test_workers_are_replaced_without_a_failed_request(real_bundle: Path) -> None:  # noqa: F811
    statuses: list[object] = []
    replaced = threading.Event()

    def ask(address: str) -> None:
        statuses.extend(keep_asking(address, lambda answer: replaced.is_set()))

    with serve(str(real_bundle), "--workers", "2") as service:

        def until(started: int, stopped: int) -> None:
            deadline = time.monotonic() + 90
            events = ("Application startup complete", "Finished server process")
            while tuple("".join(service.lines).count(event) for event in events) != (started, stopped):
                assert time.monotonic() < deadline, "".join(service.lines)
                time.sleep(0.1)

        until(2, 0)
        address = service.address.removeprefix("http://")
        clients = [threading.Thread(target=ask, args=(address,)) for _ in range(4)]
        for client in clients:
            client.start()
        service.process.send_signal(signal.SIGHUP)
        until(4, 2)
        replaced.set()
        for client in clients:
            client.join()
    assert len(statuses) > 100
    assert set(statuses) == {200}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux deals connections to several sockets at a port")
def test_every_worker_gets_connections_that_come_together(real_bundle: Path) -> None:  # noqa: F811
    with serve(str(real_bundle), "--workers", "2") as service:
        host, port = service.address.removeprefix("http://").split(":")

        def connections() -> list[int]:
            children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text().split()
            established = _established(int(port))
            return sorted(len(established & _sockets(child)) for child in children)[-2:]

        wait_for(lambda: "\n".join(service.lines).count("Application startup complete") == 2)
        for _ in range(4):  # what half the time went to one worker must not do so even once
            together = [socket.create_connection((host, int(port))) for _ in range(32)]
            try:
                wait_for(lambda: sum(connections()) == 32)
                assert min(connections()) >= 3, connections()
            finally:
                for connection in together:
                    connection.close()
            wait_for(lambda: not any(connections()))
        command = [sys.executable, "-m", "inksight", "serve", str(real_bundle), "--port", port, "--workers", "2"]
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == 2
        assert "cannot be used" in second.stderr


def _established(port: int) -> set[str]:
    """The sockets of this machine's connections to a port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "01"}


def _sockets(process: str) -> set[str]:
    found = set()
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found.add(os.readlink(descriptor))
    return found


def workers_of(service: Service) -> list[int]:
    """Return the processes that answer for a service."""
    children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text().split()
    return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_can_be_started_again_at_once(real_bundle: Path, workers: str) -> None:  # noqa: F811
    with serve(str(real_bundle), "--workers", workers) as service, ExitStack() as open_connections:
        for _ in range(8):  # the service is the one that closes them
            client = open_connections.enter_context(httpx.Client())
            assert client.get(f"{service.address}/v1/health/live").status_code == 200
        assert service.end() in (0, -15, 143)
        port = int(service.address.rsplit(":", 1)[1])
        _listen(ServeSettings(port=port)).close()


def test_workers_share_their_counts(real_bundle: Path) -> None:  # noqa: F811
    with serve(str(real_bundle), "--workers", "2") as service:
        for _ in range(60):
            # A new connection each time, so that both workers get some.
            assert httpx.post(f"{service.address}/v1/predict", json={"strokes": TALL_LEFT}).status_code == 200
        texts = [httpx.get(f"{service.address}/metrics").text for _ in range(6)]
        for text in texts:
            counts = re.findall(r"inksight_predictions_total\{.*\} ([\d.]+)", text)
            assert sum(map(float, counts)) == 60
        workers = workers_of(service)
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        wait_for(lambda: _ready(service))
        time.sleep(1)
        for _ in range(20):
            with_retry = httpx.Client(transport=httpx.HTTPTransport(retries=3))
            assert with_retry.post(f"{service.address}/v1/predict", json={"strokes": TALL_LEFT}).status_code == 200
            with_retry.close()
        text = httpx.get(f"{service.address}/metrics").text
        counts = re.findall(r"inksight_predictions_total\{.*\} ([\d.]+)", text)
        assert sum(map(float, counts)) == 80, "what a killed worker counted still counts"
        assert "inksight_requests_in_flight 1.0" in text, "what a killed worker had in flight is gone"
        assert service.end() in (0, -15, 143)


def test_a_worker_that_hangs_holds_up_neither_the_others_nor_the_end(real_bundle: Path) -> None:  # noqa: F811
    with serve(str(real_bundle), "--workers", "2", "--shutdown-grace", "1") as service:
        hangs, dies = workers_of(service)
        os.kill(hangs, signal.SIGSTOP)
        time.sleep(1)  # it is asked whether it lives
        os.kill(dies, signal.SIGKILL)
        wait_for(lambda: dies not in workers_of(service) and len(workers_of(service)) == 2, "a successor", seconds=30)
        started = time.monotonic()
        assert service.end() in (0, -15, 143)
        assert time.monotonic() - started < 25, "a worker that hangs is killed"
        assert not alive(hangs)


def test_workers_end_with_their_supervisor(real_bundle: Path) -> None:  # noqa: F811
    with serve(str(real_bundle), "--workers", "2") as service:
        workers = workers_of(service)
        os.kill(service.process.pid, signal.SIGKILL)
        wait_for(lambda: not any(alive(worker) for worker in workers), "their end")
        _listen(ServeSettings(port=int(service.address.rsplit(":", 1)[1]))).close()


def test_wrong_use_is_told_at_once(real_bundle: Path, tmp_path: Path) -> None:  # noqa: F811
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "inksight", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)

    missing = run("serve", "no-such-model", "--port", "0")
    assert missing.returncode == 2
    assert missing.stderr.count("no-such-model") == 1, "one message"
    assert "Traceback" not in missing.stderr
    assert "There is no model yet" not in missing.stderr, "the built-in one is"
    many = run("serve", "no-such-model", "--port", "0", "--workers", "2")
    assert many.returncode == 2
    for workers in ("1", "2"):
        twins = run("serve", str(real_bundle), str(real_bundle), "--port", "0", "--workers", workers)
        assert twins.returncode == 2
        assert twins.stderr.count("two models are named") == 1
    with serve(str(real_bundle)) as service:
        port = service.address.rsplit(":", 1)[1]
        taken = run("serve", str(real_bundle), "--port", port)
    assert taken.returncode == 2
    assert port in taken.stderr
    assert run("serve", str(real_bundle), "--top", "0").returncode == 2


def test_tokens_on_the_command_line(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "inksight", "tokens", *arguments], capture_output=True, text=True)

    made = run("add", "alice", "--scope", "review", "--scope", "models")
    assert made.returncode == 0
    assert made.stdout.startswith("ink_")
    assert made.stdout.strip() not in run("list").stdout
    assert json.loads(run("list", "--json").stdout)["alice"]["scopes"] == ["models", "review"]
    assert run("add", "alice", "--scope", "review").returncode == 2
    assert run("add", "bob", "--scope", "all").returncode == 2
    assert run("remove", "alice").returncode == 0
    assert run("remove", "alice").returncode == 2


@pytest.mark.parametrize(
    ("host", "told"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("::", "127.0.0.1")]
)
def test_the_address_can_be_opened(host: str, told: str) -> None:
    assert address_of(host, 8000) == f"http://{told}:8000"
