"""The contract of `graphql_app.interfaces.Store`, for every store."""

import asyncio
import statistics
import time
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest

from graphql_app.errors import (
    FencedError,
    MessageClearedError,
    MessageIdConflictError,
    MessageNotFoundError,
)
from graphql_app.interfaces import Added, Lease, Slice, Store, Topic
from graphql_app.messages import (
    Conversation,
    Message,
    MessagesReset,
    ReplyError,
    ReplyErrorCode,
    Role,
    Status,
    utf16_length,
    utf16_tail,
)
from graphql_app.stores import open_store
from tests.contracts.scene import Alarm, Scene, reset_of, shown, swept

T = TypeVar("T")

FAILED = ReplyError(ReplyErrorCode.COMPLETION_FAILED, "It broke off.")

# Opening and closing.


async def test_an_open_store_can_be_reached(store: Store) -> None:
    await store.ping()


async def test_closing_twice_does_nothing(url: str) -> None:
    store = open_store(url)
    await store.open()
    await store.close()
    await store.close()


async def test_closing_a_store_that_never_opened_does_nothing(url: str) -> None:
    await open_store(url).close()


def test_a_store_says_how_long_a_reader_may_wait(store: Store) -> None:
    assert store.poll_seconds > 0
    assert store.poll_seconds <= 60 or store.immediate is not None, "else news may get lost"


# add


async def test_adding_stores_the_message_and_its_empty_streaming_reply(scene: Scene) -> None:
    before = datetime.now(UTC) - timedelta(minutes=5)
    assert await scene.add("m1", "Hello") == Added(scene.ref("r-m1"), created=True)
    user, reply = await scene.store.messages(scene.conversation(), 10, None)
    assert user == Message(
        id="m1",
        conversation_id="c1",
        role=Role.USER,
        content="Hello",
        status=Status.DONE,
        created_at=user.created_at,
    )
    assert reply == Message(
        id="r-m1",
        conversation_id="c1",
        role=Role.ASSISTANT,
        content="",
        status=Status.STREAMING,
        created_at=reply.created_at,
        reply_to_id="m1",
    )
    assert before < user.created_at < reply.created_at
    assert user.created_at.utcoffset() == timedelta(0)


PLAIN = ["\n a \t", "日本語 😀 e\u0301", "\u2028\ufeff\ufffd", "x" * 32_768, "日" * 32_768]
TRICKY = ["\x01\x1f\x7f\x85", "%s $1 :x {} ? \\u0000 \\", "';--\"`", "null", "007", "1e3"]


@pytest.mark.parametrize("content", [*PLAIN, *TRICKY])
async def test_content_is_kept_as_it_is(scene: Scene, content: str) -> None:
    await scene.add("m1", content)
    assert (await scene.message("m1")).content == content
    await scene.append("r-m1", 0, content)
    assert (await scene.read("r-m1")).text == content
    ended = await scene.finish("r-m1", text=content, at_offset=utf16_length(content))
    assert ended.content == content * 2
    assert not (await scene.add("m1", content, reply="other")).created


async def test_adding_again_joins_the_reply_and_stores_nothing(scene: Scene) -> None:
    await scene.add("m1", "Hello")
    cursor = await scene.cursor()
    assert await scene.add("m1", "Hello", reply="other") == Added(scene.ref("r-m1"), created=False)
    assert await scene.ids() == ["m1", "r-m1"]
    assert shown(await scene.events(cursor)) == []


async def test_adding_again_joins_a_reply_that_has_ended(scene: Scene) -> None:
    await scene.add("m1", "Hello")
    await scene.finish("r-m1")
    assert await scene.add("m1", "Hello", reply="other") == Added(scene.ref("r-m1"), created=False)


@pytest.mark.parametrize("ended", [False, True])
async def test_adding_the_same_draft_again_after_a_lost_answer_says_that_it_was_stored(
    scene: Scene, ended: bool
) -> None:
    await scene.add("m1", "Hello")
    if ended:
        await scene.stop("r-m1")
    cursor = await scene.cursor()
    assert await scene.add("m1", "Hello") == Added(scene.ref("r-m1"), created=True)
    assert await scene.ids() == ["m1", "r-m1"]
    assert shown(await scene.events(cursor)) == []


async def test_the_same_draft_at_the_same_moment_is_stored_once(scene: Scene) -> None:
    """As when the first try seemed lost and was only slow."""
    cursor = await scene.cursor()
    added = await asyncio.gather(*(scene.add("m1") for _ in range(5)))
    assert added == [Added(scene.ref("r-m1"), created=True)] * 5
    assert await scene.ids() == ["m1", "r-m1"]
    assert len((await scene.events(cursor)).events) == 2


async def test_adding_again_in_another_process_joins_the_reply(
    scene: Scene, elsewhere: Scene
) -> None:
    await scene.add("m1", "Hello")
    joined = await elsewhere.add("m1", "Hello", reply="other")
    assert joined == Added(scene.ref("r-m1"), created=False)
    await scene.append("r-m1", 0, "still streaming under the first lease")


async def test_adding_many_times_at_the_same_moment_makes_one_reply(
    scene: Scene, elsewhere: Scene
) -> None:
    many = await asyncio.gather(
        *(scene.add("m1", reply=f"a{number}") for number in range(10)),
        *(elsewhere.add("m1", reply=f"b{number}") for number in range(10)),
    )
    assert sum(added.created for added in many) == 1
    [reply] = {added.reply.id for added in many}
    assert await scene.ids() == ["m1", reply]


@pytest.mark.parametrize("content", ["hello", "Hello ", "Hello\u0301"])
async def test_an_id_used_for_other_content_is_a_conflict(scene: Scene, content: str) -> None:
    await scene.add("m1", "Hello")
    with pytest.raises(MessageIdConflictError, match=r"'m1' was already .* other content"):
        await scene.add("m1", content, reply="other")
    assert await scene.ids() == ["m1", "r-m1"]


async def test_an_id_used_in_another_conversation_is_a_conflict(scene: Scene) -> None:
    await scene.add("m1", "Hello")
    with pytest.raises(MessageIdConflictError, match=r"'m1' was already .* another conversation"):
        await scene.add("m1", "Hello", conversation="c2", reply="other")
    assert await scene.ids("c2") == []
    assert await scene.conversations() == ["c1"]


