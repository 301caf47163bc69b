"""Serving: addresses, and the garbage collector."""

import gc
import socket
import subprocess
import sys
from typing import Any

import pytest

from graphql_app.errors import ConfigurationError
from graphql_app.server import (
    FILES_BESIDE_CONNECTIONS,
    bound_sockets,
    collecting_less,
    connections_that_fit,
)
from graphql_app.settings import Settings


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
        bound_sockets(Settings(host=host, open=True))
    assert str(refusal.value).startswith(f"port: 3000 on {host} cannot be used: ")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_a_server_that_asks_for_no_token_does_not_listen_where_others_come_in(host: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        bound_sockets(Settings(host=host, port=0))
    assert str(refusal.value) == (
        f"host: {host} can be reached from other machines, and the server is open to whoever "
        "reaches it; set GRAPHQL_APP_JWT_SECRET, _JWT_PUBLIC_KEY or _JWT_JWKS_URL so that "
        "everybody needs a token, or say --open (GRAPHQL_APP_OPEN=true)."
    )


def test_a_name_counts_as_what_it_stands_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both of its addresses are looked at."""
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(ConfigurationError, match=r"^host: localhost can be reached"):
        bound_sockets(Settings(host="localhost", port=0))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_on_loopback_a_server_may_be_open(host: str) -> None:
    for listener in bound_sockets(Settings(host=host, port=0)):
        listener.close()


@pytest.mark.parametrize("given", [{"open": True}, {"jwt_secret": "s" * 32}])
def test_with_tokens_or_told_so_a_server_listens_anywhere(given: dict[str, Any]) -> None:
    for listener in bound_sockets(Settings(host="0.0.0.0", port=0, **given)):
        listener.close()


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux has it")
async def test_the_system_lets_connections_go_that_nobody_reads() -> None:
    [listener] = bound_sockets(Settings(port=0, unread_seconds=7))
    listener.listen()
    with listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7_000


FITTING = """
import resource, sys

from graphql_app.server import connections_that_fit
from graphql_app.settings import Settings

soft, hard, connections = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(connections_that_fit(Settings(max_connections=connections)))
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("soft", "hard", "connections", "fitting", "files"),
    [
        (256, 2_000, 1_000, 1_000, 1_000 + FILES_BESIDE_CONNECTIONS),
        (256, 1_000, 1_000, 1_000 - FILES_BESIDE_CONNECTIONS, 1_000),
        (1_500, 2_000, 1_000, 1_000, 1_500),
        (128, 128, 1_000, 1, 128),
    ],
)
def test_as_many_files_are_taken_as_connections_need_or_the_system_gives(
    soft: int, hard: int, connections: int, fitting: int, files: int
) -> None:
    process = subprocess.run(
        [sys.executable, "-c", FITTING, *map(str, (soft, hard, connections))],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert process.stdout.split() == [str(fitting), str(files)]


def test_connections_that_are_as_many_as_files_allow_stay_as_they_are() -> None:
    assert connections_that_fit(Settings(max_connections=1)) == 1


def test_the_collector_is_as_it_was_when_the_server_has_ended() -> None:
    before = gc.get_threshold(), gc.get_freeze_count(), gc.isenabled()
    with collecting_less():
        assert gc.get_freeze_count() > 1_000
        assert gc.get_threshold()[0] > before[0][0]
        assert gc.isenabled()
    assert (gc.get_threshold(), gc.get_freeze_count(), gc.isenabled()) == before


NOTING = """
import gc

from graphql_app.server import Server, bound_sockets
from graphql_app.settings import Settings
from graphql_app.shutdown import Phase


class NotingServer(Server):
    def say_running(self, listener):
        note()
        self.end(Phase.HURRIED)


def note():
    print(gc.get_threshold()[0], gc.get_freeze_count() > 1_000)


settings = Settings(port=0, completion="echo")
server = NotingServer(settings)
note()
server.run(bound_sockets(settings))
note()
"""


def test_the_collector_does_less_for_as_long_as_the_server_runs() -> None:
    process = subprocess.run(
        [sys.executable, "-c", NOTING], capture_output=True, text=True, timeout=60, check=True
    )
    before, meanwhile, after = (line.split() for line in process.stdout.splitlines())
    assert before == after
    assert int(meanwhile[0]) > int(before[0])
    assert (before[1], meanwhile[1]) == ("False", "True")
