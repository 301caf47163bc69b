"""Long lists: the same as in one go, and others get their turn meanwhile."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from graphql_app.access.caller import Caller
from graphql_app.api import portions
from graphql_app.api.context import Context
from graphql_app.api.portions import PORTION
from graphql_app.api.requests import parse_operation
from graphql_app.api.schema import schema
from graphql_app.chat import ChatService
from graphql_app.completions.echo import echo
from graphql_app.stores.memory import MemoryStore
from tests.api.queries import answer
from tests.contracts.scene import Scene

LISTS = (
    '{ a: messages(conversationId: "c1") { id content replies { id status error { code } } } '
    'messages(conversationId: "c1", last: 51) { __typename id replyToId } conversations { id } }'
)
EVENTS = (
    'subscription { conversationEvents(conversationId: "c1") '
    "{ ... on MessagesReset { messages { id content replies { id } } } } }"
)


@pytest.fixture
async def scene() -> Scene:
    store = MemoryStore()
    scene = Scene(store, "owner", await store.register(60))
    for number in range(2 * PORTION):
        await scene.add(f"m{number}", f"number {number}")
    return scene


async def first_event(scene: Scene) -> Any:
    document, _ = parse_operation(EVENTS, None)
    chat = ChatService(scene.store, echo(0))
    context = Context(chat, Caller(scene.owner), document, takes_feed=True)
    async with aclosing(await schema.stream(EVENTS, context_value=context)) as results:
        result = await anext(results)
    assert result.errors is None
    return result.data


async def test_a_list_in_portions_is_the_same_as_in_one_go(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_portions = await answer(scene.store, scene.owner, LISTS), await first_event(scene)
    assert len(in_portions[0]["a"]) == 4 * PORTION
    monkeypatch.setattr(portions, "PORTION", 1_000)
    assert in_portions == (await answer(scene.store, scene.owner, LISTS), await first_event(scene))


async def test_others_get_their_turn_while_a_long_list_is_answered(scene: Scene) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(others())
    await asyncio.sleep(0)
    for query in ('{ messages(conversationId: "c1") { id } }', LISTS):
        turns = 0
        await answer(scene.store, scene.owner, query)
        assert turns >= 3
    turns = 0
    await first_event(scene)
    assert turns >= 3
    task.cancel()
