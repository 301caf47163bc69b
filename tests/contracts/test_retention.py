"""Replies that are kept for a time after their end (`?ttl=`), and are then gone for good."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest

from graphql_app.errors import FencedError, MessageClearedError, MessageNotFoundError
from graphql_app.messages import MessagesReset, ReplyError, ReplyErrorCode, Status
from graphql_app.stores import open_store
from tests.contracts.scene import PATIENCE_SECONDS, Alarm, Scene, reset_of, shown
from tests.faults import leaking_nothing

KEPT_SECONDS = 1.0

FAILED = ReplyError(ReplyErrorCode.COMPLETION_FAILED, "It broke off.")


@pytest.fixture
async def expiring(expiring_url: str) -> AsyncIterator[Scene]:
    """A process whose store keeps replies for a second."""
    with leaking_nothing():
        store = open_store(expiring_url)
        await store.open()
        yield Scene(store, f"owner-{uuid.uuid4().hex}", await store.register(3600))
        await store.close()


async def gone(scene: Scene, *replies: str) -> None:
    """Sweeps until replies that have ended are gone."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        for reply in replies:
            while await scene.store.message(scene.ref(reply)) is not None:
                await asyncio.sleep(0.05)
                assert await scene.store.sweep() == 0, "a sweep counts what it ends as lost"


async def test_a_reply_and_its_message_are_gone_together_after_their_time(expiring: Scene) -> None:
    for id, end in (("m1", Status.DONE), ("m2", Status.STOPPED), ("m3", Status.ERROR)):
        await expiring.add(id, "Hello", conversation="c1")
        await expiring.append(f"r-{id}", 0, "One")
        error = FAILED if end is Status.ERROR else None
        await expiring.finish(f"r-{id}", end, error=error)
    await expiring.add("m4", conversation="c2")
    await expiring.stop("r-m4")
    everything = [f"{kind}m{number}" for kind in ("", "r-") for number in range(1, 5)]
    await gone(expiring, "r-m1", "r-m2", "r-m3", "r-m4")
    for id in everything:
        assert await expiring.store.message(expiring.ref(id)) is None
        with pytest.raises(MessageNotFoundError):
            await expiring.store.newest_reply(expiring.ref(id))
        with pytest.raises(MessageNotFoundError):
            await expiring.ids(before=id)
        for content in ("Hello", "Other"):
            with pytest.raises(MessageClearedError, match=id):
                await expiring.add(id, content, reply=f"new-{id}")
            with pytest.raises(MessageClearedError, match=id):
                await expiring.add(id, content, reply=f"new-{id}", conversation="c9")
    for number in range(1, 5):
        reply = f"r-m{number}"
        with pytest.raises(MessageClearedError, match=reply):
            await expiring.read(reply)
        with pytest.raises(MessageClearedError, match=reply):
            await expiring.history(reply)
        with pytest.raises(MessageClearedError, match=reply):
            await expiring.stop(reply)
        with pytest.raises(MessageClearedError, match=reply):
            await expiring.finish(reply, text="One", at_offset=0)
        with pytest.raises(FencedError):
            await expiring.append(reply, 0, "One")
    for conversation in ("c1", "c2", "c9"):
        assert await expiring.ids(conversation) == []
        assert await expiring.clear(conversation) == 0
    assert await expiring.conversations() == []
    assert await expiring.renew("r-m1") == {"r-m1"}
    assert (await expiring.add("m5", conversation="c1")).created
    assert await expiring.history("r-m5") == [("m5", "Hello")]


async def test_a_reply_is_kept_for_its_time(expiring: Scene) -> None:
    loop = asyncio.get_running_loop()
    await expiring.add("m1")
    before_the_end = loop.time()
    await expiring.finish("r-m1", text="One", at_offset=0)
    await expiring.store.sweep()
    found = await expiring.ids()
    # A machine that is so slow proves nothing.
    assert found == ["m1", "r-m1"] or loop.time() > before_the_end + KEPT_SECONDS


