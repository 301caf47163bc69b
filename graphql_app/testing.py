"""For authors of completions: checks that one keeps the contract, in a test of their own.

    from graphql_app.testing import CompletionContract

    def test_my_completion_keeps_the_contract():
        CompletionContract(complete).check()

It needs no particular test runner, and none of the rest of the server.
"""

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from time import monotonic

from graphql_app.errors import CompletionError
from graphql_app.interfaces import Completion
from graphql_app.messages import Message, ReplyErrorCode, Role, Status, Usage, scalar_text

__all__ = ["CompletionContract", "ContractBrokenError"]

CLOSE_SECONDS = 1.0
"""How long a completion may take to close its provider's request."""

STALL_SECONDS = 0.5
"""How long nothing else may run; far more than an innocent completion needs on a busy machine."""

SPREAD_SECONDS = 0.05
"""The least time between the first and the last text of an answer that takes its time."""

TICK_SECONDS = 0.01

LONG_HISTORY = 200
"""Messages of a long conversation."""

SERVERS_OWN = {ReplyErrorCode.PRODUCER_LOST, ReplyErrorCode.SERVER_SHUTDOWN}
"""Codes that are not for completions."""

OTHER_QUESTION = "Count from one to three, please. Zähle auf Deutsch! 一、二、三 👩‍👩‍👧‍👦"


class ContractBrokenError(AssertionError):
    """A completion breaks the contract; the sentence says where, and what would be right."""