async def test_an_id_used_for_a_reply_is_a_conflict(scene: Scene) -> None:
    await scene.add("m1", "Hello")
    with pytest.raises(MessageIdConflictError, match="'r-m1' was already used for a reply"):
        await scene.add("r-m1", "Hello", reply="other")
    assert await scene.ids() == ["m1", "r-m1"]


@pytest.mark.parametrize("id", ["m1", "r-m1"])
@pytest.mark.parametrize("content", ["Hello", "Other"])
async def test_an_id_that_was_cleared_stays_used(scene: Scene, id: str, content: str) -> None:
    await scene.add("m1", "Hello")
    await scene.clear()
    with pytest.raises(MessageClearedError):
        await scene.add(id, content, reply="other")
    with pytest.raises(MessageClearedError):
        await scene.add(id, content, conversation="c2", reply="other")
    assert await scene.ids() == await scene.ids("c2") == []
    assert await scene.conversations() == []


async def test_a_lease_that_was_never_given_stores_nothing(scene: Scene) -> None:
    with pytest.raises(FencedError):
        await Scene(scene.store, scene.owner, Lease("nobody", 99)).add("m1")
    assert await scene.ids() == []
    assert await scene.store.message(scene.ref("m1")) is None
    assert (await scene.add("m1")).created


async def test_times_of_a_conversation_grow_in_whole_milliseconds(scene: Scene) -> None:
    for number in range(20):
        await scene.add(f"m{number}")
    messages = await scene.store.messages(scene.conversation(), 1_000, None)
    times = [message.created_at for message in messages]
    assert times == sorted(set(times))
    assert all(time.microsecond % 1_000 == 0 for time in times)


# append


async def test_appended_text_is_read_in_order(scene: Scene) -> None:
    await scene.add("m1")
    await scene.append("r-m1", 0, "One")
    await scene.append("r-m1", 3, " two")
    await scene.append("r-m1", 7, "\n")
    assert await scene.read("r-m1") == Slice(0, "One two\n", 8, Status.STREAMING, None)


async def test_offsets_count_utf16_code_units(scene: Scene) -> None:
    await scene.add("m1")
    await scene.append("r-m1", 0, "日😀")
    await scene.append("r-m1", 3, "e\u0301")
    assert await scene.read("r-m1") == Slice(0, "日😀e\u0301", 5, Status.STREAMING, None)


@pytest.mark.parametrize("text", ["One", "日😀", ""])
async def test_the_same_text_at_the_same_offset_again_does_nothing(scene: Scene, text: str) -> None:
    await scene.add("m1")
    await scene.append("r-m1", 0, "😀")
    await scene.append("r-m1", 2, text)
    await scene.append("r-m1", 2, text)
    assert (await scene.read("r-m1")).text == "😀" + text


async def test_text_that_others_follow_may_be_appended_again(scene: Scene) -> None:
    await scene.add("m1")
    for at_offset, text in ((0, "One"), (3, "😀"), (5, "two")):
        await scene.append("r-m1", at_offset, text)
    for at_offset, text in ((0, "One"), (3, "😀"), (5, "two"), (0, "One😀"), (1, "ne"), (8, "")):
        await scene.append("r-m1", at_offset, text)
    assert (await scene.read("r-m1")).text == "One😀two"


async def test_the_same_text_at_the_same_moment_is_appended_once(scene: Scene) -> None:
    """As when the first try seemed lost and was only slow."""
    await scene.add("m1")
    for at_offset in range(0, 50, 5):
        await asyncio.gather(
            *(scene.append("r-m1", at_offset, f"{at_offset:4} ") for _ in range(3))
        )
    assert (await scene.read("r-m1")).text == "".join(f"{number:4} " for number in range(0, 50, 5))


@pytest.mark.parametrize(
    ("at_offset", "text"),
    [(0, "Two"), (3, "Two"), (0, "One and more"), (8, "x"), (8, ""), (6, "x"), (4, "😀")],
)
async def test_other_text_than_is_there_is_refused_and_changes_nothing(
    scene: Scene, at_offset: int, text: str
) -> None:
    await scene.add("m1")
    await scene.append("r-m1", 0, "One😀..")
    with pytest.raises(ValueError, match=str(at_offset)):
        await scene.append("r-m1", at_offset, text)
    assert (await scene.read("r-m1")).text == "One😀.."


async def test_a_reply_that_has_ended_takes_no_more_text(scene: Scene) -> None:
    await scene.add("m1")
    await scene.append("r-m1", 0, "One")
    await scene.stop("r-m1")
    with pytest.raises(FencedError):
        await scene.append("r-m1", 3, " two")
    with pytest.raises(FencedError):
        await scene.append("r-m1", 0, "One")
    assert (await scene.message("r-m1")).content == "One"


async def test_a_reply_that_was_cleared_takes_no_more_text(scene: Scene) -> None:
    await scene.add("m1")
    await scene.clear()
    with pytest.raises(FencedError):
        await scene.append("r-m1", 0, "One")
    assert await scene.ids() == []


async def test_a_reply_takes_no_text_from_another_process(scene: Scene, elsewhere: Scene) -> None:
    await scene.add("m1")
    with pytest.raises(FencedError):
        await elsewhere.append("r-m1", 0, "One")
    assert (await scene.read("r-m1")).text == ""


@pytest.mark.parametrize("id", ["unknown", "m1"])
async def test_only_replies_take_text(scene: Scene, id: str) -> None:
    await scene.add("m1", "Hello")
    with pytest.raises(FencedError):
        await scene.append(id, 5, "One")
    assert (await scene.message("m1")).content == "Hello"


async def test_replies_that_stream_at_the_same_time_do_not_mix(scene: Scene) -> None:
    ids = [f"m{number}" for number in range(5)]
    for id in ids:
        await scene.add(id)
    for at_offset in range(0, 20, 2):
        await asyncio.gather(*(scene.append(f"r-{id}", at_offset, id) for id in ids))
    for id in ids:
        assert (await scene.read(f"r-{id}")).text == id * 10


# finish


