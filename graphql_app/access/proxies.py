"""The proxies whose word is taken for who a client is, and whether it came over HTTPS."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

from graphql_app.access.hosts import place_from

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network


class Proxies:
    """The addresses that are trusted. Everybody else may say in a header what he likes.

    Args:
        networks: as `read_network` returns them.
    """

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._networks: tuple[Network, ...] = tuple(map(ip_network, networks))

    def trust(self, peer: str) -> bool:
        """Whether a peer, at the other end of a connection, is one of them."""
        if not self._networks:
            return False
        address = _address(peer)
        return address is not None and self._trust(address)

    def client(self, peer: str, forwarded_for: Sequence[str]) -> str:
        """The address of the client who came to a trusted proxy.

        Each proxy adds to the end of the list whom it was called by. So it is read from there, up
        to the first whom nobody trusts; what stands before that may be a lie. What is no address
        ends it too: then the client is whoever said that.

        Args:
            peer: that proxy.
            forwarded_for: the values of its X-Forwarded-For headers.
        """
        client = peer
        for text in reversed(",".join(forwarded_for).split(",")):
            address = _address(text.strip())
            if address is None:
                break
            client = str(address)
            if not self._trust(address):
                break
        return client

    def _trust(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _address(text: str) -> Address | None:
    """An address that may have a port; None: it is none."""
    try:
        address = ip_address(text)
    except ValueError:
        place = place_from(text)
        if place is None:
            return None
        try:
            address = ip_address(place.host)
        except ValueError:
            return None
    return getattr(address, "ipv4_mapped", None) or address


def read_network(text: str) -> str:
    """One entry of the setting `trusted_proxies`, checked.

    Raises:
        ValueError: says what is wrong.
    """
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise ValueError(
            f"{text!r} is neither an address nor a network, such as 10.0.0.0/8 ({error})"
        ) from None
