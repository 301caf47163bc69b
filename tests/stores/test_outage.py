"""An outage is told twice: when it begins, and when it ends."""

import logging

import pytest

from graphql_app.stores.outage import Outage


@pytest.fixture
def outage(caplog: pytest.LogCaptureFixture) -> Outage:
    caplog.set_level(logging.INFO)
    return Outage("redis://host")


def test_an_outage_is_told_once_however_many_calls_fail(
    outage: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        outage.begins(ConnectionError("connection refused"))
    assert caplog.messages == ["the store redis://host is away: connection refused"]


def test_the_end_of_an_outage_is_told_once(
    outage: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    outage.begins(ConnectionError("connection refused"))
    caplog.clear()
    for _ in range(3):
        outage.ends()
    assert caplog.messages == ["the store redis://host is back"]


def test_a_store_that_was_never_away_is_not_told_to_be_back(
    outage: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    outage.ends()
    assert caplog.messages == []


def test_each_outage_is_told(outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        outage.begins(ConnectionError("gone"))
        outage.ends()
    assert (
        caplog.messages
        == [
            "the store redis://host is away: gone",
            "the store redis://host is back",
        ]
        * 2
    )


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (TimeoutError(), "TimeoutError"),
        (OSError(" \n"), "OSError"),
        (OSError("\nfirst line\nsecond line"), "first line"),
        (ConnectionRefusedError(111, "refused"), "[Errno 111] refused"),
    ],
)
def test_a_cause_is_told_in_one_line(
    outage: Outage, caplog: pytest.LogCaptureFixture, cause: Exception, reason: str
) -> None:
    outage.begins(cause)
    assert caplog.messages == [f"the store redis://host is away: {reason}"]
