"""The SQLite store, beyond the contract: files, other processes, and what goes wrong with both."""

import asyncio
import gc
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.exc import IntegrityError

from graphql_app.errors import ConfigurationError, StoreUnavailableError
from graphql_app.interfaces import Store, Topic
from graphql_app.messages import ConversationRef, Ref, Status
from graphql_app.stores import open_store
from graphql_app.stores.sql import polling
from graphql_app.stores.sql.polling import POLL_SECONDS
from graphql_app.stores.sql.sqlite import (
    BUSY_SECONDS,
    GOODBYE_SECONDS,
    LEAST_SECONDS,
    SqliteStore,
)
from tests.contracts.scene import PATIENCE_SECONDS, Alarm, Scene
from tests.faults import leaking_nothing

ROOT = Path(__file__).parents[2]
SOON_SECONDS = BUSY_SECONDS + LEAST_SECONDS + 0.5
"""When a call that others hold up has failed."""

NOBODY = 65_534


@asynccontextmanager
async def process(path: Path, options: str = "") -> AsyncIterator[Scene]:
    """A process that uses the store."""
    store = open_store(f"sqlite:///{path}{options}")
    await store.open()
    try:
        yield Scene(store, "owner", await store.register(60))
    finally:
        await store.close()


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    threads = set(threading.enumerate())
    with leaking_nothing():
        yield
    # The loop has threads of its own.
    left = {each for each in threading.enumerate() if not each.name.startswith("asyncio_")}
    assert left <= threads


