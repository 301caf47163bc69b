"""What a frame must be, without a socket."""

from typing import Any

import pytest

from graphql_app.api.frames import (
    Complete,
    ConnectionInit,
    Frame,
    Ping,
    Pong,
    Subscribe,
    frame_from,
)
from graphql_app.api.requests import GraphQLRequest, MalformedError

REQUEST = GraphQLRequest("{ a }", None, None, None)


@pytest.mark.parametrize(
    ("value", "frame"),
    [
        ({"type": "connection_init"}, ConnectionInit({})),
        ({"type": "connection_init", "payload": None}, ConnectionInit({})),
        ({"type": "connection_init", "payload": {"a": 1}}, ConnectionInit({"a": 1})),
        ({"type": "ping"}, Ping(None)),
        ({"type": "ping", "payload": None}, Ping(None)),
        ({"type": "ping", "payload": {}}, Ping({})),
        ({"type": "pong", "payload": {"a": []}}, Pong({"a": []})),
        ({"type": "complete", "id": "1"}, Complete("1")),
        ({"type": "complete", "id": "1", "payload": 3}, Complete("1")),
        ({"type": "subscribe", "id": "1", "payload": {"query": "{ a }"}}, Subscribe("1", REQUEST)),
        ({"type": "subscribe", "id": " ", "payload": {"query": "{ a }"}}, Subscribe(" ", REQUEST)),
    ],
)
def test_a_frame_is_read(value: object, frame: Frame) -> None:
    assert frame_from(value) == frame


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([], "A message must be an object."),
        (None, "A message must be an object."),
        ("ping", "A message must be an object."),
        ({}, "A message must have a type, a string."),
        ({"type": 1}, "A message must have a type, a string."),
        ({"type": {}}, "A message must have a type, a string."),
        ({"type": "start"}, "Unknown message type 'start'."),
        ({"type": "x" * 33}, f"Unknown message type '{'x' * 32}'."),
        ({"type": "ping", "payload": []}, "The payload must be an object or null."),
        ({"type": "connection_init", "payload": ""}, "The payload must be an object or null."),
        ({"type": "complete"}, "A message must have an id, a string that is not empty."),
        ({"type": "complete", "id": 1}, "A message must have an id, a string that is not empty."),
        ({"type": "subscribe", "id": "1"}, "A GraphQL request must be an object."),
        (
            {"type": "subscribe", "id": "", "payload": {"query": "{ a }"}},
            "A message must have an id, a string that is not empty.",
        ),
        (
            {"type": "subscribe", "id": "1", "payload": {}},
            "The parameter query must be a string.",
        ),
    ],
)
def test_a_frame_that_is_none_is_refused_with_a_sentence(value: Any, sentence: str) -> None:
    with pytest.raises(MalformedError) as refused:
        frame_from(value)
    assert str(refused.value) == sentence
