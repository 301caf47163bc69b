"""The application: the only place that wires."""

import asyncio
import hmac
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from http import HTTPStatus
from pathlib import Path
from typing import Any

from limits.aio.storage import Storage
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from graphql_app import metrics, tracing
from graphql_app.access.hosts import Hosts
from graphql_app.access.origins import Origins
from graphql_app.access.proxies import Proxies
from graphql_app.access.quotas import Quotas
from graphql_app.api.failures import internal_sentence, noted
from graphql_app.api.journal import Journal
from graphql_app.api.schema import new_schema
from graphql_app.api.transport import Transport
from graphql_app.api.trusted import read_trusted_documents
from graphql_app.chat import ChatService
from graphql_app.completions import open_completion, provider_of
from graphql_app.door import Door, safely
from graphql_app.errors import StoreUnavailableError
from graphql_app.interfaces import Store
from graphql_app.pages import CHAT, PLAYGROUND, Pages
from graphql_app.settings import Settings
from graphql_app.shutdown import Phase, Shutdown
from graphql_app.stores import open_store
from graphql_app.stores.measured import measured

STATIC = Path(__file__).parent / "static"

ASKED_HEADERS = ("Authorization", "X-Request-Id")
"""What pages of other origins may send beside what they always may."""

SHOWN_HEADERS = ("Retry-After", "WWW-Authenticate", "X-Request-Id")
"""What they may read of an answer beside what they always may."""

PREFLIGHT_SECONDS = 600


@contextmanager
def opening_quietly() -> Iterator[None]:
    """Keeps stores from logging what goes wrong while they are opened: the error says it."""
    logger = logging.getLogger("graphql_app.stores")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


