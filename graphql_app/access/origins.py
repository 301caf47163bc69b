"""The pages that may use this server, by their origin: for sockets, and for HTTP.

Browsers say which page a request comes from, and no page can change that. A request that does not
say it comes from no page.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from graphql_app.access.hosts import ANY, Place, check_ascii, place_from

DEFAULT_PORTS = {"http": 80, "https": 443}

SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]{0,30}")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a page comes from, with the port even if it is the usual one."""

    scheme: str
    place: Place

    def __str__(self) -> str:
        """As browsers write it."""
        is_usual = DEFAULT_PORTS.get(self.scheme) == self.place.port
        return f"{self.scheme}://{Place(self.place.host) if is_usual else self.place}"


def origin_from(text: str) -> Origin | None:
    """Reads what an Origin header says; None: it is malformed, or `null`, which says nothing."""
    scheme, separator, rest = text.partition("://")
    place = place_from(rest)
    if not separator or not SCHEME.fullmatch(scheme) or place is None:
        return None
    scheme = scheme.lower()
    return Origin(scheme, with_port(place, scheme))


def with_port(place: Place, scheme: str) -> Place:
    return place if place.port is not None else Place(place.host, DEFAULT_PORTS.get(scheme))


class Origins:
    """The pages of this server itself, and of the origins in the settings.

    Args:
        origins: as `read_origin` returns them; `*` is any, `null` too.
    """

    def __init__(self, origins: Iterable[str] = ()) -> None:
        self._listed = frozenset(origins)

    def allow(self, text: str, host: Place | None, *, is_secure: bool = False) -> bool:
        """Whether a request may come from there.

        Args:
            text: its Origin header.
            host: its Host header.
            is_secure: it certainly came over HTTPS; then no page did that came without.
        """
        if ANY in self._listed:
            return True
        origin = origin_from(text)
        if origin is None:
            return False
        if str(origin) in self._listed:
            return True
        if host is None or origin.scheme not in DEFAULT_PORTS:
            return False
        if is_secure and origin.scheme != "https":
            return False
        return with_port(host, origin.scheme) == origin.place


def read_origin(text: str) -> str:
    """One entry of the setting `origins`, checked and as browsers write it.

    Raises:
        ValueError: says what is wrong.
    """
    if text == ANY:
        return text
    check_ascii(text)
    origin = origin_from(text)
    if origin is None:
        begin = re.match(r"[^:/]+://[^/?#@*]+(?=[/?#])", text)
        hint = begin[0] if begin and origin_from(begin[0]) else "https://chat.example"
        raise ValueError(
            f"{text!r} is no origin: a scheme, a host and perhaps a port, such as {hint}"
        )
    return str(origin)
