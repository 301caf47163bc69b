"""Chatting in a terminal.

    prompt ──line──▶ a reply streams ──end──▶ prompt
      ▲                    │ Ctrl-C
      └───── detached ◀────┘               the reply goes on
                 │ Ctrl-C, before anything is entered: the reply is stopped

Replies and lists go to the standard output, all else to the standard error. A thread reads what is
entered, so that nothing that is typed, or not typed, holds the stream up.
"""

import asyncio
import logging
import os
import shlex
import signal
import sys
import threading
import uuid
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from io import TextIOWrapper
from typing import TextIO, TypeAlias

from rich.console import Console
from rich.text import Text

from graphql_app.client import (
    CONNECTION_LOST,
    DEFAULT_CONVERSATION,
    DEFAULT_URL,
    ChatClient,
    ChatClientError,
    ConnectionChange,
    Update,
)
from graphql_app.messages import Message, ReplyError, Role, Status

LAST = "last"
"""What stands for the newest reply that streams."""

HISTORY_SIZE = 20

SEARCHED_SIZE = 100
"""Among how many of the newest messages a streaming reply is looked for."""

LONGEST_TYPED_BYTES = 4_095
"""What is typed beyond that in one line, a terminal drops without a word."""

INTERRUPTED = 128 + signal.SIGINT
"""The exit status of a command that Ctrl-C ended."""

STOPPED = "The reply was stopped."

HELP = f"""\
Enter a message to send it. A line that begins with / is a command:

  /history [N]   the newest N messages ({HISTORY_SIZE} if not said)
  /resume [ID]   shows a reply and goes on with it: the newest that streams, if not said
  /stop          ends the reply that streams
  /clear         removes all messages of this conversation
  /help          this list
  /quit          leaves, as do Ctrl-C and Ctrl-D at the prompt; replies go on
  //text         sends /text

Ctrl-C while a reply streams returns to the prompt, and the reply goes on. Ctrl-C again, before
anything is entered, stops it."""

# Newline and tab may pass. A picture shows what another control character would have done.
_SHOWN = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"},
    ord("\r"): None,
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
}


def printable(text: str) -> str:
    """`text` without control characters: none of it can move the cursor or set a title."""
    return text.translate(_SHOWN)


def way_back(
    reply_id: str | None, *, url: str = DEFAULT_URL, conversation_id: str = DEFAULT_CONVERSATION
) -> str:
    """The command that resumes a reply; without its id, the newest that streams."""
    options = {"--resume": reply_id or LAST}
    if url != DEFAULT_URL:
        options["--url"] = url
    if reply_id is None and conversation_id != DEFAULT_CONVERSATION:
        options["--conversation"] = conversation_id
    words = ["graphql-app", "chat", *(word for option in options.items() for word in option)]
    return shlex.join(words)


@dataclass(frozen=True, slots=True)
class Command:
    """A line that begins with a slash."""

    name: str
    argument: str = ""


def parse_line(line: str) -> Command | str | None:
    """What a line means: a command, a message, or nothing."""
    if not line.strip():
        return None
    if line.startswith("//"):
        return line[1:]
    if line.startswith("/"):
        name, _, argument = line[1:].strip().partition(" ")
        return Command(name, argument.strip())
    return line


class UsageError(Exception):
    """A command that is none, or cannot be done."""


class ReplyFailedError(Exception):
    """A reply that was followed to its end ended as ERROR."""

    def __init__(self, error: ReplyError | None) -> None:
        super().__init__(
            "The reply ended early."
            if error is None
            else f"The reply ended early: {error.message} ({error.code})"
        )


class Signal(Enum):
    """What comes from the keyboard besides lines."""

    INTERRUPT = "Ctrl-C"
    END = "Ctrl-D"


Key: TypeAlias = str | Signal


@dataclass(frozen=True, slots=True)
class Followed:
    """The reply that is shown. Before its id is known, that of the user's message stops it."""

    stop_id: str
    reply_id: str | None = None


