"""The chat: send, follow, stop, clear, history. Knows only the two seams.

A producer and its followers never meet except in the store:

    send ─▶ store.add ──────────────┬▶ producer ─▶ store.append … store.finish
    regenerate ─▶ store.add_reply ──┘
    resume, send, regenerate ─▶ follower ─▶ store.read, until the final status
    stop, clear ─▶ store ─▶ lease keeper ─▶ the producer is fenced
"""

import asyncio
import itertools
import logging
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Protocol, TypeAlias, TypeVar
from weakref import WeakValueDictionary

from graphql_app import metrics, tracing
from graphql_app.errors import (
    BadUserInputError,
    ChatError,
    FencedError,
    MessageNotFoundError,
    RateLimitedError,
    StoreUnavailableError,
    TooManyRepliesError,
)
from graphql_app.follower import OUTAGE_SECONDS, Audiences, Following
from graphql_app.interfaces import (
    Added,
    Completion,
    Draft,
    Events,
    Lease,
    ReplyDraft,
    Store,
)
from graphql_app.lease_keeper import LeaseKeeper
from graphql_app.limits import Limits
from graphql_app.logs import tell
from graphql_app.messages import (
    Conversation,
    ConversationEvent,
    ConversationRef,
    Message,
    Ref,
    Status,
    common_prefix,
    utf16_length,
)
from graphql_app.producer import Producer
from graphql_app.wakeup import Wakeup

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Toll(Protocol):
    """Counts what somebody begins, so that it does not become too much."""

    async def refusal(self) -> ChatError | None:
        """Counts a reply that is about to begin; why it may not, or None."""

    def give_back(self) -> None:
        """It did not begin."""


Adding: TypeAlias = Callable[[int, Lease], Awaitable[Added]]
"""Stores a reply, given how many renewals were begun, and the lease that it shall stream under."""

ADD_SECONDS = 3.0
"""How long after the first failure a message is still tried to be added, before the client is asked
to try again; each single try may take as long."""

ADD_AGAIN_SECONDS = (0.05, 0.2, 0.5, 1.0)
"""Pauses between the tries; the last one repeats."""

SHUTDOWN_SECONDS = 5.0
"""How long replies may take to be ended as SERVER_SHUTDOWN."""


