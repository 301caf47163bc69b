"""Stores by URL."""

import subprocess
import sys

import pytest

from graphql_app.errors import ConfigurationError
from graphql_app.stores import BACKENDS, open_store
from graphql_app.stores.memory import MemoryStore

PASSWORD = "s3cret"


def refusal(url: str) -> str:
    """The sentence with which a URL is refused; it never shows the password."""
    with pytest.raises(ConfigurationError) as refused:
        open_store(url)
    sentence = str(refused.value)
    assert PASSWORD not in sentence
    return sentence


def test_memory_is_a_store_of_its_own_each_time() -> None:
    one, other = open_store("memory://"), open_store("memory://")
    assert isinstance(one, MemoryStore)
    assert one is not other


def test_memory_may_keep_replies_for_a_time() -> None:
    assert isinstance(open_store("memory://?ttl=7d"), MemoryStore)


@pytest.mark.parametrize(
    "url", ["memory://localhost", "memory:///chat", "memory://?a", "memory://?ttl=7d&a=1"]
)
def test_a_url_that_says_more_than_memory_takes_is_refused(url: str) -> None:
    assert refusal(url) == (
        f"store: {url!r} has more than the store takes; use memory:// or memory://?ttl=7d."
    )


def test_a_time_that_is_none_is_refused() -> None:
    assert refusal("memory://?ttl=soon").startswith("store: ttl must be a time ")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        *((url, url) for url in ("", "memory", "memory:", "file:///chat", "http://[", "://")),
        *((url, url) for url in ("Redis://host", "redis:/host", " memory://", "redis", "sqlite:a")),
        (f"mysql://me:{PASSWORD}@host/chat", "mysql://me:***@host/chat"),
        (f"redis:{PASSWORD}@host", "redis:***@host"),
        (f"mongodb://host/chat?password={PASSWORD}", "mongodb://host/chat?password=***"),
    ],
)
def test_a_url_that_names_no_store_is_refused_with_examples(url: str, shown: str) -> None:
    assert refusal(url) == (
        f"store: {shown!r} is not supported; use memory://, sqlite:///chat.db, "
        "postgresql://host/database or redis://host."
    )


@pytest.mark.parametrize("scheme", ["redis+cluster", "rediss+cluster", "redis-cluster"])
def test_a_redis_cluster_is_refused_by_name(scheme: str) -> None:
    assert refusal(f"{scheme}://:{PASSWORD}@one:1,two:2") == (
        f"store: '{scheme}://:***@one:1,two:2' is a Redis Cluster, which is not supported; use a "
        "single Redis or Redis Sentinel."
    )


OPENING_WITHOUT = """
import sys
from importlib.machinery import PathFinder

class Missing(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing)
from graphql_app.errors import ConfigurationError
from graphql_app.stores import open_store
try:
    open_store({url!r})
except ConfigurationError as error:
    print(error)
"""


def opening_without(missing: set[str], url: str) -> str:
    """What is said, in a process of its own, when a URL's packages are not installed."""
    code = OPENING_WITHOUT.format(missing=missing, url=url)
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("url", "package", "extra"),
    [
        ("sqlite:///chat.db", "sqlalchemy", "sql"),
        (f"postgresql://me:{PASSWORD}@host/chat", "sqlalchemy", "sql"),
        ("postgres://host/chat", "sqlalchemy", "sql"),
        ("postgresql://host/chat", "greenlet", "sql"),
        ("postgresql://host/chat", "asyncpg", "sql"),
        (f"redis://:{PASSWORD}@host", "redis", "redis"),
        ("rediss://host", "redis", "redis"),
        ("redis+sentinel://host/chat", "redis", "redis"),
    ],
)
def test_a_store_whose_packages_are_missing_names_the_package_and_the_extra(
    url: str, package: str, extra: str
) -> None:
    scheme = url.partition(":")[0]
    assert opening_without({package}, url) == (
        f"store: {scheme}:// needs the package {package}; "
        f"install graphql-app with the extra [{extra}]."
    )


def test_memory_needs_no_package_of_an_extra() -> None:
    assert opening_without({"sqlalchemy", "alembic", "asyncpg", "redis"}, "memory://") == ""


def test_a_store_that_itself_is_broken_is_a_defect_and_not_a_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(BACKENDS, "toast", ("graphql_app.stores.no_such_store", "toast"))
    with pytest.raises(ModuleNotFoundError, match="no_such_store"):
        open_store("toast://")
