"""The promises, whatever happens in whatever order, on every store.

Hypothesis plays: two processes on one store, two owners who use the same ids, clients that read
fast, slowly or not at all, cuts, resumes with every kind of text, repeated sends, further replies
to one message, stops, clears, restarts, and calls to the store that fail or whose answers are lost.
Where a store can be shared, each process has its own connection to it, and processes die or sleep
longer than their lease. After each step everything that can be seen is compared with a model.
"""

import asyncio
import itertools
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from graphql_app import chat, follower, producer
from graphql_app.chat import ChatService
from graphql_app.errors import (
    CompletionError,
    MessageClearedError,
    MessageIdConflictError,
    MessageNotFoundError,
    ReplyStreamingError,
    StoreUnavailableError,
)
from graphql_app.interfaces import Store
from graphql_app.messages import (
    Conversation,
    Message,
    Ref,
    ReplyErrorCode,
    Status,
    scalar_text,
    utf16_head,
    utf16_length,
)
from graphql_app.stores import open_store
from tests.chats import PATIENCE_SECONDS, Chunks, Client, Window, abandon, settled
from tests.contracts.backends import BACKENDS, Backend
from tests.faults import ANYTHING, Faults, FaultyStore, ScriptedCompletion, ScriptedCompletions

T = TypeVar("T")

OWNERS = ("ann", "bob")
CONVERSATIONS = ("c1", "c2")

LEASE_SECONDS = 1.5
"""Short, so that the truth comes soon; long enough for a loaded machine to renew in time."""

TRUTH_SECONDS = LEASE_SECONDS + 5.0

processes = st.sampled_from([0, 1])
owners = st.sampled_from(OWNERS)
conversations = st.sampled_from(CONVERSATIONS)
texts = st.text(st.sampled_from("ab 日😀👧\u0301\n\0\ud83d"), min_size=1, max_size=5)
several_texts = st.lists(texts, max_size=3)
picks = st.integers(0, 1_000)
"""Which one is meant, of those that there are."""

turns = st.integers(0, 30)
"""How far what was said has come when something else happens."""

METHODS = (
    "add",
    "add_reply",
    "append",
    "append",
    "finish",
    "clear",
    "read",
    "history",
    "events",
    "events",
)
"""What may fail; where it matters more, more often."""


class PromiseBrokenError(Exception):
    """Something was seen that must never be, not even for a moment."""


def never(seen: bool, promise: str) -> None:
    if seen:
        raise PromiseBrokenError(promise)


@dataclass(eq=False)
class Sent:
    """A message that was sent, and what must have become of one of its replies."""

    owner: str
    id: str
    conversation: str
    content: str
    process: int
    completion: ScriptedCompletion
    expected_history: list[str]
    reply_id: str = ""
    was_asked_for: bool = False
    said: str = ""
    half_pair: str = ""
    status: Status = Status.STREAMING
    final: Message | None = None
    cleared: bool = False

    @property
    def streams(self) -> bool:
        return self.status is Status.STREAMING and not self.cleared

    def end_as(self, status: Status) -> None:
        if self.status is Status.STREAMING:
            self.status = status

    def hear(self, *pieces: str) -> None:
        """The completion says something, which will be stored if the reply still streams."""
        self.completion.say(*pieces)
        if self.streams:
            text = self.half_pair + "".join(pieces)
            cut = len(text) - ("\ud800" <= text[-1:] <= "\udbff")
            self.said, self.half_pair = self.said + scalar_text(text[:cut]), text[cut:]


@dataclass(eq=False)
class Viewer:
    """A client that follows a reply; a paused one reads at most one more chunk."""

    sent: Sent
    process: int
    client: Client
    reads: asyncio.Event = field(default_factory=asyncio.Event)
    is_cleared: bool = False
    task: "asyncio.Task[None] | None" = None

    def __post_init__(self) -> None:
        self.reads.set()

    async def follow(self) -> None:
        while not (self.client.chunks and self.client.status.is_final):
            await self.reads.wait()
            try:
                await self.client.next(patience=None)
            except MessageClearedError:
                self.is_cleared = True
                return


