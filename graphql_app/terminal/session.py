"""A chat in a terminal: what is done with what is entered, and with what comes."""

import asyncio
import signal
import uuid
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from dataclasses import dataclass

from graphql_app.client import (
    CONNECTION_LOST,
    DEFAULT_CONVERSATION,
    ChatClient,
    ChatClientError,
    Update,
)
from graphql_app.messages import Message, ReplyError, Role, Status
from graphql_app.terminal.commands import (
    HELP,
    LAST,
    Command,
    UsageError,
    parse_line,
    parse_size,
    way_back,
)
from graphql_app.terminal.keyboard import Key, Signal
from graphql_app.terminal.screen import Screen

SEARCHED_SIZE = 100
"""Among how many of the newest messages a streaming reply is looked for."""

LONGEST_TYPED_BYTES = 4_095
"""What is typed beyond that in one line, a terminal drops without a word."""

INTERRUPTED = 128 + signal.SIGINT
"""The exit status of a command that Ctrl-C ended."""

STOPPED = "The reply was stopped."


class ReplyFailedError(Exception):
    """A reply that was followed to its end ended as ERROR."""

    def __init__(self, error: ReplyError | None) -> None:
        super().__init__(
            "The reply ended early."
            if error is None
            else f"The reply ended early: {error.message} ({error.code})"
        )


@dataclass(frozen=True, slots=True)
class Followed:
    """The reply that is shown. Before its id is known, that of the user's message stops it."""

    stop_id: str
    reply_id: str | None = None


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
        self._keys: asyncio.Queue[Key | BaseException] = asyncio.Queue()
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
            task.add_done_callback(self._stop_ended)
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

    def _stop_ended(self, stop: "asyncio.Task[None]") -> None:
        self._stops.discard(stop)
        if not stop.cancelled() and (failure := stop.exception()) is not None:
            self._keys.put_nowait(failure)  # Nobody waits for the task itself.

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
                f"Conversation {self._conversation_id!r} at {self._client.url}; "
                "type /help for a list of commands."
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
            await _end(*self._stops)

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
            case BaseException():
                raise key
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
            self._work = None
            followed, self._followed = self._followed, None
            await _end(task)
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
                await self._show_history(parse_size(argument))
            case Command("resume", argument):
                await self._resume(argument or LAST)
            case Command("stop", ""):
                await self._stop((await self._newest_streaming()).id)
            case Command("regenerate", ""):
                await self._regenerate()
            case Command("clear", ""):
                removed = await self._client.clear(self._conversation_id)
                self._screen.notice(f"Removed {removed} messages.")
            case Command("help", ""):
                self._screen.notice(HELP)
            case Command("quit", ""):
                self._exit_status = 0
            case Command(name, argument):
                raise UsageError(f"/{name} {argument}".strip() + " is not a command; see /help.")

    async def _send(self, content: str, *, is_whole: bool) -> None:
        if self._is_interactive and not is_whole:
            raise UsageError(
                f"A terminal cuts a line at {LONGEST_TYPED_BYTES:,} bytes, so that one was not "
                "sent. Longer ones come through a pipe: graphql-app chat < file"
            )
        id = str(uuid.uuid4())
        updates = self._client.send(content, id=id, conversation_id=self._conversation_id)
        await self._show(updates, Followed(stop_id=id))

    async def _regenerate(self) -> None:
        newest = await self._client.messages(self._conversation_id, last=1)
        if not newest:
            raise UsageError(f"Conversation {self._conversation_id!r} has no messages.")
        [message] = newest
        id = str(uuid.uuid4())
        await self._show(self._client.regenerate(message.id, id=id), Followed(stop_id=id))

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


async def _end(*tasks: "asyncio.Task[None]") -> None:
    """Cancels tasks and waits until they are gone, whatever they end with."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
