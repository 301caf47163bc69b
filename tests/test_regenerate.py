"""Asking for another reply to a message: once, whoever asks and whatever goes wrong meanwhile."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from graphql_app import chat as chat_module
from graphql_app.chat import ChatService
from graphql_app.errors import (
    BadUserInputError,
    MessageClearedError,
    MessageIdConflictError,
    ReplyStreamingError,
    StoreUnavailableError,
    TooManyRepliesError,
)
from graphql_app.limits import Limits
from graphql_app.messages import Chunk, MessageChanged, MessagesReset, Status
from tests.chats import Client, Window, running_chat, settled
from tests.faults import FaultyStore, ScriptedCompletion


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore()


@pytest.fixture
def completion() -> ScriptedCompletion:
    return ScriptedCompletion()


@pytest.fixture
async def chat(store: FaultyStore, completion: ScriptedCompletion) -> AsyncIterator[ChatService]:
    """A service in which message m1 has an answer, "One"."""
    async with running_chat(store, completion, limits=Limits(replies=2)) as chat:
        completion.say("One")
        completion.end()
        await Client(await chat.send("ann", "m1", "c1", "Hello")).until_end()
        await settled()
        yield chat


async def regenerate(chat: ChatService, id: str = "n1", message: str = "m1") -> Client:
    return Client(await chat.regenerate("ann", id, message))


async def contents(chat: ChatService) -> list[str]:
    return [message.content for message in await chat.messages("ann", "c1")]


async def test_another_reply_is_streamed_from_its_beginning_under_the_id_that_was_given(
    chat: ChatService, completion: ScriptedCompletion
) -> None:
    client = await regenerate(chat)
    assert await client.next() == Chunk("n1", 0, "", Status.STREAMING)
    completion.say("Two")
    completion.end()
    assert (await client.until_end()).status is Status.DONE
    assert client.content == "Two"
    assert await contents(chat) == ["Hello", "Two"]
    assert [reply.content for reply in await chat.replies("ann", "m1")] == ["One", "Two"]
    assert [[each.content for each in history] for history in completion.histories] == [
        ["Hello"],
        ["Hello"],
    ]


async def test_asking_again_joins_the_reply_while_it_streams_and_after(
    chat: ChatService, completion: ScriptedCompletion
) -> None:
    first = await regenerate(chat)
    completion.say("Two")
    await first.until("Two")
    joined = await regenerate(chat)
    completion.end()
    for client in (first, joined, await regenerate(chat)):
        assert (await client.until_end()).status is Status.DONE
        assert client.content == "Two"
    assert completion.calls == 2


async def test_many_that_ask_at_the_same_moment_cost_one_completion(
    chat: ChatService, store: FaultyStore, completion: ScriptedCompletion
) -> None:
    gate = store.holding("add_reply")
    asking = [asyncio.create_task(regenerate(chat)) for _ in range(5)]
    other = asyncio.create_task(regenerate(chat, "n1", "unknown"))
    await gate.reached()
    gate.open()
    clients = await asyncio.gather(*asking)
    assert (await asyncio.gather(other, return_exceptions=True))[0].__class__.__name__ == (
        "MessageNotFoundError"
    )
    completion.say("Two")
    completion.end()
    for client in clients:
        await client.until_end()
        assert client.content == "Two"
    assert completion.calls == 2


async def test_one_that_fails_leaves_the_id_to_the_next(
    chat: ChatService,
    store: FaultyStore,
    completion: ScriptedCompletion,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chat_module, "ADD_AGAIN_SECONDS", (0.001,))
    monkeypatch.setattr(chat_module, "ADD_SECONDS", 0.0)
    store.failing_on("add_reply", times=1)
    first, second = await asyncio.gather(regenerate(chat), regenerate(chat), return_exceptions=True)
    assert isinstance(first, StoreUnavailableError)
    assert isinstance(second, Client)
    completion.end()
    assert (await second.until_end()).status is Status.DONE
    assert completion.calls == 2


async def test_a_lost_answer_costs_nothing(
    chat: ChatService,
    store: FaultyStore,
    completion: ScriptedCompletion,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chat_module, "ADD_AGAIN_SECONDS", (0.001,))
    store.losing_answers_of("add_reply", times=2)
    client = await regenerate(chat)
    completion.say("Two")
    completion.end()
    await client.until_end()
    assert (client.content, completion.calls) == ("Two", 2)
    assert await contents(chat) == ["Hello", "Two"]


async def test_a_client_that_leaves_at_once_leaves_no_orphan(
    chat: ChatService, store: FaultyStore, completion: ScriptedCompletion
) -> None:
    gate = store.holding_answers_of("add_reply")
    asking = asyncio.create_task(chat.regenerate("ann", "n1", "m1"))
    await gate.reached()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    gate.open()
    completion.say("Two")
    completion.end()
    client = await regenerate(chat)
    assert (await client.until_end()).status is Status.DONE
    assert client.content == "Two"


async def test_windows_start_over_and_then_see_its_end(
    chat: ChatService, completion: ScriptedCompletion
) -> None:
    window = Window(await chat.events("ann", "c1"))
    await window.next()
    await regenerate(chat)
    reset = await window.next()
    assert isinstance(reset, MessagesReset)
    assert [message.id for message in reset.messages] == ["m1", "n1"]
    completion.end()
    assert isinstance(await window.next(), MessageChanged)
    assert window.messages["n1"].status is Status.DONE
    assert list(window.messages) == ["m1", "n1"]
    await window.leave()


async def test_the_messages_id_stops_the_newest_reply(chat: ChatService) -> None:
    client = await regenerate(chat)
    assert (await chat.stop("ann", "m1")).id == "n1"
    assert (await client.until_end()).status is Status.STOPPED


async def test_a_reply_that_streams_is_not_replaced(chat: ChatService) -> None:
    await regenerate(chat)
    with pytest.raises(ReplyStreamingError):
        await regenerate(chat, "n2")
    await chat.stop("ann", "n1")
    assert (await (await regenerate(chat, "n2")).next()).message_id == "n2"


async def test_a_clear_ends_it_and_its_id_stays_used(chat: ChatService) -> None:
    client = await regenerate(chat)
    assert await chat.clear("ann", "c1") == 3
    with pytest.raises(MessageClearedError):
        await client.until_end()
    with pytest.raises(MessageClearedError):
        await regenerate(chat)


async def test_the_id_of_a_reply_that_this_process_produces_is_a_conflict_elsewhere(
    chat: ChatService, completion: ScriptedCompletion
) -> None:
    await regenerate(chat)
    other = Client(await chat.send("ann", "m2", "c1", "Again"))
    await other.next()
    with pytest.raises(MessageIdConflictError):
        await regenerate(chat, "n1", "m2")
    with pytest.raises(MessageIdConflictError):
        await regenerate(chat, other.message_id)
    assert len(chat._running) == 2


async def test_one_too_many_is_refused_and_joining_one_is_not(chat: ChatService) -> None:
    await regenerate(chat)
    await Client(await chat.send("ann", "m2", "c2", "Again")).next()
    with pytest.raises(TooManyRepliesError):
        await regenerate(chat, "n2")
    assert await chat.message("ann", "n2") is None
    assert (await (await regenerate(chat)).next()).message_id == "n1"


@pytest.mark.parametrize(("id", "message"), [("", "m1"), ("n" * 129, "m1"), ("n1", "a\nb")])
async def test_ids_have_their_limits(chat: ChatService, id: str, message: str) -> None:
    with pytest.raises(BadUserInputError):
        await regenerate(chat, id, message)
