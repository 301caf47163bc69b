"""What others changed in a PostgreSQL database: one connection hears it for the whole process."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

import asyncpg

from graphql_app.errors import StoreUnavailableError
from graphql_app.stores.outage import Outage
from graphql_app.stores.watchers import Watchers, joined_names, split_names

CHANNEL = "graphql_app"
NOTIFY_BYTES = 7_000  # A payload has at most 8,000.
ASK_SECONDS = 2.0
"""How often a process makes sure that it still hears."""

LISTEN_SECONDS = 2.0
"""How long it may take to begin to listen, before that is tried anew."""

DEAF_SECONDS = 0.25
"""How often everybody looks for themselves while the process does not hear."""


class Listener:
    """Wakes the watchers of what has changed.

        deaf ──connected, and heard itself──▶ hearing ──lost, or no longer hears itself──▶ deaf

    A process wakes the watchers of what it changes by itself, and does not listen to itself: but
    what was told by writes whose end is unknown counts, since they may happen later.

    While it is not known to hear, everybody looks for themselves.

    Args:
        connect: gives a new connection.
        tell: sends a payload to all listeners.
        shown: the store's URL, without a password.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[asyncpg.Connection]],
        tell: Callable[[str], Awaitable[None]],
        shown: str,
    ) -> None:
        self.watchers: Watchers[str] = Watchers()
        self._connect = connect
        self._tell = tell
        self._outage = Outage(f"{shown} (its notifications)")
        self._question = _sender()
        self._sender = _sender()
        self._heard = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    def payloads(self, names: Iterable[str]) -> list[str]:
        """What tells that these topics have changed; the payloads of a write are sent within it."""
        return [self._sender + joined for joined in joined_names(names, NOTIFY_BYTES)]

    def doubt(self) -> None:
        """Listens to what was told by this process until now: it may happen yet, or not at all."""
        self._sender = _sender()

    async def _run(self) -> None:
        while True:
            reason: Exception = ConnectionError("no notification comes through")
            try:
                await self._listen()
            except Exception as error:  # Whatever it is, the answer is a new connection.
                reason = error
            self._outage.begins(reason)
            self.watchers.wake_all()
            await asyncio.sleep(DEAF_SECONDS)

    async def _listen(self) -> None:
        """Returns when nothing is heard any more."""
        lost = asyncio.Event()
        connection = await self._begin(lost)
        try:
            hears = await self._hears()
            self.watchers.wake_all()  # What was told before nobody has heard.
            while hears:
                self._outage.ends()
                with suppress(TimeoutError):
                    async with asyncio.timeout(ASK_SECONDS):
                        await lost.wait()
                hears = not lost.is_set() and await self._hears()
        finally:
            connection.terminate()

    async def _begin(self, lost: asyncio.Event) -> asyncpg.Connection:
        """A connection that listens, and sets `lost` when it is lost."""
        try:
            with self._looking():
                async with asyncio.timeout(LISTEN_SECONDS):
                    connection = await self._connect()
                    try:
                        connection.add_termination_listener(lambda _: lost.set())
                        await connection.add_listener(CHANNEL, self._hear)
                    except BaseException:
                        connection.terminate()
                        raise
        except TimeoutError:
            raise TimeoutError("the server does not answer") from None
        return connection

    @contextmanager
    def _looking(self) -> Iterator[None]:
        """Wakes everybody again and again, for as long as this process may be deaf."""
        loop = asyncio.get_running_loop()
        timer = loop.call_later(DEAF_SECONDS, lambda: wake())

        def wake() -> None:
            nonlocal timer
            timer = loop.call_later(DEAF_SECONDS, wake)
            self.watchers.wake_all()

        try:
            yield
        finally:
            timer.cancel()

    async def _hears(self) -> bool:
        """Whether a notification to ourselves comes through.

        A connection may be open and deaf: cut in the middle, or given by a pooler that hands its
        connections on after each transaction.
        """
        self._heard.clear()
        with suppress(StoreUnavailableError, TimeoutError), self._looking():
            await self._tell(self._question)
            async with asyncio.timeout(ASK_SECONDS):
                await self._heard.wait()
            return True
        return False

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        text = str(payload)
        sender, names = text[: len(self._sender)], text[len(self._sender) :]
        if sender == self._question:
            self._heard.set()
        elif sender != self._sender:
            self.watchers.wake(split_names(names))


def _sender() -> str:
    """A name for a while; as long as any other."""
    return os.urandom(4).hex()
