"""What must not leak does not: a word is planted everywhere, everything goes wrong, and then it is
looked for in all that leaves the server, but the answers to those to whom it belongs."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import jwt
import pytest

from graphql_app.messages import Message
from tests.contracts.backends import BACKENDS, Backend
from tests.end_to_end.test_start import ROOT
from tests.processes import ServerProcess, refusing, serving
from tests.servers import PostgresServer, RedisServer
from tests.servers import running as running_store
from tests.test_tracing import Collector
from tests.tokens import claims
from tests.wire import RESUME, SEND, raw_connection

CANARY = re.compile("kanarie", re.IGNORECASE)

SECRET = "kanarie-of-the-jwt-secret-0123456789abcdef"
METRICS_TOKEN = "kanarie-of-the-metrics-token"
OWNER_KEY = "kanarie-of-the-owner-key"
ENVIRONMENT = {
    "GRAPHQL_APP_JWT_SECRET": SECRET,
    "GRAPHQL_APP_METRICS_TOKEN": METRICS_TOKEN,
    "GRAPHQL_APP_LOG_OWNER_KEY": OWNER_KEY,
    "GRAPHQL_APP_SYSTEM_PROMPT": "kanarie of the system prompt",
    "OPENAI_API_KEY": "kanarie-of-the-api-key",
    "PYTHONASYNCIODEBUG": "1",
}
COMPLETION = ("--completion", "tests.end_to_end.test_canary:complete")

OPERATIONS = (
    "query KanarieName { kanarieAlias: messages { kanarieField: id } }",
    '{ message(id: "none") { id content } }',
    "{ conversations { id title } }",
    '{ messages(before: "none") { id } }',
    'mutation { kanarieAlias: stopMessage(id: "none") { id } }',
    "mutation { clearMessages }",
    '{ kanarieField(kanarie: "kanarie") }',
    "{ kanarie",
    'query($kanarie: Int = "kanarie") { messages(last: $kanarie) { id } }',
    "subscription { conversationEvents { kanarieAlias: __typename } }",
    'subscription { resumeMessage(message: {id: "none", content: "kanarie"}) { text } }',
    'subscription { sendMessage(message: {id: "", content: "kanarie"}) { text } }',
)
FRAMES = (
    "kanarie",
    '"kanarie"',
    '{"type": "kanarie"}',
    '{"type": "subscribe", "id": {"kanarie": 1}}',
    '{"type": "subscribe", "id": "1", "payload": {"query": ["kanarie"]}}',
    '{"type": "connection_init", "payload": "kanarie"}',
)


async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
    """Says canaries, and fails as its prompt says, with canaries in every word."""
    prompt = history[-1].content
    yield "kanarie of a reply "
    if "raise" in prompt:
        try:
            int(prompt)
        except ValueError as error:
            raise RuntimeError(f"cannot answer {prompt!r}") from error
    if "group" in prompt:
        raise ExceptionGroup(prompt, [KeyError(prompt), OSError(prompt)])
    if "lost" in prompt:
        task = asyncio.create_task(_fail(prompt))
        await asyncio.wait({task})
        del task  # Nobody asks what it raised.
    if "callback" in prompt:
        asyncio.get_running_loop().call_soon(int, prompt)
    if "slow" in prompt:
        for _ in range(200):
            yield "kanarie "
            await asyncio.sleep(0.02)
    if "type" in prompt:
        yield {prompt: prompt}  # type: ignore[misc]
    yield "kanarie"


async def _fail(prompt: str) -> None:
    raise RuntimeError(prompt)


def token(owner: str = "kanarie-of-an-owner@example.org", **changed: Any) -> str:
    return jwt.encode({**claims(owner), **changed}, SECRET, "HS256")


def draft(id: str, content: str) -> dict[str, Any]:
    return {"message": {"id": id, "content": f"kanarie of a prompt: {content}"}}


async def drive(server: ServerProcess) -> str:
    """Does everything, right and wrong; returns all that somebody else was answered."""
    mine = {
        "Authorization": f"Bearer {token()}",
        "X-Kanarie": "kanarie",
        "X-Request-Id": "kanarie id",
    }
    others: list[str] = []
    async with httpx.AsyncClient(base_url=server.http, timeout=30) as client:
        for query in OPERATIONS:
            for accept in ("application/json", "text/event-stream"):
                if "conversationEvents" in query and accept == "text/event-stream":
                    continue  # It would go on for ever.
                body: dict[str, Any] = {"query": query, "operationName": None, "variables": {}}
                await client.post("/graphql", json=body, headers={**mine, "accept": accept})
        for number, content in enumerate(("plain", "raise", "group", "lost", "callback", "type")):
            body = {"query": SEND, "variables": draft(f"m{number}", content)}
            await client.post(
                "/graphql", json=body, headers={**mine, "accept": "text/event-stream"}
            )
        for wrong in (
            {"query": SEND, "variables": {"message": {"id": "1", "content": {"kanarie": 1}}}},
            {"query": SEND, "variables": {"message": "kanarie"}},
            {"query": "{ __typename }", "operationName": "kanarie"},
            {"query": "{ __typename }", "extensions": ["kanarie"]},
        ):
            await client.post("/graphql", json=wrong, headers=mine)
        await client.post("/graphql", content=b"kanarie", headers=mine)
        await client.get("/graphql?query=kanarie", headers=mine)
        await client.get("/kanarie?kanarie=kanarie", headers=mine)
        # Others, who must not be answered with what is not theirs.
        for bad in (
            token("other"),
            token(exp=1),
            jwt.encode(claims("kanarie"), "another secret, kanarie, 0123456789abcdef", "HS256"),
            "kanarie.kanarie.kanarie",
        ):
            header = {"Authorization": f"Bearer {bad}"}
            for query in ("{ messages { id content } }", "{ conversations { id title } }"):
                answer = await client.post("/graphql", json={"query": query}, headers=header)
                others.append(answer.text)
            resume = {"query": RESUME, "variables": {"message": {"id": "m0"}}}
            answer = await client.post(
                "/graphql", json=resume, headers={**header, "accept": "text/event-stream"}
            )
            others.append(answer.text)
        pages = [await client.get(path) for path in ("/", "/healthz", "/readyz", "/metrics")]
        others.extend(page.text for page in pages)
    for frame in FRAMES:
        async with raw_connection(server.url) as connection:
            await connection.send(frame)
            await connection.wait_closed()
    for authorization in (f"Bearer {token()}", f"Bearer {token(exp=1)}", "Bearer kanarie"):
        async with raw_connection(server.url) as connection:
            init = {"type": "connection_init", "payload": {"authorization": authorization}}
            await connection.send(json.dumps(init))
            try:
                await connection.recv()
            except Exception:
                continue
            for number, query in enumerate((*OPERATIONS, SEND)):
                payload = {"query": query, "variables": draft("slow", "slow")}
                subscribe = {"id": f"{number}", "type": "subscribe", "payload": payload}
                await connection.send(json.dumps(subscribe))
            for _ in range(20):
                await connection.recv()
    return "\n".join(others)


async def metrics_of(server: ServerProcess) -> str:
    header = {"Authorization": f"Bearer {METRICS_TOKEN}"}
    async with httpx.AsyncClient(base_url=server.http, timeout=30) as client:
        answer = await client.get("/metrics", headers=header)
    assert answer.status_code == 200
    return answer.text


def check(name: str, text: str) -> None:
    assert text, name
    found = CANARY.search(text)
    if found is not None:
        raise AssertionError(f"{name}: …{text[max(found.start() - 300, 0) : found.end() + 100]}…")


@pytest.mark.parametrize("format", ["human", "json"])
@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.id)
async def test_nothing_that_is_a_secret_or_somebodys_words_leaves_the_server(
    backend: Backend, format: str, tmp_path: Path
) -> None:
    backend.require()
    with backend.serve(tmp_path) as url, Collector() as collector:
        Thread(target=collector.serve_forever, daemon=True).start()
        environment = {
            **ENVIRONMENT,
            "GRAPHQL_APP_OTEL": "1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        }
        options = ("--store", url, "--log-format", format, *COMPLETION)
        running = serving(
            *options, environment=environment, directory=ROOT, traceback_is_expected=True
        )
        with running as server:
            check("answers to others", await drive(server))
            check("metrics", await metrics_of(server))
            await asyncio.to_thread(server.terminate)
            log = server.log
        collector.shutdown()
    check("log", log)
    check("traces", b"".join(collector.bodies).decode("latin-1"))
    assert "operation ended" in log
    assert "a completion failed" in log
    if format == "json":
        assert all(isinstance(json.loads(line), dict) for line in log.splitlines())


@pytest.mark.parametrize("kind", [PostgresServer, RedisServer])
async def test_a_store_that_dies_says_nothing_of_what_it_was_given(
    kind: type[PostgresServer | RedisServer], tmp_path: Path
) -> None:
    [backend] = [each for each in BACKENDS if each.id.startswith(kind.__name__[:5].lower())]
    backend.require()
    with running_store(kind(tmp_path)) as store:
        options = ("--store", store.url, *COMPLETION)
        running = serving(
            *options, environment=ENVIRONMENT, directory=ROOT, traceback_is_expected=True
        )
        with running as server:
            mine = {"Authorization": f"Bearer {token()}", "accept": "text/event-stream"}
            async with httpx.AsyncClient(base_url=server.http, timeout=30) as client:
                body = {"query": SEND, "variables": draft("m1", "slow")}
                async with client.stream("POST", "/graphql", json=body, headers=mine) as stream:
                    await anext(stream.aiter_bytes())
                    store.kill()
                    for query in OPERATIONS[:6]:
                        await client.post("/graphql", json={"query": query}, headers=mine)
                    body = {"query": SEND, "variables": draft("m2", "plain")}
                    answer = await client.post("/graphql", json=body, headers=mine)
                    assert "STORE_UNAVAILABLE" in answer.text
                check("readiness", (await client.get("/readyz")).text)
            check("metrics", await metrics_of(server))
            check("log", server.log)
            assert " is away: " in server.log


async def test_the_canary_would_be_found() -> None:
    environment = {**ENVIRONMENT, "GRAPHQL_APP_LOG_CONTENT": "1"}
    running = serving(
        *COMPLETION, environment=environment, directory=ROOT, traceback_is_expected=True
    )
    with running as server:
        await drive(server)
        log = server.log
    assert "log_content is on" in log
    assert "cannot answer 'kanarie of a prompt: raise'" in log
    for secret in (SECRET, METRICS_TOKEN, OWNER_KEY, "kanarie-of-the-api-key", token()):
        assert secret not in log


@pytest.mark.parametrize(
    "environment",
    [
        {"GRAPHQL_APP_JWT_SECRET": "kanarie"},
        {"GRAPHQL_APP_JWT_PUBLIC_KEY": "kanarie"},
        {"GRAPHQL_APP_STORE": "redis://kanarie:kanarie@127.0.0.1:9/0"},
        {"GRAPHQL_APP_STORE": "postgresql://me:kanarie@127.0.0.1:9/chat"},
        {"GRAPHQL_APP_STORE": "mysql://me:kanarie@127.0.0.1/chat"},
    ],
)
def test_a_server_that_cannot_start_does_not_say_its_secrets(environment: dict[str, str]) -> None:
    refused = refusing(environment=environment)
    assert refused.returncode in (1, 2)
    assert "kanarie" not in refused.stdout + refused.stderr.replace("redis://kanarie:***", "")
