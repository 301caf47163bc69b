"""Adding a message and its reply, once."""

from sqlalchemy import BigInteger, BindParameter, Connection, bindparam, exists, insert, select

from graphql_app.errors import FencedError, MessageClearedError
from graphql_app.interfaces import Added, Draft, Lease
from graphql_app.messages import Role, Status
from graphql_app.stores.rules import reply_to_the_same
from graphql_app.stores.sql.dialect import Dialect
from graphql_app.stores.sql.rows import (
    ITS_ID,
    ITS_OWNER,
    greatest,
    is_lease,
    is_message,
    its,
    was_cleared,
)
from graphql_app.stores.sql.steps import News, UndoError
from graphql_app.stores.sql.tables import conversations, messages


class Adding:
    """See `Store.add`."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._insert = dialect.insert_or_ignore(messages)
        now: BindParameter[int] = bindparam("now", type_=BigInteger)
        milliseconds: BindParameter[int] = bindparam("milliseconds", type_=BigInteger)
        number = greatest(conversations.c.sequence + 2, now)
        created_at = greatest(conversations.c.last_created_at + 2, milliseconds)
        # Makes or uses a conversation, and gives numbers and times to an exchange of two messages.
        self._use = dialect.insert_or_update(
            conversations,
            {
                "owner": ITS_OWNER,
                "id": ITS_ID,
                "sequence": now,
                "reset_at": 0,
                "used": now,
                "last_created_at": milliseconds,
                "updated_at": milliseconds,
            },
            {
                "sequence": number,
                "used": number,
                "last_created_at": created_at,
                "updated_at": greatest(conversations.c.updated_at, created_at),
            },
        ).returning(conversations.c.sequence, conversations.c.last_created_at)

    def add(self, connection: Connection, news: News, draft: Draft, lease: Lease) -> Added:
        """The step; it is undone if another process has just added the same message."""
        now = connection.scalar(select(self._dialect.now).where(exists().where(*is_lease(lease))))
        if now is None:
            raise FencedError(f"{lease} is not registered")
        row = connection.execute(select(messages).where(*is_message(draft.message))).one_or_none()
        if row is not None:
            newest = reply_to_the_same(draft, row.newest_reply, row.conversation, row.content)
            return Added(newest, created=newest == draft.reply)
        # From here on, the conversation is locked: its events get visible in their order.
        conversation = its(draft.conversation.owner, draft.conversation.id)
        number, created_at = connection.execute(
            self._use, {**conversation, "now": now, "milliseconds": now // 1_000}
        ).one()
        both = {"owner": draft.message.owner, "conversation": draft.conversation.id}
        user = {
            **both,
            "id": draft.message.id,
            "role": Role.USER.value,
            "status": Status.DONE.value,
            "content": draft.content,
            "created_at": created_at - 1,
            "reply_to": None,
            "newest_reply": draft.reply.id,
            "epoch": None,
            "renewals": None,
            "added": number - 1,
        }
        reply = {
            **both,
            "id": draft.reply.id,
            "role": Role.ASSISTANT.value,
            "status": Status.STREAMING.value,
            "content": "",
            "created_at": created_at,
            "reply_to": draft.message.id,
            "newest_reply": None,
            "epoch": lease.epoch,
            "renewals": draft.renewals,
            "added": number,
        }
        if not connection.execute(self._insert, user).rowcount:
            raise UndoError
        # Asked last: whoever adds and clears the same message meanwhile is done by now.
        if connection.scalar(select(exists().where(*was_cleared(draft.message)))):
            raise MessageClearedError(draft.message.id)
        connection.execute(insert(messages), reply)
        news.of(draft.conversation)
        return Added(draft.reply, created=True)
