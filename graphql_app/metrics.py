"""What operators watch, in the text format of Prometheus.

Several workers of one machine count together: the process that starts them makes a folder for
their counts (`shared_by_workers`), and whichever worker is asked answers for all. It and its
workers hold that folder by a lock, which ends with them, however they end; the next one to start
removes the folders that nobody holds.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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

_models: set[str] = set()


def refused(reason: str) -> None:
    """Counts a refusal: a request, socket or operation that was not let in.

    Args:
        reason: one of a few words that the code holds; never anything from outside.
    """
    _refusals.labels(reason).inc()


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
        # Somebody counts there, or will, or it is another user's.
        with suppress(OSError), (folder / LOCK).open("rb") as file:
            _lock(file, is_shared=False)
            shutil.rmtree(folder, ignore_errors=True)


def _lock(file: IO[bytes], *, is_shared: bool) -> None:
    """Locks a file until it is closed, or this process ends; BlockingIOError: it is locked."""
    import fcntl  # Windows does not have it, and no workers.

    fcntl.flock(file, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
