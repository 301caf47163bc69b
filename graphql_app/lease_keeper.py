"""Keeping a process's lease, and learning through it which replies were ended by others."""

import asyncio
import logging
from collections.abc import Callable
from collections.abc import Set as AbstractSet

from graphql_app.errors import FencedError, StoreUnavailableError
from graphql_app.interfaces import Lease, Store
from graphql_app.messages import Ref
from graphql_app.wakeup import Wakeup

logger = logging.getLogger(__name__)

RENEW_SECONDS = 1.0
"""The longest pause between renewals: a reply stopped elsewhere is closed within a second."""


class LeaseKeeper:
    """Renews a lease for as long as it is entered, sweeps, and registers anew when it was lost.

    Args:
        running: the replies that this process produces, or is about to.
        lost: is called with each of them that may not be written any more.
    """

    def __init__(
        self,
        store: Store,
        lease_seconds: float,
        *,
        running: Callable[[], AbstractSet[Ref]],
        lost: Callable[[Ref], None],
    ) -> None:
        self._store = store
        self._lease_seconds = lease_seconds
        self._running = running
        self._lost = lost
        self._lease: Lease | None = None
        self._unwatch: Callable[[], None] = lambda: None
        self._news = Wakeup()
        self._task: asyncio.Task[None] | None = None

    @property
    def lease(self) -> Lease:
        """The lease under which this process may write."""
        assert self._lease is not None, "the keeper was not entered"
        return self._lease

    def look(self) -> None:
        """Makes the next renewal happen now: somebody saw that the lease is not what it was."""
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
        while True:
            await self._news.wait(min(RENEW_SECONDS, self._lease_seconds / 3))
            try:
                for reply in await self._renew():
                    self._lost(reply)
                await self._store.sweep()
            except StoreUnavailableError:
                pass  # The producers wait, too; the next renewal is near.
            except Exception:
                logger.exception("the lease could not be renewed")

    async def _renew(self) -> AbstractSet[Ref]:
        running = set(self._running())
        try:
            return await self._store.renew(self.lease, running)
        except FencedError:
            logger.warning("the lease was lost, and with it %d replies", len(running))
            await self._register()
            return running

    async def _register(self) -> None:
        self._lease = await self._store.register(self._lease_seconds)
        self._unwatch()
        self._unwatch = self._store.watch(self._lease, self._news.set)
