"""Producing one reply: every way in which it can end, and what the store may do meanwhile."""

import asyncio
import gc
import itertools
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphql_app import producer as producer_module
from graphql_app.errors import (
    CompletionError,
    FencedError,
    MessageClearedError,
    MessageNotFoundError,
    StoreUnavailableError,
)
from graphql_app.interfaces import PRODUCER_LOST, Completion, Draft
from graphql_app.messages import (
    ConversationRef,
    Message,
    Ref,
    ReplyError,
    ReplyErrorCode,
    Status,
    Usage,
    scalar_text,
    utf16_head,
    utf16_length,
)
from graphql_app.producer import Producer
from tests.chats import PATIENCE_SECONDS, settled
from tests.faults import (
    FaultyStore,
    ImmediateStore,
    ScriptedCompletion,
    StubbornCompletion,
    leaking_nothing,
)

REPLY = Ref("owner", "reply")
WORD_SECONDS = producer_module.TURN_SECONDS / 7


@pytest.fixture(params=[FaultyStore, ImmediateStore], ids=["waiting", "immediate"])
def store(request: pytest.FixtureRequest) -> FaultyStore:
    """A store that may wait, and one that never does: a producer's ways of writing."""
    kind: type[FaultyStore] = request.param
    return kind()


with_faults = pytest.mark.parametrize("store", [FaultyStore], ids=["waiting"], indirect=True)
"""A store that does not wait cannot be reached, slow or away."""


@pytest.fixture(autouse=True)
def leak_check() -> Iterator[None]:
    """Tasks are looked for at the end of `running`; this is for those that do not use it."""
    yield
    assert not producer_module._abandoned


class Run:
    """The producer of a reply, running."""

    def __init__(self, store: FaultyStore, producer: Producer) -> None:
        self.store = store
        self.producer = producer
        self.task = asyncio.create_task(producer.run())

    async def reply(self) -> Message:
        message = await self.store.message(REPLY)
        assert message is not None
        return message

    async def ended(self) -> Message:
        """The reply, when its producer is done."""
        await asyncio.wait_for(asyncio.shield(self.task), PATIENCE_SECONDS)
        return await self.reply()

    async def has_said(self, text: str) -> None:
        """Returns when the reply has this text in the store."""
        news = asyncio.Event()
        unwatch = self.store.watch(REPLY, news.set)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await self.reply()).content != text:
                await news.wait()
                news.clear()
        unwatch()

    async def has_said_much(self) -> None:
        """Returns when the completion is in the middle of its talking."""
        news = asyncio.Event()
        unwatch = self.store.watch(REPLY, news.set)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len((await self.reply()).content) < 100:
                await news.wait()
                news.clear()
        unwatch()


async def start(
    store: FaultyStore,
    completion: Completion,
    *,
    silence_seconds: float = 60.0,
    max_length: int = 1_000_000,
) -> Run:
    """Stores the question "Why?" and starts the producer of its reply."""
    lease = await store.register(10)
    await store.add(
        Draft(Ref("owner", "question"), ConversationRef("owner", "c1"), "Why?", REPLY, 0), lease
    )
    return Run(
        store,
        Producer(
            REPLY,
            store=store,
            lease=lease,
            completion=completion,
            silence_seconds=silence_seconds,
            max_length=max_length,
        ),
    )


async def produced(store: FaultyStore, completion: Completion, **options: Any) -> Message:
    """What becomes of a reply that this completion makes; no task is left behind."""
    with leaking_nothing():
        return await (await start(store, completion, **options)).ended()


def saying(*texts: Any) -> Completion:
    """A completion that says all this without ever waiting, whatever type it has."""

    async def complete(history: Sequence[Message]) -> AsyncGenerator[Any, None]:
        for text in texts:
            yield text

    return complete


def raising(error: BaseException, *texts: str) -> Completion:
    """A completion that says this, and then raises."""

    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        for text in texts:
            yield text
        raise error

    return complete


def failed(code: ReplyErrorCode, sentence: str) -> tuple[Status, ReplyError]:
    return Status.ERROR, ReplyError(code, sentence)


BROKE_OFF = failed(ReplyErrorCode.COMPLETION_FAILED, "The completion failed.")
SHUT_DOWN = failed(
    ReplyErrorCode.SERVER_SHUTDOWN, "The server was shut down before the reply was complete."
)


def too_long(limit: str) -> tuple[Status, ReplyError]:
    return failed(
        ReplyErrorCode.REPLY_TOO_LONG,
        f"The reply reached its maximum length of {limit} characters.",
    )


def too_silent(seconds: str) -> tuple[Status, ReplyError]:
    return failed(
        ReplyErrorCode.COMPLETION_TIMEOUT, f"The completion sent nothing for {seconds} seconds."
    )


def end_of(reply: Message) -> tuple[Status, ReplyError | None]:
    return reply.status, reply.error


def but_for_usage(reply: Message) -> Message:
    """A reply as others ended it, without what its producer tells later."""
    return replace(reply, usage=None)


# Done


@pytest.mark.parametrize(
    "texts",
    [("Hello",), ("Hel", "lo"), ("", "Hello", ""), (), ("",), ("日", "😀", "e", "\u0301\n")],
)
async def test_a_reply_is_what_the_completion_said(
    store: FaultyStore, texts: tuple[str, ...]
) -> None:
    reply = await produced(store, saying(*texts))
    assert reply.content == "".join(texts)
    assert end_of(reply) == (Status.DONE, None)


async def test_the_completion_gets_the_history_and_is_closed(
    store: FaultyStore, completion: ScriptedCompletion
) -> None:
    completion.end()
    await produced(store, completion)
    assert [[message.content for message in history] for history in completion.histories] == [
        ["Why?"]
    ]
    assert (completion.calls, completion.closed) == (1, 1)


