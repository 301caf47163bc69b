"""Two servers are restarted, one after the other, behind clients that just go on."""

import asyncio
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from graphql_app.client import ChatClient, ConnectionChange, Retry
from graphql_app.messages import ConversationRef, Status
from graphql_app.stores import open_store
from tests.contracts.backends import BACKENDS, Backend
from tests.end_to_end.noted import COMPLETION, NOTES, calls
from tests.processes import ServerProcess, serving
from tests.wire import PATIENCE_SECONDS, RESUME, SEND, Reply, open_socket

ROOT = Path(__file__).parents[2]
RESTARTS = 4
CLIENTS = 5
TEXT = "".join(f"word{number} \U0001f600 " for number in range(80))

SHARED = [backend for backend in BACKENDS if backend.id != "memory"]


@pytest.fixture(params=SHARED, ids=lambda backend: backend.id)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a store is that processes share, its server running."""
    backend: Backend = request.param
    backend.require()
    folder = tmp_path / "store"
    folder.mkdir()
    with backend.serve(folder) as url:
        yield url


class Balancer:
    """Leads each connection to the next server that accepts it."""

    def __init__(self) -> None:
        self.ports: list[int] = []
        self._turn = 0

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in self.ports:
            self._turn += 1
            port = self.ports[self._turn % len(self.ports)]
            try:
                there, back = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                continue
            await asyncio.gather(_forward(reader, back), _forward(there, writer))
            return
        writer.transport.abort()


async def _forward(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
    sink.close()


class Servers:
    """Two servers at one store."""

    def __init__(self, url: str, notes: Path, ports: list[int]) -> None:
        self._options = ("--store", url, *COMPLETION)
        self._environment = {NOTES: str(notes), "GRAPHQL_APP_NOTICE_SECONDS": "0.5"}
        self._ports = ports
        self._stack = ExitStack()
        self._running: list[ServerProcess] = []

    async def start(self) -> None:
        """Starts one more, which clients are led to from then on."""
        server = await asyncio.to_thread(
            self._stack.enter_context,
            serving(*self._options, environment=self._environment, directory=ROOT),
        )
        self._running.append(server)
        self._ports.append(server.port)

    async def restart_the_elder(self) -> None:
        """Ends the server that runs for longer, and when it has ended, starts another."""
        server = self._running.pop(0)
        # Nobody takes its port from the list: clients are led on when it does not accept.
        assert await asyncio.to_thread(server.terminate) == -signal.SIGTERM
        self._ports.remove(server.port)
        await self.start()

    async def stop(self) -> None:
        await asyncio.to_thread(self._stack.close)


@dataclass
class Sent:
    """A message, what a client has seen of its reply, and how often it was cut off."""

    id: str
    reply: Reply = field(default_factory=Reply)
    cuts: int = 0


async def chat_frame_by_frame(url: str, name: str, is_over: asyncio.Event) -> list[Sent]:
    """Sends message after message; whenever a socket is closed, resumes on another."""
    sent: list[Sent] = []
    while not is_over.is_set():
        message = Sent(f"{name}-{len(sent)}")
        sent.append(message)
        while message.reply.status in (None, "STREAMING"):
            try:
                await _follow(url, message)
            except (ConnectionClosed, InvalidHandshake, InvalidMessage, OSError):
                message.cuts += 1
                await asyncio.sleep(0.05)
    return sent


async def _follow(url: str, message: Sent) -> None:
    reply = message.reply
    async with open_socket(url) as socket:
        if reply.message_id is None:
            draft = {"id": message.id, "content": TEXT, "conversationId": message.id}
            await socket.follow(SEND, {"message": draft}, reply)
        else:
            resume = {"id": reply.message_id, "content": reply.content}
            await socket.follow(RESUME, {"message": resume}, reply)


async def chat_with_the_client(url: str, name: str, is_over: asyncio.Event) -> list[Sent]:
    """Sends message after message with the client, which does the rest."""
    sent: list[Sent] = []
    losses = 0

    def note(change: ConnectionChange) -> None:
        nonlocal losses
        losses += not change.connected

    retry = Retry(first_seconds=0.05, longest_seconds=0.5)
    async with ChatClient(url, retry=retry, on_connection=note) as client:
        while not is_over.is_set():
            message = Sent(f"{name}-{len(sent)}")
            sent.append(message)
            before = losses
            async for update in client.send(TEXT, id=message.id, conversation_id=message.id):
                message.reply.content = update.content
                message.reply.status = update.status
            message.cuts = losses - before
    return sent


async def test_a_rolling_restart_loses_nothing_and_doubles_nothing(
    url: str, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    balancer = Balancer()
    listener = await asyncio.start_server(balancer.accept, "127.0.0.1", 0)
    entry = f"ws://127.0.0.1:{listener.sockets[0].getsockname()[1]}/graphql"
    servers = Servers(url, notes, balancer.ports)
    is_over = asyncio.Event()
    try:
        await servers.start()
        await servers.start()
        chats = [
            asyncio.create_task(chat(entry, f"{chat.__name__}-{number}", is_over))
            for number in range(CLIENTS)
            for chat in (chat_frame_by_frame, chat_with_the_client)
        ]
        for _ in range(RESTARTS):
            await servers.restart_the_elder()
        is_over.set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            sent = [message for chat in chats for message in await chat]
        assert sum(message.cuts for message in sent) >= CLIENTS
        assert {(message.reply.content, message.reply.status) for message in sent} == {
            (TEXT, "DONE")
        }
        assert await stored_replies(url, sent) == {(TEXT, Status.DONE)}
        assert Counter(id for id, _ in calls(notes)) == Counter(message.id for message in sent)
    finally:
        listener.close()
        await servers.stop()


async def stored_replies(url: str, sent: list[Sent]) -> set[tuple[str, Status]]:
    """The replies of conversations that must each have one message and one reply."""
    store = open_store(url)
    await store.open()
    try:
        stored = [
            await store.messages(ConversationRef("", message.id), 10, None) for message in sent
        ]
    finally:
        await store.close()
    assert {len(messages) for messages in stored} == {2}
    return {(reply.content, reply.status) for _, reply in stored}
