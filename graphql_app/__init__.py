"""A chat backend whose answers survive: replies of language models, streamed over GraphQL."""

from graphql_app.errors import CompletionError
from graphql_app.interfaces import Completion
from graphql_app.messages import Message, ReplyErrorCode, Role, Status, Usage

__all__ = [
    "Completion",
    "CompletionError",
    "Message",
    "ReplyErrorCode",
    "Role",
    "Status",
    "Usage",
]
