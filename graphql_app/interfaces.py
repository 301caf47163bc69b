"""The two seams: where messages are kept (Store), and who answers them (Completion).

These docstrings are the contract. `tests/contracts/` runs it against every store.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

from graphql_app.messages import (
    Conversation,
    ConversationEvent,
    ConversationRef,
    Message,
    Ref,
    ReplyError,
    ReplyErrorCode,
    Status,
    Usage,
)

Completion: TypeAlias = Callable[[Sequence[Message]], AsyncIterator[str | Usage]]
"""An async generator function from the conversation so far to text.

It gets the messages before the reply, oldest first; the last one is the user's. It yields text as
it comes, separators included; pieces are joined as they are, and empty ones count as silence. It
may also yield a `Usage`, at any time, again when it knows more, and to say that it is alive; the
last one is kept. It may raise `CompletionError` to end the reply with a sentence for people; any
other exception ends it as COMPLETION_FAILED. It is cancelled when the reply is stopped, cleared,
silent for too long or too long, and closes its provider's request then; one that ignores that is
abandoned.

One that is an async context manager is entered while the application runs.
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """A process's claim on the replies that it produces.

    The epoch grows with each registration. A store refuses writes under an epoch that is over, in
    the same step as the write, so that a process that slept through the end of its lease cannot
    write when it wakes.
    """

    id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Draft:
    """A user's message that is to be stored, and the id of the reply that shall answer it.

    `renewals` is how many renewals of its lease the process had begun when it made the draft, and
    had already counted the reply as running. The store keeps it with the reply.
    """

    message: Ref
    conversation: ConversationRef
    content: str
    reply: Ref
    renewals: int


@dataclass(frozen=True, slots=True)
class ReplyDraft:
    """Another reply that is to be stored, to a user's message that is there.

    `message` is that message, or one of its replies. A client makes the id of `reply`, so that
    several drafts may have it; `token` tells them apart. `renewals` is as in a `Draft`.
    """

    message: Ref
    reply: Ref
    token: str
    renewals: int


@dataclass(frozen=True, slots=True)
class Added:
    """The reply that answers a draft, and whether it is the draft's own.

    The draft's own: stored by this call, or by an earlier try of it whose answer was lost.
    """

    reply: Ref
    created: bool


class Slice(NamedTuple):
    """What a reply holds from `offset` on, in one snapshot. `end` is the offset behind `text`."""

    offset: int
    text: str
    end: int
    status: Status
    error: ReplyError | None


@dataclass(frozen=True, slots=True)
class Events:
    """What happened in a conversation since a cursor, in the order of the store.

    `more` says that events were left for the next read, so that there is no need to wait for it.
    """

    events: tuple[ConversationEvent, ...]
    cursor: int
    more: bool = False


PRODUCER_LOST = ReplyError(
    ReplyErrorCode.PRODUCER_LOST, "The process that was producing the reply stopped."
)
"""How a store ends a reply that nobody produces any more."""

Topic: TypeAlias = Ref | ConversationRef | Lease
"""What can be watched: a reply's text and status, a conversation's events, and, for the process
that holds a lease, that one of its replies was ended by somebody else."""


class Immediate(Protocol):
    """Two methods of a store that never waits for anything, as plain functions.

    They are called for each word and each reader, where even a coroutine takes its time.
    """

    def append_now(self, ref: Ref, lease: Lease, at_offset: int, text: str) -> None:
        """As `Store.append`."""

    def read_now(self, ref: Ref, after_offset: int) -> Slice:
        """As `Store.read`."""


