"""HTTP latency and throughput of `inksight serve` on loopback, beside the service that the guides would write.

    python benchmarks/http_latency.py                                  # the built-in model, everything, about 3 minutes
    python benchmarks/http_latency.py BUNDLE --workers 2 --soak 100000

The load generator shares the machine's cores with the server. At a fixed rate, a request's time counts from when it
was due, not from when a connection was free, so that a stall is counted against every request that it delays. Bodies
are real drawings where ../shared/data is there (simplified strokes, raw strokes, PNG pictures), made-up ones elsewhere.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import os
import platform
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("INKSIGHT_SHARED_DATA") or ROOT.parent / "shared" / "data") / "quickdraw"


class Connection(asyncio.Protocol):
    """One keep-alive connection that carries one request at a time."""

    def __init__(self) -> None:
        self.buffer = b""
        self.answer: asyncio.Future[int] | None = None
        self.transport: Any = None  # uvloop's is not an asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Complete the answer when all of its body has come."""
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        if length and len(body) >= int(length[1]) and self.answer is not None:
            answer, self.answer, self.buffer = self.answer, None, b""
            answer.set_result(int(head[9:12]))

    def connection_lost(self, error: Exception | None) -> None:
        """Fail a request that still waits."""
        if self.answer is not None and not self.answer.done():
            self.answer.set_result(0)

    def ask(self, request: bytes) -> asyncio.Future[int]:
        """Send a request; the future gives the status, 0 for a lost connection."""
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self.answer


async def connect(port: int, count: int) -> list[Connection]:
    """Open connections."""
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(Connection, "127.0.0.1", port))[1] for _ in range(count)]


