"""Each limit, at its last allowed value and at the first refused one."""

import re

import pytest

from graphql_app.errors import BadUserInputError
from graphql_app.limits import Limits

LIMITS = Limits(content_length=10, id_length=4, list_size=1_500)


def refused(argument: str, limit: str) -> "pytest.RaisesExc[BadUserInputError]":
    return pytest.raises(BadUserInputError, match=f"^{re.escape(f'{argument} {limit}.')}$")


def test_the_defaults_are_those_that_are_documented() -> None:
    assert Limits() == Limits(
        content_length=32_768,
        id_length=128,
        reply_length=262_144,
        silence_seconds=60,
        list_size=1_000,
        replies=5_000,
    )


@pytest.mark.parametrize("id", ["a", "abcd", "日本語😀", " ", "é́"])
def test_an_id_has_one_to_the_most_printable_code_points(id: str) -> None:
    LIMITS.check_id("id", id)


@pytest.mark.parametrize("id", ["", "abcde", "a\n", "\0", "\ud800", "\u200b", "\u2028"])
def test_an_id_that_is_empty_too_long_or_not_printable_is_refused(id: str) -> None:
    with refused("before", "must be 1 to 4 printable characters"):
        LIMITS.check_id("before", id)


@pytest.mark.parametrize("content", ["a", "x" * 10, "日" * 10, "😀" * 5, "\n a \t"])
def test_content_has_up_to_the_most_code_units(content: str) -> None:
    LIMITS.check_content("content", content)


@pytest.mark.parametrize("content", ["x" * 11, "日" * 11, "😀" * 5 + "x", " " * 10 + "x"])
def test_content_with_one_code_unit_more_is_refused(content: str) -> None:
    with refused("content", "must be at most 10 UTF-16 code units long"):
        LIMITS.check_content("content", content)


@pytest.mark.parametrize("content", ["", " ", "\n\t\r", "\u2003", "\u3000"])
def test_content_of_nothing_but_blanks_is_refused(content: str) -> None:
    with refused("content", "must not be blank"):
        LIMITS.check_content("content", content)


@pytest.mark.parametrize("content", ["\0", "a\0b", "\ud83d", "a\ude00", "\ude00\ud83d"])
def test_content_with_nul_or_a_lone_surrogate_is_refused(content: str) -> None:
    with refused("content", "must not contain NUL or a lone surrogate"):
        LIMITS.check_content("content", content)


def test_a_long_limit_is_written_with_separators() -> None:
    with refused("content", "must be at most 32,768 UTF-16 code units long"):
        Limits().check_content("content", "x" * 32_769)


@pytest.mark.parametrize("offset", [0, 1, 2**31 - 1])
def test_an_offset_is_zero_or_more(offset: int) -> None:
    LIMITS.check_offset("offset", offset)


def test_a_negative_offset_is_refused() -> None:
    with refused("offset", "must be 0 or more"):
        LIMITS.check_offset("offset", -1)


@pytest.mark.parametrize(
    ("asked", "given"), [(None, 1_500), (1, 1), (1_499, 1_499), (1_500, 1_500), (1_501, 1_500)]
)
def test_a_list_is_as_long_as_asked_for_but_at_most_the_limit(
    asked: int | None, given: int
) -> None:
    assert LIMITS.checked_size("last", asked) == given


@pytest.mark.parametrize("size", [0, -1])
def test_a_list_of_nothing_is_refused(size: int) -> None:
    with refused("first", "must be 1 or more (lists have at most 1,500 entries)"):
        LIMITS.checked_size("first", size)
