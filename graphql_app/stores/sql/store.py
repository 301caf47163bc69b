"""The SQL stores: how the steps of each call are run, on SQLite and PostgreSQL.

A step is a function that gets a connection. Reads are single statements wherever a snapshot
matters; a write is one statement, or one transaction that locks in this order, so that no two
wait for each other:

    conversation ──▶ messages, by owner and id ──▶ lease

The statements are in `reading`, `adding`, `appending`, `ending`, `removing` and `leasing`. What a
subclass adds is how steps are run, and how a process learns what others have changed.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import timedelta
from typing import TypeVar

from sqlalchemy import Connection

from graphql_app.errors import FencedError, StoreUnavailableError
from graphql_app.interfaces import Added, Draft, Events, Lease, ReplyDraft, Slice, Topic
from graphql_app.messages import (
    Conversation,
    ConversationRef,
    Message,
    Ref,
    ReplyError,
    Status,
    Usage,
)
from graphql_app.stores.grouping import Grouped
from graphql_app.stores.outage import Outage
from graphql_app.stores.rules import IDS_STAY_USED
from graphql_app.stores.sql import migrations
from graphql_app.stores.sql.adding import Adding
from graphql_app.stores.sql.appending import Appending
from graphql_app.stores.sql.dialect import Dialect
from graphql_app.stores.sql.ending import Ending
from graphql_app.stores.sql.leasing import Leasing
from graphql_app.stores.sql.reading import Reading
from graphql_app.stores.sql.removing import Removing
from graphql_app.stores.sql.rows import Cursor, Look, Piece, Place
from graphql_app.stores.sql.steps import News, UndoError

T = TypeVar("T")

APPENDS_IN_A_GROUP = 500
READS_IN_A_GROUP = 500

LOST_AT_ONCE = 200
"""How many replies one transaction ends as lost: others wait for that long."""

LOST_IN_A_SWEEP = 5_000
EXPIRED_IN_A_SWEEP = 1_000
FORGOTTEN_AT_ONCE = 1_000
HOUSEKEEPING_SECONDS = 600.0

TRIES_OF_A_WRITE = 5
"""How often a write is tried that others get in before. Twice is enough: then what they wrote is
there to be read."""


class SqlStore(ABC):
    """A store in an SQL database.

    Args:
        shown: its URL, without a password.
        keep: how long replies are kept after their end; None: for ever.
    """

    shared = True
    immediate = None
    poll_seconds = 5.0  # A safety net: watchers are woken.
    append_rest_seconds = 0.02
    """The pause between the beginnings of two groups of appends: a longer one costs less."""

    def __init__(self, dialect: Dialect, shown: str, keep: timedelta | None) -> None:
        self._shown = shown
        self._outage = Outage(shown)
        self._writes_fail = False
        self._keep = keep
        self._reading = Reading(dialect)
        self._adding = Adding(dialect)
        self._appending = Appending(dialect, self._reading)
        self._ending = Ending(dialect, self._reading)
        self._removing = Removing(dialect, self._reading)
        self._leasing = Leasing(dialect)
        self._appends = Grouped[Piece, None](
            self._append_all, rest_seconds=self.append_rest_seconds, most=APPENDS_IN_A_GROUP
        )
        self._reads = Grouped[Place, Slice](self._read_all, most=READS_IN_A_GROUP)
        self._replies = Grouped[Look, tuple[Message, ...]](self._replies_all, most=READS_IN_A_GROUP)
        self._looks = Grouped[Cursor, bool](self._changed_all, most=READS_IN_A_GROUP)
        self._housekeeping_at = 0.0

    # What a database does in its own way.

    @abstractmethod
    async def open(self) -> None: ...

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    def watch(self, topic: Topic, wake: Callable[[], None]) -> Callable[[], None]: ...

    @abstractmethod
    async def _look(self, step: Callable[[Connection], T], *, is_urgent: bool = False) -> T:
        """Runs a step that reads; each statement sees its own snapshot.

        What renewals and sweeps do is urgent: it does not wait in line with all other calls.
        """

    @abstractmethod
    async def _write(self, step: Callable[[Connection, News], T], *, is_urgent: bool = False) -> T:
        """Runs a step as one transaction, tells its news, and raises `UndoError` to the caller.

        A transaction that another one stood in the way of is run again.
        """

    @abstractmethod
    async def _change(self, step: Callable[[Connection], T], *, is_urgent: bool = False) -> T:
        """Runs a step that is one statement, without a transaction around it; tells nobody."""

    @abstractmethod
    async def _grow(self, group: Sequence[Piece]) -> set[Ref]:
        """Runs `Appending.growth`, one statement; tells and returns the replies that grew."""

    def _failed(self, cause: BaseException, *, writing: bool) -> StoreUnavailableError:
        """Says once that the store is away; returns what to raise."""
        self._writes_fail |= writing
        self._outage.begins(cause)
        return StoreUnavailableError()

    def _worked(self, *, writing: bool) -> None:
        # What can be read, such as a full disk or a standby, is not back before it can be written.
        self._writes_fail &= not writing
        if not self._writes_fail:
            self._outage.ends()

    async def ping(self) -> None:
        await self._look(self._leasing.any_is_over)

    async def migrate(self) -> str:
        """Brings the database to the newest version; returns a sentence that says so."""
        try:
            await self.open()
        finally:
            await self.close()
        return f"{self._shown} is at version {migrations.NEWEST}."

    # Leases.

    async def register(self, lease_seconds: float) -> Lease:
        return await self._write(
            lambda connection, news: self._leasing.register(connection, lease_seconds),
            is_urgent=True,
        )

    async def renew(self, lease: Lease, number: int, running: AbstractSet[Ref]) -> AbstractSet[Ref]:
        is_held = await self._change(
            lambda connection: self._leasing.extend(connection, lease), is_urgent=True
        )
        if not is_held:
            raise FencedError(f"{lease} is not registered")
        found = await self._look(
            lambda connection: self._leasing.streaming(connection, lease), is_urgent=True
        )
        nobodys = [ref for ref in found.keys() - running if found[ref] < number]
        for begin in range(0, len(nobodys), LOST_AT_ONCE):
            await self._lose(dict.fromkeys(nobodys[begin : begin + LOST_AT_ONCE], lease.epoch))
        return running - found.keys()

    async def sweep(self) -> int:
        """See `Store.sweep`. Leases end first: who is interrupted leaves replies without one, which
        the next sweep of anybody finds."""
        if await self._look(self._leasing.any_is_over, is_urgent=True):
            await self._write(
                lambda connection, news: self._leasing.end(connection), is_urgent=True
            )
        ended = 0
        for _ in range(LOST_IN_A_SWEEP // LOST_AT_ONCE):
            orphans = await self._look(
                lambda connection: self._leasing.orphans(connection, LOST_AT_ONCE), is_urgent=True
            )
            if not orphans:
                break
            ended += await self._lose(orphans)
        await self._clean()
        return ended

    async def _lose(self, epochs: dict[Ref, int]) -> int:
        try:
            return await self._write(
                lambda connection, news: self._ending.lose(connection, news, epochs),
                is_urgent=True,
            )
        except UndoError:
            return 0

    async def _clean(self) -> None:
        """Removes what was kept long enough."""
        if (keep := self._keep) is not None:
            expired = await self._look(
                lambda connection: self._removing.expired(connection, keep, EXPIRED_IN_A_SWEEP),
                is_urgent=True,
            )
            for conversation, replies in expired.items():
                await self._remove(conversation, replies, is_urgent=True)
        if time.monotonic() < self._housekeeping_at:
            return
        self._housekeeping_at = time.monotonic() + HOUSEKEEPING_SECONDS
        for forget in (self._removing.forget_ids, self._removing.forget_conversations):
            while await self._forget_some(forget):
                pass

    async def _forget_some(self, forget: Callable[[Connection, timedelta, int], bool]) -> bool:
        return await self._write(
            lambda connection, news: forget(connection, IDS_STAY_USED, FORGOTTEN_AT_ONCE),
            is_urgent=True,
        )

    # Writing.

    async def add(self, draft: Draft, lease: Lease) -> Added:
        return await self._write_again(
            lambda connection, news: self._adding.add(connection, news, draft, lease)
        )

    async def add_reply(self, draft: ReplyDraft, lease: Lease) -> Added:
        return await self._write_again(
            lambda connection, news: self._adding.add_reply(connection, news, draft, lease)
        )

    async def append(self, ref: Ref, lease: Lease, at_offset: int, text: str) -> None:
        await self._appends(Piece(ref, lease, at_offset, text))

    async def _append_all(self, group: Sequence[Piece]) -> Sequence[Exception | None]:
        results: dict[int, Exception | None] = {}
        waiting = dict(enumerate(group))
        while waiting:
            # A piece of a reply may follow another one of the same group.
            first_of = {piece.ref: number for number, piece in reversed(waiting.items())}
            now = {number: waiting.pop(number) for number in sorted(first_of.values())}
            results |= await self._append_each(now)
        return [results[number] for number in range(len(group))]

    async def _append_each(self, given: dict[int, Piece]) -> dict[int, Exception | None]:
        """Appends pieces of different replies."""
        filled = [piece for piece in given.values() if piece.text]
        grown = await self._grow(filled) if filled else set()
        others = [piece for piece in given.values() if not piece.text or piece.ref not in grown]
        why_not: dict[Piece, Exception | None] = {}
        if others:
            why_not = await self._look(
                lambda connection: self._appending.why_not(connection, others)
            )
        return {number: why_not.get(piece) for number, piece in given.items()}

    async def finish(
        self,
        ref: Ref,
        status: Status,
        *,
        lease: Lease | None = None,
        at_offset: int | None = None,
        text: str = "",
        error: ReplyError | None = None,
        usage: Usage | None = None,
    ) -> Message:
        return await self._write_again(
            lambda connection, news: self._ending.finish(
                connection, news, ref, status, error, lease, at_offset, text, usage
            )
        )

    async def _write_again(self, step: Callable[[Connection, News], T]) -> T:
        """Runs a step that is undone when others get in before: then what they wrote is read."""
        for _ in range(TRIES_OF_A_WRITE):
            with suppress(UndoError):
                return await self._write(step)
        raise StoreUnavailableError

    async def clear(self, conversation: ConversationRef) -> int:
        return await self._remove(conversation, None)

    async def _remove(
        self,
        conversation: ConversationRef,
        expired: Collection[str] | None,
        *,
        is_urgent: bool = False,
    ) -> int:
        try:
            return await self._write(
                lambda connection, news: self._removing.remove(
                    connection, news, conversation, expired
                ),
                is_urgent=is_urgent,
            )
        except UndoError:
            return 0

    # Reading.

    async def read(self, ref: Ref, after_offset: int) -> Slice:
        return await self._reads(Place(ref, after_offset))

    async def _read_all(self, group: Sequence[Place]) -> Sequence[Slice | Exception]:
        return await self._look(lambda connection: self._reading.slices(connection, group))

    async def _changed_all(self, group: Sequence[Cursor]) -> Sequence[bool | Exception]:
        return await self._look(lambda connection: self._reading.changed(connection, group))

    async def message(self, ref: Ref) -> Message | None:
        return await self._look(lambda connection: self._reading.message(connection, ref))

    async def newest_reply(self, ref: Ref) -> Ref:
        return await self._look(lambda connection: self._reading.newest_reply(connection, ref))

    async def messages(
        self, conversation: ConversationRef, last: int, before: Ref | None
    ) -> tuple[Message, ...]:
        return await self._look(
            lambda connection: self._reading.messages(connection, conversation, last, before)
        )

    async def replies(self, ref: Ref, last: int) -> tuple[Message, ...]:
        # Whoever shows a list asks for the replies to each message in it.
        return await self._replies(Look(ref, last))

    async def _replies_all(self, group: Sequence[Look]) -> Sequence[tuple[Message, ...]]:
        return await self._look(lambda connection: self._reading.replies(connection, group))

    async def conversations(self, owner: str, first: int) -> tuple[Conversation, ...]:
        return await self._look(
            lambda connection: self._reading.conversations(connection, owner, first)
        )

    async def history(self, reply: Ref) -> tuple[Message, ...]:
        return await self._look(lambda connection: self._reading.history(connection, reply))

    async def events(self, conversation: ConversationRef, cursor: int | None, last: int) -> Events:
        # Thousands of windows may look at the same moment, and mostly nothing has happened.
        if cursor is not None and not await self._looks(Cursor(conversation, cursor)):
            return Events((), cursor)
        return await self._look(
            lambda connection: self._reading.events(connection, conversation, cursor, last)
        )
