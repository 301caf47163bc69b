"""Every operation, over every way in, with every kind of token: whose is what, against a server."""

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import uuid4

import httpx
import pytest
from graphql import GraphQLObjectType, build_schema

from graphql_app.api.schema import sdl
from tests.end_to_end.test_event_streams import EVENT_STREAM, MULTIPART, events, parts
from tests.processes import ServerProcess, serving
from tests.tokens import RSA, SECRET, WRONG_SECRET, by_hand, claims, token
from tests.wire import PATIENCE_SECONDS, SEND, Reply, how_closed, open_socket, raw_connection

TEXT = "what nobody else may read"


@pytest.fixture(scope="module")
def shared_server() -> Iterator[ServerProcess]:
    """An echoing server that asks for tokens."""
    environment = {"GRAPHQL_APP_JWT_SECRET": SECRET}
    with serving("--completion", "echo", "--word-delay", "0", environment=environment) as server:
        yield server


@dataclass(frozen=True)
class Ids:
    """Names of what somebody may have."""

    conversation: str = field(default_factory=lambda: f"c-{uuid4().hex}")
    question: str = field(default_factory=lambda: f"q-{uuid4().hex}")
    reply: str = field(default_factory=lambda: f"r-{uuid4().hex}")


Variables: TypeAlias = Callable[[Ids], dict[str, Any]]

CHUNK = "{ messageId offset text status error { code message } }"
MESSAGE = "{ id role content status replies { id content } usage { model } }"
OPERATIONS: dict[str, tuple[str, Variables]] = {
    "Query.messages": (
        f"query ($c: ID!) {{ messages(conversationId: $c) {MESSAGE} }}",
        lambda ids: {"c": ids.conversation},
    ),
    "Query.message": (
        f"query ($id: ID!) {{ message(id: $id) {MESSAGE} }}",
        lambda ids: {"id": ids.question},
    ),
    "Query.conversations": ("{ conversations { id title } }", lambda _: {}),
    "Mutation.stopMessage": (
        f"mutation ($id: ID!) {{ stopMessage(id: $id) {MESSAGE} }}",
        lambda ids: {"id": ids.reply},
    ),
    "Mutation.clearMessages": (
        "mutation ($c: ID!) { clearMessages(conversationId: $c) }",
        lambda ids: {"c": ids.conversation},
    ),
    "Subscription.sendMessage": (
        f"subscription ($m: MessageInput!) {{ sendMessage(message: $m) {CHUNK} }}",
        lambda ids: {
            "m": {"id": ids.question, "conversationId": ids.conversation, "content": "Hello!"}
        },
    ),
    "Subscription.regenerateMessage": (
        f"subscription ($m: RegenerateInput!) {{ regenerateMessage(message: $m) {CHUNK} }}",
        lambda ids: {"m": {"id": f"new-{ids.reply}", "messageId": ids.question}},
    ),
    "Subscription.resumeMessage": (
        f"subscription ($m: ResumeInput!) {{ resumeMessage(message: $m) {CHUNK} }}",
        lambda ids: {"m": {"id": ids.reply}},
    ),
    "Subscription.conversationEvents": (
        f"""subscription ($c: ID!) {{ conversationEvents(conversationId: $c) {{
            __typename ... on MessagesReset {{ messages {MESSAGE} }} }} }}""",
        lambda ids: {"c": ids.conversation},
    ),
}
"""Every field of a root; and below them every field that reads something itself."""


def test_every_operation_of_the_schema_is_tried() -> None:
    schema = build_schema(sdl())
    roots = (schema.query_type, schema.mutation_type, schema.subscription_type)
    there_are = {
        f"{root.name}.{name}"
        for root in roots
        if isinstance(root, GraphQLObjectType)
        for name in root.fields
    }
    assert OPERATIONS.keys() == there_are


