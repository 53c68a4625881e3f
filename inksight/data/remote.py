"""Opens a file at a URL from a byte offset: https, http and file, with one set of outcomes for all three.

Not promised: that a server honours the offset. `Reply.start` says where the answer really begins; a server without
ranges sends the whole file from byte 0. Redirects and the proxy variables of the environment are followed by urllib.
"""

from __future__ import annotations

import email.utils
import http.client
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import BinaryIO

from inksight.errors import DownloadError, UsageError

CHUNK = 1 << 16
SCHEMES = ("https", "http", "file")
_PASSING = {408, 425, 429, 500, 502, 503, 504}
_LONGEST_WAIT = 120.0  # a Retry-After beyond two minutes is better answered by starting again later


class PassingError(DownloadError):
    """A failure that may pass by itself; `retry_after` seconds when the server named them.

    `reached` is False when no server answered at all; `cut` is True when the connection closed before the promised end.
    """

    def __init__(
        self, message: str, *, retry_after: float | None = None, reached: bool = True, cut: bool = False, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after
        self.reached = reached
        self.cut = cut


class AbsentError(DownloadError):
    """The server answered that there is no such file."""


class OutOfRangeError(DownloadError):
    """The file at the server is not longer than the offset that was asked for; `length` is its size if known."""

    def __init__(self, message: str, length: int | None) -> None:
        super().__init__(message)
        self.length = length


@dataclass
class Reply:
    """An answer that is being read: `start` is its first byte's offset, `length` the whole file's size if known."""

    url: str
    start: int
    length: int | None
    body: int | None
    validator: str
    content_type: str
    _stream: http.client.HTTPResponse | BinaryIO
    _left: int | None = None

    def read(self) -> bytes:
        """Return the next bytes, at most 64 KiB, b"" at the end; raises PassingError when the connection breaks."""
        size = CHUNK if self._left is None else min(CHUNK, self._left)
        if size == 0:
            return b""
        try:
            # read1 gives what has arrived, so that a slow line still shows progress and can be stopped.
            data = self._stream.read1(size) if isinstance(self._stream, http.client.HTTPResponse) else None
            if data is None:
                data = self._stream.read(size)
        except TimeoutError:
            raise PassingError(f"{self.url}: the connection stalled") from None
        except (OSError, http.client.HTTPException) as error:
            raise PassingError(f"{self.url}: the connection broke ({error or type(error).__name__})") from None
        if self._left is not None:
            self._left -= len(data)
        return data


@contextmanager
def open_source(
    url: str, *, start: int = 0, stop: int | None = None, validator: str = "", timeout: float = 30.0
) -> Iterator[Reply]:
    """Open bytes start..stop-1 of `url` (stop None: to the end); `timeout` is the longest silence in seconds.

    `validator` (of an earlier Reply) makes the server send the whole file again if it has changed since.
    Raises AbsentError (404), PassingError (worth another try) or DownloadError (not worth one).
    """
    if scheme_of(url) == "file":
        with _open_local(url, start, stop) as reply:
            yield reply
        return
    headers = {"User-Agent": "inksight", "Accept-Encoding": "identity"}
    if start or stop is not None:
        headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        if start and validator.startswith('"'):  # If-Range takes strong validators only
            headers["If-Range"] = validator
    with _request(urllib.request.Request(url, headers=headers), timeout) as response:
        begin, length = 0, _integer(response.headers.get("Content-Length"))
        body = length
        if response.status == 206:
            match = re.match(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
            if match is None:
                raise DownloadError(f"{url}: the server's partial answer has no usable Content-Range")
            begin, length = int(match[1]), _integer(match[2])
        mark = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        kind = response.headers.get("Content-Type", "")
        yield Reply(url, begin, length, body, mark, kind, response)


def exists(url: str, *, timeout: float = 30.0) -> int | None:
    """Return the size in bytes of the file at `url` (-1: the server does not say), None when there is none."""
    try:
        if scheme_of(url) == "file":
            with open_source(url) as reply:
                return reply.length
        try:
            request = urllib.request.Request(url, headers={"User-Agent": "inksight"}, method="HEAD")
            with _request(request, timeout) as response:
                size = _integer(response.headers.get("Content-Length"))
                return -1 if size is None else size
        except AbsentError:
            raise
        except DownloadError as error:
            if isinstance(error, PassingError) and not error.reached:
                raise
            # Some servers refuse HEAD; the first byte tells the same.
            with open_source(url, stop=1, timeout=timeout) as reply:
                return -1 if reply.length is None else reply.length
    except AbsentError:
        return None


def scheme_of(url: str) -> str:
    """Return the URL's scheme; raises UsageError when it is none of https, http, file, or names no server to ask."""
    try:
        parts = urllib.parse.urlsplit(url)
        scheme, host, _ = parts.scheme, parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"--base-url: {url!r} is no address: {error}") from None
    if scheme not in SCHEMES:
        way_out = f"Write a folder as {Path(url).absolute().as_uri()}." if not scheme else ""
        raise UsageError(
            f"--base-url: {url!r} is not an {', '.join(SCHEMES)} address",
            hint=way_out or f"It must begin with one of: {', '.join(s + '://' for s in SCHEMES)}",
        )
    if scheme != "file" and not host:
        raise UsageError(f"--base-url: {url!r} names no server", hint=f"Write {scheme}://SERVER/PATH.")
    return scheme


@contextmanager
def _open_local(url: str, start: int, stop: int | None) -> Iterator[Reply]:
    path = Path(urllib.request.url2pathname(urllib.parse.urlsplit(url).path))
    try:
        with open(path, "rb") as stream:
            status = path.stat()
            stream.seek(start)
            left = None if stop is None else max(0, stop - start)
            mark = f"{status.st_mtime_ns}-{status.st_size}"
            begin = min(start, status.st_size)
            end = status.st_size if stop is None else min(stop, status.st_size)
            yield Reply(url, begin, status.st_size, max(0, end - begin), mark, "", stream, left)
    except (FileNotFoundError, NotADirectoryError):
        raise AbsentError(f"{url}: there is no such file") from None
    except (PermissionError, IsADirectoryError) as error:
        raise DownloadError(f"{url}: cannot be read ({error.strerror})") from None


@contextmanager
def _request(request: urllib.request.Request, timeout: float) -> Iterator[http.client.HTTPResponse]:
    url = request.full_url
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(url, error.code, error.headers) from None
    except urllib.error.URLError as error:
        reason = error.reason
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise DownloadError(f"{url}: the server's certificate is not trusted ({reason.verify_message})") from None
        if isinstance(reason, TimeoutError):
            raise PassingError(f"{url}: no answer within {timeout:g} s", reached=False) from None
        hint = "Check the network and --base-url."
        raise PassingError(f"{url}: no connection ({reason})", reached=False, hint=hint) from None
    except TimeoutError:
        raise PassingError(f"{url}: no answer within {timeout:g} s") from None
    except (OSError, http.client.HTTPException) as error:
        raise PassingError(f"{url}: the connection broke ({error or type(error).__name__})") from None
    with response:
        yield response


def _refusal(url: str, status: int, headers: Message) -> DownloadError:
    text = f"{url}: {status} {http.client.responses.get(status, '')}".rstrip()
    if status in (404, 410):
        return AbsentError(text, hint="Check the class name and --base-url.")
    if status in _PASSING:
        return PassingError(text, retry_after=_seconds(headers.get("Retry-After")))
    if status == 416:
        return OutOfRangeError(text, _integer(headers.get("Content-Range", "").removeprefix("bytes */")))
    return DownloadError(text, hint="Check --base-url and whether the server lets you read there.")


def _seconds(retry_after: str | None) -> float | None:
    """Read Retry-After: seconds or a date (RFC 9110, section 10.2.3), bounded; None when absent or unreadable."""
    if retry_after is None:
        return None
    if retry_after.strip().isdigit():
        return min(float(retry_after), _LONGEST_WAIT)
    try:
        moment = email.utils.parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return min(max(0.0, moment.timestamp() - time.time()), _LONGEST_WAIT)


def _integer(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None
