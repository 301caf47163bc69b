"""The schema: its roots, how its errors are shown, and its text."""

from collections.abc import Generator
from datetime import datetime

import strawberry
from graphql import GraphQLError
from strawberry.extensions import SchemaExtension
from strawberry.printer import print_schema
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from graphql_app.api.delivery import EventExecutor
from graphql_app.api.failures import present
from graphql_app.api.mutations import Mutation
from graphql_app.api.queries import Query
from graphql_app.api.subscriptions import Subscription
from graphql_app.api.types import DateTime


class ContextDocument(SchemaExtension):
    """Executes the document of the context, and notes there whether it is valid."""

    def on_parse(self) -> Generator[None, None, None]:
        execution = self.execution_context
        execution.graphql_document = execution.context.document
        yield

    def on_validate(self) -> Generator[None, None, None]:
        yield
        execution = self.execution_context
        execution.context.document_is_valid = not execution.pre_execution_errors
        for error in execution.pre_execution_errors or ():
            if error.original_error is not None:
                # A number that is too long, for one, raises whatever Python raises for it.
                error.original_error = None
                error.message = "A literal has a value that cannot be read."


class ChatSchema(strawberry.Schema):
    """A schema that shows errors as clients may see them."""

    def process_errors(
        self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None
    ) -> None:
        context = None if execution_context is None else execution_context.context
        for error in errors:
            present(error, valid_document=context is not None and context.document_is_valid)


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