@pytest.mark.parametrize(
    ("status", "error"), [(Status.DONE, None), (Status.STOPPED, None), (Status.ERROR, FAILED)]
)
async def test_finishing_ends_a_reply_and_returns_it(
    scene: Scene, status: Status, error: ReplyError | None
) -> None:
    await scene.add("m1")
    await scene.append("r-m1", 0, "One")
    finished = await scene.finish("r-m1", status, error=error)
    assert (finished.id, finished.content) == ("r-m1", "One")
    assert (finished.status, finished.error) == (status, error)
    assert finished == await scene.message("r-m1")
    assert await scene.read("r-m1") == Slice(0, "One", 3, status, error)


async def test_finishing_adds_the_last_text_in_the_same_step(scene: Scene) -> None:
    await scene.add("m1")
    await scene.append("r-m1", 0, "😀")
    finished = await scene.finish("r-m1", text=" two", at_offset=2)
    assert finished.content == "😀 two"
    assert await scene.read("r-m1") == Slice(0, "😀 two", 6, Status.DONE, None)


async def test_finishing_again_after_a_lost_answer_changes_nothing(scene: Scene) -> None:
    await scene.add("m1")
    await scene.append("r-m1", 0, "One")
    finished = await scene.finish("r-m1", text=" two", at_offset=3)
    cursor = await scene.cursor()
    assert await scene.finish("r-m1", text=" two", at_offset=3) == finished
    assert finished.content == "One two"
    assert shown(await scene.events(cursor)) == []


async def test_finishing_with_text_that_an_append_wrote_does_not_double_it(scene: Scene) -> None:
    await scene.add("m1")
    await scene.append("r-m1", 0, "One")
    assert (await scene.finish("r-m1", text="One", at_offset=0)).content == "One"


async def test_finishing_at_the_same_moment_as_before_ends_the_reply_once(scene: Scene) -> None:
    await scene.add("m1")
    cursor = await scene.cursor()
    ended = await asyncio.gather(*(scene.finish("r-m1", text="One", at_offset=0) for _ in range(5)))
    assert set(ended) == {await scene.message("r-m1")}
    assert shown(await scene.events(cursor)) == [("r-m1", Status.DONE, "One")]


async def test_finishing_beside_an_append_of_the_same_text_does_not_double_it(
    scene: Scene,
) -> None:
    for number in range(10):
        await scene.add(f"m{number}")
        calls = [
            scene.append(f"r-m{number}", 0, "One"),
            scene.finish(f"r-m{number}", text="One", at_offset=0),
        ]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert results[0] is None or isinstance(results[0], FencedError)
        assert results[1] == await scene.message(f"r-m{number}")
        assert (await scene.message(f"r-m{number}")).content == "One"


async def test_finishing_with_other_text_than_is_there_is_refused(scene: Scene) -> None:
    await scene.add("m1")
    await scene.append("r-m1", 0, "One")
    with pytest.raises(ValueError, match="5"):
        await scene.finish("r-m1", text="two", at_offset=5)
    assert await scene.read("r-m1") == Slice(0, "One", 3, Status.STREAMING, None)


async def test_who_finishes_first_wins_and_the_next_gets_the_winners(scene: Scene) -> None:
    await scene.add("m1")
    await scene.append("r-m1", 0, "One")
    stopped = await scene.stop("r-m1")
    assert (stopped.status, stopped.content) == (Status.STOPPED, "One")
    assert await scene.finish("r-m1", text=" two", at_offset=3) == stopped
    assert await scene.finish("r-m1", Status.ERROR, error=FAILED) == stopped
    assert await scene.message("r-m1") == stopped


async def test_stopping_a_reply_that_has_ended_returns_it(scene: Scene) -> None:
    await scene.add("m1")
    done = await scene.finish("r-m1", text="One", at_offset=0)
    assert await scene.stop("r-m1") == done
    assert await scene.message("r-m1") == done


async def test_of_many_that_finish_at_the_same_moment_one_wins(
    scene: Scene, elsewhere: Scene
) -> None:
    await scene.add("m1")
    ended = await asyncio.gather(
        scene.finish("r-m1", text="One", at_offset=0),
        *(elsewhere.stop("r-m1") for _ in range(5)),
        scene.finish("r-m1", Status.ERROR, error=FAILED),
        *(scene.stop("r-m1") for _ in range(5)),
    )
    assert len(set(ended)) == 1
    assert ended[0] == await scene.message("r-m1")


async def test_another_process_cannot_finish_as_the_producer(
    scene: Scene, elsewhere: Scene
) -> None:
    await scene.add("m1")
    with pytest.raises(FencedError):
        await elsewhere.finish("r-m1", text="One", at_offset=0)
    assert await scene.read("r-m1") == Slice(0, "", 0, Status.STREAMING, None)


async def test_another_process_may_stop(scene: Scene, elsewhere: Scene) -> None:
    await scene.add("m1")
    assert (await elsewhere.stop("r-m1")).status is Status.STOPPED


async def test_a_producer_of_another_process_gets_the_winners_too(
    scene: Scene, elsewhere: Scene
) -> None:
    await scene.add("m1")
    stopped = await scene.stop("r-m1")
    assert await elsewhere.finish("r-m1", text="One", at_offset=0) == stopped


@pytest.mark.parametrize("id", ["unknown", "m1"])
async def test_only_replies_can_be_finished(scene: Scene, id: str) -> None:
    await scene.add("m1")
    with pytest.raises(MessageNotFoundError):
        await scene.stop(id)
    with pytest.raises(MessageNotFoundError):
        await scene.finish(id)


async def test_what_was_cleared_cannot_be_finished(scene: Scene) -> None:
    await scene.add("m1")
    await scene.clear()
    with pytest.raises(MessageClearedError):
        await scene.stop("r-m1")
    with pytest.raises(MessageClearedError):
        await scene.finish("r-m1", text="One", at_offset=0)
    assert await scene.ids() == []


# read


@pytest.mark.parametrize("ended", [False, True])
async def test_reading_begins_at_any_offset(scene: Scene, ended: bool) -> None:
    pieces = ["One", "😀", "e\u0301\n", "日👩\u200d👧", "."]
    await scene.add("m1")
    at_offset = 0
    for piece in pieces:
        await scene.append("r-m1", at_offset, piece)
        at_offset += utf16_length(piece)
    if ended:
        await scene.finish("r-m1")
    status = Status.DONE if ended else Status.STREAMING
    for after_offset in range(at_offset + 1):
        offset, text = utf16_tail("".join(pieces), after_offset)
        assert await scene.read("r-m1", after_offset) == Slice(
            offset, text, at_offset, status, None
        )


