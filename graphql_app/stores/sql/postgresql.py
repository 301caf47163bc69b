"""The PostgreSQL store: several machines, with the database they have.

NOTIFY tells that something changed and never what: it is lost while a connection is away. One
connection of each process listens for all that is watched there.
"""

import asyncio
import itertools
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import cached_property, partial
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    ScalarSelect,
    Text,
    bindparam,
    cast,
    extract,
    func,
    literal,
    select,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from graphql_app.errors import ConfigurationError, StoreUnavailableError
from graphql_app.interfaces import Topic
from graphql_app.messages import Ref
from graphql_app.stores.outage import Outage
from graphql_app.stores.sql import migrations
from graphql_app.stores.sql.rows import Piece, given_pieces
from graphql_app.stores.sql.store import News, SqlStore
from graphql_app.stores.sql.tables import pieces
from graphql_app.stores.urls import kept_for, split_options, without_password
from graphql_app.stores.watchers import Watchers, joined_names, split_names, topic_name
from graphql_app.wakeup import Wakeup

T = TypeVar("T")

CHANNEL = "graphql_app"
CALL_SECONDS = 3.0
"""How long a call to the server may take, before the store counts as unavailable."""

PAUSED_SECONDS = 2.0
"""How long the server waits in a transaction for a process that was paused, before it undoes it."""

MIGRATION_LOCK = 0x67726170
CONNECTIONS = 8
NOTIFY_BYTES = 7_000  # A payload has at most 8,000.
ASK_SECONDS = 2.0
"""How often a process makes sure that it still hears."""

DEAF_SECONDS = 0.25
"""How often everybody looks for themselves while the process does not hear."""

IN_THE_WAY = ("40001", "40P01")
"""Serialization failure and deadlock: the transaction may be run again."""

MOST_TRIES = 3
DEFECTS = ("22", "23", "42")
"""Classes of SQLSTATE that no outage gives: data, integrity, syntax and access."""

