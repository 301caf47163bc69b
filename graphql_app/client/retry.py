"""When something that failed is tried again."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Retry:
    """How a lost connection is made again: after delays that double, each cut by up to a half.

    The jitter keeps the clients of a restarted server from returning all at once. The delays start
    anew with each result that arrives.
    """

    first_seconds: float = 0.5
    longest_seconds: float = 10.0
    connect_attempts: int = 3
    """How often the very first connection is tried."""
    outage_seconds: float = 600.0
    """How long a later one is, counted from the first failure without a result since."""


@dataclass
class Backoff:
    """The delays between attempts, until an outage has lasted too long."""

    retry: Retry
    now: Callable[[], float] = time.monotonic
    jitter: Callable[[float, float], float] = random.uniform
    _failures: int = field(default=0, init=False)
    _since: float | None = field(default=None, init=False)

    def next_delay(self) -> float | None:
        """Seconds to wait after one more failure; None to give up."""
        if self._since is None:
            self._since = self.now()
        elif self.now() - self._since >= self.retry.outage_seconds:
            return None
        # The exponent is bounded, too: it would overflow before an outage of weeks ends.
        delay = self.retry.first_seconds * 2 ** min(self._failures, 60)
        delay = min(delay, self.retry.longest_seconds)
        self._failures += 1
        return self.jitter(delay / 2, delay)

    def reset(self) -> None:
        """It works again."""
        self._failures = 0
        self._since = None
