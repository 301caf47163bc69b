"""Where messages are kept. `open_store` knows the backends by the scheme of their URL."""

from graphql_app.errors import ConfigurationError
from graphql_app.interfaces import Store


def open_store(url: str) -> Store:
    """The store that a URL names, not yet opened.

    Raises:
        ConfigurationError: no store has that scheme, or the URL has more than the store takes.
    """
    if url.startswith("memory:"):
        if url != "memory://":
            raise ConfigurationError(
                f"store: {url!r} has more than the store takes; use memory://."
            )
        # A backend is imported only when it is chosen.
        from graphql_app.stores.memory import MemoryStore

        return MemoryStore()
    raise ConfigurationError(f"store: {url!r} is not supported; use memory://.")
