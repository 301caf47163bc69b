"""How often somebody may do what costs something.

Owners are counted by their names, and everybody else by address: an IPv6 address by its first 64
bits, since a household has all of the others. An address of this machine is nobody's own (a proxy
that is not trusted has one, and all its clients with it), and is not counted. While the counters
cannot be reached, all pass.
"""

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_address
from time import monotonic, time
from typing import Any, TypeAlias

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from graphql_app import metrics
from graphql_app.access.caller import Caller
from graphql_app.errors import RateLimitedError

logger = logging.getLogger(__name__)

MOST_KEYS = 100_000
"""How many counters a process keeps in memory, 420 bytes each; further ones are not counted."""

SWEEP_SECONDS = 10.0
"""How often those in memory that are over are removed."""

ANSWER_SECONDS = 0.5
"""How long counters elsewhere may take to answer."""

PAUSE_SECONDS = 5.0
"""How long they are left alone after they did not."""

BURST_SECONDS = 5
"""For how many seconds' worth of messages a socket may be ahead of its rate."""

Key: TypeAlias = tuple[str, str]
"""Whose counter it is: `owner` or `address`, and which."""


@dataclass(frozen=True, slots=True)
class Rates:
    """The most of each; 0: as many as they like.

    Args:
        sends_per_minute: new replies of an owner, or of an address.
        requests_per_minute: HTTP requests of an address.
        sockets_per_owner: open at once, in this process; so of an address.
        messages_per_second: on a socket, which is read no faster.
    """

    sends_per_minute: int = 120
    requests_per_minute: int = 3_000
    sockets_per_owner: int = 100
    sockets_per_address: int = 500
    messages_per_second: int = 100


class CountersInMemory(MemoryStorage):
    """The counters of this process.

    Those of `limits` look at all keys in a task of their own at each hit; here it is now and then.
    """

    def __init__(self) -> None:
        super().__init__()
        self._swept = 0.0

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        now = time()
        if now - self._swept > SWEEP_SECONDS:
            self._swept = now
            for each in [each for each, end in self.expirations.items() if end <= now]:
                self._forget(each)
        if self.expirations.get(key, 0.0) <= now:
            self._forget(key)
            if len(self.expirations) >= MOST_KEYS:
                return amount
            self.expirations[key] = now + expiry
        self.storage[key] += amount
        return self.storage[key]

    async def decr(self, key: str, amount: int = 1) -> int:
        if key in self.storage:
            self.storage[key] = max(self.storage[key] - amount, 0)
        return self.storage.get(key, 0)

    def _forget(self, key: str) -> None:
        self.storage.pop(key, None)
        self.expirations.pop(key, None)


class Quotas:
    """Counts, and says when somebody has had enough.

    Args:
        counters: None: in this process.
    """

    def __init__(self, rates: Rates | None = None, counters: Storage | None = None) -> None:
        self.rates = rates or Rates()
        storage: Any = counters or CountersInMemory()
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._is_away = False
        self._paused_until = 0.0
        self._credits: Counter[Key] = Counter()
        self._credits_minute = 0
        self._sockets: Counter[Key] = Counter()

    # Rates.

    async def check_request(self, address: str) -> None:
        """Counts an HTTP request.

        Raises:
            RateLimitedError: one too many.
        """
        key, limit = _key_of_address(address), self.rates.requests_per_minute
        if limit and key is not None:
            refusal = await self._hit("requests", limit, key)
            if refusal is not None:
                metrics.refused("rate")
                raise refusal

    async def send(self, caller: Caller) -> RateLimitedError | None:
        """Counts a reply that is about to begin; the error if it is one too many.

        If none began, since it was asked for before, it is given back with `not_sent`.
        """
        key, limit = _key_of(caller), self.rates.sends_per_minute
        if not limit or key is None:
            return None
        self._renew_credits()
        if self._credits[key] > 0:
            self._credits[key] -= 1
            return None
        return await self._hit("sends", limit, key)

    def not_sent(self, caller: Caller) -> None:
        key = _key_of(caller)
        if self.rates.sends_per_minute and key is not None:
            self._renew_credits()
            self._credits[key] += 1

    def _renew_credits(self) -> None:
        minute = int(monotonic() // 60)
        if minute != self._credits_minute:
            self._credits_minute = minute
            self._credits.clear()

    async def _hit(self, what: str, limit: int, key: Key) -> RateLimitedError | None:
        if monotonic() < self._paused_until:
            return None
        item = RateLimitItemPerMinute(limit, namespace="graphql-app")
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                if await self._limiter.hit(item, what, *key):
                    again = None
                else:
                    again = (await self._limiter.get_window_stats(item, what, *key)).reset_time
        except Exception as error:
            # Of whatever kind: better that all pass than that nobody does.
            self._paused_until = monotonic() + PAUSE_SECONDS
            if not self._is_away:
                self._is_away = True
                logger.warning(
                    "rates cannot be counted, so nobody is refused: %s", type(error).__name__
                )
            return None
        if self._is_away:
            self._is_away = False
            logger.info("rates are counted again")
        if again is None:
            return None
        return RateLimitedError(what, limit, max(1, math.ceil(again - time())))

    # Sockets.

    def enter_address(self, address: str) -> bool:
        """Counts an open socket; False, and it is not counted, if it is one too many."""
        return self._enter(_key_of_address(address), self.rates.sockets_per_address)

    def leave_address(self, address: str) -> None:
        self._leave(_key_of_address(address), self.rates.sockets_per_address)

    def enter_owner(self, owner: str) -> bool:
        """The same for the socket of an owner."""
        return self._enter(("owner", owner) if owner else None, self.rates.sockets_per_owner)

    def leave_owner(self, owner: str) -> None:
        self._leave(("owner", owner) if owner else None, self.rates.sockets_per_owner)

    def _enter(self, key: Key | None, limit: int) -> bool:
        if key is None or not limit:
            return True
        if self._sockets[key] >= limit:
            metrics.refused("sockets")
            return False
        self._sockets[key] += 1
        return True

    def _leave(self, key: Key | None, limit: int) -> None:
        if key is None or not limit:
            return
        self._sockets[key] -= 1
        if not self._sockets[key]:
            del self._sockets[key]

    def pace(self) -> "Pace | None":
        """How fast a new socket is read; None: as fast as it comes."""
        rate = self.rates.messages_per_second
        return Pace(rate) if rate else None


class Pace:
    """A bucket that is filled at a rate, and holds what comes in BURST_SECONDS."""

    __slots__ = ("_at", "_level", "_rate")

    def __init__(self, rate: int, clock: Callable[[], float] = monotonic) -> None:
        self._rate = rate
        self._level = float(rate * BURST_SECONDS)
        self._at = clock()

    def wait_seconds(self, now: float) -> float:
        """Takes one message, and says how long it has to wait."""
        filled = self._level + (now - self._at) * self._rate
        self._at = now
        self._level = min(filled, self._rate * BURST_SECONDS) - 1
        return max(0.0, -self._level / self._rate)


def _key_of(caller: Caller) -> Key | None:
    return ("owner", caller.owner) if caller.owner else _key_of_address(caller.address)


def _key_of_address(text: str) -> Key | None:
    """Whose counter an address is; None: nobody's own."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None  # A Unix socket, or a test.
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback:
        return None
    if isinstance(address, IPv6Address):
        return "address", str(IPv6Network((address, 64), strict=False))
    return "address", str(address)
