"""Tokens at the edge: who an operation is run as, and what becomes of it when a token ends."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from graphql_app.access.bearer import EXPIRED
from graphql_app.access.caller import Caller
from graphql_app.access.expiry import Expiry
from graphql_app.access.jwks import PAUSE_SECONDS, KeySet
from graphql_app.access.keys import OneKey, key_from_secret
from graphql_app.access.quotas import Quotas, Rates
from graphql_app.access.tokens import Tokens, tokens_from
from graphql_app.api.expiry import until
from graphql_app.api.schema import schema
from graphql_app.api.transport import Transport
from graphql_app.chat import ChatService
from graphql_app.completions.echo import echo
from graphql_app.errors import KeysUnavailableError, UnauthenticatedError
from graphql_app.pages import Pages
from tests.api.sockets import Conversation, Reply
from tests.chats import PATIENCE_SECONDS, running_chat, settled
from tests.faults import FaultyStore, ImmediateStore
from tests.objects import alive
from tests.tokens import RSA, SECRET, jwk, token
from tests.wire import eventually

RESUME = 'subscription { resumeMessage(message: {id: "reply"}) { text } }'
STOP = 'mutation { stopMessage(id: "reply") { status } }'


class Ending(Tokens):
    """Takes any token, which ends in so many seconds, and notes who came from where."""

    def __init__(self, seconds: float, owner: str = "") -> None:
        super().__init__(
            OneKey(key_from_secret(SECRET)), issuer=None, audience=None, owner_length=128
        )
        self.came: list[tuple[str | None, str]] = []
        self._end = time.time() + seconds
        self._owner = owner

    async def caller(self, token: str | None, address: str = "") -> Caller:
        self.came.append((token, address))
        return Caller(self._owner, address, self._end)


class Away(Tokens):
    """Cannot say anything."""

    def __init__(self) -> None:
        super().__init__(
            OneKey(key_from_secret(SECRET)), issuer=None, audience=None, owner_length=128
        )

    async def caller(self, token: str | None, address: str = "") -> Caller:
        raise KeysUnavailableError


def http(chat: ChatService, tokens: Tokens | None) -> httpx.AsyncClient:
    transport = Transport(
        schema,
        chat,
        pages=Pages(Path("nowhere")),
        max_body_bytes=100_000,
        max_sockets=10,
        max_operations_per_socket=10,
        init_timeout_seconds=10,
        tokens=tokens,
        quotas=Quotas(Rates(0, 0, 0, 0, 0)),
    )
    app = Starlette(routes=[Route("/graphql", transport)])
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app, client=("192.0.2.7", 50_000)), base_url="http://here"
    )


@pytest.fixture
def store() -> FaultyStore:
    return ImmediateStore()


@pytest.fixture
async def reply(store: FaultyStore) -> Reply:
    return await Reply(store=store).begin()


async def closed(socket: Conversation) -> tuple[int, str]:
    await eventually(lambda: socket.closed is not None)
    assert socket.closed is not None
    return socket.closed


# Sockets.


async def test_the_caller_of_a_socket_is_known_with_its_address(chat: ChatService) -> None:
    tokens = Ending(60)
    async with Conversation(schema, chat, None, tokens).opened("abc"):
        assert tokens.came == [("abc", "192.0.2.7")]


async def test_a_socket_is_closed_when_its_token_ends_and_its_operations_are_over(
    reply: Reply, chat: ChatService
) -> None:
    socket = Conversation(schema, chat, None, Ending(0.2))
    async with socket.opened("abc"):
        socket.subscribe(RESUME)
        await settled()
        assert len(socket.texts) == 1
        assert await closed(socket) == (4403, EXPIRED)
        await settled()
        assert not chat._audiences._audiences
        await reply.append("not for them")
        await settled()
        assert len(socket.texts) == 1


async def test_what_comes_behind_the_end_of_a_token_is_not_done(
    reply: Reply, chat: ChatService, store: FaultyStore
) -> None:
    socket = Conversation(schema, chat, None, Ending(0.1))
    async with socket.opened("abc"):
        await closed(socket)
        socket.subscribe(STOP)
        await settled()
        stored = await store.message(reply.ref)
        assert stored is not None
        assert stored.status == "STREAMING"
        assert socket.texts == []


async def test_what_comes_behind_a_frame_for_which_a_socket_is_closed_is_not_done(
    reply: Reply, chat: ChatService, store: FaultyStore
) -> None:
    socket = Conversation(schema, chat, None, Ending(60))
    async with socket.opened("abc"):
        socket.say([])
        socket.subscribe(STOP)
        assert (await closed(socket))[0] == 4400
        await settled()
        stored = await store.message(reply.ref)
        assert stored is not None
        assert stored.status == "STREAMING"


async def test_a_second_token_is_not_even_looked_at(chat: ChatService) -> None:
    tokens = Ending(60)
    socket = Conversation(schema, chat, None, tokens)
    async with socket.opened("abc"):
        socket.say({"type": "connection_init", "payload": {"authorization": "def"}})
        assert (await closed(socket))[0] == 4429
    assert [token for token, _ in tokens.came] == ["abc"]


async def test_a_client_that_reads_nothing_and_leaves_leaves_nothing_behind(
    chat: ChatService,
) -> None:
    socket = Conversation(schema, chat, None, Ending(0.1))
    async with socket.opened("abc"):
        gate = socket.holding()
        await gate.reached()  # With the goodbye.


async def test_a_socket_that_is_left_leaves_no_timer_behind(chat: ChatService) -> None:
    before = alive(Expiry)
    async with Conversation(schema, chat, None, Ending(3_600)).opened("abc"):
        assert alive(Expiry) == before + 1
    assert alive(Expiry) == before


async def test_an_operation_is_refused_after_the_end_of_a_token_even_if_no_timer_has_told_it(
    reply: Reply, chat: ChatService, store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop that was busy, or stopped, comes to the client's frames before it comes to timers."""
    socket = Conversation(schema, chat, None, Ending(3_600))
    async with socket.opened("abc"):
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + 3_600)
        socket.subscribe(STOP)
        assert await closed(socket) == (4403, EXPIRED)
        stored = await store.message(reply.ref)
        assert stored is not None
        assert stored.status == "STREAMING"


