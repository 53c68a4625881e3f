"""Fetches Quick, Draw! from the public bucket or a mirror: the first N drawings of each class, several files at once.

    from inksight.data.quickdraw import fetch
    result = fetch(["cat", "dog"], per_class=5000)          # <home>/downloads/quickdraw/full/numpy_bitmap/cat.npy ...

What is there already is verified by SHA-256 and skipped, or extended when more is asked for. Files keep the bucket's
layout; unfinished ones lie in `.partial` until they are done. Not checked: whether a drawing shows what its class says.

Source: https://github.com/googlecreativelab/quickdraw-dataset (CC BY 4.0, Google).
"""

from __future__ import annotations

import queue
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from filelock import FileLock, Timeout

from inksight.config import resolve
from inksight.data.download import DiskFullError, Part, Patience, Stopped, download
from inksight.data.manifest import Manifest
from inksight.data.presets import known_class
from inksight.data.remote import PassingError, exists, scheme_of
from inksight.data.selectors import BitmapRows, Selector, StrokeLines
from inksight.errors import DownloadError, InksightError, UsageError, sentences
from inksight.settings import FetchSettings
from inksight.workspace import workspace

T = TypeVar("T")
_SUFFIXES = {"numpy_bitmap": ".npy", "simplified": ".ndjson", "raw": ".ndjson"}


@dataclass(frozen=True)
class FileOutcome:
    """What became of one class: status is fetched, extended, resumed, verified, failed or skipped (not tried)."""

    name: str
    path: Path
    status: str
    count: int = 0
    bytes: int = 0
    transferred: int = 0
    message: str = ""


@dataclass(frozen=True)
class FetchResult:
    """The outcomes in the order of the classes; `paths` maps each class to its file."""

    folder: Path
    files: list[FileOutcome]

    @property
    def failures(self) -> list[FileOutcome]:
        """The classes that are not there."""
        return [file for file in self.files if file.status in ("failed", "skipped")]

    @property
    def paths(self) -> dict[str, Path]:
        """The file of each class that is there."""
        return {file.name: file.path for file in self.files if file.status not in ("failed", "skipped")}

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"folder": str(self.folder), "files": [asdict(file) | {"path": str(file.path)} for file in self.files]}


class Progress(Protocol):
    """Hears how a fetch goes, from several threads."""

    def begin(self, names: Sequence[str]) -> None:
        """Hear which classes will be fetched."""

    def bytes(self, name: str, done: int, total: int | None) -> None:
        """Hear that `done` of `total` source bytes (None: unknown) of a class have been read."""

    def note(self, message: str) -> None:
        """Hear about a new try, a lock or a damaged file."""

    def finished(self, outcome: FileOutcome) -> None:
        """Hear how one class ended."""


class Silence:
    """A Progress that says nothing."""

    def begin(self, names: Sequence[str]) -> None:
        """Say nothing."""

    def bytes(self, name: str, done: int, total: int | None) -> None:
        """Say nothing."""

    def note(self, message: str) -> None:
        """Say nothing."""

    def finished(self, outcome: FileOutcome) -> None:
        """Say nothing."""


@dataclass
class _Fetch:
    """One running fetch, shared by its threads."""

    settings: FetchSettings
    folder: Path
    progress: Progress
    manifest: Manifest
    stop: threading.Event = field(default_factory=threading.Event)
    giving_up: str = ""  # why the classes that have not begun are not tried

    def one(self, name: str) -> FileOutcome:
        """Bring one class up to date."""
        settings, relative = self.settings, relative_path(name, self.settings.format)
        target = self.folder / relative
        wanted = settings.per_class or None
        entry = self.manifest.intact(relative)
        kind = _selection(settings)
        part = Part(self.folder / ".partial" / relative)
        if entry is not None and entry.kind == kind and (entry.whole or (wanted and entry.count >= wanted)):
            part.remove()
            return FileOutcome(name, target, "verified", entry.count, entry.bytes)
        extends = entry is not None and entry.kind == kind
        resumes = part.note.exists()
        if entry is None and target.exists() and not resumes:
            self.progress.note(f"{name}: {target} is unknown or damaged, fetching it anew")
        seed = None
        if entry is not None and extends and not resumes:
            prologue = entry.bytes - entry.count * 784 if kind == "rows" else 0
            seed = partial(part.seed, target, prologue, entry.source, entry.state)
        done = download(
            source_url(settings.base_url, name, settings.format),
            target,
            partial(_selector, settings, name),
            part=part,
            seed=seed,
            patience=Patience(settings.timeout, settings.retries, settings.retry_wait),
            stop=self.stop,
            on_bytes=partial(self.progress.bytes, name),
            on_retry=self.progress.note,
        )
        self.manifest.record(relative, done)
        part.remove()
        status = "extended" if extends else "resumed" if resumes else "fetched"
        few = f"the source has only {done.count:,} drawings" if (wanted or 0) > done.count else ""
        return FileOutcome(name, target, status, done.count, done.bytes, done.transferred, few)

    def attempt(self, name: str) -> FileOutcome:
        """Bring one class up to date, or say why that failed; a full disk or an unreachable server ends it for all."""
        target = self.folder / relative_path(name, self.settings.format)
        if self.giving_up:
            return FileOutcome(name, target, "skipped", message=self.giving_up)
        try:
            return self.one(name)
        except InksightError as error:
            if isinstance(error, DiskFullError) or (isinstance(error, PassingError) and not error.reached):
                self.giving_up = f"not tried: {error.message}"
            return FileOutcome(name, target, "failed", message=sentences(error.message, error.hint))


