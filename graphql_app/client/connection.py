"""The connection of a client: one socket after the other, each opened when it is needed."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from gql import GraphQLRequest
from gql.transport.exceptions import TransportError, TransportQueryError
from graphql import ExecutionResult

from graphql_app.client.errors import (
    CLIENT_CLOSED,
    CONNECTION_FAILED,
    CONNECTION_LOST,
    CONNECTION_REFUSED,
    ChatClientError,
)
from graphql_app.client.failures import is_refused_token, reason_of, refusal_in
from graphql_app.client.results import error_from
from graphql_app.client.retry import Backoff, Retry
from graphql_app.client.transport import Transport

Token: TypeAlias = str | Callable[[], str | Awaitable[str]]
"""A token, or what makes one for each connection."""


@dataclass(frozen=True, slots=True)
class ConnectionChange:
    """The connection was made, or was lost and is tried again after `retry_seconds`."""

    connected: bool
    reason: str = ""
    retry_seconds: float | None = None


class CutError(Exception):
    """The connection broke in the middle of an operation."""


class Connection:
    """What the operations of a client share.

    Args:
        url: for error messages.
        new_transport: makes the next socket, not yet open, given a token.
    """

    def __init__(
        self,
        url: str,
        new_transport: Callable[[str | None], Transport],
        retry: Retry,
        on_change: Callable[[ConnectionChange], None] | None,
        token: Token | None = None,
    ) -> None:
        self._url = url
        self._new_transport = new_transport
        self._retry = retry
        self._on_change = on_change
        self._token = token
        self._token_was_refused = False  # Since the last result.
        self._backoff = Backoff(retry)
        self._transport: Transport | None = None
        self._opening: asyncio.Task[None] | None = None
        self._streams: set[AsyncGenerator[ExecutionResult, None]] = set()
        self._was_connected = False
        self._closed = False

    async def results(
        self, request: GraphQLRequest, *, send_stop: bool = True
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The results of one operation, on one socket.

        Raises:
            ChatClientError: the server refused it, or cannot be reached.
            CutError: the socket broke; try again.
        """
        transport = await self.open()
        stream = transport.subscribe(request, send_stop=send_stop)
        self._streams.add(stream)
        try:
            async for result in stream:
                if result.errors:
                    raise error_from(result.errors)
                if result.data is not None:
                    self._backoff.reset()
                    self._token_was_refused = False
                    yield result.data
        except TransportQueryError as error:
            raise error_from(error.errors or ()) from None
        except TransportError as error:
            await transport.close()
            raise CutError from error
        finally:
            self._streams.discard(stream)
            await stream.aclose()

    async def open(self) -> Transport:
        """The socket, opened if it is not.

        Raises:
            ChatClientError: it cannot be had.
        """
        while True:
            if self._closed:
                raise ChatClientError(CLIENT_CLOSED, "The client was closed.")
            if self._transport is not None and self._transport.close_exception is None:
                return self._transport
            if self._opening is None:
                # A task of its own: operations that wait for it may be cancelled one by one.
                self._opening = asyncio.create_task(self._open())
                self._opening.add_done_callback(self._opened)
            opening = self._opening
            # Of the two cancellations, only the caller's own is raised by this.
            await asyncio.wait({opening})
            if not opening.cancelled():
                opening.result()

    async def close(self) -> None:
        """Ends everything; operations get CLIENT_CLOSED."""
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
        if self._transport is not None:
            # The transport waits for its streams; one that is just being read ends by itself.
            for stream in list(self._streams):
                with suppress(RuntimeError):
                    await stream.aclose()
            await self._transport.close()

    def _opened(self, opening: "asyncio.Task[None]") -> None:
        self._opening = None
        if not opening.cancelled():
            opening.exception()  # Perhaps nobody waits for it any more.

    async def _open(self) -> None:
        failure: Exception | None = None
        attempts = 0
        if self._transport is not None:
            failure = self._transport.close_exception
            await self._transport.close()
            self._transport = None
        # Before Python 3.12, a failure at the same moment can hide the cancellation by `close`.
        while not self._closed:
            if failure is not None:
                await self._back_off(failure, attempts)
            transport = self._new_transport(await self._next_token())
            attempts += 1
            try:
                await transport.connect()
            except (TransportError, TimeoutError) as error:
                await transport.close()
                failure = error
            except BaseException:
                await transport.close()
                raise
            else:
                self._transport = transport
                self._was_connected = True
                self._report(ConnectionChange(connected=True))
                return

    async def _next_token(self) -> str | None:
        if not callable(self._token):
            return self._token
        token = self._token()
        return await token if inspect.isawaitable(token) else token

    async def _back_off(self, failure: Exception, attempts: int) -> None:
        if callable(self._token) and is_refused_token(failure):
            self._token_was_refused = not self._token_was_refused
            if self._token_was_refused:
                self._report(ConnectionChange(False, reason_of(failure), retry_seconds=0.0))
                return  # With another token.
        if (refusal := refusal_in(failure)) is not None:
            raise ChatClientError(
                CONNECTION_REFUSED, f"{self._url} refuses the connection: {refusal}."
            ) from failure
        reason = reason_of(failure)
        delay = self._backoff.next_delay()
        if not self._was_connected and attempts >= self._retry.connect_attempts:
            raise ChatClientError(
                CONNECTION_FAILED, f"Could not connect to {self._url}: {reason}."
            ) from failure
        if delay is None:
            self._backoff.reset()
            raise ChatClientError(
                CONNECTION_LOST, f"The connection to {self._url} was lost: {reason}."
            ) from failure
        self._report(ConnectionChange(connected=False, reason=reason, retry_seconds=delay))
        await asyncio.sleep(delay)

    def _report(self, change: ConnectionChange) -> None:
        if self._on_change is not None:
            self._on_change(change)
