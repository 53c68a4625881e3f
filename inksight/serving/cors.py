"""Which other sites' scripts may use the service (--cors-origins), and a refusal in the one shape of errors."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from inksight.serving.errors import error_response


class CrossOrigin(CORSMiddleware):
    """ASGI middleware that tells browsers what pages of other origins may do."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer what a browser asks before it lets a page of another site ask."""
        response = super().preflight_response(request_headers)
        if response.status_code == 200:
            return response
        headers = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
        allowed = f"{', '.join(self.allow_methods)} with the headers {', '.join(self.allow_headers)}"
        hint = f"The sites of --cors-origins may send {allowed}."
        return error_response(400, "bad_request", bytes(response.body).decode(), hint, headers=headers)
