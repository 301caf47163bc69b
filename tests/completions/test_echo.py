"""The echo, and the words that it and the simulated model speak in."""

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from graphql_app.completions.echo import echo
from graphql_app.completions.words import words
from graphql_app.messages import Message, Role, Status


def message(content: str, role: Role = Role.USER) -> Message:
    return Message("m", "c", role, content, Status.DONE, datetime(2026, 1, 1, tzinfo=UTC))


@given(st.text())
@example(" leading, trailing \n")
@example("\n\n")
@example("one")
@example("e\u0301\u00a0\u2003日本語 😀")
async def test_the_echo_says_any_text_back_exactly(content: str) -> None:
    assert "".join([str(text) async for text in echo(0)([message(content)])]) == content


async def test_the_echo_repeats_the_last_message() -> None:
    history = [message("First"), message("Answer", Role.ASSISTANT), message("Second one")]
    assert [text async for text in echo(0)(history)] == ["Second", " one"]


async def test_the_echo_serves_several_replies_at_the_same_time() -> None:
    complete = echo(0)
    one, other = complete([message("a b")]), complete([message("c d")])
    said = [await anext(one), await anext(other), await anext(one), await anext(other)]
    assert said == ["a", "c", " b", " d"]


async def test_the_echo_waits_before_each_word(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    words_at = [(text, list(waits)) async for text in echo(0.5)([message("One two")])]
    assert words_at == [("One", [0.5]), (" two", [0.5, 0.5])]


@given(st.text())
def test_words_join_to_the_text(text: str) -> None:
    assert "".join(words(text)) == text


@given(st.text())
def test_no_word_is_empty(text: str) -> None:
    assert all(words(text))


def test_a_word_has_the_separators_before_it_and_the_last_blanks_are_one_word() -> None:
    assert list(words("  Say\tit,\n\nplease. \n")) == ["  Say", "\tit,", "\n\nplease.", " \n"]
