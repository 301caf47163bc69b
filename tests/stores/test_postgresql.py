"""The PostgreSQL store, beyond the contract: what it refuses, and what it does when things fail."""

import asyncio
import gc
import itertools
import logging
import os
import shutil
import socket
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError

from graphql_app.errors import (
    ConfigurationError,
    FencedError,
    MessageClearedError,
    MessageNotFoundError,
    StoreUnavailableError,
)
from graphql_app.interfaces import Store
from graphql_app.messages import Status
from graphql_app.stores import open_store
from graphql_app.stores.sql.listening import ASK_SECONDS, DEAF_SECONDS, LISTEN_SECONDS
from graphql_app.stores.sql.postgresql import (
    CALL_SECONDS,
    LEAST_SECONDS,
    PAUSED_SECONDS,
    URGENT_CALLS,
    USUAL_CALLS,
    PostgresStore,
)
from tests.contracts.backends import BACKENDS
from tests.contracts.scene import PATIENCE_SECONDS, Alarm, Scene
from tests.faults import leaking_nothing
from tests.servers import PostgresServer, free_port, running

SECRET = "open-sesame"
CONNECTIONS = USUAL_CALLS + URGENT_CALLS
SOON_SECONDS = CALL_SECONDS + LEAST_SECONDS + 0.5
"""When a call that gets no answer has failed."""

SESSIONS = "FROM pg_stat_activity WHERE datname = current_database() AND application_name != 'test'"


@pytest.fixture(scope="module", autouse=True)
def required() -> None:
    [backend] = [backend for backend in BACKENDS if backend.id == "postgresql"]
    backend.require()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    server = PostgresServer(tmp_path_factory.mktemp("postgresql"))
    with running(server):
        yield server


@pytest.fixture
def database(server: PostgresServer) -> str:
    """The name of an empty database."""
    name = uuid.uuid4().hex
    server.create_database(name)
    return name


@pytest.fixture
def url(server: PostgresServer, database: str) -> str:
    return server.url_of(database)