def test_every_field_of_a_message_that_takes_a_resolver_is_tried() -> None:
    """A field of messages that is not a plain value might read what is somebody else's."""
    message = build_schema(sdl()).type_map["Message"]
    assert isinstance(message, GraphQLObjectType)
    objects = {name for name, each in message.fields.items() if "!" not in f"{each.type}"[-1:]}
    lists = {name for name, each in message.fields.items() if f"{each.type}".startswith("[")}
    assert lists == {"replies"}
    assert objects == {"replyToId", "error", "usage"}


# Ways in.


@asynccontextmanager
async def to(server: ServerProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=server.http, timeout=PATIENCE_SECONDS, trust_env=False
    ) as client:
        yield client


def bearing(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


async def over_http(
    server: ServerProcess, token: str | None, query: str, variables: dict[str, Any]
) -> list[Any]:
    async with to(server) as client:
        body = {"query": query, "variables": variables}
        answer = await client.post("/graphql", json=body, headers=bearing(token))
    return [answer.json()]


async def over_get(
    server: ServerProcess, token: str | None, query: str, variables: dict[str, Any]
) -> list[Any]:
    async with to(server) as client:
        parameters = {"query": query, "variables": json.dumps(variables)}
        answer = await client.get("/graphql", params=parameters, headers=bearing(token))
    return [answer.json()]


def streamed(accept: str, read: Any) -> Any:
    async def over_a_stream(
        server: ServerProcess, token: str | None, query: str, variables: dict[str, Any]
    ) -> list[Any]:
        results = []
        body = {"query": query, "variables": variables}
        headers = {"accept": accept, **bearing(token)}
        async with (
            to(server) as client,
            client.stream("POST", "/graphql", json=body, headers=headers) as response,
        ):
            if response.status_code != 200:
                return [json.loads(await response.aread())]
            async for result in read(response):
                results.append(result)
                if "conversationEvents" in (result.get("data") or {}):
                    break  # It has no end.
        return results

    return over_a_stream


async def over_a_socket(
    server: ServerProcess, token: str | None, query: str, variables: dict[str, Any]
) -> list[Any]:
    results: list[Any] = []
    async with open_socket(server.url, token) as socket:
        async for frame in socket.frames(await socket.subscribe(query, variables)):
            if frame["type"] == "next":
                results.append(frame["payload"])
                if "conversationEvents" in (frame["payload"].get("data") or {}):
                    break  # It has no end.
            elif frame["type"] == "error":
                results.append({"errors": frame["payload"]})
    return results


over_sse = streamed(EVENT_STREAM, events)
over_multipart = streamed(MULTIPART, parts)

WAYS = [
    pytest.param(name, way, id=f"{name}-{way_name}")
    for name in OPERATIONS
    for way_name, way in {
        "http": over_http,
        "get": over_get,
        "sse": over_sse,
        "multipart": over_multipart,
        "socket": over_a_socket,
    }.items()
    if not (name.startswith("Subscription") and way in (over_http, over_get))
    if not (name.startswith("Mutation") and way is over_get)
    if name.startswith("Subscription") or way is not over_multipart
]

every_operation_every_way = pytest.mark.parametrize(("name", "way"), WAYS)


def told(results: list[Any], ids: Ids) -> str:
    """What a client knows in the end, whatever the pieces in which it came, with the same names."""
    known: Any = results
    chunks = [
        chunk
        for result in results
        for chunk in (result.get("data") or {}).values()
        if isinstance(chunk, dict) and "offset" in chunk
    ]
    if chunks:
        reply = Reply()
        for chunk in chunks:
            reply.apply(chunk)
        known = [reply.content, reply.status, reply.error]
    text = json.dumps(known, sort_keys=True)
    for name, id in vars(ids).items():
        text = text.replace(id, name)
    return text


async def having_something(server: ServerProcess, owner: str) -> Ids:
    """The names of a question and its reply that an owner has now."""
    ids = Ids()
    message = {"id": ids.question, "conversationId": ids.conversation, "content": TEXT}
    async with open_socket(server.url, token(owner)) as socket:
        reply = await socket.follow(SEND, {"message": message})
    assert (reply.content, reply.status) == (TEXT, "DONE")
    assert reply.message_id is not None
    return Ids(ids.conversation, ids.question, reply.message_id)


def somebody() -> str:
    return f"owner-{uuid4().hex}"


# No token that is good.

WRONG: dict[str, Callable[[str], str | None]] = {
    "no token": lambda _: None,
    "expired": lambda owner: token(owner, -60),
    "wrong key": lambda owner: token(owner, key=WRONG_SECRET),
    "alg none": lambda owner: by_hand({"alg": "none"}, claims(owner)),
    "another algorithm": lambda owner: token(owner, key=RSA, algorithm="RS256"),
    "garbage": lambda _: "garbage",
}


@every_operation_every_way
async def test_without_a_good_token_nothing_is_done_and_nothing_is_told(
    server: ServerProcess, name: str, way: Any
) -> None:
    owner = somebody()
    ids = await having_something(server, owner)
    before = told(await over_http(server, token(owner), *asking_for_everything(ids)), ids)
    query, variables = OPERATIONS[name]
    for wrong in WRONG.values():
        if way is over_a_socket:
            async with raw_connection(server.url) as connection:
                payload = {"authorization": f"Bearer {wrong(owner)}"} if wrong(owner) else None
                subscribe = {"query": query, "variables": variables(ids)}
                # All at once, as a client that does not wait for the ack.
                await connection.send(json.dumps({"type": "connection_init", "payload": payload}))
                await connection.send(
                    json.dumps({"id": "1", "type": "subscribe", "payload": subscribe})
                )
                code, reason = await how_closed(connection)
            assert code == 4403
            assert reason in (
                "A token is required.",
                "The token has expired.",
                "The token is not valid.",
            )
        else:
            [answer] = await way(server, wrong(owner), query, variables(ids))
            assert answer.keys() == {"errors"}
            assert [each["extensions"]["code"] for each in answer["errors"]] == ["UNAUTHENTICATED"]
    after = told(await over_http(server, token(owner), *asking_for_everything(ids)), ids)
    assert before == after
    assert TEXT in after


def asking_for_everything(ids: Ids) -> tuple[str, dict[str, Any]]:
    query = f"""query ($c: ID!) {{
        conversations {{ id title updatedAt }} messages(conversationId: $c) {MESSAGE} }}"""
    return query, {"c": ids.conversation}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "accept", ["application/json", "application/graphql-response+json", EVENT_STREAM, MULTIPART]
)
async def test_a_request_without_a_good_token_is_401_before_its_body_was_read(
    server: ServerProcess, method: str, accept: str
) -> None:
    """The body that was promised never comes."""
    _, port = "127.0.0.1", server.port
    for given, challenge in [
        ("", "Bearer"),
        ("Authorization: Basic YTpi\r\n", "Bearer"),
        (
            f"Authorization: Bearer {token(seconds=-60)}\r\n",
            'Bearer error="invalid_token", error_description="The token has expired."',
        ),
        (
            f"Authorization: Bearer {token()}x\r\n",
            'Bearer error="invalid_token", error_description="The token is not valid."',
        ),
        # Who is meant by two of them?
        (f"Authorization: Bearer {token()}\r\n" * 2, "Bearer"),
    ]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            f"{method} /graphql?query=%7B__typename%7D HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Accept: {accept}\r\nContent-Type: application/json\r\n{given}"
            "Content-Length: 1000\r\n\r\n".encode()
        )
        async with asyncio.timeout(PATIENCE_SECONDS):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        writer.transport.abort()
        assert head.startswith("HTTP/1.1 401 ")
        assert f"www-authenticate: {challenge}\r\n" in head.lower().replace(
            challenge.lower(), challenge
        )


