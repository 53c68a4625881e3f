"""The HTTP service: models behind `/v1`, the page to draw on, metrics.

    from inksight.serving import create_app
    app = create_app(models=["doodles"])              # an ASGI application; `inksight serve` runs it with uvicorn

Everything is imported on first use, so that `inksight --help` never loads FastAPI or NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inksight.serving.app import create_app
    from inksight.serving.run import serve

_HOMES = {"create_app": "inksight.serving.app", "serve": "inksight.serving.run"}

__all__ = ["create_app", "serve"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'inksight.serving' has no attribute {name!r}")
