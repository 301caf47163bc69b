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
from collections.abc import Callable, Iterable, Mapping
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

NOT_REFUSED = frozenset({OK, CUT, "INTERNAL_SERVER_ERROR", "STORE_UNAVAILABLE"})
"""Codes of operations that were served, or should have been; what has another one was refused."""

LINES_PER_SECOND = 200
"""How many lines a process may write, in the long run: 6 GB a day."""

AT_ONCE_SECONDS = 100
"""For how many seconds' worth of lines it may be ahead of that."""

REFUSED_SHARE = 0.1
"""How many of them may tell what was refused, which costs a client nothing."""

REPORT_SECONDS = 60.0
"""How often it is told how many lines were left out."""

GIVEN_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)


def request_id(given: str | None) -> str:
    """The id that a client, or a proxy, gave to its request, if that can be told; or a new one."""
    if given is not None and GIVEN_ID.fullmatch(given) and not looks_like_a_key(given):
        return given
    return secrets.token_hex(8)


class Ration:
    """How many lines may be written: a bucket that is filled at a rate; 0: any number."""

    def __init__(self, per_second: float, clock: Callable[[], float]) -> None:
        self.left_out = 0
        self._per_second = per_second
        self._clock = clock
        self._most = per_second * AT_ONCE_SECONDS
        self._level = self._most
        self._at = clock()

    def take(self) -> bool:
        """Whether one more may be written."""
        if not self._per_second:
            return True
        now = self._clock()
        self._level = min(self._level + (now - self._at) * self._per_second, self._most)
        self._at = now
        if self._level < 1:
            self.left_out += 1
            return False
        self._level -= 1
        return True


class Journal:
    """Takes what operations tell.

    Nobody can fill the disk with it: lines have a ration, and a smaller one for what was refused,
    so that whoever is refused all the time does not hide what others do.

    Args:
        is_logged: each operation is a line of the log.
        lines_per_second: the most of them, in the long run; 0: any number.
        owner_key: with which owners are hashed, so that lines of one can be found, and nobody can
            try out who it is.
    """

    def __init__(
        self,
        *,
        is_logged: bool = True,
        lines_per_second: float = LINES_PER_SECOND,
        owner_key: bytes | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._served = Ration(lines_per_second, clock)
        self._refused = Ration(lines_per_second * REFUSED_SHARE, clock)
        self._clock = clock
        self._reported_at = clock() - REPORT_SECONDS
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
        self._report()

    def has_room(self, code: str) -> bool:
        """Whether there is a line for an operation that ended with a code."""
        return self.is_logged and (self._served if code in NOT_REFUSED else self._refused).take()

    def _report(self) -> None:
        left_out = {"served": self._served.left_out, "refused": self._refused.left_out}
        now = self._clock()
        if not any(left_out.values()) or now - self._reported_at < REPORT_SECONDS:
            return
        self._reported_at = now
        self._served.left_out = self._refused.left_out = 0
        tell(logger, "operations were left out", left_out, level=logging.WARNING)


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
        has_line = self._journal.has_room(self.code)
        if not has_line and self.span is None:
            return
        facts = self._facts(seconds)
        if has_line:
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