async def test_a_token_in_the_address_is_no_token(server: ServerProcess) -> None:
    async with to(server) as client:
        for name in ("token", "access_token", "authorization", "jwt"):
            answer = await client.get("/graphql", params={"query": "{ __typename }", name: token()})
            assert answer.status_code == 401
    async with raw_connection(f"{server.url}?access_token={token()}") as connection:
        await connection.send('{"type": "connection_init"}')
        assert await how_closed(connection) == (4403, "A token is required.")


async def test_pages_and_checks_of_health_need_no_token(server: ServerProcess) -> None:
    async with to(server) as client:
        for path in ("/", "/healthz", "/readyz"):
            assert (await client.get(path)).status_code != 401
        playground = await client.get("/graphql", headers={"accept": "text/html"})
        assert playground.status_code != 401
        query = {"query": "{ __typename }"}
        asked = await client.get("/graphql", params=query, headers={"accept": "text/html"})
        assert asked.status_code == 401


async def test_a_second_token_on_a_socket_does_not_change_whose_it_is(
    server: ServerProcess,
) -> None:
    async with open_socket(server.url, token("alice")) as socket:
        payload = {"authorization": token("bob")}
        await socket.send({"type": "connection_init", "payload": payload})
        await socket.subscribe("{ __typename }")
        assert (await how_closed(socket.connection))[0] == 4429


