"""What most tests of the chat start with."""

import gc
from collections.abc import AsyncIterator, Iterator

import pytest

from graphql_app import producer
from graphql_app.chat import ChatService
from graphql_app.limits import Limits
from tests.chats import running_chat
from tests.faults import FaultyStore, ScriptedCompletion


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore()


@pytest.fixture
def completion() -> ScriptedCompletion:
    return ScriptedCompletion()


@pytest.fixture
def limits() -> Limits:
    """Tests that need other limits are parametrised with them."""
    return Limits()


@pytest.fixture
async def chat(
    store: FaultyStore, completion: ScriptedCompletion, limits: Limits
) -> AsyncIterator[ChatService]:
    """A service around the store, with the scripted completion; it must leave no task behind."""
    async with running_chat(store, completion, limits=limits) as chat:
        yield chat


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes producers try a store that cannot be reached again almost at once."""
    monkeypatch.setattr(producer, "RETRY_SECONDS", (0.001,))


@pytest.fixture
def quick_abandoning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes producers give up completions that ignore their cancellation almost at once."""
    monkeypatch.setattr(producer, "ABANDON_AFTER_SECONDS", 0.05)


@pytest.fixture
def without_collector() -> Iterator[None]:
    """What refers to itself in a ring stays."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
