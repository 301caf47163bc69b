"""The frames of graphql-transport-ws that a client may send, checked; no socket in sight.

Source: https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

from graphql_app.api.requests import GraphQLRequest, MalformedError, request_from


@dataclass(frozen=True, slots=True)
class ConnectionInit:
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ping:
    payload: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Pong:
    payload: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Subscribe:
    id: str
    request: GraphQLRequest


@dataclass(frozen=True, slots=True)
class Complete:
    id: str


Frame: TypeAlias = ConnectionInit | Ping | Pong | Subscribe | Complete


def frame_from(value: object) -> Frame:
    """The frame that a decoded JSON value describes.

    Raises:
        MalformedError: it describes none; the protocol wants the socket closed with 4400.
    """
    if not isinstance(value, dict):
        raise MalformedError("A message must be an object.")
    match value.get("type"):
        case "connection_init":
            return ConnectionInit(_payload(value) or {})
        case "ping":
            return Ping(_payload(value))
        case "pong":
            return Pong(_payload(value))
        case "subscribe":
            return Subscribe(_id(value), request_from(value.get("payload")))
        case "complete":
            return Complete(_id(value))
        case str() as unknown:
            raise MalformedError(f"Unknown message type {unknown[:32]!r}.")
        case _:
            raise MalformedError("A message must have a type, a string.")


def _payload(value: dict[str, Any]) -> dict[str, Any] | None:
    payload = value.get("payload")
    if not isinstance(payload, dict | None):
        raise MalformedError("The payload must be an object or null.")
    return payload


def _id(value: dict[str, Any]) -> str:
    id = value.get("id")
    if not isinstance(id, str) or not id:
        raise MalformedError("A message must have an id, a string that is not empty.")
    return id
