"""Several server processes behind one listening socket, and the process that watches over them.

    first signal ─▶ all workers shut down
    second       ─▶ all workers hurry
    third        ─▶ all workers are killed

Workers are told over a pipe, since signals would not do: Ctrl-C in a terminal, and a service
manager that stops a group, reach every process at once, and being told twice means to hurry. The
end of the pipe tells a worker that its parent is gone, however it went.
"""

import asyncio
import logging
import multiprocessing
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from types import FrameType
from typing import TypeAlias

from graphql_app import metrics
from graphql_app.app import opening_quietly
from graphql_app.completions import open_completion
from graphql_app.errors import ConfigurationError, StoreUnavailableError
from graphql_app.interfaces import Store
from graphql_app.server import (
    ENDING_SECONDS,
    SIGNALS,
    Server,
    bound_sockets,
    say_running,
    set_up_log,
)
from graphql_app.settings import Settings
from graphql_app.shutdown import Phase, Shutdown
from graphql_app.stores import open_store
from graphql_app.stores.urls import without_password

logger = logging.getLogger(__name__)

AGAIN_SECONDS = 1.0
"""The pause before a worker that ended is replaced: one that cannot live costs little."""

spawn = multiprocessing.get_context("spawn")
"""New interpreters, so that nothing is forked that a completion or a library has started."""

Failure: TypeAlias = ConfigurationError | StoreUnavailableError


def serve_with_workers(settings: Settings) -> None:
    """Serves with several processes until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: a setting cannot work, or the store is for one process.
        StoreUnavailableError: the store cannot be reached.
    """
    store = open_store(settings.store)
    if not store.shared:
        raise ConfigurationError(
            f"workers: the store {without_password(settings.store)} lives inside one process, so "
            f"each of {settings.workers} workers would have messages of its own; use a store that "
            "processes share, such as --store sqlite:///chat.db, or one worker."
        )
    open_completion(settings.completion, word_delay_seconds=settings.word_delay)
    _ = settings.tokens
    sockets = bound_sockets(settings)
    set_up_log(settings)
    asyncio.run(_open_once(store))
    supervisor = Supervisor(settings, sockets)
    with metrics.shared_by_workers():
        asyncio.run(supervisor.run())
    if supervisor.signals:
        signal.raise_signal(supervisor.signals[0])  # As if nobody had handled it.


async def _open_once(store: Store) -> None:
    """Lets go wrong what can go wrong before there are workers, and migrates the database once."""
    try:
        with opening_quietly():
            await store.open()
    finally:
        await store.close()


class Supervisor:
    """Starts the workers, replaces those that end, and ends them all."""

    def __init__(self, settings: Settings, sockets: list[socket.socket]) -> None:
        self.signals: list[int] = []
        self._settings = settings
        self._sockets = sockets
        self._shutdown = Shutdown()
        self._workers: set[Worker] = set()
        self._empty_places = settings.workers
        self._failure: Failure | None = None

    async def run(self) -> None:
        """Returns when all workers have ended as they were told.

        Raises:
            ConfigurationError, StoreUnavailableError: a worker could not even start.
        """
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._signalled, number)
        try:
            await asyncio.gather(*(self._fill_a_place() for _ in range(self._empty_places)))
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)
        if self._failure is not None:
            raise self._failure

    async def _fill_a_place(self) -> None:
        """Sees to it that there is one worker, until all shall end."""
        is_empty = True
        while self._shutdown.phase is Phase.SERVING:
            worker = Worker(self._settings, self._sockets)
            self._workers.add(worker)
            failure = await worker.until_serving()
            if is_empty and failure is None:
                is_empty = False
                self._place_filled()
            elif is_empty and self._shutdown.phase is Phase.SERVING:
                self._failure = failure
                self._end(Phase.HURRIED)
            status = await worker.until_ended()
            self._workers.discard(worker)
            metrics.worker_ended(worker.pid)
            if self._shutdown.phase is Phase.SERVING:
                logger.warning(
                    "worker %d ended with status %d%s; another one takes its place",
                    worker.pid,
                    status,
                    "" if failure is None else f" ({failure})",
                )
                await self._shutdown.wait(Phase.NOTICE, AGAIN_SECONDS)

    def _place_filled(self) -> None:
        self._empty_places -= 1
        if self._empty_places == 0 and self._shutdown.phase is Phase.SERVING:
            say_running(self._settings, self._sockets[0])

    def _signalled(self, number: int) -> None:
        self.signals.append(number)
        match len(self.signals):
            case 1:
                self._end(Phase.NOTICE)
                # A worker whose loop is blocked hears of nothing.
                seconds = self._settings.notice_seconds + self._settings.drain_seconds
                asyncio.get_running_loop().call_later(seconds + ENDING_SECONDS, self._kill)
            case 2:
                self._end(Phase.HURRIED)
                asyncio.get_running_loop().call_later(ENDING_SECONDS, self._kill)
            case _:
                self._kill()

    def _end(self, phase: Phase) -> None:
        # While one process holds a socket that listens, clients wait at it.
        for listener in self._sockets:
            listener.close()
        self._shutdown.reach(phase)
        for worker in self._workers:
            worker.tell(phase)

    def _kill(self) -> None:
        for worker in self._workers:
            worker.kill()


