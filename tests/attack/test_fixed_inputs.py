"""Whatever comes over a connection, the answer is one that was meant, and the next user is served."""

from collections.abc import Sequence
from contextlib import suppress

import pytest

from tests.attack import graphql_inputs, http_inputs, socket_inputs
from tests.attack.attacks import CUT, HUNG_UP, WAITING, Attack, SocketAttack
from tests.attack.peers import Answer, HungUpError, handshake, peer, request, text
from tests.attack.socket_inputs import PROTOCOLS
from tests.attack.target import (
    MOST_LINES,
    REQUEST_BYTES,
    Target,
    check_answer,
    how_it_ends,
)

MEBIBYTE = 2**20

REQUESTS = [*http_inputs.INPUTS, *graphql_inputs.INPUTS]
SOCKETS = socket_inputs.INPUTS


def names(attacks: Sequence[Attack | SocketAttack]) -> list[str]:
    return [ascii(each.name).strip("'\"") for each in attacks]


PROBE = request(b"Connection: close", method=b"GET", target=b"/healthz")


def outcomes(attack: Attack, port: int) -> set[int | str]:
    """What an attack is answered with.

    Something is asked behind it, on the same connection: what is hidden in the attack, and should be
    answered by nobody, would be answered before that.
    """
    with peer(port) as attacker:
        attacker.say(attack.sent)
        if attack.leaves:
            status = attacker.head().status
            attacker.cut()
            return {status}
        if WAITING in attack.allowed:
            attacker.end()
        answers = list[Answer]()
        with suppress(HungUpError):
            answers.append(attacker.answer(has_body=attack.has_body))
            if answers[0].status == 101:
                return {101}
            attacker.say(PROBE)
            while not attack.goes_on:
                answers.append(attacker.answer())
        for answer in answers:
            check_answer(answer)
        if len(answers) > 1 and (answers[-1].status, answers[-1].body) == (200, b"ok"):
            del answers[-1]
        return {answer.status for answer in answers} or {
            WAITING if WAITING in attack.allowed else HUNG_UP
        }


def end_of(attack: SocketAttack, port: int) -> int | str:
    """How a socket fares."""
    with peer(port) as attacker:
        assert attacker.shake_hands(*attack.offers).status == 101
        if attack.initialised:
            attacker.say(text({"type": "connection_init"}))
            assert next(attacker.messages()) == {"type": "connection_ack"}
        attacker.say(attack.sent)
        if CUT in attack.allowed:
            attacker.cut()
            return CUT
        return how_it_ends(attacker)


def test_there_are_hundreds_of_fixed_inputs_and_each_has_its_name() -> None:
    inputs: list[Attack | SocketAttack] = [*REQUESTS, *SOCKETS]
    assert len({(type(each), each.name) for each in inputs}) == len(inputs) > 600
    assert len({each.sent for each in SOCKETS}) > 150
    assert not {status for each in inputs for status in each.allowed if status in range(500, 600)}


@pytest.mark.parametrize("attack", REQUESTS, ids=names(REQUESTS))
def test_an_attack_over_http_is_answered_as_it_should_be_and_disturbs_nobody(
    shared_target: Target, attack: Attack
) -> None:
    with shared_target.undisturbed(lines=MOST_LINES + len(attack.sent) // REQUEST_BYTES):
        assert outcomes(attack, shared_target.port) <= attack.allowed


@pytest.mark.parametrize("attack", SOCKETS, ids=names(SOCKETS))
def test_an_attack_on_a_socket_ends_with_a_code_or_not_at_all_and_disturbs_nobody(
    shared_target: Target, attack: SocketAttack
) -> None:
    with shared_target.undisturbed(lines=MOST_LINES + len(attack.sent) // REQUEST_BYTES):
        assert end_of(attack, shared_target.port) in attack.allowed


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS.keys())
def test_a_socket_that_speaks_another_protocol_is_refused_or_closed_with_a_code(
    shared_target: Target, protocol: bytes
) -> None:
    with shared_target.undisturbed(), peer(shared_target.port) as attacker:
        attacker.say(handshake(Sec_WebSocket_Protocol=protocol))
        answer = attacker.answer()
        if answer.status == 101:
            assert how_it_ends(attacker) in (4406, 1002)
        else:
            check_answer(answer)


def test_all_of_them_again_and_again_cost_no_memory_and_no_file(shared_target: Target) -> None:
    server, port = shared_target.server, shared_target.port

    def run_all() -> None:
        for attack in REQUESTS:
            outcomes(attack, port)
        for socket_attack in SOCKETS:
            end_of(socket_attack, port)

    run_all()
    files, before = server.open_files(), server.memory_bytes()
    for _ in range(2):
        run_all()
    assert shared_target.settled_files(files) <= files
    shared_target.check_alive()
    server.check_log()
    assert server.memory_bytes() - before < 8 * MEBIBYTE
