"""The SQLite store: one machine, any number of processes, no further service.

Each transaction is one call in a thread, so that it never waits for the event loop while it locks
others out. What other processes changed is learned by one poll for everything that is watched.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    URL,
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    FromClause,
    ScalarSelect,
    String,
    bindparam,
    create_engine,
    event,
    func,
    literal,
    select,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError, ProgrammingError

from graphql_app.errors import ConfigurationError, StoreUnavailableError
from graphql_app.interfaces import Lease, Topic
from graphql_app.messages import ConversationRef, Ref
from graphql_app.stores.outage import Outage
from graphql_app.stores.sql import migrations
from graphql_app.stores.sql.rows import Piece, end_of, given_pieces, json_of, same
from graphql_app.stores.sql.store import News, SqlStore
from graphql_app.stores.sql.tables import conversations, leases, messages, pieces
from graphql_app.stores.urls import kept_for, split_options, without_password
from graphql_app.stores.watchers import Watchers

T = TypeVar("T")

POLL_SECONDS = 0.03
BUSY_SECONDS = 3.0
"""How long a call waits for a process that writes, before the store counts as unavailable."""

MIGRATION_SECONDS = 60.0
READERS = 4

EXAMPLE = "sqlite:///chat.db (a relative path) or sqlite:////var/lib/chat.db (an absolute one)"


def from_url(url: str) -> "SqliteStore":
    """The store for `sqlite:///` and the path of a file, which is made if it is not there.

    Options: `ttl`, how long replies are kept; `synchronous`, `full` to survive a power loss.
    """
    base, options = split_options(url, "ttl", "synchronous")
    shown = without_password(url)
    path = base.removeprefix("sqlite://").removeprefix("/")
    if "?" in path:
        raise ConfigurationError(
            f"store: {shown!r} has an option that SQLite does not take; it takes ttl and "
            "synchronous."
        )
    if not base.startswith("sqlite:///") or path in ("", ":memory:") or path.endswith("/"):
        raise ConfigurationError(f"store: {shown!r} names no file; use {EXAMPLE}.")
    synchronous = options.get("synchronous", "normal").lower()
    if synchronous not in ("normal", "full"):
        raise ConfigurationError(f"store: synchronous must be normal or full, not {synchronous!r}.")
    return SqliteStore(Path(path), keep=kept_for(options), synchronous=synchronous)


class SqliteStore(SqlStore):
    """Keeps messages in a file, with a write-ahead log beside it.

    Args:
        path: the file. It must be on a disk of this machine.
        synchronous: "normal" keeps what was acknowledged through a killed process, "full" through
            a power loss too.
    """

    def __init__(
        self, path: Path, *, keep: timedelta | None = None, synchronous: str = "normal"
    ) -> None:
        super().__init__(keep)
        self._path = path
        self._engine = _engine(path, synchronous)
        self._outage = Outage(f"sqlite:///{path}")
        self._watchers: Watchers[Topic] = Watchers()
        self._seen: dict[Topic, object] = {}
        self._data_version = -1
        self._poll_connection: Connection | None = None
        self._poller: asyncio.Task[None] | None = None
        self._writing: ThreadPoolExecutor | None = None
        self._reading: ThreadPoolExecutor | None = None
        self._polling: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        if not self._path.parent.is_dir():
            raise ConfigurationError(
                f"store: the folder {str(self._path.parent)!r} of {self._path.name!r} is not there."
            )
        self._writing = ThreadPoolExecutor(1, "sqlite-writer")
        self._reading = ThreadPoolExecutor(READERS, "sqlite-reader")
        self._polling = ThreadPoolExecutor(1, "sqlite-poller")
        await self._in(self._writing, self._migrate)
        self._poller = asyncio.create_task(self._poll())

    async def close(self) -> None:
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.wait({self._poller})
            self._poller = None
        await self._appends.close()
        await self._reads.close()
        for threads in (self._writing, self._reading, self._polling):
            if threads is not None:
                # What is under way is waited for without holding up the loop.
                await asyncio.get_running_loop().run_in_executor(threads, lambda: None)
                threads.shutdown()
        self._writing = self._reading = self._polling = None
        if self._poll_connection is not None:
            self._poll_connection.close()
            self._poll_connection = None
        self._engine.dispose()

    async def migrate(self) -> str:
        """Brings the file to the newest version; returns a sentence that says so."""
        await self.open()
        await self.close()
        return f"sqlite:///{self._path} is at version {migrations.NEWEST}."

    def _migrate(self) -> None:
        with self._engine.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(MIGRATION_SECONDS * 1_000)}")
            _use_write_ahead_log(connection)
            _transact(connection, migrations.upgrade)
            connection.invalidate()  # The next one waits for less long.

    # Running steps.

    async def _in(self, threads: ThreadPoolExecutor | None, call: Callable[[], T]) -> T:
        if threads is None:
            raise RuntimeError("the store is not open")
        try:
            result = await asyncio.get_running_loop().run_in_executor(threads, call)
        except (DataError, IntegrityError, ProgrammingError):
            raise
        except DBAPIError as error:
            self._outage.begins(error.orig or error)
            raise StoreUnavailableError from error
        self._outage.ends()
        return result

    async def _look(self, step: Callable[[Connection], T]) -> T:
        def call() -> T:
            with self._engine.connect() as connection:
                return step(connection)

        return await self._in(self._reading, call)

    async def _write(self, step: Callable[[Connection, News], T]) -> T:
        news = News([])

        def call() -> T:
            with self._engine.connect() as connection:
                return _transact(connection, lambda connection: step(connection, news))

        result = await self._in(self._writing, call)
        self._watchers.wake(news.topics)
        return result

    async def _grow(self, group: Sequence[Piece]) -> set[Ref]:
        given = given_pieces(group)

        def call() -> set[Ref]:
            with self._engine.connect() as connection:
                rows = connection.execute(self._growth_told, {"given": given})
                return {Ref(row.owner, row.message) for row in rows}

        grown = await self._in(self._writing, call)
        for piece in group:
            # The next poll need not tell what is told now.
            if piece.ref in grown and piece.ref in self._seen:
                self._seen[piece.ref] = (None, piece.end_offset)
        self._watchers.wake(grown)
        return grown

    @cached_property
    def _growth_told(self) -> Any:
        return self._growth.returning(pieces.c.owner, pieces.c.message)

    # What SQLite does in its own way.

    @property
    def _now(self) -> ColumnElement[int]:
        # All processes are on this machine.
        return literal(time.time_ns() // 1_000, BigInteger)

    def _given(self, *columns: str) -> FromClause:
        each = func.json_each(bindparam("given", type_=String)).table_valued("value")
        return select(
            *(
                func.json_extract(each.c.value, f"$[{number}]").label(name)
                for number, name in enumerate(columns)
            )
        ).subquery("given")

    def _insert_or_ignore(self, table: Any) -> Any:
        return insert(table).on_conflict_do_nothing()

    def _insert_or_update(self, table: Any, values: dict[str, Any], changes: dict[str, Any]) -> Any:
        return insert(table).values(values).on_conflict_do_update(set_=changes)

    def _joined(self, *where: ColumnElement[bool]) -> ScalarSelect[str]:
        # The table has one tree, its primary key, and is read in the order of that.
        return select(func.group_concat(pieces.c.text, "")).where(*where).scalar_subquery()

    # News.

    def watch(self, topic: Topic, wake: Callable[[], None]) -> Callable[[], None]:
        return self._watchers.add(topic, wake)

    async def _poll(self) -> None:
        """Wakes the watchers of what has changed, by whatever process."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            topics = self._watchers.topics()
            with suppress(StoreUnavailableError):
                states = await self._in(self._polling, partial(self._changes, topics))
                changed = [
                    topic
                    for topic, state in states.items()
                    if topic not in self._seen or self._seen[topic] != state
                ]
                if states:
                    self._seen = states
                self._watchers.wake(changed)
            # Many watchers make a poll long; it never takes more than a fifth of the time.
            await asyncio.sleep(max(POLL_SECONDS, 4 * (loop.time() - began)))

    def _changes(self, topics: Sequence[Topic]) -> dict[Topic, object]:
        """The states of topics, or nothing if all are known and no process has written."""
        if self._poll_connection is None:
            self._poll_connection = self._engine.connect()
        try:
            # This changes with each commit of another connection, and costs next to nothing.
            version = self._poll_connection.exec_driver_sql("PRAGMA data_version").scalar_one()
            if version == self._data_version and all(topic in self._seen for topic in topics):
                return {}
            states = _states(self._poll_connection, topics, self._given)
        except DBAPIError:
            self._poll_connection.invalidate()
            self._poll_connection = None
            raise
        self._data_version = version
        return states


