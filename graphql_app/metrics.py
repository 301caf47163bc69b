"""What operators watch, in the text format of Prometheus.

Several workers of one machine count together: the process that starts them makes a folder for
their counts (`shared_by_workers`), and whichever worker is asked answers for all. It and its
workers hold that folder by a lock, which ends with them, however they end; the next one to start
removes the folders that nobody holds.

What happens for each word is not counted here: a counter with a lock takes as long as a tenth of
all that a word costs. Whoever sends words adds to integers of his own, and is asked for them once a
second, and before each answer: see `counting`.
"""

import asyncio
import os
import platform
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import IO

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from graphql_app.messages import Message, Usage

CONTENT_TYPE = CONTENT_TYPE_LATEST

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable by which prometheus_client learns, when it is imported, where workers count."""

FOLDERS = "graphql-app-metrics-"
"""How the names of such folders begin."""

LOCK = "lock"
"""The file in such a folder that is locked while somebody counts there."""

UNKNOWN = "unknown"
"""The model of a reply whose completion does not say it."""

MOST_MODELS = 100
"""How many models a process counts one by one; names come from outside, and each costs memory."""

OTHER = "other"
"""The model of all replies of further models."""

GONE = "GONE"
"""The status of a reply that was cleared, or whose end cannot be read."""

_streaming = Gauge(
    "graphql_app_replies_streaming",
    "Replies that this server produces now.",
    multiprocess_mode="livesum",
)
_replies = Counter(
    "graphql_app_replies",
    "Replies that ended, by final status (GONE: cleared) and, for ERROR, by its code.",
    ["status", "code"],
)
_tokens = Counter(
    "graphql_app_tokens",
    "Tokens as the providers count them, of replies whose provider said so.",
    ["model", "kind"],
)
_first_token = Histogram(
    "graphql_app_time_to_first_token_seconds",
    "From the completion's call to its first text.",
    ["model"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60),
)
_duration = Histogram(
    "graphql_app_reply_duration_seconds",
    "From the completion's call to its end.",
    ["model"],
    buckets=(0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600),
)
_refusals = Counter(
    "graphql_app_refusals",
    "What was refused before it could begin, by reason.",
    ["reason"],
)

_operations = Counter(
    "graphql_app_operations",
    "Operations that are over, by what they were, how they came, and their code.",
    ["kind", "transport", "code"],
)
_operation_duration = Histogram(
    "graphql_app_operation_duration_seconds",
    "From an operation's arrival to its end; of a subscription, that of what it streams.",
    ["kind"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 120, 600),
)
_internal_errors = Counter(
    "graphql_app_internal_errors",
    "What nobody expected; the log has each with the id that its client was told.",
)
_sockets = Gauge("graphql_app_sockets", "Sockets that are open.", multiprocess_mode="livesum")
_sockets_opened = Counter("graphql_app_sockets_opened", "Sockets that were opened.")
_sockets_closed = Counter(
    "graphql_app_sockets_closed",
    "Sockets that were closed, by the code of whoever closed first (1006: without one).",
    ["code"],
)
_followers = Gauge(
    "graphql_app_followers",
    "Subscriptions that follow a reply now.",
    multiprocess_mode="livesum",
)
_chunks = Counter("graphql_app_chunks_sent", "Chunks and events that subscriptions were sent.")
_bytes = Counter("graphql_app_bytes_sent", "The size of those, as they were sent.")
_lag = Histogram(
    "graphql_app_follower_lag_seconds",
    "From when a process knows of a new text to when a follower there was sent it; sampled.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
_resumes = Counter("graphql_app_resumes", "Replies that were followed from where a client was.")
_replayed = Counter(
    "graphql_app_replayed_bytes", "Stored text that those were sent at once, UTF-8."
)
_store_seconds = Histogram(
    "graphql_app_store_seconds",
    "How long a store took, by method; not of the memory store.",
    ["method"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 3, 10),
)
_store_failures = Counter(
    "graphql_app_store_failures", "Calls that found the store away, by method.", ["method"]
)
_lease_losses = Counter(
    "graphql_app_lease_losses", "How often a process had lost its lease, and its replies with it."
)
_loop_lag = Histogram(
    "graphql_app_event_loop_lag_seconds",
    "How much later than asked for the event loop came back, once a second.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
_processes = Gauge(
    "graphql_app_processes", "Processes that serve on this machine.", multiprocess_mode="livesum"
)
_memory = Gauge(
    "graphql_app_memory_bytes", "Resident memory of those.", multiprocess_mode="livesum"
)
_cpu = Counter("graphql_app_cpu_seconds", "What they, and those before them, took of processors.")
_build = Gauge(
    "graphql_app_build",
    "1, for the version that runs.",
    ["version", "python"],
    multiprocess_mode="livemax",
)

COUNT_SECONDS = 1.0
"""The pause between two times that everybody is asked for what he counts."""

CLOSE_CODES = frozenset(
    {
        *(1000, 1001, 1002, 1003, 1005, 1006, 1007, 1009, 1011, 1012, 1013),
        *(4400, 4401, 4403, 4406, 4408, 4409, 4429, 4500),
    }
)
"""Codes by which sockets are counted; a client may close with thousands of others."""

_asked: set[Callable[[], None]] = set()
_cpu_counted = 0.0

_models: set[str] = set()


def refused(reason: str) -> None:
    """Counts a refusal: a request, socket or operation that was not let in.

    Args:
        reason: one of a few words that the code holds; never anything from outside.
    """
    _refusals.labels(reason).inc()


def operation_ended(kind: str | None, transport: str, code: str, seconds: float) -> None:
    """Counts an operation; all three words are of those that the code holds."""
    kind = kind or UNKNOWN
    _operations.labels(kind, transport, code).inc()
    _operation_duration.labels(kind).observe(seconds)


def internal_error() -> None:
    _internal_errors.inc()


def socket_opened() -> None:
    _sockets.inc()
    _sockets_opened.inc()


def socket_closed(code: int) -> None:
    _sockets.dec()
    _sockets_closed.labels(str(code) if code in CLOSE_CODES else OTHER).inc()


def sent(chunks: int, size: int) -> None:
    """Counts what subscriptions were sent since the last time."""
    _chunks.inc(chunks)
    _bytes.inc(size)


def following(followers: int) -> None:
    """Says how many follow now."""
    _followers.set(followers)


def lagged(seconds: float) -> None:
    """Notes how late a follower was."""
    _lag.observe(seconds)


def resumed(replayed: str) -> None:
    """Counts a resume, and what it was sent at once."""
    _resumes.inc()
    size = len(replayed) if replayed.isascii() else len(replayed.encode(errors="surrogatepass"))
    _replayed.inc(size)


def lease_lost() -> None:
    _lease_losses.inc()


def store_call(method: str) -> tuple[Callable[[float], None], Callable[[], None]]:
    """What takes the times of a method of the store, and what counts that it failed."""
    return _store_seconds.labels(method).observe, _store_failures.labels(method).inc


def reply_began() -> None:
    _streaming.inc()


def reply_ended(ended: Message | None, usage: Usage | None) -> None:
    """Counts a reply that this process produced, once, when it is over.

    Args:
        ended: how it ended; None: it is gone.
        usage: None if its completion was never called.
    """
    _streaming.dec()
    if ended is None:
        _replies.labels(GONE, "").inc()
    else:
        _replies.labels(ended.status, ended.error.code if ended.error else "").inc()
    usage = usage or Usage()
    model = _label(usage.model)
    if usage.input_tokens is not None:
        _tokens.labels(model, "input").inc(usage.input_tokens)
    if usage.output_tokens is not None:
        _tokens.labels(model, "output").inc(usage.output_tokens)
    if usage.time_to_first_token is not None:
        _first_token.labels(model).observe(usage.time_to_first_token)
    if usage.duration is not None:
        _duration.labels(model).observe(usage.duration)


def _label(model: str | None) -> str:
    if not model:
        return UNKNOWN
    if model not in _models and len(_models) >= MOST_MODELS:
        return OTHER
    _models.add(model)
    return model


@asynccontextmanager
async def counting(*asked: Callable[[], None]) -> AsyncIterator[None]:
    """Counts for as long as this process serves.

    Args:
        asked: they count what they have, and are called once a second and by `count_now`.
    """
    _asked.update(asked)
    _processes.inc()
    _build.labels(version("graphql-app"), platform.python_version()).set(1)
    task = asyncio.create_task(_keep_counting())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        count_now()
        _asked.difference_update(asked)
        _processes.dec()


def count_now() -> None:
    """Makes everybody count what he has."""
    global _cpu_counted
    for each in _asked:
        each()
    _memory.set(_resident_bytes())
    cpu = time.process_time()
    _cpu.inc(max(cpu - _cpu_counted, 0))
    _cpu_counted = cpu


async def _keep_counting() -> None:
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        await asyncio.sleep(COUNT_SECONDS)
        _loop_lag.observe(max(loop.time() - began - COUNT_SECONDS, 0))
        count_now()


def _resident_bytes() -> int:
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:  # Only Linux has it.
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def exposition() -> bytes:
    """All counts, of all workers, as Prometheus reads them; blocks for some milliseconds."""
    if FOLDER not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


@contextmanager
def shared_by_workers() -> Iterator[None]:
    """Makes the processes that are started meanwhile count together."""
    _sweep()
    folder = tempfile.mkdtemp(prefix=FOLDERS)
    new = Path(folder, "new")
    os.environ[FOLDER] = folder
    try:
        with new.open("wb") as file:
            # Named when it is locked: what has no lock may be somebody's who is just starting.
            _lock(file, is_shared=True)
            new.rename(Path(folder, LOCK))
            yield
    finally:
        del os.environ[FOLDER]
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def as_a_worker() -> Iterator[None]:
    """Keeps the counts where they are until this worker ends, even if its parent is killed."""
    with Path(os.environ[FOLDER], LOCK).open("rb") as file:
        _lock(file, is_shared=True)
        yield


def worker_ended(pid: int) -> None:
    """Forgets what a worker was doing; what it has counted stays."""
    mark_process_dead(pid)  # type: ignore[no-untyped-call]


def _sweep() -> None:
    """Removes what those left who were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDERS}*"):
        # Somebody counts there, or will, or it is gone.
        with suppress(OSError):
            if folder.lstat().st_uid != os.getuid():
                continue  # Another user's may have a lock that nobody can open: a pipe.
            with (folder / LOCK).open("rb") as file:
                _lock(file, is_shared=False)
                shutil.rmtree(folder, ignore_errors=True)


def _lock(file: IO[bytes], *, is_shared: bool) -> None:
    """Locks a file until it is closed, or this process ends; BlockingIOError: it is locked."""
    import fcntl  # Windows does not have it, and no workers.

    fcntl.flock(file, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
