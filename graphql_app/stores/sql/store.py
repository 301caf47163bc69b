"""The SQL stores: every statement, once for SQLite and PostgreSQL.

A step is a function that gets a connection. Reads are single statements wherever a snapshot
matters; a write is one statement, or one transaction that locks in this order, so that no two
wait for each other:

    conversation ──▶ messages, by owner and id ──▶ lease

What a subclass adds is how steps are run, and how a process learns what others have changed.
"""

import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, partial
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Row,
    ScalarSelect,
    and_,
    bindparam,
    case,
    delete,
    exists,
    false,
    func,
    insert,
    select,
    true,
    union_all,
    update,
)

from graphql_app.errors import (
    FencedError,
    MessageClearedError,
    MessageNotFoundError,
)
from graphql_app.interfaces import PRODUCER_LOST, Added, Draft, Events, Lease, Slice, Topic
from graphql_app.messages import (
    Conversation,
    ConversationRef,
    Message,
    MessageChanged,
    MessagesReset,
    Ref,
    ReplyError,
    Role,
    Status,
)
from graphql_app.stores.grouping import Grouped
from graphql_app.stores.sql.rows import (
    Piece,
    Place,
    are_in,
    are_pieces_of,
    datetime_of,
    end_of,
    greatest,
    is_conversation,
    is_lease,
    is_message,
    json_of,
    message_of,
    message_when,
    messages_of,
    misplaced,
    reply_to_the_same,
    same,
    slice_of,
    was_cleared,
    written,
)
from graphql_app.stores.sql.tables import cleared, conversations, leases, messages, pieces

T = TypeVar("T")

APPEND_REST_SECONDS = 0.02
"""The pause between the beginnings of two groups of appends."""

APPENDS_IN_A_GROUP = 500
READS_IN_A_GROUP = 500
EVENTS_IN_A_READ = 100
ENDS_IN_A_SWEEP = 1_000
HOUSEKEEPING_SECONDS = 60.0
IDS_STAY_USED = timedelta(hours=24)


class UndoError(Exception):
    """Raised by a step that has nothing to write after all; undoes what it did so far."""


@dataclass(slots=True)
class News:
    """What a transaction changes; its watchers are told when it is committed."""

    topics: list[Topic]

    def of(self, *topics: Topic) -> None:
        self.topics.extend(topics)