async def test_any_async_iterator_will_do(store: FaultyStore) -> None:
    class Words:
        def __init__(self, history: Sequence[Message]) -> None:
            self._words = iter(["One", " two"])

        def __aiter__(self) -> AsyncIterator[str]:
            return self

        async def __anext__(self) -> str:
            try:
                return next(self._words)
            except StopIteration:
                raise StopAsyncIteration from None

    assert (await produced(store, Words)).content == "One two"


@pytest.mark.parametrize(
    ("texts", "kept"),
    [
        (["a\0b"], "a\ufffdb"),
        (["\ud83d"], "\ufffd"),
        (["a\ude00\ud83d"], "a\ufffd\ufffd"),
        (["\ud83d\ude00"], "😀"),
        (["日\0", "\udfff!"], "日\ufffd\ufffd!"),
    ],
)
async def test_what_cannot_be_stored_is_replaced(
    store: FaultyStore, texts: list[str], kept: str
) -> None:
    reply = await produced(store, saying(*texts))
    assert (reply.content, reply.status) == (kept, Status.DONE)


async def test_text_is_written_while_the_completion_goes_on(
    store: FaultyStore, completion: ScriptedCompletion
) -> None:
    run = await start(store, completion)
    completion.say("One")
    await run.has_said("One")
    completion.say(" two")
    await run.has_said("One two")
    assert (await run.reply()).status is Status.STREAMING
    completion.end()
    assert (await run.ended()).status is Status.DONE


@with_faults
async def test_what_comes_while_an_append_is_under_way_joins_the_next_one(
    store: FaultyStore, completion: ScriptedCompletion
) -> None:
    gate = store.holding("append")
    run = await start(store, completion)
    completion.say("One")
    await gate.reached()
    completion.say(" two", " three", " four")
    await settled()
    assert store.calls["append"] == 1
    gate.open()
    await run.has_said("One two three four")
    assert store.calls["append"] == 2
    completion.end()
    await run.ended()


@with_faults
async def test_a_store_that_is_slow_makes_the_completion_wait(
    store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer_module, "OUTBOX_LIMIT", 10)
    said = 0

    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        nonlocal said
        for _ in range(100):
            said += 1
            yield "word "

    gate = store.holding("append")
    run = await start(store, complete)
    await gate.reached()
    await settled()
    assert said < 10
    gate.open()
    assert (await run.ended()).content == "word " * 100


# Errors of the completion


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("secret"),
        StopAsyncIteration("secret"),
        TimeoutError("secret"),
        asyncio.CancelledError("secret"),
        GeneratorExit("secret"),
        SystemExit("secret"),
        KeyboardInterrupt("secret"),
        BaseExceptionGroup("secret", [SystemExit("secret")]),
        FencedError("secret"),
        MessageClearedError("secret"),
        MessageNotFoundError("secret"),
        StoreUnavailableError(),
    ],
    ids=repr,
)
@pytest.mark.parametrize("texts", [(), ("One", " two")], ids=["at once", "after two words"])
async def test_whatever_a_completion_raises_ends_its_reply_and_nothing_else(
    store: FaultyStore,
    caplog: pytest.LogCaptureFixture,
    error: BaseException,
    texts: tuple[str, ...],
) -> None:
    reply = await produced(store, raising(error, *texts))
    assert reply.content == "".join(texts)
    assert end_of(reply) == BROKE_OFF
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


async def test_what_a_completion_raised_is_logged_with_its_cause(
    store: FaultyStore, caplog: pytest.LogCaptureFixture
) -> None:
    await produced(store, raising(RuntimeError("the key is wrong")))
    assert "the key is wrong" in caplog.text


@pytest.mark.parametrize("code", list(ReplyErrorCode))
async def test_a_completion_error_is_shown_as_it_is(
    store: FaultyStore, caplog: pytest.LogCaptureFixture, code: ReplyErrorCode
) -> None:
    reply = await produced(store, raising(CompletionError(code, "The model sleeps."), "One"))
    assert reply.content == "One"
    assert end_of(reply) == failed(code, "The model sleeps.")
    assert not caplog.records


@pytest.mark.parametrize("text", [None, b"bytes", 1, ["One"]])
async def test_a_completion_that_yields_no_text_has_failed(
    store: FaultyStore, text: object
) -> None:
    reply = await produced(store, saying("One", text, "two"))
    assert reply.content == "One"
    assert end_of(reply) == BROKE_OFF


@pytest.mark.parametrize(
    "result",
    [None, "text", ["One"], iter(["One"])],
    ids=["nothing", "a text", "a list", "an iterator"],
)
async def test_what_is_no_completion_at_all_has_failed(store: FaultyStore, result: Any) -> None:
    assert end_of(await produced(store, lambda history: result)) == BROKE_OFF


async def test_a_completion_that_fails_before_it_begins_has_failed(store: FaultyStore) -> None:
    def complete(history: Sequence[Message]) -> AsyncIterator[str]:
        raise RuntimeError

    assert end_of(await produced(store, complete)) == BROKE_OFF


# Too long


@pytest.mark.parametrize(
    ("texts", "kept"),
    [
        (["x" * 10], "x" * 10),
        (["x" * 9, "x"], "x" * 10),
        (["😀" * 5], "😀" * 5),
        (["日" * 10, ""], "日" * 10),
    ],
)
async def test_a_reply_may_be_exactly_as_long_as_it_may(
    store: FaultyStore, texts: list[str], kept: str
) -> None:
    reply = await produced(store, saying(*texts), max_length=10)
    assert reply.content == kept
    assert end_of(reply) == (Status.DONE, None)


