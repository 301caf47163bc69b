"""The Redis store, beyond the contract: what it refuses, and what it does when the server fails."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from graphql_app.errors import (
    ConfigurationError,
    FencedError,
    MessageClearedError,
    MessageNotFoundError,
    ReplyStreamingError,
    StoreUnavailableError,
)
from graphql_app.messages import Status
from graphql_app.stores import open_store
from graphql_app.stores.redis import GROUP_BYTES, POLL_SECONDS, RedisStore
from tests.api.queries import answer
from tests.contracts.backends import BACKENDS
from tests.contracts.scene import PATIENCE_SECONDS, Alarm, Scene, reset_of, shown
from tests.faults import leaking_nothing
from tests.proxies import cutting_proxy
from tests.servers import DatabaseServer, RedisServer, free_port, program, running

DURABLE = ("--appendonly", "yes")
VOLATILE = ("--appendonly", "no")


@pytest.fixture(autouse=True)
def required() -> None:
    [backend] = [backend for backend in BACKENDS if backend.id == "redis"]
    backend.require()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    with running(server):
        yield server


@pytest.fixture
def admin(server: RedisServer) -> Iterator[redis.Redis]:
    """Somebody who turns the server's screws."""
    with client_of(server.port) as client:
        yield client


@contextmanager
def client_of(port: int) -> Iterator[redis.Redis]:
    client = redis.Redis(port=port)
    try:
        yield client
    finally:
        client.close()


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[RedisServer]:
    folder.mkdir(exist_ok=True)
    server = RedisServer(folder, *options)
    with running(server):
        yield server


@asynccontextmanager
async def process(url: str) -> AsyncIterator[Scene]:
    """A process that uses the store."""
    store = open_store(url)
    await store.open()
    try:
        yield Scene(store, "owner", await store.register(60))
    finally:
        await store.close()


@pytest.fixture
async def scene(server: RedisServer) -> AsyncIterator[Scene]:
    with leaking_nothing():
        async with process(server.url) as scene:
            yield scene


async def refusal(url: str) -> str:
    """The sentence with which a store is refused when it is opened."""
    with leaking_nothing():
        store = open_store(url)
        with pytest.raises(ConfigurationError) as refused:
            await store.open()
        await store.close()
    return str(refused.value)