def fetch(
    classes: Sequence[str],
    *,
    settings: FetchSettings | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
    strict: bool = True,
    **options: Any,
) -> FetchResult:
    """Bring the first `per_class` drawings of each class to `folder` and return where they are.

    `options` are fields of FetchSettings (per_class, base_url, format, ...). A Ctrl-C leaves what has arrived for the
    next call. With `strict`, raises DownloadError when any class is missing at the end; else see `failures`.
    Raises NotFoundError for an unknown class, UsageError for a wrong option.
    """
    settings = settings or resolve(FetchSettings, options=options)
    progress = progress or Silence()
    names = list(dict.fromkeys(known_class(name) for name in classes))
    if settings.recognized_only and settings.format == "numpy_bitmap":
        raise UsageError(
            "--recognized-only: bitmaps do not say whether they were recognised",
            hint="Use it with --format simplified or --format raw.",
        )
    scheme_of(settings.base_url)
    folder = folder or settings.folder or workspace().drawings
    folder.mkdir(parents=True, exist_ok=True)
    with _only_one(folder, progress):
        job = _Fetch(settings, folder, progress, Manifest(folder))
        progress.begin(names)
        outcomes = _in_threads(job.attempt, names, settings.jobs, job.stop, progress.finished)
        _remove_empty(folder / ".partial")
    result = FetchResult(folder, [outcomes[name] for name in names])
    if strict and result.failures:
        raise failure(result)
    return result


def failure(result: FetchResult) -> DownloadError:
    """Return the error that sums up a result with failures."""
    failed = result.failures
    tried = [file for file in failed if file.status == "failed"] or failed
    return DownloadError(
        f"{len(failed)} of {len(result.files)} classes could not be fetched: "
        + "; ".join(f"{file.name} ({file.message})" for file in tried[:5])
        + (f"; and {len(failed) - 5} more" if len(failed) > 5 else ""),
        hint="What was fetched is kept; the same command goes on from there." if result.paths else "",
    )


def check(classes: Sequence[str], *, settings: FetchSettings | None = None, **options: Any) -> dict[str, int | None]:
    """Ask whether each class exists at the source: its size in bytes (-1: unknown), None when it does not.

    Nothing is downloaded; a server that is busy is asked again. Raises DownloadError when it cannot be asked.
    """
    settings = settings or resolve(FetchSettings, options=options)
    names = list(dict.fromkeys(known_class(name) for name in classes))
    scheme_of(settings.base_url)

    patience, stop = Patience(settings.timeout, settings.retries, settings.retry_wait), threading.Event()

    def ask(name: str) -> int | None:
        attempt = 0
        while True:
            try:
                return exists(source_url(settings.base_url, name, settings.format), timeout=settings.timeout)
            except PassingError as error:
                attempt += 1
                given_up = not error.reached or attempt > patience.retries
                if given_up or stop.wait(patience.pause(attempt, error.retry_after)):
                    raise

    answers = _in_threads(ask, names, settings.jobs, stop, lambda answer: None)
    return {name: answers[name] for name in names}


def relative_path(name: str, format: str) -> str:
    """Return a class's path in the bucket and in the download folder, e.g. full/numpy_bitmap/alarm clock.npy."""
    return f"full/{format}/{name}{_SUFFIXES[format]}"


def source_url(base_url: str, name: str, format: str) -> str:
    """Return the URL of a class's file."""
    return f"{base_url.rstrip('/')}/{urllib.parse.quote(relative_path(name, format))}"


def _selection(settings: FetchSettings) -> str:
    if settings.format == "numpy_bitmap":
        return "rows"
    return "recognized" if settings.recognized_only else "lines"


def _selector(settings: FetchSettings, name: str) -> Selector:
    wanted = settings.per_class or None
    if settings.format == "numpy_bitmap":
        return BitmapRows(wanted)
    return StrokeLines(wanted, name, settings.recognized_only)


@contextmanager
def _only_one(folder: Path, progress: Progress) -> Iterator[None]:
    """Hold the folder's lock, which the system frees when its holder dies; wait for another fetch to end."""
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.note(f"another fetch is writing to {folder}; waiting for it to end")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _in_threads(
    work: Callable[[str], T], names: Sequence[str], jobs: int, stop: threading.Event, finished: Callable[[T], None]
) -> dict[str, T]:
    """Apply `work` to every name in up to `jobs` threads; a Ctrl-C sets `stop`, waits a little and is passed on."""
    todo: queue.SimpleQueue[str] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[str, T | BaseException]] = queue.SimpleQueue()
    for name in names:
        todo.put(name)

    def loop() -> None:
        while not stop.is_set():
            try:
                name = todo.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((name, work(name)))
            except Stopped:
                return
            except BaseException as error:  # noqa: BLE001  (raised again in the caller's thread)
                done.put((name, error))

    # Daemons: a thread that hangs in a stalled connection must not keep the process after Ctrl-C.
    threads = [threading.Thread(target=loop, daemon=True) for _ in range(min(jobs, len(names)))]
    for thread in threads:
        thread.start()
    results: dict[str, T] = {}
    try:
        while len(results) < len(names):
            name, result = done.get()
            if isinstance(result, BaseException):
                raise result
            results[name] = result
            finished(result)
    finally:
        stop.set()
        deadline = time.monotonic() + 2.0
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
    return results


def _remove_empty(folder: Path) -> None:
    """Remove the tree when no part is left in it."""
    if folder.is_dir() and not any(path.is_file() for path in folder.rglob("*")):
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir()
        folder.rmdir()
