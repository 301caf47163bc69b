"""Waiting for news without a task, a queue or a lock."""

import asyncio


class Wakeup:
    """One waiter's alarm: `set` may be called any number of times and wakes one `wait`.

    An alarm that rings while nobody waits ends the next wait at once, so that no news falls
    between looking and waiting.
    """

    __slots__ = ("_ringing", "_waiter")

    def __init__(self) -> None:
        self._ringing = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Wakes the waiter, or the next one."""
        self._ringing = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, seconds: float | None = None) -> None:
        """Returns when the alarm rings, or after `seconds`. Cancelling is safe."""
        assert self._waiter is None, "a Wakeup has one waiter"
        if not self._ringing:
            loop = asyncio.get_running_loop()
            waiter = self._waiter = loop.create_future()
            timer = None if seconds is None else loop.call_later(max(0.0, seconds), _end, waiter)
            try:
                await waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        self._ringing = False


def _end(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
