"""The codes of the errors that clients can meet, and the sentences that come with them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.processes import ServerProcess, serving
from tests.wire import (
    PATIENCE_SECONDS,
    REGENERATE,
    RESUME,
    SEND,
    Refused,
    Reply,
    Socket,
    open_socket,
)

ROOT = Path(__file__).parents[2]

A_LINE_BREAK = "a\nb"
LONG_ID = "\U0001f600" * 129
PRINTABLE = "must be 1 to 128 printable characters."
SCALARS = "must not contain NUL or a lone surrogate."


@pytest.fixture
async def socket(server: ServerProcess) -> AsyncIterator[Socket]:
    async with open_socket(server.url) as socket:
        yield socket


@pytest.fixture(scope="module")
def busy_server() -> Iterator[ServerProcess]:
    """A server that streams one reply at a time."""
    one = {"GRAPHQL_APP_MAX_REPLIES": "1"}
    with serving("--completion", "echo", "--word-delay", "0.05", environment=one) as server:
        yield server


def draft(**changed: Any) -> dict[str, Any]:
    return {"message": {"id": uuid4().hex, "content": "x", **changed}}


# Arguments outside of their limits.


@pytest.mark.parametrize(
    ("query", "variables", "sentence"),
    [
        (SEND, draft(id=""), f"id {PRINTABLE}"),
        (SEND, draft(id=LONG_ID), f"id {PRINTABLE}"),
        (SEND, draft(id=A_LINE_BREAK), f"id {PRINTABLE}"),
        (SEND, draft(id="\0"), f"id {PRINTABLE}"),
        (SEND, draft(id="\ud800"), f"id {PRINTABLE}"),
        (SEND, draft(id="\u200b"), f"id {PRINTABLE}"),
        (SEND, draft(conversationId=""), f"conversationId {PRINTABLE}"),
        (SEND, draft(conversationId=LONG_ID), f"conversationId {PRINTABLE}"),
        (SEND, draft(conversationId="\u2028"), f"conversationId {PRINTABLE}"),
        (SEND, draft(content=""), "content must not be blank."),
        (SEND, draft(content=" \n\t\u00a0\u3000"), "content must not be blank."),
        (
            SEND,
            draft(content="x" * 32_769),
            "content must be at most 32,768 UTF-16 code units long.",
        ),
        (
            SEND,
            draft(content="\U0001f600" * 16_385),
            "content must be at most 32,768 UTF-16 code units long.",
        ),
        (SEND, draft(content="a\0b"), f"content {SCALARS}"),
        (SEND, draft(content="a\ud800"), f"content {SCALARS}"),
        (SEND, draft(content="\udc00a"), f"content {SCALARS}"),
        (RESUME, {"message": {"id": ""}}, f"id {PRINTABLE}"),
        (RESUME, {"message": {"id": LONG_ID}}, f"id {PRINTABLE}"),
        (RESUME, {"message": {"id": "x", "offset": -1}}, "offset must be 0 or more."),
        (REGENERATE, {"message": {"id": "", "messageId": "x"}}, f"id {PRINTABLE}"),
        (REGENERATE, {"message": {"id": "x", "messageId": LONG_ID}}, f"messageId {PRINTABLE}"),
        (
            RESUME,
            {"message": {"id": "x", "offset": 0, "content": ""}},
            "content and offset must not be given both.",
        ),
    ],
)
async def test_a_subscription_with_an_argument_outside_its_limits_is_told_which_and_what_they_are(
    socket: Socket, query: str, variables: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(Refused) as refused:
        await socket.follow(query, variables)
    assert refused.value.code == "BAD_USER_INPUT"
    assert refused.value.errors[0]["message"] == sentence


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("{ messages(last: 0) { id } }", "last must be 1 or more"),
        ("{ messages(last: -1) { id } }", "last must be 1 or more"),
        ('{ messages(before: "") { id } }', f"before {PRINTABLE}"),
        ('{ messages(before: "nothing") { id } }', "before must be a message of this conversation"),
        ('{ messages(conversationId: "") { id } }', f"conversationId {PRINTABLE}"),
        ("{ conversations(first: 0) { id } }", "first must be 1 or more"),
        ('{ message(id: "") { id } }', f"id {PRINTABLE}"),
        ('mutation { clearMessages(conversationId: "\\n") }', f"conversationId {PRINTABLE}"),
        ('mutation { stopMessage(id: "") { id } }', f"id {PRINTABLE}"),
        (
            "subscription { conversationEvents { ... on MessagesReset "
            "{ messages(last: 0) { id } } } }",
            "last must be 1 or more",
        ),
        (
            'subscription { conversationEvents(conversationId: "") { __typename } }',
            f"conversationId {PRINTABLE}",
        ),
    ],
)
async def test_an_operation_with_an_argument_outside_its_limits_is_told_which_and_what_they_are(
    socket: Socket, query: str, sentence: str
) -> None:
    [error] = (await socket.execute(query))["errors"]
    assert error["extensions"] == {"code": "BAD_USER_INPUT"}
    assert error["message"].startswith(sentence)


@pytest.mark.parametrize(
    "message",
    [
        {"id": "\u65e5" * 128, "content": "x"},
        {"id": "\U0001f600" * 128, "content": "x"},
        {"id": "\U0001f600", "content": "x" * 32_768},
        {"id": "longest", "content": "\U0001f600" * 16_384},
        {"id": "with a blank", "content": " x "},
        {"id": 7, "content": "x"},
    ],
    ids=lambda message: ascii(message)[:40],
)
async def test_what_is_just_within_its_limits_is_taken(
    socket: Socket, message: dict[str, Any]
) -> None:
    reply = await socket.follow(SEND, {"message": message}, most_chunks=1)
    assert reply.message_id
    await socket.complete("op1")


async def test_explicit_null_means_absent(socket: Socket) -> None:
    sent = await socket.follow(SEND, draft())
    message = {"id": sent.message_id, "content": None, "offset": None}
    assert (await socket.follow(RESUME, {"message": message})).content == "x"
    query = "query ($null: Int, $none: ID) { messages(last: $null, before: $none) { id } }"
    result = await socket.execute(query, {"null": None, "none": None})
    assert result["data"]["messages"]
    result = await socket.execute("{ messages(last: null, before: null) { id } }")
    assert result["data"]["messages"]


# Messages that are not there, or not any more, or other ones.


@pytest.mark.parametrize("kind", ["an unknown message", "a user's message"])
async def test_resuming_what_is_no_reply_is_message_not_found(socket: Socket, kind: str) -> None:
    sent = draft()
    await socket.follow(SEND, sent)
    id = "unknown" if kind == "an unknown message" else sent["message"]["id"]
    with pytest.raises(Refused) as refused:
        await socket.follow(RESUME, {"message": {"id": id}})
    assert refused.value.code == "MESSAGE_NOT_FOUND"
    assert refused.value.errors[0]["message"] == f"There is no reply {id!r}."


async def test_stopping_an_unknown_message_is_message_not_found(socket: Socket) -> None:
    [error] = (await socket.execute('mutation { stopMessage(id: "unknown") { id } }'))["errors"]
    assert error["extensions"] == {"code": "MESSAGE_NOT_FOUND"}


async def test_an_unknown_message_is_null_and_no_error(socket: Socket) -> None:
    assert await socket.execute('{ message(id: "unknown") { id } }') == {"data": {"message": None}}


@pytest.mark.parametrize(
    "changed", [{"content": "y"}, {"conversationId": "another"}], ids=["content", "conversation"]
)
async def test_using_an_id_again_for_something_else_is_message_id_conflict(
    socket: Socket, changed: dict[str, Any]
) -> None:
    sent = draft()
    await socket.follow(SEND, sent)
    with pytest.raises(Refused) as refused:
        await socket.follow(SEND, {"message": {**sent["message"], **changed}})
    assert refused.value.code == "MESSAGE_ID_CONFLICT"


async def test_using_a_replys_id_for_a_message_is_message_id_conflict(socket: Socket) -> None:
    reply = await socket.follow(SEND, draft())
    with pytest.raises(Refused) as refused:
        await socket.follow(SEND, draft(id=reply.message_id))
    assert refused.value.code == "MESSAGE_ID_CONFLICT"


async def test_sending_or_resuming_what_was_cleared_is_message_cleared(socket: Socket) -> None:
    sent = draft(conversationId="cleared")
    reply = await socket.follow(SEND, sent)
    await socket.execute('mutation { clearMessages(conversationId: "cleared") }')
    for query, variables in (
        (SEND, sent),
        (RESUME, {"message": {"id": reply.message_id}}),
        (RESUME, {"message": {"id": reply.message_id, "content": "x"}}),
    ):
        with pytest.raises(Refused) as refused:
            await socket.follow(query, variables)
        assert refused.value.code == "MESSAGE_CLEARED"
    found = await socket.execute('{ messages(conversationId: "cleared") { id } }')
    assert found == {"data": {"messages": []}}


async def asked_again(socket: Socket, id: str, message_id: str) -> str:
    """The code with which another reply is refused."""
    with pytest.raises(Refused) as refused:
        await socket.follow(REGENERATE, {"message": {"id": id, "messageId": message_id}})
    return str(refused.value.code)


async def test_another_reply_is_refused_with_the_code_that_says_why(socket: Socket) -> None:
    sent, other = draft(conversationId="asked"), draft(conversationId="asked")
    reply = await socket.follow(SEND, sent)
    assert reply.message_id is not None
    id, new = sent["message"]["id"], uuid4().hex
    assert await asked_again(socket, new, "unknown") == "MESSAGE_NOT_FOUND"
    for used in (id, reply.message_id):
        assert await asked_again(socket, used, id) == "MESSAGE_ID_CONFLICT"
    again = {"message": {"id": new, "messageId": reply.message_id}}
    assert (await socket.follow(REGENERATE, again)).content == "x"
    await socket.follow(SEND, other)
    assert await asked_again(socket, new, other["message"]["id"]) == "MESSAGE_ID_CONFLICT"
    await socket.execute('mutation { clearMessages(conversationId: "asked") }')
    for message_id in (id, reply.message_id, new):
        assert await asked_again(socket, new, message_id) == "MESSAGE_CLEARED"
        assert await asked_again(socket, uuid4().hex, message_id) == "MESSAGE_CLEARED"


async def test_another_reply_while_one_streams_is_reply_streaming(socket: Socket) -> None:
    sent = draft(content="word " * 1_000)
    reply = await socket.follow(SEND, sent, most_chunks=1)
    assert reply.message_id is not None
    await socket.complete("op1")
    again = {"message": {"id": uuid4().hex, "messageId": sent["message"]["id"]}}
    with pytest.raises(Refused) as refused:
        await socket.follow(REGENERATE, again)
    assert refused.value.code == "REPLY_STREAMING"
    assert refused.value.errors[0]["message"] == (
        f"The reply {reply.message_id!r} is still streaming; stop it first, or wait for its end."
    )
    stop = "mutation ($id: ID!) { stopMessage(id: $id) { status } }"
    await socket.execute(stop, {"id": reply.message_id})
    assert (await socket.follow(REGENERATE, again, most_chunks=1)).message_id is not None
    await socket.execute(stop, {"id": sent["message"]["id"]})


# Too much.


async def test_a_reply_too_many_is_refused_and_stores_nothing_while_joining_one_is_not(
    busy_server: ServerProcess,
) -> None:
    first, second = draft(content="word " * 1_000), draft()
    async with open_socket(busy_server.url) as one, open_socket(busy_server.url) as other:
        sent = await one.follow(SEND, first, most_chunks=1)
        with pytest.raises(Refused) as refused:
            await other.follow(SEND, second)
        assert refused.value.code == "TOO_MANY_REPLIES"
        found = await other.execute("{ messages { id } }")
        assert {"id": second["message"]["id"]} not in found["data"]["messages"]
        joined = await other.follow(SEND, first, most_chunks=2)
        assert joined.message_id == sent.message_id
    async with open_socket(busy_server.url) as one:
        await one.execute(
            "mutation ($id: ID!) { stopMessage(id: $id) { status } }", {"id": sent.message_id}
        )
        # The place is free when the completion is closed, which is after the answer.
        reply = Reply()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while reply.status is None:
                with suppress(Refused):
                    reply = await one.follow(SEND, second)
        assert reply.content == "x"
    busy_server.check_log()


@pytest.mark.parametrize(
    ("setting", "content", "code", "kept"),
    [
        ("COMPLETION_TIMEOUT_SECONDS=1", "wait", "COMPLETION_TIMEOUT", "waiting"),
        ("MAX_REPLY_LENGTH=7", "words 9", "REPLY_TOO_LONG", "w w w w"),
    ],
)
async def test_a_reply_that_is_silent_or_too_long_ends_with_its_code_and_keeps_its_text(
    setting: str, content: str, code: str, kept: str
) -> None:
    name, _, value = setting.partition("=")
    answers = "tests.end_to_end.answers:complete"
    limit = {f"GRAPHQL_APP_{name}": value}
    with serving("--completion", answers, environment=limit, directory=ROOT) as server:
        async with open_socket(server.url) as socket:
            reply = await socket.follow(SEND, draft(content=content))
            assert (reply.status, reply.content) == ("ERROR", kept)
            assert reply.error is not None
            assert reply.error["code"] == code


async def test_errors_over_http_have_the_same_codes(server: ServerProcess) -> None:
    async with httpx.AsyncClient(base_url=server.http) as http:
        for query, code in (
            ("{ messages(last: 0) { id } }", "BAD_USER_INPUT"),
            ('mutation { stopMessage(id: "unknown") { id } }', "MESSAGE_NOT_FOUND"),
        ):
            answer = await http.post("/graphql", json={"query": query})
            [error] = answer.json()["errors"]
            assert error["extensions"] == {"code": code}
            assert answer.json()["data"] is None
