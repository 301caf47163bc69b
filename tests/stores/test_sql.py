"""The SQL stores, beyond the contract: large databases, old ones, and writes between statements."""

import asyncio
import re
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Engine, event

from graphql_app.errors import (
    FencedError,
    MessageClearedError,
    MessageIdConflictError,
    MessageNotFoundError,
    StoreUnavailableError,
)
from graphql_app.interfaces import Lease
from graphql_app.messages import ReplyErrorCode, Status
from graphql_app.stores import open_store
from graphql_app.stores.sql import adding
from graphql_app.stores.sql.adding import Adding
from graphql_app.stores.sql.ending import Ending
from graphql_app.stores.sql.reading import Reading
from graphql_app.stores.sql.removing import Removing
from graphql_app.stores.sql.steps import UndoError
from graphql_app.stores.sql.store import SqlStore
from tests.api.queries import answer
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


async def load_replaced(database: Database, conversation: str, count: int) -> None:
    """Gives the first message of a loaded conversation replies before the newest."""
    await database.run(
        "INSERT INTO message (owner, id, conversation, role, status, content, created_at, "
        "reply_to, renewals, added, ended, ended_at, replaced) "
        f"SELECT 'owner', 'o-{conversation}-' || n, '{conversation}', 'ASSISTANT', 'DONE', 'word', "
        f"3, '{conversation}-1', 0, 3, 500000 + n, 1000, 500000 + n "
        f"FROM {database.numbers(1, count)}"
    )


# Plans.

GROWING = "(message|piece|conversation|cleared)"
SLOW = re.compile(
    rf"Seq Scan on {GROWING}|SCAN {GROWING}"
    rf"|Index (Only )?Scan using \w+ on {GROWING}[^\n]*\n +Filter"
)
"""What databases say of a statement that reads all of a table that grows, or of its index."""


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


