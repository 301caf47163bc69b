"""Adding a message and its reply, or another reply to it, once."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Connection,
    bindparam,
    exists,
    func,
    insert,
    select,
    update,
)

from graphql_app.errors import (
    FencedError,
    MessageClearedError,
    MessageNotFoundError,
    ReplyStreamingError,
)
from graphql_app.interfaces import Added, Draft, Lease, ReplyDraft
from graphql_app.messages import ConversationRef, Ref, Role, Status
from graphql_app.stores.rules import reply_to_the_same, the_same_reply
from graphql_app.stores.sql.dialect import Dialect
from graphql_app.stores.sql.rows import (
    ITS_ID,
    ITS_OWNER,
    greatest,
    is_conversation,
    is_lease,
    is_message,
    its,
    was_cleared,
)
from graphql_app.stores.sql.steps import News, UndoError
from graphql_app.stores.sql.tables import conversations, messages


class Adding:
    """See `Store.add` and `Store.add_reply`."""

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
        now = self._time_under(connection, lease)
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
        if self._was_cleared(connection, draft.message):
            raise MessageClearedError(draft.message.id)
        connection.execute(insert(messages), reply)
        news.of(draft.conversation)
        return Added(draft.reply, created=True)

    def add_reply(
        self, connection: Connection, news: News, draft: ReplyDraft, lease: Lease
    ) -> Added:
        """The step; it is undone if somebody else has just used the reply's id."""
        now = self._time_under(connection, lease)
        # From here on, the conversation is locked: no reply in it is added, ends or is removed.
        conversation = connection.execute(
            select(conversations)
            .join(
                messages,
                (messages.c.owner == conversations.c.owner)
                & (messages.c.conversation == conversations.c.id),
            )
            .where(*is_message(draft.message))
            .with_for_update(of=conversations, key_share=True)
        ).one_or_none()
        before = self._newest_reply(connection, draft.message)
        if conversation is None or before is None:
            if self._was_cleared(connection, draft.message):
                raise MessageClearedError(draft.message.id)
            raise MessageNotFoundError(draft.message.id)
        row = connection.execute(select(messages).where(*is_message(draft.reply))).one_or_none()
        if row is not None:
            return the_same_reply(draft, before.reply_to, reply_to=row.reply_to, token=row.token)
        has_ended = before.epoch is None
        if has_ended:
            number = max(conversation.sequence + 1, now)
            self._replace(connection, before, number, draft, lease)
            ref = ConversationRef(conversation.owner, conversation.id)
            connection.execute(
                update(conversations)
                .where(*is_conversation(ref))
                .values(
                    sequence=number,
                    reset_at=number,
                    used=number,
                    updated_at=max(conversation.updated_at, now // 1_000),
                )
            )
            news.of(ref)
        # Asked last: whoever adds and clears the same reply meanwhile is done by now.
        if self._was_cleared(connection, draft.reply):
            raise MessageClearedError(draft.reply.id)
        if not has_ended:
            raise ReplyStreamingError(before.id)
        return Added(draft.reply, created=True)

    def _replace(
        self, connection: Connection, before: Any, number: int, draft: ReplyDraft, lease: Lease
    ) -> None:
        """Puts another reply in the place of one that has ended."""
        owner = before.owner
        connection.execute(
            update(messages).where(*is_message(Ref(owner, before.id))).values(replaced=number)
        )
        reply = {
            "owner": owner,
            "conversation": before.conversation,
            "id": draft.reply.id,
            "role": Role.ASSISTANT.value,
            "status": Status.STREAMING.value,
            "content": "",
            "created_at": before.created_at,
            "reply_to": before.reply_to,
            "newest_reply": None,
            "epoch": lease.epoch,
            "renewals": draft.renewals,
            "added": before.added,
            "token": draft.token,
        }
        if not connection.execute(self._insert, reply).rowcount:
            raise UndoError
        connection.execute(
            update(messages)
            .where(*is_message(Ref(owner, before.reply_to)))
            .values(newest_reply=draft.reply.id)
        )

    def _time_under(self, connection: Connection, lease: Lease) -> int:
        """The database's time, while there is such a lease."""
        now = connection.scalar(select(self._dialect.now).where(exists().where(*is_lease(lease))))
        if now is None:
            raise FencedError(f"{lease} is not registered")
        return now

    def _newest_reply(self, connection: Connection, ref: Ref) -> Any:
        """The newest reply to a user's message: to `ref`, or to what that replies to."""
        question, newest = messages.alias("question"), messages.alias("newest")
        id = select(func.coalesce(messages.c.reply_to, messages.c.id)).where(*is_message(ref))
        return connection.execute(
            select(newest)
            .join(
                question,
                (question.c.owner == newest.c.owner) & (question.c.newest_reply == newest.c.id),
            )
            .where(question.c.owner == ref.owner, question.c.id == id.scalar_subquery())
        ).one_or_none()

    def _was_cleared(self, connection: Connection, ref: Ref) -> bool:
        return bool(connection.scalar(select(exists().where(*was_cleared(ref)))))
