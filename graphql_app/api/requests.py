"""What a client asks for, whatever brought it: the checks that HTTP and WebSocket share."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NoReturn, TypeAlias

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    Visitor,
    get_operation_ast,
    visit,
)

from graphql_app import metrics
from graphql_app.api.cost import check_answer, is_always_cheap, parsed
from graphql_app.errors import DocumentTooCostlyError

CHANGING_SUBSCRIPTIONS = frozenset({"sendMessage", "regenerateMessage"})
ROOT_FIELDS = frozenset(
    {
        *("clearMessages", "conversationEvents", "conversations", "message", "messages"),
        *("regenerateMessage", "resumeMessage", "sendMessage", "stopMessage"),
        *("__schema", "__type", "__typename"),
    }
)
"""The fields that operations can begin with. Others are a client's own words."""

REMEMBERED_DOCUMENTS = 128
REMEMBERED_LENGTH = 2_048
"""How many documents are remembered, and the longest of them. Nodes can take 400 times their text,
so that the worst that anybody can make of it is 100 MB."""


class MalformedError(Exception):
    """This is no GraphQL request; the sentence says why."""


@dataclass(frozen=True, slots=True)
class GraphQLRequest:
    """The parameters of a request, as GraphQL over HTTP and graphql-transport-ws name them.

    `document_id` stands for a query that was not sent: `documentId` of GraphQL over HTTP, or the
    hash of a persisted query, as Apollo's clients send it.
    """

    query: str
    variables: dict[str, Any] | None
    operation_name: str | None
    extensions: dict[str, Any] | None
    document_id: str | None = None

    @property
    def carrier(self) -> dict[str, str]:
        """What a client says of its own span: on a socket, headers are for all operations."""
        given = self.extensions or {}
        names = ("traceparent", "tracestate")
        return {name: given[name] for name in names if isinstance(given.get(name), str)}


