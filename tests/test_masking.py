"""What others say, in the log: no keys, not too much, and nothing that a terminal would obey."""

import logging
import sys
from time import monotonic

import pytest

from graphql_app.logs import Formatter
from graphql_app.masking import LINE_LENGTH, READ_LENGTH, masked, masked_traceback

KEY = "abcdef0123456789"
OWN = {"OWN_TOKEN": "correct horse", "LONGER_SECRET": "correct horse battery", "SHORT_KEY": "a"}


@pytest.mark.parametrize(
    "text",
    [
        f"Incorrect API key provided: {KEY}. You can find it",
        "Incorrect API key provided: sk-abc***wxyz.",
        f"header Authorization: Bearer {KEY}",
        "Authorization: Basic abcdef0123456789==",
        f"{{'Authorization': 'Basic {KEY}'}}",
        f"GET https://host/v1?alt=sse&key={KEY}&x=1",
        f"https://me:{KEY}@host/v1",
        f"https://me:a@{KEY}@host/v1",
        f"{{'api_key': '{KEY}'}}",
        f'{{\\"password\\": \\"{KEY}\\"}}',
        f"OPENAI_API_KEY={KEY}",
        f"x-api-key: {KEY}",
        f"token={KEY}",
        "a token: eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhYmNkZWYwMTIzNDU2Nzg5In0.abcdef0123456789",
        f"password={KEY}",
        f'password="two {KEY}"',
        f'The key "{KEY}" is wrong.',
        f"Your key {KEY} is wrong.",
        "the value of my own variable: correct horse",
        "the longer of two: correct horse battery",
    ],
)
def test_the_log_has_no_keys(text: str) -> None:
    for shown in (masked(text, OWN), masked_traceback(f"first line\n{text}\nlast line", OWN)):
        assert "***" in shown
        for secret in (KEY, "wxyz", "horse", "battery"):
            assert secret not in shown


def test_what_is_no_key_is_left_as_it_is() -> None:
    text = "KeyError: 'key'; max_tokens=5; basic auth; a key of this kind; redis://me:***@host/v1"
    assert masked(text, OWN) == text


def test_the_log_has_no_more_than_it_needs() -> None:
    assert masked("one\n two\t three", {}) == "one two three"
    assert len(masked("word " * 1_000, {})) == LINE_LENGTH


def test_a_secret_through_which_a_cut_goes_is_not_shown_in_part() -> None:
    for known in range(len(OWN["OWN_TOKEN"])):
        text = " " * (READ_LENGTH - known) + OWN["OWN_TOKEN"]
        assert masked(text, OWN).strip("…") == ""


@pytest.mark.parametrize("text", ["api_key ", "key '", "://", "bearer ", "a", "\\", " "])
def test_a_text_of_a_hundred_megabytes_takes_no_time(text: str) -> None:
    huge = text * (100_000_000 // len(text))
    began = monotonic()
    masked(huge)
    masked_traceback(huge)
    assert monotonic() - began < 0.5


@pytest.mark.parametrize("control", ["\x1b[31m", "\x9b31m", "\b", "\x07", "\r", "\u202e"])
def test_nothing_that_a_terminal_would_obey_is_logged(control: str) -> None:
    for shown in (masked(f"one{control}two", {}), masked_traceback(f"one\n\ttwo{control}", {})):
        assert control[0] not in shown
    assert "\n\t" in masked_traceback(f"one\n\ttwo{control}", {})


def test_a_long_traceback_keeps_its_beginning_and_its_end() -> None:
    lines = [f"line {number}" for number in range(100_000)]
    shown = masked_traceback("\n".join(lines), {}).split("\n")
    assert (shown[0], shown[-1]) == (lines[0], lines[-1])
    assert "…" in "".join(shown)
    assert len(shown) < 20_000


def test_a_traceback_in_the_servers_log_has_no_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OWN_SECRET", "correct horse")
    try:
        raise RuntimeError(f"Incorrect API key provided: {KEY}; and correct horse.")
    except RuntimeError:
        record = logging.LogRecord(
            "graphql_app", logging.ERROR, "", 0, "a completion failed", None, sys.exc_info()
        )
    shown = Formatter(content=True).format(record)
    assert "RuntimeError: Incorrect API key provided: ***" in shown
    assert KEY not in shown
    assert "horse" not in shown


def test_what_is_sent_to_a_collector_in_headers_is_a_secret() -> None:
    environment = {"OTEL_EXPORTER_OTLP_HEADERS": "x-key=correct-horse==, other=battery staple,a=b"}
    said = "invalid: correct-horse==; battery staple; a=b"
    assert masked(said, environment) == "invalid: ***; ***; a=b"