@pytest.mark.parametrize("ended", [False, True])
async def test_reading_beyond_the_end_begins_at_the_end(scene: Scene, ended: bool) -> None:
    await scene.add("m1")
    await scene.append("r-m1", 0, "日😀")
    if ended:
        await scene.stop("r-m1")
    status = Status.STOPPED if ended else Status.STREAMING
    for after_offset in (4, 100, 2**31 - 1):
        assert await scene.read("r-m1", after_offset) == Slice(3, "", 3, status, None)


async def test_reading_inside_a_surrogate_pair_begins_before_it(scene: Scene) -> None:
    await scene.add("m1")
    await scene.append("r-m1", 0, "a😀b")
    assert await scene.read("r-m1", 2) == Slice(1, "😀b", 4, Status.STREAMING, None)


async def test_an_empty_reply_can_be_read(scene: Scene) -> None:
    await scene.add("m1")
    assert await scene.read("r-m1") == Slice(0, "", 0, Status.STREAMING, None)
    await scene.finish("r-m1")
    assert await scene.read("r-m1") == Slice(0, "", 0, Status.DONE, None)


async def test_reading_while_text_is_added_never_sees_a_final_status_before_all_of_it(
    scene: Scene,
) -> None:
    await scene.add("m1")

    async def write() -> None:
        for at_offset in range(50):
            await scene.append("r-m1", at_offset, "x")
            await asyncio.sleep(0)
        await scene.finish("r-m1", text="the end", at_offset=50)

    writing = asyncio.create_task(write())
    seen = 0
    while True:
        new = await scene.read("r-m1", seen)
        assert new.offset == seen
        assert new.end == seen + len(new.text)
        seen = new.end
        if new.status.is_final:
            break
        await asyncio.sleep(0)
    await writing
    assert seen == 57


@pytest.mark.parametrize("id", ["unknown", "m1"])
async def test_only_replies_can_be_read(scene: Scene, id: str) -> None:
    await scene.add("m1")
    with pytest.raises(MessageNotFoundError, match=id):
        await scene.read(id)


async def test_reading_a_reply_that_was_cleared_says_so(scene: Scene) -> None:
    await scene.add("m1")
    await scene.append("r-m1", 0, "One")
    await scene.clear()
    with pytest.raises(MessageClearedError, match="r-m1"):
        await scene.read("r-m1")


# message and newest_reply


async def test_a_message_is_as_it_is_now(scene: Scene) -> None:
    await scene.add("m1")
    await scene.append("r-m1", 0, "One")
    streaming = await scene.message("r-m1")
    assert (streaming.content, streaming.status) == ("One", Status.STREAMING)
    await scene.finish("r-m1", text=" two", at_offset=3)
    done = await scene.message("r-m1")
    assert (done.content, done.status) == ("One two", Status.DONE)
    assert (done.reply_to_id, done.created_at) == ("m1", streaming.created_at)


async def test_a_message_that_is_unknown_or_cleared_is_none(scene: Scene) -> None:
    await scene.add("m1")
    await scene.clear()
    for id in ("unknown", "m1", "r-m1"):
        assert await scene.store.message(scene.ref(id)) is None


@pytest.mark.parametrize("id", ["m1", "r-m1"])
async def test_the_reply_that_is_meant_is_found_by_its_id_or_its_messages(
    scene: Scene, id: str
) -> None:
    await scene.add("m1")
    assert await scene.store.newest_reply(scene.ref(id)) == scene.ref("r-m1")


async def test_no_reply_is_meant_by_an_id_that_is_unknown_or_cleared(scene: Scene) -> None:
    await scene.add("m1")
    await scene.clear()
    for id in ("unknown", "m1", "r-m1"):
        with pytest.raises(MessageNotFoundError, match=id):
            await scene.store.newest_reply(scene.ref(id))


# messages


async def test_messages_come_oldest_first(scene: Scene) -> None:
    await scene.add("m2")
    await scene.add("m1")
    await scene.add("other", conversation="c2")
    await scene.add("m3")
    assert await scene.ids() == ["m2", "r-m2", "m1", "r-m1", "m3", "r-m3"]


@pytest.mark.parametrize(
    ("last", "before", "ids"),
    [
        (1, None, ["r-m2"]),
        (3, None, ["r-m1", "m2", "r-m2"]),
        (4, None, ["m1", "r-m1", "m2", "r-m2"]),
        (5, None, ["m1", "r-m1", "m2", "r-m2"]),
        (2, "r-m2", ["r-m1", "m2"]),
        (2, "m2", ["m1", "r-m1"]),
        (9, "m2", ["m1", "r-m1"]),
        (1, "m2", ["r-m1"]),
        (9, "m1", []),
    ],
)
async def test_the_newest_messages_before_one_can_be_asked_for(
    scene: Scene, last: int, before: str | None, ids: list[str]
) -> None:
    await scene.add("m1")
    await scene.add("m2")
    assert await scene.ids(last=last, before=before) == ids


async def test_messages_before_one_that_is_not_in_the_conversation_are_refused(
    scene: Scene,
) -> None:
    await scene.add("m1")
    await scene.add("m2", conversation="c2")
    await scene.add("m3", conversation="c3")
    await scene.clear("c3")
    for before in ("unknown", "m2", "m3"):
        with pytest.raises(MessageNotFoundError, match=before):
            await scene.ids(before=before)


async def test_messages_before_one_are_refused_in_a_conversation_without_messages(
    scene: Scene,
) -> None:
    with pytest.raises(MessageNotFoundError, match="unknown"):
        await scene.ids(before="unknown")


async def test_a_conversation_that_nobody_used_has_no_messages(scene: Scene) -> None:
    assert await scene.ids() == []


# conversations


async def test_conversations_come_with_the_most_recently_used_first(scene: Scene) -> None:
    for conversation in ("c1", "c2", "c3"):
        await scene.add(f"m-{conversation}", conversation=conversation)
    assert await scene.conversations() == ["c3", "c2", "c1"]
    await scene.add("m4", conversation="c1")
    assert await scene.conversations() == ["c1", "c3", "c2"]


async def test_the_end_of_a_reply_is_a_use_of_its_conversation(scene: Scene) -> None:
    await scene.add("m1", conversation="c1")
    await scene.add("m2", conversation="c2")
    await scene.finish("r-m1")
    assert await scene.conversations() == ["c1", "c2"]


