"""Every error that Inksight raises on purpose, in one small tree.

    InksightError            exit code 1, HTTP 500
    ├── UsageError           what the caller gave is wrong: exit code 2, HTTP 422
    │   ├── NotFoundError    a name that does not exist: exit code 2, HTTP 404
    │   ├── DrawingError     strokes or a picture that cannot be read
    │   └── ConflictError    the request contradicts the present state: exit code 2, HTTP 409
    ├── DataError            a source or dataset file is broken
    ├── DownloadError        a remote file could not be had; may pass by itself
    ├── BundleError          a bundle is broken, unsafe or does not match its description
    ├── TrainingError        a training run cannot start or go on
    ├── GateError            a promotion gate said no
    ├── MissingPartError     an optional package or program is not installed
    └── UnavailableError     a server (database, storage, tracker) does not answer: HTTP 503

An error carries a message (what happened, with the value) and a hint (the valid choices or the way out).
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable
from typing import Any


class InksightError(Exception):
    """Base of all deliberate errors: a message for people, a hint, an exit code and an HTTP status."""

    exit_code = 1
    http_status = 500
    code = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def as_dict(self) -> dict[str, Any]:
        """Return the one error shape that the command line (--json) and the HTTP service share."""
        return {"error": {"code": self.code, "message": self.message, "hint": self.hint}}


class UsageError(InksightError):
    """The caller gave a wrong value; the message names the option and the value, the hint the valid choices."""

    exit_code = 2
    http_status = 422
    code = "invalid"


class NotFoundError(UsageError):
    """A class, preset, model, version or file of that name does not exist."""

    http_status = 404
    code = "not_found"


class DrawingError(UsageError):
    """Strokes or a picture cannot be understood as a drawing."""

    code = "invalid_drawing"


class ConflictError(UsageError):
    """The request contradicts the present state, e.g. removing a version that is being served."""

    http_status = 409
    code = "conflict"


class DataError(InksightError):
    """A source or a dataset file is broken or holds what it should not."""

    code = "bad_data"


class DownloadError(InksightError):
    """A remote file could not be fetched whole; nothing half-written is left behind."""

    code = "download_failed"


class BundleError(InksightError):
    """A model bundle is incomplete, unsafe, or does not match its own description."""

    code = "bad_bundle"


class TrainingError(InksightError):
    """A training run cannot start, or stopped for a reason the user can act on."""

    code = "training_failed"


class GateError(InksightError):
    """A promotion was refused by a gate; the message states the gate with its numbers."""

    http_status = 409
    code = "gate_refused"


class MissingPartError(InksightError):
    """An optional package or program is needed and not installed; the hint says how to install it."""

    code = "missing_part"


class UnavailableError(InksightError):
    """A server that Inksight depends on (database, storage, tracker) does not answer."""

    http_status = 503
    code = "unavailable"


class AwayError(UnavailableError):
    """The database or the artefact root cannot be reached. The message says where it is: not for strangers."""


FULL = (errno.ENOSPC, errno.EDQUOT)


def of_system(error: OSError) -> InksightError | None:
    """Return what an error of the file system means to people; None for one that says neither where nor why.

    A folder that may not be written to, a file where a folder should be and a full disk are nobody's slip in the code.
    """
    where = f"{error.filename2 or error.filename}: " if error.filename else ""
    if error.errno in FULL:
        return InksightError(
            f"{where}no space left on the disk",
            hint="Free some space, or write elsewhere: what the command names no place for lies under INKSIGHT_HOME.",
        )
    if not where or not error.strerror:
        return None
    # What making a folder says where a file is in the way.
    no_folder = error.errno in (errno.EEXIST, errno.ENOTDIR)
    return InksightError(f"{where}{'there is a file where a folder should be' if no_folder else error.strerror}")


def sentences(*texts: str) -> str:
    """Return texts as one: each but the last ends in a full stop where it has no end of its own."""
    said = [text for text in texts if text]
    return " ".join([*(text if text.endswith((".", "?", "!")) else f"{text}." for text in said[:-1]), *said[-1:]])


def nearest(name: str, choices: Iterable[str], count: int = 5) -> list[str]:
    """Return up to `count` of `choices` that resemble `name`, best first, ignoring case."""
    by_lower = {choice.lower(): choice for choice in choices}
    matches = difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=0.5)
    # difflib puts dragon before dog for "dgo"; letters in the wrong order are the likelier slip.
    matches.sort(key=lambda match: sorted(match) != sorted(name.lower()))
    return [by_lower[match] for match in matches]


def unknown(kind: str, name: str, choices: Iterable[str], *, option: str = "") -> NotFoundError:
    """Build the error for a name that is none of `choices`: nearest names first, else all of them (at most 40)."""
    choices = sorted(choices)
    close = nearest(name, choices)
    if close:
        hint = "Did you mean " + ", ".join(close) + "?"
    elif choices:
        hint = f"Choose one of: {', '.join(choices[:40])}" + (" ..." if len(choices) > 40 else "")
    else:
        hint = f"There is no {kind} yet."
    where = f" for {option}" if option else ""
    return NotFoundError(f"unknown {kind} {name!r}{where}", hint=hint)
