"""Where things live: one folder with downloads, datasets, runs, artefacts and the database.

    $INKSIGHT_HOME (default: ./inksight-home)
    ├── downloads/      raw source files, laid out as at their origin
    ├── datasets/       dataset files (<name>.h5)
    ├── runs/           one folder per training run: settings, checkpoints, history, plots, bundle, report
    ├── matrices/       one folder per train-all: its jobs, their logs and results, the report
    ├── tuning/         one folder per study: its trials
    ├── reports/        one folder per evaluation or study that was reported
    ├── jobs/           what the service's jobs said
    ├── stations/       jobs that a cluster gave to this machine
    ├── presets/        the user's own datasets, recipes and search spaces; they win over the package's
    ├── cache/          bundles from the registry, features of frozen backbones
    ├── tokens.json     who may do what at the service
    ├── artifacts/      the registry's artefact root, unless INKSIGHT_ARTIFACTS says otherwise (a folder or s3://...)
    ├── inksight.db     the registry's SQLite file, unless INKSIGHT_DATABASE_URL says otherwise
    └── tuning.db       the studies, beside it

Folders are made when they are first written to, not when they are named.
"""

from __future__ import annotations

import glob
import json
import os
import re
import secrets
import shutil
import signal
import tempfile
import threading
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any


@dataclass(frozen=True)
class Workspace:
    """The resolved locations; `home` is absolute."""

    home: Path
    database_url: str
    artifacts: str

    @property
    def downloads(self) -> Path:
        """The folder of raw source files."""
        return self.home / "downloads"

    @property
    def drawings(self) -> Path:
        """Return the folder of Quick, Draw! files, laid out as the public bucket is."""
        return self.downloads / "quickdraw"

    @property
    def datasets(self) -> Path:
        """The folder of dataset files."""
        return self.home / "datasets"

    @property
    def runs(self) -> Path:
        """The folder of training runs."""
        return self.home / "runs"

    def dataset_path(self, name: str) -> Path:
        """Return where the dataset file of that name lives."""
        return self.datasets / f"{name}.h5"

    def new_run(self, name: str) -> Path:
        """Return a fresh run folder path such as runs/20260131-120000-name-1a2b (not yet made)."""
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        safe = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-") or "run"
        return self.runs / f"{stamp}-{safe}-{secrets.token_hex(2)}"


def workspace(environ: Mapping[str, str] | None = None) -> Workspace:
    """Return the workspace that INKSIGHT_HOME, INKSIGHT_DATABASE_URL and INKSIGHT_ARTIFACTS describe."""
    environ = os.environ if environ is None else environ
    home = Path(environ.get("INKSIGHT_HOME") or "inksight-home").expanduser().resolve()
    return Workspace(
        home=home,
        database_url=environ.get("INKSIGHT_DATABASE_URL") or f"sqlite:///{home / 'inksight.db'}",
        artifacts=environ.get("INKSIGHT_ARTIFACTS") or str(home / "artifacts"),
    )


@contextmanager
def atomic_path(target: Path, *, mode: int = 0o666, folder: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path that replaces `target` when the block ends well and vanishes when it fails.

    It lies beside `target`, or in a `folder` of the same file system. The data is flushed to disk before the rename, so
    a crash leaves the old file or the new one, never half of one. Who may read it is `mode` less what the umask takes.
    """
    folder = folder or target.parent
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=f".tmp{target.suffix}", dir=folder)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        # mkstemp makes 0600 files; a file that others should read needs what the umask allows.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(mode & ~umask)
        os.replace(temporary, target)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


@contextmanager
def work_folder(target: Path) -> Iterator[Path]:
    """Yield a folder beside `target` for what is needed only until that is made; it goes when the block ends.

    So too by SIGTERM, which then ends the process as it always did. After SIGKILL and power cuts the next block for the
    same target removes what was left: an owner that lives holds the lock in its folder.
    """
    from filelock import FileLock, Timeout

    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}.work-"
    for left in target.parent.glob(f"{glob.escape(prefix)}*"):
        lock = FileLock(left / "lock")
        with suppress(Timeout, OSError), lock.acquire(timeout=0):
            shutil.rmtree(left, ignore_errors=True)
    with _tidied_on_sigterm():
        # Locked before it has the name by which another process would take it for a dead one's.
        fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.new-", dir=target.parent))
        folder = target.parent / f"{prefix}{secrets.token_hex(4)}"
        try:
            with FileLock(fresh / "lock"):
                fresh.rename(folder)
                yield folder
        finally:
            for path in (fresh, folder):
                shutil.rmtree(path, ignore_errors=True)


class _Terminated(BaseException):
    """SIGTERM arrived; nothing but a block that cleans up should care."""


@contextmanager
def _tidied_on_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind the block before it ends the process; a second one ends it at once.

    Signals reach only the main thread, and whoever handles SIGTERM already goes on doing so: then nothing changes.
    """
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if not ours:
        yield
        return

    def unwind(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise _Terminated

    signal.signal(signal.SIGTERM, unwind)
    try:
        yield
    except _Terminated:
        os.kill(os.getpid(), signal.SIGTERM)
        raise
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def write_text(target: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def readable_json(value: Any, *, default: Callable[[Any], Any] | None = None) -> str:
    """Return JSON for people: indented, with lists of nothing but numbers on one line each, such as a matrix's rows.

    `default` is json.dumps' own; raises what json.dumps raises, ValueError for NaN and infinities too.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=default)
    # Strings hold no raw line break, so nothing inside one is touched.
    return re.sub(
        r"\[\n[\s\d.,eE+-]*\]", lambda found: re.sub(r"\s+", " ", found[0]).replace("[ ", "[").replace(" ]", "]"), text
    )


NAME_LENGTH = 200
"""Longest name, in characters, of a model, a run or a class."""


def is_path(text: str) -> bool:
    """Tell what cannot name a file or folder: it is hidden, or leads elsewhere."""
    return text.startswith(".") or "/" in text or "\\" in text


def is_printable(text: str) -> bool:
    """Tell whether a terminal and UTF-8 can show a text: no control characters, no lone halves of a character."""
    return not any(unicodedata.category(sign) in ("Cc", "Cs") for sign in text)


def write_json(target: Path, value: Any) -> None:
    """Write a file of readable JSON atomically."""
    write_text(target, readable_json(value) + "\n")
