"""Waiting for news without a task, a queue or a lock; and not waiting where there is no need."""

import asyncio
import math
from weakref import WeakKeyDictionary


class Wakeup:
    """One waiter's alarm: `set` may be called any number of times and wakes one `wait`.

    An alarm that rings while nobody waits ends the next wait at once, so that no news falls
    between looking and waiting.

    Most waits end long before their time. So that they do not make and drop a timer each, one timer
    stays, and looks only when it is due at whether a wait is over. `close` drops it.
    """

    __slots__ = ("_deadline", "_due", "_loop", "_ringing", "_timer", "_waiter")

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ringing = False
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._deadline = 0.0

    def set(self) -> None:
        """Wakes the waiter, or the next one."""
        self._ringing = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, seconds: float = math.inf) -> None:
        """Returns when the alarm rings, or after `seconds`. Cancelling is safe."""
        assert self._waiter is None, "a Wakeup has one waiter"
        if not self._ringing:
            loop = self._loop
            if loop is None:
                loop = self._loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            if seconds < math.inf:
                self._deadline = loop.time() + seconds
                if self._timer is None or self._due > self._deadline:
                    self._look_at_deadline(loop)
            try:
                await self._waiter
            finally:
                self._waiter = None
                self._deadline = 0.0
        self._ringing = False

    def close(self) -> None:
        """Nobody will wait any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_at_deadline(self, loop: asyncio.AbstractEventLoop) -> None:
        self.close()
        self._due = self._deadline
        self._timer = loop.call_at(self._due, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._loop is None or self._waiter is None or self._waiter.done():
            return
        if self._deadline > self._loop.time():
            self._look_at_deadline(self._loop)
        elif self._deadline:
            self._waiter.set_result(None)


class Turns:
    """Counts the turns of an event loop, while somebody asks: whoever sees a new number has let
    others run."""

    __slots__ = ("_is_counting", "_number")

    def __init__(self) -> None:
        self._number = 0
        self._is_counting = False

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> "Turns":
        """The counter of a loop, one for all."""
        turns = _turns.get(loop)
        if turns is None:
            turns = _turns[loop] = cls()
        return turns

    def now(self) -> int:
        """The number of this turn."""
        if not self._is_counting:
            self._is_counting = True
            # Kept, the loop would never go.
            asyncio.get_running_loop().call_soon(self._count)
        return self._number

    def _count(self) -> None:
        self._is_counting = False
        self._number += 1


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()
