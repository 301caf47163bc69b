"""The memory store, beyond the contract: its clock, its parts of events, and what it forgets."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from graphql_app.errors import FencedError, MessageClearedError, MessageNotFoundError
from graphql_app.interfaces import Lease, Topic
from graphql_app.messages import MessagesReset, utf16_length, utf16_tail
from graphql_app.stores.memory import MemoryStore
from tests.contracts.scene import Scene, reset_of
from tests.faults import FaultyStore


class Clock:
    """A time that stands still until a test moves it."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, 12, 0, 0, 123_987, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def move(self, **by: float) -> None:
        self.time += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def scene(clock: Clock) -> Scene:
    store = MemoryStore(clock)
    return Scene(store, "owner", await store.register(10))


async def times(scene: Scene) -> list[str]:
    """The seconds of the messages' times."""
    messages = await scene.store.messages(scene.conversation(), 10, None)
    return [message.created_at.strftime("%S.%f") for message in messages]


async def test_times_grow_by_a_millisecond_while_the_clock_stands_still(scene: Scene) -> None:
    await scene.add("m1")
    await scene.add("m2")
    assert await times(scene) == ["00.123000", "00.124000", "00.125000", "00.126000"]


async def test_times_grow_by_a_millisecond_while_the_clock_has_gone_back(
    scene: Scene, clock: Clock
) -> None:
    await scene.add("m1")
    clock.move(hours=-1)
    await scene.add("m2")
    assert await times(scene) == ["00.123000", "00.124000", "00.125000", "00.126000"]


async def test_times_follow_the_clock_when_it_is_ahead(scene: Scene, clock: Clock) -> None:
    await scene.add("m1")
    clock.move(seconds=5)
    await scene.add("m2")
    assert await times(scene) == ["00.123000", "00.124000", "05.123000", "05.124000"]


async def test_times_go_on_after_a_clear(scene: Scene) -> None:
    await scene.add("m1")
    await scene.clear()
    await scene.add("m2")
    assert await times(scene) == ["00.125000", "00.126000"]


async def test_a_conversation_is_last_used_when_its_last_message_was_added_or_ended(
    scene: Scene, clock: Clock
) -> None:
    async def updated() -> str:
        [conversation] = await scene.store.conversations(scene.owner, 10)
        return conversation.updated_at.strftime("%S.%f")

    await scene.add("m1")
    assert await updated() == "00.124000"
    clock.move(seconds=5)
    await scene.append("r-m1", 0, "One")
    assert await updated() == "00.124000"
    await scene.finish("r-m1")
    assert await updated() == "05.123000"
    clock.move(seconds=-3)
    await scene.add("m2")
    assert await updated() == "05.123000"


async def test_conversations_are_in_order_even_when_the_clock_has_gone_back(
    scene: Scene, clock: Clock
) -> None:
    await scene.add("m1", conversation="c1")
    clock.move(hours=-1)
    await scene.add("m2", conversation="c2")
    assert await scene.conversations() == ["c2", "c1"]


@pytest.mark.parametrize("id", ["m1", "r-m1"])
async def test_an_id_stays_used_for_a_day_after_it_was_cleared(
    scene: Scene, clock: Clock, id: str
) -> None:
    await scene.add("m1")
    await scene.clear()
    clock.move(hours=24)
    await scene.add("m2", conversation="c2")
    await scene.clear("c2")
    with pytest.raises(MessageClearedError):
        await scene.add(id, reply="other")
    with pytest.raises(MessageClearedError):
        await scene.read("r-m1")


async def test_an_id_is_forgotten_by_the_first_clear_after_a_day(
    scene: Scene, clock: Clock
) -> None:
    await scene.add("m1")
    await scene.clear()
    clock.move(hours=24, milliseconds=1)
    await scene.add("m2", conversation="c2")
    await scene.clear("c2")
    with pytest.raises(MessageNotFoundError):
        await scene.read("r-m1")
    with pytest.raises(MessageClearedError):
        await scene.read("r-m2")
    assert (await scene.add("m1")).created


