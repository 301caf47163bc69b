"""A socket of the application, without a network, and a reply that is streamed over it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias, cast

from graphql_app.access.tokens import Tokens
from graphql_app.api.schema import ChatSchema
from graphql_app.api.transport import Transport
from graphql_app.api.websocket import WRITE
from graphql_app.chat import ChatService
from graphql_app.follower import Audiences, Following
from graphql_app.interfaces import Draft, Lease
from graphql_app.messages import ConversationRef, Ref, ReplyError, Status, utf16_length
from graphql_app.pages import Pages
from tests.chats import PATIENCE_SECONDS, settled
from tests.faults import FaultyStore, Gate, ImmediateStore, leaking_nothing


class Reply:
    """A reply in a store, written by the test, and the chat that streams it."""

    def __init__(self, id: str = "reply", store: FaultyStore | None = None) -> None:
        self.store = store or ImmediateStore()
        self.audiences = Audiences(self.store)
        self.ref = Ref("", id)
        self.end = 0
        self._lease: Lease | None = None

    async def begin(self) -> "Reply":
        self._lease = await self.store.register(10)
        await self.store.add(
            Draft(Ref("", "question"), ConversationRef("", "c1"), "Why?", self.ref, 0), self._lease
        )
        return self

    async def append(self, text: str) -> None:
        assert self._lease is not None
        await self.store.append(self.ref, self._lease, self.end, text)
        self.end += utf16_length(text)

    async def finish(self, status: Status, error: ReplyError | None, text: str = "") -> None:
        await self.store.finish(
            self.ref, status, lease=self._lease, at_offset=self.end, text=text, error=error
        )

    async def clear(self) -> None:
        await self.store.clear(ConversationRef("", "c1"))

    # What the schema asks a chat for.

    async def send(self, *_: object) -> Following:
        return self.audiences.follow(self.ref, 0, is_new=True)

    async def resume(self, *_: object, **__: object) -> Following:
        return self.audiences.follow(self.ref, 0)

    @property
    def has_followers(self) -> bool:
        return bool(self.audiences._audiences) or self.store.watchers > 0


Sink: TypeAlias = Callable[[], bool]


class Conversation:
    """One socket of the application, without a network: what it is sent, and how.

    `is_lost` makes the server find out that the client has gone when it sends something.
    """

    def __init__(
        self,
        schema: ChatSchema,
        chat: Reply | ChatService,
        takes: Sink | None,
        tokens: Tokens | None = None,
    ) -> None:
        self._transport = Transport(
            schema,
            cast(ChatService, chat),
            pages=Pages(Path("nowhere")),
            max_body_bytes=10_000,
            max_sockets=10,
            max_operations_per_socket=10,
            init_timeout_seconds=10,
            tokens=tokens,
        )
        self._takes = takes
        self._extensions: dict[str, Any] = {
            "extensions": {} if takes is None else {WRITE: self._write}
        }
        self._inbox: asyncio.Queue[dict[str, Any] | Callable[[], Awaitable[None]]] = asyncio.Queue()
        self._gate: Gate | None = None
        self.texts: list[str] = []
        self.closed: tuple[int, str] | None = None
        self.written = 0
        self.is_lost = False

    async def _receive(self) -> dict[str, Any]:
        while callable(message := await self._inbox.get()):
            await message()
        return message

    async def _send(self, message: Any) -> None:
        if self._gate is not None:
            await self._gate.pass_through()
        if self.is_lost:
            raise OSError
        if message["type"] == "websocket.send":
            self.texts.append(message["text"])
        elif message["type"] == "websocket.close":
            self.closed = (message["code"], message["reason"])

    def _write(self, text: bytes) -> bool:
        assert self._takes is not None
        if not self._takes():
            return False
        self.texts.append(text.decode())
        self.written += 1
        return True

    def say(self, frame: object) -> None:
        self._inbox.put_nowait({"type": "websocket.receive", "text": json.dumps(frame)})

    def when_read(self, step: Callable[[], Awaitable[None]]) -> None:
        """Something happens when all that was said before was read, and before anything else."""
        self._inbox.put_nowait(step)

    def holding(self) -> Gate:
        """The client reads nothing more until the gate is opened."""
        self._gate = Gate()
        return self._gate

    def leave(self) -> None:
        self._inbox.put_nowait({"type": "websocket.disconnect", "code": 1000})

    def subscribe(
        self, query: str, variables: dict[str, Any] | None = None, *, id: str = "1"
    ) -> None:
        payload = {"query": query, "variables": variables}
        self.say({"id": id, "type": "subscribe", "payload": payload})

    @property
    def frames(self) -> list[Any]:
        """All frames, with the order of the keys of every object."""
        return [json.loads(text, object_pairs_hook=list) for text in self.texts]

    @property
    def values(self) -> list[Any]:
        return [json.loads(text) for text in self.texts]

    @asynccontextmanager
    async def opened(self, token: str | None = None) -> AsyncIterator["Conversation"]:
        scope = {
            "type": "websocket",
            "path": "/graphql",
            "headers": [],
            "query_string": b"",
            "client": ("192.0.2.7", 50_000),
            "subprotocols": ["graphql-transport-ws"],
            **self._extensions,
        }
        self._inbox.put_nowait({"type": "websocket.connect"})
        payload = None if token is None else {"authorization": token}
        self.say({"type": "connection_init", "payload": payload})
        serving = asyncio.ensure_future(self._transport(scope, self._receive, self._send))
        await settled()
        try:
            assert self.values == [{"type": "connection_ack"}]
            self.texts.clear()
            yield self
        finally:
            self.leave()
            await asyncio.wait_for(serving, PATIENCE_SECONDS)
            await settled()


def in_turn(*answers: bool) -> Sink:
    """A sink that takes and refuses in this order, over and over."""
    state = {"next": 0}

    def takes() -> bool:
        state["next"] += 1
        return answers[state["next"] % len(answers)]

    return takes


async def told(
    schema: ChatSchema,
    steps: Callable[[Reply, Conversation], AsyncIterator[None]],
    *,
    takes: Sink | None = None,
    id: str = "reply",
    store: FaultyStore | None = None,
) -> Conversation:
    """What a socket of this schema is sent, while something happens step by step."""
    with leaking_nothing():
        reply = await Reply(id, store).begin()
        async with Conversation(schema, reply, takes).opened() as socket:
            async for _ in steps(reply, socket):
                await settled()
            await settled()
    assert not reply.has_followers
    return socket
