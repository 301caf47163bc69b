"""Faults with names: a store that fails when told, and completions that misbehave."""

import asyncio
import inspect
import sys
from collections import Counter, defaultdict
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Sequence,
)
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, cast

from graphql_app.errors import StoreUnavailableError
from graphql_app.interfaces import Lease, Slice, Store
from graphql_app.messages import Message, Ref
from graphql_app.stores.memory import MemoryStore


class Gate:
    """Holds up whoever comes, until it is opened."""

    def __init__(self) -> None:
        self._reached = asyncio.Event()
        self._opened = asyncio.Event()

    async def reached(self) -> None:
        """Returns when somebody waits at the gate, or has passed it."""
        await asyncio.wait_for(self._reached.wait(), 10)

    def open(self) -> None:
        self._opened.set()

    async def pass_through(self) -> None:
        self._reached.set()
        await self._opened.wait()


ANYTHING = "anything"
"""Stands for every method of a store, but for opening and closing it."""


class Faults:
    """What goes wrong with the calls of a store, when told so.

    `failing_on` fails before a method does anything; `losing_answers_of` fails after it did
    everything, as when a connection dies while the answer is under way. `holding` and
    `holding_answers_of` are slow there instead of failing.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._failing: Counter[str] = Counter()
        self._losing: Counter[str] = Counter()
        self._broken: Counter[str] = Counter()
        self._gates: dict[str, Gate] = {}
        self._answer_gates: dict[str, Gate] = {}

    def failing_on(self, method: str, *, times: int) -> None:
        self._failing[method] = times

    def losing_answers_of(self, method: str, *, times: int) -> None:
        self._losing[method] = times

    def broken_on(self, method: str, *, times: int) -> None:
        """Raises what no store should raise: a defect."""
        self._broken[method] = times

    def healed(self) -> None:
        """Nothing fails any more."""
        for counter in (self._failing, self._losing, self._broken):
            counter.clear()

    def holding(self, method: str) -> Gate:
        """Every call waits at the gate before it does anything."""
        gate = self._gates[method] = Gate()
        return gate

    def holding_answers_of(self, method: str) -> Gate:
        """Every call does everything, and then waits at the gate."""
        gate = self._answer_gates[method] = Gate()
        return gate

    def around(self, store: Store) -> Store:
        """Any store, whose calls go wrong when told so."""
        return cast(Store, _FaultyConnection(store, self))

    def faults_now(self, name: str) -> None:
        """What goes wrong with a call that cannot wait."""
        self.calls[name] += 1
        if _happens(self._broken, (name, ANYTHING)):
            raise RuntimeError("the store is broken")
        if _happens(self._failing, (name, ANYTHING)):
            raise StoreUnavailableError

    def with_faults(
        self, name: str, method: Callable[..., Awaitable[Any]]
    ) -> Callable[..., Awaitable[Any]]:
        """A method of a store, with what goes wrong."""
        names = (name,) if name in ("open", "close") else (name, ANYTHING)

        def happens(counter: Counter[str]) -> bool:
            return _happens(counter, names)

        async def wait_at(gates: dict[str, Gate]) -> None:
            for each in names:
                if (gate := gates.get(each)) is not None:
                    await gate.pass_through()

        async def call(*arguments: Any, **named: Any) -> Any:
            self.calls[name] += 1
            await wait_at(self._gates)
            if happens(self._broken):
                raise RuntimeError("the store is broken")
            if happens(self._failing):
                raise StoreUnavailableError
            result = await method(*arguments, **named)
            if happens(self._losing):
                raise StoreUnavailableError
            await wait_at(self._answer_gates)
            return result

        return call


def _happens(counter: Counter[str], names: tuple[str, ...]) -> bool:
    for each in names:
        if counter[each] > 0:
            counter[each] -= 1
            return True
    return False


class _FaultyConnection:
    """A store, seen through faults."""

    def __init__(self, store: Store, faults: Faults) -> None:
        self._store = store
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        return (
            self._faults.with_faults(name, found) if inspect.iscoroutinefunction(found) else found
        )


class FaultyStore(Faults, MemoryStore):
    """A memory store that cannot be reached, is slow or is broken when told so."""

    poll_seconds = 60.0  # So that a wake-up that is missing is noticed.

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        Faults.__init__(self)
        MemoryStore.__init__(self, clock)

    @property
    def immediate(self) -> MemoryStore | None:  # type: ignore[override]
        return None

    async def ending_all_leases(self) -> None:
        """What a sweep by another process does while this one is asleep."""
        for lease in list(self._streaming):
            await super().renew(lease, sys.maxsize, set())
            del self._streaming[lease]

    @property
    def watchers(self) -> int:
        """How many watch something."""
        return len(self._watchers)

    def waking_everybody(self) -> None:
        """Calls every watcher, though nothing happened."""
        self._watchers.wake_all()

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("_") or not inspect.iscoroutinefunction(found):
            return found
        return self.with_faults(name, found)


class ImmediateStore(FaultyStore):
    """The same while it is told nothing: no call ever waits."""

    @property
    def immediate(self) -> MemoryStore:
        return self

    def append_now(self, ref: Ref, lease: Lease, at_offset: int, text: str) -> None:
        self.faults_now("append")
        super().append_now(ref, lease, at_offset, text)

    def read_now(self, ref: Ref, after_offset: int) -> Slice:
        self.faults_now("read")
        return super().read_now(ref, after_offset)

    # What goes wrong with these is not to go wrong twice.

    async def append(self, ref: Ref, lease: Lease, at_offset: int, text: str) -> None:
        super().append_now(ref, lease, at_offset, text)

    async def read(self, ref: Ref, after_offset: int) -> Slice:
        return super().read_now(ref, after_offset)


class ScriptedCompletion:
    """A completion that a test drives: it says what `say` is given, until `end` or `fail`.

    Counts its calls and the requests that were closed, keeps the histories it was given.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.closed = 0
        self.histories: list[list[Message]] = []
        self.was_called = asyncio.Event()
        self.was_closed = asyncio.Event()
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
        self.was_called.set()
        try:
            while (item := await self._script.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.closed += 1
            self.was_closed.set()


class ScriptedCompletions:
    """A scripted completion for each question, by its content."""

    def __init__(self) -> None:
        self._answers: defaultdict[str, ScriptedCompletion] = defaultdict(ScriptedCompletion)

    def answering(self, question: str) -> ScriptedCompletion:
        return self._answers[question]

    def answering_anew(self, question: str) -> ScriptedCompletion:
        """One for the next time that the question is asked."""
        del self._answers[question]
        return self._answers[question]

    @property
    def answers(self) -> dict[str, ScriptedCompletion]:
        return dict(self._answers)

    def __call__(self, history: Sequence[Message]) -> AsyncIterator[str]:
        return self._answers[history[-1].content](history)


async def stubborn(history: Sequence[Message]) -> AsyncGenerator[str, None]:
    """Says one word and ignores every cancellation."""
    yield "word"
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            continue


class StubbornCompletion:
    """Says one word and ignores every cancellation, until it is let go."""

    def __init__(self) -> None:
        self._let_go = asyncio.Event()

    def let_go(self) -> None:
        self._let_go.set()

    async def __call__(self, history: Sequence[Message]) -> AsyncGenerator[str, None]:
        yield "word"
        # It has an end all the same, so that a test that fails does not hang.
        loop = asyncio.get_running_loop()
        deadline = loop.time() + 5
        while not self._let_go.is_set() and loop.time() < deadline:
            with suppress(asyncio.CancelledError, TimeoutError):
                await asyncio.wait_for(self._let_go.wait(), deadline - loop.time())


@contextmanager
def leaking_nothing() -> Iterator[None]:
    """Fails if asyncio tasks are left that were not there before."""
    before = asyncio.all_tasks()
    yield
    # The end may be in another task than the beginning, as it is in a fixture.
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left, f"tasks left behind: {left}"
