"""Faults with names: a store that fails when told, and completions that misbehave."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from graphql_app.errors import StoreUnavailableError
from graphql_app.messages import Message
from graphql_app.stores.memory import MemoryStore


class FaultyStore(MemoryStore):
    """A memory store that cannot be reached when told so.

    `failing_on` fails before a method does anything; `losing_answers_of` fails after it did
    everything, as when a connection dies while the answer is under way.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self._failing: Counter[str] = Counter()
        self._losing: Counter[str] = Counter()

    def failing_on(self, method: str, *, times: int) -> None:
        self._failing[method] = times

    def losing_answers_of(self, method: str, *, times: int) -> None:
        self._losing[method] = times

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("_") or not asyncio.iscoroutinefunction(found):
            return found
        return self._faulty(name, found)

    def _faulty(
        self, name: str, method: Callable[..., Awaitable[Any]]
    ) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any, **named: Any) -> Any:
            self.calls[name] += 1
            if self._failing[name] > 0:
                self._failing[name] -= 1
                raise StoreUnavailableError
            result = await method(*arguments, **named)
            if self._losing[name] > 0:
                self._losing[name] -= 1
                raise StoreUnavailableError
            return result

        return call


class ScriptedCompletion:
    """A completion that a test drives: it says what `say` is given, until `end` or `fail`.

    Counts its calls and the requests that were closed, keeps the histories it was given.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.closed = 0
        self.histories: list[list[Message]] = []
        self._script: asyncio.Queue[str | Exception | None] = asyncio.Queue()

    def say(self, *texts: str) -> None:
        for text in texts:
            self._script.put_nowait(text)

    def end(self) -> None:
        self._script.put_nowait(None)

    def fail(self, error: Exception) -> None:
        self._script.put_nowait(error)

    async def __call__(self, history: Sequence[Message]) -> AsyncGenerator[str, None]:
        self.calls += 1
        self.histories.append(list(history))
        try:
            while (item := await self._script.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.closed += 1


async def stubborn(history: Sequence[Message]) -> AsyncGenerator[str, None]:
    """Says one word and ignores every cancellation."""
    yield "word"
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            continue


@contextmanager
def leaking_nothing() -> Iterator[None]:
    """Fails if asyncio tasks are left that were not there before."""
    before = asyncio.all_tasks()
    yield
    left = {task for task in asyncio.all_tasks() - before if not task.done()}
    assert not left, f"tasks left behind: {left}"
