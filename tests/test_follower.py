"""Following one reply, without a producer: the test writes the log."""

import asyncio
import gc
import random
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphql_app import follower as follower_module
from graphql_app.errors import MessageClearedError, MessageNotFoundError
from graphql_app.follower import FEW, Audiences, Following
from graphql_app.interfaces import Draft, Slice, Topic
from graphql_app.messages import (
    Chunk,
    ConversationRef,
    Ref,
    ReplyError,
    ReplyErrorCode,
    Status,
    utf16_length,
)
from graphql_app.wakeup import Wakeup
from tests.chats import Client, settled
from tests.faults import FaultyStore, ImmediateStore, leaking_nothing
from tests.objects import alive
from tests.wire import eventually

T = TypeVar("T")

REPLY = Ref("owner", "reply")
FAILED = ReplyError(ReplyErrorCode.COMPLETION_FAILED, "It broke off.")


class Log:
    """A reply in the store, written by the test."""

    def __init__(self, store: FaultyStore) -> None:
        self.store = store
        self.end = 0

    async def open(self) -> "Log":
        self._lease = await self.store.register(10)
        await self.store.add(
            Draft(Ref("owner", "question"), ConversationRef("owner", "c1"), "Why?", REPLY, 0),
            self._lease,
        )
        return self

    async def append(self, text: str) -> None:
        await self.store.append(REPLY, self._lease, self.end, text)
        self.end += utf16_length(text)

    async def finish(
        self, status: Status = Status.DONE, text: str = "", error: ReplyError | None = None
    ) -> None:
        await self.store.finish(
            REPLY, status, lease=self._lease, at_offset=self.end, text=text, error=error
        )

    async def clear(self) -> None:
        await self.store.clear(ConversationRef("owner", "c1"))


@pytest.fixture
async def log(store: FaultyStore) -> Log:
    return await Log(store).open()


def reader(store: FaultyStore, offset: int = 0, content: str = "", **options: Any) -> Client:
    return Client(Audiences(store).follow(REPLY, offset, **options), content)


def chunk(
    offset: int, text: str, status: Status = Status.STREAMING, error: ReplyError | None = None
) -> Chunk:
    return Chunk("reply", offset, text, status, error)


# The first chunk


async def test_the_first_chunk_of_a_new_reply_comes_at_once_and_is_empty(
    store: FaultyStore, log: Log
) -> None:
    client = reader(store, is_new=True)
    assert await client.next() == chunk(0, "")
    await client.leave()


async def test_the_first_chunk_of_a_new_reply_is_empty_even_if_the_reply_has_ended(
    store: FaultyStore, log: Log
) -> None:
    await log.finish(text="One")
    client = reader(store, is_new=True)
    await client.until_end()
    assert client.chunks == [chunk(0, ""), chunk(0, "One", Status.DONE)]


async def test_a_new_reply_that_said_nothing_has_two_chunks(store: FaultyStore, log: Log) -> None:
    await log.finish()
    client = reader(store, is_new=True)
    await client.until_end()
    assert client.chunks == [chunk(0, ""), chunk(0, "", Status.DONE)]


async def test_the_first_chunk_of_a_reply_without_text_comes_at_once_and_is_empty(
    store: FaultyStore, log: Log
) -> None:
    client = reader(store)
    assert await client.next() == chunk(0, "")
    await client.leave()


async def test_the_first_chunk_has_all_that_is_there(store: FaultyStore, log: Log) -> None:
    await log.append("One")
    await log.append(" two")
    client = reader(store)
    assert await client.next() == chunk(0, "One two")
    await client.leave()


async def test_the_first_chunk_has_nothing_for_a_reader_that_has_all(
    store: FaultyStore, log: Log
) -> None:
    await log.append("One")
    client = reader(store, 3, "One")
    assert await client.next() == chunk(3, "")
    await client.leave()


async def test_one_chunk_may_be_first_and_last(store: FaultyStore, log: Log) -> None:
    await log.finish(text="One")
    client = reader(store)
    await client.until_end()
    assert client.chunks == [chunk(0, "One", Status.DONE)]


# The next chunks


async def test_each_chunk_has_all_that_is_new(store: FaultyStore, log: Log) -> None:
    client = reader(store, is_new=True)
    await client.next()
    await log.append("One")
    assert await client.next() == chunk(0, "One")
    await log.append(" two")
    await log.append(" three")
    assert await client.next() == chunk(3, " two three")
    await log.finish(text=" four")
    await client.until_end()
    assert client.chunks[-1] == chunk(13, " four", Status.DONE)


