"""Hundreds who dawdle or never read: others are served, and they are gone in time."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import repeat
from pathlib import Path

import pytest

from tests.attack.attacks import asking
from tests.attack.http_inputs import CHUNKED, GET, POST
from tests.attack.peers import TEXT, Peer, frame, handshake, text
from tests.attack.socket_inputs import EVENTS, INIT, subscribe
from tests.attack.target import HonestUser, Target, honest
from tests.processes import serving
from tests.wire import PATIENCE_SECONDS, RESUME, SEND

ROOT = Path(__file__).parents[2]
MEBIBYTE = 2**20

HALF_SECONDS = 15.0
"""How long half a request, or half a message, may be waited for."""

DEAD_SECONDS = 35.0
"""How long a peer that does not read may be kept."""

SLACK_SECONDS = 10.0
"""How much later than that a busy machine may be."""

TORRENT_SECONDS = 40
NEVER_READERS = 25


@pytest.fixture(scope="module")
def besieged() -> Iterator[Target]:
    limits = {"GRAPHQL_APP_MAX_REPLY_LENGTH": str(64 * MEBIBYTE)}
    with serving(
        "--completion", "tests.attack.answers:complete", environment=limits, directory=ROOT
    ) as server:
        yield Target(server)


OPENED = handshake()
"""The rest is said when the server has answered it."""

ON_A_SOCKET = OPENED + text(INIT) + subscribe(query=EVENTS)

DAWDLERS: dict[str, tuple[int, bytes, bytes]] = {
    "says nothing": (50, b"", b""),
    "drips a request line": (50, b"GET /", b"a"),
    "drips headers": (200, GET, b"X-A: b\r\n"),
    "stops in a header": (50, GET + b"X-A: ", b""),
    "drips a body": (50, POST + b"Content-Length: 100000\r\n\r\n", b" "),
    "stops in a body": (50, POST + b"Content-Length: 26\r\n\r\n{", b""),
    "drips chunks": (50, CHUNKED, b"1\r\n \r\n"),
    "stops in a chunk": (50, CHUNKED + b"1a\r\n{", b""),
    "drips an upgrade": (50, handshake()[:-2], b"X-A: b\r\n"),
    "stops in an upgrade": (50, handshake()[:-4], b""),
    "drips a frame": (50, ON_A_SOCKET + frame(TEXT, claims=100_000), b" "),
    "stops in a frame": (50, ON_A_SOCKET + b"\x81\xff\0", b""),
    "drips pieces": (
        50,
        ON_A_SOCKET + frame(TEXT, b"{", fin=False),
        frame(0, b" ", fin=False),
    ),
    "upgrades and says nothing": (50, OPENED, b""),
    "asks, and stops in the next request": (50, asking("{ __typename }") + GET, b""),
}
"""How many there are of each, what they say at once, and what each second."""


async def lifetime(port: int, begin: bytes, drip: bytes) -> float:
    """The seconds until the server hangs up on somebody who goes on as slowly as that."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.monotonic()

    if begin.startswith(OPENED):
        writer.write(OPENED)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        begin = begin.removeprefix(OPENED)

    async def go_on() -> None:
        for said in (begin, *repeat(drip, round(DEAD_SECONDS + SLACK_SECONDS))):
            writer.write(said)
            await asyncio.sleep(1)

    async with asyncio.timeout(HALF_SECONDS + SLACK_SECONDS + PATIENCE_SECONDS):
        going_on = asyncio.create_task(go_on())
        try:
            with suppress(ConnectionError):
                while await reader.read(65_536):
                    pass
        finally:
            going_on.cancel()
            writer.transport.abort()
    return time.monotonic() - began


@contextmanager
def never_readers(port: int, reply_id: str) -> Iterator[None]:
    """Connections on which a reply is followed, by those who take its first few bytes."""
    variables = {"message": {"id": reply_id}}
    peers = [Peer(port, receive_buffer_bytes=4_096) for _ in range(2 * NEVER_READERS)]
    for by_socket in peers[:NEVER_READERS]:
        assert by_socket.shake_hands().status == 101
        by_socket.say(text(INIT), subscribe("1", RESUME, variables=variables))
    for by_stream in peers[NEVER_READERS:]:
        by_stream.say(asking(RESUME, b"Accept: text/event-stream", variables=variables))
    yield
    for peer in peers:
        peer.close()


def test_a_siege_disturbs_nobody_and_is_over_in_time(besieged: Target) -> None:
    server, port = besieged.server, besieged.port
    files = server.open_files()
    with honest(port) as source:
        torrent = {"id": "torrent", "content": f"torrent {TORRENT_SECONDS}"}
        source.say(subscribe("1", SEND, variables={"message": torrent}))
        reply_id = next(source.messages())["payload"]["data"]["sendMessage"]["messageId"]
    user = HonestUser(port)
    with besieged.undisturbed(lines=10_000), user.served(), never_readers(port, reply_id):
        began = time.monotonic()
        lifetimes = asyncio.run(siege(port))
        bound = HALF_SECONDS + SLACK_SECONDS
        assert {name: longest for name, longest in lifetimes.items() if longest > bound} == {}
        while server.open_files() > files + 1:  # The honest user's.
            assert time.monotonic() - began < DEAD_SECONDS + SLACK_SECONDS
            time.sleep(0.2)
        assert user.sends > 20


async def siege(port: int) -> dict[str, float]:
    """How long the longest of each kind of dawdlers was borne."""
    attacks = [
        (name, asyncio.create_task(lifetime(port, begin, drip)))
        for name, (count, begin, drip) in DAWDLERS.items()
        for _ in range(count)
    ]
    await asyncio.wait([task for _, task in attacks])
    longest = dict[str, float]()
    for name, task in attacks:
        longest[name] = max(longest.get(name, 0.0), task.result())
    return longest
