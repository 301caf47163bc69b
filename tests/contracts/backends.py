"""The stores that the contract runs against, and how their servers are started.

A further store is one more line in BACKENDS: its readable id, the program that its server needs
if it needs one, and a context manager that starts that server in an empty folder, gives the
store's URL, and stops the server at the end.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers import PostgresServer, RedisServer, program, running


@dataclass(frozen=True)
class Backend:
    """One way to keep messages."""

    id: str
    serve: Callable[[Path], AbstractContextManager[str]]
    program: str | None = None

    def require(self) -> None:
        """Skips the test if the store's server is not installed; in CI, fails it."""
        if self.program is None or program(self.program) is not None:
            return
        reason = f"the store {self.id} needs {self.program}, which is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@contextmanager
def serve_sqlite(folder: Path) -> Iterator[str]:
    yield f"sqlite:///{folder / 'chat.db'}"


@contextmanager
def serve_postgres(folder: Path) -> Iterator[str]:
    with running(PostgresServer(folder)) as server:
        yield server.url


@contextmanager
def serve_redis(folder: Path) -> Iterator[str]:
    with running(RedisServer(folder)) as server:
        yield server.url


BACKENDS = [
    Backend("memory", lambda folder: nullcontext("memory://")),
    Backend("sqlite", serve_sqlite),
    Backend("postgresql", serve_postgres, program="postgres"),
    Backend("redis", serve_redis, program="redis-server"),
]
