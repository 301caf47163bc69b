"""How often somebody may do what costs something, and that nobody else has to suffer for it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from limits.aio.storage import MemoryStorage

from graphql_app.access import quotas
from graphql_app.access.caller import Caller
from graphql_app.access.quotas import BURST_SECONDS, CountersInMemory, Pace, Quotas, Rates
from graphql_app.api.context import SendToll
from graphql_app.app import _counters as counters_of
from graphql_app.app import create_app
from graphql_app.chat import ChatService
from graphql_app.completions.echo import echo
from graphql_app.errors import RateLimitedError, TooManyRepliesError
from graphql_app.follower import Following
from graphql_app.limits import Limits
from graphql_app.settings import Settings
from graphql_app.stores import open_store
from graphql_app.stores.memory import MemoryStore
from tests.contracts.backends import BACKENDS
from tests.servers import RedisServer, running

HERE = "203.0.113.7"


async def read_all(following: Following) -> None:
    async with aclosing(following):
        async for _ in following:
            pass


async def sends(quotas: Quotas, caller: Caller, count: int) -> int:
    """How many of so many sends pass."""
    return [await quotas.send(caller) for _ in range(count)].count(None)


def from_address(address: str) -> Caller:
    return Caller(address=address)


# Who is counted.


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"),
        ("203.0.113.7", "::ffff:203.0.113.7"),
        ("fe80::1%eth0", "fe80::2%eth0"),
    ],
)
async def test_addresses_of_one_household_are_counted_together(one: str, other: str) -> None:
    quotas = Quotas(Rates(sends_per_minute=3))
    assert await sends(quotas, from_address(one), 3) == 3
    assert await sends(quotas, from_address(other), 1) == 0


@pytest.mark.parametrize(
    ("one", "other"),
    [("203.0.113.7", "203.0.113.8"), ("2001:db8:1:2::1", "2001:db8:1:3::1")],
)
async def test_one_address_does_not_suffer_for_another(one: str, other: str) -> None:
    quotas = Quotas(Rates(sends_per_minute=3))
    assert await sends(quotas, from_address(one), 5) == 3
    assert await sends(quotas, from_address(other), 5) == 3


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "", "unix"]
)
async def test_an_address_that_is_nobodys_own_has_no_quota(address: str) -> None:
    quotas = Quotas(Rates(sends_per_minute=1, requests_per_minute=1, sockets_per_address=1))
    assert await sends(quotas, from_address(address), 50) == 50
    for _ in range(50):
        await quotas.check_request(address)
        assert quotas.enter_address(address)


async def test_an_owner_is_counted_wherever_he_is_and_apart_from_others_there() -> None:
    quotas = Quotas(Rates(sends_per_minute=4))
    assert await sends(quotas, Caller("ann", HERE), 2) == 2
    assert await sends(quotas, Caller("ann", "127.0.0.1"), 5) == 2
    assert await sends(quotas, Caller("bob", HERE), 5) == 4
    assert await sends(quotas, from_address(HERE), 5) == 4


async def test_without_a_limit_all_pass() -> None:
    quotas = Quotas(Rates(0, 0, 0, 0, 0))
    assert await sends(quotas, from_address(HERE), 500) == 500
    for _ in range(500):
        await quotas.check_request(HERE)
        assert quotas.enter_address(HERE)
        assert quotas.enter_owner("ann")
    assert quotas.pace() is None


async def test_a_refusal_says_when_to_try_again() -> None:
    quotas = Quotas(Rates(requests_per_minute=2))
    await quotas.check_request(HERE)
    await quotas.check_request(HERE)
    with pytest.raises(RateLimitedError) as refused:
        await quotas.check_request(HERE)
    assert 1 <= refused.value.retry_seconds <= 60
    assert f"try again in {refused.value.retry_seconds} second" in str(refused.value)


# What is counted.


@asynccontextmanager
async def chat(
    store: MemoryStore | None = None, limits: Limits | None = None
) -> AsyncIterator[ChatService]:
    store = store or MemoryStore()
    await store.open()
    async with ChatService(store, echo(0), limits=limits) as service:
        yield service
    await store.close()


async def test_repeating_a_send_is_never_refused_and_costs_nothing() -> None:
    toll = SendToll(Quotas(Rates(sends_per_minute=3)), Caller("ann"))
    async with chat() as service:
        for number in range(2):
            await read_all(await service.send("ann", f"m{number}", "c", "one", toll))
        for _ in range(20):
            await read_all(await service.send("ann", "m0", "c", "one", toll))
        await read_all(await service.send("ann", "m2", "c", "one", toll))
        with pytest.raises(RateLimitedError, match="more than 3 sends a minute"):
            await service.send("ann", "m3", "c", "one", toll)
        for _ in range(20):
            await read_all(await service.send("ann", "m2", "c", "one", toll))
        assert await service.message("ann", "m3") is None


async def test_asking_for_another_reply_is_a_send_and_asking_again_is_none() -> None:
    toll = SendToll(Quotas(Rates(sends_per_minute=2)), Caller("ann"))
    async with chat() as service:
        await read_all(await service.send("ann", "m", "c", "one", toll))
        for _ in range(10):
            await read_all(await service.regenerate("ann", "r", "m", toll))
        with pytest.raises(RateLimitedError):
            await service.regenerate("ann", "r2", "m", toll)
        await read_all(await service.regenerate("ann", "r", "m", toll))


async def test_sends_that_come_together_do_not_slip_through() -> None:
    toll = SendToll(Quotas(Rates(sends_per_minute=5)), Caller("ann"))
    async with chat() as service:
        results = await asyncio.gather(
            *(service.send("ann", f"m{number}", "c", "one", toll) for number in range(40)),
            return_exceptions=True,
        )
        for result in results:
            if not isinstance(result, BaseException):
                await read_all(result)
    assert sum(not isinstance(result, RateLimitedError) for result in results) == 5


# Counters.


class SlowStore(MemoryStore):
    """Takes messages when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.is_asked = asyncio.Event()
        self.may_go_on = asyncio.Event()
        self.failure: Exception | None = None

    async def add(self, *args: Any) -> Any:
        self.is_asked.set()
        await self.may_go_on.wait()
        if self.failure is not None:
            raise self.failure
        return await super().add(*args)


