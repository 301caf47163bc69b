"""The phases of a shutdown, and who is told of them."""

import asyncio

import pytest

from graphql_app.shutdown import Phase, Shutdown


def noting(shutdown: Shutdown) -> list[Phase]:
    """The phases that were told, in order."""
    told: list[Phase] = []
    for phase in (Phase.NOTICE, Phase.DRAINING, Phase.HURRIED):
        shutdown.at(phase, lambda: told.append(shutdown.phase))
    return told


def test_a_phase_is_told_once() -> None:
    shutdown = Shutdown()
    told = noting(shutdown)
    shutdown.reach(Phase.NOTICE)
    shutdown.reach(Phase.NOTICE)
    assert told == [Phase.NOTICE]


def test_who_hurries_goes_through_all_phases_before() -> None:
    shutdown = Shutdown()
    told = noting(shutdown)
    shutdown.reach(Phase.HURRIED)
    assert told == [Phase.NOTICE, Phase.DRAINING, Phase.HURRIED]


def test_there_is_no_way_back() -> None:
    shutdown = Shutdown()
    shutdown.reach(Phase.HURRIED)
    shutdown.reach(Phase.NOTICE)
    assert shutdown.phase is Phase.HURRIED


def test_who_comes_late_is_told_at_once() -> None:
    shutdown = Shutdown()
    shutdown.reach(Phase.DRAINING)
    assert noting(shutdown) == [Phase.DRAINING, Phase.DRAINING]


def test_who_has_left_is_not_told() -> None:
    shutdown = Shutdown()
    told: list[str] = []
    forget = shutdown.at(Phase.NOTICE, lambda: told.append("a"))
    shutdown.at(Phase.NOTICE, lambda: told.append("b"))
    forget()
    forget()
    shutdown.reach(Phase.NOTICE)
    assert told == ["b"]


def test_one_who_is_told_may_make_another_leave() -> None:
    shutdown = Shutdown()
    told: list[str] = []
    shutdown.at(Phase.NOTICE, lambda: forget())
    forget = shutdown.at(Phase.NOTICE, lambda: told.append("too late"))
    shutdown.reach(Phase.NOTICE)
    assert told == []


@pytest.mark.parametrize("reached", [Phase.DRAINING, Phase.HURRIED])
async def test_waiting_ends_with_the_phase(reached: Phase) -> None:
    shutdown = Shutdown()
    waiting = asyncio.create_task(shutdown.wait(Phase.DRAINING, 60))
    await asyncio.sleep(0)
    shutdown.reach(Phase.NOTICE)
    await asyncio.sleep(0)
    assert not waiting.done()
    shutdown.reach(reached)
    await asyncio.wait_for(waiting, 1)


async def test_waiting_for_what_has_come_takes_no_time() -> None:
    shutdown = Shutdown()
    shutdown.reach(Phase.DRAINING)
    await asyncio.wait_for(shutdown.wait(Phase.NOTICE, 60), 1)


@pytest.mark.parametrize("seconds", [0.0, 0.01])
async def test_waiting_ends_with_the_time(seconds: float) -> None:
    await asyncio.wait_for(Shutdown().wait(Phase.NOTICE, seconds), 1)
