"""The end of a token: when it is told, and that no clock and no number can put it off."""

import asyncio
import time

import pytest

from graphql_app.access import expiry
from graphql_app.access.expiry import Expiry
from tests.chats import PATIENCE_SECONDS


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
    monkeypatch.setattr(expiry, "LOOK_SECONDS", 0.01)
    told = asyncio.Event()
    end = time.time() + 3_600
    Expiry(end, told.set)
    await asyncio.sleep(0.05)
    assert not told.is_set()
    monkeypatch.setattr(time, "time", lambda: end)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await told.wait()