@pytest.mark.parametrize(
    ("texts", "kept"),
    [
        (["x" * 11], "x" * 10),
        (["x" * 10, "y"], "x" * 10),
        (["x" * 9, "yz"], "x" * 9 + "y"),
        (["x" * 9, "😀"], "x" * 9),
        (["x" * 8, "😀😀"], "x" * 8 + "😀"),
        (["😀" * 6], "😀" * 5),
        (["x" + "😀" * 5], "x" + "😀" * 4),
        (["x" * 10_000_000], "x" * 10),
        (["x" * 11, None], "x" * 10),
    ],
)
async def test_a_reply_that_is_too_long_keeps_all_whole_code_points_that_fit(
    store: FaultyStore, texts: list[str], kept: str
) -> None:
    reply = await produced(store, saying(*texts), max_length=10)
    assert reply.content == kept
    assert end_of(reply) == too_long("10")


@pytest.mark.parametrize("word", ["word ", "日本 ", "😀"])
@pytest.mark.parametrize("turn_seconds", [producer_module.TURN_SECONDS, -1.0])
async def test_a_completion_that_will_not_stop_talking_is_stopped_and_holds_up_nobody(
    store: FaultyStore, word: str, turn_seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer_module, "TURN_SECONDS", turn_seconds)
    closed = False
    turns = 0

    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        nonlocal closed
        try:
            while True:  # Without ever awaiting.
                yield word
        finally:
            closed = True

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    other = asyncio.create_task(others())
    run = await start(store, complete, max_length=10_001)
    reply = await run.ended()
    other.cancel()
    assert 10_000 <= utf16_length(reply.content) <= 10_001
    assert (word * 10_001).startswith(reply.content)
    assert end_of(reply) == too_long("10,001")
    assert closed
    if turn_seconds < 0:
        words = 10_000 // utf16_length(word)
        assert turns >= words // 2, "the second word of each turn lets everybody else run"


