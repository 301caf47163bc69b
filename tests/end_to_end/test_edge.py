"""The edge of a real server: who is slow, does not read, or is foreign, and what is packed."""

import asyncio
import json
import socket
import sys
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import httpx
import pytest
from websockets.frames import Frame, Opcode

from tests.processes import ServerProcess, serving
from tests.wire import PATIENCE_SECONDS, SEND, eventually, open_socket

REQUEST_SECONDS = 15
GONE_SECONDS = 35
MARGIN_SECONDS = 15
"""What a busy machine may add."""

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
HANDSHAKE = (
    b"GET /graphql HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: graphql-transport-ws\r\n"
)
DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
LARGE = "subscription { conversationEvents { ... on MessagesReset { messages { content } } } }"


def frame(data: bytes, opcode: Opcode = Opcode.TEXT, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin=fin).serialize(mask=True)


def subscribe(query: str) -> bytes:
    subscription = {"id": "a", "type": "subscribe", "payload": {"query": query}}
    frames = ({"type": "connection_init"}, subscription)
    return b"".join(frame(json.dumps(each).encode()) for each in frames)


def request(query: str, *headers: bytes) -> bytes:
    body = json.dumps({"query": query}).encode()
    lines = b"".join(header + b"\r\n" for header in headers)
    return POST + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body


def dial(server: ServerProcess) -> socket.socket:
    """A connection that takes almost nothing unless it is read."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    connection.connect(("127.0.0.1", server.port))
    connection.setblocking(False)
    return connection


async def handshaken(server: ServerProcess, *headers: bytes) -> socket.socket:
    loop = asyncio.get_running_loop()
    connection = dial(server)
    await loop.sock_sendall(connection, b"".join((HANDSHAKE, *headers, b"\r\n")))
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += await loop.sock_recv(connection, 1)
    assert answer.startswith(b"HTTP/1.1 101 ")
    return connection


async def seconds_until_hung_up(connection: socket.socket) -> float:
    """How long the server keeps a connection that reads all that it gets."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    async with asyncio.timeout(GONE_SECONDS + MARGIN_SECONDS):
        try:
            while await loop.sock_recv(connection, 65_536):
                pass
        except ConnectionError:
            pass
        finally:
            connection.close()
    return loop.time() - begin


async def seconds_until_gone(connection: socket.socket) -> float:
    """How long the server keeps a connection that reads nothing: until it is not ESTABLISHED."""
    begin = time.monotonic()
    while connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 1:
        assert time.monotonic() < begin + GONE_SECONDS + MARGIN_SECONDS
        await asyncio.sleep(0.1)
    connection.close()
    return time.monotonic() - begin


