"""What `serve` and `migrate` say when they cannot do what they should."""

import time
from pathlib import Path
from socket import create_server

import pytest

from tests.contracts.backends import BACKENDS
from tests.end_to_end.noted import COMPLETION, NOTES, calls
from tests.processes import refusing, serving
from tests.servers import RedisServer, free_port, running
from tests.wire import SEND, how_closed, open_socket

ROOT = Path(__file__).parents[2]
SECRET = "open-sesame"


def check_one_line(line: str) -> None:
    assert line.startswith("graphql-app: ")
    assert line.count("\n") == 1
    assert SECRET not in line


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("scheme", ["redis", "postgresql"])
def test_a_store_that_cannot_be_reached_is_named_with_the_reason(scheme: str, workers: str) -> None:
    place = f"127.0.0.1:{free_port()}"
    url = f"{scheme}://chat:{SECRET}@{place}"
    refused = refusing("--port", "0", "--store", url, "--workers", workers)
    assert (refused.returncode, refused.stdout) == (1, "")
    check_one_line(refused.stderr)
    begin = f"graphql-app: the store {scheme}://chat:***@{place} cannot be reached: "
    assert refused.stderr.startswith(begin)
    assert len(refused.stderr) > len(begin) + 10


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_store_that_cannot_be_what_is_asked_for_is_refused(tmp_path: Path, workers: str) -> None:
    [backend] = [backend for backend in BACKENDS if backend.id == "redis"]
    backend.require()
    # Without an append-only file it would forget what it has acknowledged.
    with running(RedisServer(tmp_path, "--appendonly", "no")) as redis:
        refused = refusing("--port", "0", "--store", redis.url, "--workers", workers)
    assert (refused.returncode, refused.stdout) == (2, "")
    check_one_line(refused.stderr)
    assert "volatile=1" in refused.stderr


def test_a_replica_is_refused_with_the_way_out(tmp_path: Path) -> None:
    [backend] = [backend for backend in BACKENDS if backend.id == "redis"]
    backend.require()
    options = ("--appendonly", "yes", "--replicaof", "127.0.0.1", str(free_port()))
    with running(RedisServer(tmp_path, *options)) as redis:
        refused = refusing("--port", "0", "--store", redis.url)
    assert (refused.returncode, refused.stdout) == (2, "")
    check_one_line(refused.stderr)
    assert "is a replica; use its primary" in refused.stderr


def test_a_store_that_does_not_answer_is_named_with_the_time_that_was_waited(
    tmp_path: Path,
) -> None:
    [backend] = [backend for backend in BACKENDS if backend.id == "redis"]
    backend.require()
    with running(RedisServer(tmp_path)) as redis:
        redis.pause()
        try:
            refused = refusing("--port", "0", "--store", redis.url)
        finally:
            redis.resume()
    assert (refused.returncode, refused.stdout) == (1, "")
    check_one_line(refused.stderr)
    assert refused.stderr.endswith(" cannot be reached: no answer within 3 s\n")


@pytest.mark.parametrize("port", ["0", "70000", "abc"])
@pytest.mark.parametrize("begin", ["redis://host", "redis+sentinel://one,two"])
def test_a_port_of_a_store_that_cannot_be_is_refused(begin: str, port: str) -> None:
    refused = refusing("--store", f"{begin}:{port}{'/service' if '+' in begin else ''}")
    assert (refused.returncode, refused.stdout) == (2, "")
    check_one_line(refused.stderr)
    assert "a port must be a number from 1 to 65535" in refused.stderr


def test_a_scheme_that_is_none_is_refused_without_its_password() -> None:
    refused = refusing("--store", f"mysql://chat:{SECRET}@127.0.0.1/chat")
    assert (refused.returncode, refused.stdout) == (2, "")
    check_one_line(refused.stderr)
    assert "mysql://chat:***@127.0.0.1/chat" in refused.stderr


def test_a_port_that_is_taken_is_named() -> None:
    with create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = refusing("--port", port)
    assert refused.returncode == 2
    check_one_line(refused.stderr)
    assert f"port: {port} on 127.0.0.1" in refused.stderr


def test_the_line_that_says_where_the_server_runs_has_no_password(tmp_path: Path) -> None:
    [backend] = [backend for backend in BACKENDS if backend.id == "postgresql"]
    backend.require()
    with backend.serve(tmp_path) as url:
        secret = url.replace("@", f":{SECRET}@")  # Which this server does not ask for.
        with serving("--store", secret) as server:
            shown = url.replace("@", ":***@")
            assert f"(store {shown}, completion simulated)" in server.log
            assert SECRET not in server.log


async def test_a_server_in_the_place_of_a_killed_one_tells_the_truth_in_time(
    tmp_path: Path,
) -> None:
    lease_seconds = 3
    options = ("--store", f"sqlite:///{tmp_path / 'chat.db'}", *COMPLETION)
    environment = {
        NOTES: str(tmp_path / "notes"),
        "GRAPHQL_APP_LEASE_SECONDS": str(lease_seconds),
    }
    message = {"message": {"id": "m1", "content": "word " * 3_000}}
    with serving(*options, environment=environment, directory=ROOT) as server:
        async with open_socket(server.url) as socket:
            shown = await socket.follow(SEND, message, most_chunks=5)
            server.process.kill()
            killed = time.monotonic()
            await how_closed(socket.connection)
    with serving(*options, environment=environment, directory=ROOT) as server:
        async with open_socket(server.url) as socket:
            reply = await socket.follow(SEND, message)
        assert time.monotonic() - killed < lease_seconds + 5
    assert reply.error is not None
    assert reply.error["code"] == "PRODUCER_LOST"
    assert reply.content.startswith(shown.content)
    assert len(calls(tmp_path / "notes")) == 1


# Migrating


def test_a_database_is_migrated_on_its_own(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'chat.db'}"
    environment = {"GRAPHQL_APP_STORE": url, "GRAPHQL_APP_COMPLETION": "not.installed:here"}
    for _ in range(2):  # A second time changes nothing.
        done = refusing(command="migrate", environment=environment)
        assert (done.returncode, done.stderr) == (0, "")
        assert url in done.stdout
    assert (tmp_path / "chat.db").exists()


def test_what_is_given_wins_over_the_environment(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'chat.db'}"
    environment = {"GRAPHQL_APP_STORE": "memory://"}
    assert url in refusing("--store", url, command="migrate", environment=environment).stdout


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("memory://", "memory://"),
        (f"redis://:{SECRET}@127.0.0.1:1", "redis://:***@127.0.0.1:1"),
    ],
)
def test_a_store_without_a_schema_has_nothing_to_migrate(url: str, shown: str) -> None:
    done = refusing("--store", url, command="migrate")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{shown} has nothing to migrate.\n"


def test_a_database_that_cannot_be_reached_is_not_migrated() -> None:
    url = f"postgresql://chat:{SECRET}@127.0.0.1:{free_port()}/chat"
    done = refusing("--store", url, command="migrate")
    assert (done.returncode, done.stdout) == (1, "")
    check_one_line(done.stderr)
    assert "cannot be reached: " in done.stderr


def test_a_mistyped_setting_is_no_empty_database() -> None:
    done = refusing(command="migrate", environment={"GRAPHQL_APP_STROE": "sqlite:///chat.db"})
    assert done.returncode == 2
    check_one_line(done.stderr)
