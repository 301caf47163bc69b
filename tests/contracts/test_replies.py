"""Several replies to one message, for every store: `add_reply`, and what it means for all else."""

import asyncio
import itertools
from datetime import UTC, datetime

import pytest

from graphql_app.errors import (
    FencedError,
    MessageClearedError,
    MessageIdConflictError,
    MessageNotFoundError,
    ReplyStreamingError,
)
from graphql_app.interfaces import Added, Lease, Slice
from graphql_app.messages import Message, MessagesReset, Role, Status
from tests.contracts.scene import PATIENCE_SECONDS, Alarm, Scene, shown

NEW = "n1"
NEWER = "n2"

# add_reply


@pytest.mark.parametrize("by", ["m1", "r-m1"])
async def test_another_reply_is_stored_empty_and_streaming_in_the_place_of_the_first(
    scene: Scene, by: str
) -> None:
    await scene.answered("m1")
    await scene.answered("m2")
    user, first, *later = await scene.store.messages(scene.conversation(), 10, None)
    assert await scene.add_reply(NEW, by) == Added(scene.ref(NEW), created=True)
    new = Message(
        id=NEW,
        conversation_id="c1",
        role=Role.ASSISTANT,
        content="",
        status=Status.STREAMING,
        created_at=first.created_at,
        reply_to_id="m1",
    )
    assert await scene.message(NEW) == new
    messages = await scene.store.messages(scene.conversation(), 10, None)
    assert list(messages) == [user, new, *later]
    assert await scene.read(NEW) == Slice(0, "", 0, Status.STREAMING, None)


@pytest.mark.parametrize("end", [Status.DONE, Status.STOPPED, Status.ERROR])
async def test_a_reply_may_be_replaced_however_it_ended(scene: Scene, end: Status) -> None:
    await scene.add("m1")
    await scene.append("r-m1", 0, "One")
    ended = await scene.finish("r-m1", end)
    assert (await scene.add_reply(NEW, "m1")).created
    assert await scene.message("r-m1") == ended
    assert (await scene.message(NEW)).status is Status.STREAMING


async def test_the_reply_that_was_replaced_can_still_be_read(scene: Scene) -> None:
    await scene.answered("m1", NEW)
    assert await scene.read("r-m1", 2) == Slice(2, "m1", 4, Status.DONE, None)
    assert (await scene.message("r-m1")).content == "r-m1"
    assert (await scene.stop("r-m1")).status is Status.DONE


async def test_a_reply_that_was_added_later_grows_and_ends_as_any_other(scene: Scene) -> None:
    await scene.answered("m1")
    await scene.add_reply(NEW, "m1")
    await scene.append(NEW, 0, "日😀")
    await scene.append(NEW, 3, " two")
    ended = await scene.finish(NEW, text="!", at_offset=7)
    assert (ended.content, ended.status) == ("日😀 two!", Status.DONE)
    assert await scene.message(NEW) == ended
    assert (await scene.message("r-m1")).content == "r-m1"
    with pytest.raises(FencedError):
        await scene.append(NEW, 8, "more")


async def test_replies_are_replaced_again_and_again(scene: Scene) -> None:
    await scene.answered("m1")
    created_at = (await scene.message("r-m1")).created_at
    before = "r-m1"
    for number in range(5):
        # Any reply stands for the message, the oldest too.
        await scene.add_reply(f"n{number}", "r-m1" if number % 2 else before)
        await scene.finish(f"n{number}")
        before = f"n{number}"
        assert await scene.ids() == ["m1", before]
        assert (await scene.message(before)).created_at == created_at


async def test_asking_again_joins_the_reply_and_stores_nothing(scene: Scene) -> None:
    await scene.answered("m1")
    await scene.add_reply(NEW, "m1")
    for ended in (False, True):
        if ended:
            await scene.finish(NEW)
        cursor = await scene.cursor()
        for by in ("m1", "r-m1", NEW):
            assert await scene.add_reply(NEW, by) == Added(scene.ref(NEW), created=False)
        assert await scene.ids() == ["m1", NEW]
        assert await scene.replies("m1") == ["r-m1", NEW]
        assert shown(await scene.events(cursor)) == []


