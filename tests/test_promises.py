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
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
)

from graphql_app.chat import ChatService
from graphql_app.errors import (
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
texts = st.text(st.sampled_from("ab 日😀👧\u0301\n\0\ud83d"), max_size=5)


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

    async def follow(self) -> None:
        while not (self.client.chunks and self.client.status.is_final):
            await self.reads.wait()
            try:
                await self.client.next()
            except MessageClearedError:
                self.is_cleared = True
                return


class Promises(RuleBasedStateMachine):
    sents = Bundle("sents")
    viewers = Bundle("viewers")
    windows = Bundle("windows")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.store = FaultyStore()
        self.completions = ScriptedCompletions()
        self.chats: list[ChatService] = []
        self.all_sent: list[Sent] = []
        self.all_viewers: list[Viewer] = []
        self.all_windows: dict[asyncio.Task[None], tuple[str, str, Window]] = {}

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of a call, when everything that follows from it has happened too."""

        async def run() -> T:
            try:
                return await coroutine
            finally:
                await settled()

        return self.loop.run_until_complete(run())

    @initialize()
    def start(self) -> None:
        for _ in range(2):
            self.chats.append(self.run(self._service().__aenter__()))

    def _service(self) -> ChatService:
        return ChatService(self.store, self.completions)

    # Sending

    @rule(target=sents, process=processes, owner=owners, conversation=conversations)
    def send(self, process: int, owner: str, conversation: str) -> Sent:
        # The owners use the same ids; only the content tells their messages apart.
        id = f"m{sum(sent.owner == owner for sent in self.all_sent)}"
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
        self.all_sent.append(sent)
        self._watch(sent, self._send(process, sent))
        return sent

    def _send(self, process: int, sent: Sent) -> AsyncGenerator[Chunk, None]:
        return self.run(
            self.chats[process].send(sent.owner, sent.id, sent.conversation, sent.content)
        )

    @rule(target=viewers, sent=sents, process=processes)
    def send_again(self, sent: Sent, process: int) -> Any:
        if sent.cleared:
            with pytest.raises(MessageClearedError):
                self._send(process, sent)
            return self._nobody(sent)
        return self._watch(sent, self._send(process, sent))

    @rule(sent=sents, process=processes, other=conversations, content=st.sampled_from(["", "!"]))
    def send_something_else(self, sent: Sent, process: int, other: str, content: str) -> None:
        if other == sent.conversation and not content:
            return
        with pytest.raises(MessageClearedError if sent.cleared else MessageIdConflictError):
            self.run(self.chats[process].send(sent.owner, sent.id, other, sent.content + content))

    # Completions

    @rule(sent=sents, pieces=st.lists(texts, min_size=1, max_size=3))
    def say(self, sent: Sent, pieces: list[str]) -> None:
        sent.completion.say(*pieces)
        if sent.status is Status.STREAMING and not sent.cleared:
            sent.said += "".join(map(scalar_text, pieces))
        self.run(settled())

    @rule(sent=sents, last=texts)
    def end(self, sent: Sent, last: str) -> None:
        self.say(sent, [last])
        sent.completion.end()
        sent.end_as(Status.DONE)
        self.run(settled())

    @rule(sent=sents)
    def fail(self, sent: Sent) -> None:
        sent.completion.fail(RuntimeError("the model sleeps"))
        sent.end_as(Status.ERROR)
        self.run(settled())

    # Followers

    def _watch(self, sent: Sent, stream: AsyncGenerator[Chunk, None], shown: str = "") -> Viewer:
        viewer = Viewer(sent, Client(stream, shown))
        viewer.reads.set()
        viewer.task = self.loop.create_task(viewer.follow())
        self.all_viewers.append(viewer)
        self.run(settled())
        if viewer.client.chunks:
            sent.reply_id = sent.reply_id or viewer.client.message_id
            assert viewer.client.message_id == sent.reply_id, "P4: one reply for each message"
        return viewer

    def _nobody(self, sent: Sent) -> Viewer:
        """A viewer whose operation was refused."""
        return Viewer(sent, Client(None, ""))  # type: ignore[arg-type]

    @rule(viewer=viewers)
    def read_slowly(self, viewer: Viewer) -> None:
        viewer.reads.clear()

    @rule(viewer=viewers)
    def catch_up(self, viewer: Viewer) -> None:
        viewer.reads.set()
        self.run(settled())

    @rule(viewer=consumes(viewers))
    def cut(self, viewer: Viewer) -> None:
        self._cut(viewer)

    def _cut(self, viewer: Viewer) -> None:
        if viewer in self.all_viewers:
            self.all_viewers.remove(viewer)
            assert viewer.task is not None
            viewer.task.cancel()
            self.run(viewer.client.leave())

    @rule(
        target=viewers,
        viewer=consumes(viewers),
        process=processes,
        how=st.sampled_from(["content", "beginning", "more", "wrong", "offset", "nothing"]),
        wrong=texts,
        length=st.integers(0, 20),
    )
    def resume(self, viewer: Viewer, process: int, how: str, wrong: str, length: int) -> Viewer:
        self._cut(viewer)
        shown = viewer.client.content
        content: str | None = shown
        offset = None
        match how:
            case "beginning":
                content = shown = utf16_head(shown, length)
            case "more":
                content = shown = shown + wrong + "!"
            case "wrong":
                content = shown = wrong + shown
            case "offset" if viewer.client.chunks:
                content, offset = None, min(length, utf16_length(shown))
            case "nothing":
                content, shown = None, ""
        sent = viewer.sent
        call = self.chats[process].resume(sent.owner, sent.reply_id, content=content, offset=offset)
        if sent.cleared:
            with pytest.raises(MessageClearedError):
                self.run(call)
            return self._nobody(sent)
        return self._watch(sent, self.run(call), shown)

    # Stopping, clearing, restarting

    @rule(sent=sents, process=processes, by_reply=st.booleans())
    def stop(self, sent: Sent, process: int, by_reply: bool) -> None:
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
        for sent in self.all_sent:
            if sent.process == process:
                sent.end_as(Status.ERROR)
        self.run(self.chats[process].__aexit__())
        self.chats[process] = self.run(self._service().__aenter__())

    # Windows

    @rule(target=windows, process=processes, owner=owners, conversation=conversations)
    def open_window(self, process: int, owner: str, conversation: str) -> "asyncio.Task[None]":
        window = Window(self.run(self.chats[process].events(owner, conversation)))

        async def show() -> None:
            while True:
                await window.next()

        task = self.loop.create_task(show())
        self.all_windows[task] = owner, conversation, window
        self.run(settled())
        return task

    @rule(task=consumes(windows))
    def close_window(self, task: "asyncio.Task[None]") -> None:
        _, _, window = self.all_windows.pop(task)
        task.cancel()
        self.run(settled())
        self.run(window.leave())

    # What must be true at any time

    def _there(self, owner: str, conversation: str) -> list[Sent]:
        return [
            sent
            for sent in self.all_sent
            if (sent.owner, sent.conversation, sent.cleared) == (owner, conversation, False)
        ]

    def _texts(self, owner: str, conversation: str) -> list[str]:
        """The contents that a new reply's completion is given, but for its own message."""
        there = self._there(owner, conversation)
        return [text for sent in there for text in (sent.content, sent.said) if text]

    @invariant()
    def each_reply_is_what_was_said_and_final_is_final(self) -> None:
        for sent, process in itertools.product(self.all_sent, range(len(self.chats))):
            user = self.run(self.chats[process].message(sent.owner, sent.id))
            reply = self.run(self.chats[process].message(sent.owner, sent.reply_id))
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

    @invariant()
    def each_message_cost_one_completion(self) -> None:
        for sent in self.all_sent:
            assert sent.completion.calls == 1, "P4"
            [history] = sent.completion.histories
            assert [message.content for message in history] == sent.expected_history
            if sent.cleared or sent.status.is_final:
                assert sent.completion.closed == 1, "P6: the provider's request is closed"
        assert len(self.completions.answers) == len(self.all_sent)

    @invariant()
    def each_client_shows_a_prefix_of_what_is_stored(self) -> None:
        for viewer in self.all_viewers:
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

    @invariant()
    def lists_and_windows_show_what_there_is(self) -> None:
        for chat, owner, conversation in itertools.product(self.chats, OWNERS, CONVERSATIONS):
            messages = self.run(chat.messages(owner, conversation))
            there = self._there(owner, conversation)
            ids = [id for sent in there for id in (sent.id, sent.reply_id)]
            assert [message.id for message in messages] == ids
            times = [message.created_at for message in messages]
            assert times == sorted(set(times))
            for task, (*shown, window) in self.all_windows.items():
                if shown == [owner, conversation]:
                    assert not task.done()
                    self._is_in_step(window, messages)
        for chat, owner in itertools.product(self.chats, OWNERS):
            found = self.run(chat.conversations(owner))
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
        for viewer in list(self.all_viewers):
            self._cut(viewer)
        for task in list(self.all_windows):
            self.close_window(task)
        for chat in self.chats:
            self.run(chat.__aexit__())
        assert not asyncio.all_tasks(self.loop), "P9: nothing leaks"
        assert self.store.watchers == 0
        self.loop.close()


TestPromises = Promises.TestCase
TestPromises.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
