"""The alarm: no news falls between looking and waiting."""

import asyncio
import gc
import math
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from graphql_app.wakeup import Turns, Wakeup


async def waiting(alarm: Wakeup, seconds: float = math.inf) -> "asyncio.Task[None]":
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


# The one timer of many waits.


async def lasted(waiting: Any) -> float:
    began = time.monotonic()
    await asyncio.wait_for(waiting, 5)
    return time.monotonic() - began


async def interrupted(alarm: Wakeup, seconds: float) -> None:
    """A wait that the alarm ends long before its time."""
    waiter = await waiting(alarm, seconds)
    alarm.set()
    await waiter


async def test_a_wait_that_is_shorter_than_the_one_before_ends_in_time() -> None:
    alarm = Wakeup()
    await interrupted(alarm, 60)
    assert 0.03 <= await lasted(alarm.wait(0.04)) < 1
    alarm.close()


async def test_the_timer_of_an_earlier_wait_does_not_end_a_later_one() -> None:
    alarm = Wakeup()
    await interrupted(alarm, 0.02)
    assert 0.09 <= await lasted(alarm.wait(0.1)) < 1
    await interrupted(alarm, 0.02)
    endless = await waiting(alarm)
    await asyncio.sleep(0.05)
    assert not endless.done()
    alarm.set()
    await endless
    alarm.close()


async def test_a_wait_ends_in_time_though_the_timer_was_due_before() -> None:
    alarm = Wakeup()
    await interrupted(alarm, 0.02)
    await asyncio.sleep(0.05)  # It was due while nobody waited.
    assert 0.01 <= await lasted(alarm.wait(0.02)) < 1
    alarm.close()


async def test_the_time_of_a_cancelled_wait_does_not_end_the_next_one() -> None:
    alarm = Wakeup()
    waiter = await waiting(alarm, 0.02)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    endless = await waiting(alarm)
    await asyncio.sleep(0.05)
    assert not endless.done()
    alarm.set()
    await endless
    alarm.close()


async def test_a_ring_at_the_moment_of_the_timeout_is_not_lost_for_who_comes_back() -> None:
    alarm = Wakeup()
    waiter = await waiting(alarm, 0.01)
    await asyncio.sleep(0.03)
    assert waiter.done()
    alarm.set()
    assert await lasted(alarm.wait(5)) < 1
    alarm.close()


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([math.inf, 0.01, 0.02, 0.04, 60]), st.booleans()),
        min_size=2,
        max_size=7,
    )
)
async def test_each_wait_ends_by_its_own_time_or_its_own_ring(
    waits: list[tuple[float, bool]],
) -> None:
    alarm = Wakeup()
    for seconds, rings in waits:
        if rings or seconds > 1:
            waiter = await waiting(alarm, seconds)
            for _ in range(3):
                await asyncio.sleep(0)
            assert not waiter.done()
            alarm.set()
            assert await lasted(waiter) < 1
        else:
            # Clocks of loops count in milliseconds.
            assert seconds - 0.002 <= await lasted(alarm.wait(seconds)) < 1
    alarm.close()


class CountingLoop:
    """Timers of the running loop that are neither due nor cancelled."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._loop = asyncio.get_running_loop()
        self._timers: list[asyncio.TimerHandle] = []
        self._call_at = self._loop.call_at
        monkeypatch.setattr(self._loop, "call_at", self._noting)

    def _noting(
        self, when: float, callback: Callable[..., object], *args: Any, **named: Any
    ) -> Any:
        timer = self._call_at(when, callback, *args, **named)
        self._timers.append(timer)
        return timer

    @property
    def pending(self) -> int:
        return sum(
            timer.when() > self._loop.time() and not timer.cancelled() for timer in self._timers
        )

    @property
    def made(self) -> int:
        return len(self._timers)


async def test_many_waits_have_one_timer_and_closing_drops_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = CountingLoop(monkeypatch)
    alarm = Wakeup()
    for _ in range(100):
        await interrupted(alarm, 60)
    assert (loop.made, loop.pending) == (1, 1)
    alarm.close()
    assert loop.pending == 0
    alarm.close()


async def test_waits_that_grow_shorter_leave_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = CountingLoop(monkeypatch)
    alarm = Wakeup()
    for seconds in (60, 50, 40, 30, 35):
        await interrupted(alarm, seconds)
    assert loop.pending == 1
    alarm.close()
    assert loop.pending == 0


async def test_a_closed_alarm_goes_with_its_last_user() -> None:
    alarm = Wakeup()
    await interrupted(alarm, 60)
    alarm.close()
    timer = asyncio.get_running_loop().call_later(60, lambda: None)
    timer.cancel()
    before = len(gc.get_objects())
    del alarm
    gc.collect()
    assert len(gc.get_objects()) <= before


# Turns.


async def test_a_turn_is_counted_when_others_have_run() -> None:
    turns = Turns.of(asyncio.get_running_loop())
    first = turns.now()
    assert turns.now() == first
    await asyncio.sleep(0)
    assert turns.now() > first


async def test_all_who_ask_in_one_turn_see_one_number() -> None:
    loop = asyncio.get_running_loop()
    seen: list[int] = []
    turns = Turns.of(loop)
    assert Turns.of(loop) is turns
    turns.now()
    for _ in range(3):
        loop.call_soon(lambda: seen.append(Turns.of(loop).now()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(set(seen)) == 1


async def test_nothing_is_counted_while_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    turns = Turns.of(loop)
    turns.now()
    for _ in range(3):
        await asyncio.sleep(0)
    number = turns.now()
    await asyncio.sleep(0)
    for _ in range(10):
        await asyncio.sleep(0)
    assert turns.now() == number + 1


@pytest.mark.parametrize("new_loop", [asyncio.SelectorEventLoop, uvloop.new_event_loop])
def test_the_counter_of_a_loop_goes_with_the_loop(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def count() -> int:
        turns = Turns.of(asyncio.get_running_loop())
        turns.now()
        await asyncio.sleep(0)
        return turns.now()

    loop = new_loop()
    gone = weakref.ref(loop)
    try:
        assert loop.run_until_complete(count()) > 0
    finally:
        loop.close()
    del loop
    gc.collect()
    assert gone() is None