async def test_asking_again_for_a_reply_that_was_replaced_joins_it(scene: Scene) -> None:
    await scene.answered("m1", NEW, NEWER)
    assert await scene.add_reply(NEW, "m1") == Added(scene.ref(NEW), created=False)
    assert await scene.ids() == ["m1", NEWER]


@pytest.mark.parametrize("ended", [False, True])
async def test_the_same_draft_again_after_a_lost_answer_says_that_it_was_stored(
    scene: Scene, ended: bool
) -> None:
    await scene.answered("m1")
    await scene.add_reply(NEW, "m1", token="one")
    if ended:
        await scene.stop(NEW)
    cursor = await scene.cursor()
    assert await scene.add_reply(NEW, "m1", token="one") == Added(scene.ref(NEW), created=True)
    assert await scene.add_reply(NEW, "m1", token="two") == Added(scene.ref(NEW), created=False)
    assert shown(await scene.events(cursor)) == []


async def test_asking_many_times_at_the_same_moment_makes_one_reply(
    scene: Scene, elsewhere: Scene
) -> None:
    await scene.answered("m1")
    many = await asyncio.gather(
        *(each.add_reply(NEW, "m1") for each in (scene, elsewhere) for _ in range(10))
    )
    assert {added.reply for added in many} == {scene.ref(NEW)}
    assert sum(added.created for added in many) == 1
    assert await scene.replies("m1") == ["r-m1", NEW]


async def test_of_many_that_ask_for_different_replies_one_wins(
    scene: Scene, elsewhere: Scene
) -> None:
    await scene.answered("m1")
    ids = [f"n{number}" for number in range(10)]
    many = await asyncio.gather(
        *(
            each.add_reply(id, "m1")
            for id, each in zip(ids, itertools.cycle((scene, elsewhere)), strict=False)
        ),
        return_exceptions=True,
    )
    [added] = [each for each in many if isinstance(each, Added)]
    refused = [each for each in many if isinstance(each, ReplyStreamingError)]
    assert len(refused) == 9
    assert {each.id for each in refused} == {added.reply.id}
    assert await scene.ids() == ["m1", added.reply.id]


async def test_a_reply_that_streams_is_not_replaced(scene: Scene) -> None:
    await scene.add("m1")
    for by in ("m1", "r-m1"):
        with pytest.raises(ReplyStreamingError, match="'r-m1' is still streaming; stop it first"):
            await scene.add_reply(NEW, by)
    await scene.finish("r-m1")
    await scene.add_reply(NEW, "m1")
    for by in ("m1", "r-m1", NEW):
        with pytest.raises(ReplyStreamingError, match=NEW):
            await scene.add_reply(NEWER, by)
    assert await scene.replies("m1") == ["r-m1", NEW]
    assert await scene.store.message(scene.ref(NEWER)) is None
    await scene.append(NEW, 0, "undisturbed")


async def test_a_reply_to_another_message_may_stream(scene: Scene) -> None:
    await scene.answered("m1")
    await scene.add("m2")
    assert (await scene.add_reply(NEW, "m1")).created
    assert await scene.ids() == ["m1", NEW, "m2", "r-m2"]


@pytest.mark.parametrize(
    ("id", "used_for"),
    [
        ("m1", "a user's message"),
        ("m2", "a user's message"),
        ("r-m1", "the first reply to this message"),
        ("r-m2", "a reply to another message"),
        ("other", "a reply to another message"),
        ("elsewhere", "a reply to another message"),
    ],
)
async def test_an_id_that_was_used_for_something_else_is_a_conflict(
    scene: Scene, id: str, used_for: str
) -> None:
    await scene.answered("m1")
    await scene.answered("m2", "other")
    await scene.answered("m3", "elsewhere", conversation="c2")
    for by in ("m1", "r-m1"):
        with pytest.raises(MessageIdConflictError, match=f"'{id}' was already used for {used_for}"):
            await scene.add_reply(id, by)
    assert await scene.ids() == ["m1", "r-m1", "m2", "other"]


