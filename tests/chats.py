"""Chats inside the test's process, and clients that keep what they are sent by the rule."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from graphql_app.chat import ChatService
from graphql_app.interfaces import Completion, Store
from graphql_app.messages import Chunk, ConversationEvent, Message, MessagesReset, Status
from tests.faults import leaking_nothing

PATIENCE_SECONDS = 10.0
"""How long anything that must happen may take; nothing waits as long as that when all is well."""


@asynccontextmanager
async def running_chat(
    store: Store, completion: Completion, **options: Any
) -> AsyncIterator[ChatService]:
    """A service that leaves no task behind."""
    with leaking_nothing():
        async with ChatService(store, completion, **options) as chat:
            yield chat


async def abandon(chat: ChatService) -> None:
    """What is left of a service whose process was killed: nothing of it runs, its lease stays."""
    keeper = chat._keeper
    tasks = [*chat._tasks, *keeper._tasks]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    keeper._unwatch()


async def settled() -> None:
    """Returns when everything that could run without waiting for time has run."""
    for _ in range(50):
        await asyncio.sleep(0)


class Chunks(Protocol):
    """A reply, as it is followed."""

    def __aiter__(self) -> AsyncIterator[Chunk]: ...

    def __anext__(self) -> Awaitable[Chunk]: ...

    def aclose(self) -> Awaitable[None]: ...


class Client:
    """Keeps one reply: content = content[:offset] + text, in UTF-16 code units."""

    def __init__(self, stream: Chunks, content: str = "") -> None:
        self.content = content
        self.chunks: list[Chunk] = []
        self._stream = stream

    @property
    def message_id(self) -> str:
        return self.chunks[-1].message_id

    @property
    def status(self) -> Status:
        return self.chunks[-1].status

    def apply(self, chunk: Chunk) -> None:
        units = self.content.encode("utf-16-le", "surrogatepass")
        assert 2 * chunk.offset <= len(units), "text was skipped"
        assert not self.chunks or 2 * chunk.offset == len(units), "text was sent twice"
        # Strict: a chunk that cuts a code point in two is a defect.
        self.content = units[: 2 * chunk.offset].decode("utf-16-le") + chunk.text
        self.chunks.append(chunk)

    async def next(self, patience: float | None = PATIENCE_SECONDS) -> Chunk:
        async with asyncio.timeout(patience):
            chunk = await anext(self._stream)
        self.apply(chunk)
        return chunk

    async def until(self, content: str) -> None:
        """Reads until the client has this text."""
        while not self.chunks or self.content != content:
            await self.next()

    async def until_end(self) -> Chunk:
        """Reads to the end of the stream; only its last chunk may have a final status."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for chunk in self._stream:
                self.apply(chunk)
        assert [chunk.status.is_final for chunk in self.chunks] == [
            chunk is self.chunks[-1] for chunk in self.chunks
        ]
        return self.chunks[-1]

    async def leave(self) -> None:
        await self._stream.aclose()


class Window:
    """Shows one conversation: its messages, kept by the events."""

    def __init__(self, stream: AsyncGenerator[ConversationEvent, None]) -> None:
        self.messages: dict[str, Message] = {}
        self.events: list[ConversationEvent] = []
        self._stream = stream

    def apply(self, event: ConversationEvent) -> None:
        if isinstance(event, MessagesReset):
            self.messages = {message.id: message for message in event.messages}
        else:
            self.messages[event.message.id] = event.message
        self.events.append(event)

    async def next(self, patience: float | None = PATIENCE_SECONDS) -> ConversationEvent:
        async with asyncio.timeout(patience):
            event = await anext(self._stream)
        self.apply(event)
        return event

    async def leave(self) -> None:
        await self._stream.aclose()
