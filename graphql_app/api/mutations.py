"""Mutation: stopping and clearing."""

import strawberry

from graphql_app import messages as domain
from graphql_app.api.context import Info
from graphql_app.api.types import DEFAULT_CONVERSATION, Message


@strawberry.type
class Mutation:
    @strawberry.mutation(
        description=(
            "Removes a conversation's messages, stops what is still streaming in it and ends its "
            "followers.\nReturns how many were removed."
        )
    )
    async def clear_messages(
        self, info: Info, conversation_id: strawberry.ID = DEFAULT_CONVERSATION
    ) -> int:
        info.context.about(conversation=conversation_id)
        return await info.context.chat.clear(info.context.owner, conversation_id)

    @strawberry.mutation(
        graphql_type=Message,
        description=(
            "Ends a reply now, whoever produces it and wherever; returns it with its final text. "
            "Takes the\nreply's id, or that of the user message it answers. On a reply that has "
            "ended it changes nothing\nand returns the reply."
        ),
    )
    async def stop_message(self, info: Info, id: strawberry.ID) -> domain.Message:
        info.context.about(message=id)
        return await info.context.chat.stop(info.context.owner, id)
