"""What is found about who answers."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from graphql_app.doctor import model
from graphql_app.doctor.findings import Finding, Level
from graphql_app.errors import CompletionError
from graphql_app.interfaces import Completion
from graphql_app.messages import Message, ReplyErrorCode, Usage
from graphql_app.settings import Settings


async def examined(*, calls: bool = False, **settings: Any) -> dict[str, Finding]:
    return {
        finding.name: finding async for finding in model.examine(Settings(**settings), calls=calls)
    }


def levels(found: dict[str, Finding]) -> dict[str, Level]:
    return {name: finding.level for name, finding in found.items()}


def saying(*pieces: str | Usage | Exception) -> Completion:
    """A completion that says these, or fails."""

    async def complete(history: Sequence[Message]) -> AsyncIterator[str | Usage]:
        assert history[-1].content == model.QUESTION
        for piece in pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    return complete


async def test_a_completion_that_is_there_is_not_asked_unless_wanted() -> None:
    found = await examined(completion="echo", word_delay=0)
    assert levels(found) == {"model.there": Level.OK}
    asked = await examined(completion="echo", word_delay=0, calls=True)
    assert asked["model.answers"].level is Level.OK


@pytest.mark.parametrize("name", ["nobody", "graphql_app.nothing:complete", "openai:gpt-5-mini"])
async def test_a_completion_that_is_not_there_is_found(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    found = await examined(completion=name)
    assert levels(found) == {"model.there": Level.FAIL}


async def test_a_model_with_its_key_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    found = await examined(completion="openai:gpt-5-mini")
    assert {finding.level for finding in found.values()} == {Level.OK}
    assert "--call" in found["model.answers"].sentence
    assert "canary" not in str(found)


@pytest.mark.parametrize(
    ("url", "is_warned"),
    [
        ("http://models.example/v1", True),
        ("http://127.0.0.1:11434/v1", False),
        ("https://models.example/v1", False),
    ],
)
def test_a_model_at_the_end_of_a_plain_way_is_found(
    url: str, is_warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    assert [finding.name for finding in model.way()] == ["model.way"] * is_warned


@pytest.mark.parametrize(
    ("completion", "level", "says"),
    [
        (saying("yes", Usage("m", 12, 1)), Level.OK, "that cost 12 input and 1 output tokens of m"),
        (
            saying("yes", Usage("m", 12)),
            Level.OK,
            "12 input and an unknown number of output tokens",
        ),
        (saying("yes"), Level.OK, "does not say what that cost"),
        (saying(), Level.FAIL, "without a word"),
        (saying(Usage("m")), Level.FAIL, "without a word"),
        (
            saying(CompletionError(ReplyErrorCode.COMPLETION_FAILED, "The key was refused.")),
            Level.FAIL,
            "The key was refused.",
        ),
        (saying(RuntimeError("api_key=sk-1234567890abcdef")), Level.FAIL, "RuntimeError"),
    ],
)
async def test_what_a_call_brings_is_said(completion: Completion, level: Level, says: str) -> None:
    finding = await model.called(completion, Settings())
    assert finding.level is level
    assert says in finding.sentence
    assert "1234567890" not in finding.sentence


async def test_a_model_that_says_nothing_is_given_up() -> None:
    async def silent(history: Sequence[Message]) -> AsyncIterator[str | Usage]:
        await asyncio.Event().wait()
        yield ""

    finding = await model.called(silent, Settings(completion_timeout_seconds=1))
    assert (finding.level, finding.sentence) == (Level.FAIL, "It said nothing for 1 s.")


async def test_the_rest_of_an_answer_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model, "REST_SECONDS", 0.1)
    was_closed = asyncio.Event()

    async def endless(history: Sequence[Message]) -> AsyncIterator[str | Usage]:
        try:
            while True:
                yield "yes "
                await asyncio.sleep(0.01)
        finally:
            was_closed.set()

    assert (await model.called(endless, Settings())).level is Level.OK
    assert was_closed.is_set()
