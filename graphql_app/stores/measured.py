"""A store whose calls are timed."""

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, cast

from graphql_app import metrics
from graphql_app.errors import StoreUnavailableError
from graphql_app.interfaces import Store

CALLS = (
    *("add", "add_reply", "append", "clear", "conversations", "events", "finish", "history"),
    *("message", "messages", "newest_reply", "ping", "read", "register", "renew", "replies"),
    "sweep",
)
"""The methods whose time counts."""


def measured(store: Store) -> Store:
    """The same store, whose calls are timed; one that answers at once as it is."""
    return store if store.immediate is not None else cast(Store, _Measured(store))


class _Measured:
    def __init__(self, store: Store) -> None:
        self._store = store
        for name in CALLS:
            setattr(self, name, _timed(name, getattr(store, name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def _timed(name: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    took, failed = metrics.store_call(name)

    async def timed(*arguments: Any, **named: Any) -> Any:
        began = perf_counter()
        try:
            return await call(*arguments, **named)
        except StoreUnavailableError:
            failed()
            raise
        finally:
            took(perf_counter() - began)

    return timed
