"""Speaking to the server byte by byte, as no client library would."""

import base64
import json
import os
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.wire import PATIENCE_SECONDS

HOST = b"Host: 127.0.0.1\r\n"
"""What every request needs, and which is no attack."""

BODILESS = (204, 304)

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
"""The opcodes of WebSocket frames."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response, its body decoded from chunks."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    is_whole: bool = True

    def header(self, name: str) -> str | None:
        """The value of a header; None if there is none, or not one."""
        values = [value for each, value in self.headers if each == name]
        return values[0] if len(values) == 1 else None


class HungUpError(Exception):
    """The connection ended before what was to be read."""


class Peer:
    """A connection on which anything can be said; what comes meanwhile is kept."""

    def __init__(self, port: int, *, receive_buffer_bytes: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.settimeout(PATIENCE_SECONDS)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self._received = bytearray()
        self.has_hung_up = False

    # Bytes.

    def say(self, *parts: bytes) -> None:
        """Sends all of it, or as much as the server takes before it hangs up."""
        for part in parts:
            unsent = memoryview(part)
            while unsent and not self.has_hung_up:
                readable, writable, _ = select.select(
                    [self.socket], [self.socket], [], PATIENCE_SECONDS
                )
                assert readable or writable, "the server neither reads nor answers"
                if readable:
                    self._read()
                if writable and not self.has_hung_up:
                    try:
                        unsent = unsent[self.socket.send(unsent[:65_536]) :]
                    except (BrokenPipeError, ConnectionResetError):
                        self._read_rest()

    def end(self) -> None:
        """Says that nothing more will come."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.has_hung_up = True

    def cut(self) -> None:
        """Resets the connection."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        self._read_rest()
        return self._take(len(self._received))

    def _read(self) -> None:
        try:
            data = self.socket.recv(1_048_576)
        except ConnectionResetError:
            data = b""
        self._received += data
        self.has_hung_up = not data

    def _read_rest(self) -> None:
        while not self.has_hung_up:
            self._read()

    def _take(self, count: int) -> bytes:
        """
        Raises:
            HungUpError: the connection ended before so many bytes.
        """
        while len(self._received) < count:
            if self.has_hung_up:
                raise HungUpError
            self._read()
        taken = bytes(self._received[:count])
        del self._received[:count]
        return taken

    def _take_line(self) -> bytes:
        while (end := self._received.find(b"\r\n")) < 0:
            if self.has_hung_up:
                raise HungUpError
            self._read()
        return self._take(end + 2)[:-2]

    # HTTP.

    def answer(self, *, has_body: bool = True) -> Answer:
        """The next final response.

        Raises:
            HungUpError: the connection ended before there was one.
        """
        while (head := self.head()).status in (100, 102, 103):
            pass
        if not has_body or head.status in BODILESS or head.status == 101:
            return head
        try:
            body, is_whole = self._body(head), True
        except HungUpError:
            body, is_whole = self._take(len(self._received)), False
        return Answer(head.status, head.headers, body, is_whole)

    def head(self) -> Answer:
        """The next response without its body."""
        protocol, status, _ = self._take_line().split(b" ", 2)
        assert protocol == b"HTTP/1.1"
        headers: list[tuple[str, str]] = []
        while line := self._take_line():
            name, separator, value = line.decode("latin-1").partition(": ")
            assert separator, line
            headers.append((name.lower(), value))
        return Answer(int(status), tuple(headers), b"")

    def _body(self, head: Answer) -> bytes:
        names = [name for name, _ in head.headers]
        if "transfer-encoding" in names:
            assert "content-length" not in names
            body = bytearray()
            while size := int(self._take_line(), 16):
                body += self._take(size)
                assert self._take(2) == b"\r\n"
            assert self._take(2) == b"\r\n"
            return bytes(body)
        if (length := head.header("content-length")) is not None:
            return self._take(int(length))
        return self.rest()

    # WebSockets.

    def shake_hands(self, *headers: bytes) -> Answer:
        self.say(handshake(*headers))
        return self.answer()

    def frame(self) -> tuple[int, bytes]:
        """The next frame: its opcode and its payload.

        Raises:
            HungUpError: the connection ended before a whole one.
        """
        first, second = self._take(2)
        assert first & 0x80, "the server sends each message in one frame"
        assert not second & 0x80, "the server masks nothing"
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(self._take(2 if size == 126 else 8))
        return first & 0x0F, self._take(size)

    def messages(self) -> Iterator[Any]:
        """The text messages up to the close frame, pings answered.

        Raises:
            ClosedError: the close frame came.
            HungUpError: the connection ended without one.
        """
        while True:
            opcode, payload = self.frame()
            match opcode:
                case 1:
                    yield json.loads(payload)
                case 8:
                    raise ClosedError(
                        int.from_bytes(payload[:2]) if payload else None, payload[2:].decode()
                    )
                case 9:
                    self.say(frame(PONG, payload))
                case 10:
                    pass
                case _:
                    raise AssertionError(f"the server sends no frames of kind {opcode}")

    def say_json(self, *messages: object) -> None:
        self.say(*(text(message) for message in messages))


class ClosedError(Exception):
    """The server closed a socket, with a code (or none)."""

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


@contextmanager
def peer(port: int) -> Iterator[Peer]:
    """A connection on which nothing was said yet."""
    peer = Peer(port)
    try:
        yield peer
    finally:
        peer.close()


def request(
    *headers: bytes,
    method: bytes = b"POST",
    target: bytes = b"/graphql",
    content: bytes | None = None,
) -> bytes:
    """A whole request; with content, its length and type are said."""
    lines = [b"%b %b HTTP/1.1\r\n" % (method, target), HOST]
    lines += [header + b"\r\n" for header in headers]
    if content is not None:
        if not any(header.lower().startswith(b"content-type:") for header in headers):
            lines.append(b"Content-Type: application/json\r\n")
        lines.append(b"Content-Length: %d\r\n" % len(content))
    return b"".join([*lines, b"\r\n", content or b""])


def handshake(*headers: bytes, **changed: bytes | None) -> bytes:
    """A request for a socket; a header with another value, or with None left out."""
    fields: dict[str, bytes | None] = {
        "Upgrade": b"websocket",
        "Connection": b"Upgrade",
        "Sec-WebSocket-Version": b"13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)),
        "Sec-WebSocket-Protocol": b"graphql-transport-ws",
    }
    fields |= {name.replace("_", "-"): value for name, value in changed.items()}
    lines = [
        b"%b: %b" % (name.encode(), value) for name, value in fields.items() if value is not None
    ]
    return request(*lines, *headers, method=b"GET")


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    reserved: int = 0,
    masked: bool = True,
    claims: int | None = None,
) -> bytes:
    """A WebSocket frame as a client sends it; RFC 6455, section 5.2.

    Args:
        reserved: the three reserved bits.
        claims: the length that it claims to have, in eight bytes.
    """
    first = fin << 7 | reserved << 4 | opcode
    mask_bit = masked << 7
    size = len(payload)
    if claims is not None:
        head = bytes([first, mask_bit | 127]) + claims.to_bytes(8)
    elif size < 126:
        head = bytes([first, mask_bit | size])
    elif size < 65_536:
        head = bytes([first, mask_bit | 126]) + size.to_bytes(2)
    else:
        head = bytes([first, mask_bit | 127]) + size.to_bytes(8)
    # A mask of zeros leaves the payload as it is, and readable.
    return head + (b"\0\0\0\0" if masked else b"") + payload


def text(message: object) -> bytes:
    """A frame with a message as JSON."""
    return frame(TEXT, json.dumps(message).encode())