async def test_at_most_so_many_conversations_are_returned(scene: Scene) -> None:
    for conversation in ("c1", "c2", "c3"):
        await scene.add(f"m-{conversation}", conversation=conversation)
    assert await scene.conversations(first=2) == ["c3", "c2"]


async def test_a_conversation_knows_when_it_began_and_was_last_used(scene: Scene) -> None:
    async def now() -> Conversation:
        [conversation] = await scene.store.conversations(scene.owner, 10)
        return conversation

    await scene.add("m1")
    user, reply = await scene.message("m1"), await scene.message("r-m1")
    added = await now()
    assert (added.id, added.created_at) == ("c1", user.created_at)
    assert added.updated_at >= reply.created_at
    await scene.finish("r-m1")
    ended = await now()
    assert ended.created_at == added.created_at
    assert ended.updated_at >= added.updated_at


async def test_a_conversation_was_never_last_used_before_its_newest_message(scene: Scene) -> None:
    for number in range(10):
        await scene.add(f"m{number}")
    newest = await scene.message("r-m9")
    await scene.finish("r-m0")
    [conversation] = await scene.store.conversations(scene.owner, 10)
    assert conversation.updated_at >= newest.created_at


async def test_a_conversation_that_was_cleared_is_none(scene: Scene) -> None:
    await scene.add("m1", conversation="c1")
    await scene.add("m2", conversation="c2")
    await scene.clear("c2")
    assert await scene.conversations() == ["c1"]
    await scene.add("m3", conversation="c2")
    assert await scene.conversations() == ["c2", "c1"]


# history


async def test_the_history_of_a_reply_ends_with_its_users_message(scene: Scene) -> None:
    await scene.add("m1", "Hello")
    assert await scene.history("r-m1") == [("m1", "Hello")]


async def test_the_history_has_whole_messages(scene: Scene) -> None:
    await scene.add("m1", "Hello")
    await scene.finish("r-m1", text="Hi", at_offset=0)
    await scene.add("m2", "Again")
    assert await scene.store.history(scene.ref("r-m2")) == (
        await scene.message("m1"),
        await scene.message("r-m1"),
        await scene.message("m2"),
    )


async def test_an_earlier_reply_counts_with_the_text_that_it_has(scene: Scene) -> None:
    await scene.add("m1", "One")
    await scene.add("m2", "Two")
    await scene.append("r-m1", 0, "Strea")
    assert await scene.history("r-m2") == [("m1", "One"), ("r-m1", "Strea"), ("m2", "Two")]
    await scene.append("r-m1", 5, "ming")
    await scene.stop("r-m1")
    assert await scene.history("r-m2") == [("m1", "One"), ("r-m1", "Streaming"), ("m2", "Two")]


async def test_an_earlier_reply_without_text_is_left_out(scene: Scene) -> None:
    await scene.add("m1", "One")
    await scene.add("m2", "Two")
    await scene.add("m3", "Three")
    await scene.stop("r-m2")
    assert await scene.history("r-m3") == [("m1", "One"), ("m2", "Two"), ("m3", "Three")]


async def test_later_messages_and_the_reply_itself_are_no_history(scene: Scene) -> None:
    await scene.add("m1", "One")
    await scene.append("r-m1", 0, "Text")
    await scene.add("m2", "Two")
    await scene.append("r-m2", 0, "Text")
    await scene.add("m3", "Three", conversation="c2")
    assert await scene.history("r-m1") == [("m1", "One")]


@pytest.mark.parametrize("id", ["unknown", "m1"])
async def test_only_replies_have_a_history(scene: Scene, id: str) -> None:
    await scene.add("m1")
    with pytest.raises(MessageNotFoundError, match=id):
        await scene.history(id)


async def test_a_reply_that_has_ended_needs_no_history(scene: Scene) -> None:
    await scene.add("m1")
    await scene.stop("r-m1")
    with pytest.raises(FencedError):
        await scene.history("r-m1")


async def test_the_history_of_a_reply_that_was_cleared_is_gone(scene: Scene) -> None:
    await scene.add("m1")
    await scene.clear()
    with pytest.raises(MessageClearedError, match="r-m1"):
        await scene.history("r-m1")


# clear


async def test_clearing_removes_all_messages_and_counts_them(scene: Scene) -> None:
    await scene.add("m1")
    await scene.finish("r-m1")
    await scene.add("m2")
    assert await scene.clear() == 4
    assert await scene.ids() == []


async def test_clearing_again_removes_nothing(scene: Scene) -> None:
    await scene.add("m1")
    await scene.clear()
    assert await scene.clear() == 0


async def test_of_many_that_clear_at_the_same_moment_each_message_is_counted_once(
    scene: Scene,
) -> None:
    await scene.add("m1")
    assert sorted(await asyncio.gather(*(scene.clear() for _ in range(5)))) == [0, 0, 0, 0, 2]


async def test_clearing_what_nobody_used_removes_nothing(scene: Scene) -> None:
    assert await scene.clear("unknown") == 0
    assert await scene.conversations() == []


async def test_clearing_leaves_other_conversations_alone(scene: Scene) -> None:
    await scene.add("m1", conversation="c1")
    await scene.add("m2", conversation="c2")
    await scene.clear("c1")
    assert await scene.ids("c2") == ["m2", "r-m2"]
    await scene.append("r-m2", 0, "One")


async def test_a_cleared_conversation_starts_anew(scene: Scene) -> None:
    await scene.add("m1", "Secret")
    await scene.append("r-m1", 0, "Secret")
    await scene.clear()
    await scene.add("m2", "Hello")
    assert await scene.ids() == ["m2", "r-m2"]
    assert await scene.history("r-m2") == [("m2", "Hello")]


# events


async def test_the_first_event_is_the_conversation_as_it_is(scene: Scene) -> None:
    await scene.add("m1")
    await scene.append("r-m1", 0, "One")
    await scene.add("m2", conversation="c2")
    events = await scene.events()
    messages = await scene.store.messages(scene.conversation(), 10, None)
    assert events.events == (MessagesReset("c1", messages),)
    assert messages[1].content == "One"
    assert not events.more