@pytest.mark.parametrize(
    ("status", "error"), [(Status.DONE, None), (Status.STOPPED, None), (Status.ERROR, FAILED)]
)
async def test_the_last_chunk_says_how_the_reply_ended(
    store: FaultyStore, log: Log, status: Status, error: ReplyError | None
) -> None:
    await log.append("One")
    client = reader(store)
    await client.next()
    await log.finish(status, error=error)
    await client.until_end()
    assert client.chunks[1:] == [chunk(3, "", status, error)]


@pytest.mark.parametrize(
    ("offset", "begins", "text"),
    [
        (0, 0, "a😀b"),
        (1, 1, "😀b"),
        (2, 1, "😀b"),
        (3, 3, "b"),
        (4, 4, ""),
        (5, 4, ""),
        (99, 4, ""),
    ],
)
async def test_a_reader_may_begin_anywhere(
    store: FaultyStore, log: Log, offset: int, begins: int, text: str
) -> None:
    await log.append("a😀")
    await log.append("b")
    client = reader(store, offset, "a😀b")
    assert await client.next() == chunk(begins, text)
    await log.append("!")
    assert await client.next() == chunk(4, "!")
    await client.leave()


@given(
    pieces=st.lists(st.text(st.sampled_from("ab日😀\u0301"), min_size=1, max_size=4), max_size=8),
    begin=st.integers(0, 7),
    reads=st.sets(st.integers(0, 7)),
)
async def test_whoever_begins_and_reads_whenever_he_likes_gets_the_exact_text(
    pieces: list[str], begin: int, reads: set[int]
) -> None:
    store = FaultyStore()
    log = await Log(store).open()
    client = reader(store)
    for index, piece in enumerate(pieces):
        await log.append(piece)
        if index >= begin and index in reads:
            await client.next()
            assert client.content == "".join(pieces[: index + 1])
    await log.finish()
    await client.until_end()
    assert client.content == "".join(pieces)


# Waiting


async def test_a_false_alarm_gives_no_chunk(store: FaultyStore, log: Log) -> None:
    client = reader(store)
    await client.next()
    following = asyncio.create_task(client.next())
    await settled()
    for _ in range(3):
        store.waking_everybody()
        await settled()
    assert store.calls["read"] == 4
    assert not following.done()
    await log.append("One")
    assert await following == chunk(0, "One")
    await client.leave()


async def test_a_reader_that_waits_does_not_read(store: FaultyStore, log: Log) -> None:
    client = reader(store)
    await client.next()
    following = asyncio.create_task(client.next())
    await settled()
    reads = store.calls["read"]
    await settled()
    assert store.calls["read"] == reads
    await log.finish()
    await following