async def back(scene: Scene) -> None:
    """Returns when the store can be reached again."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                return await scene.store.ping()
            except StoreUnavailableError:
                await asyncio.sleep(0.05)


# URLs.


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis:///0",
        "redis://host/name",
        "redis://one,other",
        "redis://host/0/1",
        "redis://host#0",
        "redis+sentinel://host",
        "redis+sentinel://host/",
        "redis+sentinel://one,/service",
        "redis+sentinel://host/service/name",
        "rediss+sentinel://host:1:2/service",
    ],
)
def test_a_url_that_names_no_server_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        open_store(url)
    assert str(refused.value) == (
        f"store: {url!r} is not understood; use redis://user:password@host:6379/0 or "
        "redis+sentinel://user:password@host:26379,host:26379/service/0."
    )


@pytest.mark.parametrize("port", ["0", "65536", "70000", "abc", "-1", ""])
@pytest.mark.parametrize(
    "url", ["redis://host:{}", "rediss://host:{}/0", "redis+sentinel://one,two:{}/service"]
)
def test_a_port_that_cannot_be_is_refused(url: str, port: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^store: a port must be a number"):
        open_store(url.format(port))


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("redis://host?tls=1", "tls is no option of redis://, which takes ttl, volatile."),
        ("redis://host?ttl=7d&db=1", "db is no option of redis://, which takes ttl, volatile."),
        ("redis://host?decode_responses", "decode_responses is no option of redis://"),
        ("redis://host?ssl_ca_certs=a.pem", "ssl_ca_certs is no option of redis://"),
        ("rediss://host?sentinel_password=x", "sentinel_password is no option of rediss://"),
        ("redis+sentinel://host/service?ssl_keyfile=x", "ssl_keyfile is no option of redis+sen"),
        ("redis://host?ttl=soon", "ttl must be a time"),
        ("redis://host?volatile=yes", "volatile must be 1 or 0, not 'yes'."),
        ("rediss://host?ssl_check_hostname=no", "ssl_check_hostname must be 1 or 0, not 'no'."),
    ],
)
def test_an_option_that_is_unknown_or_wrong_is_refused_by_name(url: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        open_store(url)
    assert str(refused.value).startswith(f"store: {sentence}")


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://[::1]:6379/15",
        "redis://:secret@host",
        "redis://user:se%40cr@et@host/0?ttl=30m&volatile=0",
        "rediss://host?ssl_check_hostname=0&ssl_ca_certs=/ca.pem&ssl_cert_reqs=required",
        "redis+sentinel://one:1,[::1]:2,three/my-service",
        "rediss+sentinel://user:secret@one/service/3?sentinel_password=other&ssl_keyfile=k",
    ],
)
async def test_a_url_that_names_a_server_makes_a_store(url: str) -> None:
    store = open_store(url)
    assert isinstance(store, RedisStore)
    await store.close()


def test_no_sentence_tells_a_password() -> None:
    for url in (
        "redis://user:secret@host/name",
        "redis+sentinel://user:secret@host",
        "rediss://host/x?ssl_password=secret",
    ):
        with pytest.raises(ConfigurationError) as refused:
            open_store(url)
        assert "secret" not in str(refused.value)


async def test_each_database_of_a_server_is_a_store_of_its_own(server: RedisServer) -> None:
    async with process(f"{server.url}/0") as one, process(f"{server.url}/1") as other:
        await one.add("m1", "One")
        assert await other.ids() == []
        assert (await other.add("m1", "Other")).created
        assert (await one.message("m1")).content == "One"


# Servers that are refused.


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            VOLATILE,
            "would forget messages when it ends; use `appendonly yes` there, or ?volatile=1",
        ),
        (
            (*DURABLE, "--maxmemory-policy", "allkeys-lru"),
            "would drop messages when its memory is full; use `maxmemory-policy noeviction` there, "
            "or ?volatile=1",
        ),
    ],
)
async def test_a_server_that_loses_messages_is_refused_unless_the_url_accepts_it(
    tmp_path: Path, options: tuple[str, ...], sentence: str
) -> None:
    with serving(tmp_path, *options) as server:
        assert await refusal(server.url) == f"store: {server.url!r} {sentence}."
        assert await refusal(f"{server.url}?volatile=0") == f"store: {server.url!r} {sentence}."
        async with process(f"{server.url}?volatile=1") as scene:
            assert (await scene.add("m1")).created


async def test_a_cluster_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a Redis Cluster, which is not supported"):
        open_store("redis+cluster://host")
    options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with serving(tmp_path, *DURABLE, *options) as server:
        for url in (server.url, f"{server.url}?volatile=1"):
            assert "is a Redis Cluster, which is not supported" in await refusal(url)


async def test_a_sentinel_is_no_server_to_keep_messages(tmp_path: Path) -> None:
    with running(SentinelServer(tmp_path, free_port())) as sentinel:
        assert "is a Sentinel; use redis+sentinel://" in await refusal(
            f"redis://127.0.0.1:{sentinel.port}"
        )


async def test_a_replica_is_refused(tmp_path: Path, server: RedisServer) -> None:
    options = (*DURABLE, "--replicaof", "127.0.0.1", str(server.port))
    with serving(tmp_path / "replica", *options) as replica:
        for url in (replica.url, f"{replica.url}?volatile=1"):
            assert await refusal(url) == (
                f"store: {replica.url!r} is a replica; use its primary, or "
                "redis+sentinel://host:26379/service."
            )


@pytest.mark.parametrize("version", ["5.0.14", "6.2.17"])
def test_a_server_that_is_too_old_is_refused(version: str) -> None:
    store = open_store("redis://host")
    assert isinstance(store, RedisStore)
    with pytest.raises(ConfigurationError, match=f"is Redis {version}; use 7.0 or newer"):
        store._check({"redis_version": version, "aof_enabled": 1})


async def test_a_wrong_password_is_a_mistake_in_the_settings(
    server: RedisServer, admin: redis.Redis
) -> None:
    admin.config_set("requirepass", "right/one")
    place = f"127.0.0.1:{server.port}"
    for login in ("", ":wrong@", "nobody:right%2Fone@"):
        sentence = await refusal(f"redis://{login}{place}")
        assert "refuses us" in sentence
        assert "right" not in sentence
        assert ":wrong" not in sentence
    async with process(f"redis://default:right%2Fone@{place}") as scene:
        assert (await scene.add("m1")).created


async def test_a_user_who_may_not_hear_the_news_is_refused(
    server: RedisServer, admin: redis.Redis
) -> None:
    admin.acl_setuser(
        "deaf", enabled=True, passwords="+word", keys=["*"], categories=["+@all"], channels=[]
    )
    place = f"deaf:word@127.0.0.1:{server.port}"
    assert "refuses us" in await refusal(f"redis://{place}")
    admin.acl_setuser(
        "deaf",
        enabled=True,
        passwords="+word",
        keys=["*"],
        categories=["+@all"],
        channels=["graphql_app:*"],
    )
    async with process(f"redis://{place}") as scene:
        assert (await scene.add("m1")).created


async def test_a_database_that_the_server_does_not_have_is_refused(server: RedisServer) -> None:
    assert "DB index is out of range" in await refusal(f"{server.url}/99999")


async def test_a_server_that_is_not_there_cannot_be_reached() -> None:
    with leaking_nothing():
        store = open_store(f"redis://127.0.0.1:{free_port()}")
        with pytest.raises(StoreUnavailableError):
            await store.open()
        with pytest.raises(StoreUnavailableError):
            await store.ping()


async def test_a_server_that_hangs_at_the_start_cannot_be_reached(server: RedisServer) -> None:
    server.pause()
    try:
        store = open_store(server.url)
        with pytest.raises(StoreUnavailableError) as failure:
            await store.open()
    finally:
        server.resume()
    assert str(failure.value.__cause__) == "no answer within 3 s"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for localhost, with its key beside it."""
    if (openssl := program("openssl")) is None:
        pytest.skip("a certificate is made with openssl, which is not installed")
    made = tmp_path / "certificate.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", f"{made}.key", "-out", str(made)),
        ],
        check=True,
        capture_output=True,
    )
    return made


