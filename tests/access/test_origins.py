"""The pages that may use a server."""

import re

import pytest

from graphql_app.access.hosts import place_from
from graphql_app.access.origins import Origins, origin_from, read_origin


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("https://chat.example", "https://chat.example"),
        ("https://chat.example:443", "https://chat.example"),
        ("http://chat.example:80", "http://chat.example"),
        ("http://chat.example:443", "http://chat.example:443"),
        ("HTTPS://Chat.Example.", "https://chat.example"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("http://[0:0:0:0:0:0:0:1]:80", "http://[::1]"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ("capacitor://localhost", "capacitor://localhost"),
    ],
)
def test_an_origin_is_read_and_written_as_browsers_write_it(text: str, canonical: str) -> None:
    assert str(origin_from(text)) == canonical
    assert read_origin(text) == canonical


MALFORMED = [
    *(
        "",
        "null",
        "NULL",
        "chat.example",
        "//chat.example",
        "://chat.example",
        "https:",
        "https://",
    ),
    *(
        "https://chat.example/",
        "https://chat.example/path",
        "https://chat.example?x",
        "https://a#b",
    ),
    *(
        "https://user@chat.example",
        "https://u:p@chat.example",
        "https://a b",
        "https://a,https://b",
    ),
    *("https://a https://b", "https://*.chat.example", "https://a:99999", "https://a:x", "1x://a"),
    *("https://b\xfccher.example", "https://[::1", "x" * 100_000, "a" * 40 + "://chat.example"),
]


@pytest.mark.parametrize("text", MALFORMED, ids=lambda text: ascii(text[:30]))
def test_what_is_no_origin_is_foreign(text: str) -> None:
    assert origin_from(text) is None
    assert not Origins(["https://chat.example"]).allow(text, place_from("chat.example"))


@pytest.mark.parametrize(
    ("origin", "host", "is_allowed"),
    [
        ("http://127.0.0.1:3000", "127.0.0.1:3000", True),
        ("http://127.0.0.1:3001", "127.0.0.1:3000", False),
        ("http://localhost:3000", "127.0.0.1:3000", False),
        ("http://[::1]:3000", "[::1]:3000", True),
        ("http://chat.example", "chat.example", True),
        ("http://chat.example", "chat.example:80", True),
        ("http://chat.example:80", "chat.example", True),
        ("https://chat.example", "chat.example", True),
        ("https://chat.example", "chat.example:443", True),
        ("https://chat.example", "chat.example:80", False),
        ("https://chat.example", "CHAT.example.", True),
        ("https://chat.example:8443", "chat.example", False),
        ("https://a.chat.example", "chat.example", False),
        ("https://chat.example.evil.example", "chat.example", False),
        ("https://evilchat.example", "chat.example", False),
        ("file://chat.example", "chat.example", False),
        ("null", "chat.example", False),
        ("https://chat.example", None, False),
    ],
)
def test_without_settings_only_the_servers_own_pages_may_use_it(
    origin: str, host: str | None, is_allowed: bool
) -> None:
    place = place_from(host) if host else None
    assert Origins().allow(origin, place) is is_allowed


def test_a_page_that_came_without_https_is_foreign_to_a_server_with_it() -> None:
    place = place_from("chat.example")
    assert not Origins().allow("http://chat.example", place, is_secure=True)
    assert Origins().allow("https://chat.example", place, is_secure=True)
    assert Origins(["http://chat.example"]).allow("http://chat.example", place, is_secure=True)


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        ("https://app.example", True),
        ("https://app.example:443", True),
        ("HTTPS://APP.example", True),
        ("http://app.example", False),
        ("https://app.example:8443", False),
        ("https://x.app.example", False),
        ("http://localhost:5173", True),
        ("null", False),
    ],
)
def test_what_is_listed_may_use_the_server_from_elsewhere(origin: str, is_allowed: bool) -> None:
    origins = Origins(["https://app.example", "http://localhost:5173"])
    assert origins.allow(origin, place_from("api.example")) is is_allowed


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "nonsense"])
def test_an_asterisk_is_every_page(origin: str) -> None:
    assert Origins(["*"]).allow(origin, place_from("api.example"))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("https://app.example/", "https://app.example"),
        ("https://app.example/chat?x", "https://app.example"),
        ("http://localhost:5173/", "http://localhost:5173"),
        ("app.example", "https://chat.example"),
        ("https://*.app.example", "https://chat.example"),
        ("null", "https://chat.example"),
        ("https://user@app.example/", "https://chat.example"),
    ],
)
def test_an_entry_that_is_no_origin_is_refused_with_what_to_write(text: str, hint: str) -> None:
    reason = f"{text!r} is no origin: a scheme, a host and perhaps a port, such as {hint}"
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        read_origin(text)


def test_an_entry_in_letters_that_browsers_do_not_send_is_refused() -> None:
    with pytest.raises(ValueError, match="its form in ASCII, xn--…"):
        read_origin("https://bücher.example")
