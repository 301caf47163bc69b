"""The stock JavaScript client, graphql-ws, whose connection drops while it says nothing of that."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from tests.end_to_end.node import need_node, run_script
from tests.processes import ServerProcess
from tests.proxies import CuttingProxy, cutting_proxy
from tests.wire import PATIENCE_SECONDS, RESUME, SEND, open_socket

CONTENT = "one  two\n\n\U0001f600 drei \u56db " * 15
MESSAGES = "query ($id: ID!) { messages(conversationId: $id) { id role content status replyToId } }"


@pytest.fixture(autouse=True)
def _node() -> None:
    need_node()


def sending(content: str = CONTENT) -> dict[str, Any]:
    """An operation for the script: sends a message to a conversation of its own."""
    message = {"id": uuid4().hex, "content": content, "conversationId": uuid4().hex}
    return {"query": SEND, "variables": {"message": message}, "field": "sendMessage"}


async def subscribe(proxy: CuttingProxy, *operations: dict[str, Any], **more: Any) -> Any:
    """What became of operations of one client, which retries in silence."""
    options = {"operations": operations, "retryAttempts": 50, "retryWaitMs": 20, **more}
    async with asyncio.timeout(2 * PATIENCE_SECONDS):
        return await run_script("subscriber.mjs", proxy.url, options=options)


async def check_sent_once(server: ServerProcess, operation: dict[str, Any], outcome: Any) -> None:
    """Fails unless the client has the exact text, and the server one reply with it."""
    message = operation["variables"]["message"]
    assert outcome["error"] is None
    assert (outcome["content"], outcome["status"]) == (message["content"], "DONE")
    async with open_socket(server.url) as socket:
        found = await socket.execute(MESSAGES, {"id": message["conversationId"]})
    user, reply = found["data"]["messages"]
    assert user["id"] == reply["replyToId"] == message["id"]
    assert (reply["id"], reply["content"]) == (outcome["messageId"], message["content"])


async def test_a_client_that_is_cut_off_again_and_again_ends_with_the_exact_text_and_one_reply(
    server: ServerProcess,
) -> None:
    operations = [sending(f"{number} {CONTENT}") for number in range(5)]
    async with cutting_proxy(server.port) as proxy:
        running = asyncio.create_task(subscribe(proxy, *operations))
        for _ in range(5):
            # The handshake is less than a fifth of this: there were chunks between the cuts.
            await proxy.until_forwarded(2_000)
            proxy.cut_connections()
        outcome = await running
    assert outcome["connections"] == proxy.connections > 3
    for operation, of_one in zip(operations, outcome["operations"], strict=True):
        await check_sent_once(server, operation, of_one)


async def test_a_client_whose_server_is_away_for_a_while_ends_with_the_exact_text(
    server: ServerProcess,
) -> None:
    operation = sending()
    async with cutting_proxy(server.port) as proxy:
        running = asyncio.create_task(subscribe(proxy, operation, retryRefused=True))
        await proxy.until_forwarded(2_000)
        await proxy.refuse_connections()
        await proxy.accept_connections()
        outcome = await running
    await check_sent_once(server, operation, outcome["operations"][0])


async def test_a_client_that_resumes_a_wrong_text_and_is_cut_off_ends_with_the_exact_text(
    server: ServerProcess,
) -> None:
    sent = sending()
    async with open_socket(server.url) as socket:
        begun = await socket.follow(SEND, sent["variables"], most_chunks=5)
    wrong = begun.content[:-2] + "wrong"
    resuming = {
        "query": RESUME,
        "variables": {"message": {"id": begun.message_id, "content": wrong}},
        "field": "resumeMessage",
        "content": wrong,
    }
    async with cutting_proxy(server.port) as proxy:
        running = asyncio.create_task(subscribe(proxy, resuming))
        for _ in range(2):
            await proxy.until_forwarded(1_500)
            proxy.cut_connections()
        outcome = await running
    await check_sent_once(server, sent, outcome["operations"][0])


async def test_a_refusal_reaches_the_client_and_is_not_tried_again(server: ServerProcess) -> None:
    refused = {
        "query": RESUME,
        "variables": {"message": {"id": "nothing"}},
        "field": "resumeMessage",
    }
    async with cutting_proxy(server.port) as proxy:
        outcome = await subscribe(proxy, refused)
    [of_one] = outcome["operations"]
    assert [error["extensions"]["code"] for error in of_one["error"]] == ["MESSAGE_NOT_FOUND"]
    assert outcome["connections"] == 1