class Store(Protocol):
    """Where messages are kept: the only thing that producers and followers share.

    Every method may raise `StoreUnavailableError`; whether the write happened is then unknown, and
    calling it again does no harm. Cancelling a call leaves the same unknown. A call that gets no
    answer from a server raises `StoreUnavailableError` within a few seconds: a renewal that hung
    for longer would lose the lease. Methods that write return when the write is durable, in the
    sense that the store documents, and no reader sees anything before that. Times are the store's.
    """

    @property
    def shared(self) -> bool:
        """Whether other processes may use this store at the same time."""

    @property
    def immediate(self) -> "Immediate | None":
        """What can be called without waiting, if no call ever waits or finds the store away."""

    @property
    def poll_seconds(self) -> float:
        """How long a reader may wait for `watch` before it looks for itself; infinite where nothing
        can get lost."""

    async def open(self) -> None:
        """Gets ready. The caller that opens a store closes it."""

    async def close(self) -> None:
        """Lets go of everything. Closing twice, or a store that never opened, does nothing."""

    async def ping(self) -> None:
        """Returns when the store can be reached."""

    async def register(self, lease_seconds: float) -> Lease:
        """Gives this process a lease that ends `lease_seconds` after its last renewal."""

    async def renew(self, lease: Lease, number: int, running: AbstractSet[Ref]) -> AbstractSet[Ref]:
        """Extends a lease and returns those of `running` that may not be written any more.

        Those are all that do not stream under this lease: swept, stopped or cleared meanwhile, of
        an earlier lease, or not added yet. One of them is named again and again until it is no
        longer in `running`.

        A reply that streams under this lease and is not in `running` has nobody to finish it: it
        ends as PRODUCER_LOST. The process counts the renewals that it begins, and `number` is the
        count with this one; replies whose draft has this or a higher count came after `running`
        was made, and are left alone.

        Raises:
            FencedError: the lease was swept. All its replies have ended; register anew.
        """

    async def sweep(self) -> int:
        """Ends the replies of all leases that ran out, as PRODUCER_LOST; returns how many.

        A store that keeps replies only for a time after their end (`?ttl=`) also removes those
        whose time is over, and a user's message with the newest reply to it. For readers and
        writers that is a clear: their ids stay used, and windows start over.

        A process that has just seen the store unavailable does not call this for the time of a
        lease: the others could not renew either.
        """

    async def add(self, draft: Draft, lease: Lease) -> Added:
        """Stores a user's message and its empty, streaming reply, in one step.

        The reply streams under `lease`. If the message is there already, with this content and in
        this conversation, nothing is stored, and the newest reply to it is returned. So the same
        draft may be added again, and a draft with the same message joins it.

        Raises:
            MessageIdConflictError: the id was used for something else.
            MessageClearedError: the id was used for a message that was cleared.
            FencedError: the lease was swept.
        """

    async def add_reply(self, draft: ReplyDraft, lease: Lease) -> Added:
        """Stores another reply to a user's message, empty and streaming, in one step.

        The reply streams under `lease`. It takes the place of the newest one before it, with that
        one's time: `messages`, `history` and resets have it instead. The message itself stays as
        it is. The replies before the newest are still there for `message`, `read` and `replies`.

        If there is a reply with this id, which was added here and to the same message, nothing is
        stored, and that reply is returned. So the same draft may be added again, and a draft with
        the same reply joins it.

        Raises:
            MessageNotFoundError: there is no such message.
            MessageClearedError: it was cleared, or the reply's id was used for what was cleared.
            MessageIdConflictError: the reply's id was used for something else.
            ReplyStreamingError: the newest reply to the message has not ended.
            FencedError: the lease was swept.
        """

    async def append(self, ref: Ref, lease: Lease, at_offset: int, text: str) -> None:
        """Adds text to a streaming reply, where it stands.

        `at_offset` is the reply's end. The same text at the same offset again does nothing.

        Raises:
            FencedError: the reply is not streaming under this lease.
            ValueError: `at_offset` is not the end, and the text there is another.
        """

    async def finish(
        self,
        ref: Ref,
        status: Status,
        *,
        lease: Lease | None = None,
        at_offset: int | None = None,
        text: str = "",
        error: ReplyError | None = None,
        usage: Usage | None = None,
    ) -> Message:
        """Ends a reply, unless it has ended, and returns it as it ended.

        The first to come wins, and everybody gets the winner's. `lease`, `at_offset` and `text` go
        together and come from the producer: the text is added in the same step, as by `append`.
        So does `usage`; it is kept also with a reply that somebody else ended, unless it has one.

        Raises:
            MessageNotFoundError: there is no such reply.
            MessageClearedError: it was cleared.
            FencedError: the reply streams under another lease.
        """

    async def read(self, ref: Ref, after_offset: int) -> Slice:
        """Reads a reply from an offset on, text and status in one snapshot.

        The slice begins at the end for an offset beyond it, and at the start of the code point for
        an offset inside a surrogate pair.

        Raises:
            MessageNotFoundError: there is no such reply (a user's message is none).
            MessageClearedError: it was cleared.
        """

    async def message(self, ref: Ref) -> Message | None:
        """A message as it is now, or None."""

    async def newest_reply(self, ref: Ref) -> Ref:
        """The reply that is meant: the newest to a user's message, or `ref` if that is a reply.

        Raises:
            MessageNotFoundError: there is no such message.
        """

    async def messages(
        self, conversation: ConversationRef, last: int, before: Ref | None
    ) -> tuple[Message, ...]:
        """The newest `last` messages, of those older than `before` if given; oldest first.

        Of the replies to one message only the newest is among them. `before` may be any reply: all
        replies to a message have one place.

        Raises:
            MessageNotFoundError: `before` is no message of this conversation.
        """

    async def replies(self, ref: Ref, last: int) -> tuple[Message, ...]:
        """The newest `last` replies to a user's message, oldest first; none to anything else."""

    async def conversations(self, owner: str, first: int) -> tuple[Conversation, ...]:
        """The owner's conversations that have messages, the most recently used first."""

    async def history(self, reply: Ref) -> tuple[Message, ...]:
        """What a completion answers: the messages before a reply, its user's message last.

        Each counts with the text it has now; those without text are left out, and so are replies
        that another one has taken the place of.

        Raises:
            FencedError: the reply has ended; it needs no completion any more.
            MessageNotFoundError, MessageClearedError: as `read`.
        """

    async def clear(self, conversation: ConversationRef) -> int:
        """Removes all messages of a conversation, with all replies, and returns how many.

        Their ids stay used for at least 24 hours. Calling it again returns 0.
        """

    async def events(self, conversation: ConversationRef, cursor: int | None, last: int) -> Events:
        """What happened since a cursor, which an earlier call returned.

        Without a cursor, and when single events cannot say what happened (after a clear, when a
        reply took the place of another, or when they are gone), the first event is a
        `MessagesReset` with the newest `last` messages, in the same snapshot as the new cursor.
        Each message gives an event when it was added, as it was then, and each reply another when
        it ended.
        """

    def watch(self, topic: Topic, wake: Callable[[], None]) -> Callable[[], None]:
        """Calls `wake` whenever something may have changed, until the returned function is called.

        It is called on the event loop and must not block. Calls may be false, and, where
        `poll_seconds` is short, they may be missing.
        """
