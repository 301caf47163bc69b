"""Strawberry as its documentation shows it: subscriptions are async generators of objects."""

from collections.abc import AsyncGenerator

import strawberry
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from strawberry.asgi import GraphQL

from benchmarks.peers import chat


@strawberry.type
class MessageError:
    code: str
    message: str


@strawberry.type
class Message:
    id: strawberry.ID
    role: str
    content: str
    status: str


@strawberry.type
class StreamChunk:
    message_id: strawberry.ID
    offset: int
    text: str
    status: str
    error: MessageError | None = None


@strawberry.input
class MessageInput:
    id: strawberry.ID
    content: str
    conversation_id: strawberry.ID


@strawberry.input
class ResumeInput:
    id: strawberry.ID
    content: str


@strawberry.type
class Query:
    @strawberry.field
    def messages(self, conversation_id: strawberry.ID, last: int) -> list[Message]:
        return [
            Message(
                id=strawberry.ID(each.id), role=each.role, content=each.text, status=each.status
            )
            for each in chat.conversations[conversation_id][-last:]
        ]


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def send_message(self, message: MessageInput) -> AsyncGenerator[StreamChunk, None]:
        reply = chat.add(message.id, message.conversation_id, message.content)
        id, offset = strawberry.ID(reply.id), 0
        words = chat.produce(reply, message.content)
        yield StreamChunk(message_id=id, offset=0, text="", status="STREAMING")
        while word := await words.get():
            yield StreamChunk(message_id=id, offset=offset, text=word, status="STREAMING")
            offset += len(word)
        yield StreamChunk(message_id=id, offset=offset, text="", status="DONE")

    @strawberry.subscription
    async def resume_message(self, message: ResumeInput) -> AsyncGenerator[StreamChunk, None]:
        reply = chat.messages[message.id]
        async for offset, text, status in chat.follow(reply, message.content):
            yield StreamChunk(
                message_id=strawberry.ID(reply.id), offset=offset, text=text, status=status
            )


schema = strawberry.Schema(query=Query, subscription=Subscription)
app = Starlette(routes=[WebSocketRoute("/graphql", GraphQL(schema))])
