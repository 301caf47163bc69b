"""A WebSocket of the server: from a frame's text to the system, and goodbye before it is closed."""

import asyncio
from http import HTTPStatus
from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from graphql_app.api.websocket import WRITE

GOODBYE_SECONDS = 1.0
"""How long a client may take to answer that its socket is closed."""

NO_HANDSHAKE = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 28\r\nconnection: close\r\n\r\nThis is no WebSocket offer.\n"
)


class SocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, which writes directly, and says goodbye before it hangs up.

    uvicorn closes the connection right behind the close frame: a client that is just sending may
    be answered by a reset then, and never read why. And it refuses sockets whose handshake is
    under way as if the server had failed.
    """

    # Those of uvicorn, too: a dictionary of so many would take 1.6 KB for each socket.
    __slots__ = (
        *("config", "app", "loop", "logger", "root_path", "asgi_version", "app_state"),
        *("connections", "tasks", "default_headers", "transport", "server", "client", "scheme"),
        *("queue", "handshake_initiated", "handshake_complete", "close_sent", "disconnected"),
        *("close_timer", "close_timeout", "initial_response", "conn", "read_paused", "writable"),
        *("ping_interval", "ping_timeout", "ping_timer", "pong_timer", "pending_ping_payload"),
        *("ping_sent_at", "last_ping_rtt", "frames", "curr_msg_data_type", "scope", "request"),
        *("response", "_is_leaving", "_is_full", "_is_plain"),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_leaving = False
        self._is_full = False
        self._is_plain = False
        # Those of asyncio have five deques, 3 KB for each socket, mostly for nothing.
        self.queue: Any = Inbox()
        self.writable: Any = Gate()

    def shutdown(self) -> None:
        self._is_leaving = True
        if self.handshake_complete:
            self._leave()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self._refuse_handshake()

    def _refuse_handshake(self) -> None:
        """Answers what the WebSocket library takes for no handshake; uvicorn would not."""
        self.handshake_initiated = self.close_sent = True
        self.transport.write(b"".join(self.conn.data_to_send()) or NO_HANDSHAKE)
        self.transport.close()

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            cast(dict[str, Any], self.scope["extensions"])[WRITE] = self.write

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if hasattr(self, "scope"):
            # It refers to this object, and so would keep all of it until the collector comes.
            self.scope["extensions"] = {}

    def pause_writing(self) -> None:
        self._is_full = True
        super().pause_writing()

    def resume_writing(self) -> None:
        self._is_full = False
        super().resume_writing()

    def write(self, text: bytes) -> bool:
        """Sends a text in UTF-8, if it can go out at once.

        It is what uvicorn and websockets do, without the dozen calls between them.
        """
        if self._is_full or not self._is_plain or self.close_sent or self.transport.is_closing():
            return False
        self.transport.write(text_frame(text))
        return True

    async def send(self, message: Any) -> None:
        text = message.get("text")
        if text is not None and self.write(text.encode()):
            return
        await super().send(message)
        if self.handshake_complete:
            self._is_plain = not self.conn.extensions  # Nothing is compressed.
            self.request.headers.clear()  # The scope has them.
            self.response.headers.clear()
            if self._is_leaving:
                self._leave()

    def _leave(self) -> None:
        if self.close_sent or self.transport.is_closing():
            return
        self.stop_keepalive()
        # Behind the frames that came before: what they say is done.
        self.queue.put_nowait({"type": "websocket.disconnect", "code": 1012})
        self.conn.send_close(1012)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(GOODBYE_SECONDS, self.transport.abort)


def text_frame(text: bytes) -> bytes:
    """A WebSocket message of one frame, as a server sends it: RFC 6455, section 5.2."""
    size = len(text)
    if size < 126:
        return b"\x81%c%b" % (size, text)
    if size < 65_536:
        return b"\x81\x7e%b%b" % (size.to_bytes(2), text)
    return b"\x81\x7f%b%b" % (size.to_bytes(8), text)


class Inbox:
    """What a socket has received, for the one who reads it: asyncio.Queue, but small."""

    __slots__ = ("_messages", "_reader")

    def __init__(self) -> None:
        self._messages: list[Any] = []
        self._reader: asyncio.Future[Any] | None = None

    def empty(self) -> bool:
        return not self._messages

    def put_nowait(self, message: Any) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(message)
        else:
            self._messages.append(message)

    def get(self) -> "asyncio.Future[Any]":
        self._reader = asyncio.get_running_loop().create_future()
        if self._messages:
            self._reader.set_result(self._messages.pop(0))
        return self._reader


class Gate:
    """Holds up all who come while it is closed: asyncio.Event, but small while it is open."""

    __slots__ = ("_closed",)

    def __init__(self) -> None:
        self._closed: asyncio.Event | None = None

    def is_set(self) -> bool:
        return self._closed is None

    def set(self) -> None:
        if self._closed is not None:
            self._closed.set()
            self._closed = None

    def clear(self) -> None:
        if self._closed is None:
            self._closed = asyncio.Event()

    async def wait(self) -> None:
        while self._closed is not None:
            await self._closed.wait()
