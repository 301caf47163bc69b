"""What is found about the store."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from graphql_app.doctor import store
from graphql_app.doctor.findings import Finding, Level
from graphql_app.settings import Settings
from graphql_app.stores import open_store
from graphql_app.stores.condition import Condition, Examinable
from tests.contracts.backends import BACKENDS
from tests.servers import DatabaseServer, PostgresServer, RedisServer, running


async def examined(url: str) -> dict[str, Finding]:
    return {finding.name: finding async for finding in store.examine(Settings(store=url))}


def levels(found: dict[str, Finding]) -> dict[str, Level]:
    return {name: finding.level for name, finding in found.items()}


def of(condition: Condition, **settings: Any) -> dict[str, Finding]:
    return {finding.name: finding for finding in store.of(condition, Settings(**settings))}


@pytest.mark.parametrize(
    ("name", "level", "condition"),
    [
        ("store.version", Level.OK, Condition(version=None, newest="0003")),
        ("store.version", Level.OK, Condition(version="0003", newest="0003")),
        ("store.version", Level.WARN, Condition(version="0002", newest="0003")),
        ("store.version", Level.FAIL, Condition(version="0004", newest="0003")),
        ("store.latency", Level.OK, Condition(round_trip_seconds=0.002)),
        ("store.latency", Level.WARN, Condition(round_trip_seconds=0.08)),
        ("store.latency", Level.FAIL, Condition(round_trip_seconds=0.6)),
        ("clock.store", Level.OK, Condition(clock_ahead_seconds=0.2)),
        ("clock.store", Level.WARN, Condition(clock_ahead_seconds=2.5)),
        ("clock.store", Level.WARN, Condition(clock_ahead_seconds=-2.5)),
        ("store.care", Level.OK, Condition()),
        ("store.care", Level.WARN, Condition(remarks=(("It leaks.", "Mend it."),))),
    ],
)
def test_a_condition_is_judged(name: str, level: Level, condition: Condition) -> None:
    finding = of(condition)[name]
    assert finding.level is level
    assert bool(finding.advice) == (level is not Level.OK)


def test_a_longer_lease_bears_a_slower_store() -> None:
    slow = Condition(round_trip_seconds=0.6)
    assert of(slow, lease_seconds=30)["store.latency"].level is Level.WARN


def test_which_clock_goes_first_is_said() -> None:
    ahead = of(Condition(clock_ahead_seconds=2.5))["clock.store"].sentence
    behind = of(Condition(clock_ahead_seconds=-2.5))["clock.store"].sentence
    assert ahead == "The store's clock is 2.5 s ahead of ours."
    assert behind == "The store's clock is 2.5 s behind ours."


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("redis://10.0.0.5", {"store.way"}),
        ("rediss://10.0.0.5", set()),
        ("redis://127.0.0.1", set()),
        ("redis://localhost", set()),
        ("redis+sentinel://store-1,store-2/main", {"store.way"}),
        ("postgresql://chat:chat@db/chat", {"store.way", "store.password"}),
        ("postgresql://chat:chat@db/chat?sslmode=verify-full", {"store.password"}),
        ("postgresql://chat:Yaeph9ie@127.0.0.1/chat", set()),
        ("sqlite:///chat.db", set()),
        ("memory://", set()),
    ],
)
def test_a_way_that_others_may_listen_on_is_found(url: str, names: set[str]) -> None:
    findings = list(store.way(Settings(store=url)))
    assert {finding.name for finding in findings} == names
    assert not any("Yaeph9ie" in str(finding) for finding in findings)


async def test_a_store_in_memory_needs_no_look() -> None:
    found = await examined("memory://")
    assert [(name, finding.level) for name, finding in found.items()] == [
        ("store.reachable", Level.OK)
    ]


async def test_a_url_that_means_no_store_is_found() -> None:
    assert (await examined("oracle://host"))["store.fit"].level is Level.FAIL


async def test_looking_at_sqlite_makes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "chat.db"
    found = await examined(f"sqlite:///{file}")
    assert "no tables yet" in found["store.version"].sentence
    assert not file.exists()
    missing = await examined(f"sqlite:///{tmp_path / 'missing' / 'chat.db'}")
    assert missing["store.fit"].level is Level.FAIL


async def test_a_sqlite_file_that_others_may_read_is_found(tmp_path: Path) -> None:
    file = tmp_path / "chat.db"
    opened = open_store(f"sqlite:///{file}")
    await opened.open()
    await opened.close()
    file.chmod(0o640)
    found = await examined(f"sqlite:///{file}")
    assert found["store.care"].level is Level.OK
    assert found["store.version"].sentence == "Its tables have the newest version, 0003."
    file.chmod(0o644)
    assert "may read" in (await examined(f"sqlite:///{file}"))["store.care"].sentence


async def test_a_file_that_is_no_database_is_found(tmp_path: Path) -> None:
    file = tmp_path / "chat.db"
    file.write_bytes(b"no database, by far" * 100)
    assert (await examined(f"sqlite:///{file}"))["store.fit"].level is Level.FAIL


def require(id: str) -> None:
    [backend] = [backend for backend in BACKENDS if backend.id == id]
    backend.require()


@pytest.fixture
def redis(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[DatabaseServer]:
    require("redis")
    with running(RedisServer(tmp_path, *getattr(request, "param", ()))) as server:
        yield server


async def test_redis_is_looked_at_and_nothing_is_written(redis: DatabaseServer) -> None:
    found = await examined(redis.url)
    assert {finding.level for finding in found.values()} == {Level.OK}
    assert {"store.latency", "clock.store", "store.care"} <= found.keys()
    assert "store.version" not in found
    opened = open_store(redis.url)
    assert isinstance(opened, Examinable)
    redis.stop()
    away = await examined(redis.url)
    assert levels(away) == {"store.reachable": Level.FAIL}


@pytest.mark.parametrize(
    ("redis", "url_options", "name", "says"),
    [
        (("--appendonly", "no"), "", "store.fit", "would forget messages"),
        (("--appendonly", "no"), "?volatile=1", "store.care", "forgets everything"),
        (("--appendonly", "yes", "--appendfsync", "no"), "", "store.care", "appendfsync no"),
        (
            ("--appendonly", "yes", "--maxmemory-policy", "allkeys-lru"),
            "",
            "store.fit",
            "would drop messages",
        ),
        (("--appendonly", "yes", "--maxmemory", "1mb"), "", "store.care", "maxmemory"),
    ],
    indirect=["redis"],
)
async def test_a_redis_that_keeps_messages_badly_is_found(
    redis: DatabaseServer, url_options: str, name: str, says: str
) -> None:
    finding = (await examined(redis.url + url_options))[name]
    assert finding.level is not Level.OK
    assert says in finding.sentence


async def test_a_redis_that_refuses_us_is_found(redis: DatabaseServer) -> None:
    url = redis.url.replace("redis://", "redis://:Yaeph9ie@")
    finding = (await examined(url))["store.fit"]
    assert finding.level is Level.FAIL
    assert "refuses us" in finding.sentence
    assert "Yaeph9ie" not in str(finding)


async def test_postgresql_is_looked_at_and_not_migrated(tmp_path: Path) -> None:
    require("postgresql")
    server = PostgresServer(tmp_path, "-c", "synchronous_commit=off", "-c", "max_connections=20")
    with running(server):
        found = await examined(server.url)
        again = await examined(server.url)
        remarks = [
            finding.sentence
            async for finding in store.examine(Settings(store=server.url))
            if finding.name == "store.care"
        ]
        nowhere = await examined(server.url_of("nowhere"))
    assert "no tables yet" in again["store.version"].sentence
    assert found["clock.store"].level is Level.OK
    assert found["store.latency"].level is Level.OK
    assert [sentence.split()[0] for sentence in remarks] == ["synchronous_commit", "The"]
    assert nowhere["store.fit"].level is Level.FAIL
    assert (await examined(server.url))["store.reachable"].level is Level.FAIL