@dataclass(frozen=True)
class OpenWindow:
    """A window, and the task that keeps it in step."""

    owner: str
    conversation: str
    process: int
    window: Window
    task: "asyncio.Task[None]"


@dataclass(frozen=True)
class Process:
    """A process that serves the chat: its way to the store, and what goes wrong with that."""

    store: Store
    faults: Faults
    chat: ChatService


@dataclass(frozen=True)
class Seen:
    """What all processes say, after what the clients had been shown."""

    shown: list[tuple[Viewer, str]]
    users: dict[tuple[int, Sent], Message | None]
    replies: dict[tuple[int, Sent], Message | None]
    lists: dict[tuple[int, str, str], tuple[Message, ...]]
    conversations: dict[tuple[int, str], tuple[Conversation, ...]]


def somebody_reads(machine: "Promises") -> bool:
    return bool(machine.viewers)


def another_reply_was_asked_for(machine: "Promises") -> bool:
    return bool(machine.replaced)


def a_window_is_open(machine: "Promises") -> bool:
    return bool(machine.windows)


class Promises(RuleBasedStateMachine):
    """Two processes' parts in one process, around one memory store."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.suffix = f"-{uuid.uuid4().hex}"
        self.completions = ScriptedCompletions()
        self.processes: list[Process] = []
        self.sent: list[Sent] = []
        self.replaced: list[Sent] = []
        self.viewers: list[Viewer] = []
        self.windows: list[OpenWindow] = []

    # What depends on the store

    async def _process(self) -> Process:
        """A process that has just started."""
        store = self.processes[0].store if self.processes else FaultyStore()
        assert isinstance(store, FaultyStore)
        return Process(store, store, await ChatService(store, self.completions).__aenter__())

    async def _settle(self) -> None:
        """Returns when everything that follows from what was done has happened too."""
        await settled()

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Returns when something has happened that must happen at once."""
        await settled()
        assert condition()

    async def _check(self) -> None:
        self._compare(await self._look())

    # Running

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of a call, when everything that follows from it has happened too."""

        async def run() -> T:
            try:
                return await coroutine
            finally:
                await self._settle()

        return self.loop.run_until_complete(run())

    def ask(self, call: Callable[[], Awaitable[T]]) -> T:
        """The answer that a client gets who asks again for as long as the store is away."""
        return self.run(asked(call))

    @initialize(pieces=several_texts)
    def start(self, pieces: list[str]) -> None:
        for _ in range(2):
            self.processes.append(self.run(self._process()))
        self.send(0, "ann", "c1", pieces)

    def _chat(self, process: int) -> ChatService:
        return self.processes[process].chat

    def _named(self, owner: str) -> str:
        """The owner as the store knows them, who was in no other example."""
        return owner + self.suffix

    def _pick(self, pick: int) -> Sent:
        return self.sent[pick % len(self.sent)]

    # Sending

    @rule(process=processes, owner=owners, conversation=conversations, pieces=several_texts)
    def send(self, process: int, owner: str, conversation: str, pieces: list[str]) -> None:
        sent = self._new(process, owner, conversation)
        self._watch(sent, process, self._send(process, sent))
        self._say(sent, pieces)

    @rule(owner=owners, conversation=conversations, pieces=several_texts)
    def send_at_both_at_once(self, owner: str, conversation: str, pieces: list[str]) -> None:
        sent = self._new(0, owner, conversation)

        async def send() -> list[Chunks]:
            calls = [self._sending(process, sent) for process in (0, 1)]
            return await asyncio.gather(*map(asked, calls))

        for process, stream in enumerate(self.run(send())):
            self._watch(sent, process, stream)
        reply = Ref(self._named(owner), sent.reply_id)
        [sent.process] = [at for at in (0, 1) if reply in self._chat(at)._running]
        self._say(sent, pieces)

    def _new(self, process: int, owner: str, conversation: str) -> Sent:
        # The owners use the same ids; only the content tells their messages apart.
        id = f"m{sum(sent.owner == owner for sent in self.sent)}"
        content = f"{owner} {id}"
        sent = Sent(
            owner=owner,
            id=id,
            conversation=conversation,
            content=content,
            process=process,
            completion=self.completions.answering(content),
            expected_history=[*self._texts(owner, conversation), content],
        )
        self.sent.append(sent)
        return sent

    def _sending(self, process: int, sent: Sent) -> Callable[[], Awaitable[Chunks]]:
        return lambda: self._chat(process).send(
            self._named(sent.owner), sent.id, sent.conversation, sent.content
        )

    def _send(self, process: int, sent: Sent) -> Chunks:
        return self.ask(self._sending(process, sent))

    @rule(pick=picks, process=processes)
    def send_again(self, pick: int, process: int) -> None:
        sent = self._pick(pick)
        if sent.cleared:
            with pytest.raises(MessageClearedError):
                self._send(process, sent)
        else:
            self._watch(sent, process, self._send(process, sent))

    @rule(pick=picks, process=processes, more=st.sampled_from(["", "!"]))
    def send_something_else(self, pick: int, process: int, more: str) -> None:
        """The same id with other content, or in the other conversation."""
        sent = self._pick(pick)
        [other] = {*CONVERSATIONS} - {sent.conversation}
        conversation, content = (sent.conversation if more else other), sent.content + more
        owner = self._named(sent.owner)
        with pytest.raises(MessageClearedError if sent.cleared else MessageIdConflictError):
            self.ask(lambda: self._chat(process).send(owner, sent.id, conversation, content))

    # Asking for another reply

    @rule(
        pick=picks,
        process=processes,
        by_reply=st.booleans(),
        at_both=st.booleans(),
        pieces=several_texts,
    )
    def regenerate(
        self, pick: int, process: int, by_reply: bool, at_both: bool, pieces: list[str]
    ) -> None:
        before = self._pick(pick)
        id, by = f"n{len(self.replaced)}", before.reply_id if by_reply else before.id
        if before.cleared or before.streams:
            with pytest.raises(MessageClearedError if before.cleared else ReplyStreamingError):
                self.ask(self._regenerating(process, before, id, by))
            return
        after = self._replaced(before, process, id)

        async def ask() -> list[Chunks]:
            at = (0, 1) if at_both else (process,)
            calls = [self._regenerating(each, before, id, by) for each in at]
            return await asyncio.gather(*map(asked, calls))

        for each, stream in enumerate(self.run(ask())):
            self._watch(after, each if at_both else process, stream)
        reply = Ref(self._named(after.owner), id)
        [after.process] = [at for at in (0, 1) if reply in self._chat(at)._running]
        self._say(after, pieces)

    def _regenerating(
        self, process: int, sent: Sent, id: str, by: str
    ) -> Callable[[], Awaitable[Chunks]]:
        return lambda: self._chat(process).regenerate(self._named(sent.owner), id, by)

    def _replaced(self, before: Sent, process: int, id: str) -> Sent:
        """The new reply, in the place of the one before it."""
        there = self._there(before.owner, before.conversation)
        earlier = there[: there.index(before)]
        texts = [text for sent in earlier for text in (sent.content, sent.said) if text]
        after = Sent(
            owner=before.owner,
            id=before.id,
            conversation=before.conversation,
            content=before.content,
            process=process,
            completion=self.completions.answering_anew(before.content),
            expected_history=[*texts, before.content],
            reply_id=id,
            was_asked_for=True,
        )
        self.sent[self.sent.index(before)] = after
        self.replaced.append(before)
        return after

    @precondition(another_reply_was_asked_for)
    @rule(pick=picks, process=processes, by_reply=st.booleans())
    def regenerate_again(self, pick: int, process: int, by_reply: bool) -> None:
        """The same id for the same message, whatever became of it meanwhile."""
        asked_for = [sent for sent in self._everything() if sent.was_asked_for]
        sent = asked_for[pick % len(asked_for)]
        call = self._regenerating(
            process, sent, sent.reply_id, sent.reply_id if by_reply else sent.id
        )
        if sent.cleared:
            with pytest.raises(MessageClearedError):
                self.ask(call)
        else:
            self._watch(sent, process, self.ask(call))

    def _everything(self) -> list[Sent]:
        return [*self.sent, *self.replaced]

    # Completions

    @rule(pick=picks, pieces=several_texts)
    def say(self, pick: int, pieces: list[str]) -> None:
        self._say(self._pick(pick), pieces)

    @rule(pieces=several_texts)
    def say_something_in_all_replies(self, pieces: list[str]) -> None:
        for sent in self.sent:
            sent.hear(*pieces)
        self.run(self._settle())

    def _say(self, sent: Sent, pieces: list[str]) -> None:
        sent.hear(*pieces)
        self.run(self._settle())

    @rule(pick=picks, last=texts, status=st.sampled_from([Status.DONE, Status.ERROR]))
    def end(self, pick: int, last: str, status: Status) -> None:
        sent = self._pick(pick)
        sent.hear(last)
        if status is Status.DONE:
            sent.completion.end()
        else:
            sent.completion.fail(CompletionError("COMPLETION_FAILED", "The model sleeps."))
        if sent.streams:
            sent.said += scalar_text(sent.half_pair)
        sent.end_as(status)
        self.run(self._settle())

    # Followers

    def _watch(self, sent: Sent, process: int, stream: Chunks, shown: str = "") -> None:
        client = Client(stream, shown)
        viewer = Viewer(sent, process, client)
        viewer.task = self.loop.create_task(viewer.follow())
        self.viewers.append(viewer)
        # The first chunk comes at once.
        self.run(self._until(lambda: bool(client.chunks)))
        sent.reply_id = sent.reply_id or client.message_id
        assert client.message_id == sent.reply_id, "P4: one reply for each message"

    @precondition(somebody_reads)
    @rule(pick=picks)
    def read_slowly_or_catch_up(self, pick: int) -> None:
        reads = self.viewers[pick % len(self.viewers)].reads
        if reads.is_set():
            reads.clear()
        else:
            reads.set()
        self.run(self._settle())

    @precondition(somebody_reads)
    @rule(pick=picks)
    def cut(self, pick: int) -> None:
        self._cut(self.viewers[pick % len(self.viewers)])

    def _cut(self, viewer: Viewer) -> None:
        self.viewers.remove(viewer)
        assert viewer.task is not None
        self.run(ended(viewer.task))
        self.run(viewer.client.leave())

    @precondition(somebody_reads)
    @rule(
        pick=picks,
        process=processes,
        how=st.sampled_from(["content", "beginning", "more", "wrong", "offset", "nothing"]),
        wrong=texts,
        length=st.integers(0, 20),
    )
    def cut_and_resume(self, pick: int, process: int, how: str, wrong: str, length: int) -> None:
        viewer = self.viewers[pick % len(self.viewers)]
        self._cut(viewer)
        shown = viewer.client.content
        content: str | None = shown
        offset = None
        match how:
            case "beginning":
                content = shown = utf16_head(shown, length)
            case "more":
                content = shown = shown + wrong
            case "wrong":
                content = shown = wrong + shown
            case "offset":
                content, offset = None, min(length, utf16_length(shown))
            case "nothing":
                content, shown = None, ""
        self._resume(viewer.sent, process, shown, content, offset)

    def _resume(
        self, sent: Sent, process: int, shown: str, content: str | None, offset: int | None = None
    ) -> None:
        def call() -> Awaitable[Chunks]:
            return self._chat(process).resume(
                self._named(sent.owner), sent.reply_id, content=content, offset=offset
            )

        if sent.cleared:
            with pytest.raises(MessageClearedError):
                self.ask(call)
        else:
            self._watch(sent, process, self.ask(call), shown)

    # Stopping, clearing, restarting

    @rule(pick=picks, process=processes, by_reply=st.booleans())
    def stop(self, pick: int, process: int, by_reply: bool) -> None:
        sent = self._pick(pick)
        if sent.cleared:
            with pytest.raises(MessageNotFoundError):
                self._stop(sent, process, by_reply)
            return
        sent.end_as(Status.STOPPED)
        stopped = self._stop(sent, process, by_reply)
        assert (stopped.id, stopped.status) == (sent.reply_id, sent.status)
        assert stopped.content == sent.said

    def _stop(self, sent: Sent, process: int, by_reply: bool) -> Message:
        id = sent.reply_id if by_reply else sent.id
        return self.ask(lambda: self._chat(process).stop(self._named(sent.owner), id))

    @rule(pick=picks, process=processes, pieces=several_texts, turns=turns)
    def stop_in_mid_speech(self, pick: int, process: int, pieces: list[str], turns: int) -> None:
        """Somewhere in what is just being said; where, only the store knows."""
        sent = self._pick(pick)
        if not sent.streams:
            return
        before = sent.said
        sent.hear(*pieces)
        self.loop.run_until_complete(elapsed(turns))
        stopped = self._stop(sent, process, by_reply=True)
        assert stopped.status is Status.STOPPED
        self._ended_inside(sent, before, stopped)

    def _ended_inside(self, sent: Sent, before: str, ended: Message) -> None:
        """A reply ended somewhere between what was stored before and what was said since."""
        never(not ended.content.startswith(before), "P1: what was stored is kept")
        never(not sent.said.startswith(ended.content), "P1: nothing is stored that was not said")
        sent.said = ended.content
        sent.end_as(ended.status)

    @rule(
        process=processes,
        owner=owners,
        conversation=conversations,
        pieces=several_texts,
        turns=turns,
    )
    def clear(
        self, process: int, owner: str, conversation: str, pieces: list[str], turns: int
    ) -> None:
        there = self._there(owner, conversation)
        replaced = self._there(owner, conversation, self.replaced)
        for sent in there:
            sent.hear(*pieces)
        self.loop.run_until_complete(elapsed(turns))
        for sent in (*there, *replaced):
            sent.cleared = True
        tries = itertools.count()

        async def clear() -> int:
            next(tries)
            return await self._chat(process).clear(self._named(owner), conversation)

        count = self.ask(clear)
        # One whose answer was lost has cleared all the same, and the next one finds nothing.
        everything = 2 * len(there) + len(replaced)
        assert count == everything or (count == 0 and next(tries) > 1)

    @rule(process=processes)
    def restart(self, process: int) -> None:
        self.processes[process].faults.healed()
        for sent in self.sent:
            if sent.process == process:
                sent.end_as(Status.ERROR)
        self._restart(process)

    def _restart(self, process: int) -> None:
        self.run(self._chat(process).__aexit__())
        self.processes[process] = self.run(self._process())

    # Windows

    @rule(process=processes, owner=owners, conversation=conversations)
    def open_window(self, process: int, owner: str, conversation: str) -> None:
        named = self._named(owner)
        window = Window(self.ask(lambda: self._chat(process).events(named, conversation)))

        async def show() -> None:
            while True:
                await window.next(patience=None)

        task = self.loop.create_task(show())
        self.windows.append(OpenWindow(owner, conversation, process, window, task))
        self.run(self._settle())

    @precondition(a_window_is_open)
    @rule(pick=picks)
    def close_window(self, pick: int) -> None:
        self._close(self.windows[pick % len(self.windows)])

    def _close(self, closed: OpenWindow) -> None:
        self.windows.remove(closed)
        self.run(ended(closed.task))
        self.run(closed.window.leave())

    # Faults

    @rule(
        process=processes,
        method=st.sampled_from(METHODS),
        times=st.integers(1, 3),
        is_answer=st.booleans(),
    )
    def the_store_will_fail(self, process: int, method: str, times: int, is_answer: bool) -> None:
        """The next calls fail, or are done and their answers lost."""
        self._will_fail(process, method, times, is_answer)

    def _will_fail(self, process: int, method: str, times: int, is_answer: bool) -> None:
        faults = self.processes[process].faults
        faults.healed()  # More failures than the tries of a send would be another story.
        if is_answer:
            faults.losing_answers_of(method, times=times)
        else:
            faults.failing_on(method, times=times)

    # What must be true at any time

    @invariant()
    def everything_that_is_promised_holds(self) -> None:
        self.loop.run_until_complete(self._check())

    def _there(self, owner: str, conversation: str, among: list[Sent] | None = None) -> list[Sent]:
        return [
            sent
            for sent in (self.sent if among is None else among)
            if (sent.owner, sent.conversation, sent.cleared) == (owner, conversation, False)
        ]

    def _texts(self, owner: str, conversation: str) -> list[str]:
        """The contents that a new reply's completion is given, but for its own message."""
        there = self._there(owner, conversation)
        return [text for sent in there for text in (sent.content, sent.said) if text]

    async def _look(self) -> Seen:
        shown = [(viewer, viewer.client.content) for viewer in self.viewers if viewer.client.chunks]
        at = range(len(self.processes))
        of_messages = list(itertools.product(at, self._everything()))
        of_lists = list(itertools.product(at, OWNERS, CONVERSATIONS))
        of_owners = list(itertools.product(at, OWNERS))
        return Seen(
            shown=shown,
            users=await self._each(
                of_messages,
                lambda process, sent: self._chat(process).message(self._named(sent.owner), sent.id),
            ),
            replies=await self._each(
                of_messages,
                lambda process, sent: self._chat(process).message(
                    self._named(sent.owner), sent.reply_id
                ),
            ),
            lists=await self._each(
                of_lists,
                lambda process, owner, conversation: self._chat(process).messages(
                    self._named(owner), conversation
                ),
            ),
            conversations=await self._each(
                of_owners,
                lambda process, owner: self._chat(process).conversations(self._named(owner)),
            ),
        )

    async def _each(
        self, keys: list[Any], call: Callable[..., Coroutine[Any, Any, T]]
    ) -> dict[Any, T]:
        found = await asyncio.gather(*(asked(lambda key=key: call(*key)) for key in keys))  # type: ignore[misc]
        return dict(zip(keys, found, strict=True))

    def _compare(self, seen: Seen) -> None:
        self.nothing_is_seen_that_may_not_be(seen)
        self.each_reply_is_what_was_said(seen)
        self.each_message_cost_one_completion()
        self.each_client_shows_what_is_stored()
        self.lists_and_windows_show_what_there_is(seen)

    def nothing_is_seen_that_may_not_be(self, seen: Seen) -> None:
        for (_, sent), reply in seen.replies.items():
            if sent.cleared:
                never(reply is not None, "P8: nothing of the old text can come back")
                continue
            if reply is None:
                raise PromiseBrokenError("a reply is not there")
            never(not sent.said.startswith(reply.content), "P1: only what was said is stored")
            never(reply.status not in (Status.STREAMING, sent.status), "P5: the wrong end")
            if reply.status.is_final:
                sent.final = sent.final or reply
                if sent.final.usage is None:
                    # What it took may be told after its end, once.
                    sent.final = replace(sent.final, usage=reply.usage)
                told = replace(sent.final, usage=reply.usage and sent.final.usage)
                never(reply != told, "P5: it never changes after")
        for (_, sent), user in seen.users.items():
            never(
                (user is None) is not sent.cleared, "a user's message is there until it is cleared"
            )
        for viewer, content in seen.shown:
            stored = seen.replies[0, viewer.sent]
            if stored is not None:
                never(not stored.content.startswith(content), "P1, P2: shown before it was stored")
        for sent in self._everything():
            never(sent.completion.calls > 1, "P4: it cost twice")
        never(len(self.completions.answers) > len(self.sent), "P4: an answer to nothing")

    def each_reply_is_what_was_said(self, seen: Seen) -> None:
        for (_, sent), reply in seen.replies.items():
            if reply is not None:
                assert (reply.content, reply.status) == (sent.said, sent.status)
        for (_, sent), user in seen.users.items():
            assert user is None or user.content == sent.content

    def each_message_cost_one_completion(self) -> None:
        for sent in self._everything():
            assert sent.completion.calls == 1, "P4"
            [history] = sent.completion.histories
            assert [message.content for message in history] == sent.expected_history
            if not sent.streams:
                assert sent.completion.closed == 1, "P6: the provider's request is closed"

    def each_client_shows_what_is_stored(self) -> None:
        for viewer in self.viewers:
            sent, client = viewer.sent, viewer.client
            assert viewer.task is not None
            if viewer.task.done():
                viewer.task.result()
            if viewer.reads.is_set():
                if not (client.chunks and client.status.is_final):
                    assert viewer.is_cleared == sent.cleared
                if not sent.cleared:
                    assert (client.content, client.status) == (sent.said, sent.status), "P1"
            elif client.chunks:
                assert sent.said.startswith(client.content), "P1"
                if client.status.is_final:
                    assert (client.content, client.status) == (sent.said, sent.status)

    def lists_and_windows_show_what_there_is(self, seen: Seen) -> None:
        for (_, owner, conversation), messages in seen.lists.items():
            there = self._there(owner, conversation)
            ids = [id for sent in there for id in (sent.id, sent.reply_id)]
            assert [message.id for message in messages] == ids
            contents = [text for sent in there for text in (sent.content, sent.said)]
            assert [message.content for message in messages] == contents
            times = [message.created_at for message in messages]
            assert times == sorted(set(times))
            for open in self.windows:
                if (open.owner, open.conversation) == (owner, conversation):
                    assert not open.task.done()
                    self._is_in_step(open.window, messages)
        for (_, owner), found in seen.conversations.items():
            assert {each.id for each in found} == {
                each for each in CONVERSATIONS if self._there(owner, each)
            }

    def _is_in_step(self, window: Window, messages: tuple[Message, ...]) -> None:
        assert list(window.messages) == [message.id for message in messages]
        for message in messages:
            shown = window.messages[message.id]
            # Text that grows is not announced, nor is a usage that comes after the end.
            assert shown in (message, replace(message, usage=None)) or (
                shown.status is message.status is Status.STREAMING
                and message.content.startswith(shown.content)
            )

    def teardown(self) -> None:
        try:
            for viewer in list(self.viewers):
                self._cut(viewer)
            for window in list(self.windows):
                self._close(window)
            for process in self.processes:
                process.faults.healed()
                self.run(process.chat.__aexit__())
            self._let_go()
            assert not asyncio.all_tasks(self.loop), "P9: nothing leaks"
        finally:
            self.loop.run_until_complete(end_all_tasks())
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()

    def _let_go(self) -> None:
        for process in self.processes:
            assert isinstance(process.store, FaultyStore)
            assert process.store.watchers == 0


