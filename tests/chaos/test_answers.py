"""The completion says what the checker expects, and writes down that it does."""

from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from graphql_app import Message, Role, Status
from tests.chaos import answers
from tests.chaos.history import Called, Event, Quit, Said, read_history

MESSAGE = Message("m0", "c0", Role.USER, "30 0 7", Status.DONE, datetime.now(UTC))


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the completion writes, as process p0."""
    file = tmp_path / "answers"
    monkeypatch.setenv(answers.ANSWERS_VARIABLE, str(file))
    monkeypatch.setenv(answers.PROCESS_VARIABLE, "p0")
    answers._recorder.cache_clear()
    return file


async def test_the_pieces_are_the_answer_and_are_written_down(written: Path) -> None:
    said = [piece async for piece in answers.complete([MESSAGE])]
    assert "".join(said) == answers.answer("30 0 7")
    first, *middle, last = read_history(written)
    assert isinstance(first, Called)
    assert (first.process, first.message) == ("p0", "m0")
    assert isinstance(last, Quit)
    assert [event.units for event in middle if isinstance(event, Said)] == [
        len("".join(said[: number + 1]).encode("utf-16-le")) // 2 for number in range(len(said))
    ]


async def test_a_completion_that_is_closed_writes_that_it_quit(written: Path) -> None:
    async with aclosing(answers.complete([MESSAGE])) as pieces:
        await anext(pieces)
    events: list[type[Event]] = [type(event) for event in read_history(written)]
    assert events == [Called, Said, Quit]


def test_an_answer_depends_on_its_message_alone() -> None:
    assert answers.answer("30 0 7") == answers.answer("30 99 7")
    assert answers.answer("30 0 7") != answers.answer("30 0 8")
