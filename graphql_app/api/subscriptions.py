"""Subscription: sending, resuming, and watching a conversation.

Each resolver does what can be refused, and then returns its stream: an error that it raises ends
the operation as an error, while one raised by a stream that was returned would look like data.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

import strawberry

from graphql_app import messages as domain
from graphql_app.api.context import Info
from graphql_app.api.types import (
    DEFAULT_CONVERSATION,
    ConversationEvent,
    MessageInput,
    ResumeInput,
    StreamChunk,
    conversation_event,
    given,
)


@strawberry.type
class Subscription:
    @strawberry.subscription(
        description=(
            "Stores the user's message, starts the reply and streams it. The reply goes on being "
            "produced\nand stored when the client leaves."
        )
    )
    async def send_message(
        self, info: Info, message: MessageInput
    ) -> AsyncGenerator[StreamChunk, None]:
        context = info.context
        chunks = await context.chat.send(
            context.owner, message.id, message.conversation_id, message.content
        )
        return cast(AsyncGenerator[StreamChunk, None], chunks)

    @strawberry.subscription(description="Streams a reply from where the client is, up to its end.")
    async def resume_message(
        self, info: Info, message: ResumeInput
    ) -> AsyncGenerator[StreamChunk, None]:
        context = info.context
        chunks = await context.chat.resume(
            context.owner,
            message.id,
            content=given(message.content),
            offset=given(message.offset),
        )
        return cast(AsyncGenerator[StreamChunk, None], chunks)

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
        return _shown(await context.chat.events(context.owner, conversation_id))


async def _shown(
    events: AsyncGenerator[domain.MessagesReset | domain.MessageChanged, None],
) -> AsyncGenerator[ConversationEvent, None]:
    async with aclosing(events):
        async for event in events:
            yield conversation_event(event)
