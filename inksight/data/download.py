"""Downloads one file: in parts that survive Ctrl-C and SIGKILL, with new tries, and atomically.

What has arrived lies in a part file with a small JSON note beside it (source, offset, size, CRC-32), written at least
every MiB. A later call goes on from the last note whose CRC still fits; a part that does not fit, or whose source has
changed, is thrown away. The finished file is renamed into place, so it is there whole or not at all.
Only one process may work on a part at a time (quickdraw.py holds a lock).
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import threading
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from inksight.data.remote import AbsentError, OutOfRangeError, PassingError, Reply, open_source
from inksight.data.selectors import Selector
from inksight.errors import FULL, DataError, DownloadError
from inksight.workspace import write_text

_NOTE_EVERY = 1 << 20


class Stopped(Exception):
    """The caller asked to stop; what has arrived is kept."""


class DiskFullError(DownloadError):
    """No space is left where the file should go."""


@dataclass(frozen=True)
class Source:
    """Where bytes came from, and what tells whether the file there is still the same."""

    url: str = ""
    length: int | None = None
    validator: str = ""

    def same_file(self, other: Source) -> bool:
        """Whether `other` can be trusted to be the same content: equal validators, or equal lengths without them."""
        if self.validator and other.validator:
            return self.validator == other.validator
        return self.length is not None and self.length == other.length


@dataclass(frozen=True)
class Downloaded:
    """A finished file: its digest, size and drawings, the bytes that came over the line, the state to extend it by."""

    sha256: str
    bytes: int
    count: int
    transferred: int
    source: Source
    state: dict[str, Any]


@dataclass(frozen=True)
class Patience:
    """How long to wait: `timeout` seconds of silence, `retries` new tries, `wait` seconds before the first of them."""

    timeout: float = 30.0
    retries: int = 5
    wait: float = 1.0

    def pause(self, attempt: int, retry_after: float | None) -> float:
        """Return the seconds before try number `attempt` (from 1): doubled and jittered, or as the server asks."""
        if retry_after is not None:
            return retry_after
        return min(60.0, self.wait * 2.0 ** (attempt - 1)) * random.uniform(0.75, 1.25)


class Part:
    """The bytes kept so far of one file, with the note that makes them usable after a crash."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.note = path.with_name(path.name + ".json")
        self.size = 0
        self.crc = 0
        self._unnoted = 0
        self._stream: BinaryIO | None = None

    def open(self, selector: Selector) -> Source | None:
        """Open for appending; return the source of what is there, with the selector moved on, None when it is empty."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = open(self.path, "r+b" if self.path.exists() else "w+b")  # noqa: SIM115  (closed by close)
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
            size, crc = int(note["size"]), int(note["crc"])
            if _crc(self._stream, size) == crc and selector.resume(note["state"]):
                self.size, self.crc = size, crc
                self._stream.truncate(size)
                self._stream.seek(size)
                return Source(**note["source"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            pass  # no note, or one cut off by a crash: the part is worth nothing
        self.clear()
        return None

    @property
    def stream(self) -> BinaryIO:
        """The open part file."""
        assert self._stream is not None, "the part is not open"
        return self._stream

    def append(self, data: bytes, source: Source, selector: Selector) -> None:
        """Add kept bytes and, every MiB, note how far we are."""
        self.stream.write(data)
        self.size += len(data)
        self.crc = zlib.crc32(data, self.crc)
        self._unnoted += len(data)
        if self._unnoted >= _NOTE_EVERY:
            self.save(source, selector)

    def save(self, source: Source, selector: Selector) -> None:
        """Make what is there usable by a later process."""
        self.stream.flush()
        note = {"source": asdict(source), "size": self.size, "crc": self.crc, "state": selector.state()}
        write_text(self.note, json.dumps(note))
        self._unnoted = 0

    def clear(self) -> None:
        """Throw away what is there and start from nothing."""
        self.note.unlink(missing_ok=True)
        self.stream.truncate(0)
        self.stream.seek(0)
        self.size = self.crc = self._unnoted = 0

    def close(self) -> None:
        """Close the file."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            stream.close()

    def remove(self) -> None:
        """Delete the part and its note."""
        with suppress(OSError):  # on a full disk the last flush fails, of bytes that are thrown away here
            self.close()
        self.note.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def seed(self, file: Path, skip: int, source: Source, state: Mapping[str, Any]) -> None:
        """Begin with the bytes of a finished file after its first `skip`, so that a larger request extends it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(file, "rb") as stream:
            stream.seek(skip)
            with open(self.path, "wb") as out:
                shutil.copyfileobj(stream, out, 1 << 20)
                size = out.tell()
        with open(self.path, "rb") as stream:
            note = {"source": asdict(source), "size": size, "crc": _crc(stream, size), "state": dict(state)}
        write_text(self.note, json.dumps(note))


def download(
    url: str,
    target: Path,
    make_selector: Callable[[], Selector],
    *,
    part: Part,
    seed: Callable[[], None] | None = None,
    patience: Patience = Patience(),
    stop: threading.Event | None = None,
    on_bytes: Callable[[int, int | None], None] = lambda done, total: None,
    on_retry: Callable[[str], None] = lambda message: None,
) -> Downloaded:
    """Bring what the selector wants of `url` to `target`, going on from `part` if it holds anything usable.

    `seed`, when given, fills the part first: that may take as much room on the disk as the download itself.
    `on_bytes(done, total)` is called with source bytes as they arrive (total None: unknown), `on_retry` with a line of
    text before each new try. The part stays until the caller removes it (after noting the result).
    Raises AbsentError, DataError (not what was expected) and DiskFullError with the part removed; DownloadError (given
    up) with what arrived kept, unless the source is cut off; Stopped with what arrived kept.
    """
    stop = stop or threading.Event()
    try:
        if seed is not None:
            seed()
        job = _Job(url, make_selector, part, patience, stop, on_bytes)
        job.run(on_retry)
        return job.finish(target)
    except (DataError, AbsentError) as error:
        part.remove()
        raise type(error)(
            error.message if url in error.message else f"{url}: {error.message}", hint=error.hint
        ) from None
    except DownloadError:
        if not part.size:
            part.remove()
        raise
    except OSError as error:
        part.remove()
        if error.errno in FULL:
            raise DiskFullError(
                f"no space left in {target.parent} while fetching {target.name}",
                hint="Free some space, or name another place with --folder or INKSIGHT_HOME.",
            ) from None
        raise DownloadError(f"{target}: cannot be written ({error.strerror})") from None
    finally:
        part.close()


class _Job:
    """The state of one download while it runs."""

    def __init__(
        self,
        url: str,
        make_selector: Callable[[], Selector],
        part: Part,
        patience: Patience,
        stop: threading.Event,
        on_bytes: Callable[[int, int | None], None],
    ) -> None:
        self.url = url
        self.make_selector = make_selector
        self.part = part
        self.patience = patience
        self.stop = stop
        self.on_bytes = on_bytes
        self.transferred = 0
        self.selector = make_selector()
        self.source = part.open(self.selector)

    def run(self, on_retry: Callable[[str], None]) -> None:
        attempt, furthest = 0, self.selector.consumed
        while not self.selector.done:
            try:
                try:
                    self.stream_once()
                finally:
                    if self.source is not None and self.part.size:
                        self.part.save(self.source, self.selector)
            except PassingError as error:
                # A line that breaks often but moves on is not given up.
                attempt = 1 if self.selector.consumed > furthest else attempt + 1
                furthest = max(furthest, self.selector.consumed)
                if attempt > self.patience.retries:
                    self.give_up(error)
                pause = self.patience.pause(attempt, error.retry_after)
                on_retry(f"{error.message}; trying again in {pause:.1f} s ({attempt} of {self.patience.retries})")
                if self.stop.wait(pause):
                    raise Stopped from None

    def give_up(self, error: PassingError) -> None:
        tries = f"given up after {self.patience.retries} new tries"
        if error.cut:
            self.part.remove()
            raise DownloadError(f"{error.message}; {tries}", hint="The file there may be truncated.") from None
        kept = f"; {self.part.size:,} bytes are kept for the next try" if self.part.size else ""
        raise PassingError(f"{error.message}; {tries}{kept}", reached=error.reached, hint=error.hint) from None

    def stream_once(self) -> None:
        """Ask once for what is missing and keep what comes, until there is enough or the answer ends."""
        fresh = self.make_selector()  # drops a half line or half header of a broken connection: it is sent again
        fresh.resume(self.selector.state())
        self.selector = fresh
        asked = fresh.consumed
        validator = self.source.validator if self.source else ""
        try:
            with open_source(
                self.url, start=asked, stop=fresh.stop, validator=validator, timeout=self.patience.timeout
            ) as reply:
                self.read(reply, asked)
        except OutOfRangeError as error:
            if not asked:
                raise DataError("truncated: the file is empty") from None
            if error.length == asked and self.source is not None and self.source.length == asked:
                # An earlier call wanted as many drawings as there are, and did not see that no more come.
                self.part.append(fresh.end(), self.source, fresh)
                return
            self.restart()
            raise PassingError(f"{self.url}: the file there has become shorter, starting anew") from None

    def read(self, reply: Reply, asked: int) -> None:
        """Read one answer to a request from offset `asked` on."""
        source = Source(self.url, reply.length, reply.validator)
        if asked and (reply.start != asked or self.source is None or not self.source.same_file(source)):
            # No ranges here, or another file than before: what we have cannot be continued.
            self.restart()
            if reply.start != 0:
                raise PassingError(f"{self.url}: the file there has changed, starting anew")
        elif reply.start != asked:
            raise DownloadError(f"{self.url}: the server sent bytes from {reply.start} instead of {asked}")
        self.source = source
        received = 0
        while not self.selector.done:
            if self.stop.is_set():
                raise Stopped
            data = reply.read()
            if not data:
                break
            received += len(data)
            self.transferred += len(data)
            self.part.append(self.selector.take(data, reply.length), source, self.selector)
            self.on_bytes(reply.start + received, self.selector.stop or reply.length)
        if self.selector.done:
            return
        if reply.body is not None and received < reply.body:
            raise PassingError(
                f"{self.url}: the connection closed after {received:,} of {reply.body:,} bytes", cut=True
            )
        if reply.length is None or reply.start + received >= reply.length:
            self.part.append(self.selector.end(), source, self.selector)

    def restart(self) -> None:
        self.part.clear()
        self.selector = self.make_selector()
        self.source = None

    def finish(self, target: Path) -> Downloaded:
        """Copy the kept bytes behind their prologue, flush them to disk and rename the result into place."""
        ready = self.part.path.with_name(self.part.path.name + ".ready")
        digest, size = hashlib.sha256(), 0
        self.part.stream.flush()
        self.part.stream.seek(0)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(ready, "wb") as out:
                for block in chain([self.selector.prologue()], iter(partial(self.part.stream.read, 1 << 20), b"")):
                    digest.update(block)
                    size += out.write(block)
                out.flush()
                os.fsync(out.fileno())
            os.replace(ready, target)
        except OSError:
            ready.unlink(missing_ok=True)
            raise
        return Downloaded(
            digest.hexdigest(),
            size,
            self.selector.count,
            self.transferred,
            self.source or Source(),
            self.selector.state(),
        )


def _crc(stream: BinaryIO, size: int) -> int:
    """Return the CRC-32 of the first `size` bytes, -1 when there are fewer."""
    stream.seek(0)
    crc, left = 0, size
    while left:
        block = stream.read(min(left, 1 << 20))
        if not block:
            return -1
        crc, left = zlib.crc32(block, crc), left - len(block)
    return crc
