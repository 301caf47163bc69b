"""The operations of the client, as GraphQL."""

from collections.abc import Mapping
from typing import Any

from gql import GraphQLRequest
from graphql import print_ast

CHUNK = "{ messageId offset text status error { code message } }"
MESSAGE = "{ id conversationId role content status createdAt replyToId error { code message } }"

SEND = GraphQLRequest(
    f"subscription Send($message: MessageInput!) {{ sendMessage(message: $message) {CHUNK} }}"
)
REGENERATE = GraphQLRequest(
    "subscription Regenerate($message: RegenerateInput!) {"
    f" regenerateMessage(message: $message) {CHUNK} }}"
)
RESUME = GraphQLRequest(
    f"subscription Resume($message: ResumeInput!) {{ resumeMessage(message: $message) {CHUNK} }}"
)
EVENTS = GraphQLRequest(
    "subscription Events($conversationId: ID!, $last: Int) {"
    " conversationEvents(conversationId: $conversationId) { __typename"
    f" ... on MessagesReset {{ conversationId messages(last: $last) {MESSAGE} }}"
    f" ... on MessageChanged {{ message {MESSAGE} }} }} }}"
)
MESSAGES = GraphQLRequest(
    "query Messages($conversationId: ID!, $last: Int, $before: ID) {"
    f" messages(conversationId: $conversationId, last: $last, before: $before) {MESSAGE} }}"
)
ONE_MESSAGE = GraphQLRequest(f"query Message($id: ID!) {{ message(id: $id) {MESSAGE} }}")
REPLIES = GraphQLRequest(f"query Replies($id: ID!) {{ message(id: $id) {{ replies {MESSAGE} }} }}")
CONVERSATIONS = GraphQLRequest(
    "query Conversations($first: Int) {"
    " conversations(first: $first) { id title createdAt updatedAt } }"
)
STOP = GraphQLRequest(f"mutation Stop($id: ID!) {{ stopMessage(id: $id) {MESSAGE} }}")
CLEAR = GraphQLRequest(
    "mutation Clear($conversationId: ID!) { clearMessages(conversationId: $conversationId) }"
)


def sent_texts() -> list[str]:
    """The texts of all of them, as they are sent."""
    return [
        print_ast(each.document) for each in globals().values() if isinstance(each, GraphQLRequest)
    ]


def with_variables(document: GraphQLRequest, variables: Mapping[str, Any]) -> GraphQLRequest:
    """One request of an operation."""
    return GraphQLRequest(document, variable_values=dict(variables))