async def test_what_streams_or_is_younger_stays_and_is_in_order_around_the_gap(
    expiring: Scene,
) -> None:
    await expiring.add("m1", "One")
    await expiring.append("r-m1", 0, "Strea")
    await expiring.add("m2", "Two")
    await expiring.add("m3", "Three")
    await expiring.add("other", conversation="c2")
    await expiring.finish("r-m2", text="Expires", at_offset=0)
    await expiring.add("newest", conversation="c2")
    await gone(expiring, "r-m2")
    assert await expiring.ids() == ["m1", "r-m1", "m3", "r-m3"]
    assert await expiring.ids(last=1, before="m3") == ["r-m1"]
    assert await expiring.ids(last=2, before="r-m3") == ["r-m1", "m3"]
    assert await expiring.ids(last=3) == ["r-m1", "m3", "r-m3"]
    with pytest.raises(MessageNotFoundError):
        await expiring.ids(before="m2")
    assert await expiring.history("r-m3") == [("m1", "One"), ("r-m1", "Strea"), ("m3", "Three")]
    await expiring.append("r-m1", 5, "ming")
    await expiring.add("m4", "Four")
    assert await expiring.ids(last=4) == ["m3", "r-m3", "m4", "r-m4"]
    assert [content for _, content in await expiring.history("r-m4")] == [
        "One", "Streaming", "Three", "Four",
    ]  # fmt: skip
    times = [
        message.created_at
        for message in await expiring.store.messages(expiring.conversation(), 10, None)
    ]
    assert times == sorted(set(times))
    assert await expiring.conversations() == ["c1", "c2"]
    assert await expiring.clear() == 6
    assert await expiring.clear() == 0
    assert await expiring.conversations() == ["c2"]


async def test_a_replaced_reply_expires_alone_without_an_event_and_the_newest_takes_all_with_it(
    expiring: Scene,
) -> None:
    await expiring.answered("m1", "n1")
    await expiring.add_reply("n2", "m1")
    await expiring.append("n2", 0, "Streaming")
    await expiring.answered("m2", conversation="c2")
    cursor = await expiring.cursor()
    await gone(expiring, "r-m1", "n1", "m2")
    assert shown(await expiring.events(cursor)) == []
    assert await expiring.replies("m1") == ["n2"]
    assert await expiring.ids() == ["m1", "n2"]
    for reply in ("r-m1", "n1"):
        with pytest.raises(MessageClearedError, match=reply):
            await expiring.read(reply)
        with pytest.raises(MessageClearedError, match=reply):
            await expiring.add_reply("n3", reply)
        with pytest.raises(MessageClearedError, match=reply):
            await expiring.add_reply(reply, "m1")
        with pytest.raises(MessageNotFoundError):
            await expiring.ids(before=reply)
    await expiring.finish("n2")
    ends = await expiring.events(cursor)
    assert shown(ends) == [("n2", Status.DONE, "Streaming")]
    await expiring.add_reply("n3", "m1")
    await expiring.stop("n3")
    cursor = await expiring.cursor()
    await gone(expiring, "n3")
    for id in ("m1", "n2", "n3"):
        assert await expiring.store.message(expiring.ref(id)) is None
        with pytest.raises(MessageClearedError, match=id):
            await expiring.add(id)
    assert await expiring.replies("m1") == []
    assert shown(await expiring.events(cursor)) == [[]]
    assert await expiring.clear() == 0


async def test_a_conversation_is_called_as_the_oldest_message_begins_that_is_left(
    expiring: Scene,
) -> None:
    await expiring.add("m1", "The first")
    await expiring.add("m2", "The second")
    await expiring.finish("r-m1")
    await gone(expiring, "r-m1")
    [conversation] = await expiring.store.conversations(expiring.owner, 10)
    assert conversation.title == "The second"


