"""Spans: which there are, what belongs to what, and what is in them."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from graphql_app import logs, tracing
from graphql_app.app import create_app
from graphql_app.completions import provider_of
from graphql_app.errors import CompletionError, ConfigurationError
from graphql_app.messages import Message, Usage
from graphql_app.settings import Settings
from tests.api.test_journal import http
from tests.api.test_transport import socket_to
from tests.processes import refusing, serving
from tests.wire import SEND, eventually, open_socket

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
PROMPT, ANSWER = "a secret question", "a secret answer"


async def complete(history: Sequence[Message]) -> AsyncGenerator[str | Usage, None]:
    yield ANSWER
    yield Usage("model-1", 7, 5)
    if "fail" in history[-1].content:
        raise CompletionError("COMPLETION_REFUSED", "Not that.")


class Spans(InMemorySpanExporter):
    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.get_finished_spans() if span.name == name]


@asynccontextmanager
async def traced(
    spans: Spans, completion: str = "tests.test_tracing:complete"
) -> AsyncIterator[Any]:
    app = create_app(Settings(completion=completion, word_delay=0))
    async with (
        tracing.exporting(completion, provider_of(completion), spans),
        app.router.lifespan_context(app),
    ):
        yield app


def draft(content: str = PROMPT) -> dict[str, Any]:
    return {"message": {"id": "m1", "content": content}}


async def test_a_reply_is_a_child_of_its_send_and_that_of_what_the_client_says() -> None:
    spans = Spans()
    async with traced(spans) as app, http(app) as client:
        body = {"query": SEND, "variables": draft()}
        headers = {"accept": "text/event-stream", "traceparent": TRACEPARENT}
        await client.post("/graphql", json=body, headers=headers)
    [send] = spans.named("subscription sendMessage")
    [reply] = spans.named("chat tests.test_tracing:complete")
    assert len(spans.get_finished_spans()) == 2
    assert send.context is not None
    assert send.parent is not None
    assert reply.parent is not None
    assert f"{send.context.trace_id:032x}" == TRACE
    assert f"{send.parent.span_id:016x}" == PARENT
    assert reply.parent.span_id == send.context.span_id
    assert send.attributes is not None
    assert send.attributes["graphql.operation.type"] == "subscription"
    assert send.attributes["graphql_app.transport"] == "sse"
    assert dict(reply.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "graphql-app",
        "gen_ai.request.model": "tests.test_tracing:complete",
        "gen_ai.response.model": "model-1",
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 5,
        "graphql_app.reply": (reply.attributes or {})["graphql_app.reply"],
        "graphql_app.status": "DONE",
        "graphql_app.time_to_first_token": (reply.attributes or {})[
            "graphql_app.time_to_first_token"
        ],
    }
    assert not any(span.events for span in spans.get_finished_spans())


async def test_on_a_socket_each_operation_is_a_span_of_its_own() -> None:
    spans = Spans()
    async with traced(spans) as app, socket_to(app) as socket:
        for id, extensions in (("1", {"traceparent": TRACEPARENT}), ("2", None)):
            payload = {"query": "{ __typename }", "extensions": extensions}
            await socket.send({"id": id, "type": "subscribe", "payload": payload})
            for _ in range(2):
                await socket.receive()
        await socket.follow(SEND, draft())
    first, second = spans.named("query __typename")
    [send] = spans.named("subscription sendMessage")
    [reply] = [span for span in spans.get_finished_spans() if span.name.startswith("chat ")]
    assert first.parent is not None
    assert f"{first.parent.span_id:016x}" == PARENT
    assert second.parent is None
    assert send.parent is None
    assert reply.parent is not None
    assert send.context is not None
    assert reply.parent.span_id == send.context.span_id


async def test_a_failure_is_told_by_its_code_and_is_an_error_if_it_is_the_servers() -> None:
    spans = Spans()
    async with traced(spans) as app, socket_to(app) as socket:
        await socket.follow(SEND, draft("fail"))
        await socket.subscribe('{ message(id: "") { id } }')
        await socket.receive()
        await eventually(lambda: bool(spans.named("query message")))
    [reply] = [span for span in spans.get_finished_spans() if span.name.startswith("chat ")]
    [query] = spans.named("query message")
    assert (reply.attributes or {})["error.type"] == "COMPLETION_REFUSED"
    assert not reply.status.is_ok
    assert (query.attributes or {})["error.type"] == "BAD_USER_INPUT"
    assert query.status.is_unset


@pytest.mark.parametrize("is_told", [False, True])
async def test_what_is_said_is_in_no_span_unless_told(
    monkeypatch: pytest.MonkeyPatch, is_told: bool
) -> None:
    monkeypatch.setattr(logs, "_content_is_shown", is_told)
    spans = Spans()
    async with traced(spans) as app, socket_to(app) as socket:
        await socket.follow(SEND, draft())
    told = "".join(str(dict(span.attributes or {})) for span in spans.get_finished_spans())
    assert (PROMPT in told, ANSWER in told) == (is_told, is_told)
    if is_told:
        [reply] = [span for span in spans.get_finished_spans() if span.name.startswith("chat ")]
        said = json.loads(str((reply.attributes or {})["gen_ai.input.messages"]))
        assert said == [{"role": "user", "parts": [{"type": "text", "content": PROMPT}]}]


@pytest.mark.parametrize(
    ("completion", "provider", "model"),
    [
        ("echo", "graphql-app", "echo"),
        ("openai:gpt-5-mini", "openai", "gpt-5-mini"),
        ("google-gla:gemini-2.5-flash", "gcp.gemini", "gemini-2.5-flash"),
        ("ollama:qwen3:8b", "ollama", "qwen3:8b"),
        ("gateway/openai:gpt-5", "gateway/openai", "gpt-5"),
        ("package.module:attribute", "graphql-app", "package.module:attribute"),
        ("module:attribute", "graphql-app", "module:attribute"),
    ],
)
async def test_provider_and_model_are_those_of_the_conventions(
    completion: str, provider: str, model: str
) -> None:
    spans = Spans()
    async with tracing.exporting(completion, provider_of(completion), spans):
        tracing.reply_ended(tracing.reply_began("r1"), None, None)
    [span] = spans.get_finished_spans()
    assert span.name == f"chat {model}"
    assert (span.attributes or {})["gen_ai.provider.name"] == provider


def test_nothing_is_imported_and_nothing_begun_unless_it_is_asked_for() -> None:
    script = (
        "import sys; from graphql_app import server, tracing; "
        "from graphql_app.app import create_app; from graphql_app.settings import Settings; "
        "create_app(Settings(completion='echo')); "
        "assert tracing.operation_began({}) is None and tracing.reply_began('r') is None; "
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"


def test_without_the_extra_traces_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"^otel: .*with the extra \[otel\]\.$"):
        create_app(Settings(otel=True))


class Collector(ThreadingHTTPServer):
    """Takes spans as a collector of OpenTelemetry does, over OTLP and HTTP."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.paths: list[str] = []
        self.bodies: list[bytes] = []

    @property
    def spans(self) -> list[Any]:
        requests = [ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        return [
            span
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        self.server.paths.append(self.path)
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


async def test_a_real_server_sends_its_spans_to_a_collector_and_the_last_at_its_end() -> None:
    with Collector() as collector:
        Thread(target=collector.serve_forever, daemon=True).start()
        environment = {
            "GRAPHQL_APP_OTEL": "1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
            "OTEL_SERVICE_NAME": "chat-of-mine",
        }
        options = ("--completion", "echo", "--word-delay", "0")
        with serving(*options, environment=environment) as server:
            async with open_socket(server.url) as socket:
                await socket.follow(SEND, draft())
            await asyncio.to_thread(server.terminate)
        collector.shutdown()
    assert set(collector.paths) == {"/v1/traces"}
    assert {span.name for span in collector.spans} == {"subscription sendMessage", "chat echo"}
    bodies = b"".join(collector.bodies)
    assert b"chat-of-mine" in bodies
    assert PROMPT.encode() not in bodies


async def test_a_collector_that_is_away_harms_nobody() -> None:
    environment = {
        "GRAPHQL_APP_OTEL": "1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
    }
    with serving("--completion", "echo", environment=environment) as server:
        async with httpx.AsyncClient(base_url=server.http) as client:
            answer = await client.post("/graphql", json={"query": "{ __typename }"})
        assert answer.json() == {"data": {"__typename": "Query"}}
        await asyncio.to_thread(server.terminate)


def test_a_wrong_switch_is_refused() -> None:
    refused = refusing(environment={"GRAPHQL_APP_OTEL": "maybe"})
    assert refused.returncode == 2
    assert "otel: " in refused.stderr
