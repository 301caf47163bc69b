"""Spans of OpenTelemetry: one for each operation and one for each reply, and none for a word.

    (the client's, or a proxy's) ─▶ subscription sendMessage ─▶ chat gpt-5-mini

A reply's span is a child of that of the operation that began it, and outlives it. Names are those
of the conventions for generative AI. OpenTelemetry is an extra, and imported only when it is asked
for; without it nothing here costs more than looking at one variable. Where and how spans are sent
is said by the usual variables (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SERVICE_NAME, …).
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from graphql_app.errors import ConfigurationError
from graphql_app.logs import content_is_shown
from graphql_app.messages import Message, Usage

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer

SERVICE = "graphql-app"

FAULTS = frozenset({"INTERNAL_SERVER_ERROR", "STORE_UNAVAILABLE"})
"""Codes of operations that are the server's fault; all others are their client's affair."""

PROVIDERS = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "google": "gcp.gemini",
    "google-gla": "gcp.gemini",
    "google-vertex": "gcp.vertex_ai",
    "mistral": "mistral_ai",
    "openai-chat": "openai",
    "openai-responses": "openai",
    "xai": "x_ai",
}
"""What the conventions call a provider that we call differently."""


class Tracing:
    """Begins and ends spans."""

    def __init__(self, tracer: "Tracer", completion: str, provider: str | None) -> None:
        self._tracer = tracer
        self._provider = SERVICE if provider is None else PROVIDERS.get(provider, provider)
        self._model = completion if provider is None else completion.partition(":")[2]

    def operation_began(self, carrier: Mapping[str, str]) -> "Span":
        from opentelemetry import context, trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        parent = TraceContextTextMapPropagator().extract(carrier, context.Context())
        return self._tracer.start_span("operation", parent, trace.SpanKind.SERVER)

    def reply_began(self, id: str) -> "Span":
        from opentelemetry import trace

        is_elsewhere = self._provider != SERVICE
        return self._tracer.start_span(
            f"chat {self._model}",
            kind=trace.SpanKind.CLIENT if is_elsewhere else trace.SpanKind.INTERNAL,
            attributes={
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": self._provider,
                "gen_ai.request.model": self._model,
                "graphql_app.reply": id,
            },
        )


_tracing: Tracing | None = None


def check_installed() -> None:
    """Raises ConfigurationError if the extra is not there."""
    for package in ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"):
        try:
            is_there = find_spec(package) is not None
        except ModuleNotFoundError:
            is_there = False
        if not is_there:
            raise ConfigurationError(
                f"otel: traces need the package {package}; "
                "install graphql-app with the extra [otel]."
            )


@asynccontextmanager
async def exporting(
    completion: str, provider: str | None, exporter: "SpanExporter | None" = None
) -> AsyncIterator[None]:
    """Sends spans for as long as it is entered; what is left is sent at the end.

    Args:
        completion: what answers, as the setting calls it.
        provider: of the model that it is; None: it is something else.
        exporter: where spans go; None: as the environment says, over OTLP and HTTP.
    """
    global _tracing
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    if exporter is None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter()
    name = os.environ.get("OTEL_SERVICE_NAME") or SERVICE
    resource = Resource.create({"service.name": name, "service.version": version(SERVICE)})
    spans = TracerProvider(resource=resource)
    spans.add_span_processor(BatchSpanProcessor(exporter))
    _tracing = Tracing(spans.get_tracer("graphql_app", version(SERVICE)), completion, provider)
    try:
        yield
    finally:
        _tracing = None
        await asyncio.to_thread(spans.shutdown)


def operation_began(carrier: Mapping[str, str]) -> "Span | None":
    """Begins the span of an operation, which is current for this task from now on.

    Args:
        carrier: headers of the request, in small letters; of them, `traceparent` counts.
    """
    return None if _tracing is None else _tracing.operation_began(carrier)


def make_current(span: "Span | None") -> None:
    """Makes what this task begins, and tasks that it begins, children of a span."""
    if span is not None:
        from opentelemetry import context, trace

        context.attach(trace.set_span_in_context(span))


def operation_ended(span: "Span | None", name: str, facts: Mapping[str, object]) -> None:
    """Ends the span of an operation.

    Args:
        facts: those of the log; `code` is among them.
    """
    if span is None:
        return
    span.update_name(name)
    code = str(facts["code"])
    if kind := facts.get("kind"):
        span.set_attribute("graphql.operation.type", str(kind))
    for fact in ("request", "transport", "fields", "owner", "code", "chunks", "bytes"):
        if (value := facts.get(fact)) is not None:
            is_number = isinstance(value, int)
            span.set_attribute(f"graphql_app.{fact}", value if is_number else str(value))  # type: ignore[arg-type]
    if code not in ("OK", "CUT"):
        _failed(span, code, is_fault=code in FAULTS)
    span.end()


def reply_began(id: str) -> "Span | None":
    """Begins the span of a reply, a child of what is current."""
    return None if _tracing is None else _tracing.reply_began(id)


def reply_ended(
    span: "Span | None",
    ended: Message | None,
    usage: Usage | None,
    history: Sequence[Message] = (),
) -> None:
    """Ends the span of a reply.

    Args:
        ended: how it ended; None: it is gone.
        history: what it answers; a part of the span only if content may be shown.
    """
    if span is None:
        return
    usage = usage or Usage()
    facts = {
        "gen_ai.response.model": usage.model,
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "graphql_app.time_to_first_token": usage.time_to_first_token,
        "graphql_app.status": ended.status.value if ended else None,
    }
    if content_is_shown() and ended is not None:
        facts["gen_ai.input.messages"] = _shown(history)
        facts["gen_ai.output.messages"] = _shown([ended])
    for name, fact in facts.items():
        if fact is not None:
            span.set_attribute(name, fact)
    if ended is not None and ended.error is not None:
        _failed(span, ended.error.code.value, is_fault=True)
    span.end()


def shows_content() -> bool:
    """Whether spans of replies want to know the history."""
    return _tracing is not None and content_is_shown()


def _failed(span: "Span", code: str, *, is_fault: bool) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_attribute("error.type", code)
    if is_fault:
        span.set_status(Status(StatusCode.ERROR))


def _shown(messages: Sequence[Message]) -> str:
    return json.dumps(
        [
            {
                "role": each.role.value.lower(),
                "parts": [{"type": "text", "content": each.content}],
            }
            for each in messages
        ]
    )
