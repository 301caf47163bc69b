"""The schema: its roots, how its errors are shown, and its text."""

from collections.abc import Generator
from datetime import datetime
from typing import Any

import strawberry
from graphql import GraphQLError
from strawberry.extensions import SchemaExtension
from strawberry.printer import print_schema
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from graphql_app.api.delivery import EVENT_HOOKS, LASTING_HOOKS, EventExecutor, has_hook
from graphql_app.api.failures import present
from graphql_app.api.mutations import Mutation
from graphql_app.api.queries import Query
from graphql_app.api.subscriptions import Subscription
from graphql_app.api.types import DateTime


class ContextDocument(SchemaExtension):
    """Executes the document of the context, and notes there that it is valid."""

    def on_parse(self) -> Generator[None, None, None]:
        execution = self.execution_context
        execution.graphql_document = execution.context.document.node
        yield

    def on_validate(self) -> Generator[None, None, None]:
        execution = self.execution_context
        document = execution.context.document
        rules = (execution.schema, execution.validation_rules)
        if document.is_valid_by(rules):
            execution.context.document_is_valid = True
            execution.pre_execution_errors = []  # So Strawberry does not look.
            yield
            return
        yield
        if not execution.pre_execution_errors:
            document.found_valid_by(rules)
            execution.context.document_is_valid = True
        for error in execution.pre_execution_errors or ():
            if error.original_error is not None:
                # A number that is too long, for one, raises whatever Python raises for it.
                error.original_error = None
                error.message = "A literal has a value that cannot be read."


class ChatSchema(strawberry.Schema):
    """A schema that shows errors as clients may see them."""

    async def stream(self, *args: Any, **kwargs: Any) -> Any:
        context = kwargs["context_value"]
        if any(has_hook(extension, EVENT_HOOKS) for extension in self.extensions):
            context.takes_feed = False
        context.lasts = any(has_hook(extension, LASTING_HOOKS) for extension in self.extensions)
        return await super().stream(*args, **kwargs)

    def process_errors(
        self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None
    ) -> None:
        context = None if execution_context is None else execution_context.context
        is_valid = context is not None and context.document_is_valid
        for error in errors:
            present(error, valid_document=is_valid)


schema = ChatSchema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    extensions=[ContextDocument],
    execution_context_class=EventExecutor,
    config=StrawberryConfig(scalar_map={datetime: DateTime}),
)


def sdl() -> str:
    """The schema in the schema definition language, as `schema.graphql` holds it."""
    return print_schema(schema) + "\n"
