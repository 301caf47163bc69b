"""Completions for measurements: words that say when they were made, or when they were due."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

from graphql_app import Message


async def complete(history: Sequence[Message]) -> AsyncIterator[str]:
    """Answers `words per_second`: each word is the clock of the machine, in nanoseconds."""
    words, per_second = map(int, history[-1].content.split()[:2])
    loop = asyncio.get_running_loop()
    begin = loop.time()
    for number in range(1, words + 1):
        await asyncio.sleep(begin + number / per_second - loop.time())
        yield f"{time.monotonic_ns()} "


def recite(history: Sequence[Message]) -> AsyncIterator[str]:
    """Answers what `stamped_words` reads."""
    return stamped_words(history[-1].content)


async def stamped_words(order: str) -> AsyncIterator[str]:
    """Makes what is ordered as `words per_second burst`: `0:1764000000000 1:1764000000050 …`.

    Each word is its number and the millisecond in which it was due. A word that is late does not
    move those after it. With 0 per second there is no schedule: the loop runs once for each burst,
    of one word if not said.
    """
    words, per_second, burst = (*map(float, order.split()), 1)[:3]
    begin = time.time()
    for number in range(int(words)):
        if per_second:
            due = begin + (number + 1) / per_second
            await asyncio.sleep(max(0.0, due - time.time()))
        else:
            due = time.time()
            if number % burst == 0:
                await asyncio.sleep(0)
        yield f"{number}:{int(due * 1_000)} "
