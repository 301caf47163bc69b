"""The headers that every answer has, whoever makes it."""

from collections.abc import Iterable
from http import HTTPStatus

SAFE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""What an answer says that does not say it otherwise: it is no page, and nobody keeps it."""

SECURE_HEADERS = {"Strict-Transport-Security": "max-age=31536000"}
"""What it says besides to a client that came over HTTPS."""

RawHeaders = Iterable[tuple[bytes, bytes]]


def _raw(headers: dict[str, str]) -> dict[bytes, bytes]:
    return {name.lower().encode(): value.encode() for name, value in headers.items()}


_SAFE = _raw(SAFE_HEADERS)
_SAFE_AND_SECURE = {**_SAFE, **_raw(SECURE_HEADERS)}


def completed(
    headers: RawHeaders, status: int, *, is_secure: bool = False
) -> list[tuple[bytes, bytes]]:
    """The headers of an answer, with those that it lacks."""
    given = list(headers)
    if status == HTTPStatus.NOT_MODIFIED:
        return given  # A browser would put them in place of those that it has kept.
    missing = dict(_SAFE_AND_SECURE if is_secure else _SAFE)
    for name, _ in given:
        missing.pop(name.lower(), None)
    return [*given, *missing.items()]