async def test_the_end_of_its_time_is_no_use_of_a_conversation(expiring: Scene) -> None:
    await expiring.add("m1", conversation="c1")
    await expiring.add("m2", conversation="c1")
    await expiring.finish("r-m1")
    await expiring.add("m3", conversation="c2")
    await gone(expiring, "r-m1")
    assert await expiring.conversations() == ["c2", "c1"]


async def test_windows_and_followers_are_told_when_a_reply_is_gone(expiring: Scene) -> None:
    await expiring.add("m1")
    await expiring.add("m2")
    at_the_beginning = await expiring.cursor()
    await expiring.finish("r-m1")
    cursor = await expiring.cursor()
    other = await expiring.cursor("c2")
    alarms = [
        Alarm(expiring.store, topic) for topic in (expiring.ref("r-m1"), expiring.conversation())
    ]
    if expiring.store.poll_seconds >= 1:
        for alarm in alarms:
            await alarm.falls_silent()
    await gone(expiring, "r-m1")
    if expiring.store.poll_seconds >= 1:
        for alarm in alarms:
            await alarm.rings_next()
    assert shown(await expiring.events(at_the_beginning)) == [["m2", "r-m2"]]
    events = await expiring.events(cursor)
    assert shown(events) == [["m2", "r-m2"]]
    assert reset_of(events).conversation_id == "c1"
    assert shown(await expiring.events(events.cursor)) == []
    await expiring.stop("r-m2")
    assert shown(await expiring.events(events.cursor)) == [("r-m2", Status.STOPPED, "")]
    assert shown(await expiring.events(other, "c2")) == []


async def test_what_expires_while_others_send_is_gone_alone(expiring: Scene) -> None:
    """Windows that read meanwhile end in step, and nothing younger is taken along."""

    async def write() -> None:
        for number in range(60):
            await expiring.add(f"m{number}")
            if number % 2:
                await expiring.finish(f"r-m{number}", text="One", at_offset=0)
            await asyncio.sleep(0.02)
            await expiring.store.sweep()

    async def watch() -> dict[str, Status]:
        window: dict[str, Status] = {}
        cursor: int | None = None
        while True:
            all_is_written = writing.done()
            events = await expiring.events(cursor)
            for event in events.events:
                if isinstance(event, MessagesReset):
                    window = {message.id: message.status for message in event.messages}
                else:
                    assert not window.get(event.message.id, Status.STREAMING).is_final
                    window[event.message.id] = event.message.status
            cursor = events.cursor
            if all_is_written and not events.events:
                return window
            await asyncio.sleep(0)

    writing = asyncio.create_task(write())
    async with asyncio.timeout(3 * PATIENCE_SECONDS):
        window = await watch()
    await writing
    messages = await expiring.store.messages(expiring.conversation(), 1_000, None)
    assert window == {message.id: message.status for message in messages}
    streaming = [f"m{number}" for number in range(0, 60, 2)]
    assert [message.id for message in messages if message.id in streaming] == streaming
    assert "r-m1" not in window


async def test_what_expires_by_another_processes_sweep_is_gone_here(
    expiring: Scene, expiring_url: str
) -> None:
    if not expiring.store.shared:
        pytest.skip("one process has this store for itself")
    await expiring.add("m1")
    await expiring.finish("r-m1")
    cursor = await expiring.cursor()
    alarm = Alarm(expiring.store, expiring.ref("r-m1"))
    store = open_store(expiring_url)
    await store.open()
    try:
        await alarm.falls_silent()
        await gone(Scene(store, expiring.owner, expiring.lease), "r-m1")
    finally:
        await store.close()
    if expiring.store.poll_seconds >= 1:
        await alarm.rings_next()
    with pytest.raises(MessageClearedError):
        await expiring.read("r-m1")
    with pytest.raises(MessageClearedError):
        await expiring.add("m1")
    assert shown(await expiring.events(cursor)) == [[]]
