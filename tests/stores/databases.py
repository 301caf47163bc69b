"""Empty databases for tests of the SQL stores, as many as are asked for."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from tests.contracts.backends import BACKENDS
from tests.servers import PostgresServer, running

KINDS = ("sqlite", "postgresql")

NewDatabase: TypeAlias = Callable[[], str]
"""Makes an empty database and returns the URL of a store in it."""


@contextmanager
def databases(kind: str, folder: Path) -> Iterator[NewDatabase]:
    """Starts a server, if that kind needs one; skips the test if it is not installed."""
    [backend] = [backend for backend in BACKENDS if backend.id == kind]
    backend.require()
    if kind == "sqlite":
        yield lambda: f"sqlite:///{folder / uuid.uuid4().hex}.db"
        return
    server = PostgresServer(folder)
    with running(server):
        yield lambda: server.create_database(uuid.uuid4().hex)