@pytest.mark.parametrize(
    ("rates", "limits"),
    [(Rates(sends_per_minute=1), Limits()), (Rates(), Limits(replies=1))],
    ids=["rate", "replies at once"],
)
async def test_a_send_that_is_repeated_while_it_is_being_stored_joins_it(
    rates: Rates, limits: Limits
) -> None:
    toll = SendToll(Quotas(rates), Caller("ann"))
    store = SlowStore()
    async with chat(store, limits) as service:
        first = asyncio.create_task(service.send("ann", "m", "c", "one", toll))
        await store.is_asked.wait()
        repeats = [
            asyncio.create_task(service.send("ann", "m", "c", "one", toll)) for _ in range(3)
        ]
        other = asyncio.create_task(service.send("ann", "other", "c", "one", toll))
        with pytest.raises((RateLimitedError, TooManyRepliesError)):
            await other
        store.may_go_on.set()
        followings = await asyncio.gather(first, *repeats)
        assert len({following.ref for following in followings}) == 1
        for following in followings:
            await read_all(following)


async def test_a_send_that_is_repeated_while_it_cannot_be_stored_is_refused() -> None:
    toll = SendToll(Quotas(Rates(sends_per_minute=1)), Caller("ann"))
    store = SlowStore()
    async with chat(store) as service:
        first = asyncio.create_task(service.send("ann", "m", "c", " x ", toll))
        await store.is_asked.wait()
        repeat = asyncio.create_task(service.send("ann", "m", "c", " x ", toll))
        await asyncio.sleep(0)
        store.failure = OSError("broken")
        store.may_go_on.set()
        with pytest.raises(OSError, match="broken"):
            await first
        with pytest.raises(RateLimitedError):
            await repeat


async def test_counters_that_are_over_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000.0
    monkeypatch.setattr("graphql_app.access.quotas.time", lambda: now)
    counters = CountersInMemory()
    for number in range(1_000):
        assert await counters.incr(f"a{number}", 60) == 1
    assert await counters.incr("a0", 60) == 2
    now += 61
    assert await counters.incr("a0", 60) == 1
    assert len(counters.storage) == len(counters.expirations) == 1


async def test_there_are_only_so_many_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas, "MOST_KEYS", 10)
    counters = CountersInMemory()
    for number in range(50):
        await counters.incr(f"a{number}", 60)
    assert len(counters.storage) == 10
    assert await counters.incr("a3", 60) == 2


async def test_counting_leaves_no_task_behind() -> None:
    limited = Quotas(Rates(sends_per_minute=3))
    await sends(limited, from_address(HERE), 10)
    assert asyncio.all_tasks() == {asyncio.current_task()}


class AwayCounters(MemoryStorage):
    is_away = True
    asked = 0

    async def acquire_sliding_window_entry(self, *args: Any, **kwargs: Any) -> bool:
        self.asked += 1
        if self.is_away:
            raise ConnectionError("secret.example:6379")
        return False