async def at_rate(port: int, requests: Sequence[bytes], rate: float, seconds: float) -> dict[str, float]:
    """Send requests evenly at a rate, each when it is due; return latency quantiles in ms and the failures."""
    loop = asyncio.get_running_loop()
    free = deque(await connect(port, 64))
    late: deque[tuple[float, bytes]] = deque()
    times: list[float] = []
    bad = 0
    total = int(rate * seconds)
    done = loop.create_future()

    def due(request: bytes) -> None:
        # The loop's own clock ticks in milliseconds, which is as long as an answer takes.
        send(time.perf_counter(), request)

    def send(at: float, request: bytes) -> None:
        if free:
            connection = free.popleft()
            connection.ask(request).add_done_callback(lambda answer: finish(at, connection, answer))
        else:
            late.append((at, request))

    def finish(at: float, connection: Connection, answer: asyncio.Future[int]) -> None:
        nonlocal bad
        times.append(time.perf_counter() - at)
        bad += answer.result() != 200
        free.append(connection)
        if late:
            send(*late.popleft())
        if len(times) == total:
            done.set_result(None)

    start = loop.time() + 0.1
    for index in range(total):
        loop.call_at(start + index / rate, due, requests[index % len(requests)])
    await done
    for connection in free:
        connection.transport.close()
    p50, p90, p99 = np.percentile(np.array(times) * 1000, [50, 90, 99])
    return {"p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "max_ms": max(times) * 1000, "failed": bad}


async def saturate(
    port: int, requests: Sequence[bytes], connections: int, seconds: float = 0, count: int = 0
) -> dict[str, float]:
    """Keep every connection busy for a time or a number of requests; return requests/s, p99 in ms and the failures."""
    clients = await connect(port, connections)
    times: list[float] = []
    bad = 0
    started = time.perf_counter()
    end = started + seconds if seconds else float("inf")

    async def work(client: Connection, offset: int) -> None:
        nonlocal bad
        index = offset
        while time.perf_counter() < end and (not count or len(times) < count):
            begin = time.perf_counter()
            bad += await client.ask(requests[index % len(requests)]) != 200
            times.append(time.perf_counter() - begin)
            index += 1

    await asyncio.gather(*(work(client, 37 * number) for number, client in enumerate(clients)))
    elapsed = time.perf_counter() - started
    for client in clients:
        client.transport.close()
    return {"per_second": len(times) / elapsed, "p99_ms": float(np.percentile(times, 99)) * 1000, "failed": bad}


def http(path: str, body: bytes) -> bytes:
    """Return a POST request with a JSON body."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def drawings(kind: str, limit: int = 200) -> list[Any]:
    """Return real drawings as strokes (kind: simplified or raw), or made-up ones where there is no data."""
    folder = DATA / "full" / kind
    rng = random.Random(0)
    if folder.is_dir():
        lines = [line for path in sorted(folder.glob("*.ndjson")) for line in path.read_text().splitlines()[:20]]
        return [json.loads(line)["drawing"] for line in rng.sample(lines, min(limit, len(lines)))]
    points = 12 if kind == "simplified" else 60

    def walk() -> list[int]:
        return [int(value) for value in np.clip(np.cumsum([rng.gauss(0, 30) for _ in range(points)]) + 128, 0, 255)]

    return [[[walk(), walk()] for _ in range(4)] for _ in range(limit)]


def bodies(kind: str) -> list[bytes]:
    """Return request bodies of a kind: simplified, raw or picture."""
    if kind != "picture":
        return [json.dumps({"strokes": [s[:2] for s in strokes]}).encode() for strokes in drawings(kind)]
    from PIL import Image, ImageDraw

    result = []
    for strokes in drawings("simplified", 50):
        image = Image.new("L", (280, 280), 255)
        for stroke in strokes:
            ImageDraw.Draw(image).line([(x + 12, y + 12) for x, y in zip(*stroke[:2], strict=True)], fill=0, width=9)
        stream = io.BytesIO()
        image.save(stream, "PNG")
        url = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
        result.append(json.dumps({"image": url}).encode())
    return result


@contextmanager
def server(command: Sequence[str], pattern: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start a service that prints its address and yield it with its port once it answers."""
    # A workspace of its own: the prediction log must not end up in the user's.
    home = tempfile.TemporaryDirectory(prefix="inksight-http-")
    environment = {**os.environ, "INKSIGHT_HOME": home.name}
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=ROOT, env=environment
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            found = re.search(pattern, line)
            if found:
                break
        else:
            raise SystemExit(f"{command} ended before it printed its address")
        # What it prints later must not fill the pipe.
        threading.Thread(target=deque, args=(process.stderr, 0), daemon=True).start()
        _wait_for(int(found[1]))
        time.sleep(1)
        yield process, int(found[1])
    finally:
        process.terminate()
        process.wait(timeout=20)
        home.cleanup()


def _wait_for(port: int) -> None:
    """Return when something accepts connections at the port; gives up after a minute."""
    for _ in range(600):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise SystemExit(f"nothing answers at port {port}")


def tree(process: subprocess.Popen[str]) -> list[str]:
    """Return the ids of a process and its workers."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [str(process.pid), *children]


def usage(process: subprocess.Popen[str]) -> tuple[float, int]:
    """Return the resident memory in MiB and the open file descriptors of a process and its workers."""
    memory, descriptors = 0.0, 0
    for pid in tree(process):
        resident = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
        memory += int(resident[1]) / 1024 if resident else 0
        descriptors += len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return memory, descriptors


def cpu_seconds(process: subprocess.Popen[str]) -> float:
    """Return the processor time that a process and its workers have taken so far."""
    ticks = 0
    for pid in tree(process):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def spread(values: Sequence[float]) -> str:
    """Return the median and the range of repeated measurements."""
    return f"{statistics.median(values):.4g} ({min(values):.4g}..{max(values):.4g})"


def measure(
    process: subprocess.Popen[str], port: int, path: str, kind: str, *, rounds: int, rate: float, seconds: float
) -> dict[str, Any]:
    """Measure one service with one kind of body: at the rate, then saturated, `rounds` times."""
    requests = [http(path, body) for body in bodies(kind)]
    uvloop.run(saturate(port, requests, 8, seconds=1.0))
    paced = [uvloop.run(at_rate(port, requests, rate, seconds)) for _ in range(rounds)] if rate else []
    full = []
    for _ in range(rounds):
        before = cpu_seconds(process)
        run = uvloop.run(saturate(port, requests, 32, seconds=seconds))
        full.append({**run, "cpu_ms": 1000 * (cpu_seconds(process) - before) / (run["per_second"] * seconds)})
    return {
        "body": kind,
        "p50_ms": spread([run["p50_ms"] for run in paced]) if paced else "-",
        "p99_ms": spread([run["p99_ms"] for run in paced]) if paced else "-",
        "per_second": spread([run["per_second"] for run in full]),
        # What the machine does besides hardly changes this one.
        "cpu_ms": spread([run["cpu_ms"] for run in full]),
        "failed": int(sum(run["failed"] for run in [*paced, *full])),
    }


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="doodles")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rate", type=float, default=300)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--kinds", default="simplified,raw,picture")
    parser.add_argument("--soak", type=int, default=0, help="Requests of a soak test of memory and descriptors.")
    parser.add_argument("--no-flask", action="store_true")
    options = parser.parse_args()
    rows = []
    ours = [sys.executable, "-m", "inksight", "serve", options.model, "--port", "0", "--workers", str(options.workers)]
    rounds = {"rounds": options.rounds, "seconds": options.seconds}
    with server(ours, r"http://[\d.]+:(\d+)") as (process, port):
        for kind in options.kinds.split(","):
            row = measure(process, port, "/v1/predict", kind, rate=options.rate, **rounds)
            rows.append({"service": f"inksight serve, {options.workers} worker(s)", **row})
        if options.soak:
            requests = [http("/v1/predict", body) for body in bodies("simplified")]
            uvloop.run(saturate(port, requests, 32, count=5_000))
            time.sleep(1)  # the server, too, closes its connections
            before = usage(process)
            result = uvloop.run(saturate(port, requests, 32, count=options.soak))
            time.sleep(1)
            after = usage(process)
            print(
                f"soak: {options.soak:,} requests, {result['failed']:.0f} failed; "
                f"memory {before[0]:.1f} -> {after[0]:.1f} MiB, descriptors {before[1]} -> {after[1]}\n"
            )
    if not options.no_flask:
        flask = [sys.executable, str(Path(__file__).parent / "flask_guide.py"), options.model]
        with server(flask, r"Running on http://[\d.]+:(\d+)") as (process, port):
            # Asked for no more than it can do: at 300 requests/s it only queues.
            rows.append(
                {"service": "Flask + PyTorch", **measure(process, port, "/predict", "picture", rate=50, **rounds)}
            )
    hardware = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    print(f"{hardware}, n = {options.rounds} rounds of {options.seconds:g} s; median (range)\n")
    names = list(rows[0])
    print("| " + " | ".join(names) + " |\n|" + "---|" * len(names))
    for row in rows:
        print("| " + " | ".join(str(row[name]) for name in names) + " |")


if __name__ == "__main__":
    main()
