"""Calls at the same time, calls that are cancelled, and what is left when a store is closed."""

import asyncio
import threading
import uuid
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from graphql_app.errors import FencedError, MessageClearedError, MessageNotFoundError
from graphql_app.interfaces import Added, Slice, Store, Topic
from graphql_app.messages import Message, Status
from graphql_app.stores import open_store
from tests.contracts.scene import PATIENCE_SECONDS, Scene, shown
from tests.faults import leaking_nothing

T = TypeVar("T")

# Calls at the same time, which a store may put together


async def test_among_many_appends_those_that_are_refused_do_no_harm(
    scene: Scene, elsewhere: Scene
) -> None:
    ids = [f"m{number}" for number in range(20)]
    for id in ids:
        await scene.add(id)
    await elsewhere.stop("r-m3")
    await scene.add("other", conversation="c2", reply="r-m20")
    await scene.clear("c2")
    calls = [
        *(scene.append(f"r-{id}", 0, id) for id in ids),
        scene.append("r-m20", 0, "cleared"),
        scene.append("unknown", 0, "unknown"),
        scene.append("m1", 0, "a user's message"),
        elsewhere.append("r-m5", 0, "of another process"),
        scene.append("r-m6", 99, "beyond the end"),
    ]
    results = await asyncio.gather(*calls, return_exceptions=True)
    fenced = [number for number, result in enumerate(results) if isinstance(result, FencedError)]
    assert fenced == [3, 20, 21, 22, 23]
    assert isinstance(results[24], ValueError)
    assert [result for result in results if result is None] == [None] * 19
    for id in ids:
        assert (await scene.read(f"r-{id}")).text == ("" if id == "m3" else id)


async def test_among_many_reads_those_that_fail_do_no_harm(scene: Scene) -> None:
    await scene.add("gone", conversation="c2")
    await scene.clear("c2")
    for number in range(10):
        await scene.add(f"m{number}")
        await scene.append(f"r-m{number}", 0, f"Reply {number}")
    reads = [scene.read(f"r-m{number}", number) for number in range(10)]
    others = [scene.read(id) for id in ("r-gone", "gone", "unknown", "m1")]
    again = [scene.read("r-m1") for _ in range(3)]
    results = await asyncio.gather(*reads, *others, *again, return_exceptions=True)
    assert results[:10] == [
        Slice(min(number, 7), f"Reply {number}"[number:], 7, Status.STREAMING, None)
        for number in range(10)
    ]
    assert [type(result) for result in results[10:14]] == [
        MessageClearedError, MessageClearedError, MessageNotFoundError, MessageNotFoundError,
    ]  # fmt: skip
    assert results[14:] == [Slice(0, "Reply 1", 7, Status.STREAMING, None)] * 3


async def test_a_reply_that_ends_while_it_is_renewed_without_it_ends_once(scene: Scene) -> None:
    for number in range(20):
        reply = f"r-m{number}"
        await scene.add(f"m{number}")
        cursor = await scene.cursor()

        async def finish(turns: int = 2 * number, reply: str = reply) -> Message:
            for _ in range(turns):
                await asyncio.sleep(0)
            return await scene.finish(reply, text="One", at_offset=0)

        _, ended = await asyncio.gather(scene.renew(number=9), finish())
        assert ended.status.is_final
        assert ended == await scene.message(reply)
        assert len((await scene.events(cursor)).events) == 1


DELAYS = [0.0, 0.0005, 0.002, 0.01, 0.025]
"""Cancelled in the call's first turn, while it waits, while it is under way, and after it."""


async def cancelled(calls: Sequence[Coroutine[Any, Any, T]], after_seconds: float) -> list[T]:
    """Begins calls, cancels every other one after a while, and returns the others' results."""
    tasks = [asyncio.create_task(call) for call in calls]
    await asyncio.sleep(after_seconds)
    for task in tasks[1::2]:
        task.cancel()
    async with asyncio.timeout(PATIENCE_SECONDS):
        results = await asyncio.gather(*tasks[::2])
        await asyncio.wait(tasks)
    for task in tasks:
        assert task.cancelled() or task.exception() is None
    return results


@pytest.mark.parametrize("delay", DELAYS)
async def test_appends_that_are_cancelled_do_no_harm_and_may_be_repeated(
    scene: Scene, delay: float
) -> None:
    ids = [f"m{number}" for number in range(20)]
    await asyncio.gather(*map(scene.add, ids))
    for round in range(4):
        await cancelled([scene.append(f"r-{id}", 5 * round, f"{id:5}") for id in ids], delay)
        await asyncio.gather(*(scene.append(f"r-{id}", 5 * round, f"{id:5}") for id in ids))
    for id in ids:
        assert (await scene.read(f"r-{id}")).text == f"{id:5}" * 4


@pytest.mark.parametrize("delay", DELAYS)
async def test_reads_that_are_cancelled_leave_all_others_their_own_answers(
    scene: Scene, delay: float
) -> None:
    ids = [f"m{number}" for number in range(12)]
    for id in ids:
        await scene.add(id, conversation=id)
        await scene.append(f"r-{id}", 0, id)
    for _ in range(4):
        slices = await cancelled([scene.read(f"r-{id}") for id in ids], delay)
        assert [slice.text for slice in slices] == ids[::2]
        messages = await cancelled([scene.message(f"r-{id}") for id in ids], delay)
        assert [message.content for message in messages] == ids[::2]
        lists = await cancelled([scene.ids(id) for id in ids], delay)
        assert lists == [[id, f"r-{id}"] for id in ids[::2]]
        histories = await cancelled([scene.history(f"r-{id}") for id in ids], delay)
        assert histories == [[(id, "Hello")] for id in ids[::2]]
    for id in ids:
        assert (await scene.message(f"r-{id}")).content == id


