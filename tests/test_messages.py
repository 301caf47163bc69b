"""The arithmetic of offsets, against models too simple to be wrong."""

from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphql_app.messages import (
    Status,
    common_prefix,
    is_scalar_text,
    scalar_text,
    utf16_head,
    utf16_length,
    utf16_tail,
)

INTERESTING = "a \n\u0301é日\ufffd\ufeff😀👩\u200d\U0010ffff"
SURROGATES = "\ud83d\ude00\ud800\udbff\udc00\udfff"

scalar_texts = st.one_of(
    st.text(st.sampled_from(INTERESTING), max_size=30),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    st.text(st.characters(max_codepoint=127, exclude_characters="\0")),
)
any_texts = st.one_of(
    st.text(st.sampled_from(INTERESTING + SURROGATES + "\0"), max_size=30),
    st.text(st.characters(categories=["Cs", "L", "So", "Cc"])),
    st.text(st.characters(max_codepoint=127)),
)
offsets = st.integers(0, 70)


def units(character: str) -> int:
    return 2 if ord(character) > 0xFFFF else 1


def slow_tail(text: str, offset: int) -> tuple[int, str]:
    """Walks through the code points up to the one that reaches beyond `offset`."""
    begin = 0
    for index, character in enumerate(text):
        if begin + units(character) > offset:
            return begin, text[index:]
        begin += units(character)
    return begin, ""


def slow_scalar_text(text: str) -> str:
    """Joins pairs, then replaces what is left over."""
    result = ""
    rest = list(text)
    while rest:
        character = rest.pop(0)
        if "\ud800" <= character <= "\udbff" and rest and "\udc00" <= rest[0] <= "\udfff":
            high, low = ord(character) - 0xD800, ord(rest.pop(0)) - 0xDC00
            character = chr(0x10000 + high * 0x400 + low)
        elif "\ud800" <= character <= "\udfff" or character == "\0":
            character = "\ufffd"
        result += character
    return result


@pytest.mark.parametrize(
    ("status", "is_final"),
    [
        (Status.STREAMING, False),
        (Status.DONE, True),
        (Status.STOPPED, True),
        (Status.ERROR, True),
    ],
)
def test_every_status_but_streaming_is_final(status: Status, is_final: bool) -> None:
    assert status.is_final is is_final


@given(any_texts)
def test_a_length_counts_two_for_each_code_point_beyond_the_first_plane(text: str) -> None:
    assert utf16_length(text) == sum(map(units, text))


@given(scalar_texts, offsets)
def test_a_tail_begins_at_the_offset_the_start_of_its_pair_or_the_end(
    text: str, offset: int
) -> None:
    assert utf16_tail(text, offset) == slow_tail(text, offset)


@given(scalar_texts, offsets)
def test_a_head_is_what_its_tail_leaves(text: str, length: int) -> None:
    _, tail = slow_tail(text, length)
    assert utf16_head(text, length) == text.removesuffix(tail)


@given(scalar_texts, offsets)
def test_a_head_has_at_most_its_length_and_lacks_at_most_half_a_pair(
    text: str, length: int
) -> None:
    longest = min(length, utf16_length(text))
    assert longest - 1 <= utf16_length(utf16_head(text, length)) <= longest


@given(scalar_texts, any_texts, any_texts)
def test_a_common_prefix_is_all_leading_code_points_that_are_equal(
    shared: str, one: str, other: str
) -> None:
    one, other = shared + one, shared + other
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    assert common_prefix(one, other) == "".join(a for a, _ in pairs)


def test_a_common_prefix_does_not_take_half_of_a_character() -> None:
    # 😀 and 😁 begin with the same surrogate.
    assert common_prefix("a😀", "a😁") == "a"
    assert common_prefix("a😀", "a\ud83d") == "a"


@given(any_texts)
def test_scalar_text_joins_pairs_and_replaces_lone_surrogates_and_nul(text: str) -> None:
    assert scalar_text(text) == slow_scalar_text(text)


@given(any_texts)
def test_scalar_text_is_scalar_text_as_long_as_what_it_replaces(text: str) -> None:
    assert is_scalar_text(scalar_text(text))
    assert utf16_length(scalar_text(text)) == utf16_length(text)


@given(scalar_texts)
def test_scalar_text_leaves_ordinary_text_alone(text: str) -> None:
    assert is_scalar_text(text)
    assert scalar_text(text) == text


@given(any_texts)
def test_scalar_text_has_neither_nul_nor_surrogates(text: str) -> None:
    assert is_scalar_text(text) == (not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text))
