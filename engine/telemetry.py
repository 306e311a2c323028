"""Logging: one line an event, its facts as fields; text for people, JSON for machines."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog
from aiohttp.http_exceptions import HttpProcessingError

_SHARED: list[structlog.types.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def configure_logging(level: str = "info", shape: Literal["text", "json"] = "text") -> None:
    """Route structlog and the standard library's loggers to stderr in one shape."""
    renderers: list[structlog.types.Processor]
    if shape == "json":
        renderers = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        # Plain tracebacks: a fancy one shows local variables, and with them tokens and payloads.
        renderers = [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    server = logging.getLogger("aiohttp.server")
    server.filters[:] = [_not_a_clients_nonsense]
    # These say every connection and every request at info; the engine's own lines say what matters.
    for noisy in (
        "aiohttp.access",
        "engineio",
        "socketio",
        "aiosqlite",
        "alembic",
        "aioice",
        "aiortc",
    ):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))


def _not_a_clients_nonsense(record: logging.LogRecord) -> bool:
    """What is not HTTP was answered with 400: no failure of ours, and no reason to fill the log."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)
