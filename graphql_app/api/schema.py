"""The schema: its roots, how its errors are shown, and its text."""

import re
from collections.abc import Generator, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import strawberry
from graphql import (
    ASTValidationRule,
    DocumentNode,
    GraphQLError,
    NoSchemaIntrospectionCustomRule,
    validate,
)
from strawberry.extensions import SchemaExtension
from strawberry.printer import print_schema
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule
from strawberry.types import ExecutionContext

from graphql_app.api.delivery import EVENT_HOOKS, LASTING_HOOKS, EventExecutor, has_hook
from graphql_app.api.failures import present
from graphql_app.api.mutations import Mutation
from graphql_app.api.queries import Query
from graphql_app.api.subscriptions import Subscription
from graphql_app.api.types import DateTime

MAX_ERRORS = 5
"""How many errors of a document are told."""


SELECTION_SUGGESTED = re.compile(r" Did you mean '\w+ \{ \.\.\. \}'\?\Z")
"""What graphql-core suggests even if it is told to suggest nothing."""


class ContextDocument(SchemaExtension):
    """Executes the document of the context, and notes there that it is valid."""

    def on_parse(self) -> Generator[None, None, None]:
        execution = self.execution_context
        execution.graphql_document = execution.context.document.node
        yield

    def on_validate(self) -> Generator[None, None, None]:
        execution = self.execution_context
        document, schema = execution.context.document, execution.schema
        assert isinstance(schema, ChatSchema)
        rules = (schema, execution.validation_rules)
        # As there are errors now, or none, Strawberry does not look for them.
        if document.is_valid_by(rules):
            execution.pre_execution_errors = []
        else:
            execution.pre_execution_errors = schema.errors_in(document.node, rules[1])
            if not execution.pre_execution_errors:
                document.found_valid_by(rules)
        execution.context.document_is_valid = not execution.pre_execution_errors
        for error in execution.pre_execution_errors:
            if error.original_error is not None:
                # A number that is too long, for one, raises whatever Python raises for it.
                error.original_error = None
                error.message = "A literal has a value that cannot be read."
        yield


class ChatSchema(strawberry.Schema):
    """A schema that shows errors as clients may see them.

    Args:
        introspection: clients may ask for the schema. (`__typename` they always may.)
        suggestions: errors say what else could have been meant, which gives the schema away, too.
    """

    def __init__(
        self, *args: Any, introspection: bool = True, suggestions: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._introspection = introspection
        self.suggestions = suggestions

    def errors_in(
        self, document: DocumentNode, rules: Sequence[type[ASTValidationRule]]
    ) -> list[GraphQLError]:
        """What is wrong with a document: the first few errors, since each takes its time."""
        rules = [*rules, MaybeNullValidationRule, OneOfInputValidationRule]
        if not self._introspection:
            rules.append(NoSchemaIntrospectionCustomRule)
        errors = validate(
            self._schema,
            document,
            rules,
            max_errors=MAX_ERRORS,
            hide_suggestions=not self.suggestions,
        )
        if not self.suggestions:
            for error in errors:
                error.message = SELECTION_SUGGESTED.sub("", error.message)
        return errors

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
        entry = None if context is None else context.entry
        request = None if entry is None else entry.request
        for error in errors:
            present(error, valid_document=is_valid, request=request)


@cache
def new_schema(*, introspection: bool = True, suggestions: bool = True) -> ChatSchema:
    """The schema of the chat; see `ChatSchema` for what may be switched off."""
    return ChatSchema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        extensions=[ContextDocument],
        execution_context_class=EventExecutor,
        config=StrawberryConfig(scalar_map={datetime: DateTime}),
        introspection=introspection,
        suggestions=suggestions,
    )


schema = new_schema()


def sdl() -> str:
    """The schema in the schema definition language, as `schema.graphql` holds it."""
    return print_schema(schema) + "\n"
