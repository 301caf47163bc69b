"""The wire: GraphQL over HTTP, over Server-Sent Events, over multipart, and the door to sockets.

Strawberry's view does the routine; here is what makes it keep to the specifications:
https://graphql.github.io/graphql-over-http/draft/
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from cross_web import AsyncHTTPRequestAdapter, HTTPException
from graphql import GraphQLError, OperationType
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from strawberry.asgi import GraphQL
from strawberry.http import GraphQLHTTPResponse, GraphQLRequestData
from strawberry.schema.base import BaseSchema
from strawberry.subscriptions import (
    GRAPHQL_SSE_PROTOCOL,
    GRAPHQL_TRANSPORT_WS_PROTOCOL,
    MULTIPART_SUBSCRIPTION_PROTOCOL,
)
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError

from graphql_app import metrics, tracing
from graphql_app.access.bearer import EXPIRED, MISSING, bearer
from graphql_app.access.caller import Caller
from graphql_app.access.quotas import Quotas
from graphql_app.api.context import Context
from graphql_app.api.delivery import encode_json
from graphql_app.api.expiry import until
from graphql_app.api.failures import (
    INTERNAL_SERVER_ERROR,
    internal_sentence,
    noted,
    present,
    presented,
)
from graphql_app.api.journal import CUT, REQUEST_ID, Entry, Journal, request_id
from graphql_app.api.negotiation import (
    LEGACY_JSON,
    RESPONSE_JSON,
    media_types,
    negotiated,
    wanted_protocol,
)
from graphql_app.api.requests import (
    GraphQLRequest,
    MalformedError,
    ParsedOperation,
    changes_something,
    decode_json,
    operation_in,
    parse_operation,
    request_from,
)
from graphql_app.api.trusted import TrustedDocuments
from graphql_app.api.websocket import (
    CLOSED,
    INTERNAL_ERROR,
    Socket,
    SocketAdapter,
    SocketHandler,
)
from graphql_app.chat import ChatService
from graphql_app.errors import (
    ChatError,
    KeysUnavailableError,
    PersistedQueryNotSupportedError,
    RateLimitedError,
    UnauthenticatedError,
)
from graphql_app.pages import PLAYGROUND, Pages
from graphql_app.shutdown import Phase, Shutdown

if TYPE_CHECKING:
    from graphql_app.access.tokens import Tokens

RETRY_SECONDS = 10
"""After how long it may be of use to try again with a socket, of which there were too many."""

METHOD_NOT_ALLOWED = HTTPStatus.METHOD_NOT_ALLOWED


@dataclass
class RequestData(GraphQLRequestData):
    """What Strawberry wants to know of a request, and the request."""

    request: GraphQLRequest = field(kw_only=True)


class Transport(GraphQL[Context, None]):
    """The ASGI application at /graphql.

    Args:
        pages: have the playground, for browsers that come without a query.
        has_playground: whether they are shown it.
        max_body_bytes: the largest request body.
        max_sockets: how many sockets may be open; one more is refused with 503.
        tokens: checks who comes; None: whoever comes may.
        quotas: say how often.
        trusted: the only documents that are run; None: all are.
        journal: is told of each operation.
        shutdown: ends event streams when it is at DRAINING. (Sockets are closed by the server.)
    """

    graphql_transport_ws_handler_class = SocketHandler
    websocket_adapter_class = SocketAdapter

    def __init__(
        self,
        schema: BaseSchema,
        chat: ChatService,
        *,
        pages: Pages,
        has_playground: bool = True,
        max_body_bytes: int,
        max_sockets: int,
        max_operations_per_socket: int,
        init_timeout_seconds: float,
        tokens: "Tokens | None" = None,
        quotas: Quotas | None = None,
        trusted: TrustedDocuments | None = None,
        journal: Journal | None = None,
        shutdown: Shutdown | None = None,
    ) -> None:
        super().__init__(
            schema,
            subscription_protocols=(
                GRAPHQL_TRANSPORT_WS_PROTOCOL,
                GRAPHQL_SSE_PROTOCOL,
                MULTIPART_SUBSCRIPTION_PROTOCOL,
            ),
            connection_init_wait_timeout=timedelta(seconds=init_timeout_seconds),
            max_subscriptions_per_connection=max_operations_per_socket,
        )
        self._chat = chat
        self._pages = pages
        self._has_playground = has_playground
        self._max_body_bytes = max_body_bytes
        self._max_sockets = max_sockets
        self._tokens = tokens
        self.quotas = quotas or Quotas()
        self._trusted = trusted
        self.journal = journal or Journal()
        self._shutdown = shutdown or Shutdown()
        self._sockets = 0

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:  # type: ignore[override]
        if scope["type"] == "websocket":
            return self._serve_socket(Socket(scope, receive, send))
        return self._serve_request(scope, receive, send)

    async def _serve_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        id = request_id(headers.get(REQUEST_ID))
        entry = self.journal.entry(id, "http", headers)
        tracing.make_current(entry.span)
        request = _BoundedRequest(scope, receive, self._max_body_bytes, entry)
        try:
            response = await self._respond(request)
            response.headers[REQUEST_ID] = id
            await response(scope, receive, send)
        except ClientDisconnect:
            entry.failed(CUT)
        except BaseException as error:
            entry.failed(INTERNAL_SERVER_ERROR if isinstance(error, Exception) else CUT)
            raise
        finally:
            entry.end()

    async def _serve_socket(self, socket: Socket) -> None:
        if self._sockets >= self._max_sockets:
            metrics.refused("sockets")
            refusal = PlainTextResponse(
                "The server has reached its limit of open sockets; try again later.",
                HTTPStatus.SERVICE_UNAVAILABLE,
            )
            with suppress(WebSocketDisconnect):
                await socket.send_denial_response(refusal)
            return
        address = _address_of(socket)
        if not self.quotas.enter_address(address):
            refusal = PlainTextResponse(
                f"There are {self.quotas.rates.sockets_per_address:,} sockets of your address "
                "already; close some, or try again later.",
                HTTPStatus.TOO_MANY_REQUESTS,
                {"Retry-After": f"{RETRY_SECONDS}"},
            )
            with suppress(WebSocketDisconnect):
                await socket.send_denial_response(refusal)
            return
        self._sockets += 1
        metrics.socket_opened()
        try:
            await self.run(socket)
        except WebSocketDisconnect:
            pass
        except Exception as error:
            id = noted(error, "a socket failed")
            with suppress(*CLOSED):
                await socket.close(INTERNAL_ERROR, internal_sentence(id))
        finally:
            self._sockets -= 1
            metrics.socket_closed(socket.close_code)
            self.quotas.leave_address(address)

    def is_websocket_origin_allowed(self, request: Any, origin: str) -> bool:
        return True  # Who comes this far was let in at the door.

    async def _respond(self, request: "_BoundedRequest") -> Response:
        if request.method not in ("GET", "POST"):
            request.entry.failed(f"HTTP_{METHOD_NOT_ALLOWED}")
            return self._refusal(
                METHOD_NOT_ALLOWED, "GraphQL takes GET and POST.", {"Allow": "GET, POST"}
            )
        try:
            if self.should_render_graphql_ide(request):
                return await self.render_graphql_ide(request)  # The page asks for a token itself.
            # Before the body is read.
            address = _address_of(request)
            await self.quotas.check_request(address)
            caller = await self.caller(_token_of(request), address)
            return await self.run(request, Context(self._chat, caller, quotas=self.quotas))
        except RateLimitedError as error:
            request.entry.failed(error.code)
            return self._refusal(
                HTTPStatus.TOO_MANY_REQUESTS,
                str(error),
                {"Retry-After": f"{error.retry_seconds}"},
                error.code,
            )
        except UnauthenticatedError as error:
            request.entry.failed(error.code)
            return self._refusal(HTTPStatus.UNAUTHORIZED, str(error), challenge(error), error.code)
        except KeysUnavailableError as error:
            request.entry.failed(error.code)
            return self._refusal(
                HTTPStatus.SERVICE_UNAVAILABLE,
                str(error),
                {"Retry-After": f"{error.retry_seconds}"},
                error.code,
            )
        except MalformedError as error:
            request.entry.failed(f"HTTP_{HTTPStatus.BAD_REQUEST}")
            return self._refusal(HTTPStatus.BAD_REQUEST, str(error))
        except HTTPException as error:
            request.entry.failed(f"HTTP_{error.status_code}")
            headers = {"Allow": "POST"} if error.status_code == METHOD_NOT_ALLOWED else None
            return self._refusal(error.status_code, error.reason, headers)

    def _refusal(
        self,
        status: int,
        message: str,
        headers: dict[str, str] | None = None,
        code: str | None = None,
    ) -> Response:
        error: dict[str, object] = {"message": message}
        if code is not None:
            error["extensions"] = {"code": code}
        return Response(
            encode_json({"errors": [error]}),
            status,
            headers,
            media_type=LEGACY_JSON,
        )

    # Asking.

    async def get_context(
        self, request: Request | WebSocket, response: Response | WebSocket
    ) -> Context:
        # Of a socket, whose caller comes with connection_init.
        caller = Caller(address=_address_of(request))
        return Context(self._chat, caller, quotas=self.quotas)

    async def caller(self, token: str | None, address: str) -> Caller:
        """Who comes with a token.

        Raises:
            UnauthenticatedError: nobody who may.
            KeysUnavailableError: it cannot be said at the moment.
        """
        if self._tokens is None:
            return Caller(address=address)
        try:
            return await self._tokens.caller(token, address)
        except ChatError:
            metrics.refused("token")
            raise

    def should_render_graphql_ide(self, request: Any) -> bool:
        return (
            request.method == "GET"
            and {"query", "documentId", "extensions"}.isdisjoint(request.query_params)
            and "text/html" in request.headers.get("accept", "")
        )

    async def render_graphql_ide(self, request: Request) -> Response:
        if isinstance(request, _BoundedRequest):
            request.entry.discard()
        if not self._has_playground:
            return PlainTextResponse(
                "There is no playground here; the chat is at /.", HTTPStatus.NOT_FOUND
            )
        return await self._pages.page(PLAYGROUND, request)

    async def parse_http_body(self, request: AsyncHTTPRequestAdapter) -> GraphQLRequestData:
        if request.method == "GET":
            value: object = _from_query_string(request.query_params)
        else:
            content_type, parameters = next(media_types(request.content_type or ""))
            if content_type != LEGACY_JSON:
                raise HTTPException(
                    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                    f"The content type must be {LEGACY_JSON}.",
                )
            if parameters.get("charset", "utf-8") not in ("utf-8", "utf8"):
                raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The charset must be utf-8.")
            value = decode_json(await request.get_body())
        checked = request_from(value)
        return RequestData(
            request=checked,
            query=checked.query,
            variables=checked.variables,
            operation_name=checked.operation_name,
            extensions=checked.extensions,
            protocol=wanted_protocol(request.headers.get("accept", "")),
        )

    # Executing.

    def parse(self, request: GraphQLRequest) -> ParsedOperation:
        """The operation that a request means.

        Raises:
            GraphQLError: it has none that may run.
        """
        if self._trusted is not None:
            document = self._trusted.document(request)
            return operation_in(document, request.operation_name, request.variables)
        if request.document_id is not None:
            raise presented(PersistedQueryNotSupportedError())
        return parse_operation(request.query, request.operation_name, request.variables)

    async def execute_operation(  # type: ignore[override]
        self,
        request: Request,
        request_adapter: AsyncHTTPRequestAdapter,
        request_data: GraphQLRequestData,
        context: Context,
        root_value: None,
        sub_response: Response,
    ) -> Any:
        if request_data.protocol == "http":
            _check_acceptable(sub_response)
        assert isinstance(request_data, RequestData)
        assert isinstance(request, _BoundedRequest)
        entry = context.entry = request.entry
        entry.owner = context.owner
        entry.transport = request_data.protocol.removesuffix("-subscription")
        try:
            document, operation = self.parse(request_data.request)
        except GraphQLError as error:
            refused = PreExecutionError(data=None, errors=[present(error, request=entry.request)])
            entry.failed_with(refused.errors or ())
            return refused if request_data.protocol == "http" else _only(refused)
        entry.began(document, operation)
        request_data = replace(request_data, query=document.text)
        if request.method == "GET" and changes_something(document, operation):
            raise HTTPException(
                METHOD_NOT_ALLOWED, "An operation that changes something needs POST."
            )
        subscribes = operation.operation is OperationType.SUBSCRIPTION
        if request_data.protocol == "multipart-subscription" and not subscribes:
            _check_acceptable(sub_response)
            request_data = replace(request_data, protocol="http")
            entry.transport = "http"
        if request_data.protocol == "http" and subscribes:
            raise HTTPException(
                HTTPStatus.NOT_ACCEPTABLE,
                "A subscription needs a WebSocket, or an Accept header of text/event-stream or "
                'multipart/mixed;subscriptionSpec="1.0".',
            )
        context.document = document
        expires_at = context.caller.expires_at
        if context.caller.is_expired:  # While the body came.
            raise UnauthenticatedError(EXPIRED)
        result: Any = await super().execute_operation(
            request, request_adapter, request_data, context, root_value, sub_response
        )
        streams = request_data.protocol != "http"
        return until(expires_at, result) if streams and expires_at is not None else result

    # Answering.

    async def get_sub_response(self, request: Request | WebSocket) -> Response:
        response = await super().get_sub_response(request)
        response.media_type = negotiated(request.headers.get("accept", "*/*"))
        return response

    async def process_result(
        self, request: Request, result: ExecutionResult
    ) -> GraphQLHTTPResponse:
        errors = result.errors or []
        if errors and isinstance(request, _BoundedRequest):
            request.entry.failed_with(errors)
        response: GraphQLHTTPResponse = {}
        if errors:
            response["errors"] = [error.formatted for error in errors]
        # The data entry stays out if execution did not begin; then no error is at a path.
        if result.data is not None or any(error.path for error in errors):
            response["data"] = result.data
        return response

    def encode_json(self, data: object) -> str:
        return encode_json(data).decode()

    async def create_streaming_response(
        self,
        request: Request | WebSocket,
        stream: Callable[[], AsyncIterator[str]],
        sub_response: Response,
        headers: Mapping[str, str],
    ) -> Response:
        texts = stream()
        assert isinstance(texts, AsyncGenerator)
        assert isinstance(request, _BoundedRequest)
        return _EventStream(texts, self._shutdown, headers, request.entry)

    def create_response(
        self,
        response_data: GraphQLHTTPResponse | list[GraphQLHTTPResponse],
        sub_response: Response,
    ) -> Response:
        is_refused = "data" not in response_data and sub_response.media_type == RESPONSE_JSON
        return Response(
            encode_json(response_data),
            HTTPStatus.BAD_REQUEST if is_refused else HTTPStatus.OK,
            media_type=f"{sub_response.media_type}; charset=utf-8",
        )


class _EventStream(StreamingResponse):
    """A response that streams up to its end, or until the server shuts down.

    It is not completed then, so that the client resumes; but the body has an end, so that neither
    the client nor a proxy takes it for a failure.
    """

    def __init__(
        self,
        texts: AsyncGenerator[str, None],
        shutdown: Shutdown,
        headers: Mapping[str, str],
        entry: Entry,
    ) -> None:
        super().__init__(texts, headers=headers)
        self._texts = texts
        self._shutdown = shutdown
        self._entry = entry

    async def stream_response(self, send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": HTTPStatus.OK, "headers": self.raw_headers}
        )
        loop = asyncio.get_running_loop()
        end = asyncio.timeout(None)
        entry = self._entry
        is_whole = False
        try:
            async with end, aclosing(self._texts) as texts:
                forget = self._shutdown.at(Phase.DRAINING, lambda: end.reschedule(loop.time()))
                try:
                    async for text in texts:
                        body = text.encode()
                        part = {"type": "http.response.body", "body": body, "more_body": True}
                        await send(part)
                        entry.chunks_sent += 1
                        entry.bytes_sent += len(body)
                    is_whole = True
                finally:
                    forget()
                    if not is_whole:
                        entry.failed(CUT)
        except TimeoutError:
            if not end.expired():
                raise
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class _BoundedRequest(Request):
    """A request whose body is refused as soon as it is too large, and what is told of it."""

    def __init__(self, scope: Scope, receive: Receive, max_body_bytes: int, entry: Entry) -> None:
        super().__init__(scope, receive)
        self.entry = entry
        self._max_body_bytes = max_body_bytes

    async def stream(self) -> AsyncGenerator[bytes, None]:
        self._check_size(int(self.headers.get("content-length", 0)))
        size = 0
        async for part in super().stream():
            size += len(part)
            self._check_size(size)
            yield part

    def _check_size(self, size: int) -> None:
        if size > self._max_body_bytes:
            raise HTTPException(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"A request body may have at most {self._max_body_bytes:,} bytes.",
            )


def challenge(error: UnauthenticatedError) -> dict[str, str]:
    """The header that says what is missing: RFC 6750, section 3."""
    reason = str(error)
    if reason == MISSING:
        return {"WWW-Authenticate": "Bearer"}
    return {
        "WWW-Authenticate": f'Bearer error="invalid_token", error_description="{reason}"',
    }


def _token_of(request: Request) -> str | None:
    """The token in the header. With two of them nobody knows who is meant."""
    headers = request.headers.getlist("authorization")
    return bearer(headers[0]) if len(headers) == 1 else None


def _address_of(request: Request | WebSocket) -> str:
    return request.client.host if request.client is not None else ""


def _from_query_string(parameters: Mapping[str, Any]) -> dict[str, object]:
    value: dict[str, object] = dict(parameters)
    for name in ("variables", "extensions"):
        if text := value.pop(name, None):
            value[name] = decode_json(str(text))
    return value


def _check_acceptable(sub_response: Response) -> None:
    if sub_response.media_type is None:
        raise HTTPException(
            HTTPStatus.NOT_ACCEPTABLE, f"Accept must allow {RESPONSE_JSON} or {LEGACY_JSON}."
        )


async def _only(result: ExecutionResult) -> AsyncGenerator[ExecutionResult, None]:
    """A stream of one result."""
    yield result
