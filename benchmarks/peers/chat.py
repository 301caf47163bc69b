"""What the Python peers have in common: messages in memory, and replies that are produced."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from uuid import uuid4

from benchmarks.answers import stamped_words

LOOK_AGAIN_SECONDS = 0.05
"""How often somebody who resumed looks for more."""


@dataclass(slots=True)
class Message:
    id: str
    role: str
    content: str = ""
    status: str = "DONE"
    words: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return self.content or "".join(self.words)


messages: dict[str, Message] = {}
conversations: defaultdict[str, list[Message]] = defaultdict(list)
_producing: set[asyncio.Task[None]] = set()


def add(id: str, conversation_id: str, content: str) -> Message:
    """Stores a user's message and its reply, which is returned."""
    asked = Message(id, "USER", content)
    reply = Message(uuid4().hex, "ASSISTANT", status="STREAMING")
    for message in (asked, reply):
        messages[message.id] = message
        conversations[conversation_id].append(message)
    return reply


def produce(reply: Message, order: str) -> "asyncio.Queue[str]":
    """Lets a reply be written in the background, and each word be read; the last one is empty."""
    words: asyncio.Queue[str] = asyncio.Queue()

    async def write() -> None:
        async for word in stamped_words(order):
            reply.words.append(word)
            words.put_nowait(word)
        reply.status = "DONE"
        words.put_nowait("")

    task = asyncio.create_task(write())
    _producing.add(task)
    task.add_done_callback(_producing.discard)
    return words


async def follow(reply: Message, content: str) -> AsyncIterator[tuple[int, str, str]]:
    """Offset, text and status of what a reply has beyond `content`, and of what comes."""
    text, status, read = reply.text, reply.status, len(reply.words)
    offset = len(content) if text.startswith(content) else 0
    yield offset, text[offset:], status
    offset = len(text)
    while status == "STREAMING":
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
        status = reply.status
        if len(reply.words) > read or status == "DONE":
            text = "".join(itertools.islice(reply.words, read, None))
            read = len(reply.words)
            yield offset, text, status
            offset += len(text)
