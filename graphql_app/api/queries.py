"""Query: what is stored."""

from collections.abc import Sequence

import strawberry

from graphql_app import messages as domain
from graphql_app.api.context import Info
from graphql_app.api.portions import in_portions
from graphql_app.api.types import DEFAULT_CONVERSATION, Conversation, Message, given


@strawberry.type
class Query:
    @strawberry.field(
        graphql_type=list[Message],
        description=(
            "The messages of a conversation, oldest first: the `last` so many (1,000 if not said, "
            "and at\nmost) of those older than the message `before`. Fewer means that there are "
            "no older ones."
        ),
    )
    async def messages(
        self,
        info: Info,
        conversation_id: strawberry.ID = DEFAULT_CONVERSATION,
        last: int | None = strawberry.UNSET,
        before: strawberry.ID | None = strawberry.UNSET,
    ) -> Sequence[domain.Message]:
        context = info.context
        context.about(conversation=conversation_id)
        return in_portions(
            await context.chat.messages(
                context.owner, conversation_id, last=given(last), before=given(before)
            )
        )

    @strawberry.field(graphql_type=Message | None)
    async def message(self, info: Info, id: strawberry.ID) -> domain.Message | None:
        info.context.about(message=id)
        return await info.context.chat.message(info.context.owner, id)

    @strawberry.field(
        graphql_type=list[Conversation],
        description="The conversations that have messages, most recently used first.",
    )
    async def conversations(
        self, info: Info, first: int | None = strawberry.UNSET
    ) -> Sequence[domain.Conversation]:
        return in_portions(
            await info.context.chat.conversations(info.context.owner, first=given(first))
        )
