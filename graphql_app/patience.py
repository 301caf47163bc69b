"""How long a connection is waited for, in either direction.

Every 64 KiB buy more time: a slow line can carry a whole reply, and a trickle holds nothing.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

PROGRESS_BYTES = 64 * 1024
"""What has to come, or to be taken, to be given the same time again."""


@dataclass(frozen=True, slots=True)
class Patience:
    """What one process bears.

    Args:
        request_seconds: from the first byte of a request, or of a socket's message, to its last.
        unread_seconds: how long a peer may leave unread what is written to it.
        connections: how many may be open at once.
    """

    request_seconds: float = 15.0
    unread_seconds: float = 15.0
    connections: int = 12_000


class Deadline:
    """Calls `late` after some seconds, unless it is cancelled, or put off, before."""

    __slots__ = ("_at", "_late", "_loop", "_seconds", "_timer")

    def __init__(self, seconds: float, late: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._late = late
        self.put_off()
        self._timer = self._loop.call_at(self._at, self._ring)

    def put_off(self) -> None:
        """Counts the seconds anew; costs next to nothing."""
        self._at = self._loop.time() + self._seconds

    def cancel(self) -> None:
        self._timer.cancel()

    def _ring(self) -> None:
        if self._at > self._loop.time():
            self._timer = self._loop.call_at(self._at, self._ring)
        else:
            self._late()


class Unread(Deadline):
    """Aborts a connection whose peer does not take what is written to it.

    It is to be cancelled as soon as that is taken but for a rest.
    """

    __slots__ = ("_left", "_transport")

    def __init__(self, seconds: float, transport: asyncio.WriteTransport) -> None:
        super().__init__(seconds, self._look)
        self._transport = transport
        self._left = _untaken_bytes(transport)

    def _look(self) -> None:
        left = _untaken_bytes(self._transport)
        if left > self._left - PROGRESS_BYTES:
            reset(self._transport)
            return
        self._left = left
        self.put_off()
        self._ring()


def reset(transport: asyncio.WriteTransport) -> None:
    """Ends a connection at once, with all that the system holds of it."""
    with suppress(OSError, AttributeError):
        # Otherwise the system would go on trying to deliver that.
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def drop(transport: asyncio.WriteTransport) -> None:
    """Ends a connection now: what its peer has not taken by then, he does not get any more.

    Otherwise the system would go on with the megabytes that it holds, for as long as he likes.
    """
    connection = transport.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0 and _untaken_bytes(transport):
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _untaken_bytes(transport: asyncio.WriteTransport) -> int:
    """What the peer has not confirmed yet: ours, and what the system holds, which may be megabytes.

    Where the system does not say, it is only ours.
    """
    return transport.get_write_buffer_size() + _held_by_system(transport.get_extra_info("socket"))


def _held_by_system(connection: Any) -> int:
    with suppress(ImportError, OSError, AttributeError):
        from fcntl import ioctl
        from termios import TIOCOUTQ

        return int.from_bytes(ioctl(connection.fileno(), TIOCOUTQ, bytes(4)), "little")
    return 0
