"""Too much of anything is borne or refused with a code, and others are served all the same."""

import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from uuid import uuid4

import pytest

from tests.attack.attacks import OPEN, asking
from tests.attack.conftest import WITHOUT_RATES
from tests.attack.peers import PING, TEXT, ClosedError, HungUpError, frame, handshake, peer, text
from tests.attack.socket_inputs import EVENTS, INIT, complete, following, subscribe
from tests.attack.target import (
    HONEST,
    HonestUser,
    Target,
    check_answer,
    check_message,
    honest,
    how_it_ends,
)
from tests.processes import serving
from tests.wire import SEND, Reply

ROOT = Path(__file__).parents[2]
MEBIBYTE = 2**20

MOST_SOCKETS = 300
GROWTH_BYTES = 12 * MEBIBYTE
"""How much more memory a flood may leave behind than the same flood before it."""

REFUSALS = {"TOO_MANY_OPERATIONS", "TOO_MANY_REPLIES", "RATE_LIMITED"}
"""The codes of what is too much."""

CLEAR = 'mutation {{ clearMessages(conversationId: "{}") }}'


@pytest.fixture(scope="module")
def flooded() -> Iterator[Target]:
    """A server with room for few sockets."""
    limits = {**WITHOUT_RATES, "GRAPHQL_APP_MAX_SOCKETS": str(MOST_SOCKETS)}
    with serving(
        "--completion", "tests.attack.answers:complete", environment=limits, directory=ROOT
    ) as server:
        yield Target(server)


def check_borne(target: Target, flood: Callable[[int], None]) -> None:
    """Fails unless a flood leaves no file and no memory, and an honest user is served in it."""
    server = target.server
    files = server.open_files()
    user = HonestUser(target.port)
    with target.undisturbed(lines=100_000):
        with user.served():
            flood(target.port)
        assert target.settled_files(files) <= files
        before = server.memory_bytes()
        with user.served():
            flood(target.port)
        assert target.settled_files(files) <= files
    assert server.memory_bytes() - before < GROWTH_BYTES


def test_a_flood_of_sends_on_one_socket(flooded: Target) -> None:
    def flood(port: int) -> None:
        conversation = uuid4().hex
        with honest(port) as attacker:
            replies = {str(number): Reply() for number in range(1_000)}
            for id in replies:
                message = {"id": uuid4().hex, "content": HONEST, "conversationId": conversation}
                attacker.say(subscribe(id, SEND, variables={"message": message}))
            left = set(replies)
            messages = attacker.messages()
            while left:
                answer = next(messages)
                check_message(answer)
                match answer:
                    case {"type": "next", "id": id, "payload": payload}:
                        replies[id].apply(payload["data"]["sendMessage"])
                    case {"type": "complete", "id": id}:
                        assert replies[id].content == HONEST
                        left.remove(id)
                    case {"type": "error", "id": id, "payload": [error]}:
                        assert error["extensions"]["code"] in REFUSALS
                        left.remove(id)
            assert any(reply.content == HONEST for reply in replies.values())
            attacker.say(subscribe("clear", CLEAR.format(conversation)))
            next(messages)

    check_borne(flooded, flood)


def test_a_flood_of_sends_over_http(flooded: Target) -> None:
    def flood(port: int) -> None:
        conversation = uuid4().hex
        for _ in range(2):
            with ExitStack() as stack:
                attackers = [stack.enter_context(peer(port)) for _ in range(150)]
                for attacker in attackers:
                    message = {"id": uuid4().hex, "content": "x", "conversationId": conversation}
                    sent = asking(
                        SEND, b"Accept: text/event-stream", variables={"message": message}
                    )
                    attacker.say(sent)
                for attacker in attackers:
                    answer = attacker.answer()
                    check_answer(answer)
                    assert answer.status in (200, 429)
                    assert (
                        answer.status == 429 or b'"DONE"' in answer.body or b"RATE_" in answer.body
                    )
        with peer(port) as attacker:
            attacker.say(asking(CLEAR.format(conversation)))
            assert attacker.answer().status in (200, 429)

    check_borne(flooded, flood)


def test_a_flood_of_sockets_beyond_the_limit_is_refused_with_503(flooded: Target) -> None:
    def flood(port: int) -> None:
        with ExitStack() as stack:
            attackers = [stack.enter_context(peer(port)) for _ in range(MOST_SOCKETS + 200)]
            for attacker in attackers:
                attacker.say(handshake())
            answers = [attacker.answer() for attacker in attackers]
            statuses = [answer.status for answer in answers]
            assert set(statuses) <= {101, 429, 503}
            assert statuses.count(101) < MOST_SOCKETS  # The honest user has one.
            for attacker, status in zip(attackers, statuses, strict=True):
                if status == 101:
                    attacker.say(text(INIT))
                    assert next(attacker.messages()) == {"type": "connection_ack"}

    check_borne(flooded, flood)


def test_2000_sockets_that_are_opened_and_closed_at_once(flooded: Target) -> None:
    def flood(port: int) -> None:
        for number in range(1_000):
            with peer(port) as attacker:
                attacker.say(handshake())
                if number % 4:
                    assert attacker.answer().status in (101, 429, 503)
                if number % 4 > 1:
                    attacker.say(text(INIT), subscribe(query=EVENTS))
                if number % 4 > 2:
                    attacker.say(frame(8, b"\x03\xe8"))
                else:
                    attacker.cut()

    check_borne(flooded, flood)


