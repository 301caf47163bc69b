"""A completion for measurements: words that say when they were made."""

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
