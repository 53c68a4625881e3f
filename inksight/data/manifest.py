"""manifest.json beside the downloads: what each file holds, its SHA-256, and where it came from.

The manifest is rewritten atomically after every file. It is read and written under the fetch lock only.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inksight.data.download import Downloaded, Source
from inksight.workspace import write_text

FILE_NAME = "manifest.json"


@dataclass(frozen=True)
class Entry:
    """One file: `count` drawings, `bytes` bytes, its digest; `state` is the selector's, to extend the file by."""

    sha256: str
    bytes: int
    count: int
    source: Source
    state: dict[str, Any]
    fetched: str

    @property
    def whole(self) -> bool:
        """Whether the source holds no more drawings than the file."""
        return bool(self.state.get("ended")) or self.state.get("rows") == self.count

    @property
    def kind(self) -> str:
        """The selection: rows, lines or recognized."""
        return str(self.state["kind"])


class Manifest:
    """The entries by path relative to the folder, such as full/numpy_bitmap/cat.npy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / FILE_NAME
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        for leftover in folder.glob(f".{FILE_NAME}.*"):  # of a process killed while it wrote
            leftover.unlink(missing_ok=True)
        try:
            files = json.loads(self.path.read_text(encoding="utf-8"))["files"]
            self._entries = {
                name: Entry(**{**entry, "source": Source(**entry["source"])}) for name, entry in files.items()
            }
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError):
            # Unreadable: nothing can be trusted without its digest, so everything is fetched again.
            self.path.replace(self.path.with_name(FILE_NAME + ".damaged"))

    def get(self, name: str) -> Entry | None:
        """Return the entry of a file, if any."""
        return self._entries.get(name)

    def intact(self, name: str) -> Entry | None:
        """Return the entry when the file is there with the recorded SHA-256, else None."""
        entry, file = self.get(name), self.folder / name
        if entry is None or not file.is_file() or file.stat().st_size != entry.bytes:
            return None
        with open(file, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return entry if digest == entry.sha256 else None

    def record(self, name: str, done: Downloaded) -> None:
        """Add or replace the entry of a finished file and write the manifest."""
        entry = Entry(
            sha256=done.sha256,
            bytes=done.bytes,
            count=done.count,
            source=done.source,
            state=done.state,
            fetched=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        with self._lock:
            self._entries[name] = entry
            files = {key: asdict(self._entries[key]) for key in sorted(self._entries)}
            write_text(self.path, json.dumps({"version": 1, "files": files}, indent=1))
