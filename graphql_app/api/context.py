"""What a resolver knows beside its arguments."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import strawberry

from graphql_app.access.caller import NOBODY, Caller
from graphql_app.access.quotas import Quotas
from graphql_app.api.journal import Entry
from graphql_app.api.requests import Document
from graphql_app.chat import ChatService
from graphql_app.errors import RateLimitedError


@dataclass(frozen=True, slots=True)
class SendToll:
    """What a caller pays for a new reply."""

    quotas: Quotas
    caller: Caller

    async def refusal(self) -> RateLimitedError | None:
        return await self.quotas.send(self.caller)

    def give_back(self) -> None:
        self.quotas.not_sent(self.caller)


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
    quotas: Quotas | None = None

    def about(self, **ids: str | None) -> None:
        """Tells the journal which messages the operation is about."""
        if self.entry is not None:
            self.entry.about(**ids)

    @property
    def toll(self) -> SendToll | None:
        return None if self.quotas is None else SendToll(self.quotas, self.caller)

    @property
    def owner(self) -> str:
        return self.caller.owner


Info: TypeAlias = strawberry.Info[Context, None]