@dataclass(frozen=True, kw_only=True)
class CompletionContract:
    """The rules that every completion keeps, and the ways to check them.

    Args:
        completion: what is checked. One that is an async context manager is entered first.
        question: what it is asked; any answer is right.
        deterministic: whether the same conversation always gets the same answer. Without that it
            cannot be checked that two calls at once keep apart.
        slow_question: a question whose answer takes a second or more to come. If given, its
            beginning has to come before its end.
        open_requests: counts the requests that are open at the provider, whose side of it a test
            often plays itself. If given, a completion that is cancelled has to close its own.
        failing: the same completion with something wrong, such as a provider that is away. If
            given, it has to raise `CompletionError`.
        secrets: what must not be in the sentence of that error, such as the provider's key.
        patience_seconds: how long one answer may take.
    """

    completion: Completion = field(kw_only=False)
    question: str = "Hello! Who are you?"
    deterministic: bool = True
    slow_question: str | None = None
    open_requests: Callable[[], int] | None = None
    failing: Completion | None = None
    secrets: Sequence[str] = ()
    patience_seconds: float = 60.0

    def check(self) -> None:
        """Checks all rules, on an event loop of its own.

        Raises:
            ContractBrokenError: the first rule that the completion breaks.
        """
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(self.check_async())
        finally:
            # As asyncio.run does, but without waiting for a completion that will not end.
            if tasks := asyncio.all_tasks(loop):
                for task in tasks:
                    task.cancel()
                loop.run_until_complete(asyncio.wait(tasks, timeout=CLOSE_SECONDS))
            loop.close()

    async def check_async(self) -> None:
        """As `check`, on the running event loop."""
        async with _entered(self.completion):
            await self._check_answers()
            await self._check_that_others_may_run()
            await self._check_two_at_once()
            await self._check_conversations()
            await self._check_closing()
            await self._check_streaming()
        if self.failing is not None:
            async with _entered(self.failing):
                await self._check_failing(self.failing)

    async def _check_answers(self) -> None:
        """It answers, again and again, and leaves the conversation as it is."""
        given = [*asking(self.question)]
        history = given.copy()
        first = await self._answer(history)
        if history != given:
            raise ContractBrokenError(
                "The completion changed the history that it was given; work on a copy."
            )
        if not first.strip():
            raise ContractBrokenError(
                f"The completion said nothing when it was asked {self.question!r}."
            )
        second = await self._answer(asking(self.question))
        if self.deterministic and first != second:
            raise ContractBrokenError(
                f"The completion answered one question with {_shown(first)} and then with "
                f"{_shown(second)}; it keeps something from one call to the next. One that may "
                "answer differently is checked with deterministic=False."
            )

    async def _check_that_others_may_run(self) -> None:
        """It does not block the event loop."""
        # The machine may be busy, too; but not again and again.
        stall = min([await self._stall() for _ in range(3)])
        if stall > STALL_SECONDS:
            raise ContractBrokenError(
                f"The completion held up the event loop for {stall:.1f} s, and with it everybody "
                "else's replies; use an async client for the provider, or asyncio.to_thread for "
                "what computes."
            )

    async def _stall(self) -> float:
        """The longest time for which nothing else could run during one answer."""
        reading, stall = self._read(asking(self.question)), 0.0
        while not reading.task.done():
            before = monotonic()
            await asyncio.wait({reading.task}, timeout=TICK_SECONDS)
            stall = max(stall, monotonic() - before - TICK_SECONDS)
            if monotonic() - reading.began > self.patience_seconds:
                break
        await self._ended(reading)
        return stall

    async def _check_two_at_once(self) -> None:
        """Two calls at once do not mix."""
        questions = (self.question, OTHER_QUESTION)
        readings = [self._read(asking(question)) for question in questions]
        at_once = [await self._ended(reading) for reading in readings]
        if self.deterministic:
            for question, text in zip(questions, at_once, strict=True):
                alone = await self._answer(asking(question))
                if alone != text:
                    raise ContractBrokenError(
                        f"The completion answered {question!r} with {_shown(alone)}, and with "
                        f"{_shown(text)} while it answered another question; the two calls share "
                        "something."
                    )

    async def _check_conversations(self) -> None:
        """It takes all conversations that there can be."""
        conversations = {
            "with a question before it that got no answer": asking("Are you there?", self.question),
            "that begins with an answer": asking(self.question, answers_first=True),
            f"of {LONG_HISTORY} messages": asking(
                *(OTHER_QUESTION for _ in range(LONG_HISTORY // 2)), self.question, is_answered=True
            ),
        }
        for which, history in conversations.items():
            try:
                await self._answer(history)
            except ContractBrokenError as broken:
                if _is_too_long(broken.__cause__):
                    continue
                raise ContractBrokenError(f"In a conversation {which}: {broken}") from broken

    async def _check_closing(self) -> None:
        """It ends when it is cancelled, or left, and closes its provider's request."""
        history = asking(self.slow_question or self.question)
        open_before = self._open()

        reading = self._read(history)
        await self._until_asked(reading, open_before)
        moment = "after" if reading.times else "before"
        reading.cancel()
        await self._check_closed(reading, f"cancelled {moment} its first text", open_before)

        reading = self._read(history)
        await reading.until_text(self.patience_seconds)
        reading.cancel()
        await self._check_closed(reading, "cancelled after its first text", open_before)

        reading = self._read(history, leave=True)
        await reading.until_text(self.patience_seconds)
        await self._check_closed(reading, "left after its first text", open_before)

    async def _until_asked(self, reading: "_Reading", open_before: int) -> None:
        """Returns when the provider has the request, as far as that can be seen."""
        deadline = monotonic() + (TICK_SECONDS if self.open_requests is None else CLOSE_SECONDS)
        while not reading.task.done() and not reading.times and monotonic() < deadline:
            await asyncio.sleep(TICK_SECONDS / 10)
            if self._open() > open_before:
                return

    async def _check_closed(self, reading: "_Reading", how: str, open_before: int) -> None:
        deadline = monotonic() + CLOSE_SECONDS
        await asyncio.wait({reading.task}, timeout=CLOSE_SECONDS)
        if not reading.task.done() or reading.is_open():
            raise ContractBrokenError(
                f"The completion was still running a second after it was {how}; let "
                "asyncio.CancelledError and GeneratorExit pass, and close the provider's request "
                "in `finally` or `async with`."
            )
        while self._open() > open_before:
            if monotonic() > deadline:
                raise ContractBrokenError(
                    "The completion left its provider's request open, a second after it was "
                    f"{how}; close it in `finally` or `async with`."
                )
            await asyncio.sleep(TICK_SECONDS)

    def _open(self) -> int:
        return 0 if self.open_requests is None else self.open_requests()

    async def _check_streaming(self) -> None:
        """It says what it knows, and does not wait for the end."""
        if self.slow_question is None:
            return
        reading = self._read(asking(self.slow_question))
        await self._ended(reading)
        spread = reading.times[-1] - reading.times[0] if reading.times else 0.0
        if spread < SPREAD_SECONDS:
            raise ContractBrokenError(
                f"The completion's answer to {self.slow_question!r} came all at once, after "
                f"{monotonic() - reading.began:.1f} s; yield each piece of text as it comes."
            )

    async def _check_failing(self, failing: Completion) -> None:
        """It says why it fails, in a sentence for people."""
        try:
            await self._ended(_Reading(failing, asking(self.question)))
        except ContractBrokenError as broken:
            failure = broken.__cause__
            if failure is None:
                raise
        else:
            raise ContractBrokenError("The completion that was to fail did not.")
        if not isinstance(failure, CompletionError):
            raise ContractBrokenError(
                f"The completion failed with {type(failure).__name__}, of which people read no "
                "more than 'The completion failed.'; raise CompletionError with a code and a "
                "sentence for them."
            ) from failure
        if failure.code in SERVERS_OWN:
            allowed = ", ".join(code for code in ReplyErrorCode if code not in SERVERS_OWN)
            raise ContractBrokenError(
                f"The completion failed with {failure.code}, which only the server says; there "
                f"are {allowed}."
            )
        if not failure.message.strip():
            raise ContractBrokenError("The completion failed without a sentence for people.")
        if any(secret in failure.message for secret in self.secrets):
            raise ContractBrokenError(
                "The sentence with which the completion failed holds one of the secrets."
            ) from None

    def _read(self, history: Sequence[Message], *, leave: bool = False) -> "_Reading":
        return _Reading(self.completion, history, leave=leave)

    async def _answer(self, history: Sequence[Message]) -> str:
        return await self._ended(self._read(history))

    async def _ended(self, reading: "_Reading") -> str:
        """What was said, to its end."""
        remaining = self.patience_seconds - (monotonic() - reading.began)
        await asyncio.wait({reading.task}, timeout=max(0.0, remaining))
        if not reading.task.done():
            reading.cancel()
            await asyncio.wait({reading.task}, timeout=CLOSE_SECONDS)
            raise ContractBrokenError(
                f"The completion did not come to its end within {self.patience_seconds:g} s."
            )
        try:
            await reading.task
        except ContractBrokenError:
            raise
        except CompletionError as error:
            raise ContractBrokenError(
                f"The completion failed with {error.code}: {error.message}"
            ) from error
        except (Exception, asyncio.CancelledError) as error:
            raise ContractBrokenError(
                f"The completion raised {type(error).__name__}: {error}"
            ) from error
        if _is_cumulative(reading.texts):
            raise ContractBrokenError(
                f"The completion yielded {_shown(reading.texts[1])} after "
                f"{_shown(reading.texts[0])}, each time all that it had said before; yield only "
                "what is new, since pieces are joined."
            )
        return scalar_text("".join(reading.texts))


class _Reading:
    """One call of a completion, read in a task, as the server does.

    Args:
        leave: ends the reading at the first text.
    """

    def __init__(
        self, completion: Completion, history: Sequence[Message], *, leave: bool = False
    ) -> None:
        self.began = monotonic()
        self.texts: list[str] = []
        self.times: list[float] = []
        self._completion = completion
        self._history = history
        self._leave = leave
        self._stream: AsyncIterator[str | Usage] | None = None
        self._is_over = False
        self._news = asyncio.Event()
        self.task = asyncio.create_task(self._read())
        self.task.add_done_callback(self._retrieve)

    async def _read(self) -> None:
        try:
            await self._read_all()
        except SystemExit as error:
            # Raised in a task, it would end whoever runs the check.
            raise ContractBrokenError(
                "The completion raised SystemExit, as sys.exit does; raise CompletionError to end "
                "a reply."
            ) from error

    async def _read_all(self) -> None:
        self._stream = stream = _iterator(self._completion(self._history))
        async with aclosing(stream) if isinstance(stream, AsyncGenerator) else nullcontext():
            async for piece in stream:
                if self._is_over:
                    return
                if isinstance(piece, str):
                    if piece:  # Nothing said is silence.
                        self.texts.append(piece)
                        self.times.append(monotonic())
                        self._news.set()
                        if self._leave:
                            return
                elif not isinstance(piece, Usage):
                    raise ContractBrokenError(
                        f"The completion yielded {_shown(piece)}, of the type "
                        f"{type(piece).__name__}; it yields str, and Usage."
                    )
                else:
                    _check_usage(piece)
                await asyncio.sleep(0)  # Two at once take turns.

    async def until_text(self, seconds: float) -> None:
        """Returns when there is text, or there will be none."""
        news = asyncio.create_task(self._news.wait())
        await asyncio.wait({news, self.task}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        news.cancel()

    def cancel(self) -> None:
        self._is_over = True
        self.task.cancel()

    def is_open(self) -> bool:
        """Whether a generator stands somewhere before its end."""
        return inspect.isasyncgen(self._stream) and self._stream.ag_frame is not None

    def _retrieve(self, task: "asyncio.Task[None]") -> None:
        """Retrieves what was raised, so that asyncio does not report it as lost."""
        if not task.cancelled():
            task.exception()


def asking(
    *questions: str, is_answered: bool = False, answers_first: bool = False
) -> tuple[Message, ...]:
    """A conversation that ends with a question.

    Args:
        is_answered: whether each question but the last has an answer.
        answers_first: whether an answer is before the first question.
    """
    roles: list[tuple[Role, str]] = [(Role.ASSISTANT, "Welcome!")] if answers_first else []
    for question in questions:
        roles.append((Role.USER, question))
        if is_answered:
            roles.append((Role.ASSISTANT, "Yes. はい 👍"))
    if is_answered:
        del roles[-1]
    now = datetime.now(UTC).replace(microsecond=0)
    return tuple(
        Message(f"message-{number}", "conversation", role, content, Status.DONE, now)
        for number, (role, content) in enumerate(roles)
    )


def _iterator(stream: object) -> AsyncIterator[str | Usage]:
    if inspect.iscoroutine(stream):
        stream.close()
    if not isinstance(stream, AsyncIterator):
        raise ContractBrokenError(
            f"The completion returned an object of the type {type(stream).__name__}; write "
            "`async def`, and `yield` the text."
        )
    return stream


def _check_usage(usage: Usage) -> None:
    """Its fields are what they are said to be; the server leaves out what is not."""
    if not isinstance(usage.model, str | None):
        raise ContractBrokenError(
            f"The completion yielded a Usage whose model is {_shown(usage.model)}; it is a str, or "
            "None if it is not known."
        )
    for name in ("input_tokens", "output_tokens"):
        tokens: object = getattr(usage, name)
        if tokens is None or (type(tokens) is int and tokens >= 0):
            continue
        raise ContractBrokenError(
            f"The completion yielded a Usage whose {name} is {_shown(tokens)}; it is an int from 0 "
            "on, or None if it is not known."
        )


def _is_cumulative(texts: Sequence[str]) -> bool:
    """Whether each piece is the one before it and more, as some providers' clients have it."""
    grown = sum(len(one) < len(other) for one, other in pairwise(texts))
    return grown > 1 and all(other.startswith(one) for one, other in pairwise(texts))


def _entered(completion: Completion) -> AbstractAsyncContextManager[object]:
    if isinstance(completion, AbstractAsyncContextManager):
        return completion
    return nullcontext()


def _is_too_long(failure: BaseException | None) -> bool:
    return (
        isinstance(failure, CompletionError)
        and failure.code is ReplyErrorCode.COMPLETION_INPUT_TOO_LONG
    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:99] + "…"