def _states(
    connection: Connection, topics: Sequence[Topic], given: Callable[..., FromClause]
) -> dict[Topic, object]:
    """How far each topic is: something that differs when it has changed."""
    states: dict[Topic, object] = dict.fromkeys(topics)
    named = given("owner", "id")
    replies = select(messages.c.owner, messages.c.id, messages.c.ended, end_of(messages)).join(
        named, same(messages, named)
    )
    refs = json_of([(topic.owner, topic.id) for topic in topics if isinstance(topic, Ref)])
    for owner, id, *state in connection.execute(replies, {"given": refs}):
        states[Ref(owner, id)] = tuple(state)
    used = select(conversations.c.owner, conversations.c.id, conversations.c.sequence).join(
        named, same(conversations, named)
    )
    refs = json_of(
        [(topic.owner, topic.id) for topic in topics if isinstance(topic, ConversationRef)]
    )
    for owner, id, sequence in connection.execute(used, {"given": refs}):
        states[ConversationRef(owner, id)] = sequence
    held = select(leases.c.id, leases.c.epoch, leases.c.notices).where(
        leases.c.epoch.in_([topic.epoch for topic in topics if isinstance(topic, Lease)])
    )
    for id, epoch, notices in connection.execute(held):
        states[Lease(id, epoch)] = notices
    return states


def _engine(path: Path, synchronous: str) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": BUSY_SECONDS},
        pool_size=READERS + 2,
        max_overflow=0,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: object) -> None:
        # The driver must not begin transactions by itself: it would begin them without a lock, and
        # turning from reading to writing fails without waiting.
        connection.isolation_level = None
        connection.execute(f"PRAGMA synchronous = {synchronous}")

    return engine


def _transact(connection: Connection, step: Callable[[Connection], T]) -> T:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    try:
        result = step(connection)
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    return result


def _use_write_ahead_log(connection: Connection) -> None:
    """Turns to the write-ahead log, for good; several processes may try at the same time."""
    deadline = time.monotonic() + MIGRATION_SECONDS
    while True:
        try:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
            return
        except OperationalError:
            # SQLite does not wait by itself here.
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_SECONDS)
