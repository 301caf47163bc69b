"""Several processes behind one port: they share the work, are replaced, and end together."""

import asyncio
import json
import os
import signal
import socket as sockets
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from graphql_app.messages import ConversationRef, Message, ReplyErrorCode, Role, Status
from graphql_app.stores import open_store
from tests.end_to_end.noted import COMPLETION, NOTES, calls
from tests.processes import ServerProcess, refusing, serving
from tests.wire import RESUME, SEND, eventually, how_closed, open_socket

ROOT = Path(__file__).parents[2]
ENDS_WITHIN_SECONDS = 20.0
STARTED = "running on"

SHORT = "word " * 150
LONG = "word " * 5_000


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'chat.db'}"


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Where the completion notes who answers what."""
    return tmp_path / "notes"


@pytest.fixture
def server(url: str, notes: Path) -> Iterator[ServerProcess]:
    """Three workers, whose leases are short."""
    options = ("--workers", "3", "--store", url, *COMPLETION)
    environment = {NOTES: str(notes), "GRAPHQL_APP_LEASE_SECONDS": "2"}
    with serving(*options, environment=environment, directory=ROOT) as server:
        yield server


def draft(content: str, id: str = "m1") -> dict[str, Any]:
    return {"message": {"id": id, "content": content}}


async def ends(server: ServerProcess) -> int:
    return await asyncio.to_thread(server.process.wait, ENDS_WITHIN_SECONDS)


async def replies(url: str) -> list[Message]:
    store = open_store(url)
    await store.open()
    try:
        messages = await store.messages(ConversationRef("", "default"), 1_000, None)
    finally:
        await store.close()
    return [message for message in messages if message.role is Role.ASSISTANT]


def is_gone(pid: int) -> bool:
    """Whether a process has ended, and perhaps waits to be noticed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except FileNotFoundError:
        return True


# Serving


async def test_workers_share_a_port_and_a_store_and_say_once_that_they_run(
    server: ServerProcess, notes: Path
) -> None:
    assert len(server.workers()) == 3
    assert server.log.count(STARTED) == 1
    async with AsyncExitStack() as stack:
        connected = [await stack.enter_async_context(open_socket(server.url)) for _ in range(30)]
        sender = await stack.enter_async_context(open_socket(server.url))
        reply = await sender.follow(SEND, draft(SHORT), most_chunks=2)
        resume = {"message": {"id": reply.message_id}}
        followed = await asyncio.gather(*(socket.follow(RESUME, resume) for socket in connected))
        assert {(one.content, one.status) for one in followed} == {(SHORT, "DONE")}
        for index, socket in enumerate(connected):
            await socket.follow(SEND, draft("Hello", f"from-{index}"))
    workers = {worker for _, worker in calls(notes)}
    assert len(workers) > 1
    assert workers <= set(server.workers())


async def test_a_worker_that_dies_is_replaced_and_the_others_tell_the_truth(
    server: ServerProcess, notes: Path
) -> None:
    before = server.workers()
    async with open_socket(server.url) as socket:
        shown = await socket.follow(SEND, draft(LONG), most_chunks=5)
        [(_, dying)] = calls(notes)
        os.kill(dying, signal.SIGKILL)
        began = time.monotonic()
        assert (await how_closed(socket.connection))[0] == 1006
    async with open_socket(server.url) as socket:
        reply = await socket.follow(SEND, draft(LONG))  # The same message again.
    assert time.monotonic() - began < 2 + 5
    assert reply.content.startswith(shown.content)
    assert reply.error is not None
    assert reply.error["code"] == "PRODUCER_LOST"
    await eventually(lambda: len(set(server.workers()) - {dying}) == 3)
    assert set(before) - set(server.workers()) == {dying}
    assert f"worker {dying} ended with status -9; another one takes its place" in server.log
    assert server.log.count(STARTED) == 1
    assert len(calls(notes)) == 1


async def test_a_worker_that_is_told_to_end_drains_and_is_replaced(
    server: ServerProcess, notes: Path, url: str
) -> None:
    async with open_socket(server.url) as socket:
        await socket.follow(SEND, draft(SHORT), most_chunks=2)
        [(_, worker)] = calls(notes)
        os.kill(worker, signal.SIGTERM)
        os.kill(worker, signal.SIGINT)  # Both together do not mean to hurry.
        assert (await how_closed(socket.connection))[0] == 1012
    await eventually(lambda: len(set(server.workers()) - {worker}) == 3)
    assert is_gone(worker)
    [reply] = await replies(url)
    assert (reply.content, reply.status) == (SHORT, Status.DONE)


# Ending


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_drains_all_workers(
    server: ServerProcess, notes: Path, url: str, number: signal.Signals
) -> None:
    async with AsyncExitStack() as stack:
        connected = [await stack.enter_async_context(open_socket(server.url)) for _ in range(9)]
        for index, socket in enumerate(connected):
            await socket.follow(SEND, draft(SHORT, f"m{index}"), most_chunks=2)
        server.process.send_signal(number)
        for socket in connected:
            assert (await how_closed(socket.connection))[0] == 1012
    assert await ends(server) == (130 if number is signal.SIGINT else -number)
    done = await replies(url)
    assert [(reply.content, reply.status) for reply in done] == [(SHORT, Status.DONE)] * 9
    assert len(calls(notes)) == 9


