"""Attacks on sockets: frames of WebSockets, and messages of graphql-transport-ws in them."""

from typing import Any

from tests.attack.attacks import CUT, OPEN, SocketAttack, on_socket
from tests.attack.peers import BINARY, CLOSE, CONT, PING, PONG, TEXT, frame, text

MEBIBYTE = 2**20
JSON_PING = b'{"type":"ping"}'
EVENTS = "subscription { conversationEvents { __typename } }"
INIT = {"type": "connection_init"}


def subscribe(id: object = "1", query: object = "{ __typename }", **more: object) -> bytes:
    return text({"id": id, "type": "subscribe", "payload": {"query": query, **more}})


def following(conversation: str) -> str:
    """A document that follows a conversation."""
    return (
        f'subscription {{ conversationEvents(conversationId: "{conversation}") {{ __typename }} }}'
    )


def complete(id: object = "1") -> bytes:
    return text({"id": id, "type": "complete"})


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2) + reason)


FRAMES = [
    on_socket("no mask", frame(TEXT, JSON_PING, masked=False), 1002),
    on_socket("no mask on a ping", frame(PING, b"x", masked=False), 1002),
    on_socket("the first reserved bit", frame(TEXT, JSON_PING, reserved=4), 1002),
    on_socket("the second reserved bit", frame(TEXT, JSON_PING, reserved=2), 1002),
    on_socket("the third reserved bit", frame(TEXT, JSON_PING, reserved=1), 1002),
    on_socket("all reserved bits on a ping", frame(PING, reserved=7), 1002),
    *(
        on_socket(f"opcode {opcode}", frame(opcode, JSON_PING), 1002)
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    ),
    on_socket("a continuation of nothing", frame(CONT, b"x"), 1002),
    on_socket("a continuation that ends nothing", frame(CONT, b"x", fin=False), 1002),
    on_socket("a text within a text", frame(TEXT, b"{", fin=False) + frame(TEXT, JSON_PING), 1002),
    on_socket("a binary within a text", frame(TEXT, b"{", fin=False) + frame(BINARY, b"x"), 1002),
    on_socket("a ping in pieces", frame(PING, b"a", fin=False) + frame(CONT, b"b"), 1002),
    on_socket("a goodbye in pieces", frame(CLOSE, b"\x03", fin=False) + frame(CONT, b"\xe8"), 1002),
    on_socket("a ping of 126 bytes", frame(PING, b"x" * 126), 1002),
    on_socket("a pong of 65,536 bytes", frame(PONG, b"x" * 65_536), 1002),
    on_socket("a goodbye of 200 bytes", close(1000, b"x" * 198), 1002),
    on_socket("a goodbye of one byte", frame(CLOSE, b"x"), 1002),
    on_socket("a goodbye of no code", frame(CLOSE), 1000, 1005),
    on_socket("a goodbye that is not UTF-8", close(1000, b"\xff"), 1002, 1007),
    on_socket("a goodbye and a frame behind it", close(1000) + text({"type": "ping"}), 1000),
    on_socket("two goodbyes", close(1000) + close(1001), 1000),
    *(
        on_socket(f"a goodbye with {code}", close(code), 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 65_535)
    ),
    *(on_socket(f"a goodbye with {code}", close(code), code) for code in (1001, 3000, 4500, 4999)),
    on_socket("a frame that claims 2^62 bytes", frame(TEXT, b"x", claims=2**62), 1009),
    on_socket("a frame that claims 2^63 bytes", frame(TEXT, b"x", claims=2**63), 1002, 1009),
    on_socket(
        "a frame that claims 2^64 - 1 bytes", frame(TEXT, b"x", claims=2**64 - 1), 1002, 1009
    ),
    on_socket(
        "a frame that claims 2 MiB and a byte", frame(TEXT, b"x", claims=2 * MEBIBYTE + 1), 1009
    ),
    on_socket("a frame that claims more than comes", frame(TEXT, b"x", claims=MEBIBYTE), CUT),
    on_socket("half a head", b"\x81", CUT),
    on_socket("half a length", b"\x81\xff\0\0", CUT),
    on_socket(
        "a length that is longer than it must be",
        frame(TEXT, JSON_PING, claims=len(JSON_PING)),
        OPEN,
        1002,
    ),
    on_socket(
        "pieces that are too large together",
        (
            frame(TEXT, b" " * MEBIBYTE, fin=False)
            + frame(CONT, b" " * MEBIBYTE, fin=False)
            + frame(CONT, b" ")
        ),
        1009,
    ),
    on_socket(
        "100,000 empty pieces",
        frame(TEXT, b"", fin=False)
        + frame(CONT, b"", fin=False) * 100_000
        + frame(CONT, JSON_PING),
        OPEN,
        1008,
        1009,
        4400,
        4429,
    ),
    on_socket(
        "20,000 pieces of one byte",
        frame(TEXT, b" ", fin=False)
        + frame(CONT, b" ", fin=False) * 20_000
        + frame(CONT, JSON_PING),
        OPEN,
        1008,
        1009,
        4400,
        4429,
    ),
    on_socket(
        "a message in pieces with a ping in between",
        frame(TEXT, b'{"type":', fin=False) + frame(PING, b"x") + frame(CONT, b'"ping"}'),
        OPEN,
    ),
    on_socket("invalid UTF-8", frame(TEXT, b'{"type":"\xff"}'), 1007),
    on_socket(
        "invalid UTF-8 and a goodbye at once", frame(TEXT, b"\xff") + close(1000), 1000, 1007
    ),
    on_socket("UTF-8 that breaks off", frame(TEXT, b'{"type":"\xe6\x97'), 1007),
    on_socket("too long UTF-8", frame(TEXT, b"\xc0\xa2"), 1007),
    on_socket("a surrogate in UTF-8", frame(TEXT, b'"\xed\xa0\x80"'), 1007),
    on_socket("a code point beyond the last", frame(TEXT, b'"\xf4\x90\x80\x80"'), 1007),
    on_socket(
        "invalid UTF-8 in the second piece",
        frame(TEXT, b'{"a":"', fin=False) + frame(CONT, b'\xff"}'),
        1007,
    ),
    on_socket(
        "invalid UTF-8 across two pieces",
        frame(TEXT, b'"\xe6', fin=False) + frame(CONT, b'\x28\xa1"'),
        1007,
    ),
    on_socket(
        "UTF-8 across two pieces",
        frame(TEXT, b'{"type":"ping","payload":{"a":"\xe6', fin=False)
        + frame(CONT, b'\x97\xa5"}}'),
        OPEN,
    ),
    on_socket("HTTP on a socket", b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 10, 1002),
    on_socket("zeros on a socket", b"\0" * 1_000, 1002),
    on_socket("ones on a socket", b"\xff" * 1_000, 1002),
    on_socket("1,000 pings", frame(PING, b"x" * 125) * 1_000, OPEN, 1008, 4429),
    on_socket(
        "1,000 pongs that nobody asked for", frame(PONG, b"x" * 125) * 1_000, OPEN, 1008, 4429
    ),
    on_socket("1,000 empty texts", frame(TEXT) * 1_000, 4400),
    on_socket(
        "compressed without being asked",
        frame(TEXT, b"\xaaV*\xa9,HU\xb2R*\xc8\xccKW\xaa\x05\x00", reserved=4),
        1002,
    ),
]

