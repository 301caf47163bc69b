"""What the signals do to a real server: who is told what, what goes on, and that it ends."""

import asyncio
import itertools
import json
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from graphql_app.interfaces import Store
from graphql_app.messages import ConversationRef, Message, ReplyErrorCode, Role, Status
from graphql_app.stores import open_store
from tests.contracts.backends import BACKENDS
from tests.end_to_end.noted import COMPLETION, NOTES, calls
from tests.processes import ServerProcess, serving
from tests.servers import RedisServer
from tests.wire import (
    PATIENCE_SECONDS,
    RESUME,
    SEND,
    Socket,
    eventually,
    how_closed,
    open_socket,
    raw_connection,
)

ROOT = Path(__file__).parents[2]
SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
ENDS_WITHIN_SECONDS = 20.0

EVENT_STREAM = "text/event-stream"
MULTIPART = 'multipart/mixed;boundary="graphql";subscriptionSpec="1.0",application/json'


def answering() -> tuple[str, ...]:
    return ("--completion", "tests.end_to_end.answers:complete")


def echoing(word_delay: float = 0.05) -> tuple[str, ...]:
    return ("--completion", "echo", "--word-delay", str(word_delay))


def draft(content: str, id: str = "m1") -> dict[str, Any]:
    return {"message": {"id": id, "content": content}}


async def ends(server: ServerProcess) -> int:
    return await asyncio.to_thread(server.process.wait, ENDS_WITHIN_SECONDS)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    """The store that the server uses, as another process sees it."""
    store = open_store(url)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def stored(url: str) -> tuple[Message, ...]:
    async with opened(url) as store:
        return await store.messages(ConversationRef("", "default"), 100_000, None)


async def stored_reply(url: str) -> Message:
    """The only reply that there is."""
    [reply] = [message for message in await stored(url) if message.role is Role.ASSISTANT]
    return reply


# Being told


@SIGNALS
async def test_for_a_moment_the_server_is_not_ready_and_everything_still_works(
    number: signal.Signals,
) -> None:
    environment = {"GRAPHQL_APP_NOTICE_SECONDS": "3"}
    with serving(*answering(), environment=environment, directory=ROOT) as server:
        async with httpx.AsyncClient(base_url=server.http) as http:
            assert (await http.get("/readyz")).status_code == 200
            server.process.send_signal(number)
            async with asyncio.timeout(1):
                while (answer := await http.get("/readyz")).status_code == 200:
                    pass
            assert (answer.status_code, answer.text) == (503, "The server is shutting down.")
            assert (await http.get("/healthz")).status_code == 200
        async with open_socket(server.url) as socket:
            reply = await socket.follow(SEND, draft("words 3"))
            assert (reply.content, reply.status) == ("w w w ", "DONE")
            assert await how_closed(socket.connection) == (1012, "")
        await ends(server)


async def test_without_a_word_about_it_the_moment_is_long_enough_to_be_seen() -> None:
    with serving(*answering(), directory=ROOT) as server:
        async with httpx.AsyncClient(base_url=server.http) as http:
            server.process.send_signal(signal.SIGTERM)
            answers = []
            with suppress(httpx.TransportError):
                while True:
                    answers.append((await http.get("/readyz")).status_code)
                    await asyncio.sleep(0.05)
        assert answers.count(503) >= 5
        await ends(server)


@SIGNALS
async def test_sockets_are_closed_with_1012_and_the_process_ends(number: signal.Signals) -> None:
    with serving(*answering(), directory=ROOT) as server:
        async with (
            open_socket(server.url) as socket,
            open_socket(server.url) as idle,
            raw_connection(server.url) as silent,
        ):
            reply = await socket.follow(SEND, draft("wait"), most_chunks=2)
            assert reply.content == "waiting"
            server.process.send_signal(number)
            for connection in (socket.connection, idle.connection, silent):
                assert (await how_closed(connection))[0] == 1012
            await ends(server)


async def test_sockets_that_are_sending_at_that_moment_read_why_they_are_closed() -> None:
    async def send_without_end(socket: Socket) -> tuple[int, str]:
        reading = asyncio.create_task(how_closed(socket.connection))
        with suppress(ConnectionClosed):
            while True:
                await socket.send({"type": "ping", "payload": {"filler": "x" * 2_000}})
                await asyncio.sleep(0)
        return await reading

    with serving(*answering(), directory=ROOT) as server:
        async with AsyncExitStack() as stack:
            senders = [
                asyncio.create_task(
                    send_without_end(await stack.enter_async_context(open_socket(server.url)))
                )
                for _ in range(20)
            ]
            server.process.send_signal(signal.SIGTERM)
            assert await asyncio.gather(*senders) == [(1012, "")] * 20
        await ends(server)


