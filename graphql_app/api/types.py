"""The types of the public schema.

Objects of `graphql_app.messages` are resolved by attribute; the output classes here describe them
for the schema and are not made.
"""

import enum
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, TypeVar, cast

import strawberry

from graphql_app import messages as domain
from graphql_app.api.context import Info
from graphql_app.api.portions import in_portions

DateTime = strawberry.scalar(
    name="DateTime",
    description="An instant in UTC, ISO 8601 with offset.",
    serialize=lambda at: at.astimezone(UTC).isoformat(timespec="milliseconds"),
    parse_value=datetime.fromisoformat,
)

DEFAULT_CONVERSATION = strawberry.ID("default")

T = TypeVar("T")


def given(value: T | None) -> T | None:
    """An optional argument; explicit null means absent."""
    return None if value is strawberry.UNSET else value


@strawberry.enum(description="Closed: `messages` shows only these two.")
class MessageRole(enum.Enum):
    USER = "USER"
    ASSISTANT = "ASSISTANT"


@strawberry.enum(
    description=(
        "The life of a message. A user's message is DONE from the start; a reply starts STREAMING "
        "and\nends in exactly one of the others, for good. Closed: finer states will be fields of "
        "their own."
    )
)
class MessageStatus(enum.Enum):
    STREAMING = strawberry.enum_value(
        "STREAMING", description="The completion still runs; more text may come."
    )
    DONE = strawberry.enum_value("DONE", description="The completion ran to its end.")
    STOPPED = strawberry.enum_value(
        "STOPPED", description="Somebody called stopMessage; the text so far is the final text."
    )
    ERROR = strawberry.enum_value(
        "ERROR",
        description="The completion could not go on; the text so far is kept and `error` says why.",
    )


@strawberry.enum(description="Open: treat a code that you don't know as COMPLETION_FAILED.")
class MessageErrorCode(enum.Enum):
    COMPLETION_FAILED = strawberry.enum_value(
        "COMPLETION_FAILED", description="The completion provider refused or broke off."
    )
    COMPLETION_TIMEOUT = strawberry.enum_value(
        "COMPLETION_TIMEOUT",
        description="The provider sent nothing for longer than the configured time.",
    )
    REPLY_TOO_LONG = strawberry.enum_value(
        "REPLY_TOO_LONG", description="The reply reached the configured maximum length."
    )
    PRODUCER_LOST = strawberry.enum_value(
        "PRODUCER_LOST",
        description="The process that produced the reply died or lost its lease.",
    )
    SERVER_SHUTDOWN = strawberry.enum_value(
        "SERVER_SHUTDOWN",
        description="The process was shut down before the reply was complete.",
    )
    COMPLETION_REFUSED = strawberry.enum_value(
        "COMPLETION_REFUSED",
        description="The provider refused to answer this, for what it says.",
    )
    COMPLETION_RATE_LIMITED = strawberry.enum_value(
        "COMPLETION_RATE_LIMITED",
        description="The provider takes no more requests at the moment; try again later.",
    )
    COMPLETION_QUOTA_EXCEEDED = strawberry.enum_value(
        "COMPLETION_QUOTA_EXCEEDED",
        description="What the provider allows, or was paid for, is used up.",
    )
    COMPLETION_UNAUTHORIZED = strawberry.enum_value(
        "COMPLETION_UNAUTHORIZED",
        description="The provider does not accept the server's key.",
    )
    COMPLETION_MODEL_NOT_FOUND = strawberry.enum_value(
        "COMPLETION_MODEL_NOT_FOUND",
        description="The provider does not have the configured model.",
    )
    COMPLETION_INPUT_TOO_LONG = strawberry.enum_value(
        "COMPLETION_INPUT_TOO_LONG",
        description="The conversation is longer than the model can read.",
    )
    COMPLETION_UNREACHABLE = strawberry.enum_value(
        "COMPLETION_UNREACHABLE",
        description="The provider cannot be reached, or cannot answer at the moment.",
    )
    COMPLETION_BROKEN_OFF = strawberry.enum_value(
        "COMPLETION_BROKEN_OFF",
        description="The provider broke off in the middle of its answer.",
    )


@strawberry.type
class MessageError:
    code: MessageErrorCode
    message: str = strawberry.field(description="For people; carries no secrets and no stack.")


@strawberry.type(description="What a reply took. Null is what nobody knows.")
class Usage:
    model: str | None = strawberry.field(description="The model's name, as its provider says it.")
    input_tokens: int | None = strawberry.field(
        description="As the provider counts them: the conversation that it was given."
    )
    output_tokens: int | None = strawberry.field(
        description="As the provider counts them: what it said."
    )
    time_to_first_token: float | None = strawberry.field(
        description="Seconds from the provider's call to the first text."
    )
    duration: float | None = strawberry.field(
        description="Seconds from the provider's call to the end of its answer."
    )


