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

from graphql_app.app import create_app
from graphql_app.settings import Settings
from tests.end_to_end.test_model_calls import CLEAR, KEY, STOP, asking
from tests.processes import ServerProcess, serving
from tests.providers import failing, saying, scripted_provider, stalling
from tests.wire import PATIENCE_SECONDS, RESUME, SEND, Reply, open_socket

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"graphql_app_{name}", frozenset(labels.items())


STREAMING = key("replies_streaming")
DONE = key("replies_total", status="DONE", code="")


async def samples(server: ServerProcess) -> Samples:
    async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as client:
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


async def test_operations_sockets_and_what_they_are_sent_are_counted() -> None:
    with serving("--completion", "echo", "--word-delay", "0") as server:
        async with open_socket(server.url) as socket:
            reply = await socket.follow(SEND, draft("Grüße an alle"))
            assert reply.message_id is not None
            resume = {"message": {"id": reply.message_id, "content": "Grüße"}}
            resumed = await socket.follow(RESUME, resume, Reply("Grüße"))
            assert resumed.chunks[0]["text"] == " an alle"
            await socket.subscribe("subscription { conversationEvents { __typename } }")
            await socket.receive()
            chunks = len(reply.chunks) + len(resumed.chunks)
            await until_counted(server, {key("sockets"): 1.0, key("sockets_opened_total"): 1.0})
        async with httpx.AsyncClient(base_url=server.http) as client:
            await client.post("/graphql", json={"query": "{ nonsense }"})
        sse = {"kind": "query", "transport": "http", "code": "GRAPHQL_VALIDATION_FAILED"}
        stream = {"kind": "subscription", "transport": "websocket"}
        found = await until_counted(
            server,
            {
                key("operations_total", **stream, code="OK"): 2.0,
                key("operations_total", **stream, code="CUT"): 1.0,
                key("operations_total", **sse): 1.0,
                key("operation_duration_seconds_count", kind="subscription"): 3.0,
                key("sockets"): 0.0,
                key("sockets_closed_total", code="1000"): 1.0,
                key("chunks_sent_total"): float(chunks),
                key("resumes_total"): 1.0,
                key("replayed_bytes_total"): float(len(" an alle")),
                key("followers"): 0.0,
                key("processes"): 1.0,
            },
        )
        assert found[key("bytes_sent_total")] > 100 * chunks
        assert found[key("memory_bytes")] > 10_000_000
        assert found[key("cpu_seconds_total")] > 0
        assert any(name == "graphql_app_build" for name, _ in found)


async def test_what_a_stream_that_still_runs_was_sent_counts_already() -> None:
    with serving("--completion", "echo", "--word-delay", "0.01") as server:
        async with open_socket(server.url) as socket:
            await socket.follow(SEND, draft("word " * 3_000), most_chunks=100)
            found = await samples(server)
            assert found[key("chunks_sent_total")] >= 100
            assert found[key("followers")] == 1
            assert found[key("follower_lag_seconds_count")] >= 1
            assert key(
                "operations_total", kind="subscription", transport="websocket", code="OK"
            ) not in (found)


async def test_a_shared_stores_calls_are_timed_and_all_workers_count_together(
    three: ServerProcess,
) -> None:
    for _ in range(6):
        async with open_socket(three.url) as socket:
            await socket.follow(SEND, draft())
    found = await until_counted(
        three,
        {
            key("sockets"): 0.0,
            key("sockets_opened_total"): 6.0,
            key("processes"): 3.0,
            key("store_seconds_count", method="add"): 6.0,
            key("store_seconds_count", method="finish"): 6.0,
        },
    )
    assert found[key("memory_bytes")] > 3 * 10_000_000


TOKEN = "a-token-of-prometheus"


@pytest.mark.parametrize(
    ("environment", "header", "status"),
    [
        ({"GRAPHQL_APP_METRICS_TOKEN": TOKEN}, "", 401),
        ({"GRAPHQL_APP_METRICS_TOKEN": TOKEN}, f"Bearer {TOKEN}x", 401),
        ({"GRAPHQL_APP_METRICS_TOKEN": TOKEN}, f"Basic {TOKEN}", 401),
        ({"GRAPHQL_APP_METRICS_TOKEN": TOKEN}, f"Bearer {TOKEN}", 200),
        (
            {"GRAPHQL_APP_METRICS_TOKEN": TOKEN, "GRAPHQL_APP_PRODUCTION": "1"},
            f"bearer {TOKEN}",
            200,
        ),
        ({"GRAPHQL_APP_PRODUCTION": "1"}, "", 404),
        ({}, "", 200),
    ],
)
async def test_metrics_are_for_who_has_their_token_and_in_production_for_nobody_else(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], header: str, status: int
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    app = create_app(Settings())
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.get("/metrics", headers={"Authorization": header} if header else {})
    assert answer.status_code == status
    assert TOKEN not in answer.text
