"""A connection that speaks HTTP: how long it is waited for, how much it may say, and what not."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest

from graphql_app import metrics
from graphql_app.http_protocol import MAX_HEAD_BYTES, MAX_HEADERS, MAX_PIPELINED, RequestProtocol
from graphql_app.patience import PROGRESS_BYTES, Patience
from tests.chats import PATIENCE_SECONDS
from tests.faults import Gate
from tests.test_socket_protocol import running

QUICK = Patience(request_seconds=0.3, unread_seconds=0.3)

GET = b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: localhost\r\n"


async def mirror(scope: Any, receive: Any, send: Any) -> None:
    """Answers with what was asked."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        more = message["more_body"]
    await answer(
        send,
        {
            "method": scope["method"],
            "path": scope["path"],
            "size": size,
            "host": [value.decode() for name, value in scope["headers"] if name == b"host"],
            "headers": len(scope["headers"]),
        },
    )


async def answer(send: Any, value: object) -> None:
    body = json.dumps(value).encode()
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": body})


class Line:
    """A client that says what it wants, byte for byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def rest(self) -> bytes:
        """All that comes until the server hangs up."""
        data = b""
        async with asyncio.timeout(PATIENCE_SECONDS):
            with suppress(ConnectionError):  # It hung up while something was on its way to it.
                while new := await self.reader.read(65_536):
                    data += new
        return data

    async def until(self, end: bytes) -> bytes:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.reader.readuntil(end)


Dial = Callable[[], Awaitable[Line]]


@asynccontextmanager
async def serving(app: Any = mirror, patience: Patience = QUICK) -> AsyncIterator[Dial]:
    """A server, and what opens a connection to it."""
    http = partial(RequestProtocol, patience=patience)
    lines = []
    async with running(app, http=http, server_header=False) as (_, url):

        async def dial() -> Line:
            lines.append(
                Line(*await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2])))
            )
            return lines[-1]

        try:
            yield dial
        finally:
            for line in lines:
                line.writer.close()


def refusals(reason: str) -> float:
    begin = f'graphql_app_refusals_total{{reason="{reason}"}} '
    lines = metrics.exposition().decode().splitlines()
    return sum(float(line.removeprefix(begin)) for line in lines if line.startswith(begin))


# Time.


@pytest.mark.parametrize(
    "half",
    [
        b"G",
        b"GET /a HTTP/1.1\r\nHost: loc",
        GET[:-2],
        POST + b"Content-Length: 10\r\n\r\n",
        POST + b"Content-Length: 10\r\n\r\nhalf",
        POST + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        GET + b"GET /b",
    ],
    ids=lambda half: half[-20:],
)
async def test_half_a_request_is_answered_with_408_and_closed(half: bytes) -> None:
    before = refusals("slow")
    async with serving() as dial:
        line = await dial()
        await line.say(half)
        data = await line.rest()
    assert data.count(b"HTTP/1.1 408 Request Timeout\r\n") == 1
    assert b"\r\nconnection: close\r\n" in data
    assert b"\r\nx-content-type-options: nosniff\r\n" in data
    assert b"\r\nserver:" not in data.lower()
    assert refusals("slow") == before + 1


async def test_a_request_that_trickles_is_not_waited_for() -> None:
    async with serving() as dial:
        line = await dial()

        async def trickle() -> None:
            for byte in POST + b"X-Long: " + b"x" * 10_000:
                await line.say(bytes([byte]))
                await asyncio.sleep(0.02)

        trickling = asyncio.ensure_future(trickle())
        assert b" 408 " in await line.rest()
        trickling.cancel()


@pytest.mark.parametrize("before", [b"", b"\r\n", GET, GET + b"\r\n"])
async def test_a_connection_on_which_nothing_is_asked_is_closed_without_a_word(
    before: bytes,
) -> None:
    count = refusals("slow")
    async with serving() as dial:
        line = await dial()
        await line.say(before)
        answers = await line.rest()
    assert answers.count(b"HTTP/1.1") == before.count(b"GET")
    assert refusals("slow") == count


async def test_a_body_that_makes_progress_may_take_its_time() -> None:
    parts = 8
    async with serving() as dial:
        line = await dial()
        await line.say(POST + b"Content-Length: %d\r\n\r\n" % (parts * PROGRESS_BYTES))
        for _ in range(parts):
            await line.say(b"x" * PROGRESS_BYTES)
            await asyncio.sleep(QUICK.request_seconds / 3)
        assert b'"size": %d' % (parts * PROGRESS_BYTES) in await line.until(b"}")


async def test_a_body_that_stalls_after_some_progress_is_not_waited_for() -> None:
    async with serving() as dial:
        line = await dial()
        await line.say(POST + b"Content-Length: 1000000\r\n\r\n" + b"x" * 5 * PROGRESS_BYTES)
        assert b" 408 " in await line.rest()


async def test_an_answer_may_take_longer_than_the_request_even_if_line_breaks_follow_that() -> None:
    async def late(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(3 * QUICK.request_seconds)
        await answer(send, "late")

    async with serving(late) as dial:
        line = await dial()
        await line.say(GET)
        await asyncio.sleep(0.05)
        await line.say(b"\r\n")
        assert await line.until(b'"late"')


async def test_what_is_still_sent_after_its_answer_is_not_read_for_ever() -> None:
    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, "no")

    async with serving(refuse) as dial:
        line = await dial()
        await line.say(POST + b"Content-Length: 100000000\r\n\r\n")

        async def go_on() -> None:
            while True:
                await line.say(b"x" * PROGRESS_BYTES)
                await asyncio.sleep(0.05)

        going_on = asyncio.ensure_future(go_on())
        assert (await line.rest()).count(b"HTTP/1.1 ") == 1
        going_on.cancel()


@pytest.mark.parametrize("part", [50_000_000, 50_000], ids=["one large part", "a stream"])
async def test_a_client_that_does_not_read_is_let_go(part: int) -> None:
    left = asyncio.Event()

    async def talk(send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x" * part, "more_body": True})
            await asyncio.sleep(0)

    async def until_left(scope: Any, receive: Any, send: Any) -> None:
        talking = asyncio.ensure_future(talk(send))
        while (await receive())["type"] != "http.disconnect":
            pass
        talking.cancel()
        await asyncio.wait({talking})
        left.set()

    async with serving(until_left) as dial:
        line = await dial()
        line.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await line.say(GET)
        await asyncio.wait_for(left.wait(), PATIENCE_SECONDS)


async def test_a_client_that_reads_slowly_gets_all() -> None:
    size = 12_000_000

    async def large(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, "x" * size)

    async with serving(large) as dial:
        line = await dial()
        await line.say(GET)
        count = 0
        while count < size:
            async with asyncio.timeout(PATIENCE_SECONDS):
                count += len(await line.reader.read(250_000))
            await asyncio.sleep(0.02)


# Size.


def headers(count: int, size: int) -> bytes:
    return b"".join(b"X-%d: %b\r\n" % (number, b"x" * size) for number in range(count))


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * MAX_HEAD_BYTES,
        b"GET /a HTTP/1.1\r\nX: " + b"x" * 10_000_000,
        b"GET /a HTTP/1.1\r\n" + b"x" * 10_000_000,
        GET[:-2] + headers(MAX_HEADERS + 1, 10),
        GET[:-2] + headers(20, 5_000) + b"\r\n",
        b"\r\n".join([b"GET /a HTTP/1.1", *[b"X: x"] * 1_000_000]),
        POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Trailer: " + b"x" * 10_000_000,
        POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 10_000_000,
    ],
    ids=[
        *("target", "value", "name", "count", "sum", "many", "trailer", "extension"),
    ],
)
async def test_headers_that_are_too_large_are_431_before_they_end(head: bytes) -> None:
    async with serving(patience=Patience()) as dial:
        line = await dial()

        async def send() -> None:
            with suppress(ConnectionError):
                await line.say(head)

        sending = asyncio.ensure_future(send())
        data = await line.rest()
        sending.cancel()
    # A client that goes on sending may be reset before it reads why.
    assert data == b"" or data.startswith(b"HTTP/1.1 431 ")


async def test_headers_up_to_the_limit_are_taken() -> None:
    async with serving() as dial:
        line = await dial()
        await line.say(GET[:-2] + headers(MAX_HEADERS - 1, MAX_HEAD_BYTES // MAX_HEADERS - 10))
        await line.say(b"\r\n")
        assert b'"headers": %d' % MAX_HEADERS in await line.until(b"}")


async def test_trailers_are_no_headers() -> None:
    async with serving() as dial:
        line = await dial()
        await line.say(
            POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nHost: evil.example\r\n\r\n"
        )
        said = json.loads((await line.until(b"}")).partition(b"\r\n\r\n")[2])
    assert (said["host"], said["headers"], said["size"]) == (["localhost"], 2, 1)


async def test_there_are_as_many_connections_as_may_be() -> None:
    before = refusals("connections")
    async with serving(patience=Patience(connections=2)) as dial:
        first, second, third = [await dial() for _ in range(3)]
        data = await third.rest()
        assert data.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"\r\nretry-after: 1\r\n" in data
        assert refusals("connections") == before + 1
        first.writer.close()
        await first.writer.wait_closed()
        for line in (second, await dial()):
            await line.say(GET)
            assert b" 200 " in await line.until(b"}")


async def test_only_so_many_requests_wait_for_the_one_before_them() -> None:
    gate = Gate()

    async def held_up(scope: Any, receive: Any, send: Any) -> None:
        await gate.pass_through()
        await answer(send, "done")

    async with serving(held_up) as dial:
        line = await dial()
        await line.say(GET * 1_000)
        await gate.reached()
        gate.open()
        assert (await line.rest()).count(b"HTTP/1.1 200 ") == MAX_PIPELINED + 1


async def test_who_is_answered_hears_that_the_client_left_also_if_others_wait_behind_it() -> None:
    began, left = asyncio.Event(), asyncio.Event()

    async def wait(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        began.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        left.set()

    async with serving(wait) as dial:
        line = await dial()
        await line.say(GET * 3)
        await asyncio.wait_for(began.wait(), PATIENCE_SECONDS)
        line.writer.transport.abort()
        await asyncio.wait_for(left.wait(), PATIENCE_SECONDS)


# Order and sense.


async def test_what_was_asked_before_nonsense_is_answered_and_nothing_else() -> None:
    async with serving() as dial:
        line = await dial()
        await line.say(GET + b"nonsense\r\n\r\n" + GET)
        data = await line.rest()
    assert data.count(b"HTTP/1.1 ") == 1
    assert data.startswith(b"HTTP/1.1 200 ")


async def test_nonsense_in_a_body_is_answered_once() -> None:
    async with serving() as dial:
        line = await dial()
        await line.say(POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + GET)
        data = await line.rest()
    assert data.count(b"HTTP/1.1 ") == 1
    assert data.startswith(b"HTTP/1.1 400 ")


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"

MALFORMED = {
    "TE and CL": POST
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "CL and TE": POST
    + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "two CL": POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "CL of two": POST + b"Content-Length: 1, 1\r\n\r\nx",
    "CL with sign": POST + b"Content-Length: +1\r\n\r\nx",
    "CL in hex": POST + b"Content-Length: 0x1\r\n\r\nx",
    "CL of a thousand digits": POST + b"Content-Length: " + b"9" * 1_000 + b"\r\n\r\nx",
    "TE behind chunked": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "TE with a tab": POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "space before colon": b"GET /a HTTP/1.1\r\nHost : localhost\r\n\r\n",
    "folded header": b"GET /a HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n",
    "bare LF": b"GET /a HTTP/1.1\nHost: localhost\n\n",
    "bare CR": b"GET /a HTTP/1.1\rHost: localhost\r\r",
    "NUL in a header": b"GET /a HTTP/1.1\r\nHost: local\0host\r\n\r\n",
    "NUL in the target": b"GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "NUL": b"\0" * 100,
    "no version": b"GET /a\r\n\r\n",
    "version 3": b"GET /a HTTP/3.0\r\nHost: localhost\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    "TLS": b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"\x8f" * 100,
    "CONNECT": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n",
    "no method": b" /a HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "unknown method": b"HACK /a HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "negative chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
    "huge chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 17 + b"\r\n",
    "letters in the target": "GET /é HTTP/1.1\r\nHost: localhost\r\n\r\n".encode("latin-1"),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
async def test_what_could_be_read_in_two_ways_is_refused_and_nothing_after_it_is_read(
    data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    paths = []

    async def note(scope: Any, receive: Any, send: Any) -> None:
        paths.append(scope["path"])
        await mirror(scope, receive, send)

    with caplog.at_level(logging.INFO):
        async with serving(note) as dial:
            line = await dial()
            await line.say(data)
            answers = await line.rest()
    assert answers.count(b"HTTP/1.1 ") == 1
    assert answers.startswith(b"HTTP/1.1 4")
    assert b"\r\nconnection: close\r\n" in answers
    assert "/smuggled" not in paths
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("request_line", "host"),
    [
        (b"GET http://evil.example/a HTTP/1.1", "evil.example"),
        (b"GET http://evil.example:80/a HTTP/1.1", "evil.example:80"),
        (b"GET http://user@evil.example/a HTTP/1.1", "user@evil.example"),
        (b"GET http://[::1]:3000/a HTTP/1.1", "[::1]:3000"),
        (b"GET /a?http://evil.example/ HTTP/1.1", "localhost"),
    ],
)
async def test_the_host_is_that_of_the_target_if_that_has_one(
    request_line: bytes, host: str
) -> None:
    async with serving() as dial:
        line = await dial()
        await line.say(request_line + b"\r\nHost: localhost\r\n\r\n")
        said = json.loads((await line.until(b"}")).partition(b"\r\n\r\n")[2])
    assert (said["host"], said["path"]) == ([host], "/a")


H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (GET[:-2] + H2C + b"\r\n", 200),
        (POST + H2C + b"Content-Length: 0\r\n\r\n", 200),
        (POST + H2C + b"Content-Length: 5\r\n\r\nhello", 400),
        (POST + H2C + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 400),
    ],
)
async def test_who_would_rather_speak_http_2_is_answered_as_we_speak(
    request_: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as dial:
        line = await dial()
        await line.say(request_)
        data = await line.rest()
    assert data.count(b"HTTP/1.1 ") == 1
    assert data.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nconnection: close\r\n" in data
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


# Handshakes of sockets.


UPGRADE = (
    b"Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
)

HANDSHAKES = {
    "no key": b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "POST": b"POST / HTTP/1.1\r\n" + UPGRADE + b"\r\n",
    "a body": b"GET / HTTP/1.1\r\n" + UPGRADE + b"Content-Length: 5\r\n\r\nhello",
    "chunks": b"GET / HTTP/1.1\r\n" + UPGRADE + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "version 8": b"GET / HTTP/1.1\r\n" + UPGRADE.replace(b"13", b"8") + b"\r\n",
    "long header": b"GET / HTTP/1.1\r\n" + UPGRADE + b"X: " + b"x" * 9_000 + b"\r\n\r\n",
    "long target": b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\n" + UPGRADE + b"\r\n",
    "bad extension": b"GET / HTTP/1.1\r\n" + UPGRADE + b"Sec-WebSocket-Extensions: ;;\r\n\r\n",
    "behind a request": GET + b"GET / HTTP/1.1\r\n" + UPGRADE + b"\r\n",
}


@pytest.mark.parametrize("handshake", HANDSHAKES.values(), ids=HANDSHAKES.keys())
async def test_a_handshake_that_is_none_is_answered_and_closed_at_once(
    handshake: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(patience=Patience()) as dial:
        line = await dial()
        await line.say(handshake)
        data = await asyncio.wait_for(line.rest(), 5)
    assert data.count(b"HTTP/1.1 ") == 1
    assert data.startswith((b"HTTP/1.1 4", b"HTTP/1.1 200 "))
    assert data.startswith(b"HTTP/1.1 200 ") is handshake.startswith(GET)
    if not handshake.startswith(GET):
        assert b"nosniff" in data
    assert b"\r\nserver:" not in data.lower()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