class SqlStore(ABC):
    """A store in an SQL database.

    Args:
        keep: how long replies are kept after their end; None: for ever.
    """

    shared = True
    poll_seconds = 5.0  # A safety net: watchers are woken.

    def __init__(self, keep: timedelta | None) -> None:
        self._keep = keep
        self._appends = Grouped[Piece, None](
            self._append_all, rest_seconds=APPEND_REST_SECONDS, most=APPENDS_IN_A_GROUP
        )
        self._reads = Grouped[Place, Slice](self._read_all, most=READS_IN_A_GROUP)
        self._housekeeping_at = 0.0

    # What a database does in its own way.

    @abstractmethod
    async def open(self) -> None: ...

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    def watch(self, topic: Topic, wake: Callable[[], None]) -> Callable[[], None]: ...

    @abstractmethod
    async def _look(self, step: Callable[[Connection], T]) -> T:
        """Runs a step that reads; each statement sees its own snapshot."""

    @abstractmethod
    async def _write(self, step: Callable[[Connection, News], T]) -> T:
        """Runs a step as one transaction, tells its news, and raises `UndoError` to the caller.

        A transaction that another one stood in the way of is run again.
        """

    @abstractmethod
    async def _grow(self, group: Sequence[Piece]) -> set[Ref]:
        """Runs `_growth`, one statement, tells its news, and returns the replies that grew."""

    @property
    @abstractmethod
    def _now(self) -> ColumnElement[int]:
        """The database's time, in microseconds since 1970."""

    @abstractmethod
    def _given(self, *columns: str) -> FromClause:
        """The rows of the JSON array in the parameter `given`, as a table of `columns`."""

    @abstractmethod
    def _insert_or_ignore(self, table: Any) -> Any:
        """An INSERT that leaves rows alone that are there."""

    @abstractmethod
    def _insert_or_update(self, table: Any, values: dict[str, Any], changes: dict[str, Any]) -> Any:
        """An INSERT that changes the row instead, if it is there."""

    @abstractmethod
    def _joined(self, *where: ColumnElement[bool]) -> ScalarSelect[str]:
        """The text of those pieces, in order."""

    async def ping(self) -> None:
        await self._look(lambda connection: connection.scalar(select(1)))

    # Leases.

    async def register(self, lease_seconds: float) -> Lease:
        id, milliseconds = uuid.uuid4().hex, round(lease_seconds * 1_000)

        def step(connection: Connection, news: News) -> int:
            statement = insert(leases).values(
                id=id,
                milliseconds=milliseconds,
                expires_at=self._now // 1_000 + milliseconds,
                notices=0,
            )
            epoch: int = connection.execute(statement.returning(leases.c.epoch)).scalar_one()
            return epoch

        return Lease(id, await self._write(step))

    async def renew(self, lease: Lease, number: int, running: AbstractSet[Ref]) -> AbstractSet[Ref]:
        def extend(connection: Connection, news: News) -> bool:
            statement = (
                update(leases)
                .where(*is_lease(lease))
                .values(expires_at=self._now // 1_000 + leases.c.milliseconds)
            )
            return connection.execute(statement).rowcount == 1

        def streaming(connection: Connection) -> dict[Ref, int]:
            statement = select(messages.c.owner, messages.c.id, messages.c.renewals)
            rows = connection.execute(statement.where(messages.c.epoch == lease.epoch))
            return {Ref(row.owner, row.id): row.renewals for row in rows}

        if not await self._write(extend):
            raise FencedError(f"{lease} is not registered")
        found = await self._look(streaming)
        for ref in found.keys() - running:
            if found[ref] < number:
                await self._lose(ref, lease.epoch)
        return running - found.keys()

    async def sweep(self) -> int:
        """See `Store.sweep`. Each reply ends in a transaction of its own; who is interrupted leaves
        replies without a lease, which the next sweep of anybody finds."""

        def expired(connection: Connection) -> bool:
            return bool(connection.scalar(select(exists().where(self._is_over))))

        def end_leases(connection: Connection, news: News) -> None:
            connection.execute(delete(leases).where(self._is_over))

        def orphans(connection: Connection) -> Sequence[Row[str, str, int]]:
            statement = (
                select(messages.c.owner, messages.c.id, messages.c.epoch)
                .join(leases, leases.c.epoch == messages.c.epoch, isouter=True)
                .where(messages.c.epoch.is_not(None), leases.c.epoch.is_(None))
                .limit(ENDS_IN_A_SWEEP)
            )
            return connection.execute(statement).all()

        if await self._look(expired):
            await self._write(end_leases)
        ended = 0
        for row in await self._look(orphans):
            ended += await self._lose(Ref(row.owner, row.id), row.epoch)
        await self._forget()
        return ended

    @property
    def _is_over(self) -> ColumnElement[bool]:
        return leases.c.expires_at < self._now // 1_000

    async def _lose(self, ref: Ref, epoch: int) -> bool:
        """Ends a reply that nobody produces; returns whether it still streamed under this epoch."""

        def step(connection: Connection, news: News) -> bool:
            now = self._time(connection)
            found = self._locked(connection, ref, now)
            if found is None or found.epoch != epoch:
                raise UndoError
            text = self._text(connection, ref)
            self._end(connection, news, found, now, text, Status.ERROR, PRODUCER_LOST)
            return True

        try:
            return await self._write(step)
        except UndoError:
            return False

    # Adding.

    async def add(self, draft: Draft, lease: Lease) -> Added:
        while True:
            try:
                return await self._write(
                    lambda connection, news: self._add(connection, news, draft, lease)
                )
            except UndoError:
                continue  # Another process has just added the same message; now it is there.

    def _add(self, connection: Connection, news: News, draft: Draft, lease: Lease) -> Added:
        ref, conversation = draft.message, draft.conversation
        now = connection.scalar(select(self._now).where(exists().where(*is_lease(lease))))
        if now is None:
            raise FencedError(f"{lease} is not registered")
        row = connection.execute(select(messages).where(*is_message(ref))).one_or_none()
        if row is not None:
            newest = reply_to_the_same(row, draft)
            return Added(newest, created=newest == draft.reply)
        if connection.scalar(select(exists().where(*was_cleared(ref)))):
            raise MessageClearedError(ref.id)
        # From here on, the conversation is locked: its events get visible in their order.
        milliseconds = now // 1_000
        first = {"sequence": now, "used": now, "reset_at": 0}
        times = {"last_created_at": milliseconds, "updated_at": milliseconds}
        sequence = greatest(conversations.c.sequence + 2, now)
        created_at = greatest(conversations.c.last_created_at + 2, milliseconds)
        latest = connection.execute(
            self._insert_or_update(
                conversations,
                {"owner": conversation.owner, "id": conversation.id, **first, **times},
                {
                    "sequence": sequence,
                    "used": sequence,
                    "last_created_at": created_at,
                    "updated_at": greatest(conversations.c.updated_at, created_at),
                },
            ).returning(conversations.c.sequence, conversations.c.last_created_at)
        ).one()
        both = {"owner": ref.owner, "conversation": conversation.id}
        user = {
            **both,
            "id": ref.id,
            "role": Role.USER.value,
            "status": Status.DONE.value,
            "content": draft.content,
            "created_at": latest.last_created_at - 1,
            "reply_to": None,
            "newest_reply": draft.reply.id,
            "epoch": None,
            "renewals": None,
            "added": latest.sequence - 1,
        }
        reply = {
            **both,
            "id": draft.reply.id,
            "role": Role.ASSISTANT.value,
            "status": Status.STREAMING.value,
            "content": "",
            "created_at": latest.last_created_at,
            "reply_to": ref.id,
            "newest_reply": None,
            "epoch": lease.epoch,
            "renewals": draft.renewals,
            "added": latest.sequence,
        }
        is_new = connection.execute(self._insert_or_ignore(messages).values(user)).rowcount
        if not is_new:
            raise UndoError
        connection.execute(insert(messages).values(reply))
        news.of(conversation)
        return Added(draft.reply, created=True)

    # Appending.

    async def append(self, ref: Ref, lease: Lease, at_offset: int, text: str) -> None:
        await self._appends(Piece(ref, lease, at_offset, text))

    async def _append_all(self, group: Sequence[Piece]) -> Sequence[Exception | None]:
        results: dict[int, Exception | None] = {}
        waiting = dict(enumerate(group))
        while waiting:
            # A piece of a reply may follow another one of the same group.
            first_of = {piece.ref: number for number, piece in reversed(waiting.items())}
            now = {number: waiting.pop(number) for number in sorted(first_of.values())}
            filled = [piece for piece in now.values() if piece.text]
            grown = await self._grow(filled) if filled else set()
            for number, piece in now.items():
                is_done = piece.text and piece.ref in grown
                why_not = None if is_done else await self._look(partial(self._why_not, piece))
                results[number] = why_not
        return [results[number] for number in range(len(group))]

    @cached_property
    def _growth(self) -> Any:
        """Adds the pieces of `given` to the replies that stream under their leases.

        One statement, so that a process that is paused in the middle locks nobody out. A piece that
        does not begin at its reply's end, or is there already, is left out.
        """
        given = self._given("owner", "id", "epoch", "lease", "at_offset", "end_offset", "text")
        new = (
            select(messages.c.owner, messages.c.id, given.c.end_offset, given.c.text)
            .join(given, same(messages, given))
            .join(leases, and_(leases.c.epoch == messages.c.epoch, leases.c.id == given.c.lease))
            .where(messages.c.epoch == given.c.epoch, end_of(messages) == given.c.at_offset)
            .order_by(messages.c.owner, messages.c.id)
            .with_for_update(of=messages, key_share=True)
        )
        columns = ["owner", "message", "end_offset", "text"]
        return self._insert_or_ignore(pieces).from_select(columns, new)

    def _why_not(self, piece: Piece, connection: Connection) -> Exception | None:
        """Why a piece was not added; None: the same text is there already."""
        place = Place(piece.ref, piece.at_offset)
        row = self._tails(connection, [place]).get(place)
        alive = connection.scalar(select(exists().where(*is_lease(piece.lease))))
        if row is None or row.epoch != piece.lease.epoch or not alive:
            return FencedError(f"reply {piece.ref.id!r} does not stream under {piece.lease}")
        there = slice_of(row, place)
        if there.offset == piece.at_offset and there.text.startswith(piece.text):
            return None
        return misplaced(piece.at_offset, there.end)

    # Finishing.

    async def finish(
        self,
        ref: Ref,
        status: Status,
        *,
        lease: Lease | None = None,
        at_offset: int | None = None,
        text: str = "",
        error: ReplyError | None = None,
    ) -> Message:
        def step(connection: Connection, news: News) -> Message:
            found = self._reply(connection, ref)
            if found.epoch is None:
                return message_of(found, found.content)
            now = self._time(connection)
            locked = self._locked(connection, ref, now)
            if locked is None:
                raise UndoError
            content = self._text(connection, ref)
            if lease is not None:
                alive = connection.scalar(select(exists().where(*is_lease(lease))))
                if locked.epoch != lease.epoch or not alive:
                    raise FencedError(f"reply {ref.id!r} does not stream under {lease}")
                content = written(content, at_offset, text)
            return self._end(
                connection, news, locked, now, content, status, error, by_producer=lease is not None
            )

        while True:
            try:
                return await self._write(step)
            except UndoError:
                continue  # Somebody else has just ended or cleared it; now that is to be read.

    def _locked(self, connection: Connection, ref: Ref, now: int) -> "_Locked | None":
        """Locks a reply and its conversation, if it streams, and takes the number of its end."""
        where = connection.scalar(select(messages.c.conversation).where(*is_message(ref)))
        next_number = greatest(conversations.c.sequence + 1, now)
        sequence = connection.scalar(
            update(conversations)
            .where(conversations.c.owner == ref.owner, conversations.c.id == where)
            .values(
                sequence=next_number,
                used=next_number,
                updated_at=greatest(conversations.c.updated_at, now // 1_000),
            )
            .returning(conversations.c.sequence)
        )
        row = connection.execute(
            select(messages)
            .where(*is_message(ref), messages.c.epoch.is_not(None))
            .with_for_update(key_share=True)
        ).one_or_none()
        return None if row is None or sequence is None else _Locked(row, row.epoch, sequence)

    def _text(self, connection: Connection, ref: Ref) -> str:
        """The text of a reply that streams, read after it was locked: then no piece can follow."""
        return connection.scalar(select(self._joined(*are_pieces_of(ref)))) or ""

    def _end(
        self,
        connection: Connection,
        news: News,
        locked: "_Locked",
        now: int,
        content: str,
        status: Status,
        error: ReplyError | None,
        by_producer: bool = False,
    ) -> Message:
        """Ends a reply: its pieces become its content, and its end is an event."""
        ref = Ref(locked.row.owner, locked.row.id)
        connection.execute(
            update(messages)
            .where(*is_message(ref))
            .values(
                status=status.value,
                content=content,
                error_code=error and error.code.value,
                error_message=error and error.message,
                epoch=None,
                ended=locked.sequence,
                ended_at=now // 1_000,
            )
        )
        connection.execute(delete(pieces).where(*are_pieces_of(ref)))
        news.of(ref, ConversationRef(ref.owner, locked.row.conversation))
        if not by_producer:
            self._notify_producers(connection, news, [locked.epoch])
        return Message(
            id=ref.id,
            conversation_id=locked.row.conversation,
            role=Role.ASSISTANT,
            content=content,
            status=status,
            created_at=datetime_of(locked.row.created_at),
            reply_to_id=locked.row.reply_to,
            error=error,
        )

    def _notify_producers(
        self, connection: Connection, news: News, epochs: Iterable[int | None]
    ) -> None:
        """Tells processes that one of their replies was ended or removed by somebody else."""
        for epoch in sorted({epoch for epoch in epochs if epoch is not None}):
            id = connection.scalar(
                update(leases)
                .where(leases.c.epoch == epoch)
                .values(notices=leases.c.notices + 1)
                .returning(leases.c.id)
            )
            if id is not None:
                news.of(Lease(id, epoch))

    # Reading.

    async def read(self, ref: Ref, after_offset: int) -> Slice:
        return await self._reads(Place(ref, after_offset))

    async def _read_all(self, group: Sequence[Place]) -> Sequence[Slice | Exception]:
        rows = await self._look(lambda connection: self._tails(connection, group))
        return [
            slice_of(rows[place], place)
            if place in rows
            else await self._look(partial(self._missing, place.ref))
            for place in group
        ]

    def _tails(self, connection: Connection, places: Iterable[Place]) -> dict[Place, Any]:
        asked = json_of(
            [(place.ref.owner, place.ref.id, place.after_offset) for place in set(places)]
        )
        return {
            Place(Ref(row.owner, row.id), row.after_offset): row
            for row in connection.execute(self._tail, {"given": asked})
        }

    @cached_property
    def _tail(self) -> Any:
        """The replies of `given`, with what follows an offset in each; one snapshot for all."""
        given = self._given("owner", "id", "after_offset")
        tail = self._joined(
            pieces.c.owner == given.c.owner,
            pieces.c.message == given.c.id,
            pieces.c.end_offset > given.c.after_offset,
        )
        return (
            select(
                given.c.owner,
                given.c.id,
                given.c.after_offset,
                messages.c.status,
                messages.c.content,
                messages.c.error_code,
                messages.c.error_message,
                messages.c.epoch,
                end_of(messages).label("end"),
                tail.label("tail"),
            )
            .join(messages, same(messages, given))
            .where(messages.c.role == Role.ASSISTANT.value)
        )

    async def message(self, ref: Ref) -> Message | None:
        def step(connection: Connection) -> Message | None:
            row = connection.execute(self._whole.where(*is_message(ref))).one_or_none()
            return None if row is None else message_of(row, row.text)

        return await self._look(step)

    async def newest_reply(self, ref: Ref) -> Ref:
        def step(connection: Connection) -> Ref:
            statement = select(messages.c.newest_reply).where(*is_message(ref))
            row = connection.execute(statement).one_or_none()
            if row is None:
                raise MessageNotFoundError(ref.id)
            return Ref(ref.owner, row.newest_reply) if row.newest_reply else ref

        return await self._look(step)

    async def messages(
        self, conversation: ConversationRef, last: int, before: Ref | None
    ) -> tuple[Message, ...]:
        def step(connection: Connection) -> tuple[Message, ...]:
            statement = self._whole.where(*are_in(conversation))
            if before is not None:
                added = connection.scalar(
                    select(messages.c.added).where(*is_message(before), *are_in(conversation))
                )
                if added is None:
                    raise MessageNotFoundError(before.id)
                statement = statement.where(messages.c.added < added)
            return messages_of(connection, statement.order_by(messages.c.added.desc()).limit(last))

        return await self._look(step)

    async def conversations(self, owner: str, first: int) -> tuple[Conversation, ...]:
        def step(connection: Connection) -> tuple[Conversation, ...]:
            created_at = (
                select(func.min(messages.c.created_at))
                .where(
                    messages.c.owner == conversations.c.owner,
                    messages.c.conversation == conversations.c.id,
                )
                .scalar_subquery()
            )
            statement = (
                select(conversations.c.id, conversations.c.updated_at, created_at.label("created"))
                .where(conversations.c.owner == owner, created_at.is_not(None))
                .order_by(conversations.c.used.desc())
                .limit(first)
            )
            return tuple(
                Conversation(row.id, datetime_of(row.created), datetime_of(row.updated_at))
                for row in connection.execute(statement)
            )

        return await self._look(step)

    async def history(self, reply: Ref) -> tuple[Message, ...]:
        def step(connection: Connection) -> tuple[Message, ...]:
            found = self._reply(connection, reply)
            if found.epoch is None:
                raise FencedError(f"reply {reply.id!r} has ended")
            conversation = ConversationRef(reply.owner, found.conversation)
            earlier = messages_of(
                connection,
                self._whole.where(*are_in(conversation), messages.c.added < found.added).order_by(
                    messages.c.added.desc()
                ),
            )
            if found.reply_to not in {message.id for message in earlier}:
                raise MessageClearedError(reply.id)
            return tuple(message for message in earlier if message.content)

        return await self._look(step)

    @cached_property
    def _whole(self) -> Any:
        """Messages, with the text that each has in one and the same snapshot."""
        of_message = (pieces.c.owner == messages.c.owner, pieces.c.message == messages.c.id)
        text = case(
            (messages.c.epoch.is_(None), messages.c.content),
            else_=func.coalesce(self._joined(*of_message), ""),
        )
        return select(messages, text.label("text"))

    def _reply(self, connection: Connection, ref: Ref) -> Any:
        row = connection.execute(select(messages).where(*is_message(ref))).one_or_none()
        if row is None or row.role != Role.ASSISTANT:
            raise self._missing(ref, connection)
        return row

    def _missing(self, ref: Ref, connection: Connection) -> Exception:
        if connection.scalar(select(exists().where(*was_cleared(ref)))):
            return MessageClearedError(ref.id)
        return MessageNotFoundError(ref.id, "reply")

    def _time(self, connection: Connection) -> int:
        """The database's time, in microseconds since 1970."""
        return connection.execute(select(self._now)).scalar_one()

    # Clearing.

    async def clear(self, conversation: ConversationRef) -> int:
        return await self._clear(conversation, true())

    async def _clear(self, conversation: ConversationRef, which: ColumnElement[bool]) -> int:
        def step(connection: Connection, news: News) -> int:
            return self._remove(connection, news, conversation, which)

        try:
            return await self._write(step)
        except UndoError:
            return 0

    def _remove(
        self,
        connection: Connection,
        news: News,
        conversation: ConversationRef,
        which: ColumnElement[bool],
    ) -> int:
        """Removes messages of a conversation; their ids stay used, and windows start over."""
        now = self._time(connection)
        sequence = greatest(conversations.c.sequence + 1, now)
        connection.execute(
            update(conversations)
            .where(conversations.c.owner == conversation.owner)
            .where(conversations.c.id == conversation.id)
            .values(sequence=sequence, reset_at=sequence)
        )
        rows = connection.execute(
            select(messages.c.id, messages.c.role, messages.c.epoch)
            .where(*are_in(conversation), which)
            .order_by(messages.c.owner, messages.c.id)
            .with_for_update()
        ).all()
        if not rows:
            raise UndoError
        gone = [
            {"owner": conversation.owner, "id": row.id, "cleared_at": now // 1_000} for row in rows
        ]
        connection.execute(self._insert_or_ignore(cleared), gone)
        these = [{"its_owner": row["owner"], "its_id": row["id"]} for row in gone]
        for table, id in ((pieces, pieces.c.message), (messages, messages.c.id)):
            statement = delete(table).where(
                table.c.owner == bindparam("its_owner"), id == bindparam("its_id")
            )
            connection.execute(statement, these)
        news.of(conversation)
        news.of(*(Ref(conversation.owner, row.id) for row in rows if row.role == Role.ASSISTANT))
        self._notify_producers(connection, news, (row.epoch for row in rows))
        return len(rows)

    async def _forget(self) -> None:
        """Removes what was kept long enough."""
        if self._keep is not None:
            await self._expire(self._keep)
        if time.monotonic() < self._housekeeping_at:
            return
        self._housekeeping_at = time.monotonic() + HOUSEKEEPING_SECONDS
        await self._write(self._forget_ids)

    async def _expire(self, keep: timedelta) -> None:
        milliseconds = keep // timedelta(milliseconds=1)

        def over(connection: Connection) -> dict[ConversationRef, set[str]]:
            statement = (
                select(messages.c.owner, messages.c.conversation, messages.c.id)
                .add_columns(messages.c.reply_to)
                .where(messages.c.ended_at < self._now // 1_000 - milliseconds)
                .order_by(messages.c.ended_at)
                .limit(ENDS_IN_A_SWEEP)
            )
            found: dict[ConversationRef, set[str]] = {}
            for row in connection.execute(statement):
                ids = found.setdefault(ConversationRef(row.owner, row.conversation), set())
                ids |= {row.id, row.reply_to}
            return found

        for conversation, ids in (await self._look(over)).items():
            await self._clear(conversation, messages.c.id.in_(sorted(ids)))

    def _forget_ids(self, connection: Connection, news: News) -> None:
        """Forgets ids that were cleared long ago, and conversations that have nothing else."""
        long_ago = self._time(connection) - IDS_STAY_USED // timedelta(microseconds=1)
        connection.execute(delete(cleared).where(cleared.c.cleared_at < long_ago // 1_000))
        has_messages = exists().where(
            messages.c.owner == conversations.c.owner,
            messages.c.conversation == conversations.c.id,
        )
        connection.execute(
            delete(conversations).where(conversations.c.sequence < long_ago, ~has_messages)
        )

    # Events.

    async def events(self, conversation: ConversationRef, cursor: int | None, last: int) -> Events:
        def step(connection: Connection) -> Events:
            if cursor is not None:
                # Read before it is known whether the conversation started over: if it did so in
                # between, these do not count.
                found = self._since(connection, conversation, cursor)
                reset_at = connection.scalar(
                    select(conversations.c.reset_at).where(*is_conversation(conversation))
                )
                if reset_at is None or reset_at <= cursor:
                    return found
            return self._reset(connection, conversation, last)

        return await self._look(step)

    def _since(self, connection: Connection, conversation: ConversationRef, cursor: int) -> Events:
        added = select(messages, messages.c.added.label("number"), false().label("is_end")).where(
            *are_in(conversation), messages.c.added > cursor
        )
        ended = select(messages, messages.c.ended.label("number"), true().label("is_end")).where(
            *are_in(conversation), messages.c.ended > cursor
        )
        both = union_all(added, ended).order_by("number").limit(EVENTS_IN_A_READ + 1)
        rows = connection.execute(both).all()
        more, rows = len(rows) > EVENTS_IN_A_READ, rows[:EVENTS_IN_A_READ]
        return Events(
            tuple(MessageChanged(message_when(row)) for row in rows),
            rows[-1].number if rows else cursor,
            more=more,
        )

    def _reset(self, connection: Connection, conversation: ConversationRef, last: int) -> Events:
        newest = (
            self._whole.where(*are_in(conversation))
            .order_by(messages.c.added.desc())
            .limit(last)
            .subquery()
        )
        rows = connection.execute(
            select(conversations.c.sequence.label("cursor"), newest)
            .select_from(conversations.outerjoin(newest, true()))
            .where(*is_conversation(conversation))
            .order_by(newest.c.added)
        ).all()
        found = tuple(message_of(row, row.text) for row in rows if row.added is not None)
        return Events((MessagesReset(conversation.id, found),), rows[0].cursor if rows else 0)


@dataclass(frozen=True, slots=True)
class _Locked:
    """A reply that streams and is locked, and the number that its end may take."""

    row: Any
    epoch: int
    sequence: int
