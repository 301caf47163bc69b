"""One line of the log for each operation, whatever brought it and however it ended."""

import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from strawberry.asgi import GraphQL
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from graphql_app import app as app_module
from graphql_app.access.caller import Caller
from graphql_app.api.journal import Entry, Journal, request_id
from graphql_app.api.requests import parse_operation
from graphql_app.api.transport import Transport
from graphql_app.app import create_app
from graphql_app.chat import ChatService
from graphql_app.pages import Pages
from graphql_app.settings import Settings
from tests.api.sockets import Conversation, Reply
from tests.api.test_transport import socket_to
from tests.wire import RESUME, SEND, Socket, eventually

SSE = {"accept": "text/event-stream"}
MULTIPART = {"accept": 'multipart/mixed;subscriptionSpec="1.0"'}
EVENTS = "subscription { conversationEvents { __typename } }"


def draft(id: str = "m1") -> dict[str, Any]:
    return {"message": {"id": id, "content": "one two"}}


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[dict[str, Any]]]:
    """The facts of all operations that have ended; read them when the operations have."""
    caplog.set_level(logging.INFO, "graphql_app.operations")
    told: list[dict[str, Any]] = []

    class Collecting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            facts = record.__dict__["facts"]
            told.append({name: fact for name, fact in facts.items() if fact is not None})

    handler = Collecting()
    logger = logging.getLogger("graphql_app.operations")
    logger.addHandler(handler)
    yield told
    logger.removeHandler(handler)


@asynccontextmanager
async def application(**settings: Any) -> AsyncIterator[Starlette]:
    app = create_app(Settings(completion="echo", word_delay=0, **settings))
    async with app.router.lifespan_context(app):
        yield app


def http(app: Starlette) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


async def test_an_operation_over_http_is_one_line(lines: list[dict[str, Any]]) -> None:
    query = """
        query MyOwnWords($x: Int) { mine: messages(last: $x) { id } ...Rest }
        fragment Rest on Query { conversations { id } ... { messages { id } } }
    """
    async with application() as app, http(app) as client:
        answer = await client.post(
            "/graphql", json={"query": query}, headers={"x-request-id": "a-1"}
        )
    assert answer.headers["x-request-id"] == "a-1"
    [line] = lines
    assert 0 <= line.pop("duration") < 60
    assert line == {
        "request": "a-1",
        "transport": "http",
        "kind": "query",
        "fields": "messages conversations",
        "code": "OK",
        "conversation": "default",
    }


@pytest.mark.parametrize(
    ("headers", "transport"), [(SSE, "sse"), (MULTIPART, "multipart")], ids=["sse", "multipart"]
)
async def test_an_event_stream_is_one_line_at_its_end(
    lines: list[dict[str, Any]], headers: dict[str, str], transport: str
) -> None:
    async with application() as app, http(app) as client:
        body = {"query": SEND, "variables": draft()}
        answer = await client.post("/graphql", json=body, headers=headers)
    [line] = lines
    assert line["request"] == answer.headers["x-request-id"]
    assert (line["transport"], line["kind"], line["code"]) == (transport, "subscription", "OK")
    assert (line["fields"], line["message"], line["conversation"]) == (
        "sendMessage",
        "m1",
        "default",
    )
    assert f'"messageId":"{line["reply"]}"' in answer.text
    assert line["bytes"] == len(answer.content)
    assert line["chunks"] >= 2


async def test_an_operation_on_a_socket_is_one_line_at_its_end(lines: list[dict[str, Any]]) -> None:
    async with application() as app, socket_to(app) as socket:
        reply = await socket.follow(SEND, draft())
        assert socket.connection.response is not None
        id = socket.connection.response.headers["x-request-id"]
        await eventually(lambda: bool(lines))
    [line] = lines
    assert (line["request"], line["transport"]) == (f"{id}/op1", "websocket")
    assert (line["kind"], line["fields"], line["code"]) == ("subscription", "sendMessage", "OK")
    assert line["reply"] == reply.message_id
    assert line["chunks"] == len(reply.chunks)
    assert line["bytes"] > len(reply.content)


