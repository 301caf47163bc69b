"""The code of docs/how-to/apollo.md and urql.md, as it stands there, over broken connections."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from tests.end_to_end.node import need_node, run_script
from tests.processes import ServerProcess
from tests.proxies import CuttingProxy, cutting_proxy
from tests.wire import PATIENCE_SECONDS, SEND, open_socket

CONTENT = "one  two\n\n\U0001f600 drei \u56db " * 50
MESSAGES = "query ($id: ID!) { messages(conversationId: $id) { id role content status } }"

pytestmark = pytest.mark.parametrize("page", ["apollo", "urql"])


@pytest.fixture(autouse=True)
def _node() -> None:
    need_node()


def new_message(content: str = CONTENT) -> dict[str, str]:
    return {"id": uuid4().hex, "content": content, "conversationId": uuid4().hex}


def asked_for(message: dict[str, str]) -> dict[str, Any]:
    """A reply that a page's function sends the message for."""
    return {"message": message, "content": "", "status": "STREAMING"}


async def follow(page: str, proxy: CuttingProxy, reply: dict[str, Any], **more: Any) -> Any:
    """What became of a reply that a page's function follows."""
    async with asyncio.timeout(2 * PATIENCE_SECONDS):
        return await run_script("example.mjs", page, proxy.url, options={"reply": reply, **more})


async def stored_reply(server: ServerProcess, message: dict[str, str]) -> dict[str, Any]:
    """The one reply to a message, which is the first of its conversation."""
    async with open_socket(server.url) as socket:
        found = await socket.execute(MESSAGES, {"id": message["conversationId"]})
    _, reply = found["data"]["messages"]
    return {key: reply[key] for key in ("id", "content", "status")}


async def until_connected_again(proxy: CuttingProxy) -> None:
    before = proxy.connections
    async with asyncio.timeout(PATIENCE_SECONDS):
        while proxy.connections == before:  # noqa: ASYNC110 (the proxy tells nobody)
            await asyncio.sleep(0.05)


def shown_last(outcome: Any) -> dict[str, Any]:
    """The reply as it was shown last, once it is sure that it only ever grew."""
    assert outcome["refused"] is None
    lengths = [len(content) for content in outcome["shown"]]
    assert lengths == sorted(lengths)
    return {key: outcome["reply"][key] for key in ("id", "content", "status")}


async def test_a_reply_that_is_cut_off_again_and_again_is_resumed_by_what_was_shown(
    page: str, server: ServerProcess
) -> None:
    message = new_message()
    async with cutting_proxy(server.port) as proxy:
        running = asyncio.create_task(follow(page, proxy, asked_for(message)))
        for _ in range(3):
            await proxy.until_forwarded(2_000)
            proxy.cut_connections()
        outcome = await running
    assert proxy.connections == 4
    reply = await stored_reply(server, message)
    assert reply["content"] == CONTENT
    assert shown_last(outcome) == reply
    _, *resumes = [request["variables"]["message"] for request in outcome["requests"]]
    assert [resume["id"] for resume in resumes] == 3 * [reply["id"]]
    assert all(resume["content"] in outcome["shown"] for resume in resumes)
    assert "" < resumes[0]["content"] < resumes[1]["content"] < resumes[2]["content"]


async def test_a_message_that_may_not_have_arrived_is_sent_again_and_answered_once(
    page: str, server: ServerProcess
) -> None:
    message = new_message("Hello!")
    async with cutting_proxy(server.port) as proxy:
        running = asyncio.create_task(follow(page, proxy, asked_for(message)))
        # That is the handshake; the message is on its way, or about to be.
        await proxy.until_forwarded(1)
        proxy.cut_connections()
        outcome = await running
    assert proxy.connections == 2
    assert shown_last(outcome) == await stored_reply(server, message)


async def test_a_connection_that_died_in_silence_is_noticed_and_replaced(
    page: str, server: ServerProcess
) -> None:
    message = new_message()
    async with cutting_proxy(server.port) as proxy:
        running = asyncio.create_task(follow(page, proxy, asked_for(message)))
        await proxy.until_forwarded(2_000)
        proxy.stall()
        await until_connected_again(proxy)
        proxy.resume()
        outcome = await running
    assert shown_last(outcome) == await stored_reply(server, message)


async def test_a_text_that_is_wrong_is_corrected(page: str, server: ServerProcess) -> None:
    message = new_message("one two three")
    async with open_socket(server.url) as socket:
        begun = await socket.follow(SEND, {"message": message}, most_chunks=2)
    wrong = {"id": begun.message_id, "content": "one, two, three, four", "status": "STREAMING"}
    async with cutting_proxy(server.port) as proxy:
        outcome = await follow(page, proxy, wrong)
    assert outcome["reply"]["content"] == "one two three"
    assert outcome["reply"]["status"] == "DONE"


async def test_a_reply_is_stopped_in_the_middle(page: str, server: ServerProcess) -> None:
    message = new_message()
    async with cutting_proxy(server.port) as proxy:
        outcome = await follow(page, proxy, asked_for(message), stopAfter=20)
    reply = shown_last(outcome)
    assert reply == await stored_reply(server, message)
    assert reply["status"] == "STOPPED"
    assert CONTENT.startswith(reply["content"])
    assert len(reply["content"]) < len(CONTENT)


async def test_a_refusal_is_thrown_with_its_code(page: str, server: ServerProcess) -> None:
    unknown = {"id": "nothing", "content": "", "status": "STREAMING"}
    async with cutting_proxy(server.port) as proxy:
        outcome = await follow(page, proxy, unknown)
    assert outcome["refused"] == "MESSAGE_NOT_FOUND"
    assert proxy.connections == 1


async def test_the_example_of_its_use_prints_a_reply(page: str, server: ServerProcess) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        outcome = await run_script("example.mjs", page, server.url)
    assert outcome["printed"][-1] == "Hello!"
