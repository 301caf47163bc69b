"""Long lists, handed out in portions, so that others get their turn while an answer is made."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from typing import TypeVar, cast

T = TypeVar("T")

PORTION = 50
"""How many entries are completed in one go: some four milliseconds, with all their fields."""


class Portions(AsyncIterable[T]):
    """The entries of a list, as graphql-core takes lists that come one after another."""

    def __init__(self, entries: Sequence[T]) -> None:
        self._entries = entries

    def __aiter__(self) -> AsyncGenerator[T, None]:
        return self._iterate()

    async def _iterate(self) -> AsyncGenerator[T, None]:
        for begin in range(0, len(self._entries), PORTION):
            if begin:
                await asyncio.sleep(0)
            for entry in self._entries[begin : begin + PORTION]:
                yield entry


def in_portions(entries: Sequence[T]) -> Sequence[T]:
    """The entries; in portions, if there are many of them."""
    # What Strawberry's annotations say is not what they are.
    return entries if len(entries) <= PORTION else cast(Sequence[T], Portions(entries))
