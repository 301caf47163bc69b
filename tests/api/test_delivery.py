"""The hot path gives the same results as the stock one, and keeps nothing of an event."""

import asyncio
import gc
import inspect
import json
import logging
import math
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from types import UnionType
from typing import Any, TypeVar, cast

import pytest
import strawberry
from graphql import Executor, Node, NoSchemaIntrospectionCustomRule
from hypothesis import given, settings
from hypothesis import strategies as st
from strawberry.extensions import FieldExtension, SchemaExtension
from strawberry.extensions.base_extension import HOOK_METHODS
from strawberry.permission import BasePermission
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionResult

from graphql_app.api import delivery, failures, requests, websocket
from graphql_app.api.context import Context, Info
from graphql_app.api.cost import parsed
from graphql_app.api.delivery import EVENT_HOOKS, EventExecutor, Feed, encode_json
from graphql_app.api.mutations import Mutation
from graphql_app.api.queries import Query
from graphql_app.api.requests import parse_operation
from graphql_app.api.schema import ChatSchema, ContextDocument, schema
from graphql_app.api.subscriptions import Subscription
from graphql_app.api.types import DateTime
from graphql_app.chat import ChatService
from graphql_app.errors import DocumentTooCostlyError
from graphql_app.follower import Following
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
from tests.api.sockets import Conversation, Reply, in_turn, told
from tests.chats import settled
from tests.faults import leaking_nothing
from tests.objects import alive


