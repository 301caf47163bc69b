"""Whatever may be a name is one, and as much as is allowed is kept."""

import asyncio

import pytest

from graphql_app.errors import MessageClearedError
from graphql_app.interfaces import Slice, Topic
from graphql_app.messages import Status, utf16_length, utf16_tail
from tests.contracts.scene import Alarm, Scene, shown

# Names: any string of up to 128 printable code points

PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
NAMES = {
    "ascii": (PRINTABLE * 2)[:128],
    "separators": (":/%'\"{}[]()\\|&?#@!$*;,.~^`<>=+-_ " * 4)[:128],
    "wide": "日" * 128,
    "of all planes": "aéЖ日😀\U00010348\U00020000\U000e0100" * 16,
    "combining": "e\u0301" * 64,
    "spaces": " ",
    "backslashes": "\\" * 128,
    "quotes": "'\"" * 64,
    "a number": "1e3",
    "nothing": "null",
    "a format": "%s%(x)s{0}{owner}:name$1?",
    "a statement": "'); DROP TABLE message; --",
    "a hash tag": "{a}{b}",
    "a pattern": "*?[a-z]",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
async def test_owners_conversations_and_messages_may_have_any_name(scene: Scene, name: str) -> None:
    assert len(name) <= 128
    assert name.isprintable()
    # Whatever else is in the owner's name, no other test knows it.
    named = Scene(scene.store, f"{name[:90]}{scene.owner[-32:]}", scene.lease)
    reply = name[:-1] + "!" if len(name) == 128 else name + "!"
    topics: list[Topic] = [named.ref(reply), named.conversation(name)]
    alarms = [Alarm(named.store, topic) for topic in topics]
    cursor = await named.cursor(name)
    assert (await named.add(name, name, conversation=name, reply=reply)).created
    assert await named.renew(reply) == set()
    await named.append(reply, 0, name)
    assert (await named.read(reply)).text == name
    assert await named.history(reply) == [(name, name)]
    assert await named.store.newest_reply(named.ref(name)) == named.ref(reply)
    ended = await named.finish(reply)
    assert (ended.id, ended.conversation_id, ended.reply_to_id) == (reply, name, name)
    assert await named.ids(name, before=reply) == [name]
    assert await named.conversations() == [name]
    assert shown(await named.events(cursor, name)) == [
        (name, Status.DONE, name), (reply, Status.STREAMING, ""), (reply, Status.DONE, name),
    ]  # fmt: skip
    if named.store.poll_seconds >= 1:
        for alarm in alarms:
            await alarm.rings_next()
    assert await named.clear(name) == 2
    with pytest.raises(MessageClearedError):
        await named.read(reply)
    with pytest.raises(MessageClearedError):
        await named.add(name, name, conversation=name, reply=reply)


LOOKALIKES = [
    "m1", "M1", "m1 ", " m1", "m01", "1", "1.0", "01", "+1", "1e0", "\uff4d\uff11", "é", "e\u0301",
    "E\u0301", "ß", "ss", "SS", "i", "I", "İ", "ı", "\u212a", "k", "m%", "m_", "m*", "m?",
]  # fmt: skip


async def test_names_that_look_alike_are_different(scene: Scene) -> None:
    for name in LOOKALIKES:
        assert (await scene.add(name, name, reply=f"{name}-reply", conversation=name)).created
        await scene.append(f"{name}-reply", 0, name)
    for name in LOOKALIKES:
        assert (await scene.message(name)).content == name
        assert (await scene.read(f"{name}-reply")).text == name
        assert await scene.ids(name) == [name, f"{name}-reply"]
    assert await scene.conversations() == LOOKALIKES[::-1]
    assert await scene.clear("m1") == 2
    assert await scene.conversations() == LOOKALIKES[:0:-1]


@pytest.mark.parametrize("separator", list(":/|,.;%{} '\"\\-_"))
async def test_names_are_kept_apart_whatever_is_in_them(scene: Scene, separator: str) -> None:
    """An owner's name and an id must not run into each other."""
    begin, end = scene.owner, "z"
    middles = ["a", f"a{separator}a", f"{separator}a"]
    whole = separator.join([*middles, end])
    scenes: list[tuple[Scene, str]] = []
    for cut in range(1, len(whole)):
        if whole[cut] == separator and cut + 1 < len(whole):
            owner = f"{begin}{separator}{whole[:cut]}"
            scenes.append((Scene(scene.store, owner, scene.lease), whole[cut + 1 :]))
    assert len(scenes) >= 3
    for number, (named, id) in enumerate(scenes):
        assert (await named.add(id, str(number), conversation=id)).created
        await named.append(f"r-{id}", 0, str(number))
    for number, (named, id) in enumerate(scenes):
        assert await named.ids(id) == [id, f"r-{id}"]
        assert (await named.message(id)).content == str(number)
        assert (await named.read(f"r-{id}")).text == str(number)
    assert await scenes[0][0].clear(scenes[0][1]) == 2
    for named, id in scenes[1:]:
        assert await named.ids(id) == [id, f"r-{id}"]


# Much


async def test_a_reply_of_the_greatest_length_is_kept_whole(scene: Scene) -> None:
    line = "0123456789 abcdefghijklmnopqrstuvwxyz, 日本語 and 😀\n"
    pieces = [line * 40] * 100
    pieces.append("😀" * ((262_144 - utf16_length("".join(pieces))) // 2))
    whole = "".join(pieces)
    assert utf16_length(whole) == 262_144
    await scene.add("m1")
    cursor = await scene.cursor()
    at_offset = 0
    for piece in pieces[:-1]:
        await scene.append("r-m1", at_offset, piece)
        at_offset += utf16_length(piece)
    assert (await scene.read("r-m1")).end == at_offset
    ended = await scene.finish("r-m1", text=pieces[-1], at_offset=at_offset)
    assert ended.content == whole
    assert (await scene.message("r-m1")).content == whole
    assert shown(await scene.events(cursor)) == [("r-m1", Status.DONE, whole)]
    for after_offset in (0, 1, 50_000, 131_073, 262_143, 262_144):
        offset, text = utf16_tail(whole, after_offset)
        assert await scene.read("r-m1", after_offset) == Slice(
            offset, text, 262_144, Status.DONE, None
        )
    await scene.add("m2")
    assert (await scene.history("r-m2"))[1] == ("r-m1", whole)


async def test_many_replies_grow_at_the_same_time(scene: Scene) -> None:
    ids = [f"m{number}" for number in range(200)]
    await asyncio.gather(*(scene.add(id, conversation=f"c{id[-1]}") for id in ids))
    for round in range(5):
        await asyncio.gather(*(scene.append(f"r-{id}", 6 * round, f"{id:5}\n") for id in ids))
    slices = await asyncio.gather(*(scene.read(f"r-{id}", 3) for id in ids))
    assert [slice.text for slice in slices] == [(f"{id:5}\n" * 5)[3:] for id in ids]
    ended = await asyncio.gather(*(scene.finish(f"r-{id}", text="end", at_offset=30) for id in ids))
    assert [message.content for message in ended] == [f"{id:5}\n" * 5 + "end" for id in ids]
    assert len(await scene.ids("c7")) == 40
