"""Speaking graphql-transport-ws frame by frame, and keeping a reply's text by the rule."""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

PATIENCE_SECONDS = 20.0
"""How long anything that must happen may take; nothing waits as long as that when all is well."""

CHUNK = "{ messageId offset text status error { code message } }"
SEND = f"subscription Send($message: MessageInput!) {{ sendMessage(message: $message) {CHUNK} }}"
RESUME = (
    f"subscription Resume($message: ResumeInput!) {{ resumeMessage(message: $message) {CHUNK} }}"
)
REGENERATE = (
    "subscription Regenerate($message: RegenerateInput!)"
    f" {{ regenerateMessage(message: $message) {CHUNK} }}"
)
MESSAGE = "{ id conversationId role content status createdAt replyToId error { code message } }"


@dataclass
class Reply:
    """A reply as a client keeps it."""

    content: str = ""
    message_id: str | None = None
    status: str | None = None
    error: dict[str, Any] | None = None
    chunks: list[dict[str, Any]] = field(default_factory=list)

    def apply(self, chunk: dict[str, Any]) -> None:
        """content = content.slice(0, offset) + text, in UTF-16 code units."""
        units = self.content.encode("utf-16-le", "surrogatepass")
        assert chunk["offset"] * 2 <= len(units), "the server skipped text"
        kept = units[: chunk["offset"] * 2].decode("utf-16-le")
        self.content = kept + chunk["text"]
        assert self.message_id in (None, chunk["messageId"])
        self.message_id = chunk["messageId"]
        self.status = chunk["status"]
        self.error = chunk["error"]
        self.chunks.append(chunk)


class Socket:
    """One acknowledged socket, whose frames are read one after the other."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self._ids = itertools.count(1)
        self._following = ""

    async def send(self, frame: object) -> None:
        await self.connection.send(json.dumps(frame))

    async def receive(self) -> Any:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return json.loads(await self.connection.recv())

    async def complete(self, id: str) -> None:
        """Ends an operation from the client's side."""
        await self.send({"id": id, "type": "complete"})

    def cut(self) -> None:
        """Resets the connection, without a goodbye."""
        self.connection.transport.abort()

    async def subscribe(
        self, query: str, variables: dict[str, Any] | None = None, *, id: str | None = None
    ) -> str:
        id = id or f"op{next(self._ids)}"
        payload: dict[str, Any] = {"query": query}
        if variables is not None:
            payload["variables"] = variables
        await self.send({"id": id, "type": "subscribe", "payload": payload})
        return id

    async def frames(self, id: str) -> AsyncGenerator[dict[str, Any], None]:
        """The frames of one operation up to its end; those of others must not come."""
        while True:
            frame = await self.receive()
            assert frame["id"] == id, frame
            yield frame
            if frame["type"] != "next":
                return

    async def execute(self, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        """The one result of a query or mutation, or the payload of an error as `errors`."""
        result: dict[str, Any] = {}
        async for frame in self.frames(await self.subscribe(query, variables)):
            if frame["type"] == "next":
                result = frame["payload"]
            elif frame["type"] == "error":
                result = {"errors": frame["payload"]}
        return result

    async def follow(
        self,
        query: str,
        variables: dict[str, Any],
        reply: Reply | None = None,
        *,
        most_chunks: int | None = None,
    ) -> Reply:
        """Follows a reply to its end, or for so many chunks; `rest` goes on then.

        Raises:
            Refused: the operation ended with an error.
        """
        self._following = await self.subscribe(query, variables)
        return await self.rest(reply or Reply(), most_chunks=most_chunks)

    async def rest(self, reply: Reply, *, most_chunks: int | None = None) -> Reply:
        """Follows the reply that `follow` began with, as that does."""
        count = 0
        async with aclosing(self.frames(self._following)) as frames:
            async for frame in frames:
                if frame["type"] == "error":
                    raise Refused(frame["payload"])
                if frame["type"] == "next":
                    [chunk] = frame["payload"]["data"].values()
                    reply.apply(chunk)
                    count += 1
                    if count == most_chunks:
                        break
        return reply


async def how_closed(connection: ClientConnection) -> tuple[int, str]:
    """The code and the reason with which the server closes; what it sends before is dropped.

    A connection that ends without a close frame is 1006.
    """
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                await connection.recv()
    except ConnectionClosed as closed:
        return (1006, "") if closed.rcvd is None else (closed.rcvd.code, closed.rcvd.reason)


async def eventually(holds: Callable[[], bool]) -> None:
    """Returns when something is so that another process brings about by itself."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if holds():
                return
            await asyncio.sleep(0.01)


class Refused(Exception):
    """An operation ended with an error message."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__(errors)
        self.errors = errors
        self.code = errors[0]["extensions"]["code"]


@asynccontextmanager
async def raw_connection(
    url: str, subprotocol: str = "graphql-transport-ws"
) -> AsyncIterator[ClientConnection]:
    """A socket on which nothing was said yet."""
    async with connect(
        url,
        subprotocols=[Subprotocol(subprotocol)],
        compression=None,
        max_size=None,
        max_queue=None,  # Or what nobody read would hold up the goodbye.
    ) as connection:
        yield connection


@asynccontextmanager
async def open_socket(url: str, token: str | None = None) -> AsyncIterator[Socket]:
    """A socket on which connection_init was acknowledged."""
    async with raw_connection(url) as connection:
        socket = Socket(connection)
        init: dict[str, Any] = {"type": "connection_init"}
        if token is not None:
            init["payload"] = {"authorization": f"Bearer {token}"}
        await socket.send(init)
        assert await socket.receive() == {"type": "connection_ack"}
        yield socket
