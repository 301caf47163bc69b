"""Codes of errors that a newer program wrote, as this one reads them."""

import asyncio
from collections.abc import AsyncIterator
from enum import StrEnum
from pathlib import Path
from typing import cast

import pytest

from graphql_app.messages import ReplyError, ReplyErrorCode, Status
from graphql_app.stores import open_store
from tests.contracts.backends import BACKENDS, Backend
from tests.contracts.scene import Scene
from tests.faults import leaking_nothing


class NewerCode(StrEnum):
    COMPLETION_NEW = "COMPLETION_NEW"


NEWER = ReplyError(cast(ReplyErrorCode, NewerCode.COMPLETION_NEW), "Something new.")
READ = ReplyError(ReplyErrorCode.COMPLETION_FAILED, "Something new.")


@pytest.fixture(
    params=[backend for backend in BACKENDS if backend.id != "memory"], ids=lambda each: each.id
)
async def scene(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scene]:
    """A store that processes share, with a reply that a newer one of them ended."""
    backend: Backend = request.param
    backend.require()
    with backend.serve(tmp_path) as url, leaking_nothing():
        store = open_store(url)
        try:
            await store.open()
            scene = Scene(store, "ann", await store.register(3600))
            await scene.add("m1")
            await scene.finish("r-m1", Status.ERROR, text="So ", at_offset=0, error=NEWER)
            yield scene
        finally:
            await store.close()


async def test_a_code_of_a_newer_program_reads_as_a_failure_with_its_sentence(scene: Scene) -> None:
    _, listed = await scene.store.messages(scene.conversation(), 10, None)
    assert (listed.status, listed.error) == (Status.ERROR, READ)
    assert (await scene.message("r-m1")).error == READ
    assert (await scene.read("r-m1")).error == READ


async def test_a_code_of_a_newer_program_ends_no_stream_of_others(scene: Scene) -> None:
    other = Scene(scene.store, "bob", scene.lease)
    await other.add("m1")
    await other.append("r-m1", 0, "Well")
    # Reads at the same time are one query.
    theirs, ours = await asyncio.gather(scene.read("r-m1"), other.read("r-m1"))
    assert (theirs.error, ours.text) == (READ, "Well")