@pytest.mark.parametrize("name", ["authorization", "Authorization", "AUTHORIZATION"])
@pytest.mark.parametrize("scheme", ["", "Bearer ", "bearer "])
async def test_a_token_on_a_socket_may_come_with_or_without_bearer(
    server: ServerProcess, name: str, scheme: str
) -> None:
    async with raw_connection(server.url) as connection:
        payload = {name: f"{scheme}{token()}"}
        await connection.send(json.dumps({"type": "connection_init", "payload": payload}))
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert json.loads(await connection.recv()) == {"type": "connection_ack"}


async def test_no_token_and_no_secret_gets_into_the_log_or_the_metrics(
    server: ServerProcess,
) -> None:
    good, wrong = token(somebody()), token(somebody(), key=WRONG_SECRET)
    for each in (good, wrong):
        await over_http(server, each, "{ __typename }", {})
        async with raw_connection(server.url) as connection:
            payload = {"authorization": each}
            await connection.send(json.dumps({"type": "connection_init", "payload": payload}))
            await connection.send("garbage")
            await how_closed(connection)
    async with to(server) as client:
        told_to_operators = (await client.get("/metrics")).text + server.log
    for part in (SECRET, *good.split(".")[1:], *wrong.split(".")[1:]):
        assert part not in told_to_operators
    assert 'graphql_app_refusals_total{reason="token"}' in told_to_operators


# Another owner.


@every_operation_every_way
async def test_what_is_anothers_is_answered_as_what_nobody_has(
    server: ServerProcess, name: str, way: Any
) -> None:
    owner = somebody()
    theirs = await having_something(server, owner)
    everything = asking_for_everything(theirs)
    before = await over_http(server, token(owner), *everything)
    query, variables = OPERATIONS[name]
    nothing = Ids()
    answer = told(await way(server, token(somebody()), query, variables(theirs)), theirs)
    of_nothing = told(await way(server, token(somebody()), query, variables(nothing)), nothing)
    assert answer == of_nothing
    assert TEXT not in answer
    assert await over_http(server, token(owner), *everything) == before


@every_operation_every_way
async def test_what_is_ones_own_is_there(server: ServerProcess, name: str, way: Any) -> None:
    owner = somebody()
    ids = await having_something(server, owner)
    query, variables = OPERATIONS[name]
    given = variables(ids)
    if name == "Subscription.sendMessage":
        given["m"]["content"] = TEXT  # Sent again, it joins.
    results = await way(server, token(owner), query, given)
    assert all("errors" not in result for result in results)
    answer = told(results, ids)
    assert TEXT in answer or answer == '[{"data": {"clearMessages": 2}}]'


