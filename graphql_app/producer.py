"""Producing one reply: from the completion's text to the store, up to a final status.

    waiting ◀──▶ talking ─┬─ ends ──────────────────▶ DONE
                          ├─ raises ────────────────▶ ERROR, COMPLETION_FAILED or its own code
                          ├─ silent for too long ───▶ ERROR, COMPLETION_TIMEOUT
                          ├─ says more than fits ───▶ ERROR, REPLY_TOO_LONG
                          ├─ the server shuts down ─▶ ERROR, SERVER_SHUTDOWN
                          └─ somebody else ended it ▶ only what it took: the store has the truth

Two tasks share the work, so that neither holds up the other: the reader drives the completion and
fills an outbox; the writer empties the outbox into the store, one append at a time. What comes
while an append is under way, or without anything else having run, joins the next one. A completion
that will not be cancelled keeps its reader busy, and nothing else.

A store that is immediate, memory, holds up nobody. There the reader appends by itself what comes
first in a turn of the event loop, and leaves to the writer what follows in the same turn.
"""

import asyncio
import itertools
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from time import monotonic  # uvloop's own clock has milliseconds.
from typing import NamedTuple, TypeVar

from graphql_app.errors import (
    CompletionError,
    FencedError,
    MessageClearedError,
    MessageNotFoundError,
    StoreUnavailableError,
)
from graphql_app.interfaces import PRODUCER_LOST, Completion, Lease, Store
from graphql_app.logs import tell
from graphql_app.messages import (
    Message,
    Ref,
    ReplyError,
    ReplyErrorCode,
    Status,
    Usage,
    scalar_text,
    utf16_head,
    utf16_length,
)
from graphql_app.wakeup import Turns, Wakeup

T = TypeVar("T")

logger = logging.getLogger(__name__)

OUTBOX_LIMIT = 65_536
"""Code points that may wait for the store before the completion has to wait too."""

TURN_SECONDS = 0.0002
"""How long a completion may speak in one turn of the event loop before all others run. What it says
meanwhile joins."""

ABANDON_AFTER_SECONDS = 1.0
"""How long a cancelled completion may take to close its provider's request."""

SENTENCE_LENGTH = 1_000
"""The longest sentence that a completion may tell the user, in code points."""

MODEL_LENGTH = 200
"""The longest name of a model, in code points."""

MOST_TOKENS = 2**31 - 1
"""The most that GraphQL's Int can say."""

