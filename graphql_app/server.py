"""Serving the application with uvicorn."""

import logging
import sys
from copy import deepcopy

import uvicorn
from starlette.applications import Starlette
from uvicorn.config import LOGGING_CONFIG

from graphql_app.settings import Settings

GRACEFUL_SECONDS = 3
"""How long an HTTP response that streams may hold up the shutdown."""


class NotTheClientsTraceback(logging.Filter):
    """Keeps a client's invalid UTF-8 to one line: uvicorn logs it with a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], UnicodeDecodeError):
            record.exc_info = None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


def serve(app: Starlette, settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT; sockets are closed with 1012 then."""
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        ws="websockets-sansio",
        ws_max_size=settings.max_message_bytes,
        # Deflate costs 40 KB for each idle socket, and half of the time of each event.
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=_logging(),
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
    )
    logging.getLogger("uvicorn.error").addFilter(NotTheClientsTraceback())
    server = uvicorn.Server(config)
    server.run()
    if not server.started:
        sys.exit(1)


def _logging() -> dict[str, object]:
    config = deepcopy(LOGGING_CONFIG)
    config["loggers"]["graphql_app"] = {
        "handlers": ["default"],
        "level": "INFO",
        "propagate": False,
    }
    return config
