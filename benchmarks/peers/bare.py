"""An ASGI application that sends the same bytes and does nothing else.

There is no GraphQL, no task between producing and sending, no escaping. Whatever uvicorn serves
costs at least this.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any, TypeAlias

import orjson

from benchmarks.answers import stamped_words
from benchmarks.peers import chat

Event: TypeAlias = MutableMapping[str, Any]
Send: TypeAlias = Callable[[str], Awaitable[None]]
Operate: TypeAlias = Callable[[Send, str, str, Any], Coroutine[Any, Any, None]]

followers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)


class Frames:
    """The frames of one operation: what its query selects is guessed, not parsed."""

    def __init__(self, id: str, query: str, field: str, reply: chat.Message) -> None:
        if "__typename" in query:
            self._head = (
                f'{{"id":"{id}","type":"next","payload":{{"data":{{"reply":'
                f'{{"__typename":"StreamChunk","id":"{reply.id}","offset":'
            )
            self._streaming = '","status":"STREAMING","error":null}}}}'
        else:
            self._head = (
                f'{{"id":"{id}","type":"next","payload":{{"data":{{"{field}":'
                f'{{"messageId":"{reply.id}","offset":'
            )
            self._streaming = '","status":"STREAMING"}}}}'
        self._done = self._streaming.replace("STREAMING", "DONE")
        self.complete = f'{{"id":"{id}","type":"complete"}}'

    def streaming(self, offset: int, text: str) -> str:
        return f'{self._head}{offset},"text":"{text}{self._streaming}'

    def done(self, offset: int, text: str) -> str:
        return f'{self._head}{offset},"text":"{text}{self._done}'


async def send_message(send: Send, id: str, query: str, message: dict[str, str]) -> None:
    reply = chat.add(message["id"], message["conversationId"], message["content"])
    frames, offset = Frames(id, query, "sendMessage", reply), 0
    await send(frames.streaming(0, ""))
    waiting = followers[reply.id]
    async for word in stamped_words(message["content"]):
        reply.words.append(word)
        for event in waiting:
            event.set()
        await send(frames.streaming(offset, word))
        offset += len(word)
    reply.status = "DONE"
    for event in followers.pop(reply.id):
        event.set()
    await send(frames.done(offset, ""))
    await send(frames.complete)


async def resume_message(send: Send, id: str, query: str, message: dict[str, str]) -> None:
    reply = chat.messages[message["id"]]
    frames, text, read = Frames(id, query, "resumeMessage", reply), reply.text, len(reply.words)
    offset = len(message["content"]) if text.startswith(message["content"]) else 0
    text, news = text[offset:], asyncio.Event()
    if reply.status == "STREAMING":
        followers[reply.id].add(news)
    try:
        while reply.status == "STREAMING":
            await send(frames.streaming(offset, text))
            offset += len(text)
            await news.wait()
            news.clear()
            text, read = "".join(reply.words[read:]), len(reply.words)
    finally:
        followers.get(reply.id, set()).discard(news)
    await send(frames.done(offset, text))
    await send(frames.complete)


async def messages(send: Send, id: str, _query: str, conversation_id: str) -> None:
    listed = [
        {"id": each.id, "role": each.role, "content": each.text, "status": each.status}
        for each in chat.conversations[conversation_id][-100:]
    ]
    payload = {"data": {"messages": listed}}
    await send(orjson.dumps({"id": id, "type": "next", "payload": payload}).decode())
    await send(f'{{"id":"{id}","type":"complete"}}')


OPERATIONS: dict[str, tuple[str, Operate]] = {
    "subscription Send": ("message", send_message),
    "subscription Resume": ("message", resume_message),
    "query Messages": ("id", messages),
}


async def app(
    scope: Event,
    receive: Callable[[], Awaitable[Event]],
    send_event: Callable[[Event], Awaitable[None]],
) -> None:
    assert scope["type"] == "websocket"
    await receive()
    await send_event({"type": "websocket.accept", "subprotocol": "graphql-transport-ws"})

    async def send(text: str) -> None:
        await send_event({"type": "websocket.send", "text": text})

    tasks: set[asyncio.Task[None]] = set()
    while (event := await receive())["type"] != "websocket.disconnect":
        frame = orjson.loads(event["text"])
        if frame["type"] == "connection_init":
            await send('{"type":"connection_ack"}')
        elif frame["type"] == "subscribe":
            query = frame["payload"]["query"]
            variable, operate = OPERATIONS[query.partition("(")[0]]
            given = frame["payload"]["variables"][variable]
            task = asyncio.create_task(operate(send, frame["id"], query, given))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    for task in tasks:
        task.cancel()
