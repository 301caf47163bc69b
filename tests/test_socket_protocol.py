"""A WebSocket of the server: uvicorn's, as we have changed it."""

import asyncio
import gc
import itertools
import logging
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest
import uvicorn
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.streams import StreamReader

from graphql_app.api.websocket import WRITE
from graphql_app.socket_protocol import Gate as WriteGate
from graphql_app.socket_protocol import Inbox, SocketProtocol, text_frame
from tests.chats import PATIENCE_SECONDS, settled
from tests.faults import Gate
from tests.objects import alive
from tests.wire import eventually


@asynccontextmanager
async def running(app: Any, **options: Any) -> AsyncIterator[tuple[uvicorn.Server, str]]:
    """uvicorn with our sockets, and where they are opened."""
    options = {"ws": SocketProtocol, **options}
    config = uvicorn.Config(app, port=0, lifespan="off", log_config=None, **options)
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


async def test_a_handshake_that_the_application_refuses_is_no_failure_of_the_server(
    caplog: pytest.LogCaptureFixture,
) -> None:
    has_ended = asyncio.Event()

    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        try:
            await receive()
            await PlainTextResponse("No.", 403)(scope, receive, send)
        finally:
            has_ended.set()

    async with running(refuse) as (server, url):
        with pytest.raises(InvalidStatus) as refusal:
            await connect(url).__aenter__()
        assert refusal.value.response.status_code == 403
        assert refusal.value.response.body == b"No."
        await asyncio.wait_for(has_ended.wait(), PATIENCE_SECONDS)
        await eventually(lambda: not server.server_state.tasks)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


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


# Frames of our own.


def frame_of_library(text: str) -> bytes:
    """The message as the WebSocket library puts it on the wire."""
    protocol = ServerProtocol()
    protocol.state = OPEN
    protocol.send_text(text.encode())
    return b"".join(protocol.data_to_send())