LOST = (OSError, TimeoutError, PoolTimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What the driver raises when the server is away, or answers that it cannot."""

INTEGERS = frozenset({"epoch", "at_offset", "end_offset", "after_offset"})


def from_url(url: str) -> "PostgresStore":
    """The store for `postgresql://user:password@host:port/database`.

    Takes the option `ttl`, how long replies are kept, and those of libpq: `sslmode`, several hosts
    with `target_session_attrs`, and so on.
    """
    dsn, options = split_options(url, "ttl")
    return PostgresStore(dsn, keep=kept_for(options))


class PostgresStore(SqlStore):
    """Keeps messages in a PostgreSQL database.

    Args:
        dsn: as libpq has it.
    """

    def __init__(self, dsn: str, *, keep: timedelta | None = None) -> None:
        super().__init__(keep)
        self._dsn = dsn
        self._shown = without_password(dsn)
        self._outage = Outage(self._shown)
        self._watchers: Watchers[str] = Watchers()
        self._sender = os.urandom(4).hex()
        self._heard = asyncio.Event()
        self._deafness = Outage(f"{self._shown} (its notifications)")
        self._engine: AsyncEngine | None = None
        self._at_once: AsyncEngine | None = None
        self._listener: asyncio.Task[None] | None = None
        self._abandoned: set[asyncio.Task[asyncpg.Connection]] = set()
        self._under_way = 0
        self._ended = Wakeup()

    async def open(self) -> None:
        self._engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self._connect,
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_timeout=CALL_SECONDS,
        )
        self._at_once = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        await self._migrate()
        self._listener = asyncio.create_task(self._listen())

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait({self._listener})
            self._listener = None
        await self._appends.close()
        await self._reads.close()
        engine, self._engine, self._at_once = self._engine, None, None
        while self._under_way:
            await self._ended.wait()
        if self._abandoned:
            await asyncio.wait(self._abandoned)
        if engine is not None:
            await engine.dispose()

    async def migrate(self) -> str:
        """Brings the database to the newest version; returns a sentence that says so."""
        await self._migrate()
        return f"{self._shown} is at version {migrations.NEWEST}."

    async def _migrate(self) -> None:
        engine = create_async_engine("postgresql+asyncpg://", async_creator=self._connect_patiently)
        try:
            async with engine.begin() as connection:
                # Several processes may start at once.
                await connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))
                await connection.run_sync(migrations.upgrade)
        except asyncpg.ClientConfigurationError as error:
            raise ConfigurationError(f"store: {self._shown!r}: {error}.") from error
        except (*LOST, DBAPIError) as error:
            raise StoreUnavailableError from error
        finally:
            await engine.dispose()

    # Connections.

    async def _connect(self) -> asyncpg.Connection:
        """A connection for calls that must not take long."""
        connecting = asyncio.create_task(
            asyncpg.connect(
                self._dsn,
                timeout=CALL_SECONDS,
                command_timeout=CALL_SECONDS,
                server_settings={
                    "application_name": CHANNEL,
                    "statement_timeout": str(int(CALL_SECONDS * 1_000)),
                    "idle_in_transaction_session_timeout": str(int(PAUSED_SECONDS * 1_000)),
                },
            )
        )
        try:
            # The driver leaves errors behind that nobody retrieves if it is cancelled in between.
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            self._abandoned.add(connecting)
            connecting.add_done_callback(self._drop)
            raise

    def _drop(self, connecting: "asyncio.Task[asyncpg.Connection]") -> None:
        """Closes a connection that nobody waits for any more."""
        self._abandoned.discard(connecting)
        if not connecting.cancelled() and connecting.exception() is None:
            connecting.result().terminate()

    async def _connect_patiently(self) -> asyncpg.Connection:
        """For statements that may take long."""
        return await asyncpg.connect(
            self._dsn, timeout=CALL_SECONDS, server_settings={"application_name": CHANNEL}
        )

    # Running steps.

    async def _run(self, step: Callable[[Connection], T], *, at_once: bool) -> T:
        """Runs a step; each statement commits `at_once`, or all of them together."""
        self._under_way += 1
        try:
            return await self._tried(step, at_once)
        except LOST as error:
            self._outage.begins(error)
            raise StoreUnavailableError from error
        except DBAPIError as error:
            if _state(error)[:2] in DEFECTS:
                raise
            self._outage.begins(error.orig or error)
            raise StoreUnavailableError from error
        finally:
            self._under_way -= 1
            self._ended.set()

    async def _tried(self, step: Callable[[Connection], T], at_once: bool) -> T:
        tries = itertools.count(1)
        while True:
            engine = self._at_once if at_once else self._engine
            if engine is None:
                raise ConnectionError("the store is closed")
            try:
                async with asyncio.timeout(CALL_SECONDS), engine.connect() as connection:
                    result = await connection.run_sync(step)
                    await connection.commit()
            except DBAPIError as error:
                is_in_the_way = _state(error) in IN_THE_WAY
                # A connection may have died while it was idle. Doing a step twice does no harm.
                if next(tries) > MOST_TRIES or not (is_in_the_way or error.connection_invalidated):
                    raise
            else:
                self._outage.ends()
                return result

    async def _look(self, step: Callable[[Connection], T]) -> T:
        return await self._run(step, at_once=True)

    async def _write(self, step: Callable[[Connection, News], T]) -> T:
        news = News([])

        def call(connection: Connection) -> T:
            news.topics.clear()
            result = step(connection, news)
            for payload in self._payloads(map(topic_name, news.topics)):
                _tell(payload, connection)
            return result

        try:
            return await self._run(call, at_once=False)
        finally:
            # Also if the answer was lost: waking in vain does no harm.
            self._watchers.wake(map(topic_name, news.topics))

    async def _grow(self, group: Sequence[Piece]) -> set[Ref]:
        given = given_pieces(group)
        names = [topic_name(piece.ref) for piece in group]
        first, *others = self._payloads(names) or [self._sender]

        def call(connection: Connection) -> set[Ref]:
            rows = connection.execute(self._growth_told, {"given": given, "payload": first})
            return {Ref(row.owner, row.message) for row in rows}

        try:
            grown = await self._look(call)
            for payload in others:
                await self._look(partial(_tell, payload))
            return grown
        finally:
            self._watchers.wake(names)

    @cached_property
    def _growth_told(self) -> Any:
        # Equal notifications of one transaction are sent once.
        return self._growth.returning(
            pieces.c.owner, pieces.c.message, func.pg_notify(CHANNEL, bindparam("payload"))
        )

    # What PostgreSQL does in its own way.

    @property
    def _now(self) -> ColumnElement[int]:
        return cast(extract("epoch", func.clock_timestamp()) * 1_000_000, BigInteger)

    def _given(self, *columns: str) -> FromClause:
        rows = (
            func.json_array_elements(cast(bindparam("given", type_=Text), JSON))
            .table_valued("value")
            .render_derived(name="row")
        )
        return select(
            *(
                cast(
                    rows.c.value.op("->>")(number),
                    BigInteger if name in INTEGERS else Text,
                ).label(name)
                for number, name in enumerate(columns)
            )
        ).subquery("given")

    def _insert_or_ignore(self, table: Any) -> Any:
        return insert(table).on_conflict_do_nothing()

    def _insert_or_update(self, table: Any, values: dict[str, Any], changes: dict[str, Any]) -> Any:
        return (
            insert(table)
            .values(values)
            .on_conflict_do_update(index_elements=table.primary_key, set_=changes)
        )

    def _joined(self, *where: ColumnElement[bool]) -> ScalarSelect[str]:
        nothing_between = aggregate_order_by(literal("", Text), pieces.c.end_offset)
        text = func.string_agg(pieces.c.text, nothing_between)
        return select(text).where(*where).scalar_subquery()

    # News.

    def watch(self, topic: Topic, wake: Callable[[], None]) -> Callable[[], None]:
        return self._watchers.add(topic_name(topic), wake)

    def _payloads(self, names: Iterable[str]) -> list[str]:
        return [self._sender + joined for joined in joined_names(names, NOTIFY_BYTES)]

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        sender, names = str(payload)[: len(self._sender)], str(payload)[len(self._sender) :]
        if sender != self._sender:
            self._watchers.wake(split_names(names))
        elif not names:
            self._heard.set()

    async def _listen(self) -> None:
        """Keeps a connection that hears what other processes tell; without it, wakes everybody."""
        while True:
            with suppress(*LOST):
                connection = await asyncpg.connect(
                    self._dsn, timeout=CALL_SECONDS, command_timeout=CALL_SECONDS
                )
                try:
                    await connection.add_listener(CHANNEL, self._hear)
                    hears = await self._hears()
                    self._watchers.wake_all()  # What was told before nobody has heard.
                    while hears:
                        self._deafness.ends()
                        await asyncio.sleep(ASK_SECONDS)
                        hears = await self._hears()
                finally:
                    connection.terminate()
            self._deafness.begins(ConnectionError("no notification comes through"))
            self._watchers.wake_all()
            await asyncio.sleep(DEAF_SECONDS)

    async def _hears(self) -> bool:
        """Whether a notification to ourselves comes through.

        A connection may be open and deaf: cut in the middle, or given by a pooler that hands its
        connections on after each transaction.
        """
        self._heard.clear()
        try:
            await self._look(partial(_tell, self._sender))
        except StoreUnavailableError:
            return False
        for _ in range(round(ASK_SECONDS / DEAF_SECONDS)):
            with suppress(TimeoutError):
                async with asyncio.timeout(DEAF_SECONDS):
                    await self._heard.wait()
                return True
            self._watchers.wake_all()
        return False


def _state(error: DBAPIError) -> str:
    """SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html"""
    return getattr(error.orig, "sqlstate", None) or ""


def _tell(payload: str, connection: Connection) -> None:
    connection.execute(select(func.pg_notify(CHANNEL, payload)))