async def test_the_id_of_another_reply_is_no_id_for_a_message(scene: Scene) -> None:
    await scene.answered("m1", NEW)
    with pytest.raises(MessageIdConflictError, match="already used for a reply"):
        await scene.add(NEW, NEW)


async def test_a_message_that_is_unknown_has_no_other_reply(scene: Scene, stranger: Scene) -> None:
    await scene.answered("m1")
    with pytest.raises(MessageNotFoundError, match="no message 'unknown'"):
        await scene.add_reply(NEW, "unknown")
    with pytest.raises(MessageNotFoundError, match="no message 'm1'"):
        await stranger.add_reply(NEW, "m1")
    assert await scene.store.message(scene.ref(NEW)) is None
    assert await stranger.conversations() == []


async def test_a_lease_that_was_never_given_replaces_nothing(scene: Scene) -> None:
    await scene.answered("m1")
    with pytest.raises(FencedError):
        await Scene(scene.store, scene.owner, Lease("nobody", 99)).add_reply(NEW, "m1")
    assert await scene.ids() == ["m1", "r-m1"]
    assert (await scene.add_reply(NEW, "m1")).created


async def test_sending_the_message_again_joins_the_newest_reply(scene: Scene) -> None:
    await scene.answered("m1", NEW)
    assert await scene.add("m1", reply="other") == Added(scene.ref(NEW), created=False)
    assert await scene.store.newest_reply(scene.ref("m1")) == scene.ref(NEW)
    for reply in ("r-m1", NEW):
        assert await scene.store.newest_reply(scene.ref(reply)) == scene.ref(reply)


# replies


async def test_all_replies_to_a_message_come_oldest_first(scene: Scene) -> None:
    await scene.answered("m1", NEW)
    await scene.answered("m2")
    await scene.add_reply(NEWER, "m1")
    await scene.append(NEWER, 0, "So far")
    replies = await scene.store.replies(scene.ref("m1"), 10)
    assert [(reply.id, reply.content, reply.status) for reply in replies] == [
        ("r-m1", "r-m1", Status.DONE),
        (NEW, NEW, Status.DONE),
        (NEWER, "So far", Status.STREAMING),
    ]
    assert {reply.reply_to_id for reply in replies} == {"m1"}
    for reply in replies:
        assert await scene.message(reply.id) == reply
    assert await scene.replies("m2") == ["r-m2"]


async def test_at_most_so_many_of_the_newest_replies_are_returned(scene: Scene) -> None:
    await scene.answered("m1", "n1", "n2", "n3")
    assert await scene.replies("m1", last=1) == ["n3"]
    assert await scene.replies("m1", last=3) == ["n1", "n2", "n3"]


async def test_many_may_be_asked_for_their_replies_at_the_same_moment(scene: Scene) -> None:
    for number in range(10):
        await scene.answered(f"m{number}", *(f"n{number}-{each}" for each in range(number % 3)))
    found = await asyncio.gather(*(scene.replies(f"m{number % 10}") for number in range(50)))
    assert found == [
        [f"r-m{number}", *(f"n{number}-{each}" for each in range(number % 3))]
        for number in range(10)
    ] * 5  # fmt: skip


async def test_those_who_ask_at_the_same_moment_may_want_different_numbers(
    scene: Scene, stranger: Scene
) -> None:
    await scene.answered("m1", "n1", "n2")
    await stranger.answered("m1", "o1")
    found = await asyncio.gather(
        *(scene.replies("m1", last=last) for last in (1, 2, 3, 4)),
        stranger.replies("m1", last=1),
        stranger.replies("m1", last=2),
        scene.replies("unknown"),
        scene.replies("n1"),
    )
    assert found == [
        ["n2"],
        ["n1", "n2"],
        ["r-m1", "n1", "n2"],
        ["r-m1", "n1", "n2"],
        ["o1"],
        ["r-m1", "o1"],
        [],
        [],
    ]


async def test_nothing_but_a_users_message_has_replies(scene: Scene, stranger: Scene) -> None:
    await scene.answered("m1", NEW)
    for id in ("r-m1", NEW, "unknown"):
        assert await scene.replies(id) == []
    assert await stranger.replies("m1") == []
    await scene.clear()
    assert await scene.replies("m1") == []


# messages and history