async def test_a_connection_may_be_encrypted(tmp_path: Path, certificate: Path) -> None:
    port = free_port()
    tls = ["--tls-port", str(port), "--tls-auth-clients", "no"]
    tls += ["--tls-cert-file", str(certificate), "--tls-key-file", f"{certificate}.key"]
    with serving(tmp_path / "data", *DURABLE, *tls):
        async with process(f"rediss://localhost:{port}?ssl_ca_certs={certificate}") as scene:
            await scene.add("m1")
            alarm = Alarm(scene.store, scene.ref("r-m1"))
            await scene.append("r-m1", 0, "One")
            await alarm.rings_next()
        store = open_store(f"rediss://localhost:{port}")
        with pytest.raises(StoreUnavailableError):
            await store.open()


# Names, groups, and what is kept.


async def test_owners_and_ids_are_never_taken_for_others(scene: Scene) -> None:
    owners = ["a", "a:b", "1:a", "", "é", "😀", "a:b:c", "1:a:b"]
    ids = ["b:c", "c", ":", "1:c", "b", "😀:é", '"\\/']
    scenes = [Scene(scene.store, owner, scene.lease) for owner in owners]
    for one in scenes:
        for id in ids:
            assert (await one.add(id, f"{one.owner}|{id}", conversation=id)).created
            await one.append(f"r-{id}", 0, f"{id}|{one.owner}")
    assert await scene.renew("b:c") == {"b:c"}  # Ends all that stream, of any owner.
    for one in scenes:
        assert sorted(await one.conversations()) == sorted(ids)
        for id in ids:
            messages = await one.store.messages(one.conversation(id), 10, None)
            assert [(message.id, message.content) for message in messages] == [
                (id, f"{one.owner}|{id}"),
                (f"r-{id}", f"{id}|{one.owner}"),
            ]
            assert [message.conversation_id for message in messages] == [id, id]
            assert messages[1].reply_to_id == id
            assert messages[1].status is Status.ERROR
    assert await scenes[1].clear("c") == 2
    assert await scenes[0].clear("b:c") == 2
    assert sum([len(await one.conversations()) for one in scenes]) == len(owners) * len(ids) - 2