class Screen:
    """Where things are shown. Text only grows at its end; nothing is ever drawn again."""

    def __init__(self, output: TextIO, errors: TextIO) -> None:
        self._output = output
        self._prompts = output if output.isatty() else errors
        self._shares_terminal = output.isatty() and errors.isatty()
        self._is_in_line = False
        self._out = Console(file=output, highlight=False, markup=False, emoji=False)
        self._err = Console(file=errors, highlight=False, markup=False, emoji=False)

    def update(self, update: Update) -> None:
        """Goes on with a reply."""
        if update.replaced:
            kept = update.content[: len(update.content) - len(update.text)]
            self.notice(f"The last {update.replaced} characters were wrong; the line once more:")
            self.end_line()
            self.text(kept[kept.rfind("\n") + 1 :])
        self.text(update.text)

    def text(self, text: str) -> None:
        if text:
            self._output.write(printable(text))
            self._output.flush()
            self._is_in_line = not text.endswith("\n")

    def message(self, message: Message) -> None:
        """A whole message, below a line about it."""
        who = "You" if message.role is Role.USER else "Reply"
        about = f"{message.created_at.astimezone():%Y-%m-%d %H:%M}"
        if message.status is not Status.DONE:
            about = f"{about}  {message.status}  {printable(message.id)}"
        self.end_line()
        self._out.print(Text.assemble((who, "bold"), (f"  {about}", "dim")), soft_wrap=True)
        self.text(message.content)
        self.end_line()

    def notice(self, text: str) -> None:
        """Something that is not part of a reply, on a line of its own."""
        if self._shares_terminal:
            self.end_line()
        self._err.print(Text(printable(text), "dim"), soft_wrap=True)

    def prompt(self) -> None:
        self.end_line()
        self._prompts.write("> ")
        self._prompts.flush()
        self._is_in_line = self._shares_terminal

    def echoed(self, *, line_ended: bool) -> None:
        """The terminal itself has just shown what was entered: a line, or ^C."""
        if self._shares_terminal:
            self._is_in_line = not line_ended

    def end_line(self) -> None:
        if self._is_in_line:
            self.text("\n")