@pytest.mark.parametrize("delay", DELAYS)
async def test_sends_that_are_cancelled_are_stored_whole_or_not_at_all(
    scene: Scene, delay: float
) -> None:
    ids = [f"m{number}" for number in range(20)]
    cursor = await scene.cursor()
    added = await cancelled([scene.add(id) for id in ids], delay)
    assert all(each.created for each in added)
    found = await scene.ids()
    assert found == [id for user in found[::2] for id in (user, f"r-{user}")]
    again = await asyncio.gather(*map(scene.add, ids))
    assert again == [Added(scene.ref(f"r-{id}"), created=True) for id in ids]
    assert len(await scene.ids()) == len(await scene.events_until_now(cursor)) == 40


@pytest.mark.parametrize("delay", DELAYS)
async def test_ends_and_clears_that_are_cancelled_may_be_repeated(
    scene: Scene, delay: float
) -> None:
    ids = [f"m{number}" for number in range(12)]
    for id in ids:
        await scene.add(id, conversation=id)
    cursors = [await scene.cursor(id) for id in ids]
    await cancelled([scene.finish(f"r-{id}", text=id, at_offset=0) for id in ids], delay)
    ended = await asyncio.gather(*(scene.finish(f"r-{id}", text=id, at_offset=0) for id in ids))
    assert [message.content for message in ended] == ids
    for id, cursor in zip(ids, cursors, strict=True):
        assert shown(await scene.events(cursor, id)) == [(f"r-{id}", Status.DONE, id)]
    assert await cancelled([scene.clear(id) for id in ids], delay) == [2] * 6
    assert set(await asyncio.gather(*map(scene.clear, ids))) <= {0, 2}
    assert await scene.conversations() == []


@pytest.mark.parametrize("delay", DELAYS)
async def test_renewals_and_sweeps_that_are_cancelled_do_no_harm(
    scene: Scene, delay: float
) -> None:
    await scene.add("m1")
    for number in range(5):
        await cancelled([scene.renew("r-m1", number=number) for _ in range(4)], delay)
        await cancelled([scene.store.sweep() for _ in range(4)], delay)
    assert await scene.renew("r-m1", number=9) == set()
    await scene.append("r-m1", 0, "One")
    await scene.store.ping()


# What is left


async def use(store: Store) -> None:
    """A short life of a store, with each kind of call."""
    await store.open()
    await store.ping()
    scene = Scene(store, f"owner-{uuid.uuid4().hex}", await store.register(3600))
    await scene.add("m1")
    topics: list[Topic] = [scene.ref("r-m1"), scene.conversation(), scene.lease]
    unwatch = [store.watch(topic, lambda: None) for topic in topics]
    await asyncio.gather(*(scene.add(f"n{number}") for number in range(20)))
    await asyncio.gather(*(scene.append(f"r-n{number}", 0, "One") for number in range(20)))
    await asyncio.gather(*(scene.read(f"r-n{number}") for number in range(20)))
    await scene.history("r-n1")
    await scene.renew("r-m1")
    await store.sweep()
    await scene.finish("r-m1")
    await scene.events()
    unwatch[0]()
    await scene.clear()
    await store.close()


def open_files() -> int:
    """How many files and connections this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def no_more_open_than(files: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while open_files() > files:  # noqa: ASYNC110 (connections take a moment to close)
            await asyncio.sleep(0.01)


async def test_no_task_thread_or_connection_is_left_after_closing(url: str) -> None:
    await use(open_store(url))  # What is only loaded once does not count.
    files, threads, tasks = open_files(), set(threading.enumerate()), asyncio.all_tasks()
    await use(open_store(url))
    assert asyncio.all_tasks() == tasks
    # The loop has threads of its own, for looking up names.
    left = {each for each in threading.enumerate() if not each.name.startswith("asyncio_")}
    assert left <= threads
    await no_more_open_than(files)


@pytest.mark.parametrize("delay", DELAYS)
async def test_closing_ends_the_calls_that_are_under_way(url: str, delay: float) -> None:
    await use(open_store(url))
    files = open_files()
    with leaking_nothing():
        store = open_store(url)
        await store.open()
        scene = Scene(store, f"owner-{uuid.uuid4().hex}", await store.register(3600))
        ids = [f"m{number}" for number in range(10)]
        await asyncio.gather(*map(scene.add, ids))
        calls: list[Coroutine[Any, Any, object]] = [
            *(scene.append(f"r-{id}", 0, id) for id in ids),
            *(scene.read(f"r-{id}") for id in ids),
            *(scene.add(f"other-{id}") for id in ids),
            *(scene.finish(f"r-{id}") for id in ids),
            *(scene.message(id) for id in ids),
            *(scene.events() for _ in ids),
        ]
        tasks = [asyncio.create_task(call) for call in calls]
        await asyncio.sleep(delay)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await store.close()
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.exception()  # A call may fail in any way; it must not hang.
    await no_more_open_than(files)
