"""Quotas of sockets, as a real server keeps them."""

import asyncio
import json
from contextlib import suppress

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from graphql_app.access.tokens import new_token
from tests.chats import PATIENCE_SECONDS
from tests.processes import serving
from tests.wire import how_closed, open_socket, raw_connection

SECRET = "a secret of thirty-two characters"
PROTOCOL = Subprotocol("graphql-transport-ws")


async def test_a_socket_too_many_of_an_address_gets_429_and_others_come_in() -> None:
    limited = {
        "GRAPHQL_APP_TRUSTED_PROXIES": "127.0.0.1",
        "GRAPHQL_APP_MAX_SOCKETS_PER_ADDRESS": "2",
    }
    with serving("--completion", "echo", environment=limited) as server:

        def come_from(address: str) -> connect:
            headers = {"X-Forwarded-For": address}
            return connect(server.url, subprotocols=[PROTOCOL], additional_headers=headers)

        async with come_from("203.0.113.7"), come_from("203.0.113.7"):
            with pytest.raises(InvalidStatus) as refused:
                await come_from("203.0.113.7")
            assert refused.value.response.status_code == 429
            assert int(refused.value.response.headers["Retry-After"]) > 0
            async with come_from("203.0.113.8"):
                pass
            async with come_from("203.0.113.9"), come_from("203.0.113.9"):
                pass


async def test_a_socket_too_many_of_an_owner_is_closed_with_1013_until_one_has_gone() -> None:
    limited = {"GRAPHQL_APP_JWT_SECRET": SECRET, "GRAPHQL_APP_MAX_SOCKETS_PER_OWNER": "1"}
    ann, bob = new_token(SECRET, "ann", 600), new_token(SECRET, "bob", 600)
    with serving("--completion", "echo", environment=limited) as server:
        async with (
            open_socket(server.url, ann),
            open_socket(server.url, bob),
            raw_connection(server.url) as second,
        ):
            payload = {"authorization": f"Bearer {ann}"}
            await second.send(json.dumps({"type": "connection_init", "payload": payload}))
            code, reason = await how_closed(second)
            assert (code, reason) == (
                1013,
                "There are too many sockets of this owner; close some.",
            )
        for _ in range(3):
            await come_in(server.url, ann)


async def come_in(url: str, token: str) -> None:
    """Opens a socket and closes it, as soon as the server has seen that the last one has gone."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with suppress(ConnectionClosed):
                async with open_socket(url, token) as socket:
                    answer = await socket.execute("{ __typename }")
                    assert answer == {"data": {"__typename": "Query"}}
                    return
            await asyncio.sleep(0.05)


async def test_a_socket_that_says_too_much_is_read_slowly_and_not_closed() -> None:
    limited = {"GRAPHQL_APP_MAX_MESSAGES_PER_SECOND": "50"}
    with serving("--completion", "echo", environment=limited) as server:
        async with open_socket(server.url) as socket:
            for _ in range(350):
                await socket.send({"type": "ping"})
            for _ in range(350):
                assert await socket.receive() == {"type": "pong"}
