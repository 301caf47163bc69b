"""The memory store: one process, nothing survives it, and every change is told at once."""

import itertools
import math
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from graphql_app.errors import (
    ConfigurationError,
    FencedError,
    MessageClearedError,
    MessageNotFoundError,
    ReplyStreamingError,
)
from graphql_app.interfaces import (
    PRODUCER_LOST,
    Added,
    Draft,
    Events,
    Lease,
    ReplyDraft,
    Slice,
    Topic,
)
from graphql_app.messages import (
    Conversation,
    ConversationRef,
    Message,
    MessageChanged,
    MessagesReset,
    Ref,
    ReplyError,
    Role,
    Status,
    Usage,
    utf16_length,
    utf16_tail,
)
from graphql_app.stores.rules import (
    EVENTS_IN_A_READ,
    IDS_STAY_USED,
    check_repeated,
    reply_to_the_same,
    the_same_reply,
    title_of,
    usage_kept,
)
from graphql_app.stores.urls import kept_for, split_options, without_password
from graphql_app.stores.watchers import Watchers

LONG_AGO = datetime.min.replace(tzinfo=UTC)


def from_url(url: str) -> "MemoryStore":
    """The store for `memory://`, and `memory://?ttl=` and a time."""
    base, options = split_options(url, "ttl")
    if base != "memory://":
        raise ConfigurationError(
            f"store: {without_password(url)!r} has more than the store takes; use memory:// or "
            "memory://?ttl=7d."
        )
    return MemoryStore(keep=kept_for(options))


class _Text:
    """A text that grows at its end and is read from anywhere, without copying what is there."""

    __slots__ = ("_ends", "_pieces", "end")

    def __init__(self, text: str = "") -> None:
        self._pieces: list[str] = []
        self._ends: list[int] = []
        self.end = 0
        self.append(text)

    def append(self, text: str) -> None:
        if text:
            self.end += utf16_length(text)
            self._ends.append(self.end)
            self._pieces.append(text)

    def tail(self, offset: int) -> tuple[int, str]:
        """The text from `offset` on, and where it begins, as `utf16_tail` has it."""
        if offset >= self.end:
            return self.end, ""
        ends = self._ends
        if len(ends) > 1 and offset == ends[-2]:
            return offset, self._pieces[-1]  # Most readers lack just what came last.
        index = bisect_right(ends, offset)
        start = ends[index - 1] if index else 0
        begin, head = utf16_tail(self._pieces[index], offset - start)
        if index + 1 == len(self._pieces):
            return start + begin, head
        return start + begin, "".join([head, *itertools.islice(self._pieces, index + 1, None)])

    def whole(self) -> str:
        return "".join(self._pieces)

    def compact(self) -> None:
        self._ends, self._pieces = self._ends[-1:], [self.whole()] if self._pieces else []


@dataclass(slots=True, eq=False)
class _Row:
    ref: Ref
    conversation: ConversationRef
    role: Role
    status: Status
    created_at: datetime
    position: int
    text: _Text
    reply_to: Ref | None = None
    replies: tuple[Ref, ...] = ()
    token: str | None = None
    error: ReplyError | None = None
    usage: Usage | None = None
    lease: Lease | None = None
    renewals: int = 0
    expires_at: datetime | None = None

    def message(self) -> Message:
        return Message(
            id=self.ref.id,
            conversation_id=self.conversation.id,
            role=self.role,
            content=self.text.whole(),
            status=self.status,
            created_at=self.created_at,
            reply_to_id=self.reply_to.id if self.reply_to else None,
            error=self.error,
            usage=self.usage,
        )

    def message_when_added(self) -> Message:
        if self.role is Role.USER:
            return self.message()
        return replace(self.message(), content="", status=Status.STREAMING, error=None, usage=None)


@dataclass(slots=True, eq=False)
class _Thread:
    """A conversation: its rows in order, and what happened to them in order.

    Of the replies to one message, only the newest is among the rows. `log` pairs each event's
    number with its row and whether the row was added or ended then. Numbers grow over the whole
    store; events up to `reset_at` are gone. Positions grow and may have gaps.
    """

    rows: list[_Row] = field(default_factory=list)
    log: list[tuple[int, _Row, bool]] = field(default_factory=list)
    reset_at: int = 0
    last_number: int = 0
    next_position: int = 0
    cleared_at: datetime = LONG_AGO
    last_created_at: datetime = LONG_AGO
    updated_at: datetime = LONG_AGO


