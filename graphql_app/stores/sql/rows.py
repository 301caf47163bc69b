"""Rows: what they are in the chat's words, and the conditions that find them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import BindParameter, ColumnElement, FromClause, and_, bindparam, case, func, select

from graphql_app.interfaces import Lease, Slice
from graphql_app.messages import (
    ConversationRef,
    Message,
    Ref,
    ReplyError,
    ReplyErrorCode,
    Role,
    Status,
    Usage,
    utf16_length,
    utf16_tail,
)
from graphql_app.stores.rules import check_repeated, milliseconds, usage_of
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


@dataclass(frozen=True, slots=True)
class Look:
    """A user's message, and how many of the newest replies to it are wanted."""

    ref: Ref
    last: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far the events of a conversation were read."""

    conversation: ConversationRef
    number: int


# Conditions.


def is_lease(lease: Lease) -> tuple[ColumnElement[bool], ...]:
    return leases.c.epoch == lease.epoch, leases.c.id == lease.id


def is_message(ref: Ref) -> tuple[ColumnElement[bool], ...]:
    return messages.c.owner == ref.owner, messages.c.id == ref.id


def is_conversation(ref: ConversationRef) -> tuple[ColumnElement[bool], ...]:
    return conversations.c.owner == ref.owner, conversations.c.id == ref.id


def are_in(conversation: ConversationRef) -> tuple[ColumnElement[bool], ...]:
    return messages.c.owner == conversation.owner, messages.c.conversation == conversation.id


def are_listed(conversation: ConversationRef) -> tuple[ColumnElement[bool], ...]:
    """In a conversation, and not replaced; the last condition is that of the index."""
    return *are_in(conversation), messages.c.replaced.is_(None)


def was_cleared(ref: Ref) -> tuple[ColumnElement[bool], ...]:
    return cleared.c.owner == ref.owner, cleared.c.id == ref.id


def same(table: FromClause, other: FromClause) -> ColumnElement[bool]:
    return and_(table.c.owner == other.c.owner, table.c.id == other.c.id)


ITS_OWNER: BindParameter[str] = bindparam("its_owner")
ITS_ID: BindParameter[str] = bindparam("its_id")


def its(owner: str, id: str) -> dict[str, Any]:
    """The parameters of a statement that is run once for each of many rows."""
    return {"its_owner": owner, "its_id": id}


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


def written(content: str, at_offset: int | None, text: str) -> str:
    """A text with more text where it says it stands; the same text again changes nothing."""
    end = utf16_length(content)
    if at_offset is None or at_offset == end:
        return content + text
    begin, there = utf16_tail(content, at_offset)
    check_repeated(at_offset, text, begin=begin, there=there, end=end)
    return content


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
        usage=usage_in(row),
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


def usage_in(row: Any) -> Usage | None:
    return usage_of(
        row.model,
        row.input_tokens,
        row.output_tokens,
        row.first_token_milliseconds,
        row.duration_milliseconds,
    )


def usage_values(usage: Usage | None) -> dict[str, Any]:
    """A usage as the columns of a reply."""
    usage = usage or Usage()
    return {
        "model": usage.model,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "first_token_milliseconds": milliseconds(usage.time_to_first_token),
        "duration_milliseconds": milliseconds(usage.duration),
    }


def error_of(row: Any) -> ReplyError | None:
    if row.error_code is None:
        return None
    return ReplyError(ReplyErrorCode.read(row.error_code), row.error_message)


def datetime_of(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds // 1_000, UTC) + timedelta(
        milliseconds=milliseconds % 1_000
    )
