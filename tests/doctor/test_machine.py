"""What is found about the machine."""

import resource
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from graphql_app.doctor import machine
from graphql_app.doctor.findings import Level
from graphql_app.settings import Settings
from tests.processes import serving
from tests.servers import free_port


@pytest.mark.parametrize(
    ("limits", "level", "advice"),
    [
        ((1_024, 1_048_576), Level.WARN, "ulimit -n 12100"),
        ((1_024, 4_096), Level.WARN, "hard limit is 4,096"),
        ((12_100, 12_100), Level.OK, ""),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), Level.OK, ""),
    ],
)
def test_too_few_files_for_the_sockets_are_found(
    limits: tuple[int, int], level: Level, advice: str
) -> None:
    finding = machine.files(Settings(), limits)
    assert finding.level is level
    assert advice in finding.advice


@pytest.mark.parametrize(
    ("workers", "gigabytes", "level"),
    [(1, 4, Level.OK), (1, 0.5, Level.WARN), (8, 4, Level.WARN), (1, None, Level.OK)],
)
def test_too_little_memory_for_all_who_are_let_in_is_found(
    workers: int, gigabytes: float | None, level: Level
) -> None:
    available = None if gigabytes is None else int(gigabytes * 1e9)
    assert machine.memory(Settings(workers=workers), available).level is level


def test_sockets_that_deflate_need_more_memory() -> None:
    assert machine.memory(Settings(deflate=True), 1_000_000_000).level is Level.WARN
    assert machine.memory(Settings(), 1_000_000_000).level is Level.OK


def test_fewer_sockets_and_replies_need_less_memory() -> None:
    few = Settings(max_sockets=100, max_replies=50)
    assert machine.memory(few, 500_000_000).level is Level.OK


@pytest.mark.parametrize(
    ("allowed", "level"), [(128, Level.WARN), (4_096, Level.OK), (None, Level.OK)]
)
def test_a_short_line_in_front_of_the_door_is_found(allowed: int | None, level: Level) -> None:
    assert machine.backlog(allowed).level is level


def test_how_long_the_end_takes_is_said() -> None:
    assert "42 s at worst" in machine.ending(Settings()).sentence
    assert "81 s at worst" in machine.ending(Settings(drain_seconds=59)).sentence


def test_workers_without_a_temporary_folder_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    assert machine.temporary(Settings()).level is Level.OK
    assert machine.temporary(Settings(workers=2)).level is Level.FAIL


def test_root_is_found() -> None:
    assert machine.user(0).level is Level.WARN
    assert machine.user(1000).level is Level.OK


@pytest.mark.parametrize(("year", "level"), [(1970, Level.FAIL), (2026, Level.OK)])
def test_a_clock_that_was_never_set_is_found(year: int, level: Level) -> None:
    assert machine.year(datetime(year, 1, 1, tzinfo=UTC)).level is level


def test_a_clock_that_is_being_set_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    assert machine.steady().level is Level.OK
    began = time.monotonic()
    # It goes twice as fast.
    monkeypatch.setattr(time, "time", lambda: real() + (time.monotonic() - began))
    assert machine.steady().level is Level.WARN


def test_a_free_port_is_not_taken_by_the_look() -> None:
    settings = Settings(port=free_port())
    assert machine.port(settings).level is Level.OK
    assert machine.port(settings).level is Level.OK


def test_whether_a_port_is_free_does_not_depend_on_who_may_come() -> None:
    assert machine.port(Settings(host="0.0.0.0", port=free_port())).level is Level.OK


def test_a_port_is_ours_or_a_strangers() -> None:
    import socket

    with serving() as server:
        finding = machine.port(Settings(port=server.port))
        assert finding.level is Level.OK
        assert "by a graphql-app that runs" in finding.sentence
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        assert machine.port(Settings(port=stranger.getsockname()[1])).level is Level.FAIL


def test_missing_pages_are_found(tmp_path: Path) -> None:
    (tmp_path / "index.html").touch()
    finding = machine.pages(tmp_path)
    assert finding.level is Level.WARN
    assert finding.sentence.startswith("playground.html is not in")
    (tmp_path / "playground.html").touch()
    assert machine.pages(tmp_path).level is Level.OK


def test_all_of_the_machine_is_looked_at() -> None:
    names = [finding.name for finding in machine.examine(Settings(port=free_port()))]
    assert len(names) == len(set(names)) == 10
