"""Where a token is needed, nothing that looks like one, or like none, opens the door."""

from collections.abc import Iterator

import pytest

from tests.attack.attacks import asking, getting
from tests.attack.peers import peer, text
from tests.attack.socket_inputs import subscribe
from tests.attack.target import Target, check_answer, how_it_ends
from tests.attack.token_inputs import GOOD, INPUTS, SECRET
from tests.processes import serving

UNAUTHENTICATED = 401
FORBIDDEN = 4403
ASKED = "{ conversations { id } }"


@pytest.fixture(scope="module")
def guarded() -> Iterator[Target]:
    """A server that wants tokens."""
    with serving("--completion", "echo", environment={"GRAPHQL_APP_JWT_SECRET": SECRET}) as server:
        yield Target(server)


def authorization(token: bytes) -> bytes:
    return b"Authorization: Bearer " + token


def check_refused(guarded: Target, *headers: bytes) -> None:
    with peer(guarded.port) as attacker:
        attacker.say(asking(ASKED, *headers))
        answer = attacker.answer()
    check_answer(answer)
    assert answer.status in (UNAUTHENTICATED, 400, 431)
    assert b"ada" not in answer.body
    if answer.status == UNAUTHENTICATED:
        assert (answer.header("www-authenticate") or "").startswith("Bearer")
        assert b'"UNAUTHENTICATED"' in answer.body


def test_the_good_token_opens_the_door(guarded: Target) -> None:
    with peer(guarded.port) as user:
        user.say(asking(ASKED, authorization(GOOD)))
        assert user.answer().body == b'{"data":{"conversations":[]}}'
    with peer(guarded.port) as user:
        user.shake_hands()
        payload = {"authorization": f"Bearer {GOOD.decode()}"}
        user.say_json({"type": "connection_init", "payload": payload})
        assert next(user.messages()) == {"type": "connection_ack"}


@pytest.mark.parametrize("token", INPUTS.values(), ids=INPUTS.keys())
def test_nothing_else_does_over_http(guarded: Target, token: bytes) -> None:
    begin = len(guarded.server.log)
    check_refused(guarded, authorization(token))
    guarded.server.check_log(begin)


@pytest.mark.parametrize("token", INPUTS.values(), ids=INPUTS.keys())
def test_nothing_else_does_on_a_socket(guarded: Target, token: bytes) -> None:
    begin = len(guarded.server.log)
    with peer(guarded.port) as attacker:
        attacker.shake_hands()
        payload = {"authorization": "Bearer " + token.decode("latin-1")}
        attacker.say(text({"type": "connection_init", "payload": payload}), subscribe(query=ASKED))
        assert how_it_ends(attacker) == FORBIDDEN
    guarded.server.check_log(begin)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [b"Authorization: " + GOOD],
        [b"Authorization: Basic " + GOOD],
        [b"Authorization: Bearer" + GOOD],
        [b"Cookie: token=" + GOOD + b"; authorization=" + GOOD],
        [b"X-Authorization: Bearer " + GOOD, b"Proxy-Authorization: Bearer " + GOOD],
        [b"X-Forwarded-User: ada", b"X-Remote-User: ada", b"Remote-User: ada"],
        [authorization(b"x"), authorization(GOOD)],
    ],
    ids=lambda headers: " and ".join(header.decode()[:28] for header in headers),
)
def test_a_good_token_elsewhere_does_not(guarded: Target, headers: list[bytes]) -> None:
    check_refused(guarded, *headers)


@pytest.mark.parametrize("name", [b"token", b"access_token", b"authorization", b"jwt", b"bearer"])
def test_a_good_token_in_the_address_does_not(guarded: Target, name: bytes) -> None:
    for value in (GOOD, b"Bearer%20" + GOOD):
        with peer(guarded.port) as attacker:
            attacker.say(getting(b"/graphql?query=%7B__typename%7D&" + name + b"=" + value))
            answer = attacker.answer()
        check_answer(answer)
        assert answer.status == UNAUTHENTICATED
        assert GOOD not in answer.body


@pytest.mark.parametrize(
    "payload",
    [None, {}, {"token": GOOD.decode()}, {"headers": {"authorization": GOOD.decode()}}]
    + [{"authorization": value} for value in (None, 1, True, [], {}, [GOOD.decode()], {"a": 1})],
    ids=lambda payload: str(payload)[:40],
)
def test_a_payload_without_a_token_does_not(guarded: Target, payload: object) -> None:
    with peer(guarded.port) as attacker:
        attacker.shake_hands(authorization(b"x"))
        attacker.say_json({"type": "connection_init", "payload": payload})
        assert how_it_ends(attacker) == FORBIDDEN


def test_no_token_stands_in_the_log(guarded: Target) -> None:
    log = guarded.server.log
    assert SECRET not in log
    assert GOOD.decode() not in log
    assert all(len(line) < 2_000 for line in log.splitlines())
