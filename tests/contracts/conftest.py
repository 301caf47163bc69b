"""Every test of the contract runs once for each store."""

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from graphql_app.interfaces import Store
from graphql_app.stores import open_store
from tests.contracts.backends import BACKENDS, Backend
from tests.contracts.scene import Scene
from tests.faults import leaking_nothing


@pytest.fixture(scope="session", params=BACKENDS, ids=lambda backend: backend.id)
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a store is, its server running."""
    backend: Backend = request.param
    backend.require()
    with backend.serve(tmp_path_factory.mktemp(backend.id)) as url:
        yield url


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    """An open store, perhaps with what other tests left in it."""
    with leaking_nothing():
        store = open_store(url)
        await store.open()
        yield store
        await store.close()


@pytest.fixture
async def scene(store: Store) -> Scene:
    """One process, and an owner whom no other test knows."""
    return Scene(store, f"owner-{uuid.uuid4().hex}", await store.register(60))


@pytest.fixture
async def elsewhere(scene: Scene) -> Scene:
    """The same owner, in another process."""
    return Scene(scene.store, scene.owner, await scene.store.register(60))


@pytest.fixture
async def stranger(scene: Scene) -> Scene:
    """Another owner, in the same process."""
    return Scene(scene.store, f"stranger-{uuid.uuid4().hex}", scene.lease)
