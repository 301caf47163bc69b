"""Nothing grows: not with events, not with clients that leave rudely, not with those who sleep."""

import asyncio
import socket as sockets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.end_to_end.answers import BLOCK, LONGEST
from tests.processes import ServerProcess, serving
from tests.wire import (
    PATIENCE_SECONDS,
    RESUME,
    SEND,
    Refused,
    Socket,
    eventually,
    open_socket,
)

MEBIBYTE = 2**20
ROOT = Path(__file__).parents[2]

EVENTS = "subscription ($id: ID!) { conversationEvents(conversationId: $id) { __typename } }"
CLEAR = "mutation ($id: ID!) { clearMessages(conversationId: $id) }"


@pytest.fixture(scope="module")
def shared_server() -> Iterator[ServerProcess]:
    """A server that answers as it is told."""
    with serving("--completion", "tests.end_to_end.answers:complete", directory=ROOT) as server:
        yield server


def draft(content: str) -> dict[str, Any]:
    return {"message": {"id": uuid4().hex, "content": content, "conversationId": uuid4().hex}}


async def tasks(server: ServerProcess) -> int:
    """How many tasks the server runs, those of this question included."""
    async with open_socket(server.url) as socket:
        return int((await socket.follow(SEND, draft("tasks"))).content)


async def settled_tasks(server: ServerProcess) -> int:
    """How many tasks the server runs once those of earlier operations have ended."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        counts = [await tasks(server)]
        while len(counts) < 10 or len(set(counts[-10:])) > 1:
            await asyncio.sleep(0.02)
            counts.append(await tasks(server))
    return counts[-1]


async def test_an_event_costs_no_memory(server: ServerProcess) -> None:
    warm_up, measured = 2_000, 20_000
    async with open_socket(server.url) as beside, open_socket(server.url) as socket:
        for _ in range(29):
            await beside.subscribe(EVENTS, {"id": uuid4().hex})
            await beside.receive()
        await socket.subscribe(SEND, draft("words 60000"))
        for _ in range(warm_up):
            await socket.connection.recv()
        before = server.memory_bytes()
        for _ in range(measured):
            await socket.connection.recv()
        after = server.memory_bytes()
        still = await socket.receive()
        assert still["payload"]["data"]["sendMessage"]["status"] == "STREAMING"
    # The growing text itself costs about a hundred: each word is a piece of its own until the end.
    assert (after - before) / measured < 250


async def test_clients_that_leave_rudely_leave_no_file_no_task_and_no_memory(
    server: ServerProcess,
) -> None:
    waiting = draft("wait")
    async with open_socket(server.url) as socket:
        reply = await socket.follow(SEND, waiting, most_chunks=2)
        resume = {"message": {"id": reply.message_id}}

        async def leave_rudely() -> None:
            async with open_socket(server.url) as rude:
                await rude.subscribe(EVENTS, {"id": waiting["message"]["conversationId"]})
                await rude.subscribe(RESUME, resume)
                await rude.subscribe(SEND, waiting)
                await rude.receive()
                rude.cut()

        async def many_leave_rudely(count: int) -> None:
            for _ in range(count // 50):
                await asyncio.gather(*(leave_rudely() for _ in range(50)))

        files = server.open_files()
        running = await settled_tasks(server)
        await many_leave_rudely(150)
        await eventually(lambda: server.open_files() <= files)
        before = server.memory_bytes()
        await many_leave_rudely(300)
        await eventually(lambda: server.open_files() <= files)
        assert await settled_tasks(server) == running
        assert server.memory_bytes() - before < 4 * MEBIBYTE
    async with open_socket(server.url) as socket:
        await socket.execute(CLEAR, {"id": waiting["message"]["conversationId"]})


@asynccontextmanager
async def sleeping_socket(server: ServerProcess) -> AsyncIterator[Socket]:
    """An acknowledged socket whose client will not read much more than it has."""
    plain = sockets.socket()
    plain.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4_096)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", server.port))
    connection: ClientConnection
    async with connect(
        server.url,
        sock=plain,
        subprotocols=[Subprotocol("graphql-transport-ws")],
        compression=None,
        max_queue=1,
        close_timeout=0,
    ) as connection:
        socket = Socket(connection)
        await socket.send({"type": "connection_init"})
        await socket.receive()
        connection.transport.pause_reading()
        try:
            yield socket
        finally:
            socket.cut()


async def test_followers_that_never_read_cost_little_and_do_not_slow_the_producer(
    server: ServerProcess,
) -> None:
    blocks, connections, followers = 80, 10, 500
    async with open_socket(server.url) as reader, AsyncExitStack() as stack:
        waiting = [
            await stack.enter_async_context(sleeping_socket(server)) for _ in range(connections)
        ]
        before = server.memory_bytes()
        began = time.monotonic()
        reply = await reader.follow(SEND, draft(f"blocks {blocks}"), most_chunks=1)
        for socket in waiting * (followers // connections):
            await socket.subscribe(RESUME, {"message": {"id": reply.message_id}})
        await reader.rest(reply)
        assert time.monotonic() - began < 15
        assert (reply.content, reply.status) == (BLOCK * blocks, "DONE")
        # The system's own buffers hold the first few megabytes for each socket.
        unread = len(reply.content) * followers
        assert server.memory_bytes() - before < unread / 3


async def test_a_socket_does_not_keep_what_was_sent_on_it(server: ServerProcess) -> None:
    size, count = 1_900_000, 30
    async with AsyncExitStack() as stack:
        idle = [await stack.enter_async_context(open_socket(server.url)) for _ in range(count)]
        before = server.memory_bytes()
        for socket in idle:
            with pytest.raises(Refused, match="content"):
                await socket.follow(SEND, draft("x" * size))
            # The WebSocket library keeps the last frame until the next one comes.
            await (await socket.connection.ping())
        assert server.memory_bytes() - before < size * count / 3


async def test_nobody_waits_for_a_follower_that_catches_up(server: ServerProcess) -> None:
    async with open_socket(server.url) as follower, open_socket(server.url) as other:
        sent = await follower.follow(SEND, draft("longest"))
        assert sent.content == LONGEST
        slowest = 0.0
        for content in ("", LONGEST[:-1] + "x", "x" + LONGEST[1:], LONGEST[:131_072]) * 5:
            message = {"id": sent.message_id, "content": content}
            await follower.subscribe(RESUME, {"message": message})
            began = time.monotonic()
            await other.execute("{ __typename }")
            slowest = max(slowest, time.monotonic() - began)
            await follower.receive()
            await follower.receive()
        assert slowest < 1
