"""Whatever is said on a socket, it is answered within the protocol, or closed with a code."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.attack.attacks import OPEN
from tests.attack.generated import COUNTS, anything, generating, mangled, payloads
from tests.attack.peers import BINARY, CONT, PING, TEXT, Peer, frame, peer, text
from tests.attack.socket_inputs import EVENTS, INIT, close, complete, subscribe
from tests.attack.target import Target, how_it_ends

MALFORMED = {4400, 4401, 4409, 4429}
"""The codes for messages that are wrong; among them is none that means a crash."""

PROTOCOL_ERRORS = {1002, 1007, 1009, *MALFORMED}
"""The codes for frames that are wrong, too."""

CODES_OF_CLIENTS = {*range(1000, 1004), 1005, *range(1007, 1015), *range(3000, 5000)}
"""The codes that a client may say itself, or none; the server says the same."""

ids = st.sampled_from(["1", "2", "3"]) | anything
messages = st.fixed_dictionaries(
    {"type": st.sampled_from(["ping", "pong", "subscribe", "subscribe", "complete"]) | anything},
    optional={"id": ids, "payload": payloads | anything},
)
said = (
    (messages | anything).map(text)
    | st.text(max_size=40).map(lambda each: frame(TEXT, each.encode(errors="replace")))
    | st.binary(max_size=9).map(lambda each: frame(BINARY, each))
)
frames = st.builds(
    frame,
    st.integers(0, 15) | st.sampled_from([TEXT, CONT]),
    st.binary(max_size=140) | messages.map(lambda each: json.dumps(each).encode()),
    fin=st.booleans(),
    reserved=st.sampled_from([0, 0, 0, 0, 1, 4, 7]),
    masked=st.sampled_from([True, True, True, False]),
    claims=st.none() | st.none() | st.none() | st.integers(0, 2**64 - 1),
)


@pytest.fixture
def target(shared_target: Target) -> Iterator[Target]:
    """The server; thousands of sends may bring thousands of lines into its log."""
    with shared_target.undisturbed(lines=20_000):
        yield shared_target


def initialised(attacker: Peer) -> None:
    assert attacker.shake_hands().status == 101
    attacker.say(text(INIT))
    assert next(attacker.messages()) == {"type": "connection_ack"}


@generating(COUNTS["messages"])
@given(sent=st.lists(said, max_size=5), is_initialised=st.booleans())
def test_any_messages_are_answered_within_the_protocol(
    target: Target, sent: list[bytes], is_initialised: bool
) -> None:
    with peer(target.port) as attacker:
        if is_initialised:
            initialised(attacker)
        else:
            assert attacker.shake_hands().status == 101
        attacker.say(*sent)
        assert how_it_ends(attacker) in {OPEN, *MALFORMED}


@generating(COUNTS["frames"])
@given(sent=st.lists(frames, min_size=1, max_size=4))
def test_any_frames_are_answered_or_the_socket_is_closed_with_a_code(
    target: Target, sent: list[bytes]
) -> None:
    with peer(target.port) as attacker:
        initialised(attacker)
        attacker.say(*sent)
        check_end(attacker, b"".join(sent))


ORIGINALS = [
    text(INIT) + subscribe() + subscribe("2", EVENTS) + complete("2"),
    text({"type": "ping", "payload": {"a": "\u65e5"}}) + frame(PING, b"x" * 125),
    frame(TEXT, b'{"type":', fin=False) + frame(CONT, b'"ping"}') + close(1000),
    subscribe(query=EVENTS) + close(4400, b"bye"),
    frame(TEXT, b'{"type":"ping","payload":{"a":"' + b"x" * 65_600 + b'"}}'),
]


@generating(COUNTS["mangled sockets"])
@given(sent=mangled(ORIGINALS))
def test_mangled_bytes_on_a_socket_are_answered_or_it_is_closed_with_a_code(
    target: Target, sent: bytes
) -> None:
    with peer(target.port) as attacker:
        initialised(attacker)
        attacker.say(sent)
        check_end(attacker, sent)


def check_end(attacker: Peer, sent: bytes) -> None:
    """Fails unless the server goes on, or closes with a code.

    It waits for the rest of half a frame, and takes for it what is asked behind: then the client
    says that it will not go on, and the connection may end without a code.
    """
    allowed = {OPEN, *PROTOCOL_ERRORS, *CODES_OF_CLIENTS}
    if ends_within_a_frame(sent):
        attacker.end()
        allowed.add(1006)
    assert how_it_ends(attacker) in allowed


def ends_within_a_frame(data: bytes) -> bool:
    """Whether frames are not all there, as the lengths of their heads have it."""
    while data:
        if len(data) < 2:
            return True
        size, head = data[1] & 0x7F, 2
        if size > 125:
            width = 2 if size == 126 else 8
            size, head = int.from_bytes(data[2 : 2 + width]), 2 + width
        end = head + size + (4 if data[1] & 0x80 else 0)
        if len(data) < end:
            return True
        data = data[end:]
    return False


def test_half_a_frame_is_told_from_a_whole_one() -> None:
    for whole in (text(INIT), frame(TEXT, b"x" * 126), frame(TEXT, b"x" * 70_000), frame(PING)):
        assert not ends_within_a_frame(whole * 2)
        assert all(ends_within_a_frame(whole + whole[:size]) for size in (1, 2, len(whole) - 1))
