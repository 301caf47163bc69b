"""Rows: what they are in the chat's words, and the conditions that find them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, FromClause, and_, case, func, select

from graphql_app.errors import MessageIdConflictError
from graphql_app.interfaces import Draft, Lease, Slice
from graphql_app.messages import (
    ConversationRef,
    Message,
    Ref,
    ReplyError,
    ReplyErrorCode,
    Role,
    Status,
    utf16_length,
    utf16_tail,
)
from graphql_app.stores.sql.tables import cleared, conversations, leases, messages, pieces


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that is to be appended to a reply."""

    ref: Ref
    lease: Lease
    at_offset: int
    text: str

    @property
    def end_offset(self) -> int:
        return self.at_offset + utf16_length(self.text)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reply is to be read from."""

    ref: Ref
    after_offset: int


# Conditions.


def is_lease(lease: Lease) -> tuple[ColumnElement[bool], ...]:
    return leases.c.epoch == lease.epoch, leases.c.id == lease.id


def is_message(ref: Ref) -> tuple[ColumnElement[bool], ...]:
    return messages.c.owner == ref.owner, messages.c.id == ref.id


def is_conversation(ref: ConversationRef) -> tuple[ColumnElement[bool], ...]:
    return conversations.c.owner == ref.owner, conversations.c.id == ref.id


def are_in(conversation: ConversationRef) -> tuple[ColumnElement[bool], ...]:
    return messages.c.owner == conversation.owner, messages.c.conversation == conversation.id


def are_pieces_of(ref: Ref) -> tuple[ColumnElement[bool], ...]:
    return pieces.c.owner == ref.owner, pieces.c.message == ref.id


def was_cleared(ref: Ref) -> tuple[ColumnElement[bool], ...]:
    return cleared.c.owner == ref.owner, cleared.c.id == ref.id


def same(table: FromClause, other: FromClause) -> ColumnElement[bool]:
    return and_(table.c.owner == other.c.owner, table.c.id == other.c.id)


# Expressions.


def end_of(table: FromClause) -> ColumnElement[int]:
    """The end of a reply that streams."""
    newest = select(func.max(pieces.c.end_offset)).where(
        pieces.c.owner == table.c.owner, pieces.c.message == table.c.id
    )
    return func.coalesce(newest.scalar_subquery(), 0)


def greatest(one: ColumnElement[int], other: ColumnElement[int] | int) -> ColumnElement[int]:
    return case((one > other, one), else_=other)


# Rows and values.


def json_of(rows: Sequence[Sequence[object]]) -> str:
    return orjson.dumps(rows).decode()


def given_pieces(group: Iterable[Piece]) -> str:
    """The parameter of `_growth`."""
    return json_of(
        [
            (
                piece.ref.owner,
                piece.ref.id,
                piece.lease.epoch,
                piece.lease.id,
                piece.at_offset,
                piece.end_offset,
                piece.text,
            )
            for piece in group
        ]
    )


def reply_to_the_same(row: Any, draft: Draft) -> Ref:
    if row.newest_reply is None:
        raise MessageIdConflictError(draft.message.id, "a reply")
    if row.conversation != draft.conversation.id:
        raise MessageIdConflictError(draft.message.id, "a message of another conversation")
    if row.content != draft.content:
        raise MessageIdConflictError(draft.message.id, "a message with other content")
    return Ref(draft.message.owner, row.newest_reply)


def written(content: str, at_offset: int | None, text: str) -> str:
    """A text with more text where it says it stands; the same text again changes nothing."""
    end = utf16_length(content)
    if at_offset is None or at_offset == end:
        return content + text
    begin, there = utf16_tail(content, at_offset)
    if begin != at_offset or not there.startswith(text):
        raise misplaced(at_offset, end)
    return content


def misplaced(at_offset: int, end: int) -> ValueError:
    return ValueError(f"text for offset {at_offset} does not fit: the end is {end}")


def slice_of(row: Any, place: Place) -> Slice:
    if row.epoch is None:
        end, start, text = utf16_length(row.content), 0, row.content
    else:
        end, text = row.end, row.tail or ""
        start = end - utf16_length(text)
    offset, text = utf16_tail(text, max(0, place.after_offset - start))
    return Slice(start + offset, text, end, Status(row.status), error_of(row))


def message_of(row: Any, content: str) -> Message:
    return Message(
        id=row.id,
        conversation_id=row.conversation,
        role=Role(row.role),
        content=content,
        status=Status(row.status),
        created_at=datetime_of(row.created_at),
        reply_to_id=row.reply_to,
        error=error_of(row),
    )


def message_when(row: Any) -> Message:
    """A message as it was at an event of its own."""
    if row.is_end or row.role == Role.USER:
        return message_of(row, row.content)
    return Message(
        id=row.id,
        conversation_id=row.conversation,
        role=Role.ASSISTANT,
        content="",
        status=Status.STREAMING,
        created_at=datetime_of(row.created_at),
        reply_to_id=row.reply_to,
    )


def messages_of(connection: Connection, newest_first: Any) -> tuple[Message, ...]:
    rows = connection.execute(newest_first).all()
    return tuple(message_of(row, row.text) for row in reversed(rows))


def error_of(row: Any) -> ReplyError | None:
    if row.error_code is None:
        return None
    return ReplyError(ReplyErrorCode(row.error_code), row.error_message)


def datetime_of(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds // 1_000, UTC) + timedelta(
        milliseconds=milliseconds % 1_000
    )
