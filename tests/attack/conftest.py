"""One server for all attacks; it must be as well at the end as at the beginning."""

from collections.abc import Iterator

import pytest

from tests.attack.target import Target
from tests.processes import serving

MEBIBYTE = 2**20

MARGIN_BYTES = 100 * MEBIBYTE
"""How much more memory the process may have after everything than when it had warmed up. Remembered
documents may take most of it; that nothing grows is measured more finely in the tests."""


WITHOUT_RATES = {"GRAPHQL_APP_MAX_MESSAGES_PER_SECOND": "0"}
"""Sockets are read as fast as can be: the default holds attackers up, and the tests with them."""


@pytest.fixture(scope="package")
def shared_target() -> Iterator[Target]:
    with serving("--completion", "echo", "--word-delay", "0", environment=WITHOUT_RATES) as server:
        target = Target(server)
        for _ in range(20):
            target.check_alive()
        files, memory = server.open_files(), server.memory_bytes()
        yield target
        target.check_alive()
        assert target.settled_files(files) <= files
        assert server.memory_bytes() - memory < MARGIN_BYTES
