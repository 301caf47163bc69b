"""A completion for servers under attack: it says words back, or more than anybody reads."""

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence

from graphql_app import Message

WORD_SECONDS = 0.005

BLOCK = "x" * 20_000
BLOCKS_A_SECOND = 50
"""A megabyte each second."""


async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
    """Says the words of the message one by one, or blocks for so many seconds: `torrent 30`."""
    content = history[-1].content
    if seconds := re.fullmatch(r"torrent (\d+)", content):
        for _ in range(int(seconds[1]) * BLOCKS_A_SECOND):
            await asyncio.sleep(1 / BLOCKS_A_SECOND)
            yield BLOCK
        return
    for word in re.findall(r"\s*\S+\s*$|\s*\S+", content):
        await asyncio.sleep(WORD_SECONDS)
        yield word