RETRY_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Pauses while the store cannot be reached; the last one repeats."""

_abandoned: set["asyncio.Task[None]"] = set()


class Ending(NamedTuple):
    """How a reply ends, and the text that is still to be written."""

    status: Status
    text: str
    error: ReplyError | None


class Producer:
    """Runs the completion of one reply and writes down what it says.

    Args:
        ref: the reply, which streams under `lease`.
        silence_seconds: the longest wait for text, the first included.
        max_length: the most text, in UTF-16 code units.
    """

    __slots__ = (
        "_completion",
        "_completion_began_at",
        "_completion_ended_at",
        "_completion_said",
        "_fenced",
        "_first_text_at",
        "_half_pair",
        "_immediate",
        "_lease",
        "_max_length",
        "_news",
        "_outbox",
        "_outbox_has_room",
        "_outbox_size",
        "_over",
        "_reader",
        "_reader_is_cancelled",
        "_reading_since",
        "_ref",
        "_shutting_down",
        "_silence_seconds",
        "_store",
        "_written",
    )

    def __init__(
        self,
        ref: Ref,
        *,
        store: Store,
        lease: Lease,
        completion: Completion,
        silence_seconds: float,
        max_length: int,
    ) -> None:
        self._ref = ref
        self._store = store
        self._lease = lease
        self._completion = completion
        self._silence_seconds = silence_seconds
        self._max_length = max_length
        self._reader: asyncio.Task[None] | None = None
        self._reader_is_cancelled = False
        self._reading_since: float | None = None
        self._completion_began_at: float | None = None
        self._first_text_at: float | None = None
        self._completion_ended_at: float | None = None
        self._completion_said = Usage()
        self._outbox: list[str] = []
        self._outbox_size = 0
        self._outbox_has_room: Wakeup | None = None
        self._half_pair = ""
        self._written = 0
        self._news = Wakeup()
        self._immediate = store.immediate
        self._fenced = False
        self._shutting_down = False
        self._over = False

    def fence(self) -> None:
        """Somebody else ended the reply: closes the completion and writes no more."""
        self._fenced = True
        self._cancel_reader()
        self._news.set()

    def shut_down(self) -> None:
        """Ends the reply as SERVER_SHUTDOWN, with the text that it has."""
        self._shutting_down = True
        self._news.set()

    async def run(self) -> Message | None:
        """Produces the reply; returns it when it has ended and its completion is closed.

        None: it was cleared, or the store cannot be reached to learn how somebody else ended it.
        """
        ended = None
        try:
            ended = await self._produce()
        except (FencedError, MessageClearedError, MessageNotFoundError):
            pass  # Somebody else ended the reply; what they wrote is the truth.
        finally:
            self._over = True
            self._news.close()
            self._say_there_is_room()  # A reader that ignores its cancellation must not wait.
            if self._reader is not None:
                self._cancel_reader()
                await _close(self._reader)
                # What it raised refers to this object: only the collector would end that ring.
                self._reader = None
        ended = ended or await self._tell_usage()
        self._log(ended)
        return ended

    async def _produce(self) -> Message:
        """Produces the reply up to an end of its own."""
        history = await self._retried(lambda: self._store.history(self._ref))
        if self._fenced:
            raise FencedError(f"reply {self._ref.id!r} was ended")
        self._reader = asyncio.create_task(self._read(history))
        self._reader.add_done_callback(self._reader_is_done)
        ending = await self._write(self._reader)
        self._cancel_reader()
        usage = self.usage
        return await self._retried(
            lambda: self._store.finish(
                self._ref,
                ending.status,
                lease=self._lease,
                at_offset=self._written,
                text=ending.text,
                error=ending.error,
                usage=usage,
            )
        )

    async def _tell_usage(self) -> Message | None:
        """Tells what a reply took that somebody else ended; returns it as they ended it.

        A reply that still streams has lost its producer, so that is how it ends here.
        """
        usage = self.usage
        for pause in (0.0, *RETRY_SECONDS):
            await asyncio.sleep(pause)
            try:
                return await self._store.finish(
                    self._ref, Status.ERROR, error=PRODUCER_LOST, usage=usage
                )
            except StoreUnavailableError:
                pass
            except (FencedError, MessageClearedError, MessageNotFoundError):
                break
        return None

    @property
    def usage(self) -> Usage | None:
        """What the reply took so far; None before its completion is called."""
        if self._completion_began_at is None:
            return None
        said, began = self._completion_said, self._completion_began_at
        return Usage(
            model=scalar_text(said.model)[:MODEL_LENGTH] if isinstance(said.model, str) else None,
            input_tokens=_countable(said.input_tokens),
            output_tokens=_countable(said.output_tokens),
            time_to_first_token=_seconds(began, self._first_text_at),
            duration=_seconds(began, self._completion_ended_at or monotonic()),
        )

    def _log(self, ended: Message | None) -> None:
        """One line for each reply: no owner, no text."""
        usage = self.usage or Usage()
        facts = {
            "reply": self._ref.id,
            "status": ended.status.value if ended else None,
            "code": ended.error.code.value if ended and ended.error else None,
            "length": utf16_length(ended.content) if ended else self._written,
            "model": usage.model,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "time_to_first_token": usage.time_to_first_token,
            "duration": usage.duration,
        }
        tell(logger, "reply ended", facts)

    def _reader_is_done(self, _: "asyncio.Task[None]") -> None:
        self._news.set()

    def _cancel_reader(self) -> None:
        """Makes the completion close; once, since a second time would break into its closing."""
        if self._reader is not None and not self._reader_is_cancelled:
            self._reader_is_cancelled = True
            self._reader.cancel()

    async def _read(self, history: Sequence[Message]) -> None:
        """The reader: drives the completion."""
        immediate, turns, last_turn = self._immediate, Turns.of(asyncio.get_running_loop()), -1
        is_speechless = True
        try:
            now = turn_began = self._reading_since = self._completion_began_at = monotonic()
            async with _closing(self._completion(history)) as texts:
                async for text in texts:
                    if not isinstance(text, str):
                        # It may come at the very end, from a completion that is being closed.
                        text = self._note(text)
                    if self._over:
                        return None
                    turn, now = turns.now(), monotonic()
                    if text:  # Nothing said is silence, however often it is yielded.
                        if is_speechless:
                            is_speechless, self._first_text_at = False, now
                        if not text.isascii() or self._half_pair or "\0" in text:
                            text = self._whole(text)
                        end = self._written + utf16_length(text)
                        if (
                            turn != last_turn
                            and immediate is not None
                            and not self._outbox
                            and end <= self._max_length
                        ):
                            try:
                                immediate.append_now(self._ref, self._lease, self._written, text)
                            except FencedError:
                                return self.fence()
                            self._written = end
                        else:
                            self._outbox.append(text)
                            self._outbox_size += len(text)
                            self._news.set()
                            if self._outbox_size > OUTBOX_LIMIT:
                                self._reading_since = None
                                await self._until_room()
                                now = monotonic()
                        self._reading_since = now
                    if turn != last_turn:
                        last_turn, turn_began = turn, now
                    elif now - turn_began > TURN_SECONDS:
                        # A completion may yield without ever awaiting: let all others run.
                        await asyncio.sleep(0)
        except (SystemExit, KeyboardInterrupt) as error:
            # Raised in a task, these would end the server.
            raise RuntimeError("the completion tried to end the process") from error
        finally:
            self._completion_ended_at = monotonic()
            self._outbox.append(scalar_text(self._half_pair))

    def _note(self, item: object) -> str:
        """Keeps a usage, which is no text but a sign of life; a completion yields nothing else."""
        if not isinstance(item, Usage):
            raise TypeError(f"a completion yields str, not {type(item).__name__}")
        self._completion_said = item
        self._reading_since = monotonic()
        return ""

    def _whole(self, text: str) -> str:
        """A text as it can be stored; the halves of a pair that were yielded apart are joined."""
        if self._half_pair:
            text, self._half_pair = self._half_pair + text, ""
        if "\ud800" <= text[-1] <= "\udbff":
            text, self._half_pair = text[:-1], text[-1]
        return scalar_text(text)

    def _say_there_is_room(self) -> None:
        if self._outbox_has_room is not None:
            self._outbox_has_room.set()

    async def _until_room(self) -> None:
        self._outbox_has_room = Wakeup()
        while self._outbox_size > OUTBOX_LIMIT and not self._over:
            await self._outbox_has_room.wait()

    async def _write(self, reader: "asyncio.Task[None]") -> Ending:
        """The writer: appends until the reply is to end, and returns how."""
        while True:
            await self._news.wait(self._patience())
            if self._fenced:
                raise FencedError(f"reply {self._ref.id!r} was ended")
            text = self._take()
            length = utf16_length(text)
            if self._written + length > self._max_length:
                return _failed(
                    utf16_head(text, self._max_length - self._written),
                    ReplyErrorCode.REPLY_TOO_LONG,
                    f"The reply reached its maximum length of {self._max_length:,} characters.",
                )
            if self._shutting_down:
                return _failed(
                    text,
                    ReplyErrorCode.SERVER_SHUTDOWN,
                    "The server was shut down before the reply was complete.",
                )
            if reader.done():
                return _outcome(self._ref.id, reader, text)
            if text:
                await self._append(text)
                self._written += length
            elif self._patience() <= 0:
                return _failed(
                    "",
                    ReplyErrorCode.COMPLETION_TIMEOUT,
                    f"The completion sent nothing for {self._silence_seconds:g} seconds.",
                )

    def _patience(self) -> float:
        """How many seconds the completion may still be silent."""
        if self._reading_since is None:
            return self._silence_seconds
        return self._silence_seconds - (monotonic() - self._reading_since)

    def _take(self) -> str:
        text = "".join(self._outbox)
        self._outbox.clear()
        self._outbox_size = 0
        self._say_there_is_room()
        return text

    async def _append(self, text: str) -> None:
        try:
            await self._store.append(self._ref, self._lease, self._written, text)
        except StoreUnavailableError:
            await self._retried(
                lambda: self._store.append(self._ref, self._lease, self._written, text)
            )

    async def _retried(self, call: Callable[[], Awaitable[T]]) -> T:
        """What a call to the store returns, tried again for as long as it cannot be reached."""
        for pause in itertools.chain(RETRY_SECONDS, itertools.repeat(RETRY_SECONDS[-1])):
            try:
                return await call()
            except StoreUnavailableError:
                if self._fenced:
                    break
                await asyncio.sleep(pause)
        raise FencedError(f"reply {self._ref.id!r} was ended")


def _closing(
    texts: AsyncIterator[str | Usage],
) -> AbstractAsyncContextManager[AsyncIterator[str | Usage]]:
    """Closes an async generator at the end; any other async iterator has nothing to close."""
    return aclosing(texts) if isinstance(texts, AsyncGenerator) else nullcontext(texts)


def _outcome(reply: str, reader: "asyncio.Task[None]", text: str) -> Ending:
    """How a reply ends whose completion came to its own end."""
    failure = asyncio.CancelledError() if reader.cancelled() else reader.exception()
    if failure is None:
        return Ending(Status.DONE, text, None)
    if isinstance(failure, CompletionError):
        return _failed(text, failure.code, scalar_text(failure.message)[:SENTENCE_LENGTH])
    tell(logger, "a completion failed", {"reply": reply}, level=logging.ERROR, error=failure)
    return _failed(text, ReplyErrorCode.COMPLETION_FAILED, "The completion failed.")


def _failed(text: str, code: ReplyErrorCode, message: str) -> Ending:
    return Ending(Status.ERROR, text, ReplyError(code, message))


def _countable(tokens: int | None) -> int | None:
    """A number of tokens, if it can be shown."""
    return tokens if isinstance(tokens, int) and 0 <= tokens <= MOST_TOKENS else None


def _seconds(began_at: float, at: float | None) -> float | None:
    """How long it took until then, to the millisecond."""
    return None if at is None else round(at - began_at, 3)


async def _close(reader: "asyncio.Task[None]") -> None:
    """Waits for a reader that was cancelled, but not for one that ignores it."""
    reader.add_done_callback(_retrieve)
    await asyncio.wait({reader}, timeout=ABANDON_AFTER_SECONDS)
    if not reader.done():
        logger.warning("a completion ignored its cancellation and was abandoned")
        _abandoned.add(reader)
        reader.add_done_callback(_abandoned.discard)


def _retrieve(reader: "asyncio.Task[None]") -> None:
    """Retrieves what a reader raised, so that asyncio does not report it as lost."""
    if not reader.cancelled():
        reader.exception()
