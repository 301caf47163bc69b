"""What two processes may rely on that share a store, each with a store of its own that is open."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from graphql_app.errors import (
    FencedError,
    MessageClearedError,
    MessageIdConflictError,
    MessageNotFoundError,
)
from graphql_app.follower import Audiences
from graphql_app.interfaces import Added, Slice
from graphql_app.messages import (
    Message,
    MessageChanged,
    ReplyError,
    ReplyErrorCode,
    Status,
)
from tests.chats import Client
from tests.contracts.scene import PATIENCE_SECONDS, Alarm, Scene, swept

FAILED = ReplyError(ReplyErrorCode.COMPLETION_FAILED, "It broke off.")

LAG_SECONDS = 2.0
"""The most that a follower may be late on a loaded machine; well under a store's safety net."""


@asynccontextmanager
async def following(scene: Scene, reply: str) -> AsyncIterator[Client]:
    client = Client(Audiences(scene.store).follow(scene.ref(reply), 0))
    yield client
    await client.leave()


async def chunks_until(client: Client, content: str) -> None:
    async with asyncio.timeout(LAG_SECONDS):
        await client.until(content)


# What is written is there for all.


async def test_what_one_process_wrote_the_other_reads_at_once(
    scene: Scene, other_process: Scene
) -> None:
    await scene.add("m1", "Hello")
    await scene.add("m2", "Again", conversation="c2")
    for at_offset, end in ((0, 3), (3, 6), (6, 9)):
        await scene.append("r-m1", at_offset, "日😀")
        assert await other_process.read("r-m1", at_offset) == Slice(
            at_offset, "日😀", end, Status.STREAMING, None
        )
    assert await other_process.history("r-m1") == [("m1", "Hello")]
    for finished in (False, True):
        if finished:
            await scene.finish("r-m1", Status.ERROR, text="!", at_offset=9, error=FAILED)
        for id in ("m1", "r-m1", "m2", "r-m2"):
            assert await other_process.message(id) == await scene.message(id)
        for conversation in ("c1", "c2"):
            ref = scene.conversation(conversation)
            here = await scene.store.messages(ref, 10, None)
            assert await other_process.store.messages(ref, 10, None) == here
            assert len(here) == 2
        here_used = await scene.store.conversations(scene.owner, 10)
        assert await other_process.store.conversations(scene.owner, 10) == here_used
    assert await other_process.conversations() == ["c1", "c2"]
    assert await other_process.store.newest_reply(scene.ref("m1")) == scene.ref("r-m1")


async def test_a_process_that_starts_later_finds_all_of_it(
    scene: Scene, other_process: Scene
) -> None:
    await scene.add("m1")
    await scene.append("r-m1", 0, "One")
    await scene.add("m2")
    await scene.finish("r-m2", text="Two", at_offset=0)
    await other_process.store.close()
    await other_process.store.open()
    assert await other_process.ids() == ["m1", "r-m1", "m2", "r-m2"]
    assert await other_process.read("r-m1") == Slice(0, "One", 3, Status.STREAMING, None)
    assert await other_process.read("r-m2") == Slice(0, "Two", 3, Status.DONE, None)


# Sending the same at both.


async def test_sends_at_both_at_the_same_moment_make_one_reply(
    scene: Scene, other_process: Scene
) -> None:
    for number in range(10):
        id = f"m{number}"
        many = await asyncio.gather(
            *(scene.add(id, reply=f"a{number}-{each}") for each in range(3)),
            *(other_process.add(id, reply=f"b{number}-{each}") for each in range(3)),
        )
        assert sum(added.created for added in many) == 1
        [reply] = {added.reply.id for added in many}
        assert (await other_process.ids())[-2:] == [id, reply]
    assert len(await scene.ids()) == 20


