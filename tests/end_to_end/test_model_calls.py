"""A real server with a model at a scripted provider: what the provider is asked, and when."""

import asyncio
import random
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest

from tests.end_to_end.test_streaming import Wanderer
from tests.processes import ServerProcess, refusing, serving
from tests.providers import Exchange, ScriptedProvider, failing, scripted_provider, stalling
from tests.wire import RESUME, SEND, Reply, open_socket

KEY = "sk-proj-4f5e6d7c8b9a0-secret"
STOP = "mutation ($id: ID!) { stopMessage(id: $id) { status content } }"
CLEAR = "mutation ($id: ID!) { clearMessages(conversationId: $id) }"


async def repeating(exchange: Exchange) -> None:
    """Says the question back, word by word."""
    await exchange.start()
    for word in re.findall(r"\S+\s*", exchange.request.messages[-1][1]):
        await exchange.say(word)
        await asyncio.sleep(0.005)
    await exchange.finish()


@asynccontextmanager
async def asking(
    provider: ScriptedProvider, *options: str, directory: Path | None = None
) -> AsyncIterator[ServerProcess]:
    """A server whose model is at the provider, and whose log must not have the key."""
    environment = {"OPENAI_BASE_URL": provider.url, "OPENAI_API_KEY": KEY}
    running = serving(
        "--completion", "openai:scripted", *options, environment=environment, directory=directory
    )
    server = await asyncio.to_thread(running.__enter__)
    try:
        yield server
        assert KEY not in server.log
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)


@pytest.fixture
async def provider() -> AsyncIterator[ScriptedProvider]:
    async with scripted_provider() as provider:
        yield provider


def draft(content: str) -> dict[str, Any]:
    return {"id": uuid4().hex, "content": content, "conversationId": uuid4().hex}


@pytest.mark.parametrize(
    "options",
    [(), ("--store", "sqlite:///chat.db", "--workers", "2")],
    ids=["memory", "two workers with SQLite"],
)
async def test_over_200_cuts_and_repeats_the_provider_is_asked_once_for_each_message(
    provider: ScriptedProvider, tmp_path: Path, options: tuple[str, ...]
) -> None:
    provider.otherwise = repeating
    messages = [draft(f"{number}: " + "and so it goes on " * 25) for number in range(25)]
    async with asking(provider, *options, directory=tmp_path) as server:
        wanderers = [
            Wanderer(server.url, message, random.Random(number))
            for number, message in enumerate(messages)
        ]
        await asyncio.gather(*(wanderer.wander(cuts=8) for wanderer in wanderers))
        # And once more, when all is over.
        async with open_socket(server.url) as socket:
            for message, wanderer in zip(messages, wanderers, strict=True):
                again = await socket.follow(SEND, {"message": message})
                assert again.message_id == wanderer.reply.message_id
                assert again.content == wanderer.reply.content == message["content"]
    asked = Counter(request.messages[-1][1] for request in provider.requests)
    assert asked == Counter(message["content"] for message in messages)


@pytest.mark.parametrize(("mutation", "named"), [(STOP, "id"), (CLEAR, "conversationId")])
async def test_a_stop_and_a_clear_close_the_providers_request_within_a_second(
    provider: ScriptedProvider, mutation: str, named: str
) -> None:
    provider.will(stalling("Once"))
    message = draft("Tell me a story.")
    async with (
        asking(provider) as server,
        open_socket(server.url) as socket,
        open_socket(server.url) as other,
    ):
        reply = await socket.follow(SEND, {"message": message}, most_chunks=2)
        assert reply.content == "Once"
        ended_at = monotonic()
        result = await other.execute(mutation, {"id": message[named]})
        assert "errors" not in result
        assert await provider.requests[0].until_left() - ended_at < 1


async def test_a_client_that_leaves_closes_nothing(provider: ScriptedProvider) -> None:
    provider.will(repeating)
    message = draft("word " * 100)
    async with asking(provider) as server:
        async with open_socket(server.url) as socket:
            reply = await socket.follow(SEND, {"message": message}, most_chunks=3)
            socket.cut()
        async with open_socket(server.url) as socket:
            resume = {"id": reply.message_id, "content": reply.content}
            reply = await socket.follow(RESUME, {"message": resume}, reply)
        assert (reply.content, reply.status) == (message["content"], "DONE")
    assert len(provider.requests) == 1


async def test_a_failure_has_its_code_its_sentence_and_a_line_in_the_log(
    provider: ScriptedProvider,
) -> None:
    provider.will(failing(401, code="invalid_api_key", message=f"Incorrect API key: {KEY}."))
    async with asking(provider) as server:
        async with open_socket(server.url) as socket:
            reply = await socket.follow(SEND, {"message": draft("Hi")})
        assert reply.status == "ERROR"
        assert reply.error is not None
        assert reply.error["code"] == "COMPLETION_UNAUTHORIZED"
        assert KEY not in reply.error["message"]
        assert "COMPLETION_UNAUTHORIZED: ModelAuthenticationError" in server.log


async def test_the_system_prompt_and_the_newest_messages_are_what_the_model_is_sent(
    provider: ScriptedProvider, tmp_path: Path
) -> None:
    (tmp_path / "prompt.txt").write_text("You are a pirate.\n")
    options = ("--system-prompt-file", "prompt.txt", "--max-history-messages", "3")
    async with (
        asking(provider, *options, directory=tmp_path) as server,
        open_socket(server.url) as socket,
    ):
        reply = Reply()
        for content in ("One", "Two", "Three"):
            message = {"id": content, "content": content, "conversationId": "c"}
            reply = await socket.follow(SEND, {"message": message})
        assert reply.content == "Hello there."
    assert provider.requests[-1].messages == [
        ("system", "You are a pirate."),
        ("user", "Two"),
        ("assistant", "Hello there."),
        ("user", "Three"),
    ]


@pytest.mark.parametrize("options", [(), ("--store", "sqlite:///chat.db", "--workers", "2")])
def test_a_server_whose_model_lacks_its_key_does_not_start(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    environment = {"OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""}
    ended = refusing(
        "--completion",
        "openai:gpt-5-mini",
        *options,
        environment=environment,
        directory=tmp_path,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith(
        "graphql-app: completion: 'openai:gpt-5-mini' needs OPENAI_API_KEY"
    )
    assert "Traceback" not in ended.stderr
