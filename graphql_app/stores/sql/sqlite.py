"""The SQLite store: one machine, any number of processes, no further service.

Each transaction is one call in a thread, so that it never waits for the event loop while it locks
others out. What other processes changed is learned by one poll for everything that is watched.
"""

import asyncio
import os
import shutil
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    URL,
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    ScalarSelect,
    String,
    Subquery,
    Table,
    bindparam,
    create_engine,
    delete,
    event,
    false,
    func,
    select,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError, ProgrammingError

from graphql_app.errors import ConfigurationError, StoreUnavailableError
from graphql_app.interfaces import Topic
from graphql_app.messages import Ref
from graphql_app.stores.condition import Condition
from graphql_app.stores.sql import migrations
from graphql_app.stores.sql.appending import given_pieces
from graphql_app.stores.sql.dialect import Dialect
from graphql_app.stores.sql.polling import Poller
from graphql_app.stores.sql.rows import Piece
from graphql_app.stores.sql.steps import News
from graphql_app.stores.sql.store import SqlStore
from graphql_app.stores.sql.tables import leases, pieces
from graphql_app.stores.urls import kept_for, split_options, without_password

T = TypeVar("T")

BUSY_SECONDS = 3.0
"""How long a call waits for a process that writes, before the store counts as unavailable."""

LEAST_SECONDS = 1.0
"""How long it waits at least, when it was in line for long."""

LEAST_FREE_BYTES = 256 * 2**20
"""How much of its disk should be free."""

NETWORKED = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "fuse.s3fs"})
"""Kinds of file systems on which SQLite's write-ahead log does not work, or not always."""

MIGRATION_SECONDS = 60.0
GOODBYE_SECONDS = 3.0
WAL_AGAIN_SECONDS = 0.05
READERS = 4
KEEPERS = 2  # A sweep does not hold up a renewal.

REFUSALS = (
    "SQLITE_CANTOPEN",
    "SQLITE_CORRUPT",
    "SQLITE_ERROR",
    "SQLITE_NOTADB",
    "SQLITE_PERM",
    "SQLITE_READONLY",
)
"""What SQLite says at first of a file that will never do."""

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


class SqliteDialect(Dialect):
    @property
    def now(self) -> ColumnElement[int]:
        # All processes are on this machine.
        return bindparam("now", callable_=_microseconds, type_=BigInteger, unique=True)

    def given(self, *columns: str) -> Subquery:
        each = func.json_each(bindparam("given", type_=String)).table_valued("value")
        return select(
            *(
                func.json_extract(each.c.value, f"$[{number}]").label(name)
                for number, name in enumerate(columns)
            )
        ).subquery("given")

    def joined(self, *where: ColumnElement[bool]) -> ScalarSelect[str]:
        # The table has one tree, its primary key, and is read in the order of that.
        return select(func.group_concat(pieces.c.text, "")).where(*where).scalar_subquery()

    def insert_or_ignore(self, table: Table) -> Any:
        return insert(table).on_conflict_do_nothing()

    def insert_or_update(
        self, table: Table, values: dict[str, Any], changes: dict[str, Any]
    ) -> Any:
        return insert(table).values(values).on_conflict_do_update(set_=changes)


