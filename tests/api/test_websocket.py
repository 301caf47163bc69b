"""The operations of a socket: what goes out when they end, and what they keep while they wait."""

import gc
import tracemalloc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from graphql_app.api.delivery import EventExecutor
from graphql_app.api.schema import schema
from graphql_app.chat import ChatService
from graphql_app.messages import Ref
from tests.api.sockets import Conversation, Reply, in_turn
from tests.chats import settled
from tests.faults import FaultyStore, ImmediateStore, ScriptedCompletion
from tests.objects import alive

RESUME = 'subscription { resumeMessage(message: {id: "reply"}) { text } }'
JOIN = """subscription {
    sendMessage(message: {id: "question", content: "Why?", conversationId: "c1"}) { text }
}"""
COMPLETE = {"id": "1", "type": "complete"}

with_a_resume_and_a_send = pytest.mark.parametrize("query", [RESUME, JOIN], ids=["resume", "send"])


@pytest.fixture
def store() -> FaultyStore:
    return ImmediateStore()


@pytest.fixture
async def reply(store: FaultyStore) -> Reply:
    """A reply that another process writes, as far as the chat knows."""
    return await Reply(store=store).begin()


def has_followers(chat: ChatService) -> bool:
    return bool(chat._audiences._audiences)


class Memory:
    """How much is kept of what was made meanwhile."""

    def __init__(self) -> None:
        gc.collect()
        self._before, _ = tracemalloc.get_traced_memory()

    @property
    def kept(self) -> int:
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        return after - self._before


@contextmanager
def measured() -> Iterator[Memory]:
    tracemalloc.start()
    try:
        yield Memory()
    finally:
        tracemalloc.stop()


# Ends.


@with_a_resume_and_a_send
@pytest.mark.parametrize("takes", [None, (True,), (False,)], ids=["no sink", "pushed", "refused"])
async def test_what_is_said_right_behind_a_complete_is_not_sent(
    reply: Reply, chat: ChatService, query: str, takes: tuple[bool, ...] | None
) -> None:
    sink = in_turn(*takes) if takes else None
    async with Conversation(schema, chat, sink).opened() as socket:
        socket.subscribe(query)
        await settled()
        assert len(socket.texts) == 1
        socket.say(COMPLETE)
        socket.when_read(lambda: reply.append("One"))
        await settled()
        assert len(socket.texts) == 1


@with_a_resume_and_a_send
@pytest.mark.parametrize("takes", [None, (False,)], ids=["no sink", "refused"])
async def test_what_is_on_its_way_when_a_complete_comes_is_not_sent(
    reply: Reply, chat: ChatService, query: str, takes: tuple[bool, ...] | None
) -> None:
    sink = in_turn(*takes) if takes else None
    async with Conversation(schema, chat, sink).opened() as socket:
        socket.subscribe(query)
        await settled()
        assert len(socket.texts) == 1
        socket.when_read(lambda: reply.append("One"))
        socket.say(COMPLETE)
        await settled()
        assert len(socket.texts) == 1


async def test_a_message_whose_sender_completes_at_once_is_answered_and_nothing_is_sent(
    store: FaultyStore, chat: ChatService, completion: ScriptedCompletion
) -> None:
    gate = store.holding("add")
    async with Conversation(schema, chat, in_turn(True)).opened() as socket:
        socket.subscribe('subscription { sendMessage(message: {id: "m", content: "?"}) { text } }')
        await gate.reached()
        socket.say(COMPLETE)
        await settled()
        gate.open()
        completion.say("One")
        completion.end()
        await settled()
        assert socket.texts == []
    answer = await store.message(await store.newest_reply(Ref("", "m")))
    assert answer is not None
    assert answer.content == "One"


@with_a_resume_and_a_send
@pytest.mark.parametrize("end", ["complete", "leave", "lost"])
async def test_a_client_that_goes_while_something_is_sent_to_it_leaves_no_follower(
    reply: Reply, chat: ChatService, query: str, end: str
) -> None:
    async with Conversation(schema, chat, in_turn(False)).opened() as socket:
        socket.subscribe(query)
        await settled()
        gate = socket.holding()
        await reply.append("One")
        await gate.reached()
        assert has_followers(chat)
        match end:
            case "complete":
                socket.say(COMPLETE)
            case "leave":
                socket.leave()
            case "lost":
                socket.is_lost = True
                gate.open()
        await settled()
        assert not has_followers(chat)
        gate.open()


# What is kept.


async def test_operations_that_wait_keep_nothing_of_what_was_asked_and_sent(
    reply: Reply, chat: ChatService
) -> None:
    size, count = 100_000, 8
    query = """subscription ($content: String!) {
        resumeMessage(message: {id: "reply", content: $content}) { text }
    }"""
    await reply.append("x" * size)
    async with Conversation(schema, chat, in_turn(True)).opened() as socket:
        with measured() as memory:
            for number in range(count):
                # What is right in it differs, and so each one is sent something else.
                socket.subscribe(
                    query + " " * size, {"content": "x" * number + "y" * size}, id=f"{number}"
                )
            await settled()
            assert [len(text) > size for text in socket.texts] == [True] * count
            await reply.append("z")  # Or the last text would still be there for the next who asks.
            assert socket.written == count
            socket.texts.clear()
            assert memory.kept < count * size / 2


async def test_a_socket_that_waits_keeps_nothing_of_what_the_client_said_last(
    chat: ChatService,
) -> None:
    size = 1_000_000
    async with Conversation(schema, chat, in_turn(True)).opened() as socket:
        with measured() as memory:
            socket.say({"type": "ping", "payload": {"text": "x" * size}})
            await settled()
            assert len(socket.texts[0]) > size
            socket.texts.clear()
            assert memory.kept < size / 10


async def test_a_socket_does_not_keep_the_headers_of_its_handshake(chat: ChatService) -> None:
    class Header(list[bytes]):
        """One that can be referred to weakly."""

    header = Header([b"cookie", b"session=1"])
    kept = weakref.ref(header)
    socket = Conversation(schema, chat, None)
    socket._extensions["headers"] = [header]
    del header
    async with socket.opened():
        del socket._extensions["headers"]
        gc.collect()
        assert kept() is None


@pytest.mark.parametrize("words", [0, 2])
async def test_what_executes_an_operation_goes_without_the_collector_before_the_operation_ends(
    reply: Reply, chat: ChatService, without_collector: None, words: int
) -> None:
    async with Conversation(schema, chat, in_turn(True)).opened() as socket:
        socket.subscribe(RESUME)
        await settled()
        for _ in range(words):
            await reply.append("One ")
        assert has_followers(chat)
        assert alive(EventExecutor) == 0


@pytest.mark.parametrize(
    "query",
    ['{ message(id: "reply") { content } }', 'mutation { stopMessage(id: "reply") { status } }'],
    ids=["query", "mutation"],
)
async def test_what_executed_an_operation_goes_with_it_without_the_collector(
    reply: Reply, chat: ChatService, without_collector: None, query: str
) -> None:
    async with Conversation(schema, chat, in_turn(True)).opened() as socket:
        socket.subscribe(query)
        await settled()
        assert [frame["type"] for frame in socket.values] == ["next", "complete"]
        assert alive(EventExecutor) == 0
