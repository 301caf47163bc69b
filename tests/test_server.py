"""uvicorn, as we have changed it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from graphql_app.errors import ConfigurationError
from graphql_app.server import SocketProtocol, bound_sockets
from graphql_app.settings import Settings
from tests.chats import PATIENCE_SECONDS
from tests.faults import Gate


@asynccontextmanager
async def running(app: Any) -> AsyncIterator[tuple[uvicorn.Server, str]]:
    """uvicorn with our sockets, and where they are opened."""
    config = uvicorn.Config(app, port=0, ws=SocketProtocol, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if server.started:
                break
            await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield server, f"ws://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await asyncio.wait_for(serving, PATIENCE_SECONDS)


async def test_a_socket_that_is_being_opened_when_the_server_shuts_down_is_closed_with_1012() -> (
    None
):
    gate = Gate()

    async def accept_later(scope: Any, receive: Any, send: Any) -> None:
        await gate.pass_through()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async with running(accept_later) as (server, url):
        connecting = asyncio.ensure_future(connect(url).__aenter__())
        await gate.reached()
        for connection in list(server.server_state.connections):
            connection.shutdown()
        gate.open()
        client = await connecting
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1012
        await client.close()


async def test_what_was_received_before_a_socket_is_closed_is_read() -> None:
    gate = Gate()
    read = []

    async def read_later(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await gate.pass_through()
        while True:
            message = await receive()
            read.append(message.get("text") or message.get("code"))
            if message["type"] == "websocket.disconnect":
                return

    async with running(read_later) as (server, url), connect(url) as connection:
        await connection.send("one")
        await (await connection.ping())
        [opened] = server.server_state.connections
        opened.shutdown()
        gate.open()
        with pytest.raises(ConnectionClosed):
            await connection.recv()
    assert read == ["one", 1012]


def test_all_addresses_of_a_host_are_bound_to_one_port() -> None:
    sockets = bound_sockets(Settings(host="localhost", port=0))
    try:
        assert len({listener.getsockname()[1] for listener in sockets}) == 1
        assert all(listener.getsockname()[1] for listener in sockets)
    finally:
        for listener in sockets:
            listener.close()


def test_an_address_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError) as refusal:
            bound_sockets(Settings(port=port))
    assert (
        str(refusal.value) == f"port: {port} on 127.0.0.1 cannot be used: Address already in use."
    )


@pytest.mark.parametrize("host", ["192.0.2.1", "a..b"], ids=["of others", "no name"])
def test_a_host_that_is_not_here_is_named(host: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        bound_sockets(Settings(host=host))
    assert str(refusal.value).startswith(f"port: 3000 on {host} cannot be used: ")
