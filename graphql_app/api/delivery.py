"""From a chunk to the wire: the hot path.

Strawberry parses, validates and resolves a subscription like any other operation, and its resolver
returns chunks. What then would happen for each of them is replaced, if the operation selects
nothing but plain fields of a chunk, as all clients do:

    Are all selected fields plain?
      no ──▶ graphql-core executes the operation for each chunk                   (some 100 µs)
      yes ─▶ a Plan, made once, takes from a chunk what was selected
             Does the transport take a feed?
               no ──▶ the plan makes the data of a result; the rest is as ever    (some 50 µs)
               yes ─▶ a Feed is the only result: the transport runs through the
                      chunks by itself, and sends what the plan encodes           (some 2 µs)

A word's way through a feed, all in the step of the event loop in which it was said, if its store
never waits and its socket has room:

    Producer._read ▶ store.append_now ▶ Following.hear ▶ SocketHandler._drive's sink
                   ▶ the frame that the plan makes ▶ SocketProtocol.write

Where that is not possible, and for the first and the last chunk, the follower wakes, reads for
itself, and `_drive` sends what it reads.

It stands on the execution context class of Strawberry, and on graphql-core's Executor: through
`cancellable_iterable` it gets the source of a subscription's events, `execute_operation` executes
one event, `collect_subfields` says what is selected. Generated selections prove that all ways give
the same.
"""

import json
import re
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from dataclasses import dataclass
from inspect import signature
from operator import attrgetter
from typing import Any, TypeAlias, TypeVar, cast
from uuid import uuid4

import orjson
from graphql import ExecutionResult, GraphQLObjectType, GraphQLSchema, get_nullable_type
from graphql.execution.collect_fields import FieldDetails, collect_fields
from graphql.type.definition import GraphQLResolveInfoHelpers
from strawberry.extensions import SchemaExtension
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.schema.schema_converter import GraphQLCoreConverter

from graphql_app.api.context import Context
from graphql_app.api.portions import Portions
from graphql_app.follower import Following
from graphql_app.messages import Chunk, Status

T = TypeVar("T")

OFFSET: Any = uuid4().hex
TEXT = uuid4().hex
"""What stands for an offset and a text in a template; nobody can guess it, and put it elsewhere."""

EVENT_HOOKS = ("on_stream_result", "get_results", "resolve")
"""What extensions do for each event; a transport that runs through the chunks would skip it."""

LASTING_HOOKS = ("on_operation",)
"""What extensions do up to the end of an operation."""

MAX_COERCION_ERRORS = 5
"""How many errors of variables are told."""

COERCION_ERRORS_AT = (
    list(signature(StrawberryGraphQLCoreExecutionContext.build).parameters).index(
        "max_coercion_errors"
    )
    - 1
)

Reader: TypeAlias = Callable[[Any], object]

Fill: TypeAlias = Callable[[tuple[bytes, bytes]], tuple[bytes, ...]]

PLAIN_FIELDS: dict[str, dict[str, Reader]] = {
    "StreamChunk": {
        "__typename": lambda _: "StreamChunk",
        "messageId": attrgetter("message_id"),
        "offset": attrgetter("offset"),
        "text": attrgetter("text"),
        "status": attrgetter("status._value_"),  # `value` is a descriptor, and slow.
        "error": attrgetter("error"),
    },
    "MessageError": {
        "__typename": lambda _: "MessageError",
        "code": attrgetter("code._value_"),
        "message": attrgetter("message"),
    },
}
"""What a plan can take, by type and field. Any other field is for graphql-core to resolve."""


@dataclass(frozen=True, slots=True)
class Field:
    """A selected field: its key in the response, its name, and what is selected of an object."""

    key: str
    name: str
    fields: "Fields | None" = None


Fields: TypeAlias = tuple[Field, ...]


_last: tuple[Chunk | None, bytes] = (None, b"")
"""The last chunk whose text was encoded, and that text in JSON: of several followers that get one
chunk, one after the other, only the first has to encode it."""


