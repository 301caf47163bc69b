"""The alarm: no news falls between looking and waiting."""

import asyncio

import pytest

from graphql_app.wakeup import Wakeup


async def waiting(alarm: Wakeup, seconds: float | None = None) -> "asyncio.Task[None]":
    """A task that has begun to wait."""
    task = asyncio.create_task(alarm.wait(seconds))
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def test_an_alarm_wakes_who_waits() -> None:
    alarm = Wakeup()
    waiter = await waiting(alarm)
    alarm.set()
    await asyncio.wait_for(waiter, 1)


async def test_an_alarm_that_rang_before_ends_the_next_wait_at_once() -> None:
    alarm = Wakeup()
    alarm.set()
    await asyncio.wait_for(alarm.wait(), 1)


async def test_several_rings_are_one() -> None:
    alarm = Wakeup()
    alarm.set()
    alarm.set()
    await alarm.wait()
    waiter = await waiting(alarm)
    alarm.set()
    alarm.set()
    await asyncio.wait_for(waiter, 1)
    (await waiting(alarm)).cancel()


async def test_a_wait_ends_by_itself_after_its_time() -> None:
    alarm = Wakeup()
    await asyncio.wait_for(alarm.wait(0.01), 1)
    (await waiting(alarm)).cancel()


@pytest.mark.parametrize("seconds", [0.0, -1.0])
async def test_a_wait_whose_time_is_over_ends_at_once(seconds: float) -> None:
    await asyncio.wait_for(Wakeup().wait(seconds), 1)


async def test_a_ring_is_not_lost_when_the_wait_that_it_ends_is_cancelled() -> None:
    alarm = Wakeup()
    waiter = await waiting(alarm)
    alarm.set()
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    await asyncio.wait_for(alarm.wait(), 1)


async def test_after_a_cancelled_wait_the_next_one_waits_again() -> None:
    alarm = Wakeup()
    waiter = await waiting(alarm, 60)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    waiter = await waiting(alarm)
    alarm.set()
    await asyncio.wait_for(waiter, 1)
