"""Logs as JSON lines on standard error: time, level, event, and the request's id where there is one."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import orjson

logger = logging.getLogger("inksight.serving")


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON line; the fields given to `log` stand beside the message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def log(event: str, *, level: int = logging.INFO, error: Any = None, **fields: Any) -> None:
    """Log an event with its fields and `error`: an exception with its traceback, or the dict of a deliberate one."""
    if isinstance(error, dict):
        fields["error"], error = error, None
    if logger.isEnabledFor(level):
        logger.log(level, event, extra={"fields": fields}, exc_info=error)


def config(level: str = "INFO") -> dict[str, Any]:
    """Return the logging configuration for the service and uvicorn: everything to standard error, as JSON lines."""
    names = ("inksight", "uvicorn", "uvicorn.error", "uvicorn.access")
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JsonFormatter}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "loggers": {name: {"handlers": ["stderr"], "level": level, "propagate": False} for name in names},
    }
