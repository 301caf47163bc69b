"""The end of a token, for what was opened with it."""

import asyncio
import time
from collections.abc import Callable
from weakref import WeakKeyDictionary

LOOK_SECONDS = 1.0
"""How long nobody looks at the clock: somebody may have set that, or the machine may have slept,
and no timer can wait for years."""


class Expiry:
    """Calls something once, when a token has ended.

    Args:
        at: in seconds since 1970.
    """

    __slots__ = ("_call", "_expire", "at")

    def __init__(self, at: float, expire: Callable[[], None]) -> None:
        self.at = at
        self._expire = expire
        self._call: asyncio.Handle | None = None
        _watch().add(self)

    def cancel(self) -> None:
        _watch().forget(self)
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def end(self) -> None:
        """Calls it, but not before whoever made this is ready."""
        self._call = asyncio.get_running_loop().call_soon(self._expire)


class Watch:
    """Looks at the clock for all who wait in one loop: a timer of its own for each would have to
    ring each second."""

    def __init__(self) -> None:
        self._waiting: set[Expiry] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, expiry: Expiry) -> None:
        seconds = expiry.at - time.time()
        if seconds <= 0:
            expiry.end()
            return
        self._waiting.add(expiry)
        at = asyncio.get_running_loop().time() + seconds
        if self._timer is None or at < self._timer.when():
            self._look_in(seconds)

    def forget(self, expiry: Expiry) -> None:
        self._waiting.discard(expiry)
        if not self._waiting:
            self._stop()

    def _look(self) -> None:
        self._timer = None
        now = time.time()
        for expiry in [each for each in self._waiting if each.at <= now]:
            self._waiting.discard(expiry)
            expiry.end()
        if self._waiting:
            self._look_in(min(expiry.at for expiry in self._waiting) - now)

    def _look_in(self, seconds: float) -> None:
        self._stop()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(min(seconds, LOOK_SECONDS), self._look)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


_watches: WeakKeyDictionary[asyncio.AbstractEventLoop, Watch] = WeakKeyDictionary()


def _watch() -> Watch:
    loop = asyncio.get_running_loop()
    watch = _watches.get(loop)
    if watch is None:
        watch = _watches[loop] = Watch()
    return watch