async def test_a_completion_that_never_waits_lets_others_run_soon(
    store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(producer_module, "monotonic", lambda: now)
    turns: list[float] = []

    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        nonlocal now
        for _ in range(1_000):
            now += WORD_SECONDS
            yield "word "

    async def others() -> None:
        while True:
            turns.append(now)
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    reply = await (await start(store, complete)).ended()
    other.cancel()
    assert reply.content == "word " * 1_000
    pauses = [after - before for before, after in itertools.pairwise(turns)]
    assert max(pauses) <= producer_module.TURN_SECONDS + 2 * WORD_SECONDS


async def test_what_a_completion_says_in_one_turn_joins(store: FaultyStore) -> None:
    said = [f"{number} " for number in range(50)]
    reply = await produced(store, saying(*said))
    assert (reply.content, reply.status) == ("".join(said), Status.DONE)
    assert store.calls["append"] <= 1, "the rest comes with the end"


async def test_what_a_completion_says_in_one_turn_joins_however_long_it_has_been_talking(
    store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(producer_module, "monotonic", lambda: now)

    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        nonlocal now
        for _ in range(10):
            now += 1.0
            await settled()
            for _ in range(5):
                yield "word "

    reply = await produced(store, complete)
    assert (reply.content, reply.status) == ("word " * 50, Status.DONE)
    assert store.calls["append"] <= 20, "the first word of a turn, and the rest"


async def test_a_completion_that_talks_on_after_its_cancellation_is_closed(
    store: FaultyStore,
) -> None:
    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        yield "One"
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        while True:
            yield " and another thing"

    with leaking_nothing():
        run = await start(store, complete)
        await run.has_said("One")
        run.producer.shut_down()
        assert (await run.ended()).content == "One"


# Too silent


@pytest.mark.parametrize("texts", [(), ("One", " two")], ids=["before", "after the first words"])
async def test_a_completion_that_is_silent_for_too_long_ends_its_reply(
    store: FaultyStore, completion: ScriptedCompletion, texts: tuple[str, ...]
) -> None:
    completion.say(*texts)
    reply = await produced(store, completion, silence_seconds=0.05)
    assert reply.content == "".join(texts)
    assert end_of(reply) == too_silent("0.05")
    assert completion.closed == 1


async def test_a_completion_may_take_long_in_all_if_it_is_never_silent_for_too_long(
    store: FaultyStore,
) -> None:
    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        for _ in range(10):
            await asyncio.sleep(0.02)
            yield "x"

    reply = await produced(store, complete, silence_seconds=0.15)
    assert (reply.content, reply.status) == ("x" * 10, Status.DONE)


@with_faults
async def test_a_completion_that_waits_for_the_store_is_not_silent(
    store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer_module, "OUTBOX_LIMIT", 1)
    gate = store.holding("append")
    run = await start(store, saying(*"abcdef"), silence_seconds=0.05)
    await gate.reached()
    await asyncio.sleep(0.15)  # Three times as long as it may be silent.
    gate.open()
    reply = await run.ended()
    assert (reply.content, reply.status) == ("abcdef", Status.DONE)


@with_faults
async def test_silence_is_counted_from_when_the_store_had_room_again(
    store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(producer_module, "monotonic", lambda: now)
    monkeypatch.setattr(producer_module, "OUTBOX_LIMIT", 1)

    go_on = asyncio.Event()

    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        yield "One"
        yield " two"
        await go_on.wait()
        yield " three"

    first = store.holding("append")
    run = await start(store, complete, silence_seconds=60)
    await first.reached()
    await settled()
    now += 3600.0  # In which " two" waits for room.
    second = store.holding("append")
    first.open()
    await second.reached()
    await settled()
    now += 30.0
    second.open()
    await settled()
    go_on.set()
    reply = await run.ended()
    assert (reply.content, reply.status) == ("One two three", Status.DONE)


@with_faults
async def test_a_completion_that_talks_through_an_outage_of_the_store_is_not_silent(
    store: FaultyStore, quick_retries: None
) -> None:
    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        for _ in range(20):
            await asyncio.sleep(0.01)
            yield "x"
        store.failing_on("append", times=0)
        for _ in range(20):
            await asyncio.sleep(0.01)
            yield "x"

    store.failing_on("append", times=1_000_000)
    reply = await produced(store, complete, silence_seconds=0.15)
    assert (reply.content, reply.status) == ("x" * 40, Status.DONE)


@with_faults
async def test_time_in_which_the_history_could_not_be_read_is_not_silence(
    store: FaultyStore, completion: ScriptedCompletion
) -> None:
    gate = store.holding("history")
    run = await start(store, completion, silence_seconds=0.05)
    await gate.reached()
    await asyncio.sleep(0.15)
    completion.say("One")
    completion.end()
    gate.open()
    reply = await run.ended()
    assert (reply.content, reply.status) == ("One", Status.DONE)


# Ended by others


async def test_a_producer_that_is_fenced_before_the_first_word_closes_its_completion(
    store: FaultyStore, completion: ScriptedCompletion
) -> None:
    run = await start(store, completion)
    await asyncio.wait_for(completion.was_called.wait(), PATIENCE_SECONDS)
    await store.finish(REPLY, Status.STOPPED)
    run.producer.fence()
    reply = await run.ended()
    assert (reply.content, reply.status) == ("", Status.STOPPED)
    assert completion.closed == 1


@with_faults
async def test_a_producer_that_is_fenced_while_the_history_cannot_be_read_calls_nobody(
    store: FaultyStore, completion: ScriptedCompletion, quick_retries: None
) -> None:
    store.failing_on("history", times=1_000_000)
    run = await start(store, completion)
    await settled()
    await store.finish(REPLY, Status.STOPPED)
    run.producer.fence()
    assert (await run.ended()).status is Status.STOPPED
    assert completion.calls == 0


async def test_a_producer_that_is_fenced_before_it_begins_calls_nobody(
    store: FaultyStore, completion: ScriptedCompletion
) -> None:
    run = await start(store, completion)
    run.producer.fence()
    await store.finish(REPLY, Status.STOPPED)
    await run.ended()
    assert completion.calls == 0


async def test_a_producer_that_is_fenced_in_the_middle_writes_no_more(
    store: FaultyStore, completion: ScriptedCompletion
) -> None:
    run = await start(store, completion)
    completion.say("One")
    await run.has_said("One")
    stopped = await store.finish(REPLY, Status.STOPPED)
    completion.say(" two")
    run.producer.fence()
    assert but_for_usage(await run.ended()) == stopped
    assert completion.closed == 1


async def test_a_producer_that_nobody_told_learns_it_from_its_next_word(
    store: FaultyStore, completion: ScriptedCompletion, caplog: pytest.LogCaptureFixture
) -> None:
    run = await start(store, completion)
    completion.say("One")
    await run.has_said("One")
    stopped = await store.finish(REPLY, Status.STOPPED)
    completion.say(" two")
    assert but_for_usage(await run.ended()) == stopped
    assert completion.closed == 1
    assert not caplog.records


@with_faults
async def test_a_producer_that_is_fenced_gives_up_a_store_that_cannot_be_reached(
    store: FaultyStore, completion: ScriptedCompletion, quick_retries: None
) -> None:
    run = await start(store, completion)
    store.failing_on("append", times=1_000_000)
    completion.say("One")
    await asyncio.wait_for(completion.was_called.wait(), PATIENCE_SECONDS)
    run.producer.fence()
    await run.ended()
    assert completion.closed == 1


@with_faults
async def test_a_producer_that_is_fenced_closes_its_completion_even_while_the_store_hangs(
    store: FaultyStore, completion: ScriptedCompletion
) -> None:
    gate = store.holding("append")
    run = await start(store, completion)
    completion.say("One")
    await gate.reached()
    run.producer.fence()
    await asyncio.wait_for(completion.was_closed.wait(), 1)
    gate.open()
    await run.ended()


@with_faults
async def test_a_completion_is_closed_even_while_the_store_cannot_take_the_end(
    store: FaultyStore, completion: ScriptedCompletion
) -> None:
    gate = store.holding("finish")
    run = await start(store, completion, max_length=2)
    completion.say("One")
    await gate.reached()
    await asyncio.wait_for(completion.was_closed.wait(), 1)
    gate.open()
    assert (await run.ended()).content == "On"


@with_faults
@pytest.mark.parametrize("method", ["history", "append", "finish"])
async def test_a_reply_that_was_cleared_ends_its_producer(
    store: FaultyStore, completion: ScriptedCompletion, method: str
) -> None:
    gate = store.holding(method)
    completion.say("One")
    if method == "finish":
        completion.end()
    run = await start(store, completion)
    await gate.reached()
    await store.clear(ConversationRef("owner", "c1"))
    gate.open()
    await asyncio.wait_for(run.task, PATIENCE_SECONDS)
    assert completion.closed == completion.calls
    assert await store.message(REPLY) is None


@with_faults
async def test_a_completion_that_takes_time_to_close_is_cancelled_once(store: FaultyStore) -> None:
    closed = False

    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        nonlocal closed
        yield "One"
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.05)  # As a polite HTTP client does.
            closed = True

    gate = store.holding_answers_of("finish")
    with leaking_nothing():
        run = await start(store, complete)
        await run.has_said("One")
        run.producer.shut_down()
        await gate.reached()
        run.producer.fence()
        run.producer.fence()
        await asyncio.sleep(0)
        gate.open()
        await run.ended()
    assert closed


async def test_a_completion_that_ignores_its_cancellation_is_abandoned(
    store: FaultyStore, quick_abandoning: None, caplog: pytest.LogCaptureFixture
) -> None:
    completion = StubbornCompletion()
    with leaking_nothing():
        run = await start(store, completion)
        await run.has_said("word")
        await store.finish(REPLY, Status.STOPPED)
        run.producer.fence()
        await run.ended()
        assert "abandoned" in caplog.text
        [abandoned] = producer_module._abandoned
        completion.let_go()
        await asyncio.wait_for(abandoned, PATIENCE_SECONDS)


async def test_a_completion_that_yields_nothing_for_ever_is_silent(store: FaultyStore) -> None:
    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        yield "One"
        while True:
            yield ""

    reply = await produced(store, complete, silence_seconds=0.1)
    assert reply.content == "One"
    assert reply.error is not None
    assert reply.error.code is ReplyErrorCode.COMPLETION_TIMEOUT


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (("a\ud83d", "\ude00b"), "a\U0001f600b"),
        (("\ud83d", "\ude00"), "\U0001f600"),
        (("a\ud83d", "b"), "a\ufffdb"),
        (("\ud83d", "\ud83d", "\ude00"), "\ufffd\U0001f600"),
        (("a\ud83d",), "a\ufffd"),
        (("\ude00", "\ud83d"), "\ufffd\ufffd"),
    ],
)
async def test_the_halves_of_a_pair_that_come_apart_are_joined(
    store: FaultyStore, pieces: tuple[str, ...], text: str
) -> None:
    assert (await produced(store, saying(*pieces))).content == text


