"""What is measured. Each workload gets a server that is warm, and returns figures by name."""

import asyncio
import gc
import itertools
import math
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.clients import Client, Selection
from benchmarks.machine import Cores, Meter, Usage, memory_bytes, open_files
from benchmarks.replies import Reply
from benchmarks.servers import Server

PATIENCE_SECONDS = 300.0
OPEN_AT_ONCE = 50
JOIN_SECONDS = 1.0
"""How long followers have to catch up before the lag of what they get counts."""

LAG_LIMIT_SECONDS = 0.1
"""What W2 allows of every hundredth word."""

GROWTH = 1.25
FINE = 1.07
"""W2 is searched in steps of this, and then halved until this is left."""

SILENT = "1 0.0001"
"""A reply whose first word comes in hours."""

Figures = dict[str, float]


@dataclass(frozen=True)
class Sizes:
    """How much of everything there is."""

    warm_up: int = 300
    replies: int = 100
    words: int = 1_000
    burst: int = 50
    per_second: float = 20.0
    seconds: float = 5.0
    searches: int = 10
    resumers: int = 200
    long: int = 5_000
    followers: int = 500
    fast_per_second: float = 100.0
    idle: int = 5_000
    lasting: int = 10_000
    query_seconds: float = 0.02


QUICK = Sizes(
    warm_up=10,
    replies=5,
    words=50,
    burst=10,
    seconds=0.5,
    searches=1,
    resumers=5,
    long=100,
    followers=30,
    idle=20,
)
"""Enough to see that everything works; the figures say nothing."""


@dataclass
class Bench:
    """A server, its load, and what was measured of it."""

    server: Server
    selection: Selection
    cores: Cores
    sizes: Sizes
    is_disturbed: bool = False
    _ids: Iterator[int] = field(default_factory=itertools.count)
    _clients: list[Client] = field(default_factory=list)

    async def open(self, count: int = 1) -> list[Client]:
        """So many sockets."""
        clients: list[Client] = []
        while len(clients) < count:
            group = min(OPEN_AT_ONCE, count - len(clients))
            opening = (
                self.server.kind.open(self.server.port, self.selection) for _ in range(group)
            )
            clients += await asyncio.gather(*opening)
        self._clients += clients
        return clients

    def close(self) -> None:
        """Leaves all sockets, without a goodbye."""
        for client in self._clients:
            client.abort()
        self._clients.clear()

    def send(self, client: Client, order: str, conversation_id: str = "") -> Reply:
        """Sends a message, in a conversation of its own if none is given."""
        id = f"message-{os.getpid()}-{next(self._ids)}"
        return client.send_message(id, conversation_id or id, order)

    @contextmanager
    def metering(self) -> Iterator[Callable[[], Usage]]:
        """Counts the server's CPU time until the function is called; our own collector waits."""
        gc.collect()
        gc.disable()
        meter = Meter(self.server.pid, self.cores)

        def stop() -> Usage:
            usage = meter.stop()
            self.is_disturbed = self.is_disturbed or usage.is_disturbed
            return usage

        try:
            yield stop
        finally:
            gc.enable()

    async def warm_up(self) -> None:
        """Lets the server compile and cache what it will, with all kinds of operations."""
        clients = await self.open(20)
        replies = [self.send(client, f"{self.sizes.warm_up} 0") for client in clients]
        await ended(replies)
        again = [
            client.resume_message(reply.id, "")
            for client, reply in zip(clients, replies, strict=True)
        ]
        await ended(again)
        for reply in (*replies, *again):
            reply.check(words=self.sizes.warm_up)
        self.close()


