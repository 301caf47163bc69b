"""What a resolver knows beside its arguments."""

from dataclasses import dataclass
from typing import TypeAlias

import strawberry
from graphql import DocumentNode

from graphql_app.chat import ChatService

ANONYMOUS = ""
"""The owner of everything while there is no authentication."""


@dataclass(slots=True)
class Context:
    """What is known of one operation, and of who runs it.

    The transport has to know an operation's kind before it runs, so it parses the document.
    """

    chat: ChatService
    owner: str = ANONYMOUS
    document: DocumentNode | None = None
    document_is_valid: bool = False


Info: TypeAlias = strawberry.Info[Context, None]
