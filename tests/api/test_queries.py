"""Queries: what is stored, as the schema shows it."""

from typing import Any

import pytest

from graphql_app.api.types import MessageErrorCode
from graphql_app.messages import ReplyError, ReplyErrorCode, Status, Usage
from graphql_app.stores.memory import MemoryStore
from tests.api.queries import answer
from tests.contracts.scene import Scene

USAGE = "usage { model inputTokens outputTokens timeToFirstToken duration }"


@pytest.fixture
async def scene() -> Scene:
    store = MemoryStore()
    return Scene(store, "owner", await store.register(60))


async def usages(scene: Scene) -> list[dict[str, Any] | None]:
    """The usage of each message, as the API shows it."""
    data = await answer(
        scene.store, scene.owner, f'{{ messages(conversationId: "c1") {{ {USAGE} }} }}'
    )
    return [message["usage"] for message in data["messages"]]


async def test_a_reply_that_ended_has_what_it_took_and_its_question_has_nothing(
    scene: Scene,
) -> None:
    await scene.add("m1")
    assert await usages(scene) == [None, None]
    await scene.finish("r-m1", usage=Usage("model-1", 12, 2**31 - 1, 0.25, 1.5))
    assert await usages(scene) == [
        None,
        {
            "model": "model-1",
            "inputTokens": 12,
            "outputTokens": 2**31 - 1,
            "timeToFirstToken": 0.25,
            "duration": 1.5,
        },
    ]


async def test_what_nobody_knows_of_a_usage_is_null(scene: Scene) -> None:
    await scene.add("m1")
    await scene.stop("r-m1")
    assert await usages(scene) == [None, None]
    await scene.learn("r-m1", Usage(duration=2.0))
    _, usage = await usages(scene)
    assert usage == {
        "model": None,
        "inputTokens": None,
        "outputTokens": None,
        "timeToFirstToken": None,
        "duration": 2.0,
    }


async def test_conversations_have_titles(scene: Scene) -> None:
    await scene.add("m1", "  How\nmany? ")
    data = await answer(scene.store, scene.owner, "{ conversations { id title } }")
    assert data == {"conversations": [{"id": "c1", "title": "How many?"}]}


@pytest.mark.parametrize("code", ReplyErrorCode)
async def test_every_code_by_which_a_reply_can_end_is_shown(
    scene: Scene, code: ReplyErrorCode
) -> None:
    await scene.add("m1")
    await scene.finish("r-m1", Status.ERROR, error=ReplyError(code, "No."))
    data = await answer(
        scene.store, scene.owner, '{ message(id: "r-m1") { error { code message } } }'
    )
    assert data == {"message": {"error": {"code": code.value, "message": "No."}}}


def test_no_other_code_is_in_the_schema() -> None:
    assert set(MessageErrorCode.__members__) == set(ReplyErrorCode)
