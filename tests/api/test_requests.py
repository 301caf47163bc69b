"""What a GraphQL request must be, whatever brings it."""

import json
from collections.abc import Iterator
from typing import Any, cast

import pytest
from graphql import GraphQLError, GraphQLSyntaxError, specified_rules
from hypothesis import example, given
from hypothesis import strategies as st
from strawberry.types import ExecutionResult

from graphql_app.api import requests
from graphql_app.api.context import Context
from graphql_app.api.cost import BOUNDS
from graphql_app.api.requests import (
    REMEMBERED_DOCUMENTS,
    REMEMBERED_LENGTH,
    GraphQLRequest,
    MalformedError,
    changes_something,
    decode_json,
    parse_operation,
    request_from,
)
from graphql_app.api.schema import schema
from graphql_app.chat import ChatService
from graphql_app.errors import DocumentTooCostlyError
from tests.api.test_delivery import FixedChat

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


def value_of(text: str) -> str:
    """What a JSON text stands for, by the standard library, type by type."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        return repr(json.loads(text, parse_constant=refuse))
    except (ValueError, RecursionError):
        return "refused"


def decoded(text: str | bytes) -> str:
    try:
        return repr(decode_json(text))
    except MalformedError:
        return "refused"


numbers = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.integers(2**64, 2**70).map(str),
    st.floats().map(repr),
    st.from_regex(r"\A[-+]?[0-9]{1,25}(\.[0-9]{0,5})?([eE][-+]?[0-9]{1,3})?\Z"),
)
awkward_strings = st.from_regex(
    r"""\A"([^"\\]|\\u[dD][89a-fA-F][0-9a-f]{2}|\\["\\/bfnrtux0]|\\u00[0-9a-f]{2})*"\Z"""
)
json_texts = st.recursive(
    numbers | awkward_strings | st.sampled_from(["null", "true", "NaN", "-Infinity", "nul", ""]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda each: f"[{', '.join(each)}]"),
        st.lists(inner, max_size=4).map(
            lambda each: "{" + ",".join(f'"{n % 2}": {v}' for n, v in enumerate(each)) + "}"
        ),
    ),
    max_leaves=6,
)


@given(json_texts | st.text(st.sampled_from('{}[]",:\\u0123456789deDE.+-\ufeff\0 \n\t\ud800')))
@example("18446744073709551615")
@example("-9223372036854775808")
def test_what_a_text_stands_for_is_what_the_standard_library_says(text: str) -> None:
    assert decoded(text) == value_of(text)
    if text.isascii():
        assert decoded(text.encode()) == value_of(text)


@pytest.mark.parametrize(
    "text",
    [
        "18446744073709551616",
        "-9223372036854775809",
        '{"a": [123456789012345678901234567890]}',
    ],
)
def test_a_number_keeps_all_its_digits(text: str) -> None:
    assert decoded(text) == value_of(text)


async def test_two_ids_that_are_large_numbers_are_two_ids() -> None:
    query = "query ($id: ID!) { message(id: $id) { id } }"
    asked = []

    class NotingChat:
        async def message(self, owner: str, id: str) -> None:
            asked.append(id)

    for number in (2**64, 2**64 + 1):
        document, _ = parse_operation(query, None)
        context = Context(cast(ChatService, NotingChat()), document=document)
        variables = cast(dict[str, Any], decode_json(f'{{"id": {number}}}'))
        await schema.execute(query, variable_values=variables, context_value=context)
    assert asked == [str(2**64), str(2**64 + 1)]


@pytest.mark.parametrize("depth", [1, 100, 900, 1_000, 1_023, 1_024, 1_025, 5_000])
@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_a_depth_is_decoded_or_refused_and_nothing_else(brackets: str, depth: int) -> None:
    opening, closing = ('{"a":', "}") if brackets == "{}" else ("[", "]")
    try:
        value: Any = decode_json(opening * depth + "1" + closing * depth)
    except MalformedError:
        assert depth > 900
        return
    assert depth < 5_000
    for _ in range(depth):
        value = value["a"] if brackets == "{}" else value[0]
    assert value == 1


@pytest.mark.parametrize("depth", [500, 900, 1_000, 1_020])
async def test_a_variable_of_any_depth_is_refused_and_not_a_defect(
    depth: int, caplog: pytest.LogCaptureFixture
) -> None:
    query = "query ($id: ID!) { message(id: $id) { id } }"
    try:
        value = decode_json('{"id": ' + "[" * depth + "]" * depth + "}")
    except MalformedError:
        return
    data, [error] = await answer(query, cast(dict[str, Any], value))
    assert data is None
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert not caplog.records


@given(st.binary(max_size=20) | st.text().map(lambda text: f'"{text}"'.encode("utf-16")))
@example(b'"\xed\xa0\x80"')
@example(b'"\xc0\xaf"')
def test_bytes_are_utf8_or_no_json(data: bytes) -> None:
    try:
        expected = value_of(data.decode())
    except UnicodeDecodeError:
        expected = "refused"
    assert decoded(data) == expected


@pytest.mark.parametrize("size", [10, 65_535, 65_536, 65_537, 1_000_000])
def test_a_text_is_the_same_however_long_it_is(size: int) -> None:
    text = json.dumps("x" * (size - 2))
    assert len(text) == size
    assert decode_json(text) == decode_json(text.encode()) == "x" * (size - 2)
    for wrong in (text[:-1], text + text, text[:-1] + "\n" + '"'):
        with pytest.raises(MalformedError):
            decode_json(wrong)


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
    assert operation in document.node.definitions
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
        "{ a " * 390,
        "{ a(b: " + "[" * 700,
    ],
    ids=lambda query: ascii(query)[:30],
)
def test_what_is_no_document_is_a_syntax_error(query: str) -> None:
    with pytest.raises(GraphQLSyntaxError):
        parse_operation(query, None)


def test_a_document_of_the_most_tokens_is_parsed_and_one_more_is_too_many() -> None:
    most = "{ a(b: [" + "1 " * (BOUNDS.tokens - 9) + "]) }"
    parse_operation(most, None)
    with pytest.raises(GraphQLError, match="too costly: it has more than 800 tokens") as refused:
        parse_operation(most.replace("1", "1 1", 1), None)
    assert isinstance(refused.value.original_error, DocumentTooCostlyError)


# Remembered documents.


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    """Each test begins with no document remembered."""
    requests._remembered.cache_clear()
    yield
    requests._remembered.cache_clear()


async def answer(
    query: str, variables: dict[str, Any] | None = None, *, name: str | None = None
) -> tuple[object, list[dict[str, Any]]]:
    """The first result of an operation."""
    document, _ = parse_operation(query, name)
    context = Context(cast(ChatService, FixedChat()), document=document)
    results = await schema.stream(
        query, variable_values=variables, context_value=context, operation_name=name
    )
    async for result in results:
        assert isinstance(result, ExecutionResult)
        await results.aclose()
        return result.data, [dict(error.formatted) for error in result.errors or []]
    raise AssertionError("there is a result")


RULES = (schema, tuple(specified_rules))
"""What a document is valid by, if no extension has rules of its own."""

CHUNKS = 'subscription %s { resumeMessage(message: {id: "reply"}) { %s } }'


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (CHUNKS % ("", "nothing"), "Cannot query field 'nothing' on type 'StreamChunk'."),
        ("{ nothing }", "Cannot query field 'nothing' on type 'Query'."),
        (
            "query ($id: ID! = [1]) { message(id: $id) { id } }",
            "ID cannot represent a non-string and non-integer value: [1]",
        ),
        (
            "{ messages(last: %s) { id } }" % ("9" * 5_000),
            "A literal has a value that cannot be read.",
        ),
        (
            "{ messages(last: %s) { id } }" % ("9" * 1_900),
            "Int cannot represent non 32-bit signed integer value: ",
        ),
    ],
    ids=["a chunk's field", "a field", "a default", "a number too long", "a long number"],
)
async def test_an_invalid_document_is_as_invalid_each_time(query: str, message: str) -> None:
    first = await answer(query)
    assert first[0] is None
    assert first[1][0]["message"].startswith(message)
    assert first[1][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"
    for _ in range(3):
        assert await answer(query) == first
        document, _ = parse_operation(query, None)
        assert not document.is_valid_by(RULES)


async def test_a_valid_document_stays_valid_whatever_its_operations_come_to() -> None:
    query = "subscription ($id: ID!) { resumeMessage(message: {id: $id}) { text } }"
    good = await answer(query, {"id": "reply"})
    assert good == ({"resumeMessage": {"text": ""}}, [])
    every_wrong: list[dict[str, Any] | None] = [None, {}, {"id": None}, {"id": []}]
    for wrong in every_wrong:
        refused = await answer(query, wrong)
        assert refused[0] is None
        assert refused[1]
        assert await answer(query, wrong) == refused
        assert await answer(query, {"id": "reply"}) == good


async def test_wrong_variables_before_and_after_a_good_operation_are_refused_alike() -> None:
    query = "subscription ($id: ID!) { resumeMessage(message: {id: $id}) { text } }"
    first = await answer(query, {"id": {}})
    await answer(query, {"id": "reply"})
    assert await answer(query, {"id": {}}) == first


async def test_operations_of_one_document_are_told_apart() -> None:
    query = CHUNKS % ("A", "text") + CHUNKS % ("B", "offset")
    for _ in range(2):
        assert (await answer(query, name="A"))[0] == {"resumeMessage": {"text": ""}}
        assert (await answer(query, name="B"))[0] == {"resumeMessage": {"offset": 0}}
        with pytest.raises(GraphQLError):
            parse_operation(query, "C")
        with pytest.raises(GraphQLError):
            parse_operation(query, None)


async def test_documents_that_differ_in_one_letter_are_two_documents() -> None:
    valid, invalid = CHUNKS % ("A", "text"), CHUNKS % ("A", "tex")
    for _ in range(2):
        assert (await answer(valid))[1] == []
        assert (await answer(invalid))[0] is None


async def test_one_document_is_parsed_once_and_what_it_says_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    query = CHUNKS % ("", "text")
    document, operation = parse_operation(query, None)
    assert parse_operation(query, None) == (document, operation)
    printed = repr(document.node.to_dict())
    for _ in range(3):
        await answer(query)
    assert document.is_valid_by(RULES)
    assert repr(document.node.to_dict()) == printed


@pytest.mark.parametrize(
    ("query", "changes"),
    [
        ("{ a }", False),
        ("mutation { a }", True),
        ("subscription { a }", False),
        ("subscription { sendMessage }", True),
        ("subscription { x: sendMessage }", True),
        ("subscription { regenerateMessage }", True),
        ("subscription { regenerateMessage: a }", False),
        ("subscription { sendMessage: a }", False),
        ("subscription { ...F } fragment F on Subscription { ... { sendMessage } }", True),
    ],
)
def test_what_changes_something_is_known_each_time(query: str, changes: bool) -> None:
    for _ in range(2):
        assert changes_something(*parse_operation(query, None)) is changes


def test_only_so_many_documents_are_remembered_and_none_that_is_long() -> None:
    for number in range(2 * REMEMBERED_DOCUMENTS):
        parse_operation(f"{{ a{number} }}", None)
    assert requests._remembered.cache_info().currsize == REMEMBERED_DOCUMENTS
    requests._remembered.cache_clear()
    longest = "{ a }".ljust(REMEMBERED_LENGTH)
    parse_operation(longest, None)
    assert requests._remembered.cache_info().currsize == 1
    parse_operation(longest + " ", None)
    assert requests._remembered.cache_info().currsize == 1


def test_what_cannot_be_parsed_is_not_remembered_and_fails_alike() -> None:
    said = set()
    for _ in range(3):
        with pytest.raises(GraphQLSyntaxError) as refused:
            parse_operation("{ a(", None)
        said.add(refused.value.message)
    assert len(said) == 1
    assert requests._remembered.cache_info().currsize == 0
