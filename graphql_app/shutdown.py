"""A process on its way out: how far it is, and who has to know.

    SERVING ──first signal──▶ NOTICE ──a moment──▶ DRAINING ──second signal──▶ HURRIED

Whoever serves the application moves it on; the application acts upon it.
"""

import asyncio
from collections.abc import Callable
from enum import IntEnum


class Phase(IntEnum):
    """How far a shutdown is.

    NOTICE: not ready any more, and everything still works.
    DRAINING: nobody new is let in, sockets and event streams are ended, replies go on.
    HURRIED: replies end now.
    """

    SERVING = 0
    NOTICE = 1
    DRAINING = 2
    HURRIED = 3


class Shutdown:
    """The phase of one process. It goes forward, and never back."""

    def __init__(self) -> None:
        self._phase = Phase.SERVING
        self._calls: dict[Phase, dict[object, Callable[[], None]]] = {phase: {} for phase in Phase}

    @property
    def phase(self) -> Phase:
        return self._phase

    def reach(self, phase: Phase) -> None:
        """Goes on to a phase, through those before it."""
        while self._phase < phase:
            self._phase = Phase(self._phase + 1)
            calls = self._calls[self._phase]
            while calls:
                calls.pop(next(iter(calls)))()

    def at(self, phase: Phase, call: Callable[[], None]) -> Callable[[], None]:
        """Calls `call` when a phase is reached, at once if it was, until the result is called."""
        if self._phase >= phase:
            call()
            return lambda: None
        calls, key = self._calls[phase], object()
        calls[key] = call

        def forget() -> None:
            calls.pop(key, None)

        return forget

    async def wait(self, phase: Phase, seconds: float) -> None:
        """Returns when a phase is reached, or after `seconds`."""
        reached = asyncio.Event()
        forget = self.at(phase, reached.set)
        try:
            async with asyncio.timeout(seconds):
                await reached.wait()
        except TimeoutError:
            pass
        finally:
            forget()
