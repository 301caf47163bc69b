"""The chat service: sending, following, stopping, clearing, and what goes wrong meanwhile."""

import asyncio
import gc
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphql_app import chat as chat_module
from graphql_app.chat import ChatService
from graphql_app.errors import (
    BadUserInputError,
    CompletionError,
    MessageClearedError,
    MessageIdConflictError,
    MessageNotFoundError,
    StoreUnavailableError,
    TooManyRepliesError,
)
from graphql_app.follower import Following
from graphql_app.limits import Limits
from graphql_app.messages import (
    Chunk,
    Message,
    MessageChanged,
    MessagesReset,
    Ref,
    ReplyError,
    ReplyErrorCode,
    Role,
    Status,
)
from graphql_app.producer import Producer
from tests.chats import PATIENCE_SECONDS, Client, Window, running_chat, settled
from tests.faults import (
    FaultyStore,
    Gate,
    ImmediateStore,
    ScriptedCompletion,
    ScriptedCompletions,
    StubbornCompletion,
)
from tests.objects import alive

QUICK = 0.03
"""A lease so short that it is renewed a hundred times a second."""


async def send(
    chat: ChatService,
    id: str = "m1",
    content: str = "Hello",
    *,
    conversation: str = "c1",
    owner: str = "ann",
) -> Client:
    return Client(await chat.send(owner, id, conversation, content))


async def resume(
    chat: ChatService,
    id: str,
    *,
    content: str | None = None,
    offset: int | None = None,
    shown: str = "",
    owner: str = "ann",
) -> Client:
    """A client that shows something, says that it has something, and is sent the rest."""
    stream = await chat.resume(owner, id, content=content, offset=offset)
    return Client(stream, shown if content is None else content)


async def open_window(chat: ChatService, conversation: str = "c1", *, owner: str = "ann") -> Window:
    """A window that shows what there is."""
    window = Window(await chat.events(owner, conversation))
    await window.next()
    return window


async def message(chat: ChatService, id: str, owner: str = "ann") -> Message:
    """A message that is there."""
    found = await chat.message(owner, id)
    assert found is not None
    return found


async def soon(event: asyncio.Event) -> None:
    """Within a second, as is promised of the provider's request when a reply is stopped."""
    await asyncio.wait_for(event.wait(), 1)