class MemoryStore:
    """Keeps everything in this process.

    No step awaits anything, so each method is one step, and what is visible is as durable as it
    gets: not at all. There is one process, so leases never run out.

    Args:
        clock: the time in UTC.
        keep: how long replies are kept after their end; None: for ever.
    """

    shared = False
    poll_seconds = math.inf  # Every change wakes its watchers.

    def __init__(
        self,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        keep: timedelta | None = None,
    ) -> None:
        self._clock = clock
        self._keep = keep
        self._expiring: deque[tuple[datetime, Ref]] = deque()
        self._rows: dict[Ref, _Row] = {}
        self._threads: dict[ConversationRef, _Thread] = {}
        self._cleared: dict[Ref, tuple[datetime, ConversationRef]] = {}
        self._epochs = itertools.count(1)
        self._streaming: dict[Lease, set[Ref]] = {}
        self._watchers: Watchers[Topic] = Watchers()
        self._sequence = 0

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def ping(self) -> None:
        pass

    async def register(self, lease_seconds: float) -> Lease:
        lease = Lease("memory", next(self._epochs))
        self._streaming[lease] = set()
        return lease

    async def renew(self, lease: Lease, number: int, running: AbstractSet[Ref]) -> AbstractSet[Ref]:
        streaming = self._leased(lease)
        for orphan in streaming - running:
            if self._rows[orphan].renewals >= number:
                continue
            self._end(self._rows[orphan], Status.ERROR, PRODUCER_LOST)
        return running - streaming

    async def sweep(self) -> int:
        now = self._now()
        while self._expiring and self._expiring[0][0] <= now:
            expires_at, ref = self._expiring.popleft()
            row = self._rows.get(ref)
            # It may have been cleared, and its id even used again.
            if row is not None and row.expires_at == expires_at:
                self._expire(row, now)
        self._forget_ids(now)
        return 0

    def _expire(self, reply: _Row, now: datetime) -> None:
        """Removes a reply as a clear does, and its user's message if it is the newest to that."""
        assert reply.reply_to is not None
        user = self._rows[reply.reply_to]
        if reply.ref != user.replies[-1]:
            user.replies = tuple(ref for ref in user.replies if ref != reply.ref)
            self._remove(reply, now)
            return
        thread = self._threads[reply.conversation]
        for row in (user, reply):
            thread.rows.remove(row)
        for row in self._with_all_replies([user]):
            self._remove(row, now)
        thread.cleared_at = now
        self._start_over(thread)
        self._wake(reply.conversation)

    def _with_all_replies(self, rows: Iterable[_Row]) -> list[_Row]:
        """Users' messages, and all replies to each."""
        users = [row for row in rows if row.role is Role.USER]
        return users + [self._rows[reply] for user in users for reply in user.replies]

    async def add(self, draft: Draft, lease: Lease) -> Added:
        streaming = self._leased(lease)
        if draft.message in self._cleared:
            raise MessageClearedError(draft.message.id)
        if (row := self._rows.get(draft.message)) is not None:
            newest = row.replies[-1].id if row.replies else None
            reply = reply_to_the_same(draft, newest, row.conversation.id, row.text.whole())
            return Added(reply, created=reply == draft.reply)
        thread = self._threads.setdefault(draft.conversation, _Thread())
        user = self._insert(thread, draft.message, draft.conversation, Role.USER)
        user.text.append(draft.content)
        user.replies = (draft.reply,)
        assistant = self._insert(thread, draft.reply, draft.conversation, Role.ASSISTANT)
        assistant.reply_to = draft.message
        assistant.lease, assistant.renewals = lease, draft.renewals
        streaming.add(draft.reply)
        self._wake(draft.conversation)
        return Added(draft.reply, created=True)

    async def add_reply(self, draft: ReplyDraft, lease: Lease) -> Added:
        streaming = self._leased(lease)
        user = self._question(draft.message)
        if draft.reply in self._cleared:
            raise MessageClearedError(draft.reply.id)
        if (row := self._rows.get(draft.reply)) is not None:
            reply_to = row.reply_to.id if row.reply_to else None
            return the_same_reply(draft, user.ref.id, reply_to=reply_to, token=row.token)
        before = self._rows[user.replies[-1]]
        if not before.status.is_final:
            raise ReplyStreamingError(before.ref.id)
        after = self._rows[draft.reply] = replace(
            before,
            ref=draft.reply,
            status=Status.STREAMING,
            text=_Text(),
            token=draft.token,
            error=None,
            usage=None,
            lease=lease,
            renewals=draft.renewals,
            expires_at=None,
        )
        user.replies += (draft.reply,)
        thread = self._threads[user.conversation]
        thread.rows[_index(thread.rows, before)] = after
        self._start_over(thread)
        self._use(thread, thread.reset_at, self._now())
        streaming.add(draft.reply)
        self._wake(user.conversation)
        return Added(draft.reply, created=True)

    def _question(self, ref: Ref) -> _Row:
        """The user's message that is meant: `ref`, or what it replies to."""
        row = self._rows.get(ref)
        if row is None and ref in self._cleared:
            raise MessageClearedError(ref.id)
        if row is None:
            raise MessageNotFoundError(ref.id)
        return self._rows[row.reply_to] if row.reply_to else row

    def _insert(self, thread: _Thread, ref: Ref, conversation: ConversationRef, role: Role) -> _Row:
        now = self._now()
        row = _Row(
            ref=ref,
            conversation=conversation,
            role=role,
            status=Status.DONE if role is Role.USER else Status.STREAMING,
            created_at=max(now, thread.last_created_at + timedelta(milliseconds=1)),
            position=thread.next_position,
            text=_Text(),
        )
        thread.next_position += 1
        self._rows[ref] = row
        thread.rows.append(row)
        thread.last_created_at = row.created_at
        self._log(thread, row, ended=False)
        return row

    @property
    def immediate(self) -> "MemoryStore":
        return self

    async def append(self, ref: Ref, lease: Lease, at_offset: int, text: str) -> None:
        self.append_now(ref, lease, at_offset, text)

    def append_now(self, ref: Ref, lease: Lease, at_offset: int, text: str) -> None:
        row = self._rows.get(ref)
        if (
            row is None
            or row.status is not Status.STREAMING
            or (row.lease is not lease and row.lease != lease)
        ):
            raise FencedError(f"reply {ref.id!r} is not streaming under {lease}")
        _write(row.text, at_offset, text)
        self._watchers.wake_one(ref)

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
        row = self._reply(ref)
        if not row.status.is_final:
            if lease is not None:
                if row.lease != lease:
                    raise FencedError(f"reply {ref.id!r} streams under {row.lease}, not {lease}")
                _write(row.text, row.text.end if at_offset is None else at_offset, text)
            row.usage = usage_kept(usage)
            self._end(row, status, error, by_producer=lease is not None)
        elif row.usage is None:
            row.usage = usage_kept(usage)
        return row.message()

    def _end(
        self, row: _Row, status: Status, error: ReplyError | None, by_producer: bool = False
    ) -> None:
        thread = self._threads[row.conversation]
        row.status, row.error = status, error
        row.text.compact()
        if self._keep is not None:
            row.expires_at = self._now() + self._keep
            self._expiring.append((row.expires_at, row.ref))
        self._log(thread, row, ended=True)
        self._release(row, by_producer=by_producer)
        self._wake(row.ref)
        self._wake(row.conversation)

    def _release(self, row: _Row, by_producer: bool = False) -> None:
        """Takes a reply from its lease, and tells its holder, unless the holder did it."""
        if row.lease is not None:
            self._streaming[row.lease].discard(row.ref)
            if not by_producer:
                self._wake(row.lease)

    async def read(self, ref: Ref, after_offset: int) -> Slice:
        return self.read_now(ref, after_offset)

    def read_now(self, ref: Ref, after_offset: int) -> Slice:
        row = self._reply(ref)
        offset, text = row.text.tail(after_offset)
        return Slice(offset, text, row.text.end, row.status, row.error)

    async def message(self, ref: Ref) -> Message | None:
        row = self._rows.get(ref)
        return None if row is None else row.message()

    async def newest_reply(self, ref: Ref) -> Ref:
        row = self._rows.get(ref)
        if row is None:
            raise MessageNotFoundError(ref.id)
        return row.replies[-1] if row.replies else ref

    async def messages(
        self, conversation: ConversationRef, last: int, before: Ref | None
    ) -> tuple[Message, ...]:
        thread = self._threads.get(conversation)
        rows = [] if thread is None else thread.rows
        end = len(rows)
        if before is not None:
            row = self._rows.get(before)
            if row is None or row.conversation != conversation:
                raise MessageNotFoundError(before.id)
            end = _index(rows, row)
        return tuple(row.message() for row in rows[max(0, end - last) : end])

    async def replies(self, ref: Ref, last: int) -> tuple[Message, ...]:
        row = self._rows.get(ref)
        return () if row is None else tuple(self._rows[id].message() for id in row.replies[-last:])

    async def conversations(self, owner: str, first: int) -> tuple[Conversation, ...]:
        found = [
            (ref, thread)
            for ref, thread in self._threads.items()
            if ref.owner == owner and thread.rows
        ]
        # By the number of the last event: several may fall into one millisecond.
        found.sort(key=lambda item: item[1].last_number, reverse=True)
        return tuple(
            Conversation(
                id=ref.id,
                title=title_of(thread.rows[0].text.whole()),
                created_at=thread.rows[0].created_at,
                updated_at=thread.updated_at,
            )
            for ref, thread in found[:first]
        )

    async def history(self, reply: Ref) -> tuple[Message, ...]:
        row = self._reply(reply)
        if row.status.is_final:
            raise FencedError(f"reply {reply.id!r} has ended")
        rows = self._threads[row.conversation].rows
        return tuple(row.message() for row in rows[: _index(rows, row)] if row.text.end)

    async def clear(self, conversation: ConversationRef) -> int:
        thread = self._threads.get(conversation)
        if thread is None or not thread.rows:
            return 0
        now = self._now()
        self._forget_ids(now)
        rows, thread.rows = self._with_all_replies(thread.rows), []
        thread.cleared_at = now
        self._start_over(thread)
        for row in rows:
            self._remove(row, now)
            self._release(row)
        self._wake(conversation)
        return len(rows)

    def _start_over(self, thread: _Thread) -> None:
        """Makes the next event of a conversation a reset."""
        thread.log.clear()
        thread.reset_at = self._next_number()

    def _remove(self, row: _Row, now: datetime) -> None:
        del self._rows[row.ref]
        self._cleared[row.ref] = (now, row.conversation)
        self._wake(row.ref)

    async def events(self, conversation: ConversationRef, cursor: int | None, last: int) -> Events:
        thread = self._threads.get(conversation)
        if cursor is None or (thread is not None and cursor < thread.reset_at):
            messages = await self.messages(conversation, last, None)
            return Events((MessagesReset(conversation.id, messages),), self._sequence)
        if thread is None:
            return Events((), cursor)
        begin = bisect_right(thread.log, cursor, key=lambda entry: entry[0])
        entries = thread.log[begin : begin + EVENTS_IN_A_READ]
        return Events(
            tuple(
                MessageChanged(row.message() if ended else row.message_when_added())
                for _, row, ended in entries
            ),
            entries[-1][0] if entries else cursor,
            more=begin + len(entries) < len(thread.log),
        )

    def watch(self, topic: Topic, wake: Callable[[], None]) -> Callable[[], None]:
        return self._watchers.add(topic, wake)

    def _wake(self, *topics: Topic) -> None:
        self._watchers.wake(topics)

    def _reply(self, ref: Ref) -> _Row:
        row = self._rows.get(ref)
        if row is None and ref in self._cleared:
            raise MessageClearedError(ref.id)
        if row is None or row.role is not Role.ASSISTANT:
            raise MessageNotFoundError(ref.id, "reply")
        return row

    def _leased(self, lease: Lease) -> set[Ref]:
        streaming = self._streaming.get(lease)
        if streaming is None:
            raise FencedError(f"{lease} is not registered")
        return streaming

    def _log(self, thread: _Thread, row: _Row, *, ended: bool) -> None:
        self._use(thread, self._next_number(), max(self._now(), row.created_at))
        thread.log.append((thread.last_number, row, ended))

    def _use(self, thread: _Thread, number: int, at: datetime) -> None:
        """Makes a conversation the most recently used one."""
        thread.last_number = number
        thread.updated_at = max(at, thread.updated_at)

    def _next_number(self) -> int:
        self._sequence += 1
        return self._sequence

    def _now(self) -> datetime:
        """The time in whole milliseconds, which is what the API shows."""
        now = self._clock()
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    def _forget_ids(self, now: datetime) -> None:
        """Forgets ids that were cleared long ago, and conversations that have nothing else."""
        long_ago = now - IDS_STAY_USED
        oldest_first = self._cleared.items()
        for ref, (_, conversation) in list(
            itertools.takewhile(lambda item: item[1][0] < long_ago, oldest_first)
        ):
            del self._cleared[ref]
            thread = self._threads.get(conversation)
            if thread is not None and not thread.rows and thread.cleared_at < long_ago:
                del self._threads[conversation]


def _index(rows: list[_Row], row: _Row) -> int:
    """Where a row is among those of its conversation."""
    return bisect_left(rows, row.position, key=lambda other: other.position)


def _write(target: _Text, at_offset: int, text: str) -> None:
    """Appends text where it says it stands; the same text again changes nothing."""
    if at_offset == target.end:
        target.append(text)
        return
    begin, there = target.tail(at_offset)
    check_repeated(at_offset, text, begin=begin, there=there, end=target.end)
