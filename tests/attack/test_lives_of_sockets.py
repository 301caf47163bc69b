"""A socket does what the protocol says at each step of any life, hostile or not."""

import json
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.attack.generated import generating
from tests.attack.peers import CONT, PING, PONG, TEXT, ClosedError, Peer, frame, text
from tests.attack.socket_inputs import INIT, complete, following, subscribe
from tests.attack.target import HONEST, Target, check_send
from tests.wire import SEND, Reply

LIVES = 150
STEPS = 12

ids = st.sampled_from(["1", "2", "__proto__", "\U0001f600"])


def life_on(port: int) -> type[RuleBasedStateMachine]:
    """The lives of sockets of one server."""

    class Life(RuleBasedStateMachine):
        """What a socket must do next, as far as it is known: the rest must not come."""

        def __init__(self) -> None:
            super().__init__()
            self.numbers = count()
            self.open()

        def open(self) -> None:
            self.peer = Peer(port)
            assert self.peer.shake_hands().status == 101
            self.messages = self.peer.messages()
            self.is_initialised = False
            self.running = dict[str, str]()  # The conversations of the operations that follow one.

        def teardown(self) -> None:
            self.peer.close()

        def check_next(self, *expected: object) -> None:
            """Reads so many messages, which come in any order."""
            got = [next(self.messages) for _ in expected]
            for each in expected:
                assert each in got, (each, got)

        def check_closed(self, code: int) -> None:
            """The socket is closed with a code; life goes on with another."""
            with pytest.raises(ClosedError) as closed:
                list(self.messages)
            assert closed.value.code == code
            self.peer.close()
            self.open()

        @rule()
        def ping(self) -> None:
            payload = {"number": next(self.numbers)}
            self.peer.say_json({"type": "ping", "payload": payload})
            self.check_next({"type": "pong", "payload": payload})

        @rule(pieces=st.integers(1, 5), ping_between=st.booleans())
        def ping_in_pieces(self, pieces: int, ping_between: bool) -> None:
            payload = {"number": next(self.numbers), "text": "\u65e5\U0001f600" * 9}
            data = json.dumps({"type": "ping", "payload": payload}, ensure_ascii=False).encode()
            size = len(data) // pieces
            parts = [data[begin : begin + size] for begin in range(0, len(data), size)]
            for number, part in enumerate(parts):
                is_last = number == len(parts) - 1
                self.peer.say(frame(CONT if number else TEXT, part, fin=is_last))
                if ping_between and not is_last:
                    self.peer.say(frame(PING, b"between"))
            self.check_next({"type": "pong", "payload": payload})

        @rule()
        def pong_unasked(self) -> None:
            self.peer.say(frame(PONG, b"never asked"), text({"type": "pong", "payload": {}}))

        @rule()
        def initialise(self) -> None:
            self.peer.say(text(INIT))
            if self.is_initialised:
                self.check_closed(4429)
            else:
                self.check_next({"type": "connection_ack"})
                self.is_initialised = True

        @rule(id=ids)
        def ask(self, id: str) -> None:
            self.peer.say(subscribe(id))
            if not self.is_initialised:
                self.check_closed(4401)
            elif id in self.running:
                self.check_closed(4409)
            else:
                self.check_next(
                    {"id": id, "type": "next", "payload": {"data": {"__typename": "Query"}}},
                    {"id": id, "type": "complete"},
                )

        @rule(id=ids)
        def ask_nonsense(self, id: str) -> None:
            self.peer.say(subscribe(id, "{ nothing }"))
            if not self.is_initialised:
                self.check_closed(4401)
            elif id in self.running:
                self.check_closed(4409)
            else:
                answer = next(self.messages)
                assert (answer["id"], answer["type"]) == (id, "error")

        @precondition(lambda self: self.is_initialised)
        @rule(id=ids)
        def follow(self, id: str) -> None:
            conversation = uuid4().hex
            self.peer.say(subscribe(id, following(conversation)))
            if id in self.running:
                self.check_closed(4409)
            else:
                event = {"conversationEvents": {"__typename": "MessagesReset"}}
                self.check_next({"id": id, "type": "next", "payload": {"data": event}})
                self.running[id] = conversation

        @rule(id=ids)
        def leave(self, id: str) -> None:
            self.peer.say(complete(id))
            self.running.pop(id, None)

        @precondition(lambda self: self.is_initialised)
        @rule(words=st.integers(1, 30))
        def send(self, words: int) -> None:
            if not self.running:
                check_send(self.peer, HONEST * words)

        @precondition(lambda self: self.running)
        @rule()
        def send_to_a_follower(self) -> None:
            follower, conversation = next(iter(self.running.items()))
            message = {"id": uuid4().hex, "content": HONEST, "conversationId": conversation}
            self.peer.say(subscribe("send", SEND, variables={"message": message}))
            reply, events, is_complete = Reply(), 0, False
            while not (is_complete and events == 3):
                answer: Any = next(self.messages)
                match answer["id"], answer["type"]:
                    case "send", "complete":
                        is_complete = True
                    case "send", _:
                        reply.apply(answer["payload"]["data"]["sendMessage"])
                    case id, "next":
                        assert id == follower
                        event = answer["payload"]["data"]["conversationEvents"]
                        assert event == {"__typename": "MessageChanged"}
                        events += 1
                    case _:
                        raise AssertionError(answer)
            assert (reply.content, reply.status) == (HONEST, "DONE")

        @rule(data=st.sampled_from([b"[]", b"null", b'{"type":"next"}', b'{"type":', b""]))
        def say_nonsense(self, data: bytes) -> None:
            self.peer.say(frame(TEXT, data))
            self.check_closed(4400)

        @rule(data=st.sampled_from([b"\x81\x02{}", b"\xf1\x80\0\0\0\0", b"\x80\x80\0\0\0\0"]))
        def break_the_protocol(self, data: bytes) -> None:
            self.peer.say(data)
            self.check_closed(1002)

        @rule()
        def say_what_is_not_utf8(self) -> None:
            self.peer.say(frame(TEXT, b'"\xff"'))
            self.check_closed(1007)

        @rule(code=st.sampled_from([1000, 1001, 3000, 4400, 4999]))
        def say_goodbye(self, code: int) -> None:
            self.peer.say(frame(8, code.to_bytes(2) + b"bye"))
            self.check_closed(code)

        @rule()
        def vanish(self) -> None:
            self.peer.cut()
            self.open()

    return Life


def test_a_socket_does_at_each_step_what_the_protocol_says(shared_target: Target) -> None:
    chosen = settings(
        generating(LIVES),
        stateful_step_count=STEPS,
        suppress_health_check=list(HealthCheck),
    )
    with shared_target.undisturbed(lines=LIVES * STEPS * 2):
        run_state_machine_as_test(life_on(shared_target.port), settings=chosen)
