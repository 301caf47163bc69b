"""Who asks."""

import time
from dataclasses import dataclass

ANONYMOUS = ""
"""The owner of everything while no token is required."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who runs an operation: as which owner, from which address, and until when.

    Args:
        owner: whose messages these are: the `sub` of a token.
        address: the client's IP, as the server sees it, or as a trusted proxy says.
        expires_at: when the token ends, in seconds since 1970; None: never.
    """

    owner: str = ANONYMOUS
    address: str = ""
    expires_at: float | None = None

    @property
    def is_expired(self) -> bool:
        return self.expires_at is not None and time.time() >= self.expires_at


NOBODY = Caller()
"""A caller of whom nothing is known."""
