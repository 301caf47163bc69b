"""Removing messages: all of a conversation, or those whose time is over."""

from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    delete,
    exists,
    literal,
    select,
    true,
    update,
)

from graphql_app.messages import ConversationRef, Ref, Role
from graphql_app.stores.sql.dialect import Dialect
from graphql_app.stores.sql.leasing import notify_holders
from graphql_app.stores.sql.reading import Reading
from graphql_app.stores.sql.rows import (
    ITS_ID,
    ITS_OWNER,
    are_in,
    greatest,
    is_conversation,
    its,
    json_of,
)
from graphql_app.stores.sql.steps import News, UndoError
from graphql_app.stores.sql.tables import cleared, conversations, messages, pieces


class Removing:
    """Each method is a step."""

    def __init__(self, dialect: Dialect, reading: Reading) -> None:
        self._dialect = dialect
        self._reading = reading
        given = dialect.given("id")
        self._are_given = messages.c.id.in_(select(given.c.id))
        self._reply_to_given = messages.c.reply_to.in_(select(given.c.id))

    def remove(
        self,
        connection: Connection,
        news: News,
        conversation: ConversationRef,
        expired: Collection[str] | None = None,
    ) -> int:
        """Removes all messages of a conversation, or those that go with replies that expired.

        Returns how many. Their ids stay used, and windows that showed any of them start over. It is
        undone if there are none.
        """
        now = self._reading.time(connection)
        connection.execute(
            select(conversations.c.id)
            .where(*is_conversation(conversation))
            .with_for_update(key_share=True)
        )
        # Nothing is added to the conversation now, and nothing of it ends; but it may still grow.
        these = (*are_in(conversation), true() if expired is None else self._are_given)
        given = _given(() if expired is None else self._all_with(connection, conversation, expired))
        removed = connection.execute(
            select(messages.c.id, messages.c.role, messages.c.epoch, messages.c.replaced)
            .where(*these)
            .order_by(messages.c.owner, messages.c.id)
            .with_for_update(),
            given,
        ).all()
        if not removed:
            raise UndoError
        gone = select(messages.c.owner, messages.c.id, literal(now // 1_000)).where(*these)
        connection.execute(
            self._dialect.insert_or_ignore(cleared).from_select(
                ["owner", "id", "cleared_at"], gone
            ),
            given,
        )
        connection.execute(delete(messages).where(*these), given)
        streaming = [row for row in removed if row.epoch is not None]
        connection.execute(
            delete(pieces).where(
                pieces.c.owner == conversation.owner,
                pieces.c.message.in_([row.id for row in streaming]),
            )
        )
        if any(row.replaced is None for row in removed):
            number = greatest(conversations.c.sequence + 1, now)
            connection.execute(
                update(conversations)
                .where(*is_conversation(conversation))
                .values(sequence=number, reset_at=number)
            )
            news.of(conversation)
        news.of(*(Ref(conversation.owner, row.id) for row in removed if row.role == Role.ASSISTANT))
        notify_holders(connection, news, (row.epoch for row in streaming))
        return len(removed)

    def _all_with(
        self, connection: Connection, conversation: ConversationRef, replies: Collection[str]
    ) -> set[str]:
        """Replies, and with the newest to a message that and all others to it."""
        found = connection.execute(
            select(messages.c.id, messages.c.reply_to, messages.c.replaced).where(
                *are_in(conversation), self._are_given
            ),
            _given(replies),
        ).all()
        questions = {row.reply_to for row in found if row.replaced is None}
        others = select(messages.c.id).where(
            messages.c.owner == conversation.owner,
            self._reply_to_given,
            messages.c.replaced.is_not(None),
        )
        return {
            *(row.id for row in found),
            *questions,
            *connection.scalars(others, _given(questions)),
        }

    # What was kept long enough.

    def expired(
        self, connection: Connection, keep: timedelta, most: int
    ) -> dict[ConversationRef, set[str]]:
        """Replies that ended longer ago than they are kept."""
        statement = (
            select(messages.c.owner, messages.c.conversation, messages.c.id)
            .where(messages.c.ended_at < self._ago(connection, keep) // 1_000)
            .order_by(messages.c.ended_at)
            .limit(most)
        )
        found: dict[ConversationRef, set[str]] = {}
        for row in connection.execute(statement):
            found.setdefault(ConversationRef(row.owner, row.conversation), set()).add(row.id)
        return found

    def forget_ids(self, connection: Connection, after: timedelta, most: int) -> bool:
        """Forgets ids that were cleared long ago; returns whether there may be more."""
        long_ago = self._ago(connection, after)
        return self._forget(connection, cleared, most, cleared.c.cleared_at < long_ago // 1_000)

    def forget_conversations(self, connection: Connection, after: timedelta, most: int) -> bool:
        """Forgets conversations that were emptied long ago; returns whether there may be more."""
        has_messages = exists().where(
            messages.c.owner == conversations.c.owner,
            messages.c.conversation == conversations.c.id,
        )
        return self._forget(
            connection,
            conversations,
            most,
            # The first condition is that of the index.
            conversations.c.reset_at > conversations.c.used,
            conversations.c.reset_at < self._ago(connection, after),
            ~has_messages,
        )

    def _ago(self, connection: Connection, time: timedelta) -> int:
        """When that time ago was, in microseconds; a number, by which an index can be searched."""
        return self._reading.time(connection) - time // timedelta(microseconds=1)

    def _forget(
        self, connection: Connection, table: Table, most: int, *is_old: ColumnElement[bool]
    ) -> bool:
        # Others may do the same at this moment: each takes what is left.
        found = connection.execute(
            select(table.c.owner, table.c.id)
            .where(*is_old)
            .limit(most)
            .with_for_update(skip_locked=True)
        ).all()
        if found:
            connection.execute(
                delete(table).where(table.c.owner == ITS_OWNER, table.c.id == ITS_ID),
                [its(row.owner, row.id) for row in found],
            )
        return len(found) == most


def _given(ids: Iterable[str]) -> dict[str, Any]:
    return {"given": json_of([(id,) for id in ids])}
