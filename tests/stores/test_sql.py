"""The SQL stores, beyond the contract: large databases, old ones, and writes between statements."""

import asyncio
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Engine, event

from graphql_app.errors import (
    FencedError,
    MessageClearedError,
    MessageNotFoundError,
    StoreUnavailableError,
)
from graphql_app.interfaces import Lease
from graphql_app.messages import ConversationRef, Ref, ReplyErrorCode, Status
from graphql_app.stores import open_store
from graphql_app.stores.sql import store as sql_store
from graphql_app.stores.sql.adding import Adding
from graphql_app.stores.sql.ending import Ending
from graphql_app.stores.sql.reading import Reading
from graphql_app.stores.sql.steps import UndoError
from graphql_app.stores.sql.store import SqlStore
from tests.contracts.scene import Scene, shown
from tests.faults import leaking_nothing
from tests.stores.databases import KINDS, NewDatabase, databases


@pytest.fixture(scope="module", params=KINDS)
def new_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NewDatabase]:
    with databases(request.param, tmp_path_factory.mktemp(request.param)) as new_database:
        yield new_database


@pytest.fixture
def url(new_database: NewDatabase) -> str:
    """Where an empty database is."""
    return new_database()


@pytest.fixture
async def store(url: str) -> AsyncIterator[SqlStore]:
    with leaking_nothing():
        store = open_store(url)
        assert isinstance(store, SqlStore)
        await store.open()
        yield store
        await store.close()


@pytest.fixture
async def scene(store: SqlStore) -> Scene:
    return Scene(store, "owner", await store.register(3600))


@asynccontextmanager
async def another(url: str) -> AsyncIterator[Scene]:
    """Another process."""
    store = open_store(url)
    await store.open()
    try:
        yield Scene(store, "owner", await store.register(3600))
    finally:
        await store.close()