async def trickle(connection: socket.socket, begin: bytes, each: bytes) -> float:
    """How long the server lets somebody say something twice a second."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, begin)

    async def go_on() -> None:
        while True:
            await asyncio.sleep(0.5)
            await loop.sock_sendall(connection, each)

    going_on = asyncio.ensure_future(go_on())
    try:
        return await seconds_until_hung_up(connection)
    finally:
        going_on.cancel()
        await asyncio.wait({going_on})


SETTINGS = {
    "GRAPHQL_APP_MAX_CONTENT_LENGTH": "262144",
    "GRAPHQL_APP_ORIGINS": "https://app.example",
    "GRAPHQL_APP_HOSTS": "chat.example",
}


@pytest.fixture(scope="module")
def edge() -> Iterator[ServerProcess]:
    """A server with the deadlines that everybody gets."""
    with serving("--completion", "echo", "--word-delay", "0", environment=SETTINGS) as server:
        yield server


@pytest.mark.skipif(sys.platform != "linux", reason="others do not say how a connection is")
async def test_who_is_slow_or_does_not_read_is_gone_in_time(edge: ServerProcess) -> None:
    async with open_socket(edge.url) as filling:
        for number in range(16):
            message = {"id": f"m{number}", "content": "x" * 262_144}
            reply = await filling.follow(SEND, {"message": message})
            assert reply.status == "DONE"
    await eventually(lambda: len(edge_connections(edge)) == 0)
    memory = edge.memory_bytes()
    say = asyncio.get_running_loop().sock_sendall

    async def half(data: bytes) -> float:
        connection = dial(edge)
        await say(connection, data)
        return await seconds_until_hung_up(connection)

    async def half_of_a_message(data: bytes) -> float:
        connection = await handshaken(edge)
        await say(connection, frame(b'{"type": "connection_init"}') + data)
        return await seconds_until_hung_up(connection)

    async def unread(data: bytes) -> float:
        connection = dial(edge)
        await say(connection, data)
        return await seconds_until_gone(connection)

    async def unread_socket(data: bytes) -> float:
        connection = await handshaken(edge)
        await say(connection, data)
        return await seconds_until_gone(connection)

    async def trickling_socket() -> float:
        connection = await handshaken(edge)
        return await trickle(
            connection, frame(b"x", fin=False), frame(b"x", Opcode.CONT, fin=False)
        )

    slow: dict[str, Callable[[], Awaitable[float]]] = {
        "nothing": partial(half, b""),
        "half a header": partial(half, GET[:20]),
        "half a body": partial(half, POST + b"Content-Length: 1000\r\n\r\n{"),
        "half a handshake": partial(half, HANDSHAKE),
        "a trickling header": lambda: trickle(dial(edge), POST + b"X: ", b"x"),
        "a trickling body": lambda: trickle(
            dial(edge), POST + b"Content-Length: 1000\r\n\r\n", b"x"
        ),
        "half a frame": partial(half_of_a_message, frame(b"x" * 1_000)[:-1]),
        "half a message": partial(half_of_a_message, frame(b"x", fin=False)),
        "trickling fragments": trickling_socket,
    }
    unreading: dict[str, Callable[[], Awaitable[float]]] = {
        "answers": partial(unread, request("{ messages { content } }") * 3),
        "an event stream": partial(unread, request(LARGE, b"Accept: text/event-stream")),
        "a socket": partial(unread_socket, subscribe(LARGE)),
        "pings": partial(unread_socket, subscribe("{ __typename }")),
    }
    names = [*slow, *unreading]
    seconds = dict(
        zip(
            names,
            await asyncio.gather(*(call() for call in (*slow.values(), *unreading.values()))),
            strict=True,
        )
    )
    assert max(seconds[name] for name in slow) < REQUEST_SECONDS + MARGIN_SECONDS, seconds
    assert max(seconds[name] for name in unreading) < GONE_SECONDS + MARGIN_SECONDS, seconds
    # None of them was cut off for something else.
    assert min(seconds.values()) > 5, seconds
    await eventually(lambda: len(edge_connections(edge)) == 0)
    await eventually(lambda: edge.memory_bytes() < memory + 60_000_000)


def edge_connections(server: ServerProcess) -> list[str]:
    """The connections that the server's system still has for it, whatever they do."""
    with open("/proc/net/tcp") as table:  # noqa: PTH123
        next(table)
        rows = [line.split() for line in table]
    port = f":{server.port:04X}"
    # Neither the listener, nor those that only wait for late packets.
    return [row[1] for row in rows if row[1].endswith(port) and row[3] not in ("0A", "06")]


async def test_foreign_pages_and_other_names_are_refused_by_the_real_server(
    edge: ServerProcess,
) -> None:
    query = {"query": "{ __typename }"}
    async with httpx.AsyncClient(base_url=edge.http, timeout=PATIENCE_SECONDS) as http:

        async def status(**headers: str) -> int:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return (await http.post("/graphql", json=query, headers=named)).status_code

        assert await status() == 200
        assert await status(origin=edge.http) == 200
        assert await status(origin="https://app.example") == 200
        assert await status(host="chat.example", origin="https://chat.example") == 200
        assert await status(origin="https://evil.example") == 403
        assert await status(origin="null") == 403
        rebound = f"evil.example:{edge.port}"
        assert await status(host=rebound, origin=f"http://{rebound}") == 400
        assert await status(x_forwarded_host="evil.example") == 200
        assert (await http.get("/healthz", headers={"host": rebound})).status_code == 200
        preflight = await http.options(
            "/graphql",
            headers={
                "origin": "https://app.example",
                "access-control-request-method": "POST",
                "access-control-request-headers": "authorization,content-type",
            },
        )
        assert preflight.headers["access-control-allow-origin"] == "https://app.example"
    for headers, answer in (
        (b"Origin: https://app.example\r\n", b"HTTP/1.1 101 "),
        (b"Origin: https://evil.example\r\n", b"HTTP/1.1 403 "),
        (b"Origin: null\r\n", b"HTTP/1.1 403 "),
        (b"", b"HTTP/1.1 101 "),
    ):
        assert (await first_bytes(edge, HANDSHAKE + headers + b"\r\n")).startswith(answer)
    rebinding = HANDSHAKE.replace(b"localhost", b"evil.example") + b"\r\n"
    refused = await first_bytes(edge, rebinding)
    assert refused.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nx-content-type-options: nosniff\r\n" in refused.lower()


