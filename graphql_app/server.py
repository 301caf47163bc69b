"""Serving the application with uvicorn, and shutting it down in order.

    first signal ─▶ a notice: /readyz says no, everything still works
                 ─▶ the listener is closed; sockets are closed with 1012, event streams end
                 ─▶ requests under way are answered
                 ─▶ replies go on for the drain, then end as SERVER_SHUTDOWN
    second       ─▶ no more notice and drain
    third        ─▶ the end, at once

uvicorn by itself closes its listeners before anything can be seen from outside, and knows no
second signal.
"""

import asyncio
import gc
import ipaddress
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from types import FrameType

import uvicorn

from graphql_app import logs
from graphql_app.api.failures import NOTED
from graphql_app.app import create_app
from graphql_app.errors import ConfigurationError
from graphql_app.http_protocol import RequestProtocol
from graphql_app.settings import Settings
from graphql_app.shutdown import Phase, Shutdown
from graphql_app.socket_protocol import GOODBYE_SECONDS, SocketProtocol
from graphql_app.stores.urls import without_password

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)

HELLO_SECONDS = 0.1
"""How long a connection that was just let in may take to say what it wants."""

REQUEST_SECONDS = 5.0
"""How long HTTP requests that are under way may take: a few calls to a store that is slow."""

ENDING_SECONDS = 20.0
"""How long a shutdown may take beside notice and drain: requests, replies that have to be ended in
a store that may be away, and what is closed after them."""

PONG_SECONDS = 10.0
"""How long a client may take to answer a ping; it gets one every 20 seconds."""

FILES_BESIDE_CONNECTIONS = 200
"""How many files a process needs for everything else: its store, models, metrics, itself."""

GARBAGE = 5_000
"""How many objects may be made, and not go away again, before the collector looks at them."""

LINGER_SECONDS = 1.0
"""How long the process may take to end after everything is closed."""


class ExpectedFaults(logging.Filter):
    """Keeps tracebacks out of the log that uvicorn writes for what is no defect of ours."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if getattr(error, NOTED, False):
            return False
        # A shutdown cancels the requests that take too long.
        return not isinstance(error, asyncio.CancelledError)


class Watchdog:
    """Ends the process if it does not end in time."""

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None

    def within(self, seconds: float, status: int) -> None:
        """From now on it is this time that counts."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(seconds, self._end, [status])
        self._timer.daemon = True
        self._timer.start()

    def _end(self, status: int) -> None:
        logger.warning("ending in spite of completions, or calls to the store, that still run")
        logging.shutdown()
        os._exit(status)


class Server(uvicorn.Server):
    """uvicorn, with a lifespan and a shutdown of our own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._shutdown = Shutdown()
        self._app = create_app(settings, self._shutdown)
        self._signals: list[int] = []
        self._watchdog = Watchdog()
        self._loop: asyncio.AbstractEventLoop | None = None
        for phase in (Phase.NOTICE, Phase.HURRIED):
            self._shutdown.at(phase, self._watch)
        patience = replace(settings.patience, connections=connections_that_fit(settings))
        super().__init__(
            uvicorn.Config(
                self._app,
                http=partial(RequestProtocol, patience=patience),  # type: ignore[arg-type]
                ws=partial(SocketProtocol, patience=patience),  # type: ignore[arg-type]
                ws_max_size=settings.max_message_bytes,
                ws_ping_timeout=PONG_SECONDS,
                # Deflate costs 40 KB for each idle socket, and half of the time of each event.
                ws_per_message_deflate=settings.deflate,
                lifespan="off",  # We run it ourselves.
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # Those of 127.0.0.1 would be believed; see door.py.
            )
        )
        logging.getLogger("uvicorn.error").addFilter(ExpectedFaults())

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        with self.capture_signals():
            # Under uvicorn, a store that cannot be opened would end in a traceback.
            async with self._app.router.lifespan_context(self._app):
                with collecting_less():
                    await self._serve(sockets)
            # All is closed. What may still hold the interpreter up are completions that ignored
            # their cancellation, or that sit in a thread.
            self._watchdog.within(LINGER_SECONDS, self._status)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except OSError as error:
            raise not_listening(self._settings, error) from error
        self.say_running(self.servers[0].sockets[0])

    def say_running(self, listener: socket.socket) -> None:
        say_running(self._settings, listener)

    @property
    def _status(self) -> int:
        return 128 + self._signals[0] if self._signals else 0

    def _watch(self) -> None:
        seconds = ENDING_SECONDS
        if self._shutdown.phase < Phase.HURRIED:
            seconds += self._settings.notice_seconds + self._settings.drain_seconds
        self._watchdog.within(seconds, self._status)

    # Shutting down.

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        handlers = {number: signal.signal(number, self.handle_exit) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        if self._signals:
            signal.raise_signal(self._signals[0])  # As if nobody had handled it.

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._signals.append(sig)
        match len(self._signals):
            case 1:
                self.end_from_outside(Phase.NOTICE)
            case 2:
                self.end_from_outside(Phase.HURRIED)
            case _:
                os._exit(self._status)

    def end_from_outside(self, phase: Phase) -> None:
        """Begins to shut down, or hurries; may be called from a signal handler."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self.end, phase)

    def end(self, phase: Phase) -> None:
        """Begins to shut down, or hurries."""
        self._shutdown.reach(phase)
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._shutdown.wait(Phase.HURRIED, self._settings.notice_seconds)
        waiting = [client for listener in sockets or () for client in _clients_waiting_at(listener)]
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        for client in waiting:
            with suppress(OSError):  # It has left.
                await asyncio.get_running_loop().connect_accepted_socket(self._new_protocol, client)
        await self._shutdown.wait(Phase.HURRIED, HELLO_SECONDS)
        self._shutdown.reach(Phase.DRAINING)
        await self._end_connections()

    def _new_protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    async def _end_connections(self) -> None:
        """Closes what is idle, answers what is under way, and closes the rest."""
        state = self.server_state
        loop = asyncio.get_running_loop()
        deadline = loop.time() + REQUEST_SECONDS
        told = set[object]()
        while state.connections or state.tasks:
            for connection in state.connections - told:
                told.add(connection)
                connection.shutdown()
            if self._shutdown.phase is Phase.HURRIED:
                deadline = min(deadline, loop.time() + GOODBYE_SECONDS)
            if loop.time() >= deadline:
                break
            await asyncio.sleep(0.02)
        for connection in list(state.connections):
            connection.transport.abort()
        if tasks := set(state.tasks):
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=GOODBYE_SECONDS)


