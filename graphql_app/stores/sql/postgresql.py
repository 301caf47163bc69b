"""The PostgreSQL store: several machines, with the database they have.

NOTIFY tells that something changed and never what: it is lost while a connection is away. One
connection of each process listens for all that is watched there.
"""

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    Connection,
    Float,
    ScalarSelect,
    Subquery,
    Table,
    Text,
    bindparam,
    cast,
    event,
    extract,
    func,
    literal,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from graphql_app.errors import ConfigurationError, StoreUnavailableError
from graphql_app.interfaces import Topic
from graphql_app.messages import Ref
from graphql_app.stores.condition import Condition, timed
from graphql_app.stores.sql import migrations
from graphql_app.stores.sql.address import Address, not_understood, read_url
from graphql_app.stores.sql.appending import given_pieces
from graphql_app.stores.sql.dialect import Dialect
from graphql_app.stores.sql.listening import CHANNEL, Listener
from graphql_app.stores.sql.rows import Piece
from graphql_app.stores.sql.steps import News
from graphql_app.stores.sql.store import SqlStore
from graphql_app.stores.sql.tables import pieces
from graphql_app.stores.urls import without_password
from graphql_app.stores.watchers import topic_name
from graphql_app.wakeup import Wakeup

T = TypeVar("T")

CALL_SECONDS = 3.0
"""How long a call to the server may take, before the store counts as unavailable."""

LEAST_SECONDS = 1.0
"""How long it may take at least, when it was in line for long."""

PAUSED_SECONDS = 2.0
"""How long the server waits in a transaction for a process that was paused, before it undoes it."""

MIGRATION_PAUSED_SECONDS = 30.0
"""How long it waits in a migration, where others wait for longer anyway."""

GOODBYE_SECONDS = 1.0
USUAL_CALLS = 6
URGENT_CALLS = 2
"""How many calls a process makes at the same time; each has a connection. One more listens."""

MIGRATION_LOCK = 0x67726170

IN_THE_WAY = ("0A000", "40001", "40P01")
"""A plan that a migration has made useless, serialization failure and deadlock: the transaction may
be run again."""

TRIES_OF_A_STEP = 4
DEFECTS = ("22", "23", "42")
"""Classes of SQLSTATE that no outage gives: data, integrity, syntax and access."""

REFUSALS = (*DEFECTS, "28", "3D")
"""What the server says at first to those whom it will never serve: no such user, no database."""

NOTIFY = select(func.pg_notify(CHANNEL, bindparam("payload")))
LOST = (OSError, asyncpg.InterfaceError, asyncpg.PostgresError)
"""What the driver raises by itself when a connection is made, or lost before its first call."""

INTEGERS = frozenset({"epoch", "at_offset", "end_offset", "after_offset", "cursor"})


def from_url(url: str) -> "PostgresStore":
    """The store for `postgresql://user:password@host:port/database`; see `read_url`."""
    return PostgresStore(read_url(url))


class PostgresDialect(Dialect):
    @property
    def now(self) -> ColumnElement[int]:
        return cast(extract("epoch", func.clock_timestamp()) * 1_000_000, BigInteger)

    def given(self, *columns: str) -> Subquery:
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

    def joined(self, *where: ColumnElement[bool]) -> ScalarSelect[str]:
        nothing_between = aggregate_order_by(literal("", Text), pieces.c.end_offset)
        text = func.string_agg(pieces.c.text, nothing_between)
        return select(text).where(*where).scalar_subquery()

    def insert_or_ignore(self, table: Table) -> Any:
        return insert(table).on_conflict_do_nothing()

    def insert_or_update(
        self, table: Table, values: dict[str, Any], changes: dict[str, Any]
    ) -> Any:
        return (
            insert(table)
            .values(values)
            .on_conflict_do_update(index_elements=table.primary_key, set_=changes)
        )