async def test_of_two_that_use_one_id_for_different_things_one_wins(
    scene: Scene, other_process: Scene
) -> None:
    for number in range(10):
        id = f"m{number}"
        one, other = await asyncio.gather(
            scene.add(id, "Hello", reply=f"a{number}"),
            other_process.add(id, "Goodbye", reply=f"b{number}"),
            return_exceptions=True,
        )
        won, lost = (one, other) if isinstance(one, Added) else (other, one)
        assert isinstance(won, Added)
        assert won.created
        assert isinstance(lost, MessageIdConflictError)
        content = (await scene.message(id)).content
        assert content == ("Hello" if won is one else "Goodbye")
    assert len(await scene.ids()) == 20


async def test_one_id_in_two_conversations_at_the_same_moment_is_stored_in_one(
    scene: Scene, other_process: Scene
) -> None:
    for number in range(10):
        one, other = await asyncio.gather(
            scene.add(f"m{number}", conversation="c1", reply=f"a{number}"),
            other_process.add(f"m{number}", conversation="c2", reply=f"b{number}"),
            return_exceptions=True,
        )
        assert {type(one), type(other)} == {Added, MessageIdConflictError}
    assert len(await scene.ids("c1")) + len(await scene.ids("c2")) == 20


async def test_many_that_send_into_one_conversation_agree_on_the_order(
    scene: Scene, other_process: Scene
) -> None:
    await asyncio.gather(
        *(scene.add(f"a{number}") for number in range(15)),
        *(other_process.add(f"b{number}") for number in range(15)),
    )
    messages = await scene.store.messages(scene.conversation(), 1_000, None)
    assert await other_process.store.messages(scene.conversation(), 1_000, None) == messages
    assert [message.reply_to_id for message in messages[1::2]] == [
        message.id for message in messages[::2]
    ]
    times = [message.created_at for message in messages]
    assert times == sorted(set(times))


# Following.


