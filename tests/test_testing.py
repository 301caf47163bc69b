"""The suite for completions: it lets good ones pass, and says of each bad one what is wrong."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from graphql_app import CompletionError, Message
from graphql_app.completions.echo import echo
from graphql_app.completions.model import model_completion
from graphql_app.completions.simulated import simulated
from graphql_app.interfaces import Completion
from graphql_app.messages import Usage
from graphql_app.testing import CompletionContract, ContractBrokenError

ROOT = Path(__file__).parent.parent


def broken(completion: Any, **options: Any) -> str:
    """The sentence with which a bad completion fails."""
    with pytest.raises(ContractBrokenError) as failure:
        CompletionContract(completion, **options).check()
    return str(failure.value)


class Provider:
    """A provider that counts its open requests, and completions that ask it."""

    def __init__(self) -> None:
        self.open = 0

    async def well_read(self, history: Sequence[Message]) -> AsyncGenerator[str | Usage, None]:
        self.open += 1
        try:
            for text in ("", "Yes, ", "\ud83d", "\ude00 ", history[-1].content):
                await asyncio.sleep(0.02)
                yield text
            yield Usage(model="scripted", input_tokens=1, output_tokens=4)
        finally:
            self.open -= 1

    async def leaking(self, history: Sequence[Message]) -> AsyncGenerator[str, None]:
        self.open += 1
        await asyncio.sleep(0.02)
        yield "Yes."
        await asyncio.sleep(0.02)
        self.open -= 1


async def failing(history: Sequence[Message]) -> AsyncGenerator[str, None]:
    raise CompletionError("COMPLETION_UNREACHABLE", "The model cannot be reached.")
    yield ""


# Good ones


@pytest.mark.parametrize("delay", [0.0, 0.001])
@pytest.mark.parametrize("make", [echo, simulated])
def test_the_completions_of_the_server_keep_the_contract(
    make: Callable[[float], Completion], delay: float
) -> None:
    CompletionContract(make(delay), slow_question="word " * 100 if delay else None).check()


def test_a_completion_that_uses_all_that_it_may_keeps_the_contract() -> None:
    provider = Provider()
    CompletionContract(
        provider.well_read,
        slow_question="Why?",
        open_requests=lambda: provider.open,
        failing=failing,
        secrets=["sk-1234"],
    ).check()
    assert provider.open == 0


async def test_the_contract_is_also_checked_on_a_running_event_loop() -> None:
    await CompletionContract(Provider().well_read).check_async()


def test_a_model_of_pydantic_ai_keeps_the_contract() -> None:
    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.models.function import AgentInfo, FunctionModel

    provider = Provider()

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        provider.open += 1
        try:
            for word in ("Who ", "am ", "I? ", str(len(messages))):
                await asyncio.sleep(0.03)
                yield word
        finally:
            provider.open -= 1

    CompletionContract(
        model_completion(FunctionModel(stream_function=stream)),
        slow_question="Who are you?",
        open_requests=lambda: provider.open,
    ).check()


def test_a_completion_that_may_answer_differently_is_not_compared_with_itself() -> None:
    count = iter(range(1_000))

    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        yield f"{next(count)}"

    CompletionContract(complete, deterministic=False).check()
    assert "deterministic=False" in broken(complete)


def test_a_conversation_may_be_too_long_for_a_model_that_says_so() -> None:
    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        if len(history) > 10:
            raise CompletionError("COMPLETION_INPUT_TOO_LONG", "The conversation is too long.")
        yield "Yes."

    CompletionContract(complete).check()


def test_a_completion_is_entered_before_it_is_asked_and_left_at_the_end() -> None:
    class Entered:
        is_entered = False

        async def __aenter__(self) -> None:
            self.is_entered = True

        async def __aexit__(self, *exception: object) -> None:
            self.is_entered = False

        async def __call__(self, history: Sequence[Message]) -> AsyncGenerator[str, None]:
            assert self.is_entered
            yield "Yes."

    completion = Entered()
    CompletionContract(completion).check()
    assert not completion.is_entered


def test_the_suite_needs_neither_pytest_nor_the_rest_of_the_server() -> None:
    code = (
        "import sys, graphql_app.testing\n"
        "print(*sorted({'pytest', 'strawberry', 'starlette', 'pydantic_ai'} & sys.modules.keys()))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_pieces_that_begin_alike_are_no_mistake() -> None:
    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        for text in ("a", "ab", "abc", " and ", "so ", "on"):
            yield text

    CompletionContract(complete).check()


# Bad ones


async def not_a_generator(history: Sequence[Message]) -> str:
    return "Yes."


async def numbers(history: Sequence[Message]) -> AsyncGenerator[Any, None]:
    yield 42


async def silent(history: Sequence[Message]) -> AsyncGenerator[str, None]:
    yield ""


async def raising(history: Sequence[Message]) -> AsyncGenerator[str, None]:
    yield "Yes"
    raise LookupError("no such thing")


async def endless(history: Sequence[Message]) -> AsyncGenerator[str, None]:
    while True:
        await asyncio.sleep(0.01)
        yield "and "


async def rewriting(history: list[Message]) -> AsyncGenerator[str, None]:
    question = history.pop()
    yield question.content


def taking(usage: Any) -> Any:
    async def complete(history: Sequence[Message]) -> AsyncGenerator[str | Usage, None]:
        yield "Yes."
        yield usage

    return complete


async def blank(history: Sequence[Message]) -> AsyncGenerator[str, None]:
    yield " "
    yield "\n"


async def cumulative(history: Sequence[Message]) -> AsyncGenerator[str, None]:
    for said in ("Hel", "Hello", "Hello", "Hello there."):
        yield said


async def leaving(history: Sequence[Message]) -> AsyncGenerator[str, None]:
    yield "Yes."
    sys.exit(3)


def remembering() -> Any:
    said: list[str] = []

    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        said.append(history[-1].content)
        yield " ".join(said)

    return complete


def mixing() -> Any:
    question = ""

    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        nonlocal question
        question = history[-1].content
        await asyncio.sleep(0.001)
        yield question

    return complete


async def in_turns(history: Sequence[Message]) -> AsyncGenerator[str, None]:
    roles = [message.role for message in history]
    if any(one == other for one, other in pairwise(roles)):
        raise ValueError("roles must alternate")
    yield "Yes."


async def short_of_memory(history: Sequence[Message]) -> AsyncGenerator[str, None]:
    if len(history) > 100:
        raise CompletionError("COMPLETION_FAILED", "Too much.")
    yield "Yes."


async def blocking(history: Sequence[Message]) -> AsyncGenerator[str, None]:
    time.sleep(0.6)  # noqa: ASYNC251
    yield "Yes."


async def all_at_once(history: Sequence[Message]) -> AsyncGenerator[str, None]:
    words = []
    for word in ("Yes, ", "of ", "course."):
        await asyncio.sleep(0.02)
        words.append(word)
    for word in words:
        yield word


async def stay() -> None:
    """Two seconds, whoever cancels it."""
    for _ in range(20):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0.1)


async def stubborn_before(history: Sequence[Message]) -> AsyncGenerator[str, None]:
    if history[-1].content == "Why?":
        await stay()
    yield "Yes."


async def stubborn_after(history: Sequence[Message]) -> AsyncGenerator[str, None]:
    yield "Yes."
    if history[-1].content == "Why?":
        await stay()


async def clinging(history: Sequence[Message]) -> AsyncGenerator[str, None]:
    try:
        yield "Yes."
    finally:
        yield "But one thing more!"


WHY = {"slow_question": "Why?"}


@pytest.mark.parametrize(
    ("completion", "options", "sentence"),
    [
        (not_a_generator, {}, "returned an object of the type coroutine; write `async def`, and"),
        (lambda history: ["Yes."], {}, "returned an object of the type list; write `async def`"),
        (lambda: None, {}, "raised TypeError: "),
        (numbers, {}, "yielded 42, of the type int; it yields str, and Usage."),
        (silent, {}, "said nothing when it was asked 'Hello! Who are you?'."),
        (blank, {}, "said nothing when it was asked 'Hello! Who are you?'."),
        (cumulative, {}, "yielded 'Hello' after 'Hel', each time all that it had said before; "),
        (taking(Usage(model=3)), {}, "a Usage whose model is 3; it is a str, or None"),  # type: ignore[arg-type]
        (taking(Usage(input_tokens="many")), {}, "whose input_tokens is 'many'; it is an int"),  # type: ignore[arg-type]
        (taking(Usage(output_tokens=-1)), {}, "whose output_tokens is -1; it is an int from 0 on"),
        (taking(Usage(output_tokens=True)), {}, "whose output_tokens is True; it is an int from"),
        (leaving, {}, "raised SystemExit, as sys.exit does; raise CompletionError to end a reply."),
        (raising, {}, "raised LookupError: no such thing"),
        (failing, {}, "failed with COMPLETION_UNREACHABLE: The model cannot be reached."),
        (endless, {"patience_seconds": 0.1}, "did not come to its end within 0.1 s."),
        (rewriting, {}, "changed the history that it was given; work on a copy."),
        (remembering(), {}, "it keeps something from one call to the next."),
        (mixing(), {}, "the two calls share something."),
        (in_turns, {}, "In a conversation with a question before it that got no answer: "),
        (short_of_memory, {}, "In a conversation of 200 messages: The completion failed with COMP"),
        (blocking, {}, "held up the event loop for "),
        (all_at_once, WHY, "came all at once, after "),
        (stubborn_before, WHY, "still running a second after it was cancelled before its first"),
        (stubborn_after, WHY, "still running a second after it was cancelled after its first text"),
        (clinging, {}, "still running a second after it was left after its first text; let"),
    ],
)
def test_a_completion_that_breaks_the_contract_is_told_where(
    completion: Any, options: dict[str, Any], sentence: str
) -> None:
    assert sentence in broken(completion, **options)


def test_a_request_that_stays_open_is_told() -> None:
    provider = Provider()
    said = broken(provider.leaking, open_requests=lambda: provider.open)
    assert said == (
        "The completion left its provider's request open, a second after it was cancelled before "
        "its first text; close it in `finally` or `async with`."
    )


def ending(failure: Exception) -> Any:
    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        yield "I think "
        raise failure

    return complete


@pytest.mark.parametrize(
    ("completion", "sentence"),
    [
        (echo(0), "The completion that was to fail did not."),
        (numbers, "yielded 42"),
        (
            ending(OSError("10.0.0.7 refused")),
            "failed with OSError, of which people read no more than 'The completion failed.'; ",
        ),
        (
            ending(CompletionError("PRODUCER_LOST", "The producer was lost.")),
            "failed with PRODUCER_LOST, which only the server says; there are COMPLETION_FAILED, ",
        ),
        (
            ending(CompletionError("COMPLETION_FAILED", " ")),
            "failed without a sentence for people.",
        ),
        (
            ending(CompletionError("COMPLETION_UNAUTHORIZED", "The key sk-1234 is wrong.")),
            "The sentence with which the completion failed holds one of the secrets.",
        ),
    ],
)
def test_a_completion_that_fails_badly_is_told_how(completion: Any, sentence: str) -> None:
    said = broken(echo(0), failing=completion, secrets=["sk-1234"])
    assert sentence in said
    assert "sk-1234" not in said