@strawberry.type
class Message:
    id: strawberry.ID = strawberry.field(description="Never used again, not even after a clear.")
    conversation_id: strawberry.ID
    role: MessageRole
    content: str = strawberry.field(
        description=(
            "The text, and nothing but it: reasoning or tool output, should they come, have "
            "fields of their own."
        )
    )
    status: MessageStatus
    created_at: datetime = strawberry.field(
        description="Strictly increasing within a conversation, by whole milliseconds: sort by it."
    )
    reply_to_id: strawberry.ID | None = strawberry.field(
        description=(
            "The user message that this one answers; null on a user message. Several replies may "
            "answer one."
        )
    )
    error: MessageError | None = strawberry.field(description="Set exactly when status is ERROR.")
    usage: Usage | None = strawberry.field(
        description=(
            "Null on a user message, while the reply streams, and where nobody could tell. Of a "
            "reply that was\nstopped it may come a moment after its end, without an event."
        )
    )

    @strawberry.field(
        graphql_type=list["Message"],
        description=(
            "All replies to a user message, oldest first, at most the newest 1,000. The last one "
            "is the reply\nthat lists show. Empty on a reply."
        ),
    )
    async def replies(
        parent: strawberry.Parent[domain.Message],  # noqa: N805 - Strawberry gives no self.
        info: Info,
    ) -> Sequence[domain.Message]:
        if parent.role is domain.Role.ASSISTANT:
            return ()
        return in_portions(await info.context.chat.replies(info.context.owner, parent.id))


@strawberry.type
class Conversation:
    id: strawberry.ID
    title: str = strawberry.field(
        description="How its first message begins: one line of at most 80 characters."
    )
    created_at: datetime
    updated_at: datetime = strawberry.field(description="When its last message was added or ended.")


@strawberry.type(
    description="""\
A piece of a reply. A client keeps the reply's text with one rule, whatever it has missed,
received twice, or had wrong:

    content = content.slice(0, offset) + text

While a client follows a reply, this stream owns the reply's text. An offset beyond what the client
has means that it lost something: resume with `content`. A stream ends after its one chunk with a
final status, or with an error; if it just completes, it was cut: resume."""
)
class StreamChunk:
    message_id: strawberry.ID = strawberry.field(
        description="The reply's id, known from the first chunk on, before the first word."
    )
    offset: int = strawberry.field(
        description=(
            "Where `text` belongs in the reply, in UTF-16 code units: what JavaScript's length "
            "counts."
        )
    )
    text: str = strawberry.field(
        description=(
            "The words that the client lacks, separators included. May be empty, on a new "
            "reply's first chunk always."
        )
    )
    status: MessageStatus
    error: MessageError | None


@strawberry.input(
    description=(
        "A message the user sends. Sending one id again joins the reply already under way."
    )
)
class MessageInput:
    id: strawberry.ID = strawberry.field(
        description=(
            "Made by the client: 1 to 128 characters. Used once, for good: repeating the send "
            "joins its reply,\nand after a clear it is refused with MESSAGE_CLEARED."
        )
    )
    content: str
    conversation_id: strawberry.ID = DEFAULT_CONVERSATION


@strawberry.input(
    description=(
        "Asks for another reply to a user message. Asking with one id again joins the reply "
        "already under way."
    )
)
class RegenerateInput:
    id: strawberry.ID = strawberry.field(
        description=(
            "The new reply's id, made by the client: 1 to 128 characters. Used once, for good: "
            "asking again joins\nthe reply, and after a clear it is refused with MESSAGE_CLEARED."
        )
    )
    message_id: strawberry.ID = strawberry.field(
        description="The user message, or one of its replies."
    )


@strawberry.input(
    description=(
        "A reply and how much of it the client has. Give content or offset, not both; neither "
        "means nothing."
    )
)
class ResumeInput:
    id: strawberry.ID = strawberry.field(description="The reply's id.")
    content: str | None = strawberry.field(
        default=strawberry.UNSET,
        description=(
            "The text that the client shows. The server checks it, and resumes where it stops "
            "being right."
        ),
    )
    offset: int | None = strawberry.field(
        default=strawberry.UNSET,
        description="How much the client has, unchecked, in UTF-16 code units.",
    )


@strawberry.type(description="A message was added, or reached its final status.")
class MessageChanged:
    message: Message


@strawberry.type(
    description="""\
Start over: these are the messages of the conversation, oldest first, the `last` so many (1,000 if
not said, and at most). Comes first on every subscription, after a clear, and whenever single \
changes cannot say what happened."""
)
class MessagesReset:
    conversation_id: strawberry.ID
    reset: strawberry.Private[domain.MessagesReset]

    @strawberry.field(graphql_type=list[Message])
    def messages(self, info: Info, last: int | None = strawberry.UNSET) -> Sequence[domain.Message]:
        return in_portions(info.context.chat.newest(self.reset.messages, given(last)))


ConversationEvent = Annotated[
    MessagesReset | MessageChanged, strawberry.union(name="ConversationEvent")
]


def conversation_event(event: domain.ConversationEvent) -> MessagesReset | MessageChanged:
    """An event as the union of the schema has it, which needs to know its type."""
    if isinstance(event, domain.MessagesReset):
        return MessagesReset(conversation_id=strawberry.ID(event.conversation_id), reset=event)
    return MessageChanged(message=cast(Message, event.message))
