"""Stores by URL."""

import pytest

from graphql_app.errors import ConfigurationError
from graphql_app.stores import open_store
from graphql_app.stores.memory import MemoryStore


def test_memory_is_a_store_of_its_own_each_time() -> None:
    one, other = open_store("memory://"), open_store("memory://")
    assert isinstance(one, MemoryStore)
    assert one is not other


@pytest.mark.parametrize("url", ["memory://localhost", "memory:///chat", "memory:", "memory://?a"])
def test_a_url_that_says_more_than_the_store_takes_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        open_store(url)
    assert str(refusal.value) == f"store: {url!r} has more than the store takes; use memory://."


@pytest.mark.parametrize("url", ["", "memory", "file:///chat", "http://[", "://"])
def test_a_url_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        open_store(url)
    assert str(refusal.value) == f"store: {url!r} is not supported; use memory://."
