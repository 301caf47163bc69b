"""Saying once that a store is away, and once that it is back."""

import logging

logger = logging.getLogger(__name__)


class Outage:
    """Keeps the log short while a server cannot be reached."""

    def __init__(self, store: str) -> None:
        self._store = store
        self._is_on = False

    def begins(self, cause: BaseException) -> None:
        """A call failed."""
        if not self._is_on:
            self._is_on = True
            reason = str(cause).strip().partition("\n")[0] or type(cause).__name__
            logger.warning("the store %s is away: %s", self._store, reason)

    def ends(self) -> None:
        """A call succeeded."""
        if self._is_on:
            self._is_on = False
            logger.warning("the store %s is back", self._store)
