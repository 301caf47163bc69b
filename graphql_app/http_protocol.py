"""A connection of the server, as long as HTTP is spoken on it: uvicorn's, with limits.

    waiting ──first byte──▶ receiving ──last byte──▶ answering ──▶ waiting
       └─────────── 15 s ───────┘

uvicorn waits for ever for the rest of a request, keeps headers of any size, and answers what it
cannot read even while it answers something else.
"""

import asyncio
from http import HTTPStatus
from typing import Any

import httptools
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from graphql_app import metrics
from graphql_app.headers import completed
from graphql_app.patience import PROGRESS_BYTES, Deadline, Patience, Unread

MAX_HEAD_BYTES = 64 * 1024
"""The size of a request's target and headers, trailers included."""

MAX_HEADERS = 128

MAX_PIPELINED = 16
"""How many requests may wait for the answer to the one before them."""

GOODBYE_SECONDS = 1.0
"""How long the last words to a client may take."""

PATIENCE = Patience()

INVALID = "Invalid HTTP request received."
TOO_LARGE = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The request's headers are too large."


class RequestProtocol(HttpToolsProtocol):
    """uvicorn's connection, which is closed when a request does not come, and is not read.

    Args:
        patience: how long it is waited for, and how many connections there may be.
    """

    def __init__(self, *args: Any, patience: Patience = PATIENCE, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._patience = patience
        self._deadline: Deadline | None = None
        self._unread: Unread | None = None
        self._running: RequestResponseCycle | None = None
        self._refusal: tuple[HTTPStatus, str] | None = None
        self._is_receiving = False
        self._is_in_body = False
        self._is_deaf = False
        self._head_bytes = 0
        self._body_bytes = 0
        self._silent_bytes = 0

    # The connection.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._patience.connections:
            self._refuse(
                "connections",
                HTTPStatus.SERVICE_UNAVAILABLE,
                "The server has reached its limit of connections; try again later.",
            )
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._call_off()
        # uvicorn tells it the newest only, and lets those before it write on.
        for cycle in (self._running, *(cycle for cycle, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        self.pipeline.clear()
        self.resume_writing()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._unread is None:
            self._unread = Unread(self._patience.unread_seconds, self.transport)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    # Receiving.

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        self._unset_keepalive_if_required()
        if self._deadline is None:
            self._wait()
        self._silent_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._upgrade()
        except httptools.HttpParserError:
            status, sentence = self._refusal or (HTTPStatus.BAD_REQUEST, INVALID)
            self._refuse("malformed", status, sentence)
        else:
            if self._silent_bytes > MAX_HEAD_BYTES:
                # In the middle of a word of that length, which nobody but the parser sees.
                self._refuse("malformed", *TOO_LARGE)
            elif self._is_receiving and self._deadline is None:
                self._wait()  # For the request behind one that is complete.

    def _upgrade(self) -> None:
        self._call_off()
        cycle = self._answering
        if cycle is not None:
            # To something else: it is answered as if it did not ask for that. Or to a socket, where
            # something else is answered still: there will be none.
            self._is_deaf = True
            cycle.keep_alive = False
        elif self._should_upgrade():
            self.handle_websocket_upgrade()
        else:
            self._refuse("malformed", HTTPStatus.BAD_REQUEST, INVALID)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_receiving = True
        self._head_bytes = 0
        self._body_bytes = 0
        self._silent_bytes = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(name + value)
        if self._is_in_body:
            return  # A trailer: it comes too late to be looked at as a header is.
        super().on_header(name, value)
        if len(self.headers) > MAX_HEADERS:
            self._stop(*TOO_LARGE)

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= MAX_PIPELINED:
            self._stop(HTTPStatus.TOO_MANY_REQUESTS, "Too many requests at once.")
        if self.parser.get_http_version() not in ("1.0", "1.1"):
            self._stop(HTTPStatus.BAD_REQUEST, "This server speaks HTTP/1.1.")
        if not self.url.startswith(b"/"):
            self._take_host_from_target()
        if self.parser.should_upgrade() and not self._should_upgrade() and self._has_body():
            # The parser takes the body for the other protocol already.
            self._stop(HTTPStatus.BAD_REQUEST, "This server speaks HTTP/1.1.")
        super().on_headers_complete()
        self._is_in_body = True

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._silent_bytes = 0
        self._body_bytes += len(body)
        # What is not wanted any more, because it was answered already, gets no more time.
        if self._body_bytes >= PROGRESS_BYTES and self._deadline and self._answering:
            self._body_bytes = 0
            self._deadline.put_off()

    def on_message_complete(self) -> None:
        self._is_receiving = self._is_in_body = False
        self._silent_bytes = 0
        self._call_off()
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, until_closed(app, self.transport))

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._is_receiving:
            self._unset_keepalive_if_required()  # The deadline counts, which is longer.

    def _has_body(self) -> bool:
        return any(
            name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
            for name, value in self.headers
        )

    def _count(self, part: bytes) -> None:
        self._silent_bytes = 0
        self._head_bytes += len(part)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._stop(*TOO_LARGE)

    def _take_host_from_target(self) -> None:
        """Of `GET http://host/path`, that host is the one that counts: RFC 9112, 3.2.2."""
        _, separator, rest = self.url.partition(b"://")
        if not separator:
            return
        authority = rest.partition(b"/")[0].partition(b"?")[0]
        self.headers[:] = [
            *((name, value) for name, value in self.headers if name != b"host"),
            (b"host", authority),
        ]

    @property
    def _answering(self) -> RequestResponseCycle | None:
        """The newest request, as long as it is not answered; uvicorn's type forgets the first."""
        cycle: RequestResponseCycle | None = getattr(self, "cycle", None)
        return None if cycle is None or cycle.response_complete else cycle

    # Refusing.

    def _wait(self) -> None:
        self._deadline = Deadline(self._patience.request_seconds, self._late)

    def _call_off(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        if self.flow.read_paused:
            self._wait()  # It is we who did not read.
        elif self._is_receiving:
            self._refuse(
                "slow", HTTPStatus.REQUEST_TIMEOUT, "The rest of the request did not come in time."
            )
        elif self._answering is None:
            self._hang_up()  # As browsers do that open a connection for later.

    def _stop(self, status: HTTPStatus, sentence: str) -> None:
        """Has the parser end with what is to be answered."""
        self._refusal = status, sentence
        raise ValueError(sentence)

    def _refuse(self, reason: str, status: HTTPStatus, sentence: str) -> None:
        """Answers what cannot be a request, if it is its turn; nothing more is read."""
        metrics.refused(reason)
        self._call_off()
        self._is_deaf = True
        cycle = self._answering
        if cycle is not None and not self._is_in_body:
            cycle.keep_alive = False  # What was asked before is answered; then it is over.
            return
        if cycle is None:
            is_our_turn = not self._is_in_body  # Or it was answered before it had come.
        else:
            is_our_turn = not (cycle.response_started or self.pipeline)
        if is_our_turn:
            self._say(status, sentence)
        self._hang_up()

    def _say(self, status: HTTPStatus, sentence: str) -> None:
        body = sentence.encode()
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
            headers.append((b"retry-after", b"1"))
        lines = (b"%b: %b\r\n" % header for header in completed(headers, status))
        self.transport.write(b"".join((STATUS_LINE[status], *lines, b"\r\n", body)))

    def _hang_up(self) -> None:
        transport = self.transport
        transport.close()
        self.loop.call_later(GOODBYE_SECONDS, transport.abort)


def until_closed(app: Any, transport: asyncio.Transport) -> Any:
    """An application whose answer ends with the connection, of which it is told by `receive`.

    uvloop raises when something is written to a connection that it has just found broken, before
    it says so; the log would have a traceback of it.
    """

    async def answering(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_unless_closed(message: Message) -> None:
            if not transport.is_closing():
                await send(message)

        await app(scope, receive, send_unless_closed)

    return answering