def quickly_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries to add a message again almost at once, and not for long."""
    monkeypatch.setattr(chat_module, "ADD_AGAIN_SECONDS", (0.001,))
    monkeypatch.setattr(chat_module, "ADD_SECONDS", 0.1)


# Sending


async def test_the_first_chunk_comes_at_once_with_the_replys_id_and_no_text(
    chat: ChatService, completion: ScriptedCompletion
) -> None:
    client = await send(chat)
    first = await client.next()
    assert first == Chunk(first.message_id, 0, "", Status.STREAMING)
    assert (await message(chat, first.message_id)).reply_to_id == "m1"
    await client.leave()


async def test_the_first_chunk_of_a_new_reply_is_empty_however_quick_the_completion_is(
    chat: ChatService, completion: ScriptedCompletion
) -> None:
    completion.say("One")
    completion.end()
    client = await send(chat)
    await settled()
    await client.until_end()
    assert [(chunk.text, chunk.status) for chunk in client.chunks] == [
        ("", Status.STREAMING),
        ("One", Status.DONE),
    ]


async def test_a_reply_is_streamed_to_its_end(
    chat: ChatService, completion: ScriptedCompletion
) -> None:
    client = await send(chat)
    completion.say("One")
    await client.until("One")
    completion.say(" two")
    completion.end()
    last = await client.until_end()
    assert client.content == "One two"
    assert (last.status, last.error) == (Status.DONE, None)


async def test_a_send_stores_the_message_and_its_reply(
    chat: ChatService, completion: ScriptedCompletion
) -> None:
    completion.say("One")
    completion.end()
    client = await send(chat)
    await client.until_end()
    user, reply = await chat.messages("ann", "c1")
    assert (user.id, user.role, user.content, user.status) == (
        "m1",
        Role.USER,
        "Hello",
        Status.DONE,
    )
    assert (reply.id, reply.role, reply.content, reply.status) == (
        client.message_id,
        Role.ASSISTANT,
        "One",
        Status.DONE,
    )
    assert [conversation.id for conversation in await chat.conversations("ann")] == ["c1"]


async def test_a_completion_that_fails_ends_the_stream_with_its_sentence(
    chat: ChatService, completion: ScriptedCompletion
) -> None:
    client = await send(chat)
    completion.say("One")
    completion.fail(CompletionError(ReplyErrorCode.COMPLETION_FAILED, "The model sleeps."))
    last = await client.until_end()
    assert client.content == "One"
    assert (last.status, last.error) == (
        Status.ERROR,
        ReplyError(ReplyErrorCode.COMPLETION_FAILED, "The model sleeps."),
    )


async def test_each_reply_has_an_id_of_its_own(chat: ChatService) -> None:
    one, other = await send(chat, "m1"), await send(chat, "m2")
    await one.next()
    await other.next()
    assert one.message_id != other.message_id


# Leaving


async def test_a_client_that_leaves_changes_nothing_for_the_reply(
    chat: ChatService, completion: ScriptedCompletion
) -> None:
    client = await send(chat)
    await client.next()
    completion.say("One")
    await client.until("One")
    await client.leave()
    completion.say(" two")
    completion.end()
    follower = await send(chat)
    assert (await follower.until_end()).status is Status.DONE
    assert follower.content == "One two"
    assert completion.calls == 1


async def test_a_client_that_never_reads_changes_nothing_for_the_reply(
    chat: ChatService, completion: ScriptedCompletion
) -> None:
    await chat.send("ann", "m1", "c1", "Hello")
    completion.say("One")
    completion.end()
    follower = await send(chat)
    await follower.until_end()
    assert follower.content == "One"


async def test_a_client_that_is_cancelled_while_it_waits_changes_nothing_for_the_reply(
    chat: ChatService, completion: ScriptedCompletion
) -> None:
    client = await send(chat)
    await client.next()
    waiting = asyncio.create_task(client.next())
    await settled()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    completion.say("One")
    completion.end()
    follower = await send(chat)
    await follower.until_end()
    assert follower.content == "One"


async def test_a_client_that_does_not_read_holds_up_nobody_and_gets_all_in_one_piece(
    chat: ChatService, completion: ScriptedCompletion
) -> None:
    client, other = await send(chat), await send(chat)
    await client.next()
    completion.say(*["word "] * 1_000)
    completion.end()
    await other.until_end()
    assert await client.next() == Chunk(client.message_id, 0, "word " * 1_000, Status.DONE)


@pytest.mark.parametrize("hold", [FaultyStore.holding, FaultyStore.holding_answers_of])
async def test_a_client_that_leaves_while_its_send_is_under_way_leaves_no_orphan(
    chat: ChatService,
    store: FaultyStore,
    completion: ScriptedCompletion,
    hold: Callable[[FaultyStore, str], Gate],
) -> None:
    gate = hold(store, "add")
    sending = asyncio.create_task(chat.send("ann", "m1", "c1", "Hello"))
    await gate.reached()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    completion.say("One")
    completion.end()
    gate.open()
    await soon(completion.was_closed)
    follower = await send(chat)
    assert (await follower.until_end()).status is Status.DONE
    assert follower.content == "One"
    assert completion.calls == 1


async def test_a_client_that_leaves_before_its_send_is_refused_leaves_no_traceback(
    chat: ChatService, store: FaultyStore, caplog: pytest.LogCaptureFixture
) -> None:
    await send(chat, content="Hello")
    gate = store.holding("add")
    sending = asyncio.create_task(chat.send("ann", "m1", "c1", "Other"))
    await gate.reached()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    gate.open()
    await settled()
    gc.collect()
    assert not caplog.records


# Sending again


async def test_sending_again_joins_the_reply_with_all_that_was_said(
    chat: ChatService, completion: ScriptedCompletion
) -> None:
    client = await send(chat)
    completion.say("One")
    await client.until("One")
    joined = await send(chat)
    assert await joined.next() == Chunk(client.message_id, 0, "One", Status.STREAMING)
    completion.say(" two")
    completion.end()
    for each in (client, joined):
        assert (await each.until_end()).status is Status.DONE
        assert each.content == "One two"
    assert completion.calls == 1
    assert len(await chat.messages("ann", "c1")) == 2


async def test_sending_again_after_the_end_gives_the_whole_reply_in_one_chunk(
    chat: ChatService, completion: ScriptedCompletion
) -> None:
    completion.say("One")
    completion.end()
    await (await send(chat)).until_end()
    joined = await send(chat)
    await joined.until_end()
    assert [chunk.text for chunk in joined.chunks] == ["One"]
    assert completion.calls == 1


async def test_many_sends_at_the_same_moment_make_one_reply(
    chat: ChatService, store: FaultyStore, completion: ScriptedCompletion
) -> None:
    gate = store.holding("add")
    sending = asyncio.gather(*(send(chat) for _ in range(10)))
    await gate.reached()
    gate.open()
    clients = await sending
    completion.say("One")
    completion.end()
    for client in clients:
        await client.until_end()
        assert client.content == "One"
    assert len({client.message_id for client in clients}) == 1
    assert completion.calls == 1
    assert len(await chat.messages("ann", "c1")) == 2


async def test_another_process_may_send_again(
    chat: ChatService, store: FaultyStore, completion: ScriptedCompletion
) -> None:
    client = await send(chat)
    async with running_chat(store, completion) as other:
        joined = await send(other)
        completion.say("One")
        completion.end()
        assert (await joined.until_end()).status is Status.DONE
    await client.until_end()
    assert joined.content == client.content == "One"
    assert completion.calls == 1


@pytest.mark.parametrize(
    ("content", "conversation"), [("Other", "c1"), ("Hello ", "c1"), ("Hello", "c2")]
)
async def test_an_id_used_for_something_else_is_a_conflict(
    chat: ChatService, completion: ScriptedCompletion, content: str, conversation: str
) -> None:
    client = await send(chat)
    with pytest.raises(MessageIdConflictError):
        await send(chat, content=content, conversation=conversation)
    await settled()
    assert completion.calls == 1
    await client.leave()


async def test_an_id_used_for_a_reply_is_a_conflict(chat: ChatService) -> None:
    client = await send(chat)
    await client.next()
    with pytest.raises(MessageIdConflictError, match="a reply"):
        await send(chat, client.message_id)
    await client.leave()


async def test_sending_again_what_was_cleared_brings_nothing_back(
    chat: ChatService, completion: ScriptedCompletion
) -> None:
    await send(chat)
    await soon(completion.was_called)
    await chat.clear("ann", "c1")
    with pytest.raises(MessageClearedError):
        await send(chat)
    assert await chat.messages("ann", "c1") == ()
    assert completion.calls == 1


async def test_another_owner_may_use_the_same_id(store: FaultyStore) -> None:
    completions = ScriptedCompletions()
    async with running_chat(store, completions) as chat:
        mine = await send(chat, content="Mine", owner="ann")
        theirs = await send(chat, content="Theirs", owner="bob")
        completions.answering("Mine").say("For Ann")
        completions.answering("Theirs").say("For Bob")
        await mine.until("For Ann")
        await theirs.until("For Bob")
        await chat.stop("ann", "m1")
        assert (await mine.until_end()).status is Status.STOPPED
        assert (await message(chat, theirs.message_id, "bob")).status is Status.STREAMING


# A store that cannot be reached while a message is sent


@pytest.mark.parametrize("fault", [FaultyStore.failing_on, FaultyStore.losing_answers_of])
@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_short_outage_while_sending_is_not_seen(
    chat: ChatService,
    store: FaultyStore,
    completion: ScriptedCompletion,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[..., None],
    times: int,
) -> None:
    quickly_again(monkeypatch)
    fault(store, "add", times=times)
    client = await send(chat)
    assert await client.next() == Chunk(client.message_id, 0, "", Status.STREAMING)
    completion.say("One")
    completion.end()
    assert (await client.until_end()).status is Status.DONE
    assert client.content == "One"
    assert completion.calls == 1
    assert len(await chat.messages("ann", "c1")) == 2


async def test_a_long_outage_while_sending_is_said_and_nothing_is_stored(
    chat: ChatService,
    store: FaultyStore,
    completion: ScriptedCompletion,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quickly_again(monkeypatch)
    store.failing_on("add", times=1_000_000)
    with pytest.raises(StoreUnavailableError):
        await send(chat)
    store.failing_on("add", times=0)
    assert await chat.messages("ann", "c1") == ()
    client = await send(chat)
    completion.end()
    assert (await client.until_end()).status is Status.DONE
    assert completion.calls == 1


async def test_a_send_whose_every_answer_was_lost_ends_as_lost_and_costs_nothing(
    store: FaultyStore, completion: ScriptedCompletion, monkeypatch: pytest.MonkeyPatch
) -> None:
    quickly_again(monkeypatch)
    async with running_chat(store, completion, lease_seconds=QUICK) as chat:
        store.losing_answers_of("add", times=1_000_000)
        with pytest.raises(StoreUnavailableError):
            await send(chat)
        store.losing_answers_of("add", times=0)
        joined = await send(chat)
        last = await joined.until_end()
    assert last.error is not None
    assert last.error.code is ReplyErrorCode.PRODUCER_LOST
    assert completion.calls == 0


async def test_a_send_does_not_wait_for_a_store_that_fails_and_then_hangs(
    chat: ChatService, store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_module, "ADD_SECONDS", 0.2)
    store.failing_on("add", times=1)
    sending = asyncio.create_task(send(chat))
    await settled()
    assert store.calls["add"] == 1
    gate = store.holding("add")
    began = asyncio.get_running_loop().time()
    with pytest.raises(StoreUnavailableError):
        await asyncio.wait_for(sending, PATIENCE_SECONDS)
    assert asyncio.get_running_loop().time() - began < 0.5
    gate.open()
    assert await chat.messages("ann", "c1") == ()


# Stopping


async def test_stopping_before_the_first_word_ends_the_reply_empty(
    chat: ChatService, completion: ScriptedCompletion
) -> None:
    client = await send(chat)
    await client.next()
    await soon(completion.was_called)
    stopped = await chat.stop("ann", client.message_id)
    assert (stopped.id, stopped.content) == (client.message_id, "")
    assert (stopped.status, stopped.error) == (Status.STOPPED, None)
    assert (await client.until_end()).status is Status.STOPPED
    await soon(completion.was_closed)


async def test_stopping_before_the_completion_was_called_calls_nobody(
    chat: ChatService, store: FaultyStore, completion: ScriptedCompletion
) -> None:
    gate = store.holding("history")
    client = await send(chat)
    await gate.reached()
    await chat.stop("ann", "m1")
    await settled()
    gate.open()
    assert (await client.until_end()).status is Status.STOPPED
    await settled()
    assert completion.calls == 0


async def test_stopping_in_the_middle_keeps_the_text_for_everybody(
    chat: ChatService, completion: ScriptedCompletion
) -> None:
    clients = [await send(chat) for _ in range(3)]
    completion.say("One", " two")
    for client in clients:
        await client.until("One two")
    stopped = await chat.stop("ann", clients[0].message_id)
    completion.say(" three")
    for client in clients:
        assert (await client.until_end()).status is Status.STOPPED
        assert client.content == "One two"
    assert stopped.content == "One two"
    await soon(completion.was_closed)
    assert await message(chat, stopped.id) == stopped


async def test_stopping_takes_the_users_message_too(
    chat: ChatService, completion: ScriptedCompletion
) -> None:
    client = await send(chat)
    stopped = await chat.stop("ann", "m1")
    await client.until_end()
    assert (stopped.id, stopped.status) == (client.message_id, Status.STOPPED)
    await settled()
    assert completion.closed == completion.calls


async def test_stopping_a_reply_that_has_ended_changes_nothing(
    chat: ChatService, completion: ScriptedCompletion
) -> None:
    completion.say("One")
    completion.end()
    client = await send(chat)
    await client.until_end()
    done = await message(chat, client.message_id)
    assert await chat.stop("ann", client.message_id) == done
    assert await chat.stop("ann", "m1") == done
    assert (done.status, done.content) == (Status.DONE, "One")


async def test_stopping_many_times_at_the_same_moment_stops_once(chat: ChatService) -> None:
    client = await send(chat)
    stopped = await asyncio.gather(*(chat.stop("ann", "m1") for _ in range(5)))
    assert len(set(stopped)) == 1
    await client.until_end()


async def test_another_process_may_stop_a_reply(
    chat: ChatService, store: FaultyStore, completion: ScriptedCompletion
) -> None:
    client = await send(chat)
    completion.say("One")
    await client.until("One")
    async with running_chat(store, ScriptedCompletion()) as other:
        await other.stop("ann", "m1")
        await soon(completion.was_closed)
    assert (await client.until_end()).status is Status.STOPPED


async def test_a_completion_that_ignores_its_cancellation_does_not_hold_up_a_stop(
    store: FaultyStore, quick_abandoning: None
) -> None:
    completion = StubbornCompletion()
    async with running_chat(store, completion) as chat:
        client = await send(chat)
        await client.until("word")
        stopped = await asyncio.wait_for(chat.stop("ann", "m1"), 0.5)
        assert stopped.status is Status.STOPPED
        assert (await asyncio.wait_for(client.until_end(), 0.5)).status is Status.STOPPED
        completion.let_go()
        await settled()


async def test_stopping_one_reply_leaves_the_others_alone(store: FaultyStore) -> None:
    completions = ScriptedCompletions()
    async with running_chat(store, completions) as chat:
        one, other = await send(chat, "m1", "One"), await send(chat, "m2", "Two")
        await chat.stop("ann", "m1")
        assert (await one.until_end()).status is Status.STOPPED
        completions.answering("Two").say("Still here")
        completions.answering("Two").end()
        assert (await other.until_end()).status is Status.DONE
        assert other.content == "Still here"


async def test_what_is_unknown_cleared_or_somebody_elses_cannot_be_stopped(
    chat: ChatService,
) -> None:
    await send(chat, "m1", conversation="c1")
    await send(chat, "m2", conversation="c2")
    await chat.clear("ann", "c1")
    for owner, id in [("ann", "unknown"), ("ann", "m1"), ("bob", "m2")]:
        with pytest.raises(MessageNotFoundError, match=id):
            await chat.stop(owner, id)


# Resuming


@pytest.mark.parametrize(
    ("content", "offset", "text"),
    [
        ("", 0, "One 😀 two"),
        ("One", 3, " 😀 two"),
        ("One 😀 two", 10, ""),
        ("One 😀 two and more", 10, ""),
        ("On the other hand", 2, "e 😀 two"),
        ("two", 0, "One 😀 two"),
        ("One 😁 two", 4, "😀 two"),
        ("One \ud83d", 4, "😀 two"),
        ("One 😀\ud83d", 6, " two"),
        ("\ude00", 0, "One 😀 two"),
        ("One\0", 3, " 😀 two"),
    ],
)
async def test_whatever_text_a_client_shows_is_healed_from_where_it_stops_being_right(
    chat: ChatService, completion: ScriptedCompletion, content: str, offset: int, text: str
) -> None:
    client = await send(chat)
    completion.say("One 😀 two")
    await client.until("One 😀 two")
    resumed = await resume(chat, client.message_id, content=content)
    assert await resumed.next() == Chunk(client.message_id, offset, text, Status.STREAMING)
    assert resumed.content == "One 😀 two"
    completion.say("!")
    completion.end()
    await resumed.until_end()
    assert resumed.content == "One 😀 two!"


@pytest.mark.parametrize(
    ("offset", "begins", "text"),
    [
        (0, 0, "One 😀 two"),
        (4, 4, "😀 two"),
        (5, 4, "😀 two"),
        (6, 6, " two"),
        (10, 10, ""),
        (11, 10, ""),
        (2**31 - 1, 10, ""),
    ],
)
async def test_a_client_may_resume_from_an_offset(
    chat: ChatService, completion: ScriptedCompletion, offset: int, begins: int, text: str
) -> None:
    client = await send(chat)
    completion.say("One 😀 two")
    await client.until("One 😀 two")
    resumed = await resume(chat, client.message_id, offset=offset, shown="One 😀 two")
    assert await resumed.next() == Chunk(client.message_id, begins, text, Status.STREAMING)
    completion.say("!")
    completion.end()
    await resumed.until_end()
    assert resumed.content == "One 😀 two!"


async def test_a_client_that_says_nothing_is_sent_everything(
    chat: ChatService, completion: ScriptedCompletion
) -> None:
    completion.say("One")
    completion.end()
    client = await send(chat)
    await client.until_end()
    resumed = await resume(chat, client.message_id)
    await resumed.until_end()
    assert resumed.chunks == [Chunk(client.message_id, 0, "One", Status.DONE)]


@pytest.mark.parametrize(
    ("content", "offset", "text"), [("One", 3, " two"), ("One two", 7, ""), ("Two", 0, "One two")]
)
async def test_resuming_a_reply_that_has_ended_gives_what_is_missing_and_the_status(
    chat: ChatService, completion: ScriptedCompletion, content: str, offset: int, text: str
) -> None:
    completion.say("One two")
    completion.end()
    client = await send(chat)
    await client.until_end()
    resumed = await resume(chat, client.message_id, content=content)
    await resumed.until_end()
    assert resumed.chunks == [Chunk(client.message_id, offset, text, Status.DONE)]


@given(
    stored=st.text(st.sampled_from("ab日😀😁\u0301"), max_size=8),
    shown=st.text(st.sampled_from("ab日😀😁\u0301\ud83d\ude00\0"), max_size=8),
)
async def test_any_text_is_healed(stored: str, shown: str) -> None:
    completion = ScriptedCompletion()
    completion.say(stored)
    completion.end()
    async with running_chat(FaultyStore(), completion) as chat:
        client = await send(chat)
        await client.until_end()
        resumed = await resume(chat, client.message_id, content=shown)
        await resumed.until_end()
        assert resumed.content == stored


async def test_a_whole_reply_may_be_resumed_with(
    chat: ChatService, completion: ScriptedCompletion
) -> None:
    text = "日" * Limits().reply_length
    completion.say(text)
    completion.end()
    client = await send(chat)
    await client.until_end()
    resumed = await resume(chat, client.message_id, content=text)
    await resumed.until_end()
    assert resumed.chunks == [Chunk(client.message_id, len(text), "", Status.DONE)]


@pytest.mark.parametrize(("content", "offset"), [("One", 3), ("", 0), ("One", 0), ("", 3)])
async def test_giving_content_and_offset_is_refused(
    chat: ChatService, content: str, offset: int
) -> None:
    with pytest.raises(BadUserInputError, match="content and offset must not be given both"):
        await resume(chat, "any", content=content, offset=offset)


async def test_a_users_message_cannot_be_resumed(chat: ChatService) -> None:
    await send(chat)
    with pytest.raises(MessageNotFoundError, match="no reply 'm1'"):
        await resume(chat, "m1")


async def test_an_unknown_or_somebody_elses_reply_cannot_be_resumed(chat: ChatService) -> None:
    client = await send(chat)
    await client.next()
    with pytest.raises(MessageNotFoundError):
        await resume(chat, "unknown")
    with pytest.raises(MessageNotFoundError):
        await resume(chat, client.message_id, owner="bob")
    await client.leave()


async def test_a_cleared_reply_cannot_be_resumed(chat: ChatService) -> None:
    client = await send(chat)
    await client.next()
    await chat.clear("ann", "c1")
    for content, offset in ((None, None), ("One", None), (None, 3)):
        with pytest.raises(MessageClearedError):
            await resume(chat, client.message_id, content=content, offset=offset)


async def test_resuming_in_another_process_is_the_same(
    chat: ChatService, store: FaultyStore, completion: ScriptedCompletion
) -> None:
    client = await send(chat)
    completion.say("One")
    await client.until("One")
    async with running_chat(store, completion) as other:
        resumed = await resume(other, client.message_id, content="On")
        await resumed.until("One")
        completion.say(" two")
        completion.end()
        await resumed.until_end()
    assert resumed.content == "One two"
    await client.until_end()


async def test_a_store_that_cannot_be_reached_at_the_first_read_is_said(
    chat: ChatService, store: FaultyStore
) -> None:
    client = await send(chat)
    await client.next()
    store.failing_on("read", times=1)
    with pytest.raises(StoreUnavailableError):
        await resume(chat, client.message_id)
    await (await resume(chat, client.message_id)).next()
    await client.leave()


async def test_who_follows_waits_in_silence_while_the_store_cannot_be_reached(
    chat: ChatService,
    store: FaultyStore,
    completion: ScriptedCompletion,
    monkeypatch: pytest.MonkeyPatch,
    quick_retries: None,
) -> None:
    monkeypatch.setattr(store, "poll_seconds", 0.01)
    client = await send(chat)
    await client.next()
    for method in ("read", "append", "finish"):
        store.failing_on(method, times=5)
    completion.say("One")
    completion.end()
    assert (await client.until_end()).status is Status.DONE
    assert client.content == "One"


@pytest.mark.parametrize("asked", [{}, {"offset": 1}, {"content": "On"}, {"content": "Xx"}])
async def test_resuming_reads_a_reply_once_before_the_first_chunk(
    chat: ChatService, store: FaultyStore, completion: ScriptedCompletion, asked: dict[str, Any]
) -> None:
    client = await send(chat)
    completion.say("One")
    await client.until("One")
    await client.leave()
    await settled()
    reads = store.calls["read"]
    stream = await chat.resume("ann", client.message_id, **asked)
    first = await anext(stream)
    assert first.offset + len(first.text) == 3
    assert store.calls["read"] == reads + 1
    await stream.aclose()


@pytest.fixture(params=[FaultyStore, ImmediateStore], ids=["waiting", "immediate"])
def either_store(request: pytest.FixtureRequest) -> FaultyStore:
    kind: type[FaultyStore] = request.param
    return kind()


@pytest.mark.parametrize("pushes", [False, True], ids=["read", "pushed"])
@pytest.mark.parametrize("content", [None, "", "On", "One", "One more", "Xx"])
async def test_what_happens_between_resuming_and_reading_is_not_missed(
    either_store: FaultyStore, content: str | None, pushes: bool
) -> None:
    completion = ScriptedCompletion()
    async with running_chat(either_store, completion) as chat:
        client = await send(chat)
        completion.say("One")
        await client.until("One")
        stream = await chat.resume("ann", client.message_id, content=content)
        resumed = Client(stream, content or "")

        def take(chunk: Chunk) -> bool:
            resumed.apply(chunk)
            return True

        if pushes:
            stream.push_to(take)
        completion.say(" two")
        await client.until("One two")
        first = await resumed.next()
        # A store that does not wait is read again.
        known = "One" if either_store.immediate is None else "One two"
        assert (resumed.content, first.status) == (known, Status.STREAMING)
        ending = asyncio.create_task(resumed.until_end())
        await settled()
        assert resumed.content == "One two"
        completion.say(" three")
        await client.until("One two three")
        await settled()
        assert resumed.content == "One two three"
        completion.end()
        await ending
        assert (resumed.content, resumed.status) == ("One two three", Status.DONE)
        await client.until_end()
    assert either_store.watchers == 0


async def test_a_reply_that_ends_between_resuming_and_reading_is_seen_to_have_ended(
    either_store: FaultyStore,
) -> None:
    completion = ScriptedCompletion()
    async with running_chat(either_store, completion) as chat:
        client = await send(chat)
        completion.say("One")
        await client.until("One")
        resumed = await resume(chat, client.message_id, content="O", shown="O")
        completion.end()
        await client.until_end()
        await resumed.until_end()
    id = client.message_id
    if either_store.immediate is None:
        assert resumed.chunks == [
            Chunk(id, 1, "ne", Status.STREAMING),
            Chunk(id, 3, "", Status.DONE),
        ]
    else:
        assert resumed.chunks == [Chunk(id, 1, "ne", Status.DONE)]


async def test_a_reply_that_is_cleared_between_resuming_and_reading_ends_the_reading(
    either_store: FaultyStore,
) -> None:
    completion = ScriptedCompletion()
    async with running_chat(either_store, completion) as chat:
        client = await send(chat)
        completion.say("One")
        await client.until("One")
        resumed = await resume(chat, client.message_id)
        await chat.clear("ann", "c1")
        with pytest.raises(MessageClearedError):
            await resumed.until_end()
        with pytest.raises(MessageClearedError):
            await client.until_end()
    assert either_store.watchers == 0


@pytest.mark.parametrize("pushes", [False, True], ids=["read", "pushed"])
@pytest.mark.parametrize(
    "asked", [{}, {"content": ""}, {"content": "Sec"}, {"content": "Xx"}, {"offset": 3}], ids=str
)
async def test_nothing_is_shown_of_what_was_cleared_between_resuming_and_reading(
    asked: dict[str, Any], pushes: bool
) -> None:
    completion = ScriptedCompletion()
    async with running_chat(ImmediateStore(), completion) as chat:
        client = await send(chat)
        completion.say("Secret")
        await client.until("Secret")
        stream = await chat.resume("ann", client.message_id, **asked)
        shown: list[Chunk] = []

        def take(chunk: Chunk) -> bool:
            shown.append(chunk)
            return True

        if pushes:
            stream.push_to(take)
        await chat.clear("ann", "c1")
        with pytest.raises(MessageClearedError):
            shown.append(await anext(stream))
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        with pytest.raises(MessageClearedError):
            await client.until_end()
    assert shown == []


async def test_a_store_that_may_wait_shows_no_more_than_was_read_before_a_clear(
    chat: ChatService, completion: ScriptedCompletion
) -> None:
    client = await send(chat)
    completion.say("One")
    await client.until("One")
    resumed = await resume(chat, client.message_id)
    completion.say(" two")
    await client.until("One two")
    await chat.clear("ann", "c1")
    with pytest.raises(MessageClearedError):
        await resumed.until_end()
    assert resumed.content == "One"
    with pytest.raises(MessageClearedError):
        await client.until_end()


async def test_who_resumes_and_never_reads_leaves_nothing(either_store: FaultyStore) -> None:
    completion = ScriptedCompletion()
    async with running_chat(either_store, completion) as chat:
        client = await send(chat)
        await client.next()
        for _ in range(3):
            resumed = await resume(chat, client.message_id)
            await resumed.leave()
        await client.leave()
        assert either_store.watchers == 1  # The lease keeper's.
    assert either_store.watchers == 0


async def test_readers_of_a_store_that_does_not_wait_are_pushed_to_by_the_completion() -> None:
    completion = ScriptedCompletion()
    async with running_chat(ImmediateStore(), completion) as chat:
        stream = await chat.send("ann", "m1", "c1", "Hello")
        client = Client(stream)
        pushed = []

        def take(chunk: Chunk) -> bool:
            client.apply(chunk)
            pushed.append(chunk.text)
            return True

        stream.push_to(take)
        ending = asyncio.create_task(client.until_end())
        for word in ("One", " two", " 😀"):
            await settled()
            completion.say(word)
        await settled()
        assert pushed == ["One", " two", " 😀"]
        await chat.stop("ann", "m1")
        await ending
        assert (client.content, client.status) == ("One two 😀", Status.STOPPED)


@pytest.mark.parametrize("words", [0, 1])
@pytest.mark.parametrize("end", ["done", "stop", "clear"])
async def test_a_reply_that_has_ended_leaves_its_history_and_its_producer_to_nobody(
    either_store: FaultyStore, without_collector: None, end: str, words: int
) -> None:
    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        for _ in range(words):
            yield "One"
        if end != "done":
            await asyncio.sleep(3600)

    async def follow_to_the_end() -> None:
        stream = await chat.send("ann", "m1", "c1", "Hello")
        client = Client(stream)
        await client.next()
        if words:
            await client.next()
        if end == "stop":
            await chat.stop("ann", "m1")
        elif end == "clear":
            await chat.clear("ann", "c1")
        with suppress(MessageClearedError):
            await client.until_end()

    async with running_chat(either_store, complete) as chat:
        before = alive(Message | Producer | Following)
        await asyncio.create_task(follow_to_the_end())
        for _ in range(100):
            await settled()
            if not chat._running:
                break
        await settled()
        assert not chat._running
        assert alive(Message | Producer | Following) == before


# Clearing


async def test_clearing_ends_producers_and_followers(
    chat: ChatService, completion: ScriptedCompletion
) -> None:
    client = await send(chat)
    completion.say("Secret")
    await client.until("Secret")
    following = asyncio.create_task(client.next())
    await settled()
    assert await chat.clear("ann", "c1") == 2
    with pytest.raises(MessageClearedError):
        await following
    await soon(completion.was_closed)


async def test_nothing_of_what_was_cleared_can_be_had_any_more(
    chat: ChatService, completion: ScriptedCompletion
) -> None:
    client = await send(chat, content="Secret")
    completion.say("Secret")
    await client.until("Secret")
    await chat.clear("ann", "c1")
    completion.say("Secret")
    completion.end()
    await settled()
    assert await chat.message("ann", "m1") is None
    assert await chat.message("ann", client.message_id) is None
    assert await chat.messages("ann", "c1") == ()
    assert await chat.conversations("ann") == ()
    window = await open_window(chat)
    assert window.messages == {}
    await window.leave()


async def test_a_cleared_conversation_can_be_used_again(store: FaultyStore) -> None:
    completions = ScriptedCompletions()
    async with running_chat(store, completions) as chat:
        await send(chat, "m1", "Secret")
        await soon(completions.answering("Secret").was_called)
        await chat.clear("ann", "c1")
        client = await send(chat, "m2", "Hello")
        completions.answering("Hello").end()
        await client.until_end()
        [history] = completions.answering("Hello").histories
        assert [message.content for message in history] == ["Hello"]
        assert [message.id for message in await chat.messages("ann", "c1")] == [
            "m2",
            client.message_id,
        ]


async def test_clearing_nothing_clears_nothing(chat: ChatService) -> None:
    await send(chat)
    assert await chat.clear("ann", "c2") == 0
    assert await chat.clear("bob", "c1") == 0
    assert len(await chat.messages("ann", "c1")) == 2


# Windows in step


async def test_a_window_begins_with_the_conversation_as_it_is(
    chat: ChatService, completion: ScriptedCompletion
) -> None:
    client = await send(chat)
    completion.say("One")
    await client.until("One")
    window = await open_window(chat)
    assert window.events == [MessagesReset("c1", await chat.messages("ann", "c1"))]
    await window.leave()
    await client.leave()


async def test_a_window_sees_three_changes_for_each_send(
    chat: ChatService, completion: ScriptedCompletion
) -> None:
    window = await open_window(chat)
    client = await send(chat)
    completion.say("One")
    await client.until("One")
    await send(chat)
    completion.end()
    await client.until_end()
    await chat.stop("ann", "m1")
    for _ in range(3):
        await window.next()
    changes = [event.message for event in window.events if isinstance(event, MessageChanged)]
    assert [(change.id, change.content, change.status) for change in changes] == [
        ("m1", "Hello", Status.DONE),
        (client.message_id, "", Status.STREAMING),
        (client.message_id, "One", Status.DONE),
    ]
    more = asyncio.create_task(window.next())
    await settled()
    assert not more.done()
    more.cancel()


async def test_windows_stay_in_step_whatever_happens(store: FaultyStore) -> None:
    completions = ScriptedCompletions()

    async def everything(chat: ChatService) -> None:
        for number in range(12):
            client = await send(chat, f"m{number}", f"Question {number}")
            answer = completions.answering(f"Question {number}")
            answer.say(f"Answer {number}")
            match number % 4:
                case 0:
                    await client.until(f"Answer {number}")
                    await chat.stop("ann", f"m{number}")
                case 1:
                    answer.fail(RuntimeError("no"))
                case 2:
                    answer.end()
            if number % 4 != 3:
                await client.until_end()
            if number == 5:
                await chat.clear("ann", "c1")

    async with running_chat(store, completions) as chat:
        windows = [await open_window(chat) for _ in range(3)]
        playing = asyncio.create_task(everything(chat))
        for number in range(20):
            await windows[number % 2].next()
        windows.append(await open_window(chat))
        await playing
        messages = await chat.messages("ann", "c1")
        for window in windows:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while [(each.id, each.status) for each in window.messages.values()] != [
                    (each.id, each.status) for each in messages
                ]:
                    await window.next()
            for each in messages:
                assert window.messages[each.id] == each or each.status is Status.STREAMING
            await window.leave()


async def test_a_clear_is_told_to_every_window(chat: ChatService) -> None:
    await send(chat)
    windows = [await open_window(chat) for _ in range(2)]
    await chat.clear("ann", "c1")
    for window in windows:
        assert await window.next() == MessagesReset("c1", ())
        await window.leave()


async def test_no_event_comes_from_before_the_reset(chat: ChatService, store: FaultyStore) -> None:
    window = Window(await chat.events("ann", "c1"))
    await send(chat, "m1")
    await chat.clear("ann", "c1")
    await send(chat, "m2")
    await window.next()
    assert await window.next() == MessagesReset("c1", await chat.messages("ann", "c1"))
    await window.leave()


async def test_a_window_sees_nothing_of_other_conversations_and_owners(chat: ChatService) -> None:
    window = await open_window(chat)
    await send(chat, "m1", conversation="c2")
    await send(chat, "m2", owner="bob")
    await send(chat, "m3")
    changed = await window.next()
    assert isinstance(changed, MessageChanged)
    assert changed.message.id == "m3"
    await window.leave()


async def test_a_window_that_fell_behind_reads_everything(
    chat: ChatService, store: FaultyStore
) -> None:
    window = await open_window(chat)
    for number in range(120):
        await send(chat, f"m{number}")
    reads = store.calls["events"]
    for _ in range(240):
        await window.next()
    assert list(window.messages) == [each.id for each in await chat.messages("ann", "c1")]
    assert store.calls["events"] - reads == 3, "no pause between parts"
    await window.leave()


async def test_a_window_waits_in_silence_while_the_store_cannot_be_reached(
    chat: ChatService, store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "poll_seconds", 0.01)
    window = await open_window(chat)
    store.failing_on("events", times=5)
    await send(chat)
    await window.next()
    await window.next()
    assert list(window.messages) == [each.id for each in await chat.messages("ann", "c1")]
    await window.leave()


async def test_a_store_that_cannot_be_reached_when_a_window_opens_is_said(
    chat: ChatService, store: FaultyStore
) -> None:
    store.failing_on("events", times=1)
    with pytest.raises(StoreUnavailableError):
        await chat.events("ann", "c1")


async def test_a_window_that_closes_no_longer_watches(
    chat: ChatService, store: FaultyStore
) -> None:
    before = store.watchers
    window = await open_window(chat)
    assert store.watchers == before + 1
    await window.leave()
    assert store.watchers == before


@pytest.mark.parametrize(("last", "count"), [(None, 4), (1, 1), (3, 3), (4, 4), (9, 4)])
async def test_a_reset_shows_as_many_messages_as_asked_for(
    chat: ChatService, last: int | None, count: int
) -> None:
    await send(chat, "m1")
    await send(chat, "m2")
    window = await open_window(chat)
    [reset] = window.events
    assert isinstance(reset, MessagesReset)
    assert chat.newest(reset.messages, last) == reset.messages[4 - count :]
    await window.leave()


# History


async def test_an_earlier_reply_that_still_streams_counts_with_its_text_so_far(
    store: FaultyStore,
) -> None:
    completions = ScriptedCompletions()
    async with running_chat(store, completions) as chat:
        first = await send(chat, "m1", "One")
        completions.answering("One").say("Stre")
        await first.until("Stre")
        await send(chat, "m2", "Two")
        await soon(completions.answering("Two").was_called)
        await send(chat, "m3", "Three")
        await soon(completions.answering("Three").was_called)

        def given_to(question: str) -> list[tuple[Role, str]]:
            [history] = completions.answering(question).histories
            return [(message.role, message.content) for message in history]

        assert given_to("One") == [(Role.USER, "One")]
        assert given_to("Two") == [
            (Role.USER, "One"),
            (Role.ASSISTANT, "Stre"),
            (Role.USER, "Two"),
        ]
        assert given_to("Three") == [
            (Role.USER, "One"),
            (Role.ASSISTANT, "Stre"),
            (Role.USER, "Two"),
            (Role.USER, "Three"),
        ]


async def test_messages_can_be_asked_for_page_by_page(chat: ChatService) -> None:
    for number in range(3):
        await send(chat, f"m{number}")
    everything = await chat.messages("ann", "c1")
    newest = await chat.messages("ann", "c1", last=4)
    older = await chat.messages("ann", "c1", last=4, before=newest[0].id)
    assert older + newest == everything


async def test_conversations_can_be_limited(chat: ChatService) -> None:
    for conversation in ("c1", "c2"):
        await send(chat, f"m-{conversation}", conversation=conversation)
    assert [found.id for found in await chat.conversations("ann", first=1)] == ["c2"]
    assert await chat.conversations("bob") == ()


# What is refused


@pytest.mark.parametrize("limits", [Limits(id_length=4, content_length=5)])
@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("id", lambda chat: chat.send("ann", "", "c1", "Hello")),
        ("id", lambda chat: chat.send("ann", "m\n", "c1", "Hello")),
        ("id", lambda chat: chat.send("ann", "12345", "c1", "Hello")),
        ("conversationId", lambda chat: chat.send("ann", "m1", "", "Hello")),
        ("conversationId", lambda chat: chat.send("ann", "m1", "12345", "Hello")),
        ("content", lambda chat: chat.send("ann", "m1", "c1", "")),
        ("content", lambda chat: chat.send("ann", "m1", "c1", " \n")),
        ("content", lambda chat: chat.send("ann", "m1", "c1", "Hello!")),
        ("content", lambda chat: chat.send("ann", "m1", "c1", "a\0")),
        ("content", lambda chat: chat.send("ann", "m1", "c1", "\ud83d")),
        ("id", lambda chat: chat.resume("ann", "12345")),
        ("offset", lambda chat: chat.resume("ann", "m1", offset=-1)),
        ("id", lambda chat: chat.stop("ann", "12345")),
        ("conversationId", lambda chat: chat.clear("ann", "12345")),
        ("id", lambda chat: chat.message("ann", "12345")),
        ("conversationId", lambda chat: chat.messages("ann", "12345")),
        ("last", lambda chat: chat.messages("ann", "c1", last=0)),
        ("before", lambda chat: chat.messages("ann", "c1", before="12345")),
        ("before", lambda chat: chat.messages("ann", "c1", before="none")),
        ("first", lambda chat: chat.conversations("ann", first=0)),
        ("conversationId", lambda chat: chat.events("ann", "12345")),
    ],
)
async def test_an_argument_outside_its_limits_is_refused_by_name_and_nothing_is_stored(
    chat: ChatService,
    completion: ScriptedCompletion,
    argument: str,
    call: Callable[[ChatService], Awaitable[object]],
) -> None:
    with pytest.raises(BadUserInputError, match=f"^{argument} must "):
        await call(chat)
    assert await chat.conversations("ann") == ()
    assert completion.calls == 0


async def test_a_message_of_another_conversation_is_no_page_mark(chat: ChatService) -> None:
    await send(chat, "m1", conversation="c1")
    with pytest.raises(BadUserInputError, match="before must be a message of this conversation"):
        await chat.messages("ann", "c2", before="m1")


@pytest.mark.parametrize("limits", [Limits(list_size=3)])
async def test_lists_have_at_most_the_limit(chat: ChatService) -> None:
    await send(chat, "m1")
    await send(chat, "m2")
    assert len(await chat.messages("ann", "c1")) == 3
    assert len(await chat.messages("ann", "c1", last=4)) == 3


@pytest.mark.parametrize("limits", [Limits(replies_per_owner=2)])
class TestAsManyRepliesAsAnOwnerMay:
    async def test_one_more_is_refused_with_a_sentence_that_says_whose_limit_it_is(
        self, chat: ChatService, completion: ScriptedCompletion
    ) -> None:
        await send(chat, "m1")
        await send(chat, "m2")
        with pytest.raises(TooManyRepliesError, match=r"^You are already .* of 2 replies"):
            await send(chat, "m3", conversation="c3")
        assert await chat.message("ann", "m3") is None
        assert await chat.messages("ann", "c3") == ()
        await settled()
        assert completion.calls == 2

    async def test_others_are_not_held_up(self, chat: ChatService) -> None:
        for owner in ("ann", "bob", "cid"):
            await send(chat, "m1", owner=owner)
            await send(chat, "m2", owner=owner)

    async def test_of_many_at_the_same_moment_as_many_as_may_are_begun(
        self, chat: ChatService, store: FaultyStore
    ) -> None:
        gate = store.holding("add")
        sending = asyncio.gather(
            *(send(chat, f"m{number}") for number in range(5)), return_exceptions=True
        )
        await gate.reached()
        await settled()
        gate.open()
        refusals = [each for each in await sending if isinstance(each, TooManyRepliesError)]
        assert len(refusals) == 3
        assert len(await chat.messages("ann", "c1")) == 4

    async def test_joining_and_resuming_one_is_never_refused(self, chat: ChatService) -> None:
        client = await send(chat, "m1")
        await client.next()
        await send(chat, "m2")
        joined = await send(chat, "m1")
        resumed = await resume(chat, client.message_id)
        for each in (joined, resumed):
            await each.next()
            await each.leave()
        await client.leave()

    async def test_asking_again_for_a_reply_counts_as_one_more(
        self, chat: ChatService, completion: ScriptedCompletion
    ) -> None:
        first = await send(chat, "m1")
        completion.end()
        await first.until_end()
        await send(chat, "m2")
        await send(chat, "m3")
        with pytest.raises(TooManyRepliesError):
            await chat.regenerate("ann", "another", "m1")
        assert await chat.message("ann", "another") is None

    async def test_one_that_ends_makes_room_and_nothing_is_remembered_of_it(
        self, chat: ChatService, completion: ScriptedCompletion
    ) -> None:
        for number in range(5):
            client = await send(chat, f"m{number}")
            completion.end()
            await client.until_end()
            await settled()
        assert not chat._running_of


@pytest.mark.parametrize("limits", [Limits(replies=2)])
class TestAsManyRepliesAsMay:
    async def test_one_more_is_refused_and_nothing_is_stored(
        self, chat: ChatService, completion: ScriptedCompletion
    ) -> None:
        await send(chat, "m1")
        await send(chat, "m2")
        with pytest.raises(TooManyRepliesError, match="maximum of 2 replies"):
            await send(chat, "m3", conversation="c3")
        assert await chat.message("ann", "m3") is None
        assert await chat.messages("ann", "c3") == ()
        await settled()
        assert completion.calls == 2

    async def test_of_many_at_the_same_moment_as_many_as_may_are_begun(
        self, chat: ChatService, store: FaultyStore
    ) -> None:
        gate = store.holding("add")
        sending = asyncio.gather(
            *(send(chat, f"m{number}") for number in range(5)), return_exceptions=True
        )
        await gate.reached()
        await settled()
        gate.open()
        refusals = [each for each in await sending if isinstance(each, TooManyRepliesError)]
        assert len(refusals) == 3
        assert len(await chat.messages("ann", "c1")) == 4

    async def test_joining_one_is_never_refused(
        self, chat: ChatService, completion: ScriptedCompletion
    ) -> None:
        await send(chat, "m1")
        await send(chat, "m2")
        joined = await send(chat, "m1")
        completion.end()
        completion.end()
        assert (await joined.until_end()).status is Status.DONE

    async def test_resuming_one_is_never_refused(self, chat: ChatService) -> None:
        client = await send(chat, "m1")
        await client.next()
        await send(chat, "m2")
        resumed = await resume(chat, client.message_id)
        await resumed.next()
        await resumed.leave()
        await client.leave()

    async def test_one_that_ends_makes_room(
        self, chat: ChatService, completion: ScriptedCompletion
    ) -> None:
        await send(chat, "m1")
        second = await send(chat, "m2")
        await chat.stop("ann", "m2")
        await second.until_end()
        await settled()
        third = await send(chat, "m3")
        await third.next()
        await third.leave()

    async def test_a_refused_send_makes_room_again(self, chat: ChatService) -> None:
        await send(chat, "m1")
        for _ in range(5):
            with pytest.raises(MessageIdConflictError):
                await send(chat, "m1", "Other")
        await send(chat, "m2")


# Limits of a reply


@pytest.mark.parametrize("limits", [Limits(reply_length=7)])
async def test_a_reply_that_is_too_long_ends_with_what_fits(
    chat: ChatService, completion: ScriptedCompletion
) -> None:
    completion.say("One 😀😀")
    client = await send(chat)
    last = await client.until_end()
    assert client.content == "One 😀"
    assert last.error is not None
    assert last.error.code is ReplyErrorCode.REPLY_TOO_LONG
    await soon(completion.was_closed)


@pytest.mark.parametrize("limits", [Limits(silence_seconds=0.05)])
async def test_a_reply_whose_completion_is_silent_ends(
    chat: ChatService, completion: ScriptedCompletion
) -> None:
    client = await send(chat)
    last = await client.until_end()
    assert last.error is not None
    assert last.error.code is ReplyErrorCode.COMPLETION_TIMEOUT
    await soon(completion.was_closed)


# Shutting down


async def test_a_shutdown_ends_what_streams_with_its_text(
    store: FaultyStore, completion: ScriptedCompletion
) -> None:
    async with running_chat(store, completion) as chat:
        client = await send(chat)
        completion.say("One")
        await client.until("One")
    last = await client.until_end()
    assert client.content == "One"
    assert (last.status, last.error) == (
        Status.ERROR,
        ReplyError(
            ReplyErrorCode.SERVER_SHUTDOWN,
            "The server was shut down before the reply was complete.",
        ),
    )
    assert completion.closed == 1


async def test_a_shutdown_waits_for_replies_that_others_can_read(
    store: FaultyStore, completion: ScriptedCompletion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "shared", True)
    service = ChatService(store, completion, drain_seconds=60)
    async with service as chat:
        client = await send(chat)
        completion.say("One")
        await client.until("One")
        leaving = asyncio.create_task(service.__aexit__())
        await settled()
        assert not leaving.done()
        completion.say(" two")
        completion.end()
        assert (await client.until_end()).status is Status.DONE
        await asyncio.wait_for(leaving, PATIENCE_SECONDS)
    assert client.content == "One two"


async def test_a_shutdown_waits_no_longer_than_it_may(
    store: FaultyStore, completion: ScriptedCompletion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "shared", True)
    async with running_chat(store, completion, drain_seconds=0.05) as chat:
        client = await send(chat)
        await client.next()
    last = await client.until_end()
    assert last.error is not None
    assert last.error.code is ReplyErrorCode.SERVER_SHUTDOWN


async def test_a_shutdown_that_is_hurried_waits_no_longer(
    store: FaultyStore, completion: ScriptedCompletion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "shared", True)
    service = ChatService(store, completion, drain_seconds=60)
    async with service as chat:
        client = await send(chat)
        completion.say("One")
        await client.until("One")
        leaving = asyncio.create_task(service.__aexit__())
        await settled()
        assert not leaving.done()
        chat.hurry()
        last = await client.until_end()
        await asyncio.wait_for(leaving, PATIENCE_SECONDS)
    assert client.content == "One"
    assert last.error is not None
    assert last.error.code is ReplyErrorCode.SERVER_SHUTDOWN


async def test_a_service_that_was_hurried_before_it_is_left_does_not_wait(
    store: FaultyStore, completion: ScriptedCompletion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "shared", True)
    async with asyncio.timeout(5), running_chat(store, completion, drain_seconds=60) as chat:
        client = await send(chat)
        chat.hurry()
        assert await client.next() == Chunk(client.message_id, 0, "", Status.STREAMING)
        completion.say("One")
        await client.until("One")
    assert (await client.until_end()).error is not None


async def test_a_stop_during_the_drain_ends_the_reply_and_the_drain(
    store: FaultyStore, completion: ScriptedCompletion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "shared", True)
    service = ChatService(store, completion, drain_seconds=60)
    async with asyncio.timeout(5), service as chat:
        client = await send(chat)
        completion.say("One")
        await client.until("One")
        leaving = asyncio.create_task(service.__aexit__())
        await settled()
        await store.finish(Ref("ann", client.message_id), Status.STOPPED)
        assert (await client.until_end()).status is Status.STOPPED
        await leaving
    assert completion.closed == 1


async def test_the_lease_is_renewed_while_replies_are_drained(
    store: FaultyStore, completion: ScriptedCompletion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "shared", True)
    service = ChatService(store, completion, drain_seconds=60, lease_seconds=QUICK)
    async with service as chat:
        client = await send(chat)
        leaving = asyncio.create_task(service.__aexit__())
        await settled()
        await renewals(store, 3)
        completion.end()
        assert (await client.until_end()).status is Status.DONE
        await leaving


async def test_a_shutdown_does_not_wait_where_nobody_else_can_read(
    store: FaultyStore, completion: ScriptedCompletion
) -> None:
    async with asyncio.timeout(5), running_chat(store, completion, drain_seconds=60) as chat:
        await send(chat)


async def test_a_shutdown_ends_a_reply_whose_send_is_under_way(
    store: FaultyStore, completion: ScriptedCompletion
) -> None:
    service = ChatService(store, completion)
    async with asyncio.timeout(4), service as chat:
        gate = store.holding("add")
        sending = asyncio.create_task(send(chat))
        await gate.reached()
        leaving = asyncio.create_task(service.__aexit__())
        await settled()
        gate.open()
        last = await (await sending).until_end()
        await leaving
    assert last.error is not None
    assert last.error.code is ReplyErrorCode.SERVER_SHUTDOWN


async def test_a_shutdown_does_not_wait_for_a_store_that_cannot_be_reached(
    store: FaultyStore, completion: ScriptedCompletion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_module, "SHUTDOWN_SECONDS", 0.1)
    async with asyncio.timeout(5), running_chat(store, completion) as chat:
        client = await send(chat)
        await client.next()
        await soon(completion.was_called)
        store.failing_on("finish", times=1_000_000)
    assert completion.closed == 1
    assert (await message(chat, client.message_id)).status is Status.STREAMING
    await client.leave()


async def test_a_completion_that_ignores_its_cancellation_does_not_hold_up_a_shutdown(
    store: FaultyStore, quick_abandoning: None
) -> None:
    completion = StubbornCompletion()
    async with asyncio.timeout(5), ChatService(store, completion) as chat:
        client = await send(chat)
        await client.until("word")
    last = await client.until_end()
    assert last.error is not None
    assert last.error.code is ReplyErrorCode.SERVER_SHUTDOWN
    completion.let_go()
    await settled()


# The lease


async def test_a_reply_whose_producer_crashed_ends_as_lost_with_the_next_renewal(
    store: FaultyStore, completion: ScriptedCompletion, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_chat(store, completion, lease_seconds=QUICK) as chat:
        client = await send(chat)
        completion.say("One")
        await client.until("One")
        store.broken_on("append", times=1)
        completion.say(" two")
        last = await client.until_end()
    assert client.content == "One"
    assert last.error is not None
    assert last.error.code is ReplyErrorCode.PRODUCER_LOST
    assert completion.closed == 1
    [record] = caplog.records
    assert record.getMessage() == f"the producer of a reply failed: reply='{last.message_id}'"


async def test_a_process_that_lost_its_lease_ends_its_replies_and_can_still_send(
    store: FaultyStore, caplog: pytest.LogCaptureFixture
) -> None:
    completions = ScriptedCompletions()
    async with running_chat(store, completions, lease_seconds=QUICK) as chat:
        first = await send(chat, "m1", "One")
        completions.answering("One").say("Text")
        await first.until("Text")
        await store.ending_all_leases()
        last = await first.until_end()
        assert last.error is not None
        assert last.error.code is ReplyErrorCode.PRODUCER_LOST
        await soon(completions.answering("One").was_closed)
        second = await send(chat, "m2", "Two")
        completions.answering("Two").say("Text")
        completions.answering("Two").end()
        assert (await second.until_end()).status is Status.DONE
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_a_send_that_comes_before_the_lease_is_registered_anew_is_not_refused(
    store: FaultyStore, completion: ScriptedCompletion
) -> None:
    async with running_chat(store, completion) as chat:  # Renewed once a second.
        await store.ending_all_leases()
        client = await asyncio.wait_for(send(chat), 0.9)
        completion.say("One")
        completion.end()
        assert (await client.until_end()).status is Status.DONE
        assert client.content == "One"
        assert completion.calls == 1


async def renewals(store: FaultyStore, count: int) -> None:
    """Waits for so many renewals."""
    for _ in range(count):
        gate = store.holding("renew")
        await gate.reached()
        gate.open()
        await settled()


async def test_a_window_does_not_keep_the_list_that_it_was_sent(
    store: FaultyStore, completion: ScriptedCompletion
) -> None:
    async with running_chat(store, completion) as chat:
        events = await chat.events("ann", "a window of its own")
        assert isinstance(await anext(events), MessagesReset)
        waiting = asyncio.create_task(anext(events))
        await settled()
        gc.collect()
        resets = [found for found in gc.get_objects() if isinstance(found, MessagesReset)]
        assert "a window of its own" not in [reset.conversation_id for reset in resets]
        del resets
        waiting.cancel()
        await asyncio.wait({waiting})


async def test_a_lease_that_was_lost_is_no_longer_watched(
    store: FaultyStore, completion: ScriptedCompletion
) -> None:
    async with running_chat(store, completion, lease_seconds=QUICK):
        assert store.watchers == 1
        await store.ending_all_leases()
        await renewals(store, 2)
        assert store.watchers == 1
    assert store.watchers == 0


async def test_a_lease_that_cannot_be_registered_anew_at_once_is_registered_later(
    store: FaultyStore, completion: ScriptedCompletion
) -> None:
    async with running_chat(store, completion, lease_seconds=QUICK) as chat:
        first = await send(chat, "m1")
        await soon(completion.was_called)
        store.failing_on("register", times=3)
        await store.ending_all_leases()
        await soon(completion.was_closed)
        await first.until_end()
        second = await send(chat, "m2")
        completion.end()
        assert (await second.until_end()).status is Status.DONE


async def test_a_stop_is_noticed_under_a_lease_that_was_registered_anew(
    store: FaultyStore, completion: ScriptedCompletion
) -> None:
    async with running_chat(store, completion) as chat:
        await store.ending_all_leases()
        client = await send(chat)
        await soon(completion.was_called)
        await chat.stop("ann", "m1")
        await asyncio.wait_for(completion.was_closed.wait(), 0.5)
        await client.until_end()


async def test_a_renewal_that_is_answered_late_does_not_end_a_reply_that_came_meanwhile(
    store: FaultyStore, completion: ScriptedCompletion
) -> None:
    async with running_chat(store, completion, lease_seconds=QUICK) as chat:
        adding = store.holding("add")
        sending = asyncio.create_task(send(chat))
        await adding.reached()
        renewing = store.holding_answers_of("renew")
        await renewing.reached()
        adding.open()
        client = await sending
        completion.say("One")
        await client.until("One")
        renewing.open()
        await settled()
        completion.say(" two")
        completion.end()
        assert (await client.until_end()).status is Status.DONE
        assert client.content == "One two"


async def test_a_renewal_that_takes_long_does_not_end_a_reply_that_came_meanwhile(
    store: FaultyStore, completion: ScriptedCompletion
) -> None:
    async with running_chat(store, completion, lease_seconds=QUICK) as chat:
        renewing = store.holding("renew")
        await renewing.reached()
        client = await send(chat)
        completion.say("One")
        await client.until("One")
        renewing.open()
        await settled()
        completion.end()
        assert (await client.until_end()).status is Status.DONE
