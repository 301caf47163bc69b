"""What operators watch, in the text format of Prometheus.

Several workers of one machine count together: the process that starts them makes a folder for
their counts (`shared_by_workers`), and whichever worker is asked answers for all.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

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

UNKNOWN = "unknown"
"""The model of a reply whose completion does not say it."""

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
    model = usage.model or UNKNOWN
    if usage.input_tokens is not None:
        _tokens.labels(model, "input").inc(usage.input_tokens)
    if usage.output_tokens is not None:
        _tokens.labels(model, "output").inc(usage.output_tokens)
    if usage.time_to_first_token is not None:
        _first_token.labels(model).observe(usage.time_to_first_token)
    if usage.duration is not None:
        _duration.labels(model).observe(usage.duration)


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
    folder = tempfile.mkdtemp(prefix="graphql-app-metrics-")
    os.environ[FOLDER] = folder
    try:
        yield
    finally:
        del os.environ[FOLDER]
        shutil.rmtree(folder, ignore_errors=True)


def worker_ended(pid: int) -> None:
    """Forgets what a worker was doing; what it has counted stays."""
    mark_process_dead(pid)  # type: ignore[no-untyped-call]
