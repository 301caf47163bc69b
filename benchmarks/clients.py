"""The two protocols that the servers speak: graphql-transport-ws, and tRPC's."""

import asyncio
import itertools
import time
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from benchmarks.replies import Reply, WrongTextError
from benchmarks.sockets import WebSocket, open_socket


@dataclass(frozen=True)
class Selection:
    """What a GraphQL client asks for."""

    send: str
    resume: str
    messages: str


def _selection(key: str, chunk: str, fragment: str = "") -> Selection:
    return Selection(
        "subscription Send($message: MessageInput!) "
        f"{{ {key}sendMessage(message: $message) {{ {chunk} }} }} {fragment}",
        "subscription Resume($message: ResumeInput!) "
        f"{{ {key}resumeMessage(message: $message) {{ {chunk} }} }} {fragment}",
        "query Messages($id: ID!) "
        "{ messages(conversationId: $id, last: 100) { id role content status } }",
    )


SELECTIONS = {
    "client": _selection(
        "reply: ",
        "...Chunk",
        "fragment Chunk on StreamChunk "
        "{ __typename id: messageId offset text status error { __typename code message } }",
    ),
    "plain": _selection("", "messageId offset text status"),
}
"""As clients ask that normalise what they get, with an alias and a fragment, and with plain fields
only."""


class Client(Protocol):
    """A socket on which replies can be followed."""

    def send_message(self, id: str, conversation_id: str, order: str) -> Reply:
        """Sends a message and follows its reply."""

    def resume_message(self, id: str, content: str) -> Reply:
        """Follows a reply from the end of `content` on."""

    def messages(self, conversation_id: str) -> asyncio.Future[Any]:
        """Lists a conversation's messages."""

    def abort(self) -> None:
        """Leaves without a goodbye."""


class _Socket(WebSocket):
    """What both protocols have: replies and answers by the id of their operation."""

    def __init__(self) -> None:
        super().__init__()
        self._ids = itertools.count(1)
        self._replies: dict[int | str, Reply] = {}
        self._answers: dict[int | str, asyncio.Future[Any]] = {}

    def ended(self) -> None:
        for reply in self._replies.values():
            reply.end(time.time(), "the socket was closed")
        for answer in self._answers.values():
            answer.cancel()

    def _follow(self, id: int | str) -> Reply:
        reply = self._replies[id] = Reply()
        return reply

    def _ask(self, id: int | str) -> asyncio.Future[Any]:
        answer = self._answers[id] = asyncio.get_running_loop().create_future()
        return answer

    def _end(self, id: int | str, error: str = "") -> None:
        if (reply := self._replies.pop(id, None)) is not None:
            reply.end(time.time(), error)
        if (answer := self._answers.pop(id, None)) is not None and error and not answer.done():
            answer.set_exception(WrongTextError(error))


class GraphQLSocket(_Socket):
    """graphql-transport-ws."""

    subprotocol = "graphql-transport-ws"
    path = "/graphql"

    def __init__(self, selection: Selection) -> None:
        super().__init__()
        self._selection = selection
        self._acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def send_message(self, id: str, conversation_id: str, order: str) -> Reply:
        message = {"id": id, "conversationId": conversation_id, "content": order}
        return self._follow(self._subscribe(self._selection.send, {"message": message}))

    def resume_message(self, id: str, content: str) -> Reply:
        message = {"id": id, "content": content}
        return self._follow(self._subscribe(self._selection.resume, {"message": message}))

    def messages(self, conversation_id: str) -> asyncio.Future[Any]:
        return self._ask(self._subscribe(self._selection.messages, {"id": conversation_id}))

    async def initialise(self) -> None:
        self.send(b'{"type":"connection_init"}')
        await self._acknowledged

    def _subscribe(self, query: str, variables: dict[str, object]) -> str:
        id = str(next(self._ids))
        payload = {"query": query, "variables": variables}
        self.send(orjson.dumps({"id": id, "type": "subscribe", "payload": payload}))
        return id

    def receive(self, payload: bytes) -> None:
        now = time.time()
        frame = orjson.loads(payload)
        match frame["type"]:
            case "next":
                [data] = frame["payload"]["data"].values()
                if (reply := self._replies.get(frame["id"])) is not None:
                    reply.take(now, data)
                else:
                    self._answers.pop(frame["id"]).set_result(data)
            case "complete":
                self._end(frame["id"])
            case "error":
                self._end(frame["id"], payload.decode())
            case "connection_ack":
                self._acknowledged.set_result(None)
            case "ping":
                self.send(b'{"type":"pong"}')


class TRPCSocket(_Socket):
    """The protocol of tRPC's WebSocket adapter."""

    def send_message(self, id: str, conversation_id: str, order: str) -> Reply:
        message = {"id": id, "conversationId": conversation_id, "content": order}
        return self._follow(self._call("subscription", "sendMessage", message))

    def resume_message(self, id: str, content: str) -> Reply:
        return self._follow(
            self._call("subscription", "resumeMessage", {"id": id, "content": content})
        )

    def messages(self, conversation_id: str) -> asyncio.Future[Any]:
        return self._ask(
            self._call("query", "messages", {"conversationId": conversation_id, "last": 100})
        )

    def _call(self, method: str, path: str, given: object) -> int:
        id = next(self._ids)
        self.send(
            orjson.dumps({"id": id, "method": method, "params": {"path": path, "input": given}})
        )
        return id

    def receive(self, payload: bytes) -> None:
        now = time.time()
        frame = orjson.loads(payload)
        id = frame["id"]
        result = frame.get("result")
        if result is None:
            self._end(id, payload.decode())
        elif result["type"] == "data":
            if (reply := self._replies.get(id)) is not None:
                reply.take(now, result["data"])
            else:
                self._answers.pop(id).set_result(result["data"])
        elif result["type"] == "stopped":
            self._end(id)


async def open_graphql(port: int, selection: Selection) -> Client:
    socket = await open_socket(lambda: GraphQLSocket(selection), port)
    await socket.initialise()
    return socket


async def open_trpc(port: int, _: Selection) -> Client:
    return await open_socket(TRPCSocket, port)
