"""Tokens that end while a reply streams: what is cut is resumed exactly with the next one."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, suppress
from typing import Any
from uuid import uuid4

import httpx
import pytest
from gql import Client, GraphQLRequest
from gql.transport.exceptions import TransportError
from gql.transport.websockets import WebsocketsTransport
from websockets.exceptions import ConnectionClosed

from graphql_app.client import (
    CONNECTION_REFUSED,
    ChatClient,
    ChatClientError,
    ConnectionChange,
    Update,
)
from graphql_app.messages import Status
from tests.end_to_end.node import need_node, run_script
from tests.end_to_end.test_event_streams import EVENT_STREAM, MULTIPART, events, parts
from tests.processes import ServerProcess, serving
from tests.tokens import SECRET, token
from tests.wire import PATIENCE_SECONDS, RESUME, SEND, Reply, how_closed, open_socket

LIVES_ON_SECONDS = 5.0
"""How long a socket may outlive its token."""

TEXT = "one  two\n\n\U0001f600 drei \u56db " * 80
"""About eight seconds of words."""


@pytest.fixture(scope="module")
def shared_server() -> Iterator[ServerProcess]:
    environment = {"GRAPHQL_APP_JWT_SECRET": SECRET}
    with serving("--completion", "echo", "--word-delay", "0.02", environment=environment) as server:
        yield server


def draft(content: str = TEXT) -> dict[str, Any]:
    return {"message": {"id": uuid4().hex, "content": content, "conversationId": uuid4().hex}}


async def check_sent_once(server: ServerProcess, owner: str, sent: dict[str, Any]) -> None:
    """Fails unless the owner has one reply with all of the text."""
    message = sent["message"]
    async with open_socket(server.url, token(owner)) as socket:
        found = await socket.execute(
            "query ($c: ID!) { messages(conversationId: $c) { id content status } }",
            {"c": message["conversationId"]},
        )
    user, reply = found["data"]["messages"]
    assert user["id"] == message["id"]
    assert (reply["content"], reply["status"]) == (message["content"], "DONE")


async def followed(updates: AsyncGenerator[Update, None]) -> list[Update]:
    async with aclosing(updates):
        return [update async for update in updates]


# Sockets.


@pytest.mark.parametrize("is_busy", [False, True], ids=["idle", "busy"])
async def test_a_socket_is_closed_within_five_seconds_of_the_end_of_its_token(
    server: ServerProcess, is_busy: bool
) -> None:
    owner, end = uuid4().hex, int(time.time()) + 1
    async with open_socket(server.url, token(owner, exp=end)) as socket:
        await socket.subscribe(SEND, draft()) if is_busy else None
        closed = await how_closed(socket.connection)
        late = time.time() - end
    assert closed == (4403, "The token has expired.")
    assert 0 <= late < LIVES_ON_SECONDS


async def test_a_token_that_says_that_it_never_ends_is_taken(server: ServerProcess) -> None:
    async with open_socket(server.url, token(exp=10**30)) as socket:
        assert await socket.execute("{ __typename }") == {"data": {"__typename": "Query"}}


async def test_a_client_frame_by_frame_resumes_exactly_with_another_token(
    server: ServerProcess,
) -> None:
    owner, sent, reply = uuid4().hex, draft(), Reply()
    connections = 0
    query, variables = SEND, sent
    async with asyncio.timeout(3 * PATIENCE_SECONDS):
        while reply.status in (None, "STREAMING"):
            connections += 1
            async with open_socket(server.url, token(owner, 1)) as socket:
                with suppress(ConnectionClosed):
                    await socket.follow(query, variables, reply)
                if reply.status == "STREAMING":
                    assert (await how_closed(socket.connection))[0] == 4403
                has = {"id": reply.message_id, "content": reply.content}
                query, variables = RESUME, {"message": has}
    assert (reply.content, reply.status) == (TEXT, "DONE")
    assert connections > 1
    # Nothing that was there came again.
    assert sum(len(chunk["text"].encode("utf-16-le")) for chunk in reply.chunks) == len(
        TEXT.encode("utf-16-le")
    )
    await check_sent_once(server, owner, sent)


async def test_the_python_client_goes_on_with_a_fresh_token(server: ServerProcess) -> None:
    owner, sent = uuid4().hex, draft()
    made: list[str] = []
    changes: list[ConnectionChange] = []

    async def fresh_token() -> str:
        made.append(token(owner, 1))
        return made[-1]

    text = ""
    async with (
        asyncio.timeout(3 * PATIENCE_SECONDS),
        ChatClient(server.url, token=fresh_token, on_connection=changes.append) as client,
    ):
        message = sent["message"]
        async for update in client.send(
            message["content"], id=message["id"], conversation_id=message["conversationId"]
        ):
            assert update.content.startswith(text)
            text = update.content
    assert (text, update.status) == (TEXT, Status.DONE)
    lost = [change for change in changes if not change.connected]
    assert len(made) == len(lost) + 1 > 1
    assert all("4403" in change.reason for change in lost)
    await check_sent_once(server, owner, sent)


async def test_the_python_client_with_a_token_that_is_over_says_so(server: ServerProcess) -> None:
    async with ChatClient(server.url, token=token(seconds=1)) as client:
        with pytest.raises(ChatClientError, match="The token has expired") as error:
            await followed(client.send(TEXT))
    assert error.value.code == CONNECTION_REFUSED


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [(None, "A token is required."), ("abc", "The token is not valid.")],
)
async def test_the_python_client_says_why_it_is_refused(
    server: ServerProcess, wrong: str | None, reason: str
) -> None:
    with pytest.raises(ChatClientError, match=f"4403.*{reason}") as error:
        async with ChatClient(server.url, token=wrong):
            pass
    assert error.value.code == CONNECTION_REFUSED


async def test_gql_as_its_users_write_it_resumes_exactly_with_another_token(
    server: ServerProcess,
) -> None:
    owner, sent = uuid4().hex, draft()
    reply = Reply()
    sessions = 0
    request = GraphQLRequest(SEND, variable_values=sent)
    async with asyncio.timeout(3 * PATIENCE_SECONDS):
        while reply.status in (None, "STREAMING"):
            sessions += 1
            transport = WebsocketsTransport(
                url=server.url, init_payload={"Authorization": f"Bearer {token(owner, 1)}"}
            )
            with suppress(TransportError):
                async with Client(transport=transport) as session:
                    async for result in session.subscribe(request):
                        [chunk] = result.values()
                        reply.apply(chunk)
            has = {"id": reply.message_id, "content": reply.content}
            request = GraphQLRequest(RESUME, variable_values={"message": has})
    assert (reply.content, reply.status) == (TEXT, "DONE")
    assert sessions > 1
    await check_sent_once(server, owner, sent)


async def test_the_stock_javascript_client_goes_on_with_a_fresh_token(
    server: ServerProcess,
) -> None:
    need_node()
    owner, sent = uuid4().hex, draft()
    operation = {"query": SEND, "variables": sent, "field": "sendMessage"}
    now = int(time.time())
    # It makes none by itself; each connection takes the next one of these.
    tokens = [token(owner, exp=now + seconds) for seconds in (3, 6, 60, 60)]
    async with asyncio.timeout(3 * PATIENCE_SECONDS):
        outcome = await run_script(
            "subscriber.mjs", server.url, options={"operations": [operation], "tokens": tokens}
        )
    [of_one] = outcome["operations"]
    assert of_one["error"] is None
    assert (of_one["content"], of_one["status"]) == (TEXT, "DONE")
    assert 1 < outcome["connections"] <= len(tokens)
    await check_sent_once(server, owner, sent)


async def test_the_stock_javascript_client_without_a_good_token_is_told_why(
    server: ServerProcess,
) -> None:
    need_node()
    operation = {"query": SEND, "variables": draft("x"), "field": "sendMessage"}
    outcome = await run_script(
        "subscriber.mjs",
        server.url,
        options={"operations": [operation], "tokens": ["wrong"], "retryAttempts": 0},
    )
    [of_one] = outcome["operations"]
    assert (of_one["error"]["code"], of_one["error"]["reason"]) == (
        4403,
        "The token is not valid.",
    )


# Event streams.


@pytest.mark.parametrize(
    ("accept", "read"), [(EVENT_STREAM, events), (MULTIPART, parts)], ids=["sse", "multipart"]
)
async def test_an_event_stream_ends_with_its_token_and_is_resumed_exactly(
    server: ServerProcess, accept: str, read: Callable[[httpx.Response], AsyncIterator[Any]]
) -> None:
    owner, sent, reply = uuid4().hex, draft(), Reply()
    body: dict[str, Any] = {"query": SEND, "variables": sent}
    ends = 0
    async with (
        asyncio.timeout(3 * PATIENCE_SECONDS),
        httpx.AsyncClient(timeout=PATIENCE_SECONDS) as client,
    ):
        while reply.status in (None, "STREAMING"):
            end = int(time.time()) + 1
            headers = {"accept": accept, "authorization": f"Bearer {token(owner, exp=end)}"}
            async with client.stream(
                "POST", f"{server.http}/graphql", json=body, headers=headers
            ) as response:
                assert response.status_code == 200
                last: Any = None
                async for last in read(response):
                    if "errors" not in last:
                        [chunk] = last["data"].values()
                        reply.apply(chunk)
            if reply.status == "STREAMING":
                ends += 1
                assert [each["extensions"]["code"] for each in last["errors"]] == [
                    "UNAUTHENTICATED"
                ]
                assert time.time() - end < LIVES_ON_SECONDS
            has = {"id": reply.message_id, "content": reply.content}
            body = {"query": RESUME, "variables": {"message": has}}
    assert (reply.content, reply.status) == (TEXT, "DONE")
    assert ends > 0
    await check_sent_once(server, owner, sent)


# Limits.


async def test_an_owner_may_have_so_many_streaming_replies_and_others_are_not_held_up() -> None:
    environment = {
        "GRAPHQL_APP_JWT_SECRET": SECRET,
        "GRAPHQL_APP_MAX_REPLIES_PER_OWNER": "2",
    }
    with serving("--completion", "echo", "--word-delay", "0.1", environment=environment) as server:
        async with (
            open_socket(server.url, token("alice")) as alice,
            open_socket(server.url, token("bob")) as bob,
        ):
            first = draft()
            await alice.subscribe(SEND, first, id="1")
            await alice.subscribe(SEND, draft(), id="2")
            refused = draft()
            await alice.subscribe(SEND, refused, id="3")
            await alice.subscribe(SEND, first, id="joined")
            told: dict[str, Any] = {}
            while len(told) < 4:
                frame = await alice.receive()
                told.setdefault(frame["id"], frame)
            [error] = told["3"]["payload"]
            assert error["extensions"]["code"] == "TOO_MANY_REPLIES"
            assert error["message"].startswith("You are already streaming your maximum of 2")
            assert {told[id]["type"] for id in ("1", "2", "joined")} == {"next"}
            assert json.dumps(told).count(refused["message"]["id"]) == 0
            await bob.follow(SEND, draft(), most_chunks=1)
