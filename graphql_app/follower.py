"""Following one reply: from where a reader is, up to the final status.

    read ──▶ something new? ──yes──▶ one chunk with all of it ──▶ final? ──▶ end
      ▲              └──no──┐                                       │no
      └── wait for news, at most the store's poll interval ◀────────┘

A follower is a position, not a queue: one that falls behind reads more at once.

Where reading takes no time, and the reader has a sink that takes chunks at once, a follower that
waits for news does not even have to wake: it hands on what is new from where the news came. Its
first chunk, its last, and any that the sink does not take, come the usual way.

Those who follow one reply in one process are an audience. They hear of news together, and the
larger they are the less often, so that a word for thousands does not hold up everybody else. Those
who are equally far get the same chunk, which then has to be encoded only once.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from time import monotonic

from graphql_app import metrics
from graphql_app.errors import StoreUnavailableError
from graphql_app.interfaces import Slice, Store
from graphql_app.messages import Chunk, Ref, Status
from graphql_app.wakeup import Wakeup

OUTAGE_SECONDS = 1.0
"""The pause before a store that could not be reached is read again."""

FEW = 25
"""An audience up to this large hears of everything at once."""

PACE_SECONDS = 0.000065
"""The time between two news for a larger audience, for each follower: about three times what it
takes to tell one of them. What comes in between is told together."""

LONGEST_PACE_SECONDS = 0.25

MEASURED_EVERY = 64
"""Of so many news for a small audience, one is timed; for a larger one each, up to the last."""

AT_ONCE = 250
"""How many followers are told in one turn of the event loop: some five milliseconds."""


class Audiences:
    """Who follows which reply, in this process."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._audiences: dict[Ref, _Audience] = {}

    def follow(
        self, ref: Ref, offset: int, *, is_new: bool = False, known: Slice | None = None
    ) -> "Following":
        """Follows a reply from `offset` on.

        Args:
            is_new: the reply has just been added.
            known: what has just been read from `offset` on.
        """
        return Following(self, ref, offset, is_new, known)

    def __len__(self) -> int:
        """How many follow."""
        return sum(len(audience.followers) for audience in self._audiences.values())

    def join(self, follower: "Following") -> "_Audience":
        ref = follower.ref
        audience = self._audiences.get(ref)
        if audience is None:
            audience = self._audiences[ref] = _Audience(self.store, ref)
        audience.followers[follower] = None
        return audience

    def leave(self, follower: "Following", audience: "_Audience") -> None:
        del audience.followers[follower]
        if not audience.followers:
            del self._audiences[follower.ref]
            audience.close()


class Following(AsyncIterator[Chunk]):
    """What a reply holds from an offset on, and what comes, up to its final status.

    The first chunk comes at once, even if it is empty; on a new reply it always is. While the store
    cannot be reached, the follower waits in silence. Closing it at any point is safe.

    Raises, while it is iterated:
        MessageNotFoundError: there is no such reply.
        MessageClearedError: it was cleared, perhaps just now.
    """

    __slots__ = (
        "_audience",
        "_audiences",
        "_chunks",
        "_heard_at",
        "_is_new",
        "_is_waiting",
        "_known",
        "_news",
        "_offset",
        "_sink",
        "ref",
    )

    def __init__(
        self, audiences: Audiences, ref: Ref, offset: int, is_new: bool, known: Slice | None
    ) -> None:
        self.ref = ref
        self._audiences = audiences
        self._offset = offset
        self._is_new = is_new
        self._known = known
        self._news = Wakeup()
        self._audience: _Audience | None = None
        self._is_waiting = False
        self._sink: Callable[[Chunk], bool] | None = None
        self._heard_at: float | None = None
        self._chunks = self._follow()

    def __aiter__(self) -> AsyncGenerator[Chunk, None]:
        return self._chunks

    def __anext__(self) -> Awaitable[Chunk]:
        return anext(self._chunks)

    async def aclose(self) -> None:
        await self._chunks.aclose()

    def push_to(self, sink: Callable[[Chunk], bool]) -> None:
        """Allows to call `sink` with a chunk, while the next one is waited for; it says whether it
        took it. It must neither block nor change anything in the store."""
        if self._audiences.store.immediate is not None:
            self._sink = sink

    def hear_timed(self, at: float) -> None:
        """There is news since then, and it is measured how late it is sent."""
        if self.hear():
            metrics.lagged(monotonic() - at)
        else:
            self._heard_at = at

    def hear(self) -> bool:
        """There is news; says whether it was handed on at once."""
        if self._sink is not None and self._is_waiting:
            self._is_waiting = False  # What comes while the sink runs is for later.
            is_pushed = self._push(self._sink)
            self._is_waiting = True
            if is_pushed:
                return True
        self._news.set()
        return False

    def _push(self, sink: Callable[[Chunk], bool]) -> bool:
        """Hands on what is new, if it is just some more text, and the sink takes it."""
        assert self._audience is not None
        try:
            chunk, end = self._audience.read(self._offset)
            if chunk.status is not Status.STREAMING or (chunk.text and not sink(chunk)):
                return False
        except Exception:
            return False  # Who waits wakes then, and finds out by himself.
        self._offset = end
        return True

    async def _follow(self) -> AsyncGenerator[Chunk, None]:
        ref, store, news = self.ref, self._audiences.store, self._news
        self._audience = audience = self._audiences.join(self)
        try:
            first = not self._is_new
            if self._is_new:
                yield Chunk(ref.id, 0, "", Status.STREAMING)
            known, self._known = self._known, None
            if known is not None:
                news.set()  # Something may have happened since.
            while True:
                try:
                    begin, text, end, status, error = known or await store.read(ref, self._offset)
                except StoreUnavailableError:
                    await asyncio.sleep(OUTAGE_SECONDS)
                    continue
                known = None
                if first or text or status is not Status.STREAMING:
                    first, self._offset = False, end
                    yield audience.shared(Chunk(ref.id, begin, text, status, error))
                    if self._heard_at is not None:  # Whoever asks for more has sent this.
                        metrics.lagged(monotonic() - self._heard_at)
                        self._heard_at = None
                    if status is not Status.STREAMING:
                        return
                del text  # It may be long, and is not kept while there is nothing to say.
                self._is_waiting = True
                try:
                    await news.wait(store.poll_seconds)
                finally:
                    self._is_waiting = False
        finally:
            news.close()
            self._audiences.leave(self, audience)


