"""The names by which a server may be called."""

import re

import pytest

from graphql_app.access.hosts import Hosts, Place, place_from, read_host


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("chat.example", Place("chat.example")),
        ("chat.example:8080", Place("chat.example", 8080)),
        ("chat.example:", Place("chat.example")),
        ("chat.example.", Place("chat.example")),
        ("chat.example.:80", Place("chat.example", 80)),
        ("CHAT.Example", Place("chat.example")),
        ("xn--bcher-kva.example", Place("xn--bcher-kva.example")),
        ("my_host", Place("my_host")),
        ("127.0.0.1:3000", Place("127.0.0.1", 3000)),
        ("[::1]", Place("::1")),
        ("[::1]:3000", Place("::1", 3000)),
        ("[2001:DB8:0:0::1]", Place("2001:db8::1")),
        ("x:65535", Place("x", 65_535)),
    ],
)
def test_a_host_is_read_in_every_form_that_it_may_have(text: str, place: Place) -> None:
    assert place_from(text) == place


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "..", "a..b", ".a", "a b", " a", "a ", "a\n", "a\0", "a,b", "*", "a/b", "/"),
        *("user@chat.example", "user:password@chat.example", "chat.example@", "http://a"),
        *("a:b", "a:-1", "a:65536", "a:123456", "a:1:2", "a:٣", "::1", "[::1", "::1]", "[]", "[x]"),
        *("[127.0.0.1]", "[::1]x", "[::1%eth0]", "b\xfccher.example", "bücher.example", "a%2eb"),
        *("a" * 301, "a." * 5_000, "-" * 100_000),
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_what_is_no_host_is_not_taken_for_one(text: str) -> None:
    assert place_from(text) is None


@pytest.mark.parametrize(
    ("names", "host", "is_allowed"),
    [
        ((), "localhost", True),
        ((), "chat.localhost", True),
        ((), "127.0.0.1", True),
        ((), "192.0.2.7", True),
        ((), "::1", True),
        ((), "2001:db8::1", True),
        ((), "evil.example", False),
        ((), "notlocalhost", False),
        ((), "localhost.evil.example", False),
        ((), "127.0.0.1.nip.io", False),
        ((), "127.1", False),
        ((), "2130706433", False),
        (("chat.example",), "chat.example", True),
        (("chat.example",), "localhost", True),
        (("chat.example",), "a.chat.example", False),
        (("chat.example",), "evilchat.example", False),
        (("*.chat.example",), "a.chat.example", True),
        (("*.chat.example",), "a.b.chat.example", True),
        (("*.chat.example",), "chat.example", False),
        (("*.chat.example",), "evilchat.example", False),
        (("*",), "evil.example", True),
    ],
)
def test_a_server_is_called_by_loopback_names_addresses_and_what_is_set(
    names: tuple[str, ...], host: str, is_allowed: bool
) -> None:
    assert Hosts(names).allow(host) is is_allowed


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("chat.example", "chat.example"),
        ("Chat.Example.", "chat.example"),
        ("*.Chat.example", "*.chat.example"),
        ("*", "*"),
        ("[::1]", "::1"),
    ],
)
def test_a_name_of_the_settings_becomes_as_hosts_are_read(text: str, name: str) -> None:
    assert read_host(text) == name


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("https://a", "'https://a' is no host; write chat.example, *.chat.example or *"),
        ("a.*", "'a.*' is no host; write chat.example, *.chat.example or *"),
        ("**.a", "'**.a' is no host; write chat.example, *.chat.example or *"),
        ("*.", "'*.' is no host; write chat.example, *.chat.example or *"),
        ("a:80", "'a:80' has a port, which is not looked at; write a"),
        ("*.a:80", "'*.a:80' has a port, which is not looked at; write *.a"),
        ("bücher", "'bücher' is not as browsers send it; write its form in ASCII, xn--…"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused_with_what_to_write(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        read_host(text)