async def test_half_a_pair_before_a_failure_is_kept_as_a_replacement(store: FaultyStore) -> None:
    failing = raising(CompletionError("COMPLETION_FAILED", "Sorry."), "a\ud83d")
    assert (await produced(store, failing)).content == "a\ufffd"


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (None, "None"),
        ("x\ud800y\0", "x\ufffdy\ufffd"),
        ("x" * 5_000, "x" * 1_000),
    ],
)
async def test_the_sentence_of_a_completion_is_made_fit_to_be_shown(
    store: FaultyStore, message: Any, sentence: str
) -> None:
    reply = await produced(store, raising(CompletionError("NO_SUCH_CODE", message)))
    assert reply.error == ReplyError(ReplyErrorCode.COMPLETION_FAILED, sentence)


@with_faults
async def test_an_abandoned_completion_does_not_wait_for_a_store_that_takes_no_more(
    store: FaultyStore, quick_abandoning: None
) -> None:
    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        yield "x" * (producer_module.OUTBOX_LIMIT + 1)

    with leaking_nothing():
        run = await start(store, complete, silence_seconds=0.01)
        gate = store.holding("finish")
        await gate.reached()
        await settled()
        gate.open()
        ended = await run.ended()
        assert ended.error is not None
        assert ended.error.code is ReplyErrorCode.COMPLETION_TIMEOUT
        await settled()
        assert not producer_module._abandoned


@with_faults
async def test_a_reply_that_has_ended_calls_no_completion(
    store: FaultyStore, completion: ScriptedCompletion
) -> None:
    with leaking_nothing():
        gate = store.holding("history")
        run = await start(store, completion)
        await gate.reached()
        stopped = await store.finish(REPLY, Status.STOPPED)
        gate.open()
        assert but_for_usage(await run.ended()) == stopped
    assert completion.calls == 0


async def test_an_end_is_written_before_a_completion_has_closed(
    store: FaultyStore, quick_abandoning: None
) -> None:
    completion = StubbornCompletion()
    run = await start(store, completion, max_length=3)
    await run.has_said("wor")
    assert end_of(await run.reply()) == too_long("3")
    assert not run.task.done()
    completion.let_go()
    await run.ended()


async def test_what_a_completion_raises_when_it_is_closed_is_nobodys_business(
    store: FaultyStore, caplog: pytest.LogCaptureFixture
) -> None:
    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        try:
            yield "One"
            await asyncio.sleep(3600)
        finally:
            raise SystemExit

    run = await start(store, complete)
    await run.has_said("One")
    stopped = await store.finish(REPLY, Status.STOPPED)
    run.producer.fence()
    assert but_for_usage(await run.ended()) == stopped
    del run
    gc.collect()  # Then asyncio complains about exceptions that nobody took note of.
    assert not caplog.records


# Shutting down


async def test_a_shutdown_ends_a_reply_with_the_text_that_it_has(
    store: FaultyStore, completion: ScriptedCompletion
) -> None:
    run = await start(store, completion)
    completion.say("One")
    await run.has_said("One")
    run.producer.shut_down()
    reply = await run.ended()
    assert reply.content == "One"
    assert end_of(reply) == SHUT_DOWN
    assert completion.closed == 1


@with_faults
async def test_a_shutdown_keeps_the_text_that_waits_for_the_store(
    store: FaultyStore, completion: ScriptedCompletion
) -> None:
    gate = store.holding("append")
    run = await start(store, completion)
    completion.say("One")
    await gate.reached()
    completion.say(" two")
    await settled()
    run.producer.shut_down()
    gate.open()
    reply = await run.ended()
    assert reply.content == "One two"
    assert end_of(reply) == SHUT_DOWN


async def test_a_shutdown_before_the_producer_began_ends_the_reply(
    store: FaultyStore, completion: ScriptedCompletion
) -> None:
    run = await start(store, completion)
    run.producer.shut_down()
    assert end_of(await run.ended()) == SHUT_DOWN


# Stores that cannot be reached