class _Audience:
    """Those who follow one reply."""

    __slots__ = (
        "_chunk",
        "_heard_at",
        "_immediate",
        "_rang_at",
        "_read",
        "_read_at",
        "_ref",
        "_timer",
        "_unmeasured",
        "_unwatch",
        "followers",
    )

    def __init__(self, store: Store, ref: Ref) -> None:
        self.followers: dict[Following, None] = {}
        self._immediate = store.immediate
        self._ref = ref
        self._chunk: Chunk | None = None
        self._read: tuple[Chunk, int] | None = None
        self._read_at = 0
        self._rang_at = 0.0
        self._heard_at: float | None = None
        self._unmeasured = 0
        self._timer: asyncio.TimerHandle | None = None
        self._unwatch = store.watch(ref, self._hear)

    def close(self) -> None:
        self._unwatch()
        if self._timer is not None:
            self._timer.cancel()

    def read(self, offset: int) -> tuple[Chunk, int]:
        """The chunk from an offset on, from a store that answers at once, and where it ends.

        Nothing happens in the store while all are told, so those who are equally far share it.
        """
        if self._read is None or self._read_at != offset:
            assert self._immediate is not None
            begin, text, end, status, error = self._immediate.read_now(self._ref, offset)
            self._read = Chunk(self._ref.id, begin, text, status, error), end
            self._read_at = offset
        return self._read

    def shared(self, chunk: Chunk) -> Chunk:
        """A chunk, or the same one that another follower got last."""
        if len(self.followers) == 1:
            return chunk
        if self._chunk != chunk:
            self._chunk = chunk
        return self._chunk

    def _hear(self) -> None:
        if len(self.followers) <= FEW:
            self._unmeasured += 1
            if self._unmeasured < MEASURED_EVERY:
                self._tell(*self.followers)
            else:
                self._unmeasured = 0
                self._tell_timed(monotonic())
        elif self._timer is None:
            self._heard_at = monotonic()
            loop = asyncio.get_running_loop()
            pace = min(len(self.followers) * PACE_SECONDS, LONGEST_PACE_SECONDS)
            self._timer = loop.call_at(max(self._rang_at + pace, loop.time()), self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._rang_at = asyncio.get_running_loop().time()
        self._tell(*self.followers)

    def _tell_timed(self, at: float) -> None:
        self._read = None
        for follower in list(self.followers):
            follower.hear_timed(at)
        self._read = None

    def _tell(self, *followers: Following) -> None:
        """Tells some followers, and the rest of them when others have run."""
        self._read = None
        for follower in followers[:AT_ONCE]:
            follower.hear()
        self._read = None
        if len(followers) > AT_ONCE:
            asyncio.get_running_loop().call_soon(self._tell, *followers[AT_ONCE:])
        elif self._heard_at is not None:
            # Who hears of it last of a large audience.
            metrics.lagged(monotonic() - self._heard_at)
            self._heard_at = None