@pytest.mark.parametrize(
    ("accept", "content"),
    [(EVENT_STREAM, "wait"), (EVENT_STREAM, "words 1000000"), (MULTIPART, "wait")],
    ids=["sse, waiting", "sse, busy", "multipart"],
)
async def test_an_event_stream_ends_at_once_without_being_completed(
    accept: str, content: str
) -> None:
    environment = {"GRAPHQL_APP_NOTICE_SECONDS": "0"}
    with serving(*answering(), environment=environment, directory=ROOT) as server:
        async with (
            httpx.AsyncClient(base_url=server.http, timeout=PATIENCE_SECONDS) as http,
            http.stream(
                "POST",
                "/graphql",
                json={"query": SEND, "variables": draft(content)},
                headers={"Accept": accept},
            ) as response,
        ):
            parts = response.aiter_text()
            text = ""
            while '"text":"w' not in text:
                text += await anext(parts)
            begin = len(server.log)
            server.process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            # The body has an end: httpx raises if a response breaks off.
            text += "".join([part async for part in parts])
            assert time.monotonic() - began < 2
            await ends(server)
        assert "event: complete" not in text
        assert "--graphql--" not in text
        assert "errors" not in text
        cut, ended = server.log[begin:].splitlines()
        assert "operation ended" in cut
        assert "code=CUT" in cut
        assert "reply ended" in ended


async def test_a_request_that_is_under_way_is_answered() -> None:
    body = json.dumps({"query": "{ __typename }"}).encode()
    with serving(*answering(), directory=ROOT) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        async with open_socket(server.url) as socket:
            writer.write(
                b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body[:5])
            )
            await writer.drain()
            server.process.send_signal(signal.SIGTERM)
            await how_closed(socket.connection)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(body[5:])
        answer = await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
        writer.close()
        await ends(server)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"connection: close" in answer.lower()
    assert b'{"data":{"__typename":"Query"}}' in answer


# What goes on


async def test_a_reply_goes_on_after_its_sockets_are_closed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'chat.db'}"
    text = "word " * 60
    with serving(*echoing(), "--store", url) as server:
        async with open_socket(server.url) as socket:
            shown = await socket.follow(SEND, draft(text), most_chunks=5)
            server.process.send_signal(signal.SIGTERM)
            assert (await how_closed(socket.connection))[0] == 1012
        during = await stored_reply(url)
        assert during.status is Status.STREAMING
        assert await ends(server) == -signal.SIGTERM
    after = await stored_reply(url)
    assert (after.content, after.status) == (text, Status.DONE)
    assert text.startswith(shown.content)


async def test_what_is_sent_while_the_server_is_not_ready_is_stored_and_answered(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'chat.db'}"
    text = "word " * 40
    with serving(*echoing(), "--store", url) as server:
        async with open_socket(server.url) as socket:
            server.process.send_signal(signal.SIGTERM)
            await socket.follow(SEND, draft(text), most_chunks=1)
        await ends(server)
    after = await stored_reply(url)
    assert (after.content, after.status) == (text, Status.DONE)


async def test_a_send_at_the_last_moment_was_stored_and_answered_or_never_was(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'chat.db'}"
    notes = tmp_path / "notes"
    acknowledged: set[str] = set()

    async def send_without_end(socket: Socket, name: str) -> None:
        with suppress(ConnectionClosed):
            for number in itertools.count():
                await socket.subscribe(SEND, draft("a b c", f"{name}-{number}"), id=str(number))
                while (frame := await socket.receive())["id"] != str(number):
                    pass  # Of an earlier one.
                assert frame["type"] == "next"
                acknowledged.add(f"{name}-{number}")

    environment = {NOTES: str(notes), "GRAPHQL_APP_NOTICE_SECONDS": "0.3"}
    options = ("--store", url, *COMPLETION)
    with serving(*options, environment=environment, directory=ROOT) as server:
        async with AsyncExitStack() as stack:
            senders = [
                asyncio.create_task(
                    send_without_end(
                        await stack.enter_async_context(open_socket(server.url)), f"s{index}"
                    )
                )
                for index in range(10)
            ]
            await eventually(lambda: len(acknowledged) > 100)
            server.process.send_signal(signal.SIGTERM)
            await asyncio.gather(*senders)
        assert await ends(server) == -signal.SIGTERM
    messages = await stored(url)
    sent = {message.id for message in messages if message.role is Role.USER}
    assert acknowledged <= sent
    assert [message.reply_to_id for message in messages if message.role is Role.ASSISTANT] == [
        message.id for message in messages if message.role is Role.USER
    ]
    assert {(message.content, message.status) for message in messages} == {("a b c", Status.DONE)}
    assert Counter(id for id, _ in calls(notes)) == Counter(sent)