@with_faults
@pytest.mark.parametrize("times", [1, 2, 7])
@pytest.mark.parametrize("fault", [FaultyStore.failing_on, FaultyStore.losing_answers_of])
@pytest.mark.parametrize("method", ["history", "append", "finish"])
async def test_a_store_that_cannot_be_reached_is_tried_again_and_the_text_is_exact(
    store: FaultyStore,
    completion: ScriptedCompletion,
    quick_retries: None,
    method: str,
    fault: Callable[..., None],
    times: int,
) -> None:
    fault(store, method, times=times)
    run = await start(store, completion)
    completion.say("One")
    await run.has_said("One")
    completion.say(" 😀", " 😀")
    await run.has_said("One 😀 😀")
    completion.say(" the end")
    completion.end()
    reply = await run.ended()
    assert reply.content == "One 😀 😀 the end"
    assert end_of(reply) == (Status.DONE, None)
    assert completion.calls == 1
    assert store.calls[method] > times


@with_faults
async def test_a_store_that_comes_and_goes_changes_nothing_in_the_text(
    store: FaultyStore, completion: ScriptedCompletion, quick_retries: None
) -> None:
    run = await start(store, completion)
    expected = ""
    for number in range(20):
        (store.failing_on if number % 2 else store.losing_answers_of)("append", times=number % 4)
        completion.say(word := f"{number} ")
        expected += word
        await run.has_said(expected)
    completion.end()
    assert (await run.ended()).content == expected


@with_faults
async def test_the_completion_goes_on_while_the_store_cannot_be_reached(
    store: FaultyStore, completion: ScriptedCompletion, quick_retries: None
) -> None:
    for method in ("append", "finish"):
        store.failing_on(method, times=1_000_000)
    run = await start(store, completion)
    completion.say("One", " two", " three")
    completion.end()
    await asyncio.wait_for(completion.was_closed.wait(), PATIENCE_SECONDS)
    assert (await run.reply()).content == ""
    store.healed()
    reply = await run.ended()
    assert (reply.content, reply.status) == ("One two three", Status.DONE)


def test_the_pauses_between_tries_are_short_at_first_and_a_second_at_most() -> None:
    pauses = producer_module.RETRY_SECONDS
    assert pauses[0] <= 0.1
    assert list(pauses) == sorted(pauses)
    assert pauses[-1] <= 1


@with_faults
async def test_a_defect_of_the_store_is_raised_and_the_completion_is_closed(
    store: FaultyStore, completion: ScriptedCompletion
) -> None:
    store.broken_on("append", times=1)
    run = await start(store, completion)
    completion.say("One")
    with pytest.raises(RuntimeError, match="broken"):
        await run.ended()
    assert completion.closed == 1


async def test_a_producer_that_is_cancelled_closes_its_completion(
    store: FaultyStore, completion: ScriptedCompletion
) -> None:
    run = await start(store, completion)
    await asyncio.wait_for(completion.was_called.wait(), PATIENCE_SECONDS)
    began = time.monotonic()
    run.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run.task
    assert completion.closed == 1
    assert time.monotonic() - began < producer_module.ABANDON_AFTER_SECONDS


# A store that does not wait


@pytest.fixture
def immediate() -> ImmediateStore:
    return ImmediateStore()


async def test_each_word_is_in_the_store_when_the_next_one_is_asked_for(
    immediate: ImmediateStore,
) -> None:
    words = [f"{number} " for number in range(20)]

    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        for number, word in enumerate(words):
            await asyncio.sleep(0)  # Within a turn, words may join.
            read = await immediate.read(REPLY, 0)
            assert read.text == "".join(words[:number])
            yield word

    reply = await produced(immediate, complete)
    assert (reply.content, reply.status) == ("".join(words), Status.DONE)
    assert immediate.calls["append"] == len(words)


@pytest.mark.parametrize("told", [True, False], ids=["told", "not told"])
async def test_a_completion_that_never_waits_is_ended_by_a_stop(
    store: FaultyStore, told: bool
) -> None:
    closed = False

    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        nonlocal closed
        try:
            while True:
                yield "word "
        finally:
            closed = True

    with leaking_nothing():
        run = await start(store, complete)
        await run.has_said_much()
        stopped = await store.finish(REPLY, Status.STOPPED)
        if told:
            run.producer.fence()
        assert but_for_usage(await run.ended()) == stopped
    assert closed
    assert ("word " * len(stopped.content)).startswith(stopped.content)


async def test_a_completion_that_never_waits_is_ended_by_a_clear(store: FaultyStore) -> None:
    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        while True:
            yield "word "

    with leaking_nothing():
        run = await start(store, complete)
        await run.has_said_much()
        await store.clear(ConversationRef("owner", "c1"))
        await asyncio.wait_for(run.task, PATIENCE_SECONDS)
    assert await store.message(REPLY) is None


async def test_a_completion_that_never_waits_is_ended_by_a_shutdown(store: FaultyStore) -> None:
    said = ""

    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        nonlocal said
        while True:
            said += (word := f"{len(said)} ")
            yield word

    with leaking_nothing():
        run = await start(store, complete)
        await run.has_said_much()
        run.producer.shut_down()
        reply = await run.ended()
    assert end_of(reply) == SHUT_DOWN
    assert said.startswith(reply.content)
    assert len(reply.content) >= 100


async def test_a_completion_that_talks_while_it_is_closed_changes_nothing(
    store: FaultyStore, quick_abandoning: None
) -> None:
    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        yield "One"
        for _ in range(5):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)
            yield " more"

    with leaking_nothing():
        run = await start(store, complete)
        await run.has_said("One")
        stopped = await store.finish(REPLY, Status.STOPPED)
        run.producer.fence()
        assert but_for_usage(await run.ended()) == stopped
        assert but_for_usage(await run.reply()) == stopped


