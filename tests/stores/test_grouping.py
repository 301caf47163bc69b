"""Groups: who comes at about the same time goes together, and nobody is forgotten or hurt."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import pytest

from graphql_app.errors import StoreUnavailableError
from graphql_app.stores.grouping import Grouped
from tests.chats import settled

T = TypeVar("T")

Outcome = int | Exception


class Server:
    """Takes groups of numbers and doubles each; a group waits for `answer` if it is held up."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.times: list[float] = []
        self.failures: dict[int, Exception] = {}
        self.broken: Exception | None = None
        self.under_way = 0
        self._turn = asyncio.Semaphore(0)
        self._holds_up = False

    def hold_up(self) -> None:
        self._holds_up = True

    def answer(self) -> None:
        """Lets one group through."""
        self._turn.release()

    async def __call__(self, numbers: Sequence[int]) -> Sequence[Outcome]:
        self.groups.append(list(numbers))
        self.times.append(asyncio.get_running_loop().time())
        self.under_way += 1
        assert self.under_way == 1, "one group is under way at a time"
        try:
            if self._holds_up:
                await self._turn.acquire()
            await asyncio.sleep(0)
            if self.broken is not None:
                raise self.broken
            return [self.failures.get(number, 2 * number) for number in numbers]
        finally:
            self.under_way -= 1


@pytest.fixture
async def server() -> Server:
    return Server()


@pytest.fixture
async def doubled(server: Server) -> Grouped[int, int]:
    return Grouped(server)