async def test_a_conversation_that_nobody_used_starts_with_an_empty_reset(scene: Scene) -> None:
    events = await scene.events()
    assert events.events == (MessagesReset("c1", ()),)
    await scene.add("m1")
    assert shown(await scene.events(events.cursor)) == [
        ("m1", Status.DONE, "Hello"),
        ("r-m1", Status.STREAMING, ""),
    ]


async def test_each_send_gives_three_events_in_order(scene: Scene) -> None:
    cursor = await scene.cursor()
    await scene.add("m1", "Hello")
    events = await scene.events(cursor)
    assert shown(events) == [("m1", Status.DONE, "Hello"), ("r-m1", Status.STREAMING, "")]
    await scene.append("r-m1", 0, "One")
    assert shown(await scene.events(events.cursor)) == []
    await scene.finish("r-m1", text=" two", at_offset=3)
    events = await scene.events(events.cursor)
    assert shown(events) == [("r-m1", Status.DONE, "One two")]
    assert shown(await scene.events(events.cursor)) == []


async def test_events_that_are_read_late_show_each_message_as_it_was_then(scene: Scene) -> None:
    cursor = await scene.cursor()
    await scene.add("m1", "One")
    await scene.add("m2", "Two")
    await scene.append("r-m1", 0, "Text")
    await scene.append("r-m2", 0, "Other")
    await scene.stop("r-m2")
    await scene.finish("r-m1")
    assert shown(await scene.events(cursor)) == [
        ("m1", Status.DONE, "One"),
        ("r-m1", Status.STREAMING, ""),
        ("m2", Status.DONE, "Two"),
        ("r-m2", Status.STREAMING, ""),
        ("r-m2", Status.STOPPED, "Other"),
        ("r-m1", Status.DONE, "Text"),
    ]


async def test_an_event_has_the_whole_message(scene: Scene) -> None:
    cursor = await scene.cursor()
    await scene.add("m1")
    streaming = await scene.message("r-m1")
    await scene.finish("r-m1", Status.ERROR, text="One", at_offset=0, error=FAILED)
    changed = [event.message for event in (await scene.events(cursor)).events]  # type: ignore[union-attr]
    assert changed == [await scene.message("m1"), streaming, await scene.message("r-m1")]


async def test_each_reader_has_its_own_cursor(scene: Scene) -> None:
    one = await scene.cursor()
    await scene.add("m1")
    other = await scene.cursor()
    await scene.finish("r-m1")
    assert len((await scene.events(one)).events) == 3
    assert len((await scene.events(one)).events) == 3
    assert shown(await scene.events(other)) == [("r-m1", Status.DONE, "")]


async def test_events_are_of_their_own_conversation(scene: Scene) -> None:
    cursor = await scene.cursor("c1")
    await scene.add("m2", conversation="c2")
    await scene.finish("r-m2")
    await scene.clear("c2")
    assert shown(await scene.events(cursor, "c1")) == []


async def test_a_clear_starts_over(scene: Scene) -> None:
    await scene.add("m1")
    cursor = await scene.cursor()
    await scene.clear()
    events = await scene.events(cursor)
    assert events.events == (MessagesReset("c1", ()),)
    await scene.add("m2")
    assert shown(await scene.events(events.cursor)) == [
        ("m2", Status.DONE, "Hello"),
        ("r-m2", Status.STREAMING, ""),
    ]


async def test_a_cursor_from_before_a_clear_starts_over_with_what_came_after_it(
    scene: Scene,
) -> None:
    empty = await scene.cursor()
    await scene.add("m1", "Secret")
    cursor = await scene.cursor()
    await scene.finish("r-m1")
    await scene.clear()
    await scene.add("m2")
    await scene.finish("r-m2", text="One", at_offset=0)
    for stale in (empty, cursor):
        events = await scene.events(stale)
        assert shown(events) == [["m2", "r-m2"]]
        assert reset_of(events).messages[1].content == "One"
        assert shown(await scene.events(events.cursor)) == []


async def test_clearing_nothing_gives_no_event(scene: Scene) -> None:
    await scene.add("m1")
    await scene.clear()
    cursor = await scene.cursor()
    await scene.clear()
    assert shown(await scene.events(cursor)) == []


async def test_many_events_come_in_parts_and_each_once(scene: Scene) -> None:
    cursor = await scene.cursor()
    expected: list[object] = []
    for number in range(120):
        await scene.add(f"m{number}")
        await scene.finish(f"r-m{number}")
        expected += [f"m{number}", f"r-m{number}", f"r-m{number}"]
    events = await scene.events(cursor)
    seen = shown(events)
    while events.more:
        assert events.events, "a part is never empty"
        events = await scene.events(events.cursor)
        seen += shown(events)
    assert [change[0] for change in seen] == expected
    assert shown(await scene.events(events.cursor)) == []


async def test_a_reset_has_as_many_of_the_newest_messages_as_asked_for(scene: Scene) -> None:
    for number in range(5):
        await scene.add(f"m{number}")
    messages = reset_of(await scene.events(last=3)).messages
    assert [message.id for message in messages] == ["r-m3", "m4", "r-m4"]


async def test_a_window_that_reads_while_others_write_misses_nothing(scene: Scene) -> None:
    async def write() -> None:
        for number in range(30):
            await scene.add(f"m{number}")
            await asyncio.sleep(0)
            await scene.finish(f"r-m{number}")

    writing = asyncio.create_task(write())
    await asyncio.sleep(0)
    events = await scene.events()
    window = {message.id: message.status for message in reset_of(events).messages}
    all_is_read = False
    while not all_is_read:
        all_is_written = writing.done()
        events = await scene.events(events.cursor)
        all_is_read = all_is_written and not events.events
        for event in events.events:
            assert not isinstance(event, MessagesReset)
            assert not window.get(event.message.id, Status.STREAMING).is_final, "an old event"
            window[event.message.id] = event.message.status
        await asyncio.sleep(0)
    await writing
    assert list(window) == await scene.ids()
    assert set(window.values()) == {Status.DONE}


# register, renew and sweep


async def test_each_registration_is_a_lease_of_its_own(store: Store) -> None:
    one, other = await store.register(60), await store.register(60)
    assert one != other
    assert one.id != other.id or one.epoch < other.epoch


async def test_a_renewal_leaves_running_replies_alone(scene: Scene) -> None:
    await scene.add("m1")
    assert await scene.renew("r-m1") == set()
    await scene.append("r-m1", 0, "One")
    assert await scene.read("r-m1") == Slice(0, "One", 3, Status.STREAMING, None)