@pytest.fixture
async def admin(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Somebody who turns the server's screws."""
    connection = await asyncpg.connect(url, server_settings={"application_name": "test"})
    yield connection
    connection.terminate()


@asynccontextmanager
async def process(url: str) -> AsyncIterator[Scene]:
    """A process that uses the store."""
    store = open_store(url)
    await store.open()
    try:
        yield Scene(store, "owner", await store.register(60))
    finally:
        await store.close()


@pytest.fixture(autouse=True)
async def no_task_is_left() -> AsyncIterator[None]:
    with leaking_nothing():
        yield


@pytest.fixture(autouse=True)
def nothing_is_lost(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fails if somebody left an error behind that nobody asked for, or something unclosed."""
    yield
    gc.collect()
    worst = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert worst == []


async def refused(url: str) -> str:
    """The sentence with which a store is refused when it is opened."""
    store = open_store(url)
    with pytest.raises(ConfigurationError) as error:
        await store.open()
    await store.close()
    assert SECRET not in str(error.value)
    return str(error.value)


async def away(url: str) -> str:
    """Why a store cannot be reached when it is opened."""
    store = open_store(url)
    with pytest.raises(StoreUnavailableError) as error:
        await store.open()
    await store.close()
    assert SECRET not in str(error.value.__cause__)
    return str(error.value.__cause__)


async def back(store: Store) -> None:
    """Returns when the store can be reached again."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                return await store.ping()
            except StoreUnavailableError:
                await asyncio.sleep(0.05)


async def until(is_so: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await is_so():  # noqa: ASYNC110 (only the server knows)
            await asyncio.sleep(0.02)


def every_call(scene: Scene) -> dict[str, Awaitable[object]]:
    """One call of each kind; m1 streams and m2 is new."""
    store = scene.store
    return {
        "ping": store.ping(),
        "register": store.register(60),
        "renew": scene.renew("r-m1"),
        "sweep": store.sweep(),
        "add": scene.add("m2"),
        "append": scene.append("r-m1", 0, "text"),
        "finish": scene.stop("r-m1"),
        "add_reply": scene.add_reply("n1", "m1"),
        "read": scene.read("r-m1"),
        "message": store.message(scene.ref("m1")),
        "newest_reply": store.newest_reply(scene.ref("m1")),
        "messages": scene.ids(),
        "replies": scene.replies("m1"),
        "conversations": scene.conversations(),
        "history": scene.history("r-m1"),
        "clear": scene.clear("c2"),
        "events": scene.events(),
    }


# URLs, and what the server says to them.


async def test_a_connection_says_whose_it_is(url: str, admin: asyncpg.Connection) -> None:
    whose = "SELECT array_agg(DISTINCT application_name) FROM pg_stat_activity WHERE datname = "
    whose += "current_database() AND application_name != 'test'"
    async with process(url):
        assert await admin.fetchval(whose) == ["graphql_app"]
    await until(lambda: admin.fetchval(f"SELECT count(*) = 0 {SESSIONS}"))
    async with process(f"{url}?application_name=mine&connect_timeout=10"):
        assert await admin.fetchval(whose) == ["mine"]


async def test_both_schemes_and_the_servers_own_settings_work(url: str) -> None:
    async with process(url.replace("postgresql://", "postgres://")) as scene:
        await scene.add("m1")
    async with process(f"{url}?ttl=7d&sslmode=prefer&search_path=public") as scene:
        assert await scene.ids() == ["m1", "r-m1"]


async def test_a_schema_of_its_own_holds_a_store_of_its_own(
    url: str, admin: asyncpg.Connection
) -> None:
    await admin.execute("CREATE SCHEMA mine")
    async with process(url) as public, process(f"{url}?search_path=mine") as mine:
        await public.add("m1")
        assert await mine.ids() == []
        await mine.add("m2")
        assert await public.ids() == ["m1", "r-m1"]


@pytest.mark.parametrize("mode", ["disable", "prefer", "allow"])
async def test_a_server_without_tls_is_used_without_it(url: str, mode: str) -> None:
    async with process(f"{url}?sslmode={mode}") as scene:
        await scene.store.ping()


async def test_a_server_without_tls_is_not_used_if_tls_is_required(url: str) -> None:
    assert "rejected SSL upgrade" in await away(f"{url}?sslmode=require")


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A key and a certificate for 127.0.0.1, for the server's user to read."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    if os.getuid() == 0:
        shutil.chown(key, PostgresServer.user)
    key.chmod(0o600)
    return key, certificate


async def test_a_server_with_tls_is_used_with_it(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path)
    key, certificate = make_certificate(server.home)
    server.options = (
        "-c", "ssl=on", "-c", f"ssl_key_file={key}", "-c", f"ssl_cert_file={certificate}",
    )  # fmt: skip
    with running(server):
        for options in ("sslmode=require", f"sslmode=verify-full&sslrootcert={certificate}"):
            async with process(f"{server.url}?{options}") as scene:
                await scene.store.ping()
                assert (
                    server.run_sql(
                        "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity "
                        "USING (pid) WHERE application_name = 'graphql_app'"
                    )
                    == "t"
                )
        assert "root certificate" in await refused(f"{server.url}?sslmode=verify-full")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("?sslmode=perhaps", "`sslmode` parameter must be one of"),
        ("?target_session_attrs=fast", "target_session_attrs is expected to be one of"),
        ("?color=green", "color is no option of postgresql://, which takes ttl, connect_timeout, "),
        ("?ssl_mode=require", "ssl_mode is no option of "),
        ("?statement_timeout=0", "statement_timeout is no option of "),
        ("?sslmode", "is not understood"),
        ("?connect_timeout=0", "connect_timeout must be a whole number of seconds"),
        ("?connect_timeout=soon", "connect_timeout must be a whole number of seconds"),
        ("?options=-c+work_mem%3Dgreen", 'invalid value for parameter "work_mem"'),
        ("?ttl=soon", "ttl must be a time"),
    ],
)
async def test_an_option_that_cannot_be_is_refused_by_name(
    url: str, options: str, sentence: str
) -> None:
    try:
        said = await refused(url.replace("@", f":{SECRET}@") + options)
    except ConfigurationError as error:
        said = str(error)
    assert sentence in said


@pytest.mark.parametrize("port", ["0", "70000", "port"])
@pytest.mark.parametrize(
    "place", ["127.0.0.1:{}/chat", "one,[::1]:{}/chat", "/chat?host=one,two:{}", "one/chat?port={}"]
)
def test_a_port_that_cannot_be_is_refused(place: str, port: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        open_store(f"postgresql://chat:{SECRET}@{place.format(port)}")
    shown = f"postgresql://chat:***@{place.format(port)}"
    assert str(refusal.value) == (
        f"store: a port must be a number from 1 to 65535, which one in {shown!r} is not."
    )


@pytest.mark.parametrize(
    "place",
    [
        "one:5432/chat",
        "one,two:5433/chat",
        "[::1]/chat",
        "/chat?host=/run/a:b",
        "%2Frun%2Fa:b/chat",
    ],
)
def test_a_host_may_have_a_port_and_a_folder_has_none(place: str) -> None:
    open_store(f"postgresql://{place}")


async def test_a_wrong_password_is_named_and_not_told(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path)
    access = server.data / "pg_hba.conf"
    access.write_text("host all all 127.0.0.1/32 scram-sha-256\n")
    with running(server):
        wrong = server.url.replace("chat@", f"chat:{SECRET}@")
        assert 'password authentication failed for user "chat"' in await refused(wrong)


async def test_a_database_that_is_missing_is_named(server: PostgresServer) -> None:
    assert 'database "nowhere" does not exist' in await refused(server.url_of("nowhere"))


async def test_a_user_who_is_missing_is_named(server: PostgresServer) -> None:
    nobody = server.url.replace("chat@", f"nobody:{SECRET}@")
    assert 'role "nobody" does not exist' in await refused(nobody)


async def test_a_user_who_may_make_no_tables_is_told(
    server: PostgresServer, url: str, admin: asyncpg.Connection
) -> None:
    await admin.execute("CREATE ROLE reader LOGIN")
    assert "permission denied" in await refused(url.replace("chat@", "reader@"))


async def test_a_server_that_does_not_run_is_away() -> None:
    where = f"postgresql://chat:{SECRET}@127.0.0.1:{free_port()}/chat"
    assert "Connect call failed" in await away(where)


async def test_a_host_that_is_unknown_is_away() -> None:
    assert await away(f"postgresql://chat:{SECRET}@no-such-host.invalid/chat")


async def test_a_host_that_does_not_answer_is_away_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        where = f"postgresql://chat:{SECRET}@127.0.0.1:{silent.getsockname()[1]}/chat"
        assert await away(where) == "the server does not answer"
        assert time.monotonic() - began < SOON_SECONDS


async def test_a_database_of_another_encoding_is_refused(server: PostgresServer) -> None:
    name = uuid.uuid4().hex
    server.run_sql(f"CREATE DATABASE \"{name}\" ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    assert "LATIN1" in await refused(server.url_of(name))


async def test_a_database_of_a_newer_version_is_refused_by_name(
    url: str, admin: asyncpg.Connection
) -> None:
    async with process(url):
        pass
    await admin.execute("UPDATE alembic_version SET version_num = '9999'")
    assert "9999" in await refused(url)


# Outages.


async def test_a_server_that_is_paused_makes_every_call_fail_in_time(
    server: PostgresServer, url: str, admin: asyncpg.Connection
) -> None:
    async with process(url) as scene:
        await scene.add("m1")
        await asyncio.gather(*(scene.ids() for _ in range(2 * CONNECTIONS)))
        server.pause()
        try:
            # The second time, connections have to be made anew.
            for _ in range(2):
                calls = every_call(scene)
                began = time.monotonic()
                results = await asyncio.gather(*calls.values(), return_exceptions=True)
                assert time.monotonic() - began < SOON_SECONDS
                for name, result in zip(calls, results, strict=True):
                    assert isinstance(result, StoreUnavailableError), name
        finally:
            server.resume()
        await back(scene.store)
        for call in every_call(scene).values():
            # Whether what was tried meanwhile has happened is unknown.
            with suppress(FencedError):
                await call
        assert (await scene.add("m3")).created
        # Those that were cut are gone at the server too.
        most = CONNECTIONS + 1
        await until(lambda: admin.fetchval(f"SELECT count(*) <= {most} {SESSIONS}"))


async def test_a_store_that_is_paused_can_be_closed_in_time(
    server: PostgresServer, url: str
) -> None:
    async with process(url) as scene:
        await asyncio.gather(*(scene.ids() for _ in range(2 * CONNECTIONS)))
        server.pause()
        try:
            calls = asyncio.gather(*every_call(scene).values(), return_exceptions=True)
            await asyncio.sleep(0.1)
            began = time.monotonic()
            await scene.store.close()
            assert time.monotonic() - began < SOON_SECONDS
            await calls
        finally:
            server.resume()


async def test_a_store_whose_server_is_paused_while_it_rests_can_be_closed_in_time(
    server: PostgresServer, url: str
) -> None:
    async with process(url) as scene:
        await asyncio.gather(*(scene.ids() for _ in range(2 * CONNECTIONS)))
        server.pause()
        try:
            began = time.monotonic()
            await scene.store.close()
            assert time.monotonic() - began < SOON_SECONDS
        finally:
            server.resume()


async def test_a_store_whose_server_is_paused_cannot_be_opened(
    server: PostgresServer, url: str
) -> None:
    server.pause()
    try:
        began = time.monotonic()
        assert await away(url) == "the server does not answer"
        assert time.monotonic() - began < SOON_SECONDS
    finally:
        server.resume()


async def test_a_store_goes_on_by_itself_when_its_server_was_restarted(
    server: PostgresServer, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with process(url) as scene:
        is_over = asyncio.Event()
        failures: list[float] = []

        async def use(name: str) -> None:
            for number in itertools.count():
                id = f"{name}-{number}"
                for call in (
                    lambda it=id: scene.add(it, conversation=name),
                    lambda it=id: scene.append(f"r-{it}", 0, "text"),
                    lambda it=id: scene.read(f"r-{it}"),
                    lambda it=id: scene.finish(f"r-{it}", text=".", at_offset=4),
                ):
                    while True:
                        began = time.monotonic()
                        try:
                            await call()
                        except StoreUnavailableError:
                            failures.append(began)
                            await asyncio.sleep(0.02)
                        else:
                            break
                if is_over.is_set():
                    return

        users = [asyncio.create_task(use(f"c{number}")) for number in range(4)]
        await asyncio.sleep(0.3)
        for _ in range(2):
            await asyncio.to_thread(server.restart)
            answers_since = time.monotonic()
            await asyncio.sleep(0.5)
            assert [began for began in failures if began > answers_since] == []
        is_over.set()
        await asyncio.gather(*users)
        for name in ("c0", "c1", "c2", "c3"):
            messages = await scene.store.messages(scene.conversation(name), 1_000, None)
            replies = [message for message in messages if message.reply_to_id]
            assert len(replies) * 2 == len(messages)
            assert {reply.content for reply in replies} == {"text."}
    said = [record.getMessage() for record in caplog.records]
    assert len([line for line in said if "postgres is" in line or f"{url} is away" in line]) <= 2


async def test_a_store_survives_that_all_its_connections_are_ended(
    url: str, admin: asyncpg.Connection
) -> None:
    async with process(url) as scene:
        await scene.add("m1")

        async def append(reply: str) -> None:
            for at in range(100):
                await scene.append(reply, at, ".")

        await asyncio.gather(*(scene.add(f"m{n}", conversation=f"c{n}") for n in range(2, 9)))
        appending = asyncio.gather(*(append(f"r-m{n}") for n in range(1, 9)))
        for _ in range(5):
            await asyncio.sleep(0.2)
            await admin.execute(f"SELECT pg_terminate_backend(pid) {SESSIONS}")
        await appending
        for n in range(1, 9):
            assert (await scene.read(f"r-m{n}")).end == 100


async def test_what_was_acknowledged_is_there_after_the_server_was_killed(
    server: PostgresServer, url: str
) -> None:
    async with process(url) as scene:
        await scene.add("m1")
        acknowledged = 0

        async def append() -> None:
            nonlocal acknowledged
            while True:
                await scene.append("r-m1", acknowledged, ".")
                acknowledged += 1

        for _ in range(2):
            appending = asyncio.create_task(append())
            await asyncio.sleep(0.4)
            await asyncio.to_thread(server.kill)
            with pytest.raises(StoreUnavailableError):
                await appending
            await asyncio.to_thread(server.start)
            await back(scene.store)
            # One more may have been written, whose answer was lost.
            assert (await scene.read("r-m1")).end - acknowledged in (0, 1)
            acknowledged = (await scene.read("r-m1")).end
        assert acknowledged > 10


async def test_an_outage_is_said_once_and_so_is_its_end(
    server: PostgresServer, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with process(url) as scene:
        server.stop()
        try:
            for _ in range(3):
                with pytest.raises(StoreUnavailableError):
                    await scene.ids()
                with pytest.raises(StoreUnavailableError):
                    await scene.add("m1")
                await asyncio.sleep(DEAF_SECONDS)
        finally:
            server.start()
        await back(scene.store)
        await scene.add("m1")
        await until(lambda: asyncio.sleep(0, len(caplog.records) >= 4))
    said = [record.getMessage().partition(" is ")[2].partition(":")[0] for record in caplog.records]
    assert sorted(said) == ["away", "away", "back", "back"]  # The store, and its notifications.


async def test_a_database_that_became_read_only_can_be_read(
    url: str, database: str, admin: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    async with process(url) as scene:
        await scene.add("m1")
        await admin.execute(f'ALTER DATABASE "{database}" SET default_transaction_read_only = on')
        await admin.execute(f"SELECT pg_terminate_backend(pid) {SESSIONS}")
        for _ in range(3):
            with pytest.raises(StoreUnavailableError) as error:
                await scene.add("m2")
            assert "read-only transaction" in str(error.value.__cause__)
            assert await scene.ids() == ["m1", "r-m1"]
        assert len([line for line in caplog.messages if f"{url} is" in line]) == 1
        with pytest.raises(StoreUnavailableError):
            async with process(url):
                pass


# Answers that get lost.


class Wire:
    """A proxy that understands what the server says, as long as nothing is encrypted."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.is_deaf = False
        self.is_silent = False
        self._lost: list[bytes] = []
        self._held: bytes | None = None
        self.holds = asyncio.Event()
        self.goes_on = asyncio.Event()

    def losing_answer_to(self, *markers: bytes) -> None:
        """Forwards what clients say, up to a marker, and cuts the connection before the answer."""
        self._lost = list(markers)

    def holding(self, marker: bytes) -> None:
        """Keeps what a client says, with a marker, until `goes_on`; even if the client leaves."""
        self._held = marker

    @property
    def has_lost(self) -> bool:
        return not self._lost

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Even if it is cancelled before it begins.
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        cut = asyncio.Event()
        flows = [
            asyncio.create_task(self._up(reader, server_writer, cut)),
            asyncio.create_task(self._down(server_reader, writer, cut)),
        ]
        try:
            await asyncio.wait(flows, return_when=asyncio.FIRST_COMPLETED)
        finally:
            server_writer.transport.abort()
            for flow in flows:
                flow.cancel()
            await asyncio.gather(*flows, return_exceptions=True)

    async def _up(
        self, client: asyncio.StreamReader, server: asyncio.StreamWriter, cut: asyncio.Event
    ) -> None:
        while data := await client.read(1_000_000):
            if self._lost and self._lost[0] in data:
                del self._lost[0]
                cut.set()
            if self._held is not None and self._held in data:
                self._held = None
                self.holds.set()
                await self.goes_on.wait()
                server.write(data)
                await asyncio.Event().wait()
            server.write(data)

    async def _down(
        self, server: asyncio.StreamReader, client: asyncio.StreamWriter, cut: asyncio.Event
    ) -> None:
        while True:
            kind = await server.readexactly(1)
            length = await server.readexactly(4)
            body = await server.readexactly(int.from_bytes(length) - 4)
            if cut.is_set():
                return
            if self.is_silent:
                continue
            if not (kind == b"A" and self.is_deaf):
                client.write(kind + length + body)


@pytest.fixture
async def wire(server: PostgresServer) -> AsyncIterator[Wire]:
    wire = Wire(server.port)
    await wire.open()
    yield wire
    await wire.close()


def through(wire: Wire, url: str) -> str:
    before, _, database = url.rpartition("/")
    return f"{before.rpartition(':')[0]}:{wire.port}/{database}?sslmode=disable"


COMMIT = b"COMMIT;"


async def test_a_send_whose_commit_got_no_answer_is_stored_once(url: str, wire: Wire) -> None:
    async with process(through(wire, url)) as scene:
        alarm = Alarm(scene.store, scene.conversation())
        wire.losing_answer_to(COMMIT)
        added = await scene.add("m1")
        assert wire.has_lost
        assert added.created
        assert added.reply == scene.ref("r-m1")
        await alarm.rings_next()
        assert await scene.ids() == ["m1", "r-m1"]
        assert await scene.renew("r-m1") == set()


async def test_another_reply_whose_commit_got_no_answer_is_stored_once(
    url: str, wire: Wire
) -> None:
    async with process(through(wire, url)) as scene:
        await scene.answered("m1")
        alarm = Alarm(scene.store, scene.conversation())
        wire.losing_answer_to(COMMIT)
        assert (await scene.add_reply("n1", "m1")).created
        assert wire.has_lost
        await alarm.rings_next()
        assert await scene.replies("m1") == ["r-m1", "n1"]
        assert await scene.renew("n1") == set()


async def test_a_piece_whose_commit_got_no_answer_is_there_once(url: str, wire: Wire) -> None:
    async with process(through(wire, url)) as scene:
        await scene.add("m1")
        await scene.append("r-m1", 0, "one ")
        alarm = Alarm(scene.store, scene.ref("r-m1"))
        wire.losing_answer_to(b"unmistakable")
        await scene.append("r-m1", 4, "unmistakable")
        assert wire.has_lost
        await alarm.rings_next()
        await scene.append("r-m1", 16, ".")
        assert (await scene.read("r-m1")).text == "one unmistakable."


@pytest.mark.parametrize("by_producer", [True, False])
async def test_an_end_whose_commit_got_no_answer_is_written_once(
    url: str, wire: Wire, by_producer: bool
) -> None:
    async with process(through(wire, url)) as scene:
        await scene.add("m1")
        await scene.append("r-m1", 0, "one")
        cursor = await scene.cursor()
        alarm = Alarm(scene.store, scene.ref("r-m1"))
        wire.losing_answer_to(COMMIT)
        if by_producer:
            message = await scene.finish("r-m1", text=" two", at_offset=3)
            assert (message.status, message.content) == (Status.DONE, "one two")
        else:
            message = await scene.stop("r-m1")
            assert (message.status, message.content) == (Status.STOPPED, "one")
        assert wire.has_lost
        await alarm.rings_next()
        assert await scene.events_until_now(cursor) == [("r-m1", message.status, message.content)]


async def test_a_clear_whose_commit_got_no_answer_has_happened_once(url: str, wire: Wire) -> None:
    async with process(through(wire, url)) as scene:
        await scene.add("m1")
        alarm = Alarm(scene.store, scene.ref("r-m1"))
        wire.losing_answer_to(COMMIT)
        await scene.clear()
        assert wire.has_lost
        await alarm.rings_next()
        assert await scene.ids() == []
        assert await scene.clear() == 0


async def test_answers_that_get_lost_again_and_again_make_the_store_unavailable(
    url: str, wire: Wire
) -> None:
    async with process(through(wire, url)) as scene:
        wire.losing_answer_to(*[COMMIT] * 20)
        with pytest.raises(StoreUnavailableError):
            await scene.add("m1")
        wire.losing_answer_to()
        assert (await scene.add("m1")).created
        assert await scene.ids() == ["m1", "r-m1"]


async def test_what_a_cancelled_call_still_does_wakes_those_who_watch_it(
    url: str, wire: Wire
) -> None:
    async with process(url) as scene, process(through(wire, url)) as other:
        await scene.add("m1")
        alarm = Alarm(other.store, other.ref("r-m1"))
        wire.holding(COMMIT)
        stopping = asyncio.create_task(other.stop("r-m1"))
        await asyncio.wait_for(wire.holds.wait(), PATIENCE_SECONDS)
        stopping.cancel()
        with suppress(asyncio.CancelledError):
            await stopping
        await asyncio.sleep(0.1)
        alarm.forget()
        wire.goes_on.set()
        await alarm.rings_next()
        assert (await other.read("r-m1")).status is Status.STOPPED


# News.


async def test_watchers_of_more_than_fits_into_one_notification_are_woken(url: str) -> None:
    async with process(url) as scene, process(url) as other:
        ids = [f"m{number}" for number in range(700)]
        for begin in range(0, len(ids), 50):
            await asyncio.gather(*map(scene.add, ids[begin : begin + 50]))
        alarms = [Alarm(other.store, other.ref(f"r-{id}")) for id in ids]
        assert await scene.clear() == 1_400
        for alarm in alarms:
            await alarm.rings_next()


async def test_a_listener_that_was_cut_off_is_replaced(
    url: str, admin: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    async with process(url) as scene, process(url) as other:
        await scene.add("m1")
        alarm = Alarm(other.store, other.ref("r-m1"))
        for at in range(3):
            await until(lambda: admin.fetchval(f"SELECT count(*) = 2 {LISTENING}"))
            await admin.execute(f"SELECT pg_terminate_backend(pid) {LISTENING}")
            alarm.forget()
            await scene.append("r-m1", at, ".")
            await alarm.rings_next()
        await until(lambda: admin.fetchval(f"SELECT count(*) = 2 {LISTENING}"))


LISTENING = f"{SESSIONS} AND query LIKE 'LISTEN%'"


async def test_a_process_that_cannot_begin_to_listen_looks_again_and_again_and_tries_anew(
    url: str, wire: Wire, admin: asyncpg.Connection
) -> None:
    async with process(through(wire, url)) as scene:
        await until(lambda: admin.fetchval(f"SELECT count(*) = 1 {LISTENING}"))
        alarm = Alarm(scene.store, scene.ref("r-m1"))
        for _ in range(2):  # The first try and the next one get no answer.
            wire.goes_on.clear()
            wire.holding(b"LISTEN")
            await admin.execute(f"SELECT pg_terminate_backend(pid) {LISTENING}")
            await asyncio.wait_for(wire.holds.wait(), PATIENCE_SECONDS)
            wire.holds.clear()
            began = time.monotonic()
            for _ in range(4):
                alarm.forget()
                await asyncio.wait_for(alarm.rings_next(), 3 * DEAF_SECONDS)
            await until(lambda: admin.fetchval(f"SELECT count(*) = 1 {LISTENING}"))
            assert time.monotonic() - began < LISTEN_SECONDS + 1


async def test_a_connection_that_gets_no_answer_keeps_nobody_from_looking(
    url: str, wire: Wire, admin: asyncpg.Connection
) -> None:
    async with process(through(wire, url)) as scene:
        await until(lambda: admin.fetchval(f"SELECT count(*) = 1 {LISTENING}"))
        alarm = Alarm(scene.store, scene.ref("r-m1"))
        wire.is_silent = True
        await admin.execute(f"SELECT pg_terminate_backend(pid) {SESSIONS}")
        for _ in range(int(2 * LISTEN_SECONDS / DEAF_SECONDS)):
            alarm.forget()
            await asyncio.wait_for(alarm.rings_next(), 3 * DEAF_SECONDS)
        wire.is_silent = False
        await until(lambda: admin.fetchval(f"SELECT count(*) = 1 {LISTENING}"))


async def test_a_process_that_hears_nothing_looks_again_and_again_until_it_hears(
    url: str, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    async with process(url) as scene, process(through(wire, url)) as deaf:
        await scene.add("m1")
        await scene.store.ping()
        alarm = Alarm(deaf.store, deaf.ref("r-m1"))
        wire.is_deaf = True
        await asyncio.sleep(ASK_SECONDS)
        await until(lambda: asyncio.sleep(0, alarm.rings))
        for _ in range(8):
            alarm.forget()
            await asyncio.wait_for(alarm.rings_next(), 4 * DEAF_SECONDS)
        wire.is_deaf = False
        await until(lambda: asyncio.sleep(0, "is back" in caplog.text))
        alarm.forget()
        rings = alarm.rings
        await asyncio.sleep(ASK_SECONDS)
        assert alarm.rings == rings  # Nobody looks in vain.
        await scene.append("r-m1", 0, "text")
        await asyncio.wait_for(alarm.rings_next(), 1)
        said = [line for line in caplog.messages if "notifications" in line]
        assert [line.partition(" is ")[2] for line in said] == [
            "away: no notification comes through",
            "back",
        ]


async def test_the_number_of_connections_does_not_grow_with_the_followers(
    url: str, admin: asyncpg.Connection
) -> None:
    async with process(url) as scene:
        await scene.add("m1")
        alarms = [Alarm(scene.store, scene.ref("r-m1")) for _ in range(500)]
        for at in range(5):
            await scene.append("r-m1", at, ".")
            await asyncio.gather(*(scene.read("r-m1", at) for _ in alarms))
            await asyncio.gather(*(scene.ids() for _ in range(50)))
        assert await admin.fetchval(f"SELECT count(*) {SESSIONS}") <= CONNECTIONS + 1


# Standing in each other's way.


async def test_a_call_that_is_cancelled_while_its_store_is_closed_is_cancelled() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = open_store(f"postgresql://chat@127.0.0.1:{silent.getsockname()[1]}/chat")
        assert isinstance(store, PostgresStore)
        opening = asyncio.create_task(store.open())
        await until(lambda: asyncio.sleep(0, store._connecting))
        [connecting] = store._connecting
        connecting.cancel()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await store.close()


async def test_a_process_that_is_paused_in_a_migration_is_undone_too(url: str) -> None:
    async with process(url) as scene:
        assert isinstance(scene.store, PostgresStore)
        connection = await scene.store._connect_patiently()
        try:
            assert await connection.fetchval("SHOW idle_in_transaction_session_timeout") == "30s"
            assert await connection.fetchval("SHOW statement_timeout") == "0"
        finally:
            await connection.close()


async def test_a_renewal_needs_no_transaction(url: str, wire: Wire) -> None:
    async with process(through(wire, url)) as scene:
        wire.losing_answer_to(b"BEGIN")
        await scene.renew()
        assert not wire.has_lost
        await scene.add("m1")
        assert wire.has_lost


async def test_a_process_that_is_paused_in_a_transaction_is_undone(
    url: str, admin: asyncpg.Connection
) -> None:
    async with process(url) as scene:
        await scene.add("m1")
        paused = await scene.store._connect()  # type: ignore[attr-defined]
        await paused.execute("BEGIN; SELECT * FROM conversation, message FOR UPDATE")
        began = time.monotonic()
        await scene.add("m2")
        assert time.monotonic() - began < PAUSED_SECONDS + 1
        await scene.append("r-m1", 0, "text")
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
            await paused.execute("COMMIT")


async def test_a_call_that_others_hold_up_for_long_fails_and_may_be_repeated(
    url: str, admin: asyncpg.Connection
) -> None:
    async with process(url) as scene:
        await scene.add("m1")
        async with admin.transaction():
            await admin.execute("SELECT * FROM conversation FOR UPDATE")
            began = time.monotonic()
            with pytest.raises(StoreUnavailableError):
                await scene.add("m2")
            assert time.monotonic() - began < SOON_SECONDS
            assert await scene.ids() == ["m1", "r-m1"]
        assert (await scene.add("m2")).created
        assert await scene.ids() == ["m1", "r-m1", "m2", "r-m2"]


@pytest.mark.parametrize("isolation", ["read committed", "serializable"])
async def test_nobody_waits_for_each_other(
    url: str, database: str, admin: asyncpg.Connection, isolation: str
) -> None:
    await admin.execute(
        f"ALTER DATABASE \"{database}\" SET default_transaction_isolation = '{isolation}'"
    )
    async with process(url) as one, process(url) as other:
        numbers = itertools.count()
        deadline = time.monotonic() + 4
        done: Counter[str] = Counter()

        async def use(scene: Scene, conversation: str) -> None:
            while time.monotonic() < deadline:
                id = f"m{next(numbers)}"
                await scene.add(id, conversation=conversation)
                for at in range(3):
                    with suppress(FencedError):
                        await scene.append(f"r-{id}", at, ".")
                with suppress(MessageClearedError, FencedError):
                    await scene.finish(f"r-{id}")
                done["send"] += 1
                with suppress(MessageClearedError):
                    await scene.add_reply(f"n-{id}", id)
                    done["another"] += 1
                with suppress(FencedError):
                    await scene.append(f"n-{id}", 0, ".")

        async def disturb(scene: Scene) -> None:
            while time.monotonic() < deadline:
                done["cleared"] += await scene.clear(f"c{next(numbers) % 3}")
                for conversation in await scene.conversations():
                    for id in await scene.ids(conversation, last=4):
                        with suppress(MessageClearedError, MessageNotFoundError):
                            await scene.stop(id)
                await scene.renew()
                lease = await scene.store.register(0.001)
                with suppress(FencedError):  # The other one may have swept it already.
                    await Scene(scene.store, scene.owner, lease).add(f"m{next(numbers)}")
                done["swept"] += await scene.store.sweep()

        await asyncio.gather(
            *(use(scene, f"c{number % 3}") for scene in (one, other) for number in range(12)),
            *(disturb(scene) for scene in (one, other)),
        )
        assert done["send"] > 25
        assert done["another"] > 10
        assert done["cleared"]
        assert done["swept"]
        deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        assert await admin.fetchval(deadlocks) == 0


@pytest.mark.parametrize(
    "password",
    ["sek/ret", "sek#ret", "sek?ret", "1?sek=ret", "sek@ret", "1/sek", "[sek", "1@sek:2"],
)
def test_no_part_of_a_password_is_told_that_is_taken_for_something_else(password: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        open_store(f"postgresql://ann:{password}@127.0.0.1:1/chat")
    assert str(refusal.value) == (
        "store: 'postgresql://ann:***@127.0.0.1:1/chat' is not understood; in a user and a "
        "password, write %2F for /, %23 for #, %3F for ? and %40 for @."
    )
    assert refusal.value.__context__ is None or refusal.value.__suppress_context__


async def test_a_migration_by_a_newer_process_is_survived(
    url: str, admin: asyncpg.Connection
) -> None:
    async with process(url) as scene:
        await scene.add("m1")
        await asyncio.gather(*(scene.ids() for _ in range(2 * CONNECTIONS)))
        await admin.execute("ALTER TABLE message ADD COLUMN mood text, ALTER role TYPE varchar(20)")
        assert await asyncio.gather(*(scene.ids() for _ in range(2 * CONNECTIONS)))
        await scene.add("m2")
        await scene.finish("r-m2")


async def test_an_error_does_not_tell_what_people_write(url: str) -> None:
    async with process(url) as scene:
        with pytest.raises(DBAPIError) as error:
            await scene.add("m1", f"{SECRET}\0")
    assert SECRET not in str(error.value)
