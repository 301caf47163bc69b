"""Subscription: sending, asking again, resuming, and watching a conversation.

Each resolver does what can be refused, and then returns its stream: an error that it raises ends
the operation as an error; one raised by the returned stream arrives as a result with null data.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import strawberry

from graphql_app import messages as domain
from graphql_app.api.context import Info
from graphql_app.api.types import (
    DEFAULT_CONVERSATION,
    ConversationEvent,
    MessageInput,
    RegenerateInput,
    ResumeInput,
    StreamChunk,
    conversation_event,
    given,
)
from graphql_app.follower import Following


@strawberry.type
class Subscription:
    @strawberry.subscription(
        graphql_type=AsyncGenerator[StreamChunk, None],
        description=(
            "Stores the user's message, starts the reply and streams it. The reply goes on being "
            "produced\nand stored when the client leaves."
        ),
    )
    async def send_message(self, info: Info, message: MessageInput) -> Following:
        context = info.context
        context.about(message=message.id, conversation=message.conversation_id)
        chunks = await context.chat.send(
            context.owner, message.id, message.conversation_id, message.content, context.toll
        )
        context.about(reply=chunks.ref.id)
        context.sent()
        return chunks

    @strawberry.subscription(
        graphql_type=AsyncGenerator[StreamChunk, None],
        description=(
            "Starts another reply to a user message and streams it. It takes the place of the "
            "newest one in lists,\nand in what later replies answer; the user message stays as "
            "it is, and older replies can still be read\nby their ids. Refused with "
            "REPLY_STREAMING while the newest reply streams."
        ),
    )
    async def regenerate_message(self, info: Info, message: RegenerateInput) -> Following:
        context = info.context
        context.about(message=message.message_id, reply=message.id)
        chunks = await context.chat.regenerate(
            context.owner, message.id, message.message_id, context.toll
        )
        context.sent()
        return chunks

    @strawberry.subscription(
        graphql_type=AsyncGenerator[StreamChunk, None],
        description="Streams a reply from where the client is, up to its end.",
    )
    async def resume_message(self, info: Info, message: ResumeInput) -> Following:
        context = info.context
        context.about(reply=message.id)
        return await context.chat.resume(
            context.owner,
            message.id,
            content=given(message.content),
            offset=given(message.offset),
        )

    @strawberry.subscription(
        description=(
            "A conversation as it is and then as it changes, so that every open window shows the "
            "same. Text\nthat grows is not announced here: follow the replies that are STREAMING "
            "with resumeMessage."
        )
    )
    async def conversation_events(
        self, info: Info, conversation_id: strawberry.ID = DEFAULT_CONVERSATION
    ) -> AsyncGenerator[ConversationEvent, None]:
        context = info.context
        context.about(conversation=conversation_id)
        return _shown(await context.chat.events(context.owner, conversation_id))


async def _shown(
    events: AsyncGenerator[domain.ConversationEvent, None],
) -> AsyncGenerator[ConversationEvent, None]:
    async with aclosing(events):
        async for event in events:
            yield conversation_event(event)
            del event  # A reset is large, and nobody needs it while this waits.
