"""What is told of each operation when it is over: one line of the log, and counts.

    Journal ─▶ Entry ─▶ began ─▶ is (its kind and fields) ─▶ about (its ids) ─▶ failed … ─▶ end

Nothing that a client can write freely is in an entry but ids, which the log masks and cuts: not the
operation's name, no alias, no argument.
"""

import hashlib
import logging
import re
import secrets
from asyncio import Task
from collections.abc import Iterable, Mapping
from functools import lru_cache
from time import monotonic
from typing import TYPE_CHECKING, Any

from graphql import GraphQLError, OperationDefinitionNode, OperationType

from graphql_app import metrics, tracing
from graphql_app.api.requests import Document
from graphql_app.logs import tell
from graphql_app.masking import looks_like_a_key

if TYPE_CHECKING:
    from opentelemetry.trace import Span

logger = logging.getLogger("graphql_app.operations")

REQUEST_ID = "X-Request-Id"

NOTHING: Mapping[str, str] = {}

OK = "OK"
CUT = "CUT"
"""The code of an operation that did not come to its end, because its client left, or its socket
was closed, or the server shut down."""

OTHER = "OTHER"
"""The code of an error that has none."""

GIVEN_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)


def request_id(given: str | None) -> str:
    """The id that a client, or a proxy, gave to its request, if that can be told; or a new one."""
    if given is not None and GIVEN_ID.fullmatch(given) and not looks_like_a_key(given):
        return given
    return secrets.token_hex(8)


class Journal:
    """Takes what operations tell.

    Args:
        is_logged: each operation is a line of the log.
        owner_key: with which owners are hashed, so that lines of one can be found, and nobody can
            try out who it is.
    """

    def __init__(self, *, is_logged: bool = True, owner_key: bytes | None = None) -> None:
        key = hashlib.blake2s(owner_key or secrets.token_bytes(32)).digest()
        self.is_logged = is_logged
        self.streams: set[Entry] = set()

        @lru_cache(1_024)
        def hashed(owner: str) -> str:
            text = owner.encode(errors="surrogatepass")
            return hashlib.blake2s(text, key=key, digest_size=6).hexdigest()

        self.hashed = hashed

    def entry(self, request: str, transport: str, carrier: Mapping[str, str] = NOTHING) -> "Entry":
        """Begins to tell of an operation.

        Args:
            request: the id of the request; of an operation on a socket, that of the socket and,
                behind a slash, its own.
            transport: http, sse, multipart or websocket.
            carrier: may have the `traceparent` of a span that this belongs to.
        """
        return Entry(self, request, transport, tracing.operation_began(carrier))

    def count(self) -> None:
        """Counts what the streams that still run have sent."""
        chunks = size = 0
        for entry in self.streams:
            more_chunks, more_bytes = entry.uncounted()
            chunks += more_chunks
            size += more_bytes
        if chunks:
            metrics.sent(chunks, size)


class Entry:
    """What is told of one operation."""

    __slots__ = (
        "_began_at",
        "_counted",
        "_fields",
        "_journal",
        "bytes_sent",
        "chunks_sent",
        "code",
        "conversation",
        "is_over",
        "kind",
        "message",
        "owner",
        "reply",
        "request",
        "span",
        "transport",
    )

    def __init__(self, journal: Journal, request: str, transport: str, span: "Span | None") -> None:
        self.span = span
        self._journal = journal
        self._began_at = monotonic()
        self._fields: tuple[str, ...] = ()
        self._counted = (0, 0)
        self.request = request
        self.transport = transport
        self.kind: str | None = None
        self.owner = ""
        self.message: str | None = None
        self.conversation: str | None = None
        self.reply: str | None = None
        self.code = OK
        self.chunks_sent = 0
        self.bytes_sent = 0
        self.is_over = False

    def began(self, document: Document, operation: OperationDefinitionNode) -> None:
        """Now it is known what the client wants."""
        self.kind = operation.operation.value
        self._fields = document.root_fields(operation)
        if operation.operation is OperationType.SUBSCRIPTION:
            self._journal.streams.add(self)

    def about(
        self,
        *,
        message: str | None = None,
        conversation: str | None = None,
        reply: str | None = None,
    ) -> None:
        """Tells the ids of what it is about; they may be a client's, unchecked."""
        self.message = message or self.message
        self.conversation = conversation or self.conversation
        self.reply = reply or self.reply

    def failed(self, code: str) -> None:
        """Tells how it failed; what comes first counts."""
        if self.code == OK:
            self.code = code

    def failed_with(self, errors: Iterable[GraphQLError]) -> None:
        """Tells with which errors it failed, if with any."""
        for error in errors:
            self.failed(str((error.extensions or {}).get("code", OTHER)))

    def discard(self) -> None:
        """It was no operation."""
        self.is_over = True

    def task_ended(self, task: "Task[Any]") -> None:
        """Tells that the task of an operation has ended."""
        if task.cancelled():
            self.failed(CUT)
        self.end()

    def end(self) -> None:
        """Tells that it is over; once."""
        if self.is_over:
            return
        self.is_over = True
        self._journal.streams.discard(self)
        if self.chunks_sent:
            metrics.sent(*self.uncounted())
        seconds = monotonic() - self._began_at
        metrics.operation_ended(self.kind, self.transport, self.code, seconds)
        if not self._journal.is_logged and self.span is None:
            return
        facts = self._facts(seconds)
        if self._journal.is_logged:
            tell(logger, "operation ended", facts)
        name = f"{self.kind or 'request'} {' '.join(self._fields)}".rstrip()
        tracing.operation_ended(self.span, name, facts)

    def uncounted(self) -> tuple[int, int]:
        """The chunks and bytes that were sent since this was asked the last time."""
        chunks, size = self._counted
        self._counted = self.chunks_sent, self.bytes_sent
        return self.chunks_sent - chunks, self.bytes_sent - size

    def _facts(self, seconds: float) -> dict[str, object]:
        facts: dict[str, object] = {
            "request": self.request,
            "transport": self.transport,
            "kind": self.kind,
            "fields": " ".join(self._fields) or None,
            "code": self.code,
            "duration": round(seconds, 4),
            "owner": self._journal.hashed(self.owner) if self.owner else None,
            "conversation": self.conversation,
            "message": self.message,
            "reply": self.reply,
        }
        if self.chunks_sent:
            facts["chunks"], facts["bytes"] = self.chunks_sent, self.bytes_sent
        return facts