async def test_while_counters_are_away_all_pass_and_the_log_says_so_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("graphql_app.access.quotas.monotonic", lambda: now)
    caplog.set_level(logging.INFO, "graphql_app.access.quotas")
    counters = AwayCounters()
    limited = Quotas(Rates(sends_per_minute=1), counters)
    for _ in range(3):
        assert await sends(limited, Caller("ann"), 20) == 20
        now += quotas.PAUSE_SECONDS + 1
    assert counters.asked == 3
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "secret" not in caplog.text
    counters.is_away = False
    assert await sends(limited, Caller("ann"), 1) == 0
    assert caplog.records[-1].message == "rates are counted again"


# Sockets.


def test_sockets_are_counted_while_they_are_open() -> None:
    limited = Quotas(Rates(sockets_per_owner=2, sockets_per_address=3))
    assert [limited.enter_owner("ann") for _ in range(3)] == [True, True, False]
    assert [limited.enter_address(HERE) for _ in range(4)] == [True, True, True, False]
    limited.leave_owner("ann")
    limited.leave_address(HERE)
    assert limited.enter_owner("ann")
    assert limited.enter_address(HERE)
    for _ in range(2):
        limited.leave_owner("ann")
    for _ in range(3):
        limited.leave_address(HERE)
    assert not limited._sockets


def test_a_client_that_says_100_things_at_once_after_a_reconnect_does_not_wait() -> None:
    pace = Pace(100, clock=lambda: 0.0)
    assert sum(pace.wait_seconds(0.0) for _ in range(100 * BURST_SECONDS)) == 0


def test_a_socket_is_read_no_faster_than_its_rate() -> None:
    now = 0.0
    pace = Pace(100, clock=lambda: now)
    for _ in range(10_000):
        now += pace.wait_seconds(now)
    assert now == pytest.approx((10_000 - 100 * BURST_SECONDS) / 100)


# Over HTTP.


async def test_a_request_too_many_gets_429_and_others_are_answered() -> None:
    app = create_app(Settings(max_requests_per_minute=3))

    def client(address: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app, client=(address, 1))
        return httpx.AsyncClient(transport=transport, base_url="http://localhost")

    async with client(HERE) as here, client("203.0.113.8") as there:
        query = "/graphql?query={__typename}"
        statuses = [(await here.get(query)).status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        refused = await here.post("/graphql", json={"query": "{ __typename }"})
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert refused.json()["errors"][0]["extensions"] == {"code": "RATE_LIMITED"}
        assert (await there.get(query)).status_code == 200
        assert (await here.get("/healthz")).status_code == 200


async def test_a_send_too_many_is_refused_with_its_code() -> None:
    app = create_app(Settings(max_sends_per_minute=1, completion="echo", word_delay=0))
    transport = httpx.ASGITransport(app, client=(HERE, 1))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        answers = []
        for id in ("1", "1", "2"):
            body = {
                "query": "subscription($m: MessageInput!) { sendMessage(message: $m) { status } }",
                "variables": {"m": {"id": id, "content": "one"}},
            }
            accept = {"Accept": "text/event-stream"}
            answers.append((await client.post("/graphql", json=body, headers=accept)).text)
    assert ["DONE" in answer for answer in answers] == [True, True, False]
    assert "RATE_LIMITED" in answers[2]


# In Redis.


async def test_processes_with_one_redis_count_together_and_pass_while_it_is_away(
    tmp_path: Path,
) -> None:
    [backend] = [backend for backend in BACKENDS if backend.id == "redis"]
    backend.require()
    server = RedisServer(tmp_path)
    with running(server):
        stores = [open_store(f"{server.url}?volatile=1") for _ in range(2)]
        one, other = (Quotas(Rates(sends_per_minute=5), counters_of(store)) for store in stores)
        ann = Caller("ann/of: {the} hill\n")
        assert await sends(one, ann, 3) == 3
        assert await sends(other, ann, 5) == 2
        refused = await one.send(ann)
        assert refused is not None
        assert 1 <= refused.retry_seconds <= 60
        with redis.Redis(port=server.port) as admin:
            before = admin.info("stats")["total_connections_received"]
            await sends(one, Caller("bob"), 20)
            assert admin.info("stats")["total_connections_received"] == before
            assert all(0 < admin.ttl(key) <= 120 for key in admin.keys("graphql-app*"))
        server.stop()
        assert await sends(one, ann, 20) == 20
        for store in stores:
            await store.close()
