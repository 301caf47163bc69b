"""graphql-transport-ws on a socket: Strawberry's handler, made to keep to the protocol.

What it adds: every frame is checked before it is used, an error in one operation ends that
operation and nothing else, and nothing that a client does leaves a traceback in the log.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any

from graphql import DocumentNode, GraphQLError, OperationType
from starlette.websockets import WebSocketDisconnect, WebSocketState
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.http.exceptions import (
    NonJsonMessageReceived,
    NonTextMessageReceived,
    WebSocketDisconnected,
)
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import (
    BaseGraphQLTransportWSHandler,
    Operation,
)
from strawberry.subscriptions.protocols.graphql_transport_ws.types import Message, PongMessage
from strawberry.types import ExecutionResult

from graphql_app.api.context import Context
from graphql_app.api.delivery import encode_json
from graphql_app.api.failures import present, presented
from graphql_app.api.frames import Complete, ConnectionInit, Ping, Pong, Subscribe, frame_from
from graphql_app.api.requests import (
    MalformedError,
    changes_something,
    decode_json,
    parse_operation,
)
from graphql_app.errors import TooManyOperationsError

logger = logging.getLogger(__name__)

INTERNAL_ERROR = 4500
CLOSE_REASON_BYTES = 123  # RFC 6455, 5.5: a control frame carries 125 bytes, the code takes two.

CLOSED = (WebSocketDisconnect, RuntimeError)
"""What sending raises on a closed socket: by the client, or by us or uvicorn for a bad frame."""


class SocketAdapter(ASGIWebSocketAdapter):
    """Strawberry's adapter; a closed socket ends the reading, or raises WebSocketDisconnected."""

    async def iter_json(
        self, *, ignore_parsing_errors: bool = False
    ) -> AsyncGenerator[object, None]:
        with suppress(WebSocketDisconnect):
            while self.ws.application_state is not WebSocketState.DISCONNECTED:
                try:
                    value = decode_json(await self.ws.receive_text())
                except KeyError as error:
                    raise NonTextMessageReceived from error
                except MalformedError as error:
                    raise NonJsonMessageReceived from error
                yield value

    async def send_json(self, message: Mapping[str, object]) -> None:
        text = encode_json(message)
        try:
            await self.ws.send_text(text)
        except CLOSED as error:
            raise WebSocketDisconnected from error

    async def close(self, code: int, reason: str) -> None:
        fitting = reason.encode(errors="replace")[:CLOSE_REASON_BYTES].decode(errors="ignore")
        with suppress(*CLOSED):
            await self.ws.close(code, fitting)


class SocketHandler(BaseGraphQLTransportWSHandler[Context, None]):
    """The life of one socket.

    Operations run side by side, but none begins before the sends that came before it were stored.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._last_send = asyncio.Event()
        self._last_send.set()

    async def handle_message(self, message: Message) -> None:
        try:
            frame = frame_from(message)
        except MalformedError as error:
            await self.handle_invalid_message(str(error))
            return
        match frame:
            case ConnectionInit(payload):
                await self._initialise(payload)
            case Ping(payload):
                await self._answer_ping(payload)
            case Pong():
                pass
            case Subscribe():
                await self._subscribe(frame)
            case Complete(id):
                await self.cleanup_operation(id)

    async def _answer_ping(self, payload: dict[str, Any] | None) -> None:
        pong: PongMessage = {"type": "pong"}
        if payload is not None:
            pong["payload"] = payload
        try:
            await self.send_message(pong)
        except RecursionError:
            # Some depths can just be decoded, and not be encoded any more.
            await self.handle_invalid_message("The payload is nested too deeply.")

    async def _initialise(self, payload: dict[str, Any]) -> None:
        try:
            await self.handle_connection_init({"type": "connection_init", "payload": payload})
        except WebSocketDisconnected:
            raise
        except Exception:
            logger.exception("a connection could not be initialised")
            await self.websocket.close(INTERNAL_ERROR, "Internal server error")

    async def _subscribe(self, frame: Subscribe) -> None:
        if not self.connection_acknowledged:
            await self.websocket.close(4401, "Unauthorized")
            return
        if frame.id in self.operations:
            await self.websocket.close(4409, f"Subscriber for {frame.id} already exists")
            return
        limit = self.max_subscriptions_per_connection
        if limit is not None and len(self.operations) >= limit:
            error = presented(TooManyOperationsError(limit))
            await self.send_message({"id": frame.id, "type": "error", "payload": [error.formatted]})
            return
        request = frame.request
        operation = Operation(
            self, frame.id, request.query, request.variables, request.operation_name
        )
        self.operations[frame.id] = operation
        operation.task = asyncio.create_task(self.run_operation(operation))
        operation.task.add_done_callback(self._task_done)

    async def run_operation(self, operation: Operation[Context, None]) -> None:
        try:
            await self._run(operation)
        except WebSocketDisconnected:
            pass  # The socket's own loop ends, too, and cleans up.
        except Exception as error:
            unexpected = present(GraphQLError(str(error), original_error=error))
            # If the client has ended the operation meanwhile, its id may be another's by now.
            if self.operations.get(operation.id) is operation:
                with suppress(WebSocketDisconnected):
                    await operation.send_initial_errors([unexpected])

    async def _run(self, operation: Operation[Context, None]) -> None:
        try:
            document, definition = parse_operation(operation.query, operation.operation_name)
        except GraphQLError as error:
            await operation.send_initial_errors([present(error)])
            return
        streams = definition.operation is OperationType.SUBSCRIPTION
        earlier_send = self._last_send
        begun = asyncio.Event()
        if streams and changes_something(document, definition):
            self._last_send = begun
        try:
            # A stop or a clear must not overtake the send before it on the same socket.
            await earlier_send.wait()
            await self._deliver(operation, document, streams=streams, begun=begun)
        finally:
            begun.set()

    async def _deliver(
        self,
        operation: Operation[Context, None],
        document: DocumentNode,
        *,
        streams: bool,
        begun: asyncio.Event,
    ) -> None:
        """Executes an operation and sends its results; `begun` is set when there is a first one."""
        results = await self.schema.stream(
            operation.query,
            variable_values=operation.variables,
            context_value=replace(self.context, document=document),
            operation_name=operation.operation_name,
        )
        async with aclosing(results):
            async for result in results:
                begun.set()
                assert isinstance(result, ExecutionResult)
                if result.data is None and (streams or not _has_begun(result)):
                    # A stream that cannot go on ends with an error, never with null data.
                    await operation.send_initial_errors(result.errors or [])
                    return
                await operation.send_next(result)
        await operation.send_operation_message({"id": operation.id, "type": "complete"})

    def forget_id(self, id: str) -> None:
        self.operations.pop(id, None)


def _has_begun(result: ExecutionResult) -> bool:
    """Whether the execution began: an error without a path is one of the request."""
    return any(error.path for error in result.errors or [])