async def begun(call: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
    """A call that has come as far as it can."""
    task = asyncio.create_task(call)
    await settled()
    return task


async def begun_once(call: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
    """A call that has run for one turn."""
    task = asyncio.create_task(call)
    await asyncio.sleep(0)
    return task


async def ended(*tasks: "asyncio.Task[int]") -> list[int | BaseException]:
    async with asyncio.timeout(5):
        return await asyncio.gather(*tasks, return_exceptions=True)


async def test_each_caller_gets_the_result_for_its_own_item(doubled: Grouped[int, int]) -> None:
    assert await asyncio.gather(*map(doubled, range(10))) == list(range(0, 20, 2))


async def test_calls_of_one_moment_are_one_group_in_order(
    server: Server, doubled: Grouped[int, int]
) -> None:
    await asyncio.gather(*map(doubled, [3, 1, 2]))
    assert server.groups == [[3, 1, 2]]


async def test_what_comes_while_a_group_is_under_way_is_the_next_group(
    server: Server, doubled: Grouped[int, int]
) -> None:
    server.hold_up()
    calls = [await begun(doubled(number)) for number in (1, 2, 3)]
    assert server.groups == [[1]]
    server.answer()
    await settled()
    assert server.groups == [[1], [2, 3]]
    server.answer()
    assert await ended(*calls) == [2, 4, 6]


async def test_a_group_has_at_most_so_many_items(server: Server) -> None:
    doubled = Grouped(server, most=2)
    assert await asyncio.gather(*map(doubled, range(5))) == [0, 2, 4, 6, 8]
    assert server.groups == [[0, 1], [2, 3], [4]]


async def test_the_first_item_of_a_quiet_time_goes_at_once(server: Server) -> None:
    doubled = Grouped(server, rest_seconds=3600)
    server.hold_up()
    await begun(doubled(1))
    assert server.groups == [[1]]
    await doubled.close()


async def test_a_first_answer_does_not_wait_for_the_rest(server: Server) -> None:
    doubled = Grouped(server, rest_seconds=3600)
    assert await asyncio.wait_for(doubled(1), 5) == 2
    await doubled.close()


async def test_groups_rest_between_their_beginnings(server: Server) -> None:
    doubled = Grouped(server, rest_seconds=0.05)
    for number in range(4):
        await doubled(number)
    pauses = [after - before for before, after in zip(server.times, server.times[1:], strict=False)]
    assert len(pauses) == 3
    # Timers may be early by the clock's resolution.
    assert all(pause > 0.045 for pause in pauses)
    await doubled.close()


async def test_a_group_that_took_longer_than_the_rest_is_followed_at_once(server: Server) -> None:
    doubled = Grouped(server, rest_seconds=0.02)
    server.hold_up()
    one, other = await begun(doubled(1)), await begun(doubled(2))
    await asyncio.sleep(0.03)
    server.answer()
    await settled()
    assert server.groups == [[1], [2]]
    server.answer()
    assert await ended(one, other) == [2, 4]
    await doubled.close()


async def test_what_comes_while_the_last_group_ends_is_not_forgotten(server: Server) -> None:
    """Whoever asks again in the very turn in which it was answered."""
    doubled = Grouped(server)

    async def count(number: int) -> None:
        for _ in range(50):
            assert await doubled(number) == 2 * number

    await asyncio.wait_for(asyncio.gather(*map(count, range(3))), 5)


@pytest.mark.parametrize("turns", range(8))
async def test_what_comes_at_any_turn_around_the_end_of_a_group_is_handled(
    server: Server, doubled: Grouped[int, int], turns: int
) -> None:
    first = asyncio.create_task(doubled(1))
    for _ in range(turns):
        await asyncio.sleep(0)
    assert await asyncio.wait_for(doubled(2), 5) == 4
    assert await first == 2


async def test_what_comes_in_the_rest_after_the_last_group_is_handled(server: Server) -> None:
    doubled = Grouped(server, rest_seconds=0.02)
    await doubled(1)
    async with asyncio.timeout(5):
        assert await asyncio.gather(*map(doubled, (2, 3))) == [4, 6]
    assert server.groups == [[1], [2, 3]]
    await doubled.close()


async def test_a_failure_for_one_item_is_raised_to_its_caller_alone(
    server: Server, doubled: Grouped[int, int]
) -> None:
    server.failures[2] = ValueError("two")
    results = await asyncio.gather(*map(doubled, (1, 2, 3)), return_exceptions=True)
    assert results == [2, server.failures[2], 6]


async def test_a_failure_of_the_group_is_raised_to_all_of_it_and_the_next_goes_on(
    server: Server, doubled: Grouped[int, int]
) -> None:
    server.broken = OSError("away")
    failed = await asyncio.gather(*map(doubled, (1, 2)), return_exceptions=True)
    assert failed == [server.broken, server.broken]
    server.broken = None
    assert await doubled(3) == 6


async def test_of_an_outage_each_caller_gets_an_error_of_its_own_with_the_one_cause(
    server: Server, doubled: Grouped[int, int]
) -> None:
    server.broken, cause = StoreUnavailableError(), OSError("away")
    server.broken.__cause__ = cause
    one, other = await asyncio.gather(*map(doubled, (1, 2)), return_exceptions=True)
    assert isinstance(one, StoreUnavailableError)
    assert isinstance(other, StoreUnavailableError)
    assert one is not other
    assert one.__cause__ is other.__cause__ is cause


async def test_too_few_results_fail_the_group_instead_of_leaving_callers_waiting() -> None:
    async def lose(numbers: Sequence[int]) -> Sequence[Outcome]:
        return list(numbers[1:])

    doubled = Grouped(lose)
    calls = await asyncio.wait_for(
        asyncio.gather(doubled(1), doubled(2), return_exceptions=True), 5
    )
    assert [type(call) for call in calls] == [RuntimeError, RuntimeError]


@pytest.mark.parametrize("turns", range(6))
async def test_a_caller_that_is_cancelled_does_not_hurt_the_others(
    server: Server, doubled: Grouped[int, int], turns: int
) -> None:
    calls = [asyncio.create_task(doubled(number)) for number in range(5)]
    for _ in range(turns):
        await asyncio.sleep(0)
    was_answered = calls[2].done()
    calls[2].cancel()
    results = await ended(*calls)
    assert [*results[:2], *results[3:]] == [0, 2, 6, 8]
    assert was_answered or isinstance(results[2], asyncio.CancelledError)
    assert await doubled(9) == 18


async def test_a_caller_that_is_cancelled_while_its_group_is_under_way_does_not_hurt_the_others(
    server: Server, doubled: Grouped[int, int]
) -> None:
    server.hold_up()
    one, other = asyncio.create_task(doubled(1)), asyncio.create_task(doubled(2))
    waiting = await begun(doubled(3))
    one.cancel()
    await settled()
    assert one.cancelled()
    server.answer()
    server.answer()
    assert await ended(other, waiting) == [4, 6]


async def test_a_failure_that_its_cancelled_caller_never_hears_of_is_not_reported_as_lost(
    server: Server,
) -> None:
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
    calls: list[asyncio.Task[int]] = []

    async def fail(numbers: Sequence[int]) -> Sequence[Outcome]:
        # Runs between the answer and the turn in which the caller would get it.
        asyncio.get_running_loop().call_soon(calls[0].cancel)
        return [ValueError("unheard")]

    calls.append(asyncio.create_task(Grouped(fail)(1)))
    assert isinstance((await ended(*calls))[0], asyncio.CancelledError)
    calls.clear()
    await settled()
    assert reports == []


@pytest.mark.parametrize("turns", range(6))
async def test_closing_refuses_who_waits_at_any_turn(server: Server, turns: int) -> None:
    doubled = Grouped(server, most=1)
    server.hold_up()
    calls = [asyncio.create_task(doubled(number)) for number in range(3)]
    await asyncio.sleep(0)  # They have asked.
    for _ in range(turns):
        await asyncio.sleep(0)
    await doubled.close()
    assert all(isinstance(result, StoreUnavailableError) for result in await ended(*calls))
    assert server.under_way == 0


async def test_closing_leaves_no_task_behind_even_in_a_long_rest(server: Server) -> None:
    before = asyncio.all_tasks()
    doubled = Grouped(server, rest_seconds=3600)
    await doubled(1)
    await doubled.close()
    assert asyncio.all_tasks() == before


async def test_closing_twice_or_what_was_never_used_does_nothing(
    doubled: Grouped[int, int],
) -> None:
    await doubled.close()
    await doubled.close()


async def test_whoever_comes_after_closing_starts_anew_and_never_waits_in_vain(
    server: Server, doubled: Grouped[int, int]
) -> None:
    await doubled(1)
    await doubled.close()
    server.broken = StoreUnavailableError()  # As a store that is closed says it.
    with pytest.raises(StoreUnavailableError):
        await asyncio.wait_for(doubled(2), 5)
    server.broken = None  # It was opened again.
    assert await asyncio.wait_for(doubled(3), 5) == 6


async def test_who_comes_while_it_is_closed_is_refused(
    server: Server, doubled: Grouped[int, int]
) -> None:
    server.hold_up()
    first = await begun(doubled(1))
    closing = await begun_once(doubled.close())
    second = await begun_once(doubled(2))
    assert not closing.done()
    assert {type(result) for result in await ended(first, second)} == {StoreUnavailableError}
    await closing
    assert server.groups == [[1]]


async def test_a_quiet_time_has_no_task(doubled: Grouped[int, int]) -> None:
    before = asyncio.all_tasks()
    await doubled(1)
    await settled()
    assert asyncio.all_tasks() == before


async def test_thousands_of_calls_are_few_groups(
    server: Server, doubled: Grouped[int, int]
) -> None:
    results = await asyncio.gather(*map(doubled, range(2_500)))
    assert results == list(range(0, 5_000, 2))
    assert [len(group) for group in server.groups] == [1_000, 1_000, 500]
