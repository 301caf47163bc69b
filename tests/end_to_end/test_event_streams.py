"""Subscriptions for clients without WebSockets: Server-Sent Events and multipart."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias
from uuid import uuid4

import httpx
import pytest

from tests.processes import ServerProcess
from tests.wire import MESSAGE, PATIENCE_SECONDS, RESUME, SEND, Reply, eventually, open_socket

EVENT_STREAM = "text/event-stream"
MULTIPART = 'multipart/mixed;boundary="graphql";subscriptionSpec="1.0",application/json'
TEXT = "one two  three\n\nfour \U0001f600 five"

EVENTS = "subscription { conversationEvents { __typename } }"


async def events(response: httpx.Response) -> AsyncIterator[Any]:
    """The results of a graphql-sse stream, which must end with a complete event."""
    assert response.headers["content-type"].startswith(EVENT_STREAM)
    assert response.headers["cache-control"] == "no-cache, no-transform"
    kind = None
    async for line in response.aiter_lines():
        name, _, value = line.partition(": ")
        if name == "event":
            assert kind is None or value in ("next", "complete")
            kind = value
        elif name == "data" and kind == "next":
            yield json.loads(value)
        elif name == "data":
            assert (kind, value) == ("complete", "")
    assert kind == "complete"


async def parts(response: httpx.Response) -> AsyncIterator[Any]:
    """The results of a multipart stream, which must end with the closing boundary."""
    assert response.headers["content-type"].startswith("multipart/mixed;boundary=graphql;")
    rest = b"\r\n--graphql"
    async for data in response.aiter_bytes():
        *whole, rest = (rest + data).split(b"\r\n--graphql")
        for part in whole:
            _, _, text = part.partition(b"\r\n\r\n")
            if text and (result := json.loads(text)):
                yield result["payload"]
    assert rest == b"--\r\n"


Reading: TypeAlias = Callable[[httpx.Response], AsyncIterator[Any]]

both = pytest.mark.parametrize(
    ("accept", "read"), [(EVENT_STREAM, events), (MULTIPART, parts)], ids=["sse", "multipart"]
)


@asynccontextmanager
async def asking(
    server: ServerProcess, accept: str, query: str, variables: dict[str, Any] | None = None
) -> AsyncIterator[httpx.Response]:
    """A response that streams."""
    async with (
        httpx.AsyncClient(timeout=PATIENCE_SECONDS) as client,
        client.stream(
            "POST",
            f"{server.http}/graphql",
            json={"query": query, "variables": variables},
            headers={"accept": accept},
        ) as response,
    ):
        assert response.status_code == 200
        yield response


def draft(content: str = TEXT, **more: str) -> dict[str, Any]:
    return {"message": {"id": uuid4().hex, "content": content, **more}}


async def follow(read: AsyncIterator[Any], reply: Reply) -> Reply:
    async for result in read:
        [chunk] = result["data"].values()
        reply.apply(chunk)
    return reply


@both
async def test_a_reply_is_sent_and_then_resumed_exactly(
    server: ServerProcess, accept: str, read: Reading
) -> None:
    async with asking(server, accept, SEND, draft()) as response:
        reply = await follow(read(response), Reply())
    assert (reply.content, reply.status) == (TEXT, "DONE")
    assert len(reply.chunks) > 2

    resumed = Reply(content=TEXT[:9])
    has = {"id": reply.message_id, "content": resumed.content}
    async with asking(server, accept, RESUME, {"message": has}) as response:
        await follow(read(response), resumed)
    assert [(chunk["offset"], chunk["text"]) for chunk in resumed.chunks] == [(9, TEXT[9:])]
    assert (resumed.content, resumed.status) == (TEXT, "DONE")


@both
async def test_a_client_that_leaves_does_not_stop_the_reply(
    server: ServerProcess, accept: str, read: Reading
) -> None:
    text = "word " * 30
    async with asking(server, accept, SEND, draft(text)) as response:
        first = await anext(read(response))
    id = first["data"]["sendMessage"]["messageId"]
    async with open_socket(server.url) as socket:
        reply = await socket.follow(RESUME, {"message": {"id": id}})
    assert (reply.content, reply.status) == (text, "DONE")


@both
@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("subscription {", "GRAPHQL_PARSE_FAILED"),
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        (
            "subscription ($message: ResumeInput!) { resumeMessage(message: $message) { text } }",
            "BAD_USER_INPUT",
        ),
        ('subscription { resumeMessage(message: {id: "none"}) { text } }', "MESSAGE_NOT_FOUND"),
        (
            'subscription { sendMessage(message: {id: "", content: "x"}) { text } }',
            "BAD_USER_INPUT",
        ),
    ],
)
async def test_a_refused_subscription_is_one_result_with_errors_and_then_the_end(
    server: ServerProcess, accept: str, read: Reading, query: str, code: str
) -> None:
    async with asking(server, accept, query) as response:
        [result] = [result async for result in read(response)]
    assert result.get("data") is None
    assert [error["extensions"]["code"] for error in result["errors"]] == [code]


@both
async def test_a_reply_that_is_cleared_ends_with_a_result_with_errors(
    server: ServerProcess, accept: str, read: Reading
) -> None:
    conversation = uuid4().hex
    sent = draft("word " * 500, conversationId=conversation)
    async with asking(server, accept, SEND, sent) as response:
        results = read(response)
        await anext(results)
        async with open_socket(server.url) as socket:
            await socket.execute(
                "mutation ($id: ID!) { clearMessages(conversationId: $id) }", {"id": conversation}
            )
        *rest, last = [result async for result in results]
    assert all(result["data"] for result in rest)
    assert last.get("data") is None
    assert [error["extensions"]["code"] for error in last["errors"]] == ["MESSAGE_CLEARED"]


@both
async def test_a_reply_that_is_stopped_ends_with_its_status(
    server: ServerProcess, accept: str, read: Reading
) -> None:
    async with asking(server, accept, SEND, draft("word " * 500)) as response:
        results = read(response)
        reply = Reply()
        reply.apply((await anext(results))["data"]["sendMessage"])
        async with open_socket(server.url) as socket:
            stopped = await socket.execute(
                f"mutation ($id: ID!) {{ stopMessage(id: $id) {MESSAGE} }}",
                {"id": reply.message_id},
            )
        await follow(results, reply)
    assert reply.status == "STOPPED"
    assert reply.content == stopped["data"]["stopMessage"]["content"]


async def test_resuming_and_watching_work_by_get_too(server: ServerProcess) -> None:
    async with asking(server, EVENT_STREAM, SEND, draft()) as response:
        sent = await follow(events(response), Reply())
    async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as client:
        parameters = {
            "query": RESUME,
            "variables": json.dumps({"message": {"id": sent.message_id}}),
        }
        headers = {"accept": EVENT_STREAM}
        url = f"{server.http}/graphql"
        async with client.stream("GET", url, params=parameters, headers=headers) as response:
            reply = await follow(events(response), Reply())
        assert reply.content == TEXT
        parameters = {"query": EVENTS}
        async with client.stream("GET", url, params=parameters, headers=headers) as response:
            first = await anext(events(response))
        assert first["data"] == {"conversationEvents": {"__typename": "MessagesReset"}}


async def test_a_query_is_answered_as_a_stream_of_one_result(server: ServerProcess) -> None:
    async with asking(server, EVENT_STREAM, "{ __typename }") as response:
        assert [result async for result in events(response)] == [{"data": {"__typename": "Query"}}]


async def test_many_clients_that_leave_rudely_leave_nothing_behind(server: ServerProcess) -> None:
    files = server.open_files()
    body = json.dumps({"query": SEND, "variables": draft("word " * 500)})
    for accept in (EVENT_STREAM, MULTIPART) * 20:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            f"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Accept: {accept}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        await writer.drain()
        writer.transport.abort()
    await eventually(lambda: server.open_files() <= files)
    async with open_socket(server.url) as socket:
        await socket.execute("mutation { clearMessages }")
