"""The server that most of these tests talk to."""

from collections.abc import Iterator

import pytest

from tests.processes import ServerProcess, serving

WORD_DELAY_SECONDS = 0.02


@pytest.fixture(scope="module")
def shared_server() -> Iterator[ServerProcess]:
    """One echoing server for all tests of a module."""
    with serving("--completion", "echo", "--word-delay", str(WORD_DELAY_SECONDS)) as server:
        yield server


@pytest.fixture
def server(shared_server: ServerProcess) -> Iterator[ServerProcess]:
    """The module's server; each test must leave its log clean."""
    begin = len(shared_server.log)
    yield shared_server
    shared_server.check_log(begin)
