"""What a reply took: kept with its end, or after it if somebody else ended the reply."""

import asyncio
from dataclasses import replace

import pytest

from graphql_app.errors import MessageClearedError, MessageNotFoundError
from graphql_app.interfaces import PRODUCER_LOST
from graphql_app.messages import Message, MessageChanged, Status, Usage
from tests.contracts.scene import Alarm, Scene, reset_of, swept

USAGE = Usage(
    model="model-1", input_tokens=12, output_tokens=345, time_to_first_token=0.25, duration=1.5
)
OTHER = Usage(model="model-2", input_tokens=1, duration=3.0)


async def seen_everywhere(scene: Scene, reply: str) -> Message:
    """A reply to m1, which is the same wherever it is seen."""
    message = await scene.message(reply)
    assert (await scene.store.messages(scene.conversation(), 10, None))[1] == message
    assert (await scene.store.replies(scene.ref("m1"), 10))[-1] == message
    assert reset_of(await scene.events()).messages[1] == message
    return message


async def test_the_end_of_a_reply_keeps_what_it_took(scene: Scene) -> None:
    await scene.add("m1")
    ended = await scene.finish("r-m1", text="One", usage=USAGE)
    assert ended.usage == USAGE
    assert await seen_everywhere(scene, "r-m1") == ended


@pytest.mark.parametrize(
    "usage",
    [
        Usage(model="日😀 \"'\\"),
        Usage(input_tokens=0),
        Usage(output_tokens=2**31 - 1),
        Usage(time_to_first_token=0.0),
        Usage(duration=86_400.001),
    ],
    ids=["model", "input_tokens", "output_tokens", "time_to_first_token", "duration"],
)
async def test_each_part_of_it_may_be_all_that_is_known(scene: Scene, usage: Usage) -> None:
    await scene.add("m1")
    assert (await scene.finish("r-m1", usage=usage)).usage == usage
    assert (await seen_everywhere(scene, "r-m1")).usage == usage
    assert (await scene.learn("r-m1", USAGE)).usage == usage


async def test_times_are_kept_to_the_millisecond(scene: Scene) -> None:
    await scene.add("m1")
    given = Usage(time_to_first_token=0.1239, duration=1.23449)
    kept = Usage(time_to_first_token=0.124, duration=1.234)
    assert (await scene.finish("r-m1", usage=given)).usage == kept
    assert (await scene.message("r-m1")).usage == kept


async def test_a_usage_that_says_nothing_is_none(scene: Scene) -> None:
    await scene.add("m1")
    assert (await scene.finish("r-m1", usage=Usage())).usage is None
    assert (await scene.learn("r-m1", Usage())).usage is None
    assert (await scene.learn("r-m1", USAGE)).usage == USAGE


async def test_the_event_of_the_end_has_it_and_the_one_before_has_not(scene: Scene) -> None:
    cursor = await scene.cursor()
    await scene.add("m1")
    ended = await scene.finish("r-m1", usage=USAGE)
    user, begun, end = (await scene.events(cursor)).events
    assert isinstance(user, MessageChanged)
    assert isinstance(begun, MessageChanged)
    assert end == MessageChanged(ended)
    assert (user.message.usage, begun.message.usage) == (None, None)


async def test_what_streams_and_what_users_say_has_none(scene: Scene) -> None:
    await scene.add("m1")
    assert (await scene.message("r-m1")).usage is None
    await scene.finish("r-m1", usage=USAGE)
    assert (await scene.message("m1")).usage is None
    with pytest.raises(MessageNotFoundError):
        await scene.learn("m1", USAGE)


async def test_what_a_stopped_reply_took_is_kept_and_nothing_else_changes(scene: Scene) -> None:
    await scene.add("m1")
    await scene.append("r-m1", 0, "One")
    stopped = await scene.stop("r-m1")
    used = await scene.store.conversations(scene.owner, 10)
    cursor = await scene.cursor()
    assert await scene.learn("r-m1", USAGE) == replace(stopped, usage=USAGE)
    assert await seen_everywhere(scene, "r-m1") == replace(stopped, usage=USAGE)
    assert (await scene.events(cursor)).events == ()
    assert await scene.store.conversations(scene.owner, 10) == used
    assert (await scene.read("r-m1")).status is Status.STOPPED


async def test_nobody_is_woken_for_it(scene: Scene) -> None:
    await scene.add("m1")
    await scene.stop("r-m1")
    alarms = [
        Alarm(scene.store, topic)
        for topic in (scene.ref("r-m1"), scene.conversation(), scene.lease)
    ]
    await asyncio.gather(*(alarm.falls_silent() for alarm in alarms))
    rings = [alarm.rings for alarm in alarms]
    await scene.learn("r-m1", USAGE)
    await asyncio.gather(*(alarm.falls_silent() for alarm in alarms))
    assert [alarm.rings for alarm in alarms] == rings
    for alarm in alarms:
        alarm.unwatch()


