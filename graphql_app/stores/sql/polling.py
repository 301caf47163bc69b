"""What other processes changed in a database file: one poll for everything that is watched."""

import asyncio
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Connection, Engine, select

from graphql_app.interfaces import Lease, Topic
from graphql_app.messages import ConversationRef, Ref
from graphql_app.stores.outage import Outage
from graphql_app.stores.sql.dialect import Dialect
from graphql_app.stores.sql.rows import Piece, end_of, json_of, same
from graphql_app.stores.sql.tables import conversations, leases, messages
from graphql_app.stores.watchers import Watchers

POLL_SECONDS = 0.03

LONGEST_REST_SECONDS = 0.5
"""The longest time between two polls. One that took longer may not have worked for all of it: the
process, or the machine, stood still."""


class Poller:
    """Wakes the watchers of what has changed, by whatever process.

    A topic that is new to a poll counts as changed: whoever began to watch it may have looked
    before the change.
    """

    def __init__(self, engine: Engine, dialect: Dialect, shown: str) -> None:
        self.watchers: Watchers[Topic] = Watchers()
        self._engine = engine
        self._outage = Outage(f"{shown} (its notifications)")
        self._seen: dict[Topic, object] = {}
        self._thread: ThreadPoolExecutor | None = None
        self._task: asyncio.Task[None] | None = None
        # What follows is the thread's.
        self._connection: Connection | None = None
        self._data_version: int | None = None
        given = dialect.given("owner", "id")
        self._replies = select(
            messages.c.owner, messages.c.id, messages.c.ended, end_of(messages)
        ).join(given, same(messages, given))
        self._conversations = select(
            conversations.c.owner, conversations.c.id, conversations.c.sequence
        ).join(given, same(conversations, given))

    def open(self) -> None:
        self._thread = ThreadPoolExecutor(1, "sqlite-poller")
        self._task = asyncio.create_task(self._poll(self._thread))

    async def close(self) -> None:
        if self._task is not None and self._thread is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._thread.submit(self._disconnect)
            await asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown)
        self._task = self._thread = None

    def grew(self, pieces: Collection[Piece]) -> None:
        """Wakes those who follow these replies; the next poll need not tell it again."""
        for piece in pieces:
            if piece.ref in self._seen:
                self._seen[piece.ref] = (None, piece.end_offset)
        self.watchers.wake(piece.ref for piece in pieces)

    async def _poll(self, thread: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self._look(thread)
            except Exception as error:  # Whatever it is, the answer is to look again.
                self._outage.begins(error)
            await asyncio.sleep(rest_seconds(loop.time() - began))

    async def _look(self, thread: ThreadPoolExecutor) -> None:
        topics = self.watchers.topics()
        are_new = not self._seen.keys() >= set(topics)
        states = await asyncio.get_running_loop().run_in_executor(
            thread, self._changes, topics, are_new
        )
        self._outage.ends()
        if states is not None:
            before, self._seen = self._seen, states
            self.watchers.wake(
                topic
                for topic, state in states.items()
                if topic not in before or before[topic] != state
            )

    def _changes(self, topics: Sequence[Topic], are_new: bool) -> dict[Topic, object] | None:
        """The states of topics; None if none is new and nothing was written since the last time."""
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            # This changes with each commit of another connection, and costs next to nothing.
            version = self._connection.exec_driver_sql("PRAGMA data_version").scalar_one()
            if version == self._data_version and not are_new:
                return None
            states = self._states(self._connection, topics)
        except BaseException:
            self._disconnect()
            raise
        self._data_version = version
        return states

    def _states(self, connection: Connection, topics: Sequence[Topic]) -> dict[Topic, object]:
        """How far each topic is: something that differs when it has changed."""
        states: dict[Topic, object] = dict.fromkeys(topics)
        asked = json_of([(topic.owner, topic.id) for topic in topics if isinstance(topic, Ref)])
        for owner, id, *state in connection.execute(self._replies, {"given": asked}):
            states[Ref(owner, id)] = tuple(state)
        asked = json_of(
            [(topic.owner, topic.id) for topic in topics if isinstance(topic, ConversationRef)]
        )
        for owner, id, number in connection.execute(self._conversations, {"given": asked}):
            states[ConversationRef(owner, id)] = number
        epochs = [topic.epoch for topic in topics if isinstance(topic, Lease)]
        held = select(leases.c.id, leases.c.epoch, leases.c.notices)
        for id, epoch, notices in connection.execute(held.where(leases.c.epoch.in_(epochs))):
            states[Lease(id, epoch)] = notices
        return states

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        # The versions that two connections see have nothing to do with each other.
        self._data_version = None
        if connection is not None:
            connection.invalidate()
            connection.close()


def rest_seconds(look_seconds: float) -> float:
    """The pause after a poll: many watchers make it long, and it shall not take all the time."""
    return min(max(POLL_SECONDS, 4 * look_seconds), LONGEST_REST_SECONDS)
