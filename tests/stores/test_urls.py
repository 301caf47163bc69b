"""What a store's URL says: its options, and how it may be shown."""

from datetime import timedelta
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphql_app.errors import ConfigurationError
from graphql_app.stores.urls import flag, kept_for, port_of, split_options, without_password

# split_options


@pytest.mark.parametrize(
    ("url", "base", "options"),
    [
        ("memory://", "memory://", {}),
        ("memory://?", "memory://", {}),
        ("memory://?ttl=7d", "memory://", {"ttl": "7d"}),
        ("memory://?&ttl=7d&", "memory://", {"ttl": "7d"}),
        ("redis://h?ttl=1h&volatile=1", "redis://h", {"ttl": "1h", "volatile": "1"}),
        ("redis://h?ttl", "redis://h", {"ttl": ""}),
        ("redis://h?ttl=", "redis://h", {"ttl": ""}),
        ("redis://h?%74tl=1%68", "redis://h", {"ttl": "1h"}),
        ("redis://h?ttl=1=2", "redis://h", {"ttl": "1=2"}),
        ("redis://h?ttl=a+b%2B", "redis://h", {"ttl": "a b+"}),
        ("redis://h?TTL=1h", "redis://h?TTL=1h", {}),
        ("redis://h?ttl=1h#x", "redis://h", {"ttl": "1h#x"}),
    ],
)
def test_options_are_taken_out_of_a_url(url: str, base: str, options: dict[str, str]) -> None:
    assert split_options(url, "ttl", "volatile") == (base, options)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("postgresql://h/d?host=/run/a%20b+c&ttl=1h", "postgresql://h/d?host=/run/a%20b+c"),
        ("postgresql://h/d?ttl=1h&a=1&b=2&a=3", "postgresql://h/d?a=1&b=2&a=3"),
        ("postgresql://h/d?empty=&bare&ttl=1h", "postgresql://h/d?empty=&bare"),
        ("postgresql://h/d?q=a?b&ttl=1h", "postgresql://h/d?q=a?b"),
        ("postgresql://h/d?name=\udcff&ttl=1h", "postgresql://h/d?name=\udcff"),
    ],
)
def test_what_is_left_of_the_query_string_is_as_it_was(url: str, base: str) -> None:
    assert split_options(url, "ttl") == (base, {"ttl": "1h"})


