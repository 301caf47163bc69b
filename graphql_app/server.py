"""Serving the application with uvicorn."""

import asyncio
import logging
import os
import socket
import threading
from copy import deepcopy
from types import FrameType

import uvicorn
from starlette.applications import Starlette
from uvicorn.config import LOGGING_CONFIG

from graphql_app.settings import Settings

logger = logging.getLogger(__name__)

GRACEFUL_SECONDS = 3
"""How long an HTTP response that streams may hold up the shutdown."""

LINGER_SECONDS = 1.0
"""How long the process may take to end after everything is closed."""


class ExpectedFaults(logging.Filter):
    """Keeps tracebacks out of the log that uvicorn writes for what is no defect of ours."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, UnicodeDecodeError):  # A client's frame is no UTF-8.
            record.exc_info = None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        # At the end of a shutdown, uvicorn cancels the responses that still stream.
        return not isinstance(error, asyncio.CancelledError)


class Server(uvicorn.Server):
    """uvicorn, which says in one line what is served and where, and which always ends."""

    def __init__(self, config: uvicorn.Config, settings: Settings) -> None:
        super().__init__(config)
        self._settings = settings
        self._exit_status = 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        settings = self._settings
        port = self.servers[0].sockets[0].getsockname()[1]
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        logger.info(
            "graphql_app is running on http://%s:%d (store %s, completion %s); Ctrl-C ends it",
            host,
            port,
            settings.store,
            settings.completion,
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._exit_status = 128 + sig
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        # All is closed. What may still hold the interpreter up are completions that ignored their
        # cancellation, or that sit in a thread.
        watchdog = threading.Timer(LINGER_SECONDS, self._end)
        watchdog.daemon = True
        watchdog.start()

    def _end(self) -> None:
        logger.warning("ending in spite of completions that still run")
        logging.shutdown()
        os._exit(self._exit_status)


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
    logging.getLogger("uvicorn.error").addFilter(ExpectedFaults())
    Server(config, settings).run()


def _logging() -> dict[str, object]:
    """uvicorn's own way of logging, for us too; uvicorn itself only warns."""
    config = deepcopy(LOGGING_CONFIG)
    for name in ("uvicorn", "uvicorn.error"):
        config["loggers"][name]["level"] = "WARNING"
    config["loggers"]["graphql_app"] = {
        "handlers": ["default"],
        "level": "INFO",
        "propagate": False,
    }
    return config
