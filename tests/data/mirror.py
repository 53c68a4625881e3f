"""A small HTTP server laid out like the Quick, Draw! bucket, with ranges and with faults that tests switch on."""

from __future__ import annotations

import hashlib
import http.server
import re
import threading
import time
import urllib.parse
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Fault = Callable[["Handler", bytes], bool]


class Mirror:
    """Serves `folder`; `faults[path]` is a list of faults, each of which one request to that path uses up.

    `requests` holds (method, path, Range header). `ranges=False` makes a server that always sends whole files; `rate`
    limits each connection to that many bytes a second; `sent` counts body bytes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ranges = True
        self.rate = 0.0
        self.sent = 0
        self.etags = True
        self.faults: defaultdict[str, list[Fault]] = defaultdict(list)
        self.requests: list[tuple[str, str, str | None]] = []
        self.closing = threading.Event()
        mirror = self

        class Bound(Handler):
            site = mirror

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self.server.daemon_threads = True

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def asked(self, part: str) -> list[str | None]:
        """The Range headers of the requests whose path contains `part`, in order."""
        return [header for _, path, header in self.requests if part in path]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers GET and HEAD."""

    protocol_version = "HTTP/1.1"
    site: Mirror

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self.answer(body=False)

    def do_GET(self) -> None:
        """Answer with a body."""
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        """Send a file, a range of it, or what a fault makes of it."""
        path = urllib.parse.unquote(self.path).lstrip("/")
        asked = self.headers.get("Range")
        self.site.requests.append((self.command, path, asked))
        file = self.site.folder / path
        content = file.read_bytes() if file.is_file() else b""
        faults = self.site.faults[path]
        if faults and faults.pop(0)(self, content):
            return
        if not file.is_file():
            self.fail(404)
            return
        tag = f'"{hashlib.md5(content).hexdigest()}"'
        start, stop = 0, len(content)
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked or "")
        unchanged = self.headers.get("If-Range") in (None, tag)
        partial = bool(match) and self.site.ranges and unchanged
        if match and partial:
            start, stop = int(match[1]), min(int(match[2] or len(content) - 1) + 1, len(content))
            if start >= len(content):
                self.fail(416, Content_Range=f"bytes */{len(content)}")
                return
        self.send_response(206 if partial else 200)
        if partial:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        self.send_header("Content-Length", str(stop - start))
        self.send_header("Content-Type", "application/octet-stream")
        if self.site.etags:
            self.send_header("ETag", tag)
        self.end_headers()
        if body:
            self.pour(content[start:stop])

    def pour(self, data: bytes) -> None:
        """Send bytes, slowly if the mirror has a rate."""
        step = 1 << 14
        for begin in range(0, len(data), step):
            if self.site.closing.is_set():
                return
            try:
                self.wfile.write(data[begin : begin + step])
            except OSError:  # the client has enough
                self.close_connection = True
                return
            self.site.sent += len(data[begin : begin + step])
            if self.site.rate:
                time.sleep(step / self.site.rate)

    def fail(self, status: int, **headers: str) -> None:
        """Send an error with a body, as real servers do."""
        page = b"<html><body>no</body></html>"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page)


def status(code: int, **headers: str) -> Fault:
    """A fault: answer with that status."""

    def fault(handler: Handler, content: bytes) -> bool:
        handler.fail(code, **headers)
        return True

    return fault


def html(handler: Handler, content: bytes) -> bool:
    """A fault: a friendly web page with status 200, as captive portals send it."""
    page = b"<!DOCTYPE html>\n<html><body>Please log in</body></html>" * 40
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(page)))
    handler.end_headers()
    handler.wfile.write(page)
    return True


def cut(after: int) -> Fault:
    """A fault: promise everything from where the client asked, close the connection after `after` bytes of it."""

    def fault(handler: Handler, content: bytes) -> bool:
        match = re.match(r"bytes=(\d+)-", handler.headers.get("Range") or "bytes=0-")
        assert match
        start = int(match[1])
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        handler.send_header("Content-Length", str(len(content) - start))
        handler.send_header("ETag", f'"{hashlib.md5(content).hexdigest()}"')
        handler.end_headers()
        handler.wfile.write(content[start : start + after])
        handler.close_connection = True
        return True

    return fault


def stall(handler: Handler, content: bytes) -> bool:
    """A fault: send the headers and a little, then nothing."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content[:100])
    handler.wfile.flush()
    handler.site.closing.wait(30)
    return True


@contextmanager
def serve(folder: Path) -> Iterator[Mirror]:
    """Run a mirror of `folder` for the length of the block."""
    mirror = Mirror(folder)
    thread = threading.Thread(target=mirror.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield mirror
    finally:
        mirror.closing.set()
        mirror.server.shutdown()
        mirror.server.server_close()
        thread.join()