@pytest.fixture(autouse=True)
def nothing_is_lost(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fails if somebody left an error behind that nobody asked for."""
    yield
    gc.collect()
    worst = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert worst == []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


@pytest.fixture
async def scene(path: Path) -> AsyncIterator[Scene]:
    async with process(path) as scene:
        yield scene


@contextmanager
def other_process(path: Path) -> Iterator[sqlite3.Connection]:
    """Somebody else who uses the file, without a store."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS)) as connection:
        yield connection


@contextmanager
def writing_slowly(path: Path) -> Iterator[None]:
    """Somebody else holds the lock for writing."""
    with other_process(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root, whom no permission stops."""
    if os.getuid() == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if os.getuid() == 0:
            os.seteuid(0)


@pytest.fixture
def nobodys() -> Iterator[Path]:
    """A folder that nobody can use, and the folders above it too."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        if os.getuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        yield folder
        folder.chmod(0o700)


async def refused(store: Store) -> str:
    """The sentence with which a store is refused when it is opened."""
    began = time.monotonic()
    with pytest.raises(ConfigurationError) as error:
        await store.open()
    assert time.monotonic() - began < SOON_SECONDS
    await store.close()
    return str(error.value)


# URLs and files.


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:////",
        "sqlite://chat.db",
        "sqlite:///:memory:",
        "sqlite:///folder/",
    ],
)
def test_a_url_that_names_no_file_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        open_store(url)
    assert str(refused.value) == (
        f"store: {url!r} names no file; use sqlite:///chat.db (a relative path) or "
        "sqlite:////var/lib/chat.db (an absolute one)."
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("?mode=ro", "takes ttl and synchronous"),
        ("?synchronous=off", "synchronous must be normal or full, not 'off'."),
        ("?synchronous=full&synchronous=full", "synchronous is given twice"),
        ("?ttl=soon", "ttl must be a time"),
    ],
)
def test_an_option_that_is_unknown_or_wrong_is_refused_by_name(options: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        open_store(f"sqlite:///chat.db{options}")


async def test_a_relative_path_is_where_the_process_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    async with process(Path("folder/chat.db")) as scene:
        monkeypatch.chdir("/")
        await scene.add("m1")
    assert (tmp_path / "folder" / "chat.db").exists()


@pytest.mark.parametrize(
    "name",
    ["100%.db", "%41.db", "a b.db", "#1.db", "日本.db", 'o\'clock "x".db', "a:b@c.db", "file:x.db"],
)
async def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    async with process(tmp_path / name, "?ttl=1d&synchronous=full") as scene:
        await scene.add("m1")
    assert [each.name for each in tmp_path.iterdir()] == [name]  # noqa: ASYNC240
    async with process(tmp_path / name) as scene:
        assert await scene.ids() == ["m1", "r-m1"]


async def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/nowhere/chat.db")
    assert await refused(store) == (
        f"store: the folder '{tmp_path}/nowhere' of 'chat.db' is not there."
    )


async def test_a_folder_is_no_file(tmp_path: Path) -> None:
    folder = tmp_path / "chat.db"
    folder.mkdir()
    assert await refused(open_store(f"sqlite:///{folder}")) == (
        f"store: the file '{folder}' cannot be used: unable to open database file."
    )


async def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    diary = "Dear diary, " * 1_000
    path.write_text(diary)  # noqa: ASYNC240
    assert await refused(open_store(f"sqlite:///{path}")) == (
        f"store: the file '{path}' cannot be used: file is not a database."
    )
    assert path.read_text() == diary  # noqa: ASYNC240


async def database_of_nobody(folder: Path) -> Path:
    """A file that nobody could use, so far."""
    path = folder / "chat.db"
    async with process(path):
        pass
    if os.getuid() == 0:
        os.chown(path, NOBODY, NOBODY)
    return path


async def test_a_folder_that_cannot_be_written_is_refused(nobodys: Path) -> None:
    nobodys.chmod(0o500)  # noqa: ASYNC240
    with as_nobody():
        said = await refused(open_store(f"sqlite:///{nobodys}/chat.db"))
    assert said.endswith("chat.db' cannot be used: unable to open database file.")


async def test_a_file_that_cannot_be_written_is_refused(nobodys: Path) -> None:
    path = await database_of_nobody(nobodys)
    with as_nobody():
        path.chmod(0o400)
        said = await refused(open_store(f"sqlite:///{path}"))
    assert said.endswith("chat.db' cannot be used: attempt to write a readonly database.")


async def test_a_file_in_a_folder_that_cannot_be_written_is_refused(nobodys: Path) -> None:
    path = await database_of_nobody(nobodys)
    with as_nobody():
        nobodys.chmod(0o500)  # noqa: ASYNC240
        said = await refused(open_store(f"sqlite:///{path}"))
    assert said.endswith("chat.db' cannot be used: attempt to write a readonly database.")


async def test_a_file_that_cannot_be_read_is_refused(nobodys: Path) -> None:
    path = await database_of_nobody(nobodys)
    with as_nobody():
        path.chmod(0)
        said = await refused(open_store(f"sqlite:///{path}"))
    assert said.endswith("chat.db' cannot be used: unable to open database file.")


async def test_a_database_of_a_newer_version_is_refused_by_name(path: Path) -> None:
    async with process(path):
        pass
    with other_process(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert "9999" in await refused(open_store(f"sqlite:///{path}"))


async def test_a_file_without_write_ahead_log_is_turned_to_it(path: Path) -> None:
    async with process(path) as scene:
        await scene.add("m1")
    with other_process(path) as connection:
        assert connection.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    async with process(path) as scene:
        assert await scene.ids() == ["m1", "r-m1"]
        with other_process(path) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize(("options", "level"), [("", 1), ("?synchronous=full", 2)])
async def test_every_connection_is_as_durable_as_the_url_says(
    path: Path, options: str, level: int
) -> None:
    async with process(path, options) as scene:
        store = scene.store
        assert isinstance(store, SqliteStore)

        found = await asyncio.gather(
            *(store._look(_level) for _ in range(20)),
            store._write(lambda connection, _: _level(connection)),
        )
        assert set(found) == {level}
        await scene.add("m1")


def _level(connection: Connection) -> int:
    time.sleep(0.02)  # So that others get connections of their own.
    level: int = connection.exec_driver_sql("PRAGMA synchronous").scalar_one()
    return level


# Standing in each other's way.


def every_write(scene: Scene) -> dict[str, Awaitable[object]]:
    """One call of each kind that writes; m1 streams and m2 is new."""
    return {
        "register": scene.store.register(60),
        "renew": scene.renew("r-m1"),
        "add": scene.add("m2"),
        "append": scene.append("r-m1", 0, "text"),
        "finish": scene.stop("r-m1"),
        "clear": scene.clear(),
    }


async def test_a_process_that_writes_for_long_makes_every_write_fail_in_time(
    scene: Scene, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.add("m1")
    with writing_slowly(path):
        began = time.monotonic()
        calls = every_write(scene)
        results = await asyncio.gather(*calls.values(), return_exceptions=True)
        assert time.monotonic() - began < SOON_SECONDS
        for name, result in zip(calls, results, strict=True):
            assert isinstance(result, StoreUnavailableError), name
        # Others may be read all the time, and that is no sign that the store is back.
        assert await scene.ids() == ["m1", "r-m1"]
        await scene.store.ping()
        assert [line.partition(" is ")[2] for line in caplog.messages] == [
            "away: database is locked"
        ]
    assert (await scene.add("m2")).created
    await scene.append("r-m1", 0, "text")
    assert caplog.messages[1:] == [caplog.messages[0].partition(" is ")[0] + " is back"]


async def test_a_write_waits_for_a_process_that_does_not_write_for_long(
    scene: Scene, path: Path
) -> None:
    await scene.add("m1")
    with writing_slowly(path):
        appending = asyncio.create_task(scene.append("r-m1", 0, "text"))
        await asyncio.sleep(BUSY_SECONDS / 3)
        assert not appending.done()
    await asyncio.wait_for(appending, 1)


async def test_closing_does_not_hold_up_the_loop(path: Path) -> None:
    store = open_store(f"sqlite:///{path}")
    await store.open()
    scene = Scene(store, "owner", await store.register(60))
    with writing_slowly(path):
        adding = asyncio.create_task(scene.add("m1"))
        await asyncio.sleep(0.1)
        closing = asyncio.create_task(store.close())
        longest = 0.0
        while not closing.done():
            began = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - began)
        assert longest < BUSY_SECONDS / 2
    with pytest.raises(StoreUnavailableError):
        await adding


@pytest.mark.parametrize("seconds", [GOODBYE_SECONDS / 4, 3 * GOODBYE_SECONDS])
async def test_closing_waits_for_a_slow_disk_without_holding_up_the_loop_and_not_for_ever(
    path: Path, seconds: float
) -> None:
    store = open_store(f"sqlite:///{path}")
    assert isinstance(store, SqliteStore)
    await store.open()
    is_over, was_slow = threading.Event(), threading.Event()

    def be_slow(*_: object) -> None:
        is_over.wait(seconds)
        was_slow.set()

    event.listen(store._for_writing, "close", be_slow)
    began = time.monotonic()
    closing = asyncio.create_task(store.close())
    longest = 0.0
    while not closing.done():
        turn = time.monotonic()
        await asyncio.sleep(0.01)
        longest = max(longest, time.monotonic() - turn)
    took = time.monotonic() - began
    assert longest < GOODBYE_SECONDS / 8
    assert min(seconds, GOODBYE_SECONDS) <= took < GOODBYE_SECONDS + 1
    assert was_slow.is_set() == (seconds < GOODBYE_SECONDS)
    is_over.set()
    for thread in threading.enumerate():
        if thread.name == "sqlite-closer":
            await asyncio.to_thread(thread.join, GOODBYE_SECONDS)


async def test_calls_after_closing_fail_as_when_the_store_is_away(path: Path) -> None:
    async with process(path) as scene:
        await scene.add("m1")
    for call in (*every_write(scene).values(), scene.ids(), scene.read("r-m1")):
        with pytest.raises(StoreUnavailableError):
            await call
    await scene.store.close()


async def test_a_step_that_fails_leaves_no_transaction_behind(scene: Scene, path: Path) -> None:
    store = scene.store
    assert isinstance(store, SqliteStore)

    def fail(connection: Connection, _: object) -> None:
        connection.exec_driver_sql("DELETE FROM lease")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store._write(fail)
    with writing_slowly(path):
        pass
    await scene.add("m1")


async def test_a_commit_that_fails_leaves_no_transaction_behind(scene: Scene, path: Path) -> None:
    store = scene.store
    assert isinstance(store, SqliteStore)

    def fail_at_the_end(connection: Connection, _: object) -> None:
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        connection.exec_driver_sql("INSERT INTO child VALUES (1)")

    with other_process(path) as connection:
        connection.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
        connection.execute("CREATE TABLE child (id INTEGER REFERENCES parent)")

    def obey(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")

    await store._change(obey)
    with pytest.raises(IntegrityError):
        await store._write(fail_at_the_end)
    with writing_slowly(path):
        pass
    await scene.add("m1")
    assert await scene.ids() == ["m1", "r-m1"]


async def test_a_full_disk_makes_writes_fail_and_is_said_once(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    store = scene.store
    assert isinstance(store, SqliteStore)

    def most_pages(pages: int) -> Callable[[Connection], int]:
        return lambda connection: connection.exec_driver_sql(
            f"PRAGMA max_page_count = {pages}"
        ).scalar_one()

    await scene.add("m1")
    most = await store._change(most_pages(1))
    at = 0
    with suppress(StoreUnavailableError):
        while at < 1_000:
            await scene.append("r-m1", at * 5_000, "." * 5_000)
            at += 1
    for _ in range(3):
        with pytest.raises(StoreUnavailableError):
            await scene.append("r-m1", at * 5_000, "." * 5_000)
        assert (await scene.read("r-m1")).end == at * 5_000
    assert len(caplog.messages) == 1
    assert "disk is full" in caplog.text
    await store._change(most_pages(most + 1_000))
    await scene.append("r-m1", at * 5_000, "text")
    assert (await scene.read("r-m1")).end == at * 5_000 + 4
    assert caplog.messages[-1].endswith(" is back")


# Learning what others have changed.


@pytest.mark.parametrize(
    ("statement", "topic"),
    [
        ("INSERT INTO piece VALUES ('owner', 'r-m1', 4, 'text')", Ref("owner", "r-m1")),
        ("UPDATE message SET ended = 1 WHERE id = 'r-m1'", Ref("owner", "r-m1")),
        ("DELETE FROM message WHERE id = 'r-m1'", Ref("owner", "r-m1")),
        ("UPDATE conversation SET sequence = sequence + 1", ConversationRef("owner", "c1")),
        ("DELETE FROM conversation", ConversationRef("owner", "c1")),
    ],
)
async def test_what_another_process_changes_is_noticed(
    scene: Scene, path: Path, statement: str, topic: Topic
) -> None:
    await scene.add("m1")
    alarm = Alarm(scene.store, topic)
    bystander = Alarm(scene.store, Ref("owner", "r-m2"))
    await alarm.rings_next()  # Whatever is new to a poll counts as changed.
    await asyncio.sleep(3 * POLL_SECONDS)
    alarm.forget()
    rings = bystander.rings
    with other_process(path) as connection:
        connection.execute(statement)
    await asyncio.wait_for(alarm.rings_next(), 1)
    await asyncio.sleep(3 * POLL_SECONDS)
    assert bystander.rings == rings


async def test_a_notice_of_another_process_wakes_the_holder_of_a_lease(
    scene: Scene, path: Path
) -> None:
    alarm = Alarm(scene.store, scene.lease)
    await alarm.rings_next()
    alarm.forget()
    with other_process(path) as connection:
        connection.execute("UPDATE lease SET notices = notices + 1")
    await asyncio.wait_for(alarm.rings_next(), 1)


async def test_whoever_looks_and_then_waits_misses_nothing(scene: Scene, path: Path) -> None:
    await scene.add("m1")
    with other_process(path) as connection:
        for end in range(1, 100):
            # As a follower does, with a change at every moment in between.
            alarm = Alarm(scene.store, scene.ref("r-m1"))
            assert (await scene.read("r-m1")).end == end - 1
            if end % 3:
                await asyncio.sleep(0.01 * (end % 5))
                alarm.forget()
            connection.execute("INSERT INTO piece VALUES ('owner', 'r-m1', ?, '.')", (end,))
            await asyncio.wait_for(alarm.rings_next(), 1)
            while (await scene.read("r-m1")).end < end:
                await alarm.rings_next()
            alarm.unwatch()


async def test_who_follows_what_this_process_writes_is_not_woken_again_by_the_poll(
    scene: Scene,
) -> None:
    await scene.add("m1")
    alarm = Alarm(scene.store, scene.ref("r-m1"))
    await alarm.rings_next()
    await asyncio.sleep(3 * POLL_SECONDS)
    rings = alarm.rings
    for at in range(10):
        await scene.append("r-m1", at, ".")
        await asyncio.sleep(2 * POLL_SECONDS)
    # A poll that was under way while a piece was written may count it once more.
    assert rings + 10 <= alarm.rings <= rings + 12


async def test_what_a_cancelled_call_still_does_wakes_those_who_watch_it(
    scene: Scene, path: Path
) -> None:
    await scene.add("m1")
    alarm = Alarm(scene.store, scene.ref("r-m1"))
    await alarm.rings_next()
    with writing_slowly(path):
        stopping = asyncio.create_task(scene.stop("r-m1"))
        await asyncio.sleep(0.1)
        stopping.cancel()
        with suppress(asyncio.CancelledError):
            await stopping
        alarm.forget()
    await asyncio.wait_for(alarm.rings_next(), 1)
    assert (await scene.read("r-m1")).status is Status.STOPPED


async def test_a_poll_that_fails_is_said_once_and_tried_again(
    scene: Scene, path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.add("m1")
    alarm = Alarm(scene.store, scene.ref("r-m1"))
    await alarm.rings_next()
    polled = threading.Event()

    def fail(*_: object) -> None:
        polled.set()
        raise RuntimeError("out of order")

    with monkeypatch.context() as patch:
        patch.setattr(polling.Poller, "_states", fail)
        for end in (1, 2):
            polled.clear()
            with other_process(path) as connection:
                connection.execute("INSERT INTO piece VALUES ('owner', 'r-m1', ?, '.')", (end,))
            assert await asyncio.to_thread(polled.wait, PATIENCE_SECONDS)
        alarm.forget()
    await asyncio.wait_for(alarm.rings_next(), 1)
    await asyncio.sleep(2 * POLL_SECONDS)
    said = [line.partition(" is ")[2] for line in caplog.messages]
    assert said == ["away: out of order", "back"]


async def test_a_new_connection_does_not_take_its_first_look_for_the_old_ones_last(
    scene: Scene, path: Path
) -> None:
    # Versions of two connections may be equal though everything has changed in between.
    await scene.add("m1")
    store = scene.store
    assert isinstance(store, SqliteStore)
    poller = store._poller
    alarm = Alarm(store, scene.ref("r-m1"))
    await alarm.rings_next()
    await asyncio.sleep(2 * POLL_SECONDS)
    thread = poller._thread
    assert thread is not None
    for end in range(1, 6):
        alarm.forget()

        def change(end: int = end) -> None:
            poller._disconnect()
            with other_process(path) as connection:
                connection.execute("INSERT INTO piece VALUES ('owner', 'r-m1', ?, '.')", (end,))

        await asyncio.get_running_loop().run_in_executor(thread, change)
        await asyncio.wait_for(alarm.rings_next(), 1)


async def test_a_poll_during_which_the_process_stood_still_is_soon_followed_by_another(
    scene: Scene, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.add("m1")
    alarm = Alarm(scene.store, scene.ref("r-m1"))
    await alarm.rings_next()
    changes = polling.Poller._changes
    stood_still = threading.Event()

    def stand_still(poller: polling.Poller, topics: Sequence[Topic], are_new: bool) -> object:
        if not stood_still.is_set():
            stood_still.set()
            time.sleep(2)
        return changes(poller, topics, are_new)

    monkeypatch.setattr(polling.Poller, "_changes", stand_still)
    assert await asyncio.to_thread(stood_still.wait, PATIENCE_SECONDS)
    await asyncio.sleep(2.2)
    alarm.forget()
    with other_process(path) as connection:
        connection.execute("INSERT INTO piece VALUES ('owner', 'r-m1', 1, '.')")
    await asyncio.wait_for(alarm.rings_next(), 3)  # The rest of a poll that worked so long is 8 s.


async def test_many_watchers_do_not_hold_up_the_loop(scene: Scene, path: Path) -> None:
    await scene.add("m1")
    for number in range(3_000):
        Alarm(scene.store, scene.ref(f"r-{number}"))
    alarm = Alarm(scene.store, scene.ref("r-m1"))
    await alarm.rings_next()
    loop = asyncio.get_running_loop()
    deadline, longest = loop.time() + 1, 0.0
    with other_process(path) as connection:
        while loop.time() < deadline:
            connection.execute("UPDATE conversation SET used = used + 1")
            began = loop.time()
            await asyncio.sleep(0.005)
            longest = max(longest, loop.time() - began)
    assert longest < 0.2


async def test_idle_polls_cost_next_to_nothing(scene: Scene) -> None:
    for number in range(100):
        Alarm(scene.store, scene.ref(f"r-{number}"))
    await asyncio.sleep(5 * POLL_SECONDS)
    began = time.process_time()
    await asyncio.sleep(2)
    assert (time.process_time() - began) / 2 < 0.1


# Processes that die, and many at once.


async def test_a_process_that_is_killed_leaves_all_that_it_acknowledged(path: Path) -> None:
    async with process(path) as scene:
        for number in range(4):
            await scene.add(f"m{number}")
    for attempt in range(3):
        lines = await asyncio.to_thread(_kill_a_writer, path, 0.2 + attempt / 10)
        async with process(path) as scene:
            with other_process(path) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            acknowledged: dict[str, int] = {}
            for line in lines:
                id, _, said = line.partition(" ")
                acknowledged[id] = int(said)
            assert acknowledged
            for id, end in acknowledged.items():
                found = await scene.read(id)
                assert found.end >= end
                assert found.text == "word " * (found.end // 5)
            assert (await scene.add(f"after-{attempt}")).created


WRITER = """
import asyncio, sys
from graphql_app.messages import Ref
from graphql_app.interfaces import Draft
from graphql_app.messages import ConversationRef
from graphql_app.stores import open_store

async def write(store, lease, name):
    reply = Ref("owner", f"r-{name}")
    draft = Draft(Ref("owner", name), ConversationRef("owner", "c1"), "Hello", reply, 0)
    await store.add(draft, lease)
    end = 0
    while True:
        await store.append(reply, lease, end, "word ")
        end += 5
        print(f"r-{name}", end, flush=True)

async def main():
    store = open_store(sys.argv[1])
    await store.open()
    lease = await store.register(60)
    print("ready", 0, flush=True)
    await asyncio.gather(*(write(store, lease, f"{sys.argv[2]}-{n}") for n in range(10)))

asyncio.run(main())
"""


def _kill_a_writer(path: Path, seconds: float) -> list[str]:
    """Lets a process write for a while, and returns what it acknowledged, line by line."""
    name = f"w{time.monotonic_ns()}"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, f"sqlite:///{path}", name],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready 0\n"
        time.sleep(seconds)
        writer.send_signal(signal.SIGKILL)
        # The last line may be cut in the middle.
        return writer.stdout.read().splitlines(keepends=True)[:-1]


OPENER = """
import asyncio, sys
from graphql_app.stores import open_store

async def main():
    store = open_store(sys.argv[1])
    sys.stdin.readline()
    await store.open()
    print((await store.register(60)).epoch)
    await store.close()

asyncio.run(main())
"""


def test_many_processes_may_open_a_new_file_at_once(path: Path) -> None:
    openers = [
        subprocess.Popen(
            [sys.executable, "-c", OPENER, f"sqlite:///{path}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        for _ in range(8)
    ]
    time.sleep(2)  # Until all of them wait for the word.
    said = [opener.communicate("go\n", timeout=60) for opener in openers]
    assert [error for _, error in said] == [""] * 8
    assert sorted(int(output) for output, _ in said) == list(range(1, 9))