async def test_lists_have_only_the_newest_of_the_replies(scene: Scene) -> None:
    await scene.answered("m1", NEW, NEWER)
    await scene.answered("m2")
    await scene.answered("m3", "n3")
    everything = ["m1", NEWER, "m2", "r-m2", "m3", "n3"]
    assert await scene.ids() == everything
    for last in range(1, 6):
        assert await scene.ids(last=last) == everything[-last:]
    messages = await scene.store.messages(scene.conversation(), 10, None)
    times = [message.created_at for message in messages]
    assert times == sorted(set(times))


@pytest.mark.parametrize("before", ["r-m2", "n1", "n2"])
async def test_the_messages_before_any_reply_are_those_before_its_place(
    scene: Scene, before: str
) -> None:
    await scene.answered("m1", "other")
    await scene.answered("m2", "n1", "n2")
    await scene.answered("m3")
    assert await scene.ids(before=before) == ["m1", "other", "m2"]
    assert await scene.ids(before=before, last=2) == ["other", "m2"]
    with pytest.raises(MessageNotFoundError):
        await scene.ids("c2", before=before)


async def test_the_history_of_another_reply_is_what_came_before_its_message(scene: Scene) -> None:
    await scene.answered("m1")
    await scene.answered("m2")
    await scene.answered("m3")
    await scene.add_reply(NEW, "m2")
    assert await scene.history(NEW) == [("m1", "Hello"), ("r-m1", "r-m1"), ("m2", "Hello")]
    await scene.append(NEW, 0, "So far")
    assert await scene.history(NEW) == [("m1", "Hello"), ("r-m1", "r-m1"), ("m2", "Hello")]


async def test_later_replies_answer_to_the_newest_one(scene: Scene) -> None:
    await scene.answered("m1", NEW)
    await scene.add("m2")
    assert await scene.history("r-m2") == [("m1", "Hello"), (NEW, NEW), ("m2", "Hello")]
    await scene.add_reply(NEWER, "m1")
    assert await scene.history("r-m2") == [("m1", "Hello"), ("m2", "Hello")]
    await scene.append(NEWER, 0, "So far")
    assert await scene.history("r-m2") == [("m1", "Hello"), (NEWER, "So far"), ("m2", "Hello")]


async def test_a_reply_that_was_replaced_needs_no_history(scene: Scene) -> None:
    await scene.answered("m1", NEW)
    with pytest.raises(FencedError):
        await scene.history("r-m1")


# conversations and clear


async def test_another_reply_is_a_use_of_its_conversation(scene: Scene) -> None:
    await scene.answered("m1", conversation="c1")
    await scene.answered("m2", conversation="c2")
    before = {each.id: each for each in await scene.store.conversations(scene.owner, 10)}
    await asyncio.sleep(0.002)
    await scene.add_reply(NEW, "m1")
    used, other = await scene.store.conversations(scene.owner, 10)
    assert (used.id, other) == ("c1", before["c2"])
    assert used.created_at == before["c1"].created_at
    assert before["c1"].updated_at < used.updated_at
    assert used.updated_at.astimezone(UTC) == used.updated_at <= datetime.now(UTC)


async def test_clearing_removes_all_replies_and_counts_them(scene: Scene) -> None:
    await scene.answered("m1", NEW)
    await scene.add_reply(NEWER, "m1")
    await scene.append(NEWER, 0, "So far")
    await scene.answered("m2", conversation="c2")
    assert await scene.clear() == 4
    assert await scene.clear() == 0
    for reply in ("r-m1", NEW, NEWER):
        assert await scene.store.message(scene.ref(reply)) is None
        with pytest.raises(MessageClearedError):
            await scene.read(reply)
        with pytest.raises(MessageClearedError):
            await scene.stop(reply)
        with pytest.raises(MessageClearedError):
            await scene.add(reply, conversation="c2")
    with pytest.raises(FencedError):
        await scene.append(NEWER, 6, "more")
    assert await scene.renew(NEWER) == {NEWER}
    assert await scene.conversations() == ["c2"]


