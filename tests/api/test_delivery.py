"""The hot path gives the same results as the stock one, and keeps nothing of an event."""

import gc
import json
import math
import tracemalloc
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionResult

from graphql_app.api.context import Context
from graphql_app.api.delivery import encode_json
from graphql_app.api.mutations import Mutation
from graphql_app.api.queries import Query
from graphql_app.api.requests import parse_operation
from graphql_app.api.schema import ChatSchema, ContextDocument, schema
from graphql_app.api.subscriptions import Subscription
from graphql_app.api.types import DateTime
from graphql_app.chat import ChatService
from graphql_app.limits import Limits
from graphql_app.messages import (
    Chunk,
    Message,
    MessageChanged,
    MessagesReset,
    ReplyError,
    ReplyErrorCode,
    Role,
    Status,
)

stock_schema = ChatSchema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    extensions=[ContextDocument],
    config=StrawberryConfig(scalar_map={datetime: DateTime}),
)
"""Our schema as graphql-core executes it by itself."""

BROKEN = ReplyError(ReplyErrorCode.COMPLETION_FAILED, "The completion broke off.")

CHUNKS = (
    Chunk("reply", 0, "", Status.STREAMING),
    Chunk("reply", 0, 'one "\u65e5" \U0001f600\n', Status.STREAMING),
    Chunk("reply", 9, "", Status.ERROR, BROKEN),
)

AT = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
USER = Message("user", "default", Role.USER, "hi", Status.DONE, AT)
REPLY = Message("reply", "default", Role.ASSISTANT, "", Status.ERROR, AT, "user", BROKEN)
EVENTS = (
    MessagesReset("default", (USER, REPLY)),
    MessageChanged(USER),
    MessageChanged(REPLY),
)


class FixedChat:
    """Streams the same, whatever it is asked; and breaks where it is told to."""

    def __init__(self, chunks: tuple[Chunk, ...] = CHUNKS, breaks: bool = False) -> None:
        self._chunks = chunks
        self._breaks = breaks

    async def resume(self, *_: object, **__: object) -> AsyncGenerator[Chunk, None]:
        return self._stream(self._chunks)

    async def events(self, *_: object) -> AsyncGenerator[Any, None]:
        return self._stream(EVENTS)

    def newest(self, reset: MessagesReset, last: int | None) -> tuple[Message, ...]:
        return reset.messages[-Limits().checked_size("last", last) :]

    async def _stream(self, events: tuple[Any, ...]) -> AsyncGenerator[Any, None]:
        for event in events:
            yield event
        if self._breaks:
            raise ZeroDivisionError


async def results(
    schema: ChatSchema, query: str, chat: FixedChat, variables: dict[str, Any] | None = None
) -> AsyncGenerator[Any, None]:
    document, _ = parse_operation(query, None)
    context = Context(cast(ChatService, chat), document=document)
    stream = await schema.stream(query, variable_values=variables, context_value=context)
    async for result in stream:
        assert isinstance(result, ExecutionResult)
        yield {"data": result.data, "errors": [each.formatted for each in result.errors or []]}


# Generated selections. An alias names its field, so that no two fields get the same one.


