"""Adding a message and its reply, once."""

from typing import Any

from sqlalchemy import Connection, exists, insert, select

from graphql_app.errors import FencedError, MessageClearedError, MessageIdConflictError
from graphql_app.interfaces import Added, Draft, Lease
from graphql_app.messages import ConversationRef, Ref, Role, Status
from graphql_app.stores.sql.dialect import Dialect
from graphql_app.stores.sql.rows import greatest, is_lease, is_message, was_cleared
from graphql_app.stores.sql.steps import News, UndoError
from graphql_app.stores.sql.tables import conversations, messages


class Adding:
    """See `Store.add`."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def add(self, connection: Connection, news: News, draft: Draft, lease: Lease) -> Added:
        """The step; it is undone if another process has just added the same message."""
        now = connection.scalar(select(self._dialect.now).where(exists().where(*is_lease(lease))))
        if now is None:
            raise FencedError(f"{lease} is not registered")
        row = connection.execute(select(messages).where(*is_message(draft.message))).one_or_none()
        if row is not None:
            newest = _reply_to_the_same(row, draft)
            return Added(newest, created=newest == draft.reply)
        # From here on, the conversation is locked: its events get visible in their order.
        number, created_at = self._used(connection, draft.conversation, now)
        user = {
            "owner": draft.message.owner,
            "id": draft.message.id,
            "conversation": draft.conversation.id,
            "role": Role.USER.value,
            "status": Status.DONE.value,
            "content": draft.content,
            "created_at": created_at - 1,
            "newest_reply": draft.reply.id,
            "added": number - 1,
        }
        reply = {
            "owner": draft.reply.owner,
            "id": draft.reply.id,
            "conversation": draft.conversation.id,
            "role": Role.ASSISTANT.value,
            "status": Status.STREAMING.value,
            "content": "",
            "created_at": created_at,
            "reply_to": draft.message.id,
            "epoch": lease.epoch,
            "renewals": draft.renewals,
            "added": number,
        }
        if not connection.execute(self._dialect.insert_or_ignore(messages).values(user)).rowcount:
            raise UndoError
        # Asked last: whoever adds and clears the same message meanwhile is done by now.
        if connection.scalar(select(exists().where(*was_cleared(draft.message)))):
            raise MessageClearedError(draft.message.id)
        connection.execute(insert(messages).values(reply))
        news.of(draft.conversation)
        return Added(draft.reply, created=True)

    def _used(
        self, connection: Connection, conversation: ConversationRef, now: int
    ) -> tuple[int, int]:
        """Makes or uses a conversation: the number of its newest event, and when that was.

        Those of the user's message are one less.
        """
        milliseconds = now // 1_000
        number = greatest(conversations.c.sequence + 2, now)
        created_at = greatest(conversations.c.last_created_at + 2, milliseconds)
        values = {
            "owner": conversation.owner,
            "id": conversation.id,
            "sequence": now,
            "reset_at": 0,
            "used": now,
            "last_created_at": milliseconds,
            "updated_at": milliseconds,
        }
        changes = {
            "sequence": number,
            "used": number,
            "last_created_at": created_at,
            "updated_at": greatest(conversations.c.updated_at, created_at),
        }
        statement = self._dialect.insert_or_update(conversations, values, changes)
        used = connection.execute(
            statement.returning(conversations.c.sequence, conversations.c.last_created_at)
        ).one()
        return used.sequence, used.last_created_at


def _reply_to_the_same(row: Any, draft: Draft) -> Ref:
    if row.newest_reply is None:
        raise MessageIdConflictError(draft.message.id, "a reply")
    if row.conversation != draft.conversation.id:
        raise MessageIdConflictError(draft.message.id, "a message of another conversation")
    if row.content != draft.content:
        raise MessageIdConflictError(draft.message.id, "a message with other content")
    return Ref(draft.message.owner, row.newest_reply)
