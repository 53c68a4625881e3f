"""The artefact root: a folder, or a bucket such as s3://models/inksight, through fsspec.

What is stored never changes: every upload has a place of its own, and is read back and compared by SHA-256 before it
counts. An S3 server other than AWS is named by AWS_ENDPOINT_URL; credentials come from the usual AWS variables.
Not guaranteed: that a place without a version in the database is empty; `models clean --failed` removes leftovers.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from inksight.errors import AwayError, BundleError, MissingPartError, UsageError

_CHUNK = 1 << 20
_S3: dict[str, Any] = {
    # Neither clients nor listings are shared: credentials may change, and other processes add and remove what we see.
    "skip_instance_cache": True,
    "use_listings_cache": False,
    # s3fs itself tries five times; with botocore's five inside each, an outage took 25 s to be told.
    "config_kwargs": {"connect_timeout": 5, "read_timeout": 60, "retries": {"max_attempts": 1, "mode": "standard"}},
}

FileTable = Mapping[str, Mapping[str, Any]]
"""name -> {"bytes": int, "sha256": hex}"""


class Artifacts:
    """Stores folders of files below a root; `location` is a path relative to it."""

    def __init__(self, root: str) -> None:
        import fsspec

        self.root = root
        try:
            self._fs, self._path = fsspec.core.url_to_fs(root, **(_S3 if root.startswith("s3:") else {}))
        except ImportError as error:
            hint = "pip install 'inksight[s3]'" if root.startswith("s3:") else ""
            raise MissingPartError(f"the artefact root {root!r} needs a missing package: {error}", hint=hint) from None
        except ValueError as error:
            raise UsageError(f"INKSIGHT_ARTIFACTS: {root!r} is not usable: {error}") from None
        self._local = self._fs.protocol in ("file", ("file", "local"))

    def put(self, folder: Path, location: str, files: FileTable) -> None:
        """Upload the files of a folder and verify each by reading it back; raises BundleError when one differs."""
        with self._available():
            if self._local:  # a bucket has no folders, and this call would make a missing bucket
                self._fs.makedirs(self._at(location), exist_ok=True)
            for name, facts in files.items():
                with open(folder / name, "rb") as source, self._fs.open(self._at(location, name), "wb") as out:
                    while block := source.read(_CHUNK):
                        out.write(block)
                    if self._local:
                        out.flush()
                        os.fsync(out.fileno())
                self._verify(location, name, facts)

    def get(self, location: str, files: FileTable, folder: Path) -> None:
        """Copy the files into an existing folder, verified; raises BundleError when one is missing or differs."""
        with self._available():
            for name, facts in files.items():
                digest = hashlib.sha256()
                try:
                    with self._fs.open(self._at(location, name), "rb") as source, open(folder / name, "wb") as out:
                        while block := source.read(_CHUNK):
                            digest.update(block)
                            out.write(block)
                        out.flush()
                        os.fsync(out.fileno())
                except FileNotFoundError:
                    raise BundleError(f"{self.root}: {location}/{name} is missing") from None
                self._compare(location, name, digest.hexdigest(), facts)

    def delete(self, location: str) -> None:
        """Remove everything at a location; what is gone already is no error."""
        with self._available():
            while self._fs.exists(self._at(location)):
                with suppress(FileNotFoundError):  # another process removes the same; look again what is left
                    self._fs.rm(self._at(location), recursive=True)

    def exists(self, location: str) -> bool:
        """Whether anything is stored at a location."""
        with self._available():
            return bool(self._fs.exists(self._at(location)))

    def _at(self, *parts: str) -> str:
        return "/".join([self._path.rstrip("/"), *parts])

    def _verify(self, location: str, name: str, facts: Mapping[str, Any]) -> None:
        digest = hashlib.sha256()
        with self._fs.open(self._at(location, name), "rb") as stream:
            while block := stream.read(_CHUNK):
                digest.update(block)
        self._compare(location, name, digest.hexdigest(), facts)

    def _compare(self, location: str, name: str, digest: str, facts: Mapping[str, Any]) -> None:
        if digest != facts["sha256"]:
            raise BundleError(
                f"{self.root}: {location}/{name} is damaged: SHA-256 {digest[:12]}..., "
                f"{facts['sha256'][:12]}... was expected"
            )

    @contextmanager
    def _available(self) -> Iterator[None]:
        """Turn a storage that does not answer into AwayError."""
        try:
            yield
        except self._failures() as error:
            reason = str(error) or type(error).__name__
            hint = "Is the storage server running, and AWS_ENDPOINT_URL right?" if not self._local else ""
            raise AwayError(f"the artefact root {self.root} does not answer: {reason}", hint=hint) from error

    def _failures(self) -> tuple[type[Exception], ...]:
        if self._local:
            return (OSError,)
        import aiohttp
        from botocore.exceptions import BotoCoreError, ClientError

        return (OSError, BotoCoreError, ClientError, aiohttp.ClientError, TimeoutError)


def table_of(folder: Path, names: list[str]) -> dict[str, dict[str, Any]]:
    """Return size and SHA-256 of files in a folder."""
    table = {}
    for name in sorted(names):
        with open(folder / name, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        table[name] = {"bytes": (folder / name).stat().st_size, "sha256": digest}
    return table


def digest_of(files: FileTable) -> str:
    """Return one SHA-256 for a table of files: of the lines that sha256sum would print, sorted by name."""
    lines = "".join(f"{files[name]['sha256']}  {name}\n" for name in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()
