"""What Prometheus reads of a real server, and what it must not find there."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.end_to_end.test_model_calls import CLEAR, KEY, STOP, asking
from tests.processes import ServerProcess, serving
from tests.providers import failing, saying, scripted_provider, stalling
from tests.wire import PATIENCE_SECONDS, SEND, open_socket

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"graphql_app_{name}", frozenset(labels.items())


STREAMING = key("replies_streaming")
DONE = key("replies_total", status="DONE", code="")


async def samples(server: ServerProcess) -> Samples:
    async with httpx.AsyncClient() as client:
        response = await client.get(f"{server.http}/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


async def until_counted(server: ServerProcess, expected: Samples) -> Samples:
    """What is counted once that is among it: a reply is counted a moment after its end."""
    found: Samples = {}
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while not expected.items() <= found.items():
        missing = dict(expected.items() - found.items())
        assert asyncio.get_running_loop().time() < deadline, missing
        await asyncio.sleep(0.02)
        found = await samples(server)
    return found


def draft(content: str = "Hi") -> dict[str, Any]:
    return {"message": {"id": uuid4().hex, "content": content}}


async def test_replies_are_counted_by_how_they_ended_and_tokens_by_model() -> None:
    secret = "my little secret"
    async with scripted_provider() as provider, asking(provider) as server:
        provider.will(
            saying("One", " two", usage=(7, 5)),
            saying("Three", usage=(70, 50)),
            failing(401, code="invalid_api_key"),
            stalling("Four"),
            stalling("Five"),
        )
        async with open_socket(server.url) as socket, open_socket(server.url) as other:
            for _ in range(3):
                await socket.follow(SEND, draft(secret))
            await until_counted(server, {STREAMING: 0.0, DONE: 2.0})
            stopped = draft(secret)
            await socket.follow(SEND, stopped, most_chunks=2)
            assert (await samples(server))[STREAMING] == 1
            await other.execute(STOP, {"id": stopped["message"]["id"]})
        async with open_socket(server.url) as socket, open_socket(server.url) as other:
            await socket.follow(SEND, draft(secret), most_chunks=2)
            await other.execute(CLEAR, {"id": "default"})
        found = await until_counted(
            server,
            {
                STREAMING: 0.0,
                DONE: 2.0,
                key("replies_total", status="ERROR", code="COMPLETION_UNAUTHORIZED"): 1.0,
                key("replies_total", status="STOPPED", code=""): 1.0,
                key("replies_total", status="GONE", code=""): 1.0,
                key("tokens_total", model="scripted-2026", kind="input"): 77.0,
                key("tokens_total", model="scripted-2026", kind="output"): 55.0,
                key("time_to_first_token_seconds_count", model="scripted-2026"): 4.0,
                key("reply_duration_seconds_count", model="scripted-2026"): 4.0,
                key("reply_duration_seconds_count", model="scripted"): 1.0,  # It was refused.
            },
        )
    assert not any(word in str(found) for word in (secret, KEY))


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    options = ("--workers", "3", "--store", f"sqlite:///{tmp_path / 'chat.db'}")
    running = serving(*options, "--completion", "echo", "--word-delay", "0.01")
    server = await asyncio.to_thread(running.__enter__)
    try:
        yield server
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)


async def test_whichever_worker_is_asked_answers_for_all(three: ServerProcess) -> None:
    for _ in range(12):  # The system deals connections out to the workers.
        async with open_socket(three.url) as socket:
            await socket.follow(SEND, draft())
    await until_counted(three, {STREAMING: 0.0, DONE: 12.0})
    for _ in range(10):
        assert (await samples(three))[DONE] == 12


async def test_what_a_killed_worker_was_doing_is_forgotten_and_what_it_did_is_not(
    three: ServerProcess,
) -> None:
    async with open_socket(three.url) as socket:
        await socket.follow(SEND, draft())
    await until_counted(three, {STREAMING: 0.0, DONE: 1.0})
    async with open_socket(three.url) as socket:
        await socket.follow(SEND, draft("and so it goes on " * 1_000), most_chunks=2)
        assert (await samples(three))[STREAMING] == 1
        for pid in three.workers():
            os.kill(pid, signal.SIGKILL)
    await until_counted(three, {STREAMING: 0.0, DONE: 1.0})
