"""What a GraphQL request must be, whatever brings it."""

import json
from typing import Any

import pytest
from graphql import GraphQLError, GraphQLSyntaxError
from hypothesis import given
from hypothesis import strategies as st

from graphql_app.api.requests import (
    MAX_TOKENS,
    GraphQLRequest,
    MalformedError,
    decode_json,
    parse_operation,
    request_from,
)

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values)
def test_json_is_decoded_from_text_and_from_utf8(value: Any) -> None:
    assert decode_json(json.dumps(value)) == value
    assert decode_json(json.dumps(value).encode()) == value


def test_lone_surrogates_are_decoded_since_they_are_refused_or_healed_later() -> None:
    assert decode_json(b'"\\ud800"') == "\ud800"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "{} {}",
        "NaN",
        "[Infinity]",
        "-Infinity",
        "[" * 100_000,
        "[" * 50_000 + "]" * 50_000,
        "1" * 10_000,
        b"\xff",
        b'"\xed\xa0\x80"',
        "{}".encode("utf-16"),
        b"\xef\xbb\xbf{}",
    ],
    ids=lambda text: ascii(text)[:30],
)
def test_what_is_no_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(MalformedError, match=r"^The message is not valid JSON\.$"):
        decode_json(text)


@pytest.mark.parametrize(
    ("value", "request_"),
    [
        ({"query": "{ a }"}, GraphQLRequest("{ a }", None, None, None)),
        ({"query": ""}, GraphQLRequest("", None, None, None)),
        (
            {"query": "q", "variables": None, "operationName": None, "extensions": None},
            GraphQLRequest("q", None, None, None),
        ),
        (
            {"query": "q", "variables": {"a": 1}, "operationName": "A", "extensions": {}, "x": 1},
            GraphQLRequest("q", {"a": 1}, "A", {}),
        ),
    ],
)
def test_a_request_is_read(value: object, request_: GraphQLRequest) -> None:
    assert request_from(value) == request_


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([{"query": "{ a }"}], "A GraphQL request must be an object."),
        (None, "A GraphQL request must be an object."),
        ({}, "The parameter query must be a string."),
        ({"query": 1}, "The parameter query must be a string."),
        (
            {"query": "q", "operationName": 1},
            "The parameter operationName must be a string or null.",
        ),
        ({"query": "q", "variables": []}, "The parameter variables must be an object or null."),
        ({"query": "q", "variables": ""}, "The parameter variables must be an object or null."),
        ({"query": "q", "extensions": 0}, "The parameter extensions must be an object or null."),
    ],
)
def test_a_request_that_is_none_is_refused_with_a_sentence(value: object, sentence: str) -> None:
    with pytest.raises(MalformedError) as refused:
        request_from(value)
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("query", "name", "found"),
    [
        ("{ a }", None, None),
        ("query A { a }", None, "A"),
        ("query A { a } mutation B { b }", "B", "B"),
        ("fragment F on Query { a } subscription C { ...F }", None, "C"),
    ],
)
def test_the_operation_that_is_meant_is_found(
    query: str, name: str | None, found: str | None
) -> None:
    document, operation = parse_operation(query, name)
    assert operation in document.definitions
    assert (operation.name and operation.name.value) == found


@pytest.mark.parametrize(
    ("query", "name", "sentence"),
    [
        (
            "fragment F on Query { a }",
            None,
            "The document has no single operation; name one in operationName.",
        ),
        (
            "query A { a } query B { b }",
            None,
            "The document has no single operation; name one in operationName.",
        ),
        ("query A { a }", "B", "Unknown operation named 'B'."),
        ("{ a }", "", "Unknown operation named ''."),
    ],
)
def test_an_operation_that_nobody_can_find_is_refused_with_a_sentence(
    query: str, name: str | None, sentence: str
) -> None:
    with pytest.raises(GraphQLError) as refused:
        parse_operation(query, name)
    assert refused.value.message == sentence


@pytest.mark.parametrize(
    "query",
    [
        "",
        "{",
        "\0",
        "{ a(b: \ud800) }",
        "{ a " * 100_000,
        "{ a(b: " + "[" * 100_000,
        "{ " + "a " * MAX_TOKENS + "}",
    ],
    ids=lambda query: ascii(query)[:30],
)
def test_what_is_no_document_is_a_syntax_error(query: str) -> None:
    with pytest.raises(GraphQLSyntaxError):
        parse_operation(query, None)


def test_a_document_of_the_most_tokens_is_parsed() -> None:
    parse_operation("{ " + "a " * (MAX_TOKENS - 2) + "}", None)
