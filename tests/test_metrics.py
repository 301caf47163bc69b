"""What the counts cost: how many labels they may have, and folders that nobody needs any more."""

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from graphql_app import metrics
from graphql_app.messages import Usage
from tests.processes import ServerProcess, serving
from tests.wire import SEND, eventually, open_socket


def replies_of(model: str) -> float | None:
    name = "graphql_app_reply_duration_seconds_count"
    return REGISTRY.get_sample_value(name, {"model": model})


def test_only_the_first_models_of_a_process_are_counted_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics, "_models", set())
    before = {name: replies_of(name) or 0 for name in (metrics.OTHER, metrics.UNKNOWN)}

    def count(model: str | None) -> None:
        metrics.reply_began()
        metrics.reply_ended(None, Usage(model, duration=1.0))

    for number in range(metrics.MOST_MODELS + 5):
        count(f"bounded-{number}")
    count("bounded-0")
    count(None)
    assert replies_of("bounded-0") == 2
    assert replies_of(f"bounded-{metrics.MOST_MODELS - 1}") == 1
    assert replies_of(f"bounded-{metrics.MOST_MODELS}") is None
    assert replies_of(metrics.OTHER) == before[metrics.OTHER] + 5
    assert replies_of(metrics.UNKNOWN) == before[metrics.UNKNOWN] + 1


def is_running(pid: int) -> bool:
    """Whether a process has not ended, though nobody may have waited for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


async def test_what_a_killed_server_left_is_removed_when_its_workers_have_ended(
    tmp_path: Path, stack: ExitStack
) -> None:
    folders = tmp_path / "tmp"
    folders.mkdir()

    def start(name: str) -> tuple[ServerProcess, Path]:
        """A server, and the folder that it made."""
        before = set(folders.iterdir())
        options = ("--workers", "2", "--store", f"sqlite:///{tmp_path / name}.db")
        completion = ("--completion", "echo", "--word-delay", "0.1")
        environment = {"TMPDIR": str(folders)}
        server = stack.enter_context(serving(*options, *completion, environment=environment))
        [folder] = set(folders.iterdir()) - before
        return server, folder

    killed, left = start("killed")
    workers = killed.workers()
    try:
        async with open_socket(killed.url) as socket:
            draft = {"message": {"id": "m1", "content": "and so it goes on " * 1_000}}
            await socket.follow(SEND, draft, most_chunks=2)
            killed.process.kill()
            killed.process.wait()
        living, used = start("living")
        assert left.exists()  # One worker goes on with its reply for a while.
    finally:
        for worker in workers:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
    await eventually(lambda: not any(is_running(worker) for worker in workers))
    start("next")
    assert not left.exists()
    assert used.exists()
    assert living.terminate() == -signal.SIGTERM
    assert not used.exists()


@pytest.mark.timeout(20)
def test_folders_of_other_users_are_not_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / f"{metrics.FOLDERS}of-another"
    folder.mkdir()
    os.mkfifo(folder / metrics.LOCK)  # Whoever opens it waits for ever.
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    with metrics.shared_by_workers():
        pass
    assert folder.exists()
