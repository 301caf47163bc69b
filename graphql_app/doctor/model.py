"""Examines who answers: whether it is there, and, if asked to, whether it says anything."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import UTC, datetime
from urllib.parse import urlsplit

from graphql_app.completions import open_completion
from graphql_app.doctor.configuration import CANNED
from graphql_app.doctor.findings import Finding, fail, ok, warn
from graphql_app.doctor.places import is_loopback
from graphql_app.errors import CompletionError, ConfigurationError
from graphql_app.interfaces import Completion
from graphql_app.masking import masked
from graphql_app.messages import Message, Role, Status, Usage
from graphql_app.settings import Settings

QUESTION = "Answer with the single word: yes"

REST_SECONDS = 5.0
"""How long the rest of an answer is waited for, after its first word: it says what it cost."""

SLOW_SECONDS = 10.0


async def examine(settings: Settings, *, calls: bool) -> AsyncIterator[Finding]:
    """Whether the completion can be opened, and where it leads.

    Args:
        calls: whether it is asked something, which may cost a little.
    """
    try:
        completion = open_completion(
            settings.completion,
            word_delay_seconds=settings.word_delay,
            system_prompt=settings.system_prompt,
            max_history_messages=settings.max_history_messages,
            max_history_tokens=settings.max_history_tokens,
        )
    except ConfigurationError as error:
        yield fail("model.there", str(error), "docs/how-to/configure.md says what a model needs.")
        return
    yield ok("model.there", f"{settings.completion} can be opened, and has what it needs to begin.")
    for finding in way():
        yield finding
    if calls:
        yield await called(completion, settings)
    elif settings.completion not in CANNED:
        yield ok("model.answers", "Nobody asked it; --call does, for a few tokens.")


def way() -> list[Finding]:
    """Who could listen on the way to a model that has an address of its own."""
    return [
        warn(
            "model.way",
            f"{name} leads to {urlsplit(value).hostname} without encryption, prompts and keys too.",
            "Use https://, unless nobody else is in that network.",
        )
        for name, value in sorted(os.environ.items())
        if name.endswith("_BASE_URL")
        and value.startswith("http://")
        and not is_loopback(urlsplit(value).hostname or "")
    ]


async def called(completion: Completion, settings: Settings) -> Finding:
    """Asks a completion for one word, and says what came and what it cost."""
    question = Message(
        "doctor", "doctor", Role.USER, QUESTION, Status.DONE, created_at=datetime.now(UTC)
    )
    began = time.perf_counter()
    first_seconds, usage = None, Usage()
    try:
        async with AsyncExitStack() as stack:
            if isinstance(completion, AbstractAsyncContextManager):
                await stack.enter_async_context(completion)
            answer = completion([question])
            if isinstance(answer, AsyncGenerator):
                stack.push_async_callback(answer.aclose)
            deadline = await stack.enter_async_context(
                asyncio.timeout(settings.completion_timeout_seconds)
            )
            async for piece in answer:
                if isinstance(piece, Usage):
                    usage = piece
                elif piece and first_seconds is None:
                    first_seconds = time.perf_counter() - began
                    deadline.reschedule(asyncio.get_running_loop().time() + REST_SECONDS)
    except TimeoutError:
        if first_seconds is None:
            return fail(
                "model.answers",
                f"It said nothing for {settings.completion_timeout_seconds:g} s.",
                "Look at its provider, or at the way there.",
            )
    except CompletionError as error:
        return fail(
            "model.answers",
            f"It failed with {error.code}: {error}",
            "docs/streaming.md explains the code; the log above has the provider's own words.",
        )
    except Exception as error:  # Whatever somebody's own code raises.
        return fail(
            "model.answers",
            f"It raised {type(error).__name__}: {masked(str(error))}",
            "Correct it; graphql_app.testing helps.",
        )
    if first_seconds is None:
        return fail("model.answers", "It ended without a word.", "Look at its provider.")
    sentence = f"Its first word came after {first_seconds:.1f} s; {_cost(usage)}."
    if first_seconds > SLOW_SECONDS:
        return warn("model.answers", sentence, "Users wait for that long. Is it loading?")
    return ok("model.answers", sentence)


def _cost(usage: Usage) -> str:
    if usage.input_tokens is None and usage.output_tokens is None:
        return "it does not say what that cost"
    counts = ((usage.input_tokens, "input"), (usage.output_tokens, "output"))
    tokens = " and ".join(
        f"{'an unknown number of' if count is None else count} {kind}" for count, kind in counts
    )
    return f"that cost {tokens} tokens of {usage.model or 'a model without a name'}"
