"""The promises, whatever happens in whatever order.

Hypothesis plays: two processes on one store, two owners who use the same ids, clients that read
fast, slowly or not at all, cuts, resumes with every kind of text, repeated sends, stops, clears and
restarts. After each step everything that can be seen is compared with a model.
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from graphql_app.chat import ChatService
from graphql_app.errors import (
    CompletionError,
    MessageClearedError,
    MessageIdConflictError,
    MessageNotFoundError,
)
from graphql_app.messages import Chunk, Message, Status, scalar_text, utf16_head, utf16_length
from tests.chats import Client, Window, settled
from tests.faults import FaultyStore, ScriptedCompletion, ScriptedCompletions

T = TypeVar("T")

OWNERS = ("ann", "bob")
CONVERSATIONS = ("c1", "c2")

processes = st.sampled_from([0, 1])
owners = st.sampled_from(OWNERS)
conversations = st.sampled_from(CONVERSATIONS)
texts = st.text(st.sampled_from("ab 日😀👧\u0301\n\0\ud83d"), min_size=1, max_size=5)
several_texts = st.lists(texts, max_size=3)
picks = st.integers(0, 1_000)
"""Which one is meant, of those that there are."""


@dataclass(eq=False)
class Sent:
    """A message that was sent, and what must have become of its reply."""

    owner: str
    id: str
    conversation: str
    content: str
    process: int
    completion: ScriptedCompletion
    expected_history: list[str]
    reply_id: str = ""
    said: str = ""
    half_pair: str = ""
    status: Status = Status.STREAMING
    final: Message | None = None
    cleared: bool = False

    def end_as(self, status: Status) -> None:
        if self.status is Status.STREAMING:
            self.status = status


@dataclass(eq=False)
class Viewer:
    """A client that follows a reply; a paused one reads at most one more chunk."""

    sent: Sent
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
                await self.client.next()
            except MessageClearedError:
                self.is_cleared = True
                return


@dataclass(frozen=True)
class OpenWindow:
    """A window, and the task that keeps it in step."""

    owner: str
    conversation: str
    window: Window
    task: "asyncio.Task[None]"


def somebody_reads(machine: "Promises") -> bool:
    return bool(machine.viewers)


def a_window_is_open(machine: "Promises") -> bool:
    return bool(machine.windows)


class Promises(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.store = FaultyStore()
        self.completions = ScriptedCompletions()
        self.chats: list[ChatService] = []
        self.sent: list[Sent] = []
        self.viewers: list[Viewer] = []
        self.windows: list[OpenWindow] = []

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of a call, when everything that follows from it has happened too."""

        async def run() -> T:
            try:
                return await coroutine
            finally:
                await settled()

        return self.loop.run_until_complete(run())

    def ask(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of a call that changes nothing."""
        return self.loop.run_until_complete(coroutine)

    @initialize(pieces=several_texts)
    def start(self, pieces: list[str]) -> None:
        for _ in range(2):
            self.chats.append(self.run(self._service().__aenter__()))
        self.send(0, "ann", "c1", pieces)

    def _service(self) -> ChatService:
        return ChatService(self.store, self.completions)

    def _pick(self, pick: int) -> Sent:
        return self.sent[pick % len(self.sent)]

    # Sending

    @rule(process=processes, owner=owners, conversation=conversations, pieces=several_texts)
    def send(self, process: int, owner: str, conversation: str, pieces: list[str]) -> None:
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
        self._watch(sent, self._send(process, sent))
        self._say(sent, pieces)

    def _send(self, process: int, sent: Sent) -> AsyncGenerator[Chunk, None]:
        return self.run(
            self.chats[process].send(sent.owner, sent.id, sent.conversation, sent.content)
        )

    @rule(pick=picks, process=processes)
    def send_again(self, pick: int, process: int) -> None:
        sent = self._pick(pick)
        if sent.cleared:
            with pytest.raises(MessageClearedError):
                self._send(process, sent)
        else:
            self._watch(sent, self._send(process, sent))

    @rule(pick=picks, process=processes, more=st.sampled_from(["", "!"]))
    def send_something_else(self, pick: int, process: int, more: str) -> None:
        """The same id with other content, or in the other conversation."""
        sent = self._pick(pick)
        [other] = {*CONVERSATIONS} - {sent.conversation}
        conversation, content = (sent.conversation if more else other), sent.content + more
        with pytest.raises(MessageClearedError if sent.cleared else MessageIdConflictError):
            self.run(self.chats[process].send(sent.owner, sent.id, conversation, content))

    # Completions

    @rule(pick=picks, pieces=several_texts)
    def say(self, pick: int, pieces: list[str]) -> None:
        self._say(self._pick(pick), pieces)

    @rule(pieces=several_texts)
    def say_something_in_all_replies(self, pieces: list[str]) -> None:
        for sent in self.sent:
            self._say(sent, pieces)

    def _say(self, sent: Sent, pieces: list[str]) -> None:
        sent.completion.say(*pieces)
        if sent.status is Status.STREAMING and not sent.cleared:
            text = sent.half_pair + "".join(pieces)
            cut = len(text) - ("\ud800" <= text[-1:] <= "\udbff")
            sent.said, sent.half_pair = sent.said + scalar_text(text[:cut]), text[cut:]
        self.run(settled())

    @rule(pick=picks, last=texts, status=st.sampled_from([Status.DONE, Status.ERROR]))
    def end(self, pick: int, last: str, status: Status) -> None:
        sent = self._pick(pick)
        self._say(sent, [last])
        if status is Status.DONE:
            sent.completion.end()
        else:
            sent.completion.fail(CompletionError("COMPLETION_FAILED", "The model sleeps."))
        if sent.status is Status.STREAMING and not sent.cleared:
            sent.said += scalar_text(sent.half_pair)
        sent.end_as(status)
        self.run(settled())

    # Followers

    def _watch(self, sent: Sent, stream: AsyncGenerator[Chunk, None], shown: str = "") -> None:
        client = Client(stream, shown)
        viewer = Viewer(sent, client)
        viewer.task = self.loop.create_task(viewer.follow())
        self.viewers.append(viewer)
        self.run(settled())
        assert client.chunks, "the first chunk comes at once"
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
        self.run(settled())

    @precondition(somebody_reads)
    @rule(pick=picks)
    def cut(self, pick: int) -> None:
        self._cut(pick)

    def _cut(self, pick: int) -> Viewer:
        viewer = self.viewers.pop(pick % len(self.viewers))
        assert viewer.task is not None
        viewer.task.cancel()
        self.run(viewer.client.leave())
        return viewer

    @precondition(somebody_reads)
    @rule(
        pick=picks,
        process=processes,
        how=st.sampled_from(["content", "beginning", "more", "wrong", "offset", "nothing"]),
        wrong=texts,
        length=st.integers(0, 20),
    )
    def cut_and_resume(self, pick: int, process: int, how: str, wrong: str, length: int) -> None:
        viewer = self._cut(pick)
        sent, shown = viewer.sent, viewer.client.content
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
        call = self.chats[process].resume(sent.owner, sent.reply_id, content=content, offset=offset)
        if sent.cleared:
            with pytest.raises(MessageClearedError):
                self.run(call)
        else:
            self._watch(sent, self.run(call), shown)

    # Stopping, clearing, restarting

    @rule(pick=picks, process=processes, by_reply=st.booleans())
    def stop(self, pick: int, process: int, by_reply: bool) -> None:
        sent = self._pick(pick)
        call = self.chats[process].stop(sent.owner, sent.reply_id if by_reply else sent.id)
        if sent.cleared:
            with pytest.raises(MessageNotFoundError):
                self.run(call)
            return
        sent.end_as(Status.STOPPED)
        stopped = self.run(call)
        assert (stopped.id, stopped.status) == (sent.reply_id, sent.status)
        assert stopped.content == sent.said

    @rule(process=processes, owner=owners, conversation=conversations)
    def clear(self, process: int, owner: str, conversation: str) -> None:
        there = self._there(owner, conversation)
        count = self.run(self.chats[process].clear(owner, conversation))
        assert count == 2 * len(there)
        for sent in there:
            sent.cleared = True

    @rule(process=processes)
    def restart(self, process: int) -> None:
        for sent in self.sent:
            if sent.process == process:
                sent.end_as(Status.ERROR)
        self.run(self.chats[process].__aexit__())
        self.chats[process] = self.run(self._service().__aenter__())

    # Windows

    @rule(process=processes, owner=owners, conversation=conversations)
    def open_window(self, process: int, owner: str, conversation: str) -> None:
        window = Window(self.run(self.chats[process].events(owner, conversation)))

        async def show() -> None:
            while True:
                await window.next()

        task = self.loop.create_task(show())
        self.windows.append(OpenWindow(owner, conversation, window, task))
        self.run(settled())

    @precondition(a_window_is_open)
    @rule(pick=picks)
    def close_window(self, pick: int) -> None:
        closed = self.windows.pop(pick % len(self.windows))
        closed.task.cancel()
        self.run(closed.window.leave())

    # What must be true at any time

    @invariant()
    def everything_that_is_promised_holds(self) -> None:
        self.each_reply_is_what_was_said_and_final_is_final()
        self.each_message_cost_one_completion()
        self.each_client_shows_a_prefix_of_what_is_stored()
        self.lists_and_windows_show_what_there_is()

    def _there(self, owner: str, conversation: str) -> list[Sent]:
        return [
            sent
            for sent in self.sent
            if (sent.owner, sent.conversation, sent.cleared) == (owner, conversation, False)
        ]

    def _texts(self, owner: str, conversation: str) -> list[str]:
        """The contents that a new reply's completion is given, but for its own message."""
        there = self._there(owner, conversation)
        return [text for sent in there for text in (sent.content, sent.said) if text]

    def each_reply_is_what_was_said_and_final_is_final(self) -> None:
        for sent, process in itertools.product(self.sent, range(len(self.chats))):
            user = self.ask(self.chats[process].message(sent.owner, sent.id))
            reply = self.ask(self.chats[process].message(sent.owner, sent.reply_id))
            if sent.cleared:
                assert user is None, "P8: nothing of the old text can come back"
                assert reply is None
                continue
            assert user is not None
            assert reply is not None
            assert user.content == sent.content
            assert (reply.content, reply.status) == (sent.said, sent.status)
            if reply.status.is_final:
                sent.final = sent.final or reply
                assert reply == sent.final, "P5: it never changes after"

    def each_message_cost_one_completion(self) -> None:
        for sent in self.sent:
            assert sent.completion.calls == 1, "P4"
            [history] = sent.completion.histories
            assert [message.content for message in history] == sent.expected_history
            if sent.cleared or sent.status.is_final:
                assert sent.completion.closed == 1, "P6: the provider's request is closed"
        assert len(self.completions.answers) == len(self.sent)

    def each_client_shows_a_prefix_of_what_is_stored(self) -> None:
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

    def lists_and_windows_show_what_there_is(self) -> None:
        for chat, owner, conversation in itertools.product(self.chats, OWNERS, CONVERSATIONS):
            messages = self.ask(chat.messages(owner, conversation))
            there = self._there(owner, conversation)
            ids = [id for sent in there for id in (sent.id, sent.reply_id)]
            assert [message.id for message in messages] == ids
            times = [message.created_at for message in messages]
            assert times == sorted(set(times))
            for open in self.windows:
                if (open.owner, open.conversation) == (owner, conversation):
                    assert not open.task.done()
                    self._is_in_step(open.window, messages)
        for chat, owner in itertools.product(self.chats, OWNERS):
            found = self.ask(chat.conversations(owner))
            assert {each.id for each in found} == {
                each for each in CONVERSATIONS if self._there(owner, each)
            }

    def _is_in_step(self, window: Window, messages: tuple[Message, ...]) -> None:
        assert list(window.messages) == [message.id for message in messages]
        for message in messages:
            shown = window.messages[message.id]
            # Text that grows is not announced.
            assert shown == message or (
                shown.status is message.status is Status.STREAMING
                and message.content.startswith(shown.content)
            )

    def teardown(self) -> None:
        try:
            while self.viewers:
                self._cut(0)
            while self.windows:
                self.close_window(0)
            for chat in self.chats:
                self.run(chat.__aexit__())
            assert not asyncio.all_tasks(self.loop), "P9: nothing leaks"
            assert self.store.watchers == 0
        finally:
            self.loop.run_until_complete(end_all_tasks())
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()


async def end_all_tasks() -> None:
    """Leaves nothing to complain about after a failure, which says more."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


TestPromises = Promises.TestCase
TestPromises.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    # To get a shorter example, add Phase.shrink; that takes minutes.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
