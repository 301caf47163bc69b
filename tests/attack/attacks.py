"""What an attack is: its name, its bytes, and what may come back."""

import json
from dataclasses import dataclass, field

from tests.attack.peers import request

HUNG_UP = "hung up"
"""The connection ends without an answer: nobody asked for one."""

WAITING = "waiting"
"""The server waits for the rest, up to a deadline; when the client gives up, nothing comes."""

OPEN = "open"
"""The socket lives and answers what comes behind the attack."""

CUT = "cut"
"""The client broke the connection while the server waited for the rest of a frame."""


@dataclass(frozen=True, slots=True)
class Attack:
    """Bytes for a fresh connection.

    Args:
        allowed: statuses, HUNG_UP or WAITING. All answers of the connection must be among them.
        leaves: the client resets the connection when it has the head of the answer.
        goes_on: whatever is said behind it belongs to its body.
    """

    name: str
    sent: bytes
    allowed: frozenset[int | str]
    has_body: bool = True
    leaves: bool = False
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class SocketAttack:
    """Bytes for a socket behind its handshake.

    Args:
        allowed: close codes, OPEN or CUT.
        initialised: connection_init was acknowledged before.
        offers: headers of the handshake.
    """

    name: str
    sent: bytes
    allowed: frozenset[int | str]
    initialised: bool = True
    offers: tuple[bytes, ...] = field(default=())


def attack(
    name: str,
    sent: bytes,
    *allowed: int | str,
    has_body: bool = True,
    leaves: bool = False,
    goes_on: bool = False,
) -> Attack:
    return Attack(name, sent, frozenset(allowed), has_body, leaves, goes_on)


def on_socket(
    name: str, sent: bytes, *allowed: int | str, initialised: bool = True
) -> SocketAttack:
    return SocketAttack(name, sent, frozenset(allowed), initialised)


def asking(query: object, *headers: bytes, **more: object) -> bytes:
    """A POST with a query and other parameters as JSON."""
    content = json.dumps({"query": query, **more}).encode()
    return request(*headers, content=content)


def saying(content: bytes, *headers: bytes) -> bytes:
    """A POST with any body."""
    return request(*headers, content=content)


def getting(target: bytes, *headers: bytes) -> bytes:
    return request(*headers, method=b"GET", target=target)
