"""Queries without a transport."""

from typing import Any

from graphql_app.access.caller import Caller
from graphql_app.api.context import Context
from graphql_app.api.requests import parse_operation
from graphql_app.api.schema import schema
from graphql_app.chat import ChatService
from graphql_app.completions.echo import echo
from graphql_app.interfaces import Store


async def answer(store: Store, owner: str, query: str) -> dict[str, Any]:
    """What an owner is answered, from what is in a store."""
    document, _ = parse_operation(query, None)
    context = Context(ChatService(store, echo(0)), Caller(owner), document)
    result: Any = await schema.execute(query, context_value=context)
    assert result.errors is None
    data: dict[str, Any] = result.data
    return data