async def test_what_is_not_done_after_the_drain_ends_with_its_text(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'chat.db'}"
    options = ("--store", url, "--drain-seconds", "1", *answering())
    with serving(*options, directory=ROOT) as server:
        async with open_socket(server.url) as socket:
            await socket.follow(SEND, draft("wait"), most_chunks=2)
            server.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert await ends(server) == -signal.SIGTERM
        assert 1.5 < time.monotonic() - began < 6
    reply = await stored_reply(url)
    assert (reply.content, reply.status) == ("waiting", Status.ERROR)
    assert reply.error is not None
    assert reply.error.code is ReplyErrorCode.SERVER_SHUTDOWN


async def test_the_lease_is_renewed_to_the_end_of_the_drain(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'chat.db'}"
    text = "word " * 100
    lease = {"GRAPHQL_APP_LEASE_SECONDS": "2"}
    with (
        serving(*echoing(), "--store", url, environment=lease) as server,
        serving(*echoing(), "--store", url, environment=lease) as other,
    ):
        async with open_socket(server.url) as socket:
            shown = await socket.follow(SEND, draft(text), most_chunks=5)
        server.process.send_signal(signal.SIGTERM)
        async with open_socket(other.url) as socket:
            resume = {"message": {"id": shown.message_id, "content": shown.content}}
            reply = await socket.follow(RESUME, resume, shown)
        assert (reply.content, reply.status, reply.error) == (text, "DONE", None)
        await ends(server)


@pytest.mark.parametrize(
    ("mutation", "status"),
    [("stopMessage(id: $id) { status }", Status.STOPPED), ("clearMessages", None)],
    ids=["stop", "clear"],
)
async def test_a_reply_that_is_drained_is_stopped_and_cleared_from_elsewhere(
    tmp_path: Path, mutation: str, status: Status | None
) -> None:
    url = f"sqlite:///{tmp_path / 'chat.db'}"
    options = ("--store", url, *answering())
    with serving(*options, directory=ROOT) as server, serving(*options, directory=ROOT) as other:
        async with open_socket(server.url) as socket:
            reply = await socket.follow(SEND, draft("wait"), most_chunks=2)
            server.process.send_signal(signal.SIGTERM)
            await how_closed(socket.connection)
        async with open_socket(other.url) as socket:
            signature = "($id: ID!)" if "$id" in mutation else ""
            variables = {"id": reply.message_id} if signature else None
            done = await socket.execute(f"mutation {signature} {{ {mutation} }}", variables)
            assert "errors" not in done
        # There is nothing left to wait for, long before the drain is over.
        began = time.monotonic()
        assert await ends(server) == -signal.SIGTERM
        assert time.monotonic() - began < 5
    messages = await stored(url)
    assert [message.status for message in messages][1:] == ([status] if status else [])


# Hurrying


@pytest.mark.parametrize(
    "numbers",
    [
        (signal.SIGTERM, signal.SIGTERM),
        (signal.SIGINT, signal.SIGTERM),
        (signal.SIGINT, signal.SIGINT),
    ],
    ids=lambda numbers: "-".join(number.name for number in numbers),
)
async def test_a_second_signal_hurries_and_replies_are_ended_all_the_same(
    tmp_path: Path, numbers: tuple[signal.Signals, ...]
) -> None:
    url = f"sqlite:///{tmp_path / 'chat.db'}"
    with serving("--store", url, *answering(), directory=ROOT) as server:
        async with open_socket(server.url) as socket:
            await socket.follow(SEND, draft("wait"), most_chunks=2)
            server.process.send_signal(numbers[0])
            await how_closed(socket.connection)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ends(server), 1)
        server.process.send_signal(numbers[1])
        began = time.monotonic()
        status = await ends(server)
        assert time.monotonic() - began < 4
        assert status == (130 if numbers[0] is signal.SIGINT else -signal.SIGTERM)
    reply = await stored_reply(url)
    assert (reply.content, reply.status) == ("waiting", Status.ERROR)
    assert reply.error is not None
    assert reply.error.code is ReplyErrorCode.SERVER_SHUTDOWN


async def test_a_second_signal_ends_the_notice_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'chat.db'}"
    options = ("--store", url, *answering())
    environment = {"GRAPHQL_APP_NOTICE_SECONDS": "60"}
    with serving(*options, environment=environment, directory=ROOT) as server:
        async with open_socket(server.url) as socket:
            await socket.follow(SEND, draft("wait"), most_chunks=2)
            await asyncio.to_thread(server.send_signals, signal.SIGTERM, signal.SIGTERM)
            assert (await how_closed(socket.connection))[0] == 1012
        await asyncio.wait_for(ends(server), 4)
    assert (await stored_reply(url)).status is Status.ERROR


BLOCKING = """
import asyncio, pathlib, time

async def complete(history):
    pathlib.Path("blocked").touch()
    time.sleep(60)
    yield "too late"
"""


