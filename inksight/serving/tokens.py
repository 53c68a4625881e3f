"""Admin tokens: random, scoped, kept only as hashes.

    inksight tokens add alice --scope models --scope review      prints the token, once

The file (tokens.json in the workspace, mode 0600) holds SHA-256 sums. A token has 256 random bits, so a fast hash is
as good as a slow one; the comparison takes the same time wherever two sums differ. Changes count at once, without a
restart.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inksight.errors import ConflictError, InksightError, UsageError, unknown
from inksight.workspace import atomic_path, workspace

SCOPES = {
    "models": "move aliases: promote and roll back",
    "review": "read and decide corrections",
    "logs": "read logged predictions and replay them",
    "experiments": "start and stop A/B tests",
    "jobs": "start, watch and cancel retrains and trainings",
}


class UnauthorizedError(InksightError):
    """No token, or one that is not known."""

    http_status = 401
    code = "unauthorized"


class ForbiddenError(InksightError):
    """The token is known and lacks the scope."""

    http_status = 403
    code = "forbidden"


@dataclass(frozen=True)
class Holder:
    """Whose token it is and what it allows."""

    name: str
    scopes: tuple[str, ...]

    def expect(self, scope: str) -> None:
        """Raise ForbiddenError unless the token allows `scope`."""
        if scope not in self.scopes:
            raise ForbiddenError(
                f"the token {self.name!r} does not allow {scope!r}", hint=f"It allows: {', '.join(self.scopes)}"
            )


class Tokens:
    """The tokens of a workspace."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or workspace().home / "tokens.json"
        self._read_at: tuple[int, int] | None = None
        self._known: dict[str, Any] = {}

    def add(self, name: str, scopes: Sequence[str]) -> str:
        """Make a token and return it; it is shown this once. Raises UsageError or ConflictError."""
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,60}", name):
            raise UsageError(f"token name {name!r} is not valid", hint="Use letters, digits and . _ - (at most 60).")
        for scope in scopes:
            if scope not in SCOPES:
                raise unknown("scope", scope, SCOPES)
        if not scopes:
            raise UsageError("--scope is missing", hint=f"Choose from: {', '.join(SCOPES)}")
        known = dict(self._load())
        if name in known:
            raise ConflictError(f"there is a token {name!r} already", hint=f"inksight tokens remove {name}")
        token = f"ink_{secrets.token_urlsafe(32)}"
        made = datetime.now(UTC).isoformat(timespec="seconds")
        known[name] = {"sha256": _digest(token), "scopes": sorted(set(scopes)), "made": made}
        self._save(known)
        return token

    def remove(self, name: str) -> None:
        """Forget a token; raises NotFoundError."""
        known = dict(self._load())
        if name not in known:
            raise unknown("token", name, known)
        del known[name]
        self._save(known)

    def all(self) -> dict[str, Any]:
        """Return scopes and time of each token by name, without its hash."""
        return {name: {k: v for k, v in facts.items() if k != "sha256"} for name, facts in self._load().items()}

    def check(self, token: str | None, scope: str | None) -> Holder:
        """Return who holds a token that allows `scope` (None: any); raises UnauthorizedError or ForbiddenError."""
        hint = "Send the header Authorization: Bearer TOKEN; `inksight tokens add` makes one."
        if not token:
            raise UnauthorizedError("this needs an admin token", hint=hint)
        digest = _digest(token)
        found: Holder | None = None
        for name, facts in self._load().items():
            # No early end: how long it takes must not depend on which token it is.
            if hmac.compare_digest(digest, facts["sha256"]):
                found = Holder(name, tuple(facts["scopes"]))
        if found is None:
            raise UnauthorizedError("the token is not known", hint=hint)
        if scope is not None:
            found.expect(scope)
        return found

    def _load(self) -> dict[str, Any]:
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            return {}
        stamp = (stat.st_mtime_ns, stat.st_ino)
        if stamp != self._read_at:
            self._known = json.loads(self.path.read_text(encoding="utf-8"))
            self._read_at = stamp
        return self._known

    def _save(self, known: dict[str, Any]) -> None:
        with atomic_path(self.path, mode=0o600) as temporary:
            temporary.write_text(json.dumps(known, indent=2), encoding="utf-8")


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
