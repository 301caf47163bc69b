"""The gql library as its users write it, without any code of ours."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from gql import Client, GraphQLRequest, gql
from gql.client import AsyncClientSession
from gql.transport.exceptions import TransportQueryError
from gql.transport.websockets import WebsocketsTransport

from tests.processes import ServerProcess

SEND = """
    subscription Send($message: MessageInput!) {
      sendMessage(message: $message) { messageId offset text status error { code } }
    }
"""


@pytest.fixture
async def session(server: ServerProcess) -> AsyncIterator[AsyncClientSession]:
    async with Client(transport=WebsocketsTransport(url=server.url)) as session:
        yield session


def request(text: str, **variables: Any) -> GraphQLRequest:
    return GraphQLRequest(text, variable_values=variables)


async def test_a_query_and_a_mutation_are_executed(session: AsyncClientSession) -> None:
    query = gql('{ messages(conversationId: "empty") { id } }')
    assert await session.execute(query) == {"messages": []}
    mutation = gql('mutation { clearMessages(conversationId: "empty") }')
    assert await session.execute(mutation) == {"clearMessages": 0}


async def test_a_message_is_sent_and_its_reply_put_together(session: AsyncClientSession) -> None:
    content, text, chunk = "one two  three \u56db", "", {}
    message = {"id": uuid4().hex, "content": content}
    async for result in session.subscribe(request(SEND, message=message)):
        chunk = result["sendMessage"]
        text = text[: chunk["offset"]] + chunk["text"]
    assert (text, chunk["status"], chunk["error"]) == (content, "DONE", None)


async def test_several_subscriptions_share_one_connection(session: AsyncClientSession) -> None:
    events = session.subscribe(gql("subscription { conversationEvents { __typename } }"))
    kinds = [(await anext(events))["conversationEvents"]["__typename"]]
    message = {"id": uuid4().hex, "content": "x"}
    async for _ in session.subscribe(request(SEND, message=message)):
        pass
    kinds += [(await anext(events))["conversationEvents"]["__typename"] for _ in range(3)]
    assert kinds == ["MessagesReset"] + ["MessageChanged"] * 3
    await events.aclose()
    assert await session.execute(gql("{ __typename }")) == {"__typename": "Query"}


async def test_a_refusal_is_an_error_with_its_code_and_the_connection_goes_on(
    session: AsyncClientSession,
) -> None:
    for text, code in (
        ('subscription { resumeMessage(message: {id: "none"}) { text } }', "MESSAGE_NOT_FOUND"),
        (
            'subscription { sendMessage(message: {id: "", content: "x"}) { text } }',
            "BAD_USER_INPUT",
        ),
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
    ):
        with pytest.raises(TransportQueryError) as refused:
            async for _ in session.subscribe(gql(text)):
                pass
        assert refused.value.errors is not None
        assert refused.value.errors[0]["extensions"] == {"code": code}
    with pytest.raises(TransportQueryError):
        await session.execute(gql('mutation { stopMessage(id: "none") { id } }'))
    assert await session.execute(gql("{ __typename }")) == {"__typename": "Query"}


async def test_the_schema_can_be_fetched_and_checks_requests(server: ServerProcess) -> None:
    transport = WebsocketsTransport(url=server.url)
    async with Client(transport=transport, fetch_schema_from_transport=True) as session:
        assert session.client.schema is not None
        assert "StreamChunk" in session.client.schema.type_map
        query = gql('{ messages(conversationId: "empty") { status } }')
        assert await session.execute(query) == {"messages": []}