@pytest.mark.parametrize("again", ["ttl=1h", "ttl=2h", "%74tl=1h"])
def test_an_option_that_is_given_twice_is_refused(again: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        split_options(f"redis://me:secret@h?ttl=1h&{again}", "ttl")
    shown = f"redis://me:***@h?ttl=1h&{again}"
    assert str(refusal.value) == f"store: ttl is given twice in {shown!r}."


# kept_for


@pytest.mark.parametrize(
    ("ttl", "time"),
    [
        ("1", timedelta(seconds=1)),
        ("90s", timedelta(seconds=90)),
        ("007m", timedelta(minutes=7)),
        ("12h", timedelta(hours=12)),
        ("7d", timedelta(days=7)),
        ("36500d", timedelta(days=36_500)),
        ("999999999", timedelta(seconds=999_999_999)),
    ],
)
def test_a_ttl_is_a_number_and_a_unit(ttl: str, time: timedelta) -> None:
    assert kept_for({"ttl": ttl}) == time


def test_without_a_ttl_replies_are_kept_for_ever() -> None:
    assert kept_for({}) is None


NO_TIMES = [
    "",
    "1.5h",
    "1w",
    "1 h",
    " 1h",
    "1h\n",
    "h",
    "1hs",
    "1H",
    "²d",
    "١d",
    "1e3",
    "1_0",
    "inf",
]
TOO_SHORT = ["0", "0d", "-1s"]
TOO_LONG = ["36501d", "999999999d", "9999999999", "9" * 5_000]


@pytest.mark.parametrize("ttl", [*NO_TIMES, *TOO_SHORT, *TOO_LONG])
def test_a_ttl_that_is_no_time_or_too_short_or_too_long_is_refused(ttl: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        kept_for({"ttl": ttl})
    assert str(refusal.value) == (
        f"store: ttl must be a time from 1s to 36500d, such as 90s, 30m, 12h or 7d, not {ttl!r}."
    )


# flag


@pytest.mark.parametrize(("options", "on"), [({}, False), ({"x": "0"}, False), ({"x": "1"}, True)])
def test_a_flag_is_one_or_zero_and_zero_if_not_given(options: dict[str, str], on: bool) -> None:
    assert flag(options, "x") is on


@pytest.mark.parametrize("value", ["", "true", "yes", "01", "2", "1 "])
def test_a_flag_that_is_something_else_is_refused(value: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        flag({"volatile": value}, "volatile")
    assert str(refusal.value) == f"store: volatile must be 1 or 0, not {value!r}."


# port_of


@pytest.mark.parametrize(("text", "port"), [("1", 1), ("05432", 5432), ("65535", 65_535)])
def test_a_port_is_a_number(text: str, port: int) -> None:
    assert port_of(text, "redis://h") == port


@pytest.mark.parametrize(
    "text", ["", "0", "65536", "70000", "9" * 5_000, "-1", "+1", "1.0", "1_0", " 1", "1\n", "x"]
)
def test_a_port_that_is_none_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        port_of(text, f"redis://me:{text}@h")
    assert str(refusal.value) == (
        "store: a port must be a number from 1 to 65535, which one in 'redis://me:***@h' is not."
    )


# without_password


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("", ""),
        ("memory", "memory"),
        ("memory://", "memory://"),
        ("sqlite:////var/lib/chat.db?ttl=7d", "sqlite:////var/lib/chat.db?ttl=7d"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://me@host:6379/0", "redis://me@host:6379/0"),
        ("postgresql://[::1]:5432/chat", "postgresql://[::1]:5432/chat"),
        ("postgresql://me:secret@host:5432/chat", "postgresql://me:***@host:5432/chat"),
        ("postgresql://me:@host/chat", "postgresql://me:***@host/chat"),
        ("redis://:secret@host", "redis://:***@host"),
        ("redis://:%73ecret%40@host", "redis://:***@host"),
        ("redis+sentinel://:secret@one:1,two:2/chat", "redis+sentinel://:***@one:1,two:2/chat"),
        ("redis://h?password=secret&volatile=1", "redis://h?password=***&volatile=1"),
        (
            "redis://h?volatile=1&Sentinel_Password=a@b",
            "redis://h?volatile=1&Sentinel_Password=***",
        ),
        ("redis://me:secret@h?password=secret", "redis://me:***@h?password=***"),
        ("postgresql://h/d?sslpassword=a%26b&x=1", "postgresql://h/d?sslpassword=***&x=1"),
        # Not well-formed, as people write them.
        ("postgresql://me@corp.org:secret@host/chat", "postgresql://me@corp.org:***@host/chat"),
        ("postgresql://me:sec@ret@host/chat", "postgresql://me:***@host/chat"),
        ("postgresql://me:s/e?c#r@et@host/chat", "postgresql://me:***@host/chat"),
        ("redis://:sec\nret@host", "redis://:***@host"),
        ("redis://:sec://ret@host", "redis://:***@host"),
        ("redis:secret@host", "redis:***@host"),
        ("redis//:secret@host", "redis//:***@host"),
        ("me:secret@host", "me:***@host"),
        ("host=h password=secret dbname=chat", "host=h password=***"),
    ],
)
def test_a_url_is_shown_without_passwords(url: str, shown: str) -> None:
    assert without_password(url) == shown


SECRETS = st.text(min_size=1, max_size=20).map(lambda text: f"<{text}>")


@given(SECRETS, st.sampled_from(["", "me", "me%40corp"]))
def test_no_password_is_ever_shown(secret: str, user: str) -> None:
    """Neither as it must be written, nor as it is."""
    for written in (quote(secret, safe=""), secret):
        assert without_password(f"postgresql://{user}:{written}@host:1/d?ttl=7d") == (
            f"postgresql://{user}:***@host:1/d?ttl=7d"
        )
    written = quote_plus(secret)
    assert without_password(f"redis://host:1?x=1&password={written}&ttl=7d") == (
        "redis://host:1?x=1&password=***&ttl=7d"
    )
