"""Timing a store's calls."""

import pytest
from prometheus_client import REGISTRY

from graphql_app.errors import StoreUnavailableError
from graphql_app.interfaces import Store
from graphql_app.messages import Ref
from graphql_app.stores.measured import CALLS, measured
from graphql_app.stores.memory import MemoryStore
from tests.faults import FaultyStore


def counted(name: str, method: str) -> float:
    return REGISTRY.get_sample_value(f"graphql_app_{name}", {"method": method}) or 0


def test_all_calls_of_a_store_are_timed_but_its_beginning_and_its_end() -> None:
    calls = {name for name, each in vars(Store).items() if callable(each) and name[0] != "_"}
    assert calls - {"open", "close", "watch"} == set(CALLS)


def test_a_store_that_answers_at_once_is_not_slowed() -> None:
    store = MemoryStore()
    assert measured(store) is store


async def test_a_call_that_fails_is_timed_too_and_counted() -> None:
    faulty = FaultyStore()
    store = measured(faulty)
    before = [counted(name, "message") for name in ("store_seconds_count", "store_failures_total")]
    faulty.failing_on("message", times=1)
    with pytest.raises(StoreUnavailableError):
        await store.message(Ref("", "m1"))
    assert await store.message(Ref("", "m1")) is None
    after = [counted(name, "message") for name in ("store_seconds_count", "store_failures_total")]
    assert [now - then for now, then in zip(after, before, strict=True)] == [2, 1]
    assert store.shared is faulty.shared
