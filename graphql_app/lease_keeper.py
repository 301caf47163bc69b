"""Keeping a process's lease, and learning through it which replies were ended by others."""

import asyncio
import logging
from collections.abc import Callable, Mapping

from graphql_app.errors import FencedError, StoreUnavailableError
from graphql_app.interfaces import Lease, Store
from graphql_app.messages import Ref
from graphql_app.producer import Producer
from graphql_app.wakeup import Wakeup

logger = logging.getLogger(__name__)

RENEW_SECONDS = 1.0
"""The longest pause between renewals: a reply stopped elsewhere is closed within a second."""


class LeaseKeeper:
    """Renews a lease for as long as it is entered, sweeps, and registers anew when it was lost.

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
        self._sweeps_from = 0.0
        self._task: asyncio.Task[None] | None = None

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
        self._task = asyncio.create_task(self._keep())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait({self._task})
        self._unwatch()

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._news.wait(min(RENEW_SECONDS, self._lease_seconds / 3))
            try:
                await self._renew()
                if loop.time() >= self._sweeps_from:
                    await self._store.sweep()
            except StoreUnavailableError:
                # Other processes could not renew either: they get the time of a lease for it.
                self._sweeps_from = loop.time() + self._lease_seconds
            except Exception:
                logger.exception("the lease could not be renewed")

    async def _renew(self) -> None:
        self._renewals += 1
        # Taken before the call: `renew` may name a reply that is added while it runs, and whose
        # producer must not be fenced for that.
        running = dict(self._running)
        try:
            lost = await self._store.renew(self.lease, self._renewals, running.keys())
        except FencedError:
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