async def ended(replies: Sequence[Reply]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.gather(*(reply.ended for reply in replies))


async def begun(replies: Sequence[Reply]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.gather(*(reply.begun for reply in replies))


def percentile(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else math.nan


def lags(replies: Sequence[Reply], begin: float, end: float = math.inf) -> list[float]:
    """How late each word came that was due between two moments."""
    return [came - due for reply in replies for due, came in reply.words() if begin <= due < end]


async def full_speed(bench: Bench) -> Figures:
    """Every word is an event: the loop runs between the words of a reply."""
    return await _full_speed(bench, f"{bench.sizes.words} 0")


async def full_speed_joined(bench: Bench) -> Figures:
    """Words come in bursts: those of one burst may share an event."""
    return await _full_speed(bench, f"{bench.sizes.words} 0 {bench.sizes.burst}")


async def _full_speed(bench: Bench, order: str) -> Figures:
    clients = await bench.open(bench.sizes.replies)
    with bench.metering() as stop:
        replies = [bench.send(client, order) for client in clients]
        await ended(replies)
        usage = stop()
    words = sum(reply.check(words=bench.sizes.words) for reply in replies)
    chunks = sum(reply.chunks for reply in replies)
    return {
        "µs/word": usage.cpu_seconds * 1e6 / words,
        "µs/event": usage.cpu_seconds * 1e6 / chunks,
        "words/event": words / chunks,
        "words/s": words / usage.seconds,
    }


async def paced(bench: Bench, replies: int) -> Figures:
    """Replies at a human pace, one socket each."""
    rate, seconds = bench.sizes.per_second, bench.sizes.seconds
    clients = await bench.open(replies)
    # Replies begin evenly spread over a second or more, so that their words are, too.
    ramp = max(1.0, replies / 300)
    order = f"{int((ramp + JOIN_SECONDS + 2 * seconds + 5) * rate)} {rate:g}"
    begin, sent = time.monotonic(), []
    for number, client in enumerate(clients):
        await asyncio.sleep(max(0.0, begin + ramp * number / replies - time.monotonic()))
        sent.append(bench.send(client, order))
    await asyncio.sleep(JOIN_SECONDS)
    with bench.metering() as stop:
        window = time.time()
        await asyncio.sleep(seconds)
        usage = stop()
        end = window + usage.seconds
        await asyncio.sleep(min(1.0, seconds))  # Words of the window that are late.
    bench.close()
    for reply in sent:
        reply.check()
    late = lags(sent, window, end)
    missing = max(0, int(replies * rate * usage.seconds) - len(late) - replies)
    late += [math.inf] * missing
    events = sum(reply.chunks_between(window, end) for reply in sent)
    return {
        "replies": replies,
        "p99 ms": percentile(late, 0.99) * 1_000,
        "p50 ms": percentile(late, 0.5) * 1_000,
        "cores": usage.cpu_seconds / usage.seconds,
        "words/event": len(late) / max(1, events),
    }


async def resumed(bench: Bench) -> Figures:
    """Many resume a long reply that has ended, at once, with half of its text."""
    words, half = bench.sizes.long, bench.sizes.long // 2
    [first] = await bench.open()
    source = bench.send(first, f"{words} 0")
    await ended([source])
    source.check(words=words)
    content = "".join(f"{word} " for word in source.text.split()[:half])
    clients = await bench.open(bench.sizes.resumers)
    with bench.metering() as stop:
        begin = time.time()
        replies = [client.resume_message(source.id, content) for client in clients]
        await ended(replies)
        usage = stop()
    for reply in replies:
        reply.check(skipped=half, words=words, offset=len(content))
    return {
        "µs/client": usage.cpu_seconds * 1e6 / len(replies),
        "last after ms": (max(reply.ended_at for reply in replies) - begin) * 1_000,
    }


async def followed(bench: Bench) -> Figures:
    """Many follow one reply that is fast."""
    rate = bench.sizes.fast_per_second
    words = int((2 * bench.sizes.seconds + 2 * JOIN_SECONDS) * rate)
    first, *clients = await bench.open(bench.sizes.followers + 1)
    source = bench.send(first, f"{words} {rate:g}")
    await begun([source])
    followers = [client.resume_message(source.id, "") for client in clients]
    await begun(followers)
    await asyncio.sleep(JOIN_SECONDS)
    with bench.metering() as stop:
        begin = time.time()
        await ended([source, *followers])
        usage = stop()
    for reply in (source, *followers):
        reply.check(words=words)
    late = lags(followers, begin)
    last_due = max(due for due, _ in source.words())
    return {
        "p99 ms": percentile(late, 0.99) * 1_000,
        "p50 ms": percentile(late, 0.5) * 1_000,
        "cores": usage.cpu_seconds / usage.seconds,
        "ends late ms": (max(reply.ended_at for reply in followers) - last_due) * 1_000,
        "words/event": len(late)
        / sum(reply.chunks_between(begin, math.inf) for reply in followers),
    }


async def idle(bench: Bench) -> Figures:
    """Subscriptions on which nothing happens, and what is left when they are closed."""
    count, pid = bench.sizes.idle, bench.server.pid
    memory, files = memory_bytes(pid), open_files(pid)
    clients = await bench.open(count)
    replies = []
    for number, client in enumerate(clients):
        replies.append(bench.send(client, SILENT))
        if number % OPEN_AT_ONCE == OPEN_AT_ONCE - 1:
            await begun(replies[-1:])
    await begun(replies)
    with bench.metering() as stop:
        await asyncio.sleep(bench.sizes.seconds / 2)
        usage = stop()
    each = (memory_bytes(pid) - memory) / count
    bench.close()
    await _files_at_most(pid, files)
    # What a process does not give back to the system it uses again: so what counts is the growth
    # from the second time on.
    left = []
    for _ in range(4):
        followers = [
            client.resume_message(replies[0].id, "") for client in await bench.open(count // 5)
        ]
        await begun(followers)
        bench.close()
        await _files_at_most(pid, files)
        left.append(memory_bytes(pid))
    return {
        "KB each": each / 1_024,
        "cores": usage.cpu_seconds / usage.seconds,
        "KB left each": (left[-1] - left[1]) / 1_024 / (2 * (count // 5)),
    }


async def _files_at_most(pid: int, count: int) -> None:
    """Returns when a server has no more files open than it had."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while open_files(pid) > count:  # noqa: ASYNC110 - It is another process.
            await asyncio.sleep(0.05)


async def fair(bench: Bench) -> Figures:
    """A short query on another socket, while replies run at full speed."""
    conversation = "with-ten-messages"
    [other] = await bench.open()
    for _ in range(5):
        await ended([bench.send(other, "50 0", conversation)])
    clients = await bench.open(bench.sizes.replies)
    replies = [bench.send(client, f"{bench.sizes.lasting} 0") for client in clients]
    await begun(replies)
    waits: list[float] = []
    with bench.metering() as stop:
        end = time.monotonic() + bench.sizes.seconds
        while time.monotonic() < end:
            asked = time.monotonic()
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert len(await other.messages(conversation)) == 10
            if any(reply.ended.done() for reply in replies):
                break
            waits.append(time.monotonic() - asked)
            await asyncio.sleep(max(0.0, asked + bench.sizes.query_seconds - time.monotonic()))
        stop()
    bench.close()
    for reply in replies:
        reply.check()
    return {
        "p99 ms": percentile(waits, 0.99) * 1_000,
        "p50 ms": percentile(waits, 0.5) * 1_000,
        "queries": len(waits),
    }


async def started(bench: Bench) -> Figures:
    """From the command to a server that takes connections."""
    return {"s": bench.server.start_seconds}


@dataclass(frozen=True)
class Workload:
    """A measurement, its heading, and the figures by which servers are compared."""

    title: Callable[[Sizes], str]
    measure: Callable[[Bench], Awaitable[Figures]] | None
    compared: tuple[str, ...]


WORKLOADS = {
    "full-speed": Workload(
        lambda s: f"W1: {s.replies:,} replies of {s.words:,} words at full speed, an event a word",
        full_speed,
        ("µs/event",),
    ),
    "joined": Workload(
        lambda s: f"W1: the same in bursts of {s.burst} words, which may share events",
        full_speed_joined,
        ("µs/word",),
    ),
    "paced": Workload(
        lambda s: f"W2: the most replies of {s.per_second:g} words/s with p99 lag below 100 ms",
        None,
        ("replies",),
    ),
    "resumed": Workload(
        lambda s: f"W3: {s.resumers:,} clients resume half of a reply of {s.long:,} words at once",
        resumed,
        ("µs/client",),
    ),
    "followed": Workload(
        lambda s: f"W4: {s.followers:,} follow one reply of {s.fast_per_second:g} words/s",
        followed,
        ("p99 ms", "cores"),
    ),
    "idle": Workload(lambda s: f"W5: {s.idle:,} idle subscriptions", idle, ("KB each",)),
    "start": Workload(lambda _: "Start: from the command to listening", started, ("s",)),
    "fair": Workload(
        lambda s: f"Fairness: a query while {s.replies:,} replies run at full speed",
        fair,
        ("p99 ms",),
    ),
}