async def test_a_renewal_names_what_others_ended_until_it_no_longer_runs(
    scene: Scene, elsewhere: Scene
) -> None:
    for id in ("m1", "m2", "m3"):
        await scene.add(id)
    await elsewhere.stop("r-m2")
    assert await scene.renew("r-m1", "r-m2", "r-m3") == {"r-m2"}
    assert await scene.renew("r-m1", "r-m2", "r-m3") == {"r-m2"}
    assert await scene.renew("r-m1", "r-m3") == set()


async def test_a_renewal_names_what_was_cleared_until_it_no_longer_runs(scene: Scene) -> None:
    await scene.add("m1", conversation="c1")
    await scene.add("m2", conversation="c2")
    await scene.clear("c1")
    assert await scene.renew("r-m1", "r-m2") == {"r-m1"}
    assert await scene.renew("r-m1", "r-m2") == {"r-m1"}
    assert await scene.renew("r-m2") == set()


async def test_a_reply_that_nobody_runs_ends_as_lost_with_its_text(scene: Scene) -> None:
    await scene.add("m1")
    await scene.add("m2")
    await scene.append("r-m1", 0, "One")
    cursor = await scene.cursor()
    assert await scene.renew("r-m2") == set()
    lost = await scene.message("r-m1")
    assert (lost.status, lost.content) == (Status.ERROR, "One")
    assert lost.error is not None
    assert lost.error.code is ReplyErrorCode.PRODUCER_LOST
    assert shown(await scene.events(cursor)) == [("r-m1", Status.ERROR, "One")]
    assert (await scene.message("r-m2")).status is Status.STREAMING


async def test_a_renewal_leaves_replies_alone_that_came_after_it_was_begun(scene: Scene) -> None:
    await scene.add("m1", renewals=1)
    assert await scene.renew(number=1) == set()
    assert (await scene.message("r-m1")).status is Status.STREAMING
    await scene.renew(number=2)
    assert (await scene.message("r-m1")).status is Status.ERROR


async def test_a_reply_that_ended_before_does_not_end_as_lost(scene: Scene) -> None:
    await scene.add("m1")
    done = await scene.finish("r-m1")
    await scene.renew()
    assert await scene.message("r-m1") == done


async def test_a_renewal_leaves_replies_of_other_processes_alone(
    scene: Scene, elsewhere: Scene
) -> None:
    await scene.add("m1")
    await elsewhere.renew()
    assert (await scene.message("r-m1")).status is Status.STREAMING


async def test_a_renewal_names_what_streams_under_an_earlier_lease(scene: Scene) -> None:
    await scene.add("m1")
    anew = Scene(scene.store, scene.owner, await scene.store.register(3600))
    await anew.add("m2")
    assert await anew.renew("r-m1", "r-m2") == {"r-m1"}
    assert (await scene.message("r-m1")).status is Status.STREAMING
    with pytest.raises(FencedError):
        await anew.append("r-m1", 0, "One")


async def test_a_renewal_names_what_is_not_added_yet_and_what_never_was(scene: Scene) -> None:
    assert await scene.renew("r-m1", "unknown") == {"r-m1", "unknown"}
    await scene.add("m1", renewals=2)
    assert await scene.renew("r-m1", "unknown", "m1", number=2) == {"unknown", "m1"}


async def test_the_same_renewal_again_says_the_same(scene: Scene, elsewhere: Scene) -> None:
    for id in ("m1", "m2"):
        await scene.add(id)
    await elsewhere.stop("r-m2")
    named = await asyncio.gather(*(scene.renew("r-m1", "r-m2", number=3) for _ in range(3)))
    assert named == [{"r-m2"}] * 3
    assert (await scene.message("r-m1")).status is Status.STREAMING


async def test_of_many_that_nobody_runs_each_ends_as_lost(scene: Scene) -> None:
    await asyncio.gather(*(scene.add(f"m{number}") for number in range(30)))
    await scene.renew("r-m0", "r-m29")
    replies = (await scene.store.messages(scene.conversation(), 100, None))[1::2]
    streaming = {reply.id for reply in replies if reply.status is Status.STREAMING}
    assert streaming == {"r-m0", "r-m29"}


async def test_a_lease_that_was_never_given_cannot_be_renewed(scene: Scene) -> None:
    with pytest.raises(FencedError):
        await scene.store.renew(Lease("nobody", 99), 1, set())


async def test_a_sweep_leaves_live_leases_alone(scene: Scene) -> None:
    await scene.add("m1")
    await scene.store.sweep()
    await scene.append("r-m1", 0, "One")
    assert await scene.renew("r-m1") == set()


async def test_a_sweep_ends_what_streams_under_a_lease_that_ran_out(
    scene: Scene, short_lived: Scene
) -> None:
    await scene.add("m0")
    await short_lived.add("m1")
    await short_lived.add("m2")
    await short_lived.append("r-m1", 0, "One")
    assert await swept(scene.store) == 2
    lost = await scene.message("r-m1")
    assert (lost.status, lost.content) == (Status.ERROR, "One")
    assert lost.error is not None
    assert lost.error.code is ReplyErrorCode.PRODUCER_LOST
    assert (await scene.message("r-m0")).status is Status.STREAMING


async def test_what_was_swept_is_not_swept_again(scene: Scene, short_lived: Scene) -> None:
    await short_lived.add("m1")
    assert await swept(scene.store) == 1
    ended = await scene.message("r-m1")
    assert await scene.store.sweep() == 0
    assert await scene.message("r-m1") == ended


async def test_a_process_whose_lease_was_swept_writes_nothing_more(
    scene: Scene, short_lived: Scene
) -> None:
    await short_lived.add("m1")
    await swept(scene.store)
    with pytest.raises(FencedError):
        await short_lived.append("r-m1", 0, "late")
    with pytest.raises(FencedError):
        await short_lived.add("m2")
    with pytest.raises(FencedError):
        await short_lived.renew("r-m1")
    assert (await short_lived.finish("r-m1", text="late", at_offset=0)).status is Status.ERROR
    assert await scene.ids() == ["m1", "r-m1"]
    assert (await scene.message("r-m1")).content == ""


# watch


@pytest.fixture
def telling(scene: Scene) -> Scene:
    """A store that tells every change."""
    if scene.store.poll_seconds < 1:
        pytest.skip("this store's readers look for themselves, and wake-ups may be missing")
    return scene