def test_connections_that_say_nothing_and_go(flooded: Target) -> None:
    def flood(port: int) -> None:
        for _ in range(4):
            with ExitStack() as stack:
                for _ in range(250):
                    stack.enter_context(peer(port))

    check_borne(flooded, flood)


@pytest.mark.parametrize(
    "message",
    [
        frame(PING, b"x" * 100),
        text({"type": "ping", "payload": {"a": "x" * 100}}),
        text({"type": "pong"}),
    ],
    ids=["pings of WebSockets", "pings", "pongs"],
)
def test_a_flood_of_messages_on_a_socket(flooded: Target, message: bytes) -> None:
    def flood(port: int) -> None:
        with honest(port) as attacker:
            attacker.say(message * 20_000)
            assert how_it_ends(attacker) in (OPEN, 4429)

    check_borne(flooded, flood)


def test_messages_beyond_the_rate_wait_on_the_side_of_the_client() -> None:
    message = text({"type": "ping", "payload": {"a": "x" * 10_000}})
    with (
        serving("--completion", "tests.attack.answers:complete", directory=ROOT) as server,
        ExitStack() as stack,
    ):
        user = HonestUser(server.port)
        attackers = [stack.enter_context(honest(server.port)) for _ in range(20)]
        with user.served():
            before = server.memory_bytes()
            for attacker in attackers:
                attacker.socket.setblocking(False)
                with suppress(BlockingIOError):
                    for _ in range(10_000):
                        sent = attacker.socket.send(message)
                        if sent < len(message):
                            break
            assert server.memory_bytes() - before < 32 * MEBIBYTE


@pytest.mark.parametrize("size", [MEBIBYTE, 64 * MEBIBYTE], ids=["allowed", "too large"])
def test_compression_bombs_where_deflate_is_on(size: int) -> None:
    squeeze = zlib.compressobj(wbits=-12)
    bomb = squeeze.compress(b'{"type":"ping","payload":{"a":"' + b"x" * size + b'"}}')
    bomb += squeeze.flush(zlib.Z_SYNC_FLUSH)
    sent = frame(TEXT, bomb.removesuffix(b"\0\0\xff\xff"), reserved=4)
    offer = b"Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover"
    with serving(
        "--completion",
        "tests.attack.answers:complete",
        environment={**WITHOUT_RATES, "GRAPHQL_APP_DEFLATE": "true"},
        directory=ROOT,
    ) as server:

        def flood(port: int) -> None:
            with ExitStack() as stack:
                attackers = [stack.enter_context(peer(port)) for _ in range(20)]
                for attacker in attackers:
                    answer = attacker.shake_hands(offer)
                    assert "permessage-deflate" in (answer.header("sec-websocket-extensions") or "")
                    attacker.say(sent)
                for attacker in attackers:
                    opcode, payload = attacker.frame()
                    if size > 2 * MEBIBYTE:
                        assert (opcode, payload[:2]) == (8, (1009).to_bytes(2))

        for _ in range(3):
            flood(server.port)  # What the allocator keeps is as large as it gets.
        check_borne(Target(server), flood)
        assert server.memory_bytes() < 300 * MEBIBYTE


def test_5000_operations_that_are_begun_and_completed_at_once(flooded: Target) -> None:
    def flood(port: int) -> None:
        with honest(port) as attacker:
            pairs = (subscribe(str(n), EVENTS) + complete(str(n)) for n in range(5_000))
            attacker.say(b"".join(pairs))
            assert how_it_ends(attacker) in (OPEN, 4429)

    check_borne(flooded, flood)


def test_all_operations_that_all_sockets_may_run(flooded: Target) -> None:
    sockets, operations = 30, 100

    def flood(port: int) -> None:
        query = following(uuid4().hex)
        with ExitStack() as stack:
            attackers = [stack.enter_context(honest(port)) for _ in range(sockets)]
            for attacker in attackers:
                attacker.say(b"".join(subscribe(str(n), query) for n in range(operations)))
            events = 0
            for attacker in attackers:
                messages = attacker.messages()
                with suppress(ClosedError):
                    for _ in range(operations):
                        answer = next(messages)
                        check_message(answer)
                        events += answer["type"] == "next"
            assert events

    check_borne(flooded, flood)


def test_a_flood_of_stops_and_clears(flooded: Target) -> None:
    def flood(port: int) -> None:
        with honest(port) as sender, peer(port) as attacker:
            message = {"id": uuid4().hex, "content": "word " * 2_000, "conversationId": "flood"}
            sender.say(subscribe("send", SEND, variables={"message": message}))
            stop = asking(f'mutation {{ stopMessage(id: "{message["id"]}") {{ status }} }}')
            for _ in range(100):
                attacker.say((stop + asking(CLEAR.format("flood"))) * 5)
                for _ in range(10):
                    answer = attacker.answer()
                    check_answer(answer)
                    assert answer.status in (200, 429)
                    assert json.loads(answer.body)
            with suppress(ClosedError, HungUpError):
                for answer in sender.messages():
                    check_message(answer)
                    if answer["type"] != "next":
                        break

    check_borne(flooded, flood)


def test_a_flood_of_documents_that_are_all_different(flooded: Target) -> None:
    def flood(port: int) -> None:
        with peer(port) as attacker:
            for number in range(300):
                attacker.say(asking(f"{{ a{number}: __typename " + "x: __typename " * 60 + "}"))
                answer = attacker.answer()
                check_answer(answer)
                assert answer.status in (200, 429)

    check_borne(flooded, flood)