async def test_silence_is_counted_from_the_last_word(store: FaultyStore) -> None:
    spoke_at = 0.0

    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        nonlocal spoke_at
        for _ in range(5):
            await asyncio.sleep(0.12)
            spoke_at = time.monotonic()
            yield "x"
        await asyncio.sleep(3600)

    reply = await produced(store, complete, silence_seconds=0.5)
    silent_for = time.monotonic() - spoke_at
    assert reply.content == "xxxxx"
    assert end_of(reply) == too_silent("0.5")
    assert 0.49 <= silent_for < 2


async def test_a_reply_that_is_full_may_still_be_too_silent_or_end(store: FaultyStore) -> None:
    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        yield "x" * 10
        await asyncio.sleep(3600)

    reply = await produced(store, complete, silence_seconds=0.05, max_length=10)
    assert reply.content == "x" * 10
    assert end_of(reply) == too_silent("0.05")


async def test_a_text_that_does_not_fit_comes_behind_all_that_came_before(
    immediate: ImmediateStore,
) -> None:
    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        for text in ("one ", "two ", "3456789", "x", "y"):
            yield text

    reply = await produced(immediate, complete, max_length=12)
    assert reply.content == "one two 3456"
    assert end_of(reply) == too_long("12")


@settings(max_examples=100, deadline=None)
@given(
    pieces=st.lists(
        st.tuples(st.text(st.sampled_from("ab日😀\0\ud83d\ude00"), max_size=4), st.integers(0, 3)),
        max_size=10,
    ),
    limit=st.integers(0, 20),
    fails=st.booleans(),
)
async def test_both_ways_of_writing_write_the_same(
    pieces: list[tuple[str, int]], limit: int, fails: bool
) -> None:
    async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
        for text, turns in pieces:
            yield text
            for _ in range(turns):
                await asyncio.sleep(0)
        if fails:
            raise CompletionError(ReplyErrorCode.COMPLETION_FAILED, "No more.")

    whole = scalar_text(
        "".join(text for text, _ in pieces)
        .encode("utf-16-le", "surrogatepass")
        .decode("utf-16-le", "surrogatepass")
    )
    for store in (FaultyStore(), ImmediateStore()):
        reply = await produced(store, complete, max_length=limit)
        assert reply.content == utf16_head(whole, limit)
        if utf16_length(whole) > limit:
            assert end_of(reply) == too_long(str(limit))
        elif fails:
            assert end_of(reply) == failed(ReplyErrorCode.COMPLETION_FAILED, "No more.")
        else:
            assert end_of(reply) == (Status.DONE, None)


# What a reply took.

SAID = Usage(model="model-1", input_tokens=12, output_tokens=345)


def times_of(reply: Message) -> tuple[float, float]:
    """The times of a reply that has text: to the first, and in all."""
    assert reply.usage is not None
    assert reply.usage.time_to_first_token is not None
    assert reply.usage.duration is not None
    assert 0 <= reply.usage.time_to_first_token <= reply.usage.duration
    return reply.usage.time_to_first_token, reply.usage.duration


def said_of(reply: Message) -> Usage:
    """What the completion said of a reply's usage."""
    assert reply.usage is not None
    return replace(reply.usage, time_to_first_token=None, duration=None)


async def test_the_last_usage_that_a_completion_says_is_kept_and_is_no_text(
    store: FaultyStore,
) -> None:
    reply = await produced(
        store, saying(Usage(model="early"), "One", Usage(input_tokens=12), " two", SAID)
    )
    assert (reply.content, reply.status) == ("One two", Status.DONE)
    assert said_of(reply) == SAID
    times_of(reply)


async def test_times_run_from_the_call_to_the_first_text_and_to_the_end(
    store: FaultyStore,
) -> None:
    async def complete(history: Sequence[Message]) -> AsyncGenerator[str | Usage, None]:
        yield SAID
        yield ""
        await asyncio.sleep(0.05)
        yield "One"
        await asyncio.sleep(0.05)
        yield SAID
        await asyncio.sleep(0.05)

    began = time.monotonic()
    first, whole = times_of(await produced(store, complete))
    assert 0.049 <= first < 0.1 + whole - first
    assert first + 0.099 <= whole <= time.monotonic() - began + 0.001


async def test_a_completion_that_says_no_usage_has_times(store: FaultyStore) -> None:
    reply = await produced(store, saying("One"))
    assert said_of(reply) == Usage()
    times_of(reply)


async def test_a_reply_without_text_has_no_time_to_the_first(store: FaultyStore) -> None:
    reply = await produced(store, saying("", SAID))
    assert reply.usage is not None
    assert (reply.usage.time_to_first_token, reply.usage.model) == (None, "model-1")
    assert reply.usage.duration is not None


async def test_the_times_that_a_completion_says_do_not_count(store: FaultyStore) -> None:
    said = replace(SAID, time_to_first_token=1_000.0, duration=2_000.0)
    assert max(times_of(await produced(store, saying("One", said)))) < PATIENCE_SECONDS


async def test_a_usage_is_a_sign_of_life(store: FaultyStore) -> None:
    """A model may think for long."""

    async def complete(history: Sequence[Message]) -> AsyncGenerator[str | Usage, None]:
        for _ in range(30):
            await asyncio.sleep(0.01)
            yield SAID
        yield "One"
        await asyncio.sleep(PATIENCE_SECONDS)

    began = time.monotonic()
    reply = await produced(store, complete, silence_seconds=0.2)
    assert end_of(reply) == too_silent("0.2")
    assert reply.content == "One"
    assert time.monotonic() - began > 0.5


