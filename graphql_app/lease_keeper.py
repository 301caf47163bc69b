"""Keeping a process's lease, and learning through it which replies were ended by others."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from graphql_app import metrics
from graphql_app.errors import FencedError, StoreUnavailableError
from graphql_app.interfaces import Lease, Store
from graphql_app.messages import Ref
from graphql_app.producer import Producer
from graphql_app.wakeup import Wakeup

logger = logging.getLogger(__name__)

RENEW_SECONDS = 1.0
"""The longest pause between renewals: a reply stopped elsewhere is closed within a second."""

AGAIN_SECONDS = 0.25
"""The pause before a renewal that found the store away is tried again. A call that hangs fails
after about 3 s, so that a lease of 10 s has room for three of them."""

SETTLING_SECONDS = 4.0
"""How long others may need to renew once the store is back: a call of theirs that hangs fails after
about 3 s, is tried again AGAIN_SECONDS later, and then takes its time."""

START_SECONDS = 3.0
"""How long a process that has just started leaves the leases of others alone: it may have started
right after an outage. Shorter, since whoever waits for the truth may have nobody else."""


class LeaseKeeper:
    """Renews a lease for as long as it is entered, sweeps, and registers anew when it was lost.

    Two tasks, so that a sweep that hangs does not hold up a renewal.

    Args:
        running: the replies that this process produces, or is about to (None). The producers of
            those that may not be written any more are fenced.
    """

    def __init__(
        self,
        store: Store,
        lease_seconds: float,
        *,
        running: Mapping[Ref, Producer | None],
    ) -> None:
        self._store = store
        self._lease_seconds = lease_seconds
        self._running = running
        self._lease: Lease | None = None
        self._renewals = 0
        self._unwatch: Callable[[], None] = lambda: None
        self._news = Wakeup()
        self._is_away = False
        self._renewed = Wakeup()
        self._sweeps_from = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def lease(self) -> Lease:
        """The lease under which this process may write."""
        assert self._lease is not None, "the keeper was not entered"
        return self._lease

    @property
    def renewals(self) -> int:
        """How many renewals were begun; a draft carries it."""
        return self._renewals

    def renew_now(self) -> None:
        """Does not wait for the next renewal: a write was refused, so the lease may be lost."""
        self._news.set()

    async def __aenter__(self) -> "LeaseKeeper":
        await self._register()
        self._sweep_after(START_SECONDS)
        self._tasks = {
            asyncio.create_task(self._keep_renewing()),
            asyncio.create_task(self._keep_sweeping()),
        }
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        self._unwatch()

    @property
    def _pause(self) -> float:
        return min(RENEW_SECONDS, self._lease_seconds / 3)

    async def _keep_renewing(self) -> None:
        renewed_at = time.time()  # It goes on while the machine is suspended.
        while True:
            await self._news.wait(min(AGAIN_SECONDS, self._pause) if self._is_away else self._pause)
            try:
                await self._renew()
            except StoreUnavailableError:
                self._is_away = True
            except Exception:
                logger.exception("the lease could not be renewed")
            else:
                if self._is_away:
                    self._is_away = False
                    # Other processes could not renew either.
                    self._sweep_after(SETTLING_SECONDS)
                elif time.time() - renewed_at > self._lease_seconds / 2:
                    # This process stood still, perhaps with its machine and all others there.
                    self._sweep_after(SETTLING_SECONDS)
                renewed_at = time.time()
                self._renewed.set()

    async def _keep_sweeping(self) -> None:
        """Sweeps right behind a renewal, and at no other time.

        A store that stands still begins where it stopped: a sweep that waits in front of it is
        carried out before anybody can renew. Behind a renewal there is hardly time for that.
        """
        loop = asyncio.get_running_loop()
        while True:
            await self._renewed.wait()
            if self._is_away or loop.time() < self._sweeps_from:
                continue
            self._sweep_after(self._pause / 2)  # Renewals may come more often than they are due.
            try:
                await self._store.sweep()
            except StoreUnavailableError:
                self._is_away = True  # Until the next renewal succeeds.
            except Exception:
                logger.exception("the leases that ran out could not be swept")

    def _sweep_after(self, seconds: float) -> None:
        """Leaves others alone for so long, or for a lease; who needs longer has lost it anyway."""
        seconds = min(seconds, self._lease_seconds)
        self._sweeps_from = asyncio.get_running_loop().time() + seconds

    async def _renew(self) -> None:
        self._renewals += 1
        # Taken before the call: `renew` may name a reply that is added while it runs, and whose
        # producer must not be fenced for that.
        running = dict(self._running)
        try:
            lost = await self._store.renew(self.lease, self._renewals, running.keys())
        except FencedError:
            metrics.lease_lost()
            logger.warning("the lease was lost, and with it %d replies", len(running))
            await self._register()
            lost = running.keys()
        for reply in lost:
            if (producer := running[reply]) is not None:
                producer.fence()

    async def _register(self) -> None:
        self._lease = await self._store.register(self._lease_seconds)
        self._unwatch()
        self._unwatch = self._store.watch(self._lease, self._news.set)
