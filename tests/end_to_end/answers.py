"""A completion that a test in another process tells what to do, by the message that it sends."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress

from graphql_app import Message

BLOCK = "block " * 500
LONGEST = "日" * 262_144
"""As much as a reply may hold."""


async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
    """Says what the first word of the message means.

    tasks: how many tasks the server runs. words N: so many short words at full speed, an event
    each. blocks N: so many long blocks, 100 a second. longest: all that fits into a reply, at once.
    wait: one word, and nothing more. stubborn: the same, whoever cancels it. thread: the same, in a
    thread that cannot be cancelled.
    """
    what, _, count = history[-1].content.partition(" ")
    match what:
        case "tasks":
            yield str(len(asyncio.all_tasks()))
        case "words":
            for _ in range(int(count)):
                await asyncio.sleep(0)  # What is said in one turn would join.
                yield "w "
        case "blocks":
            for _ in range(int(count)):
                await asyncio.sleep(0.01)
                yield BLOCK
        case "longest":
            yield LONGEST
        case "wait":
            yield "waiting"
            await asyncio.Event().wait()
        case "stubborn":
            yield "staying"
            while True:
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(3600)
        case "thread":
            yield "sleeping"
            await asyncio.to_thread(time.sleep, 60)