class Terminal:
    """One chat: takes what is entered, sends it, shows what comes.

    Args:
        is_interactive: somebody sits there. If not, the lines are sent one after the other, each
            reply is shown to its end, and the first failure ends the chat.
    """

    def __init__(
        self,
        client: ChatClient,
        screen: Screen,
        *,
        conversation_id: str = DEFAULT_CONVERSATION,
        is_interactive: bool = True,
    ) -> None:
        self._client = client
        self._screen = screen
        self._conversation_id = conversation_id
        self._is_interactive = is_interactive
        self._keys: asyncio.Queue[Key] = asyncio.Queue()
        self._work: asyncio.Task[None] | None = None
        self._stops: set[asyncio.Task[None]] = set()
        self._followed: Followed | None = None
        self._detached: Followed | None = None
        self._exit_status: int | None = None

    # The keyboard.

    def enter(self, key: Key) -> None:
        """Takes a line, or the end of the input; it waits while a reply streams."""
        if isinstance(key, str) and self._is_interactive:
            self._screen.echoed(line_ended=True)
        meant = parse_line(key) if isinstance(key, str) and self._is_interactive else None
        if meant == Command("stop") and self._followed is not None:
            task = asyncio.create_task(self._try(self._stop_shown(self._followed.stop_id)))
            self._stops.add(task)
            task.add_done_callback(self._stops.discard)
        elif meant == Command("quit") and self._work is not None:
            self._exit_status = 0
            self._work.cancel()
        else:
            self._keys.put_nowait(key)

    def interrupt(self) -> None:
        """Takes Ctrl-C, which ends what is being done, or else waits at the prompt."""
        self._screen.echoed(line_ended=False)
        if self._work is not None:
            self._work.cancel()
        else:
            self._keys.put_nowait(Signal.INTERRUPT)

    # The chat.

    async def run(self, *, resume: str | None = None, history_size: int | None = None) -> int:
        """Chats until the user leaves, and returns the exit status.

        Raises:
            ChatClientError, UsageError: what was asked for at the start cannot be had; or something
                failed, and nobody sits there.
            ReplyFailedError: a reply failed, and nobody sits there.
        """
        if self._is_interactive:
            self._screen.notice(
                f"Conversation {self._conversation_id!r} at {self._client.url}; /help helps."
            )
        try:
            if history_size is not None:
                await self._attend(self._show_history(history_size))
            if resume is not None:
                await self._attend(self._resume(resume))
            while self._exit_status is None:
                if (line := await self._next_line()) is not None:
                    await self._try(self._attend(self._obey(line)))
            self._screen.end_line()
            return self._exit_status
        finally:
            for stop in self._stops:
                stop.cancel()

    async def _next_line(self) -> str | None:
        """A line; None if something else was entered, which is done then."""
        if self._is_interactive:
            self._screen.prompt()
        key = await self._keys.get()
        detached, self._detached = self._detached, None
        match key:
            case str():
                return key
            case Signal.INTERRUPT if detached is not None:
                await self._try(self._attend(self._stop(detached.stop_id)))
            case Signal.INTERRUPT:
                self._exit_status = 0 if self._is_interactive else INTERRUPTED
            case Signal.END:
                self._exit_status = 0
        return None

    async def _try(self, work: Coroutine[object, object, None]) -> None:
        """Does something whose failure does not end the chat, if somebody sits there."""
        try:
            await work
        except (ChatClientError, UsageError) as error:
            if not self._is_interactive:
                raise
            self._screen.notice(str(error))

    async def _attend(self, work: Coroutine[object, object, None]) -> None:
        """Does something that Ctrl-C may end."""
        task = self._work = asyncio.create_task(work)
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
            self._work = None
            followed, self._followed = self._followed, None
        if not task.cancelled():
            task.result()
            return
        while not self._keys.empty():
            # A terminal, too, throws away what was typed before Ctrl-C.
            if isinstance(key := self._keys.get_nowait(), str):
                self._screen.notice(f"Not sent: {key}")
            else:
                self._keys.put_nowait(key)
                break
        if not self._is_interactive:
            self._exit_status = INTERRUPTED
        if followed is not None:
            self._detach(followed)

    def _detach(self, followed: Followed) -> None:
        self._screen.notice(
            "Detached; the reply goes on. To come back to it:"
            if followed.reply_id is not None
            else "Left before the server answered. If the message arrived, the reply is here:"
        )
        self._screen.notice(f"  {self._way_back(followed)}")
        if self._exit_status is None:
            self._screen.notice("Ctrl-C again, before anything is entered, stops it.")
            self._detached = followed

    def _way_back(self, followed: Followed) -> str:
        return way_back(
            followed.reply_id, url=self._client.url, conversation_id=self._conversation_id
        )

    async def _obey(self, line: str) -> None:
        meant = parse_line(line)
        match meant:
            case None:
                pass
            case str():
                await self._send(meant, is_whole=len(line.encode()) < LONGEST_TYPED_BYTES)
            case Command("history", argument):
                await self._show_history(_size(argument))
            case Command("resume", argument):
                await self._resume(argument or LAST)
            case Command("stop", ""):
                await self._stop((await self._newest_streaming()).id)
            case Command("clear", ""):
                removed = await self._client.clear(self._conversation_id)
                self._screen.notice(f"Removed {removed} messages.")
            case Command("help", ""):
                self._screen.notice(HELP)
            case Command("quit", ""):
                self._exit_status = 0
            case Command(name, argument):
                raise UsageError(f"/{name} {argument}".strip() + " is no command; see /help.")

    async def _send(self, content: str, *, is_whole: bool) -> None:
        if self._is_interactive and not is_whole:
            raise UsageError(
                f"A terminal cuts a line at {LONGEST_TYPED_BYTES:,} bytes, so that one was not "
                "sent. Longer ones come through a pipe: graphql-app chat < file"
            )
        id = str(uuid.uuid4())
        updates = self._client.send(content, id=id, conversation_id=self._conversation_id)
        await self._show(updates, Followed(stop_id=id))

    async def _resume(self, reply_id: str) -> None:
        if reply_id == LAST:
            reply = await self._newest_streaming()
        else:
            found = await self._client.message(reply_id)
            if found is None or found.role is not Role.ASSISTANT:
                raise UsageError(f"There is no reply {reply_id!r}.")
            reply = found
        if reply.conversation_id != self._conversation_id:
            self._conversation_id = reply.conversation_id
            self._screen.notice(f"Conversation {self._conversation_id!r}.")
        await self._show(self._client.follow(reply.id), Followed(reply.id, reply.id))

    async def _show(self, updates: AsyncGenerator[Update, None], followed: Followed) -> None:
        """Shows a reply to its end."""
        self._followed = followed
        status, failure = Status.STREAMING, None
        try:
            async with aclosing(updates):
                async for update in updates:
                    self._followed = Followed(followed.stop_id, update.message_id)
                    self._screen.update(update)
                    status, failure = update.status, update.error
        except ChatClientError as error:
            if error.code == CONNECTION_LOST:
                self._screen.notice("The reply may go on without you. To come back to it:")
                self._screen.notice(f"  {self._way_back(self._followed)}")
            raise
        self._followed = None
        self._screen.end_line()
        if status is Status.STOPPED:
            self._screen.notice(STOPPED)
        elif status is Status.ERROR:
            failed = ReplyFailedError(failure)
            if not self._is_interactive:
                raise failed
            self._screen.notice(str(failed))

    async def _show_history(self, size: int) -> None:
        for message in await self._client.messages(self._conversation_id, last=size):
            self._screen.message(message)

    async def _stop(self, id: str) -> None:
        reply = await self._client.stop(id)
        was_stopped = reply.status is Status.STOPPED
        self._screen.notice(STOPPED if was_stopped else "The reply had ended already.")

    async def _stop_shown(self, id: str) -> None:
        await self._client.stop(id)  # What is shown ends with it, and says so.

    async def _newest_streaming(self) -> Message:
        messages = await self._client.messages(self._conversation_id, last=SEARCHED_SIZE)
        for message in reversed(messages):
            if message.status is Status.STREAMING:
                return message
        raise UsageError(f"No reply streams in conversation {self._conversation_id!r}.")


