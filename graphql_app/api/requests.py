"""What a client asks for, whatever brought it: the checks that HTTP and WebSocket share."""

import json
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    OperationType,
    Source,
    Visitor,
    get_operation_ast,
    parse,
    visit,
)

CHANGING_SUBSCRIPTION = "sendMessage"

MAX_TOKENS = 2_000
"""The most tokens of a document. Validation can take the square of their number, 0.2 s for so many,
while everybody else waits; introspection has about 500."""


class MalformedError(Exception):
    """This is no GraphQL request; the sentence says why."""


@dataclass(frozen=True, slots=True)
class GraphQLRequest:
    """The parameters of a request, as GraphQL over HTTP and graphql-transport-ws name them."""

    query: str
    variables: dict[str, Any] | None
    operation_name: str | None
    extensions: dict[str, Any] | None


def decode_json(text: str | bytes) -> object:
    """The value that JSON text stands for.

    Raises:
        MalformedError: it is no JSON (NaN and Infinity are none), or nested beyond reason.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode()  # By itself, json would guess the encoding.
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedError("The message is not valid JSON.") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def request_from(value: object) -> GraphQLRequest:
    """The request that a decoded JSON value describes.

    Raises:
        MalformedError: it describes none.
    """
    if not isinstance(value, dict):
        raise MalformedError("A GraphQL request must be an object.")
    query = value.get("query")
    if not isinstance(query, str):
        raise MalformedError("The parameter query must be a string.")
    operation_name = value.get("operationName")
    if not isinstance(operation_name, str | None):
        raise MalformedError("The parameter operationName must be a string or null.")
    for name in ("variables", "extensions"):
        if not isinstance(value.get(name), dict | None):
            raise MalformedError(f"The parameter {name} must be an object or null.")
    return GraphQLRequest(query, value.get("variables"), operation_name, value.get("extensions"))


ParsedOperation: TypeAlias = tuple[DocumentNode, OperationDefinitionNode]


def parse_operation(query: str, operation_name: str | None) -> ParsedOperation:
    """The parsed document, and the one of its operations that is meant.

    Raises:
        GraphQLError: a syntax error, or no single operation is meant.
    """
    try:
        document = parse(query, max_tokens=MAX_TOKENS)
    except RecursionError:
        raise GraphQLSyntaxError(Source(query), 0, "The document is nested too deeply.") from None
    operation = get_operation_ast(document, operation_name)
    if operation is None:
        raise GraphQLError(
            "The document has no single operation; name one in operationName."
            if operation_name is None
            else f"Unknown operation named {operation_name!r}."
        )
    return document, operation


def changes_something(document: DocumentNode, operation: OperationDefinitionNode) -> bool:
    """Whether an operation is one that a link or an image on a foreign page must not start."""
    if operation.operation is not OperationType.SUBSCRIPTION:
        return operation.operation is OperationType.MUTATION
    return CHANGING_SUBSCRIPTION in _fields(document)


def _fields(document: DocumentNode) -> set[str]:
    """The names of all fields in a document, in whatever fragment they hide."""
    names: set[str] = set()

    class Names(Visitor):
        def enter_field(self, node: FieldNode, *_: object) -> None:
            names.add(node.name.value)

    visit(document, Names())
    return names