class PostgresStore(SqlStore):
    """Keeps messages in a PostgreSQL database.

    Args:
        address: what its URL says.
    """

    def __init__(self, address: Address) -> None:
        shown = without_password(address.dsn)
        super().__init__(PostgresDialect(), shown, address.keep)
        self._address = address
        self._listener = Listener(self._connect, self._tell, shown)
        # Equal notifications of one transaction are sent once.
        self._growth = self._appending.growth.returning(
            pieces.c.owner, pieces.c.message, func.pg_notify(CHANNEL, bindparam("payload"))
        )
        self._pools: tuple[_Pool, _Pool] | None = None
        self._connections: set[asyncpg.Connection] = set()
        self._connecting: set[asyncio.Task[asyncpg.Connection]] = set()
        self._under_way = 0
        self._ended = Wakeup()

    async def open(self) -> None:
        self._pools = _Pool(self._connect, USUAL_CALLS), _Pool(self._connect, URGENT_CALLS)
        with self._saying_refusals():
            await self._check()
            if await self._look(migrations.version_of) != migrations.NEWEST:
                await self._migrate()
        self._listener.open()

    async def examine(self) -> Condition:
        """As `Examinable` says."""
        self._pools = _Pool(self._connect, USUAL_CALLS), _Pool(self._connect, URGENT_CALLS)
        try:
            with self._saying_refusals():
                await self._check()
                version = await self._look(migrations.version_of)
                trip, lead = await timed(self._time)
                remarks = await self._look(_remarks)
        finally:
            await self.close()
        return Condition(trip, lead, version, migrations.NEWEST, remarks)

    async def _time(self) -> float:
        now = select(cast(extract("epoch", func.clock_timestamp()), Float))
        return await self._look(lambda connection: connection.execute(now).scalar_one())

    @contextmanager
    def _saying_refusals(self) -> Iterator[None]:
        """Tells a server that will never serve us from one that cannot be reached now."""
        try:
            yield
        except (StoreUnavailableError, DBAPIError, ValueError) as error:
            cause = _cause(error)
            told = isinstance(cause, asyncpg.ClientConfigurationError)
            if told or _state(cause).startswith(REFUSALS):
                raise ConfigurationError(f"store: {self._shown!r}: {cause}.") from cause
            if isinstance(cause, ValueError):
                # Its sentence may quote a piece of a password.
                raise not_understood(self._shown) from None
            raise

    async def close(self) -> None:
        await self._listener.close()
        await self._appends.close()
        await self._reads.close()
        await self._replies.close()
        await self._looks.close()
        pools, self._pools = self._pools, None
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._calls_have_ended()
        if self._under_way:
            self._break_off()
            await self._calls_have_ended()
        await self._say_goodbye()
        for pool in pools or ():
            await pool.engine.dispose()

    async def _calls_have_ended(self) -> None:
        while self._under_way:
            await self._ended.wait()

    def _break_off(self) -> None:
        for connecting in self._connecting:
            connecting.cancel()
        for connection in tuple(self._connections):
            connection.terminate()

    async def _say_goodbye(self) -> None:
        """Closes all connections; the pool would do so one by one, however silent the server is."""
        for connecting in self._connecting:
            connecting.cancel()  # Nobody waits for it any more.
        if self._connecting:
            await asyncio.wait(self._connecting)
        await asyncio.gather(
            *(connection.close(timeout=GOODBYE_SECONDS) for connection in self._connections),
            return_exceptions=True,
        )

    async def _check(self) -> None:
        encoding = await self._look(
            lambda connection: connection.scalar(select(func.current_setting("server_encoding")))
        )
        if encoding != "UTF8":
            raise ConfigurationError(
                f"store: {self._shown!r} keeps text as {encoding}; it must be UTF8."
            )

    async def _migrate(self) -> None:
        engine = create_async_engine("postgresql+asyncpg://", async_creator=self._connect_patiently)
        try:
            async with engine.begin() as connection:
                # Several processes may start at once.
                await connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))
                await connection.run_sync(migrations.upgrade)
        except (*LOST, DBAPIError) as error:
            raise StoreUnavailableError from _cause(error)
        finally:
            await engine.dispose()

    # Connections.

    async def _connect(self) -> asyncpg.Connection:
        """A connection for calls that must not take long."""
        if self._pools is None:
            raise ConnectionError("the store is closed")
        connecting = asyncio.create_task(
            asyncpg.connect(
                self._address.dsn,
                timeout=self._connect_seconds,
                command_timeout=CALL_SECONDS,
                server_settings={
                    **self._settings(PAUSED_SECONDS),
                    "statement_timeout": _milliseconds(CALL_SECONDS),
                },
            )
        )
        self._connecting.add(connecting)
        connecting.add_done_callback(self._connecting.discard)
        try:
            # The driver leaves errors behind that nobody retrieves if it is cancelled in between.
            connection = await asyncio.shield(connecting)
        except asyncio.CancelledError:
            connecting.add_done_callback(_drop)
            task = asyncio.current_task()
            if connecting.cancelled() and not (task and task.cancelling()):
                raise ConnectionError("the store is closed") from None
            raise
        self._connections.add(connection)
        connection.add_termination_listener(self._connections.discard)
        return connection

    async def _connect_patiently(self) -> asyncpg.Connection:
        """A connection for statements that may take long."""
        return await asyncpg.connect(
            self._address.dsn,
            timeout=self._connect_seconds,
            server_settings=self._settings(MIGRATION_PAUSED_SECONDS),
        )

    @property
    def _connect_seconds(self) -> float:
        return min(self._address.connect_seconds or CALL_SECONDS, CALL_SECONDS)

    def _settings(self, paused_seconds: float) -> dict[str, str]:
        return {
            "application_name": self._address.application_name or CHANNEL,
            "default_transaction_isolation": "read committed",
            "idle_in_transaction_session_timeout": _milliseconds(paused_seconds),
        }

    # Running steps.

    async def _run(
        self,
        step: Callable[[Connection], T],
        *,
        writing: bool,
        at_once: bool,
        is_urgent: bool = False,
    ) -> T:
        """Runs a step; each statement commits `at_once`, or all of them together."""
        if (pools := self._pools) is None:
            raise StoreUnavailableError
        pool = pools[is_urgent]
        has_begun = False
        self._under_way += 1
        try:
            async with asyncio.timeout(CALL_SECONDS) as limit, pool.slots:
                has_begun = True
                least = asyncio.get_running_loop().time() + LEAST_SECONDS
                limit.reschedule(max(least, limit.when() or least))
                result = await _tried(step, pool.at_once if at_once else pool.engine)
        except (*LOST, DBAPIError) as error:
            cause = _cause(error)
            if _state(cause).startswith(DEFECTS):
                raise
            if not has_begun:
                raise StoreUnavailableError from error  # Too many wait in the same line.
            raise self._failed(cause, writing=writing) from cause
        finally:
            self._under_way -= 1
            self._ended.set()
        self._worked(writing=writing)
        return result

    async def _look(self, step: Callable[[Connection], T], *, is_urgent: bool = False) -> T:
        return await self._run(step, writing=False, at_once=True, is_urgent=is_urgent)

    async def _write(self, step: Callable[[Connection, News], T], *, is_urgent: bool = False) -> T:
        news = News()  # Of all tries: the answer to the first that wrote may be lost.

        def call(connection: Connection) -> T:
            result = step(connection, news)
            for payload in self._listener.payloads(map(topic_name, news.topics)):
                connection.execute(NOTIFY, {"payload": payload})
            return result

        with self._telling(map(topic_name, news.topics)):
            return await self._run(call, writing=True, at_once=False, is_urgent=is_urgent)

    async def _change(self, step: Callable[[Connection], T], *, is_urgent: bool = False) -> T:
        return await self._run(step, writing=True, at_once=True, is_urgent=is_urgent)

    async def _grow(self, group: Sequence[Piece]) -> set[Ref]:
        names = [topic_name(piece.ref) for piece in group]
        [payload] = self._listener.payloads(names)
        given = {"given": given_pieces(group), "payload": payload}

        def call(connection: Connection) -> set[Ref]:
            rows = connection.execute(self._growth, given)
            return {Ref(row.owner, row.message) for row in rows}

        with self._telling(names):
            return await self._change(call)

    @contextmanager
    def _telling(self, names: Iterable[str]) -> Iterator[None]:
        """Wakes those in this process who watch what was written, or may have been."""
        try:
            yield
        except (asyncio.CancelledError, StoreUnavailableError):
            self._listener.doubt()
            raise
        finally:
            self._listener.watchers.wake(names)

    # News.

    def watch(self, topic: Topic, wake: Callable[[], None]) -> Callable[[], None]:
        return self._listener.watchers.add(topic_name(topic), wake)

    async def _tell(self, payload: str) -> None:
        await self._look(
            lambda connection: connection.execute(NOTIFY, {"payload": payload}), is_urgent=True
        )


