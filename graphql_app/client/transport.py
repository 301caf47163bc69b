"""The socket, by gql."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from gql import GraphQLRequest
from gql.transport.exceptions import TransportConnectionFailed, TransportQueryError
from gql.transport.websockets import WebsocketsTransport

from graphql_app.client.errors import REQUEST_TOO_LARGE

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""The largest frame to receive. One reply is up to 1.6 MB of escaped text; a list has many."""

MAX_REQUEST_BYTES = 2 * 1024 * 1024
"""The largest frame to send: the limit of a server with default settings."""

CLOSE_SECONDS = 1.0
"""How long the other end may take for its half of the closing handshake."""


class Transport(WebsocketsTransport):
    """gql's transport with a limit on requests, and with fixes for four cases in which it waits
    forever on a dead connection.

    Before Python 3.12, `asyncio.wait_for` can swallow a cancellation. Therefore `wait_closed` does
    without it, and `keep_alive_timeout` is not used: if a frame came with the end of the
    connection, the end would be told only when that watch fires.
    """

    def __init__(
        self,
        url: str,
        *,
        init_payload: Mapping[str, Any],
        headers: Mapping[str, str],
        ping_seconds: float,
        max_message_bytes: int | None,
        max_request_bytes: int,
    ) -> None:
        super().__init__(
            url,
            headers=dict(headers),
            init_payload=dict(init_payload),
            subprotocols=[WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL],
            ping_interval=ping_seconds,
            pong_timeout=ping_seconds,
            close_timeout=3 * CLOSE_SECONDS,
            connect_args={
                "max_size": max_message_bytes,
                "compression": None,
                "ping_interval": None,
                "close_timeout": CLOSE_SECONDS,
            },
        )
        self._max_request_bytes = max_request_bytes

    async def _send(self, message: str) -> None:
        if len(message) > self._max_request_bytes:  # It is ASCII.
            raise TransportQueryError(
                REQUEST_TOO_LARGE,
                errors=[
                    {
                        "message": f"A request may have {self._max_request_bytes:,} bytes.",
                        "extensions": {"code": REQUEST_TOO_LARGE},
                    }
                ],
            )
        await super()._send(message)

    async def send_ping(self, payload: Any | None = None) -> None:
        # A ping behind a large frame that is stuck is stuck as well: it gets the time of its pong.
        async with asyncio.timeout(self.pong_timeout):
            await super().send_ping(payload)

    async def _send_query(self, request: GraphQLRequest) -> int:
        id = await super()._send_query(request)
        if self.close_exception is not None:
            # The connection broke during the send, and its subscribers have been told; a subscriber
            # registered now would not be told.
            raise TransportConnectionFailed from self.close_exception
        return id

    async def _close_hook(self) -> None:
        if self.adapter.websocket is not None:
            # The closing handshake can hang too; abort after a second. On a closed connection this
            # does nothing.
            abort = self.adapter.websocket.transport.abort
            asyncio.get_running_loop().call_later(CLOSE_SECONDS, abort)
        await super()._close_hook()  # type: ignore[no-untyped-call]

    async def wait_closed(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self.close_timeout):
                await self._wait_closed.wait()

    async def _stop_listener(self, query_id: int) -> None:
        # gql calls this when a subscription is cancelled. On a broken connection it raises, and the
        # error would replace the cancellation: the cancelled task would wait for more.
        with suppress(TransportConnectionFailed):
            await super()._stop_listener(query_id)