async def test_a_store_that_wakes_nobody_is_looked_at_all_the_same(
    store: FaultyStore, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def watch(topic: Topic, wake: Callable[[], None]) -> Callable[[], None]:
        return lambda: None

    monkeypatch.setattr(store, "watch", watch)
    monkeypatch.setattr(store, "poll_seconds", 0.01)
    client = reader(store)
    await client.next()
    await log.append("One")
    assert await client.next() == chunk(0, "One")
    await log.finish()
    assert (await client.until_end()).status is Status.DONE


async def test_news_that_come_while_a_reader_reads_are_not_missed(
    store: FaultyStore, log: Log
) -> None:
    client = reader(store)
    await client.next()
    gate = store.holding_answers_of("read")
    store.waking_everybody()
    following = asyncio.create_task(client.next())
    await gate.reached()
    await log.append("One")
    gate.open()
    assert await following == chunk(0, "One")
    await client.leave()


async def test_a_reader_waits_in_silence_while_the_store_cannot_be_reached(
    store: FaultyStore, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "poll_seconds", 0.01)
    await log.append("One")
    client = reader(store)
    await client.next()
    store.failing_on("read", times=5)
    await log.append(" two")
    assert await client.next() == chunk(3, " two")
    store.failing_on("read", times=5)
    await log.finish()
    assert await client.until_end() == chunk(7, "", Status.DONE)
    assert store.calls["read"] >= 12


async def test_a_reader_of_a_new_reply_waits_for_the_store_from_the_start(
    store: FaultyStore, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "poll_seconds", 0.01)
    store.failing_on("read", times=3)
    await log.finish(text="One")
    client = reader(store, is_new=True)
    await client.until_end()
    assert client.chunks == [chunk(0, ""), chunk(0, "One", Status.DONE)]


# Ends


async def test_a_clear_ends_who_follows(store: FaultyStore, log: Log) -> None:
    await log.append("One")
    client = reader(store)
    await client.next()
    following = asyncio.create_task(client.next())
    await settled()
    await log.clear()
    with pytest.raises(MessageClearedError, match="reply"):
        await following
    assert store.watchers == 0


async def test_what_is_not_there_cannot_be_followed(store: FaultyStore) -> None:
    with pytest.raises(MessageNotFoundError, match="reply"):
        await reader(store).next()
    assert store.watchers == 0


async def test_a_defect_of_the_store_ends_who_follows(store: FaultyStore, log: Log) -> None:
    store.broken_on("read", times=1)
    with pytest.raises(RuntimeError, match="broken"):
        await reader(store).next()
    assert store.watchers == 0


@pytest.mark.parametrize("chunks", [0, 1, 2])
async def test_a_reader_may_leave_between_any_two_chunks(
    store: FaultyStore, log: Log, chunks: int
) -> None:
    with leaking_nothing():
        client = reader(store, is_new=True)
        for number in range(chunks):
            await client.next()
            await log.append(f"{number}")
        await client.leave()
    assert store.watchers == 0


async def test_a_reader_may_be_cancelled_while_it_waits(store: FaultyStore, log: Log) -> None:
    with leaking_nothing():
        client = reader(store)
        await client.next()
        following = asyncio.create_task(client.next())
        await settled()
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following
    assert store.watchers == 0


async def test_a_reader_that_ended_no_longer_watches(store: FaultyStore, log: Log) -> None:
    client = reader(store)
    await client.next()
    assert store.watchers == 1
    await log.finish()
    await client.until_end()
    assert store.watchers == 0


async def test_a_reader_that_left_leaves_no_alarm(store: FaultyStore, log: Log) -> None:
    gc.collect()
    before = alive(Wakeup)
    clients = [reader(store) for _ in range(3)]
    for client in clients:
        await client.next()
        following = asyncio.create_task(client.next())
        await settled()
        await log.append("One")  # So that its time has not come, and its timer is still there.
        await following
    for client in clients:
        await client.leave()
    del client, clients
    gc.collect()
    assert alive(Wakeup) == before


@pytest.mark.parametrize("kind", [FaultyStore, ImmediateStore], ids=["waiting", "immediate"])
@pytest.mark.parametrize("is_known", [False, True], ids=["read", "read before"])
async def test_readers_that_wait_keep_nothing_of_what_they_were_given(
    kind: type[FaultyStore], is_known: bool
) -> None:
    size, count = 100_000, 8
    store = kind()
    log = await Log(store).open()
    await log.append("x" * size)
    audiences = Audiences(store)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        waiting = []
        for offset in range(1, count + 1):  # Each one is given a text of its own.
            known = await store.read(REPLY, offset) if is_known else None
            following = audiences.follow(REPLY, offset, known=known)
            del known
            assert len((await anext(following)).text) == size - offset
            waiting.append(asyncio.ensure_future(anext(following)))
        await settled()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    await log.finish()
    assert [(await each).status for each in waiting] == [Status.DONE] * count
    assert after - before < count * size / 2


async def test_a_reader_that_left_does_not_disturb_the_others(store: FaultyStore, log: Log) -> None:
    leaver, stayer = reader(store), reader(store)
    await leaver.next()
    await stayer.next()
    await leaver.leave()
    await log.append("One")
    assert await stayer.next() == chunk(0, "One")
    await stayer.leave()


# Pushing: a reader with a sink, in a store that does not wait.


class Viewer:
    """Follows as a socket does: what is pushed and what is read are one stream.

    `takes` says whether the sink takes the next chunk; it may also raise.
    """

    def __init__(
        self,
        audiences: Audiences,
        offset: int = 0,
        content: str = "",
        takes: Callable[[], bool] = lambda: True,
        **options: Any,
    ) -> None:
        self.following: Following = audiences.follow(REPLY, offset, **options)
        self.client = Client(self.following, content)
        self.takes = takes
        self.pushed: list[Chunk] = []
        self.error: Exception | None = None
        self.wrong: AssertionError | None = None
        self.following.push_to(self._sink)
        self.task = asyncio.create_task(self._run())

    @property
    def content(self) -> str:
        return self.client.content

    def _sink(self, chunk: Chunk) -> bool:
        if not self.takes():
            return False
        try:
            assert not self.task.done(), "nothing is pushed to who has left"
            self.client.apply(chunk)
        except AssertionError as error:
            self.wrong = error  # A sink may raise; nobody would hear of it.
            raise
        self.pushed.append(chunk)
        return True

    async def _run(self) -> None:
        try:
            async for chunk in self.following:
                self.client.apply(chunk)
        except (MessageClearedError, MessageNotFoundError) as error:
            self.error = error

    async def ended(self) -> None:
        await asyncio.wait_for(asyncio.shield(self.task), 10)
        assert self.wrong is None

    async def leave(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task
        await self.following.aclose()
        assert self.wrong is None


@pytest.fixture
def immediate() -> ImmediateStore:
    return ImmediateStore()


@pytest.fixture
async def audiences(immediate: ImmediateStore) -> AsyncIterator[Audiences]:
    """The audiences of a store that does not wait; all must have gone at the end."""
    audiences = Audiences(immediate)
    with leaking_nothing():
        yield audiences
    assert not audiences._audiences
    assert immediate.watchers == 0


@pytest.fixture
async def written(immediate: ImmediateStore) -> Log:
    return await Log(immediate).open()


async def test_what_is_new_is_pushed_from_where_it_is_written(
    audiences: Audiences, written: Log
) -> None:
    viewer = Viewer(audiences, is_new=True)
    await settled()
    await written.append("One")
    assert viewer.pushed == [chunk(0, "One")]
    await written.append(" two")
    assert viewer.pushed == [chunk(0, "One"), chunk(3, " two")]
    await written.finish(text=" three")
    await viewer.ended()
    assert viewer.client.chunks == [
        chunk(0, ""),
        chunk(0, "One"),
        chunk(3, " two"),
        chunk(7, " three", Status.DONE),
    ]


async def test_nothing_is_pushed_before_the_first_chunk_was_taken(
    audiences: Audiences, written: Log
) -> None:
    pushed: list[Chunk] = []
    following = audiences.follow(REPLY, 0)

    def take(new: Chunk) -> bool:
        pushed.append(new)
        return True

    following.push_to(take)
    await written.append("One")
    assert await anext(following) == chunk(0, "One")
    await written.append(" two")
    assert pushed == []
    assert await anext(following) == chunk(3, " two")
    await following.aclose()


async def test_a_store_that_may_wait_pushes_nothing(store: FaultyStore, log: Log) -> None:
    viewer = Viewer(Audiences(store))
    await settled()
    await log.append("One")
    await log.finish()
    await viewer.ended()
    assert viewer.pushed == []
    assert viewer.content == "One"


async def test_a_sink_that_takes_nothing_changes_nothing(
    audiences: Audiences, written: Log
) -> None:
    viewer = Viewer(audiences, takes=lambda: False)
    for word in ("One", " two", " three"):
        await settled()
        await written.append(word)
    await written.finish()
    await viewer.ended()
    assert viewer.pushed == []
    assert viewer.content == "One two three"


async def test_what_a_sink_did_not_take_comes_later_in_one_piece(
    audiences: Audiences, written: Log
) -> None:
    full = True
    viewer = Viewer(audiences, is_new=True, takes=lambda: not full)
    await settled()
    await written.append("One")
    await written.append(" two")
    full = False
    await written.append(" three")
    assert viewer.pushed == [chunk(0, "One two three")]
    await settled()
    assert viewer.client.chunks == [chunk(0, ""), chunk(0, "One two three")]
    await viewer.leave()


async def test_a_sink_that_raises_harms_neither_the_writer_nor_its_reader_nor_others(
    audiences: Audiences, written: Log
) -> None:
    def fail() -> bool:
        raise RuntimeError("no sink")

    failing, other = Viewer(audiences, takes=fail), Viewer(audiences)
    await settled()
    await written.append("One")
    await settled()
    assert (failing.content, other.content) == ("One", "One")
    await written.finish()
    await failing.ended()
    await other.ended()


async def test_a_false_alarm_pushes_nothing(
    audiences: Audiences, written: Log, immediate: ImmediateStore
) -> None:
    viewer = Viewer(audiences)
    await settled()
    await written.append("One")
    for _ in range(3):
        immediate.waking_everybody()
        await settled()
    assert viewer.pushed == [chunk(0, "One")]
    assert viewer.client.chunks == [chunk(0, ""), chunk(0, "One")]
    await viewer.leave()


async def test_nothing_is_pushed_past_a_chunk_that_its_reader_has_in_hand(
    audiences: Audiences, written: Log
) -> None:
    pushed: list[Chunk] = []
    full = True

    def take(new: Chunk) -> bool:
        if not full:
            pushed.append(new)
        return not full

    following = audiences.follow(REPLY, 0)
    following.push_to(take)
    assert await anext(following) == chunk(0, "")
    for offset, word in ((0, "One "), (4, "two ")):
        coming = asyncio.ensure_future(anext(following))
        await settled()
        await written.append(word)
        assert await coming == chunk(offset, word)
    full = False  # As a socket that has room again, while the last chunk is still being sent.
    await written.append("three")
    assert pushed == []
    assert await anext(following) == chunk(8, "three")
    await following.aclose()


async def test_a_clear_ends_who_is_pushed_to(audiences: Audiences, written: Log) -> None:
    viewer = Viewer(audiences)
    await settled()
    await written.append("One")
    await written.clear()
    await viewer.ended()
    assert isinstance(viewer.error, MessageClearedError)
    assert viewer.pushed == [chunk(0, "One")]


async def test_nothing_is_pushed_to_a_reader_that_has_left(
    audiences: Audiences, written: Log
) -> None:
    viewer, stayer = Viewer(audiences), Viewer(audiences)
    await settled()
    await viewer.leave()
    await written.append("One")
    assert viewer.pushed == []
    assert stayer.pushed == [chunk(0, "One")]
    await stayer.leave()


async def test_a_reader_that_is_cancelled_and_not_yet_gone_may_be_written_for(
    audiences: Audiences, written: Log
) -> None:
    viewer = Viewer(audiences)
    await settled()
    viewer.task.cancel()
    await written.append("One")
    with suppress(asyncio.CancelledError):
        await viewer.task
    await viewer.following.aclose()


async def test_a_reader_that_never_began_leaves_nothing(audiences: Audiences, written: Log) -> None:
    following = audiences.follow(REPLY, 0)
    following.push_to(lambda _: True)
    await written.append("One")
    await following.aclose()


async def test_what_was_read_before_is_not_read_again_and_nothing_since_is_missed(
    audiences: Audiences, written: Log, immediate: ImmediateStore
) -> None:
    await written.append("One")
    known = await immediate.read(REPLY, 0)
    reads = immediate.calls["read"]
    following = audiences.follow(REPLY, 0, known=known)
    await written.append(" two")
    assert await anext(following) == chunk(0, "One")
    assert immediate.calls["read"] == reads
    assert await asyncio.wait_for(anext(following), 1) == chunk(3, " two")
    await following.aclose()


async def test_a_reply_that_ended_since_it_was_read_is_seen_to_have_ended(
    audiences: Audiences, written: Log, immediate: ImmediateStore
) -> None:
    known: Slice = await immediate.read(REPLY, 0)
    await written.finish(text="One")
    viewer = Viewer(audiences, known=known)
    await viewer.ended()
    assert viewer.client.chunks == [chunk(0, ""), chunk(0, "One", Status.DONE)]


async def test_those_who_are_equally_far_get_the_same_chunk(
    audiences: Audiences, written: Log
) -> None:
    viewers = [Viewer(audiences, is_new=True) for _ in range(5)]
    await settled()
    await written.append("One")
    assert len({id(viewer.pushed[-1]) for viewer in viewers}) == 1
    late = Viewer(audiences)
    await settled()
    assert late.content == "One"
    await written.append(" two")
    assert len({id(viewer.pushed[-1]) for viewer in [*viewers, late]}) == 1
    for viewer in [*viewers, late]:
        await viewer.leave()


PIECES = st.text(st.sampled_from("ab日😀\u0301"), min_size=1, max_size=4)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), PIECES),
        st.tuples(st.just("append"), PIECES),
        st.tuples(st.just("join"), st.integers(0, 40)),
        st.tuples(st.just("leave"), st.integers(0, 9)),
        st.tuples(st.just("turns"), st.integers(1, 6)),
        st.tuples(st.just("wake"), st.just(0)),
    ),
    max_size=30,
)
SINKS = ("takes", "refuses", "wavers", "raises", "waits")


