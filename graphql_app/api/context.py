"""What a resolver knows beside its arguments."""

from collections.abc import Callable
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

    The transport has to know an operation's kind before it runs, so it parses the document. `sent`
    tells it that a message was stored.
    """

    chat: ChatService
    owner: str = ANONYMOUS
    document: DocumentNode | None = None
    document_is_valid: bool = False
    sent: Callable[[], None] = lambda: None


Info: TypeAlias = strawberry.Info[Context, None]