class _Pool:
    """Connections for calls that wait in one line."""

    def __init__(
        self, connect: Callable[[], Coroutine[Any, Any, asyncpg.Connection]], size: int
    ) -> None:
        self.slots = asyncio.Semaphore(size)
        self.engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=connect,
            pool_size=size,
            max_overflow=0,
            hide_parameters=True,
        )
        self.at_once = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        event.listen(self.engine.sync_engine, "invalidate", _terminate)


async def _tried(step: Callable[[Connection], T], engine: AsyncEngine) -> T:
    """Runs a step, and again if that helps: doing a step twice does no harm."""
    for tries in itertools.count(1):
        try:
            async with engine.connect() as connection:
                result = await connection.run_sync(step)
                await connection.commit()
                return result
        except DBAPIError as error:
            # A connection may have died while it was idle, all of them if the server restarted.
            if tries == TRIES_OF_A_STEP or not (
                error.connection_invalidated or _state(error) in IN_THE_WAY
            ):
                raise
    raise AssertionError


def _remarks(connection: Connection) -> tuple[tuple[str, str], ...]:
    """What is wrong with a server for whoever keeps messages there."""

    def setting(name: str) -> str:
        return str(connection.scalar(select(func.current_setting(name))))

    def found() -> Iterator[tuple[str, str]]:
        if connection.scalar(select(func.pg_is_in_recovery())):
            yield "The server is a replica, which takes no message.", "Name its primary."
        for name in ("fsync", "synchronous_commit"):
            if setting(name) == "off":
                yield (
                    f"{name} is off: a crash of the server may take what users were shown.",
                    f"Set {name} to on there.",
                )
        most, needed = int(setting("max_connections")), USUAL_CALLS + URGENT_CALLS + 1
        used = int(connection.scalar(text("SELECT count(*) FROM pg_stat_activity")) or 0)
        if most - used < 2 * needed:
            yield (
                f"The server has {most} connections and {used} in use; a process needs {needed}.",
                "Raise max_connections there, or start fewer processes.",
            )

    return tuple(found())


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1_000))


def _cause(error: BaseException) -> BaseException:
    """What the driver raised."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        return error.orig.__cause__ or error.orig
    if isinstance(error, StoreUnavailableError):
        return error.__cause__ or error
    return error if str(error) else TimeoutError("the server does not answer")


def _state(error: BaseException) -> str:
    """SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html"""
    return getattr(_cause(error), "sqlstate", None) or ""


def _drop(connecting: "asyncio.Task[asyncpg.Connection]") -> None:
    """Closes a connection that nobody waits for any more."""
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().terminate()


def _terminate(connection: Any, *_: object) -> None:
    """Closes a connection that is broken, or stuck in a call, without a word to the server."""
    connection.driver_connection.terminate()
