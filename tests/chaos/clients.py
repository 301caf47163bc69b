"""Clients that keep what they are shown by the rule, and write down all of it."""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage
from websockets.typing import Subprotocol

from tests.chaos.cluster import Process
from tests.chaos.history import (
    Chunk,
    Cleared,
    Closed,
    Drafted,
    Ending,
    Failed,
    Listed,
    Opened,
    Recorder,
    Row,
    Stopped,
    Way,
    WindowClosed,
    WindowEvent,
    WindowOpened,
    now,
)
from tests.wire import MESSAGE, RESUME, SEND, Socket

CONNECT_SECONDS = 3.0
REQUEST_SECONDS = 15.0
"""How long a request may take before the client gives it up; a server says sooner that its store is
away."""

STOP = f"mutation Stop($id: ID!) {{ stopMessage(id: $id) {MESSAGE} }}"
CLEAR = "mutation Clear($id: ID!) { clearMessages(conversationId: $id) }"
LIST = f"query List($id: ID!) {{ messages(conversationId: $id) {MESSAGE} }}"
EVENTS = f"""
subscription Events($id: ID!) {{
  conversationEvents(conversationId: $id) {{
    ... on MessagesReset {{ messages {MESSAGE} }}
    ... on MessageChanged {{ message {MESSAGE} }}
  }}
}}
"""

NO_CONNECTION = (OSError, TimeoutError, ConnectionClosed, InvalidHandshake, InvalidMessage)

_numbers = itertools.count(1)


