"""The end of a token: when it is told, and that no clock and no number can put it off."""

import asyncio
import time

import pytest

from graphql_app.access import expiry
from graphql_app.access.expiry import Expiry
from tests.chats import PATIENCE_SECONDS
from tests.wire import eventually


async def test_the_end_is_told_once() -> None:
    told = asyncio.Event()
    Expiry(time.time() + 0.05, told.set)
    assert not told.is_set()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await told.wait()


async def test_an_end_in_the_past_is_told_at_once_but_not_before_its_maker_is_ready() -> None:
    told = asyncio.Event()
    Expiry(0, told.set)
    assert not told.is_set()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await told.wait()


async def test_what_was_cancelled_is_not_told() -> None:
    told = asyncio.Event()
    Expiry(time.time(), told.set).cancel()
    last = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, last.set)
    await last.wait()
    assert not told.is_set()


@pytest.mark.parametrize("at", [2.0**40 + 2, 1e18, 1e308, float("inf")])
async def test_an_end_that_no_timer_can_wait_for_is_not_told_early(at: float) -> None:
    told = asyncio.Event()
    waiting = Expiry(at, told.set)
    await asyncio.sleep(0.01)
    assert not told.is_set()
    waiting.cancel()


async def test_a_clock_that_is_set_forward_ends_what_it_shows_to_be_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = asyncio.Event()
    end = time.time() + 3_600
    Expiry(end, told.set)
    later = Expiry(end + 1, told.clear)
    await asyncio.sleep(0.05)
    assert not told.is_set()
    monkeypatch.setattr(time, "time", lambda: end)
    async with asyncio.timeout(PATIENCE_SECONDS):  # A socket may outlive its token by 5 s.
        await told.wait()
    later.cancel()


async def test_many_ends_are_told_each_in_its_turn_whatever_the_order_they_came_in() -> None:
    told: list[int] = []
    now = time.time()
    order = [3, 1, 5, 2, 4, 0]
    all_of_them = [
        Expiry(now + 0.1 + number * 0.02, lambda number=number: told.append(number))  # type: ignore[misc]
        for number in order
    ]
    all_of_them[order.index(2)].cancel()
    await eventually(lambda: len(told) == 5)
    assert told == [0, 1, 3, 4, 5]


async def test_a_clock_is_looked_at_for_all_together_and_for_nobody_not_at_all() -> None:
    waiting = [Expiry(time.time() + 3_600, lambda: None) for _ in range(100)]
    watch = expiry._watch()
    assert len(watch._waiting) == 100
    assert watch._timer is not None
    for each in waiting:
        each.cancel()
    assert not watch._waiting
    assert watch._timer is None