async def test_a_completion_that_says_usages_without_waiting_holds_up_nobody(
    store: FaultyStore,
) -> None:
    async def complete(history: Sequence[Message]) -> AsyncGenerator[str | Usage, None]:
        yield "One"
        while True:
            yield SAID

    with leaking_nothing():
        run = await start(store, complete)
        await run.has_said("One")
        run.producer.shut_down()
        reply = await run.ended()
    assert end_of(reply) == SHUT_DOWN
    assert said_of(reply) == SAID


@pytest.mark.parametrize("error", [RuntimeError(), CompletionError("COMPLETION_REFUSED", "No.")])
async def test_a_reply_whose_completion_fails_has_a_usage(
    store: FaultyStore, error: Exception
) -> None:
    async def complete(history: Sequence[Message]) -> AsyncGenerator[str | Usage, None]:
        yield SAID
        yield "One"
        raise error

    reply = await produced(store, complete)
    assert reply.status is Status.ERROR
    assert said_of(reply) == SAID
    times_of(reply)


async def test_a_reply_that_gets_too_long_has_a_usage(store: FaultyStore) -> None:
    reply = await produced(store, saying(SAID, "One", " two"), max_length=4)
    assert end_of(reply) == too_long("4")
    assert said_of(reply) == SAID
    times_of(reply)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (Usage(model="m\0\ud83d"), Usage(model="m\ufffd\ufffd")),
        (Usage(model="m" * 1_000), Usage(model="m" * 200)),
        (Usage(input_tokens=-1, output_tokens=2**31), Usage()),
        (Usage(input_tokens=0, output_tokens=2**31 - 1), Usage(None, 0, 2**31 - 1)),
        (Usage(model=3, input_tokens="4", output_tokens=0.5), Usage()),  # type: ignore[arg-type]
    ],
    ids=range(5),
)
async def test_what_cannot_be_shown_of_a_usage_is_left_out(
    store: FaultyStore, said: Usage, kept: Usage
) -> None:
    reply = await produced(store, saying("One", said))
    assert (reply.content, reply.status) == ("One", Status.DONE)
    assert said_of(reply) == kept


async def test_what_a_reply_took_that_was_stopped_is_told_when_its_completion_is_closed(
    store: FaultyStore,
) -> None:
    async def complete(history: Sequence[Message]) -> AsyncGenerator[str | Usage, None]:
        yield Usage(model="model-1")
        yield "One"
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)  # As a polite HTTP client does.
            yield SAID
            raise

    with leaking_nothing():
        run = await start(store, complete)
        await run.has_said("One")
        stopped = await store.finish(REPLY, Status.STOPPED)
        assert stopped.usage is None
        run.producer.fence()
        reply = await run.ended()
    assert but_for_usage(reply) == stopped
    assert said_of(reply) == SAID
    _, whole = times_of(reply)
    assert whole >= 0.049


async def test_the_producers_end_tells_it_of_a_reply_that_was_stopped_just_before(
    store: FaultyStore, completion: ScriptedCompletion
) -> None:
    run = await start(store, completion)
    completion.say("One")
    await run.has_said("One")
    stopped = await store.finish(REPLY, Status.STOPPED)
    completion.end()
    reply = await run.ended()
    assert but_for_usage(reply) == stopped
    times_of(reply)


async def test_a_reply_that_was_stopped_before_its_completion_was_called_has_none(
    store: FaultyStore, completion: ScriptedCompletion
) -> None:
    run = await start(store, completion)
    run.producer.fence()
    await store.finish(REPLY, Status.STOPPED)
    assert (await run.ended()).usage is None


async def test_a_producer_that_is_fenced_leaves_no_reply_streaming(
    store: FaultyStore, completion: ScriptedCompletion
) -> None:
    run = await start(store, completion)
    completion.say("One")
    await run.has_said("One")
    run.producer.fence()
    reply = await run.ended()
    assert (reply.content, *end_of(reply)) == ("One", Status.ERROR, PRODUCER_LOST)
    times_of(reply)


@with_faults
@pytest.mark.parametrize(("failures", "is_told"), [(1, True), (1_000, False)])
async def test_a_usage_is_told_again_while_the_store_is_away_but_not_for_ever(
    store: FaultyStore,
    completion: ScriptedCompletion,
    quick_retries: None,
    failures: int,
    is_told: bool,
) -> None:
    run = await start(store, completion)
    completion.say("One")
    await run.has_said("One")
    await store.finish(REPLY, Status.STOPPED)
    store.failing_on("finish", times=failures)
    run.producer.fence()
    reply = await run.ended()
    assert (reply.usage is not None) is is_told
    assert completion.closed == 1


@pytest.mark.parametrize("is_cleared", [False, True], ids=["ended", "cleared"])
async def test_each_reply_is_one_line_of_the_log(
    store: FaultyStore, caplog: pytest.LogCaptureFixture, is_cleared: bool
) -> None:
    async def complete(history: Sequence[Message]) -> AsyncGenerator[str | Usage, None]:
        yield SAID
        yield "secret 😀"
        if is_cleared:
            await store.clear(ConversationRef("owner", "c1"))
        raise CompletionError("COMPLETION_REFUSED", "secret")

    caplog.set_level(logging.INFO, "graphql_app")
    run = await start(store, complete)
    ended = await asyncio.wait_for(run.task, PATIENCE_SECONDS)
    [record] = caplog.records
    times = ended.usage if ended else run.producer.usage
    assert times is not None
    end = "" if is_cleared else "status='ERROR' code='COMPLETION_REFUSED' "
    length = run.producer._written if is_cleared else 9
    assert record.getMessage() == (
        f"reply ended: reply='reply' {end}length={length} model='model-1' input_tokens=12 "
        f"output_tokens=345 time_to_first_token={times.time_to_first_token!r} "
        f"duration={times.duration!r}"
    )
    assert record.levelno == logging.INFO
