"""Following one reply, without a producer: the test writes the log."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphql_app.errors import MessageClearedError, MessageNotFoundError
from graphql_app.follower import follow
from graphql_app.interfaces import Draft, Topic
from graphql_app.messages import (
    Chunk,
    ConversationRef,
    Ref,
    ReplyError,
    ReplyErrorCode,
    Status,
    utf16_length,
)
from tests.chats import Client, settled
from tests.faults import FaultyStore, leaking_nothing

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
    return Client(follow(store, REPLY, offset, **options), content)


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


async def test_a_reader_that_left_does_not_disturb_the_others(store: FaultyStore, log: Log) -> None:
    leaver, stayer = reader(store), reader(store)
    await leaver.next()
    await stayer.next()
    await leaver.leave()
    await log.append("One")
    assert await stayer.next() == chunk(0, "One")
    await stayer.leave()