def decode_json(text: str | bytes) -> object:
    """The value that JSON text stands for.

    Raises:
        MalformedError: it is no JSON (NaN and Infinity are none), or nested beyond reason.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode()  # By itself, json would guess the encoding.
        return _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise MalformedError("The message is not valid JSON.") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def request_from(value: object) -> GraphQLRequest:
    """The request that a decoded JSON value describes.

    Raises:
        MalformedError: it describes none.
    """
    if not isinstance(value, dict):
        raise MalformedError("A GraphQL request must be an object.")
    query, id = value.get("query"), None
    if query is None and (id := _document_id(value)) is not None:
        query = ""
    if not isinstance(query, str):
        raise MalformedError("The parameter query must be a string.")
    operation_name = value.get("operationName")
    if not isinstance(operation_name, str | None):
        raise MalformedError("The parameter operationName must be a string or null.")
    for name in ("variables", "extensions"):
        if not isinstance(value.get(name), dict | None):
            raise MalformedError(f"The parameter {name} must be an object or null.")
    return GraphQLRequest(
        query, value.get("variables"), operation_name, value.get("extensions"), id
    )


def _document_id(value: dict[str, Any]) -> str | None:
    id = value.get("documentId")
    if id is None and isinstance(extensions := value.get("extensions"), dict):
        persisted = extensions.get("persistedQuery")
        id = persisted.get("sha256Hash") if isinstance(persisted, dict) else None
    if not isinstance(id, str | None):
        raise MalformedError("The id of a document must be a string.")
    return id


@dataclass(slots=True, eq=False)
class Document:
    """A document, parsed, and what was found out about it."""

    node: DocumentNode
    plans: dict[str | None, Any] = field(default_factory=dict)
    """What `delivery` made of its operations, by their names."""
    _rules: object = None
    _names: frozenset[str] | None = None
    _are_cheap: dict[str | None, bool] = field(default_factory=dict)
    _root_fields: dict[str | None, tuple[str, ...]] = field(default_factory=dict)

    def is_valid_by(self, rules: object) -> bool:
        """Whether it was found to be valid by these rules; then nobody has to look again."""
        return self._rules == rules

    def found_valid_by(self, rules: object) -> None:
        self._rules = rules
        self.plans.clear()

    def check_answer(
        self, operation: OperationDefinitionNode, variables: Mapping[str, Any]
    ) -> None:
        """Refuses an operation whose answer would be gigantic; see `cost.check_answer`."""
        name = operation.name.value if operation.name else None
        if name not in self._are_cheap:
            self._are_cheap[name] = is_always_cheap(self.node, operation)
        if not self._are_cheap[name]:
            check_answer(self.node, operation, variables)

    @property
    def text(self) -> str:
        assert self.node.loc is not None
        return self.node.loc.source.body

    @property
    def names(self) -> frozenset[str]:
        """The names of all its fields, in whatever fragment they hide, and of its directives."""
        if self._names is None:
            self._names = frozenset(_names(self.node))
        return self._names

    def root_fields(self, operation: OperationDefinitionNode) -> tuple[str, ...]:
        """The names of the fields that one of its operations begins with, and that there are."""
        name = operation.name.value if operation.name else None
        if name not in self._root_fields:
            fragments = {
                each.name.value: each.selection_set
                for each in self.node.definitions
                if isinstance(each, FragmentDefinitionNode)
            }
            self._root_fields[name] = tuple(_root_fields(operation.selection_set, fragments))
        return self._root_fields[name]


ParsedOperation: TypeAlias = tuple[Document, OperationDefinitionNode]


def parse_operation(
    query: str, operation_name: str | None, variables: Mapping[str, Any] | None = None
) -> ParsedOperation:
    """The parsed document, and the one of its operations that is meant.

    Raises:
        GraphQLError: a syntax error, it costs too much, or no single operation is meant.
    """
    with _told_costs():
        document = _remembered(query) if len(query) <= REMEMBERED_LENGTH else _parse(query)
    return operation_in(document, operation_name, variables)


def operation_in(
    document: Document, operation_name: str | None, variables: Mapping[str, Any] | None = None
) -> ParsedOperation:
    """The same for a document that is parsed."""
    with _told_costs():
        operation = get_operation_ast(document.node, operation_name)
        if operation is not None:
            document.check_answer(operation, variables or {})
            return document, operation
    raise GraphQLError(
        "The document has no single operation; name one in operationName."
        if operation_name is None
        else f"Unknown operation named {operation_name!r}."
    )


@contextmanager
def _told_costs() -> Iterator[None]:
    """Counts what costs too much, and says so as an error of the operation."""
    try:
        yield
    except DocumentTooCostlyError as error:
        metrics.refused("cost")
        raise GraphQLError(str(error), original_error=error) from None


def _parse(query: str) -> Document:
    return Document(parsed(query))


# A program sends the same few documents over and over, and to parse and validate one takes longer
# than all the rest. What cannot be parsed is not remembered.
_remembered = lru_cache(REMEMBERED_DOCUMENTS)(_parse)


def changes_something(document: Document, operation: OperationDefinitionNode) -> bool:
    """Whether an operation is one that a link or an image on a foreign page must not start."""
    if operation.operation is not OperationType.SUBSCRIPTION:
        return operation.operation is OperationType.MUTATION
    return not CHANGING_SUBSCRIPTIONS.isdisjoint(document.names)


def _names(document: DocumentNode) -> set[str]:
    names: set[str] = set()

    class Names(Visitor):
        def enter_field(self, node: FieldNode, *_: object) -> None:
            names.add(node.name.value)

        def enter_directive(self, node: DirectiveNode, *_: object) -> None:
            names.add(f"@{node.name.value}")

    visit(document, Names())
    return names


def _root_fields(
    selected: SelectionSetNode, fragments: dict[str, SelectionSetNode]
) -> dict[str, None]:
    """The names of selected fields, if there are such; each fragment is looked into once."""
    found: dict[str, None] = {}
    waiting = [selected]
    while waiting:
        for each in waiting.pop().selections:
            match each:
                case FieldNode() if each.name.value in ROOT_FIELDS:
                    found[each.name.value] = None
                case InlineFragmentNode():
                    waiting.append(each.selection_set)
                case FragmentSpreadNode():
                    if inner := fragments.pop(each.name.value, None):
                        waiting.append(inner)
    return found
