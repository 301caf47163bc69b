"""The transport in the test's own process, around a chat that fails as it is told."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount, Route, WebSocketRoute
from strawberry.exceptions import ConnectionRejectionError
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close

from graphql_app.api.context import Context
from graphql_app.api.schema import schema
from graphql_app.api.transport import Transport
from graphql_app.app import create_app
from graphql_app.chat import ChatService
from graphql_app.completions.echo import echo
from graphql_app.pages import Pages
from graphql_app.settings import Settings
from graphql_app.socket_protocol import SocketProtocol
from tests.faults import FaultyStore
from tests.wire import Socket, eventually, open_socket

SECRET = "the password is 1234"
MASKED = "An internal error occurred."

SEND = 'subscription { sendMessage(message: {id: "1", content: "one two"}) { text } }'
RESUME = 'subscription { resumeMessage(message: {id: "1"}) { text } }'
EVENTS = "subscription { conversationEvents { __typename } }"
QUERY = "{ messages { id } }"
MUTATION = 'mutation { stopMessage(id: "1") { id } }'


class BrokenChat(ChatService):
    """Fails at everything, in a way that nobody expects."""

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__"):
            return super().__getattribute__(name)

        async def fail(*_: object, **__: object) -> None:
            raise RuntimeError(SECRET)

        return fail


class ChatThatBreaksOff(ChatService):
    """Streams one event, and then fails in a way that nobody expects."""

    async def events(self, owner: str, conversation_id: str) -> Any:
        async def break_off() -> Any:
            async for event in events:
                yield event
                raise RuntimeError(SECRET)

        events = await super().events(owner, conversation_id)
        return break_off()


def app(chat: ChatService, folder: Path = Path("nowhere"), **overridden: Any) -> Starlette:
    transport = type("Overridden", (Transport,), overridden)(
        schema,
        chat,
        pages=Pages(folder),
        max_body_bytes=10_000,
        max_sockets=10,
        max_operations_per_socket=10,
        init_timeout_seconds=10,
    )
    return Starlette(routes=[Route("/graphql", transport), WebSocketRoute("/graphql", transport)])


def broken(kind: type[ChatService] = BrokenChat) -> ChatService:
    return kind(FaultyStore(), echo(0))


def http(app: Starlette) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here")


def check_masked(answer: str, caplog: pytest.LogCaptureFixture) -> None:
    """Fails unless nothing leaked and the cause was logged, once."""
    assert MASKED in answer
    assert "INTERNAL_SERVER_ERROR" in answer
    assert SECRET not in answer
    assert "RuntimeError" not in answer
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == SECRET


# Defects.


@pytest.mark.parametrize("query", [QUERY, MUTATION])
async def test_a_defect_is_masked_over_http_and_logged(
    query: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with http(app(broken())) as client:
        answer = await client.post("/graphql", json={"query": query})
    assert answer.status_code == 200
    assert answer.json()["data"] is None
    check_masked(answer.text, caplog)


@pytest.mark.parametrize("query", [SEND, RESUME, EVENTS])
@pytest.mark.parametrize("accept", ["text/event-stream", 'multipart/mixed;subscriptionSpec="1.0"'])
async def test_a_defect_is_masked_in_an_event_stream_and_logged(
    query: str, accept: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with http(app(broken())) as client:
        answer = await client.post("/graphql", json={"query": query}, headers={"accept": accept})
    assert answer.status_code == 200
    check_masked(answer.text, caplog)


@asynccontextmanager
async def socket_to(app: Starlette) -> AsyncIterator[Socket]:
    """An acknowledged socket to an application that uvicorn serves in this process."""
    config = uvicorn.Config(app, port=0, ws="websockets-sansio", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    await eventually(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        async with open_socket(f"ws://127.0.0.1:{port}/graphql") as socket:
            yield socket
    finally:
        server.should_exit = True
        await serving


@pytest.mark.parametrize("query", [SEND, RESUME, EVENTS, QUERY, MUTATION])
async def test_a_defect_is_masked_over_a_socket_and_logged(
    query: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with socket_to(app(broken())) as socket:
        id = await socket.subscribe(query)
        answer = await socket.receive()
    kind = "error" if query.startswith("subscription") else "next"
    assert (answer["id"], answer["type"]) == (id, kind)
    check_masked(json.dumps(answer), caplog)


async def test_a_defect_in_mid_stream_ends_the_operation_with_an_error_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with socket_to(app(broken(ChatThatBreaksOff))) as socket:
        await socket.subscribe(EVENTS)
        assert (await socket.receive())["type"] == "next"
        answer = await socket.receive()
        assert answer["type"] == "error"
        check_masked(json.dumps(answer), caplog)
        await socket.send({"type": "ping"})
        assert await socket.receive() == {"type": "pong"}


async def test_a_defect_in_connection_init_closes_the_socket_with_4500_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def on_ws_connect(transport: Transport, context: Context) -> None:
        raise RuntimeError(SECRET)

    with pytest.raises(ConnectionClosed) as closed:
        async with socket_to(app(broken(), on_ws_connect=on_ws_connect)):
            pass
    [record] = caplog.records
    id = record.__dict__["facts"]["error_id"]
    assert closed.value.rcvd == Close(4500, f"An internal error occurred. Its id is {id}.")
    assert record.exc_info is not None


async def test_a_connection_init_that_is_rejected_closes_the_socket_with_4403(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def on_ws_connect(transport: Transport, context: Context) -> None:
        raise ConnectionRejectionError

    with pytest.raises(ConnectionClosed) as closed:
        async with socket_to(app(broken(), on_ws_connect=on_ws_connect)):
            pass
    assert closed.value.rcvd == Close(4403, "Forbidden")
    assert caplog.records == []


# A store that is away.


@pytest.mark.parametrize(
    ("method", "query"),
    [
        ("messages", QUERY),
        ("newest_reply", MUTATION),
        ("conversations", "{ conversations { id } }"),
    ],
)
async def test_a_store_that_is_away_is_store_unavailable_over_http(
    chat: ChatService, store: FaultyStore, method: str, query: str
) -> None:
    store.failing_on(method, times=1)
    async with http(app(chat)) as client:
        answer = await client.post("/graphql", json={"query": query})
    [error] = answer.json()["errors"]
    assert error["extensions"] == {"code": "STORE_UNAVAILABLE"}
    assert error["message"].endswith("try again.")


# The page for browsers.


async def test_a_browser_without_a_query_gets_the_playground(
    chat: ChatService, tmp_path: Path
) -> None:
    (tmp_path / "playground.html").write_text("<h1>Playground</h1>")
    async with http(app(chat, tmp_path)) as client:
        answer = await client.get("/graphql", headers={"accept": "text/html,*/*"})
        asked = await client.get("/graphql?query={__typename}", headers={"accept": "text/html,*/*"})
        other = await client.get("/graphql", headers={"accept": "application/json"})
    assert answer.status_code == 200
    assert answer.text == "<h1>Playground</h1>"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert asked.json() == {"data": {"__typename": "Query"}}
    assert other.status_code == 400


async def test_a_playground_that_was_not_built_is_503_with_a_sentence(chat: ChatService) -> None:
    async with http(app(chat)) as client:
        answer = await client.get("/graphql", headers={"accept": "text/html"})
    assert answer.status_code == 503
    assert answer.text == "This page was not built; `make setup` builds it."


@pytest.mark.parametrize("prefix", ["", "/chat", "/a/b"])
async def test_the_application_takes_sockets_wherever_it_is_mounted(prefix: str) -> None:
    inner = create_app(Settings(completion="echo"))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with inner.router.lifespan_context(inner):
            yield

    outer = Starlette(routes=[Mount(prefix, inner)], lifespan=lifespan)
    config = uvicorn.Config(outer, port=0, log_config=None, ws=SocketProtocol)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    await eventually(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        async with httpx.AsyncClient() as client:
            url = f"http://127.0.0.1:{port}{prefix}/graphql"
            assert (await client.post(url, json={"query": "{ __typename }"})).status_code == 200
        async with open_socket(f"ws://127.0.0.1:{port}{prefix}/graphql") as socket:
            assert (await socket.execute("{ __typename }"))["data"] == {"__typename": "Query"}
    finally:
        server.should_exit = True
        await asyncio.wait_for(serving, 10)