RESUMES: dict[str, dict[str, Any]] = {
    "an offset of -1": {"offset": -1},
    "an offset of 2^31": {"offset": 2**31},
    "an offset of 2^53": {"offset": 2**53},
    "an offset of a fraction": {"offset": 0.5},
    "content and offset": {"offset": 1, "content": "x"},
    "a lone surrogate": {"content": "\ud800"},
    "content of 1.9 MB": {"content": "x" * 1_900_000},
}

MESSAGES = [
    *(
        on_socket(f"{name}, for a message", frame(TEXT, content), 4400)
        for name, content in {
            "nothing": b"",
            "null": b"null",
            "a list": b"[]",
            "a number": b"1e400",
            "NaN": b"NaN",
            "a text": b'"ping"',
            "half": b'{"type":',
            "two messages": JSON_PING + JSON_PING,
            "a byte order mark": b"\xef\xbb\xbf" + JSON_PING,
            "a null byte": b"\0",
            "an empty object": b"{}",
            "an unknown type": b'{"type":"hack"}',
            "a type of 1 MB": b'{"type":"' + b"x" * MEBIBYTE + b'"}',
            "a type that is an object": b'{"type":{"$ne":null}}',
            "a type of the prototype": b'{"type":"__proto__"}',
            "the old protocol's start": b'{"type":"start","id":"1","payload":{"query":"{ __typename }"}}',
            "the old protocol's stop": b'{"type":"stop","id":"1"}',
            "the old protocol's end": b'{"type":"connection_terminate"}',
            "an answer of the server's": b'{"type":"connection_ack"}',
            "a result of the server's": b'{"type":"next","id":"1","payload":{}}',
            "100,000 lists": b"[" * 100_000,
            "a million lists": b"[" * 1_000_000,
            "100,000 objects": b'{"a":' * 100_000,
            "a number of 10,000 digits": b'{"type":"ping","payload":{"a":' + b"9" * 10_000 + b"}}",
            "a ping of a list": b'{"type":"ping","payload":[]}',
            "a pong of a text": b'{"type":"pong","payload":"x"}',
            "connection_init of a list": b'{"type":"connection_init","payload":["x"]}',
            "a subscribe without id": b'{"type":"subscribe","payload":{"query":"{ a }"}}',
            "a subscribe without payload": b'{"type":"subscribe","id":"1"}',
            "a complete without id": b'{"type":"complete"}',
        }.items()
    ),
    on_socket("a binary message", frame(BINARY, JSON_PING), 4400),
    on_socket("an empty binary message", frame(BINARY), 4400),
    on_socket("another connection_init", text(INIT), 4429),
    on_socket("100 times connection_init", text(INIT) * 100, 4429),
    *(
        on_socket(f"{name}, for an id", subscribe(id), 4400)
        for name, id in {
            "nothing": "",
            "null": None,
            "a number": 1,
            "a fraction": 1e300,
            "a list": ["1"],
            "an object": {"__proto__": "1"},
            "false": False,
        }.items()
    ),
    *(
        on_socket(f"{name}, for an id", subscribe(id), OPEN)
        for name, id in {
            "the prototype": "__proto__",
            "a null byte": "\0",
            "a lone surrogate": "\ud800",
            "line breaks": "a\r\nb",
            "an emoji": "\U0001f600",
        }.items()
    ),
    on_socket("an id of 1 MB", subscribe("x" * MEBIBYTE), OPEN, 4400),
    on_socket("an id that is in use", subscribe(query=EVENTS) * 2, 4409),
    on_socket("an id of 1 MB that is in use", subscribe("x" * MEBIBYTE, EVENTS) * 2, 4400, 4409),
    on_socket("complete of what never was", complete("never") * 100, OPEN),
    on_socket("complete of the prototype", complete("__proto__"), OPEN),
    on_socket("complete of 1 MB", complete("x" * MEBIBYTE), OPEN, 4400),
    on_socket("complete, twice", subscribe(query=EVENTS) + complete() * 2, OPEN),
    on_socket("complete before subscribe", complete() + subscribe(), OPEN),
    on_socket("101 operations", b"".join(subscribe(str(n), EVENTS) for n in range(101)), OPEN),
    on_socket(
        "200 operations and their ends",
        b"".join(subscribe(str(n), EVENTS) + complete(str(n)) for n in range(200)),
        OPEN,
    ),
    on_socket("a message after the goodbye", close(4400) + subscribe(query=EVENTS), 4400),
    *(
        on_socket(
            f"{name}, for a payload",
            text({"id": "1", "type": "subscribe", "payload": payload}),
            4400,
        )
        for name, payload in {
            "null": None,
            "a list": [{"query": "{ __typename }"}],
            "an empty object": {},
            "a query that is null": {"query": None},
            "a query that is a list": {"query": ["{ __typename }"]},
            "variables that are a text": {"query": "{ __typename }", "variables": "{}"},
            "an operation name that is a number": {"query": "{ __typename }", "operationName": 0},
        }.items()
    ),
    *(
        on_socket(f"{name}, for a document on a socket", subscribe(query=query), OPEN)
        for name, query in {
            "nothing": "",
            "half": "subscription {",
            "a lone surrogate": "{ \ud800 }",
            "5,000 levels": "{ a " * 5_000,
            "a comment of 1 MB": "#" + "x" * MEBIBYTE,
            "an unknown stream": "subscription { secrets { text } }",
            "two streams": "subscription { a: conversationEvents { __typename } b: conversationEvents { __typename } }",
            "a mutation of what never was": 'mutation { stopMessage(id: "never") { id } }',
            "a stream under conditions": "subscription { conversationEvents @skip(if: true) { __typename } }",
            "a stream of introspection": "subscription { __typename }",
            "a stream in a ring": "subscription { ...A } fragment A on Subscription { ...A }",
        }.items()
    ),
    *(
        on_socket(
            f"{name}, for a send",
            subscribe(
                query="subscription ($m: MessageInput!) { sendMessage(message: $m) { text } }",
                variables={"m": message},
            ),
            OPEN,
        )
        for name, message in {
            "nothing": {},
            "null": None,
            "no content": {"id": "a"},
            "blanks": {"id": "a", "content": " \n\t\u3000"},
            "a null byte": {"id": "a", "content": "a\0b"},
            "a lone surrogate": {"id": "a", "content": "\udfff"},
            "an id of 129 letters": {"id": "a" * 129, "content": "b"},
            "an id of control characters": {"id": "\x1b[2J", "content": "b"},
            "content of 32,769 units": {"id": "a", "content": "x" * 32_769},
            "content of 1.5 MB": {"id": "a", "content": "x" * 1_500_000},
            "an unknown field": {"id": "a", "content": "b", "owner": "admin"},
            "a conversation of 1 MB": {"id": "a", "content": "b", "conversationId": "x" * MEBIBYTE},
        }.items()
    ),
    *(
        on_socket(
            f"{name}, for a resume",
            subscribe(
                query="subscription ($m: ResumeInput!) { resumeMessage(message: $m) { text } }",
                variables={"m": {"id": "never", **message}},
            ),
            OPEN,
        )
        for name, message in RESUMES.items()
    ),
]