async def test_watchers_of_a_reply_are_woken_by_its_text_and_its_end(telling: Scene) -> None:
    await telling.add("m1")
    alarm = Alarm(telling.store, telling.ref("r-m1"))
    await alarm.falls_silent()
    await telling.append("r-m1", 0, "One")
    await alarm.rings_next()
    await alarm.falls_silent()
    await telling.finish("r-m1")
    await alarm.rings_next()


async def test_watchers_of_a_reply_are_woken_when_it_is_lost(telling: Scene) -> None:
    await telling.add("m1")
    alarm = Alarm(telling.store, telling.ref("r-m1"))
    await alarm.falls_silent()
    await telling.renew()
    await alarm.rings_next()


async def test_watchers_of_a_reply_are_woken_when_it_is_cleared(telling: Scene) -> None:
    await telling.add("m1")
    alarm = Alarm(telling.store, telling.ref("r-m1"))
    await alarm.falls_silent()
    await telling.clear()
    await alarm.rings_next()


async def test_watchers_of_a_conversation_are_woken_by_each_event(telling: Scene) -> None:
    alarm = Alarm(telling.store, telling.conversation())
    await alarm.falls_silent()
    await telling.add("m1")
    await alarm.rings_next()
    await alarm.falls_silent()
    await telling.finish("r-m1")
    await alarm.rings_next()
    await alarm.falls_silent()
    await telling.clear()
    await alarm.rings_next()


async def test_the_holder_of_a_lease_is_woken_when_others_end_its_reply(
    telling: Scene, elsewhere: Scene
) -> None:
    await telling.add("m1")
    await telling.add("m2")
    alarm = Alarm(telling.store, telling.lease)
    await alarm.falls_silent()
    await elsewhere.stop("r-m1")
    await alarm.rings_next()
    await alarm.falls_silent()
    await elsewhere.clear()
    await alarm.rings_next()


async def test_each_of_many_watchers_is_woken(telling: Scene) -> None:
    await telling.add("m1")
    alarms = [Alarm(telling.store, telling.ref("r-m1")) for _ in range(3)]
    await telling.append("r-m1", 0, "One")
    for alarm in alarms:
        await alarm.rings_next()


async def test_who_no_longer_watches_is_not_woken(telling: Scene) -> None:
    await telling.add("m1")
    gone, other = (Alarm(telling.store, telling.ref("r-m1")) for _ in range(2))
    gone.unwatch()
    await telling.append("r-m1", 0, "One")
    await other.rings_next()
    assert gone.rings == 0


async def test_unwatching_twice_does_no_harm(telling: Scene) -> None:
    await telling.add("m1")
    gone, other = (Alarm(telling.store, telling.ref("r-m1")) for _ in range(2))
    gone.unwatch()
    gone.unwatch()
    await telling.append("r-m1", 0, "One")
    await other.rings_next()


async def test_a_watcher_may_stop_watching_when_it_is_woken(telling: Scene) -> None:
    await telling.add("m1")
    topic: Topic = telling.ref("r-m1")
    woken = asyncio.Event()

    def wake() -> None:
        unwatch()
        woken.set()

    unwatch = telling.store.watch(topic, wake)
    other = Alarm(telling.store, topic)
    await telling.append("r-m1", 0, "One")
    await asyncio.wait_for(woken.wait(), 10)
    await other.rings_next()


# Owners


async def test_two_owners_may_use_the_same_ids(scene: Scene, stranger: Scene) -> None:
    assert (await scene.add("m1", "Mine")).created
    assert (await stranger.add("m1", "Theirs")).created
    await scene.append("r-m1", 0, "My reply")
    await stranger.append("r-m1", 0, "Their reply")
    assert (await scene.read("r-m1")).text == "My reply"
    assert (await stranger.read("r-m1")).text == "Their reply"
    assert (await scene.message("m1")).content == "Mine"
    assert await scene.history("r-m1") == [("m1", "Mine")]


async def test_another_owners_messages_are_not_there(scene: Scene, stranger: Scene) -> None:
    await scene.add("m1")
    for id in ("m1", "r-m1"):
        assert await stranger.store.message(stranger.ref(id)) is None
        with pytest.raises(MessageNotFoundError):
            await stranger.read(id)
        with pytest.raises(MessageNotFoundError):
            await stranger.history(id)
        with pytest.raises(MessageNotFoundError):
            await stranger.stop(id)
        with pytest.raises(MessageNotFoundError):
            await stranger.finish(id)
        with pytest.raises(FencedError):
            await stranger.append(id, 0, "One")
        with pytest.raises(MessageNotFoundError):
            await stranger.store.newest_reply(stranger.ref(id))
        with pytest.raises(MessageNotFoundError):
            await stranger.ids(before=id)
    assert await stranger.ids() == []
    assert await stranger.conversations() == []
    assert (await scene.message("r-m1")).status is Status.STREAMING


async def test_another_owners_message_is_not_found_in_the_time_of_none(
    scene: Scene, stranger: Scene
) -> None:
    """By the medians of interleaved calls; the bound is generous, for machines that are busy."""
    await scene.add("m1", "A text. " * 1_000)
    seconds: dict[str, list[float]] = {"m1": [], "m2": []}
    for _ in range(100):
        for id, measured in seconds.items():
            begin = time.perf_counter()
            assert await stranger.store.message(stranger.ref(id)) is None
            measured.append(time.perf_counter() - begin)
    others, nobodys = (statistics.median(measured) for measured in seconds.values())
    assert 1 / 3 < others / nobodys < 3


async def test_clearing_leaves_other_owners_alone(scene: Scene, stranger: Scene) -> None:
    await scene.add("m1")
    assert await stranger.clear() == 0
    await stranger.add("m1")
    assert await stranger.clear() == 2
    assert await scene.ids() == ["m1", "r-m1"]
    await scene.append("r-m1", 0, "One")
    assert not (await scene.add("m1", reply="other")).created


async def test_events_of_other_owners_do_not_come(scene: Scene, stranger: Scene) -> None:
    cursor = await stranger.cursor()
    await scene.add("m1")
    await scene.finish("r-m1")
    await scene.clear()
    assert shown(await stranger.events(cursor)) == []
    assert shown(await stranger.events()) == [[]]