class Shared:
    """A call that is under way once only: who comes meanwhile gets the same answer.

    Anybody may ask whether the store is there, and the store has to serve others, too.
    """

    def __init__(self, call: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._call = call
        self._task: asyncio.Task[None] | None = None

    async def __call__(self) -> None:
        """Raises what the call raises; cancelling is safe."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._call())
            # If nobody waits for it any more, asyncio would log what it raises.
            self._task.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(self._task)


class Application(Starlette):
    """Starlette behind a door, which leaves sockets to the transport.

    Its layers take time for each frame. Below a prefix, it finds the way as usual.
    """

    def __init__(self, *, door: Door, sockets: ASGIApp, **options: Any) -> None:
        super().__init__(**options)
        self._door = door
        self._sockets = sockets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = None
        if scope["type"] != "lifespan":
            refusal = self._door.refusal(scope)
        if scope["type"] == "http":
            send = safely(scope, send)
        if refusal is not None:
            await refusal(scope, receive, send)
        elif scope["type"] == "websocket" and scope["path"] == "/graphql":
            await self._sockets(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def _counters(store: Store) -> Storage | None:
    """Where rates are counted: in the Redis of the store, for all processes; None: in this one."""
    pool = getattr(store, "pool", None)
    if pool is None:
        return None
    from limits.aio.storage import RedisStorage

    return RedisStorage(
        "async+redis://",  # The pool knows the server, and which one Sentinels mean.
        implementation="redispy",
        key_prefix="graphql-app",
        connection_pool=pool,
    )


def create_app(settings: Settings, shutdown: Shutdown | None = None) -> Starlette:
    """The ASGI application that the settings describe; it runs inside its lifespan.

    Args:
        shutdown: whoever serves the application says there that its end has begun.

    Raises:
        ConfigurationError: the store, the completion or the tokens cannot be what the settings say.
    """
    shutdown = shutdown or Shutdown()
    if settings.otel:
        tracing.check_installed()
    tokens = settings.tokens
    store = measured(open_store(settings.store))
    completion = open_completion(
        settings.completion,
        word_delay_seconds=settings.word_delay,
        system_prompt=settings.system_prompt,
        max_history_messages=settings.max_history_messages,
        max_history_tokens=settings.max_history_tokens,
    )
    chat = ChatService(
        store,
        completion,
        limits=settings.limits,
        lease_seconds=settings.lease_seconds,
        drain_seconds=settings.drain_seconds,
    )
    has_playground = settings.allows("playground")
    pages = Pages(STATIC, without=() if has_playground else (PLAYGROUND,))
    journal = Journal(
        is_logged=settings.log_operations,
        lines_per_second=settings.max_log_lines_per_second,
        owner_key=_owner_key(settings, store),
    )
    schema = new_schema(
        introspection=settings.allows("introspection"), suggestions=settings.allows("suggestions")
    )
    file = settings.trusted_documents
    transport = Transport(
        schema,
        chat,
        pages=pages,
        has_playground=has_playground,
        max_body_bytes=settings.max_message_bytes,
        max_sockets=settings.max_sockets,
        max_operations_per_socket=settings.max_operations_per_socket,
        init_timeout_seconds=settings.connection_init_seconds,
        tokens=tokens,
        journal=journal,
        quotas=Quotas(settings.rates, _counters(store)),
        trusted=read_trusted_documents(file, schema) if file else None,
        shutdown=shutdown,
    )
    shutdown.at(Phase.HURRIED, chat.hurry)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if settings.otel:
                await stack.enter_async_context(
                    tracing.exporting(settings.completion, provider_of(settings.completion))
                )
            if isinstance(completion, AbstractAsyncContextManager):
                await stack.enter_async_context(completion)  # It closes after all replies.
            stack.push_async_callback(store.close)
            with opening_quietly():
                await store.open()
                await stack.enter_async_context(chat)
            if tokens is not None:
                tokens.begin()
            await stack.enter_async_context(metrics.counting(journal.count, chat.count))
            yield

    async def failed(_: Request, error: Exception) -> Response:
        # Starlette raises it again behind this; the server knows that it is logged.
        id = noted(error, "a request failed")
        return PlainTextResponse(internal_sentence(id), HTTPStatus.INTERNAL_SERVER_ERROR)

    async def home(request: Request) -> Response:
        return await pages.page(CHAT, request)

    async def healthy(_: Request) -> Response:
        return PlainTextResponse("ok")

    reach = Shared(store.ping)

    async def ready(_: Request) -> Response:
        if shutdown.phase > Phase.SERVING:
            return PlainTextResponse("The server is shutting down.", HTTPStatus.SERVICE_UNAVAILABLE)
        try:
            await reach()
        except StoreUnavailableError as error:
            return PlainTextResponse(str(error), HTTPStatus.SERVICE_UNAVAILABLE)
        return PlainTextResponse("ready")

    async def counts(request: Request) -> Response:
        token = settings.metrics_token
        if token is None and settings.production:
            sentence = "There is none in production without GRAPHQL_APP_METRICS_TOKEN."
            return PlainTextResponse(sentence, HTTPStatus.NOT_FOUND)
        if token is not None and not _has_token(request, token.get_secret_value()):
            metrics.refused("metrics")
            return PlainTextResponse(
                "This needs the token of GRAPHQL_APP_METRICS_TOKEN.",
                HTTPStatus.UNAUTHORIZED,
                {"WWW-Authenticate": "Bearer"},
            )
        metrics.count_now()
        return Response(
            await asyncio.to_thread(metrics.exposition), media_type=metrics.CONTENT_TYPE
        )

    # Whoever comes from elsewhere has been turned away at the door.
    from_elsewhere = Middleware(
        CORSMiddleware,
        allow_origins=settings.origins,
        allow_methods=("GET", "POST"),
        allow_headers=ASKED_HEADERS,
        expose_headers=SHOWN_HEADERS,
        allow_private_network=True,
        max_age=PREFLIGHT_SECONDS,
    )

    return Application(
        door=Door(
            hosts=Hosts((*settings.hosts, settings.host.lower())),
            origins=Origins(settings.origins),
            proxies=Proxies(settings.trusted_proxies),
        ),
        sockets=transport,
        routes=[
            Route("/", home),
            Route("/healthz", healthy),
            Route("/readyz", ready),
            Route("/metrics", counts),
            Route("/graphql", transport, middleware=[from_elsewhere]),
            WebSocketRoute("/graphql", transport),
            Mount("/static", pages),
        ],
        exception_handlers={Exception: failed},
        lifespan=lifespan,
    )


def _has_token(request: Request, token: str) -> bool:
    """Whether a request brings this very token; how long that takes does not say how much of it."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    is_right = hmac.compare_digest(given.strip().encode(), token.encode())
    return scheme.lower() == "bearer" and is_right


def _owner_key(settings: Settings, store: Store) -> bytes | None:
    """With what owners are hashed in the log: the same for all servers of one store, if that can
    be had without a setting."""
    if settings.log_owner_key:
        return settings.log_owner_key.get_secret_value().encode()
    return settings.store.encode() if store.shared else None