class Plan:
    """What an operation takes from a chunk, and how that is encoded."""

    def __init__(self, key: str, fields: Fields) -> None:
        self._key = key
        self._read = _reader("StreamChunk", fields)

    def data(self, chunk: Chunk) -> dict[str, object]:
        """The data of the result."""
        return {self._key: self._read(chunk)}

    def frames(self, id: str) -> Callable[[Chunk], bytes]:
        """What makes the frames of one operation on a socket, a chunk's each, in UTF-8.

        While a reply streams, only offset and text differ from chunk to chunk of it. All else is
        encoded once, as a template.
        """
        template = b""
        fill: Fill

        def frame(chunk: Chunk) -> bytes:
            nonlocal template, fill
            global _last
            _, offset, text, status, _ = chunk
            if status is not Status.STREAMING:
                return encode_json(self._frame(id, chunk))
            if not template:
                template, fill = _template(
                    encode_json(self._frame(id, chunk._replace(offset=OFFSET, text=TEXT)))
                )
            if _last[0] is not chunk:
                _last = (chunk, orjson.dumps(text))
            return template % fill((b"%d" % offset, _last[1]))

        return frame

    def _frame(self, id: str, chunk: Chunk) -> dict[str, object]:
        return {"id": id, "type": "next", "payload": {"data": self.data(chunk)}}


@dataclass(frozen=True, slots=True)
class Feed:
    """The rest of a subscription: its chunks, and the plan to send them by.

    It comes as the data of the first result, to a transport that said that it takes it; the
    transport closes the chunks. With `ends_results` nothing waits for the end of the results: the
    transport closes them at once, which saves 13 KB while a reply is silent, and presents what the
    chunks raise by itself. Otherwise it throws that into the results, which make errors of it.
    """

    plan: Plan
    chunks: Following
    ends_results: bool


class EventExecutor(StrawberryGraphQLCoreExecutionContext):
    """Executes each event of a subscription by the plan of its operation, if it has one."""

    _plan: Plan | None = None

    @classmethod
    def build(cls, schema: GraphQLSchema, *args: Any, **kwargs: Any) -> Any:
        # They come by position; each error of a large variable takes milliseconds.
        before, after = args[:COERCION_ERRORS_AT], args[COERCION_ERRORS_AT + 1 :]
        args = (*before, MAX_COERCION_ERRORS, *after)
        ours = schema.extensions[GraphQLCoreConverter.DEFINITION_BACKREF]
        kwargs["hide_suggestions"] = not getattr(ours, "suggestions", True)
        return super().build(schema, *args, **kwargs)

    @property
    def async_helpers(self) -> GraphQLResolveInfoHelpers:
        # Kept, they would make a ring of the executor and themselves, which only the collector
        # ends: long after the operation, with variables as large as a message.
        return GraphQLResolveInfoHelpers(self.gather_async_work, self.track_async_work)

    @async_helpers.setter
    def async_helpers(self, helpers: object) -> None:
        pass

    def cancellable_iterable(self, iterable: AsyncIterable[T]) -> AsyncIterable[T]:
        if isinstance(iterable, Portions):
            return iterable  # A list, and no subscription.
        self._plan = _plan_of(self)
        context: Context = self.context_value
        if self._plan is None or not context.takes_feed or not isinstance(iterable, Following):
            return super().cancellable_iterable(iterable)
        feed = Feed(self._plan, iterable, ends_results=not context.lasts)
        return cast(AsyncIterable[T], _handing_over(feed))

    def build_per_event_executor(self, payload: Any) -> Any:
        executor = super().build_per_event_executor(payload)
        # graphql-core 3.3 memoises sub-fields by the identity of a list that it makes anew for each
        # event, in a dictionary that lives as long as the subscription: 1.7 KiB per event.
        executor._relevant_sub_fields = {}
        return executor

    def execute_operation(self, serially: bool | None = None) -> Any:
        event = self.root_value
        if isinstance(event, Feed):
            return ExecutionResult(cast(dict[str, Any], event), None)
        if self._plan is not None:
            return ExecutionResult(self._plan.data(event), None)
        return super().execute_operation(serially)


