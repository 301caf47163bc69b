"""What a resolver knows beside its arguments."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import strawberry

from graphql_app.access.caller import NOBODY, Caller
from graphql_app.api.journal import Entry
from graphql_app.api.requests import Document
from graphql_app.chat import ChatService


@dataclass(slots=True)
class Context:
    """What is known of one operation, and of who runs it.

    The transport has to know an operation's kind before it runs, so it parses the document. `sent`
    tells it that a message was stored. `takes_feed` says that it can run through the chunks of a
    subscription by itself, `lasts` that an extension has something to do at the operation's end.
    `entry` is what the journal will tell of it.
    """

    chat: ChatService
    caller: Caller = NOBODY
    document: Document | None = None
    document_is_valid: bool = False
    sent: Callable[[], None] = lambda: None
    takes_feed: bool = False
    lasts: bool = False
    entry: Entry | None = None

    def about(self, **ids: str | None) -> None:
        """Tells the journal which messages the operation is about."""
        if self.entry is not None:
            self.entry.about(**ids)

    @property
    def owner(self) -> str:
        return self.caller.owner


Info: TypeAlias = strawberry.Info[Context, None]
