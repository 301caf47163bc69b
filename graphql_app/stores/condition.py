"""What a store is found to be by somebody who looks at it and changes nothing."""

import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

LOOKS = 5
"""How often it is asked for the time; the middle of what was found counts."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A store's condition.

    Args:
        round_trip_seconds: what a short call takes; None: nothing was called.
        clock_ahead_seconds: how far its clock is ahead of this machine's; None: it has none of its
            own.
        version, newest: of its tables, and of those that this program makes; None: it has none.
        remarks: what its operator should know, and what could be done, a sentence each.
    """

    round_trip_seconds: float | None = None
    clock_ahead_seconds: float | None = None
    version: str | None = None
    newest: str | None = None
    remarks: tuple[tuple[str, str], ...] = ()


@runtime_checkable
class Examinable(Protocol):
    """A store that can be looked at without being opened: nothing is made, migrated or written."""

    async def examine(self) -> Condition:
        """What it is like.

        Raises:
            ConfigurationError: it cannot be used as it is.
            StoreUnavailableError: it cannot be reached.
        """


async def timed(clock: Callable[[], Awaitable[float]]) -> tuple[float, float]:
    """The seconds that a look at a store's clock takes, and how far it is ahead of ours.

    Args:
        clock: asks the store for the time, in seconds since 1970.
    """
    trips, leads = [], []
    await clock()  # The first call may have to make a connection.
    for _ in range(LOOKS):
        began = time.perf_counter()
        theirs = await clock()
        trip = time.perf_counter() - began
        trips.append(trip)
        leads.append(theirs - (time.time() - trip / 2))
    return statistics.median(trips), statistics.median(leads)
