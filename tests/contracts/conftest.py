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
def backend(request: pytest.FixtureRequest) -> Backend:
    """One way to keep messages, whose server is installed."""
    backend: Backend = request.param
    backend.require()
    return backend


@pytest.fixture(scope="session")
def url(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a store is, its server running."""
    with backend.serve(tmp_path_factory.mktemp(backend.id)) as url:
        yield url


@pytest.fixture(scope="session")
def expiring_url(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a store is that keeps replies for a second; others would lose theirs to its sweeps."""
    with backend.serve(tmp_path_factory.mktemp(f"{backend.id}-ttl")) as url:
        yield f"{url}?ttl=1s"


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
    return Scene(store, f"owner-{uuid.uuid4().hex}", await store.register(3600))


@pytest.fixture
async def elsewhere(url: str, scene: Scene) -> AsyncIterator[Scene]:
    """The same owner, in another process. It has its own open store, if it can have one."""
    if not scene.store.shared:
        yield Scene(scene.store, scene.owner, await scene.store.register(3600))
        return
    store = open_store(url)
    await store.open()
    yield Scene(store, scene.owner, await store.register(3600))
    await store.close()


@pytest.fixture
async def other_process(scene: Scene, elsewhere: Scene) -> Scene:
    """The same owner, in another process with its own open store."""
    if not scene.store.shared:
        pytest.skip("one process has this store for itself")
    return elsewhere


@pytest.fixture
async def short_lived(scene: Scene) -> Scene:
    """A process whose lease ends at once, if the store's leases end at all."""
    if not scene.store.shared:
        pytest.skip("one process has no lease that ends")
    await scene.store.sweep()  # What other tests left does not count.
    return Scene(scene.store, scene.owner, await scene.store.register(0.2))


@pytest.fixture
async def stranger(scene: Scene) -> Scene:
    """Another owner, in the same process."""
    return Scene(scene.store, f"stranger-{uuid.uuid4().hex}", scene.lease)