async def test_asking_after_a_clear_brings_nothing_back(scene: Scene) -> None:
    await scene.answered("m1", NEW)
    await scene.clear()
    await scene.answered("m2")
    for reply, by in ((NEW, "m1"), (NEW, "r-m1"), (NEW, NEW), (NEWER, "m1"), (NEWER, NEW)):
        with pytest.raises(MessageClearedError):
            await scene.add_reply(reply, by)
    for cleared in ("m1", "r-m1", NEW):
        with pytest.raises(MessageClearedError, match=cleared):
            await scene.add_reply(cleared, "m2")
    assert await scene.ids() == ["m2", "r-m2"]
    assert await scene.replies("m2") == ["r-m2"]


async def test_asking_and_clearing_at_the_same_moment_leaves_all_or_nothing(
    scene: Scene, elsewhere: Scene
) -> None:
    for number in range(10):
        id, reply = f"m{number}", f"n{number}"
        await scene.answered(id)
        asked, count = await asyncio.gather(
            elsewhere.add_reply(reply, id), scene.clear(), return_exceptions=True
        )
        if isinstance(asked, Added):
            assert count == 3
        else:
            assert isinstance(asked, MessageClearedError)
            assert count == 2
        assert await scene.ids() == []
        assert await scene.store.message(scene.ref(reply)) is None


async def test_asking_and_stopping_at_the_same_moment_end_in_one_order(
    scene: Scene, elsewhere: Scene
) -> None:
    for number in range(10):
        await scene.add(f"m{number}")
        asked, stopped = await asyncio.gather(
            elsewhere.add_reply(f"n{number}", f"m{number}"),
            scene.stop(f"r-m{number}"),
            return_exceptions=True,
        )
        assert isinstance(stopped, Message)
        assert isinstance(asked, Added | ReplyStreamingError)
        newest = f"n{number}" if isinstance(asked, Added) else f"r-m{number}"
        assert (await scene.ids())[-1] == newest


# events


async def test_another_reply_starts_windows_over_and_then_ends(scene: Scene) -> None:
    await scene.answered("m1")
    await scene.answered("m2")
    cursor = await scene.cursor()
    await scene.add_reply(NEW, "m1")
    reset = await scene.events(cursor)
    assert shown(reset) == [["m1", NEW, "m2", "r-m2"]]
    await scene.append(NEW, 0, "One")
    assert shown(await scene.events(reset.cursor)) == []
    await scene.finish(NEW)
    end = await scene.events(reset.cursor)
    assert shown(end) == [(NEW, Status.DONE, "One")]
    assert shown(await scene.events(end.cursor)) == []


async def test_no_event_of_a_reply_that_was_replaced_comes_after_that(scene: Scene) -> None:
    """Whoever reads late, from wherever, never gets it back into his list."""
    cursors = [await scene.cursor()]
    await scene.add("m1")
    cursors.append(await scene.cursor())
    await scene.append("r-m1", 0, "One")
    await scene.finish("r-m1")
    cursors.append(await scene.cursor())
    await scene.add_reply(NEW, "m1")
    cursors.append(await scene.cursor())
    await scene.finish(NEW)
    cursors.append(await scene.cursor())
    await scene.add_reply(NEWER, "m1")
    for cursor in cursors:
        assert await scene.events_until_now(cursor) == [["m1", NEWER]]
    cursor = await scene.cursor()
    await scene.add("m2")
    await scene.stop(NEWER)
    changes = [("m2", Status.DONE, "Hello"), ("r-m2", Status.STREAMING, "")]
    changes += [(NEWER, Status.STOPPED, "")]
    assert await scene.events_until_now(cursor) == changes
    for cursor in cursors:
        assert await scene.events_until_now(cursor) == [["m1", NEWER, "m2", "r-m2"]]


async def test_a_refused_request_gives_no_event(scene: Scene) -> None:
    await scene.add("m1")
    cursor = await scene.cursor()
    with pytest.raises(ReplyStreamingError):
        await scene.add_reply(NEW, "m1")
    with pytest.raises(MessageNotFoundError):
        await scene.add_reply(NEW, "unknown")
    assert shown(await scene.events(cursor)) == []


