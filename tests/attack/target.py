"""The server that is attacked, and what must be true of it whatever was done."""

import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

from tests.attack.peers import Answer, ClosedError, HungUpError, Peer, peer
from tests.processes import ServerProcess
from tests.wire import PATIENCE_SECONDS, SEND, Reply

HONEST = "To be,  or not\nto be \U0001f600 \u65e5\u672c \u00e4 \u2014 that is\tthe question. "
"""What an honest user says, and must get back exactly."""

LONGEST_LINE = 2_000
"""The most characters of a line in the log, whatever was sent."""

MOST_LINES = 20
"""How many lines an attack may bring into the log that is none of many requests."""

REQUEST_BYTES = 40
"""How few bytes a request has at least, and so a line in the log costs."""

INTERNALS = re.compile(
    rb"Traceback|site-packages|\.py\b|\bline \d+, in |/usr/|/home/|/work/|/tmp/|object at 0x"
    rb"|(?:Type|Value|Key|Attribute|Index|Runtime|Unicode\w*|Recursion|JSONDecode|OS|Assertion)Error"
    rb"|graphql_app[./]|starlette|uvicorn|strawberry|asyncio|websockets/|sqlalchemy|INTERNAL_SERVER_ERROR"
)
"""What only somebody who reads the source, the system or the log should see."""


def check_answer(answer: Answer, *, may_break_off: bool = False) -> None:
    """Fails if an answer is a failure of ours, breaks off, or tells what is inside."""
    assert answer.status < 500, answer
    assert answer.is_whole or may_break_off, answer
    assert answer.header("server") is None
    content_type = answer.header("content-type") or ""
    if not content_type.startswith(("text/html", "text/javascript", "text/css")):
        found = INTERNALS.search(answer.body)
        assert not found, (found, answer)
    for name, value in answer.headers:
        assert re.fullmatch(r"[a-z0-9-]+", name), answer.headers
        assert not INTERNALS.search(value.encode()), answer.headers


class Target:
    """A real server, and an honest user of it."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.port = server.port

    # An honest user.

    def check_alive(self) -> None:
        """Fails unless the process lives and streams an honest user's words back exactly."""
        assert self.server.process.poll() is None, self.server.log
        with honest(self.port) as user:
            check_send(user)

    # What is left behind.

    @contextmanager
    def undisturbed(self, *, lines: int = MOST_LINES) -> Iterator[None]:
        """Fails unless the server is as well behind this as before."""
        begin = len(self.server.log)
        yield
        self.check_alive()
        self.server.check_log(begin)
        log = self.server.log[begin:].splitlines()
        assert len(log) <= lines, log[:lines]
        assert max(map(len, log), default=0) <= LONGEST_LINE

    def settled_files(self, most: int) -> int:
        """How many files are open when there are no more than so many, or when patience ends."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (files := self.server.open_files()) > most and time.monotonic() < deadline:
            time.sleep(0.05)
        return files


@contextmanager
def honest(port: int) -> Iterator[Peer]:
    """A socket that was acknowledged."""
    with peer(port) as user:
        assert user.shake_hands().status == 101
        user.say_json({"type": "connection_init"})
        assert next(user.messages()) == {"type": "connection_ack"}
        yield user


def check_send(user: Peer, content: str = HONEST) -> None:
    """Fails unless what an honest user sends comes back exactly."""
    reply, id = Reply(), uuid4().hex
    variables = {"message": {"id": id, "content": content, "conversationId": uuid4().hex}}
    payload = {"query": SEND, "variables": variables}
    user.say_json({"id": id, "type": "subscribe", "payload": payload})
    for message in user.messages():
        assert message["id"] == id, message
        if message["type"] == "complete":
            break
        assert message["type"] == "next", message
        reply.apply(message["payload"]["data"]["sendMessage"])
    assert (reply.content, reply.status) == (content, "DONE")


def how_it_ends(socket: Peer) -> int | str:
    """`open` if a socket still answers a ping, or the code with which the server closed it.

    A connection that ends without a code is 1006.
    """
    socket.say_json({"type": "ping", "payload": {"last": True}})
    try:
        for message in socket.messages():
            check_message(message)
            if message == {"type": "pong", "payload": {"last": True}}:
                return "open"
    except ClosedError as error:
        closed = error
    except HungUpError:
        return 1006
    else:
        raise AssertionError("messages end with an error only")
    assert not INTERNALS.search(closed.reason.encode()), closed
    return 1005 if closed.code is None else closed.code


def check_message(message: object) -> None:
    """Fails unless a message is one that the protocol has for servers, and no failure of ours."""
    match message:
        case {"type": "connection_ack" | "pong"}:
            return
        case {"type": "next", "id": str(), "payload": {"data": dict() | None as data} as payload}:
            errors = payload.get("errors", [])
            assert data is not None or errors
        case {"type": "error", "id": str(), "payload": list(errors)}:
            assert errors
        case {"type": "complete", "id": str()}:
            errors = []
        case _:
            raise AssertionError(message)
    check_errors(errors)


def check_errors(errors: list[object]) -> None:
    """Fails unless each error is a sentence with a code, and tells nothing of what is inside."""
    for error in errors:
        match error:
            case {"message": str(sentence), "extensions": {"code": str(code)}}:
                assert code != "INTERNAL_SERVER_ERROR", error
                assert not INTERNALS.search(sentence.encode(errors="replace")), error
            case _:
                raise AssertionError(error)


class HonestUser:
    """Somebody who sends and reads all the time, in a thread, and must get each word exactly."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._is_over = threading.Event()
        self.sends = 0

    def _go_on(self) -> None:
        with honest(self._port) as user:
            while not self._is_over.is_set():
                check_send(user)
                self.sends += 1

    @contextmanager
    def served(self) -> Iterator[None]:
        """Fails unless this user is served all the time, and at the end as well."""
        self._is_over.clear()
        with ThreadPoolExecutor(1) as thread:
            result = thread.submit(self._go_on)
            before = self.sends
            try:
                yield
                deadline = time.monotonic() + PATIENCE_SECONDS
                while self.sends == before and not result.done():
                    assert time.monotonic() < deadline, "the honest user is not served"
                    time.sleep(0.01)
            finally:
                self._is_over.set()
                result.result(PATIENCE_SECONDS)