async def test_the_producers_own_end_tells_it_of_a_reply_that_was_stopped(scene: Scene) -> None:
    await scene.add("m1")
    stopped = await scene.stop("r-m1")
    late = await scene.finish("r-m1", Status.DONE, text="One", at_offset=0, usage=USAGE)
    assert late == replace(stopped, usage=USAGE)


async def test_the_first_usage_stays(scene: Scene) -> None:
    await scene.add("m1")
    ended = await scene.finish("r-m1", usage=USAGE)
    assert await scene.finish("r-m1", usage=USAGE) == ended
    assert await scene.finish("r-m1", usage=OTHER) == ended
    assert await scene.learn("r-m1", OTHER) == ended
    assert await scene.stop("r-m1") == ended
    assert await scene.message("r-m1") == ended


async def test_of_several_that_come_at_once_one_is_kept_whole(
    scene: Scene, elsewhere: Scene
) -> None:
    for number in range(5):
        id = f"m{number}"
        await scene.add(id)
        await scene.stop(f"r-{id}")
        told = await asyncio.gather(
            scene.learn(f"r-{id}", USAGE), elsewhere.learn(f"r-{id}", OTHER)
        )
        kept = (await scene.message(f"r-{id}")).usage
        assert kept in (USAGE, OTHER)
        assert [each.usage for each in told] == [kept, kept]


async def test_one_told_while_the_reply_is_stopped_is_not_lost(
    scene: Scene, elsewhere: Scene
) -> None:
    for number in range(5):
        id = f"m{number}"
        await scene.add(id)
        told, stopped = await asyncio.gather(
            scene.finish(f"r-{id}", usage=USAGE), elsewhere.stop(f"r-{id}")
        )
        assert told.status == stopped.status
        assert await scene.message(f"r-{id}") == told
        assert told.usage == USAGE


async def test_nothing_of_it_is_kept_of_a_reply_that_was_cleared(scene: Scene) -> None:
    await scene.add("m1")
    await scene.clear()
    with pytest.raises(MessageClearedError):
        await scene.learn("r-m1", USAGE)
    assert await scene.store.message(scene.ref("r-m1")) is None


async def test_telling_it_ends_a_reply_that_still_streams_as_lost(scene: Scene) -> None:
    await scene.add("m1")
    ended = await scene.learn("r-m1", USAGE)
    assert (ended.status, ended.error, ended.usage) == (Status.ERROR, PRODUCER_LOST, USAGE)


async def test_what_a_reply_took_that_was_swept_can_still_be_told(
    scene: Scene, short_lived: Scene
) -> None:
    await short_lived.add("m1")
    await swept(scene.store)
    lost = await scene.message("r-m1")
    assert (lost.error, lost.usage) == (PRODUCER_LOST, None)
    assert await short_lived.learn("r-m1", USAGE) == replace(lost, usage=USAGE)


async def test_another_reply_begins_without_it_and_leaves_it_with_the_one_before(
    scene: Scene,
) -> None:
    await scene.add("m1")
    first = await scene.finish("r-m1", usage=USAGE)
    await scene.add_reply("another", "m1")
    assert (await scene.message("another")).usage is None
    assert await scene.message("r-m1") == first
    stopped = await scene.stop("another")
    cursor = await scene.cursor()
    await scene.add_reply("a third", "m1")
    assert await scene.learn("another", OTHER) == replace(stopped, usage=OTHER)
    assert (await scene.store.replies(scene.ref("m1"), 10))[:2] == (
        first,
        replace(stopped, usage=OTHER),
    )
    assert [message.id for message in reset_of(await scene.events(cursor)).messages] == [
        "m1",
        "a third",
    ]


async def test_it_is_there_for_other_processes_and_those_that_start_later(
    scene: Scene, other_process: Scene
) -> None:
    await scene.add("m1")
    ended = await scene.finish("r-m1", usage=USAGE)
    await scene.add("m2")
    await other_process.stop("r-m2")
    learned = await scene.learn("r-m2", OTHER)
    assert await other_process.message("r-m1") == ended
    assert await other_process.message("r-m2") == learned
    assert await other_process.learn("r-m2", USAGE) == learned


async def test_the_history_of_the_next_reply_has_it(scene: Scene) -> None:
    await scene.add("m1")
    ended = await scene.finish("r-m1", text="One", at_offset=0, usage=USAGE)
    await scene.add("m2")
    assert (await scene.store.history(scene.ref("r-m2")))[1] == ended
