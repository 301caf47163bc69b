"""A WebSocket client that does as little as it can, so that one core of it can load a server.

It speaks what the servers of these measurements send: unfragmented frames, without extensions.
"""

import asyncio
import base64
import os
from collections.abc import Callable
from typing import TypeVar, cast

CONTINUED, TEXT, CLOSE, PING = 0x0, 0x1, 0x8, 0x9
FINAL = 0x80
MASKED = 0x80

S = TypeVar("S", bound="WebSocket")


class WebSocket(asyncio.Protocol):
    """One connection; what comes in is given to `receive`, and its end to `ended`."""

    subprotocol = ""
    path = "/"

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self.upgraded: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def receive(self, payload: bytes) -> None:
        """Takes the text of a frame."""
        raise NotImplementedError

    def ended(self) -> None:
        """The connection is over."""

    def send(self, payload: bytes) -> None:
        self._write(TEXT, payload)

    def abort(self) -> None:
        """Ends the connection without a goodbye."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        lines = [
            f"GET {self.path} HTTP/1.1",
            "Host: 127.0.0.1",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        ]
        if self.subprotocol:
            lines.append(f"Sec-WebSocket-Protocol: {self.subprotocol}")
        self._transport.write("\r\n".join([*lines, "", ""]).encode())

    def connection_lost(self, error: Exception | None) -> None:
        if not self.upgraded.done():
            self.upgraded.set_exception(ConnectionError("the handshake broke off"))
        self.ended()

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        if not self.upgraded.done():
            head, separator, data = data.partition(b"\r\n\r\n")
            if not separator:
                self._buffer = head
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                self.upgraded.set_exception(ConnectionError(head.decode()))
                self.abort()
                return
            self.upgraded.set_result(None)
        self._buffer = self._read_frames(data)

    def _read_frames(self, data: bytes) -> bytes:
        """Takes all whole frames; returns the rest."""
        begin, available = 0, len(data)
        while available - begin >= 2:
            head, length = data[begin], data[begin + 1]
            payload = begin + 2
            if length >= 126:
                payload += 2 if length == 126 else 8
                if available < payload:
                    break
                length = int.from_bytes(data[begin + 2 : payload], "big")
            end = payload + length
            if available < end:
                break
            if head == FINAL | TEXT:
                self.receive(data[payload:end])
            elif head == FINAL | PING:
                self._write(PING + 1, data[payload:end])
            elif head == FINAL | CLOSE:
                self._write(CLOSE, data[payload:end])
                assert self._transport is not None
                self._transport.close()
            elif head & 0xF in (CONTINUED, TEXT):
                raise ConnectionError("the server sends fragments")
            begin = end
        return data[begin:]

    def _write(self, kind: int, payload: bytes) -> None:
        length = len(payload)
        if length < 126:
            head = bytes([FINAL | kind, MASKED | length])
        elif length < 65_536:
            head = bytes([FINAL | kind, MASKED | 126]) + length.to_bytes(2, "big")
        else:
            head = bytes([FINAL | kind, MASKED | 127]) + length.to_bytes(8, "big")
        assert self._transport is not None
        # Masked with zeros, the payload stays as it is.
        self._transport.write(head + bytes(4) + payload)


async def open_socket(new: Callable[[], S], port: int) -> S:
    """A socket on which the handshake is over."""
    _, socket = await asyncio.get_running_loop().create_connection(new, "127.0.0.1", port)
    await socket.upgraded
    return socket
