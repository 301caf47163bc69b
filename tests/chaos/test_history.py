"""A history can be kept and judged again."""

from pathlib import Path

import pytest

from tests.chaos.history import (
    Away,
    Chunk,
    Closed,
    Ending,
    Event,
    Listed,
    Opened,
    Recorder,
    Round,
    Row,
    Stopped,
    Way,
    read_history,
)

ROW = Row("r0", "c0", "ASSISTANT", "Hi 😀", "ERROR", "PRODUCER_LOST", "m0", "2026-11-01T00:00:00Z")

EVENTS: list[Event] = [
    Round("sqlite", "kill", 7, 2.0),
    Opened(1.25, 1, "ann", "p0", Way.CONTENT, "m0", "Hi \u2028"),
    Chunk(1.5, 1, "r0", 3, "half a face: \ud83d", "STREAMING", None),
    Closed(2.0, 1, Ending.LOST, "1006"),
    Listed(1.0, 1.5, "bob", "p1", "c0", (ROW, ROW)),
    Stopped(1.0, 1.5, "bob", "p1", "m0", ROW),
    Stopped(1.0, 1.5, "bob", "p1", "m0", None),
    Away(1.0, 2.0, True, {"p0": 0.5}),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_what_was_recorded_is_read_as_it_was(event: Event, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "history")
    recorder.add(event)
    recorder.close()
    assert read_history(tmp_path / "history") == [event]


def test_several_files_are_one_history(tmp_path: Path) -> None:
    for name, events in (("one", EVENTS[:3]), ("two", EVENTS[3:])):
        recorder = Recorder(tmp_path / name)
        for event in events:
            recorder.add(event)
        recorder.close()
    assert read_history(tmp_path / "one", tmp_path / "none", tmp_path / "two") == EVENTS