async def test_a_client_that_reads_nothing_gets_nothing_after_the_end_of_its_token(
    reply: Reply, chat: ChatService
) -> None:
    socket = Conversation(schema, chat, None, Ending(0.2))
    async with socket.opened("abc"):
        socket.subscribe(RESUME)
        await settled()
        gate = socket.holding()
        await reply.append("on its way")
        await settled()
        await asyncio.sleep(0.3)
        await reply.append("not for them")
        gate.open()
        await closed(socket)
        assert "not for them" not in "".join(socket.texts)


async def test_while_nobody_can_say_who_it_is_a_socket_is_told_to_come_later(
    chat: ChatService,
) -> None:
    socket = Conversation(schema, chat, None, Away())
    with pytest.raises(AssertionError):
        async with socket.opened("abc"):
            pass
    assert socket.closed == (1013, str(KeysUnavailableError()))


# Requests.


async def test_the_caller_of_a_request_is_known_with_its_address(chat: ChatService) -> None:
    tokens = Ending(60)
    async with http(chat, tokens) as client:
        headers = {"Authorization": "Bearer abc"}
        await client.post("/graphql", json={"query": "{ __typename }"}, headers=headers)
    assert tokens.came == [("abc", "192.0.2.7")]


async def test_while_nobody_can_say_who_it_is_a_request_is_to_be_tried_again(
    chat: ChatService,
) -> None:
    async with http(chat, Away()) as client:
        answer = await client.post("/graphql", content=b"whatever")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == f"{PAUSE_SECONDS:.0f}"
    [error] = answer.json()["errors"]
    assert error["extensions"] == {"code": "AUTHENTICATION_UNAVAILABLE"}


async def test_a_token_that_ends_while_the_body_comes_is_over(
    reply: Reply, chat: ChatService, store: FaultyStore
) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield json.dumps({"query": STOP}).encode()
        await asyncio.sleep(0.2)

    async with http(chat, Ending(0.1)) as client:
        answer = await client.post(
            "/graphql", content=slow(), headers={"Content-Type": "application/json"}
        )
    assert answer.status_code == 401
    stored = await store.message(reply.ref)
    assert stored is not None
    assert stored.status == "STREAMING"


@pytest.mark.parametrize("accept", ["text/event-stream", 'multipart/mixed;subscriptionSpec="1.0"'])
async def test_an_event_stream_ends_with_an_error_when_its_token_ends(
    reply: Reply, chat: ChatService, accept: str
) -> None:
    async with http(chat, Ending(0.2)) as client, asyncio.timeout(PATIENCE_SECONDS):
        answer = await client.post("/graphql", json={"query": RESUME}, headers={"accept": accept})
    assert answer.status_code == 200
    assert answer.text.count('"data"') == 1
    assert answer.text.index("UNAUTHENTICATED") > answer.text.index('"data"')
    assert EXPIRED in answer.text
    assert answer.text.rstrip().endswith(("event: complete\r\ndata:", "--graphql--"))
    assert not chat._audiences._audiences


