"""Reading what is there. Where a snapshot matters, it is one statement."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeVar

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Integer,
    ScalarSelect,
    and_,
    bindparam,
    case,
    false,
    func,
    select,
    true,
    union_all,
)

from graphql_app.errors import FencedError, MessageClearedError, MessageNotFoundError
from graphql_app.interfaces import Events, Slice
from graphql_app.messages import (
    Conversation,
    ConversationRef,
    Message,
    MessageChanged,
    MessagesReset,
    Ref,
    Role,
)
from graphql_app.stores.rules import EVENTS_IN_A_READ, TITLE_FROM, title_of
from graphql_app.stores.sql.dialect import Dialect
from graphql_app.stores.sql.rows import (
    Cursor,
    Look,
    Place,
    are_in,
    are_listed,
    datetime_of,
    end_of,
    is_conversation,
    is_message,
    json_of,
    message_of,
    message_when,
    same,
    slice_of,
)
from graphql_app.stores.sql.tables import cleared, conversations, messages, pieces

T = TypeVar("T")


class Reading:
    """Each method is a step; see the method of the same name in `Store`."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        given = dialect.given("owner", "id", "after_offset")
        tail = dialect.joined(
            pieces.c.owner == given.c.owner,
            pieces.c.message == given.c.id,
            pieces.c.end_offset > given.c.after_offset,
        )
        self._tails = (
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
        text = dialect.joined(pieces.c.owner == messages.c.owner, pieces.c.message == messages.c.id)
        # Messages, with the text that each has in one and the same snapshot.
        self._whole = select(
            messages,
            case(
                (messages.c.epoch.is_(None), messages.c.content), else_=func.coalesce(text, "")
            ).label("text"),
        )
        given = dialect.given("owner", "id", "cursor")
        self._changed = (
            select(given.c.owner, given.c.id, given.c.cursor)
            .join(conversations, same(conversations, given))
            .where(conversations.c.sequence > given.c.cursor)
        )
        given = dialect.given("owner", "id")
        question, older = messages.alias("question"), messages.alias("older")
        last: BindParameter[int] = bindparam("last", type_=Integer)
        first_number = (
            select(older.c.replaced)
            .where(
                older.c.owner == given.c.owner,
                older.c.reply_to == given.c.id,
                older.c.replaced.is_not(None),
            )
            .order_by(older.c.replaced.desc())
            .offset(last - 1)
            .limit(1)
            .scalar_subquery()
        )
        replaced = select(messages.c.owner, messages.c.id).join(
            given,
            and_(
                messages.c.owner == given.c.owner,
                messages.c.reply_to == given.c.id,
                messages.c.replaced.is_not(None),
                messages.c.replaced >= func.coalesce(first_number, 0),
            ),
        )
        newest = select(question.c.owner, question.c.newest_reply).join(
            given, and_(same(question, given), question.c.newest_reply.is_not(None))
        )
        found = replaced.union_all(newest).subquery("found")
        # Of each question the newest `last` replies, or one more, oldest first.
        self._replies = self._whole.join(found, same(messages, found)).order_by(
            messages.c.replaced.asc().nulls_last()
        )
        given = dialect.given("owner", "id")
        self._cleared = select(cleared.c.owner, cleared.c.id).join(given, same(cleared, given))

    def time(self, connection: Connection) -> int:
        """The database's time, in microseconds since 1970."""
        return connection.execute(select(self._dialect.now)).scalar_one()

    # Replies.

    def slices(
        self, connection: Connection, places: Sequence[Place]
    ) -> list[Slice | MessageClearedError | MessageNotFoundError]:
        rows = self.tails(connection, places)
        missing = {place.ref for place in places if place not in rows}
        gone = self._cleared_of(connection, missing) if missing else set()
        return [
            slice_of(rows[place], place) if place in rows else _missing(place.ref, gone)
            for place in places
        ]

    def tails(self, connection: Connection, places: Iterable[Place]) -> dict[Place, Any]:
        """The rows of replies, with what follows an offset in each; one snapshot for all."""
        asked = [(place.ref.owner, place.ref.id, place.after_offset) for place in set(places)]
        return {
            Place(Ref(row.owner, row.id), row.after_offset): row
            for row in connection.execute(self._tails, {"given": json_of(asked)})
        }

    def reply(self, connection: Connection, ref: Ref) -> Any:
        """The row of a reply."""
        row = connection.execute(select(messages).where(*is_message(ref))).one_or_none()
        if row is None or row.role != Role.ASSISTANT:
            raise _missing(ref, self._cleared_of(connection, [ref]))
        return row

    def _cleared_of(self, connection: Connection, refs: Collection[Ref]) -> set[Ref]:
        asked = json_of([(ref.owner, ref.id) for ref in refs])
        rows = connection.execute(self._cleared, {"given": asked})
        return {Ref(row.owner, row.id) for row in rows}

    def newest_reply(self, connection: Connection, ref: Ref) -> Ref:
        statement = select(messages.c.newest_reply).where(*is_message(ref))
        row = connection.execute(statement).one_or_none()
        if row is None:
            raise MessageNotFoundError(ref.id)
        return Ref(ref.owner, row.newest_reply) if row.newest_reply else ref

    # Messages.

    def message(self, connection: Connection, ref: Ref) -> Message | None:
        row = connection.execute(self._whole.where(*is_message(ref))).one_or_none()
        return None if row is None else message_of(row, row.text)

    def messages(
        self, connection: Connection, conversation: ConversationRef, last: int, before: Ref | None
    ) -> tuple[Message, ...]:
        statement = self._newest_of(conversation).limit(last)
        if before is not None:
            added = connection.scalar(
                select(messages.c.added).where(*is_message(before), *are_in(conversation))
            )
            if added is None:
                raise MessageNotFoundError(before.id)
            statement = statement.where(messages.c.added < added)
        return _oldest_first(connection, statement)

    def replies(self, connection: Connection, looks: Sequence[Look]) -> list[tuple[Message, ...]]:
        found: dict[Look, list[Message]] = {look: [] for look in looks}
        for last in {look.last for look in looks}:
            asked = {(look.ref.owner, look.ref.id) for look in found if look.last == last}
            given = {"given": json_of(list(asked)), "last": last}
            for row in connection.execute(self._replies, given):
                look = Look(Ref(row.owner, row.reply_to), last)
                found[look].append(message_of(row, row.text))
        return [tuple(found[look][-look.last :]) for look in looks]

    def history(self, connection: Connection, ref: Ref) -> tuple[Message, ...]:
        reply = self.reply(connection, ref)
        if reply.epoch is None:
            raise FencedError(f"reply {ref.id!r} has ended")
        conversation = ConversationRef(ref.owner, reply.conversation)
        earlier = _oldest_first(
            connection, self._newest_of(conversation).where(messages.c.added < reply.added)
        )
        if reply.reply_to not in {message.id for message in earlier}:
            raise MessageClearedError(ref.id)
        return tuple(message for message in earlier if message.content)

    def _newest_of(self, conversation: ConversationRef) -> Any:
        return self._whole.where(*are_listed(conversation)).order_by(messages.c.added.desc())

    # Conversations.

    def conversations(
        self, connection: Connection, owner: str, first: int
    ) -> tuple[Conversation, ...]:
        created_at = _of_the_oldest(messages.c.created_at)
        beginning = _of_the_oldest(func.substr(messages.c.content, 1, TITLE_FROM + 1))
        statement = (
            select(
                conversations.c.id,
                conversations.c.updated_at,
                created_at.label("created_at"),
                beginning.label("beginning"),
            )
            .where(conversations.c.owner == owner, created_at.is_not(None))
            .order_by(conversations.c.used.desc())
            .limit(first)
        )
        return tuple(
            Conversation(
                id=row.id,
                title=title_of(row.beginning),
                created_at=datetime_of(row.created_at),
                updated_at=datetime_of(row.updated_at),
            )
            for row in connection.execute(statement)
        )

    def events(
        self, connection: Connection, conversation: ConversationRef, cursor: int | None, last: int
    ) -> Events:
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

    def changed(self, connection: Connection, cursors: Sequence[Cursor]) -> list[bool]:
        """Whether anything happened in conversations since then."""
        asked = [(each.conversation.owner, each.conversation.id, each.number) for each in cursors]
        changed = {
            Cursor(ConversationRef(row.owner, row.id), row.cursor)
            for row in connection.execute(self._changed, {"given": json_of(asked)})
        }
        return [cursor in changed for cursor in cursors]

    def _since(self, connection: Connection, conversation: ConversationRef, cursor: int) -> Events:
        # Whoever was replaced came, and ended, before the conversation started over for that.
        added = select(messages, messages.c.added.label("number"), false().label("is_end")).where(
            *are_listed(conversation), messages.c.added > cursor
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
        newest = self._newest_of(conversation).limit(last).subquery()
        rows = connection.execute(
            select(conversations.c.sequence.label("cursor"), newest)
            .select_from(conversations.outerjoin(newest, true()))
            .where(*is_conversation(conversation))
            .order_by(newest.c.added)
        ).all()
        found = tuple(message_of(row, row.text) for row in rows if row.added is not None)
        return Events((MessagesReset(conversation.id, found),), rows[0].cursor if rows else 0)


def _of_the_oldest(value: ColumnElement[T]) -> ScalarSelect[T]:
    """What the oldest listed message of a conversation has."""
    return (
        select(value)
        .where(
            messages.c.owner == conversations.c.owner,
            messages.c.conversation == conversations.c.id,
            messages.c.replaced.is_(None),
        )
        .order_by(messages.c.added)
        .limit(1)
        .scalar_subquery()
    )


def _missing(ref: Ref, cleared: Collection[Ref]) -> MessageClearedError | MessageNotFoundError:
    return MessageClearedError(ref.id) if ref in cleared else MessageNotFoundError(ref.id, "reply")


def _oldest_first(
    connection: Connection, newest_first: Any, parameters: dict[str, Any] | None = None
) -> tuple[Message, ...]:
    rows = connection.execute(newest_first, parameters).all()
    return tuple(message_of(row, row.text) for row in reversed(rows))