async def test_a_reset_has_the_newest_messages_by_their_places(scene: Scene) -> None:
    await scene.answered("m1")
    await scene.answered("m2")
    cursor = await scene.cursor()
    await scene.add_reply(NEW, "m1")
    assert shown(await scene.events(cursor, last=2)) == [["m2", "r-m2"]]


async def test_windows_that_read_while_replies_are_replaced_end_in_step(
    scene: Scene, elsewhere: Scene
) -> None:
    await asyncio.gather(*(scene.answered(f"m{number}") for number in range(3)))

    async def write(writer: Scene, name: str) -> None:
        for number in range(30):
            try:
                await writer.add_reply(f"{name}{number}", f"m{number % 3}")
            except ReplyStreamingError:
                continue
            await asyncio.sleep(0.001)
            await writer.finish(f"{name}{number}", text=f"{name}{number}", at_offset=0)

    async def watch() -> dict[str, Status]:
        window: dict[str, Status] = {}
        cursor: int | None = None
        while True:
            all_is_written = writing.done()
            events = await scene.events(cursor)
            for event in events.events:
                if isinstance(event, MessagesReset):
                    window = {message.id: message.status for message in event.messages}
                    assert len(window) == 6
                else:
                    assert event.message.id in window, "an event brought back what was replaced"
                    window[event.message.id] = event.message.status
            cursor = events.cursor
            if all_is_written and not events.events:
                return window
            await asyncio.sleep(0)

    writing = asyncio.gather(write(scene, "a"), write(elsewhere, "b"))
    async with asyncio.timeout(3 * PATIENCE_SECONDS):
        window = await watch()
    await writing
    messages = await scene.store.messages(scene.conversation(), 10, None)
    assert window == {message.id: message.status for message in messages}
    assert list(window)[::2] == [message.id for message in messages[::2]]


async def test_watchers_of_a_conversation_are_woken_by_another_reply(scene: Scene) -> None:
    if scene.store.poll_seconds < 1:
        pytest.skip("this store's readers look for themselves, and wake-ups may be missing")
    await scene.answered("m1")
    alarm = Alarm(scene.store, scene.conversation())
    await alarm.falls_silent()
    await scene.add_reply(NEW, "m1")
    await alarm.rings_next()


# renew and sweep


async def test_a_renewal_treats_another_reply_as_any(scene: Scene, elsewhere: Scene) -> None:
    await scene.answered("m1")
    await scene.answered("m2")
    await scene.add_reply(NEW, "m1", renewals=3)
    assert await scene.renew(NEW, number=4) == set()
    assert await elsewhere.renew(number=100) == set()
    assert await scene.renew(number=3) == set(), "it came after that renewal was begun"
    assert (await scene.message(NEW)).status is Status.STREAMING
    assert await scene.renew(number=4) == set()
    lost = await scene.message(NEW)
    assert lost.error is not None
    assert lost.error.code == "PRODUCER_LOST"
    assert (await scene.add_reply(NEWER, "m1")).created


async def test_a_reply_of_a_lease_that_ran_out_may_be_replaced_once_it_was_swept(
    scene: Scene, short_lived: Scene
) -> None:
    await scene.answered("m1")
    await short_lived.add_reply(NEW, "m1")
    await short_lived.append(NEW, 0, "So far")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                await scene.add_reply(NEWER, "m1")
                break
            except ReplyStreamingError:
                await scene.store.sweep()
                await asyncio.sleep(0.05)
    lost = await scene.message(NEW)
    assert (lost.content, lost.status) == ("So far", Status.ERROR)
    with pytest.raises(FencedError):
        await short_lived.append(NEW, 6, " more")
    with pytest.raises(FencedError):
        await short_lived.add_reply("late", "m1")
    assert await scene.ids() == ["m1", NEWER]


# Owners


async def test_two_owners_may_ask_for_replies_with_the_same_ids(
    scene: Scene, stranger: Scene
) -> None:
    for each in (scene, stranger):
        await each.answered("m1")
        assert (await each.add_reply(NEW, "m1")).created
    await scene.finish(NEW, text="Mine", at_offset=0)
    assert (await stranger.message(NEW)).content == ""
    assert await scene.clear() == 3
    assert await stranger.replies("m1") == ["r-m1", NEW]