async def test_ctrl_c_reaches_every_process_and_counts_once(
    server: ServerProcess, url: str
) -> None:
    def ctrl_c() -> None:
        for pid in (*server.workers(), server.process.pid):
            os.kill(pid, signal.SIGINT)

    async with open_socket(server.url) as socket:
        await socket.follow(SEND, draft(LONG), most_chunks=2)
        ctrl_c()
        assert (await how_closed(socket.connection))[0] == 1012
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ends(server), 2)
    [reply] = await replies(url)
    assert reply.status is Status.STREAMING
    ctrl_c()
    assert await ends(server) == 130
    await check_shut_down(url)


async def test_a_second_signal_hurries_all_workers(server: ServerProcess, url: str) -> None:
    async with open_socket(server.url) as socket:
        await socket.follow(SEND, draft(LONG), most_chunks=2)
        await asyncio.to_thread(server.send_signals, signal.SIGTERM, signal.SIGINT)
    began = time.monotonic()
    assert await ends(server) == -signal.SIGTERM
    assert time.monotonic() - began < 5
    await check_shut_down(url)


async def check_shut_down(url: str) -> None:
    [reply] = await replies(url)
    assert reply.content
    assert reply.error is not None
    assert reply.error.code is ReplyErrorCode.SERVER_SHUTDOWN


async def test_a_third_signal_ends_workers_that_hear_nothing(server: ServerProcess) -> None:
    workers = server.workers()
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    await asyncio.to_thread(server.send_signals, *[signal.SIGTERM] * 3)
    assert await ends(server) == -signal.SIGTERM
    assert all(map(is_gone, workers))


async def test_workers_whose_parent_was_killed_drain_and_end(
    server: ServerProcess, url: str
) -> None:
    workers = server.workers()
    async with open_socket(server.url) as socket:
        await socket.follow(SEND, draft(SHORT), most_chunks=2)
        server.process.kill()
        assert (await how_closed(socket.connection))[0] == 1012
    await eventually(lambda: all(map(is_gone, workers)))
    [reply] = await replies(url)
    assert (reply.content, reply.status) == (SHORT, Status.DONE)


async def test_clients_are_refused_while_the_workers_drain(server: ServerProcess) -> None:
    async with open_socket(server.url) as socket:
        await socket.follow(SEND, draft(SHORT), most_chunks=2)
        server.process.send_signal(signal.SIGTERM)
        await how_closed(socket.connection)

    def is_refused() -> bool:
        with sockets.socket() as socket:
            return socket.connect_ex(("127.0.0.1", server.port)) != 0

    # One process that holds the listener and does not serve would let clients wait.
    await eventually(is_refused)
    assert server.process.poll() is None


# Mistakes


def test_memory_is_for_one_process_and_says_why() -> None:
    refused = refusing("--port", "0", "--workers", "2")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        "graphql-app: workers: the store memory:// lives inside one process, so each of 2 workers "
        "would have messages of its own; use a store that processes share, such as --store "
        "sqlite:///chat.db, or one worker.\n"
    )


@pytest.mark.parametrize(
    ("options", "begin"),
    [
        (("--completion", "tests.nowhere:complete"), "graphql-app: completion: "),
        (("--workers", "0"), "graphql-app: workers: "),
        (("--host", "192.0.2.1", "--open"), "graphql-app: port: 0 on 192.0.2.1 cannot be used: "),
    ],
    ids=["completion", "workers", "host"],
)
def test_a_mistake_is_one_line_and_no_worker_starts(
    url: str, options: tuple[str, ...], begin: str
) -> None:
    refused = refusing("--port", "0", "--workers", "2", "--store", url, *options)
    assert refused.returncode == 2
    assert refused.stderr.startswith(begin)
    assert refused.stderr.count("\n") == 1


def test_a_completion_that_only_fails_in_workers_ends_the_command(url: str, tmp_path: Path) -> None:
    (tmp_path / "fickle.py").write_text(
        "import multiprocessing\n"
        "if multiprocessing.parent_process() is None:\n"
        "    async def complete(history):\n"
        "        yield 'x'\n"
    )
    refused = refusing(
        *("--port", "0", "--workers", "3", "--store", url, "--completion", "fickle:complete"),
        directory=tmp_path,
    )
    assert refused.returncode == 2
    assert refused.stderr.startswith("graphql-app: completion: ")
    assert refused.stderr.count("\n") == 1


def test_what_a_worker_did_not_expect_is_in_the_log_as_everything_else_is(
    url: str, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text(
        "class Complete:\n"
        "    async def __aenter__(self):\n"
        "        raise RuntimeError(f'the {\"can\"}ary')\n"
        "    async def __aexit__(self, *_):\n"
        "        pass\n"
        "    async def __call__(self, history):\n"
        "        yield 'x'\n"
        "complete = Complete()\n"
    )
    refused = refusing(
        *("--port", "0", "--workers", "2", "--store", url, "--completion", "broken:complete"),
        *("--log-format", "json"),
        directory=tmp_path,
    )
    assert refused.returncode == 2
    *lines, sentence = refused.stderr.splitlines()
    assert sentence == "graphql-app: workers: a worker ended before it served."
    told = [json.loads(each) for each in lines]
    assert {each["event"] for each in told} == {"nobody has caught this"}
    assert "broken.py" in told[0]["exception"]
    assert "canary" not in refused.stderr
