"""The application, in whatever server it runs."""

import asyncio
import inspect
import subprocess
import sys
import warnings

import pytest
import uvicorn
from starlette.websockets import WebSocketDisconnect

from graphql_app.app import Shared, create_app
from graphql_app.errors import StoreUnavailableError
from graphql_app.settings import Settings

with warnings.catch_warnings():
    # It says which client it would rather stand on.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

PROTOCOL = "graphql-transport-ws"
HERE = "http://localhost:3000"


def test_any_server_sees_that_the_application_is_one_of_asgi_3() -> None:
    application = create_app(Settings())
    config = uvicorn.Config(application, log_config=None)
    config.load()
    assert config.interface == "asgi3"
    # As others look at it.
    assert inspect.iscoroutinefunction(application.__call__)


def test_a_client_of_starlette_can_use_the_application() -> None:
    with TestClient(create_app(Settings(completion="echo")), HERE) as client:
        assert client.get("/healthz").text == "ok"
        with client.websocket_connect(
            "ws://localhost:3000/graphql", subprotocols=[PROTOCOL]
        ) as socket:
            socket.send_json({"type": "connection_init"})
            assert socket.receive_json() == {"type": "connection_ack"}


@pytest.mark.parametrize("path", ["/", "/graphql/", "/graphql/more", "/healthz", "/static/x"])
def test_sockets_are_opened_at_graphql_and_nowhere_else(path: str) -> None:
    with (
        TestClient(create_app(Settings(completion="echo")), HERE) as client,
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect(f"ws://localhost:3000{path}", subprotocols=[PROTOCOL]),
    ):
        pass


def test_an_open_server_has_nothing_in_memory_that_checks_tokens() -> None:
    script = (
        "import sys; from graphql_app import server; "
        "from graphql_app.app import create_app; from graphql_app.settings import Settings; "
        "create_app(Settings(completion='echo')); "
        "print({'cryptography', 'jwt', 'opentelemetry'} & sys.modules.keys()); "
        "create_app(Settings(completion='echo', jwt_secret='0123456789abcdef' * 3)); "
        "print('jwt' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "set()\nTrue\n"


async def test_a_call_is_shared_by_all_who_come_while_it_is_under_way() -> None:
    calls = 0
    end = asyncio.Event()

    async def call() -> None:
        nonlocal calls
        calls += 1
        await end.wait()
        raise StoreUnavailableError

    shared = Shared(call)
    first = asyncio.create_task(shared())
    others = [asyncio.create_task(shared()) for _ in range(50)]
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    end.set()
    results = await asyncio.gather(*others, return_exceptions=True)
    assert all(isinstance(each, StoreUnavailableError) for each in results)
    assert calls == 1
    with pytest.raises(StoreUnavailableError):
        await shared()
    assert calls == 2