async def test_long_texts_are_written_and_read_in_several_groups(scene: Scene) -> None:
    text = "日" * (GROUP_BYTES // 5)
    ids = [f"m{number}" for number in range(8)]
    for id in ids:
        await scene.add(id)
    await asyncio.gather(*(scene.append(f"r-{id}", 0, id + text) for id in ids))
    slices = await asyncio.gather(
        *(scene.read(f"r-{id}", after_offset) for after_offset in (0, 2) for id in ids),
        scene.read("unknown"),
        return_exceptions=True,
    )
    assert isinstance(slices.pop(), MessageNotFoundError)
    texts = [each.text for each in slices if not isinstance(each, BaseException)]
    assert texts == [id + text for id in ids] + [text] * len(ids)


async def test_thousands_of_idle_windows_look_in_a_few_round_trips(
    scene: Scene, admin: redis.Redis
) -> None:
    conversations = [f"c{number}" for number in range(2_500)]
    await scene.add("m1", conversation="c1")
    await scene.add("m2", conversation="c2")
    cursors = [await scene.cursor(id) for id in conversations[:10]] + [0] * 2_490
    for _ in range(2):
        before = calls_of_scripts(admin)
        found = await asyncio.gather(*map(scene.events, cursors, conversations))
        assert calls_of_scripts(admin) - before <= 3
        assert {events.events for events in found} == {()}
        assert [events.cursor for events in found] == cursors
    await scene.clear("c1")
    await scene.finish("r-m2")
    await scene.add("m3", conversation="c3")
    found = await asyncio.gather(*map(scene.events, cursors, conversations))
    assert reset_of(found[1]).messages == ()
    assert [change[:2] for change in shown(found[2])] == [("r-m2", Status.DONE)]
    assert [change[0] for change in shown(found[3])] == ["m3", "r-m3"]
    assert {events.events for events in (found[0], *found[4:])} == {()}


def calls_of_scripts(admin: redis.Redis) -> int:
    return int(admin.info("commandstats")["cmdstat_evalsha"]["calls"])


async def test_the_replies_to_all_messages_of_a_list_come_in_a_few_round_trips(
    scene: Scene, admin: redis.Redis
) -> None:
    ids = [f"m{number}" for number in range(500)]
    await asyncio.gather(*map(scene.add, ids))
    before = calls_of_scripts(admin)
    found = await asyncio.gather(*map(scene.replies, ids))
    assert calls_of_scripts(admin) - before <= 3
    assert found == [[f"r-{id}"] for id in ids]


@pytest.mark.parametrize(
    ("query", "calls"),
    [
        ('{ messages(conversationId: "c1") { id replies { id } } }', 2),
        ("{ conversations { id title } }", 1),
    ],
    ids=["a list", "conversations"],
)
async def test_a_list_is_read_at_once_with_what_belongs_to_each_of_it(
    scene: Scene, admin: redis.Redis, query: str, calls: int
) -> None:
    for number in range(20):
        await scene.answered(f"m{number}", f"n{number}")
        await scene.answered(f"o{number}", conversation=f"c{number + 2}")
    before = calls_of_scripts(admin)
    await answer(scene.store, "owner", query)
    assert calls_of_scripts(admin) - before == calls


async def test_long_replies_are_listed_in_several_groups(scene: Scene) -> None:
    text = "日" * (GROUP_BYTES // 5)
    ids = [f"m{number}" for number in range(6)]
    for id in ids:
        await scene.add(id)
        await scene.finish(f"r-{id}", text=f"r-{id}{text}", at_offset=0)
        await scene.add_reply(f"n-{id}", id)
        await scene.append(f"n-{id}", 0, f"n-{id}{text}")
    found = await asyncio.gather(*(scene.store.replies(scene.ref(id), 10) for id in ids))
    assert [[reply.content.rstrip("日") for reply in replies] for replies in found] == [
        [f"r-{id}", f"n-{id}"] for id in ids
    ]


async def test_an_answer_of_the_script_that_nobody_knows_is_a_defect(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphql_app.stores.redis.SCRIPT", "return {'strange'}")
    store = open_store(server.url)
    await store.open()
    with pytest.raises(RuntimeError, match="'strange'"):
        await store.sweep()
    await store.close()


async def test_what_is_left_of_cleared_messages_is_forgotten_in_a_day_or_two(
    scene: Scene, admin: redis.Redis
) -> None:
    await scene.add("m1", "Secret")
    await scene.append("r-m1", 0, "Secret")
    await scene.add("m2", "Secret")
    await scene.finish("r-m2", text="Secret", at_offset=0)
    await scene.add_reply("n1", "m2")
    await scene.finish("n1", text="Secret", at_offset=0)
    await scene.add_reply("n2", "m2")
    await scene.append("n2", 0, "Secret")
    await scene.clear()
    day = 24 * 60 * 60
    left = list(admin.scan_iter("*owner*"))
    assert len(left) == 7, "six ids, and the conversation"
    for key in left:
        assert day <= int(str(admin.ttl(key))) <= 2 * day
        if admin.type(key) == b"string":
            assert admin.get(key) == b""


async def test_a_conversation_that_goes_on_after_a_clear_is_not_forgotten(
    scene: Scene, admin: redis.Redis
) -> None:
    await scene.add("m1")
    await scene.clear()
    await scene.add("m2")
    [record] = admin.scan_iter("*:conversation:*")
    assert admin.ttl(record) == -1


async def test_a_window_outlives_its_forgotten_conversation(
    scene: Scene, admin: redis.Redis
) -> None:
    await scene.add("m1")
    await scene.clear()
    cursor = await scene.cursor()
    [record] = admin.scan_iter("*:conversation:*")
    admin.delete(record)
    forgotten = await scene.events(cursor)
    assert reset_of(forgotten).messages == ()
    assert shown(await scene.events(forgotten.cursor)) == []
    await scene.add("m2")
    assert shown(await scene.events(cursor)) == [["m2", "r-m2"]]
    assert [change[0] for change in shown(await scene.events(forgotten.cursor))] == ["m2", "r-m2"]


async def test_a_reply_leaves_no_room_unused(scene: Scene, admin: redis.Redis) -> None:
    await scene.add("m1")
    for at_offset in range(0, 50_000, 1_000):
        await scene.append("r-m1", at_offset, "x" * 1_000)
    [text] = admin.scan_iter("*:text:*r-m1")
    await scene.finish("r-m1")
    assert int(str(admin.memory_usage(text))) < 1.3 * 2 * 50_000


async def test_replies_that_ended_before_there_was_a_ttl_expire_too(
    scene: Scene, server: RedisServer
) -> None:
    await scene.add("m1")
    await scene.finish("r-m1")
    await asyncio.sleep(1.0)
    async with process(f"{server.url}?ttl=1s") as expiring:
        await expiring.store.sweep()
    with pytest.raises(MessageClearedError):
        await scene.read("r-m1")


async def test_what_is_left_of_an_expired_reply_is_its_id(
    scene: Scene, server: RedisServer, admin: redis.Redis
) -> None:
    async with process(f"{server.url}?ttl=1s") as expiring:
        await scene.answered("m1")
        await scene.add_reply("n1", "m1")
        cursor = await scene.cursor()
        await asyncio.sleep(1.1)
        await expiring.store.sweep()
        assert await scene.replies("m1") == ["n1"]
        assert await scene.ids() == ["m1", "n1"]
        assert shown(await scene.events(cursor)) == []
        with pytest.raises(MessageClearedError):
            await scene.read("r-m1")
        assert {str(key) for key in admin.scan_iter("*:replaced:*")} == set()
        await scene.finish("n1")
        await scene.add_reply("n2", "m1")
        await scene.finish("n2")
        await asyncio.sleep(1.1)
        await expiring.store.sweep()
    assert shown(await scene.events(cursor)) == [[]]
    left = list(admin.scan_iter("*owner*"))
    assert len(left) == 5, "four ids, and the conversation"
    assert min(int(str(admin.ttl(key))) for key in left) > 0


async def test_a_sweep_ends_any_number_of_replies(scene: Scene) -> None:
    late = Scene(scene.store, scene.owner, await scene.store.register(0.001))
    await asyncio.gather(*(late.add(f"m{number}") for number in range(250)))
    await asyncio.sleep(0.01)
    assert await scene.store.sweep() == 250
    assert await scene.store.sweep() == 0
    messages = await scene.store.messages(scene.conversation(), 1_000, None)
    assert {message.status for message in messages[1::2]} == {Status.ERROR}


async def test_a_renewal_finds_a_few_orphans_among_many_replies(scene: Scene) -> None:
    ids = [f"m{number}" for number in range(300)]
    await asyncio.gather(*map(scene.add, ids))
    assert await scene.renew(*(f"r-{id}" for id in ids[150:]), "other") == {"other"}
    statuses = [(await scene.message(f"r-{id}")).status for id in ids]
    assert statuses == 150 * [Status.ERROR] + 150 * [Status.STREAMING]


# News.


async def test_another_process_hears_of_text_at_once(scene: Scene, server: RedisServer) -> None:
    await scene.add("m1")
    async with process(server.url) as elsewhere:
        alarm = Alarm(elsewhere.store, elsewhere.ref("r-m1"))
        loop = asyncio.get_running_loop()
        lags = []
        for at_offset in range(20):
            began = loop.time()
            await scene.append("r-m1", at_offset, "x")
            await alarm.rings_next()
            lags.append(loop.time() - began)
            alarm.forget()
    assert sorted(lags)[10] < 0.1


async def test_followers_need_no_connections_of_their_own(scene: Scene, admin: redis.Redis) -> None:
    ids = [f"m{number}" for number in range(100)]
    await asyncio.gather(*map(scene.add, ids))

    async def follow(id: str) -> None:
        alarm = Alarm(scene.store, scene.ref(f"r-{id}"))
        while not (await scene.read(f"r-{id}")).status.is_final:
            await alarm.rings_next()
            alarm.forget()
        alarm.unwatch()

    following = [asyncio.create_task(follow(id)) for id in ids for _ in range(5)]
    await asyncio.gather(*(scene.append(f"r-{id}", 0, "One") for id in ids))
    connections = len(admin.client_list()) - 1
    await asyncio.gather(*(scene.finish(f"r-{id}") for id in ids))
    await asyncio.gather(*following)
    assert max(connections, len(admin.client_list()) - 1) <= 17


async def test_watchers_are_woken_though_the_connection_for_news_was_lost(
    scene: Scene, server: RedisServer, admin: redis.Redis
) -> None:
    await scene.add("m1")
    alarm = Alarm(scene.store, scene.ref("r-m1"))
    async with process(server.url) as elsewhere:
        at_offset = 0
        for _ in range(5):
            admin.client_kill_filter(_type="pubsub")
            again = Scene(elsewhere.store, scene.owner, scene.lease)
            await again.append("r-m1", at_offset, "One")
            at_offset += 3
            async with asyncio.timeout(1.0):
                # Before the loss is noticed, after it, and when the connection is back.
                while (await scene.read("r-m1")).end < at_offset:
                    await alarm.rings_next()
                    alarm.forget()
    await subscribed(scene)


async def subscribed(scene: Scene) -> None:
    """Returns when watchers are no longer woken for want of news."""
    alarm = Alarm(scene.store, scene.ref("nothing"))
    async with asyncio.timeout(PATIENCE_SECONDS):
        rings = -1
        while alarm.rings != rings:
            rings = alarm.rings
            await asyncio.sleep(3 * POLL_SECONDS)
    alarm.unwatch()


async def test_a_connection_for_news_that_went_dead_in_silence_is_replaced(
    scene: Scene, server: RedisServer
) -> None:
    await scene.add("m1")
    async with (
        cutting_proxy(server.port) as proxy,
        process(f"redis://127.0.0.1:{proxy.port}") as behind,
    ):
        alarm = Alarm(behind.store, behind.ref("r-m1"))
        proxy.stall()
        await scene.append("r-m1", 0, "One")
        async with asyncio.timeout(5.0):
            # Polls, for want of news.
            await alarm.rings_next()
        with pytest.raises(StoreUnavailableError):
            await behind.read("r-m1")
        proxy.resume()
        await back(behind)
        assert (await behind.read("r-m1")).text == "One"


async def test_a_quiet_connection_for_news_stays(scene: Scene, admin: redis.Redis) -> None:
    def subscriber() -> list[str]:
        return [client["id"] for client in admin.client_list() if client["sub"] != "0"]

    before = subscriber()
    await asyncio.sleep(3.5)
    assert subscriber() == before


# Servers that fail.


async def test_everything_goes_on_after_a_restart_of_the_server(
    scene: Scene, server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.add("m1")
    await scene.append("r-m1", 0, "One")
    cursor = await scene.cursor()
    alarm = Alarm(scene.store, scene.ref("r-m1"))
    server.stop()
    for _ in range(3):
        with pytest.raises(StoreUnavailableError) as failure:
            await scene.append("r-m1", 3, " two")
        assert failure.value.__cause__ is not None
    with pytest.raises(StoreUnavailableError):
        await scene.store.ping()
    alarm.forget()
    await alarm.rings_next()
    server.start()
    await scene.append("r-m1", 3, " two")
    assert await scene.renew("r-m1") == set()
    assert (await scene.finish("r-m1")).content == "One two"
    assert [change[:2] for change in shown(await scene.events(cursor))] == [("r-m1", Status.DONE)]
    await subscribed(scene)
    for store in (
        f"redis://127.0.0.1:{server.port}",
        f"redis://127.0.0.1:{server.port} (its news)",
    ):
        said = [line for line in caplog.messages if line.startswith(f"the store {store} is ")]
        assert len(said) == 2, "once that it is away, and once that it is back"


async def test_the_log_tells_no_password(
    server: RedisServer, admin: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    admin.config_set("requirepass", "secret")
    async with process(f"redis://:secret@127.0.0.1:{server.port}?ttl=7d") as scene:
        server.stop()
        with pytest.raises(StoreUnavailableError):
            await scene.store.ping()
    assert f"the store redis://:***@127.0.0.1:{server.port} is away" in caplog.text
    assert "secret" not in caplog.text


async def test_what_was_acknowledged_survives_a_kill_of_the_server(
    scene: Scene, server: RedisServer
) -> None:
    ids = [f"m{number}" for number in range(10)]
    await asyncio.gather(*map(scene.add, ids))
    acknowledged = dict.fromkeys(ids, 0)

    async def write(id: str) -> None:
        try:
            while True:
                await scene.append(f"r-{id}", acknowledged[id], "x")
                acknowledged[id] += 1
        except StoreUnavailableError:
            pass

    writing = [asyncio.create_task(write(id)) for id in ids]
    async with asyncio.timeout(PATIENCE_SECONDS):
        while min(acknowledged.values()) < 20:  # noqa: ASYNC110 (it is a rough moment)
            await asyncio.sleep(0.01)
    server.kill()
    await asyncio.gather(*writing)
    server.start()
    await back(scene)
    for id in ids:
        kept = (await scene.read(f"r-{id}")).end
        # The one that was under way may have been written.
        assert acknowledged[id] <= kept <= acknowledged[id] + 1
        await scene.append(f"r-{id}", acknowledged[id], "x")
        assert (await scene.read(f"r-{id}")).text == "x" * (acknowledged[id] + 1)


async def test_a_server_that_hangs_is_unavailable_within_seconds_and_comes_back(
    scene: Scene, server: RedisServer
) -> None:
    await scene.answered("m0")
    await scene.add("m1")
    await scene.append("r-m1", 0, "One")
    alarm = Alarm(scene.store, scene.ref("r-m1"))
    server.pause()
    began = time.monotonic()
    calls = [
        scene.append("r-m1", 3, " two"),
        scene.read("r-m1"),
        scene.store.ping(),
        scene.renew("r-m1"),
        scene.store.sweep(),
        scene.add("m2"),
        scene.add_reply("n0", "m0", token="one"),
        scene.replies("m0"),
        *(scene.message("r-m1") for _ in range(40)),
    ]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(result) for result in results} == {StoreUnavailableError}
    assert time.monotonic() - began < 4.0
    server.resume()
    await back(scene)
    alarm.forget()
    await alarm.rings_next()
    # The server may have done late what it was asked for; asking again doubles nothing.
    await scene.append("r-m1", 3, " two")
    assert (await scene.read("r-m1")).text == "One two"
    assert (await scene.add("m2")).created
    assert (await scene.add_reply("n0", "m0", token="one")).created
    assert await scene.ids() == ["m0", "n0", "m1", "r-m1", "m2", "r-m2"]
    assert await scene.replies("m0") == ["r-m0", "n0"]


async def test_neither_writes_nor_renewals_wait_behind_thousands_of_reads(
    scene: Scene, server: RedisServer
) -> None:
    for number in range(100):
        await scene.add(f"m{number}", content="x" * 2_000)
    await scene.append("r-m1", 0, "One")
    late = Scene(scene.store, scene.owner, await scene.store.register(0.001))
    await late.add("late")
    reading = [
        asyncio.create_task(call)
        for number in range(5_000)
        for call in (scene.ids(), scene.read("r-m1", number), scene.events(number))
    ]
    await asyncio.sleep(0)
    for call in (
        scene.append("r-m1", 3, " two"),
        scene.renew(*(f"r-m{number}" for number in range(100))),
        scene.store.sweep(),
        scene.append("r-m1", 7, " three"),
        scene.finish("r-m1"),
        scene.add("m100"),
    ):
        began = time.monotonic()
        await call
        assert time.monotonic() - began < 1.0
    assert not all(task.done() for task in reading)
    for task in reading:
        task.cancel()
    await asyncio.wait(reading)


async def test_no_call_fails_and_nothing_is_doubled_when_connections_are_cut(
    scene: Scene, admin: redis.Redis
) -> None:
    """No call is cut twice: each is tried once more, and no more often."""
    ids = [f"m{number}" for number in range(10)]
    await asyncio.gather(*map(scene.add, ids))
    over = asyncio.Event()
    done = [0] * 2 * len(ids)

    async def write(number: int) -> int:
        at_offset = 0
        while not over.is_set():
            await scene.append(f"r-{ids[number]}", at_offset, "x")
            at_offset += 1
            done[number] += 1
        return at_offset

    async def look(number: int) -> None:
        while not over.is_set():
            await scene.read(f"r-{ids[number]}")
            await scene.message(f"r-{ids[number]}")
            await scene.renew(*(f"r-{id}" for id in ids))
            done[len(ids) + number] += 1

    writing = [asyncio.create_task(write(number)) for number in range(len(ids))]
    looking = [asyncio.create_task(look(number)) for number in range(len(ids))]
    for _ in range(40):
        before = done.copy()
        while any(now < then + 2 for then, now in zip(before, done, strict=True)):
            await asyncio.sleep(0.005)
            if failed := [task for task in (*writing, *looking) if task.done()]:
                await asyncio.gather(*failed)
        admin.client_kill_filter(_type="normal", skipme=True)
    over.set()
    ends = await asyncio.gather(*writing)
    await asyncio.gather(*looking)
    assert min(ends) >= 80
    for id, end in zip(ids, ends, strict=True):
        assert (await scene.read(f"r-{id}")).text == "x" * end


async def test_nobody_gets_the_answer_to_anothers_question(
    scene: Scene, server: RedisServer
) -> None:
    """Answers that come after their callers gave up are read by nobody."""
    ids = [f"m{number}" for number in range(20)]
    for id in ids:
        await scene.add(id, content=id)
    server.pause()
    late = [asyncio.create_task(scene.message(id)) for id in ids]
    await asyncio.sleep(0.05)
    for task in late:
        task.cancel()
    await asyncio.wait(late)
    server.resume()
    for _ in range(3):
        messages = await asyncio.gather(*(scene.message(id) for id in reversed(ids)))
        assert [message.content for message in messages] == ids[::-1]


async def test_a_full_memory_refuses_writes_and_serves_reads(
    scene: Scene, admin: redis.Redis
) -> None:
    await scene.add("m1")
    await scene.append("r-m1", 0, "One")
    admin.config_set("maxmemory", "1")
    try:
        for write in writes(scene):
            with pytest.raises(StoreUnavailableError):
                await write()
        assert (await scene.read("r-m1")).text == "One"
        assert await scene.ids() == ["m1", "r-m1"]
    finally:
        admin.config_set("maxmemory", "0")
    for write in writes(scene):
        await write()
    assert (await scene.message("r-m1")).content == "One two"


async def test_a_full_memory_refuses_another_reply_as_a_whole(
    scene: Scene, admin: redis.Redis
) -> None:
    await scene.answered("m1")
    cursor = await scene.cursor()
    admin.config_set("maxmemory", "1")
    try:
        with pytest.raises(StoreUnavailableError):
            await scene.add_reply("n1", "m1")
    finally:
        admin.config_set("maxmemory", "0")
    assert await scene.ids() == ["m1", "r-m1"]
    assert shown(await scene.events(cursor)) == []
    assert (await scene.add_reply("n1", "m1")).created


def writes(scene: Scene) -> list[Callable[[], Any]]:
    return [
        lambda: scene.append("r-m1", 3, " two"),
        lambda: scene.add("m2"),
        lambda: scene.finish("r-m1"),
    ]


async def test_a_server_that_cannot_save_refuses_writes_and_serves_reads(tmp_path: Path) -> None:
    (tmp_path / "taken.rdb").mkdir()
    with serving(tmp_path, *DURABLE, "--dbfilename", "taken.rdb") as server:
        async with process(server.url) as scene:
            await scene.add("m1")
            await scene.append("r-m1", 0, "One")
            with client_of(server.port) as admin:
                admin.config_set("save", "3600 1")
                admin.bgsave()
                until(server.port, lambda info: info["rdb_last_bgsave_status"] == "err")
                for write in (*writes(scene), scene.store.ping):
                    with pytest.raises(StoreUnavailableError) as failure:
                        await write()
                    assert "MISCONF" in str(failure.value.__cause__)
                assert (await scene.read("r-m1")).text == "One"
                admin.config_set("stop-writes-on-bgsave-error", "no")
            for write in writes(scene):
                await write()


async def test_a_server_that_became_a_replica_refuses_writes(
    scene: Scene, admin: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.add("m1")
    await scene.append("r-m1", 0, "One")
    admin.replicaof("127.0.0.1", free_port())
    refused: list[Callable[[], Any]] = [*writes(scene), lambda: scene.renew("r-m1")]
    for write in refused:
        with pytest.raises(StoreUnavailableError) as failure:
            await write()
        assert "read only replica" in str(failure.value.__cause__)
        assert (await scene.read("r-m1")).text == "One"
    admin.replicaof("NO", "ONE")
    for write in writes(scene):
        await write()
    said = [line.split(" is ")[1].split(":")[0] for line in caplog.messages if " is " in line]
    assert said == ["away", "back"], "what can be read, and not written, is not back"


async def test_a_server_that_forgot_everything_fences_all_that_ran(tmp_path: Path) -> None:
    with serving(tmp_path, *VOLATILE) as server:
        async with process(f"{server.url}?volatile=1") as scene:
            await scene.add("m1")
            await scene.append("r-m1", 0, "One")
            cursor = await scene.cursor()
            server.kill()
            server.start()
            await back(scene)
            with pytest.raises(FencedError):
                await scene.append("r-m1", 3, " two")
            with pytest.raises(FencedError):
                await scene.add("m2")
            with pytest.raises(FencedError):
                await scene.add_reply("n1", "m1")
            with pytest.raises(FencedError):
                await scene.renew("r-m1")
            with pytest.raises(MessageNotFoundError):
                await scene.read("r-m1")
            assert reset_of(await scene.events(cursor)).messages == ()
            anew = Scene(scene.store, scene.owner, await scene.store.register(60))
            assert anew.lease.epoch == scene.lease.epoch
            with pytest.raises(FencedError):
                await scene.add("m2")
            await anew.add("m2")
            assert reset_of(await scene.events(cursor)).messages[0].id == "m2"


async def test_a_volatile_server_that_dropped_keys_still_sweeps_lists_and_takes_messages(
    scene: Scene, server: RedisServer, admin: redis.Redis
) -> None:
    async with process(f"{server.url}?ttl=1s&volatile=1") as expiring:
        late = Scene(expiring.store, scene.owner, await expiring.store.register(0.001))
        for dropped in ("message", "text", "conversation", "added", "ended", "replaced"):
            for number in range(8):
                id = f"{dropped}{number}"
                await late.add(id, conversation=id)
                if number % 2:
                    await late.finish(f"r-{id}", text="One", at_offset=0)
                if number in (1, 3):
                    await late.add_reply(f"n-{id}", id)
                if number == 3:
                    await late.finish(f"n-{id}", text="Two", at_offset=0)
            for key in admin.keys(f"graphql_app:{dropped}:*{dropped}[01357]"):
                admin.delete(key)
            for number in range(8):
                id = f"{dropped}{number}"
                await late.replies(id)
                with suppress(MessageNotFoundError, ReplyStreamingError):
                    await late.add_reply(f"another-{id}", id)
        await scene.add("m1")
        await expiring.store.sweep()
        await asyncio.sleep(1.1)
        await expiring.store.sweep()
    conversations = await scene.conversations()
    assert "c1" in conversations
    for conversation in (*conversations, "conversation0", "added1"):
        await scene.ids(conversation)
        await scene.events(0, conversation)
        await scene.add(f"new-{conversation}", conversation=conversation)
    assert await scene.store.sweep() == 0
    assert (await scene.message("r-m1")).status is Status.STREAMING


async def test_a_reply_that_a_volatile_server_dropped_may_be_replaced(
    scene: Scene, admin: redis.Redis
) -> None:
    await scene.answered("m1")
    [record] = admin.scan_iter("*:message:*r-m1")
    admin.delete(record)
    assert (await scene.add_reply("n1", "m1")).created
    assert await scene.ids() == ["m1", "n1"]
    assert await scene.replies("m1") == ["n1"]


# Sentinel.


class SentinelServer(DatabaseServer):
    """A Sentinel that watches the service `chat`, if it is told where that is."""

    def __init__(self, folder: Path, watched_port: int | None = None) -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(folder)
        lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {folder}"]
        if watched_port is not None:
            lines += [
                f"sentinel monitor chat 127.0.0.1 {watched_port} 1",
                "sentinel down-after-milliseconds chat 500",
                "sentinel failover-timeout chat 3000",
            ]
        (folder / "sentinel.conf").write_text("\n".join(lines))

    def command(self) -> list[str]:
        found = program("redis-server")
        assert found is not None
        return [found, str(self.folder / "sentinel.conf"), "--sentinel"]

    def answers(self) -> bool:
        try:
            with client_of(self.port) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


@pytest.fixture
def replicated(tmp_path: Path) -> Iterator[tuple[RedisServer, RedisServer, SentinelServer]]:
    """A master, its replica, and a Sentinel that knows both."""
    with ExitStack() as stack:
        master = stack.enter_context(
            serving(tmp_path / "master", *DURABLE, "--repl-diskless-sync-delay", "0")
        )
        replica = stack.enter_context(
            serving(tmp_path / "replica", *DURABLE, "--replicaof", "127.0.0.1", str(master.port))
        )
        until(master.port, lambda info: info["connected_slaves"] == 1)
        until(replica.port, lambda info: info["master_link_status"] == "up")
        sentinel = SentinelServer(tmp_path / "sentinel", master.port)
        stack.enter_context(running(sentinel))
        yield master, replica, sentinel


def until(port: int, holds: Callable[[dict[str, Any]], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    with client_of(port) as client:
        while not holds(client.info()):
            assert time.monotonic() < deadline
            time.sleep(0.02)


async def ask_for_a_failover(sentinel: SentinelServer) -> None:
    """Asks until the Sentinel has heard of a replica."""
    with client_of(sentinel.port) as client:
        async with asyncio.timeout(3 * PATIENCE_SECONDS):
            while True:
                try:
                    client.sentinel_failover("chat")
                    return
                except redis.ResponseError:
                    await asyncio.sleep(0.1)


@pytest.mark.parametrize("how", ["kill", "pause", "ask"])
async def test_a_failover_is_followed(
    replicated: tuple[RedisServer, RedisServer, SentinelServer], how: str
) -> None:
    master, replica, sentinel = replicated
    nobody = free_port()
    url = f"redis+sentinel://127.0.0.1:{nobody},127.0.0.1:{sentinel.port}/chat"
    async with process(url) as scene, process(url) as elsewhere:
        await scene.add("m1")
        await scene.append("r-m1", 0, "One")
        with client_of(master.port) as client:
            assert client.wait(1, 5000) == 1
        alarm = Alarm(elsewhere.store, elsewhere.ref("r-m1"))
        if how == "kill":
            master.kill()
        elif how == "pause":
            master.pause()
        else:
            await ask_for_a_failover(sentinel)
        with client_of(replica.port) as client:
            async with asyncio.timeout(3 * PATIENCE_SECONDS):
                while client.pubsub_numsub("graphql_app:news:0")[0][1] < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            await back(scene)
            await scene.append("r-m1", 3, " two")
            assert "One two".encode("utf-16-le") in client.mget(client.keys("*:text:*"))
        await subscribed(elsewhere)
        alarm.forget()
        await scene.append("r-m1", 7, " three")
        await alarm.rings_next()
        assert (await elsewhere.read("r-m1")).text == "One two three"


async def test_a_service_that_no_sentinel_knows_cannot_be_reached(tmp_path: Path) -> None:
    with running(SentinelServer(tmp_path, free_port())) as sentinel, leaking_nothing():
        store = open_store(f"redis+sentinel://127.0.0.1:{sentinel.port}/other")
        with pytest.raises(StoreUnavailableError):
            await store.open()