def _size(argument: str) -> int:
    if not argument:
        return HISTORY_SIZE
    if not argument.isdecimal() or int(argument) < 1:
        raise UsageError(f"/history takes a number from 1 on, not {argument!r}.")
    return int(argument)


def chat(
    url: str = DEFAULT_URL,
    *,
    conversation_id: str = DEFAULT_CONVERSATION,
    resume: str | None = None,
    history_size: int | None = None,
) -> int:
    """Chats on the standard streams until the user leaves; returns the exit status.

    Args:
        resume: a reply to show first, or LAST.
        history_size: how many messages to show before that.
    """
    # What the connection goes through is told in one line; no library needs to add to it.
    logging.getLogger("gql").addHandler(logging.NullHandler())
    logging.getLogger("gql").propagate = False
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    screen = Screen(sys.stdout, sys.stderr)
    try:
        return asyncio.run(_chat(screen, url, conversation_id, resume, history_size))
    except (ChatClientError, ReplyFailedError, UsageError) as error:
        screen.notice(f"graphql-app: {' '.join(str(error).split())}")
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Nobody reads any more; at the exit, nothing must try to write again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


async def _chat(
    screen: Screen, url: str, conversation_id: str, resume: str | None, history_size: int | None
) -> int:
    async with ChatClient(url, on_connection=connection_notices(screen)) as client:
        terminal = Terminal(
            client,
            screen,
            conversation_id=conversation_id,
            is_interactive=sys.stdin.isatty(),
        )
        # Until here, Ctrl-C ended the connecting.
        with _interrupting(terminal.interrupt):
            loop = asyncio.get_running_loop()
            threading.Thread(
                target=read_lines,
                args=(
                    sys.stdin.fileno(),
                    lambda key: loop.call_soon_threadsafe(terminal.enter, key),
                ),
                # What blocks in it must not hold up the exit.
                daemon=True,
            ).start()
            return await terminal.run(resume=resume, history_size=history_size)


def connection_notices(screen: Screen) -> Callable[[ConnectionChange], None]:
    """Says when the connection is lost and when it is back."""
    was_connected = is_lost = False

    def tell(change: ConnectionChange) -> None:
        nonlocal was_connected, is_lost
        if not change.connected:
            lost = "Connection lost" if was_connected and not is_lost else "No connection"
            screen.notice(
                f"{lost} ({change.reason}); reconnecting in {change.retry_seconds:.1f} s …"
            )
        elif is_lost:
            screen.notice("… the connection is back.")
        was_connected = was_connected or change.connected
        is_lost = not change.connected

    return tell


def read_lines(descriptor: int, enter: Callable[[Key], object]) -> None:
    """Gives each line of a file to `enter`, then its end; until the loop is closed.

    Reads the descriptor itself: a thread that waits inside of sys.stdin may end the interpreter
    with a fatal error.
    """
    rest = b""
    with suppress(RuntimeError):
        with suppress(OSError):  # The terminal is gone.
            while data := os.read(descriptor, 65_536):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    enter(line.removesuffix(b"\r").decode(errors="replace"))
        if rest:
            enter(rest.decode(errors="replace"))
        enter(Signal.END)


@contextmanager
def _interrupting(interrupt: Callable[[], None]) -> Iterator[None]:
    """Has Ctrl-C call a function in the loop, at no moment but between two steps."""
    loop = asyncio.get_running_loop()
    # Where there is no such thing (Windows), Ctrl-C ends the chat.
    with suppress(NotImplementedError):
        loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        with suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)