async def test_a_proxy_is_believed_only_if_it_is_trusted(edge: ServerProcess) -> None:
    """Even one on loopback, whom uvicorn would believe."""

    async def answers(server: ServerProcess) -> tuple[bool, bytes]:
        """Whether the server takes a request for one over HTTPS, and a socket's status."""
        forwarded = b"X-Forwarded-Proto: https\r\nX-Forwarded-For: 203.0.113.9\r\n"
        answer = await first_bytes(server, GET[:-2] + forwarded + b"\r\n")
        page = b"Origin: http://localhost\r\n"  # Foreign to a server that is reached by HTTPS.
        socket_answer = await first_bytes(server, HANDSHAKE + forwarded + page + b"\r\n")
        return b"strict-transport-security" in answer.lower(), socket_answer[9:12]

    assert await answers(edge) == (False, b"101")
    trusting = {"GRAPHQL_APP_TRUSTED_PROXIES": "127.0.0.1"}
    with serving("--completion", "echo", environment=trusting) as server:
        assert await answers(server) == (True, b"403")


async def first_bytes(server: ServerProcess, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(data)
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await reader.read(2_000)
    finally:
        writer.close()


async def test_what_is_no_request_leaves_nothing_in_the_log_and_is_counted(
    edge: ServerProcess,
) -> None:
    begin = len(edge.log)
    for data in (
        b"nonsense\r\n\r\n",
        b"\0" * 100,
        GET[:-2] + b"X: \0\r\n\r\n",
        HANDSHAKE[:-30] + b"\r\n",
    ):
        for _ in range(20):
            assert (await first_bytes(edge, data)).startswith(b"HTTP/1.1 4")
    async with httpx.AsyncClient(base_url=edge.http) as http:
        counts = (await http.get("/metrics")).text
    [line] = [line for line in counts.splitlines() if 'refusals_total{reason="malformed"' in line]
    assert float(line.split()[-1]) >= 80
    assert edge.log[begin:] == ""


async def test_a_packet_of_bombs_ends_its_socket_and_costs_no_memory() -> None:
    deflater = zlib.compressobj(9, wbits=-12)
    bomb = deflater.compress(bytes(200_000_000)) + deflater.flush(zlib.Z_SYNC_FLUSH)
    small = zlib.compressobj(9, wbits=-12)
    spaces = small.compress(b'{"type": "ping"}' + b" " * 2_000_000) + small.flush(zlib.Z_SYNC_FLUSH)
    pings = 100 * packed(spaces[:-4])
    with serving("--completion", "echo", environment={"GRAPHQL_APP_DEFLATE": "true"}) as server:
        before = server.memory_bytes()
        assert len(bomb) < 250_000 > len(pings)
        for _ in range(5):
            assert await code_of_close(server, packed(bomb[:-4])) == 1009
        for _ in range(5):
            # A hundred valid messages of 2 MB; then one that is too large.
            assert await code_of_close(server, pings + packed(bomb[:-4])) == 1009
        assert server.memory_bytes() < before + 60_000_000


def packed(data: bytes) -> bytes:
    first, *rest = frame(data)
    return bytes([first | 0x40, *rest])


async def code_of_close(server: ServerProcess, data: bytes) -> int:
    loop = asyncio.get_running_loop()
    connection = await handshaken(server, DEFLATE)
    answers = b""
    async with asyncio.timeout(3 * PATIENCE_SECONDS):
        sending = asyncio.ensure_future(loop.sock_sendall(connection, data))
        while new := await loop.sock_recv(connection, 65_536):
            answers += new
        await asyncio.wait({sending})
    connection.close()
    closing = answers.rindex(b"\x88")
    return int.from_bytes(answers[closing + 2 : closing + 4])