SIZES = (0, 1, 2, 124, 125, 126, 127, 128, 65_534, 65_535, 65_536, 65_537, 200_000)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("letter", ["x", "\u00e9", "日", "\U0001f600"], ids=ascii)
def test_a_frame_is_what_the_library_makes_of_it(size: int, letter: str) -> None:
    width = len(letter.encode())
    for text in (letter * size, letter * (size // width) + "x" * (size % width)):
        assert text_frame(text.encode()) == frame_of_library(text)
        assert text_frame(text.encode()) == Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


@given(st.text(st.characters(codec="utf-8")), st.sampled_from(SIZES))
@example("\0", 126)
def test_any_text_is_framed_as_the_library_does_it(text: str, size: int) -> None:
    text = text + "\u00e9" * ((size - len(text.encode())) // 2)
    assert text_frame(text.encode()) == frame_of_library(text)


class Opened:
    """One socket of a server, from its inside."""

    def __init__(self, scope: Any, send: Any) -> None:
        self._write = scope["extensions"][WRITE]
        self.send = send
        self.protocol = cast(SocketProtocol, self._write.__self__)

    def write(self, text: str) -> bool:
        taken: bool = self._write(text.encode())
        return taken


class Inside:
    """An application that does nothing with its sockets but to show them."""

    def __init__(self, *, accepts: bool = True) -> None:
        self._accepts = accepts
        self._opened: asyncio.Queue[Opened] = asyncio.Queue()
        self.left = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        opened = Opened(scope, send)
        self._opened.put_nowait(opened)
        if self._accepts:
            await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        self.left.set()

    async def opened(self) -> Opened:
        return await asyncio.wait_for(self._opened.get(), PATIENCE_SECONDS)


@asynccontextmanager
async def one_socket(
    **options: Any,
) -> AsyncIterator[tuple[Inside, Opened, ClientConnection]]:
    inside = Inside()
    async with (
        running(inside, ws_per_message_deflate=False) as (_, url),
        connect(url, max_size=None, max_queue=None, **options) as client,
    ):
        yield inside, await inside.opened(), client


async def test_what_is_written_at_once_arrives_in_order_with_what_is_sent() -> None:
    texts = [letter * size for size in SIZES for letter in ("x", "日")]
    async with one_socket() as (_, opened, client):
        for number, text in enumerate(texts):
            if number % 3 == 0 or not opened.write(text):
                await opened.send({"type": "websocket.send", "text": text})
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert [await client.recv() for _ in texts] == texts


async def test_nothing_is_written_before_the_socket_is_accepted() -> None:
    inside = Inside(accepts=False)
    async with running(inside, ws_per_message_deflate=False) as (_, url):
        connecting = asyncio.ensure_future(connect(url).__aenter__())
        opened = await inside.opened()
        assert opened.write("early") is False
        await opened.send({"type": "websocket.accept"})
        assert opened.write("in time") is True
        client = await connecting
        assert await client.recv() == "in time"
        await client.close()


async def test_a_socket_that_deflates_is_left_to_the_library() -> None:
    inside = Inside()
    async with running(inside) as (_, url), connect(url) as client:
        opened = await inside.opened()
        assert opened.write("text") is False
        await opened.send({"type": "websocket.send", "text": "text" * 100})
        assert await client.recv() == "text" * 100


async def test_a_client_that_does_not_read_is_not_written_to_until_it_reads() -> None:
    async with one_socket() as (_, opened, client):
        client.transport.pause_reading()
        count = 0
        while opened.write("x" * 10_000):
            count += 1
            assert count < 10_000
            await asyncio.sleep(0)
        assert not opened.write("too much")
        sending = asyncio.ensure_future(opened.send({"type": "websocket.send", "text": "later"}))
        await asyncio.sleep(0.05)
        assert not sending.done()
        client.transport.resume_reading()
        await asyncio.wait_for(sending, PATIENCE_SECONDS)
        async with asyncio.timeout(PATIENCE_SECONDS):
            for _ in range(count):
                assert await client.recv() == "x" * 10_000
            assert await client.recv() == "later"
        assert opened.write("again")
        assert await client.recv() == "again"


async def test_nothing_is_written_after_our_goodbye() -> None:
    async with one_socket() as (_, opened, client):
        assert opened.write("before")
        opened.protocol.shutdown()
        assert opened.write("after") is False
        assert await client.recv() == "before"
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1012
        await eventually(lambda: opened.protocol.disconnected)
        assert opened.write("lost") is False


async def test_nothing_is_written_after_the_application_closed_the_socket() -> None:
    async with one_socket() as (_, opened, client):
        await opened.send({"type": "websocket.close", "code": 4400, "reason": "bad"})
        assert opened.write("after") is False
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 4400


async def test_nothing_is_written_after_the_client_closed_the_socket() -> None:
    async with one_socket() as (inside, opened, client):
        await client.close()
        await asyncio.wait_for(inside.left.wait(), PATIENCE_SECONDS)
        assert opened.write("after") is False


async def test_nothing_is_written_after_the_client_was_lost() -> None:
    async with one_socket() as (inside, opened, client):
        client.transport.abort()
        await asyncio.wait_for(inside.left.wait(), PATIENCE_SECONDS)
        assert opened.write("after") is False
        with pytest.raises(Exception) as refused:  # noqa: PT011
            await opened.send({"type": "websocket.send", "text": "after"})
        assert type(refused.value).__name__ == "ClientDisconnected"


async def test_nothing_is_written_after_a_frame_that_is_none() -> None:
    async with one_socket() as (inside, opened, client):
        client.transport.write(b"\x81\x02{}")  # Not masked.
        await asyncio.wait_for(inside.left.wait(), PATIENCE_SECONDS)
        assert opened.write("after") is False


def server_frames(data: bytes) -> Iterator[Frame]:
    """The frames that a server sent, up to the last whole one."""
    reader = StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    with suppress(EOFError):
        while True:
            yield from _parsed(reader)


def _parsed(reader: StreamReader) -> Iterator[Frame]:
    parsing = Frame.parse(reader.read_exact, mask=False)
    try:
        while True:
            next(parsing)
    except StopIteration as done:
        yield done.value


HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def rest_of(reader: asyncio.StreamReader, begin: bytes) -> bytes:
    """All that comes, from its beginning on, up to a close frame or the end."""
    data = begin
    async with asyncio.timeout(PATIENCE_SECONDS):
        while new := await reader.read(65_536):
            data += new
    return data


@pytest.mark.parametrize("ends", ["shutdown", "close", "client"])
@pytest.mark.parametrize("turns", [0, 1, 5, 50])
async def test_the_close_frame_is_the_last_however_fast_is_written(ends: str, turns: int) -> None:
    texts = [f"{number} " + "日" * (number * 37 % 300) for number in range(1_000)]
    inside = Inside()

    async def talk(opened: Opened) -> None:
        for number in itertools.count():
            text = texts[number % len(texts)]
            if not opened.write(text):
                try:
                    await opened.send({"type": "websocket.send", "text": text})
                except Exception:
                    return
            await asyncio.sleep(0)

    async with running(inside, ws_per_message_deflate=False) as (_, url):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(HANDSHAKE)
        opened = await inside.opened()
        await reader.readuntil(b"\r\n\r\n")
        talking = [asyncio.create_task(talk(opened)) for _ in range(3)]
        data = await reader.readexactly(1_000)
        for _ in range(turns):
            await asyncio.sleep(0)
        match ends:
            case "shutdown":
                opened.protocol.shutdown()
            case "close":
                await opened.send({"type": "websocket.close", "code": 4000})
            case "client":
                writer.write(b"\x88\x82\0\0\0\0" + (1000).to_bytes(2))
        reading = asyncio.create_task(rest_of(reader, data))
        await asyncio.wait_for(asyncio.gather(*talking), PATIENCE_SECONDS)
        if ends != "client":
            writer.write(b"\x88\x82\0\0\0\0" + (1000).to_bytes(2))
        with suppress(OSError):
            data = await reading
        writer.close()
        frames = list(server_frames(data))
        assert sum(map(len, (Frame.serialize(each, mask=False) for each in frames))) == len(data)
        *spoken, last = frames
        assert last.opcode is Opcode.CLOSE
        assert {each.opcode for each in spoken} == {Opcode.TEXT}
        assert {bytes(each.data).decode() for each in spoken} <= set(texts)


async def raw_client(
    url: str, handshake: bytes = HANDSHAKE
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The client's side of a new socket, for frames made by hand."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(handshake)
    await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_SECONDS)
    return reader, writer


async def test_nothing_is_written_behind_the_answer_to_a_close_frame_that_waits_to_go_out() -> None:
    inside = Inside()
    async with running(inside, ws_per_message_deflate=False) as (_, url):
        reader, writer = await raw_client(url)
        opened = await inside.opened()
        transport = opened.protocol.transport
        count = 0
        while not transport.get_write_buffer_size():  # The client does not read.
            assert opened.write("x" * 10_000)
            count += 1
            assert count < 10_000
            await asyncio.sleep(0)
        writer.write(b"\x88\x82\0\0\0\0" + (1000).to_bytes(2))
        await eventually(transport.is_closing)
        assert opened.write("after") is False
        frames = list(server_frames(await rest_of(reader, b"")))
        writer.close()
    assert [each.opcode for each in frames] == [Opcode.TEXT] * count + [Opcode.CLOSE]


# What a socket keeps.


async def test_a_socket_has_no_dictionary() -> None:
    async with one_socket() as (inside, opened, client):
        await client.send("text")
        await (await client.ping())
        assert opened.write("text")
        for _ in range(2):
            strange = sorted(vars(opened.protocol))
            assert not strange, f"uvicorn has new attributes: name {strange} in SocketProtocol"
            client.transport.abort()
            await asyncio.wait_for(inside.left.wait(), PATIENCE_SECONDS)


async def accepting(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] != "websocket.disconnect":
        if message["text"] == "close":
            await send({"type": "websocket.close", "code": 4400})


async def refusing(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.close"})


async def breaking(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    raise ZeroDivisionError


async def test_a_socket_keeps_nothing_of_a_large_handshake() -> None:
    size, count = 100_000, 5
    lines = b"".join(b"X-%d: %b\r\n" % (n, b"x" * (size // 20)) for n in range(20))
    inside = Inside()

    async def forgetting(scope: Any, receive: Any, send: Any) -> None:
        scope["headers"].clear()
        await inside(scope, receive, send)

    async with running(forgetting, ws_per_message_deflate=False) as (_, url):
        tracemalloc.start()
        try:
            gc.collect()
            before, _ = tracemalloc.get_traced_memory()
            clients = []
            for _ in range(count):
                clients.append(await raw_client(url, HANDSHAKE[:-2] + lines + b"\r\n"))
                await inside.opened()
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        for _, writer in clients:
            writer.close()
    assert after - before < count * size / 2


@pytest.mark.parametrize(
    ("app", "end"),
    [
        (accepting, "client"),
        (accepting, "lost"),
        (accepting, "application"),
        (accepting, "server"),
        (accepting, "no frame"),
        (refusing, "never opened"),
        (breaking, "application broke"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_socket_that_was_closed_goes_without_the_collector(
    without_collector: None, caplog: pytest.LogCaptureFixture, app: Any, end: str
) -> None:
    caplog.set_level(logging.CRITICAL)  # What is logged is kept, with all frames.

    async def come_and_go(server: uvicorn.Server, url: str) -> None:
        async with connect(url) as client:
            match end:
                case "client":
                    return
                case "lost":
                    client.transport.abort()
                case "application":
                    await client.send("close")
                case "server":
                    for connection in list(server.server_state.connections):
                        connection.shutdown()
                case "no frame":
                    client.transport.write(b"\x81\x02{}")  # Not masked.
            await client.recv()

    assert alive(SocketProtocol | Inbox) == 0
    async with running(app, ws_per_message_deflate=False) as (server, url):
        for _ in range(3):
            with suppress(WebSocketException):
                await asyncio.create_task(come_and_go(server, url))
        await eventually(lambda: not server.server_state.connections)
        await eventually(lambda: not server.server_state.tasks)
        await settled()
        assert alive(SocketProtocol | Inbox) == 0


@pytest.mark.parametrize(
    ("line", "instead", "status"),
    [
        (b"Version: 13", b"Version: 12", b"400"),
        (b"AAAAAAAAAAAAAAAAAAAAAA==", b"A", b"400"),
        (b"GET", b"POST", b"405"),
    ],
    ids=["version", "key", "method"],
)
async def test_a_handshake_that_is_none_is_refused_and_nothing_else(
    caplog: pytest.LogCaptureFixture, line: bytes, instead: bytes, status: bytes
) -> None:
    async with running(accepting) as (server, url):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(HANDSHAKE.replace(line, instead))
        answer = await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
        writer.close()
        await eventually(lambda: not server.server_state.connections)
        await settled()
    assert answer.split()[1] == status
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


async def test_what_was_received_is_read_in_order() -> None:
    inbox = Inbox()
    inbox.put_nowait(1)
    inbox.put_nowait(2)
    assert not inbox.empty()
    assert [await inbox.get(), await inbox.get()] == [1, 2]
    assert inbox.empty()
    reading = asyncio.ensure_future(inbox.get())
    await asyncio.sleep(0)
    for number in (3, 4, 5):
        inbox.put_nowait(number)
    assert await asyncio.wait_for(reading, 1) == 3
    assert [await inbox.get(), await inbox.get()] == [4, 5]


async def test_a_reader_that_gave_up_misses_nothing_that_comes_later() -> None:
    inbox = Inbox()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(inbox.get(), 0.01)
    inbox.put_nowait(1)
    assert await asyncio.wait_for(inbox.get(), 1) == 1


async def test_all_who_come_to_a_closed_gate_wait_until_it_is_opened() -> None:
    gate = WriteGate()
    assert gate.is_set()
    await asyncio.wait_for(gate.wait(), 1)
    gate.clear()
    gate.clear()
    waiters = [asyncio.create_task(gate.wait()) for _ in range(3)]
    await asyncio.sleep(0.01)
    assert not gate.is_set()
    assert not any(waiter.done() for waiter in waiters)
    waiters[0].cancel()
    gate.set()
    gate.set()
    await asyncio.wait_for(asyncio.gather(*waiters[1:]), 1)
    assert gate.is_set()


async def test_a_gate_that_is_closed_again_at_once_lets_nobody_through() -> None:
    gate = WriteGate()
    gate.clear()
    waiter = asyncio.create_task(gate.wait())
    await asyncio.sleep(0)
    gate.set()
    gate.clear()
    await asyncio.sleep(0.01)
    assert not waiter.done()
    gate.set()
    await asyncio.wait_for(waiter, 1)