async def test_a_conversation_in_use_outlives_its_ids_that_are_forgotten(
    scene: Scene, clock: Clock
) -> None:
    await scene.add("m1")
    await scene.clear()
    await scene.add("m2")
    clock.move(hours=25)
    await scene.add("m3", conversation="c2")
    await scene.clear("c2")
    assert await scene.ids() == ["m2", "r-m2"]
    await scene.append("r-m2", 0, "One")
    assert (await scene.finish("r-m2")).content == "One"


async def test_a_window_that_missed_the_second_clear_is_told_when_the_first_is_forgotten(
    scene: Scene, clock: Clock
) -> None:
    await scene.add("m1")
    await scene.clear()
    await scene.add("m2")
    cursor = await scene.cursor()
    clock.move(hours=23)
    await scene.clear()
    clock.move(hours=2)
    await scene.add("m3", conversation="c2")
    await scene.clear("c2")
    assert reset_of(await scene.events(cursor)).messages == ()


async def test_events_come_in_parts_of_a_hundred(scene: Scene) -> None:
    cursor = await scene.cursor()
    for number in range(100):
        await scene.add(f"m{number}")
    first = await scene.events(cursor)
    second = await scene.events(first.cursor)
    assert (len(first.events), first.more) == (100, True)
    assert (len(second.events), second.more) == (100, False)


async def test_a_reset_comes_whole_even_if_many_events_came_before_it(scene: Scene) -> None:
    for number in range(100):
        await scene.add(f"m{number}")
    events = await scene.events()
    assert isinstance(events.events[0], MessagesReset)
    assert (len(events.events), events.more) == (1, False)


async def test_nothing_is_left_of_watchers_that_are_gone() -> None:
    store = FaultyStore()
    scene = Scene(store, "owner", await store.register(10))
    topics: list[Topic] = [scene.ref("r1"), scene.ref("r1"), scene.conversation(), scene.lease]
    gone: list[Callable[[], None]] = [store.watch(topic, lambda: None) for topic in topics]
    assert store.watchers == 4
    for unwatch in gone:
        unwatch()
    assert store.watchers == 0
    assert not store._watchers


async def test_of_what_was_cleared_only_the_ids_are_kept() -> None:
    store = FaultyStore()
    scene = Scene(store, "owner", await store.register(10))
    await scene.add("m1", "Secret")
    await scene.append("r-m1", 0, "Secret")
    await scene.clear()
    [thread] = store._threads.values()
    assert not store._rows
    assert not thread.rows
    assert not thread.log


@pytest.mark.parametrize("offset", range(12))
async def test_a_reply_in_pieces_is_read_from_anywhere_as_if_it_were_one(
    scene: Scene, offset: int
) -> None:
    await scene.add("m1")
    text = ""
    for piece in ("one", "\u65e5", "\U0001f600!", "a\U0001f600b"):
        await scene.append("r-m1", utf16_length(text), piece)
        text += piece
        read = (await scene.read("r-m1", offset))[:3]
        assert read == (*utf16_tail(text, offset), utf16_length(text))


async def test_a_lease_is_who_holds_it_and_since_when(scene: Scene) -> None:
    await scene.add("m1")
    same = Lease(scene.lease.id, scene.lease.epoch)
    await scene.store.append(scene.ref("r-m1"), same, 0, "One")
    assert (await scene.read("r-m1")).text == "One"
    with pytest.raises(FencedError):
        await scene.store.append(scene.ref("r-m1"), Lease(same.id, same.epoch + 1), 3, " two")


async def test_text_of_a_reply_that_has_ended_is_kept_in_one_piece() -> None:
    store = FaultyStore()
    scene = Scene(store, "owner", await store.register(10))
    await scene.add("m1")
    for at_offset in range(100):
        await scene.append("r-m1", at_offset, "x")
    await scene.finish("r-m1")
    assert store._rows[scene.ref("r-m1")].text._pieces == ["x" * 100]
    assert (await scene.read("r-m1", 40)).text == "x" * 60


async def test_a_sweep_finds_nothing_because_leases_never_run_out(
    scene: Scene, clock: Clock
) -> None:
    await scene.add("m1")
    clock.move(days=365)
    assert await scene.store.sweep() == 0
    assert await scene.renew("r-m1") == set()


