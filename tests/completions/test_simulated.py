"""The simulated model."""

import asyncio
from datetime import UTC, datetime

import pytest

from graphql_app.completions.simulated import ANSWERS, LONG, MARKDOWN, PLAIN, simulated
from graphql_app.messages import Message, Role, Status


def history(questions: int) -> list[Message]:
    """A conversation with so many questions, the last one open."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    question = Message("q", "c", Role.USER, "Why?", Status.DONE, at)
    answer = Message("a", "c", Role.ASSISTANT, "Because.", Status.DONE, at)
    return [question, answer] * (questions - 1) + [question]


@pytest.mark.parametrize(
    ("questions", "answer"), [(1, PLAIN), (2, MARKDOWN), (3, LONG), (4, PLAIN), (5, MARKDOWN)]
)
async def test_the_answers_come_in_turn(questions: int, answer: str) -> None:
    said = [str(text) async for text in simulated(0)(history(questions))]
    assert "".join(said) == answer


async def test_an_answer_comes_word_by_word() -> None:
    said = [text async for text in simulated(0)(history(1))]
    assert said[:4] == ["That", " is", " a", " good"]


async def test_it_thinks_for_ten_words_time_and_then_says_one_word_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    words = simulated(0.5)(history(1))
    seen = [list(waits) for _ in range(3) if await anext(words)]
    assert seen == [[5.0], [5.0, 0.5], [5.0, 0.5, 0.5]]


def test_the_answers_are_plain_then_markdown_with_code_then_long() -> None:
    plain, markdown, long = ANSWERS
    assert "`" not in plain
    assert "```python" in markdown
    assert "👩‍👩‍👧‍👦" in markdown
    assert len(long) > 3 * len(plain)