def may_be_lost(machine: "PromisesAcrossProcesses") -> bool:
    """Twice, since it takes the time of a lease until others can tell."""
    return machine.losses < 2


class PromisesAcrossProcesses(Promises):
    """Two processes with a connection each to the store that they share."""

    store_url: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.losses = 0

    async def _process(self) -> Process:
        faults = Faults()
        store = faults.around(open_store(self.store_url))
        await store.open()
        service = ChatService(store, self.completions, lease_seconds=LEASE_SECONDS)
        return Process(store, faults, await service.__aenter__())

    async def _settle(self) -> None:
        """Nothing to do: what follows is waited for when it is compared."""

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():  # noqa: ASYNC110 (the machine is one of many that look)
                await asyncio.sleep(0.002)

    async def _check(self) -> None:
        """Compares, again and again until all that must follow has happened."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_SECONDS
        while True:
            try:
                # What costs nothing comes first.
                self.each_message_cost_one_completion()
                self.each_client_shows_what_is_stored()
                self._compare(await self._look())
                return
            except AssertionError:
                if loop.time() > deadline:
                    raise
            await asyncio.sleep(0.005)

    def _restart(self, process: int) -> None:
        cut = self._lose_connections(process)
        self.run(self._chat(process).__aexit__())
        self.run(self.processes[process].store.close())
        self.processes[process] = self.run(self._process())
        self._reconnect(cut, process)

    def _lose_connections(self, process: int) -> list[Viewer]:
        """A process ends: its clients are cut."""
        for window in list(self.windows):
            if window.process == process:
                self._close(window)
        cut = [viewer for viewer in self.viewers if viewer.process == process]
        for viewer in cut:
            self._cut(viewer)
        return cut

    def _reconnect(self, cut: list[Viewer], process: int) -> None:
        for viewer in cut:
            content = viewer.client.content
            self._resume(viewer.sent, process, content, content)

    @rule(
        process=processes,
        method=st.sampled_from(["renew", "sweep", ANYTHING, ANYTHING]),
        times=st.integers(1, 3),
        is_answer=st.booleans(),
    )
    def the_store_will_be_away(
        self, process: int, method: str, times: int, is_answer: bool
    ) -> None:
        """Renewals fail too, which are tried again only after a while."""
        self._will_fail(process, method, times, is_answer)

    # Processes that do not come to their own end

    # Which process runs a reply that was sent at both is not known to Hypothesis, which must not
    # see a difference: so it is a process that is picked, and not a reply.

    @precondition(may_be_lost)
    @rule(process=processes, pieces=several_texts, turns=turns)
    def die(self, process: int, pieces: list[str], turns: int) -> None:
        """A process is killed while its replies are growing, and another one starts."""
        lost = self._to_be_lost(process)
        before = {sent: sent.said for sent in lost}
        for sent in lost:
            sent.hear(*pieces)
        self.loop.run_until_complete(elapsed(turns))
        self.run(abandon(self._chat(process)))
        cut = self._lose_connections(process)
        self.run(self.processes[process].store.close())
        self._truth_is_told(1 - process, before)
        self.processes[process] = self.run(self._process())
        self._reconnect(cut, 1 - process)

    @precondition(may_be_lost)
    @rule(process=processes, pieces=several_texts)
    def sleep_for_longer_than_the_lease(self, process: int, pieces: list[str]) -> None:
        """No call of a process comes through; what it says meanwhile never gets in."""
        lost = self._to_be_lost(process)
        self.processes[process].faults.healed()
        gate = self.processes[process].faults.holding(ANYTHING)
        for sent in lost:
            sent.completion.say(*pieces)
        self._truth_is_told(1 - process, {sent: sent.said for sent in lost})
        gate.open()

    def _to_be_lost(self, process: int) -> list[Sent]:
        self.losses += 1
        return [sent for sent in self.sent if sent.streams and sent.process == process]

    def _truth_is_told(self, process: int, before: dict[Sent, str]) -> None:
        """Another process ends the replies as lost, in time and with their text."""

        async def told(sent: Sent) -> Message:
            while True:
                reply = await asked(
                    lambda: self._chat(process).message(self._named(sent.owner), sent.reply_id)
                )
                assert reply is not None
                if reply.status.is_final:
                    return reply
                await asyncio.sleep(0.02)

        async def all_told() -> list[Message]:
            async with asyncio.timeout(TRUTH_SECONDS):
                return await asyncio.gather(*map(told, before))

        for sent, ended in zip(before, self.run(all_told()), strict=True):
            assert ended.error is not None
            assert ended.error.code is ReplyErrorCode.PRODUCER_LOST, "P7"
            self._ended_inside(sent, before[sent], ended)

    def _let_go(self) -> None:
        for process in self.processes:
            self.run(process.store.close())


async def asked(call: Callable[[], Awaitable[T]]) -> T:
    """What a client does who is told to try again."""
    for _ in range(20):
        try:
            return await call()
        except StoreUnavailableError:
            await asyncio.sleep(0.001)
    return await call()


async def elapsed(turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


async def ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait({task})


async def end_all_tasks() -> None:
    """Leaves nothing to complain about after a failure, which says more."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.id)
def backend(request: pytest.FixtureRequest) -> Backend:
    backend: Backend = request.param
    backend.require()
    return backend


MUCH = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    # To get a shorter example, add Phase.shrink; that takes minutes.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
LITTLE = settings(
    MUCH,
    max_examples=10,
    stateful_step_count=25,
    suppress_health_check=[HealthCheck.too_slow],
)
"""Real stores need real time."""


def test_promises_are_kept(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory = backend.id == "memory"
    # Waiting after a failure would take the time, and in memory nothing else takes any.
    pause = 0.0 if in_memory else 0.02
    monkeypatch.setattr(producer, "RETRY_SECONDS", (pause,))
    monkeypatch.setattr(chat, "ADD_AGAIN_SECONDS", (pause,) * len(chat.ADD_AGAIN_SECONDS))
    monkeypatch.setattr(follower, "OUTAGE_SECONDS", pause)
    monkeypatch.setattr(chat, "OUTAGE_SECONDS", pause)
    if in_memory:
        run_state_machine_as_test(Promises, settings=MUCH)
        return
    with backend.serve(tmp_path) as url:

        class OnThisStore(PromisesAcrossProcesses):
            store_url = url

        run_state_machine_as_test(OnThisStore, settings=LITTLE)