def test_the_store_is_not_shared() -> None:
    assert MemoryStore.shared is False


# Replies that are kept for a time


@pytest.fixture
async def expiring(clock: Clock) -> Scene:
    """A store that keeps replies for an hour."""
    store = MemoryStore(clock, keep=timedelta(hours=1))
    return Scene(store, "owner", await store.register(10))


def store_of(scene: Scene) -> MemoryStore:
    assert isinstance(scene.store, MemoryStore)
    return scene.store


async def test_a_reply_is_gone_at_the_first_sweep_after_its_time(
    expiring: Scene, clock: Clock
) -> None:
    await expiring.add("m1")
    clock.move(minutes=30)
    await expiring.finish("r-m1")
    clock.move(minutes=59, seconds=59)
    assert await expiring.store.sweep() == 0
    assert await expiring.ids() == ["m1", "r-m1"]
    clock.move(seconds=1)
    assert await expiring.ids() == ["m1", "r-m1"]
    assert await expiring.store.sweep() == 0
    assert await expiring.ids() == []


async def test_replies_expire_in_the_order_in_which_they_ended(
    expiring: Scene, clock: Clock
) -> None:
    for id in ("m1", "m2", "m3"):
        await expiring.add(id)
    for reply in ("r-m3", "r-m1", "r-m2"):
        await expiring.finish(reply)
        clock.move(minutes=1)
    clock.move(minutes=57)
    for left in (["m1", "r-m1", "m2", "r-m2"], ["m2", "r-m2"], []):
        await expiring.store.sweep()
        assert await expiring.ids() == left
        clock.move(minutes=1)


async def test_a_reply_that_was_cleared_does_not_expire_again(
    expiring: Scene, clock: Clock
) -> None:
    await expiring.add("m1")
    await expiring.finish("r-m1")
    await expiring.clear()
    await expiring.add("m2")
    cursor = await expiring.cursor()
    clock.move(hours=2)
    await expiring.store.sweep()
    assert (await expiring.events(cursor)).events == ()


async def test_an_id_that_is_used_again_has_the_time_of_its_new_reply(clock: Clock) -> None:
    store = MemoryStore(clock, keep=timedelta(hours=48))
    scene = Scene(store, "owner", await store.register(10))
    await scene.add("m1")
    await scene.finish("r-m1")
    await scene.clear()
    clock.move(hours=25)
    await store.sweep()
    await scene.add("m1")
    clock.move(hours=24)
    await store.sweep()
    assert await scene.ids() == ["m1", "r-m1"]
    await scene.finish("r-m1")
    clock.move(hours=48)
    await store.sweep()
    assert await scene.ids() == []


async def test_the_id_of_a_reply_that_expired_stays_used_for_a_day(
    expiring: Scene, clock: Clock
) -> None:
    await expiring.add("m1")
    await expiring.finish("r-m1")
    clock.move(hours=1)
    await expiring.store.sweep()
    clock.move(hours=24)
    await expiring.store.sweep()
    with pytest.raises(MessageClearedError):
        await expiring.add("m1", reply="other")
    clock.move(milliseconds=1)
    await expiring.store.sweep()
    assert (await expiring.add("m1")).created


async def test_a_chat_that_goes_on_for_days_keeps_only_what_is_young(
    expiring: Scene, clock: Clock
) -> None:
    for number in range(100):
        await expiring.add(f"m{number}", conversation=f"c{number}")
        await expiring.finish(f"r-m{number}")
        clock.move(hours=1)
        await expiring.store.sweep()
    store = store_of(expiring)
    assert len(store._rows) == len(store._expiring) == 0
    assert len(store._cleared) <= 50
    assert len(store._threads) <= 25


async def test_of_what_was_cleared_no_text_waits_for_its_time(
    expiring: Scene, clock: Clock
) -> None:
    await expiring.add("m1")
    await expiring.finish("r-m1", text="Secret", at_offset=0)
    await expiring.clear()
    assert "Secret" not in repr(store_of(expiring)._expiring)
