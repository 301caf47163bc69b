"""The names by which this server may be called, against DNS rebinding.

A page of `evil.example` can have that name lead to 127.0.0.1, and then ask a server there as its
own. What it cannot change is the Host of such a request.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

ANY = "*"

PLACE = re.compile(
    r"(?:\[(?P<address>[0-9a-fA-F:.]+)\]|(?P<name>(?:[\w-]+\.)*[\w-]+)\.?)(?::(?P<port>\d{0,5}))?",
    re.ASCII,
)
MOST_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Place:
    """A host and a port, as in `example:8080`.

    Args:
        host: in small letters, without a dot at its end; an IPv6 address without brackets.
        port: None if it is not said.
    """

    host: str
    port: int | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"


def place_from(text: str) -> Place | None:
    """Reads what a Host header says, or an origin behind its scheme; None: it is neither."""
    found = PLACE.fullmatch(text) if len(text) <= MOST_CHARACTERS else None
    if found is None:
        return None
    port = int(found["port"]) if found["port"] else None
    if port is not None and port > 65_535:
        return None
    if found["address"] is None:
        return Place(found["name"].lower(), port)
    try:
        address = ip_address(found["address"])
    except ValueError:
        return None
    return Place(str(address), port) if address.version == 6 else None


class Hosts:
    """Loopback names, addresses, and the names of the settings.

    Nobody can make an address lead elsewhere.

    Args:
        names: as `read_host` returns them.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        names = set(names)
        self._allows_any = ANY in names
        self._names = frozenset(names)
        self._endings = tuple(name[1:] for name in names if name.startswith("*."))

    def allow(self, host: str) -> bool:
        return (
            self._allows_any
            or host == "localhost"
            or host in self._names
            or host.endswith((".localhost", *self._endings))
            or is_address(host)
        )


def is_address(host: str) -> bool:
    """Whether a host is an IP address, and no name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def read_host(text: str) -> str:
    """One of the names in the setting `hosts`, checked.

    Raises:
        ValueError: says what is wrong.
    """
    if text == ANY:
        return text
    check_ascii(text)
    begin, name = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    place = place_from(name)
    if place is None:
        raise ValueError(f"{text!r} is no host; write chat.example, *.chat.example or *")
    if place.port is not None:
        raise ValueError(f"{text!r} has a port, which is not looked at; write {begin}{place.host}")
    return begin + place.host


def check_ascii(text: str) -> None:
    """Raises ValueError for a name in letters that browsers never send."""
    if not text.isascii():
        raise ValueError(f"{text!r} is not as browsers send it; write its form in ASCII, xn--…")
