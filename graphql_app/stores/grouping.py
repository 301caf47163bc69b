"""Many small calls to a server become few large ones."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from graphql_app.errors import StoreUnavailableError

Item = TypeVar("Item")
Result = TypeVar("Result")


class Grouped(Generic[Item, Result]):
    """Calls `run` with everything that was asked for at about the same time.

        idle ──first item──▶ running ──▶ resting ──more came──▶ running
                                            └──── nothing ─────▶ idle

    One group is under way at a time, and what comes meanwhile is the next one. The first item of
    a quiet time goes at once.

    Args:
        run: takes a group and returns a result for each item, in order; a result that is an
            exception is raised to whoever asked for that item, and what `run` raises to all; of
            a StoreUnavailableError, each gets one of its own.
        rest_seconds: the pause between the beginnings of two groups. 0 means none.
        most: the most items of a group.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]],
        *,
        rest_seconds: float = 0.0,
        most: int = 1_000,
    ) -> None:
        self._run = run
        self._rest_seconds = rest_seconds
        self._most = most
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._task: asyncio.Task[None] | None = None
        self._is_closing = False

    async def __call__(self, item: Item) -> Result:
        """The result for an item. Cancelling leaves it unknown whether the item was handled.

        Raises:
            StoreUnavailableError: it is being closed.
        """
        if self._is_closing:
            raise StoreUnavailableError
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        return await future

    async def close(self) -> None:
        """Cancels what is under way, and refuses who waits, and who comes meanwhile.

        Whoever comes later starts anew: it is for `run` to refuse then, or for a store to have been
        opened again.
        """
        if self._task is not None:
            self._is_closing = True
            self._task.cancel()
            await asyncio.wait({self._task})
            self._end()  # A task that was cancelled before its first step ends nothing.

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            # Those who were woken by the same news ask in the same turn of the loop.
            await asyncio.sleep(0)
            while self._waiting:
                began = loop.time()
                group, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                await self._handle(group)
                if (rest := began + self._rest_seconds - loop.time()) > 0:
                    await asyncio.sleep(rest)
        finally:
            self._end()

    def _end(self) -> None:
        self._task = None
        self._is_closing = False
        waiting, self._waiting = self._waiting, []
        _refuse(waiting)

    async def _handle(self, group: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results: Sequence[Result | Exception] = await self._run([item for item, _ in group])
            if len(results) != len(group):
                raise RuntimeError(f"{len(results)} results for {len(group)} items")
        except asyncio.CancelledError:
            _refuse(group)
            raise
        except StoreUnavailableError as error:
            _refuse(group, error)
            return
        except Exception as error:
            results = [error] * len(group)
        for (_, future), result in zip(group, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)


def _refuse(
    group: Sequence[tuple[Any, asyncio.Future[Any]]], why: StoreUnavailableError | None = None
) -> None:
    """Tells those who still wait that the store cannot be reached.

    Each gets an error of its own, since each adds its own traceback to it, with one cause for all.
    """
    for _, future in group:
        if not future.done():
            refusal = StoreUnavailableError()
            refusal.__cause__ = why and (why.__cause__ or why)
            future.set_exception(refusal)