class SqliteStore(SqlStore):
    """Keeps messages in a file, with a write-ahead log beside it.

    Args:
        path: the file. It must be on a disk of this machine.
        synchronous: "normal" keeps what was acknowledged through a killed process, "full" through
            a power loss too.
    """

    append_rest_seconds = 0.03

    def __init__(
        self, path: Path, *, keep: timedelta | None = None, synchronous: str = "normal"
    ) -> None:
        dialect = SqliteDialect()
        super().__init__(dialect, f"sqlite:///{path}", keep)
        self._path = path
        self._for_reading = _engine(path, synchronous, READERS + KEEPERS + 1)  # The poller's.
        self._for_writing = _engine(path, synchronous, 1 + KEEPERS)
        self._growth = self._appending.growth.returning(pieces.c.owner, pieces.c.message)
        self._poller = Poller(self._for_reading, dialect, self._shown)
        self._writer: ThreadPoolExecutor | None = None
        self._readers: ThreadPoolExecutor | None = None
        self._keepers: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        if not self._path.parent.is_dir():
            raise ConfigurationError(
                f"store: the folder {str(self._path.parent)!r} of {self._path.name!r} is not there."
            )
        self._writer = ThreadPoolExecutor(1, "sqlite-writer")
        self._readers = ThreadPoolExecutor(READERS, "sqlite-reader")
        self._keepers = ThreadPoolExecutor(KEEPERS, "sqlite-keeper")
        try:
            await asyncio.get_running_loop().run_in_executor(self._writer, self._migrate)
        except DBAPIError as error:
            if _name(error).startswith(REFUSALS):
                raise ConfigurationError(
                    f"store: the file {str(self._path)!r} cannot be used: {error.orig}."
                ) from error.orig
            raise StoreUnavailableError from error.orig
        self._poller.open()

    async def examine(self) -> Condition:
        """As `Examinable` says. The clock is the machine's own."""
        return await asyncio.get_running_loop().run_in_executor(None, self._examined)

    def _examined(self) -> Condition:
        folder = self._path.parent
        if not folder.is_dir():
            raise ConfigurationError(f"store: the folder {str(folder)!r} is not there.")
        for path in (folder, self._path):
            if path.exists() and not os.access(path, os.W_OK):
                raise ConfigurationError(f"store: {str(path)!r} cannot be written by this user.")
        trip, version = None, None
        if self._path.exists():
            began = time.perf_counter()
            try:
                with self._for_reading.connect() as connection:
                    version = migrations.version_of(connection)
            except DBAPIError as error:
                raise ConfigurationError(
                    f"store: the file {str(self._path)!r} cannot be used: {error.orig}."
                ) from error.orig
            finally:
                self._for_reading.dispose()
            trip = time.perf_counter() - began
        return Condition(
            trip, version=version, newest=migrations.NEWEST, remarks=tuple(_remarks(self._path))
        )

    async def close(self) -> None:
        await self._poller.close()
        await self._appends.close()
        await self._reads.close()
        await self._replies.close()
        await self._looks.close()
        opened = (self._writer, self._readers, self._keepers)
        self._writer = self._readers = self._keepers = None
        for threads in filter(None, opened):
            # What is under way is waited for without holding up the loop.
            await asyncio.get_running_loop().run_in_executor(None, threads.shutdown)
        await self._disconnect()

    async def _disconnect(self) -> None:
        """Closes all connections; the last one of a file brings the log into it, which may take
        long. Who does not wait for that loses nothing."""
        loop = asyncio.get_running_loop()
        is_done = asyncio.Event()

        def disconnect() -> None:
            self._for_reading.dispose()
            self._for_writing.dispose()
            with suppress(RuntimeError):  # The loop may be closed by now.
                loop.call_soon_threadsafe(is_done.set)

        # Not a thread of a pool: the end of the process would wait for it.
        thread = threading.Thread(target=disconnect, name="sqlite-closer", daemon=True)
        thread.start()
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await is_done.wait()
            thread.join()  # It has nothing left to do.

    def _migrate(self) -> None:
        with self._for_writing.connect() as connection:
            _wait_for_others(connection, MIGRATION_SECONDS)
            _use_write_ahead_log(connection)
            _transact(connection, migrations.upgrade)
            # Nothing, but what a file that can only be read refuses.
            connection.execute(delete(leases).where(false()))

    # Running steps.

    async def _look(self, step: Callable[[Connection], T], *, is_urgent: bool = False) -> T:
        def call() -> T:
            with self._for_reading.connect() as connection:
                return step(connection)

        return await self._in(self._keepers if is_urgent else self._readers, call, writing=False)

    async def _write(self, step: Callable[[Connection, News], T], *, is_urgent: bool = False) -> T:
        news = News()
        result = await self._change(
            lambda connection: _transact(connection, lambda _: step(connection, news)),
            is_urgent=is_urgent,
        )
        self._poller.watchers.wake(news.topics)
        return result

    async def _grow(self, group: Sequence[Piece]) -> set[Ref]:
        given = {"given": given_pieces(group)}
        grown = await self._change(
            lambda connection: {
                Ref(row.owner, row.message) for row in connection.execute(self._growth, given)
            }
        )
        self._poller.grew([piece for piece in group if piece.ref in grown])
        return grown

    async def _change(self, step: Callable[[Connection], T], *, is_urgent: bool = False) -> T:
        deadline = time.monotonic() + BUSY_SECONDS

        def call() -> T:
            seconds = deadline - time.monotonic()
            if seconds <= 0:
                raise StoreUnavailableError  # Too many wait in the same line.
            with self._for_writing.connect() as connection:
                _wait_for_others(connection, max(seconds, LEAST_SECONDS))
                return step(connection)

        return await self._in(self._keepers if is_urgent else self._writer, call, writing=True)

    async def _in(
        self, threads: ThreadPoolExecutor | None, call: Callable[[], T], *, writing: bool
    ) -> T:
        if threads is None:
            raise StoreUnavailableError
        try:
            result = await asyncio.get_running_loop().run_in_executor(threads, call)
        except (DataError, IntegrityError, ProgrammingError):
            raise
        except DBAPIError as error:
            cause = error.orig or error
            raise self._failed(cause, writing=writing) from cause
        self._worked(writing=writing)
        return result

    def watch(self, topic: Topic, wake: Callable[[], None]) -> Callable[[], None]:
        return self._poller.watchers.add(topic, wake)