async def test_a_third_signal_ends_even_a_process_whose_loop_is_blocked(tmp_path: Path) -> None:
    (tmp_path / "blocking.py").write_text(BLOCKING)
    with serving("--completion", "blocking:complete", directory=tmp_path) as server:
        async with open_socket(server.url) as socket:
            await socket.subscribe(SEND, draft("Hello"))
            await eventually((tmp_path / "blocked").exists)
            await asyncio.to_thread(server.send_signals, *[signal.SIGTERM] * 3)
            assert await asyncio.wait_for(ends(server), 2) == 128 + signal.SIGTERM


# Who would hold the process up


@SIGNALS
@pytest.mark.parametrize("completion", ["stubborn", "thread"])
async def test_a_completion_that_cannot_be_cancelled_does_not_keep_the_process(
    number: signal.Signals, completion: str
) -> None:
    with serving(*answering(), directory=ROOT) as server:
        async with open_socket(server.url) as socket:
            await socket.follow(SEND, draft(completion), most_chunks=2)
            server.process.send_signal(number)
            await how_closed(socket.connection)
            # SIGTERM ends the process itself; after SIGINT the interpreter would wait.
            by_interpreter = number is signal.SIGINT
            assert await ends(server) == (128 + number if by_interpreter else -number)
        assert ("in spite of completions" in server.log) is by_interpreter


@SIGNALS
async def test_a_server_that_has_served_a_page_ends_without_a_word(number: signal.Signals) -> None:
    with serving(*answering(), directory=ROOT) as server:
        async with httpx.AsyncClient(base_url=server.http) as http:
            # Files are read in a thread, which is idle for a while after.
            await http.get("/graphql", headers={"Accept": "text/html"})
        begin = len(server.log)
        server.process.send_signal(number)
        await ends(server)
        assert server.log[begin:] == ""


async def test_clients_that_say_nothing_or_read_nothing_do_not_keep_the_process() -> None:
    events = "subscription { conversationEvents { ... on MessagesReset { messages { content } } } }"
    body = json.dumps({"query": events})
    with serving(*answering(), directory=ROOT) as server:
        _, silent = await asyncio.open_connection("127.0.0.1", server.port)
        _, slow = await asyncio.open_connection("127.0.0.1", server.port)
        slow.write(b"POST /graphql HTTP/1.1\r\nHost:")
        async with open_socket(server.url) as socket, open_socket(server.url) as deaf:
            for number in range(10):  # More than the buffers between the two can hold.
                await socket.follow(SEND, draft("longest", id=f"m{number}"))
            deaf.connection.transport.pause_reading()
            await deaf.subscribe(events)
            stream, stream_writer = await asyncio.open_connection("127.0.0.1", server.port)
            stream_writer.write(
                f"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                f"Accept: {EVENT_STREAM}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            await stream.readline()
            stream_writer.transport.pause_reading()  # type: ignore[attr-defined]
            server.process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            await ends(server)
            assert time.monotonic() - began < 10
            deaf.cut()
        for writer in (silent, slow, stream_writer):
            writer.transport.abort()


async def test_a_store_that_is_away_does_not_keep_the_process(tmp_path: Path) -> None:
    [backend] = [backend for backend in BACKENDS if backend.id == "redis"]
    backend.require()
    redis = RedisServer(tmp_path)
    redis.start()
    try:
        options = ("--store", redis.url, "--drain-seconds", "2", *answering())
        with serving(*options, directory=ROOT) as server:
            async with open_socket(server.url) as socket:
                await socket.follow(SEND, draft("wait"), most_chunks=2)
                redis.pause()
                server.process.send_signal(signal.SIGTERM)
                await how_closed(socket.connection)
            assert await ends(server) == -signal.SIGTERM
    finally:
        redis.kill()


async def test_at_full_speed_every_frame_is_whole_and_the_close_is_the_last() -> None:
    with serving(*answering()) as server:
        async with AsyncExitStack() as stack:
            sockets = [await stack.enter_async_context(open_socket(server.url)) for _ in range(5)]
            for number, socket in enumerate(sockets):
                for words in range(4):
                    message = {"message": {"id": f"{number} {words}", "content": "words 10000000"}}
                    await socket.subscribe(SEND, message)

            async def read(socket: Socket) -> int:
                count = 0
                with suppress(ConnectionClosed):
                    while True:
                        frame = json.loads(await socket.connection.recv())
                        assert frame["type"] == "next"
                        count += 1
                return count

            reading = [asyncio.create_task(read(socket)) for socket in sockets]
            await asyncio.sleep(0.5)
            server.send_signals(signal.SIGTERM)
            async with asyncio.timeout(PATIENCE_SECONDS):
                counts = await asyncio.gather(*reading)
            assert min(counts) > 10
            # 1002, or none, is what bytes behind the close or a torn frame would give.
            assert {socket.connection.close_code for socket in sockets} == {1012}
        await ends(server)