def field(name: str, selection: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[str]:
    alias = st.sampled_from(["", "", f"{name}_1: ", f"{name}_2: "])
    return st.tuples(alias, directives, st.just("") if selection is None else selection).map(
        lambda parts: f"{parts[0]}{name} {parts[1]} {parts[2]}"
    )


def selection(
    kind: str, fields: st.SearchStrategy[str], *, fragments: str = ""
) -> st.SearchStrategy[str]:
    """A selection of fields of a type, in and out of fragments."""

    def block(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.lists(inner, min_size=1, max_size=5).map(lambda each: f"{{ {' '.join(each)} }}")

    spreads = [f"...{fragments}{number}" for number in range(2)] if fragments else []
    spread = st.tuples(st.sampled_from(spreads), directives).map(" ".join) if spreads else fields
    return st.recursive(
        block(fields | spread),
        lambda inner: block(
            fields
            | spread
            | st.tuples(st.sampled_from(["...", f"... on {kind}"]), directives, inner).map(" ".join)
        ),
        max_leaves=4,
    )


directives = st.sampled_from(
    [
        "",
        "",
        "",
        "@include(if: $yes)",
        "@skip(if: $yes)",
        "@include(if: $no)",
        "@skip(if: $no)",
        "@include(if: true) @skip(if: $no)",
    ]
)
error = field(
    "error",
    selection("MessageError", field("code") | field("message") | field("__typename")),
)
chunk_fields = st.one_of(
    error, *map(field, ["messageId", "offset", "text", "status", "__typename"])
)
message_fields = st.one_of(
    error,
    *map(
        field,
        [
            "id",
            "conversationId",
            "role",
            "content",
            "status",
            "createdAt",
            "replyToId",
            "__typename",
        ],
    ),
)
messages = st.sampled_from(["messages", "messages(last: 1)", "messages(last: 0)"])


@st.composite
def chunk_documents(draw: st.DrawFn) -> str:
    fragments = [
        f"fragment F{number} on StreamChunk {draw(selection('StreamChunk', chunk_fields))}"
        for number in range(2)
    ]
    alias = draw(st.sampled_from(["", "chunk: "]))
    body = draw(selection("StreamChunk", chunk_fields, fragments="F"))
    return (
        f"subscription ($yes: Boolean!, $no: Boolean!) {{ {alias}resumeMessage("
        f'message: {{id: "reply"}}) {body} ...Used }} '
        "fragment Used on Subscription { "
        f'{alias}resumeMessage(message: {{id: "reply"}}) '
        "{ messageId @skip(if: $yes) @include(if: $no) ...F0 @skip(if: $yes) ...F1 @skip(if: $yes)"
        " } } " + " ".join(fragments)
    )


@st.composite
def event_documents(draw: st.DrawFn) -> str:
    message = selection("Message", message_fields)
    reset = f"{{ __typename conversationId a: {draw(messages)} {draw(message)} }}"
    return (
        "subscription ($yes: Boolean!, $no: Boolean!) { conversationEvents { __typename "
        f"... on MessagesReset {draw(directives)} {reset} "
        f"... on MessageChanged {draw(directives)} {{ message {draw(message)} }} "
        "... on MessageChanged @skip(if: $yes) { __typename @include(if: $no) } } }"
    )


@settings(max_examples=80, deadline=None)
@given(
    query=chunk_documents() | event_documents(),
    yes=st.booleans(),
    no=st.booleans(),
    breaks=st.booleans(),
)
async def test_every_selection_gives_the_results_that_the_stock_executor_gives(
    query: str, yes: bool, no: bool, breaks: bool
) -> None:
    variables = {"yes": yes, "no": no}
    chat = FixedChat(breaks=breaks)
    ours = [result async for result in results(schema, query, chat, variables)]
    stock = [result async for result in results(stock_schema, query, chat, variables)]
    assert ours == stock
    assert [list(result["data"] or ()) for result in ours] == [
        list(result["data"] or ()) for result in stock
    ]
    assert encode_json(ours) == encode_json(stock)
    assert len(ours) == 3 + breaks


async def test_an_error_in_one_event_is_the_same_and_the_next_events_come() -> None:
    query = """subscription { conversationEvents {
        ... on MessagesReset { messages(last: 0) { id } }
        ... on MessageChanged { message { id error { code } } }
    } }"""
    ours = [result async for result in results(schema, query, FixedChat())]
    assert ours == [result async for result in results(stock_schema, query, FixedChat())]
    assert ours[0]["data"] is None
    assert ours[0]["errors"][0]["path"] == ["conversationEvents", "messages"]
    assert ours[2]["data"]["conversationEvents"]["message"]["error"] == {
        "code": "COMPLETION_FAILED"
    }


async def test_an_event_leaves_nothing_behind() -> None:
    events = 3_000
    chunks = tuple(Chunk("reply", number, "x", Status.STREAMING) for number in range(2 * events))
    query = 'subscription { resumeMessage(message: {id: "x"}) { messageId offset text status } }'

    async def run(stream: AsyncGenerator[Any, None], count: int) -> None:
        for _ in range(count):
            await anext(stream)

    stream = results(schema, query, FixedChat(chunks))
    await run(stream, 500)
    tracemalloc.start()
    try:
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        await run(stream, events)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    await stream.aclose()
    assert (after - before) / events < 20


# JSON.

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
)


@given(values)
def test_what_is_encoded_is_text_of_one_line_that_means_the_value(value: Any) -> None:
    text = encode_json(value)
    assert isinstance(text, str)
    assert "\n" not in text
    assert "\r" not in text
    text.encode()
    assert json.loads(text) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"id": "\ud800"}, '{"id":"\\ud800"}'),
        ({"\udfff": 1}, '{"\\udfff":1}'),
        (
            ["\U0001f600", "\u65e5", '"', "\\", "\0"],
            '["\U0001f600","\u65e5","\\"","\\\\","\\u0000"]',
        ),
        (2**64, "18446744073709551616"),
        ([None, True, 1.5], "[null,true,1.5]"),
        ([math.nan, math.inf], "[null,null]"),
        (Status.DONE, '"DONE"'),
    ],
    ids=ascii,
)
def test_awkward_values_are_encoded(value: object, text: str) -> None:
    assert encode_json(value) == text