@pytest.mark.parametrize("few", [FEW, 0], ids=["at once", "paced"])
@settings(max_examples=100, deadline=None)
@given(
    steps=STEPS,
    end=st.sampled_from([Status.DONE, Status.STOPPED, Status.ERROR, "clear", "leave"]),
    chance=st.randoms(use_true_random=False),
)
async def test_everybody_gets_the_exact_text_whatever_the_sinks_do(
    few: int, steps: list[tuple[str, Any]], end: Any, chance: random.Random
) -> None:
    store = ImmediateStore()
    log = await Log(store).open()
    audiences = Audiences(store)
    viewers: list[Viewer] = []
    text = ""

    def sink() -> Callable[[], bool]:
        kind = chance.choice(SINKS)

        def takes() -> bool:
            if kind == "raises" and chance.random() < 0.5:
                raise RuntimeError("no sink")
            return kind == "takes" or (kind != "refuses" and chance.random() < 0.5)

        return takes

    with pytest.MonkeyPatch.context() as patch, leaking_nothing():
        patch.setattr(follower_module, "FEW", few)
        for step, value in steps:
            match step:
                case "append":
                    await log.append(value)
                    text += value
                case "join":
                    units = text.encode("utf-16-le")
                    offset = min(value, len(units) // 2)
                    begin = (await store.read(REPLY, offset)).offset
                    kept = units[: 2 * begin].decode("utf-16-le")
                    known = await store.read(REPLY, offset) if chance.random() < 0.5 else None
                    viewers.append(Viewer(audiences, offset, kept, sink(), known=known))
                case "leave":
                    if viewers:
                        await viewers.pop(value % len(viewers)).leave()
                case "turns":
                    for _ in range(value):
                        await asyncio.sleep(0)
                case "wake":
                    store.waking_everybody()
        if end == "clear":
            await log.clear()
        elif end != "leave":
            await log.finish(end, text="!")
            text += "!"
        for viewer in viewers:
            if end == "leave":
                await viewer.leave()
                assert text.startswith(viewer.content)
                continue
            await viewer.ended()
            if end == "clear":
                assert text.startswith(viewer.content)
                assert viewer.error is not None
            else:
                assert (viewer.content, viewer.client.status) == (text, end)
            assert all(not pushed.status.is_final for pushed in viewer.pushed)
    assert not audiences._audiences
    assert store.watchers == 0


# Sinks that do what they must not


def at_once(step: Awaitable[T]) -> T:
    """What a step of a store that does not wait comes to, from where nothing can be awaited."""
    running = step.__await__()
    try:
        next(running)
    except StopIteration as done:
        return cast(T, done.value)
    raise AssertionError("it waits")


@pytest.mark.parametrize("few", [FEW, 0], ids=["at once", "paced"])
@pytest.mark.parametrize("then", ["takes", "refuses", "raises"])
@pytest.mark.parametrize("who", [0, 2], ids=["first", "last"])
@pytest.mark.parametrize("cause", ["append", "finish", "stop", "clear", "follow", "leave"])
async def test_whatever_a_sink_causes_while_it_is_told_nobody_misses_or_gets_twice(
    audiences: Audiences,
    written: Log,
    immediate: ImmediateStore,
    monkeypatch: pytest.MonkeyPatch,
    cause: str,
    who: int,
    then: str,
    few: int,
) -> None:
    monkeypatch.setattr(follower_module, "FEW", few)
    text = ""
    caused = asyncio.Event()
    failures: list[BaseException] = []

    def write(word: str) -> None:
        nonlocal text
        begin, text = len(text), text + word
        immediate.append_now(REPLY, written._lease, begin, word)

    def act() -> None:
        match cause:
            case "append":
                write(" two")
            case "finish":
                at_once(immediate.finish(REPLY, Status.DONE, lease=written._lease))
            case "stop":
                at_once(immediate.finish(REPLY, Status.STOPPED))
            case "clear":
                at_once(written.clear())
            case "follow":
                joining = Viewer(audiences)
                viewers.append(joining)
                joining.client.apply(at_once(anext(joining.following)))
            case "leave":
                at_once(leaving.aclose())

    def acts_once() -> bool:
        if caused.is_set():
            return True
        caused.set()
        try:
            act()
        except BaseException as error:
            failures.append(error)
        if then == "raises":
            raise RuntimeError("no sink")
        return then == "takes"

    viewers = [Viewer(audiences) for _ in range(3)]
    viewers[who].takes = acts_once
    leaving = audiences.follow(REPLY, 0)
    await anext(leaving)
    await settled()
    write("One")
    await asyncio.wait_for(caused.wait(), 10)
    assert failures == []
    if cause != "leave":
        await leaving.aclose()
    if cause not in ("finish", "stop", "clear"):
        write(" three")
        await settled()
        await immediate.finish(REPLY, Status.DONE)
    for viewer in viewers:
        await viewer.ended()
        if cause == "clear":
            assert isinstance(viewer.error, MessageClearedError)
            assert text.startswith(viewer.content)
        else:
            end = Status.STOPPED if cause == "stop" else Status.DONE
            assert (viewer.content, viewer.client.status) == (text, end)


# Large audiences


def timers(audiences: Audiences) -> int:
    """How many audiences are to be told later."""
    return sum(audience._timer is not None for audience in audiences._audiences.values())


async def crowd(audiences: Audiences, size: int, **options: Any) -> list[Viewer]:
    viewers = [Viewer(audiences, is_new=True, **options) for _ in range(size)]
    await settled()
    return viewers


async def all_left(viewers: list[Viewer]) -> None:
    for viewer in viewers:
        await viewer.leave()


async def test_a_small_audience_is_told_at_once(audiences: Audiences, written: Log) -> None:
    viewers = await crowd(audiences, FEW)
    for number in range(5):
        await written.append(f"{number} ")
        assert all(len(viewer.pushed) == number + 1 for viewer in viewers)
    assert timers(audiences) == 0
    await all_left(viewers)


async def test_a_large_audience_hears_of_several_words_at_once_and_misses_none(
    audiences: Audiences, written: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "PACE_SECONDS", 0.05 / (4 * FEW))
    viewers = await crowd(audiences, 4 * FEW)
    text = ""
    for number in range(200):
        await written.append(word := f"{number} ")
        text += word
        await asyncio.sleep(0.001)
    assert max(len(viewer.pushed) for viewer in viewers) < 20
    await written.finish(Status.ERROR, error=FAILED)
    for viewer in viewers:
        await viewer.ended()
        assert viewer.content == text
        assert viewer.client.chunks[-1][3:] == (Status.ERROR, FAILED)


async def test_the_end_of_a_reply_reaches_a_large_audience_within_the_pace(
    audiences: Audiences, written: Log
) -> None:
    viewers = await crowd(audiences, 2 * FEW)
    await written.append("One")
    await written.finish(text=" two")
    loop = asyncio.get_running_loop()
    began = loop.time()
    for viewer in viewers:
        await viewer.ended()
        assert viewer.content == "One two"
    assert loop.time() - began < 1


async def test_a_clear_ends_a_large_audience(audiences: Audiences, written: Log) -> None:
    viewers = await crowd(audiences, 2 * FEW)
    await written.append("One")
    await written.clear()
    for viewer in viewers:
        await viewer.ended()
        assert isinstance(viewer.error, MessageClearedError)


@pytest.mark.parametrize("size", [FEW + 1, 300])
async def test_the_first_word_after_a_pause_is_told_without_waiting(
    audiences: Audiences, written: Log, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(follower_module, "PACE_SECONDS", 60 / size)
    monkeypatch.setattr(follower_module, "LONGEST_PACE_SECONDS", 0.05)
    viewers = await crowd(audiences, size)
    for number in range(2):
        await asyncio.sleep(0.06)
        await written.append(f"{number} ")
        for _ in range(3):
            await asyncio.sleep(0.001)
        assert all(len(viewer.pushed) == number + 1 for viewer in viewers)
    await all_left(viewers)


async def test_a_reader_that_joins_during_the_pace_has_everything(
    audiences: Audiences, written: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "PACE_SECONDS", 0.1 / (FEW + 1))
    viewers = await crowd(audiences, FEW + 1)
    await written.append("One")
    await asyncio.sleep(0.01)
    await written.append(" two")
    assert timers(audiences) == 1
    late = Viewer(audiences)
    await settled()
    assert late.content == "One two"
    await written.append(" three")
    await written.finish()
    for viewer in [*viewers, late]:
        await viewer.ended()
        assert viewer.content == "One two three"


async def test_an_audience_that_leaves_during_the_pace_leaves_no_timer(
    audiences: Audiences, written: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "PACE_SECONDS", 60.0)
    viewers = await crowd(audiences, FEW + 1)
    await written.append("One")
    await asyncio.sleep(0.01)
    await written.append(" two")
    [audience] = audiences._audiences.values()
    timer = audience._timer
    assert timer is not None
    await all_left(viewers)
    assert timer.cancelled()


async def test_an_audience_that_shrinks_during_the_pace_is_told_at_once_again(
    audiences: Audiences, written: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "PACE_SECONDS", 60.0)
    monkeypatch.setattr(follower_module, "LONGEST_PACE_SECONDS", 0.05)
    viewers = await crowd(audiences, FEW + 2)
    await written.append("One")
    await asyncio.sleep(0.01)
    await written.append(" two")
    await all_left(viewers[:5])
    await written.append(" three")
    assert all(viewer.content == "One two three" for viewer in viewers[5:])
    await asyncio.sleep(0.1)
    await written.append(" four")
    assert all(viewer.content == "One two three four" for viewer in viewers[5:])
    await all_left(viewers[5:])


async def test_replies_have_audiences_of_their_own(
    audiences: Audiences, written: Log, immediate: ImmediateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "PACE_SECONDS", 60.0)
    other = Ref("owner", "other")
    lease = await immediate.register(10)
    await immediate.add(
        Draft(Ref("owner", "q2"), ConversationRef("owner", "c2"), "Why?", other, 0), lease
    )
    viewers = await crowd(audiences, FEW + 1)
    alone = audiences.follow(other, 0, is_new=True)
    assert (await anext(alone)).message_id == "other"
    await immediate.append(other, lease, 0, "One")
    assert await asyncio.wait_for(anext(alone), 1) == Chunk("other", 0, "One", Status.STREAMING)
    await alone.aclose()
    await all_left(viewers)


async def test_a_sink_that_is_slow_in_a_large_audience_gets_all_later(
    audiences: Audiences, written: Log
) -> None:
    viewers = await crowd(audiences, 2 * FEW)
    full = True
    slow = Viewer(audiences, takes=lambda: not full)
    await settled()
    text = ""
    for number in range(50):
        await written.append(word := f"{number} ")
        text += word
        if number == 30:
            full = False
        await asyncio.sleep(0.001)
    await written.finish()
    for viewer in [*viewers, slow]:
        await viewer.ended()
        assert viewer.content == text


class Turn:
    """Counts the turns of the event loop."""

    def __init__(self) -> None:
        self.number = 0
        self._loop = asyncio.get_running_loop()
        self._next = self._loop.call_soon(self._count)

    def _count(self) -> None:
        self.number += 1
        self._next = self._loop.call_soon(self._count)

    def close(self) -> None:
        self._next.cancel()


@pytest.fixture
async def turn() -> AsyncIterator[Turn]:
    turn = Turn()
    yield turn
    turn.close()


async def told_first(viewers: list[Viewer]) -> list[Viewer]:
    """Those who were told first; the others have not yet been."""
    async with asyncio.timeout(10):
        while True:
            told = [viewer for viewer in viewers if viewer.pushed]
            if told:
                return told
            await asyncio.sleep(0)


async def test_others_run_while_a_very_large_audience_is_told(
    audiences: Audiences, written: Log, monkeypatch: pytest.MonkeyPatch, turn: Turn
) -> None:
    monkeypatch.setattr(follower_module, "AT_ONCE", 7)
    told_in: list[int] = []

    def takes() -> bool:
        told_in.append(turn.number)
        return True

    viewers = await crowd(audiences, 2 * FEW, takes=takes)
    for number in range(3):
        told_in.clear()
        await written.append(f"{number} ")
        await eventually(lambda: len(told_in) == len(viewers))
        assert all(len(viewer.pushed) == number + 1 for viewer in viewers)
        assert max(Counter(told_in).values()) == 7
    await all_left(viewers)


@pytest.mark.parametrize("end", [Status.DONE, Status.STOPPED, "clear"])
async def test_what_happens_while_a_very_large_audience_is_told_reaches_everybody(
    audiences: Audiences, written: Log, monkeypatch: pytest.MonkeyPatch, end: Any
) -> None:
    monkeypatch.setattr(follower_module, "AT_ONCE", 7)
    viewers = await crowd(audiences, 2 * FEW)
    await written.append("One")
    assert len(await told_first(viewers)) == 7
    late = Viewer(audiences)
    await written.append(" two")
    await asyncio.sleep(0)
    await written.append(" three")
    await asyncio.sleep(0)
    if end == "clear":
        await written.clear()
    else:
        await written.finish(end, text=" four")
    for viewer in [*viewers, late]:
        await viewer.ended()
        if end == "clear":
            assert isinstance(viewer.error, MessageClearedError)
        else:
            assert (viewer.content, viewer.client.status) == ("One two three four", end)


async def test_who_leaves_while_a_very_large_audience_is_told_does_no_harm(
    audiences: Audiences,
    written: Log,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(follower_module, "AT_ONCE", 7)
    viewers = await crowd(audiences, 2 * FEW)
    await written.append("One")
    told = await told_first(viewers)
    leaving = [told[0], viewers[-1], viewers[-2]]
    for viewer in leaving:
        viewer.task.cancel()
    staying = [viewer for viewer in viewers if viewer not in leaving]
    await settled()
    await written.append(" two")
    await written.finish()
    for viewer in staying:
        await viewer.ended()
        assert viewer.content == "One two"
    await all_left(leaving)
    assert [viewer.content for viewer in leaving] == ["One", "", ""]
    assert not caplog.records


async def test_a_very_large_audience_may_leave_as_one_while_it_is_told(
    audiences: Audiences,
    written: Log,
    immediate: ImmediateStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(follower_module, "AT_ONCE", 7)
    viewers = await crowd(audiences, 2 * FEW)
    await written.append("One")
    await told_first(viewers)
    for viewer in viewers:
        viewer.task.cancel()
    await settled()
    assert not audiences._audiences
    assert immediate.watchers == 0
    again = Viewer(audiences)
    await written.append(" two")
    await settled()
    assert again.content == "One two"
    await all_left([*viewers, again])
    assert not caplog.records