BEFORE = [
    on_socket("subscribe before connection_init", subscribe(), 4401, initialised=False),
    on_socket("complete before connection_init", complete() + text(INIT), OPEN, initialised=False),
    on_socket("nonsense before connection_init", frame(TEXT, b"[]"), 4400, initialised=False),
    on_socket(
        "subscribe right behind connection_init", text(INIT) + subscribe(), OPEN, initialised=False
    ),
    on_socket("connection_init twice at once", text(INIT) * 2, 4429, initialised=False),
    on_socket(
        "1,000 messages before connection_init",
        text({"type": "ping"}) * 1_000,
        OPEN,
        4401,
        4408,
        4429,
        initialised=False,
    ),
    *(
        on_socket(
            f"connection_init with {name}",
            text({"type": "connection_init", "payload": payload}),
            4400,
            initialised=False,
        )
        for name, payload in {"a list": [], "a text": "x", "a number": 0, "false": False}.items()
    ),
    *(
        on_socket(
            f"connection_init with {name}",
            text({"type": "connection_init", "payload": payload}),
            OPEN,
            initialised=False,
        )
        for name, payload in {
            "null": None,
            "the prototype": {"__proto__": {"admin": True}},
            "1.5 MB": {"a": "x" * 1_500_000},
            "a token where none is asked for": {"authorization": "Bearer " + "x" * 10_000},
            "a token that is a list": {"authorization": [["Bearer"]]},
            "headers by the dozen": {"headers": {f"x-{n}": "y" for n in range(1_000)}},
        }.items()
    ),
]


def _offering(name: str, offer: bytes, sent: bytes, *allowed: int | str) -> SocketAttack:
    return SocketAttack(name, sent, frozenset(allowed), True, (offer,))


OFFERS = [
    _offering(
        "deflate with a frame that is none",
        b"Sec-WebSocket-Extensions: permessage-deflate",
        frame(TEXT, b"\xff\xff\xff", reserved=4),
        1002,
        1007,
    ),
    _offering(
        "deflate with a window of nothing",
        b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=8",
        frame(PING),
        OPEN,
    ),
    _offering(
        "another extension",
        b"Sec-WebSocket-Extensions: x-webkit-deflate-frame, bbf-usp-protocol",
        frame(PING),
        OPEN,
    ),
    _offering(
        "a version beside ours", b"Sec-WebSocket-Protocol: graphql-ws, soap", frame(PING), OPEN
    ),
]

PROTOCOLS = {
    "the old protocol": b"graphql-ws",
    "no protocol of ours": b"soap",
    "a protocol of the prototype": b"__proto__",
}
"""Subprotocols that we do not speak: the handshake may succeed, and is followed by a close with a code."""

INPUTS: list[SocketAttack] = [*FRAMES, *MESSAGES, *BEFORE, *OFFERS]