def _template(frame: bytes) -> tuple[bytes, Fill]:
    """A frame with the two marks in it as a template, and what puts its values in order."""
    marks = re.findall(rb'"(%b|%b)"' % (OFFSET.encode(), TEXT.encode()), frame)
    template = frame.replace(b"%", b"%%")
    for mark in set(marks):
        template = template.replace(b'"%b"' % mark, b"%b")
    order = tuple(int(mark == TEXT.encode()) for mark in marks)
    if order == (0, 1):
        return template, tuple  # As it is.
    return template, lambda pair: tuple(pair[which] for which in order)


def has_hook(extension: object, hooks: Iterable[str]) -> bool:
    """Whether an extension does anything there."""
    return not isinstance(extension, type) or any(
        getattr(extension, hook) is not getattr(SchemaExtension, hook) for hook in hooks
    )


def encode_json(data: object) -> bytes:
    """JSON text in UTF-8."""
    try:
        return orjson.dumps(data)
    except TypeError:
        # A lone surrogate, which an id or an error message can carry back to its sender.
        return json.dumps(data, separators=(",", ":")).encode()


async def _handing_over(feed: Feed) -> AsyncGenerator[Feed, None]:
    """A source of one event."""
    yield feed


def _plan_of(executor: EventExecutor) -> Plan | None:
    """The plan of an executor's operation, a subscription; None if not all fields are plain."""
    if executor.middleware_manager is not None and executor.middleware_manager.middlewares:
        return None
    document = executor.context_value.document
    if document is None or not document.names.isdisjoint(("@skip", "@include")):
        return _new_plan(executor)  # What is selected depends on the variables.
    name = executor.operation.name and executor.operation.name.value
    if name not in document.plans:
        document.plans[name] = _new_plan(executor)
    return cast(Plan | None, document.plans[name])


def _new_plan(executor: EventExecutor) -> Plan | None:
    root = executor.schema.subscription_type
    assert root is not None
    [(key, details)] = collect_fields(
        executor.schema,
        executor.fragments,
        executor.variable_values,
        root,
        executor.operation,
        executor.hide_suggestions,
    ).grouped_field_set.items()
    fields = _plain_fields(executor, _type_of(executor, root, details), details)
    return Plan(key, fields) if fields is not None else None


def _plain_fields(
    executor: EventExecutor, kind: object, details: list[FieldDetails]
) -> Fields | None:
    """The fields that are selected of an object; None if one is not plain."""
    if not isinstance(kind, GraphQLObjectType) or kind.name not in PLAIN_FIELDS:
        return None
    fields: list[Field] = []
    for key, selected in executor.collect_subfields(kind, details).grouped_field_set.items():
        name = selected[0].node.name.value
        if name not in PLAIN_FIELDS[kind.name] or not _is_basic(kind, name):
            return None
        inner = None
        if selected[0].node.selection_set is not None:
            inner = _plain_fields(executor, _type_of(executor, kind, selected), selected)
            if inner is None:
                return None
        fields.append(Field(key, name, inner))
    return tuple(fields)


def _is_basic(kind: GraphQLObjectType, name: str) -> bool:
    """Whether a field has neither a resolver of its own nor permissions or other extensions."""
    field = kind.fields.get(name)
    return field is None or field.extensions["strawberry-definition"].is_basic_field


def _type_of(
    executor: EventExecutor, parent: GraphQLObjectType, details: list[FieldDetails]
) -> object:
    field = executor.schema.get_field(parent, details[0].node.name.value)
    assert field is not None, "the document is valid"
    return get_nullable_type(field.type)


def _reader(kind: str, fields: Fields) -> Callable[[Any], dict[str, object]]:
    readers: tuple[tuple[str, Reader], ...] = tuple(
        (field.key, _field_reader(kind, field)) for field in fields
    )

    def read(value: Any) -> dict[str, object]:
        return {key: read_field(value) for key, read_field in readers}

    return read


def _field_reader(kind: str, field: Field) -> Reader:
    read = PLAIN_FIELDS[kind][field.name]
    if field.fields is None:
        return read
    read_object = _reader("MessageError", field.fields)

    def read_nullable(value: Any) -> object:
        inner = read(value)
        return None if inner is None else read_object(inner)

    return read_nullable
