"""graphql-transport-ws, frame by frame: what is refused, how, and what goes on all the same."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from typing import Any
from uuid import uuid4

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.processes import ServerProcess, serving
from tests.wire import (
    MESSAGE,
    SEND,
    Socket,
    how_closed,
    open_socket,
    raw_connection,
)

EVENTS = "subscription { conversationEvents { __typename } }"
SOME_MESSAGE = "subscription ($message: MessageInput!) { sendMessage(message: $message) { text } }"

SHORT_INIT_SECONDS = 0.3
FEW_SOCKETS = 3


def subscribe(**changed: Any) -> str:
    """A subscribe frame with another value for some of its fields; `...` leaves one out."""
    frame = {"id": "1", "type": "subscribe", "payload": {"query": EVENTS}, **changed}
    return json.dumps({name: value for name, value in frame.items() if value is not ...})


def payload(**changed: Any) -> str:
    """A subscribe frame with another value for some fields of its payload."""
    fields = {"query": EVENTS, **changed}
    return subscribe(
        payload={name: value for name, value in fields.items() if value is not ...},
    )


MALFORMED: dict[str, str | bytes] = {
    "an empty list": "[]",
    "a list": '[{"type": "ping"}]',
    "a string": '"x"',
    "a number": "3",
    "null": "null",
    "true": "true",
    "an empty object": "{}",
    "no type": '{"id": "1", "payload": {"query": "{ __typename }"}}',
    "an unknown type": '{"type": "start"}',
    "the legacy protocol's stop": '{"type": "stop", "id": "1"}',
    "a type of the server's": '{"type": "next", "id": "1", "payload": {}}',
    "a type in capitals": '{"type": "PING"}',
    "a type that is null": '{"type": null}',
    "a type that is a number": '{"type": 7}',
    "a type that is a list": '{"type": ["ping"]}',
    "a type that is an object": '{"type": {}}',
    "a type that is very long": json.dumps({"type": "\u65e5" * 10_000}),
    "a type that is a lone surrogate": '{"type": "\\ud800"}',
    "no id": subscribe(id=...),
    "an id that is null": subscribe(id=None),
    "an id that is a number": subscribe(id=1),
    "an id that is a list": subscribe(id=["1"]),
    "an id that is an object": subscribe(id={}),
    "an id that is empty": subscribe(id=""),
    "complete without id": '{"type": "complete"}',
    "complete with a list as id": '{"type": "complete", "id": []}',
    "complete with an empty id": '{"type": "complete", "id": ""}',
    "no payload": subscribe(payload=...),
    "a payload that is null": subscribe(payload=None),
    "a payload that is a list": subscribe(payload=[]),
    "a payload that is a string": subscribe(payload="{ __typename }"),
    "a payload that is a number": subscribe(payload=1),
    "no query": payload(query=...),
    "a query that is null": payload(query=None),
    "a query that is a number": payload(query=1),
    "a query that is a list": payload(query=["{ __typename }"]),
    "variables that are a list": payload(variables=[]),
    "variables that are a string": payload(variables="{}"),
    "variables that are a number": payload(variables=0),
    "an operation name that is a number": payload(operationName=1),
    "an operation name that is an object": payload(operationName={}),
    "extensions that are a list": payload(extensions=[]),
    "extensions that are a string": payload(extensions="x"),
    "connection_init with a list": '{"type": "connection_init", "payload": []}',
    "connection_init with a string": '{"type": "connection_init", "payload": "x"}',
    "connection_init with a number": '{"type": "connection_init", "payload": 0}',
    "ping with a list": '{"type": "ping", "payload": []}',
    "ping with a string": '{"type": "ping", "payload": "x"}',
    "ping with false": '{"type": "ping", "payload": false}',
    "pong with a list": '{"type": "pong", "payload": []}',
    "pong with a number": '{"type": "pong", "payload": 1}',
    "a binary frame": b'{"type": "ping"}',
    "an empty binary frame": b"",
    "nothing": "",
    "blanks": "  \n",
    "no JSON": "ping",
    "half of a JSON text": '{"type": "ping"',
    "two JSON texts": '{"type": "ping"}{"type": "ping"}',
    "a byte order mark": '\ufeff{"type": "ping"}',
    "single quotes": "{'type': 'ping'}",
    "NaN": '{"type": "ping", "payload": {"a": NaN}}',
    "Infinity": '{"type": "ping", "payload": {"a": -Infinity}}',
    "100,000 brackets": "[" * 100_000,
    "100,000 nested objects": '{"a":' * 100_000,
    "a payload as deep as can be decoded": (
        '{"type": "ping", "payload": {"a": ' + "[" * 50_000 + "]" * 50_000 + "}}"
    ),
    "a number with 10,000 digits": '{"type": "ping", "payload": {"a": ' + "1" * 10_000 + "}}",
}


@pytest.fixture(scope="module")
def strict_server() -> Iterator[ServerProcess]:
    """A server with little patience and room for few."""
    limits = {
        "GRAPHQL_APP_CONNECTION_INIT_SECONDS": str(SHORT_INIT_SECONDS),
        "GRAPHQL_APP_MAX_SOCKETS": str(FEW_SOCKETS),
    }
    with serving("--completion", "echo", environment=limits) as server:
        yield server


@pytest.fixture
async def connection(server: ServerProcess) -> AsyncIterator[ClientConnection]:
    """A connection on which nothing was said yet."""
    async with raw_connection(server.url) as connection:
        yield connection


@pytest.fixture
async def socket(server: ServerProcess) -> AsyncIterator[Socket]:
    """A socket that was acknowledged."""
    async with open_socket(server.url) as socket:
        yield socket


async def pings(socket: Socket) -> None:
    """Fails unless the server answers, and everything it had to say before was read."""
    await socket.send({"type": "ping"})
    assert await socket.receive() == {"type": "pong"}


# Frames that are none.


@pytest.mark.parametrize("frame", MALFORMED.values(), ids=MALFORMED.keys())
async def test_a_malformed_frame_closes_the_socket_with_4400_and_says_why(
    socket: Socket, frame: str | bytes
) -> None:
    await socket.connection.send(frame)
    code, reason = await how_closed(socket.connection)
    assert code == 4400
    assert reason


@pytest.mark.parametrize("name", ["an empty list", "no id", "a binary frame", "100,000 brackets"])
async def test_a_malformed_frame_before_the_acknowledgement_is_4400_too(
    connection: ClientConnection, name: str
) -> None:
    await connection.send(MALFORMED[name])
    assert (await how_closed(connection))[0] == 4400


async def test_a_payload_at_the_edge_of_what_can_be_decoded_is_echoed_or_refused(
    server: ServerProcess,
) -> None:
    async def is_echoed(depth: int) -> bool:
        async with raw_connection(server.url) as connection:
            nested = "[" * depth + "]" * depth
            await connection.send('{"type": "ping", "payload": {"a": ' + nested + "}}")
            try:
                return bool(await connection.recv())
            except ConnectionClosed:
                return connection.close_code != 4400

    echoed, refused = 1, 100_000
    while refused - echoed > 1:
        middle = (echoed + refused) // 2
        if await is_echoed(middle):
            echoed = middle
        else:
            refused = middle
    for depth in range(echoed - 10, echoed + 10):
        assert await is_echoed(depth) == (depth <= echoed)


async def test_a_frame_that_is_not_utf8_closes_the_socket_with_1007(socket: Socket) -> None:
    await socket.connection.send(b'{"type": "\xff"}', text=True)
    assert (await how_closed(socket.connection))[0] == 1007


async def test_a_frame_of_more_than_2_mib_closes_the_socket_with_1009(socket: Socket) -> None:
    header = b"\x81\xff" + (2**21 + 1).to_bytes(8) + b"mask"
    socket.connection.transport.write(header)
    assert (await how_closed(socket.connection))[0] == 1009


async def test_a_frame_of_almost_2_mib_is_accepted(socket: Socket) -> None:
    ping = {"type": "ping", "payload": {"a": "x" * (2**21 - 100)}}
    await socket.send(ping)
    assert await socket.receive() == {**ping, "type": "pong"}


@pytest.mark.parametrize(
    "data",
    [b"\x81\x02{}", b"\xf1\x80\0\0\0\0", b"\x80\x80\0\0\0\0", b"\x09\x80\0\0\0\0"],
    ids=["not masked", "reserved bits", "a continuation of nothing", "a ping in pieces"],
)
async def test_a_frame_against_the_websocket_protocol_closes_the_socket_with_1002(
    socket: Socket, data: bytes
) -> None:
    socket.connection.transport.write(data)
    assert (await how_closed(socket.connection))[0] == 1002


async def test_a_message_in_several_frames_is_one_message(socket: Socket) -> None:
    await socket.connection.send(['{"type": "pi', 'ng", "payload": {"a"', ": 1}}"])
    assert await socket.receive() == {"type": "pong", "payload": {"a": 1}}


# The life of a connection.


@pytest.mark.parametrize("payload", [..., None, {}, {"token": "x"}], ids=str)
async def test_connection_init_takes_no_payload_null_or_an_object(
    connection: ClientConnection, payload: Any
) -> None:
    socket = Socket(connection)
    init = {"type": "connection_init", "payload": payload}
    await socket.send({name: value for name, value in init.items() if value is not ...})
    assert await socket.receive() == {"type": "connection_ack"}


async def test_an_operation_before_the_acknowledgement_is_4401(
    connection: ClientConnection,
) -> None:
    await connection.send(subscribe())
    assert await how_closed(connection) == (4401, "Unauthorized")


async def test_an_operation_right_behind_connection_init_is_run(
    connection: ClientConnection,
) -> None:
    socket = Socket(connection)
    await socket.send({"type": "connection_init"})
    await socket.subscribe("{ __typename }", id="1")
    assert [await socket.receive() for _ in range(3)] == [
        {"type": "connection_ack"},
        {"id": "1", "type": "next", "payload": {"data": {"__typename": "Query"}}},
        {"id": "1", "type": "complete"},
    ]


@pytest.mark.parametrize(
    "offered",
    [[], ["graphql-ws"], ["chat"], ["graphql-transport-wss", "Graphql-Transport-Ws"]],
    ids=["none", "the legacy protocol", "another one", "almost"],
)
async def test_a_connection_without_our_subprotocol_is_4406(
    server: ServerProcess, offered: list[str]
) -> None:
    protocols = [Subprotocol(name) for name in offered] or None
    async with connect(server.url, subprotocols=protocols) as connection:
        assert connection.subprotocol is None
        assert (await how_closed(connection))[0] == 4406


async def test_our_subprotocol_is_picked_among_others(server: ServerProcess) -> None:
    offered = [Subprotocol("graphql-ws"), Subprotocol("graphql-transport-ws")]
    async with connect(server.url, subprotocols=offered) as connection:
        assert connection.subprotocol == "graphql-transport-ws"


async def test_a_connection_that_does_not_initialise_in_time_is_4408(
    strict_server: ServerProcess,
) -> None:
    async with open_socket(strict_server.url) as punctual:
        async with raw_connection(strict_server.url) as late:
            await late.send('{"type": "ping"}')
            assert await late.recv() == '{"type":"pong"}'
            assert await how_closed(late) == (4408, "Connection initialisation timeout")
        await pings(punctual)
    strict_server.check_log()


async def test_a_second_connection_init_is_4429(socket: Socket) -> None:
    await socket.send({"type": "connection_init"})
    assert await how_closed(socket.connection) == (4429, "Too many initialisation requests")


async def test_a_ping_is_answered_with_its_payload_before_and_after_the_acknowledgement(
    connection: ClientConnection,
) -> None:
    socket = Socket(connection)
    await socket.send({"type": "ping", "payload": {"at": 1.5, "of": ["\u65e5", None, "\ud800"]}})
    assert await socket.receive() == {
        "type": "pong",
        "payload": {"at": 1.5, "of": ["\u65e5", None, "\ud800"]},
    }
    await pings(socket)
    await socket.send({"type": "connection_init"})
    assert await socket.receive() == {"type": "connection_ack"}
    await socket.send({"type": "ping", "payload": {}})
    assert await socket.receive() == {"type": "pong", "payload": {}}


async def test_a_pong_that_nobody_asked_for_is_ignored(socket: Socket) -> None:
    await socket.send({"type": "pong"})
    await socket.send({"type": "pong", "payload": {"a": 1}})
    await pings(socket)


async def test_unknown_fields_of_a_frame_are_ignored(socket: Socket) -> None:
    await socket.send({"type": "ping", "extra": [1, 2], "id": 3})
    assert await socket.receive() == {"type": "pong"}


# Operations and their ids.


async def test_complete_for_an_operation_that_does_not_run_is_ignored(socket: Socket) -> None:
    await socket.complete("unknown")
    await pings(socket)


async def test_an_id_that_is_in_use_is_4409(socket: Socket) -> None:
    await socket.connection.send(subscribe())
    await socket.connection.send(subscribe())
    assert await how_closed(socket.connection) == (4409, "Subscriber for 1 already exists")


@pytest.mark.parametrize("id", ["\u65e5" * 100_000, "\ud800", "\0", "a\r\nb"], ids=ascii)
async def test_the_reason_of_4409_fits_into_a_close_frame_whatever_the_id(
    socket: Socket, id: str
) -> None:
    await socket.connection.send(subscribe(id=id))
    await socket.connection.send(subscribe(id=id))
    code, reason = await how_closed(socket.connection)
    assert code == 4409
    assert len(reason.encode()) <= 123


@pytest.mark.parametrize("id", ["\u65e5" * 100_000, "\ud800", "\0", "a\r\nb", " "], ids=ascii)
async def test_any_text_may_be_an_id(socket: Socket, id: str) -> None:
    await socket.subscribe("{ __typename }", id=id)
    assert await socket.receive() == {
        "id": id,
        "type": "next",
        "payload": {"data": {"__typename": "Query"}},
    }
    assert await socket.receive() == {"id": id, "type": "complete"}


async def test_complete_ends_what_follows_and_frees_the_id(socket: Socket) -> None:
    message = {"id": "freed", "content": "word " * 50}
    await socket.subscribe(SOME_MESSAGE, {"message": message}, id="1")
    assert (await socket.receive())["type"] == "next"
    await socket.complete("1")
    await socket.subscribe("{ __typename }", id="1")
    frames: list[Any] = []
    while not frames or frames[-1]["type"] != "complete":
        frames.append(await socket.receive())
    assert frames[-2]["payload"] == {"data": {"__typename": "Query"}}
    assert all("sendMessage" in frame["payload"]["data"] for frame in frames[:-2])
    await pings(socket)  # Nothing came after the end.


async def test_an_id_may_be_used_again_after_each_kind_of_end(socket: Socket) -> None:
    for _ in range(3):
        await socket.subscribe("{ __typename }", id="1")
        assert [frame["type"] async for frame in socket.frames("1")] == ["next", "complete"]
        await socket.subscribe("{ nothing }", id="1")
        assert [frame["type"] async for frame in socket.frames("1")] == ["error"]
        await socket.subscribe(EVENTS, id="1")
        assert (await socket.receive())["type"] == "next"
        await socket.complete("1")


async def test_operations_that_are_completed_at_once_leave_nothing_behind(socket: Socket) -> None:
    for _ in range(300):
        await socket.subscribe(EVENTS, id="1")
        await socket.complete("1")
    await socket.subscribe("{ __typename }", id="2")
    while (await socket.receive()) != {"id": "2", "type": "complete"}:
        pass
    await pings(socket)


UNRUNNABLE: dict[str, tuple[str, dict[str, Any] | None, str]] = {
    "half a document": ("{", None, "GRAPHQL_PARSE_FAILED"),
    "an empty document": ("", None, "GRAPHQL_PARSE_FAILED"),
    "half a subscription": ("subscription {", None, "GRAPHQL_PARSE_FAILED"),
    "5,000 levels": ("{ a " * 5_000, None, "GRAPHQL_PARSE_FAILED"),
    "more than 800 tokens": ("{ " + "a " * 801 + "}", None, "DOCUMENT_TOO_COSTLY"),
    "a lone surrogate": ('{ message(id: "\ud800") { id } }', None, "GRAPHQL_PARSE_FAILED"),
    "an unknown field": ("{ nothing }", None, "GRAPHQL_VALIDATION_FAILED"),
    "an unknown stream": ("subscription { nothing }", None, "GRAPHQL_VALIDATION_FAILED"),
    "a number with 10,000 digits": (
        f"{{ messages(last: {'1' * 10_000}) {{ id }} }}",
        None,
        "GRAPHQL_VALIDATION_FAILED",
    ),
    "no operation": ("fragment F on Query { __typename }", None, "GRAPHQL_VALIDATION_FAILED"),
    "two operations": (
        "query A { __typename } query B { __typename }",
        None,
        "GRAPHQL_VALIDATION_FAILED",
    ),
    "two streams": (
        "subscription { a: conversationEvents { __typename } b: conversationEvents "
        "{ __typename } }",
        None,
        "GRAPHQL_VALIDATION_FAILED",
    ),
    "no variables": (SOME_MESSAGE, None, "BAD_USER_INPUT"),
    "an id that is a fraction": (
        SOME_MESSAGE,
        {"message": {"id": 1.5, "content": "x"}},
        "BAD_USER_INPUT",
    ),
    "no content": (SOME_MESSAGE, {"message": {"id": "1"}}, "BAD_USER_INPUT"),
    "a string for an object": (SOME_MESSAGE, {"message": "x"}, "BAD_USER_INPUT"),
    "a query without its variable": (
        "query ($id: ID!) { message(id: $id) { id } }",
        {},
        "BAD_USER_INPUT",
    ),
    "a string for a number": (
        "query ($last: Int) { messages(last: $last) { id } }",
        {"last": "1"},
        "BAD_USER_INPUT",
    ),
    "a number of more than 32 bits": (
        "query ($last: Int) { messages(last: $last) { id } }",
        {"last": 2**31},
        "BAD_USER_INPUT",
    ),
}


@pytest.mark.parametrize("name", UNRUNNABLE)
async def test_an_operation_that_cannot_run_ends_with_an_error_and_no_other_does(
    socket: Socket, name: str
) -> None:
    query, variables, code = UNRUNNABLE[name]
    conversation = uuid4().hex
    events = "subscription ($id: ID!) { conversationEvents(conversationId: $id) { __typename } }"
    await socket.subscribe(events, {"id": conversation}, id="sibling")
    assert (await socket.receive())["id"] == "sibling"
    id = await socket.subscribe(query, variables)
    error = await socket.receive()
    assert (error["id"], error["type"]) == (id, "error")
    assert {each["extensions"]["code"] for each in error["payload"]} == {code}
    message = {"id": uuid4().hex, "content": "x", "conversationId": conversation}
    await socket.subscribe(SOME_MESSAGE, {"message": message})
    while (frame := await socket.receive())["id"] != "sibling":
        pass
    assert frame["type"] == "next"


async def test_an_unknown_operation_name_ends_with_an_error(socket: Socket) -> None:
    await socket.connection.send(payload(query="query A { __typename }", operationName="B"))
    error = await socket.receive()
    assert error["type"] == "error"
    assert "'B'" in error["payload"][0]["message"]
    await pings(socket)


async def test_the_named_one_of_several_operations_is_run(socket: Socket) -> None:
    document = "query A { a: __typename } query B { b: __typename }"
    await socket.connection.send(payload(query=document, operationName="B"))
    assert (await socket.receive())["payload"] == {"data": {"b": "Query"}}


async def test_queries_and_mutations_run_over_the_socket(socket: Socket) -> None:
    conversation = {"id": "over-the-socket"}
    message = {"id": "queried", "content": "hi", "conversationId": "over-the-socket"}
    reply = await socket.follow(SEND, {"message": message})
    found = await socket.execute(
        f"query ($id: ID!) {{ messages(conversationId: $id) {MESSAGE} }}", conversation
    )
    user, assistant = found["data"]["messages"]
    assert (user["id"], user["role"], user["status"]) == ("queried", "USER", "DONE")
    assert (assistant["id"], assistant["content"]) == (reply.message_id, "hi")
    cleared = await socket.execute(
        "mutation ($id: ID!) { clearMessages(conversationId: $id) }", conversation
    )
    assert cleared == {"data": {"clearMessages": 2}}


async def test_an_error_of_one_field_comes_with_the_rest_of_the_data(socket: Socket) -> None:
    result = await socket.execute('{ __typename message(id: "") { id } }')
    assert result["data"] == {"__typename": "Query", "message": None}
    assert result["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT"}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ('sendMessage(message: {id: "", content: "x"}) { text }', "BAD_USER_INPUT"),
        ('resumeMessage(message: {id: "none"}) { text }', "MESSAGE_NOT_FOUND"),
        ('conversationEvents(conversationId: "") { __typename }', "BAD_USER_INPUT"),
        (
            "conversationEvents { ... on MessagesReset { messages(last: 0) { id } } }",
            "BAD_USER_INPUT",
        ),
    ],
)
async def test_a_refused_subscription_is_one_error_message_and_nothing_else(
    socket: Socket, query: str, code: str
) -> None:
    id = await socket.subscribe(f"subscription {{ {query} }}")
    error = await socket.receive()
    assert (error["id"], error["type"]) == (id, "error")
    assert [each["extensions"]["code"] for each in error["payload"]] == [code]
    await pings(socket)


async def test_a_subscription_whose_reply_is_cleared_ends_with_an_error_message(
    server: ServerProcess, socket: Socket
) -> None:
    message = {"id": "cleared", "content": "word " * 500, "conversationId": "cleared"}
    id = await socket.subscribe(SEND, {"message": message})
    frames = socket.frames(id)
    assert (await anext(frames))["type"] == "next"
    async with open_socket(server.url) as other:
        await other.execute('mutation { clearMessages(conversationId: "cleared") }')
    rest = [frame async for frame in frames]
    assert all(frame["payload"]["data"] for frame in rest[:-1])
    assert rest[-1]["type"] == "error"
    assert rest[-1]["payload"][0]["extensions"] == {"code": "MESSAGE_CLEARED"}
    await pings(socket)


# Limits.


async def test_one_operation_more_than_a_socket_may_run_is_refused_and_the_others_go_on(
    socket: Socket,
) -> None:
    ids = [await socket.subscribe(EVENTS) for _ in range(100)]
    assert sorted([(await socket.receive())["id"] for _ in ids]) == sorted(ids)
    await socket.subscribe(EVENTS, id="one more")
    error = await socket.receive()
    assert (error["id"], error["type"]) == ("one more", "error")
    assert error["payload"][0]["extensions"] == {"code": "TOO_MANY_OPERATIONS"}
    await socket.complete(ids[0])
    await socket.subscribe(EVENTS, id="one more")
    assert (await socket.receive())["type"] == "next"


async def test_one_socket_more_than_there_may_be_is_refused_with_503_until_one_leaves(
    strict_server: ServerProcess,
) -> None:
    async with AsyncExitStack() as stack:
        sockets = [
            await stack.enter_async_context(open_socket(strict_server.url))
            for _ in range(FEW_SOCKETS)
        ]
        with pytest.raises(InvalidStatus) as refusal:
            await stack.enter_async_context(open_socket(strict_server.url))
        assert refusal.value.response.status_code == 503
        assert b"try again" in (refusal.value.response.body or b"")
        sockets[0].cut()
        async with asyncio.timeout(10):
            while True:
                try:
                    async with open_socket(strict_server.url) as socket:
                        await pings(socket)
                        break
                except InvalidStatus:
                    continue  # The server has not seen yet that one is gone.
        for socket in sockets[1:]:
            await pings(socket)
    strict_server.check_log()


# Leaving.


LAST_WORDS: dict[str, list[str | bytes]] = {
    "nothing": [],
    "connection_init": ['{"type": "connection_init"}'],
    "connection_init twice": ['{"type": "connection_init"}'] * 2,
    "an operation without acknowledgement": [subscribe()],
    "a malformed frame": ["[]"],
    "a binary frame": [b"x"],
    "an operation": ['{"type": "connection_init"}', subscribe()],
    "an id twice": ['{"type": "connection_init"}', subscribe(), subscribe()],
    "a query": ['{"type": "connection_init"}', payload(query="{ messages { content } }")],
    "many sends": [
        '{"type": "connection_init"}',
        *(
            subscribe(
                id=str(number),
                payload={
                    "query": SOME_MESSAGE,
                    "variables": {"message": {"id": f"rude-{number}", "content": "word " * 500}},
                },
            )
            for number in range(50)
        ),
    ],
}


@pytest.mark.parametrize("frames", LAST_WORDS.values(), ids=LAST_WORDS.keys())
@pytest.mark.parametrize("reads", [False, True], ids=["at once", "after an answer"])
async def test_a_client_that_is_cut_off_in_any_phase_disturbs_nobody(
    server: ServerProcess, frames: list[str | bytes], reads: bool
) -> None:
    for _ in range(5):
        async with raw_connection(server.url) as connection:
            for frame in frames:
                await connection.send(frame)
            if reads and frames:
                with suppress(ConnectionClosed):
                    await connection.recv()
            connection.transport.abort()
    async with open_socket(server.url) as socket:
        await pings(socket)


@pytest.mark.parametrize("data", [b"\x81\x81\0\0\0\0\xff", b"\xff\xff\xff\xff"], ids=str)
async def test_a_bad_frame_while_much_is_streamed_leaves_no_traceback(
    server: ServerProcess, data: bytes
) -> None:
    async with open_socket(server.url) as socket:
        for frame in LAST_WORDS["many sends"][1:]:
            await socket.connection.send(frame)
        await socket.receive()
        socket.connection.transport.write(data)
        assert (await how_closed(socket.connection))[0] in (1002, 1007)
    async with open_socket(server.url) as socket:
        await pings(socket)