# Results up to an end.


async def results(*pauses: float) -> AsyncGenerator[Any, None]:
    for number, pause in enumerate(pauses):
        await asyncio.sleep(pause)
        yield number


async def shown(stream: AsyncGenerator[Any, None]) -> list[Any]:
    return [
        result if isinstance(result, int) else result.errors[0].extensions["code"]
        async for result in stream
    ]


async def test_results_that_end_before_their_token_are_all_there_is() -> None:
    assert await shown(until(time.time() + 60, results(0, 0, 0))) == [0, 1, 2]


async def test_waiting_for_a_result_ends_with_the_token() -> None:
    assert await shown(until(time.time() + 0.1, results(0, 60))) == [0, "UNAUTHENTICATED"]


async def test_a_token_that_ended_before_the_first_result_lets_none_through() -> None:
    stream = until(0, results(60))
    assert await shown(stream) == ["UNAUTHENTICATED"]


async def test_results_that_nobody_fetched_before_the_end_are_not_shown() -> None:
    stream = until(time.time() + 0.05, results(0, 0, 0))
    assert await anext(stream) == 0
    await asyncio.sleep(0.1)
    assert await shown(stream) == ["UNAUTHENTICATED"]


async def test_a_stream_that_is_left_closes_what_it_reads_and_its_timer() -> None:
    is_closed = asyncio.Event()

    async def source() -> AsyncGenerator[Any, None]:
        try:
            yield 0
            yield 1
        finally:
            is_closed.set()

    before = alive(Expiry)
    stream = until(time.time() + 60, source())
    await anext(stream)
    assert alive(Expiry) == before + 1
    await stream.aclose()
    assert is_closed.is_set()
    del stream
    assert alive(Expiry) == before


async def test_a_failure_that_looks_like_the_end_of_a_token_is_none() -> None:
    async def source() -> AsyncGenerator[Any, None]:
        yield 0
        raise TimeoutError

    stream = until(time.time() + 60, source())
    assert await anext(stream) == 0
    with pytest.raises(TimeoutError):
        await anext(stream)


# Guessing.


async def test_ten_thousand_guesses_find_nothing_and_tell_nothing(store: FaultyStore) -> None:
    """Every fourth guess is right, but for the owner: another's message is answered as none."""
    tokens = tokens_from(secret=SECRET)
    queries = {
        "message": "query ($id: ID!) { message(id: $id) { content replies { content } } }",
        "stopMessage": "mutation ($id: ID!) { stopMessage(id: $id) { content } }",
        "messages": "query ($id: ID!) { messages(before: $id) { content } }",
    }
    async with running_chat(store, echo(0)) as chat, http(chat, tokens) as client:
        theirs: list[str] = []
        for number in range(20):
            following = await chat.send("alice", f"guess {number}", "default", "a secret text")
            theirs += [chunk.message_id async for chunk in following]
        theirs = [*dict.fromkeys(theirs), *(f"guess {number}" for number in range(20))]
        headers = {"Authorization": f"Bearer {token('mallory')}"}
        answers: dict[str, set[str]] = {field: set() for field in queries}
        for number in range(10_000):
            id = theirs[number % len(theirs)] if number % 4 == 0 else uuid4().hex
            field = list(queries)[number % 3]
            body = {"query": queries[field], "variables": {"id": id}}
            answer = await client.post("/graphql", json=body, headers=headers)
            answers[field].add(answer.text.replace(id, "ID"))
        assert answers["message"] == {'{"data":{"message":null}}'}
        [stopping], [listing] = answers["stopMessage"], answers["messages"]
        assert "MESSAGE_NOT_FOUND" in stopping
        assert "BAD_USER_INPUT" in listing
        assert "secret" not in stopping + listing
        conversation = await chat.messages("alice", "default")
        assert len(conversation) == 40


async def test_a_published_key_that_changes_is_found_over_http() -> None:
    keys = [jwk(RSA, kid="old")]
    now = 1_000.0
    tokens = Tokens(
        KeySet(
            "https://issuer.example",
            fetch=lambda _: json.dumps({"keys": keys}).encode(),
            now=lambda: now,
        ),
        issuer=None,
        audience=None,
        owner_length=128,
    )
    new = token(key=RSA, algorithm="RS256", headers={"kid": "new"})
    with pytest.raises(UnauthenticatedError):
        await tokens.caller(new)
    keys.append(jwk(RSA, kid="new"))
    now += PAUSE_SECONDS
    assert (await tokens.caller(new)).owner == "alice"
