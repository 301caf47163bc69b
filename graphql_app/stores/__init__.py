"""Where messages are kept. `open_store` knows the backends by the scheme of their URL."""

from importlib import import_module

from graphql_app.errors import ConfigurationError
from graphql_app.interfaces import Store
from graphql_app.stores.urls import without_password

BACKENDS = {
    "memory": ("graphql_app.stores.memory", ""),
    "sqlite": ("graphql_app.stores.sql.sqlite", "sql"),
    "postgresql": ("graphql_app.stores.sql.postgresql", "sql"),
    "postgres": ("graphql_app.stores.sql.postgresql", "sql"),
    "redis": ("graphql_app.stores.redis", "redis"),
    "rediss": ("graphql_app.stores.redis", "redis"),
    "redis+sentinel": ("graphql_app.stores.redis", "redis"),
    "rediss+sentinel": ("graphql_app.stores.redis", "redis"),
}
"""For each scheme, the module whose `from_url` opens it, and the extra that it needs."""

EXAMPLES = "memory://, sqlite:///chat.db, postgresql://host/database or redis://host"


def open_store(url: str) -> Store:
    """The store that a URL names, not yet opened.

    Raises:
        ConfigurationError: no store has that scheme, the URL says what the store cannot do, or
            the store needs what is not installed.
    """
    scheme, _, _ = url.partition("://")
    if "cluster" in scheme and scheme.startswith("redis"):
        raise ConfigurationError(
            f"store: {without_password(url)!r} is a Redis Cluster, which is not supported; use a "
            "single Redis or Redis Sentinel."
        )
    if "://" not in url or scheme not in BACKENDS:
        raise ConfigurationError(
            f"store: {without_password(url)!r} is not supported; use {EXAMPLES}."
        )
    name, extra = BACKENDS[scheme]
    try:
        # A backend is imported only when it is chosen, and its driver perhaps when it is made.
        store: Store = import_module(name).from_url(url)
    except ImportError as error:
        # SQLAlchemy says in an error of its own that greenlet is missing.
        package = error.name or getattr(error.__cause__, "name", None) or "that is not installed"
        if not extra or package.startswith("graphql_app"):
            raise
        raise ConfigurationError(
            f"store: {scheme}:// needs the package {package}; "
            f"install graphql-app with the extra [{extra}]."
        ) from error
    return store
