"""A WebSocket whose client does not go on, does not read, or sends more than fits."""

import asyncio
import os
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from graphql_app.patience import PROGRESS_BYTES, Patience
from graphql_app.socket_protocol import GOODBYE_SECONDS, SLOW, SocketProtocol
from tests.chats import PATIENCE_SECONDS
from tests.test_http_protocol import Line, refusals
from tests.test_socket_protocol import HANDSHAKE, Inside, Opened, running, server_frames
from tests.wire import eventually

QUICK = Patience(request_seconds=0.3, unread_seconds=0.3)
MAX_BYTES = 2 * 1024 * 1024
DEFLATING = HANDSHAKE[:-2] + (
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
)


class Reading(Inside):
    """An application that keeps the sizes of the messages that it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.code: int | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        self._opened.put_nowait(Opened(scope, send))
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] != "websocket.disconnect":
            self.sizes.append(len(message.get("text") or message.get("bytes")))
        self.code = message.get("code")
        self.left.set()


@asynccontextmanager
async def one_line(
    *, patience: Patience = QUICK, deflate: bool = False, handshake: bytes = HANDSHAKE
) -> AsyncIterator[tuple[Reading, Line]]:
    """A socket, from its inside, and the client's end of its connection."""
    inside = Reading()
    async with running(
        inside,
        ws=partial(SocketProtocol, patience=patience),
        ws_per_message_deflate=deflate,
        ws_max_size=MAX_BYTES,
    ) as (_, url):
        line = Line(*await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2])))
        try:
            await line.say(handshake)
            assert (await line.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            yield inside, line
        finally:
            line.writer.transport.abort()


def frame(
    data: bytes, opcode: Opcode = Opcode.TEXT, *, fin: bool = True, is_deflated: bool = False
) -> bytes:
    """A frame as a client sends it; the library leaves the mark of compression to its extension."""
    first, *rest = Frame(opcode, data, fin=fin).serialize(mask=True)
    return bytes([first | 0x40 * is_deflated, *rest])


async def code_of_close(line: Line) -> int:
    *_, last = server_frames(await line.rest())
    assert last.opcode is Opcode.CLOSE
    return int.from_bytes(last.data[:2])


@pytest.mark.parametrize(
    "half",
    [
        # A frame's mask is random, and a name must not be.
        pytest.param(b"\x81", id="a byte"),
        pytest.param(frame(b"x" * 100)[:-1], id="all but a byte"),
        pytest.param(frame(b"x" * 100)[:5], id="half a head"),
        pytest.param(frame(b"half", fin=False), id="a fragment"),
        pytest.param(frame(b"half", fin=False) + frame(b"", Opcode.PING), id="a ping behind it"),
        pytest.param(frame(b"whole") + b"\x81", id="behind a whole one"),
        pytest.param(frame(b"", Opcode.PING)[:3], id="half a ping"),
    ],
)
async def test_half_a_message_is_not_waited_for(half: bytes) -> None:
    before = refusals("slow")
    async with one_line() as (inside, line):
        await line.say(half)
        assert await code_of_close(line) == SLOW
        await asyncio.wait_for(inside.left.wait(), PATIENCE_SECONDS)
    assert inside.code == SLOW
    assert refusals("slow") == before + 1


@pytest.mark.parametrize("kind", ["frame", "fragments", "pings between"])
async def test_a_message_that_trickles_is_not_waited_for(kind: str) -> None:
    async with one_line() as (_, line):

        async def trickle() -> None:
            await line.say(frame(b"x" * 10_000, fin=False)[:100] if kind == "frame" else b"")
            if kind != "frame":
                await line.say(frame(b"x", fin=False))
            while True:
                match kind:
                    case "frame":
                        await line.say(b"x")
                    case "fragments":
                        await line.say(frame(b"", Opcode.CONT, fin=False))
                    case _:
                        await line.say(frame(b"x" * 100, Opcode.PING))
                await asyncio.sleep(0.01)

        trickling = asyncio.ensure_future(trickle())
        assert await code_of_close(line) == SLOW
        trickling.cancel()
        await asyncio.wait({trickling})


async def test_a_silent_socket_is_left_alone() -> None:
    async with one_line() as (inside, line):
        await line.say(frame(b"whole") + frame(b"in ", fin=False) + frame(b"two", Opcode.CONT))
        await asyncio.sleep(3 * QUICK.request_seconds)
        await line.say(frame(b"again"))
        await line.say(frame(b"", Opcode.CLOSE))
        assert await code_of_close(line) == 0
    assert inside.sizes == [5, 6, 5]


async def test_a_message_that_makes_progress_may_take_its_time() -> None:
    data = frame(b"x" * 8 * PROGRESS_BYTES)
    async with one_line() as (inside, line):
        for begin in range(0, len(data), PROGRESS_BYTES):
            await line.say(data[begin : begin + PROGRESS_BYTES])
            await asyncio.sleep(QUICK.request_seconds / 3)
        await line.say(frame(b"", Opcode.CLOSE))
        await line.rest()
    assert inside.sizes == [8 * PROGRESS_BYTES]


async def test_one_large_message_behind_another_is_not_taken_for_a_slow_one() -> None:
    data = frame(b"x" * (PROGRESS_BYTES - 100))
    async with one_line() as (inside, line):
        for _ in range(12):
            await line.say(data[5_000:] + data[:5_000] if inside.sizes else data + data[:5_000])
            await asyncio.sleep(QUICK.request_seconds / 4)
        await line.say(data[5_000:] + frame(b"", Opcode.CLOSE))
        assert await code_of_close(line) == 0
    assert inside.sizes == [PROGRESS_BYTES - 100] * 13


async def test_a_message_of_any_number_of_empty_frames_takes_no_memory() -> None:
    async with one_line(patience=Patience()) as (inside, line):
        await line.say(frame(b"x", fin=False))
        empty = frame(b"", Opcode.CONT, fin=False) * 1_000
        await line.say(empty)
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(30):
                await line.say(empty)
                await asyncio.sleep(0)
            await line.say(frame(b"y", Opcode.CONT))
            await eventually(lambda: bool(inside.sizes))
            grown = tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()
    assert inside.sizes == [2]
    assert grown < 1_500_000, grown  # 30,000 frames kept would be 3 MB.


@pytest.mark.parametrize("answers", [True, False], ids=["an answer", "silence"])
@pytest.mark.parametrize("reads", [True, False], ids=["reads", "does not read"])
async def test_a_socket_that_is_closed_is_gone_whatever_its_client_does(
    answers: bool, reads: bool
) -> None:
    async with one_line(patience=Patience(unread_seconds=60)) as (inside, line):
        opened = await inside.opened()
        protocol = opened.protocol
        if not reads:
            line.writer.transport.pause_reading()  # type: ignore[attr-defined]
            while opened.write("x" * 10_000):
                pass
        closing = asyncio.ensure_future(opened.send({"type": "websocket.close", "code": 4403}))
        await asyncio.sleep(0)
        if answers:
            await line.say(frame((4403).to_bytes(2), Opcode.CLOSE))
        async with asyncio.timeout(5 * GOODBYE_SECONDS):
            await closing
            await eventually(lambda: protocol.disconnected)
        if not reads:
            # Nor does it get what waits for it in the system.
            line.writer.transport.resume_reading()  # type: ignore[attr-defined]
            async with asyncio.timeout(PATIENCE_SECONDS):
                with pytest.raises(ConnectionResetError):
                    await line.reader.read()
    assert inside.code == 4403


@pytest.mark.parametrize("asks", [True, False], ids=["pings", "silence"])
async def test_a_client_that_does_not_read_is_let_go_and_costs_little(asks: bool) -> None:
    async with one_line() as (inside, line):
        opened = await inside.opened()
        transport = opened.protocol.transport
        line.writer.transport.pause_reading()  # type: ignore[attr-defined]
        largest = 0

        async def ask() -> None:
            pings = frame(b"x" * 120, Opcode.PING) * 500
            while asks:
                await line.say(pings)

        asking = asyncio.ensure_future(ask())
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not inside.left.is_set():
                if not asks:
                    opened.write("x" * 10_000)
                largest = max(largest, transport.get_write_buffer_size())
                await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait({asking})
    assert 0 < largest < 1_000_000


async def test_a_client_that_reads_slowly_keeps_its_socket() -> None:
    count, size = 150, 50_000
    async with one_line() as (inside, line):
        opened = await inside.opened()

        async def talk() -> None:
            for _ in range(count):
                await opened.send({"type": "websocket.send", "text": "x" * size})

        talking = asyncio.ensure_future(talk())
        read = 0
        while read < count * size:
            async with asyncio.timeout(PATIENCE_SECONDS):
                read += len(await line.reader.read(150_000))
            await asyncio.sleep(0.02)
        await asyncio.wait_for(talking, PATIENCE_SECONDS)


# Compression.


def deflated(data: bytes) -> bytes:
    """A message that is compressed: RFC 7692."""
    compressor = zlib.compressobj(9, wbits=-12)
    small = compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return frame(small[:-4], is_deflated=True)


async def test_nothing_is_compressed_unless_the_server_wants_that() -> None:
    async with one_line(handshake=DEFLATING) as (_, line):
        await line.say(deflated(b"x" * 100))
        assert await code_of_close(line) == 1002


@pytest.mark.parametrize("size", [MAX_BYTES + 1, 50 * MAX_BYTES])
async def test_a_message_that_grows_too_large_when_it_is_unpacked_is_1009(size: int) -> None:
    async with one_line(handshake=DEFLATING, deflate=True) as (inside, line):
        await line.say(deflated(bytes(size)))
        assert await code_of_close(line) == 1009
    assert inside.sizes == []


async def test_fragments_that_grow_too_large_together_are_1009() -> None:
    part = zlib.compressobj(9, wbits=-12)
    async with one_line(handshake=DEFLATING, deflate=True) as (_, line):
        for number in range(4):
            data = part.compress(bytes(MAX_BYTES // 3)) + part.flush(zlib.Z_SYNC_FLUSH)
            opcode = Opcode.CONT if number else Opcode.TEXT
            await line.say(frame(data, opcode, fin=False, is_deflated=not number))
        assert await code_of_close(line) == 1009


async def test_many_messages_in_a_packet_are_unpacked_one_after_the_other() -> None:
    count = 60
    burst = deflated(b" " * MAX_BYTES) * count
    assert len(burst) < 256 * 1024
    async with one_line(handshake=DEFLATING, deflate=True) as (inside, line):
        tracemalloc.start()
        try:
            await line.say(burst + frame(b"last"))
            await eventually(lambda: len(inside.sizes) > count)
            largest = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert inside.sizes == [MAX_BYTES] * count + [4]
    assert largest < 8 * MAX_BYTES, largest


async def test_compressed_and_plain_messages_arrive_whole_and_in_order() -> None:
    texts = [os.urandom(size).hex().encode() for size in (1, 100, 511, 512, 513, 40_000, 3)]
    async with one_line(handshake=DEFLATING, deflate=True) as (inside, line):
        for text in texts:
            await line.say(deflated(text) + frame(text))
        await line.say(b"".join(map(deflated, texts)) + frame(b"", Opcode.CLOSE))
        assert await code_of_close(line) == 0
    assert inside.sizes == [len(text) for text in texts for _ in range(2)] + [
        len(text) for text in texts
    ]
