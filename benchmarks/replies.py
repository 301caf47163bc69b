"""What a client received of a reply, when, and whether it is right."""

import asyncio
from collections.abc import Iterator
from typing import Any


class WrongTextError(Exception):
    """A server did not deliver what the completion said."""


class Reply:
    """A reply that is followed: its chunks and when they came."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.id = ""
        self.begun: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.ended_at = 0.0
        self.status = ""
        self._received: list[tuple[float, int, str]] = []

    def take(self, now: float, chunk: dict[str, Any]) -> None:
        """A chunk arrived, in the names of one of the selections."""
        self._received.append((now, chunk["offset"], chunk["text"]))
        self.status = chunk["status"]
        if not self.id:
            self.id = chunk.get("messageId") or chunk["id"]
            if not self.begun.done():
                self.begun.set_result(None)

    def end(self, now: float, error: str = "") -> None:
        """The stream is over, as it should be or not."""
        self.ended_at = self.ended_at or now
        for future in (self.begun, self.ended):
            if not future.done():
                if error:
                    future.set_exception(WrongTextError(error))
                    future.exception()  # It may be that nobody waits.
                else:
                    future.set_result(None)

    @property
    def text(self) -> str:
        return "".join(text for _, _, text in self._received)

    @property
    def chunks(self) -> int:
        """How many chunks came that had text."""
        return sum(1 for _, _, text in self._received if text)

    def chunks_between(self, begin: float, end: float) -> int:
        return sum(1 for now, _, text in self._received if text and begin <= now < end)

    def words(self) -> Iterator[tuple[float, float]]:
        """When each word was due and when it came, in seconds."""
        for now, _, text in self._received:
            for word in text.split():
                yield int(word.partition(":")[2]) / 1_000, now

    def check(self, *, skipped: int = 0, words: int | None = None, offset: int = 0) -> int:
        """Fails if a word is missing, doubled, out of order or in the wrong place; counts them.

        Args:
            skipped: the words before the first that was to come, which end at `offset`.
            words: where the reply ends; None if it was left before.
        """
        for _, at, text in self._received:
            if at != offset:
                raise WrongTextError(f"a chunk for {at} came when the text ended at {offset}")
            offset += len(text)
        numbers = [int(word.partition(":")[0]) for word in self.text.split()]
        if numbers != list(range(skipped, skipped + len(numbers))):
            raise WrongTextError(f"words are missing or doubled: {numbers[:50]} …")
        if words is not None and (skipped + len(numbers) != words or self.status != "DONE"):
            raise WrongTextError(f"{skipped + len(numbers)} of {words} words, then {self.status}")
        return len(numbers)