async def test_a_follower_in_another_process_gets_each_piece_in_time(
    scene: Scene, other_process: Scene
) -> None:
    await scene.add("m1")
    async with following(other_process, "r-m1") as client:
        await chunks_until(client, "")
        text = ""
        for piece in ("One", " 日", "😀", "\n", "e\u0301", " end"):
            await scene.append("r-m1", len(text.encode("utf-16-le")) // 2, piece)
            text += piece
            await chunks_until(client, text)
        await scene.finish("r-m1")
        async with asyncio.timeout(LAG_SECONDS):
            assert (await client.until_end()).status is Status.DONE
        assert client.content == text


async def test_a_follower_in_another_process_of_a_reply_that_grows_fast_misses_nothing(
    scene: Scene, other_process: Scene
) -> None:
    await scene.add("m1")
    async with following(other_process, "r-m1") as client:
        reading = asyncio.create_task(client.until_end())
        for at_offset in range(0, 500, 5):
            await scene.append("r-m1", at_offset, f"{at_offset:4} ")
        await scene.finish("r-m1", text="end", at_offset=500)
        async with asyncio.timeout(LAG_SECONDS):
            await reading
        assert client.content == "".join(f"{number:4} " for number in range(0, 500, 5)) + "end"


async def test_a_follower_in_another_process_hears_of_the_end_whoever_wrote_it(
    scene: Scene, other_process: Scene
) -> None:
    for id, end in (("m1", scene), ("m2", other_process)):
        await scene.add(id)
        await scene.append(f"r-{id}", 0, "One")
        async with (
            following(scene, f"r-{id}") as here,
            following(other_process, f"r-{id}") as there,
        ):
            for client in (here, there):
                await chunks_until(client, "One")
            await end.stop(f"r-{id}")
            for client in (here, there):
                async with asyncio.timeout(LAG_SECONDS):
                    assert (await client.until_end()).status is Status.STOPPED


async def test_a_follower_in_another_process_hears_of_a_clear(
    scene: Scene, other_process: Scene
) -> None:
    await scene.add("m1")
    async with following(other_process, "r-m1") as client:
        await client.next()
        await scene.clear()
        with pytest.raises(MessageClearedError):
            async with asyncio.timeout(LAG_SECONDS):
                await client.next()


@pytest.fixture
def told(other_process: Scene) -> Scene:
    """The other process, whose store tells every change."""
    if other_process.store.poll_seconds < 1:
        pytest.skip("this store's readers look for themselves, and wake-ups may be missing")
    return other_process


async def test_watchers_in_another_process_are_woken(scene: Scene, told: Scene) -> None:
    await scene.add("m1")
    reply, conversation = (
        Alarm(told.store, topic) for topic in (scene.ref("r-m1"), scene.conversation())
    )
    await reply.falls_silent()
    for at_offset in range(5):
        await scene.append("r-m1", at_offset, "x")
        await reply.rings_next()
        reply.forget()
    await conversation.falls_silent()
    await scene.finish("r-m1")
    await reply.rings_next()
    await conversation.rings_next()
    await reply.falls_silent()
    await conversation.falls_silent()
    await scene.clear()
    await reply.rings_next()
    await conversation.rings_next()


async def test_of_many_replies_each_watcher_in_another_process_is_woken(
    scene: Scene, told: Scene
) -> None:
    ids = [f"m{number}" for number in range(100)]
    await asyncio.gather(*map(scene.add, ids))
    alarms = [Alarm(told.store, scene.ref(f"r-{id}")) for id in ids]
    await alarms[0].falls_silent()
    for alarm in alarms:
        alarm.forget()
    await asyncio.gather(*(scene.append(f"r-{id}", 0, "One") for id in ids))
    async with asyncio.timeout(PATIENCE_SECONDS):
        for alarm in alarms:
            await alarm.rings_next()


# Stopping and clearing from anywhere.


async def test_a_stop_in_another_process_fences_the_producer_and_wakes_it(
    scene: Scene, told: Scene
) -> None:
    await scene.add("m1")
    await scene.append("r-m1", 0, "One")
    producer = Alarm(scene.store, scene.lease)
    await producer.falls_silent()
    stopped = await told.stop("r-m1")
    assert (stopped.status, stopped.content) == (Status.STOPPED, "One")
    await producer.rings_next()
    assert await scene.renew("r-m1") == {"r-m1"}
    with pytest.raises(FencedError):
        await scene.append("r-m1", 3, " two")
    assert await scene.finish("r-m1", text=" two", at_offset=3) == stopped
    assert await scene.message("r-m1") == stopped


async def test_a_clear_in_another_process_fences_the_producer_and_wakes_it(
    scene: Scene, told: Scene
) -> None:
    await scene.add("m1")
    await scene.append("r-m1", 0, "One")
    producer = Alarm(scene.store, scene.lease)
    await producer.falls_silent()
    assert await told.clear() == 2
    await producer.rings_next()
    assert await scene.renew("r-m1") == {"r-m1"}
    with pytest.raises(FencedError):
        await scene.append("r-m1", 3, " two")
    with pytest.raises(MessageClearedError):
        await scene.finish("r-m1", text=" two", at_offset=3)
    with pytest.raises(MessageClearedError):
        await scene.read("r-m1")
    with pytest.raises(MessageClearedError):
        await scene.add("m1", reply="other")
    assert await scene.ids() == []
    assert await scene.conversations() == []


async def test_a_stop_cuts_a_reply_that_grows_exactly_where_its_producer_was_refused(
    scene: Scene, other_process: Scene
) -> None:
    for id in ("m1", "m2", "m3"):
        await scene.add(id)

        async def write(reply: str = f"r-{id}") -> str:
            for at_offset in itertools.count(step=5):
                try:
                    await scene.append(reply, at_offset, f"{at_offset:4} ")
                except FencedError:
                    break
            return "".join(f"{number:4} " for number in range(0, at_offset, 5))

        writing = asyncio.create_task(write())
        async with asyncio.timeout(PATIENCE_SECONDS):
            await other_process.has_grown(f"r-{id}", 50)
            stopped = await other_process.stop(f"r-{id}")
            assert stopped.content == await writing
        assert await scene.message(f"r-{id}") == stopped


async def test_of_ends_at_both_at_the_same_moment_one_wins(
    scene: Scene, other_process: Scene
) -> None:
    for number in range(10):
        await scene.add(f"m{number}")
        cursor = await other_process.cursor()
        ended = await asyncio.gather(
            scene.finish(f"r-m{number}", text="One", at_offset=0),
            other_process.stop(f"r-m{number}"),
            scene.stop(f"r-m{number}"),
            other_process.stop(f"r-m{number}"),
        )
        assert len(set(ended)) == 1
        assert await other_process.message(f"r-m{number}") == ended[0]
        assert len(await other_process.events_until_now(cursor)) == 1


async def test_of_clears_at_both_at_the_same_moment_each_message_is_counted_once(
    scene: Scene, other_process: Scene
) -> None:
    for number in range(10):
        await scene.add(f"m{number}")
        counts = await asyncio.gather(
            scene.clear(), other_process.clear(), scene.clear(), other_process.clear()
        )
        assert sorted(counts) == [0, 0, 0, 2]


async def test_a_clear_beside_sends_takes_whole_exchanges_and_counts_each_once(
    scene: Scene, other_process: Scene
) -> None:
    cleared = 0
    for number in range(20):
        _, _, count = await asyncio.gather(
            scene.add(f"a{number}"), other_process.add(f"b{number}"), other_process.clear()
        )
        cleared += count
        messages = await scene.store.messages(scene.conversation(), 1_000, None)
        left = [message.id for message in messages]
        assert left == [id for user in left[::2] for id in (user, f"r-{user}")]
        for user in (f"a{number}", f"b{number}"):
            if user not in left:
                with pytest.raises(MessageClearedError):
                    await other_process.add(user)
                with pytest.raises(MessageClearedError):
                    await scene.read(f"r-{user}")
    assert cleared + await scene.clear() == 80


async def test_a_clear_beside_a_reply_that_grows_leaves_nothing_of_it(
    scene: Scene, other_process: Scene
) -> None:
    for number in range(5):
        await scene.add(f"m{number}")

        async def write(reply: str = f"r-m{number}") -> None:
            with suppress(FencedError):
                for at_offset in itertools.count():
                    await scene.append(reply, at_offset, "x")

        writing = asyncio.create_task(write())
        async with asyncio.timeout(PATIENCE_SECONDS):
            await other_process.has_grown(f"r-m{number}", 5)
            assert await other_process.clear() == 2
            await writing
        for process in (scene, other_process):
            assert await process.ids() == []
            assert await process.store.message(scene.ref(f"r-m{number}")) is None
            with pytest.raises(MessageClearedError):
                await process.read(f"r-m{number}")
            with pytest.raises(MessageNotFoundError):
                await process.store.newest_reply(scene.ref(f"r-m{number}"))


# Events.


async def test_windows_of_both_see_the_same_events_in_the_same_order_while_both_write(
    scene: Scene, other_process: Scene
) -> None:
    begin = await scene.cursor()

    async def write(process: Scene, name: str, ends: Scene) -> None:
        for number in range(15):
            id = f"{name}{number}"
            await process.add(id)
            if number % 3:
                await process.finish(f"r-{id}", text=id, at_offset=0)
            else:
                await ends.stop(f"r-{id}")

    async def watch(process: Scene) -> list[MessageChanged]:
        seen: list[MessageChanged] = []
        cursor = begin
        while True:
            all_is_written = writing.done()
            events = await process.events(cursor)
            for event in events.events:
                assert isinstance(event, MessageChanged)
                seen.append(event)
            cursor = events.cursor
            if all_is_written and not events.events:
                return seen
            await asyncio.sleep(0)

    writing = asyncio.gather(
        write(scene, "a", other_process),
        write(scene, "b", other_process),
        write(other_process, "c", scene),
        write(other_process, "d", scene),
    )
    async with asyncio.timeout(3 * PATIENCE_SECONDS):
        here, there, _ = await asyncio.gather(watch(scene), watch(other_process), writing)
    assert here == there
    changes: dict[str, list[Message]] = {}
    for event in here:
        changes.setdefault(event.message.id, []).append(event.message)
    assert list(changes) == await scene.ids(), "messages are announced in the order of the list"
    for id, shown in changes.items():
        statuses = [message.status for message in shown]
        if id.startswith("r-"):
            assert statuses == [Status.STREAMING, (await scene.message(id)).status]
        else:
            assert statuses == [Status.DONE]
        assert shown[-1] == await other_process.message(id)


async def test_windows_of_both_end_in_step_while_one_writes_and_the_other_clears(
    scene: Scene, other_process: Scene
) -> None:
    async def write() -> None:
        for number in range(40):
            await scene.add(f"m{number}")
            with suppress(FencedError, MessageClearedError):
                await scene.append(f"r-m{number}", 0, "One")
                await scene.finish(f"r-m{number}")

    async def clear() -> None:
        while not writing.done():
            await asyncio.sleep(0.005)
            await other_process.clear()

    async def watch(process: Scene) -> dict[str, Message]:
        window: dict[str, Message] = {}
        cursor: int | None = None
        while True:
            all_is_written = acting.done()
            events = await process.events(cursor)
            for event in events.events:
                if isinstance(event, MessageChanged):
                    older = window.get(event.message.id)
                    assert older is None or not older.status.is_final, "an old event"
                    window[event.message.id] = event.message
                else:
                    window = {message.id: message for message in event.messages}
            cursor = events.cursor
            if all_is_written and not events.events:
                return window
            await asyncio.sleep(0)

    writing = asyncio.create_task(write())
    acting = asyncio.gather(writing, clear())
    async with asyncio.timeout(3 * PATIENCE_SECONDS):
        here, there, _ = await asyncio.gather(watch(scene), watch(other_process), acting)
    await scene.add("last")
    await other_process.clear()
    assert here == there


# Leases.


async def test_registrations_at_both_at_the_same_moment_are_different_leases(
    scene: Scene, other_process: Scene
) -> None:
    leases = await asyncio.gather(
        *(process.store.register(3600) for process in (scene, other_process) for _ in range(5))
    )
    assert len({*leases, scene.lease, other_process.lease}) == 12


async def test_a_renewal_in_one_process_touches_no_reply_of_the_other(
    scene: Scene, other_process: Scene
) -> None:
    await scene.add("m1")
    await other_process.add("m2")
    assert await other_process.renew(number=9) == set()
    assert (await scene.message("r-m1")).status is Status.STREAMING
    assert (await scene.message("r-m2")).status is Status.ERROR
    assert await scene.renew("r-m1", number=9) == set()
    await scene.append("r-m1", 0, "One")


async def test_renewals_at_the_same_moment_keep_both_processes_replies(
    scene: Scene, other_process: Scene
) -> None:
    await scene.add("m1")
    await other_process.add("m2")
    for number in range(10):
        one, other, *_ = await asyncio.gather(
            scene.renew("r-m1", number=number),
            other_process.renew("r-m2", number=number),
            scene.store.sweep(),
            other_process.store.sweep(),
        )
        assert one == other == set()
    await scene.append("r-m1", 0, "One")
    await other_process.append("r-m2", 0, "Two")


async def test_a_process_cannot_renew_for_the_other(scene: Scene, other_process: Scene) -> None:
    await scene.add("m1")
    assert await other_process.renew("r-m1") == {"r-m1"}
    assert (await scene.message("r-m1")).status is Status.STREAMING
    await scene.append("r-m1", 0, "One")


async def test_a_sweep_in_another_process_ends_what_streams_and_tells_all(
    scene: Scene, told: Scene, short_lived: Scene
) -> None:
    await scene.add("m0")
    await short_lived.add("m1")
    await short_lived.append("r-m1", 0, "One")
    cursor = await told.cursor()
    alarms = [
        Alarm(process.store, topic)
        for process in (scene, told)
        for topic in (scene.ref("r-m1"), scene.conversation())
    ]
    for alarm in alarms:
        await alarm.falls_silent()
    assert await swept(told.store) == 1
    for alarm in alarms:
        await alarm.rings_next()
    for process in (scene, told):
        lost = await process.message("r-m1")
        assert (lost.status, lost.content) == (Status.ERROR, "One")
        assert lost.error is not None
        assert lost.error.code is ReplyErrorCode.PRODUCER_LOST
        assert (await process.message("r-m0")).status is Status.STREAMING
        assert await process.events_until_now(cursor) == [("r-m1", Status.ERROR, "One")]
    await scene.append("r-m0", 0, "One")


async def test_a_process_that_another_swept_writes_nothing_more(
    scene: Scene, other_process: Scene, short_lived: Scene
) -> None:
    await short_lived.add("m1")
    await short_lived.append("r-m1", 0, "One")
    await swept(other_process.store)
    with pytest.raises(FencedError):
        await short_lived.append("r-m1", 3, " late")
    with pytest.raises(FencedError):
        await short_lived.append("r-m1", 0, "One")
    with pytest.raises(FencedError):
        await short_lived.add("m2")
    with pytest.raises(FencedError):
        await short_lived.renew("r-m1")
    with pytest.raises(FencedError):
        await short_lived.renew()
    with pytest.raises(FencedError):
        await short_lived.history("r-m1")
    ended = await short_lived.finish("r-m1", text=" late", at_offset=3)
    assert (ended.status, ended.content) == (Status.ERROR, "One")
    assert await other_process.message("r-m1") == ended
    assert await other_process.ids() == ["m1", "r-m1"]


async def test_a_lease_that_is_swept_is_over_for_all_its_replies_at_once(
    scene: Scene, other_process: Scene, short_lived: Scene
) -> None:
    """However many they are: once a write is refused, all later ones are."""
    ids = [f"m{number}" for number in range(250)]
    await asyncio.gather(*map(short_lived.add, ids))
    refused_at: list[float] = []
    loop = asyncio.get_running_loop()

    async def write(reply: str) -> None:
        for at_offset in itertools.count():
            began = loop.time()
            try:
                await short_lived.append(reply, at_offset, "x")
            except FencedError:
                refused_at.append(loop.time())
                return
            assert not refused_at or began < min(refused_at)

    async def sweep() -> int:
        ended = 0
        while not refused_at or ended < len(ids):
            ended += await other_process.store.sweep()
        return ended

    async with asyncio.timeout(3 * PATIENCE_SECONDS):
        ended, *_ = await asyncio.gather(sweep(), *(write(f"r-{id}") for id in ids[::10]))
    assert ended == len(ids)
    replies = (await scene.store.messages(scene.conversation(), 1_000, None))[1::2]
    assert {reply.status for reply in replies} == {Status.ERROR}


async def test_a_reply_that_ends_while_its_lease_is_swept_ends_once(
    scene: Scene, other_process: Scene, short_lived: Scene
) -> None:
    ids = [f"m{number}" for number in range(20)]
    await asyncio.gather(*map(short_lived.add, ids))
    cursor = await scene.cursor()
    await asyncio.sleep(0.25)  # The lease runs out.
    _, *results = await asyncio.gather(
        other_process.store.sweep(),
        *(short_lived.finish(f"r-{id}", text="One", at_offset=0) for id in ids[::2]),
        *(scene.stop(f"r-{id}") for id in ids[1::2]),
        return_exceptions=True,
    )
    for id, result in zip([*ids[::2], *ids[1::2]], results, strict=True):
        reply = await other_process.message(f"r-{id}")
        assert reply.status.is_final
        assert isinstance(result, FencedError) or result == reply
    assert len(await other_process.events_until_now(cursor)) == 20


async def test_a_process_that_was_swept_may_join_what_it_sent_but_send_nothing(
    other_process: Scene, short_lived: Scene
) -> None:
    await short_lived.add("m1")
    await swept(other_process.store)
    joined = await other_process.add("m1", reply="other")
    assert joined == Added(other_process.ref("r-m1"), created=False)


async def test_of_sweeps_at_the_same_moment_each_reply_is_counted_once(
    scene: Scene, other_process: Scene, short_lived: Scene
) -> None:
    await asyncio.gather(*(short_lived.add(f"m{number}") for number in range(10)))
    counts: list[int] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not any(counts):
            await asyncio.sleep(0.02)
            counts += await asyncio.gather(
                *(process.store.sweep() for process in (scene, other_process, scene))
            )
    assert sum(counts) == 10
    assert await scene.store.sweep() == await other_process.store.sweep() == 0


async def test_a_lease_that_ran_out_can_be_renewed_until_it_is_swept(
    scene: Scene, other_process: Scene
) -> None:
    late = Scene(scene.store, scene.owner, await scene.store.register(0.5))
    await late.add("m1")
    await asyncio.sleep(0.6)
    assert await late.renew("r-m1") == set()
    await other_process.store.sweep()
    await late.append("r-m1", 0, "One")
    assert (await other_process.message("r-m1")).status is Status.STREAMING
    await late.finish("r-m1")


async def test_a_reply_that_is_added_while_its_lease_is_swept_ends_by_a_sweep(
    scene: Scene, other_process: Scene
) -> None:
    """It must not stream for ever under a lease that nobody will ever sweep again."""
    for attempt in range(3):
        late = Scene(scene.store, scene.owner, await scene.store.register(0.1))

        async def add(late: Scene = late, attempt: int = attempt) -> None:
            for number in itertools.count():
                await late.add(f"m{attempt}-{number}")

        adding = [asyncio.create_task(add(late, number)) for number in (attempt, 10 + attempt)]
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not all(each.done() for each in adding):
                await other_process.store.sweep()
        for each in adding:
            assert isinstance(each.exception(), FencedError)
    await other_process.store.sweep()
    replies = (await scene.store.messages(scene.conversation(), 100_000, None))[1::2]
    assert replies
    assert {reply.status for reply in replies} == {Status.ERROR}


async def test_a_process_that_registers_anew_leaves_what_it_had_to_the_sweep(
    scene: Scene, other_process: Scene, short_lived: Scene
) -> None:
    await short_lived.add("m1")
    anew = Scene(scene.store, scene.owner, await scene.store.register(3600))
    assert await anew.renew("r-m1") == {"r-m1"}
    with pytest.raises(FencedError):
        await anew.append("r-m1", 0, "One")
    assert await swept(other_process.store) == 1
    assert (await anew.message("r-m1")).status is Status.ERROR
    assert (await anew.add("m2")).created


# Writes whose answers were lost, tried again through another connection.


async def test_a_write_that_is_repeated_through_another_connection_is_written_once(
    scene: Scene, other_process: Scene
) -> None:
    again = Scene(other_process.store, scene.owner, scene.lease)
    cursor = await scene.cursor()
    for number in range(5):
        id, reply = f"m{number}", f"r-m{number}"
        added, added_again = await asyncio.gather(scene.add(id), again.add(id))
        assert added == added_again == Added(scene.ref(reply), created=True)
        await asyncio.gather(scene.append(reply, 0, "One"), again.append(reply, 0, "One"))
        await asyncio.gather(scene.append(reply, 3, "😀"), again.append(reply, 3, "😀"))
        one, other = await asyncio.gather(
            scene.finish(reply, text="!", at_offset=5), again.finish(reply, text="!", at_offset=5)
        )
        assert one == other == await scene.message(reply)
        assert one.content == "One😀!"
    assert len(await again.events_until_now(cursor)) == 15


def test_both_processes_say_that_the_store_is_shared(scene: Scene, other_process: Scene) -> None:
    assert scene.store.shared
    assert other_process.store.shared
    assert scene.store is not other_process.store