class ChatService:
    """Everything that the API offers, for one process.

    Use it as `async with`, around an open store. At the end, replies that still stream go on for
    up to `drain_seconds`, if anybody else can read the store, or until `hurry` is called, and then
    end as SERVER_SHUTDOWN.

    All methods check their arguments and raise `BadUserInputError` for those outside the limits,
    and `StoreUnavailableError` when the store cannot be reached. Cancelling any of them is safe: a
    message that was sent is sent, and nothing is done by halves.
    """

    def __init__(
        self,
        store: Store,
        completion: Completion,
        *,
        limits: Limits | None = None,
        lease_seconds: float = 10.0,
        drain_seconds: float = 0.0,
    ) -> None:
        self._store = store
        self._completion = completion
        self._audiences = Audiences(store)
        self._limits = limits or Limits()
        self._drain_seconds = drain_seconds
        # A reply is here from before it is stored until its producer is done; None: not started.
        self._running: dict[Ref, Producer | None] = {}
        self._running_of: Counter[str] = Counter()  # By owner.
        self._turns: WeakValueDictionary[Ref, asyncio.Lock] = WeakValueDictionary()
        # By the message without which something new is stored: who may be storing it.
        self._beginning: dict[Ref, asyncio.Task[object]] = {}
        self._tasks: set[asyncio.Task[object]] = set()
        self._idle = Wakeup()
        self._hurried = False
        self._shutting_down = False
        self._keeper = LeaseKeeper(store, lease_seconds, running=self._running)

    async def __aenter__(self) -> "ChatService":
        await self._keeper.__aenter__()
        return self

    async def __aexit__(self, *exception: object) -> None:
        try:
            await self._drain()
        finally:
            await self._keeper.__aexit__(*exception)

    def count(self) -> None:
        """Says how many follow."""
        metrics.following(len(self._audiences))

    # Sending and following.

    async def send(
        self, owner: str, id: str, conversation_id: str, content: str, toll: Toll | None = None
    ) -> Following:
        """Stores a user's message, starts its reply and follows that from the beginning.

        Sending one id again joins the reply, whoever sends it and whenever.

        Args:
            toll: is paid for a new reply only; what it refuses is not stored.

        Raises:
            MessageIdConflictError, MessageClearedError: the id was used before.
            TooManyRepliesError: a new reply is more than may stream; nothing was stored.
            RateLimitedError: the toll says so; nothing was stored.
        """
        self._limits.check_id("id", id)
        self._limits.check_id("conversationId", conversation_id)
        self._limits.check_content("content", content)
        message, conversation = Ref(owner, id), ConversationRef(owner, conversation_id)
        reply = Ref(owner, uuid.uuid4().hex)

        def add(renewals: int, lease: Lease) -> Awaitable[Added]:
            return self._store.add(Draft(message, conversation, content, reply, renewals), lease)

        return await self._answer(reply, add, unless=message, toll=toll)

    async def regenerate(
        self, owner: str, id: str, message_id: str, toll: Toll | None = None
    ) -> Following:
        """Starts another reply to a user's message and follows it from the beginning.

        Asking for one reply again joins it, whoever asks and whenever.

        Args:
            id: the new reply's.
            message_id: the user's message, or one of its replies.
            toll: as for `send`.

        Raises:
            MessageNotFoundError: there is no such message.
            MessageIdConflictError, MessageClearedError: the id was used before, or the message
                was cleared.
            ReplyStreamingError: the newest reply to the message has not ended.
            TooManyRepliesError: a new reply is more than may stream.
        """
        self._limits.check_id("id", id)
        self._limits.check_id("messageId", message_id)
        reply, message, token = Ref(owner, id), Ref(owner, message_id), uuid.uuid4().hex

        def add(renewals: int, lease: Lease) -> Awaitable[Added]:
            return self._store.add_reply(ReplyDraft(message, reply, token, renewals), lease)

        return await self._answer(reply, add, unless=reply, toll=toll)

    async def _answer(
        self, reply: Ref, add: Adding, *, unless: Ref, toll: Toll | None
    ) -> Following:
        # The client may leave at any moment; what it sent is stored and answered all the same.
        added = await asyncio.shield(self._detached(self._begin(reply, add, unless, toll)))
        return self._audiences.follow(added.reply, 0, is_new=added.created)

    async def resume(
        self, owner: str, id: str, *, content: str | None = None, offset: int | None = None
    ) -> Following:
        """Follows a reply from where a client is.

        Args:
            content: the text that the client has. It is compared, and the first chunk's offset is
                where it stops being right.
            offset: how much the client has, unchecked. Give one or none of the two.

        Raises:
            MessageNotFoundError: there is no such reply.
            MessageClearedError: it was cleared.
        """
        self._limits.check_id("id", id)
        if content is not None and offset is not None:
            raise BadUserInputError("content and offset", "must not be given both")
        if offset is not None:
            self._limits.check_offset("offset", offset)
        ref = Ref(owner, id)
        stored = await self._store.read(ref, 0 if content is not None else offset or 0)
        prefix = "" if content is None else common_prefix(stored.text, content)
        begin = stored.offset + utf16_length(prefix)
        missing = stored.text[len(prefix) :]
        metrics.resumed(missing)
        if self._store.immediate is not None:
            # Reading again costs nothing there, and sees what has happened by then.
            return self._audiences.follow(ref, begin)
        known = stored._replace(offset=begin, text=missing)
        return self._audiences.follow(ref, begin, known=known)

    # Stopping and clearing.

    async def stop(self, owner: str, id: str) -> Message:
        """Ends a reply now and returns it; one that has ended stays as it is.

        Takes the reply's id, or that of the user's message.

        Raises:
            MessageNotFoundError: there is no such message.
            MessageClearedError: it was cleared at this very moment.
        """
        self._limits.check_id("id", id)
        reply = await self._store.newest_reply(Ref(owner, id))
        return await self._store.finish(reply, Status.STOPPED)

    async def clear(self, owner: str, conversation_id: str) -> int:
        """Removes a conversation's messages, ends what streams in it; returns how many."""
        self._limits.check_id("conversationId", conversation_id)
        return await self._store.clear(ConversationRef(owner, conversation_id))

    # History.

    async def message(self, owner: str, id: str) -> Message | None:
        """A message as it is now."""
        self._limits.check_id("id", id)
        return await self._store.message(Ref(owner, id))

    async def messages(
        self,
        owner: str,
        conversation_id: str,
        *,
        last: int | None = None,
        before: str | None = None,
    ) -> tuple[Message, ...]:
        """A conversation's messages, oldest first: the `last` of those older than `before`."""
        self._limits.check_id("conversationId", conversation_id)
        size = self._limits.checked_size("last", last)
        if before is not None:
            self._limits.check_id("before", before)
        try:
            return await self._store.messages(
                ConversationRef(owner, conversation_id),
                size,
                None if before is None else Ref(owner, before),
            )
        except MessageNotFoundError as error:
            raise BadUserInputError("before", "must be a message of this conversation") from error

    async def replies(self, owner: str, id: str) -> tuple[Message, ...]:
        """All replies to a user's message, oldest first; as many as a list has at most."""
        return await self._store.replies(Ref(owner, id), self._limits.list_size)

    async def conversations(
        self, owner: str, *, first: int | None = None
    ) -> tuple[Conversation, ...]:
        """The owner's conversations, the most recently used first."""
        return await self._store.conversations(owner, self._limits.checked_size("first", first))

    def newest(self, messages: Sequence[Message], last: int | None) -> Sequence[Message]:
        """The newest `last` of messages that are listed already."""
        return messages[-self._limits.checked_size("last", last) :]

    async def events(
        self, owner: str, conversation_id: str
    ) -> AsyncGenerator[ConversationEvent, None]:
        """A conversation as it is (a reset comes first), and then as it changes, without end."""
        self._limits.check_id("conversationId", conversation_id)
        conversation = ConversationRef(owner, conversation_id)
        new = await self._store.events(conversation, None, self._limits.list_size)
        return self._follow_events(conversation, new)

    async def _follow_events(
        self, conversation: ConversationRef, new: Events
    ) -> AsyncGenerator[ConversationEvent, None]:
        news = Wakeup()
        unwatch = self._store.watch(conversation, news.set)
        news.set()  # Something may have happened since `new` was read.
        try:
            while True:
                cursor, more = new.cursor, new.more
                for event in new.events:
                    yield event
                    del event  # A reset is large, and nobody needs it while this waits.
                new = Events((), cursor)
                if not more:
                    await news.wait(self._store.poll_seconds)
                try:
                    new = await self._store.events(conversation, cursor, self._limits.list_size)
                except StoreUnavailableError:
                    await asyncio.sleep(OUTAGE_SECONDS)  # In silence; nothing is lost.
                    news.set()  # What was told before the outage is still to be read.
        finally:
            unwatch()
            news.close()

    # Producing.

    async def _begin(self, reply: Ref, add: Adding, unless: Ref, toll: Toll | None) -> Added:
        """Stores a reply and starts its producer.

        Runs detached, so that a client that leaves cannot come between the two.

        Args:
            unless: if this message is there, nothing new is stored.
        """
        # Several may ask for one reply at the same time, by the id that their client made.
        async with self._turns.setdefault(reply, asyncio.Lock()):
            if reply in self._running:
                added, _ = await self._add(add)
                return added
            this = asyncio.current_task()
            assert this is not None
            first = self._beginning.setdefault(unless, this)
            try:
                return await self._begin_new(
                    reply, add, unless, toll, None if first is this else first
                )
            finally:
                if first is this:
                    del self._beginning[unless]

    async def _begin_new(
        self,
        reply: Ref,
        add: Adding,
        unless: Ref,
        toll: Toll | None,
        earlier: "asyncio.Task[object] | None",
    ) -> Added:
        """Stores a reply that is not known to run.

        Args:
            earlier: may be storing the same at this moment.
        """
        refusal: ChatError | None = self._full_for(reply.owner)
        is_paid = False
        if refusal is None and toll is not None:
            refusal = await toll.refusal()
            is_paid = refusal is None
        if refusal is not None:
            if earlier is not None:
                await asyncio.wait({earlier})
            # Whoever repeats a send gets its reply, however much there is.
            if await self._store.message(unless) is None:
                if isinstance(refusal, RateLimitedError):
                    metrics.refused("rate")
                raise refusal
        is_new = False
        try:
            added = await self._start(reply, add)
            is_new = added.created
        finally:
            if toll is not None and is_paid and not is_new:
                toll.give_back()
        return added

    def _full_for(self, owner: str) -> TooManyRepliesError | None:
        """Why an owner may not have one more reply, or None."""
        limits = self._limits
        if len(self._running) >= limits.replies:
            return TooManyRepliesError(limits.replies)
        most = limits.replies_per_owner
        if most is not None and self._running_of[owner] >= most:
            return TooManyRepliesError(most, of_owner=True)
        return None

    async def _start(self, reply: Ref, add: Adding) -> Added:
        self._running[reply] = None
        self._running_of[reply.owner] += 1
        added = None
        try:
            added, lease = await self._add(add)
        finally:
            if added is None or not added.created:
                self._forget(reply)
        if added.created:
            producer = self._running[reply] = Producer(
                reply,
                store=self._store,
                lease=lease,
                completion=self._completion,
                silence_seconds=self._limits.silence_seconds,
                max_length=self._limits.reply_length,
            )
            if self._shutting_down:
                producer.shut_down()
            self._detached(self._produce(reply, producer))
        return added

    async def _add(self, add: Adding) -> tuple[Added, Lease]:
        """Adds a draft, again if the answer was lost, and under the lease that then is ours."""
        loop = asyncio.get_running_loop()
        renewals = self._keeper.renewals
        deadline = None
        for pause in itertools.chain(ADD_AGAIN_SECONDS, itertools.repeat(ADD_AGAIN_SECONDS[-1])):
            lease = self._keeper.lease
            try:
                async with asyncio.timeout_at(deadline):
                    return await add(renewals, lease), lease
            except (StoreUnavailableError, TimeoutError):
                pass
            except FencedError:
                self._keeper.renew_now()
            deadline = deadline or loop.time() + ADD_SECONDS
            if loop.time() + pause >= deadline:
                break
            await asyncio.sleep(pause)
        raise StoreUnavailableError

    async def _produce(self, reply: Ref, producer: Producer) -> None:
        ended = None
        span = tracing.reply_began(reply.id)
        metrics.reply_began()
        history: Sequence[Message] = ()
        try:
            if tracing.shows_content():
                history = await self._shown_history(reply)
            ended = await producer.run()
        except Exception as error:
            # The reply is left streaming; the next renewal names it no more, and it ends.
            facts = {"reply": reply.id}
            tell(logger, "the producer of a reply failed", facts, level=logging.ERROR, error=error)
        finally:
            metrics.reply_ended(ended, producer.usage)
            tracing.reply_ended(span, ended, producer.usage, history)
            self._forget(reply)

    async def _shown_history(self, reply: Ref) -> Sequence[Message]:
        """What a reply answers, for its span."""
        with suppress(ChatError, FencedError):  # Its producer finds out by itself.
            return await self._store.history(reply)
        return ()

    def _forget(self, reply: Ref) -> None:
        del self._running[reply]
        self._running_of[reply.owner] -= 1
        if not self._running_of[reply.owner]:
            del self._running_of[reply.owner]
        if not self._running:
            self._idle.set()

    def _detached(self, coroutine: Coroutine[object, object, T]) -> asyncio.Task[T]:
        """Runs something to its end, even if the caller that waits for it is cancelled."""
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._settle)
        return task

    def _settle(self, task: asyncio.Task[T]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ChatError):
            # The client that waited may be gone, and then nobody else hears of it.
            logger.error("a message could not be taken", exc_info=error)

    # Shutting down.

    def hurry(self) -> None:
        """Lets replies go on no longer than it takes to end them, when the service is left."""
        self._hurried = True
        self._idle.set()

    async def _drain(self) -> None:
        if self._running and self._store.shared and not self._hurried:
            # Only a store that others use too has readers left for what is still to come.
            logger.info(
                "replies that go on for up to %g s: %d", self._drain_seconds, len(self._running)
            )
            await self._until_idle(self._drain_seconds, or_hurried=True)
        self._shutting_down = True
        for producer in list(self._running.values()):
            if producer is not None:
                producer.shut_down()
        await self._until_idle(SHUTDOWN_SECONDS)
        if self._running:
            # Others find out by the lease.
            logger.warning("replies whose end could not be stored: %d", len(self._running))
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=SHUTDOWN_SECONDS)

    async def _until_idle(self, seconds: float, *, or_hurried: bool = False) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while self._running and (left := deadline - loop.time()) > 0:
            if or_hurried and self._hurried:
                return
            await self._idle.wait(left)
