"""Ending replies: their pieces become their content, and each end is an event."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Update, delete, func, select, update

from graphql_app.errors import FencedError
from graphql_app.interfaces import PRODUCER_LOST, Lease
from graphql_app.messages import (
    ConversationRef,
    Message,
    Ref,
    ReplyError,
    Role,
    Status,
    Usage,
)
from graphql_app.stores.rules import usage_kept
from graphql_app.stores.sql.dialect import Dialect
from graphql_app.stores.sql.leasing import notify_holders
from graphql_app.stores.sql.reading import Reading
from graphql_app.stores.sql.rows import (
    ITS_ID,
    ITS_OWNER,
    datetime_of,
    is_message,
    its,
    json_of,
    message_of,
    same,
    usage_values,
    written,
)
from graphql_app.stores.sql.steps import News, UndoError
from graphql_app.stores.sql.tables import conversations, leases, messages, pieces


@dataclass(frozen=True, slots=True)
class _Streaming:
    """A reply that streams and is locked, as is its conversation."""

    ref: Ref
    row: Any
    conversation: Any


class Ending:
    """See `Store.finish`."""

    def __init__(self, dialect: Dialect, reading: Reading) -> None:
        self._reading = reading
        given = dialect.given("owner", "id")
        self._conversations = (
            select(conversations, dialect.now.label("now"))
            .join(
                messages,
                (messages.c.owner == conversations.c.owner)
                & (messages.c.conversation == conversations.c.id),
            )
            .join(given, same(messages, given))
            .order_by(conversations.c.owner, conversations.c.id)
            .with_for_update(of=conversations, key_share=True)
        )
        self._replies = (
            select(messages, leases.c.id.label("lease"))
            .join(given, same(messages, given))
            .join(leases, leases.c.epoch == messages.c.epoch, isouter=True)
            .where(messages.c.epoch.is_not(None))
            .order_by(messages.c.owner, messages.c.id)
            .with_for_update(of=messages, key_share=True)
        )
        text = func.coalesce(
            dialect.joined(pieces.c.owner == messages.c.owner, pieces.c.message == messages.c.id),
            "",
        )
        self._text = select(text)
        self._end_as_it_is = END.values(content=text)

    def finish(
        self,
        connection: Connection,
        news: News,
        ref: Ref,
        status: Status,
        error: ReplyError | None,
        lease: Lease | None,
        at_offset: int | None,
        text: str,
        usage: Usage | None,
    ) -> Message:
        """A step; it is undone if others change the reply while it is looked for."""
        usage = usage_kept(usage)
        streaming = self._locked(connection, [ref])
        if not streaming:
            row = self._reading.reply(connection, ref)
            if row.epoch is not None:
                raise UndoError
            ended = message_of(row, row.content)
            if usage is None or ended.usage is not None:
                return ended
            changed = connection.execute(LEARN.where(*is_message(ref)).values(usage_values(usage)))
            if not changed.rowcount:
                raise UndoError
            return replace(ended, usage=usage)
        [reply] = streaming
        row = reply.row
        # Read after the reply was locked: no piece can follow.
        content: str = connection.execute(self._text.where(*is_message(ref))).scalar_one()
        if lease is not None:
            if (row.epoch, row.lease) != (lease.epoch, lease.id):
                raise FencedError(f"reply {ref.id!r} does not stream under {lease}")
            content = written(content, at_offset, text)
        self._end(
            connection,
            news,
            END,
            [reply],
            status,
            error,
            content=content,
            **usage_values(usage),
        )
        if lease is None:
            notify_holders(connection, news, [row.epoch])
        return Message(
            id=ref.id,
            conversation_id=row.conversation,
            role=Role.ASSISTANT,
            content=content,
            status=status,
            created_at=datetime_of(row.created_at),
            reply_to_id=row.reply_to,
            error=error,
            usage=usage,
        )

    def lose(self, connection: Connection, news: News, epochs: Mapping[Ref, int]) -> int:
        """A step: ends those replies that still stream under their epochs, as lost.

        Returns how many; it is undone if there are none.
        """
        lost = [
            reply
            for reply in self._locked(connection, epochs)
            if reply.row.epoch == epochs[reply.ref]
        ]
        if not lost:
            raise UndoError
        self._end(connection, news, self._end_as_it_is, lost, Status.ERROR, PRODUCER_LOST)
        notify_holders(connection, news, (reply.row.epoch for reply in lost))
        return len(lost)

    def _locked(self, connection: Connection, refs: Iterable[Ref]) -> list[_Streaming]:
        """Locks replies and their conversations; returns those that stream."""
        given = {"given": json_of([(ref.owner, ref.id) for ref in refs])}
        found = {(row.owner, row.id): row for row in connection.execute(self._conversations, given)}
        return [
            _Streaming(Ref(row.owner, row.id), row, found[row.owner, row.conversation])
            for row in connection.execute(self._replies, given)
            if (row.owner, row.conversation) in found
        ]

    def _end(
        self,
        connection: Connection,
        news: News,
        statement: Update,
        replies: Sequence[_Streaming],
        status: Status,
        error: ReplyError | None,
        **values: Any,
    ) -> None:
        """Ends replies, with a statement that takes what `END` takes."""
        now = max(reply.conversation.now for reply in replies)
        numbers: dict[tuple[str, str], int] = {}
        ends, uses = [], {}
        for reply in replies:
            owner, conversation = key = reply.conversation.owner, reply.conversation.id
            numbers[key] = max(numbers.get(key, reply.conversation.sequence) + 1, now)
            ends.append(
                {
                    **its(reply.ref.owner, reply.ref.id),
                    **values,
                    "status": status.value,
                    "error_code": error and error.code.value,
                    "error_message": error and error.message,
                    "epoch": None,
                    "ended": numbers[key],
                    "ended_at": now // 1_000,
                }
            )
            uses[key] = {
                **its(owner, conversation),
                "sequence": numbers[key],
                "used": numbers[key],
                "updated_at": max(reply.conversation.updated_at, now // 1_000),
            }
            news.of(reply.ref, ConversationRef(owner, conversation))
        connection.execute(statement, ends)
        connection.execute(USE, list(uses.values()))
        connection.execute(DROP, [its(reply.ref.owner, reply.ref.id) for reply in replies])


END = update(messages).where(messages.c.owner == ITS_OWNER, messages.c.id == ITS_ID)
LEARN = update(messages).where(
    messages.c.epoch.is_(None), *(messages.c[name].is_(None) for name in usage_values(None))
)
USE = update(conversations).where(conversations.c.owner == ITS_OWNER, conversations.c.id == ITS_ID)
DROP = delete(pieces).where(pieces.c.owner == ITS_OWNER, pieces.c.message == ITS_ID)
