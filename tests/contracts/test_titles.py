"""The title of a conversation: how its first message begins."""

import pytest

from graphql_app.messages import Status
from graphql_app.stores.rules import TITLE_FROM
from tests.contracts.scene import Scene


async def title(scene: Scene, content: str) -> str:
    """The title of a conversation that begins with a message."""
    await scene.add("m1", content)
    [conversation] = await scene.store.conversations(scene.owner, 10)
    return conversation.title


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("Hello", "Hello"),
        ("  Two \n\n words\t ", "Two words"),
        ("ideographic\u3000and\u2028others", "ideographic and others"),
        ("x" * 80, "x" * 80),
        ("x" * 81, "x" * 79 + "…"),
        ("x" * 78 + " yz", "x" * 78 + "…"),
        ("x" * 80 + "   ", "x" * 80),
        ("日😀" * 40, "日😀" * 40),
        ("😀" * 81, "😀" * 79 + "…"),
        ("a" + " " * TITLE_FROM + "b", "a…"),
        ("a" + "😀" * TITLE_FROM, "a" + "😀" * 78 + "…"),
        ("x " + " " * (TITLE_FROM - 3) + "😀y", "x…"),
        ("x " + " " * (TITLE_FROM - 3) + "y", "x y"),
        ("x " + " " * (TITLE_FROM - 4) + "😀", "x 😀"),
        (" " * (TITLE_FROM - 1) + "😀" * 2, "…"),
    ],
    ids=range(15),
)
async def test_a_conversation_is_called_as_its_first_message_begins(
    scene: Scene, content: str, expected: str
) -> None:
    assert await title(scene, content) == expected


async def test_what_follows_the_first_message_does_not_change_the_title(scene: Scene) -> None:
    await scene.answered("m1", "another")
    await scene.add("m2", "Something else")
    [conversation] = await scene.store.conversations(scene.owner, 10)
    assert conversation.title == "Hello"


async def test_each_conversation_has_its_own_title(scene: Scene, stranger: Scene) -> None:
    await stranger.add("m1", "A stranger's")
    for number in range(3):
        await scene.add(f"m{number}", f"The {number}. title", conversation=f"c{number}")
    await scene.store.finish(scene.ref("r-m0"), Status.STOPPED)
    found = await scene.store.conversations(scene.owner, 10)
    assert [(each.id, each.title) for each in found] == [
        ("c0", "The 0. title"),
        ("c2", "The 2. title"),
        ("c1", "The 1. title"),
    ]


async def test_a_conversation_that_was_cleared_is_called_as_it_begins_anew(scene: Scene) -> None:
    await scene.add("m1", "Before")
    await scene.clear()
    await scene.add("m2", "After")
    [conversation] = await scene.store.conversations(scene.owner, 10)
    assert conversation.title == "After"


async def test_other_processes_see_the_same_titles(scene: Scene, elsewhere: Scene) -> None:
    assert await title(scene, "日😀 " * 100) == ("日😀 " * 26) + "日…"
    here = await scene.store.conversations(scene.owner, 10)
    assert await elsewhere.store.conversations(scene.owner, 10) == here