async def test_a_socket_takes_the_id_of_its_handshake(lines: list[dict[str, Any]]) -> None:
    async with (
        application() as app,
        socket_to(app) as other,
        connect(
            f"ws://127.0.0.1:{other.connection.remote_address[1]}/graphql",
            subprotocols=[Subprotocol("graphql-transport-ws")],
            additional_headers={"X-Request-Id": "from-outside"},
        ) as connection,
    ):
        socket = Socket(connection)
        await socket.send({"type": "connection_init"})
        await socket.receive()
        await socket.subscribe("{ __typename }", id="1")
        await socket.receive()
        await eventually(lambda: bool(lines))
    assert lines[0]["request"] == "from-outside/1"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"query": "{ nonsense }"}, "GRAPHQL_VALIDATION_FAILED"),
        ({"query": "{"}, "GRAPHQL_PARSE_FAILED"),
        ({"query": '{ message(id: "") { id } }'}, "BAD_USER_INPUT"),
        ({"query": 'mutation { stopMessage(id: "none") { id } }'}, "MESSAGE_NOT_FOUND"),
        ({"query": EVENTS}, "HTTP_406"),
        ({}, "HTTP_400"),
    ],
)
async def test_a_failure_is_told_by_its_code(
    lines: list[dict[str, Any]], body: dict[str, Any], code: str
) -> None:
    async with application() as app, http(app) as client:
        await client.post("/graphql", json=body)
    [line] = lines
    assert line["code"] == code
    assert "nonsense" not in str(line)


@pytest.mark.parametrize("query", ["{ nonsense }", "{", RESUME])
async def test_a_failure_on_a_socket_is_told_by_its_code(
    lines: list[dict[str, Any]], query: str
) -> None:
    async with application() as app, socket_to(app) as socket:
        await socket.subscribe(query, {"message": {"id": "none"}})
        [error] = (await socket.receive())["payload"]
        await eventually(lambda: bool(lines))
    [line] = lines
    assert line["code"] == error["extensions"]["code"]


async def test_an_operation_too_many_is_a_line_too(lines: list[dict[str, Any]]) -> None:
    async with application(max_operations_per_socket=1) as app, socket_to(app) as socket:
        await socket.subscribe(EVENTS)
        await socket.receive()
        await socket.subscribe(EVENTS)
        await socket.receive()
        assert [line["code"] for line in lines] == ["TOO_MANY_OPERATIONS"]
    assert [line["code"] for line in lines] == ["TOO_MANY_OPERATIONS", "CUT"]


async def test_an_operation_that_its_client_leaves_was_cut(lines: list[dict[str, Any]]) -> None:
    async with application() as app, socket_to(app) as socket:
        id = await socket.subscribe(EVENTS)
        await socket.receive()
        await socket.complete(id)
        await eventually(lambda: bool(lines))
    [line] = lines
    assert (line["code"], line["fields"]) == ("CUT", "conversationEvents")


async def test_what_is_no_operation_is_no_line(lines: list[dict[str, Any]]) -> None:
    async with application() as app, http(app) as client:
        for path in ("/", "/healthz", "/readyz", "/metrics", "/static/none"):
            await client.get(path)
        await client.get("/graphql", headers={"accept": "text/html"})
    assert lines == []


async def test_lines_can_be_switched_off(lines: list[dict[str, Any]]) -> None:
    async with application(log_operations=False) as app, http(app) as client:
        answer = await client.post("/graphql", json={"query": "{ __typename }"})
    assert answer.headers["x-request-id"]
    assert lines == []