async def test_two_owners_have_conversations_and_messages_of_the_same_names(
    server: ServerProcess,
) -> None:
    ids = Ids()
    owners = {somebody(): f"text {number}" for number in range(3)}
    for owner, text in owners.items():
        message = {"id": ids.question, "conversationId": ids.conversation, "content": text}
        async with open_socket(server.url, token(owner)) as socket:
            assert (await socket.follow(SEND, {"message": message})).content == text
    cleared, *others = owners
    await over_http(server, token(cleared), *with_ids("Mutation.clearMessages", ids))
    for owner in owners:
        [answer] = await over_http(server, token(owner), *with_ids("Query.messages", ids))
        found = [message["content"] for message in answer["data"]["messages"]]
        assert found == ([owners[owner]] * 2 if owner in others else [])


def with_ids(name: str, ids: Ids) -> tuple[str, dict[str, Any]]:
    query, variables = OPERATIONS[name]
    return query, variables(ids)


async def test_the_events_of_one_owner_are_not_those_of_another(server: ServerProcess) -> None:
    ids = Ids()
    watching, sending = somebody(), somebody()
    query, variables = with_ids("Subscription.conversationEvents", ids)
    message = {"id": ids.question, "conversationId": ids.conversation, "content": TEXT}
    async with (
        open_socket(server.url, token(watching)) as watcher,
        open_socket(server.url, token(sending)) as sender,
    ):
        await watcher.subscribe(query, variables, id="w")
        assert (await watcher.receive())["payload"]["data"] == {
            "conversationEvents": {"__typename": "MessagesReset", "messages": []}
        }
        await sender.follow(SEND, {"message": message})
        await over_http(server, token(sending), *with_ids("Mutation.clearMessages", ids))
        own = {**message, "id": uuid4().hex, "content": "my own"}
        await watcher.subscribe(SEND, {"message": own}, id="s")
        kinds: list[str] = []
        while len(kinds) < 3:
            frame = await watcher.receive()
            assert TEXT not in json.dumps(frame)
            if frame["id"] == "w":
                kinds.append(frame["payload"]["data"]["conversationEvents"]["__typename"])
        assert kinds == ["MessageChanged"] * 3


# Guessing.


async def test_a_thousand_guesses_find_nothing(server: ServerProcess) -> None:
    """Some of them are right, but for the owner."""
    ids = await having_something(server, somebody())
    guesses = [uuid4().hex for _ in range(500)] + [ids.question, ids.reply] * 250
    fields = "".join(f" g{n}: message(id: $i{n}) {{ id }}" for n in range(10))
    names = "".join(f" $i{n}: ID!" for n in range(10))
    async with open_socket(server.url, token(somebody())) as socket:
        for begin in range(0, len(guesses), 10):
            batch = guesses[begin : begin + 10]
            found = await socket.execute(
                f"query ({names}) {{ {fields} }}", {f"i{n}": id for n, id in enumerate(batch)}
            )
            assert set(found["data"].values()) == {None}


async def test_anothers_message_takes_as_long_to_not_find_as_none(server: ServerProcess) -> None:
    """By the medians of interleaved requests; the bound is generous, for machines that are busy."""
    ids = await having_something(server, somebody())
    query, _ = OPERATIONS["Query.message"]
    seconds: dict[bool, list[float]] = {True: [], False: []}
    async with open_socket(server.url, token(somebody())) as socket:
        for _ in range(400):
            for is_anothers in seconds:
                id = ids.question if is_anothers else f"q-{uuid4().hex}"
                begin = time.perf_counter()
                assert await socket.execute(query, {"id": id}) == {"data": {"message": None}}
                seconds[is_anothers].append(time.perf_counter() - begin)
    ratio = statistics.median(seconds[True]) / statistics.median(seconds[False])
    assert 0.5 < ratio < 2
