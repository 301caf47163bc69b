"""The lease keeper: renewals and sweeps, while the store comes and goes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from graphql_app import lease_keeper
from graphql_app.lease_keeper import LeaseKeeper
from graphql_app.messages import Ref, Status
from graphql_app.producer import Producer
from tests.chats import PATIENCE_SECONDS, Client, running_chat
from tests.faults import FaultyStore, ScriptedCompletion, leaking_nothing

QUICK = 0.03
"""A lease so short that it is renewed a hundred times a second."""


@asynccontextmanager
async def keeping(store: FaultyStore, lease_seconds: float) -> AsyncIterator[LeaseKeeper]:
    """A keeper that leaves no task behind, of a process that produces nothing."""
    running: dict[Ref, Producer | None] = {}
    with leaking_nothing():
        async with LeaseKeeper(store, lease_seconds, running=running) as keeper:
            yield keeper


async def called(store: FaultyStore, method: str, times: int = 1) -> float:
    """How long it took until a method was called so many times more."""
    loop = asyncio.get_running_loop()
    began, goal = loop.time(), store.calls[method] + times
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if store.calls[method] >= goal:
                return loop.time() - began
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("fault", [FaultyStore.failing_on, FaultyStore.broken_on])
@pytest.mark.parametrize(
    ("method", "sentence"),
    [
        ("renew", "the lease could not be renewed"),
        ("sweep", "the leases that ran out could not be swept"),
    ],
)
async def test_replies_outlive_calls_that_fail_and_only_defects_are_logged(
    store: FaultyStore,
    completion: ScriptedCompletion,
    caplog: pytest.LogCaptureFixture,
    method: str,
    sentence: str,
    fault: Callable[..., None],
) -> None:
    async with running_chat(store, completion, lease_seconds=QUICK) as chat:
        client = Client(await chat.send("ann", "m1", "c1", "Hello"))
        fault(store, method, times=2)
        await called(store, method, 4)
        completion.say("One")
        completion.end()
        assert (await client.until_end()).status is Status.DONE
    logged = [record.getMessage() for record in caplog.records]
    assert logged == ([sentence] * 2 if fault is FaultyStore.broken_on else [])


async def test_a_process_that_has_just_started_leaves_the_leases_of_others_alone(
    store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_keeper, "START_SECONDS", 0.3)
    monkeypatch.setattr(lease_keeper, "RENEW_SECONDS", 0.01)
    async with keeping(store, lease_seconds=10):
        assert await called(store, "sweep") >= 0.3


async def test_nobody_is_left_alone_for_longer_than_a_lease(store: FaultyStore) -> None:
    assert lease_keeper.START_SECONDS > 2
    async with keeping(store, lease_seconds=0.2):
        assert 0.2 <= await called(store, "sweep") < 2


@pytest.mark.parametrize("method", ["renew", "sweep"])
async def test_after_an_outage_the_others_may_renew_before_anything_is_swept(
    store: FaultyStore, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(lease_keeper, "START_SECONDS", 0.0)
    monkeypatch.setattr(lease_keeper, "SETTLING_SECONDS", 0.3)
    monkeypatch.setattr(lease_keeper, "RENEW_SECONDS", 0.01)
    async with keeping(store, lease_seconds=10):
        await called(store, "sweep")
        store.failing_on("renew", times=20)
        store.failing_on(method, times=20)
        await called(store, "renew", 21)
        # The sweep that was due before the outage was noticed may have come, and no other.
        assert await called(store, "sweep") >= 0.25


async def test_a_process_that_stood_still_lets_the_others_renew_before_it_sweeps(
    store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_keeper, "START_SECONDS", 0.0)
    monkeypatch.setattr(lease_keeper, "SETTLING_SECONDS", 0.3)
    monkeypatch.setattr(lease_keeper, "RENEW_SECONDS", 0.01)
    async with keeping(store, lease_seconds=0.4):
        await called(store, "sweep")
        gate = store.holding("renew")
        await gate.reached()
        await asyncio.sleep(0.25)  # More than half of the lease.
        gate.open()
        assert await called(store, "sweep") >= 0.3


async def test_a_sweep_that_hangs_does_not_hold_up_renewals(
    store: FaultyStore,
) -> None:
    async with keeping(store, lease_seconds=QUICK):
        gate = store.holding("sweep")
        await gate.reached()
        assert await called(store, "renew", 5) < 1
        gate.open()


async def test_a_renewal_that_found_the_store_away_is_soon_tried_again(store: FaultyStore) -> None:
    async with keeping(store, lease_seconds=60):
        store.failing_on("renew", times=1)
        await called(store, "renew")
        assert await called(store, "renew") < 0.5
        # And then once a second, as before.
        assert await called(store, "renew") > 0.5


async def test_nothing_is_swept_while_a_renewal_hangs(store: FaultyStore) -> None:
    async with keeping(store, lease_seconds=QUICK):
        await called(store, "sweep")
        gate = store.holding("renew")
        await gate.reached()
        await asyncio.sleep(QUICK)  # Behind the renewal before there may be one.
        before = store.calls["sweep"]
        await asyncio.sleep(5 * QUICK)
        assert store.calls["sweep"] == before
        gate.open()
        await called(store, "sweep")


async def test_many_renewals_do_not_sweep_more_often(store: FaultyStore) -> None:
    async with keeping(store, lease_seconds=1) as keeper:
        await called(store, "sweep")
        before = store.calls["sweep"]
        for _ in range(20):
            keeper.renew_now()
            await called(store, "renew")
        assert store.calls["sweep"] <= before + 1