def _microseconds() -> int:
    return time.time_ns() // 1_000


def _engine(path: Path, synchronous: str, connections: int) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": BUSY_SECONDS},
        pool_size=connections,
        max_overflow=0,
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: object) -> None:
        # The driver must not begin transactions by itself: it would begin them without a lock, and
        # turning from reading to writing fails without waiting.
        connection.isolation_level = None
        connection.execute(f"PRAGMA synchronous = {synchronous}")

    return engine


def _name(error: DBAPIError) -> str:
    """SQLite's name of an error: https://www.sqlite.org/rescode.html"""
    return getattr(error.orig, "sqlite_errorname", "")


def _wait_for_others(connection: Connection, seconds: float) -> None:
    """Sets how long a connection waits for a process that writes."""
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(seconds * 1_000)}")


def _transact(connection: Connection, step: Callable[[Connection], T]) -> T:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    try:
        result = step(connection)
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    return result


def _remarks(path: Path) -> Iterator[tuple[str, str]]:
    """What is wrong with where a file is, and who may read it."""
    if path.exists() and path.stat().st_mode & stat.S_IROTH:
        yield (
            f"Every user of this machine may read {str(path)!r}, with all messages.",
            f"chmod o-rwx {path}*, and start the server with umask 027.",
        )
    free = shutil.disk_usage(path.parent).free
    if free < LEAST_FREE_BYTES:
        yield (
            f"The disk of {str(path)!r} has only {free / 2**20:.0f} MiB left.",
            "Make room: when it is full, no message is taken any more.",
        )
    kind = _file_system(path.parent.resolve())
    if kind in NETWORKED:
        yield (
            f"{str(path)!r} is on another machine's disk ({kind}), where locks cannot be trusted.",
            "Put it on a disk of this machine, or use PostgreSQL or Redis.",
        )


def _file_system(folder: Path) -> str | None:
    """The kind of file system that a folder is on, where the system says it."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return None
    kinds = dict(line.split()[1:3] for line in mounts.read_text().splitlines())
    return next((kinds[str(at)] for at in (folder, *folder.parents) if str(at) in kinds), None)


def _use_write_ahead_log(connection: Connection) -> None:
    """Turns to the write-ahead log, for good; several processes may try at the same time."""
    deadline = time.monotonic() + MIGRATION_SECONDS
    while True:
        try:
            mode = connection.exec_driver_sql("PRAGMA journal_mode = WAL").scalar_one()
        except OperationalError as error:
            # SQLite does not wait by itself here.
            if not _name(error).startswith("SQLITE_BUSY") or time.monotonic() > deadline:
                raise
            time.sleep(WAL_AGAIN_SECONDS)
        else:
            if mode != "wal":
                raise ConfigurationError(
                    f"store: where the file is, SQLite keeps no write-ahead log (but {mode!r})."
                )
            return