@pytest.fixture(scope="module", autouse=True)
def the_same_ids() -> Iterator[None]:
    """All errors have one id, and all sockets: so both ways can be compared."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(failures, "new_error_id", lambda: "e1")
        patch.setattr(websocket, "request_id", lambda _: "s1")
        yield


T = TypeVar("T")


def schema_with(*extensions: type[SchemaExtension], **options: Any) -> ChatSchema:
    """Our schema with more extensions, and the executor that is given."""
    return ChatSchema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        extensions=[ContextDocument, *extensions],
        config=StrawberryConfig(scalar_map={datetime: DateTime}),
        **options,
    )


stock_schema = schema_with()
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

    def __init__(
        self,
        chunks: tuple[Chunk, ...] = CHUNKS,
        breaks: bool = False,
        events: tuple[Any, ...] = EVENTS,
    ) -> None:
        self._chunks = chunks
        self._breaks = breaks
        self._events = events

    async def resume(self, *_: object, **__: object) -> AsyncGenerator[Chunk, None]:
        return self._stream(self._chunks)

    async def events(self, *_: object) -> AsyncGenerator[Any, None]:
        return self._stream(self._events)

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


def is_cheap(query: str) -> bool:
    """Whether a document is one that is let in."""
    try:
        parsed(query)
    except DocumentTooCostlyError:
        return False
    return True


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
    query=(chunk_documents() | event_documents()).filter(is_cheap),
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


@pytest.mark.parametrize(
    "selected",
    [
        "offset text @include(if: $yes)",
        "offset text @skip(if: $yes)",
        "offset ... @include(if: $yes) { text }",
        "offset ...Text",
        "offset error @include(if: $yes) { code } text",
        "offset error { code message @skip(if: $yes) }",
    ],
)
async def test_one_document_selects_by_the_variables_of_each_operation(selected: str) -> None:
    query = (
        "subscription ($yes: Boolean!) "
        f'{{ resumeMessage(message: {{id: "reply"}}) {{ {selected} }} }} '
        + "fragment Text on StreamChunk { text @skip(if: $yes) }"
        * ("...Text" in selected)
    )

    async def selected_by(schema: ChatSchema) -> list[list[Any]]:
        return [
            [result async for result in results(schema, query, FixedChat(), {"yes": yes})]
            for yes in (True, False, True)
        ]

    ours = await selected_by(schema)
    assert ours == await selected_by(stock_schema)
    assert ours[0] == ours[2] != ours[1]


@pytest.mark.parametrize(
    ("query", "events"),
    [
        ('resumeMessage(message: {id: "x"}) { messageId offset text status }', 3_000),
        ("conversationEvents { ... on MessageChanged { message { id content } } }", 300),
    ],
    ids=["by a plan", "by graphql-core"],
)
async def test_an_event_leaves_nothing_behind(query: str, events: int) -> None:
    chat = FixedChat(
        tuple(Chunk("reply", number, "x", Status.STREAMING) for number in range(2 * events)),
        events=(MessageChanged(USER),) * (2 * events),
    )

    async def run(stream: AsyncGenerator[Any, None], count: int) -> None:
        for _ in range(count):
            await anext(stream)

    stream = results(schema, f"subscription {{ {query} }}", chat)
    await run(stream, events // 6)
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
    assert after - before < 60_000


# Over a socket: frames that are made from a template, pushed or sent.


AWKWARD_IDS = st.one_of(
    st.sampled_from(
        ["%", "%s", "%%d %(a)s", "{0}", "{}", '"', "\\", "\\u0000", "'", "\n\0", "\u2028", "日"]
    ),
    st.text(st.characters(), min_size=1, max_size=8),
    st.sampled_from(["\ud800", "a\udfff%s"]),
)
TEXTS = st.one_of(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=8),
    st.sampled_from(["%s", "%", "%%", "{}", '"', "\\", "\n\r\0", "\u2028", "\U0001f600", " "]),
)
ENDS = st.sampled_from(
    [
        (Status.DONE, None),
        (Status.STOPPED, None),
        (Status.ERROR, BROKEN),
        (Status.ERROR, ReplyError(ReplyErrorCode.PRODUCER_LOST, '%s "日"\n')),
        (None, None),
    ]
)


@st.composite
def stream_documents(draw: st.DrawFn) -> str:
    """A subscription to a reply, sent or resumed, with several names for one field."""
    names = ["messageId", "offset", "text", "status", "__typename"]

    def alias(number: int, name: str) -> str:
        return draw(st.sampled_from(["", f"{name}{number}: ", f"_{number}{name}: "]))

    several = " ".join(
        f"{alias(number, name)}{name} {draw(directives)}"
        for number, name in enumerate(draw(st.lists(st.sampled_from(names), max_size=8)))
    )
    fragments = [
        f"fragment F{number} on StreamChunk {draw(selection('StreamChunk', chunk_fields))}"
        for number in range(2)
    ]
    body = draw(selection("StreamChunk", chunk_fields, fragments="F"))
    field = draw(
        st.sampled_from(
            [
                'resumeMessage(message: {id: "reply"})',
                'sendMessage(message: {id: "question", content: "Why?"})',
            ]
        )
    )
    root = draw(st.sampled_from(["", "chunk: ", "sendMessage: ", "text: "]))
    return (
        f"subscription ($yes: Boolean!, $no: Boolean!) {{ {root}{field} "
        f"{{ {several} ... {body} ...F0 @skip(if: $yes) ...F1 @include(if: $no) }} }} "
        + " ".join(fragments)
    )


@settings(max_examples=150, deadline=None)
@given(
    query=stream_documents().filter(is_cheap),
    yes=st.booleans(),
    no=st.booleans(),
    ids=st.tuples(AWKWARD_IDS, AWKWARD_IDS),
    texts=st.lists(TEXTS, max_size=5),
    end=ENDS,
    sink=st.sampled_from([None, (True,), (False,), (True, False), (True, True, False)]),
)
async def test_every_selection_gives_the_frames_that_the_stock_executor_gives(
    query: str,
    yes: bool,
    no: bool,
    ids: tuple[str, str],
    texts: list[str],
    end: tuple[Status | None, ReplyError | None],
    sink: tuple[bool, ...] | None,
) -> None:
    async def steps(reply: Reply, socket: Conversation) -> AsyncIterator[None]:
        socket.subscribe(query, {"yes": yes, "no": no}, id=ids[1])
        yield
        for text in texts:
            await reply.append(text)
            yield
        if end[0] is not None:
            await reply.finish(end[0], end[1], text="end")
        else:
            await reply.clear()
        yield
        assert not reply.has_followers

    takes = in_turn(*sink) if sink else None
    ours = await told(schema, steps, takes=takes, id=ids[0])
    stock = await told(stock_schema, steps, id=ids[0])
    assert ours.frames == stock.frames
    assert len(ours.texts) == len(texts) + 2 + (end[0] is not None)
    assert not any("\n" in text or "\r" in text for text in ours.texts)


TYPICAL = {
    "our own": "messageId offset text status error { code message }",
    "in another order": "text offset",
    "a caching client": "__typename messageId offset text status error { __typename code message }",
    "names of their own": "id: messageId at: offset delta: text state: status why: error { code }",
    "a fragment": "...Chunk",
    "inline": "... on StreamChunk { text } ... { offset } ... @include(if: true) { status }",
    "one field": "status",
}


@pytest.mark.parametrize("selected", TYPICAL.values(), ids=TYPICAL.keys())
@pytest.mark.parametrize("root", ["resumeMessage", "x: resumeMessage", "sendMessage"])
async def test_what_clients_select_takes_the_short_way(selected: str, root: str) -> None:
    message = '{id: "reply"}' if "resume" in root else '{id: "question", content: "Why?"}'
    query = (
        f"subscription S {{ {root}(message: {message}) {{ {selected} }} }} "
        + "fragment Chunk on StreamChunk { ...Rest text } fragment Rest on StreamChunk { offset }"
        * ("...Chunk" in selected)
    )
    reply = await Reply().begin()
    document, _ = parse_operation(query, None)
    context = Context(cast(ChatService, reply), document=document, takes_feed=True)
    results = await schema.stream(query, context_value=context)
    result = await anext(results)
    assert isinstance(result, ExecutionResult)
    feed = cast(Any, result.data)
    assert isinstance(feed, Feed)
    frame = feed.plan.frames("1")
    chunk = await anext(feed.chunks)
    assert json.loads(frame(chunk)) == {
        "id": "1",
        "type": "next",
        "payload": {"data": feed.plan.data(chunk)},
    }
    await feed.chunks.aclose()
    await results.aclose()
    assert not reply.has_followers


async def test_words_are_pushed_and_their_frames_are_what_a_client_expects() -> None:
    async def steps(reply: Reply, socket: Conversation) -> AsyncIterator[None]:
        socket.subscribe('subscription { resumeMessage(message: {id: "r"}) { offset text } }')
        yield
        for word in ("One", " two", " three"):
            await reply.append(word)
            assert socket.texts[-1].endswith(f'"text":"{word}"' + "}}}}"), "it is there at once"
        await reply.finish(Status.DONE, None)
        yield

    socket = await told(schema, steps, takes=in_turn(True))
    assert socket.written == 3
    assert socket.texts[2] == (
        '{"id":"1","type":"next","payload":{"data":{"resumeMessage":{"offset":3,"text":" two"}}}}'
    )
    assert socket.values[-1] == {"id": "1", "type": "complete"}


async def test_chunks_that_come_from_elsewhere_than_a_follower_are_sent_all_the_same() -> None:
    sockets = []
    for each in (schema, stock_schema):
        chat = cast(ChatService, FixedChat())
        async with Conversation(each, chat, in_turn(True)).opened() as socket:
            socket.subscribe(
                'subscription { resumeMessage(message: {id: "r"}) { text error { code } } }'
            )
            await settled()
        sockets.append(socket)
    assert sockets[0].frames == sockets[1].frames
    assert len(sockets[0].frames) == len(CHUNKS) + 1


async def test_a_server_without_extensions_will_do() -> None:
    """ASGI leaves it to servers whether they name any."""
    reply = await Reply().begin()
    await reply.finish(Status.DONE, None, text="One")
    socket = Conversation(schema, reply, None)
    del socket._extensions["extensions"]
    async with socket.opened():
        socket.subscribe('subscription { resumeMessage(message: {id: "r"}) { text } }')
        await settled()
    assert [frame["type"] for frame in socket.values] == ["next", "complete"]


@pytest.mark.parametrize("kind", [list, tuple, dict.fromkeys], ids=["list", "tuple", "other"])
async def test_a_server_may_give_the_headers_in_any_iterable(kind: Callable[[Any], Any]) -> None:
    """ASGI asks for no more."""
    reply = await Reply().begin()
    await reply.finish(Status.DONE, None, text="One")
    socket = Conversation(schema, reply, None)
    socket._extensions["headers"] = kind([(b"host", b"here"), (b"accept", b"*/*")])
    async with socket.opened():
        socket.subscribe('subscription { resumeMessage(message: {id: "r"}) { text } }')
        await settled()
    assert [frame["type"] for frame in socket.values] == ["next", "complete"]


async def test_one_socket_may_follow_one_reply_several_times_and_differently() -> None:
    queries = {
        "a": "{ text }",
        "b": "{ text }",
        "c": "{ t: text offset }",
        "d": "{ offset t: text }",
        "%s": "{ text u: text status }",
    }

    async def steps(reply: Reply, socket: Conversation) -> AsyncIterator[None]:
        for id, selected in queries.items():
            socket.subscribe(
                'subscription { resumeMessage(message: {id: "r"}) ' + selected + " }", id=id
            )
        yield
        for text in ("%s ", '"', "日"):
            await reply.append(text)
            yield
        await reply.finish(Status.ERROR, BROKEN)
        yield

    ours = await told(schema, steps, takes=in_turn(True, True, False))
    stock = await told(stock_schema, steps)
    assert len(ours.frames) == len(queries) * 6
    for id in queries:
        assert [frame for frame in ours.frames if frame[0] == ("id", id)] == [
            frame for frame in stock.frames if frame[0] == ("id", id)
        ]


@pytest.mark.parametrize("root", ["@skip(if: true)", "@include(if: $no)", "@skip(if: $no)"])
async def test_a_root_field_that_is_left_out_gives_what_the_stock_executor_gives(root: str) -> None:
    query = (
        "subscription ($no: Boolean = false) "
        f'{{ resumeMessage(message: {{id: "r"}}) {root} {{ text }} }}'
    )

    async def steps(reply: Reply, socket: Conversation) -> AsyncIterator[None]:
        socket.subscribe(query)
        yield
        await reply.finish(Status.DONE, None)
        yield

    ours = await told(schema, steps, takes=in_turn(True))
    assert ours.frames == (await told(stock_schema, steps)).frames


# Errors in the middle.


@pytest.mark.parametrize("words", [0, 1, 3])
@pytest.mark.parametrize("takes", [None, (True,), (False,)], ids=["no sink", "pushed", "refused"])
@pytest.mark.parametrize("cause", ["clear", "defect"])
async def test_an_error_in_the_middle_is_shown_as_on_the_general_path(
    caplog: pytest.LogCaptureFixture, words: int, takes: tuple[bool, ...] | None, cause: str
) -> None:
    async def steps(reply: Reply, socket: Conversation) -> AsyncIterator[None]:
        socket.subscribe('subscription { x: resumeMessage(message: {id: "r"}) { text offset } }')
        yield
        for number in range(words):
            await reply.append(f"{number} ")
            yield
        if cause == "clear":
            await reply.clear()
        else:
            reply.store.broken_on("read", times=5)
            reply.store.waking_everybody()
        yield

    logged = []
    sockets = []
    for each, sink in ((schema, takes), (stock_schema, None)):
        caplog.clear()
        sockets.append(await told(each, steps, takes=in_turn(*sink) if sink else None))
        logged.append([(r.name, r.levelno, r.getMessage()) for r in caplog.records])
    assert sockets[0].frames == sockets[1].frames
    assert logged[0] == logged[1]
    *_, last = sockets[0].values
    [error] = last["payload"]
    if cause == "clear":
        assert error["extensions"] == {"code": "MESSAGE_CLEARED"}
        assert not logged[0]
    else:
        assert error["message"] == "An internal error occurred. Its id is e1."
        assert error["extensions"] == {"code": "INTERNAL_SERVER_ERROR", "errorId": "e1"}
        assert [level for _, level, _ in logged[0]] == [logging.ERROR]
    assert last["type"] == "error"


async def test_an_id_may_be_used_again_after_an_error_and_after_an_end() -> None:
    query = 'subscription { resumeMessage(message: {id: "r"}) { text status } }'

    async def steps(reply: Reply, socket: Conversation) -> AsyncIterator[None]:
        for _ in range(2):
            socket.subscribe(query)
            yield
            reply.store.broken_on("read", times=5)
            reply.store.waking_everybody()
            yield
            reply.store.healed()
        socket.subscribe(query)
        yield
        await reply.finish(Status.DONE, None)
        yield
        socket.subscribe(query)
        yield

    frames = (await told(schema, steps, takes=in_turn(True))).values
    assert [frame["type"] for frame in frames] == [
        *("next", "error") * 2,
        *("next", "next", "complete"),
        *("next", "complete"),
    ]


# Leaving.


@pytest.mark.parametrize("words", [0, 1, 3])
@pytest.mark.parametrize("takes", [None, (True,), (False,)], ids=["no sink", "pushed", "refused"])
@pytest.mark.parametrize("root", ["resumeMessage", "sendMessage"])
async def test_a_client_that_completes_gets_nothing_more_and_leaves_no_follower(
    words: int, takes: tuple[bool, ...] | None, root: str
) -> None:
    message = '{id: "reply"}' if "resume" in root else '{id: "question", content: "Why?"}'

    async def steps(reply: Reply, socket: Conversation) -> AsyncIterator[None]:
        socket.subscribe(f"subscription {{ {root}(message: {message}) {{ text }} }}")
        yield
        for number in range(words):
            await reply.append(f"{number} ")
            yield
        assert reply.has_followers
        count = len(socket.texts)
        socket.say({"id": "1", "type": "complete"})
        yield
        assert not reply.has_followers
        await reply.append("more")
        yield
        assert len(socket.texts) == count
        # The id is free, and what comes under it is the new operation's.
        socket.subscribe('subscription { resumeMessage(message: {id: "r"}) { at: offset } }')
        yield
        assert socket.values[count:] == [
            {"id": "1", "type": "next", "payload": {"data": {"resumeMessage": {"at": 0}}}}
        ]

    await told(schema, steps, takes=in_turn(*takes) if takes else None)


@pytest.mark.parametrize("when", ["at once", "after the first chunk", "after a word"])
async def test_a_client_that_disconnects_leaves_no_follower_and_no_task(when: str) -> None:
    async def steps(reply: Reply, socket: Conversation) -> AsyncIterator[None]:
        for id in ("1", "2"):
            socket.subscribe('subscription { resumeMessage(message: {id: "r"}) { text } }', id=id)
        if when != "at once":
            yield
        if when == "after a word":
            await reply.append("One")
            yield

    with leaking_nothing():
        reply = await Reply().begin()
        async with Conversation(schema, reply, in_turn(True)).opened() as socket:
            async for _ in steps(reply, socket):
                await settled()
        assert not reply.has_followers


async def test_a_word_that_comes_right_behind_a_complete_is_not_sent() -> None:
    async def steps(reply: Reply, socket: Conversation) -> AsyncIterator[None]:
        socket.subscribe('subscription { resumeMessage(message: {id: "r"}) { text } }')
        yield
        socket.say({"id": "1", "type": "complete"})
        for _ in range(20):
            await reply.append("x")
            await asyncio.sleep(0)
        left = len(socket.texts)
        yield
        await reply.append("x")
        yield
        assert len(socket.texts) == left

    await told(schema, steps, takes=in_turn(True))


async def test_a_reader_that_waits_keeps_nothing_of_what_it_was_sent() -> None:
    size, followers = 1_000_000, 8
    reply = await Reply().begin()
    await reply.append("x" * size)
    async with Conversation(schema, reply, in_turn(True)).opened() as socket:
        gc.collect()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for number in range(followers):
                socket.subscribe(
                    f'subscription {{ resumeMessage(message: {{id: "r"}}) {{ t{number}: text }} }}',
                    id=f"{number}",
                )
            await settled()
            assert len(socket.texts) == followers
            socket.texts.clear()
            await reply.append("y")
            await settled()
            assert len(socket.texts) == followers
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert after - before < 3 * size


def alive_at_last(kinds: UnionType | type) -> int:
    gc.collect()
    return alive(kinds)


async def test_many_subscriptions_with_very_long_aliases_leave_nothing_behind() -> None:
    size, count, alias = 190_000, 6, ""
    reply = await Reply().begin()
    async with Conversation(schema, reply, in_turn(True)).opened() as socket:
        gc.collect()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for number in range(count):
                alias = f"a{number}".ljust(size, "x")
                socket.subscribe(
                    f'subscription {{ resumeMessage(message: {{id: "r"}}) {{ {alias}: text }} }}'
                )
                await settled()
                await reply.append("x")
                assert len(socket.texts) == 2
                assert all(alias in text for text in socket.texts)
                socket.texts.clear()
                socket.say({"id": "1", "type": "complete"})
                await settled()
            alias = ""
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert after - before < size


async def test_plans_are_kept_only_with_the_documents_that_are_remembered() -> None:
    reply = await Reply().begin()
    requests._remembered.cache_clear()
    before = alive_at_last(delivery.Plan)
    async with Conversation(schema, reply, in_turn(True)).opened() as socket:
        for number in range(requests.REMEMBERED_DOCUMENTS + 20):
            socket.subscribe(
                f'subscription {{ resumeMessage(message: {{id: "r"}}) {{ t{number}: text }} }}'
            )
            await settled()
            socket.say({"id": "1", "type": "complete"})
            await settled()
        assert len(socket.texts) == requests.REMEMBERED_DOCUMENTS + 20
    assert alive_at_last(delivery.Plan) - before <= requests.REMEMBERED_DOCUMENTS
    requests._remembered.cache_clear()
    assert alive_at_last(delivery.Plan) == before


@pytest.mark.parametrize("words", [0, 2])
@pytest.mark.parametrize("root", ["resumeMessage", "sendMessage"])
async def test_an_idle_operation_keeps_nothing_of_a_long_document(root: str, words: int) -> None:
    message = '{id: "reply"}' if "resume" in root else '{id: "question", content: "Why?"}'
    selected = " ".join(
        f"alias_with_a_very_long_name_{number:020}: messageId" for number in range(50)
    )
    query = f"subscription {{ {root}(message: {message}) {{ text {selected} }} }}"
    assert len(query) > requests.REMEMBERED_LENGTH
    reply = await Reply().begin()
    async with Conversation(schema, reply, in_turn(True)).opened() as socket:
        before = alive_at_last(Node | requests.Document)
        socket.subscribe(query)
        await settled()
        for number in range(words):
            await reply.append(f"{number} ")
        assert len(socket.texts) == 1 + words
        assert reply.has_followers
        assert alive_at_last(Node | requests.Document) == before


# Extensions.


class Notes:
    """What extensions noted, and how many frames had been sent then."""

    seen: list[Any] = []  # noqa: RUF012
    socket: Conversation | None = None

    @classmethod
    def end(cls, result: Any) -> None:
        assert cls.socket is not None
        code = result.errors and result.errors[0].extensions["code"]
        cls.seen.append(("ends", code, len(cls.socket.texts)))


@pytest.fixture(autouse=True)
def notes() -> Iterator[list[Any]]:
    Notes.seen = []
    yield Notes.seen
    Notes.seen, Notes.socket = [], None


class NotesResults(SchemaExtension):
    def on_stream_result(self, result: Any) -> Iterator[None]:
        Notes.seen.append(result.data)
        yield


class NotesResultsAsynchronously(SchemaExtension):
    async def on_stream_result(self, result: Any) -> AsyncIterator[None]:
        Notes.seen.append(result.data)
        yield


class ChangesResults(SchemaExtension):
    def on_stream_result(self, result: Any) -> Iterator[None]:
        Notes.seen.append(result.data)
        result.extensions = {"number": len(Notes.seen)}
        yield


class AddsResults(SchemaExtension):
    def get_results(self) -> dict[str, Any]:
        Notes.seen.append(None)
        return {"number": len(Notes.seen)}


class NotesFields(SchemaExtension):
    def resolve(self, _next: Any, root: Any, info: Any, *args: Any, **kwargs: Any) -> Any:
        if info.field_name == "text":
            Notes.seen.append(root)
        return _next(root, info, *args, **kwargs)


class Inherits(NotesResults):
    pass


@pytest.mark.parametrize(
    "extension",
    [
        NotesResults,
        NotesResultsAsynchronously,
        ChangesResults,
        AddsResults,
        NotesFields,
        Inherits,
    ],
)
async def test_an_extension_that_wants_to_see_every_event_sees_every_event(
    extension: type[SchemaExtension], notes: list[Any]
) -> None:
    async def steps(reply: Reply, socket: Conversation) -> AsyncIterator[None]:
        socket.subscribe('subscription { resumeMessage(message: {id: "r"}) { text } }')
        yield
        for word in ("One", " two"):
            await reply.append(word)
            yield
        await reply.finish(Status.DONE, None, text=" three")
        yield

    ours = await told(
        schema_with(extension, execution_context_class=EventExecutor), steps, takes=in_turn(True)
    )
    seen = list(notes)
    notes.clear()
    stock = await told(schema_with(extension), steps)
    assert ours.frames == stock.frames
    assert len(seen) == len(notes) == 4
    assert ours.written == 0


async def test_an_extension_that_is_an_object_sees_every_event(notes: list[Any]) -> None:
    class Counts(SchemaExtension):
        def on_stream_result(self, result: Any) -> Iterator[None]:
            Notes.seen.append(result.data)
            yield

    async def steps(reply: Reply, socket: Conversation) -> AsyncIterator[None]:
        socket.subscribe('subscription { resumeMessage(message: {id: "r"}) { text } }')
        yield
        await reply.append("One")
        yield
        await reply.finish(Status.DONE, None)
        yield

    factory = cast(type[SchemaExtension], lambda **_: Counts())
    await told(
        schema_with(factory, execution_context_class=EventExecutor), steps, takes=in_turn(True)
    )
    assert notes == [{"resumeMessage": {"text": text}} for text in ("", "One", "")]


class TimesOperations(SchemaExtension):
    def on_operation(self) -> Iterator[None]:
        Notes.seen.append("begins")
        try:
            yield
        finally:
            Notes.end(self.execution_context.result)

    def on_execute(self) -> Iterator[None]:
        Notes.seen.append("executes")
        yield


class TimesOperationsAsynchronously(SchemaExtension):
    async def on_operation(self) -> AsyncIterator[None]:
        Notes.seen.append("begins")
        try:
            yield
        finally:
            await asyncio.sleep(0)
            Notes.end(self.execution_context.result)

    def on_execute(self) -> Iterator[None]:
        Notes.seen.append("executes")
        yield


@pytest.mark.parametrize("extension", [TimesOperations, TimesOperationsAsynchronously])
@pytest.mark.parametrize("end", ["done", "clear", "defect", "complete", "close"])
@pytest.mark.parametrize("words", [0, 2])
async def test_an_operation_lasts_for_its_extensions_until_its_last_frame(
    notes: list[Any], extension: type[SchemaExtension], end: str, words: int
) -> None:
    async def steps(reply: Reply, socket: Conversation) -> AsyncIterator[None]:
        Notes.socket = socket
        socket.subscribe('subscription { resumeMessage(message: {id: "r"}) { text } }')
        yield
        for number in range(words):
            await reply.append(f"{number} ")
            yield
        assert Notes.seen == ["begins", "executes"]
        match end:
            case "done":
                await reply.finish(Status.DONE, None)
            case "clear":
                await reply.clear()
            case "defect":
                reply.store.broken_on("read", times=5)
                reply.store.waking_everybody()
            case "complete":
                socket.say({"id": "1", "type": "complete"})
            case "close":
                socket.leave()
        yield
        failed = {"clear": "MESSAGE_CLEARED", "defect": "INTERNAL_SERVER_ERROR"}
        sent = 1 + words + (end in ("done", *failed))
        assert Notes.seen == ["begins", "executes", ("ends", failed.get(end), sent)]

    seen = []
    for each in (
        schema_with(extension, execution_context_class=EventExecutor),
        schema_with(extension),
    ):
        notes.clear()
        ours = await told(each, steps, takes=in_turn(True))
        seen.append((ours.frames, list(notes)))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("extension", [TimesOperations, TimesOperationsAsynchronously])
async def test_a_client_that_is_lost_is_no_error_for_an_extension_that_waits_for_the_end(
    caplog: pytest.LogCaptureFixture, extension: type[SchemaExtension]
) -> None:
    async def steps(reply: Reply, socket: Conversation) -> AsyncIterator[None]:
        Notes.socket = socket
        socket.subscribe('subscription { resumeMessage(message: {id: "r"}) { text } }')
        yield
        socket.is_lost = True
        await reply.append("One")
        yield
        assert not reply.has_followers
        assert Notes.seen == ["begins", "executes", ("ends", None, 1)]

    lasting = schema_with(extension, execution_context_class=EventExecutor)
    await told(lasting, steps, takes=in_turn(False))
    assert not caplog.records


async def test_an_extension_that_only_looks_at_the_beginning_does_not_make_events_dear() -> None:
    class Begins(SchemaExtension):
        def on_validate(self) -> Iterator[None]:
            Notes.seen.append("validates")
            yield

    async def steps(reply: Reply, socket: Conversation) -> AsyncIterator[None]:
        socket.subscribe('subscription { resumeMessage(message: {id: "r"}) { text } }')
        yield
        await reply.append("One")
        assert socket.written == 1
        yield
        await reply.finish(Status.DONE, None)
        yield

    with_extension = schema_with(Begins, execution_context_class=EventExecutor)
    await told(with_extension, steps, takes=in_turn(True))
    assert Notes.seen == ["validates"]


class ForbidsIntrospection(SchemaExtension):
    """Adds a rule for some operations, as one that knows who asks would."""

    def on_operation(self) -> Iterator[None]:
        if Notes.seen:
            self.execution_context.validation_rules += (NoSchemaIntrospectionCustomRule,)
        yield


async def test_a_rule_of_one_operation_is_applied_to_a_document_that_was_valid_without_it(
    notes: list[Any],
) -> None:
    query = "{ __schema { queryType { name } } }"
    strict = schema_with(ForbidsIntrospection, execution_context_class=EventExecutor)

    async def answer() -> tuple[object, list[str]]:
        document, _ = parse_operation(query, None)
        context = Context(cast(ChatService, FixedChat()), document=document)
        result = await strict.execute(query, context_value=context)
        return result.data, [str((e.extensions or {})["code"]) for e in result.errors or []]

    allowed: tuple[object, list[str]] = {"__schema": {"queryType": {"name": "Query"}}}, []
    for _ in range(2):
        notes.clear()
        assert await answer() == allowed
        notes.append("forbidden")
        for _ in range(2):
            data, codes = await answer()
            assert data is None
            assert set(codes) == {"GRAPHQL_VALIDATION_FAILED"}


# Fields that are more than what a chunk has.


class Denies(BasePermission):
    message = "Not for you."

    def has_permission(self, source: Any, info: Any, **kwargs: Any) -> bool:
        return False


class Shouts(FieldExtension):
    def resolve(self, next_: Callable[..., Any], source: Any, info: Any, **kwargs: Any) -> str:
        return str(next_(source, info, **kwargs)).upper()


def shouted(root: strawberry.Parent[Chunk]) -> str:
    return root.text.upper()


def shouted_message(root: strawberry.Parent[ReplyError]) -> str:
    return root.message.upper()


@strawberry.type(name="StreamChunk")
class ResolvedChunk:
    offset: int
    text: str = strawberry.field(resolver=shouted)


@strawberry.type(name="StreamChunk")
class ExtendedChunk:
    offset: int
    text: str = strawberry.field(extensions=[Shouts()])


@strawberry.type(name="StreamChunk")
class DeniedChunk:
    offset: int
    text: str | None = strawberry.field(permission_classes=[Denies])


@strawberry.type(name="MessageError")
class ResolvedError:
    message: str = strawberry.field(resolver=shouted_message)


@strawberry.type(name="StreamChunk")
class ChunkOfResolvedError:
    offset: int
    error: ResolvedError | None


@strawberry.type(name="Query")
class Nothing:
    nothing: str


def schema_of(chunk: type, **options: Any) -> ChatSchema:
    """A schema with chunks of its own."""

    @strawberry.type(name="Subscription")
    class Resuming:
        @strawberry.subscription(graphql_type=AsyncGenerator[chunk, None])  # type: ignore[valid-type, untyped-decorator]
        async def resume_message(self, info: Info) -> Following:
            return await info.context.chat.resume("", "reply")

    return ChatSchema(query=Nothing, subscription=Resuming, extensions=[ContextDocument], **options)


@pytest.mark.parametrize(
    ("kind", "selected", "shown"),
    [
        (ResolvedChunk, "offset text", {"offset": 0, "text": "ONE"}),
        (ExtendedChunk, "... { text }", {"text": "ONE"}),
        (DeniedChunk, "offset text", {"offset": 0, "text": None}),
        (ChunkOfResolvedError, "error { message }", {"error": None}),
    ],
)
async def test_a_field_that_is_more_than_what_a_chunk_has_is_resolved(
    kind: type, selected: str, shown: dict[str, Any]
) -> None:
    async def steps(reply: Reply, socket: Conversation) -> AsyncIterator[None]:
        socket.subscribe(f"subscription {{ resumeMessage {{ {selected} }} }}", id="dear")
        socket.subscribe("subscription { resumeMessage { at: offset } }", id="plain")
        yield
        await reply.append("One")
        yield
        await reply.finish(Status.ERROR, BROKEN)
        yield

    ours = await told(
        schema_of(kind, execution_context_class=EventExecutor), steps, takes=in_turn(True)
    )
    stock = await told(schema_of(kind), steps)
    for id in ("dear", "plain"):
        assert [frame for frame in ours.frames if frame[0] == ("id", id)] == [
            frame for frame in stock.frames if frame[0] == ("id", id)
        ]
    assert ours.written == 1, "what is selected beside such a field has a plan"
    _, word, end, _ = (frame for frame in ours.values if frame["id"] == "dear")
    assert word["payload"]["data"] == {"resumeMessage": shown}
    assert "The completion broke off" not in json.dumps(end)


# What it all stands on: these fail when graphql-core or Strawberry have moved it.


def test_the_hooks_of_extensions_are_those_that_are_known() -> None:
    known = {"on_operation", "on_validate", "on_parse", "on_execute", "on_stream_result"}
    assert known == HOOK_METHODS, "does a new hook see every event?"
    public = {name for name in vars(SchemaExtension) if not name.startswith("_")}
    assert public == known | {"resolve", "get_results"}
    assert set(EVENT_HOOKS) == {"on_stream_result", "resolve", "get_results"}


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("cancellable_iterable", ["self", "iterable"]),
        ("execute_operation", ["self", "serially"]),
        ("build_per_event_executor", ["self", "payload"]),
        ("collect_subfields", ["self", "return_type", "field_details_list"]),
    ],
)
def test_what_is_overridden_or_called_is_there_and_takes_the_same(
    method: str, parameters: list[str]
) -> None:
    assert issubclass(EventExecutor, Executor)
    assert list(inspect.signature(getattr(Executor, method)).parameters) == parameters


async def test_graphql_core_still_asks_for_the_source_once_and_executes_each_event() -> None:
    calls: list[tuple[str, object]] = []

    class NotingExecutor(EventExecutor):
        def cancellable_iterable(self, iterable: AsyncIterable[T]) -> AsyncIterable[T]:
            calls.append(("source", iterable))
            assert "_relevant_sub_fields" in vars(self)
            return super().cancellable_iterable(iterable)

        def build_per_event_executor(self, payload: Any) -> Any:
            executor = super().build_per_event_executor(payload)
            calls.append(("build", payload))
            assert executor is not self
            assert executor._plan is self._plan is not None
            assert executor.root_value is payload
            return executor

        def execute_operation(self, serially: bool | None = None) -> Any:
            calls.append(("execute", self.root_value))
            return super().execute_operation(serially)

    class Chat(FixedChat):
        async def resume(self, *_: object, **__: object) -> AsyncGenerator[Chunk, None]:
            calls.append(("resolve", stream := await super().resume()))
            return stream

    noting = schema_with(execution_context_class=NotingExecutor)
    query = 'subscription { resumeMessage(message: {id: "x"}) { text } }'
    assert len([result async for result in results(noting, query, Chat())]) == len(CHUNKS)
    [resolve, source, *events] = calls
    assert (resolve[0], source) == ("resolve", ("source", resolve[1]))
    assert events == [(what, chunk) for chunk in CHUNKS for what in ("build", "execute")]


async def test_an_executor_still_keeps_its_helpers_in_an_attribute() -> None:
    assert "async_helpers" in inspect.getsource(Executor.__init__)
    assert "_relevant_sub_fields" in inspect.getsource(Executor.__init__)
    assert "_relevant_sub_fields" in inspect.getsource(Executor.collect_subfields)


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
    text = encode_json(value).decode()
    assert "\n" not in text
    assert "\r" not in text
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
    assert encode_json(value).decode() == text
