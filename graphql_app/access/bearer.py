"""How a token is brought: RFC 6750. What it says is read elsewhere, by libraries that take 9 MB."""

from collections.abc import Mapping

MISSING = "A token is required."
EXPIRED = "The token has expired."


def bearer(header: str) -> str | None:
    """The token in `Bearer …`, as an Authorization header has it; None if there is none."""
    scheme, _, token = header.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def token_in(payload: Mapping[str, object]) -> str | None:
    """The token that a socket's connection_init carries, with or without `Bearer`, or None."""
    given = [value for name, value in payload.items() if name.lower() == "authorization"]
    # With two of them nobody knows who is meant.
    if len(given) == 1 and isinstance(given[0], str):
        return bearer(given[0]) or given[0].strip()
    return None
