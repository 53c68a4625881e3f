"""The page: a handful of files read once at start and answered from memory.

A path from a client is only ever looked up among the files that were found at start; it never reaches the disk.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

WEB = Path(__file__).resolve().parents[2] / "web"

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}

# blob: is for the drawing that the player downloads or looks at; nothing else may come from outside this server.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class Asset:
    """A file of the page, plain and compressed."""

    content: bytes
    compressed: bytes
    media_type: str
    etag: str


def load_assets(folder: Path = WEB) -> dict[str, Asset]:
    """Read the page's files; the keys are their paths with slashes, e.g. `js/app.js`."""
    assets = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in _TYPES:
            content = path.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
            assets[path.relative_to(folder).as_posix()] = Asset(
                content, gzip.compress(content, 6, mtime=0), _TYPES[path.suffix], etag
            )
    return assets


def page_router(assets: dict[str, Asset]) -> APIRouter:
    """Return the routes `/` and `/web/...`."""
    router = APIRouter(include_in_schema=False)

    def answer(request: Request, name: str) -> Response:
        asset = assets.get(name)
        if asset is None:
            raise HTTPException(404)
        # no-cache: the browser keeps a copy but asks whether it is still current, which costs one small request.
        headers = {"ETag": asset.etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if asset.media_type.startswith("text/html"):
            headers["Content-Security-Policy"] = PAGE_POLICY
        if request.headers.get("if-none-match") == asset.etag:
            return Response(status_code=304, headers=headers)
        packed = "gzip" in request.headers.get("accept-encoding", "") and len(asset.compressed) < len(asset.content)
        if packed:
            headers["Content-Encoding"] = "gzip"
        return Response(asset.compressed if packed else asset.content, headers=headers, media_type=asset.media_type)

    @router.get("/")
    async def index(request: Request) -> Response:
        return answer(request, "index.html")

    @router.get("/web/{name:path}")
    async def asset(request: Request, name: str) -> Response:
        return answer(request, name)

    return router
