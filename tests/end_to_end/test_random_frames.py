"""Whatever a client says, the server answers within the protocol or closes with its codes."""

import asyncio
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from tests.processes import ServerProcess
from tests.wire import PATIENCE_SECONDS, open_socket, raw_connection

CLOSE_CODES = {4400, 4401, 4409, 4429}
"""The codes for what a client does wrong; among them is none that means a crash."""

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
ids = st.sampled_from(["1", "2", "3"]) | anything
documents = st.sampled_from(
    [
        "{ __typename }",
        "{ messages(last: $a) { id content error { code } } }",
        "query ($a: Int) { messages(last: $a) { ...F } } fragment F on Message { id }",
        "query ($a: ID!, $b: ID) { messages(conversationId: $a, before: $b) { createdAt } }",
        'mutation ($a: ID! = "x") { stopMessage(id: $a) { status } }',
        "mutation { clearMessages }",
        "subscription { conversationEvents { __typename } }",
        "subscription ($a: MessageInput!) { sendMessage(message: $a) { text offset } }",
        "subscription ($a: ResumeInput!) { resumeMessage(message: $a) { text offset } }",
        "{ __schema { types { fields { type { ofType { name } } } } } }",
    ]
) | st.text('{}()[]:!$@"\\#, \n.abc123\u65e5\ud800', max_size=30)
messages = st.fixed_dictionaries(
    {},
    optional={
        "id": ids,
        "content": anything,
        "conversationId": st.just("default") | anything,
        "offset": st.integers(-5, 50) | anything,
    },
)
payloads = st.fixed_dictionaries(
    {},
    optional={
        "query": documents | anything,
        "variables": st.dictionaries(st.sampled_from("ab"), messages | anything) | anything,
        "operationName": anything,
        "extensions": anything,
    },
)
frames = st.fixed_dictionaries(
    {"type": st.sampled_from(["ping", "pong", "subscribe", "subscribe", "complete"]) | anything},
    optional={"id": ids, "payload": payloads | anything},
)
texts = (frames | anything).map(json.dumps) | st.text(max_size=40) | st.binary(max_size=9)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(said=st.lists(texts, max_size=12), acknowledged=st.booleans())
async def test_any_frames_are_answered_within_the_protocol(
    server: ServerProcess, said: list[str | bytes], acknowledged: bool
) -> None:
    async with raw_connection(server.url) as connection:
        if acknowledged:
            await connection.send('{"type": "connection_init"}')
        try:
            for frame in said:
                await connection.send(frame)
            await connection.send('{"type": "ping", "payload": {"last": true}}')
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not is_last_pong(answer := json.loads(await connection.recv())):
                    check(answer)
        except ConnectionClosed:
            assert connection.close_code in CLOSE_CODES, connection.close_reason
    async with open_socket(server.url) as socket:
        await socket.execute("{ __typename }")


def is_last_pong(answer: Any) -> bool:
    return bool(answer == {"type": "pong", "payload": {"last": True}})


def check(answer: Any) -> None:
    """Fails unless an answer is one of the messages that the protocol has."""
    match answer:
        case {"type": "connection_ack" | "pong"}:
            pass
        case {"type": "next", "id": str(), "payload": {"data": dict() | None}}:
            assert answer["payload"]["data"] is not None or answer["payload"]["errors"]
        case {"type": "error", "id": str(), "payload": [{"message": str()}, *_] as errors}:
            codes = {error["extensions"]["code"] for error in errors}
            assert "INTERNAL_SERVER_ERROR" not in codes
        case {"type": "complete", "id": str()}:
            pass
        case _:
            raise AssertionError(answer)
