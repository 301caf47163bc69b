"""The end of a token, for what was opened with it."""

import asyncio
import time
from collections.abc import Callable

LOOK_SECONDS = 60.0
"""How long a timer runs before the clock is looked at again: somebody may have set that, or the
machine may have slept, and no timer can wait for years."""


class Expiry:
    """Calls something once, when a token has ended.

    Args:
        at: in seconds since 1970.
    """

    __slots__ = ("_at", "_expire", "_timer")

    def __init__(self, at: float, expire: Callable[[], None]) -> None:
        self._at = at
        self._expire = expire
        self._timer: asyncio.TimerHandle | None = None
        self._look()

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        seconds = self._at - time.time()
        loop = asyncio.get_running_loop()
        if seconds > 0:
            self._timer = loop.call_later(min(seconds, LOOK_SECONDS), self._look)
        else:
            self._timer = loop.call_later(0, self._expire)
