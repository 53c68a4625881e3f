"""Who may do what: a dependency that asks for an admin token with a scope."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from inksight.serving.services import services
from inksight.serving.tokens import Holder

_bearer = HTTPBearer(auto_error=False, description="An admin token; `inksight tokens add` makes one.")


def requires(scope: str | None) -> Callable[..., Holder]:
    """Return a dependency that gives the holder of a token for `scope` (None: of any), or answers 401 or 403."""

    def check(
        request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
    ) -> Holder:
        return services(request).tokens.check(credentials.credentials if credentials else None, scope)

    return check