class RequestFailed(Exception):
    """A request was refused, or had no answer."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@asynccontextmanager
async def connected(process: Process) -> AsyncIterator[Socket]:
    """A socket that is dropped at the end, without a goodbye that a paused process cannot return.

    Raises:
        NO_CONNECTION: the process does not answer.
    """
    async with asyncio.timeout(CONNECT_SECONDS):
        connection = await connect(
            process.url,
            subprotocols=[Subprotocol("graphql-transport-ws")],
            compression=None,
            max_size=None,
            ping_interval=None,
            open_timeout=None,
        )
    try:
        socket = Socket(connection)
        async with asyncio.timeout(CONNECT_SECONDS):
            await socket.send({"type": "connection_init"})
            await connection.recv()
        yield socket
    finally:
        connection.transport.abort()
        await connection.wait_closed()


async def frames(socket: Socket) -> AsyncGenerator[dict[str, Any], None]:
    """The frames of the only operation of a socket, up to the one that ends it."""
    while True:
        frame: dict[str, Any] = json.loads(await socket.connection.recv())
        yield frame
        if frame["type"] != "next":
            return


async def ask(process: Process, document: str, id: str) -> Any:
    """The one field of a query's or a mutation's result.

    Raises:
        RequestFailed: with the server's code, or `timeout`, or `lost`.
    """
    try:
        async with asyncio.timeout(REQUEST_SECONDS), connected(process) as socket:
            await socket.subscribe(document, {"id": id})
            async for frame in frames(socket):
                payload = frame["payload"]
                errors = payload if frame["type"] == "error" else payload.get("errors")
                if errors:
                    raise RequestFailed(errors[0]["extensions"]["code"])
                [value] = payload["data"].values()
                return value
    except TimeoutError as error:
        raise RequestFailed("timeout") from error
    except NO_CONNECTION as error:
        raise RequestFailed("lost") from error


def row_from(message: dict[str, Any]) -> Row:
    return Row(
        id=message["id"],
        conversation=message["conversationId"],
        role=message["role"],
        content=message["content"],
        status=message["status"],
        error=message["error"] and message["error"]["code"],
        reply_to=message["replyToId"],
        created_at=message["createdAt"],
    )


class Asker:
    """A client that lists, stops and clears."""

    def __init__(self, name: str, recorder: Recorder) -> None:
        self.name = name
        self._recorder = recorder

    async def list_messages(self, process: Process, conversation: str) -> tuple[Row, ...] | None:
        begin = now()
        messages = await self._ask(process, LIST, conversation, "a list")
        if messages is None:
            return None
        rows = tuple(map(row_from, messages))
        self._recorder.add(Listed(begin, now(), self.name, process.name, conversation, rows))
        return rows

    async def stop(self, process: Process, id: str, message: str) -> None:
        """Stops by the id of the reply or of the message."""
        begin = now()
        row = None
        try:
            row = row_from(await ask(process, STOP, id))
        except RequestFailed as failed:
            # Before it is stored, and after it was cleared, there is nothing to stop.
            if failed.code not in ("MESSAGE_NOT_FOUND", "MESSAGE_CLEARED"):
                self._recorder.add(Failed(begin, now(), process.name, "a stop", failed.code))
        self._recorder.add(Stopped(begin, now(), self.name, process.name, message, row))

    async def clear(self, process: Process, conversation: str) -> None:
        begin = now()
        count = await self._ask(process, CLEAR, conversation, "a clear")
        self._recorder.add(
            Cleared(begin, now(), self.name, process.name, conversation, count is not None)
        )

    async def _ask(self, process: Process, document: str, id: str, what: str) -> Any:
        begin = now()
        try:
            return await ask(process, document, id)
        except RequestFailed as failed:
            self._recorder.add(Failed(begin, now(), process.name, what, failed.code))
            return None


class Reader:
    """A client that shows one reply, over as many streams as it takes."""

    def __init__(self, name: str, draft: Drafted, recorder: Recorder) -> None:
        self.name = name
        self.draft = draft
        self.content = ""
        self.reply: str | None = None
        self.is_over = False
        self._recorder = recorder
        self._was_sent = False
        self._is_made_up = False

    async def follow(
        self,
        process: Process,
        how: Way = Way.CONTENT,
        *,
        most_chunks: int | None = None,
        seconds: float | None = None,
        made_up: str = "",
    ) -> bool:
        """Follows the reply until it ends, or the connection does, or for so long.

        Without the reply's id the message is sent, again if need be.

        Returns:
            Whether a stream could be opened at all.
        """
        stream = next(_numbers)
        is_open = False
        try:
            async with connected(process) as socket:
                if self.reply is None or how in (Way.SEND, Way.AGAIN):
                    how = Way.AGAIN if self._was_sent else Way.SEND
                    self._was_sent = True
                if how == Way.WRONG:
                    self.content = made_up
                    self._is_made_up = True
                elif self._is_made_up and how in (Way.CONTENT, Way.OFFSET):
                    how = Way.WRONG  # The text that was made up was not healed yet.
                document, variables = self._operation(how)
                self._record_opening(stream, process, how)
                is_open = True
                async with asyncio.timeout(seconds):
                    await socket.subscribe(document, {"message": variables})
                    ending = await self._read(socket, stream, most_chunks)
        except TimeoutError:
            ending = Closed(now(), stream, Ending.LEFT)
        except ConnectionClosed as closed:
            code = "1006" if closed.rcvd is None else str(closed.rcvd.code)
            ending = Closed(now(), stream, Ending.LOST, code)
        except NO_CONNECTION:
            ending = Closed(now(), stream, Ending.LOST)
        except asyncio.CancelledError:
            if is_open:
                self._recorder.add(Closed(now(), stream, Ending.LEFT))
            raise
        if is_open:
            self._recorder.add(ending)
        return is_open

    def _operation(self, how: Way) -> tuple[str, dict[str, object]]:
        if how in (Way.SEND, Way.AGAIN):
            return SEND, {
                "id": self.draft.message,
                "conversationId": self.draft.conversation,
                "content": self.draft.content,
            }
        variables: dict[str, object] = {"id": self.reply}
        if how in (Way.CONTENT, Way.WRONG):
            variables["content"] = self.content
        elif how == Way.OFFSET:
            variables["offset"] = len(self.content.encode("utf-16-le")) // 2
        return RESUME, variables

    def _record_opening(self, stream: int, process: Process, how: Way) -> None:
        self._recorder.add(
            Opened(now(), stream, self.name, process.name, how, self.draft.message, self.content)
        )

    async def _read(self, socket: Socket, stream: int, most_chunks: int | None) -> Closed:
        count = 0
        has_ended = False
        async with aclosing(frames(socket)) as received:
            async for frame in received:
                match frame["type"]:
                    case "error":
                        code = frame["payload"][0]["extensions"]["code"]
                        self.is_over = code in ("MESSAGE_CLEARED", "MESSAGE_NOT_FOUND")
                        return Closed(now(), stream, Ending.REFUSED, code)
                    case "complete":
                        self.is_over = has_ended
                        return Closed(now(), stream, Ending.FINISHED if has_ended else Ending.BARE)
                [chunk] = frame["payload"]["data"].values()
                has_ended = self._apply(stream, chunk)
                count += 1
                if count == most_chunks and not has_ended:
                    break
        return Closed(now(), stream, Ending.LEFT)

    def _apply(self, stream: int, chunk: dict[str, Any]) -> bool:
        """content = content.slice(0, offset) + text; returns whether that was the last."""
        self.reply = chunk["messageId"]
        self._recorder.add(
            Chunk(
                at=now(),
                stream=stream,
                reply=chunk["messageId"],
                offset=chunk["offset"],
                text=chunk["text"],
                status=chunk["status"],
                error=chunk["error"] and chunk["error"]["code"],
            )
        )
        units = self.content.encode("utf-16-le")[: 2 * chunk["offset"]]
        # What is wrong with a chunk is for the checker to say.
        self.content = units.decode("utf-16-le", "ignore") + chunk["text"]
        self._is_made_up = False
        return bool(chunk["status"] != "STREAMING")


class Window:
    """A client that shows a conversation and keeps it in step, over as many streams as it takes."""

    def __init__(self, conversation: str, recorder: Recorder) -> None:
        self.conversation = conversation
        self.shown: dict[str, Row] = {}
        self._recorder = recorder

    async def follow(self, process: Process) -> None:
        """Shows the events until the connection ends or this is cancelled."""
        window = next(_numbers)
        self.shown.clear()
        is_open = False
        how = Ending.LOST
        try:
            async with connected(process) as socket:
                self._recorder.add(WindowOpened(now(), window, process.name, self.conversation))
                is_open = True
                await socket.subscribe(EVENTS, {"id": self.conversation})
                async with aclosing(frames(socket)) as received:
                    async for frame in received:
                        if frame["type"] == "next":
                            [event] = frame["payload"]["data"].values()
                            self._show(window, event)
                how = Ending.REFUSED if frame["type"] == "error" else Ending.BARE
        except NO_CONNECTION:
            pass
        except asyncio.CancelledError:
            how = Ending.LEFT
            raise
        finally:
            if is_open:
                self._recorder.add(WindowClosed(now(), window, how))

    def _show(self, window: int, event: dict[str, Any]) -> None:
        is_reset = "messages" in event
        rows = tuple(map(row_from, event["messages"] if is_reset else [event["message"]]))
        if is_reset:
            self.shown.clear()
        self.shown.update((row.id, row) for row in rows)
        self._recorder.add(WindowEvent(now(), window, is_reset, rows))