async def test_a_defect_is_logged_with_the_id_of_its_request(
    lines: list[dict[str, Any]], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(ChatService, "conversations", fail)
    async with application() as app, http(app) as client:
        answer = await client.post("/graphql", json={"query": "{ conversations { id } }"})
    [error] = answer.json()["errors"]
    [line] = lines
    [record] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.__dict__["facts"] == {
        "error_id": error["extensions"]["errorId"],
        "field": "conversations",
        "request": line["request"],
    }
    assert line["code"] == "INTERNAL_SERVER_ERROR"


@pytest.mark.parametrize("path", ["/", "/graphql"])
async def test_a_defect_outside_of_operations_is_a_sentence_with_the_id_that_the_log_has(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(Pages, "page", fail)
    async with application() as app, http(app) as client:
        answer = await client.get(path, headers={"accept": "text/html"})
    [record] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert answer.status_code == 500
    id = record.__dict__["facts"]["error_id"]
    assert answer.text == f"An internal error occurred. Its id is {id}."


async def test_a_socket_that_fails_is_closed_with_4500_and_an_id(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a defect")

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    monkeypatch.setattr(GraphQL, "run", fail)
    conversation = Conversation(cast(Any, None), await Reply("r").begin(), None)
    scope = {"type": "websocket", "path": "/graphql", "headers": [], "subprotocols": []}
    await conversation._transport(scope, receive, send)
    [record] = caplog.records
    id = record.__dict__["facts"]["error_id"]
    assert sent[-1]["code"] == 4500
    assert sent[-1]["reason"] == f"An internal error occurred. Its id is {id}."


# Owners.


def hashed(owner: str, key: bytes | None = b"key") -> str:
    return Journal(owner_key=key).hashed(owner)


def test_an_owner_is_told_by_a_hash_that_only_who_has_the_key_can_make() -> None:
    assert re.fullmatch("[0-9a-f]{12}", hashed("ann"))
    assert hashed("ann") == hashed("ann")
    assert len({hashed("ann"), hashed("bob"), hashed("ann", b"other"), hashed("\ud83d")}) == 4
    assert hashed("ann", None) != hashed("ann", None)


def test_servers_of_one_store_hash_owners_alike(tmp_path: Path) -> None:
    def key(**settings: Any) -> bytes | None:
        store: Any = type("Shared", (), {"shared": "memory" not in settings["store"]})
        return app_module._owner_key(Settings(**settings), store)

    assert key(store="redis://host") == key(store="redis://host")
    assert key(store="redis://host") != key(store="redis://other")
    assert key(store="redis://host", log_owner_key=SecretStr("k")) == key(
        store="redis://b", log_owner_key=SecretStr("k")
    )
    assert key(store="memory://") is None


async def test_the_owner_itself_is_in_no_line(
    lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def caller(*_: object) -> Caller:
        return Caller("ann@example.org")

    monkeypatch.setattr(Transport, "caller", caller)
    async with application() as app:
        async with http(app) as client:
            await client.post("/graphql", json={"query": "{ __typename }"})
        async with socket_to(app) as socket:
            await socket.subscribe("{ __typename }")
            await socket.receive()
            await eventually(lambda: len(lines) == 2)
    assert len({line["owner"] for line in lines}) == 1
    assert "ann" not in str(lines)


# Ids of requests.


@pytest.mark.parametrize("given", ["a", "A-1.b_2", "0123456789abcdef" * 4])
def test_an_id_that_can_be_told_is_taken(given: str) -> None:
    assert request_id(given) == given


@pytest.mark.parametrize(
    "given", [None, "", "a b", "a\n", "ü", "x" * 65, "sk-abcdefgh12345678", "a=1", "<b>"]
)
def test_any_other_is_replaced(given: str | None) -> None:
    assert re.fullmatch("[0-9a-f]{16}", request_id(given))


# Fields.


def fields(query: str) -> tuple[str, ...]:
    document, operation = parse_operation(query, None)
    return document.root_fields(operation)


def test_fields_are_those_that_there_are() -> None:
    assert fields("{ a: messages { id } mine ... { __typename } ...F }") == (
        "messages",
        "__typename",
    )
    chain = (
        "{ ...A ...B } fragment A on Query { ...B } fragment B on Query { message(id: 1) { id } }"
    )
    assert fields(chain) == ("message",)


def test_an_entry_is_told_once(lines: list[dict[str, Any]]) -> None:
    entry: Entry = Journal().entry("r", "http")
    entry.failed("FIRST")
    entry.failed("SECOND")
    entry.end()
    entry.end()
    assert [line["code"] for line in lines] == ["FIRST"]


# Rations.


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def tell(journal: Journal, number: int, code: str = "OK") -> None:
    for _ in range(number):
        entry = journal.entry("r", "http")
        entry.failed(code)
        entry.end()


def test_lines_are_as_many_as_their_ration_in_the_long_run(lines: list[dict[str, Any]]) -> None:
    clock = Clock()
    journal = Journal(lines_per_second=2, clock=clock)
    tell(journal, 250)
    assert len(lines) == 200
    clock.now = 5
    tell(journal, 50)
    assert len(lines) == 210
    clock.now = 100_000
    tell(journal, 250)
    assert len(lines) == 410


def test_who_is_refused_all_the_time_does_not_hide_what_others_do(
    lines: list[dict[str, Any]],
) -> None:
    journal = Journal(lines_per_second=2, clock=Clock())
    for code in ("RATE_LIMITED", "UNAUTHENTICATED", "HTTP_400", "GRAPHQL_PARSE_FAILED"):
        tell(journal, 100, code)
    assert len(lines) == 20
    tell(journal, 10)
    tell(journal, 10, "INTERNAL_SERVER_ERROR")
    assert len(lines) == 40


def test_how_many_were_left_out_is_told_once_a_minute(lines: list[dict[str, Any]]) -> None:
    clock = Clock()
    journal = Journal(lines_per_second=2, clock=clock)
    journal.count()
    tell(journal, 203)
    tell(journal, 24, "HTTP_400")
    lines.clear()
    journal.count()
    assert lines == [{"served": 3, "refused": 4}]
    tell(journal, 1)
    clock.now = 59
    journal.count()
    assert len(lines) == 1
    clock.now = 60
    journal.count()
    assert lines[1:] == [{"served": 1, "refused": 0}]


def test_a_rate_of_zero_is_any_number(lines: list[dict[str, Any]]) -> None:
    tell(Journal(lines_per_second=0), 30_000)
    assert len(lines) == 30_000