class Worker:
    """One process that serves, as its parent sees it."""

    def __init__(self, settings: Settings, sockets: list[socket.socket]) -> None:
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=work, args=(settings, sockets, theirs))
        # A signal to the group must not end a process that is not ready for it.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        theirs.close()
        assert self._process.pid is not None
        self.pid = self._process.pid

    async def until_serving(self) -> Failure | None:
        """Returns when the worker serves, or with the reason why it does not."""
        await _readable(self._pipe.fileno())
        try:
            said: tuple[Failure, str] | None = self._pipe.recv()
        except (EOFError, OSError):
            return ConfigurationError("workers: a worker ended before it served.")
        if said is None:
            return None
        failure, cause = said
        if cause:  # Pickling an error loses it.
            failure.__cause__ = RuntimeError(cause)
        return failure

    async def until_ended(self) -> int:
        """The exit status, negative for the signal that ended the worker."""
        await _readable(self._process.sentinel)
        self._process.join()
        self._pipe.close()
        assert self._process.exitcode is not None
        return self._process.exitcode

    def tell(self, phase: Phase) -> None:
        with suppress(OSError):  # It has just ended.
            self._pipe.send(phase)

    def kill(self) -> None:
        self._process.kill()


def work(settings: Settings, sockets: list[socket.socket], parent: Connection) -> None:
    """What a worker's process does."""
    set_up_log(settings)
    try:
        with metrics.as_a_worker():
            WorkerServer(settings, parent).run(sockets)
    except (ConfigurationError, StoreUnavailableError) as error:
        with suppress(OSError):
            parent.send((error, str(error.__cause__ or "")))
    except Exception as error:
        # multiprocessing would print it as it is.
        logger.critical("nobody has caught this", exc_info=error)
        raise SystemExit(1) from None


class WorkerServer(Server):
    """A server that is told by its parent what to do."""

    def __init__(self, settings: Settings, parent: Connection) -> None:
        super().__init__(settings)
        self._parent = parent

    def say_running(self, listener: socket.socket) -> None:
        asyncio.get_running_loop().add_reader(self._parent.fileno(), self._obey)
        with suppress(OSError):
            self._parent.send(None)

    def _obey(self) -> None:
        try:
            self.end(self._parent.recv())
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(self._parent.fileno())
            self.end(Phase.NOTICE)  # The parent is gone.

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        for number in SIGNALS:
            signal.signal(number, self.handle_exit)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal that a worker gets never makes it hurry: the parent may have got it, too."""
        self.end_from_outside(Phase.NOTICE)


async def _readable(file: int) -> None:
    """Returns when something can be read from a file, or its end."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(file, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(file)
