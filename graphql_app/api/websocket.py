"""graphql-transport-ws on a socket: Strawberry's handler, made to keep to the protocol.

What it adds: every frame is checked before it is used, an error in one operation ends that
operation and nothing else, and nothing that a client does leaves a traceback in the log.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing, suppress
from dataclasses import replace
from time import monotonic
from typing import Any, Protocol, cast

from graphql import GraphQLError, OperationType
from starlette.types import Message as Event
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
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

from graphql_app import metrics, tracing
from graphql_app.access.bearer import EXPIRED, token_in
from graphql_app.access.caller import Caller
from graphql_app.access.expiry import Expiry
from graphql_app.access.quotas import Pace, Quotas
from graphql_app.api.context import Context
from graphql_app.api.delivery import Feed, encode_json
from graphql_app.api.failures import internal_sentence, noted, present, presented
from graphql_app.api.frames import Complete, ConnectionInit, Ping, Pong, Subscribe, frame_from
from graphql_app.api.journal import CUT, REQUEST_ID, Entry, Journal, request_id
from graphql_app.api.requests import (
    Document,
    GraphQLRequest,
    MalformedError,
    ParsedOperation,
    changes_something,
    decode_json,
)
from graphql_app.errors import (
    KeysUnavailableError,
    TooManyOperationsError,
    UnauthenticatedError,
)
from graphql_app.messages import Chunk

TRY_AGAIN_LATER = 1013
ABNORMAL = 1006
FORBIDDEN = 4403
INTERNAL_ERROR = 4500
CLOSE_REASON_BYTES = 123  # RFC 6455, 5.5: a control frame carries 125 bytes, the code takes two.

WRITE = "graphql_app.write"
"""The extension of ASGI by which our server takes a text, in UTF-8, at once: a function that says
whether it did. If not, the text is to be sent as usual."""

CLOSED = (WebSocketDisconnect, OSError, RuntimeError)
"""What sending raises on a closed socket: by the client, or by us or uvicorn for a bad frame."""


class Callers(Protocol):
    """Where it is known who comes, and how often he may."""

    quotas: Quotas

    def parse(self, request: GraphQLRequest) -> ParsedOperation:
        """The operation that a request means; GraphQLError: it has none that may run."""

    async def caller(self, token: str | None, address: str) -> Caller:
        """Who comes with a token.

        Raises:
            UnauthenticatedError: nobody who may.
            KeysUnavailableError: it cannot be said at the moment.
        """


class Socket(WebSocket):
    """Starlette's socket, and the way around it for frames: the server checks the state anyway."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(scope, receive, send)
        self.close_code = ABNORMAL
        self.id = request_id(self.headers.get(REQUEST_ID))
        self.send_directly = send
        self.write: Callable[[bytes], bool] = (scope.get("extensions") or {}).get(
            WRITE, lambda _: False
        )

    async def accept(
        self,
        subprotocol: str | None = None,
        headers: Iterable[tuple[bytes, bytes]] | None = None,
    ) -> None:
        own = (REQUEST_ID.lower().encode(), self.id.encode())
        await super().accept(subprotocol, [*(headers or ()), own])

    async def receive(self) -> Event:
        message = await super().receive()
        if message["type"] == "websocket.disconnect":
            self._note_closing(message.get("code") or ABNORMAL)
        return message

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        self._note_closing(code)
        await super().close(code, reason)

    def _note_closing(self, code: int) -> None:
        if self.close_code == ABNORMAL:
            self.close_code = code  # What comes first counts.


class SocketAdapter(ASGIWebSocketAdapter):
    """Strawberry's adapter; a closed socket ends the reading, or raises WebSocketDisconnected.

    Everything that came before a disconnect is read, even if nothing can be sent any more.
    """

    def __init__(self, view: Any, request: WebSocket, response: WebSocket) -> None:
        super().__init__(view, request, response)
        assert isinstance(response, Socket)
        self._is_closed = False
        self.id = response.id
        self.send_directly = response.send_directly
        self.write = response.write
        self._pace: Pace | None = view.quotas.pace()

    async def iter_json(
        self, *, ignore_parsing_errors: bool = False
    ) -> AsyncGenerator[object, None]:
        while (message := await self.ws.receive())["type"] != "websocket.disconnect":
            if self._pace is not None and (wait := self._pace.wait_seconds(monotonic())):
                # Meanwhile the server does not read on, and the client has to wait, too.
                await asyncio.sleep(wait)
            if self._is_closed:
                return  # What comes behind a goodbye of ours is not done any more.
            if (text := message.get("text")) is None:
                raise NonTextMessageReceived
            try:
                value = decode_json(text)
            except MalformedError as error:
                raise NonJsonMessageReceived from error
            del message, text
            yield value
            # Strawberry's loop keeps it until the next message comes, and it may be large.
            if isinstance(value, dict):
                value.clear()
            del value

    async def send_json(self, message: Mapping[str, object]) -> None:
        await self.send_text(encode_json(message))

    async def send_text(self, text: bytes) -> None:
        # As bytes they would make a binary frame, which browsers show as a Blob.
        event = {"type": "websocket.send", "text": text.decode()}
        try:
            await self.send_directly(event)
        except CLOSED as error:
            raise WebSocketDisconnected from error

    def forget_headers(self) -> None:
        """Nobody will ask for the headers of the handshake any more."""
        self.ws.scope["headers"].clear()

    async def close(self, code: int, reason: str) -> None:
        self._is_closed = True
        fitting = reason.encode(errors="replace")[:CLOSE_REASON_BYTES].decode(errors="ignore")
        with suppress(*CLOSED):
            await self.ws.close(code, fitting)


