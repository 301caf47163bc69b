"""Whose word is taken for who a client is."""

import pytest

from graphql_app.access.proxies import Proxies, read_network


@pytest.mark.parametrize(
    ("networks", "peer", "is_trusted"),
    [
        ((), "127.0.0.1", False),
        ((), "", False),
        (("127.0.0.1",), "127.0.0.1", True),
        (("127.0.0.1",), "127.0.0.2", False),
        (("10.0.0.0/8",), "10.1.2.3", True),
        (("10.0.0.0/8",), "11.1.2.3", False),
        (("10.0.0.0/8",), "::ffff:10.1.2.3", True),
        (("2001:db8::/32",), "2001:db8::7", True),
        (("0.0.0.0/0",), "", False),
        (("0.0.0.0/0",), "testclient", False),
    ],
)
def test_who_is_trusted_is_set_and_nobody_is_by_default(
    networks: tuple[str, ...], peer: str, is_trusted: bool
) -> None:
    assert Proxies(networks).trust(peer) is is_trusted


PEER = "10.0.0.1"


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        (["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        (["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
        (["203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        (["198.51.100.1, 203.0.113.9, 10.0.0.3,10.0.0.2"], "203.0.113.9"),
        (["10.0.0.4, 10.0.0.2"], "10.0.0.4"),
        (["203.0.113.9:52000"], "203.0.113.9"),
        (["[2001:db8::9]:52000"], "2001:db8::9"),
        (["2001:DB8:0::9"], "2001:db8::9"),
        (["::ffff:203.0.113.9"], "203.0.113.9"),
        (["  203.0.113.9  "], "203.0.113.9"),
        ([""], PEER),
        (["unknown"], PEER),
        (["203.0.113.9, unknown"], PEER),
        (["203.0.113.9, evil.example, 10.0.0.2"], "10.0.0.2"),
        (["203.0.113.9,"], PEER),
        (["x" * 100_000], PEER),
        (["1.2.3.4\n"], "1.2.3.4"),
    ],
    ids=lambda value: ascii(value)[:60],
)
def test_the_client_is_the_last_of_the_list_whom_nobody_trusts(
    forwarded: list[str], client: str
) -> None:
    assert Proxies(["10.0.0.0/8"]).client(PEER, forwarded) == client


@pytest.mark.parametrize("text", ["10.0.0.1", "10.0.0.0/8", "2001:db8::/32", "::1"])
def test_a_proxy_is_an_address_or_a_network(text: str) -> None:
    Proxies([read_network(text)])


@pytest.mark.parametrize("text", ["proxy", "*", "10.0.0.1/8", "10.0.0.0/33", "", "10.0.0.1:80"])
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is neither an address nor a network, such as 10\.0"):
        read_network(text)
