"""The terminal without a terminal: what lines mean, what is shown, and what Ctrl-C does when."""

import asyncio
import gc
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from io import StringIO
from typing import Any, cast

import pytest

from graphql_app.client import (
    CONNECTION_LOST,
    DEFAULT_URL,
    ChatClient,
    ChatClientError,
    ConnectionChange,
    Update,
)
from graphql_app.messages import Message, ReplyError, ReplyErrorCode, Role, Status
from graphql_app.terminal import (
    Command,
    Key,
    Screen,
    Signal,
    Terminal,
    UsageError,
    connection_notices,
    parse_line,
    printable,
    read_lines,
    way_back,
)
from tests.faults import leaking_nothing

PATIENCE_SECONDS = 10.0


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without styles, what is shown is easier to compare."""
    monkeypatch.setenv("TERM", "dumb")


class Tty(StringIO):
    """A terminal, or two streams that share one."""

    def isatty(self) -> bool:
        return True


# Text.


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain [bold]text[/bold]\n\tand a tab", "plain [bold]text[/bold]\n\tand a tab"),
        ("\x1b[2J\x07\x00", "␛[2J␇␀"),
        ("one\r\ntwo\rthree", "one\ntwothree"),
        ("\x7f\x9b31m\x85", "␡\ufffd31m\ufffd"),
        ("日本語 e\u0301 👩‍👩‍👧‍👦", "日本語 e\u0301 👩‍👩‍👧‍👦"),
    ],
)
def test_no_control_character_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("", None),
        ("  \t", None),
        ("Hello  there ", "Hello  there "),
        (" /stop", " /stop"),
        ("/stop", Command("stop")),
        ("/history  12 ", Command("history", "12")),
        ("/", Command("")),
        ("//usr/bin", "/usr/bin"),
    ],
)
def test_a_line_is_a_message_a_command_or_nothing(line: str, meant: Command | str | None) -> None:
    assert parse_line(line) == meant


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (way_back("r1"), "graphql-app chat --resume r1"),
        (way_back("r 1"), "graphql-app chat --resume 'r 1'"),
        (way_back("r1", url="ws://h/g", conversation_id="c"), "… --resume r1 --url ws://h/g"),
        (way_back(None, conversation_id="c"), "… --resume last --conversation c"),
    ],
)
def test_the_way_back_is_a_command_for_the_shell(command: str, expected: str) -> None:
    assert command == expected.replace("…", "graphql-app chat")


# Lines.


@pytest.mark.parametrize(
    ("written", "keys"),
    [
        ([], [Signal.END]),
        ([b"one\ntwo\n"], ["one", "two", Signal.END]),
        ([b"o", b"ne\r\n\nrest"], ["one", "", "rest", Signal.END]),
        (["é👩\n".encode()[:3], "é👩\n".encode()[3:]], ["é👩", Signal.END]),
        ([b"\xff\n"], ["\ufffd", Signal.END]),
    ],
)
def test_lines_are_read_to_the_end(written: list[bytes], keys: list[Key]) -> None:
    reader, writer = os.pipe()
    for data in written:
        os.write(writer, data)
    os.close(writer)
    entered: list[Key] = []
    read_lines(reader, entered.append)
    os.close(reader)
    assert entered == keys


def test_a_terminal_that_is_gone_is_the_end() -> None:
    reader, writer = os.pipe()
    os.close(writer)
    os.close(reader)
    entered: list[Key] = []
    read_lines(reader, entered.append)
    assert entered == [Signal.END]


def test_reading_ends_with_the_loop() -> None:
    def closed(key: Key) -> None:
        raise RuntimeError("Event loop is closed")

    reader, writer = os.pipe()
    os.write(writer, b"one\n")
    read_lines(reader, closed)
    os.close(reader)
    os.close(writer)


# The screen.


def test_wrong_text_is_corrected_with_its_whole_line() -> None:
    screen = Tty()
    Screen(screen, screen).update(Update("r1", "two", "zero\none two", Status.STREAMING, None, 3))
    assert screen.getvalue() == ("The last 3 characters were wrong; the line once more:\none two")


def test_a_notice_ends_the_line_only_where_it_would_be_seen_in_it() -> None:
    output, errors = StringIO(), StringIO()
    screen = Screen(output, errors)
    screen.text("half")
    screen.notice("A [notice] :smile:\x1b")
    screen.text(" a line")
    assert (output.getvalue(), errors.getvalue()) == ("half a line", "A [notice] :smile:␛\n")


def test_the_prompt_stays_out_of_a_file() -> None:
    output, errors = StringIO(), Tty()
    Screen(output, errors).prompt()
    assert (output.getvalue(), errors.getvalue()) == ("", "> ")


def test_only_what_happens_to_the_connection_after_the_first_is_told_as_a_loss() -> None:
    errors = StringIO()
    tell = connection_notices(Screen(StringIO(), errors))
    for change in (
        ConnectionChange(False, "connection refused", 0.26),
        ConnectionChange(True),
        ConnectionChange(False, "cut", 1.0),
        ConnectionChange(False, "connection refused", 2.0),
        ConnectionChange(True),
        ConnectionChange(False, "cut", 1.0),
    ):
        tell(change)
    assert errors.getvalue().splitlines() == [
        "No connection (connection refused); reconnecting in 0.3 s …",
        "… the connection is back.",
        "Connection lost (cut); reconnecting in 1.0 s …",
        "No connection (connection refused); reconnecting in 2.0 s …",
        "… the connection is back.",
        "Connection lost (cut); reconnecting in 1.0 s …",
    ]


# The chat.


def reply(status: Status, content: str = "") -> Message:
    return Message(
        "r1", "c1", Role.ASSISTANT, content, status, datetime(2026, 11, 23, tzinfo=UTC), "m1"
    )


async def at_once() -> None:
    pass


async def slowly() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def slowly_and_badly() -> None:
    await slowly()
    raise RuntimeError("It does not even leave well.")


class FakeClient:
    """A chat whose replies are what a test puts into them."""

    url = DEFAULT_URL

    def __init__(self) -> None:
        self.updates: asyncio.Queue[Update | Exception] = asyncio.Queue()
        self.sent: list[tuple[str, str, str]] = []
        self.stopped: list[str] = []
        self.stop_answer: Message | Exception = reply(Status.STOPPED)
        self.following = asyncio.Event()
        self.leave: Callable[[], Awaitable[None]] = at_once
        self.answering_stops = asyncio.Event()
        self.answering_stops.set()

    async def send(
        self, content: str, *, id: str, conversation_id: str
    ) -> AsyncGenerator[Update, None]:
        self.sent.append((content, id, conversation_id))
        async for update in self._follow():
            yield update

    async def _follow(self) -> AsyncIterator[Update]:
        self.following.set()
        try:
            while True:
                update = await self.updates.get()
                if isinstance(update, Exception):
                    raise update
                yield update
                if update.status.is_final:
                    return
        finally:
            await self.leave()

    async def stop(self, id: str) -> Message:
        self.stopped.append(id)
        try:
            await self.answering_stops.wait()
            if isinstance(self.stop_answer, Exception):
                raise self.stop_answer
            return self.stop_answer
        finally:
            await self.leave()


class Chat:
    """A terminal in a task of its own, and what it shows."""

    def __init__(self, *, is_interactive: bool = True) -> None:
        self.client = FakeClient()
        self.tty = Tty()
        self.terminal = Terminal(
            cast(ChatClient, self.client),
            Screen(self.tty, self.tty),
            conversation_id="c1",
            is_interactive=is_interactive,
        )

    @property
    def shown(self) -> str:
        return self.tty.getvalue()

    async def until(self, happened: Callable[[], bool]) -> None:
        """Waits until everything that needs no time has brought this about."""
        for _ in range(100):
            if happened():
                return
            await asyncio.sleep(0)
        raise AssertionError(self.shown)

    async def until_prompt(self, number: int) -> None:
        await self.until(lambda: self.shown.count("> ") >= number)


@asynccontextmanager
async def chatting(*, is_interactive: bool = True) -> AsyncIterator[Chat]:
    """A chat that its user leaves at the end."""
    chat = Chat(is_interactive=is_interactive)
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(chat.terminal.run())
        yield chat
        chat.terminal.enter(Signal.END)
        assert await running == 0


async def test_ctrl_c_before_the_server_has_answered_stops_by_the_message() -> None:
    async with chatting() as chat:
        chat.terminal.enter("Hello")
        await chat.client.following.wait()
        chat.terminal.interrupt()
        await chat.until_prompt(2)
        assert (
            "Left before the server answered. If the message arrived, the reply is here:\n"
            "  graphql-app chat --resume last --conversation c1\n"
        ) in chat.shown
        chat.terminal.interrupt()
        await chat.until_prompt(3)
        [(content, id, conversation_id)] = chat.client.sent
        assert (content, conversation_id) == ("Hello", "c1")
        assert chat.client.stopped == [id]
        assert "The reply was stopped." in chat.shown


async def test_a_reply_that_ended_while_detached_cannot_be_stopped_any_more() -> None:
    async with chatting() as chat:
        chat.client.stop_answer = reply(Status.DONE)
        chat.client.updates.put_nowait(Update("r1", "one", "one", Status.STREAMING))
        chat.terminal.enter("Hello")
        await chat.until(lambda: "one" in chat.shown)
        chat.terminal.interrupt()
        await chat.until_prompt(2)
        assert "\n  graphql-app chat --resume r1\n" in chat.shown
        chat.terminal.interrupt()
        await chat.until_prompt(3)
        assert "The reply had ended already." in chat.shown


async def test_entering_anything_after_ctrl_c_keeps_the_reply() -> None:
    async with chatting() as chat:
        chat.terminal.enter("Hello")
        await chat.client.following.wait()
        chat.terminal.interrupt()
        await chat.until_prompt(2)
        chat.terminal.enter("")
        await chat.until_prompt(3)
        chat.terminal.interrupt()
        await chat.until(lambda: chat.terminal._exit_status is not None)
        assert chat.client.stopped == []


async def test_a_failure_is_told_and_the_chat_goes_on() -> None:
    async with chatting() as chat:
        chat.client.updates.put_nowait(ChatClientError("TOO_MANY_REPLIES", "Too many replies."))
        chat.terminal.enter("Hello")
        await chat.until(lambda: "Too many replies.\n> " in chat.shown)
        error = ReplyError(ReplyErrorCode.PRODUCER_LOST, "The process died.")
        chat.client.updates.put_nowait(Update("r1", "half", "half", Status.ERROR, error))
        chat.terminal.enter("Hello")
        await chat.until(
            lambda: (
                "half\nThe reply ended early: The process died. (PRODUCER_LOST)\n> " in chat.shown
            )
        )


async def test_a_connection_that_is_lost_for_good_says_how_to_come_back() -> None:
    async with chatting() as chat:
        chat.client.updates.put_nowait(Update("r1", "one", "one", Status.STREAMING))
        chat.client.updates.put_nowait(ChatClientError(CONNECTION_LOST, "The connection was lost."))
        chat.terminal.enter("Hello")
        await chat.until(
            lambda: (
                (
                    "one\nThe reply may go on without you. To come back to it:\n"
                    "  graphql-app chat --resume r1\nThe connection was lost.\n> "
                )
                in chat.shown
            )
        )


async def test_a_stop_while_the_reply_streams_is_told_once() -> None:
    async with chatting() as chat:
        chat.terminal.enter("Hello")
        await chat.client.following.wait()
        chat.terminal.enter("/stop")
        await chat.until(lambda: len(chat.client.stopped) == 1)
        chat.client.updates.put_nowait(Update("r1", "one", "one", Status.STOPPED))
        await chat.until(lambda: "one\nThe reply was stopped.\n> " in chat.shown)
        assert chat.shown.count("The reply was stopped.") == 1


@pytest.mark.parametrize("argument", ["0", "-1", "many", "1.5"])
async def test_a_history_of_no_size_is_refused(argument: str) -> None:
    async with chatting() as chat:
        chat.terminal.enter(f"/history {argument}")
        await chat.until(lambda: f"from 1 on, not '{argument}'." in chat.shown)


async def test_without_anybody_there_the_first_failure_ends_the_chat() -> None:
    chat = Chat(is_interactive=False)
    chat.terminal.enter("/nonsense")
    chat.terminal.enter("never sent")
    with pytest.raises(UsageError, match=r"^/nonsense is not a command; see /help\.$"):
        await chat.terminal.run()
    assert chat.client.sent == []
    assert chat.shown == ""


# What is left behind.


@asynccontextmanager
async def leaving_nothing() -> AsyncIterator[None]:
    """Neither a task that still runs, nor one whose failure nobody looked at."""
    told: list[dict[str, Any]] = []
    before = asyncio.all_tasks()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    with leaking_nothing():
        yield
    assert asyncio.all_tasks() == before
    gc.collect()
    assert told == []


@pytest.mark.parametrize("leave", [slowly, slowly_and_badly])
async def test_the_chat_ends_after_the_stops_that_it_cancels(
    leave: Callable[[], Awaitable[None]],
) -> None:
    async with leaving_nothing():
        chat = Chat()
        chat.client.answering_stops.clear()
        running = asyncio.create_task(chat.terminal.run())
        chat.terminal.enter("Hello")
        await chat.client.following.wait()
        chat.terminal.enter("/stop")
        await chat.until(lambda: len(chat.client.stopped) == 1)
        chat.terminal.interrupt()
        await chat.until_prompt(2)
        chat.client.leave = leave
        chat.terminal.enter("/quit")
        assert await running == 0


@pytest.mark.parametrize("leave", [slowly, slowly_and_badly])
async def test_a_chat_that_is_cancelled_ends_after_what_it_does(
    leave: Callable[[], Awaitable[None]],
) -> None:
    async with leaving_nothing():
        chat = Chat()
        chat.client.leave = leave
        running = asyncio.create_task(chat.terminal.run())
        chat.terminal.enter("Hello")
        await chat.client.following.wait()
        running.cancel()
        await asyncio.wait({running})
        assert running.cancelled()


async def test_a_stop_that_fails_in_an_unexpected_way_ends_the_chat() -> None:
    async with leaving_nothing():
        chat = Chat()
        chat.client.stop_answer = BrokenPipeError()
        running = asyncio.create_task(chat.terminal.run())
        chat.terminal.enter("Hello")
        await chat.client.following.wait()
        chat.terminal.enter("/stop")
        await chat.until(lambda: len(chat.client.stopped) == 1)
        chat.client.updates.put_nowait(Update("r1", "one", "one", Status.STOPPED))
        async with asyncio.timeout(PATIENCE_SECONDS):
            with pytest.raises(BrokenPipeError):
                await running
