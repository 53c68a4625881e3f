"""What no text of a request may hold: the character NUL, which PostgreSQL refuses with an error of its own.

A dependency of all routes, so that none can forget it. Not looked at: /v1/predict and the pictures of forms, of which
no text reaches the database.
"""

from __future__ import annotations

import re

from fastapi import Request
from starlette.requests import HTTPConnection

from inksight.errors import UsageError

_ESCAPED = rb"\u0000"
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""NUL as JSON has it, always escaped; where the backslash is escaped itself, it is a text of six characters."""


async def refuse_nul(connection: HTTPConnection) -> None:
    """Raise UsageError where NUL is in the path, the query or a JSON body; a dependency of all routes."""
    if "\0" in connection.scope["path"] or b"%00" in connection.scope["query_string"]:
        raise UsageError("the address holds the character NUL", hint="Leave %00 out.")
    # The body limit counts the bytes of POST; of a form only pictures are long, and they may hold anything.
    if isinstance(connection, Request) and connection.method == "POST" and _is_json(connection):
        body = await connection.body()  # read once: the route gets the same bytes
        if _ESCAPED in body and _NUL.search(body):
            raise UsageError("the body holds the character NUL", hint="Leave \\u0000 out.")


def _is_json(request: Request) -> bool:
    return "json" in request.headers.get("content-type", "").lower()