class Database:
    """The database itself, seen without a store."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.is_sqlite = url.startswith("sqlite")

    async def run(self, statement: str) -> list[tuple[Any, ...]]:
        if self.is_sqlite:
            return await asyncio.to_thread(self._run_sqlite, statement)
        connection = await asyncpg.connect(self._url)
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    def _run_sqlite(self, statement: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self._url.removeprefix("sqlite:///"), isolation_level=None)
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()

    def numbers(self, first: int, last: int) -> str:
        """A table `numbers` of numbers `n`."""
        if self.is_sqlite:
            return (
                f"(WITH RECURSIVE each(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM each "
                f"WHERE n < {last}) SELECT n FROM each) AS numbers"
            )
        return f"generate_series({first}, {last}) AS numbers(n)"

    @property
    def now(self) -> str:
        """Milliseconds since 1970."""
        if self.is_sqlite:
            return "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
        return "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)"


@pytest.fixture
def database(url: str, store: SqlStore) -> Database:
    return Database(url)


async def load(
    database: Database, conversation: str, exchanges: int, *, epoch: int | None = None
) -> None:
    """Fills a conversation; its replies stream under that epoch, each with four pieces."""
    assert exchanges < 1_000_000
    status, content = ("DONE", "'word word word word '") if epoch is None else ("STREAMING", "''")
    ended = "2 * n + 1000000, 1000" if epoch is None else "NULL, NULL"
    await database.run(
        f"INSERT INTO conversation VALUES "
        f"('owner', '{conversation}', 3000000, 0, 3000000, 3000000, 3000000)"
    )
    await database.run(
        "INSERT INTO message (owner, id, conversation, role, status, content, created_at, "
        "newest_reply, added) "
        f"SELECT 'owner', '{conversation}-' || n, '{conversation}', 'USER', 'DONE', 'Hello', "
        f"2 * n, 'r-{conversation}-' || n, 2 * n FROM {database.numbers(1, exchanges)}"
    )
    await database.run(
        "INSERT INTO message (owner, id, conversation, role, status, content, created_at, "
        "reply_to, epoch, renewals, added, ended, ended_at) "
        f"SELECT 'owner', 'r-{conversation}-' || n, '{conversation}', 'ASSISTANT', '{status}', "
        f"{content}, 2 * n + 1, '{conversation}-' || n, {epoch or 'NULL'}, 0, 2 * n + 1, {ended} "
        f"FROM {database.numbers(1, exchanges)}"
    )
    if epoch is not None:
        for piece in range(1, 5):
            await database.run(
                f"INSERT INTO piece SELECT 'owner', 'r-{conversation}-' || n, {5 * piece}, 'word ' "
                f"FROM {database.numbers(1, exchanges)}"
            )


# Plans.

SLOW = re.compile(r"Seq Scan on (message|piece|conversation|cleared)|SCAN (message|piece|cleared)")
"""What databases say of a statement that reads all of a table that grows. Only the rare search for
conversations that were forgotten may do so."""


@contextmanager
def noting_statements() -> Iterator[dict[str, Any]]:
    """The statements that all stores run, and the parameters of each."""
    noted: dict[str, Any] = {}

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, _x: Any, many: bool) -> None:
        noted[statement] = parameters[0] if many else parameters

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield noted
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def plans(database: Database, url: str, statement: str, parameters: Any) -> list[str]:
    """How a statement would be run, with these parameters and, if that differs, with any."""
    if statement.startswith(("BEGIN", "PRAGMA")):
        return []
    if database.is_sqlite:
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        try:
            found = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
        finally:
            connection.close()
        return ["\n".join(row[3] for row in found)]
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"PREPARE this AS {statement}")
        values = ", ".join(
            "NULL" if each is None else str(each) if isinstance(each, int) else f"'{each}'"
            for each in parameters
        )
        execute = f"EXPLAIN EXECUTE this ({values})" if values else "EXPLAIN EXECUTE this"
        found = []
        for mode in ("force_custom_plan", "force_generic_plan"):
            await connection.execute(f"SET plan_cache_mode = {mode}")
            found.append("\n".join(row[0] for row in await connection.fetch(execute)))
    finally:
        await connection.close()
    return found


async def test_no_call_reads_all_of_a_large_table(
    scene: Scene, database: Database, url: str
) -> None:
    store = scene.store
    for number in range(10):
        await load(database, f"c{number}", 4_000)
    await load(database, "large", 10_000)
    for number in range(300):
        await load(database, f"small{number}", 1)
    gone = await store.register(0.001)
    await load(database, "lost", 100, epoch=gone.epoch)
    await load(database, "streaming", 500, epoch=scene.lease.epoch)
    await database.run(
        f"INSERT INTO cleared SELECT 'owner', 'gone-' || n, {database.now} "
        f"FROM {database.numbers(1, 20_000)}"
    )
    await database.run("ANALYZE")
    with noting_statements() as noted:
        await scene.add("m1", conversation="large")
        await scene.append("r-m1", 0, "text")
        await asyncio.gather(*(scene.append(f"r-streaming-{n}", 20, "text") for n in range(1, 9)))
        with pytest.raises(FencedError):
            await scene.append("r-large-1", 0, "text")
        await asyncio.gather(*(scene.read(f"r-streaming-{n}", 5) for n in range(1, 200)))
        await asyncio.gather(*(scene.read(f"r-large-{n}", 5) for n in range(1, 9)))
        with pytest.raises(MessageClearedError):
            await scene.read("gone-1")
        await scene.message("r-m1")
        await store.newest_reply(scene.ref("m1"))
        await scene.history("r-m1")
        await scene.ids("large", last=10, before="large-5000")
        await scene.events(None, "large", last=10)
        await scene.events(1_019_990, "large")
        await scene.conversations(10)
        await scene.finish("r-m1")
        await scene.stop("r-streaming-1")
        await store.renew(scene.lease, 1, {scene.ref("r-streaming-2")})
        assert await store.sweep() == 100
        await scene.clear("c1")
    slow = [
        f"{statement}\n{plan}"
        for statement, parameters in noted.items()
        if "FROM conversation" not in statement or "NOT (EXISTS" not in statement  # Housekeeping.
        for plan in await plans(database, url, statement, parameters)
        if SLOW.search(plan)
    ]
    assert "\n\n".join(slow) == ""
