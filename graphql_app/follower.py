"""Following one reply: from where a reader is, up to the final status.

    read ──▶ something new? ──yes──▶ one chunk with all of it ──▶ final? ──▶ end
      ▲              └──no──┐                                       │no
      └── wait for news, at most the store's poll interval ◀────────┘

A follower is a position, not a queue: one that falls behind reads more at once.
"""

import asyncio
from collections.abc import AsyncGenerator

from graphql_app.errors import StoreUnavailableError
from graphql_app.interfaces import Slice, Store
from graphql_app.messages import Chunk, Ref, Status
from graphql_app.wakeup import Wakeup

OUTAGE_SECONDS = 1.0
"""The pause before a store that could not be reached is read again."""


async def follow(
    store: Store, ref: Ref, offset: int, *, is_new: bool = False
) -> AsyncGenerator[Chunk, None]:
    """Yields what a reply holds from `offset` on, and what comes, ending with its final status.

    The first chunk comes at once, even if it is empty; on a new reply it always is. While the store
    cannot be reached, the follower waits in silence. Closing it at any point is safe.

    Raises:
        MessageNotFoundError: there is no such reply.
        MessageClearedError: it was cleared, perhaps just now.
    """
    news = Wakeup()
    unwatch = store.watch(ref, news.set)
    try:
        if is_new:
            yield Chunk(ref.id, 0, "", Status.STREAMING)
        first = not is_new
        while True:
            new = await _read(store, ref, offset)
            if new is None:
                await asyncio.sleep(OUTAGE_SECONDS)
                continue
            if first or new.text or new.status.is_final:
                yield Chunk(ref.id, new.offset, new.text, new.status, new.error)
                if new.status.is_final:
                    return
                first, offset = False, new.end
            del new  # A long text is not kept while there is nothing to say.
            await news.wait(store.poll_seconds)
    finally:
        unwatch()


async def _read(store: Store, ref: Ref, offset: int) -> Slice | None:
    try:
        return await store.read(ref, offset)
    except StoreUnavailableError:
        return None