@contextmanager
def collecting_less() -> Iterator[None]:
    """Makes the garbage collector look at less, and less often: its pauses hold up everybody.

    What is there now stays, and most of what a request makes goes without the collector.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def serve(settings: Settings) -> None:
    """Serves in this process until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: a setting cannot work.
        StoreUnavailableError: the store cannot be reached.
    """
    set_up_log(settings)
    Server(settings).run(bound_sockets(settings))


def _clients_waiting_at(listener: socket.socket) -> Iterator[socket.socket]:
    """Those whom the system has let in already; it would reset them when the listener is closed."""
    with suppress(OSError):
        while True:
            yield listener.accept()[0]


def bound_sockets(settings: Settings) -> list[socket.socket]:
    """Sockets at the address, on which nobody listens yet.

    Raises:
        ConfigurationError: the address is unknown, or taken, or open to others who need no token.
    """
    sockets: list[socket.socket] = []
    port = settings.port
    try:
        for family, kind, protocol, _, address in dict.fromkeys(
            socket.getaddrinfo(
                settings.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
        ):
            check_open(settings, str(address[0]))
            sockets.append(listener := socket.socket(family, kind, protocol))
            if os.name == "posix":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                # Connections have it, too. Else the system would keep what nobody takes for hours.
                milliseconds = round(settings.unread_seconds * 1_000)
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, True)
            listener.bind((address[0], port, *address[2:]))
            port = listener.getsockname()[1]  # If any will do, then the same for all.
    except (OSError, UnicodeError, ConfigurationError) as error:
        for listener in sockets:
            listener.close()
        if isinstance(error, ConfigurationError):
            raise
        raise not_listening(settings, error) from error
    return sockets


def check_open(settings: Settings, address: str) -> None:
    """Sees to it that nobody else's machine can reach a server that asks for no token by mistake.

    Raises:
        ConfigurationError: one could, and nobody has said that it may.
    """
    if settings.authenticates or settings.open or _is_loopback(address):
        return
    raise ConfigurationError(
        f"host: {settings.host} can be reached from other machines, and the server is open to "
        "whoever reaches it; set GRAPHQL_APP_JWT_SECRET, _JWT_PUBLIC_KEY or _JWT_JWKS_URL so that "
        "everybody needs a token, or say --open (GRAPHQL_APP_OPEN=true)."
    )


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def not_listening(settings: Settings, error: Exception) -> ConfigurationError:
    reason = getattr(error, "strerror", None) or error
    return ConfigurationError(f"port: {settings.port} on {settings.host} cannot be used: {reason}.")


def set_up_log(settings: Settings) -> None:
    """Makes all that this process says lines of the log that the settings describe."""
    logs.set_up(settings.shown_log_format, content=settings.log_content, secrets=settings.secrets)


def connections_that_fit(settings: Settings) -> int:
    """How many connections this process has files for, at most those that it may have.

    If it has too few, it takes as many as the system gives.
    """
    try:
        import resource
    except ImportError:  # Windows gives as many as there is memory for.
        return settings.max_connections
    needed = settings.max_connections + FILES_BESIDE_CONNECTIONS
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != resource.RLIM_INFINITY and files < needed:
        files = needed if most == resource.RLIM_INFINITY else min(needed, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
    if files == resource.RLIM_INFINITY:
        return settings.max_connections
    return max(1, min(settings.max_connections, files - FILES_BESIDE_CONNECTIONS))


def say_running(settings: Settings, listener: socket.socket) -> None:
    """Says what is served and where, to whom, and to fewer than it should be."""
    fitting = connections_that_fit(settings)
    if fitting < settings.max_connections:
        logger.warning(
            "only %d of %d connections (GRAPHQL_APP_MAX_CONNECTIONS) can be open at once: "
            "the system allows this process %d files (ulimit -n)",
            fitting,
            settings.max_connections,
            fitting + FILES_BESIDE_CONNECTIONS,
        )
    logger.info(
        "graphql_app is running on http://%s:%d (store %s, completion %s); Ctrl-C ends it",
        f"[{settings.host}]" if ":" in settings.host else settings.host,
        listener.getsockname()[1],
        without_password(settings.store),
        settings.completion,
    )
    if not settings.authenticates:
        logger.warning(
            "it is open: whoever reaches it needs no token, and all share the same messages "
            "(docs/how-to/authenticate.md)"
        )
    if settings.log_content:
        logger.warning(
            "log_content is on: the log, and traces, may have what users write and are answered"
        )
