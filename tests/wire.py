"""Speaking graphql-transport-ws frame by frame, and keeping a reply's text by the rule."""

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

CHUNK = "{ messageId offset text status error { code message } }"
SEND = f"subscription Send($message: MessageInput!) {{ sendMessage(message: $message) {CHUNK} }}"
RESUME = (
    f"subscription Resume($message: ResumeInput!) {{ resumeMessage(message: $message) {CHUNK} }}"
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

    async def send(self, frame: object) -> None:
        await self.connection.send(json.dumps(frame))

    async def receive(self) -> Any:
        return json.loads(await self.connection.recv())

    async def subscribe(
        self, query: str, variables: dict[str, Any] | None = None, *, id: str | None = None
    ) -> str:
        id = id or f"op{next(self._ids)}"
        payload: dict[str, Any] = {"query": query}
        if variables is not None:
            payload["variables"] = variables
        await self.send({"id": id, "type": "subscribe", "payload": payload})
        return id

    async def frames(self, id: str) -> AsyncIterator[dict[str, Any]]:
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
        """Follows a reply to its end, or for so many chunks.

        Raises:
            Refused: the operation ended with an error.
        """
        reply = reply or Reply()
        id = await self.subscribe(query, variables)
        count = 0
        async for frame in self.frames(id):
            if frame["type"] == "error":
                raise Refused(frame["payload"])
            if frame["type"] == "next":
                [chunk] = frame["payload"]["data"].values()
                reply.apply(chunk)
                count += 1
                if count == most_chunks:
                    break
        return reply


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
        url, subprotocols=[Subprotocol(subprotocol)], max_size=None, compression=None
    ) as connection:
        yield connection


@asynccontextmanager
async def open_socket(url: str) -> AsyncIterator[Socket]:
    """A socket on which connection_init was acknowledged."""
    async with raw_connection(url) as connection:
        socket = Socket(connection)
        await socket.send({"type": "connection_init"})
        assert await socket.receive() == {"type": "connection_ack"}
        yield socket
