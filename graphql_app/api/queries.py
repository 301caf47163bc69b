"""Query: what is stored."""

from typing import cast

import strawberry

from graphql_app.api.context import Info
from graphql_app.api.types import DEFAULT_CONVERSATION, Conversation, Message, given


@strawberry.type
class Query:
    @strawberry.field(
        description=(
            "The messages of a conversation, oldest first: the `last` so many (1,000 if not said, "
            "and at\nmost) of those older than the message `before`. Fewer means that there are "
            "no older ones."
        )
    )
    async def messages(
        self,
        info: Info,
        conversation_id: strawberry.ID = DEFAULT_CONVERSATION,
        last: int | None = strawberry.UNSET,
        before: strawberry.ID | None = strawberry.UNSET,
    ) -> list[Message]:
        context = info.context
        found = await context.chat.messages(
            context.owner, conversation_id, last=given(last), before=given(before)
        )
        return cast(list[Message], found)

    @strawberry.field
    async def message(self, info: Info, id: strawberry.ID) -> Message | None:
        found = await info.context.chat.message(info.context.owner, id)
        return cast(Message | None, found)

    @strawberry.field(description="The conversations that have messages, most recently used first.")
    async def conversations(
        self, info: Info, first: int | None = strawberry.UNSET
    ) -> list[Conversation]:
        found = await info.context.chat.conversations(info.context.owner, first=given(first))
        return cast(list[Conversation], found)
