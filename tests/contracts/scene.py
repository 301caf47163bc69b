"""A store seen by one owner and one process, in the words of the tests."""

import asyncio
import uuid
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from graphql_app.interfaces import (
    PRODUCER_LOST,
    Added,
    Draft,
    Events,
    Lease,
    ReplyDraft,
    Slice,
    Store,
    Topic,
)
from graphql_app.messages import (
    ConversationRef,
    Message,
    MessageChanged,
    MessagesReset,
    Ref,
    ReplyError,
    Status,
    Usage,
)

PATIENCE_SECONDS = 10.0
SILENCE_SECONDS = 0.2


@dataclass(frozen=True)
class Scene:
    """Ids stand for the owner's messages; everything is in conversation c1 if not said."""

    store: Store
    owner: str
    lease: Lease

    def ref(self, id: str) -> Ref:
        return Ref(self.owner, id)

    def conversation(self, id: str = "c1") -> ConversationRef:
        return ConversationRef(self.owner, id)

    async def add(
        self,
        id: str,
        content: str = "Hello",
        *,
        conversation: str = "c1",
        reply: str | None = None,
        renewals: int = 0,
    ) -> Added:
        """Sends a message, whose reply is called `r-` and its id if not said."""
        return await self.store.add(
            Draft(
                message=self.ref(id),
                conversation=self.conversation(conversation),
                content=content,
                reply=self.ref(reply or f"r-{id}"),
                renewals=renewals,
            ),
            self.lease,
        )

    async def add_reply(
        self, reply: str, message: str, *, token: str | None = None, renewals: int = 0
    ) -> Added:
        """Asks for another reply; who gives the same token tries the same draft again."""
        draft = ReplyDraft(
            message=self.ref(message),
            reply=self.ref(reply),
            token=token or uuid.uuid4().hex,
            renewals=renewals,
        )
        return await self.store.add_reply(draft, self.lease)

    async def answered(self, id: str, *replies: str, conversation: str = "c1") -> None:
        """Sends a message and asks for further replies; each ends with its own id as its text."""
        await self.add(id, conversation=conversation)
        await self.finish(f"r-{id}", text=f"r-{id}", at_offset=0)
        for reply in replies:
            await self.add_reply(reply, id)
            await self.finish(reply, text=reply, at_offset=0)

    async def append(self, reply: str, at_offset: int, text: str) -> None:
        await self.store.append(self.ref(reply), self.lease, at_offset, text)

    async def finish(
        self,
        reply: str,
        status: Status = Status.DONE,
        *,
        text: str = "",
        at_offset: int | None = None,
        error: ReplyError | None = None,
        usage: Usage | None = None,
    ) -> Message:
        """The producer's own end."""
        return await self.store.finish(
            self.ref(reply),
            status,
            lease=self.lease,
            at_offset=at_offset,
            text=text,
            error=error,
            usage=usage,
        )

    async def stop(self, reply: str) -> Message:
        """An end that anybody may write."""
        return await self.store.finish(self.ref(reply), Status.STOPPED)

    async def learn(self, reply: str, usage: Usage) -> Message:
        """What a producer tells of a reply that it takes to have been ended by somebody else."""
        return await self.store.finish(
            self.ref(reply), Status.ERROR, error=PRODUCER_LOST, usage=usage
        )

    async def read(self, reply: str, after_offset: int = 0) -> Slice:
        return await self.store.read(self.ref(reply), after_offset)

    async def has_grown(self, reply: str, end: int) -> None:
        """Returns when a reply has this much text."""
        while (await self.read(reply)).end < end:  # noqa: ASYNC110 (watching is tested elsewhere)
            await asyncio.sleep(0.001)

    async def message(self, id: str) -> Message:
        """A message that is there."""
        message = await self.store.message(self.ref(id))
        assert message is not None
        return message

    async def ids(
        self, conversation: str = "c1", *, last: int = 1_000, before: str | None = None
    ) -> list[str]:
        messages = await self.store.messages(
            self.conversation(conversation), last, None if before is None else self.ref(before)
        )
        return [message.id for message in messages]

    async def replies(self, id: str, last: int = 1_000) -> list[str]:
        return [reply.id for reply in await self.store.replies(self.ref(id), last)]

    async def conversations(self, first: int = 1_000) -> list[str]:
        return [found.id for found in await self.store.conversations(self.owner, first)]

    async def history(self, reply: str) -> list[tuple[str, str]]:
        """Each message's id and content."""
        history = await self.store.history(self.ref(reply))
        return [(message.id, message.content) for message in history]

    async def clear(self, conversation: str = "c1") -> int:
        return await self.store.clear(self.conversation(conversation))

    async def events(
        self, cursor: int | None = None, conversation: str = "c1", *, last: int = 1_000
    ) -> Events:
        return await self.store.events(self.conversation(conversation), cursor, last)

    async def cursor(self, conversation: str = "c1") -> int:
        """Where the events are now."""
        return (await self.events(None, conversation)).cursor

    async def events_until_now(self, cursor: int) -> list[tuple[str, Status, str] | list[str]]:
        """All events since a cursor, as `shown`, however many parts they come in."""
        found: list[tuple[str, Status, str] | list[str]] = []
        more = True
        while more:
            events = await self.events(cursor)
            found += shown(events)
            cursor, more = events.cursor, events.more
        return found

    async def renew(self, *running: str, number: int = 1) -> AbstractSet[str]:
        """A renewal that was begun after all that `add` counted, if not said."""
        lost = await self.store.renew(self.lease, number, {self.ref(id) for id in running})
        return {ref.id for ref in lost}


class Alarm:
    """Notices that a topic's watchers are woken."""

    def __init__(self, store: Store, topic: Topic) -> None:
        self._rang = asyncio.Event()
        self.rings = 0
        self.unwatch = store.watch(topic, self._ring)

    def _ring(self) -> None:
        self.rings += 1
        self._rang.set()

    def forget(self) -> None:
        """Forgets the rings so far."""
        self._rang.clear()

    async def falls_silent(self) -> None:
        """Returns when what rings late has rung, or in vain because the topic is new to a poll."""
        while True:
            self.forget()
            try:
                await asyncio.wait_for(self._rang.wait(), SILENCE_SECONDS)
            except TimeoutError:
                return

    async def rings_next(self) -> None:
        await asyncio.wait_for(self._rang.wait(), PATIENCE_SECONDS)


async def swept(store: Store) -> int:
    """Sweeps until something was swept."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (count := await store.sweep()):  # noqa: ASYNC110 (nobody else knows)
            await asyncio.sleep(0.05)
    return count


def shown(events: Events) -> list[tuple[str, Status, str] | list[str]]:
    """Events as tests write them: a reset as the ids it has, a change as id, status, content."""
    return [
        (event.message.id, event.message.status, event.message.content)
        if isinstance(event, MessageChanged)
        else [message.id for message in event.messages]
        for event in events.events
    ]


def reset_of(events: Events) -> MessagesReset:
    """The reset that these events are."""
    [event] = events.events
    assert isinstance(event, MessagesReset)
    return event
