"""A WebSocket of the server: from a frame's text to the system, and goodbye before it is closed."""

import asyncio
from functools import partial
from http import HTTPStatus
from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from graphql_app import metrics
from graphql_app.api.websocket import WRITE
from graphql_app.headers import completed
from graphql_app.patience import PROGRESS_BYTES, Deadline, Patience, Unread, drop

GOODBYE_SECONDS = 1.0
"""How long a client may take to answer that its socket is closed."""

SLOW = 4408
"""The close code for a message whose rest did not come: clients try again then."""

PIECE_BYTES = 1024
"""How much of compressed messages is looked at in one go; it may grow to a megabyte."""

PATIENCE = Patience()


class Connection(ServerProtocol):
    """The library's side of a socket, whose refusals have the headers that every answer has."""

    def send_response(self, response: Response) -> None:
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            _complete(response)
        super().send_response(response)


def _complete(response: Response) -> None:
    given = [(name.encode(), b"") for name, _ in response.headers.raw_items()]
    for name, value in completed(given, response.status_code)[len(given) :]:
        response.headers[name.decode()] = value.decode()


class SocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, which writes directly, and says goodbye before it hangs up.

    uvicorn closes the connection right behind the close frame: a client that is just sending may
    be answered by a reset then, and never read why. And it refuses sockets whose handshake is
    under way as if the server had failed. It waits for ever for the rest of a message, and for a
    client that does not read.

    Args:
        patience: how long it is waited for.
    """

    # Those of uvicorn, too: a dictionary of so many would take 1.6 KB for each socket.
    __slots__ = (
        *("config", "app", "loop", "logger", "root_path", "asgi_version", "app_state"),
        *("connections", "tasks", "default_headers", "transport", "server", "client", "scheme"),
        *("queue", "handshake_initiated", "handshake_complete", "close_sent", "disconnected"),
        *("close_timer", "close_timeout", "initial_response", "conn", "read_paused", "writable"),
        *("ping_interval", "ping_timeout", "ping_timer", "pong_timer", "pending_ping_payload"),
        *("ping_sent_at", "last_ping_rtt", "frames", "curr_msg_data_type", "scope", "request"),
        *("response", "_is_leaving", "_is_full", "_is_plain", "_patience", "_deadline", "_unread"),
        *("_expected_bytes", "_backlog"),
    )

    def __init__(self, *args: Any, patience: Patience = PATIENCE, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = Connection(
            extensions=self.conn.available_extensions,
            max_size=self.config.ws_max_size,
            logger=self.conn.logger,
        )
        self._patience = patience
        self._deadline: Deadline | None = None
        self._unread: Unread | None = None
        self._expected_bytes = 0
        self._backlog = memoryview(b"")
        self._is_leaving = False
        self._is_full = False
        self._is_plain = False
        # Those of asyncio have five deques, 3 KB for each socket, mostly for nothing.
        self.queue: Any = Inbox()
        self.writable: Any = Gate()

    def shutdown(self) -> None:
        self._is_leaving = True
        if self.handshake_complete:
            self._leave(CloseCode.SERVICE_RESTART)

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            cast(dict[str, Any], self.scope["extensions"])[WRITE] = self.write
        else:
            metrics.refused("malformed")

    def connection_lost(self, exc: Exception | None) -> None:
        self._call_off()
        self._taken()
        self._backlog = memoryview(b"")
        super().connection_lost(exc)
        if hasattr(self, "scope"):
            # It refers to this object, and so would keep all of it until the collector comes.
            self.scope["extensions"] = {}

    # Receiving.

    def data_received(self, data: bytes) -> None:
        if self.conn.extensions:
            self._backlog = memoryview(bytes(self._backlog) + data)
            self._inflate()
        else:
            self._receive(data)

    def _inflate(self) -> None:
        """Goes on with what is compressed, up to the next whole message.

        The library makes frames of all that it is given, and one packet has room for a hundred
        messages of 2 MiB.
        """
        while self._backlog and not self.read_paused:
            piece, self._backlog = self._backlog[:PIECE_BYTES], self._backlog[PIECE_BYTES:]
            self._receive(bytes(piece))

    def _receive(self, data: bytes) -> None:
        super().data_received(data)
        if not self.handshake_initiated:
            self._refuse_handshake()
            return
        unfinished, begun = len(self.conn.reader.buffer), self.conn.current_size
        if self.close_sent or not (unfinished or begun is not None):
            self._call_off()
            return
        size = unfinished + (begun or 0)
        if self._deadline is None:
            self._deadline = Deadline(self._patience.request_seconds, self._late)
            self._expected_bytes = size + PROGRESS_BYTES
        elif size >= self._expected_bytes:
            self._deadline.put_off()
            self._expected_bytes = size + PROGRESS_BYTES

    def handle_parser_exception(self) -> None:
        if self.handshake_initiated:  # Or there is nothing to be closed with a code.
            super().handle_parser_exception()
        # Its traceback refers to what was read, and to this: megabytes until the collector comes.
        self.conn.parser_exc = None

    def _refuse_handshake(self) -> None:
        """Answers what the library does not take for a handshake; uvicorn would be silent."""
        if self.conn.handshake_exc is None:
            return
        metrics.refused("malformed")
        answer = b"".join(self.conn.data_to_send())
        if not answer:
            response = self.conn.reject(HTTPStatus.BAD_REQUEST, "This is no WebSocket offer.\n")
            _complete(response)
            answer = response.serialize()
        self.close_sent = self.handshake_complete = True
        self.transport.write(answer)
        self.transport.close()

    def handle_close(self, event: Frame) -> None:
        super().handle_close(event)
        if self.transport.get_write_buffer_size():
            # uvicorn waits until all of it is taken; whoever says goodbye wants nothing any more.
            self.loop.call_later(GOODBYE_SECONDS, drop, self.transport)

    def handle_ping(self) -> None:
        if self.conn.current_size is None:
            self._call_off()  # It was this frame that was waited for.
        if self.close_sent:
            self.conn.data_to_send()  # Behind a close frame there is nothing more.
        else:
            super().handle_ping()

    def handle_cont(self, event: Frame) -> None:
        # Into one buffer: any number of empty frames would fit into a message.
        [begun] = self.frames
        if not isinstance(begun, bytearray):
            self.frames = [bytearray(begun)]  # type: ignore[list-item]
        self.frames[0] += event.data
        if event.fin:
            self.send_receive_event_to_app()

    def send_receive_event_to_app(self) -> None:
        """uvicorn's, without a traceback in the log for what is no UTF-8."""
        [data] = self.frames
        self.frames = []
        self._call_off()
        if self.close_sent:
            return
        if self.curr_msg_data_type == "bytes":
            message: dict[str, Any] = {"type": "websocket.receive", "bytes": bytes(data)}
        else:
            try:
                message = {"type": "websocket.receive", "text": data.decode()}
            except UnicodeDecodeError:
                metrics.refused("malformed")
                if self.conn.state is State.OPEN:  # Or the client's goodbye came along with it.
                    self.conn.send_close(CloseCode.INVALID_DATA)
                    self.handle_parser_exception()
                return
        self.queue.put_nowait(message)
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    async def receive(self) -> Any:
        message = await self.queue.get()
        if self.read_paused and self.queue.empty():
            self.read_paused = False
            self._inflate()
            self._resume_reading()
        return message

    def _resume_reading(self) -> None:
        if not (self.read_paused or self._is_full):
            self.transport.resume_reading()

    def _late(self) -> None:
        self._deadline = None
        if self.read_paused or self._is_full:  # It is we who do not read.
            self._deadline = Deadline(self._patience.request_seconds, self._late)
            return
        metrics.refused("slow")
        self._leave(SLOW, "The rest of a message did not come in time")

    def _call_off(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    # Writing.

    def pause_writing(self) -> None:
        self._is_full = True
        # Or those who only ask, and do not read, would fill the memory with answers: pongs.
        self.transport.pause_reading()
        if self._unread is None:
            self._unread = Unread(self._patience.unread_seconds, self.transport)
        super().pause_writing()

    def resume_writing(self) -> None:
        self._is_full = False
        self._taken()
        self._resume_reading()
        super().resume_writing()

    def _taken(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        # What is left to be sent would keep the connection of a dead peer.
        self.loop.call_later(GOODBYE_SECONDS, self.transport.abort)

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
        if message["type"] == "websocket.close" and self.handshake_complete:
            # At once: whoever reads nothing, or a little at a time, would put his own end off.
            self._leave(message.get("code", CloseCode.NORMAL_CLOSURE), message.get("reason") or "")
            return
        await super().send(message)
        if self.close_sent:
            self.handshake_complete = True  # By a refusal; uvicorn would log that there was none.
        if self.handshake_complete:
            self._is_plain = not self.conn.extensions  # Nothing is compressed.
            self.request.headers.clear()  # The scope has them.
            self.response.headers.clear()
            if self._is_leaving:
                self._leave(CloseCode.SERVICE_RESTART)

    def _leave(self, code: int, reason: str = "") -> None:
        if self.close_sent or self.transport.is_closing():
            return
        self.stop_keepalive()
        self._call_off()
        # Behind the frames that came before: what they say is done.
        self.queue.put_nowait({"type": "websocket.disconnect", "code": int(code)})
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.read_paused = False
        self.transport.resume_reading()
        self._inflate()
        # A token that has ended ends what was sent with it, too. Of a server that shuts down, the
        # system may still deliver the last words.
        end = self.transport.abort if self._is_leaving else partial(drop, self.transport)
        self.close_timer = self.loop.call_later(GOODBYE_SECONDS, end)


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