class SocketOperation(Operation[Context, None]):
    """One operation of a socket, parsed. `begun` is done when a send is stored, or refused."""

    __slots__ = ("begun", "document", "entry", "is_send", "streams")

    def __init__(
        self, handler: "SocketHandler", frame: Subscribe, parsed: ParsedOperation, entry: Entry
    ) -> None:
        request = frame.request
        document, definition = parsed
        super().__init__(
            handler, frame.id, document.text, request.variables, request.operation_name
        )
        self.document: Document | None = document
        self.entry = entry
        self.streams = definition.operation is OperationType.SUBSCRIPTION
        self.is_send = self.streams and changes_something(document, definition)
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def send_initial_errors(self, errors: list[GraphQLError]) -> None:
        self.entry.failed_with(errors)
        await super().send_initial_errors(errors)

    async def send_next(self, execution_result: ExecutionResult) -> None:
        if execution_result.errors:
            self.entry.failed_with(execution_result.errors)
        await super().send_next(execution_result)

    def begin(self) -> None:
        if not self.begun.done():
            self.begun.set_result(None)


class SocketHandler(BaseGraphQLTransportWSHandler[Context, None]):
    """The life of one socket.

    Operations run side by side, but none begins before the sends that came before it. When the
    token ends with which it was opened, all of them are ended, and it is closed.
    """

    websocket: SocketAdapter

    # Few sockets have them, and each attribute costs all of them memory.
    _expiry: Expiry | None = None
    _ending: "asyncio.Task[None] | None" = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Only the mark of the operation, which holds nothing of what was sent.
        self._last_send: asyncio.Future[None] | None = None
        self._journal: Journal = self.view.journal  # type: ignore[attr-defined]

    async def handle_message(self, message: Message) -> None:
        try:
            frame = frame_from(message)
        except MalformedError as error:
            await self.handle_invalid_message(str(error))
            return
        # A client that cannot be answered any more may have sent something behind this frame.
        with suppress(WebSocketDisconnected):
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
            if not self.connection_init_received:
                callers = cast(Callers, self.view)
                caller = await callers.caller(token_in(payload), self.context.caller.address)
                if not callers.quotas.enter_owner(caller.owner):
                    await self.websocket.close(
                        TRY_AGAIN_LATER, "There are too many sockets of this owner; close some."
                    )
                    return
                self.context.caller = caller
                if caller.expires_at is not None:
                    self._expiry = Expiry(caller.expires_at, self._expire)
            await self.handle_connection_init({"type": "connection_init", "payload": payload})
        except WebSocketDisconnected:
            raise
        except UnauthenticatedError as error:
            await self.websocket.close(FORBIDDEN, str(error))
        except KeysUnavailableError as error:
            await self.websocket.close(TRY_AGAIN_LATER, str(error))
        except Exception as error:
            id = noted(error, "a connection could not be initialised", request=self.websocket.id)
            await self.websocket.close(INTERNAL_ERROR, internal_sentence(id))
        else:
            # What nobody needs any more would stay for as long as the socket: 3 KB.
            self.connection_init_timeout_task = None
            self.websocket.forget_headers()

    def _expire(self) -> None:
        self._ending = asyncio.create_task(self._end())

    async def _end(self) -> None:
        """Ends the socket, whose token has ended."""
        # Before the goodbye, which waits for a client that reads nothing.
        for id in list(self.operations):
            await self.cleanup_operation(id)
        metrics.refused("token")
        await self.websocket.close(FORBIDDEN, EXPIRED)

    async def shutdown(self) -> None:
        # Before its connection_init, and when that was refused, the owner is nobody.
        cast(Callers, self.view).quotas.leave_owner(self.context.owner)
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None  # It refers to this object, which would wait for the collector.
        if self._ending is not None:
            self._ending.cancel()
        await super().shutdown()

    async def _subscribe(self, frame: Subscribe) -> None:
        if not self.connection_acknowledged:
            await self.websocket.close(4401, "Unauthorized")
            return
        if self.context.caller.is_expired:  # A busy loop may be late.
            await self._end()
            return
        if frame.id in self.operations:
            await self.websocket.close(4409, f"Subscriber for {frame.id} already exists")
            return
        entry = self._journal.entry(
            f"{self.websocket.id}/{frame.id}", "websocket", frame.request.carrier
        )
        entry.owner = self.context.owner
        limit = self.max_subscriptions_per_connection
        if limit is not None and len(self.operations) >= limit:
            await self._refuse(frame, entry, presented(TooManyOperationsError(limit)))
            return
        try:
            parsed = cast(Callers, self.view).parse(frame.request)
        except GraphQLError as error:
            await self._refuse(frame, entry, present(error))
            return
        entry.began(*parsed)
        operation = SocketOperation(self, frame, parsed, entry)
        self.operations[frame.id] = operation
        operation.task = asyncio.create_task(self._run(operation, self._last_send))
        operation.task.add_done_callback(self._task_done)
        operation.task.add_done_callback(entry.task_ended)
        if operation.is_send:
            self._last_send = operation.begun

    async def _refuse(self, frame: Subscribe, entry: Entry, error: GraphQLError) -> None:
        entry.failed_with([error])
        entry.end()
        await self.send_message({"id": frame.id, "type": "error", "payload": [error.formatted]})

    async def cleanup_operation(self, operation_id: str) -> None:
        operation = self.operations.pop(operation_id, None)
        if operation is None:
            return
        assert isinstance(operation, SocketOperation)
        assert operation.task is not None
        operation.completed = True  # Nothing more goes out under an id that may be used again.
        if operation.is_send:
            # What was sent is stored and answered, even if the client leaves at once.
            task = operation.task
            operation.begun.add_done_callback(lambda _: task.cancel())
        else:
            operation.task.cancel()

    async def _run(
        self, operation: SocketOperation, earlier_send: "asyncio.Future[None] | None"
    ) -> None:
        tracing.make_current(operation.entry.span)
        try:
            if earlier_send is not None:
                # A stop or a clear must not overtake the send before it.
                await asyncio.wait({earlier_send})
            feed = await self._execute(operation)
            if feed is not None:
                await self._drive(operation, feed)
            await operation.send_operation_message({"id": operation.id, "type": "complete"})
        except WebSocketDisconnected:
            operation.entry.failed(CUT)  # The socket's own loop ends, too, and cleans up.
        except Exception as error:
            unexpected = present(
                GraphQLError(str(error), original_error=error), request=operation.entry.request
            )
            with suppress(WebSocketDisconnected):
                await operation.send_initial_errors([unexpected])
        finally:
            operation.begin()

    async def _execute(self, operation: SocketOperation) -> Feed | None:
        """Executes an operation and sends its results; returns the rest, if that is a feed."""
        results = await self.schema.stream(
            operation.query,
            variable_values=operation.variables,
            context_value=replace(
                self.context,
                document=operation.document,
                sent=operation.begin,
                takes_feed=True,
                entry=operation.entry,
            ),
            operation_name=operation.operation_name,
        )
        # They may be large, and the operation may last.
        operation.query, operation.variables, operation.document = "", None, None
        async with aclosing(results):
            async for result in results:
                assert isinstance(result, ExecutionResult)
                if isinstance(result.data, Feed):
                    if result.data.ends_results:
                        return result.data
                    try:
                        await self._drive(operation, result.data)
                        continue
                    except WebSocketDisconnected:
                        raise
                    except Exception as error:
                        result = await results.athrow(error)
                if result.data is None and (operation.streams or not _has_begun(result)):
                    # A stream that cannot go on ends with an error, never with null data.
                    await operation.send_initial_errors(result.errors or [])
                    break
                await operation.send_next(result)
        return None

    async def _drive(self, operation: SocketOperation, feed: Feed) -> None:
        """Sends all chunks of a feed."""
        frame = feed.plan.frames(operation.id)
        send, write = self.websocket.send_text, self.websocket.write
        entry = operation.entry

        def push(chunk: Chunk) -> bool:
            if operation.completed or not write(text := frame(chunk)):
                return False
            entry.chunks_sent += 1
            entry.bytes_sent += len(text)
            return True

        async with aclosing(feed.chunks) as chunks:
            chunks.push_to(push)
            async for chunk in chunks:
                if operation.completed:
                    return
                text = frame(chunk)
                await send(text)
                entry.chunks_sent += 1
                entry.bytes_sent += len(text)
                del text
                del chunk  # It may be long, and would stay while there is nothing to say.

    def forget_id(self, id: str) -> None:
        self.operations.pop(id, None)


def _has_begun(result: ExecutionResult) -> bool:
    """Whether the execution began: an error without a path is one of the request."""
    return any(error.path for error in result.errors or [])
