"""The echo: says the user's message back, exactly. For tests, demos and benchmarks."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from graphql_app.completions.words import words
from graphql_app.interfaces import Completion
from graphql_app.messages import Message


def echo(word_delay_seconds: float) -> Completion:
    """A completion that repeats the last message, one word every `word_delay_seconds`."""

    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        for word in words(history[-1].content):
            await asyncio.sleep(word_delay_seconds)
            yield word

    return complete