@contextmanager
def counting_statements() -> Iterator[Counter[str]]:
    """How often each statement is run, but for what the poll asks."""
    counted: Counter[str] = Counter()

    def count(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not threading.current_thread().name.startswith("sqlite-poller"):
            counted[statement] += 1

    event.listen(Engine, "before_cursor_execute", count)
    try:
        yield counted
    finally:
        event.remove(Engine, "before_cursor_execute", count)


async def plans(database: Database, url: str, statement: str, parameters: Any) -> list[str]:
    """How a statement would be run, with these parameters and, if that differs, with any."""
    if statement.startswith(("BEGIN", "PRAGMA")):
        return []
    if database.is_sqlite:
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            found = file.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
        return ["\n".join(row[3] for row in found)]
    connection = await asyncpg.connect(url)
    await connection.execute(f"PREPARE this AS {statement}")
    values = ", ".join(
        "NULL" if each is None else str(each) if isinstance(each, int) else f"'{each}'"
        for each in parameters
    )
    execute = f"EXPLAIN EXECUTE this ({values})" if values else "EXPLAIN EXECUTE this"
    said: list[str] = []
    for mode in ("force_custom_plan", "force_generic_plan"):
        await connection.execute(f"SET plan_cache_mode = {mode}")
        said.append("\n".join(row[0] for row in await connection.fetch(execute)))
    await connection.close()
    return said


async def test_no_call_reads_all_of_a_large_table(
    scene: Scene, database: Database, url: str
) -> None:
    store = scene.store
    for number in range(10):
        await load(database, f"c{number}", 4_000)
    await load(database, "large", 10_000)
    await database.run(
        f"INSERT INTO conversation SELECT 'owner', 'empty' || n, n, 0, n, n, n "
        f"FROM {database.numbers(1, 100_000)}"
    )
    await database.run(
        f"INSERT INTO conversation SELECT 'owner', 'emptied' || n, {database.now} * 1000, "
        f"{database.now} * 1000, n, n, n FROM {database.numbers(1, 20_000)}"
    )
    gone = await store.register(0.001)
    await load(database, "lost", 100, epoch=gone.epoch)
    await load(database, "streaming", 500, epoch=scene.lease.epoch)
    await database.run(
        f"INSERT INTO cleared SELECT 'owner', 'gone-' || n, {database.now} "
        f"FROM {database.numbers(1, 20_000)}"
    )
    await load_replaced(database, "large", 20_000)
    await load_replaced(database, "c2", 2)
    # Long ago: one that was replaced, and one that takes all replies to its message with it.
    long_ago = "UPDATE message SET ended_at = -10000000000000 WHERE owner = 'owner' AND id = "
    await database.run(f"{long_ago}'o-large-1'")
    await database.run(f"{long_ago}'r-c2-1'")
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
        await scene.ids("large", last=10, before="o-large-5")
        assert await scene.replies("large-1", last=2) == ["o-large-20000", "r-large-1"]
        many = await asyncio.gather(*(scene.replies(f"large-{number}") for number in range(1, 500)))
        assert [len(found) for found in many] == [1_000] + [1] * 498
        await scene.add_reply("n1", "o-large-5")
        await scene.add_reply("n1", "large-1")
        with pytest.raises(MessageNotFoundError):
            await scene.add_reply("n2", "unknown")
        await scene.events(None, "large", last=10)
        await scene.events(1_019_990, "large")
        await scene.conversations(10)
        await scene.finish("r-m1")
        await scene.stop("r-streaming-1")
        await store.renew(scene.lease, 1, {scene.ref("r-streaming-2")})
        assert isinstance(store, SqlStore)
        store._keep = timedelta(days=36_500)  # None is that old.
        assert await store.sweep() == 100
        assert await scene.replies("c2-1") == []
        assert await scene.replies("large-1", last=2) == ["r-large-1", "n1"]
        await scene.clear("c1")
    slow = [
        f"{statement}\n{plan}"
        for statement, parameters in noted.items()
        for plan in await plans(database, url, statement, parameters)
        if SLOW.search(plan)
    ]
    assert "\n\n".join(slow) == ""


@pytest.mark.parametrize(
    ("query", "statements"),
    [
        ('{ messages(conversationId: "c1") { id replies { id } } }', 2),
        ("{ conversations { id title } }", 1),
    ],
    ids=["a list", "conversations"],
)
async def test_a_list_is_read_at_once_with_what_belongs_to_each_of_it(
    store: SqlStore, scene: Scene, query: str, statements: int
) -> None:
    for number in range(20):
        await scene.answered(f"m{number}", f"n{number}")
        await scene.answered(f"o{number}", conversation=f"c{number + 2}")
    with counting_statements() as counted:
        await answer(store, "owner", query)
    assert counted.total() == statements, counted


# Sizes.


async def test_many_replies_are_kept_lost_and_cleared_quickly(
    store: SqlStore, scene: Scene, database: Database
) -> None:
    await load(database, "many", 5_000, epoch=scene.lease.epoch)
    running = {scene.ref(f"r-many-{number}") for number in range(1, 5_001)}
    with in_time(2):
        assert await store.renew(scene.lease, 1, running) == set()
    with in_time(5):
        assert await store.renew(scene.lease, 1, set()) == set()
    lost = await scene.message("r-many-17")
    assert lost.error is not None
    assert (lost.error.code, lost.content) == (ReplyErrorCode.PRODUCER_LOST, "word " * 4)
    gone = await store.register(0.001)
    for number in range(20):
        await load(database, f"gone{number}", 250, epoch=gone.epoch)
    with in_time(10):
        assert await store.sweep() == 5_000
    assert await database.run("SELECT count(*) FROM piece") == [(0,)]
    with in_time(3):
        assert await scene.clear("many") == 10_000


@contextmanager
def in_time(seconds: float) -> Iterator[None]:
    """Fails if something takes longer by far than it should on a slow machine."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


async def test_the_ends_of_many_lost_replies_are_events_in_an_order(
    store: SqlStore, scene: Scene, database: Database
) -> None:
    gone = await store.register(0.001)
    await load(database, "c1", 250, epoch=gone.epoch)
    await load(database, "c2", 2, epoch=gone.epoch)
    cursors = {name: await scene.cursor(name) for name in ("c1", "c2")}
    assert await store.sweep() == 252
    for name, count in (("c1", 250), ("c2", 2)):
        cursor, ends = cursors[name], []
        while (events := await scene.events(cursor, name)).events:
            assert events.cursor > cursor
            cursor = events.cursor
            ends += shown(events)
        assert sorted(ends) == sorted(
            (f"r-{name}-{number}", Status.ERROR, "word " * 4) for number in range(1, count + 1)
        )
        numbers = await database.run(
            f"SELECT count(DISTINCT ended), max(ended) FROM message WHERE conversation = '{name}'"
        )
        assert numbers == [(count, cursor)]
    await scene.add("m1", conversation="c1")
    await scene.finish("r-m1")
    assert (await scene.conversations())[0] == "c1"


async def test_many_calls_at_once_do_not_hold_up_a_renewal(store: SqlStore, scene: Scene) -> None:
    sending = asyncio.gather(
        *(scene.add(f"m{number}", conversation=f"c{number}") for number in range(1_500)),
        *(scene.ids(f"c{number}") for number in range(1_500)),
        return_exceptions=True,
    )
    longest = 0.0
    sent_at = time.monotonic()
    while not sending.done():
        began = time.monotonic()
        await store.renew(scene.lease, 0, set())
        await store.sweep()
        longest = max(longest, time.monotonic() - began)
        await asyncio.sleep(0.1)
    assert longest < max(2, (time.monotonic() - sent_at) / 4)
    for result in await sending:
        # Too many are refused, and may be repeated.
        assert not isinstance(result, BaseException) or isinstance(result, StoreUnavailableError)
    assert (await scene.add("m0", conversation="c0")).reply == scene.ref("r-m0")


# Housekeeping.

DAY = 24 * 3_600_000


async def clean(store: SqlStore) -> None:
    """Does what is done now and then."""
    store._housekeeping_at = 0
    await store.sweep()


async def test_ids_that_were_cleared_a_day_ago_may_be_used_again(
    store: SqlStore, scene: Scene, database: Database
) -> None:
    for id in ("m1", "m2"):
        await scene.add(id, conversation=id)
        await scene.clear(id)
    await database.run(
        f"UPDATE cleared SET cleared_at = {database.now} - {DAY} - 1000 WHERE id LIKE '%1'"
    )
    await database.run(
        f"UPDATE cleared SET cleared_at = {database.now} - {DAY} + 60000 WHERE id LIKE '%2'"
    )
    await clean(store)
    assert (await scene.add("m1")).created
    with pytest.raises(MessageClearedError):
        await scene.add("m2")


async def test_conversations_that_have_nothing_left_are_forgotten_after_a_day(
    store: SqlStore, scene: Scene, database: Database
) -> None:
    for id in ("old", "young", "used"):
        await scene.add(f"m-{id}", conversation=id)
        await scene.clear(id)
    await scene.add("m1", conversation="used")
    old = f"({database.now} - {DAY} - 1000) * 1000"
    await database.run(
        f"UPDATE conversation SET sequence = {old}, reset_at = {old}, used = 1 WHERE id <> 'young'"
    )
    before = await scene.cursor("old")
    await clean(store)
    left = {id for (id,) in await database.run("SELECT id FROM conversation")}
    assert left == {"young", "used"}
    # Whoever still looks at it sees what comes.
    assert shown(await scene.events(before, "old")) == []
    await scene.add("m2", conversation="old")
    assert shown(await scene.events(before, "old")) == [
        ("m2", Status.DONE, "Hello"),
        ("r-m2", Status.STREAMING, ""),
    ]


async def test_all_that_is_old_is_forgotten_however_much_it_is(
    store: SqlStore, scene: Scene, database: Database
) -> None:
    await database.run(
        f"INSERT INTO cleared SELECT 'owner', 'm' || n, 1 FROM {database.numbers(1, 3_500)}"
    )
    await database.run(
        f"INSERT INTO conversation SELECT 'owner', 'c' || n, 2, 2, 1, 1, 1 "
        f"FROM {database.numbers(1, 2_500)}"
    )
    await clean(store)
    assert await database.run("SELECT count(*) FROM cleared") == [(0,)]
    assert await database.run("SELECT count(*) FROM conversation") == [(0,)]


async def test_housekeeping_at_two_processes_at_once_does_no_harm(
    url: str, store: SqlStore, scene: Scene, database: Database
) -> None:
    await database.run(
        f"INSERT INTO cleared SELECT 'owner', 'm' || n, 1 FROM {database.numbers(1, 3_500)}"
    )
    async with another(url) as other:
        assert isinstance(other.store, SqlStore)
        await asyncio.gather(clean(store), clean(other.store))
    assert await database.run("SELECT count(*) FROM cleared") == [(0,)]


# What others write between two statements of one call.


def meanwhile(url: str, call: Callable[[Scene], Awaitable[object]]) -> Callable[[], None]:
    """A function that has another process do something, and waits for it."""

    async def run() -> None:
        async with another(url) as scene:
            await call(scene)

    def do() -> None:
        thread = threading.Thread(target=lambda: asyncio.run(run()))
        thread.start()
        thread.join()

    return do


def after(patch: pytest.MonkeyPatch, owner: object, name: str, do: Callable[[], None]) -> None:
    """Has something done after the first call of a method."""
    method = getattr(owner, name)
    todo = [do]

    def call(*arguments: Any, **named: Any) -> Any:
        result = method(*arguments, **named)
        if todo:
            todo.pop()()
        return result

    patch.setattr(owner, name, call)


async def test_events_of_before_a_clear_do_not_come_after_it(
    url: str, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursor = await scene.cursor()
    await scene.add("m1")

    async def clear(other: Scene) -> None:
        await other.clear()
        await other.add("m2")

    after(monkeypatch, Reading, "_since", meanwhile(url, clear))
    events = await scene.events(cursor)
    assert shown(events) == [["m2", "r-m2"]]
    assert shown(await scene.events(events.cursor)) == []


async def test_events_of_before_an_expiry_do_not_come_after_it(
    url: str, scene: Scene, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    await scene.add("m1")
    cursor = await scene.cursor()
    await scene.finish("r-m1")
    await database.run("UPDATE message SET ended_at = 1000 WHERE id = 'r-m1'")

    async def expire(other: Scene) -> None:
        await other.store.sweep()

    after(monkeypatch, Reading, "_since", meanwhile(f"{url}?ttl=1d", expire))
    assert shown(await scene.events(cursor)) == [[]]


async def test_events_of_before_another_reply_do_not_come_after_it(
    url: str, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.add("m1")
    cursor = await scene.cursor()
    await scene.finish("r-m1")
    other_reply = meanwhile(url, lambda other: other.add_reply("n1", "m1"))
    after(monkeypatch, Reading, "_since", other_reply)
    events = await scene.events(cursor)
    assert shown(events) == [["m1", "n1"]]
    assert shown(await scene.events(events.cursor)) == []


async def test_a_reply_that_is_replaced_while_it_expires_is_gone_alone(
    url: str, scene: Scene, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    await scene.answered("m1")
    await database.run("UPDATE message SET ended_at = 1000 WHERE id = 'r-m1'")
    other_reply = meanwhile(url, lambda other: other.add_reply("n1", "m1"))
    after(monkeypatch, Removing, "expired", other_reply)
    async with another(f"{url}?ttl=1d") as other:
        await other.store.sweep()
    assert await scene.store.message(scene.ref("r-m1")) is None
    assert await scene.ids() == ["m1", "n1"]
    assert await scene.replies("m1") == ["n1"]


async def test_a_history_that_is_cleared_while_it_is_read_is_gone(
    url: str, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.add("m1")
    after(monkeypatch, Reading, "reply", meanwhile(url, lambda other: other.clear()))
    with pytest.raises(MessageClearedError):
        await scene.history("r-m1")


async def test_a_message_that_is_sent_and_cleared_while_it_is_sent_stays_cleared(
    url: str, scene: Scene, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    if database.is_sqlite:
        pytest.skip("a transaction that writes has the file for itself")

    async def add_and_clear(other: Scene) -> None:
        await other.add("m1", conversation="c2")
        await other.clear("c2")

    after(monkeypatch, adding, "is_message", meanwhile(url, add_and_clear))
    with pytest.raises(MessageClearedError):
        await scene.add("m1")
    assert await scene.ids() == []
    with pytest.raises(MessageNotFoundError):
        await scene.store.newest_reply(scene.ref("m1"))


async def test_a_reply_that_is_asked_for_and_cleared_while_it_is_asked_for_stays_cleared(
    url: str, scene: Scene, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    if database.is_sqlite:
        pytest.skip("a transaction that writes has the file for itself")
    await scene.answered("m1")
    await scene.answered("m2", conversation="c2")

    async def ask_and_clear(other: Scene) -> None:
        await other.add_reply("n1", "m2")
        await other.clear("c2")

    after(monkeypatch, Adding, "_newest_reply", meanwhile(url, ask_and_clear))
    with pytest.raises(MessageClearedError, match="n1"):
        await scene.add_reply("n1", "m1")
    assert await scene.replies("m1") == ["r-m1"]
    assert await scene.store.message(scene.ref("n1")) is None


async def test_an_id_that_is_used_while_a_reply_is_asked_for_is_a_conflict(
    url: str, scene: Scene, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    if database.is_sqlite:
        pytest.skip("a transaction that writes has the file for itself")
    await scene.answered("m1")
    await scene.answered("m2", conversation="c2")
    replace = Adding._replace

    def overtaken(*arguments: Any) -> None:
        monkeypatch.setattr(Adding, "_replace", replace)
        meanwhile(url, lambda other: other.add_reply("n1", "m2"))()
        replace(*arguments)

    monkeypatch.setattr(Adding, "_replace", overtaken)
    cursor = await scene.cursor()
    with pytest.raises(MessageIdConflictError, match="a reply to another message"):
        await scene.add_reply("n1", "m1")
    assert shown(await scene.events(cursor)) == []
    assert await scene.ids() == ["m1", "r-m1"]
    assert await scene.ids("c2") == ["m2", "n1"]


# States that must not be.


async def test_a_write_that_is_overtaken_again_and_again_gives_up(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(*_: Any, **__: Any) -> None:
        raise UndoError

    await scene.add("m1")
    monkeypatch.setattr(Adding, "add", overtaken)
    monkeypatch.setattr(Ending, "finish", overtaken)
    with pytest.raises(StoreUnavailableError):
        await scene.add("m2")
    with pytest.raises(StoreUnavailableError):
        await scene.finish("r-m1")


async def test_a_reply_without_a_conversation_holds_nobody_up(
    store: SqlStore, scene: Scene, database: Database
) -> None:
    await scene.add("m1")
    await database.run("DELETE FROM conversation")
    with pytest.raises(StoreUnavailableError):
        await scene.finish("r-m1")
    lease: Lease = await store.register(0.001)
    await Scene(store, "owner", lease).add("m2", conversation="c2")
    await database.run("DELETE FROM conversation")
    with in_time(5):
        assert await store.sweep() == 0
